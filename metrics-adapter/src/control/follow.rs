//! The scale, written as a HorizontalPodAutoscaler would write it: with the core's own model of one, fed with the decisions.
//!
//! So `actuation: Scale` moves replicas just as `actuation: HPA` does: the same windows, policies and limits, every 15 seconds. But it has no net
//! by CPU: whoever writes the scale is gone when the adapter is.

use std::collections::BTreeMap;

use plimsoll::hpa::{FetchError, Hpa, HpaSpec, MetricSpec, Observed, Samples, Settings, ValueTarget};
use plimsoll::spec::Spec;
use plimsoll::units::{Quantity, Span, Time};

use super::hpa::{self, Moves};
use super::target::ScaleFacts;
use crate::external::Metric;

/// Time between two rounds, as kube-controller-manager has it.
const SYNC: Span = Span::from_secs(15);

/// An HPA without a cluster.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    hpa: Hpa,
    made_of: HpaSpec,
    due: Option<Time>,
}

impl Follower {
    /// For a spec with `actuation: Scale`.
    pub(super) fn new(spec: &Spec) -> Self {
        let made_of = hpa_spec(spec);
        Self { hpa: Hpa::new(made_of.clone(), Settings::default()), made_of, due: None }
    }

    /// Whether it is still what `spec` asks for.
    pub(super) fn is_for(&self, spec: &Spec) -> bool {
        self.made_of == hpa_spec(spec)
    }

    /// The replicas to be written now, if they are others than those that are asked for already. Without a wish, since the load is not
    /// known, they stay.
    pub(super) fn sync(&mut self, now: Time, scale: &ScaleFacts, wanted: Option<u32>) -> Option<u32> {
        if self.due.is_some_and(|due| now < due) {
            return None;
        }
        self.due = Some(now + SYNC);
        let values = match wanted {
            Some(replicas) => Ok(vec![Quantity::from_milli(1000 * i64::from(replicas))]),
            None => Err(FetchError::new("the load is not known")),
        };
        let external = BTreeMap::from([(Metric::DesiredReplicas.name().to_owned(), values)]);
        let observed = Observed {
            spec_replicas: i32::try_from(scale.spec).unwrap_or(i32::MAX),
            status_replicas: i32::try_from(scale.status).unwrap_or(i32::MAX),
            ..Observed::default()
        };
        let done = self.hpa.reconcile(now, &observed, &Samples { external, ..Samples::default() });
        let replicas = u32::try_from(done.replicas).ok()?;
        (done.rescaled && replicas != scale.spec).then_some(replicas)
    }
}

/// One pod for each replica that is wanted, without tolerance.
fn hpa_spec(spec: &Spec) -> HpaSpec {
    let target = ValueTarget::AverageValue(Quantity::from_milli(1000));
    let metric =
        MetricSpec::External { metric: Metric::DesiredReplicas.name().to_owned(), selector: None, target };
    let (min, max) = hpa::widest_bounds(spec);
    HpaSpec {
        min_replicas: i32::try_from(min).ok(),
        max_replicas: i32::try_from(max).unwrap_or(i32::MAX),
        metrics: vec![metric],
        behavior: Some(hpa::behavior(spec, Moves::Freely)),
    }
}

#[cfg(test)]
mod tests {
    use plimsoll::spec::Mode;
    use serde_json::json;

    use super::*;

    fn spec() -> Spec {
        serde_json::from_value(json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 10,
            "load": {"histogram": "d"},
            "target": {"cpuUtilization": 70},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
        }))
        .unwrap()
    }

    fn scale(replicas: u32) -> ScaleFacts {
        ScaleFacts { version: None, spec: replicas, status: replicas, selector: "app=web".into() }
    }

    #[test]
    fn it_goes_up_at_once_and_down_after_the_window() {
        let mut follower = Follower::new(&spec());
        let mut replicas = 4;
        let mut seen = Vec::new();
        for i in 0..8 {
            let wanted = if i < 2 { 5 } else { 3 };
            let written = follower.sync(Time::from_secs(15 * i), &scale(replicas), Some(wanted));
            replicas = written.unwrap_or(replicas);
            seen.push(replicas);
        }
        assert_eq!(seen, [5, 5, 5, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn an_unknown_load_moves_nothing_and_neither_does_a_round_too_early() {
        let mut follower = Follower::new(&spec());
        assert_eq!(follower.sync(Time::from_secs(0), &scale(4), None), None);
        assert_eq!(follower.sync(Time::from_secs(5), &scale(4), Some(8)), None);
        assert_eq!(follower.sync(Time::from_secs(15), &scale(4), Some(8)), Some(8));
    }

    #[test]
    fn up_only_undoes_nothing_that_a_person_scaled() {
        let mut follower = Follower::new(&Spec { mode: Mode::ScaleUpOnly, ..spec() });
        for round in 0..40 {
            assert_eq!(follower.sync(Time::from_secs(15 * round), &scale(9), Some(3)), None);
        }
        assert_eq!(follower.sync(Time::from_secs(600), &scale(9), Some(10)), Some(10));
    }

    #[test]
    fn other_bounds_make_another_one() {
        let follower = Follower::new(&spec());
        assert!(follower.is_for(&spec()));
        assert!(!follower.is_for(&Spec { max_replicas: 11, ..spec() }));
    }
}
