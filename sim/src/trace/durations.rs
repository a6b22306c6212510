//! Durations where a trace does not tell them.

use plimsoll::units::Span;
use rand::RngExt;
use rand_pcg::Pcg64;

use crate::random::normal_quantile;

/// Entries of the table that durations are drawn from.
const ENTRIES: usize = 4096;

/// One kind of request.
#[derive(Debug, Clone, Copy)]
struct Kind {
    share: f64,
    median_s: f64,
    sigma: f64,
}

/// What a rate trace lacks: most requests are quick, some are not. Mean 50.5 ms, 99th percentile about 0.57 s.
const USUAL: [Kind; 2] =
    [Kind { share: 0.9, median_s: 0.02, sigma: 0.7 }, Kind { share: 0.1, median_s: 0.2, sigma: 0.8 }];

/// A lognormal distribution, as a table of its quantiles: drawing from it costs a look-up, and its tail ends at the
/// quantile 0.99988.
#[derive(Debug, Clone)]
pub(super) struct LogNormal(Box<[f64]>);

impl LogNormal {
    pub(super) fn new(median_s: f64, sigma: f64) -> Self {
        let quantile =
            |i: usize| median_s * (sigma * normal_quantile((i as f64 + 0.5) / ENTRIES as f64)).exp();
        Self((0..ENTRIES).map(quantile).collect())
    }

    /// Seconds.
    pub(super) fn draw(&self, rng: &mut Pcg64) -> f64 {
        self.0[rng.random_range(0..ENTRIES)]
    }
}

/// The mix that is lent to traces without durations.
#[derive(Debug, Clone)]
pub(super) struct UsualMix(Vec<(f64, LogNormal)>);

impl UsualMix {
    pub(super) fn new() -> Self {
        Self(USUAL.iter().map(|k| (k.share, LogNormal::new(k.median_s, k.sigma))).collect())
    }

    pub(super) fn draw(&self, rng: &mut Pcg64) -> Span {
        let mut left: f64 = rng.random();
        for (share, durations) in &self.0 {
            left -= share;
            if left < 0.0 {
                return Span::from_secs_f64(durations.draw(rng));
            }
        }
        // Only where the shares add up to a little less than one.
        self.0.last().map_or(Span::ZERO, |(_, durations)| Span::from_secs_f64(durations.draw(rng)))
    }
}

/// Log-uniform between two bounds in seconds, `0 < lower <= upper`.
pub(super) fn log_uniform(rng: &mut Pcg64, lower: f64, upper: f64) -> Span {
    Span::from_secs_f64(lower * (upper / lower).powf(rng.random()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    #[test]
    fn the_usual_mix_has_the_mean_and_the_percentile_that_its_doc_says() {
        let (mix, mut rng) = (UsualMix::new(), generator(1, Purpose::Durations));
        let mut drawn: Vec<f64> = (0..100_000).map(|_| mix.draw(&mut rng).as_secs_f64()).collect();
        drawn.sort_by(f64::total_cmp);
        let mean = drawn.iter().sum::<f64>() / 100_000.0;
        assert!((mean - 0.0505).abs() < 0.001, "{mean}");
        assert!((drawn[99_000] - 0.57).abs() < 0.05, "{}", drawn[99_000]);
    }

    #[test]
    fn log_uniform_durations_stay_in_their_bucket() {
        let mut rng = generator(1, Purpose::Durations);
        for _ in 0..1000 {
            let drawn = log_uniform(&mut rng, 0.1, 0.25).as_secs_f64();
            assert!((0.1..=0.25).contains(&drawn));
        }
    }
}
