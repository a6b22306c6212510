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
