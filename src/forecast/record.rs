//! How good the forecast has been lately: what it lost against persistence, and how often its bounds held.

use super::mixture::pinball;
use super::recent::Ewma;

/// Minutes after which a score counts 1/e: a day; and at least so many steps, since a few bursts are not the forecast's fault.
const MEMORY: f64 = 1440.0;
const LEAST_MEMORY: f64 = 720.0;

/// Minutes of scores before a verdict: what a few of them say is chance.
const LEAST: f64 = 240.0;

/// A forecast that loses more than persistence by this share is not trusted...
const LEAST_SKILL: f64 = -0.25;
/// ...until it loses no more than it.
const SKILL_AGAIN: f64 = 0.0;

/// So many times the misses that were asked for, and this many more, and it is not trusted...
const MOST_MISSES: f64 = 3.0;
const MORE_MISSES: f64 = 0.05;

/// Scores of the bound that was in force.
#[derive(Debug, Clone)]
pub(super) struct Record {
    loss: Ewma,
    yardstick: Ewma,
    misses: Ewma,
    allowed: Ewma,
    scored: f64,
    step_minutes: f64,
    is_trusted: bool,
}

impl Record {
    pub(super) fn new(step_minutes: f64) -> Self {
        let ewma = || Ewma::new((MEMORY / step_minutes).max(LEAST_MEMORY));
        Self {
            loss: ewma(),
            yardstick: ewma(),
            misses: ewma(),
            allowed: ewma(),
            scored: 0.0,
            step_minutes,
            is_trusted: true,
        }
    }

    /// Learns what came after `bound` and persistence's `yardstick` had been given at quantile `tau`.
    pub(super) fn learn(&mut self, tau: f64, bound: f64, yardstick: f64, truth: f64) {
        self.loss.push(pinball(tau, bound, truth));
        self.yardstick.push(pinball(tau, yardstick, truth));
        self.misses.push(if truth > bound { 1.0 } else { 0.0 });
        self.allowed.push(1.0 - tau);
        self.scored += self.step_minutes;
        if self.scored < LEAST {
            return;
        }
        let skill = self.skill().unwrap_or(0.0);
        let most = MOST_MISSES * self.allowed.get() + MORE_MISSES;
        let covers = self.misses.get() <= most;
        let least = if self.is_trusted { LEAST_SKILL } else { SKILL_AGAIN };
        self.is_trusted = covers && skill >= least;
    }

    /// 1 − loss / loss of persistence; none before there is one.
    pub(super) fn skill(&self) -> Option<f64> {
        let yardstick = self.yardstick.get();
        (yardstick > 0.0).then(|| 1.0 - self.loss.get() / yardstick)
    }

    /// Share of bounds that held; none before the first was scored.
    pub(super) fn coverage(&self) -> Option<f64> {
        (self.scored > 0.0).then(|| 1.0 - self.misses.get())
    }

    /// Whether the forecast is to be gone by.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes until what happens at each, given trust, changes it.
    fn until(record: &mut Record, is_trusted: bool, mut each: impl FnMut(usize) -> (f64, f64, f64)) -> usize {
        let changed = (1..20_000).find(|minute| {
            let (bound, yardstick, truth) = each(*minute);
            record.learn(0.95, bound, yardstick, truth);
            record.is_trusted() == is_trusted
        });
        changed.unwrap()
    }

    #[test]
    fn a_forecast_that_loses_more_than_persistence_is_dropped_and_comes_back() {
        let mut record = Record::new(1.0);
        assert_eq!((record.skill(), record.coverage()), (None, None));
        // Each loses 0.05 of its head-room: twice as much, when four hours have told.
        assert_eq!(until(&mut record, false, |_| (120.0, 110.0, 100.0)), 240);
        // A verdict is one of a day: it takes as long again and more to be no worse than persistence.
        let back = until(&mut record, true, |_| (105.0, 110.0, 100.0));
        assert!(record.skill().unwrap() >= 0.0 && (400..1440).contains(&back), "{back}");
    }

    #[test]
    fn a_forecast_that_misses_too_often_is_dropped_however_cheap_it_is() {
        let mut record = Record::new(1.0);
        // Every fourth by a little; persistence's head-room costs more.
        let minutes =
            until(&mut record, false, |minute| (if minute % 4 == 0 { 99.9 } else { 100.1 }, 150.0, 100.0));
        assert_eq!(minutes, 240);
        assert!(record.skill().unwrap() > 0.9);
        assert!((record.coverage().unwrap() - 0.75).abs() < 0.01);
    }

    #[test]
    fn misses_that_are_allowed_are_no_fault() {
        let mut record = Record::new(1.0);
        for minute in 0..5000 {
            let bound = if minute % 20 == 0 { 99.0 } else { 101.0 };
            record.learn(0.95, bound, bound, 100.0);
            assert!(record.is_trusted(), "minute {minute}");
        }
        assert!(record.skill().unwrap().abs() < 1e-9);
    }
}
