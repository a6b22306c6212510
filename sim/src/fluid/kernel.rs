//! The closed loop: a rule decides, pods are ordered, and are ready after the lead.

use plimsoll::units::Span;

use super::actuator::Actuator;
use super::rules::Rule;
use crate::sliding::Sliding;

/// The workload, and who orders its pods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plant {
    /// How long a step is; above zero.
    pub step: Span,
    /// Load that one pod carries, in requests a step; above zero.
    pub capacity: f64,
    /// Steps from a decision until what it orders counts as ready; at least 1. What is ordered when a step ends is
    /// ready when the `lead`-th step after it begins.
    pub lead: usize,
    /// Steps for which a number of pods is not gone below, the one in which it is wanted included; at least 1. Of the ideal
    /// actuator only: the HPA stabilizes for itself.
    pub hold: usize,
    /// Who orders the pods.
    pub actuator: Actuator,
}

impl Plant {
    /// How many steps a length of time is: the nearest number, one at least.
    pub fn steps(step: Span, length: Span) -> usize {
        let steps = (length.as_secs_f64() / step.as_secs_f64() + 0.5).floor();
        (steps as usize).max(1)
    }

    /// The fewest pods that carry so much load.
    pub fn pods(&self, load: f64) -> u32 {
        (load / self.capacity).ceil() as u32
    }
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Which one, from 0. The first step of a series has no decision before it, and is left out.
    pub index: usize,
    /// Requests that arrived in it.
    pub load: f64,
    /// Requests of a step that one pod carries.
    pub capacity: f64,
    /// Pods that are paid for, from their order on; the mean over the step.
    pub paid: f64,
    /// Pods that are ready; the mean over the step.
    pub ready: f64,
    /// Pods ordered and given back during the step.
    pub changed: f64,
    /// Load that the pods carried; none where the loop does not follow what is left over.
    pub carried: Option<f64>,
}

impl Step {
    /// The fewest pods that carry the load.
    pub fn demand(&self) -> f64 {
        (self.load / self.capacity).ceil()
    }
}

/// Runs `rule` over all of `counts` and tells `each` how every step but the first one went.
///
/// When step t ends, the rule has seen the loads of steps 0 to t and says which load it wants to be able to carry. From
/// t+1 on the pods for it are ordered and paid for; they are ready from t + `lead` on. Pods that are given back are gone at once, be they ready
/// or not, so the ready pods are the fewest that were ordered during the lead. Load that is not carried is lost: there are
/// no queues.
pub fn run(counts: &[f64], plant: &Plant, rule: &mut dyn Rule, mut each: impl FnMut(&Step)) {
    let Some((first, rest)) = counts.split_first() else { return };
    let ticks = plant.actuator.ticks(plant.step);
    let wanted = plant.pods(rule.decide(*first));
    let mut acting = plant.actuator.begin(plant.step, plant.hold, wanted);
    acting.want(wanted);
    let mut standing =
        Sliding::smallest(plant.lead.saturating_sub(1).saturating_mul(ticks).saturating_add(1));
    let mut before = None;
    for (i, load) in rest.iter().enumerate() {
        let (mut paid, mut ready, mut changed) = (0u64, 0u64, 0u64);
        for _ in 0..ticks {
            let ordered = acting.tick();
            changed += u64::from(before.replace(ordered).unwrap_or(ordered).abs_diff(ordered));
            paid += u64::from(ordered);
            ready += u64::from(standing.push(ordered));
        }
        let mean = |sum: u64| sum as f64 / ticks as f64;
        each(&Step {
            index: i + 1,
            load: *load,
            capacity: plant.capacity,
            paid: mean(paid),
            ready: mean(ready),
            changed: changed as f64,
            carried: None,
        });
        acting.want(plant.pods(rule.decide(*load)));
    }
}
