//! A level that wanders, and a season on top of it that changes slowly.

use super::tuned::Tuned;
use super::{Expert, Grid, Known, Now};

/// Additive Holt-Winters without a trend (Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 8.3): over the
/// minutes that matter the season has the trend in it.
#[derive(Debug, Clone)]
pub(super) struct Seasonal {
    alpha: f64,
    gamma: f32,
    level: f64,
    season: Vec<f32>,
}

impl Seasonal {
    pub(super) fn new(alpha: f64, gamma: f32) -> Self {
        Self { alpha, gamma, level: 0.0, season: Vec::new() }
    }

    fn start(&mut self, cycle: &[f64]) {
        self.level = cycle.iter().sum::<f64>() / cycle.len() as f64;
        self.season = cycle.iter().map(|value| (value - self.level) as f32).collect();
    }

    fn push(&mut self, slot: usize, value: f64, is_floor: bool) {
        let season = self.season[slot];
        let error = value - self.level - f64::from(season);
        if is_floor && error < 0.0 {
            return;
        }
        self.level += self.alpha * error;
        // The season's share of what the level did not take.
        self.season[slot] += self.gamma * ((1.0 - self.alpha) * error) as f32;
    }

    fn expect_peak(&self, slot: usize, horizon: usize) -> f64 {
        let (passed, to_come) = self.season.split_at(slot + 1);
        let ahead = to_come.iter().chain(passed).cycle().take(horizon);
        self.level + f64::from(ahead.copied().fold(f32::MIN, f32::max))
    }
}

/// The best of some level speeds.
#[derive(Debug, Clone)]
pub(super) struct HoltWinters {
    horizon: usize,
    /// The first cycle, until it is whole.
    first: Vec<Option<f64>>,
    first_slot: Option<usize>,
    length: usize,
    variants: [Seasonal; SETTINGS.len()],
    tuned: Tuned<{ SETTINGS.len() }>,
}

/// Smoothing of level and season.
const SETTINGS: [(f64, f32); 3] = [(0.1, 0.2), (0.3, 0.2), (0.7, 0.3)];

impl HoltWinters {
    pub(super) fn new(grid: Grid, minutes: f64) -> Self {
        Self {
            horizon: grid.horizon,
            first: Vec::new(),
            first_slot: None,
            length: grid.steps(minutes),
            variants: SETTINGS.map(|(alpha, gamma)| Seasonal::new(alpha, gamma)),
            tuned: Tuned::new(grid),
        }
    }

    /// Collects the first cycle; true once it is whole.
    fn is_started(&mut self, slot: usize, level: Option<f64>) -> bool {
        if !self.variants[0].season.is_empty() {
            return true;
        }
        let first_slot = *self.first_slot.get_or_insert(slot);
        self.first.push(level);
        if self.first.len() < self.length {
            return false;
        }
        // What is missing is taken to be as the step before.
        let mut last = self.first.iter().flatten().next().copied().unwrap_or(0.0);
        let mut cycle = vec![0.0; self.length];
        for (i, level) in self.first.iter().enumerate() {
            last = level.unwrap_or(last);
            cycle[(first_slot + i) % self.length] = last;
        }
        self.variants.iter_mut().for_each(|variant| variant.start(&cycle));
        self.first = Vec::new();
        true
    }
}

impl Expert for HoltWinters {
    fn name(&self) -> &'static str {
        "holt-winters"
    }

    fn learn(&mut self, known: &Known) {
        self.tuned.learn(known);
    }

    fn guess(&mut self, now: &Now<'_>) -> Option<f64> {
        let slot = now.local.rem_euclid(self.length as i64) as usize;
        if !self.is_started(slot, now.level) {
            return None;
        }
        if let Some(level) = now.level {
            self.variants.iter_mut().for_each(|variant| variant.push(slot, level, now.is_floor));
        }
        let horizon = self.horizon;
        let guesses = self.variants.each_ref().map(|variant| variant.expect_peak(slot, horizon));
        Some(self.tuned.choose(now.step, guesses))
    }

    fn bytes(&self) -> usize {
        let seasons: usize = self.variants.iter().map(|variant| 4 * variant.season.capacity()).sum();
        size_of::<Option<f64>>() * self.first.capacity() + seasons + self.tuned.bytes()
    }

    fn boxed(&self) -> Box<dyn Expert> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::golden::{assert_close, number, numbers, part};

    /// The season is kept in single precision: seven digits of it.
    const DIGITS: f64 = 1e-6;

    #[test]
    fn holt_winters_without_a_trend_is_that_of_statsmodels() {
        let golden = part("seasonal");
        let [alpha, gamma, level] = ["alpha", "gamma", "level"].map(|name| number(&golden[name]));
        let season = numbers(&golden["season"]);
        // The textbook's gamma is a share of the whole error, ours of what the level leaves of it.
        let mut seasonal = Seasonal::new(alpha, (gamma / (1.0 - alpha)) as f32);
        seasonal.start(&season.iter().map(|season| level + season).collect::<Vec<_>>());
        // The season's mean is not exactly 0 in six digits, and goes into the level at the start.
        assert!((seasonal.level - level).abs() < 1e-5);
        let series = numbers(&golden["series"]);
        let slot = |step: usize| step % season.len();
        let mut fitted = Vec::new();
        for (step, value) in series.iter().enumerate() {
            fitted.push(seasonal.level + f64::from(seasonal.season[slot(step)]));
            seasonal.push(slot(step), *value, false);
        }
        assert_close(&fitted, &numbers(&golden["fitted"]), DIGITS);
        // The peak of a window is the maximum of its forecasts.
        let forecast = numbers(&golden["forecast"]);
        let last = slot(series.len() - 1);
        for horizon in 1..=forecast.len() {
            let peak = forecast[..horizon].iter().copied().fold(f64::MIN, f64::max);
            assert_close(&[seasonal.expect_peak(last, horizon)], &[peak], DIGITS);
        }
    }

    #[test]
    fn a_floor_below_what_is_expected_changes_nothing_and_one_above_raises() {
        let mut seasonal = Seasonal::new(0.3, 0.2);
        seasonal.start(&[10.0, 20.0, 30.0]);
        let before = seasonal.expect_peak(0, 3);
        seasonal.push(2, 21.0, true);
        assert_eq!(seasonal.expect_peak(0, 3), before);
        seasonal.push(2, 40.0, true);
        assert!(seasonal.expect_peak(0, 3) > before);
    }
}
