//! How good the forecaster's bounds would have been: a series is gone through step by step, and what was said is held against what
//! came.
//!
//! When step t ends, the forecaster has seen x₀ … x_t and gives the bound B_t. What comes is Y_t, the maximum of the next H steps.
//! The last share of the series is the test part; its steps t whose H next steps are all in the series are scored. The forecaster
//! learns from the first step on and is not held back at the test part: it sees everything up to t, and nothing after it. Counts are
//! taken as they stand, without cleaning.
//!
//! The yardstick is persistence with its own errors: x_t plus the quantile of what Y exceeded x by over the last 1440 steps whose Y is
//! known. Like split conformal prediction (Vovk et al., "Algorithmic Learning in a Random World", 2005) it covers what it is asked to,
//! and knows nothing else.

mod tally;

use std::collections::VecDeque;

use plimsoll::forecast::{Forecaster, Promise, Settings as Asked, Step};
use plimsoll::units::Span;
use serde::Serialize;

use crate::fluid::{Parts, Plant};
use crate::series::Series;
use crate::sliding::Sliding;
use tally::Tally;
pub use tally::{Day, pinball};

/// Fewest steps that are scored, and that the forecaster sees before: with fewer known errors it says nothing by them.
const FEWEST: usize = 20;

/// Refits that the mean cost of one is of.
const REFITS: u32 = 20;

/// What is asked of the forecaster, and of which part of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How far ahead bounds hold; above zero. Rounded to steps, one at least.
    pub horizon: Span,
    /// The quantile that bounds are to be: 0.5 to 0.999.
    pub quantile: f64,
    /// Share of the series, its end, that is scored: 0.01 to 0.9.
    pub test_fraction: f64,
}

/// What cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// A setting is out of its range.
    #[error("{setting} is {value}: expected {expected}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The series is too short for figures that tell anything.
    #[error(
        "{trace}: its {steps} steps are too few for a horizon of {horizon}: the forecaster would see {before} of them before \
         the test part and be scored at {scored}, and needs a horizon and {FEWEST} before and {FEWEST} to be scored at. Take a longer \
         trace, a shorter horizon or step, or another test fraction"
    )]
    TooShort {
        /// The series.
        trace: String,
        /// How many steps it has.
        steps: usize,
        /// The horizon, in whole steps.
        horizon: Span,
        /// Steps before the test part.
        before: usize,
        /// Steps of the test part whose horizon is in the series.
        scored: usize,
    },
}

/// What was said after one step of the test part, and what came. In requests a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Which step of the series, from 0.
    pub index: usize,
    /// x_t: requests in the step.
    pub load: f64,
    /// Y_t: the largest of the H steps after it.
    pub peak: f64,
    /// B_t: what Y_t is to exceed in no more than a share 1 − quantile of the steps. 0 as long as there is no forecast.
    pub bound: f64,
    /// What Y_t is as likely to exceed as not. 0 as long as there is no forecast.
    pub middle: f64,
    /// What persistence with its own errors says in place of B_t. 0 as long as too few of them are known.
    pub yardstick: f64,
}

impl Point {
    /// Whether more came than the bound.
    pub fn is_miss(&self) -> bool {
        self.peak > self.bound
    }
}

/// The figures over the test part. Serialized as it stands. Losses and errors are in requests a step, shares from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// 1. It changes when a field changes its meaning or goes.
    pub schema: u32,
    /// The series.
    pub trace: String,
    /// Length of a step.
    pub step_s: f64,
    /// The horizon, in whole steps.
    pub horizon_s: f64,
    /// The quantile that was asked for.
    pub quantile: f64,
    /// Steps that were scored.
    pub steps: usize,
    /// Mean of [`pinball`] of the bounds: less is better.
    pub pinball: f64,
    /// The same of persistence with its own errors.
    pub pinball_r0: f64,
    /// 1 − `pinball` / `pinball_r0`: 0 is no better than persistence, 1 is perfect. None if persistence lost nothing.
    pub skill: Option<f64>,
    /// Share of the bounds that held; good is the quantile.
    pub coverage: f64,
    /// The same of persistence with its own errors.
    pub coverage_r0: f64,
    /// The least coverage of a day at which half a day or more was scored. None without such a day.
    pub worst_day_coverage: Option<f64>,
    /// Mean absolute error of the middle forecast of Y_t.
    pub mae: f64,
    /// The same of x_t.
    pub mae_persistence: f64,
    /// Root of the mean squared error of the middle forecast of Y_t.
    pub rmse: f64,
    /// The same of x_t.
    pub rmse_persistence: f64,
    /// Time of closing a step of the series: the median. Where steps are shorter than ten minutes that is one in which nothing is fitted anew.
    pub seconds_per_step: f64,
    /// Mean time of a refit with all that was seen.
    pub seconds_per_refit: f64,
    /// Time of a day's steps with all that is fitted and looked for meanwhile: the mean over the series, its beginning included.
    pub seconds_per_day: f64,
    /// Memory of the forecaster at the end, in bytes.
    pub bytes_per_workload: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Backtest {
    /// The figures.
    pub report: Report,
    /// Every day that was scored at, in order. Days are counted from the beginning of the series, each 24 h.
    pub days: Vec<Day>,
}

impl Settings {
    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn check(&self) -> Result<(), BacktestError> {
        let check = |fits: bool, setting, value: String, expected| {
            if fits { Ok(()) } else { Err(BacktestError::Setting { setting, value, expected }) }
        };
        let Self { horizon, quantile, test_fraction } = self;
        check(horizon.is_positive(), "horizon", horizon.to_string(), "more than 0s")?;
        check((0.5..=0.999).contains(quantile), "quantile", quantile.to_string(), "0.5 to 0.999")?;
        let fits = (0.01..=0.9).contains(test_fraction);
        check(fits, "test fraction", test_fraction.to_string(), "0.01 to 0.9")
    }

    /// The horizon in steps of the series, and where its test part begins.
    fn parts(&self, series: &Series) -> Result<(usize, usize), BacktestError> {
        self.check()?;
        if series.step < Span::from_secs(1) {
            let value = series.step.to_string();
            return Err(BacktestError::Setting { setting: "step", value, expected: "at least 1s" });
        }
        let steps = series.counts.len();
        let horizon = Plant::steps(series.step, self.horizon);
        let before = Parts::new(steps, self.test_fraction).test;
        let scored = steps.saturating_sub(before).saturating_sub(horizon);
        if before < horizon.saturating_add(FEWEST) || scored < FEWEST {
            let horizon = series.step * i64::try_from(horizon).unwrap_or(i64::MAX);
            return Err(BacktestError::TooShort {
                trace: series.name.clone(),
                steps,
                horizon,
                before,
                scored,
            });
        }
        Ok((horizon, before))
    }
}

/// Goes through the series and tells `each` step that is scored, in order. `clock` says what time it is, from any beginning: figures on
/// time are from it, and no other figure is.
///
/// # Errors
/// When a setting is out of its range, a step is shorter than a second, or the series is too short: at least 20 steps must be scored,
/// and a horizon and 20 steps come before them.
pub fn backtest(
    series: &Series,
    settings: &Settings,
    mut clock: impl FnMut() -> Span,
    mut each: impl FnMut(&Point),
) -> Result<Backtest, BacktestError> {
    let (horizon, test) = settings.parts(series)?;
    let span = series.step * i64::try_from(horizon).unwrap_or(i64::MAX);
    let asked = Asked { step: series.step, ..Asked::new(span, Promise::Quantile(settings.quantile)) };
    let mut forecaster = Forecaster::new(asked, &[1.0]);
    let mut tally = Tally::new(series.step, settings.quantile);
    let mut highest = Sliding::largest(horizon);
    let mut waiting: VecDeque<Point> = VecDeque::with_capacity(horizon + 1);
    let mut closing = Vec::with_capacity(series.counts.len());
    for (number, (index, load)) in (0..).zip(series.counts.iter().copied().enumerate()) {
        let peak = highest.push(load);
        // The horizon of the step that is so long ago has just passed.
        if waiting.len() == horizon
            && let Some(point) = waiting.pop_front()
        {
            let point = Point { peak, ..point };
            tally.add(&point);
            each(&point);
        }
        let before = clock();
        forecaster.close(number, Some(Step { rates: &[load], is_floor: false }));
        closing.push(clock() - before);
        if index >= test {
            let (bound, middle) = match forecaster.forecast() {
                Some(forecast) => (forecast.bound.get(), forecast.middle.get()),
                None => (0.0, 0.0),
            };
            let yardstick = forecaster.bounds_at(settings.quantile).map_or(0.0, |(_, yardstick)| yardstick);
            waiting.push_back(Point { index, load, peak: 0.0, bound, middle, yardstick });
        }
    }
    let bytes_per_workload = forecaster.bytes();
    let before = clock();
    (0..REFITS).for_each(|_| forecaster.refit());
    let refitting = clock() - before;
    let mut done = tally.finish();
    done.report = Report {
        trace: series.name.clone(),
        horizon_s: span.as_secs_f64(),
        seconds_per_step: median(&mut closing).as_secs_f64(),
        seconds_per_day: closing.iter().map(|time| time.as_secs_f64()).sum::<f64>() / closing.len() as f64
            * (tally::DAY.as_secs_f64() / series.step.as_secs_f64()),
        seconds_per_refit: refitting.as_secs_f64() / f64::from(REFITS),
        bytes_per_workload,
        ..done.report
    };
    Ok(done)
}

/// The middle one, of two the longer; zero of none.
fn median(times: &mut [Span]) -> Span {
    let middle = times.len() / 2;
    if times.is_empty() { Span::ZERO } else { *times.select_nth_unstable(middle).1 }
}

#[cfg(test)]
mod tests;
