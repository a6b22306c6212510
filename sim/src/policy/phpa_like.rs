//! `phpa-like`: after the Predictive Horizontal Pod Autoscaler (jthomperoo), which applies a model to the replicas that an HPA's formula gives. Here
//! Holt-Winters, additive, with a season of a day in slots of ten minutes (α 0.5, β 0.01, γ 0.3), one slot ahead; the larger of the forecast and the formula is
//! set, so it only raises. What it learns from is its own lagging replicas, which is how that system works. It needs two days before there is
//! a season; until then the formula alone: the newest load over the utilization.

use ::plimsoll::units::Time;

use super::past::Past;
use super::planned::{Plan, larger};

const SLOT: usize = 10;
const SEASON: usize = 144;
const ALPHA: f64 = 0.5;
const BETA: f64 = 0.01;
const GAMMA: f64 = 0.3;

#[derive(Debug, Default)]
pub(super) struct PhpaLike {
    /// Replicas by slot, until there are two days of them.
    first: Vec<f64>,
    model: Option<HoltWinters>,
    ahead: Option<f64>,
}

#[derive(Debug)]
struct HoltWinters {
    level: f64,
    trend: f64,
    season: Vec<f64>,
    next: usize,
}

impl HoltWinters {
    /// From two seasons: the level of the second, the trend between both, and what the slots were above their own season's mean.
    fn new(two: &[f64]) -> Self {
        let (first, second) = two.split_at(SEASON);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / SEASON as f64;
        let (a, b) = (mean(first), mean(second));
        let season = first.iter().zip(second).map(|(x, y)| (x - a + y - b) / 2.0).collect();
        Self { level: b, trend: (b - a) / SEASON as f64, season, next: 0 }
    }

    /// Takes a slot and says what the next one will be.
    fn observe(&mut self, value: f64) -> f64 {
        let season = &mut self.season[self.next];
        let before = self.level;
        self.level = ALPHA * (value - *season) + (1.0 - ALPHA) * (self.level + self.trend);
        self.trend = BETA * (self.level - before) + (1.0 - BETA) * self.trend;
        *season = GAMMA * (value - self.level) + (1.0 - GAMMA) * *season;
        self.next = (self.next + 1) % SEASON;
        self.level + self.trend + self.season[self.next]
    }
}

impl Plan for PhpaLike {
    fn minute(&mut self, past: &Past) {
        if past.now().rem_euclid(SLOT as i64) != 0 {
            return;
        }
        // The most of the slot, which is what a slot has to have.
        let most = past.last(SLOT).iter().map(|load| load.ceil()).fold(0.0, f64::max);
        if let Some(model) = &mut self.model {
            self.ahead = Some(model.observe(most));
        } else {
            self.first.push(most);
            if self.first.len() == 2 * SEASON {
                self.model = Some(HoltWinters::new(&std::mem::take(&mut self.first)));
            }
        }
    }

    fn wanted(&mut self, _: Time, newest: Option<f64>) -> Option<f64> {
        // Whole pods, as replicas are forecast.
        larger(newest, self.ahead.map(|pods| pods.max(0.0).round()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_foreseen() {
        let value = |slot: usize| if slot % SEASON < 20 { 9.0 } else { 3.0 };
        let mut model = HoltWinters::new(&(0..2 * SEASON).map(value).collect::<Vec<_>>());
        for slot in 2 * SEASON..4 * SEASON {
            let ahead = model.observe(value(slot));
            assert!((ahead - value(slot + 1)).abs() < 1e-6, "{slot}: {ahead}");
        }
    }
}
