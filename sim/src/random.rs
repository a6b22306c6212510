//! Random numbers: one named, value-stable generator for each purpose, so that a change in one place of a run
//! does not shift the numbers of another.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use statrs::distribution::{ContinuousCDF, Normal};

/// What a generator is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Instants within the steps of a trace.
    Arrivals,
    /// Durations that a trace does not give.
    Durations,
    /// Which requests of a trace stay when it is scaled.
    Scaling,
    /// Phases of the timers.
    Phases,
    /// How the work of a tick of the fluid engine differs from what is usual.
    Costs,
    /// Which pods the balancer looks at.
    Balancing,
    /// How long the n-th pod takes to start.
    StartUp(u64),
    /// When the n-th pod crashes.
    Crashes(u64),
}

impl Purpose {
    fn number(self) -> u64 {
        match self {
            Self::Arrivals => 1,
            Self::Durations => 2,
            Self::Scaling => 3,
            Self::Phases => 4,
            Self::Balancing => 5,
            Self::Costs => 6,
            Self::StartUp(pod) => 1000 + pod,
            Self::Crashes(pod) => (1 << 40) + pod,
        }
    }
}

/// The generator for one purpose of a run with this seed.
pub(crate) fn generator(seed: u64, purpose: Purpose) -> Pcg64 {
    // Seeds and purposes are small numbers; the multiplication spreads them over all bits.
    Pcg64::seed_from_u64(seed ^ purpose.number().wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Uniform in (0, 1]: fit for a logarithm.
pub(crate) fn positive_uniform(rng: &mut Pcg64) -> f64 {
    1.0 - rng.random::<f64>()
}

/// Quantile function of the standard normal distribution, for `p` strictly between 0 and 1.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// Poisson mean above which the normal distribution does as well.
const NORMAL_FROM: f64 = 100.0;

/// A Poisson number with this mean.
pub(crate) fn poisson(rng: &mut Pcg64, mean: f64) -> u64 {
    if mean >= NORMAL_FROM {
        let p = rng.random::<f64>().clamp(1e-12, 1.0 - 1e-12);
        return (mean + mean.sqrt() * normal_quantile(p)).round().max(0.0) as u64;
    }
    // Exponential gaps until one unit of time is full.
    let mut count = 0;
    let mut time = -positive_uniform(rng).ln();
    while time < mean {
        count += 1;
        time -= positive_uniform(rng).ln();
    }
    count
}

/// Ascending instants in [0, 1), as many as are asked for, without keeping them: the order statistics of uniform
/// numbers, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct OrderStatistics {
    at: f64,
    left: u64,
}

impl OrderStatistics {
    pub(crate) fn new(count: u64) -> Self {
        Self { at: 0.0, left: count }
    }

    pub(crate) fn next(&mut self, rng: &mut Pcg64) -> Option<f64> {
        if self.left == 0 {
            return None;
        }
        // The least of `left` uniform numbers over what remains of the interval.
        self.at += (1.0 - self.at) * (1.0 - positive_uniform(rng).powf(1.0 / self.left as f64));
        self.left -= 1;
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_statistics_ascend_and_fill_the_interval_evenly() {
        let mut rng = generator(1, Purpose::Arrivals);
        let mut instants = OrderStatistics::new(10_000);
        let drawn: Vec<f64> = std::iter::from_fn(|| instants.next(&mut rng)).collect();
        assert!(drawn.is_sorted() && drawn.iter().all(|u| (0.0..1.0).contains(u)));
        for quarter in 0..4 {
            let within = drawn.iter().filter(|u| (**u * 4.0) as usize == quarter).count();
            // Five standard deviations of a binomial count.
            assert!(within.abs_diff(2500) < 217, "{quarter}: {within}");
        }
    }

    #[test]
    fn poisson_numbers_have_their_mean_and_variance_on_both_sides_of_the_switch() {
        for mean in [3.0, 99.0, 101.0] {
            let mut rng = generator(2, Purpose::Arrivals);
            let drawn: Vec<f64> = (0..20_000).map(|_| poisson(&mut rng, mean) as f64).collect();
            let average = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|n| (n - average).powi(2)).sum::<f64>() / 20_000.0;
            assert!((average / mean - 1.0).abs() < 0.02 && (variance / mean - 1.0).abs() < 0.06);
        }
    }

    #[test]
    fn purposes_have_numbers_of_their_own() {
        let first = |purpose| generator(7, purpose).random::<u64>();
        assert_ne!(first(Purpose::Arrivals), first(Purpose::Durations));
        assert_ne!(first(Purpose::StartUp(1)), first(Purpose::StartUp(2)));
        assert_eq!(first(Purpose::StartUp(1)), first(Purpose::StartUp(1)));
    }
}
