//! What the last hours looked like: lags, smoothed levels, peaks, troughs and volatility, each kept up step by step.

use super::window::{Peak, Ring};

/// Steps of the series that lie `minutes` apart; at least one.
pub(super) fn steps(minutes: f64, step_minutes: f64) -> usize {
    ((minutes / step_minutes).round() as usize).max(1)
}

/// An exponentially weighted mean that begins as a plain one, so that its first values are not those of a guess.
#[derive(Debug, Clone)]
pub(super) struct Ewma {
    rate: f64,
    seen: f64,
    value: f64,
}

impl Ewma {
    /// With a time constant in steps: after so many, a value counts 1/e.
    pub(super) fn new(time_constant: f64) -> Self {
        Self { rate: -(-1.0 / time_constant.max(0.1)).exp_m1(), seen: 0.0, value: 0.0 }
    }

    /// Takes the value of one step.
    pub(super) fn push(&mut self, value: f64) {
        self.seen += 1.0;
        // The larger of the two; a division only at the beginning, since there are a hundred of these a step.
        let rate = if self.rate * self.seen < 1.0 { self.seen.recip() } else { self.rate };
        self.value += (value - self.value) * rate;
    }

    /// Takes a value after `gap` steps of which nothing is known: what was before counts less.
    pub(super) fn push_after(&mut self, value: f64, gap: usize) {
        if gap == 0 {
            return self.push(value);
        }
        self.seen += 1.0;
        let rate = 1.0 - (1.0 - self.rate).powi(i32::try_from(gap + 1).unwrap_or(i32::MAX));
        self.value += (value - self.value) * rate.max(1.0 / self.seen);
    }

    pub(super) fn get(&self) -> f64 {
        self.value
    }
}

/// Lags that are looked at, in minutes.
const LAGS: [f64; 9] = [1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0];
/// Time constants of smoothed levels, in minutes.
const LEVELS: [f64; 6] = [2.0, 5.0, 15.0, 60.0, 240.0, 1440.0];
/// Windows of peaks and troughs, in minutes.
const PEAKS: [f64; 5] = [3.0, 5.0, 15.0, 60.0, 180.0];
const TROUGHS: [f64; 2] = [15.0, 60.0];

/// The present and what led to it.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    lags: Vec<usize>,
    history: Ring,
    levels: Vec<Ewma>,
    peaks: Vec<Peak>,
    troughs: Vec<Peak>,
    /// Mean absolute change from step to step over half an hour (and thirty steps at least: a mean of fewer is mostly chance), and over a day.
    restless: [Ewma; 2],
    /// Mean of a week: what "much" and "little" mean for this workload.
    usual: Ewma,
    gap: usize,
}

impl Recent {
    /// How many levels [`Self::each_level`] gives.
    pub(super) const LEVELS: usize = LAGS.len() + LEVELS.len() + PEAKS.len() + TROUGHS.len();

    pub(super) fn new(step_minutes: f64) -> Self {
        let in_steps = |minutes: &[f64]| minutes.iter().map(|m| steps(*m, step_minutes)).collect::<Vec<_>>();
        let lags = in_steps(&LAGS);
        let longest = lags.iter().copied().max().unwrap_or(1);
        let ewma = |minutes: f64| Ewma::new(minutes / step_minutes);
        Self {
            history: Ring::new(longest + 1),
            lags,
            levels: LEVELS.map(ewma).to_vec(),
            peaks: in_steps(&PEAKS).into_iter().map(Peak::new).collect(),
            troughs: in_steps(&TROUGHS).into_iter().map(Peak::new).collect(),
            restless: [Ewma::new((30.0 / step_minutes).max(30.0)), ewma(1440.0)],
            usual: ewma(7.0 * 1440.0),
            gap: 0,
        }
    }

    /// Takes the level of one step; none where it is not known.
    pub(super) fn push(&mut self, level: Option<f64>) {
        let Some(level) = level else {
            self.gap += 1;
            // Lags keep their distance in time: what is not known is taken to be as it was.
            if let Some(last) = self.history.last() {
                self.history.push(last);
                for peak in &mut self.peaks {
                    peak.push(last);
                }
                for trough in &mut self.troughs {
                    trough.push(-last);
                }
            }
            return;
        };
        if let Some(last) = self.history.last() {
            for restless in &mut self.restless {
                restless.push((level - last).abs());
            }
        }
        self.history.push(level);
        for ewma in self.levels.iter_mut().chain([&mut self.usual]) {
            ewma.push_after(level, self.gap);
        }
        for peak in &mut self.peaks {
            peak.push(level);
        }
        for trough in &mut self.troughs {
            trough.push(-level);
        }
        self.gap = 0;
    }

    /// Bytes on the heap, but for a few hundred.
    pub(super) fn bytes(&self) -> usize {
        let peaks = self.peaks.iter().chain(&self.troughs);
        self.history.bytes() + peaks.map(Peak::bytes).sum::<usize>()
    }

    /// The last known level.
    pub(super) fn level(&self) -> f64 {
        self.history.last().unwrap_or(0.0)
    }

    /// Mean level of the last week.
    pub(super) fn usual(&self) -> f64 {
        self.usual.get()
    }

    /// A level to which others can be compared: that of the last quarter of an hour, and never less than a twentieth of the usual
    /// one.
    pub(super) fn reference(&self) -> f64 {
        self.levels[2].get().max(FLOOR * self.usual()).max(f64::MIN_POSITIVE)
    }

    /// Mean absolute change from step to step; positive.
    pub(super) fn volatility(&self) -> f64 {
        let [short, long] = [self.restless[0].get(), self.restless[1].get()];
        short.max(0.1 * long).max(1e-3 * self.usual()).max(f64::MIN_POSITIVE)
    }

    /// The largest level of the last `PEAKS[which]` minutes.
    pub(super) fn peak(&self, which: usize) -> f64 {
        self.peaks[which].get()
    }

    /// Levels to compare with the present one, in a fixed order and number.
    pub(super) fn each_level(&self, mut f: impl FnMut(f64)) {
        self.lags.iter().for_each(|lag| f(self.history.back(*lag)));
        self.levels.iter().for_each(|ewma| f(ewma.get()));
        self.peaks.iter().for_each(|peak| f(peak.get()));
        self.troughs.iter().for_each(|trough| f(-trough.get()));
    }

    /// Positive measures of spread, in a fixed order and number.
    pub(super) fn spreads(&self) -> [f64; 2] {
        [self.restless[0].get(), self.restless[1].get()]
    }
}

/// A workload that idles is not infinitely far below its usual load: the least level that relative errors are relative to.
pub(super) const FLOOR: f64 = 0.05;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forecast::golden::{assert_close, number, numbers, part};

    #[test]
    fn a_smoothed_level_is_that_of_a_filter_after_a_plain_mean() {
        let golden = part("ewma");
        let (alpha, series) = (number(&golden["alpha"]), numbers(&golden["series"]));
        let mut ewma = Ewma::new(-1.0 / (1.0 - alpha).ln());
        // 1/alpha values: after them the rate is alpha. The golden filter starts from their mean, in six digits.
        series[..5].iter().for_each(|value| ewma.push(*value));
        assert_close(&[ewma.get()], &[number(&golden["initial"])], 1e-5);
        ewma.value = number(&golden["initial"]);
        let smoothed: Vec<f64> = series
            .iter()
            .map(|value| {
                ewma.push(*value);
                ewma.get()
            })
            .collect();
        assert_close(&smoothed, &numbers(&golden["smoothed"]), 1e-11);
    }

    proptest! {
        #[test]
        fn first_values_are_averaged_plainly(values in prop::collection::vec(0.0..1e6f64, 1..50)) {
            let mut ewma = Ewma::new(50.0);
            values.iter().for_each(|value| ewma.push(*value));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            prop_assert!((ewma.get() - mean).abs() <= 1e-9 * mean.max(1.0), "{} {}", ewma.get(), mean);
        }

        /// What was before a gap counts as little as if the value after it had been there all along.
        #[test]
        fn a_gap_ages_what_was_before(value in 0.0..1e6f64, gap in 0usize..100, constant in 1.0..300.0f64) {
            let (mut after, mut lived) = (Ewma::new(constant), Ewma::new(constant));
            for i in 0..2000 {
                after.push(f64::from(i % 13));
                lived.push(f64::from(i % 13));
            }
            after.push_after(value, gap);
            (0..=gap).for_each(|_| lived.push(value));
            prop_assert!((after.get() - lived.get()).abs() <= 1e-9 * value.max(1.0));
        }
    }
}
