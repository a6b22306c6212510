//! How far CPU bears out what the durations say.
//!
//! In a busy pod, or one that waits for a slow disk, requests last longer without being more work: sorted by duration
//! they seem heavier. The CPU of the same window does not. So the work that classes tell is multiplied by what CPU has
//! borne it out by of late. Less than before is believed at once, since waiting makes durations long within one window
//! and CPU never makes them short; more than before only when a second window says so.

use serde::{Deserialize, Serialize};

/// Windows after which one counts half, while they say much the same: their noise is that of the fit.
const HALF_LIFE: f64 = 4.0;

/// Windows after which the spread counts half.
const SPREAD_HALF_LIFE: f64 = 64.0;

/// Standard deviations that are a change.
const CHANGE: f64 = 3.0;

/// Least and largest spread of a ratio's logarithm that is believed, and what it is thought to be before any was seen.
const SPREADS: (f64, f64) = (0.02, 0.5);
const FIRST_SPREAD: f64 = 0.1;

/// Standard deviations that count at most towards a drift, those that count for nothing, and the sum that is a drift: a
/// change of three stands out after some twenty windows, one of one after a hundred.
const DRIFT_STEP: f64 = 3.0;
const DRIFT_ALLOWANCE: f64 = 0.5;
const DRIFT_LIMIT: f64 = 50.0;

/// The ratio of CPU used to CPU that the classes' costs explain, filtered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BorneOut {
    factor: f64,
    variance: f64,
    suspected: Option<f64>,
    /// Cumulative sums (Page 1954) of what is above and below 1.
    above: f64,
    below: f64,
}

impl BorneOut {
    pub(super) fn new() -> Self {
        Self { factor: 1.0, variance: FIRST_SPREAD * FIRST_SPREAD, suspected: None, above: 0.0, below: 0.0 }
    }

    /// What the classes' work is to be multiplied by.
    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    /// Whether costs have been other than they were learned for long.
    pub(super) fn has_drifted(&self) -> bool {
        self.above.max(self.below) > DRIFT_LIMIT
    }

    fn spread(&self) -> f64 {
        self.variance.sqrt().clamp(SPREADS.0, SPREADS.1)
    }

    /// Learns the ratio of a window; above zero. Tells whether it is clear by now that requests cost more than before, or
    /// that they wait less.
    pub(super) fn learn(&mut self, ratio: f64) -> bool {
        let ratio = ratio.ln();
        if !ratio.is_finite() {
            return false;
        }
        let step = (ratio / self.spread()).clamp(-DRIFT_STEP, DRIFT_STEP);
        self.above = (self.above + step - DRIFT_ALLOWANCE).clamp(0.0, 2.0 * DRIFT_LIMIT);
        self.below = (self.below - step - DRIFT_ALLOWANCE).clamp(0.0, 2.0 * DRIFT_LIMIT);
        let apart = ratio - self.factor.ln();
        let limit = CHANGE * self.spread();
        if apart < -limit {
            self.factor = ratio.exp();
            self.suspected = None;
        } else if apart > limit {
            match self.suspected.take() {
                Some(before) => {
                    self.factor = ((before + ratio) / 2.0).exp();
                    return true;
                }
                None => self.suspected = Some(ratio),
            }
        } else {
            self.suspected = None;
            self.factor = (self.factor.ln() + gain(HALF_LIFE) * apart).exp();
            self.variance += gain(SPREAD_HALF_LIFE) * (apart * apart - self.variance);
        }
        false
    }
}

fn gain(half_life: f64) -> f64 {
    1.0 - 0.5f64.powf(1.0 / half_life)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(borne_out: &mut BorneOut, ratios: impl IntoIterator<Item = f64>) {
        for ratio in ratios {
            borne_out.learn(ratio);
        }
    }

    fn usual(windows: u32) -> impl Iterator<Item = f64> {
        (0..windows).map(|i| if i % 2 == 0 { 1.05 } else { 1.0 / 1.05 })
    }

    /// One that has seen 100 windows whose ratio goes up and down by 5 %.
    fn settled() -> BorneOut {
        let mut borne_out = BorneOut::new();
        learn(&mut borne_out, usual(100));
        borne_out
    }

    #[test]
    fn waiting_is_seen_within_one_window_and_dearer_requests_within_two() {
        let mut borne_out = settled();
        borne_out.learn(0.6);
        assert!((borne_out.factor() - 0.6).abs() < 1e-9);
        let mut borne_out = settled();
        borne_out.learn(2.0);
        assert!((borne_out.factor() - 1.0).abs() < 0.05);
        borne_out.learn(2.0);
        assert!((borne_out.factor() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_single_window_of_something_else_is_no_change() {
        let mut borne_out = settled();
        learn(&mut borne_out, [2.0, 1.0, 2.0, 1.0]);
        assert!((borne_out.factor() - 1.0).abs() < 0.1, "{borne_out:?}");
    }

    #[test]
    fn a_lasting_change_is_a_drift_and_a_busy_minute_is_none() {
        let mut borne_out = settled();
        learn(&mut borne_out, [0.5; 4]);
        assert!(!borne_out.has_drifted());
        learn(&mut borne_out, [1.3; 40]);
        assert!(borne_out.has_drifted(), "{borne_out:?}");
        learn(&mut borne_out, usual(400));
        assert!(!borne_out.has_drifted(), "{borne_out:?}");
    }

    #[test]
    fn nonsense_is_left_aside() {
        let mut borne_out = settled();
        let before = borne_out.clone();
        learn(&mut borne_out, [0.0, -1.0, f64::NAN, f64::INFINITY]);
        assert_eq!(borne_out, before);
    }
}
