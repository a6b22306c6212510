//! What must hold of every decision, whatever the load: tried from pods' readings to the replicas.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeSet;

use plimsoll::load::{Counters, HistogramCounts, Labels, Reading, ReadyPods, Sample};
use plimsoll::scale::{Autoscaler, Decision, Desired, Outcome};
use plimsoll::spec::{Mode, Spec};
use plimsoll::units::{Span, Time};
use proptest::prelude::*;
use proptest::sample::subsequence;

const LE: [f64; 4] = [0.01, 0.05, 0.1, 0.5];
/// CudgX's, which the spec takes.
const WEIGHTS: Rates = [0.1, 0.5, 2.0, 4.0, 8.0];
const INTERVAL: Span = Span::from_secs(15);

/// Requests per second of one pod in each of the five classes.
type Rates = [f64; 5];

/// One pod: what it counts per second, what it had counted before, and when in the interval it is read.
#[derive(Debug, Clone)]
struct Pod {
    name: String,
    rates: Rates,
    before: Rates,
    phase: i64,
}

fn spec() -> Spec {
    serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        "minReplicas": 1,
        "maxReplicas": 100_000,
        "mode": "Auto",
        "load": {"histogram": "http_request_duration_seconds", "weights": {"fixed": {}}},
        "target": {"metricsQPSPerPod": "50"},
    }))
    .unwrap()
}

fn autoscaler() -> Autoscaler {
    Autoscaler::new(spec().check().unwrap())
}

fn at(seconds: i64) -> Time {
    Time::from_secs(1_700_000_000 + seconds)
}

fn counts(classes: Rates) -> HistogramCounts {
    let cumulative: Vec<f64> = classes
        .iter()
        .scan(0.0, |sum, n| {
            Some({
                *sum += n;
                *sum
            })
        })
        .collect();
    HistogramCounts::new(Labels::new(), LE.to_vec(), cumulative, None).unwrap()
}

fn reading(seconds: i64, classes: Rates) -> Reading {
    Reading { at: at(seconds), histograms: vec![counts(classes)], ..Reading::default() }
}

/// The two readings of a pod, 15 s apart.
fn readings(pod: &Pod) -> [Reading; 2] {
    let mut after = pod.before;
    for (count, rate) in after.iter_mut().zip(pod.rates) {
        *count += rate * 15.0;
    }
    [reading(pod.phase, pod.before), reading(pod.phase + 15, after)]
}

fn ready<'a>(names: impl IntoIterator<Item = &'a str>, replicas: u32) -> ReadyPods {
    let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    ReadyPods { names, replicas, ..ReadyPods::default() }
}

fn sample(pods: &[Pod]) -> Sample {
    let mut counters = Counters::new(INTERVAL);
    for pod in pods {
        for reading in readings(pod) {
            counters.read(&pod.name, reading).unwrap();
        }
    }
    counters.sample(at(30), &ready(pods.iter().map(|p| p.name.as_str()), 0))
}

fn decide(sample: &Sample) -> Decision {
    let mut autoscaler = autoscaler();
    autoscaler.observe(sample).unwrap();
    autoscaler.decide(at(31))
}

fn desired(decision: &Decision) -> &Desired {
    match &decision.outcome {
        Outcome::Desired(desired) => desired,
        Outcome::NoOpinion(reason) => panic!("no opinion: {reason}"),
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-300)
}

prop_compose! {
    fn pods()(drawn in prop::collection::vec((prop::array::uniform5(0.0..200.0f64), prop::array::uniform5(0.0..1e6f64), 0i64..15), 1..12)) -> Vec<Pod> {
        let pod = |(i, (rates, before, phase))| Pod { name: format!("pod-{i:02}"), rates, before, phase };
        drawn.into_iter().enumerate().map(pod).collect()
    }
}

proptest! {
    #[test]
    fn the_order_in_which_pods_are_read_does_not_matter(pods in pods().prop_shuffle()) {
        let mut sorted = pods.clone();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        prop_assert_eq!(decide(&sample(&pods)), decide(&sample(&sorted)));
    }

    /// What a pod counted before it restarted is lost: that, and nothing of the other pods.
    #[test]
    fn a_restart_costs_no_more_than_what_the_pod_had_counted(pods in pods(), restarted in any::<prop::sample::Index>()) {
        let restarted = restarted.index(pods.len());
        let mut counters = Counters::new(INTERVAL);
        let mut least = 0.0;
        for (i, pod) in pods.iter().enumerate() {
            let [mut before, mut after] = readings(pod);
            if i == restarted {
                // All that it counted since, a while before the second reading.
                before = reading(pod.phase, pod.rates.map(|r| r * 100.0 + 1.0));
                after = reading(pod.phase + 15, pod.rates.map(|r| r * 7.0));
            } else {
                least += pod.rates.iter().zip(WEIGHTS).map(|(r, w)| r * w).sum::<f64>();
            }
            counters.read(&pod.name, before).unwrap();
            counters.read(&pod.name, after).unwrap();
        }
        let names = pods.iter().map(|p| p.name.as_str());
        let load = desired(&decide(&counters.sample(at(30), &ready(names, 0)))).load.metricsqps.get();
        let most = desired(&decide(&sample(&pods))).load.metricsqps.get();
        prop_assert!(least * (1.0 - 1e-9) <= load && load <= most * (1.0 + 1e-9), "{} <= {} <= {}", least, load, most);
    }

    /// Ten times the requests in the same time are ten times the load, and so are as many in a tenth of the pods' capacity.
    #[test]
    fn the_unit_of_load_is_free(pods in pods(), factor in 0.01..100.0f64) {
        let scaled: Vec<Pod> = pods.iter().cloned().map(|p| Pod { rates: p.rates.map(|r| r * factor), before: [0.0; 5], ..p }).collect();
        let plain: Vec<Pod> = pods.into_iter().map(|p| Pod { before: [0.0; 5], ..p }).collect();
        let (a, b) = (decide(&sample(&plain)), decide(&sample(&scaled)));
        prop_assert!(close(desired(&a).load.metricsqps.get() * factor, desired(&b).load.metricsqps.get()));
    }

    #[test]
    fn more_load_never_asks_for_fewer_replicas(pods in pods(), which in any::<prop::sample::Index>(), class in 0usize..5, more in 0.0..500.0f64) {
        let mut laden = pods.clone();
        let index = which.index(laden.len());
        laden[index].rates[class] += more;
        let (a, b) = (decide(&sample(&pods)), decide(&sample(&laden)));
        prop_assert!(desired(&a).load.metricsqps.get() <= desired(&b).load.metricsqps.get() * (1.0 + 1e-9));
        prop_assert!(desired(&a).replicas <= desired(&b).replicas);
    }

    #[test]
    fn an_idle_pod_changes_nothing(pods in pods()) {
        let mut with_idle = pods.clone();
        with_idle.push(Pod { name: "pod-zz".into(), rates: [0.0; 5], before: [3.0; 5], phase: 4 });
        let (a, b) = (decide(&sample(&pods)), decide(&sample(&with_idle)));
        prop_assert_eq!(&desired(&a).load, &desired(&b).load);
        prop_assert_eq!(desired(&a).replicas, desired(&b).replicas);
    }

    /// From `joined` on each new pod takes half of an old one's requests. It may answer at once or later, and know its
    /// start or not: none of it is more load, in this round of readings or the next.
    #[test]
    fn twice_the_ready_pods_under_the_same_load_never_ask_for_more(
        pods in pods(),
        joined in 31i64..45,
        answering in subsequence((0..12usize).collect::<Vec<_>>(), 0..12),
        started in any::<bool>(),
    ) {
        let mut autoscaler = autoscaler();
        let mut counters = Counters::new(INTERVAL);
        let new: Vec<String> = (0..pods.len()).map(|i| format!("new-{i:02}")).collect();
        let old: Vec<&str> = pods.iter().map(|p| p.name.as_str()).collect();
        let all: Vec<&str> = old.iter().copied().chain(new.iter().map(String::as_str)).collect();
        let mut reactive = Vec::new();
        for now in [15, 30, 45, 60] {
            let alone = now.min(joined) as f64;
            let shared = (now - joined).max(0) as f64;
            for (i, pod) in pods.iter().enumerate() {
                counters.read(&pod.name, reading(now, pod.rates.map(|r| r * (alone + shared / 2.0)))).unwrap();
                if now < joined {
                    continue;
                }
                if now == 60 || answering.contains(&i) {
                    let started = started.then(|| at(joined));
                    let fresh = Reading { started, ..reading(now, pod.rates.map(|r| r * shared / 2.0)) };
                    counters.read(&new[i], fresh).unwrap();
                } else {
                    counters.miss(&new[i], at(now));
                }
            }
            let names = if now < joined { &old } else { &all };
            let sample = counters.sample(at(now), &ready(names.iter().copied(), names.len() as u32));
            autoscaler.observe(&sample).unwrap();
            if now > 15 {
                reactive.push(desired(&autoscaler.decide(at(now))).reactive);
            }
        }
        prop_assert!(reactive[1] <= reactive[0] && reactive[2] <= reactive[0], "{:?}", reactive);
    }

    #[test]
    fn a_congested_sample_never_lowers(pods in pods(), replicas in 1u32..200, rejected in 1.0..1e5f64) {
        let mut sample = sample(&pods);
        sample.pods.replicas = replicas;
        let total: f64 = pods.iter().flat_map(|p| p.rates).sum();
        sample.groups[0].rejected = plimsoll::units::Rate::new(rejected.max(total * 0.02)).ok();
        prop_assert!(desired(&decide(&sample)).replicas >= replicas);
    }

    /// A sample and a decision survive being written down, and the written sample decides the same.
    #[test]
    fn a_recorded_sample_replays_to_the_same_decision(pods in pods()) {
        let sample = sample(&pods);
        let recorded: Sample = serde_json::from_str(&serde_json::to_string(&sample).unwrap()).unwrap();
        prop_assert_eq!(&recorded, &sample);
        let decision = decide(&recorded);
        prop_assert_eq!(&decision, &decide(&sample));
        let text = serde_json::to_string(&decision).unwrap();
        prop_assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
    }

    #[test]
    fn replicas_stay_within_their_bounds(pods in pods(), min in 1u32..50, more in 0u32..50, current in 0u32..200) {
        let spec = Spec { min_replicas: min, max_replicas: min + more, mode: Mode::ScaleUpOnly, ..spec() };
        let mut autoscaler = Autoscaler::new(spec.check().unwrap());
        let mut sample = sample(&pods);
        sample.pods.replicas = current;
        autoscaler.observe(&sample).unwrap();
        let decision = autoscaler.decide(at(31));
        prop_assert!((min..=min + more).contains(&desired(&decision).replicas));
        prop_assert_eq!(desired(&decision).steps.last().unwrap().replicas, desired(&decision).replicas);
    }
}
