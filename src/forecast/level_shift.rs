//! Tells a lasting change of level from noise: a two-sided cumulative sum over the forecast's standardised errors.
//!
//! Page (1954): g⁺ ← max(0, g⁺ + z − k), g⁻ ← max(0, g⁻ − z − k), an alarm where one exceeds h. With k = ½ it is tuned
//! to a shift of one standard deviation. It assumes errors that are centred, of unit scale and not autocorrelated: where
//! they are autocorrelated, alarms come more often than the figures here say. It never looks at levels themselves, so a
//! season that the forecast knows is no shift.

use serde::{Deserialize, Serialize};

/// What an error must exceed to count, in standard deviations: half the shift that is looked for.
const ALLOWANCE: f64 = 0.5;

/// The sum that is an alarm, in standard deviations, for an average run of 10,000 steps without a shift. Siegmund
/// (Sequential Analysis, 1985, section 2.6) gives one side's average run length as
/// (e^{2kb} − 2kb − 1) / 2k² with b = h + 1.166; both sides together have half of it: e^b − b − 1 = 10,000, b = 9.211.
const THRESHOLD: f64 = 8.045;

/// Errors count up to this many standard deviations: one spike, however high, adds 2.5 to a sum that must reach 8, and
/// it takes four within a short time to look like a shift. It also makes the run length hold for heavy tails.
const CLIP: f64 = 3.0;

/// Where the level went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More than was forecast.
    Up,
    /// Less than was forecast.
    Down,
}

/// A level that has shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// Where the level went.
    pub direction: Direction,
    /// How many observations ago the shift began, the present one included, so at least 3: since the sum last was
    /// zero, which is the change's maximum-likelihood estimate.
    pub steps: u32,
}

/// One side's sum, and how long it has been above zero.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Side {
    sum: f64,
    steps: u32,
}

impl Side {
    fn add(&mut self, excess: f64) -> bool {
        self.sum += excess;
        self.steps = self.steps.saturating_add(1);
        if self.sum <= 0.0 {
            *self = Self::default();
        }
        self.sum > THRESHOLD
    }
}

/// The detector. Its state is two sums; equal observations give equal alarms.
///
/// Measured on Gaussian noise: some 10,900 steps between false alarms (Siegmund's 10,000 and what clipping adds), and an
/// alarm 6 steps after a shift of two standard deviations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LevelShift {
    up: Side,
    down: Side,
}

impl LevelShift {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next error, observed minus forecast, over its usual scale (a standard deviation or its robust
    /// equivalent). After an alarm it begins anew: whoever hears it moves the level. What is not a number is no
    /// observation.
    pub fn observe(&mut self, residual_over_scale: f64) -> Option<Shift> {
        if residual_over_scale.is_nan() {
            return None;
        }
        let clipped = residual_over_scale.clamp(-CLIP, CLIP);
        let up = self.up.add(clipped - ALLOWANCE);
        let down = self.down.add(-clipped - ALLOWANCE);
        let shift = match (up, down) {
            (true, _) => Shift { direction: Direction::Up, steps: self.up.steps },
            (_, true) => Shift { direction: Direction::Down, steps: self.down.steps },
            _ => return None,
        };
        *self = Self::new();
        Some(shift)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// Standard normal numbers, by Box and Muller.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        move || {
            let (u, v): (f64, f64) = (random.random(), random.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        }
    }

    /// Steps to the first alarm with errors around `mean`, and the alarm.
    fn run(seed: u64, mean: f64) -> (u32, Shift) {
        let (mut noise, mut detector) = (noise(seed), LevelShift::new());
        (1..).find_map(|step| detector.observe(mean + noise()).map(|shift| (step, shift))).unwrap()
    }

    #[test]
    fn false_alarms_are_as_rare_as_siegmund_says() {
        let mean = (0..1000).map(|seed| f64::from(run(seed, 0.0).0)).sum::<f64>() / 1000.0;
        println!("average run length in control: {mean}");
        assert!((10_000.0..12_500.0).contains(&mean), "{mean}");
        let b = THRESHOLD + 1.166;
        let one_side = ((2.0 * ALLOWANCE * b).exp() - 2.0 * ALLOWANCE * b - 1.0) / (2.0 * ALLOWANCE.powi(2));
        assert!((one_side / 2.0 - 10_000.0).abs() < 50.0, "{one_side}");
    }

    #[test]
    fn a_shift_of_two_deviations_is_seen_within_ten_steps() {
        let runs: Vec<_> = (0..2000).map(|seed| run(seed, if seed % 2 == 0 { 2.0 } else { -2.0 })).collect();
        let delay = runs.iter().map(|(steps, _)| f64::from(*steps)).sum::<f64>() / 2000.0;
        let late = runs.iter().filter(|(steps, _)| *steps > 10).count();
        println!("average delay: {delay}, later than 10 steps: {late} of 2000");
        assert!(delay < 7.0 && late < 40, "{delay} {late}");
        for (seed, (steps, shift)) in runs.iter().enumerate() {
            assert_eq!(shift.direction, if seed % 2 == 0 { Direction::Up } else { Direction::Down });
            assert!(shift.steps <= *steps && shift.steps >= 3);
        }
    }

    #[test]
    fn the_beginning_of_a_shift_is_dated() {
        let mut off = Vec::new();
        for seed in 0..500 {
            let (mut noise, mut detector) = (noise(seed), LevelShift::new());
            if (0..300).any(|_| detector.observe(noise()).is_some()) {
                continue;
            }
            let (steps, shift) =
                (1..).find_map(|step| detector.observe(2.0 + noise()).map(|shift| (step, shift))).unwrap();
            off.push((i64::from(shift.steps) - steps).abs());
        }
        off.sort_unstable();
        assert!(off[off.len() / 2] <= 1 && off[off.len() * 9 / 10] <= 5, "{:?}", &off[off.len() / 2..]);
    }

    #[test]
    fn one_spike_is_no_shift_and_neither_are_missing_values() {
        let mut detector = LevelShift::new();
        for step in 0..10_000 {
            let spike = if step % 12 == 0 { f64::INFINITY } else { 0.0 };
            assert_eq!(detector.observe(spike), None);
            assert_eq!(detector.observe(f64::NAN), None);
        }
    }

    #[test]
    fn a_detector_reads_back_what_it_wrote() {
        let mut detector = LevelShift::new();
        detector.observe(1.7);
        let text = serde_json::to_string(&detector).unwrap();
        assert_eq!(serde_json::from_str::<LevelShift>(&text).unwrap(), detector);
    }
}
