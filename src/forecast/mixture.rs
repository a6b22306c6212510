//! How much each expert counts, at each quantile: half by what its bounds have lost lately, half by what they would have mended.
//!
//! By losses the weight is softmax(−η (S − min S) / min S), S its mean pinball loss with a half-life of a day and a half: what is a twentieth
//! worse than the best counts e⁻¹. That follows quickly who is best, and with few misses follows chance.
//!
//! By gains it is max(R, 0) / (Σ g² + G), where g is what a step towards the expert's bound would have taken from the mixture's own loss
//! (the loss' slope times the way), R = Σ g, and G is two hours of the largest mean g² of any, so that a first small gain weighs little:
//! polynomial weights with a rate for each expert, on gradients (Gaillard, Stoltz and van Erven 2014). Here two that are wrong in opposite
//! directions count together, and it takes days: gains earn their half over two weeks.
//!
//! On the validation parts of real traces losses alone lose more than both nearly everywhere, and gains alone on the shortest. A small
//! share is given to all alike, so that none is ever lost (Herbster and Warmuth's fixed share, 1998). Losses come when the horizon has
//! passed, so weights lag by it.

use std::cmp::Ordering;

/// η. Between 10 and 30 losses differ by less than 1 % on the validation parts of real traces.
const EAGERNESS: f64 = 20.0;
/// Share that all experts have alike.
const UNIFORM: f64 = 0.02;
/// Minutes after which a loss counts half, and a gain. Between 5 and 28 days for the latter losses differ by some 1 % at 0.95.
const HALF_LIFE: f64 = 2160.0;
const HALF_LIFE_OF_GAINS: f64 = 14_400.0;
/// Minutes that a new expert is taken to have lost as much as the yardstick before, and to have had gains without a direction: it earns its weight.
const START: f64 = 120.0;
/// Minutes that count over which gains earn their half, two weeks: in the first days nobody has yet mended what happens once a day.
const ENOUGH: f64 = 20_160.0;
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
        let slope = match self.truth.total_cmp(&bound) {
            Ordering::Greater => -self.tau,
            Ordering::Less => 1.0 - self.tau,
            Ordering::Equal => 0.0,
        };
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
    /// Steps after which gains have their half.
    enough: f64,
    countdown: usize,
}

/// How an expert has done at a quantile.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Mean loss, and how many losses it is the mean of.
    loss: f64,
    seen: f64,
    /// Sums of gains and of their squares, and how many.
    gains: f64,
    squares: f64,
    gained: f64,
}

impl Record {
    fn is_known(&self) -> bool {
        self.seen > 0.0
    }

    fn mean_square(&self) -> f64 {
        if self.gained > 0.0 { self.squares / self.gained } else { 0.0 }
    }

    fn merit(&self, without_direction: f64) -> f64 {
        let squares = self.squares + without_direction;
        if squares > 0.0 { self.gains.max(0.0) / squares } else { 0.0 }
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
            enough: ENOUGH / step_minutes,
            countdown: 0,
        }
    }

    /// Learns how the experts' bounds at quantile number `which`, and the one that was mixed of them, compare to what came; NaN for one that
    /// said nothing. `tells` is whether what came tells how good a bound was. The first expert is the yardstick.
    pub(super) fn learn(
        &mut self,
        which: usize,
        outcome: Outcome,
        bounds: impl Iterator<Item = f64>,
        mixed: f64,
        tells: impl Fn(f64) -> bool,
    ) {
        let has_gains = !mixed.is_nan() && tells(mixed);
        let records = &mut self.records[which * self.experts..(which + 1) * self.experts];
        let mut yardstick = None;
        for (record, bound) in records.iter_mut().zip(bounds) {
            if has_gains && !bound.is_nan() {
                let gain = outcome.gain(mixed, bound);
                record.gains = self.keep_gains * record.gains + gain;
                record.squares = self.keep_gains * record.squares + gain * gain;
                record.gained = self.keep_gains * record.gained + 1.0;
            }
            if !bound.is_nan() && tells(bound) {
                if let Some(loss) = yardstick.filter(|_| !record.is_known()) {
                    (record.seen, record.loss) = (self.start, loss);
                }
                record.seen = 1.0 + self.keep * record.seen;
                record.loss += (outcome.loss(bound) - record.loss) / record.seen;
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
            let without_direction = self.start * records.iter().map(Record::mean_square).fold(0.0, f64::max);
            let merit = |record: &Record| {
                if record.is_known() { record.merit(without_direction) } else { 0.0 }
            };
            let gains: f64 = records.iter().map(merit).sum();
            let earned = (records[0].gained / self.enough).min(1.0);
            let count = known().count().max(1) as f64;
            for (weight, record) in weights.iter_mut().zip(records) {
                let by_loss = by_loss(record) / losses;
                // While nobody would have mended anything, losses say it all.
                let by_gain = if gains > 0.0 { merit(record) / gains } else { by_loss };
                let own = by_loss + earned / 2.0 * (by_gain - by_loss);
                let own = (1.0 - UNIFORM) * own + UNIFORM / count;
                *weight = if record.is_known() { own } else { 0.0 };
            }
        }
    }

    /// Another expert speaks in this one's place from now on.
    pub(super) fn restart(&mut self, expert: usize) {
        for records in self.records.chunks_mut(self.experts) {
            if let Some(record) = records.get_mut(expert) {
                *record = Record::default();
            }
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Record>() * self.records.capacity() + 8 * self.weights.capacity()
    }

    /// Weights at quantile number `which`, one an expert.
    pub(super) fn weights(&self, which: usize) -> &[f64] {
        &self.weights[which * self.experts..(which + 1) * self.experts]
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

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

    fn mixed(mixture: &Mixture, bounds: &[f64]) -> f64 {
        let said = || bounds.iter().zip(mixture.weights(0)).filter(|(bound, _)| !bound.is_nan());
        let of: f64 = said().map(|(_, weight)| weight).sum();
        if of > 0.0 { said().map(|(bound, weight)| bound * weight).sum::<f64>() / of } else { bounds[0] }
    }

    /// One expert that is a tenth better than the rest, of four.
    fn learned(rounds: usize) -> Mixture {
        let mut mixture = Mixture::new(4, 1, 1.0);
        let bounds = [1.0, 1.0, 0.9, f64::NAN];
        for _ in 0..rounds {
            let mixed = mixed(&mixture, &bounds);
            mixture.learn(0, OUTCOME, bounds.into_iter(), mixed, |_| true);
            mixture.renew();
        }
        mixture
    }

    #[test]
    fn the_better_expert_earns_its_weight_and_none_is_lost() {
        let weights = learned(100_000).weights(0).to_vec();
        // In the long run softmax(-20 (0.1 / 0.9)) against 1 by losses, all by gains, and a fiftieth shared by the three that spoke.
        let worse = (-EAGERNESS * 0.1 / 0.9).exp();
        let expected = 0.98 * (1.0 / (1.0 + 2.0 * worse) + 1.0) / 2.0 + 0.02 / 3.0;
        assert!((weights[2] - expected).abs() < 1e-3, "{weights:?}, not {expected}");
        assert!(weights[0] >= 0.02 / 3.0 && weights[0] == weights[1]);
        assert_eq!(weights[3], 0.0, "it never said anything");
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    /// Bounds at 0.95 of a truth that is uniform between 0 and 100: eleven are right but for what chance adds, and two days later one comes that
    /// is too low by a quarter. Until its first miss each of its gains is small, and none is a loss.
    #[test]
    fn a_newcomer_earns_its_weight() {
        let mut random = Pcg64Mcg::seed_from_u64(3);
        let mut mixture = Mixture::new(12, 1, 1.0);
        let mut most = 0.0f64;
        for minute in 0..2910 {
            let mut bounds: Vec<f64> = (0..11).map(|_| 95.0 + random.random_range(-5.0..5.0)).collect();
            bounds.push(if minute < 2880 { f64::NAN } else { 70.0 });
            let outcome = Outcome { tau: 0.95, truth: random.random_range(0.0..100.0) };
            let mixed = mixed(&mixture, &bounds);
            mixture.learn(0, outcome, bounds.into_iter(), mixed, |_| true);
            mixture.renew();
            most = most.max(mixture.weights(0)[11]);
        }
        assert!(most > 0.0 && most < 0.2, "{most}");
        mixture.restart(0);
        mixture.countdown = 0;
        mixture.renew();
        assert_eq!(mixture.weights(0)[0], 0.0, "another one in its place begins without any");
    }

    /// Only what was surely above a bound is known: whoever was below it is blamed, and who was above it is not.
    #[test]
    fn what_is_not_known_to_be_wrong_is_not_learned_from() {
        let mut mixture = Mixture::new(3, 1, 1.0);
        let (floor, bounds) = (10.0, [8.0, 9.0, 20.0]);
        for _ in 0..100 {
            let outcome = Outcome { tau: 0.95, truth: floor };
            mixture.learn(0, outcome, bounds.into_iter(), 9.5, |bound| bound < floor);
        }
        mixture.renew();
        assert_eq!((mixture.records[2].seen, mixture.weights(0)[2]), (0.0, 0.0));
        assert!(mixture.records[2].gains > 0.0 && mixture.records[0].gains < 0.0);
        assert!(mixture.weights(0)[1] > mixture.weights(0)[0]);
    }

    /// One is always too high and one always too low, by the same. The mean of them is right, and whatever is mixed draws towards the one on
    /// the other side of the truth.
    #[test]
    fn experts_that_are_wrong_in_opposite_directions_are_mixed() {
        let mut mixture = Mixture::new(3, 1, 1.0);
        let experts = [10.0, 12.0, 6.0];
        for round in 0..20_000 {
            let outcome = Outcome { tau: 0.5, truth: 9.0 + f64::from(round % 3 - 1) * 0.1 };
            let mixed = mixed(&mixture, &experts);
            mixture.learn(0, outcome, experts.into_iter(), mixed, |_| true);
            mixture.renew();
        }
        let mixed = mixed(&mixture, &experts);
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
                    mixture.learn(which, OUTCOME, bounds.into_iter(), 1.5 * scale, |_| true);
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
