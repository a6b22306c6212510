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
        other => panic!("no load: {other:?}"),
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

/// What may happen in one round of 15 s.
#[derive(Debug, Clone)]
enum Event {
    /// A sample of so many pods, with this load each, or none that they tell; and whether a rollout is under way.
    Sample { replicas: u32, load: Option<f64>, updating: bool },
    /// Somebody who watches the scale says how many replicas there are.
    Replicas(u32),
    /// A person takes over, or gives back.
    Paused(bool),
    /// Nothing for a while.
    Silence { rounds: i64 },
}

fn event() -> impl Strategy<Value = Event> {
    let load = prop::option::of(0.0..200.0f64);
    prop_oneof![
        6 => (1u32..60, load, any::<bool>())
            .prop_map(|(replicas, load, updating)| Event::Sample { replicas, load, updating }),
        2 => (1u32..60).prop_map(Event::Replicas),
        1 => any::<bool>().prop_map(Event::Paused),
        2 => (1i64..60).prop_map(|rounds| Event::Silence { rounds }),
    ]
}

/// 2 to 30 replicas, by UTC 10 to 40 in the second quarter of every hour and at most 5 in the last.
fn scheduled(then: Option<serde_json::Value>) -> Spec {
    let schedule = |name, cron, bounds: [Option<u32>; 2]| {
        serde_json::json!({
            "name": name, "cron": cron, "timeZone": "Asia/Kathmandu", "duration": "15m",
            "minReplicas": bounds[0], "maxReplicas": bounds[1],
        })
    };
    let schedules = [
        schedule("busy", "0 * * * *", [Some(10), Some(40)]),
        schedule("idle", "30 * * * *", [None, Some(5)]),
    ];
    let schedules = serde_json::from_value(serde_json::json!(schedules)).unwrap();
    let missing = then.map(|then| serde_json::json!({"holdFor": "5m", "then": then}));
    let on_missing_metrics = serde_json::from_value(serde_json::json!(missing)).unwrap();
    Spec { min_replicas: 2, max_replicas: 30, schedules, on_missing_metrics, ..spec() }
}

/// The decision of each round, with the replicas that there are as far as anybody told, and whether it is paused.
fn live(spec: &Spec, events: &[Event]) -> Vec<(Decision, Option<u32>, bool)> {
    let mut autoscaler = Autoscaler::new(spec.check().unwrap());
    let (mut round, mut current, mut is_paused) = (0, None, false);
    let live = |event: &Event| {
        round += 1;
        let now = at(15 * round);
        match event {
            Event::Sample { replicas, load, updating } => {
                let mut sample = flat(now, *replicas, load.unwrap_or_default());
                sample.pods.updating = *updating;
                if load.is_none() {
                    (sample.pods.silent, sample.groups) = (*replicas, vec![]);
                }
                autoscaler.observe(&sample).unwrap();
                // What answers no question is not believed that there are fewer.
                let least = current.filter(|_| load.is_none()).unwrap_or(0);
                current = Some(least.max(*replicas));
            }
            Event::Replicas(replicas) => {
                autoscaler.note_replicas(now, *replicas);
                current = Some(*replicas);
            }
            Event::Paused(paused) => {
                autoscaler.set_paused(now, *paused);
                is_paused = *paused;
            }
            Event::Silence { rounds } => round += rounds,
        }
        (autoscaler.decide(at(15 * round)), current, is_paused)
    };
    events.iter().map(live).collect()
}

/// A sample of pods that all tell the same load.
fn flat(now: Time, replicas: u32, load: f64) -> Sample {
    let mut counters = Counters::new(INTERVAL);
    let read = |at, count| Reading {
        at,
        histograms: vec![counts([0.0, 0.0, count, 0.0, 0.0])],
        ..Reading::default()
    };
    counters.read("pod", read(now - INTERVAL, 0.0)).unwrap();
    counters.read("pod", read(now, load * 15.0 / 2.0 * f64::from(replicas))).unwrap();
    let mut sample = counters.sample(now, &ready(["pod"], replicas));
    (sample.pods.ready, sample.groups[0].pods) = (replicas, replicas);
    sample
}

/// What that comes to; the clock in Kathmandu is three quarters of an hour off.
fn bounds_at(time: Time) -> (u32, u32) {
    match time.as_nanos() / 1_000_000_000 / 900 % 4 {
        1 => (10, 40),
        3 => (2, 5),
        _ => (2, 30),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_decision_is_outside_the_bounds_in_force_unless_a_person_has_taken_over(events in prop::collection::vec(event(), 1..60)) {
        for (decision, current, is_paused) in live(&scheduled(Some(serde_json::json!({"exactly": 7}))), &events) {
            let (min, max) = bounds_at(decision.at);
            // A lead time before the busy quarter its pods are asked for.
            let ahead = decision.lead_time.map_or(Span::ZERO, |lead| lead.total);
            let is_ahead = bounds_at(decision.at + ahead).0 == 10 && min < 10;
            let bounds = (decision.min_replicas, decision.max_replicas);
            prop_assert!(bounds == (min, max) || is_ahead && bounds == (10, max.max(10)), "{:?}", decision);
            let Ok((replicas, until)) = decision.outcome.replicas() else { continue };
            prop_assert!(until >= decision.at);
            prop_assert_eq!(Some(replicas), decision.outcome.steps().last().map(|step| step.replicas));
            if is_paused {
                prop_assert_eq!(Some(replicas), current);
            } else {
                prop_assert!((bounds.0..=bounds.1).contains(&replicas), "{:?}", decision);
            }
        }
    }

    #[test]
    fn an_unknown_load_lowers_nothing(events in prop::collection::vec(event(), 1..60), least in 1u32..40) {
        for (decision, current, is_paused) in live(&scheduled(Some(serde_json::json!({"atLeast": least}))), &events) {
            if let Outcome::Fallback(fallback) = &decision.outcome {
                let current = current.unwrap();
                prop_assert!(!is_paused && decision.at - fallback.since >= Span::from_secs(300));
                prop_assert!(fallback.replicas >= current.max(least).min(decision.max_replicas), "{:?}", fallback);
            }
        }
        for (decision, ..) in live(&scheduled(None), &events) {
            prop_assert!(!matches!(decision.outcome, Outcome::Fallback(_)));
        }
    }

    #[test]
    fn the_same_calls_give_the_same_decisions(events in prop::collection::vec(event(), 1..40)) {
        let spec = scheduled(Some(serde_json::json!({"atLeast": 7})));
        let decisions = live(&spec, &events);
        prop_assert_eq!(&decisions, &live(&spec, &events));
        for (decision, ..) in decisions {
            let text = serde_json::to_string(&decision).unwrap();
            prop_assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
        }
    }
}
