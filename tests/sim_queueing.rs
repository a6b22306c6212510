//! Simulated pods against queueing theory: mean sojourns of processor sharing, and mean waits of first come first
//! served, within confidence intervals.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use plimsoll::units::{Cores, Span, Time};
use plimsoll_sim::cluster::{Beyond, Cluster, ClusterConfig, Completion, Request};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Mean CPU demand in seconds.
const DEMAND: f64 = 0.02;
const BATCHES: usize = 40;
const WARM_UP: usize = 5_000;
const BATCH: usize = 20_000;

fn exponential(rng: &mut Pcg64) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

/// Mean sojourn of requests in one pod and the half-width of its 99.9 % confidence interval, by batch means.
fn sojourn(cores: f64, load: f64, seed: u64, demand: impl Fn(&mut Pcg64) -> f64) -> (f64, f64) {
    let config = ClusterConfig { cores: Cores::new(cores).unwrap(), ..ClusterConfig::default() };
    mean(config, load, seed, demand, |done| done.sojourn.as_secs_f64())
}

/// Mean of a number of each request in one pod, and the half-width of its 99.9 % confidence interval, by batch means.
fn mean(
    config: ClusterConfig,
    load: f64,
    seed: u64,
    demand: impl Fn(&mut Pcg64) -> f64,
    number: impl Fn(&Completion) -> f64,
) -> (f64, f64) {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut at = 0.0;
    let requests: Vec<Request> = (0..WARM_UP + BATCHES * BATCH)
        .map(|_| {
            at += exponential(&mut rng) * DEMAND / (load * config.cores.get());
            let cpu = Span::from_secs_f64(DEMAND * demand(&mut rng));
            Request { at: Span::from_secs_f64(at), cpu, io: Span::ZERO }
        })
        .collect();
    let mut cluster = Cluster::new(config, Time::EPOCH, 1);
    cluster.inject(requests);
    let mut numbers = Vec::new();
    cluster.advance_with(Time::from_secs(1_000_000), |done| numbers.push(number(done)));
    let means: Vec<f64> = numbers[WARM_UP..]
        .chunks(BATCH)
        .map(|batch| batch.iter().sum::<f64>() / batch.len() as f64)
        .collect();
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).unwrap().inverse_cdf(0.9995);
    (mean, t * (variance / n).sqrt())
}

fn check(cores: f64, load: f64, seed: u64, theory: f64, demand: impl Fn(&mut Pcg64) -> f64) {
    let (mean, width) = sojourn(cores, load, seed, demand);
    assert!(width < 0.15 * theory, "too wide to say anything: {mean} ± {width}, theory {theory}");
    assert!((mean - theory).abs() < width, "cores {cores}, load {load}: {mean} ± {width}, theory {theory}");
}

/// Probability that a request finds all cores busy, `load` being the share of them that is (Erlang C).
fn erlang_c(cores: u32, load: f64) -> f64 {
    let offered = load * f64::from(cores);
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..cores {
        term *= offered / f64::from(k);
        sum += term;
    }
    let all = term * offered / f64::from(cores) / (1.0 - load);
    all / (sum + all)
}

#[test]
fn one_core_shared_by_exponential_requests() {
    for load in [0.3, 0.6, 0.8] {
        check(1.0, load, 1, DEMAND / (1.0 - load), exponential);
    }
}

/// Under processor sharing only the mean of the demand counts: all alike, or most of them small and some huge.
#[test]
fn one_core_does_not_care_how_the_demand_is_distributed() {
    let mixed = |rng: &mut Pcg64| exponential(rng) * if rng.random::<f64>() < 0.9 { 0.5 } else { 5.5 };
    for load in [0.3, 0.7] {
        let theory = DEMAND / (1.0 - load);
        check(1.0, load, 2, theory, |_| 1.0);
        check(1.0, load, 3, theory, mixed);
    }
}

/// Requests that get at most one core of several are as slow as those that queue for several servers.
#[test]
fn several_cores_shared_by_requests_of_one_core_each() {
    for (cores, load) in [(2, 0.7), (4, 0.5), (8, 0.9)] {
        let waiting = erlang_c(cores, load) / (f64::from(cores) * (1.0 - load));
        check(f64::from(cores), load, 4, DEMAND * (1.0 + waiting), exponential);
    }
}

/// A pod that serves as many requests as it has cores, one on each, and lets the others queue.
fn wait(cores: u32, load: f64, beyond: Beyond) -> (f64, f64) {
    let concurrency = Some(cores);
    let cores = Cores::new(f64::from(cores)).unwrap();
    let config = ClusterConfig { cores, concurrency, beyond, ..ClusterConfig::default() };
    mean(config, load, 5, exponential, |done| (done.sojourn - done.intrinsic()).as_secs_f64())
}

#[test]
fn a_queue_waits_as_long_as_erlang_says() {
    for (cores, load) in [(1, 0.5), (1, 0.8), (2, 0.7), (4, 0.5), (4, 0.85), (8, 0.9)] {
        let theory = erlang_c(cores, load) * DEMAND / (f64::from(cores) * (1.0 - load));
        let (mean, width) = wait(cores, load, Beyond::Queue);
        assert!(width < 0.15 * theory, "too wide to say anything: {mean} ± {width}, theory {theory}");
        assert!((mean - theory).abs() < width, "{cores} cores, load {load}: {mean} ± {width}, {theory}");
    }
}

/// Its clients do not care who keeps the queue.
#[test]
fn a_backlog_waits_as_long_as_a_queue() {
    assert_eq!(wait(4, 0.8, Beyond::Backlog { size: None }), wait(4, 0.8, Beyond::Queue));
}
