//! How far the number of requests per pod has moved.

use serde::{Deserialize, Serialize};

/// From the least to the most that it was, which draw near to its mean as time passes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Movement {
    weight: f64,
    mean: f64,
    least: f64,
    most: f64,
}

impl Movement {
    /// Takes a value after counting all before as the share `keep` of it.
    pub(super) fn learn(&mut self, value: f64, keep: f64) {
        self.weight = keep * self.weight + 1.0;
        self.mean += (value - self.mean) / self.weight;
        self.least = (self.mean - keep * (self.mean - self.least)).min(value);
        self.most = (self.mean + keep * (self.most - self.mean)).max(value);
        if self.weight <= 1.0 {
            (self.least, self.most) = (value, value);
        }
    }

    /// From the least to the most as a share of the mean; none where it was never above zero.
    pub(super) fn share(&self) -> Option<f64> {
        (self.mean > 0.0).then(|| (self.most - self.least) / self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl Iterator<Item = f64>, keep: f64) -> Option<f64> {
        let mut movement = Movement::default();
        values.for_each(|value| movement.learn(value, keep));
        movement.share()
    }

    #[test]
    fn it_is_the_range_as_a_share_of_the_mean() {
        assert_eq!(of([10.0, 12.0, 8.0, 10.0].into_iter(), 1.0), Some(0.4));
        assert_eq!(of([10.0].into_iter(), 0.5), Some(0.0));
        assert_eq!(of([0.0, 0.0].into_iter(), 1.0), None);
        assert_eq!(of(std::iter::empty(), 1.0), None);
    }

    #[test]
    fn what_was_long_ago_counts_less() {
        let test = |after: usize| of([10.0, 20.0].into_iter().chain((0..after).map(|_| 10.0)), 0.99);
        assert!(test(10).unwrap() > 0.5);
        assert!(test(70).unwrap() < 0.6 && test(700).unwrap() < 0.01);
    }
}
