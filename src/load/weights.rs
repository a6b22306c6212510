//! What a request of each duration class costs, relative to a request of weight 1.

use super::classes::Edges;

/// Largest weight that is taken for meant: a request that costs a million others is a batch job.
pub const MAX_WEIGHT: f64 = 1e6;

/// Weights typed by hand: one a class, none negative, one at least above zero.
///
/// CudgX's five are the customary start: 0.1 below 10 ms, 0.5 below 50 ms, 2 below 100 ms, 4 below 500 ms, else 8.
#[derive(Debug, Clone, PartialEq)]
pub struct FixedWeights {
    edges: Edges,
    weights: Vec<f64>,
}

/// Weights that do not fit their classes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// Not one weight a class.
    #[error("{edges} edges make {expected} classes, but there are {found} weights")]
    Count {
        /// How many edges there are.
        edges: usize,
        /// One more.
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

impl FixedWeights {
    /// One weight for each class that `edges` make.
    ///
    /// # Errors
    /// When there is not one weight a class, when one is not between 0 and 10^6, or when all are zero.
    pub fn new(edges: Edges, weights: &[f64]) -> Result<Self, WeightsError> {
        if weights.len() != edges.classes() {
            let (expected, found) = (edges.classes(), weights.len());
            return Err(WeightsError::Count { edges: expected - 1, expected, found });
        }
        if let Some(&weight) = weights.iter().find(|w| !(0.0..=MAX_WEIGHT).contains(*w)) {
            return Err(WeightsError::NotAWeight(weight));
        }
        if weights.iter().all(|w| *w == 0.0) {
            return Err(WeightsError::AllZero);
        }
        Ok(Self { edges, weights: weights.to_vec() })
    }

    /// The classes' edges.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// One weight a class.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// MetricsQPS of these class rates: Σ w_b · r_b.
    pub(super) fn weigh(&self, rates: &[f64]) -> f64 {
        self.weights.iter().zip(rates).map(|(w, r)| w * r).sum()
    }

    /// Counting variance of MetricsQPS over one second: Σ w_b² · r_b, as each class is a Poisson count.
    pub(super) fn variance(&self, rates: &[f64]) -> f64 {
        self.weights.iter().zip(rates).map(|(w, r)| w * w * r).sum()
    }
}
