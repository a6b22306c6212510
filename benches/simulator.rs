//! The simulator's two engines: requests a second of the event engine, and how long months take the fluid one.
//!
//! `cargo bench -p plimsoll-benches --bench simulator`. Throughput is of one core; elements are requests, or minutes of load.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use plimsoll::units::{Percent, Span, Time};
use plimsoll_sim::cluster::{Cluster, ClusterConfig, Request};
use plimsoll_sim::fluid::Workload;
use plimsoll_sim::scenario::Scenario;
use plimsoll_sim::series::Series;
use plimsoll_sim::trace::TraceOptions;

const START: Time = Time::from_secs(1_700_000_000);

/// A linear congruential generator: chance that costs nothing.
struct Chance(u64);

impl Chance {
    /// From 0 to 1, without either.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// An exponential of mean one.
    fn exponential(&mut self) -> f64 {
        -self.next().ln()
    }
}

/// Requests for `pods` pods of one core at `load` of their CPU, half of each of which is I/O; 20 ms of CPU on average.
fn requests(count: usize, pods: u32, load: f64) -> Vec<Request> {
    let (mut chance, mut at, cpu_s) = (Chance(1), 0.0, 0.02);
    let gap = cpu_s / (f64::from(pods) * load);
    let request = |_| {
        at += gap * chance.exponential();
        let cpu = Span::from_secs_f64(cpu_s * chance.exponential());
        Request { at: Span::from_secs_f64(at), cpu, io: cpu }
    };
    (0..count).map(request).collect()
}

fn event_engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("event engine");
    const COUNT: usize = 200_000;
    group.throughput(Throughput::Elements(COUNT as u64)).sample_size(20);
    for (pods, load) in [(10, 0.6), (100, 0.6), (100, 0.9)] {
        let requests = requests(COUNT, pods, load);
        let end = START + requests.last().map_or(Span::ZERO, |last| last.at);
        let name = format!("{pods} pods at {:.0} % of their CPU", 100.0 * load);
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    let mut cluster = Cluster::new(ClusterConfig::default(), START, pods);
                    cluster.inject(requests.iter().copied());
                    cluster
                },
                |mut cluster| {
                    cluster.advance_to(end);
                    cluster
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn fluid_engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("fluid engine");
    const MINUTES: usize = 76 * 1440;
    group.throughput(Throughput::Elements(MINUTES as u64)).sample_size(10);
    let count = |i: usize| 6000.0 + 4000.0 * (i as f64 * std::f64::consts::TAU / 1440.0).sin();
    let series =
        Series { name: "days".into(), step: Span::from_secs(60), counts: (0..MINUTES).map(count).collect() };
    let Ok(share) = Percent::new(70.0) else { return };
    let scenario = Scenario::with_share(share);
    let dir = std::env::temp_dir();
    let path = dir.join(format!("plimsoll-bench-{}.rate.csv", std::process::id()));
    // What requests need is taken from a sample of the trace, which is a file.
    let rows: String = (0..100).map(|i| format!("{},{}\n", 60 * i, count(i).round())).collect();
    if std::fs::write(&path, format!("timestamp_s,requests\n{rows}")).is_err() {
        return;
    }
    let series = Series { name: path.display().to_string(), ..series };
    let workload = Workload::new(&series, &TraceOptions::default(), &scenario);
    let _ = std::fs::remove_file(&path);
    let Ok(workload) = workload else { return };
    for policy in ["fixed", "hpa-qps", "hpa-cpu"] {
        group.bench_function(format!("76 days of minutes under {policy}"), |b| {
            b.iter(|| {
                black_box(workload.run(policy, &scenario, Span::ZERO).map(|outcome| outcome.pod_hours))
            });
        });
    }
    group.finish();
}

criterion_group!(simulator, event_engine, fluid_engine);
criterion_main!(simulator);
