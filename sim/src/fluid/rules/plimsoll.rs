//! Plimsoll's own rule.

use plimsoll::units::{Percent, Span};

use super::super::kernel::Plant;
use super::super::sliding::Sliding;
use super::Rule;

/// A stand-in until the forecaster is there: the maximum of the last hour at a utilization of 80 %. It keeps no objective.
#[derive(Debug, Clone)]
pub struct Plimsoll {
    largest: Sliding<f64>,
}

impl Plimsoll {
    /// For steps of that length (above zero), pods that are ready after `lead`, and load above the ready capacity in no more
    /// than a share `objective` of the time. `capacity` is what one pod carries, in requests a step, above zero.
    pub fn new(step: Span, lead: Span, objective: Percent, capacity: f64) -> Self {
        let _ = (lead, objective, capacity);
        Self { largest: Sliding::largest(Plant::steps(step, Span::from_secs(3600))) }
    }
}

impl Rule for Plimsoll {
    fn decide(&mut self, load: f64) -> f64 {
        self.largest.push(load) / 0.8
    }
}
