//! What a step hides: by how much the load of single samples exceeds the step's mean.

use serde::{Deserialize, Serialize};

use super::window::Scores;

/// Steps that are remembered: a day of minutes.
const REMEMBERED: usize = 1440;
/// Steps before anything is said.
const FEWEST: usize = 30;
/// Share of steps whose peak is no higher: the bound's own margin covers the rest, as peak steps are not the steps with peaks.
const QUANTILE: f64 = 0.9;
/// Above that samples are not loads but bursts, which no number of pods in advance is for.
const MOST: f64 = 2.0;

/// Learns the factor from a step's mean to its peak.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peaks {
    factors: Scores,
}

impl Default for Peaks {
    fn default() -> Self {
        Self::new()
    }
}

impl Peaks {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self { factors: Scores::new(REMEMBERED) }
    }

    /// Takes the largest load of a step's samples, and their mean.
    pub fn learn(&mut self, most: f64, mean: f64) {
        let factor = most / mean;
        if factor.is_finite() && mean > 0.0 {
            self.factors.push(factor);
        }
    }

    /// How many times its mean a step's peak is at most, usually: from 1 to 2.
    pub fn factor(&self) -> f64 {
        if self.factors.len() < FEWEST {
            return 1.0;
        }
        self.factors.quantile(QUANTILE).unwrap_or(1.0).clamp(1.0, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_peak_is_learned_and_a_burst_is_none() {
        let mut peaks = Peaks::new();
        for _ in 0..FEWEST {
            peaks.learn(10.0, 8.0);
        }
        peaks.learn(1000.0, 1.0);
        peaks.learn(1.0, 0.0);
        assert_eq!(peaks.factor(), 1.25);
    }

    #[test]
    fn without_evidence_or_with_noise_alone_it_is_one() {
        let mut peaks = Peaks::new();
        peaks.learn(10.0, 1.0);
        assert_eq!(peaks.factor(), 1.0);
        for _ in 0..2000 {
            peaks.learn(0.5, 1.0);
        }
        assert_eq!(peaks.factor(), 1.0);
    }
}
