//! `fixed`: always as many pods. By default as many as the busiest minute of the trace needs, which nobody knows
//! beforehand, within the bounds that the others have.

use plimsoll::units::Time;

use super::knobs::Knobs;
use super::{Basis, Policy, PolicyError, Seen, Target};

#[derive(Debug)]
pub(super) struct Fixed(u32);

impl Fixed {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let given =
            knobs.get("replicas", "a number of pods, from 1 to 100000", |n| (1..=100_000).contains(n))?;
        let (min, max) = basis.bounds;
        Ok(Self(given.unwrap_or_else(|| basis.pods_for(basis.profile.peak_minute).clamp(min, max))))
    }
}

impl Policy for Fixed {
    fn target(&self) -> Target {
        Target::Pods(self.0)
    }

    fn looks(&self) -> bool {
        false
    }

    fn start(&self, _: u32) -> u32 {
        self.0
    }

    fn reconcile(&mut self, _: Time, _: &Seen<'_>) -> u32 {
        self.0
    }
}
