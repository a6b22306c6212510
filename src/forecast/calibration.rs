//! From an expert's guess to a quantile: how far from the truth its guesses are, in which direction, and when.
//!
//! A guess b is right up to an error that is sometimes large and sometimes small. Its size c is learned, so that the score
//! (truth − b) / c has the same distribution at all times; the quantile of the last scores, times c, is added to the guess. That
//! is split-conformal prediction with normalised scores (Papadopoulos 2008) over a moving window.

use super::experts::Grid;
use super::recent::{Ewma, FLOOR, Recent};
use super::regression::{Regression, Ridge};
use super::window::{Peak, Scores};

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
    signs: [f32; SIGNS],
    /// In units of the level; positive.
    pub(super) size: f64,
}

/// The part of the day and of the hour that a guess is made in.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    of_day: usize,
    of_hour: usize,
}

impl When {
    /// At so many minutes since the epoch.
    pub(super) fn at(minutes: f64) -> Self {
        let part = |period: f64, parts: usize| {
            // The rest first: it is exact, and a quotient is not.
            let share = minutes.rem_euclid(period) / period;
            ((share * parts as f64) as usize).min(parts - 1)
        };
        Self { of_day: part(1440.0, PARTS_OF_DAY), of_hour: part(60.0, PARTS_OF_HOUR) }
    }
}

/// What the sizes of all experts' errors are told from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    when: When,
    usual: f64,
    /// ln of the volatility in units of the usual level.
    volatility: f64,
}

impl Moment {
    pub(super) fn new(recent: &Recent, when: When) -> Self {
        let usual = recent.usual().max(f64::MIN_POSITIVE);
        Self { when, usual, volatility: (recent.volatility() / usual).max(1e-6).ln() }
    }
}

/// Learns how large an expert's errors are: ln |error| is linear in the signs, fitted by least squares. Errors that do not depend
/// on the level, that are in proportion to it or to its root, that follow the volatility or the clock are special cases.
#[derive(Debug, Clone)]
pub(super) struct ErrorSize {
    fit: Regression,
    mean: Ewma,
    lately: Ewma,
    by_day: Parts,
    by_hour: Parts,
}

/// Parts of a day, and of an hour, that may have errors of their own size.
const PARTS_OF_DAY: usize = 48;
const PARTS_OF_HOUR: usize = 60;
/// Days after which an error's size counts half in that.
const HALF_LIFE: f64 = 5.0;
/// Minutes that "lately" goes back, from when errors became known, and steps that it does at least.
const LATELY: f64 = 60.0;
const LATELY_STEPS: f64 = 30.0;
/// What an error counts whose truth was below the guess: bounds are upper ones, and after a spike guesses are far too high without the
/// next one being any nearer.
const BELOW: f64 = 0.3;
/// Independent rows that "errors come as they come" is worth: a few hours of them say nothing yet of when errors are large.
const PRIOR: f64 = 30.0;
/// Days that sizes by the clock are the mean of.
const DAYS: f64 = 10.0;
/// Hours that sizes by the minute are the mean of.
const HOURS: f64 = 24.0;
const RIDGE: f64 = 1e-2;
/// Least error, as a share of the mean one: a guess that happened to be right says little about how wrong the next will be.
const LEAST: f64 = 0.05;
/// An error's size is within this factor of the mean one.
const MOST_UNLIKE: f64 = 5.0;

/// Mean sizes by part of a period, kept small: there are a hundred of them for each expert.
#[derive(Debug, Clone)]
struct Parts {
    means: Vec<f64>,
    /// How many errors each is the mean of; what is more than fits does not matter any more.
    seen: Vec<u16>,
    rate: f64,
}

impl Parts {
    /// `memory` is after how many errors of a part one counts 1/e.
    fn new(parts: usize, memory: f64) -> Self {
        Self { means: vec![0.0; parts], seen: vec![0; parts], rate: -(-1.0 / memory).exp_m1() }
    }

    fn get(&self, part: usize) -> f64 {
        self.means.get(part).copied().unwrap_or(0.0)
    }

    fn push(&mut self, part: usize, size: f64) {
        if let (Some(mean), Some(seen)) = (self.means.get_mut(part), self.seen.get_mut(part)) {
            *seen = seen.saturating_add(1);
            *mean += (size - *mean) * self.rate.max(f64::from(*seen).recip());
        }
    }

    fn bytes(&self) -> usize {
        8 * self.means.capacity() + 2 * self.seen.capacity()
    }
}

impl ErrorSize {
    pub(super) fn new(Grid { step_minutes, horizon }: Grid) -> Self {
        let day = 1440.0 / step_minutes;
        let ridge = Ridge { ridge: RIDGE, prior: PRIOR * horizon as f64 };
        let in_a_part = (day / PARTS_OF_DAY as f64).max(1.0);
        Self {
            fit: Regression::new(SIGNS, HALF_LIFE * day, ridge),
            mean: Ewma::new(day),
            lately: Ewma::new((LATELY / step_minutes).max(LATELY_STEPS)),
            by_day: Parts::new(PARTS_OF_DAY, DAYS * in_a_part),
            by_hour: Parts::new(PARTS_OF_HOUR, HOURS),
        }
    }

    /// The size to expect of the error of `guess`.
    pub(super) fn expect(&self, guess: f64, Moment { when, usual, volatility }: Moment) -> Size {
        let mean = self.mean.get();
        let unlike = |size: f64| {
            if size > 0.0 && mean > 0.0 {
                (size / mean).clamp(MOST_UNLIKE.recip(), MOST_UNLIKE).ln()
            } else {
                0.0
            }
        };
        let signs = [
            1.0,
            (guess / usual).max(FLOOR).ln(),
            volatility,
            unlike(self.by_day.get(when.of_day)),
            unlike(self.by_hour.get(when.of_hour)),
            unlike(self.lately.get()),
        ];
        let size = if mean > 0.0 {
            let told = self.fit.predict(&signs).clamp(-MOST_UNLIKE.ln(), MOST_UNLIKE.ln());
            mean * told.exp()
        } else {
            usual
        };
        Size { signs: signs.map(|sign| sign as f32), size }
    }

    /// Learns the error of a guess that was made then.
    pub(super) fn learn(&mut self, error: f64, told: &Size, when: When) {
        let counts = if error > 0.0 { 1.0 } else { BELOW };
        let error = error.abs();
        let mean = self.mean.get();
        if mean > 0.0 {
            self.fit.learn(&told.signs.map(f64::from), (error / mean).max(LEAST).ln(), counts);
        }
        self.mean.push(error);
        self.lately.push(error);
        self.by_day.push(when.of_day, error);
        self.by_hour.push(when.of_hour, error);
    }
}

/// Scores of one expert, and the sizes that they were made with.
#[derive(Debug, Clone)]
pub(super) struct Calibration {
    /// None for errors as they come.
    size: Option<ErrorSize>,
    scores: Scores,
    fewest: usize,
    /// The largest error of the same time.
    largest: Peak,
}

impl Calibration {
    /// For errors whose size is learned.
    pub(super) fn learned(grid: Grid) -> Self {
        Self {
            size: Some(ErrorSize::new(grid)),
            scores: Scores::new(SCORES),
            fewest: FEWEST_SCALED.max(FEWEST_HORIZONS * grid.horizon).min(SCORES),
            largest: Peak::new(SCORES),
        }
    }

    /// For errors as they come.
    pub(super) fn plain() -> Self {
        Self { size: None, scores: Scores::new(SCORES), fewest: FEWEST, largest: Peak::new(SCORES) }
    }

    pub(super) fn expect(&self, guess: f64, moment: Moment) -> Size {
        match &self.size {
            Some(size) => size.expect(guess, moment),
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
        let size = self
            .size
            .as_ref()
            .map_or(0, |size| size.fit.bytes() + size.by_day.bytes() + size.by_hour.bytes());
        size + self.scores.bytes() + self.largest.bytes()
    }

    /// Learns how far `guess`, made then, was from `truth`.
    pub(super) fn learn(&mut self, guess: f64, truth: f64, told: &Size, when: When) {
        let error = truth - guess;
        self.scores.push(error / told.size);
        self.largest.push(error);
        if let Some(size) = &mut self.size {
            size.learn(error, told, when);
        }
    }

    /// Margins for errors of that size; none with too few scores.
    pub(super) fn margins(&self, size: &Size) -> Option<Margins<'_>> {
        let n = self.scores.len();
        let up = match &self.size {
            _ if n < self.fewest => return None,
            None => 0.0,
            // The fewer there are, the further up: with as few as there may be it is the largest, and with all of them the quantile
            // itself.
            Some(_) => {
                let share = |n: usize| (n as f64).recip() - (SCORES as f64).recip();
                if self.fewest < SCORES { share(n) / share(self.fewest) } else { 1.0 }
            }
        };
        Some(Margins { scores: &self.scores, size: size.size, up, largest: self.largest.get().max(0.0) })
    }
}

/// How far above a guess truths are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margins<'a> {
    scores: &'a Scores,
    size: f64,
    /// How much of the way up to the largest score is gone.
    up: f64,
    largest: f64,
}

impl Margins<'_> {
    /// The one that a share `tau` of the truths is within; none without scores. Never more than the largest error of the same time: a
    /// surprise makes sizes grow, and scores of before, when they were small, are large.
    pub(super) fn at(&self, tau: f64) -> Option<f64> {
        let score = self.scores.quantile(1.0 - (1.0 - tau) * (1.0 - self.up))?;
        Some((self.size * score).min(self.largest))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const GRID: Grid = Grid { step_minutes: 1.0, horizon: 1 };

    /// Shares of truths that the bound at 0.95 held, by what `part` each minute is in, over the last two of five days in which a
    /// guess's errors are `size` of the guess and the minute times a standard uniform number.
    fn coverage(
        mut calibration: Calibration,
        size: impl Fn(f64, usize) -> f64,
        part: impl Fn(f64, usize) -> usize,
    ) -> [f64; 2] {
        let mut random = Pcg64Mcg::seed_from_u64(9);
        let mut recent = Recent::new(1.0);
        let mut held = [(0.0, 0.0); 2];
        for minute in 0..5 * 1440 {
            let guess = 100.0 + 90.0 * (std::f64::consts::TAU * minute as f64 / 1440.0).sin();
            recent.push(Some(guess));
            let when = When::at(minute as f64);
            let told = calibration.expect(guess, Moment::new(&recent, when));
            let bound = calibration.margins(&told).and_then(|margins| Some(guess + margins.at(0.95)?));
            let truth = guess + size(guess, minute) * random.random_range(-1.0..1.0);
            if let Some(bound) = bound.filter(|_| minute >= 3 * 1440) {
                let (held, all) = &mut held[part(guess, minute)];
                *held += if truth <= bound { 1.0 } else { 0.0 };
                *all += 1.0;
            }
            calibration.learn(guess, truth, &told, when);
            if minute % 15 == 0 {
                calibration.refit();
            }
        }
        held.map(|(held, all)| held / all)
    }

    fn all_hold(shares: [f64; 2]) -> bool {
        shares.iter().all(|share| (0.925..0.975).contains(share))
    }

    #[test]
    fn bounds_hold_as_often_as_asked_for_at_any_level() {
        let by_level = |guess: f64, _: usize| usize::from(guess > 100.0);
        // Errors that do not depend on the level, that follow its root, and that are in proportion to it.
        for power in [0.0, 0.5, 1.0] {
            let shares = coverage(Calibration::learned(GRID), |guess, _| guess.powf(power), by_level);
            assert!(all_hold(shares), "power {power}: {shares:?}");
        }
        let plain = coverage(Calibration::plain(), |guess, _| guess, by_level);
        assert!(!all_hold(plain), "errors as they come are too small above and too large below: {plain:?}");
    }

    /// Errors that are ten times as large in ten minutes of each hour. Small ones count as a twentieth of the mean at least, and sizes by
    /// the clock are noisy means, so the difference is somewhat underrated: 0.87 of the bounds hold then, and 0.97 else.
    #[test]
    fn bounds_hold_nearly_as_often_as_asked_for_at_the_minutes_that_are_hard_to_tell() {
        let is_hard = |minute: usize| minute % 60 < 10;
        let shares = |calibration| {
            let size = |_, minute| if is_hard(minute) { 20.0 } else { 2.0 };
            coverage(calibration, size, |_, minute| usize::from(is_hard(minute)))
        };
        let [easy, hard] = shares(Calibration::learned(GRID));
        assert!(easy < 0.98 && hard > 0.85, "{easy} {hard}");
        let [easy, hard] = shares(Calibration::plain());
        assert!(easy > 0.99 && hard < 0.75, "errors as they come: {easy} {hard}");
    }

    #[test]
    fn with_few_scores_it_says_nothing_or_the_largest() {
        let mut calibration = Calibration::learned(GRID);
        let recent = Recent::new(1.0);
        let mut learn = |from: usize, until: usize| {
            for i in from..until {
                let when = When::at(i as f64);
                let told = Size { size: 1.0, ..calibration.expect(10.0, Moment::new(&recent, when)) };
                calibration.learn(10.0, 10.0 + (i % 50) as f64, &told, when);
            }
            calibration.margins(&Size { signs: [0.0; SIGNS], size: 1.0 })?.at(0.5)
        };
        assert_eq!(learn(0, FEWEST_SCALED - 1), None);
        assert_eq!(learn(FEWEST_SCALED - 1, FEWEST_SCALED), Some(49.0));
        assert!(learn(FEWEST_SCALED, 1400).unwrap() < 30.0);
    }
}
