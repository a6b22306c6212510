//! From an expert's guess to a quantile: how far from the truth its guesses are, in which direction, and when.
//!
//! A guess b is right up to an error that is sometimes large and sometimes small. Its size c is learned, so that the score
//! (truth − b) / c has the same distribution at all times; the quantile of the last scores, times c, is added to the guess. That
//! is split-conformal prediction with normalised scores (Papadopoulos 2008) over a moving window.

use super::experts::Grid;
use super::recent::{Ewma, FLOOR, Recent};
use super::regression::{Regression, Ridge};
use super::window::Scores;

/// Scores that quantiles are taken of: a day of minutes, so that each hour of the day has its say.
const SCORES: usize = 1440;
/// Scores before there is a quantile of errors as they come, and of scaled ones: until then persistence alone speaks.
const FEWEST: usize = 20;
const FEWEST_SCALED: usize = 100;
/// And so many horizons: scores of horizons that overlap are not independent.
const FEWEST_HORIZONS: usize = 4;

/// What the size of an error may depend on, in logarithms: a constant, the level, the volatility, how large errors were at this
/// time of the day, at this minute of the hour, and lately.
pub(super) const SIGNS: usize = 6;

/// An error's size and the signs that it was told from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    signs: [f64; SIGNS],
    /// In units of the level; positive.
    pub(super) size: f64,
}

/// Learns how large an expert's errors are: ln |error| is linear in the signs, fitted by least squares. Errors that do not depend
/// on the level, that are in proportion to it or to its root, that follow the volatility or the clock are special cases.
#[derive(Debug, Clone)]
pub(super) struct ErrorSize {
    fit: Regression,
    mean: Ewma,
    lately: Ewma,
    by_day: Vec<Ewma>,
    by_hour: Vec<Ewma>,
}

/// Parts of a day, and of an hour, that may have errors of their own size.
const PARTS_OF_DAY: usize = 48;
const PARTS_OF_HOUR: usize = 60;
/// Days after which an error's size counts half in that.
const HALF_LIFE: f64 = 5.0;
/// Minutes that "lately" goes back, from when errors became known.
const LATELY: f64 = 60.0;
/// Independent rows that "errors come as they come" is worth: a few hours of them say nothing yet of when errors are large.
const PRIOR: f64 = 30.0;
/// Days that sizes by the clock are the mean of.
const DAYS: f64 = 10.0;
const RIDGE: f64 = 1e-2;
/// Least error, as a share of the mean one: a guess that happened to be right says little about how wrong the next will be.
const LEAST: f64 = 0.05;
/// An error's size is within this factor of the mean one.
const MOST_UNLIKE: f64 = 5.0;

impl ErrorSize {
    pub(super) fn new(Grid { step_minutes, horizon }: Grid) -> Self {
        let day = 1440.0 / step_minutes;
        let ridge = Ridge { ridge: RIDGE, prior: PRIOR * horizon as f64 };
        let in_a_part = (day / PARTS_OF_DAY as f64).max(1.0);
        Self {
            fit: Regression::new(SIGNS, HALF_LIFE * day, ridge),
            mean: Ewma::new(day),
            lately: Ewma::new(LATELY / step_minutes),
            by_day: vec![Ewma::new(DAYS * in_a_part); PARTS_OF_DAY],
            by_hour: vec![Ewma::new(24.0); PARTS_OF_HOUR],
        }
    }

    fn parts(minutes: f64) -> (usize, usize) {
        let part = |period: f64, parts: usize| {
            // The rest first: it is exact, and a quotient is not.
            let share = minutes.rem_euclid(period) / period;
            ((share * parts as f64) as usize).min(parts - 1)
        };
        (part(1440.0, PARTS_OF_DAY), part(60.0, PARTS_OF_HOUR))
    }

    /// The size to expect of the error of `guess`, made at `minutes` since the epoch.
    pub(super) fn expect(&self, guess: f64, recent: &Recent, minutes: f64) -> Size {
        let usual = recent.usual().max(f64::MIN_POSITIVE);
        let mean = self.mean.get();
        let (day, hour) = Self::parts(minutes);
        let by_clock = |part: &Ewma| {
            let size = part.get();
            if size > 0.0 && mean > 0.0 {
                (size / mean).clamp(MOST_UNLIKE.recip(), MOST_UNLIKE).ln()
            } else {
                0.0
            }
        };
        let signs = [
            1.0,
            (guess / usual).max(FLOOR).ln(),
            (recent.volatility() / usual).max(1e-6).ln(),
            by_clock(&self.by_day[day]),
            by_clock(&self.by_hour[hour]),
            by_clock(&self.lately),
        ];
        let size = if mean > 0.0 {
            let told = self.fit.predict(&signs).clamp(-MOST_UNLIKE.ln(), MOST_UNLIKE.ln());
            mean * told.exp()
        } else {
            usual
        };
        Size { signs, size }
    }

    /// Learns the error of a guess that was made at `minutes`.
    pub(super) fn learn(&mut self, error: f64, told: &Size, minutes: f64) {
        let error = error.abs();
        let mean = self.mean.get();
        if mean > 0.0 {
            self.fit.learn(&told.signs, (error / mean).max(LEAST).ln(), 1.0);
        }
        self.mean.push(error);
        self.lately.push(error);
        let (day, hour) = Self::parts(minutes);
        self.by_day[day].push(error);
        self.by_hour[hour].push(error);
    }
}

/// Scores of one expert, and the sizes that they were made with.
#[derive(Debug, Clone)]
pub(super) struct Calibration {
    /// None for errors as they come.
    size: Option<ErrorSize>,
    scores: Scores,
    fewest: usize,
}

impl Calibration {
    /// For errors whose size is learned.
    pub(super) fn learned(grid: Grid) -> Self {
        Self {
            size: Some(ErrorSize::new(grid)),
            scores: Scores::new(SCORES),
            fewest: FEWEST_SCALED.max(FEWEST_HORIZONS * grid.horizon),
        }
    }

    /// For errors as they come.
    pub(super) fn plain() -> Self {
        Self { size: None, scores: Scores::new(SCORES), fewest: FEWEST }
    }

    pub(super) fn expect(&self, guess: f64, recent: &Recent, minutes: f64) -> Size {
        match &self.size {
            Some(size) => size.expect(guess, recent, minutes),
            None => Size { signs: [0.0; SIGNS], size: 1.0 },
        }
    }

    /// Finds anew what an error's size depends on.
    pub(super) fn refit(&mut self) {
        if let Some(size) = &mut self.size {
            size.fit.solve();
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let size = self.size.as_ref().map_or(0, |size| {
            size.fit.bytes() + (size.by_day.len() + size.by_hour.len()) * size_of::<Ewma>()
        });
        size + self.scores.bytes()
    }

    /// Learns how far `guess` was from `truth`.
    pub(super) fn learn(&mut self, guess: f64, truth: f64, told: &Size, minutes: f64) {
        let error = truth - guess;
        self.scores.push(error / told.size);
        if let Some(size) = &mut self.size {
            size.learn(error, told, minutes);
        }
    }

    /// The score that a share `tau` of the last ones did not exceed; none with too few.
    pub(super) fn quantile(&self, tau: f64) -> Option<f64> {
        let n = self.scores.len();
        match &self.size {
            None => (n >= FEWEST).then(|| self.scores.quantile(tau)).flatten(),
            Some(_) if n < self.fewest => None,
            // The fewer there are, the further up: with as few as there may be, it is the largest.
            Some(_) => {
                let few = self.fewest as f64 / n as f64;
                self.scores.quantile(1.0 - (1.0 - tau) * (1.0 - few))
            }
        }
    }
}
