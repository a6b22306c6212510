//! What learning costs: one sample of a fit with 20 classes, and one of the whole load model with 20 pods.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use plimsoll::load::{
    Classes, CostFit, Edges, FitClass, FitSample, FitSettings, Fitting, Group, HistogramRates, Labels,
    LoadModel, Pods, SAMPLE_SCHEMA, Sample, Weighing,
};
use plimsoll::units::{Cores, Rate, Span, Time};

const WINDOW: Span = Span::from_secs(15);
const PODS: u32 = 20;

/// 19 edges: 20 classes.
fn edges() -> Vec<f64> {
    (0..19).map(|i| 0.001 * 1.6f64.powi(i)).collect()
}

/// Numbers between 0 and 1, the same each time.
fn wobble(i: usize, j: usize) -> f64 {
    let mixed = (i as u64 + 1).wrapping_mul(6_364_136_223_846_793_005)
        ^ (j as u64 + 1).wrapping_mul(1_442_695_040_888_963_407);
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1u64 << 24) as f64
}

fn rates(i: usize) -> Vec<f64> {
    (0..20).map(|class| 400.0 / (class as f64 + 1.0) * (0.5 + wobble(i, class))).collect()
}

fn cpu(rates: &[f64], pods: f64) -> f64 {
    0.05 * pods
        + rates.iter().enumerate().map(|(class, rate)| 0.0005 * 1.4f64.powi(class as i32) * rate).sum::<f64>()
}

fn at(i: usize) -> Time {
    Time::EPOCH + WINDOW * (i as i64 + 1)
}

fn fit_sample(i: usize) -> FitSample {
    let (rates, pods) = (rates(i), 10.0 + (20.0 * wobble(i, 99)).floor());
    FitSample {
        at: at(i),
        window: WINDOW,
        pods,
        cpu: cpu(&rates, pods) * (0.98 + 0.04 * wobble(i, 77)),
        rates,
        requests: None,
    }
}

fn sample(i: usize) -> Sample {
    let rates = rates(i);
    let cpu = cpu(&rates, f64::from(PODS)) / f64::from(PODS);
    let group = || {
        let rates = rates.iter().map(|rate| Rate::saturating(rate / f64::from(PODS))).collect();
        Group {
            histograms: HistogramRates::new(Labels::new(), edges(), rates, None).into_iter().collect(),
            cpu: Some(Cores::saturating(cpu)),
            requested_per_pod: Some(Cores::saturating(16.0)),
            cores_per_pod: Some(Cores::saturating(16.0)),
            ..Group::new(1, WINDOW)
        }
    };
    let pods = Pods { replicas: PODS, ready: PODS, warming: 0, silent: 0, updating: false };
    Sample {
        schema: SAMPLE_SCHEMA,
        at: at(i),
        pods,
        offered: None,
        groups: (0..PODS).map(|_| group()).collect(),
    }
}

fn learning(c: &mut Criterion) {
    let classes = Edges::new(edges()).map(Classes::by_duration);
    if let Ok(classes) = classes {
        let mut fit = CostFit::new(FitClass::of(&classes), FitSettings::default());
        (0..500).for_each(|i| fit.observe(&fit_sample(i)));
        let next = fit_sample(500);
        c.bench_function("fit: a sample of 20 classes", |b| {
            b.iter_batched_ref(|| fit.clone(), |fit| fit.observe(&next), BatchSize::SmallInput);
        });
        c.bench_function("fit: its report", |b| b.iter(|| fit.report()));
    }
    let mut model = LoadModel::new(Weighing::Fitted(Fitting::default()));
    for i in 0..500 {
        let _ = model.observe(&sample(i));
    }
    let next = sample(501);
    c.bench_function("load model: a sample of 20 pods with 20 classes", |b| {
        b.iter_batched_ref(|| model.clone(), |model| model.observe(&next), BatchSize::SmallInput);
    });
}

criterion_group!(benches, learning);
criterion_main!(benches);
