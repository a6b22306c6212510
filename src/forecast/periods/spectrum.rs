//! Periodogram and autocorrelation, and the Fourier transform that both need: radix 2, in some thirty lines.

use std::f64::consts::TAU;

/// A Fourier transform of one size, a power of two.
struct Fourier {
    /// cos and sin of 2πi/size, for the first half of the circle.
    turns: Vec<(f64, f64)>,
}

impl Fourier {
    fn new(size: usize) -> Self {
        let turns = (0..size / 2).map(|i| {
            let (sin, cos) = (TAU * i as f64 / size as f64).sin_cos();
            (cos, sin)
        });
        Self { turns: turns.collect() }
    }

    /// Σ x·exp(−2πi·k·t/size) in place, by Cooley and Tukey.
    fn transform(&self, re: &mut [f64], im: &mut [f64]) {
        let size = re.len();
        let mut reversed = 0;
        for i in 1..size {
            let mut bit = size >> 1;
            while reversed & bit != 0 {
                reversed ^= bit;
                bit >>= 1;
            }
            reversed |= bit;
            if i < reversed {
                re.swap(i, reversed);
                im.swap(i, reversed);
            }
        }
        let mut half = 1;
        while half < size {
            let stride = size / (2 * half);
            for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
                let (re_low, re_high) = re.split_at_mut(half);
                let (im_low, im_high) = im.split_at_mut(half);
                for i in 0..half {
                    let (cos, sin) = self.turns[i * stride];
                    let a = re_high[i] * cos + im_high[i] * sin;
                    let b = im_high[i] * cos - re_high[i] * sin;
                    (re_high[i], im_high[i]) = (re_low[i] - a, im_low[i] - b);
                    (re_low[i], im_low[i]) = (re_low[i] + a, im_low[i] + b);
                }
            }
            half *= 2;
        }
    }
}

/// |Σ x·exp(−2πi·k·t/n)|²/n for k = 0 to n/2 cycles in the series, whose length n is a power of two.
pub(super) fn power(series: &[f64]) -> Vec<f64> {
    let n = series.len();
    let (mut re, mut im) = (series.to_vec(), vec![0.0; n]);
    Fourier::new(n).transform(&mut re, &mut im);
    re.iter().zip(&im).take(n / 2 + 1).map(|(re, im)| (re * re + im * im) / n as f64).collect()
}

/// The same for any number of cycles, whole or not, in a series of any length.
pub(super) fn power_at(series: &[f64], cycles: f64) -> f64 {
    let (sin, cos) = (TAU * cycles / series.len() as f64).sin_cos();
    let (mut c, mut s) = (1.0, 0.0);
    let (mut re, mut im) = (0.0, 0.0);
    for x in series {
        re += x * c;
        im += x * s;
        (c, s) = (c * cos - s * sin, s * cos + c * sin);
    }
    (re * re + im * im) / series.len() as f64
}

/// Sums of x(t)·x(t+lag) over the n − lag pairs, over that at lag 0, of the part of the series that is faster than
/// `slowest` cycles in it (0 for all of it; its length is a power of two).
pub(super) fn autocorrelation(series: &[f64], slowest: f64) -> Vec<f64> {
    // Zeros behind the series keep its end from meeting its beginning; a cycle in it is then two.
    let size = 2 * series.len();
    let fourier = Fourier::new(size);
    let (mut re, mut im) = (series.to_vec(), vec![0.0; size]);
    re.resize(size, 0.0);
    fourier.transform(&mut re, &mut im);
    let cut = (2.0 * slowest).ceil() as usize;
    for (k, (re, im)) in re.iter_mut().zip(&mut im).enumerate() {
        let is_slow = k.min(size - k) < cut;
        *re = if is_slow { 0.0 } else { *re * *re + *im * *im };
        *im = 0.0;
    }
    fourier.transform(&mut re, &mut im);
    let whole = re[0];
    re.truncate(series.len());
    re.iter_mut().for_each(|r| *r = if whole > 0.0 { *r / whole } else { 0.0 });
    re
}

/// How many bins around bin `k` its background is taken from, at most.
pub(super) fn around(k: usize) -> (usize, usize) {
    const FEW: usize = 64;
    ((k / 2).max(k.saturating_sub(FEW)).max(1), (2 * k).min(k + FEW))
}

/// What the power would be without periods, for each bin: from the low 30 % of the power around it, so that periods,
/// which are few and high, do not count, and the `masked` bins, in which something was removed, neither. White noise is
/// flat, that of a random walk falls with the square of the frequency; a fall with the frequency itself is within a
/// third of either, over bins so near. Never nothing, so that powers can be divided by it.
pub(super) fn background(power: &[f64], masked: &[bool]) -> Vec<f64> {
    let least = power.iter().sum::<f64>() * 1e-12 + f64::MIN_POSITIVE;
    let mut smooth = vec![f64::INFINITY; power.len()];
    let mut k = 1;
    while k < power.len() {
        let (low, high) = around(k);
        let bins = (low..=high.min(power.len() - 1)).filter(|bin| !masked[*bin]);
        let mut values: Vec<f64> = bins.map(|bin| power[bin] * bin as f64 / k as f64).collect();
        let end = (k + (k / 8).clamp(1, 32)).min(power.len());
        smooth[k..end].fill(low_mean(&mut values).max(least));
        k = end;
    }
    smooth
}

/// The mean of an exponential distribution, by the smallest 30 % of numbers from it: the r-th smallest of n is
/// 1/n + 1/(n−1) + … means on average, r terms. Infinite where there are too few.
fn low_mean(values: &mut [f64]) -> f64 {
    const SHARE: f64 = 0.3;
    let n = values.len();
    if n < 3 {
        return f64::INFINITY;
    }
    let rank = (n as f64 * SHARE) as usize;
    let (_, value, _) = values.select_nth_unstable_by(rank, f64::total_cmp);
    *value / (0..=rank).map(|i| 1.0 / (n - i) as f64).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        periods: Part,
    }

    #[derive(serde::Deserialize)]
    struct Part {
        series: Vec<f64>,
        peak_bin: usize,
        power: Vec<Power>,
        autocorrelations: Vec<Lag>,
    }

    #[derive(serde::Deserialize)]
    struct Power {
        bin: usize,
        value: f64,
    }

    #[derive(serde::Deserialize)]
    struct Lag {
        lag: usize,
        value: f64,
    }

    #[test]
    fn periodogram_and_autocorrelation_are_those_of_numpy_and_statsmodels() {
        let golden = include_str!("../../../tests/data/forecast/golden.json");
        let golden = serde_json::from_str::<Golden>(golden).unwrap().periods;
        let mean = golden.series.iter().sum::<f64>() / golden.series.len() as f64;
        let series: Vec<f64> = golden.series.iter().map(|x| x - mean).collect();
        let power = power(&series);
        for Power { bin, value } in golden.power {
            assert!((power[bin] / value - 1.0).abs() < 1e-9, "{bin}: {} {value}", power[bin]);
            let direct = power_at(&series, bin as f64);
            assert!((direct / value - 1.0).abs() < 1e-8, "{bin}: {direct} {value}");
        }
        let peak = (1..power.len()).max_by(|i, j| power[*i].total_cmp(&power[*j])).unwrap();
        assert_eq!(peak, golden.peak_bin);
        let correlations = autocorrelation(&series, 0.0);
        for Lag { lag, value } in golden.autocorrelations {
            assert!((correlations[lag] - value).abs() < 1e-10, "{lag}: {} {value}", correlations[lag]);
        }
    }

    #[test]
    fn the_background_of_white_noise_and_of_a_random_walk_is_their_power() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(1);
        for fall in [0, 2] {
            let mut mean = [0.0; 3];
            for _ in 0..500 {
                let power: Vec<f64> = (0..512)
                    .map(|k| -(1.0 - random.random::<f64>()).ln() / f64::from(k.max(1)).powi(fall))
                    .collect();
                let background = background(&power, &[false; 512]);
                for (mean, k) in mean.iter_mut().zip([4, 24, 300]) {
                    *mean += background[k] * (k as f64).powi(fall) / 500.0;
                }
            }
            assert!(mean.iter().all(|mean| (0.75..1.33).contains(mean)), "{fall}: {mean:?}");
        }
    }

    #[test]
    fn a_slow_part_does_not_reach_the_autocorrelation_of_a_fast_one() {
        let wave = |cycles: f64, t: usize| (TAU * cycles * t as f64 / 1024.0).sin();
        let series: Vec<f64> = (0..1024).map(|t| 10.0 * wave(2.0, t) + wave(64.0, t)).collect();
        assert!(autocorrelation(&series, 0.0)[8] > 0.9);
        assert!(autocorrelation(&series, 32.0)[8] < -0.9);
    }
}
