//! Experts: each guesses the load's maximum over the horizon from one idea about how loads behave.
//!
//! An expert only has to move with the load. How far from the truth its guesses are, in which direction and when, is learned
//! by its calibration; how much it counts, by the mixture. So a new one earns its weight, and a bad one costs little.
//! To add one: a file here, and a line in [`simple`].

mod ewma;
mod holt;
mod holt_winters;
mod linear;
mod peak;
mod persistence;
mod season;
mod stack;
mod tuned;

use std::fmt;

pub(super) use linear::Linear;
pub(super) use season::Season;
pub(super) use stack::Stack;

use super::recent::Recent;

/// What an expert may look at: everything up to the step that was just closed, and nothing later.
#[derive(Debug)]
pub(super) struct Now<'a> {
    /// Number of the step that was just closed, counted from the epoch.
    pub(super) step: i64,
    /// The same, as the local clock counts: what tells the hour of the day.
    pub(super) local: i64,
    /// Its level; none where it is not known.
    pub(super) level: Option<f64>,
    /// The level is what got through: there was at least so much.
    pub(super) is_floor: bool,
    /// The present and what led to it, this step included.
    pub(super) recent: &'a Recent,
    /// Guesses of the experts before.
    pub(super) guesses: &'a [f64],
}

/// A maximum that has become known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The step after which it was guessed at.
    pub(super) origin: i64,
    /// The same, as the local clock counts.
    pub(super) local_origin: i64,
    /// The maximum over the horizon after it.
    pub(super) peak: f64,
    /// There was at least so much.
    pub(super) is_floor: bool,
}

/// Guesses the maximum of the next steps.
pub(super) trait Expert: fmt::Debug + Send + Sync {
    /// A word for tables and sentences.
    fn name(&self) -> &'static str;

    /// Learns a maximum that it guessed at. Comes before [`Self::guess`] of the same step.
    fn learn(&mut self, _known: &Known) {}

    /// Takes the step that was just closed, and guesses the maximum over the horizon after it. None while it has nothing to
    /// go by.
    fn guess(&mut self, now: &Now<'_>) -> Option<f64>;

    /// How far the last level was from what it expects at this time of the day; only of one that expects anything.
    fn surprise(&self) -> Option<f64> {
        None
    }

    /// Bytes on the heap.
    fn bytes(&self) -> usize {
        0
    }

    fn boxed(&self) -> Box<dyn Expert>;
}

impl Clone for Box<dyn Expert> {
    fn clone(&self) -> Self {
        self.as_ref().boxed()
    }
}

/// How the time is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// Minutes of a step.
    pub(super) step_minutes: f64,
    /// Steps ahead whose maximum is guessed at.
    pub(super) horizon: usize,
}

impl Grid {
    /// Steps of so many minutes; at least one.
    pub(super) fn steps(&self, minutes: f64) -> usize {
        super::recent::steps(minutes, self.step_minutes)
    }
}

const HOUR: f64 = 60.0;
const DAY: f64 = 24.0 * HOUR;
const WEEK: f64 = 7.0 * DAY;

/// Experts that look at the series alone. The first is the yardstick that all are measured by.
pub(super) fn simple(grid: Grid) -> Vec<Box<dyn Expert>> {
    vec![
        Box::new(persistence::Persistence),
        Box::new(peak::RecentPeak::new(grid)),
        Box::new(ewma::Smoothed::new(grid)),
        Box::new(holt::Holt::new(grid)),
        Box::new(season::Season::new("hour", grid, HOUR, 12.0)),
        Box::new(season::Season::new("day", grid, DAY, 3.0)),
        Box::new(season::Season::new("days", grid, DAY, 10.0)),
        Box::new(season::Season::new("week", grid, WEEK, 2.0)),
        Box::new(holt_winters::HoltWinters::new(grid, DAY)),
        found(None),
    ]
}

/// The place of the expert for a period that the data show and the calendar does not have; the last one.
pub(super) fn found(season: Option<Season>) -> Box<dyn Expert> {
    match season {
        Some(season) => Box::new(season),
        None => Box::new(Nobody),
    }
}

/// A season of so many steps.
pub(super) fn season_of(steps: usize, grid: Grid) -> Season {
    Season::new("found period", grid, steps as f64 * grid.step_minutes, 5.0)
}

/// Has nothing to say: nobody has found a period.
#[derive(Debug, Clone)]
struct Nobody;

impl Expert for Nobody {
    fn name(&self) -> &'static str {
        "found period"
    }

    fn guess(&mut self, _: &Now<'_>) -> Option<f64> {
        None
    }

    fn boxed(&self) -> Box<dyn Expert> {
        Box::new(self.clone())
    }
}
