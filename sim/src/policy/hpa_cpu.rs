//! `hpa-cpu`: what nearly everybody has. Resource cpu, Utilization, tolerance 10 %.

use std::collections::BTreeMap;

use plimsoll::hpa::{MetricSpec, ResourceTarget, Samples};
use plimsoll::units::Time;

use super::controller::Controller;
use super::knobs::Knobs;
use super::{Basis, Policy, PolicyError, Seen, Target};

#[derive(Debug)]
pub(super) struct HpaCpu {
    percent: i32,
    controller: Controller,
}

impl HpaCpu {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let percent = knobs.utilization()?.unwrap_or_else(|| basis.whole_percent());
        let target = ResourceTarget::Utilization(percent);
        let metric = MetricSpec::Resource { resource: "cpu".to_owned(), target };
        Ok(Self { percent, controller: Controller::new(metric, basis.bounds) })
    }
}

impl Policy for HpaCpu {
    fn target(&self) -> Target {
        Target::Cpu(self.percent)
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        let resources = BTreeMap::from([("cpu".to_owned(), Ok(seen.usage.to_vec()))]);
        self.controller.reconcile(now, seen, &Samples { resources, ..Samples::default() })
    }
}
