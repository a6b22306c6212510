//! It goes on as it is going, for a while.

use super::tuned::Tuned;
use super::{Expert, Grid, Known, Now};

/// Damped linear trend (Gardner and McKenzie 1985; Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 8.2).
#[derive(Debug, Clone)]
pub(super) struct DampedTrend {
    alpha: f64,
    beta: f64,
    phi: f64,
    state: Option<(f64, f64)>,
}

impl DampedTrend {
    pub(super) fn new(alpha: f64, beta: f64, phi: f64) -> Self {
        Self { alpha, beta, phi, state: None }
    }

    /// Takes the level of a step that came `gap` steps after the one before the last.
    pub(super) fn push(&mut self, level: f64, gap: usize) {
        let Some((mut before, mut trend)) = self.state else {
            self.state = Some((level, 0.0));
            return;
        };
        for _ in 0..gap.min(1000) {
            trend *= self.phi;
            before += trend;
        }
        let expected = before + self.phi * trend;
        let now = expected + self.alpha * (level - expected);
        let trend = self.phi * trend + self.beta * (now - before - self.phi * trend);
        self.state = Some((now, trend));
    }

    /// Level expected `ahead` steps after the last one.
    pub(super) fn expect(&self, ahead: usize) -> f64 {
        let Some((level, trend)) = self.state else { return 0.0 };
        let ahead = i32::try_from(ahead).unwrap_or(i32::MAX);
        let damped = self.phi * (1.0 - self.phi.powi(ahead)) / (1.0 - self.phi);
        level + damped * trend
    }
}

/// The best of some damped trends. A trend has no maximum within the horizon but at one of its ends.
#[derive(Debug, Clone)]
pub(super) struct Holt {
    trends: [DampedTrend; SETTINGS.len()],
    horizon: usize,
    gap: usize,
    tuned: Tuned<{ SETTINGS.len() }>,
}

/// Smoothing of level and trend, and what of the trend is left after a step: quick to slow.
const SETTINGS: [(f64, f64, f64); 5] =
    [(0.2, 0.05, 0.95), (0.5, 0.1, 0.9), (0.5, 0.1, 0.97), (0.8, 0.3, 0.9), (0.1, 0.02, 0.98)];

impl Holt {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            trends: SETTINGS.map(|(alpha, beta, phi)| DampedTrend::new(alpha, beta, phi)),
            horizon: grid.horizon,
            gap: 0,
            tuned: Tuned::new(grid),
        }
    }
}

impl Expert for Holt {
    fn name(&self) -> &'static str {
        "trend"
    }

    fn learn(&mut self, known: &Known) {
        self.tuned.learn(known);
    }

    fn guess(&mut self, now: &Now<'_>) -> Option<f64> {
        match now.level {
            None => self.gap += 1,
            Some(level) => {
                self.trends.iter_mut().for_each(|trend| trend.push(level, self.gap));
                self.gap = 0;
            }
        }
        let guesses = self.trends.each_ref().map(|trend| trend.expect(1).max(trend.expect(self.horizon)));
        Some(self.tuned.choose(now.step, guesses))
    }

    fn bytes(&self) -> usize {
        self.tuned.bytes()
    }

    fn boxed(&self) -> Box<dyn Expert> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::golden::{assert_close, number, numbers, part};

    #[test]
    fn a_damped_trend_is_that_of_statsmodels() {
        let golden = part("damped_holt");
        let [alpha, beta, phi] = ["alpha", "beta", "phi"].map(|rate| number(&golden[rate]));
        let mut trend = DampedTrend::new(alpha, beta, phi);
        assert_eq!(number(&golden["trend"]), 0.0, "it starts without one");
        trend.push(number(&golden["level"]), 0);
        let fitted: Vec<f64> = numbers(&golden["series"])
            .into_iter()
            .map(|level| {
                let expected = trend.expect(1);
                trend.push(level, 0);
                expected
            })
            .collect();
        assert_close(&fitted, &numbers(&golden["fitted"]), 1e-10);
        let forecast: Vec<f64> = (1..=30).map(|ahead| trend.expect(ahead)).collect();
        assert_close(&forecast, &numbers(&golden["forecast"]), 1e-10);
    }

    /// Steps of which nothing is known are steps that went as expected.
    #[test]
    fn over_a_gap_a_trend_goes_on_as_it_would() {
        let (mut gap, mut lived) = (DampedTrend::new(0.4, 0.1, 0.9), DampedTrend::new(0.4, 0.1, 0.9));
        for level in [10.0, 12.0, 15.0, 16.0] {
            gap.push(level, 0);
            lived.push(level, 0);
        }
        for _ in 0..7 {
            lived.push(lived.expect(1), 0);
        }
        gap.push(20.0, 7);
        lived.push(20.0, 0);
        let ahead = |trend: &DampedTrend| [1, 2, 10].map(|ahead| trend.expect(ahead));
        assert_close(&ahead(&gap), &ahead(&lived), 1e-12);
    }
}
