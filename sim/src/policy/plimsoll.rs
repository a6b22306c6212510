//! `plimsoll`: the HPA that the controller keeps. External `plimsoll-desired-replicas`, AverageValue 1, no tolerance:
//! what is decided is what is set. The decision is the real one, in mode Auto.

use plimsoll::load::{Sample, Weighing};
use plimsoll::scale::{Autoscaler, Outcome};
use plimsoll::spec::{CapacityTarget, Checked, Mode};
use plimsoll::units::{MetricsQps, Quantity, Time};

use super::controller::{Controller, answer, external};
use super::knobs::Knobs;
use super::{Basis, Policy, PolicyError, Seen, Target};

const METRIC: &str = "plimsoll-desired-replicas";

#[derive(Debug)]
pub(super) struct Plimsoll {
    per_pod: f64,
    autoscaler: Autoscaler,
    controller: Controller,
}

/// An autoscaler as an object in a cluster would have it, with a capacity given in MetricsQPS.
pub(super) fn autoscaler(basis: &Basis<'_>, mode: Mode, per_pod: f64) -> Autoscaler {
    Autoscaler::new(Checked {
        min_replicas: basis.bounds.0,
        max_replicas: basis.bounds.1,
        mode,
        interval: basis.interval,
        weighing: Weighing::Given(basis.weights.clone()),
        target: CapacityTarget::Given(MetricsQps::saturating(per_pod)),
    })
}

impl Plimsoll {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let per_pod = knobs.positive("target")?.unwrap_or_else(|| basis.requests_per_pod());
        let metric = external(METRIC, Quantity::from_milli(1000));
        Ok(Self {
            per_pod,
            autoscaler: autoscaler(basis, Mode::Auto, per_pod),
            controller: Controller::exact(metric, basis.bounds),
        })
    }
}

impl Policy for Plimsoll {
    fn target(&self) -> Target {
        Target::MetricsQps(self.per_pod)
    }

    fn observe(&mut self, sample: &Sample) {
        // Refused only if it is older than the last one, and rounds do not go back.
        let _ = self.autoscaler.observe(sample);
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        let wanted = match self.autoscaler.decide(now).outcome {
            Outcome::Desired(desired) => Ok(f64::from(desired.replicas)),
            Outcome::NoOpinion(reason) => Err(reason.to_string()),
        };
        self.controller.reconcile(now, seen, &answer(METRIC, wanted))
    }
}
