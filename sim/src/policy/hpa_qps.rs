//! `hpa-qps`: requests per second, as a counter of answered requests shows them, whatever they cost. External,
//! AverageValue, tolerance 10 %. The evidence is the same scrape that MetricsQPS is made from.

use plimsoll::load::{HistogramRates, Sample};
use plimsoll::units::Time;

use super::controller::{Controller, answer, external, quantity};
use super::knobs::Knobs;
use super::{Basis, Policy, PolicyError, Seen, Target};

const METRIC: &str = "requests-per-second";

#[derive(Debug)]
pub(super) struct HpaQps {
    per_pod: f64,
    newest: Result<f64, String>,
    controller: Controller,
}

impl HpaQps {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let per_pod = knobs.positive("target")?.unwrap_or_else(|| basis.requests_per_pod());
        Ok(Self {
            per_pod,
            newest: Err("nothing was measured yet".to_owned()),
            controller: Controller::new(external(METRIC, quantity(per_pod)), basis.bounds),
        })
    }
}

impl Policy for HpaQps {
    fn target(&self) -> Target {
        Target::Requests(self.per_pod)
    }

    fn observe(&mut self, sample: &Sample) {
        let histograms = sample.groups.iter().flat_map(|g| &g.histograms);
        let completed: f64 = histograms.map(HistogramRates::total).sum();
        let rejected: f64 = sample.groups.iter().filter_map(|g| g.rejected).map(|r| r.get()).sum();
        self.newest = if sample.groups.is_empty() {
            Err("no pod was read twice yet".to_owned())
        } else {
            Ok(completed + rejected)
        };
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        self.controller.reconcile(now, seen, &answer(METRIC, self.newest.clone()))
    }
}
