//! How far CPU bears out what the durations say.
//!
//! In a busy pod, or one that waits for a slow disk, requests last longer without being more work: sorted by duration
//! they seem heavier. The CPU of the same window does not. So the work that classes tell is multiplied by what CPU has
//! borne it out by of late. Less than before is believed at once where durations grew: that is waiting. Where they did not it
//! is believed slowly, since CPU may be told later than requests, and wholly once it has lasted: then requests are cheaper. More than before is believed
//! when a second window says so.

use serde::{Deserialize, Serialize};

/// Windows after which one counts half, while they say much the same: their noise is that of the fit.
const HALF_LIFE: f64 = 4.0;

/// Windows after which the spread counts half.
const SPREAD_HALF_LIFE: f64 = 64.0;

/// Standard deviations that are a change.
const CHANGE: f64 = 3.0;

/// Windows in a row that bear out less, of durations as usual, after which requests are cheaper: CPU is not told so much later.
const LASTING: u32 = 8;

/// Least and largest spread of a ratio's logarithm that is believed, and what it is thought to be before any was seen.
const SPREADS: (f64, f64) = (0.02, 0.5);
const FIRST_SPREAD: f64 = 0.1;

/// Standard deviations that count at most towards a drift, those that count for nothing, and the sum that is a drift: a
/// change of three stands out after some twenty windows, one of one after a hundred.
const DRIFT_STEP: f64 = 3.0;
const DRIFT_ALLOWANCE: f64 = 0.5;
const DRIFT_LIMIT: f64 = 50.0;

/// What durations looked like in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durations {
    /// As of late, or shorter.
    Usual,
    /// Longer than of late.
    Longer,
    /// In pods that are congested or busy, whatever they look like.
    Crowded,
}

/// The ratio of CPU used to CPU that the classes' costs explain, filtered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BorneOut {
    factor: f64,
    variance: f64,
    suspected: Option<f64>,
    #[serde(default)]
    cheaper: Option<Cheaper>,
    /// Cumulative sums (Page 1954) of what is above and below 1.
    above: f64,
    below: f64,
}

/// Windows in a row that bear out less although durations are as usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Cheaper {
    windows: u32,
    /// Sum of their ratios' logarithms.
    sum: f64,
    /// What each of them is below: what a change was when they began.
    below: f64,
}

impl BorneOut {
    pub(super) fn new() -> Self {
        Self {
            factor: 1.0,
            variance: FIRST_SPREAD * FIRST_SPREAD,
            suspected: None,
            cheaper: None,
            above: 0.0,
            below: 0.0,
        }
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
        // One that is no number, as from a damaged checkpoint, is the least.
        self.variance.sqrt().max(SPREADS.0).min(SPREADS.1)
    }

    /// Learns the ratio of a window; above zero. Tells the factor by which requests cost more than before, or wait less, or cost less for good, once
    /// that is clear.
    pub(super) fn learn(&mut self, ratio: f64, seen: Durations) -> Option<f64> {
        let ratio = ratio.ln();
        if !ratio.is_finite() {
            return None;
        }
        // A crowd is no drift.
        if seen != Durations::Crowded {
            let step = (ratio / self.spread()).clamp(-DRIFT_STEP, DRIFT_STEP);
            self.above = (self.above + step - DRIFT_ALLOWANCE).clamp(0.0, 2.0 * DRIFT_LIMIT);
            self.below = (self.below - step - DRIFT_ALLOWANCE).clamp(0.0, 2.0 * DRIFT_LIMIT);
        }
        let before = self.factor;
        let apart = ratio - before.ln();
        let limit = CHANGE * self.spread();
        let usual = apart.clamp(-limit, limit);
        let suspected = self.suspected.take();
        let none = Cheaper { windows: 0, sum: 0.0, below: before.ln() - limit };
        let Cheaper { windows, sum, below } = self.cheaper.take().unwrap_or(none);
        let is_cheaper = ratio < below && seen == Durations::Usual;
        let cheaper = Cheaper { windows: windows + 1, sum: sum + ratio, below };
        self.cheaper = Some(cheaper).filter(|cheaper| is_cheaper && cheaper.windows < LASTING);
        let mut is_clear = true;
        self.factor = if let Some(earlier) = suspected.filter(|_| apart > limit) {
            f64::midpoint(earlier, ratio).exp()
        } else if is_cheaper && cheaper.windows >= LASTING {
            (cheaper.sum / f64::from(cheaper.windows)).exp()
        } else {
            is_clear = false;
            if apart > limit {
                self.suspected = Some(ratio);
                before
            } else if apart < -limit && seen != Durations::Usual {
                ratio.exp()
            } else {
                (before.ln() + gain(HALF_LIFE) * usual).exp()
            }
        };
        self.variance += gain(SPREAD_HALF_LIFE) * (usual * usual - self.variance);
        is_clear.then(|| self.factor / before)
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
            borne_out.learn(ratio, Durations::Longer);
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
        borne_out.learn(0.6, Durations::Longer);
        assert!((borne_out.factor() - 0.6).abs() < 1e-9);
        let mut borne_out = settled();
        assert_eq!(borne_out.learn(2.0, Durations::Usual), None);
        assert!((borne_out.factor() - 1.0).abs() < 0.05);
        let risen = borne_out.learn(2.0, Durations::Usual);
        assert!((risen.unwrap() - 2.0).abs() < 0.1);
        assert!((borne_out.factor() - 2.0).abs() < 1e-9);
    }

    /// A surge whose CPU is told three windows late.
    #[test]
    fn cpu_that_comes_late_is_no_waiting() {
        let mut borne_out = settled();
        for _ in 0..3 {
            borne_out.learn(0.33, Durations::Usual);
        }
        assert!(borne_out.factor() > 0.8, "{borne_out:?}");
    }

    #[test]
    fn requests_that_are_cheaper_for_good_are_believed_to_be() {
        for cheaper in [0.4, 0.7] {
            let mut borne_out = settled();
            let told: Vec<_> = (0..LASTING).map(|_| borne_out.learn(cheaper, Durations::Usual)).collect();
            assert!(told[..7].iter().all(Option::is_none), "{told:?}");
            assert!(told[7].is_some_and(|fallen| fallen < 1.0), "{told:?}");
            assert!((borne_out.factor() - cheaper).abs() < 1e-9, "{borne_out:?}");
        }
        // As long, but not in a row.
        let mut borne_out = settled();
        for i in 0..24 {
            assert_eq!(borne_out.learn(if i % 3 == 2 { 1.0 } else { 0.4 }, Durations::Usual), None);
        }
    }

    /// Right after new weights nothing is known of the spread.
    #[test]
    fn costs_that_are_halved_are_believed_to_be_from_the_first_window_on() {
        let mut borne_out = BorneOut::new();
        let told: Vec<_> = (0..LASTING).map(|_| borne_out.learn(0.5, Durations::Usual)).collect();
        assert!(told[7].is_some(), "{told:?}");
        assert!((borne_out.factor() - 0.5).abs() < 1e-9, "{borne_out:?}");
    }

    #[test]
    fn a_crowd_is_no_drift() {
        let mut borne_out = settled();
        for _ in 0..100 {
            borne_out.learn(0.4, Durations::Crowded);
        }
        assert!(!borne_out.has_drifted());
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
