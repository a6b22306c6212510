//! A metrics page of any bytes, read twice: whatever is accepted makes finite loads, and nothing panics.

#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plimsoll::load::{Counters, ReadyPods};
use plimsoll::scale::{Autoscaler, Outcome};
use plimsoll::spec::Spec;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::collect::Query;

const NOW: Time = Time::from_secs(1_800_000_000);
const INTERVAL: Span = Span::from_secs(15);

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "maxReplicas": 100,
        "load": {
            "histogram": "d", "inFlight": {"metric": "i"}, "rejected": {"metric": "r"}, "weights": {"fixed": {}},
        },
        "target": {"metricsQPSPerPod": "10"},
    }))
    .expect("the spec is right")
});

fuzz_target!(|pages: (&str, &str)| {
    let query = Query::new(&SPEC.load);
    let mut counters = Counters::new(INTERVAL);
    for (page, at) in [(pages.0, NOW), (pages.1, NOW + INTERVAL)] {
        match query.read(page, at) {
            Ok(reading) => drop(counters.read("pod", reading)),
            Err(_) => counters.miss("pod", at),
        }
    }
    let names = BTreeSet::from(["pod".to_owned()]);
    let ready = ReadyPods { names, replicas: 1, ..ReadyPods::default() };
    let mut autoscaler = Autoscaler::new(SPEC.check().expect("the spec is right"));
    let sample = counters.sample(NOW + INTERVAL, &ready);
    autoscaler.observe(&sample).expect("it is the first sample");
    if let Outcome::Desired(desired) = autoscaler.decide(NOW + INTERVAL).outcome {
        let load = desired.load.metricsqps.get();
        assert!(load.is_finite() && load >= 0.0 && (1..=100).contains(&desired.replicas));
    }
});
