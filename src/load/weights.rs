//! What a request of each duration class costs, relative to a request of weight 1.

use serde::{Deserialize, Serialize};

use super::classes::Classes;

/// Largest weight that is taken for meant: a request that costs a million others is a batch job.
pub const MAX_WEIGHT: f64 = 1e6;

/// One weight a class, none negative, one at least above zero.
///
/// Typed by hand CudgX's five are the customary start: 0.1 below 10 ms, 0.5 below 50 ms, 2 below 100 ms, 4 below 500 ms,
/// else 8. Fitted ones are in units of the workload's mean request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Weights {
    classes: Classes,
    weights: Vec<f64>,
}

/// Weights that do not fit their classes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// Not one weight a class.
    #[error("{expected} classes take as many weights, and there are {found}")]
    Count {
        /// How many classes there are.
        expected: usize,
        /// How many weights there are.
        found: usize,
    },
    /// A weight is negative, NaN, or beyond [`MAX_WEIGHT`].
    #[error("{0} is not a weight: give numbers between 0 and {MAX_WEIGHT}")]
    NotAWeight(f64),
    /// No class weighs anything.
    #[error("at least one weight must be above zero")]
    AllZero,
}

/// Weights as they were written down.
#[derive(Deserialize)]
struct Stored {
    classes: Classes,
    weights: Vec<f64>,
}

impl TryFrom<Stored> for Weights {
    type Error = WeightsError;

    fn try_from(Stored { classes, weights }: Stored) -> Result<Self, WeightsError> {
        Self::new(classes, &weights)
    }
}

impl Weights {
    /// One weight for each column of `classes`.
    ///
    /// # Errors
    /// When there is not one weight a class, when one is not between 0 and 10^6, or when all are zero.
    pub fn new(classes: Classes, weights: &[f64]) -> Result<Self, WeightsError> {
        if weights.len() != classes.columns() {
            return Err(WeightsError::Count { expected: classes.columns(), found: weights.len() });
        }
        if let Some(&weight) = weights.iter().find(|w| !(0.0..=MAX_WEIGHT).contains(*w)) {
            return Err(WeightsError::NotAWeight(weight));
        }
        if weights.iter().all(|w| *w == 0.0) {
            return Err(WeightsError::AllZero);
        }
        Ok(Self { classes, weights: weights.to_vec() })
    }

    /// Every request counts one, and work nothing.
    pub(super) fn all_alike(classes: Classes) -> Self {
        let weights =
            (0..classes.columns()).map(|column| f64::from(u8::from(column < classes.requests()))).collect();
        Self { classes, weights }
    }

    /// What is weighed.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// One weight a column.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// MetricsQPS of these class rates: Σ w_b · r_b.
    pub(super) fn weigh(&self, rates: &[f64]) -> f64 {
        self.weights.iter().zip(rates).map(|(w, r)| w * r).sum()
    }

    /// Requests per second in these column rates.
    pub(super) fn requests(&self, rates: &[f64]) -> f64 {
        rates[..self.classes.requests()].iter().sum()
    }

    /// Counting variance of MetricsQPS over one second: Σ w_b² · r_b, as each class is a Poisson count. Work comes in lumps,
    /// as much with each request as the mean one has.
    pub(super) fn variance(&self, rates: &[f64]) -> f64 {
        let requests = self.requests(rates);
        let weighed = self.weights.iter().zip(rates).enumerate();
        weighed
            .map(|(column, (weight, rate))| {
                let lump = if column < self.classes.requests() {
                    1.0
                } else {
                    rate / requests.max(f64::MIN_POSITIVE)
                };
                weight * weight * rate * lump
            })
            .sum()
    }
}
