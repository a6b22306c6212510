//! Plimsoll's own rule.

use plimsoll::forecast::{Forecaster, Promise, Settings, Step};
use plimsoll::units::{MetricsQps, Percent, Span};

use super::Rule;

/// The forecaster's bound, at the quantile that it tunes to its promise as it goes.
#[derive(Debug, Clone)]
pub struct Plimsoll {
    forecaster: Forecaster,
    number: i64,
}

impl Plimsoll {
    /// For steps of that length (above zero), pods that are ready after `lead`, and load above the ready capacity in no more
    /// than a share `objective` of the time. `capacity` is what one pod carries, in requests a step, above zero.
    pub fn new(step: Span, lead: Span, objective: Percent, capacity: f64) -> Self {
        let settings = Settings { step, ..Settings::new(lead, Promise::ShortTime(objective)) };
        let mut forecaster = Forecaster::new(settings, &[1.0]);
        forecaster.set_per_pod(MetricsQps::new(capacity).ok());
        Self { forecaster, number: 0 }
    }
}

impl Rule for Plimsoll {
    fn decide(&mut self, load: f64) -> f64 {
        self.forecaster.close(self.number, Some(Step { rates: &[load], is_floor: false }));
        self.number += 1;
        self.forecaster.forecast().map_or(load, |forecast| forecast.bound.get())
    }
}
