//! How well CPU is predicted before it is learned from.

use serde::{Deserialize, Serialize};

/// Sums of prediction errors, of which old ones are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(in crate::load) struct Errors {
    weight: f64,
    squared: f64,
    absolute: f64,
    /// Mean of y, and the sum of its squared deviations from it.
    mean: f64,
    deviations: f64,
}

impl Errors {
    pub(in crate::load) fn add(&mut self, predicted: f64, y: f64, keep: f64) {
        for sum in [&mut self.weight, &mut self.squared, &mut self.absolute, &mut self.deviations] {
            *sum *= keep;
        }
        self.weight += 1.0;
        self.squared += (y - predicted).powi(2);
        self.absolute += (y - predicted).abs();
        let apart = y - self.mean;
        self.mean += apart / self.weight;
        self.deviations += apart * (y - self.mean);
    }

    /// Predictions that count.
    pub(in crate::load) fn weight(&self) -> f64 {
        self.weight
    }

    /// Mean squared error.
    pub(in crate::load) fn mean_squared(&self) -> f64 {
        if self.weight > 0.0 { self.squared / self.weight } else { f64::INFINITY }
    }

    pub(in crate::load) fn score(&self) -> Option<Score> {
        let varies = self.weight >= 2.0 && self.deviations > 0.0;
        varies.then(|| Score { r2: 1.0 - self.squared / self.deviations, mae: self.absolute / self.weight })
    }
}

/// How well CPU was predicted before it was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of CPU's variance that was predicted: 1 is all of it, 0 no more than its mean would have done, less is worse.
    pub r2: f64,
    /// Mean absolute error in cores.
    pub mae: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_itself_scores_zero_and_the_truth_one() {
        let (mut mean, mut truth) = (Errors::default(), Errors::default());
        for y in [1.0, 2.0, 3.0, 6.0] {
            mean.add(3.0, y, 1.0);
            truth.add(y, y, 1.0);
        }
        assert_eq!(mean.score(), Some(Score { r2: 0.0, mae: 1.5 }));
        assert_eq!(truth.score(), Some(Score { r2: 1.0, mae: 0.0 }));
    }

    #[test]
    fn what_never_varies_has_no_score() {
        let mut errors = Errors::default();
        assert_eq!(errors.score(), None);
        errors.add(1.0, 2.0, 1.0);
        errors.add(1.0, 2.0, 1.0);
        assert_eq!(errors.score(), None);
        assert_eq!(errors.mean_squared(), 1.0);
    }
}
