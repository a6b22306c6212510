//! What is decided about pods that are overloaded, in each way in which overload shows or does not, against what truly
//! arrived; and what MetricsQPS makes of the same load on more pods.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use plimsoll::load::{Classes, Congestion, Edges, Fitting, Weighing, Weights, WeightsInForce};
use plimsoll::scale::Autoscaler;
use plimsoll::spec::{CapacityTarget, Checked, Mode};
use plimsoll::units::{Cores, MetricsQps, Percent, Span};
use plimsoll_sim::cluster::{Beyond, ClusterConfig, Shows};

#[path = "support/overload.rs"]
mod overload;

use overload::{INTERVAL, Kind, Round, Stage, drive, mean_cpu};

/// Pages, searches and reports.
const MIX: [Kind; 3] = [
    Kind { share: 0.7, cpu: 0.005, io: 0.010 },
    Kind { share: 0.25, cpu: 0.030, io: 0.020 },
    Kind { share: 0.05, cpu: 0.200, io: 0.300 },
];

const PODS: u32 = 4;

/// The stages of [`overloaded`].
const CALM: usize = 0;
const OVERLOAD: usize = 1;
const AFTER: usize = 2;

fn minutes(n: i64) -> Span {
    Span::from_secs(60 * n)
}

/// With CudgX's weights, and a capacity so large that the load alone never takes a second pod: what
/// keeps more is a doubt.
fn autoscaler() -> Autoscaler {
    let classes = Classes::by_duration(Edges::new(vec![0.01, 0.05, 0.1, 0.5]).unwrap());
    Autoscaler::new(Checked {
        min_replicas: 1,
        max_replicas: 1000,
        schedules: vec![],
        mode: Mode::Auto,
        on_missing_metrics: None,
        interval: INTERVAL,
        weighing: Weighing::Given(Weights::new(classes, &[0.1, 0.5, 2.0, 4.0, 8.0]).unwrap()),
        target: CapacityTarget::Given(MetricsQps::new(1e6).unwrap()),
        forecast: None,
    })
}

/// As a spec has it by default: what requests cost is learned from CPU, and pods are to use 70 % of theirs.
fn fitted() -> Autoscaler {
    Autoscaler::new(Checked {
        min_replicas: 1,
        max_replicas: 1000,
        schedules: vec![],
        mode: Mode::Auto,
        on_missing_metrics: None,
        interval: INTERVAL,
        weighing: Weighing::Fitted(Fitting::default()),
        target: CapacityTarget::CpuUtilization(Percent::new(100.0 * TARGET).unwrap()),
        forecast: None,
    })
}

const TARGET: f64 = 0.7;

/// Requests per second that take this share of the cores.
fn rate(utilization: f64, pods: u32, cores: f64) -> f64 {
    utilization * f64::from(pods) * cores / mean_cpu(&MIX)
}

fn config(cores: f64) -> ClusterConfig {
    ClusterConfig { cores: Cores::new(cores).unwrap(), ..ClusterConfig::default() }
}

/// Pods at half of what they can do, for longer than anything is held after a start; then at one and a half times that; then at
/// half again. A limit on concurrency is ten a core: enough to use all of the CPU.
fn overloaded(cores: f64, beyond: Option<Beyond>, shows: Shows, autoscaler: Autoscaler) -> Vec<Round> {
    let config = ClusterConfig {
        concurrency: beyond.map(|_| 10 * cores as u32),
        beyond: beyond.unwrap_or_default(),
        shows,
        ..config(cores)
    };
    let stage = |length, utilization| Stage { length, rate: rate(utilization, PODS, cores) };
    let stages = [stage(minutes(6), 0.5), stage(minutes(5), 1.5), stage(minutes(5), 0.5)];
    drive(config, PODS, &MIX, &stages, autoscaler)
}

fn of(rounds: &[Round], stage: usize) -> impl Iterator<Item = &Round> {
    rounds.iter().filter(move |round| round.stage == stage)
}

#[track_caller]
fn offered_is_what_arrived(round: &Round) {
    let offered = round.load().offered.get();
    assert!((offered / round.arrived - 1.0).abs() < 0.1, "{offered} offered, {} arrived", round.arrived);
}

/// The load alone would take one pod, and all are kept.
#[track_caller]
fn nothing_is_lowered(round: &Round) {
    let desired = round.desired();
    assert!(desired.reactive < PODS && desired.replicas >= PODS, "{desired:?}");
    assert!(desired.steps.iter().any(|step| step.kind.name() == "Congested"), "{desired:?}");
}

#[test]
fn calm_pods_are_no_reason_to_doubt_and_what_they_use_is_what_arrived() {
    for cores in [1.0, 4.0] {
        let rounds = overloaded(cores, None, Shows::default(), autoscaler());
        let calm: Vec<&Round> = of(&rounds, CALM).collect();
        assert_eq!(calm.len(), 24);
        for round in &calm {
            offered_is_what_arrived(round);
            assert_eq!(round.load().congestion, []);
        }
        assert_eq!(calm[23].desired().replicas, 1, "nothing else holds the replicas any more");
        let used = |round: &&Round| round.sample.groups.iter().map(|g| g.cpu.unwrap().get()).sum::<f64>();
        let (used, work): (f64, f64) =
            calm.iter().fold((0.0, 0.0), |sum, r| (sum.0 + used(r), sum.1 + r.work));
        // But for what was inside at the end.
        assert!((used / work - 1.0).abs() < 0.01, "{used} of {work}");
    }
}

#[test]
fn an_overload_that_shows_in_flight_is_seen_in_full() {
    for cores in [1.0, 4.0] {
        for beyond in [None, Some(Beyond::Queue)] {
            let rounds = overloaded(cores, beyond, Shows::default(), autoscaler());
            for round in of(&rounds, OVERLOAD) {
                offered_is_what_arrived(round);
                nothing_is_lowered(round);
            }
        }
    }
}

#[test]
fn what_is_turned_away_and_counted_is_seen_in_full() {
    for cores in [1.0, 4.0] {
        let rounds = overloaded(cores, Some(Beyond::default()), Shows::default(), autoscaler());
        for round in of(&rounds, OVERLOAD) {
            offered_is_what_arrived(round);
            nothing_is_lowered(round);
        }
    }
}

/// What waits in the kernel is not seen. That the CPU is used up is.
#[test]
fn a_backlog_that_nothing_shows_lowers_nothing() {
    for cores in [1.0, 4.0] {
        let shows = Shows { in_flight: false, rejected: false };
        let rounds = overloaded(cores, Some(Beyond::Backlog { size: None }), shows, autoscaler());
        for round in of(&rounds, OVERLOAD) {
            assert!(round.load().offered.get() < 0.85 * round.arrived, "it shows: {:?}", round.load());
            let signs = &round.load().congestion[..];
            assert!(matches!(signs, [Congestion::Saturated { .. }]), "{signs:?}");
            nothing_is_lowered(round);
        }
    }
}

#[test]
fn a_queue_that_drains_did_not_arrive_again() {
    for cores in [1.0, 4.0] {
        for beyond in [None, Some(Beyond::Queue)] {
            let rounds = overloaded(cores, beyond, Shows::default(), autoscaler());
            for round in of(&rounds, AFTER) {
                assert!(round.load().completed.get() > round.arrived);
                offered_is_what_arrived(round);
            }
        }
    }
}

/// Waiting counts into durations, so requests on fuller pods look heavier than they are. Without a correction this is how much:
/// the same requests on n pods and on twice as many.
#[test]
fn the_same_load_on_twice_the_pods_is_as_many_requests_and_no_more_metricsqps() {
    let mean = |rounds: &[Round], number: fn(&Round) -> f64| {
        rounds.iter().map(number).sum::<f64>() / rounds.len() as f64
    };
    let mut figures = String::new();
    for cores in [1.0, 4.0] {
        for utilization in [0.3, 0.5, 0.7, 0.85] {
            let stages = [Stage { length: minutes(15), rate: rate(utilization, PODS, cores) }];
            let rounds = |pods| drive(config(cores), pods, &MIX, &stages, autoscaler());
            let (few, many) = (rounds(PODS), rounds(2 * PODS));
            let ratio = |number: fn(&Round) -> f64| mean(&few, number) / mean(&many, number);
            let requests = ratio(|round| round.load().offered.get());
            let metricsqps = ratio(|round| round.load().metricsqps.get());
            figures += &format!("{cores} cores, {utilization} used: {requests:.4}, {metricsqps:.3}\n");
            assert!((requests - 1.0).abs() < 0.01, "offered requests, MetricsQPS\n{figures}");
            assert!(metricsqps > 0.99, "offered requests, MetricsQPS\n{figures}");
            if cores == 4.0 && utilization <= 0.5 {
                assert!(metricsqps < 1.05, "offered requests, MetricsQPS\n{figures}");
            }
        }
    }
    println!("{PODS} pods against {}, of requests offered and of MetricsQPS\n{figures}", 2 * PODS);
}

/// Replicas that carry what truly arrives at the target, on average over the rounds.
fn needed(rounds: &[&Round], cores: f64) -> f64 {
    let work = rounds.iter().map(|round| round.work).sum::<f64>() / rounds.len() as f64;
    work / (TARGET * cores)
}

#[test]
fn learned_costs_ask_for_what_an_overload_takes_and_little_more() {
    let mut figures = String::new();
    for cores in [1.0, 4.0] {
        for (name, beyond) in [
            ("in flight", None),
            ("queue in flight", Some(Beyond::Queue)),
            ("turned away", Some(Beyond::default())),
        ] {
            let rounds = overloaded(cores, beyond, Shows::default(), fitted());
            let overload: Vec<&Round> = of(&rounds, OVERLOAD).collect();
            let needed = needed(&overload, cores);
            let asked: Vec<f64> =
                overload.iter().map(|round| f64::from(round.desired().replicas) / needed).collect();
            let mean = asked.iter().sum::<f64>() / asked.len() as f64;
            figures += &format!("{cores} cores, {name}: {needed:.1} needed, asked for {asked:.2?} of it\n");
            // Counted in whole pods, of which the smaller workload needs some eight.
            assert!((0.9..1.2).contains(&mean), "{figures}");
            assert!(asked.iter().skip(2).all(|asked| (0.9..1.2).contains(asked)), "{figures}");
        }
    }
    println!("{figures}");
}

#[test]
fn with_a_backlog_that_nothing_shows_learned_costs_ask_for_one_over_the_target_as_many_pods() {
    for cores in [1.0, 4.0] {
        let shows = Shows { in_flight: false, rejected: false };
        let rounds = overloaded(cores, Some(Beyond::Backlog { size: None }), shows, fitted());
        for round in of(&rounds, OVERLOAD).skip(1) {
            let asked = f64::from(round.desired().replicas);
            assert!(asked >= (f64::from(PODS) / TARGET).floor(), "{:?}", round.desired());
        }
    }
}

/// The same requests on n pods and on twice as many, when costs are learned: once by CPU per request, and once, after two
/// hours in which the mix moved, by class.
#[test]
fn the_same_load_on_twice_the_pods_is_the_same_metricsqps_when_costs_are_learned() {
    let mut figures = String::new();
    for cores in [1.0, 4.0] {
        for utilization in [0.3, 0.5, 0.7] {
            let stages = [Stage { length: minutes(30), rate: rate(utilization, PODS, cores) }];
            // In core-seconds: each learns a unit of its own.
            let load = |pods| {
                let rounds = drive(config(cores), pods, &MIX, &stages, fitted());
                let late = &rounds[rounds.len() / 2..];
                let pods_worth = |round: &Round| {
                    assert_eq!(round.load().weights, WeightsInForce::CpuPerRequest);
                    let capacity = round.decision.capacity.unwrap().per_pod.get();
                    round.load().metricsqps.get() / capacity
                };
                late.iter().map(pods_worth).sum::<f64>() / late.len() as f64
            };
            let ratio = load(PODS) / load(2 * PODS);
            figures += &format!("{cores} cores, {utilization} used: {ratio:.3}\n");
            assert!((ratio - 1.0).abs() < 0.05, "{figures}");
        }
    }
    println!("{PODS} pods against {}, of MetricsQPS\n{figures}", 2 * PODS);
}

/// Requests that last for ten seconds count from when they begin, where a gauge shows them: two scrapes later all are seen.
#[test]
fn a_step_of_long_requests_is_seen_within_two_scrapes() {
    const LONG: [Kind; 1] = [Kind { share: 1.0, cpu: 0.02, io: 10.0 }];
    let stages = [Stage { length: minutes(6), rate: 20.0 }, Stage { length: minutes(2), rate: 60.0 }];
    let rounds = drive(config(1.0), PODS, &LONG, &stages, autoscaler());
    let after: Vec<f64> = of(&rounds, 1).map(|round| round.load().offered.get() / round.arrived).collect();
    assert!(after[..2].iter().all(|seen| (seen - 1.0).abs() < 0.1), "{after:?}");
    let cost = |round: &Round| round.load().metricsqps.get() / round.load().offered.get();
    let costs: Vec<f64> = rounds.iter().skip(4).map(cost).collect();
    assert!(costs.iter().all(|cost| (cost / costs[0] - 1.0).abs() < 0.05), "{costs:?}");
}
