//! What the targets that read metrics pages share: two pages of one pod go all the way to a decision.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use plimsoll::load::{Counters, Reading, ReadyPods};
use plimsoll::scale::{Autoscaler, Outcome};
use plimsoll::spec::Spec;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::collect::{PageError, Query};

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

/// Reads two pages, one interval apart: whatever is accepted must make a finite load.
pub fn decide<P>(pages: [P; 2], read: impl Fn(&Query, P, Time) -> Result<Reading, PageError>) {
    let query = Query::new(&SPEC.load);
    let mut counters = Counters::new(INTERVAL);
    for (page, at) in pages.into_iter().zip([NOW, NOW + INTERVAL]) {
        match read(&query, page, at) {
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
}
