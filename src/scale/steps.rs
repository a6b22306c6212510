//! The way from the load to the replicas, with a reason for each step.

use super::bounds::Bounds;
use super::step_kind::{Step, StepKind};

/// The steps taken so far, and where they led.
pub(super) struct Steps {
    pub(super) replicas: u32,
    pub(super) taken: Vec<Step>,
}

impl Steps {
    /// Begins with a first proposal.
    pub(super) fn from(replicas: u32, kind: StepKind) -> Self {
        Self { replicas, taken: vec![Step { replicas, kind }] }
    }

    /// A reason not to go below `floor`: noted only where it changes something.
    pub(super) fn at_least(&mut self, floor: u32, kind: StepKind) {
        if self.replicas < floor {
            self.set(floor, kind);
        }
    }

    /// Keeps to the user's bounds, whatever was asked for.
    pub(super) fn within(&mut self, bounds: Bounds<'_>) {
        let Bounds { least, most } = bounds;
        self.at_least(least.replicas, StepKind::MinReplicas { schedule: least.schedule.map(str::to_owned) });
        if self.replicas > most.replicas {
            self.set(most.replicas, StepKind::MaxReplicas { schedule: most.schedule.map(str::to_owned) });
        }
    }

    /// Goes to `replicas`, up or down.
    pub(super) fn set(&mut self, replicas: u32, kind: StepKind) {
        self.replicas = replicas;
        self.taken.push(Step { replicas, kind });
    }
}
