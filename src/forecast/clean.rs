//! What in a series is not load: outages, told from zeros; and levels that have shifted for good, told from noise.
//!
//! Spikes are no matter of this: they are scored like everything else, and only what learns a season takes no more of them than
//! is usual.

use serde::{Deserialize, Serialize};

use super::engine::Level;
use super::level_shift::{Direction, LevelShift};
use super::recent::Ewma;

/// Steps that a short gap has: a horizon with one in it is still known.
const SHORT_GAP: u32 = 2;

/// A level that falls at once to less than this share of what it was…
const GONE: f64 = 0.02;
/// …where it was at least this share of the usual one, is gone, not low…
const SOMETHING: f64 = 0.2;
/// …until it is this share of what it was again…
const BACK: f64 = 0.1;
/// …or so many minutes have passed: then nobody comes any more.
const BELIEVED_AFTER: f64 = 30.0;

/// A level that has shifted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shifted {
    /// Where it went.
    pub direction: Direction,
    /// How many steps ago it began to.
    pub steps_ago: u32,
}

/// Minutes that the present level is the mean of.
const PRESENT: f64 = 5.0;

/// Minutes for which a shift is news.
const NEWS: f64 = 1440.0;

/// Tells outages and shifts, step by step.
#[derive(Debug, Clone)]
pub(super) struct Cleaner {
    step_minutes: f64,
    /// The level of the last minutes, and of the last week.
    present: Ewma,
    usual: Ewma,
    /// Minutes since the level was gone, and what it was before.
    gone: Option<(f64, f64)>,
    /// The last level that was load, and steps of which nothing was known since.
    last: Option<Level>,
    missing: u32,
    shift: LevelShift,
    shifted: Option<(Shifted, f64)>,
    /// The last error of the profile, how it follows from the one before, and the size of what does not.
    last_error: f64,
    products: Ewma,
    squares: Ewma,
    innovations: Ewma,
}

impl Cleaner {
    pub(super) fn new(step_minutes: f64) -> Self {
        let ewma = |minutes: f64| Ewma::new(minutes / step_minutes);
        Self {
            step_minutes,
            present: ewma(PRESENT),
            usual: ewma(7.0 * 1440.0),
            gone: None,
            last: None,
            missing: 0,
            shift: LevelShift::new(),
            shifted: None,
            last_error: 0.0,
            products: ewma(1440.0),
            squares: ewma(1440.0),
            innovations: ewma(1440.0),
        }
    }

    /// The level as it is to be learned from: none while it is gone. A short gap is as the step before it was.
    pub(super) fn clean(&mut self, level: Option<Level>) -> Option<Level> {
        let Some(level) = level else {
            self.missing += 1;
            return self.last.filter(|_| self.missing <= SHORT_GAP && self.gone.is_none());
        };
        self.missing = 0;
        let before = self.present.get();
        match &mut self.gone {
            Some((minutes, was)) => {
                *minutes += self.step_minutes;
                let is_believed = *minutes > BELIEVED_AFTER;
                if is_believed {
                    // The level is what it is now, not what it was.
                    self.present = Ewma::new(PRESENT / self.step_minutes);
                }
                if level.value > BACK * *was || is_believed {
                    self.gone = None;
                }
            }
            None if level.value < GONE * before && before > SOMETHING * self.usual.get() => {
                self.gone = Some((0.0, before));
            }
            None => {}
        }
        if self.gone.is_some() {
            return None;
        }
        self.present.push(level.value);
        self.usual.push(level.value);
        self.last = Some(level);
        self.last
    }

    /// Takes how far a level is from what its season expects. What is carried over from step to step is taken off first: the sum that
    /// watches for shifts is for errors that are not autocorrelated.
    pub(super) fn watch(&mut self, error: f64) {
        self.products.push(error * self.last_error);
        self.squares.push(error * error);
        let carried = if self.squares.get() > 0.0 {
            (self.products.get() / self.squares.get()).clamp(0.0, 0.99)
        } else {
            0.0
        };
        let innovation = error - carried * self.last_error;
        let size = self.innovations.get().sqrt();
        self.innovations.push(innovation * innovation);
        self.last_error = error;
        if let Some((shifted, minutes)) = &mut self.shifted {
            shifted.steps_ago = shifted.steps_ago.saturating_add(1);
            *minutes += self.step_minutes;
            if *minutes > NEWS {
                self.shifted = None;
            }
        }
        if size > 0.0
            && let Some(shift) = self.shift.observe(innovation / size)
        {
            let shifted = Shifted { direction: shift.direction, steps_ago: shift.steps };
            self.shifted = Some((shifted, 0.0));
        }
    }

    /// The last shift of the level, if it was within a day.
    pub(super) fn shifted(&self) -> Option<Shifted> {
        self.shifted.map(|(shifted, _)| shifted)
    }

    /// Whether the level is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(value: f64) -> Option<Level> {
        Some(Level { value, is_floor: false })
    }

    fn busy() -> Cleaner {
        let mut cleaner = Cleaner::new(1.0);
        for _ in 0..600 {
            assert!(cleaner.clean(level(100.0)).is_some());
        }
        cleaner
    }

    #[test]
    fn a_short_gap_is_as_before_and_a_long_one_is_not_known() {
        let mut cleaner = busy();
        let steps =
            [None, None, None, level(90.0), None].map(|level| cleaner.clean(level).map(|level| level.value));
        assert_eq!(steps, [Some(100.0), Some(100.0), None, Some(90.0), Some(90.0)]);
    }

    #[test]
    fn a_load_that_is_gone_at_once_is_an_outage_until_it_is_back() {
        let mut cleaner = busy();
        for _ in 0..10 {
            assert_eq!(cleaner.clean(level(0.0)), None);
        }
        assert!(cleaner.is_gone());
        assert_eq!(cleaner.clean(level(90.0)), level(90.0));
    }

    #[test]
    fn a_load_that_stays_away_is_none() {
        let mut cleaner = busy();
        let missing = (0..60).filter(|_| cleaner.clean(level(0.0)).is_none()).count();
        assert_eq!(missing, 31);
        assert_eq!(cleaner.clean(level(0.0)), level(0.0));
    }

    #[test]
    fn a_load_that_ebbs_to_zero_is_no_outage() {
        let mut cleaner = busy();
        let mut value = 100.0;
        for _ in 0..200 {
            value *= 0.9;
            assert!(cleaner.clean(level(value)).is_some());
        }
        assert!(cleaner.clean(level(0.0)).is_some());
    }
}
