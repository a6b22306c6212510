//! How an estimate of the work has done: what came, over what it claimed two windows before.
//!
//! Replicas that follow an estimate are there one or two windows later. To be short now and then and no more often they need a head-room, which
//! the estimate's larger errors decide. So the better of two estimates is not the one that errs less on average, but the one that needs fewer pods:
//! its mean claim, times the quantile of what came over what it claimed.

use serde::{Deserialize, Serialize};

/// Windows after which one counts half: three hours of 15 s scrapes. Large errors are rare.
const HALF_LIFE: f64 = 700.0;

/// Share of the windows in which the pods are to suffice.
const SUFFICES: f64 = 0.97;

/// Natural logarithms of the ratios that are told apart, and the width of a bin. Ratios above 7.4 are alike: nobody keeps that much head-room.
const LEAST: f64 = -2.0;
const WIDTH: f64 = 0.05;
const BINS: usize = 80;

/// Claims, and how far they were right; older ones count less.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct TrackRecord {
    /// Windows by the logarithm of what came over what was claimed; those beyond the bins are in the last ones. Empty before the first.
    bins: Vec<f64>,
    claimed: f64,
}

impl TrackRecord {
    /// Adds a window: `came` is above zero.
    pub(super) fn add(&mut self, claimed: f64, came: f64) {
        self.bins.resize(BINS, 0.0);
        let keep = 0.5f64.powf(1.0 / HALF_LIFE);
        self.bins.iter_mut().for_each(|bin| *bin *= keep);
        // One that claimed nothing is as wrong as can be, and its pods are not free for that.
        self.claimed = keep * self.claimed + if claimed > 0.0 { claimed } else { came };
        let place = if claimed > 0.0 { ((came / claimed).ln() - LEAST) / WIDTH } else { f64::INFINITY };
        self.bins[place.clamp(0.0, (BINS - 1) as f64) as usize] += 1.0;
    }

    /// Windows that it knows, as many as count.
    pub(super) fn windows(&self) -> f64 {
        self.bins.iter().sum()
    }

    /// The work that pods must be there for on average, if they are to suffice in [`SUFFICES`] of the windows; to be compared with that of others alone.
    pub(super) fn needed(&self) -> f64 {
        let mut left = SUFFICES * self.windows();
        let mut logarithm = LEAST;
        for bin in &self.bins {
            if left <= *bin {
                logarithm += WIDTH * if *bin > 0.0 { left / bin } else { 1.0 };
                break;
            }
            left -= bin;
            logarithm += WIDTH;
        }
        logarithm.exp() * self.claimed
    }
    /// What was claimed by a measure by which the same work is `factor` times as much.
    pub(super) fn rescale(&mut self, factor: f64) {
        self.claimed *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ratios: impl IntoIterator<Item = f64>) -> TrackRecord {
        let mut record = TrackRecord::default();
        ratios.into_iter().for_each(|ratio| record.add(10.0, 10.0 * ratio));
        record
    }

    /// Both err by the same on average: the one seldom and much, the other always and little.
    #[test]
    fn large_errors_cost_pods_and_small_ones_hardly() {
        let even = record((0..500).map(|i| if i % 2 == 0 { 1.1 } else { 0.9 }));
        let uneven = record((0..500).map(|i| if i % 20 == 0 { 2.0 } else { 1.0 }));
        assert!(even.needed() < 0.65 * uneven.needed(), "{} {}", even.needed(), uneven.needed());
    }

    #[test]
    fn who_claims_twice_as_much_for_the_same_work_needs_as_much() {
        let (mut once, mut twice) = (TrackRecord::default(), TrackRecord::default());
        for i in 0..500 {
            let came = 10.0 + f64::from(i % 7);
            once.add(10.0, came);
            twice.add(20.0, came);
        }
        assert!((once.needed() / twice.needed() - 1.0).abs() < 0.03, "{} {}", once.needed(), twice.needed());
    }

    #[test]
    fn what_nobody_claims_or_what_is_beyond_all_measure_is_in_the_last_bin() {
        let mut record = record([1e-9, 1e9]);
        record.add(0.0, 1.0);
        assert!((record.windows() - 3.0).abs() < 0.01);
        assert!(record.needed().is_finite() && record.needed() > 10.0, "{record:?}");
        assert_eq!(TrackRecord::default().needed(), 0.0);
    }
}
