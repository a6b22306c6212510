//! What looking ahead costs: a step of one workload, all of a day's, and taking up 28 days of history.
//!
//! The budget: a step within 20 µs, refits within 200 ms of CPU a workload and day, 1 MB a workload.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll::forecast::{Forecaster, Promise, Series, Settings, Step};
use plimsoll::units::{Percent, Span};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Minutes of 28 days.
const HISTORY: i64 = 28 * 1440;

/// A day's swell with noise, as three columns.
fn rates(minute: i64) -> [f64; 3] {
    let day = (minute as f64 / 1440.0 * std::f64::consts::TAU).sin();
    let noise: f64 = Pcg64Mcg::seed_from_u64(minute as u64).random();
    let load = 100.0 + 60.0 * day + 20.0 * noise;
    [load, 0.2 * load, 0.02 * load]
}

fn settings(minutes: i64) -> Settings {
    let objective = Percent::new(0.5).map(Promise::ShortTime).unwrap_or(Promise::Quantile(0.95));
    Settings::new(Span::from_secs(60 * minutes), objective)
}

fn step(forecaster: &mut Forecaster, minute: i64) {
    let rates = rates(minute);
    forecaster.close(minute, Some(Step { rates: &rates, is_floor: false }));
}

fn lived(minutes: i64, history: i64) -> Forecaster {
    let mut forecaster = Forecaster::new(settings(minutes), &[1.0, 5.0, 50.0]);
    (0..history).for_each(|minute| step(&mut forecaster, minute));
    forecaster
}

fn steps(criterion: &mut Criterion) {
    for horizon in [5, 30] {
        let mut forecaster = lived(horizon, HISTORY);
        let mut minute = HISTORY;
        criterion.bench_function(&format!("a step, horizon {horizon} min"), |bencher| {
            bencher.iter(|| {
                step(&mut forecaster, minute);
                minute += 1;
                black_box(forecaster.forecast())
            });
        });
        criterion.bench_function(&format!("a refit, horizon {horizon} min: 96 a day"), |bencher| {
            bencher.iter(|| forecaster.refit());
        });
        println!("horizon {horizon} min: {} bytes a workload", forecaster.bytes());
    }
}

/// 1,000 workloads in turn, so that none finds its state in the cache.
fn many(criterion: &mut Criterion) {
    let first = lived(5, 2 * 1440);
    let mut fleet: Vec<Forecaster> = (0..1000).map(|_| first.clone()).collect();
    let mut minute = 2 * 1440;
    criterion.bench_function("a step of 1,000 workloads with 2 days of history", |bencher| {
        bencher.iter(|| {
            fleet.iter_mut().for_each(|forecaster| step(forecaster, minute));
            minute += 1;
        });
    });
}

fn history(criterion: &mut Criterion) {
    let series: Series = lived(5, HISTORY).series().clone();
    let mut group = criterion.benchmark_group("history");
    group.sample_size(10);
    group.bench_function("28 days taken up", |bencher| {
        bencher.iter(|| Forecaster::of(settings(5), series.clone(), &[1.0, 5.0, 50.0]));
    });
    let forecaster = lived(5, HISTORY);
    group.bench_function("a plan of the day to come", |bencher| {
        bencher.iter(|| black_box(forecaster.plan()));
    });
    group.finish();
}

criterion_group!(benches, steps, many, history);
criterion_main!(benches);
