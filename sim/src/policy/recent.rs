//! `max-recent` and `mean-recent`: the maximum or the mean of the last minutes of MetricsQPS over a utilization, as
//! `max_over_time(metricsqps[15m])` in an HPA's External metric would have it. On noisy load a long maximum is a strong rule: it
//! pays for the last burst's pods once and has them for the next one.

use std::collections::VecDeque;

use ::plimsoll::load::{Load, Sample};
use ::plimsoll::units::{Span, Time};

use super::PolicyError;
use super::knobs::Knobs;
use super::planned::{Plan, TargetPod};

#[derive(Debug)]
pub(super) struct Recent {
    window: Span,
    of: fn(&mut dyn Iterator<Item = f64>) -> f64,
    samples: VecDeque<(Time, f64)>,
}

impl Recent {
    /// The maximum, of 15 minutes unless the knob says other.
    pub(super) fn maximum(knobs: &mut Knobs) -> Result<Self, PolicyError> {
        Self::with(knobs, 15, |loads| loads.fold(0.0, f64::max))
    }

    /// The mean, of 5 minutes unless the knob says other.
    pub(super) fn mean(knobs: &mut Knobs) -> Result<Self, PolicyError> {
        Self::with(knobs, 5, |loads| {
            let (sum, count) = loads.fold((0.0, 0.0), |(sum, count), load| (sum + load, count + 1.0));
            sum / count
        })
    }

    fn with(
        knobs: &mut Knobs,
        minutes: i64,
        of: fn(&mut dyn Iterator<Item = f64>) -> f64,
    ) -> Result<Self, PolicyError> {
        let given = knobs.get("minutes", "minutes, from 1 to 1440", |n| (1..=1440).contains(n))?;
        let window = Span::from_secs(60) * given.unwrap_or(minutes);
        Ok(Self { window, of, samples: VecDeque::new() })
    }
}

impl Plan for Recent {
    fn measure(&mut self, load: &Load, sample: &Sample, pod: TargetPod) -> Option<f64> {
        self.samples.push_back((sample.at, load.metricsqps.get() / pod.metricsqps));
        while self.samples.front().is_some_and(|(at, _)| *at + self.window <= sample.at) {
            self.samples.pop_front();
        }
        self.samples.back().map(|(_, load)| *load)
    }

    fn wanted(&mut self, _: Time, newest: Option<f64>) -> Option<f64> {
        // While nothing new is known, nothing is said, as of a query whose newest point is stale.
        newest.map(|_| (self.of)(&mut self.samples.iter().map(|(_, load)| *load)))
    }
}
