//! `hpa-metricsqps`: a hand-written HPA on the metric alone. External `metricsqps`, AverageValue, tolerance 10 %. While
//! the load is not known the metric is an error, never a zero.

use plimsoll::load::Sample;
use plimsoll::scale::{Autoscaler, Fallback, Outcome};
use plimsoll::units::Time;

use super::controller::{Controller, answer, external, quantity};
use super::knobs::Knobs;
use super::plimsoll::given;
use super::{Basis, Policy, PolicyError, Seen, Target};

const METRIC: &str = "metricsqps";

#[derive(Debug)]
pub(super) struct HpaMetricsQps {
    per_pod: f64,
    autoscaler: Autoscaler,
    controller: Controller,
}

impl HpaMetricsQps {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let per_pod = knobs.positive("target")?.unwrap_or_else(|| basis.requests_per_pod());
        Ok(Self {
            per_pod,
            autoscaler: given(basis, None, per_pod),
            controller: Controller::new(external(METRIC, quantity(per_pod)), basis.bounds),
        })
    }
}

impl Policy for HpaMetricsQps {
    fn target(&self) -> Target {
        Target::MetricsQps(self.per_pod)
    }

    fn observe(&mut self, sample: &Sample) {
        // Refused only if it is older than the last one, and rounds do not go back.
        let _ = self.autoscaler.observe(sample);
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        let load = match self.autoscaler.decide(now).outcome {
            Outcome::Desired(desired) => Ok(desired.load.metricsqps.get()),
            Outcome::Fallback(Fallback { why, .. }) | Outcome::NoOpinion(why) => Err(why.to_string()),
        };
        self.controller.reconcile(now, seen, &answer(METRIC, load))
    }
}
