//! How much each expert counts, at each quantile: half by what its bounds have lost lately, half by what they would have mended.
//!
//! By losses the weight is softmax(−η (S − min S) / min S), S its mean pinball loss with a half-life of a day and a half: what is a twentieth
//! worse than the best counts e⁻¹. That follows quickly who is best, and with few misses follows chance.
//!
//! By gains it is max(R, 0) / Σ g², where g is what a step towards the expert's bound would have taken from the mixture's own loss
//! (the loss' slope times the way) and R = Σ g: polynomial weights with a rate for each expert, on gradients (Gaillard, Stoltz and van
//! Erven 2014). Here two that are wrong in opposite directions count together, and it takes days.
//!
//! Either alone loses more than both on the validation parts of real traces. A small share is given to all alike, so that none is ever lost
//! (Herbster and Warmuth's fixed share, 1998). Losses come when the horizon has passed, so weights lag by it.

/// η. Between 10 and 30 losses differ by less than 1 % on the validation parts of real traces.
const EAGERNESS: f64 = 20.0;
/// Share that all experts have alike.
const UNIFORM: f64 = 0.02;
/// Minutes after which a loss counts half, and a gain. Between 5 and 28 days for the latter losses differ by less than 1 %.
const HALF_LIFE: f64 = 2160.0;
const HALF_LIFE_OF_GAINS: f64 = 14_400.0;
/// Minutes that a new expert is taken to have lost as much as the yardstick before: it earns its weight.
const START: f64 = 120.0;
/// Steps between two renewals of the weights.
const RENEWAL: usize = 5;

/// The pinball loss of `bound` at `tau`: (τ − 1[truth < bound]) (truth − bound) (Koenker and Bassett 1978).
pub(super) fn pinball(tau: f64, bound: f64, truth: f64) -> f64 {
    let error = truth - bound;
    if error >= 0.0 { tau * error } else { (tau - 1.0) * error }
}

/// What came of bounds at a quantile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) tau: f64,
    pub(super) truth: f64,
}

impl Outcome {
    fn loss(self, bound: f64) -> f64 {
        pinball(self.tau, bound, self.truth)
    }

    /// By how much the loss of `bound` would have been less for a step towards another one, which is the whole way there if the truth is not
    /// in between.
    fn gain(self, bound: f64, other: f64) -> f64 {
        let slope = if self.truth >= bound { -self.tau } else { 1.0 - self.tau };
        slope * (bound - other)
    }
}

/// Weights of some experts at some quantiles.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    experts: usize,
    /// By quantile, then expert.
    records: Vec<Record>,
    weights: Vec<f64>,
    keep: f64,
    keep_gains: f64,
    /// Steps that a new expert is taken to have lost as much as the yardstick.
    start: f64,
    countdown: usize,
}

/// How an expert has done at a quantile.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Mean loss, and how many losses it is the mean of.
    loss: f64,
    seen: f64,
    /// Sums of gains and of their squares.
    gains: f64,
    squares: f64,
}

impl Record {
    fn is_known(&self) -> bool {
        self.seen > 0.0
    }

    fn merit(&self) -> f64 {
        if self.squares > 0.0 { self.gains.max(0.0) / self.squares } else { 0.0 }
    }
}

impl Mixture {
    pub(super) fn new(experts: usize, quantiles: usize, step_minutes: f64) -> Self {
        let count = experts * quantiles;
        let keep = |half_life: f64| (-std::f64::consts::LN_2 * step_minutes / half_life).exp();
        Self {
            experts,
            records: vec![Record::default(); count],
            weights: vec![0.0; count],
            keep: keep(HALF_LIFE),
            keep_gains: keep(HALF_LIFE_OF_GAINS),
            start: START / step_minutes,
            countdown: 0,
        }
    }

    /// Learns how the experts' bounds at quantile number `which`, and the one that was mixed of them, compare to what came; NaN for one that
    /// said nothing. The first expert is the yardstick.
    pub(super) fn learn(
        &mut self,
        which: usize,
        outcome: Outcome,
        bounds: impl Iterator<Item = f64>,
        mixed: f64,
    ) {
        let records = &mut self.records[which * self.experts..(which + 1) * self.experts];
        let mut yardstick = None;
        for (record, bound) in records.iter_mut().zip(bounds) {
            if !bound.is_nan() {
                if let Some(loss) = yardstick.filter(|_| !record.is_known()) {
                    (record.seen, record.loss) = (self.start, loss);
                }
                record.seen = 1.0 + self.keep * record.seen;
                record.loss += (outcome.loss(bound) - record.loss) / record.seen;
                if !mixed.is_nan() {
                    let gain = outcome.gain(mixed, bound);
                    record.gains = self.keep_gains * record.gains + gain;
                    record.squares = self.keep_gains * record.squares + gain * gain;
                }
            }
            yardstick.get_or_insert(record.loss);
        }
    }

    /// To be called once a step.
    pub(super) fn renew(&mut self) {
        if self.countdown > 0 {
            self.countdown -= 1;
            return;
        }
        self.countdown = RENEWAL - 1;
        for (records, weights) in self.records.chunks(self.experts).zip(self.weights.chunks_mut(self.experts))
        {
            let known = || records.iter().filter(|record| record.is_known());
            let least = known().map(|record| record.loss).fold(f64::INFINITY, f64::min);
            let unit = least.max(f64::MIN_POSITIVE);
            let by_loss = |record: &Record| {
                if record.is_known() { (-EAGERNESS * (record.loss - least) / unit).exp() } else { 0.0 }
            };
            let losses: f64 = records.iter().map(by_loss).sum();
            let gains: f64 = records.iter().map(Record::merit).sum();
            let count = known().count().max(1) as f64;
            for (weight, record) in weights.iter_mut().zip(records) {
                let by_loss = by_loss(record) / losses;
                // While nobody would have mended anything, losses say it all.
                let by_gain = if gains > 0.0 { record.merit() / gains } else { by_loss };
                let own = (1.0 - UNIFORM) * (by_loss + by_gain) / 2.0 + UNIFORM / count;
                *weight = if record.is_known() { own } else { 0.0 };
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

    const OUTCOME: Outcome = Outcome { tau: 0.5, truth: 0.0 };

    /// One expert that is a tenth better than the rest, of four; what is mixed is as good as that one.
    fn learned(rounds: usize) -> Mixture {
        let mut mixture = Mixture::new(4, 1, 1.0);
        for _ in 0..rounds {
            mixture.learn(0, OUTCOME, [1.0, 1.0, 0.9, f64::NAN].into_iter(), 0.9);
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

    /// One is always too high and one always too low, by the same. The mean of them is right, and whatever is mixed draws towards the one on
    /// the other side of the truth.
    #[test]
    fn experts_that_are_wrong_in_opposite_directions_are_mixed() {
        let mut mixture = Mixture::new(3, 1, 1.0);
        let experts = [10.0, 12.0, 6.0];
        let mut mixed = 10.0;
        for round in 0..20_000 {
            let truth = 9.0 + f64::from(round % 3 - 1) * 0.1;
            mixture.learn(0, Outcome { tau: 0.5, truth }, experts.into_iter(), mixed);
            mixture.renew();
            mixed = mixture.weights(0).iter().zip(experts).map(|(weight, bound)| weight * bound).sum();
        }
        // By losses alone it would be 10.
        assert!((mixed - 9.0).abs() < 0.5, "{mixed} {:?}", mixture.weights(0));
    }

    #[test]
    fn losses_of_zero_and_of_many_sizes_leave_weights_that_are_shares() {
        for scale in [0.0, f64::MIN_POSITIVE, 1e-300, 1e300] {
            let mut mixture = Mixture::new(3, 2, 1.0);
            for round in 0..50 {
                for which in 0..2 {
                    let bounds = [2.0, 1.0, f64::from(round % 2)].map(|bound| bound * scale);
                    mixture.learn(which, OUTCOME, bounds.into_iter(), 1.5 * scale);
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
