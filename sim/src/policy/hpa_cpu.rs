//! `hpa-cpu`: what nearly everybody has. Resource cpu, Utilization, tolerance 10 %.

use plimsoll::hpa::Samples;
use plimsoll::units::Time;

use super::controller::{Controller, cpu, usage};
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
        Ok(Self { percent, controller: Controller::new(cpu(percent), basis.bounds) })
    }
}

impl Policy for HpaCpu {
    fn target(&self) -> Target {
        Target::Cpu(self.percent)
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        self.controller.reconcile(now, seen, &Samples { resources: usage(seen), ..Samples::default() })
    }
}
