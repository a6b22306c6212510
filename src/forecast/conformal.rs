//! Insurance for the worst day: when bounds miss more often than they should, ask for a higher quantile for a while.
//!
//! Adaptive conformal inference (Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", 2021):
//! α ← α + γ ((1 − τ) − miss), with the misses as late as the horizon makes them, and α held within bounds: without them it runs away on
//! bursts, since overlapping horizons miss together.

/// γ: a quarter of an hour of misses goes half of the way to the limit at τ = 0.95.
const PACE: f64 = 0.002;
/// What α may be, in shares of 1 − τ. Chosen on the validation parts of real traces: within these limits the insurance costs nothing, and
/// on the worst days 0.90 of the bounds hold in place of 0.85. Wider ones cost 3 % where horizons are long.
const LEAST: f64 = 0.4;
const MOST: f64 = 1.3;

/// The share that may miss, as it is asked for at present.
#[derive(Debug, Clone)]
pub(super) struct Adaptive {
    nominal: f64,
    alpha: f64,
}

impl Adaptive {
    /// For bounds at quantile `tau`.
    pub(super) fn new(tau: f64) -> Self {
        Self { nominal: 1.0 - tau, alpha: 1.0 - tau }
    }

    /// Learns whether a bound missed.
    pub(super) fn learn(&mut self, missed: bool) {
        let miss = if missed { 1.0 } else { 0.0 };
        let alpha = self.alpha + PACE * (self.nominal - miss);
        self.alpha = alpha.clamp(LEAST * self.nominal, MOST * self.nominal);
    }

    /// The bound at 1 − α, between those at `quantiles` (ascending), linear in ln α. Beyond the last it is the last.
    pub(super) fn bound(&self, quantiles: &[f64], bounds: &[f64]) -> f64 {
        interpolate(1.0 - self.alpha, quantiles, bounds)
    }
}

/// The bound at quantile `tau`, between those at `quantiles` (ascending), linear in ln(1 − τ) as the tail of an exponential
/// distribution is. Outside of them it is the nearest. There is at least one.
pub(super) fn interpolate(tau: f64, quantiles: &[f64], bounds: &[f64]) -> f64 {
    let above = quantiles.partition_point(|quantile| *quantile < tau).min(bounds.len() - 1);
    let (high, below) = (bounds[above], above.saturating_sub(1));
    if tau >= quantiles[above] || below == above {
        return high;
    }
    let place = |tau: f64| -(1.0 - tau).ln();
    let (from, to) = (place(quantiles[below]), place(quantiles[above]));
    let share = (place(tau) - from) / (to - from);
    bounds[below] + share * (high - bounds[below])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
    const BOUNDS: [f64; 4] = [10.0, 20.0, 40.0, 80.0];

    #[test]
    fn between_quantiles_a_bound_is_that_of_an_exponential_tail() {
        for (tau, bound) in QUANTILES.into_iter().zip(BOUNDS) {
            assert_eq!(interpolate(tau, &QUANTILES, &BOUNDS), bound);
        }
        // Where a tenth of the misses are left, and half of the way to it in logarithms.
        assert!((interpolate(1.0 - 0.1f64.powf(1.5), &QUANTILES, &BOUNDS) - 30.0).abs() < 1e-9);
        assert_eq!(interpolate(0.1, &QUANTILES, &BOUNDS), 10.0);
        assert_eq!(interpolate(0.9999, &QUANTILES, &BOUNDS), 80.0);
        assert_eq!(interpolate(0.7, &[0.9], &[5.0]), 5.0);
    }

    #[test]
    fn misses_ask_for_more_and_their_absence_for_little_less() {
        let after = |missed: bool| {
            let mut adaptive = Adaptive::new(0.99);
            (0..100_000).for_each(|_| adaptive.learn(missed));
            adaptive.bound(&QUANTILES, &BOUNDS)
        };
        // No further than 0.4 % and 1.3 % of misses asked for.
        let at = |tau: f64| interpolate(tau, &QUANTILES, &BOUNDS);
        assert!((after(true) - at(0.996)).abs() < 1e-9);
        assert!((after(false) - at(0.987)).abs() < 1e-9);
        let mut adaptive = Adaptive::new(0.99);
        assert_eq!(adaptive.bound(&QUANTILES, &BOUNDS), 40.0);
        (0..10_000).for_each(|step| adaptive.learn(step % 100 == 0));
        assert!((adaptive.alpha - 0.01).abs() < 0.002, "as many misses as asked for change little");
    }

    proptest! {
        #[test]
        fn a_higher_quantile_is_never_below(a in 0.0..1.0f64, b in 0.0..1.0f64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(interpolate(low, &QUANTILES, &BOUNDS) <= interpolate(high, &QUANTILES, &BOUNDS));
        }
    }
}
