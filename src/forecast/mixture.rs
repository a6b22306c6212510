//! How much each expert counts: by what its bounds have lost lately.
//!
//! At each quantile an expert's weight is softmax(−η (S − min S) / min S), S its mean pinball loss with a half-life of a day and a half: what
//! is a twentieth worse than the best counts e⁻¹. A small share is given to all alike, so that none is ever lost (Herbster and Warmuth's
//! fixed share, 1998). Losses come when the horizon has passed, so weights lag by it.

/// η. Between 10 and 30 losses differ by less than 1 % on the validation parts of real traces.
const EAGERNESS: f64 = 20.0;
/// Share that all experts have alike.
const UNIFORM: f64 = 0.02;
/// Minutes after which a loss counts half.
const HALF_LIFE: f64 = 2160.0;
/// Minutes that a new expert is taken to have lost as much as the yardstick before: it earns its weight.
const START: f64 = 120.0;
/// Steps between two renewals of the weights.
const RENEWAL: usize = 5;

/// The pinball loss of `bound` at `tau`: (τ − 1[truth < bound]) (truth − bound) (Koenker and Bassett 1978).
pub(super) fn pinball(tau: f64, bound: f64, truth: f64) -> f64 {
    let error = truth - bound;
    if error >= 0.0 { tau * error } else { (tau - 1.0) * error }
}

/// Weights of some experts at some quantiles.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    experts: usize,
    /// By quantile, then expert.
    losses: Vec<f64>,
    seen: Vec<f64>,
    weights: Vec<f64>,
    keep: f64,
    /// Steps that a new expert is taken to have lost as much as the yardstick.
    start: f64,
    countdown: usize,
}

impl Mixture {
    pub(super) fn new(experts: usize, quantiles: usize, step_minutes: f64) -> Self {
        let count = experts * quantiles;
        Self {
            experts,
            losses: vec![0.0; count],
            seen: vec![0.0; count],
            weights: vec![0.0; count],
            keep: (-std::f64::consts::LN_2 * step_minutes / HALF_LIFE).exp(),
            start: START / step_minutes,
            countdown: 0,
        }
    }

    /// Learns what each expert's bound at quantile number `which` lost; NaN for one that had none. The first is the yardstick.
    pub(super) fn learn(&mut self, which: usize, losses: impl Iterator<Item = f64>) {
        let start = which * self.experts;
        for (i, loss) in (start..start + self.experts).zip(losses) {
            if loss.is_nan() {
                continue;
            }
            if self.seen[i] == 0.0 && i > start {
                (self.seen[i], self.losses[i]) = (self.start, self.losses[start]);
            }
            self.seen[i] = 1.0 + self.keep * self.seen[i];
            self.losses[i] += (loss - self.losses[i]) / self.seen[i];
        }
    }

    /// To be called once a step.
    pub(super) fn renew(&mut self) {
        if self.countdown > 0 {
            self.countdown -= 1;
            return;
        }
        self.countdown = RENEWAL - 1;
        let rows = self.losses.chunks(self.experts).zip(self.seen.chunks(self.experts));
        for ((losses, seen), weights) in rows.zip(self.weights.chunks_mut(self.experts)) {
            let known = || losses.iter().zip(seen).filter(|(_, seen)| **seen > 0.0).map(|(loss, _)| *loss);
            let least = known().fold(f64::INFINITY, f64::min);
            let unit = least.max(f64::MIN_POSITIVE);
            let mut sum = 0.0;
            for ((weight, loss), seen) in weights.iter_mut().zip(losses).zip(seen) {
                *weight = if *seen > 0.0 { (-EAGERNESS * (loss - least) / unit).exp() } else { 0.0 };
                sum += *weight;
            }
            let count = known().count().max(1) as f64;
            for (weight, seen) in weights.iter_mut().zip(seen) {
                *weight = if *seen > 0.0 { (1.0 - UNIFORM) * *weight / sum + UNIFORM / count } else { 0.0 };
            }
        }
    }

    /// Weights at quantile number `which`, one an expert.
    pub(super) fn weights(&self, which: usize) -> &[f64] {
        &self.weights[which * self.experts..(which + 1) * self.experts]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::golden::{number, numbers, part};

    #[test]
    fn the_pinball_loss_is_koenkers() {
        let golden = part("pinball");
        let [actual, bound] = ["actual", "bound"].map(|name| numbers(&golden[name]));
        for case in golden["losses"].as_array().unwrap() {
            let tau = number(&case["tau"]);
            let each = numbers(&case["each"]);
            for ((actual, bound), loss) in actual.iter().zip(&bound).zip(&each) {
                let found = pinball(tau, *bound, *actual);
                assert!((found - loss).abs() < 1e-11, "{found}, not {loss}");
            }
        }
    }

    /// One expert that is a tenth better than the rest, of four.
    fn learned(rounds: usize) -> Mixture {
        let mut mixture = Mixture::new(4, 1, 1.0);
        for _ in 0..rounds {
            mixture.learn(0, [1.0, 1.0, 0.9, f64::NAN].into_iter());
            mixture.renew();
        }
        mixture
    }

    #[test]
    fn the_better_expert_earns_its_weight_and_none_is_lost() {
        let weights = learned(20_000).weights(0).to_vec();
        // In the long run softmax(-20 (0.1 / 0.9)) against 1, and a fiftieth shared by the three that spoke.
        let worse = (-EAGERNESS * 0.1 / 0.9).exp();
        let expected = 0.98 / (1.0 + 2.0 * worse) + 0.02 / 3.0;
        assert!((weights[2] - expected).abs() < 1e-3, "{weights:?}, not {expected}");
        assert!(weights[0] >= 0.02 / 3.0 && weights[0] == weights[1]);
        assert_eq!(weights[3], 0.0, "it never said anything");
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // It is taken to have been no better than the yardstick for two hours before.
        assert!(learned(10).weights(0)[2] < 0.5);
    }

    #[test]
    fn losses_of_zero_and_of_many_sizes_leave_weights_that_are_shares() {
        for scale in [0.0, f64::MIN_POSITIVE, 1e-300, 1e300] {
            let mut mixture = Mixture::new(3, 2, 1.0);
            for round in 0..50 {
                for which in 0..2 {
                    mixture
                        .learn(which, [2.0, 1.0, f64::from(round % 2)].map(|loss| loss * scale).into_iter());
                }
                mixture.renew();
            }
            for which in 0..2 {
                let weights = mixture.weights(which);
                assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{scale}: {weights:?}");
                assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{scale}: {weights:?}");
            }
        }
    }
}
