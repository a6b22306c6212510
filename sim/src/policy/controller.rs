//! The HPA controller, for policies that work through it.

use std::collections::BTreeMap;

use plimsoll::hpa::{
    Behavior, FetchError, Hpa, HpaSpec, MetricSpec, Observed, PodUsage, ResourceTarget, Samples,
    ScalingRules, Settings, ValueTarget,
};
use plimsoll::units::{Quantity, Time};

use super::Seen;

/// One HPA.
#[derive(Debug)]
pub(super) struct Controller(Hpa);

impl Controller {
    /// As most people write one: without `behavior`.
    pub(super) fn new(metric: MetricSpec, bounds: (u32, u32)) -> Self {
        Self::with_behavior(vec![metric], bounds, None)
    }

    /// With a tolerance of zero both ways, and the API server's defaults otherwise.
    pub(super) fn exact(metrics: Vec<MetricSpec>, bounds: (u32, u32)) -> Self {
        let rules = ScalingRules { tolerance: Some(Quantity::from_milli(0)), ..ScalingRules::default() };
        let behavior = Behavior { scale_up: Some(rules.clone()), scale_down: Some(rules) };
        Self::with_behavior(metrics, bounds, Some(behavior))
    }

    fn with_behavior(metrics: Vec<MetricSpec>, (min, max): (u32, u32), behavior: Option<Behavior>) -> Self {
        let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let spec = HpaSpec { min_replicas: Some(count(min)), max_replicas: count(max), metrics, behavior };
        Self(Hpa::new(spec, Settings::default()))
    }

    /// One reconcile; how many replicas there should be.
    pub(super) fn reconcile(&mut self, now: Time, seen: &Seen<'_>, samples: &Samples) -> u32 {
        let replicas = i32::try_from(seen.replicas).unwrap_or(i32::MAX);
        let observed = Observed {
            spec_replicas: replicas,
            status_replicas: replicas,
            pods: seen.pods,
            ..Observed::default()
        };
        u32::try_from(self.0.reconcile(now, &observed, samples).replicas).unwrap_or(0)
    }
}

/// An external metric to be kept at `per_pod` for each replica.
pub(super) fn external(metric: &str, per_pod: Quantity) -> MetricSpec {
    let target = ValueTarget::AverageValue(per_pod);
    MetricSpec::External { metric: metric.to_owned(), selector: None, target }
}

/// What the external metrics API answers for it: one item, or an error.
pub(super) fn answer(metric: &str, value: Result<f64, String>) -> Samples {
    let items = value.map_err(FetchError::new).and_then(|value| {
        let quantity =
            Quantity::at_least(value).ok_or_else(|| FetchError::new(format!("{value} is no quantity")))?;
        Ok(vec![quantity])
    });
    Samples { external: BTreeMap::from([(metric.to_owned(), items)]), ..Samples::default() }
}

/// A target per pod as the HPA takes it: in thousandths, at least one of them.
pub(super) fn quantity(per_pod: f64) -> Quantity {
    Quantity::from_milli((per_pod * 1000.0).round().clamp(1.0, 1e15) as i64)
}

/// CPU to be kept at `percent` of what pods request.
pub(super) fn cpu(percent: i32) -> MetricSpec {
    MetricSpec::Resource { resource: "cpu".to_owned(), target: ResourceTarget::Utilization(percent) }
}

/// What the resource metrics API answers for it.
pub(super) fn usage(seen: &Seen<'_>) -> BTreeMap<String, Result<Vec<PodUsage>, FetchError>> {
    BTreeMap::from([("cpu".to_owned(), Ok(seen.usage.to_vec()))])
}
