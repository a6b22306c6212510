//! What the other experts say together.

use super::super::regression::{QuantileRegression, Ridge};
use super::super::waiting::Waiting;
use super::{DAY, Grid, Known, Now};

/// Linear quantile regression on the guesses of all other experts ("stacking", Wolpert 1992), for the middle and for the upper
/// quantile. It learns by how much the maximum exceeds the present level, in units of the level.
#[derive(Debug, Clone)]
pub(in super::super) struct Stack {
    fits: [QuantileRegression; 2],
    waiting: Waiting<Row>,
    inputs: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Row {
    level: f64,
    reference: f64,
    inputs: Vec<f64>,
}

const QUANTILES: [f64; 2] = [0.5, 0.95];
/// One weekly cycle: which expert is right changes faster than how the load behaves.
const HALF_LIFE: f64 = 7.0 * DAY;
/// As for the regressions on everything.
const RIDGE: f64 = 1e-3;
/// Rows for each input before it speaks.
const ROWS: u64 = 5;

impl Stack {
    /// What they are called, in the order of their guesses.
    pub(in super::super) const NAMES: [&'static str; 2] = ["stack", "upper stack"];

    /// Of the guesses of so many other experts.
    pub(in super::super) fn new(grid: Grid, guesses: usize) -> Self {
        let inputs = 4 + guesses;
        let half_life = HALF_LIFE / grid.step_minutes;
        let ridge = Ridge { ridge: RIDGE, prior: grid.horizon as f64 };
        Self {
            fits: QUANTILES.map(|tau| QuantileRegression::new(inputs, tau, half_life, ridge)),
            waiting: Waiting::new(grid.horizon),
            inputs: Vec::with_capacity(inputs),
        }
    }

    /// Learns a maximum that it guessed at.
    pub(in super::super) fn learn(&mut self, known: &Known) {
        let Some(Row { level, reference, inputs }) = self.waiting.take(known.origin) else { return };
        let rise = (known.peak - level) / reference;
        for fit in &mut self.fits {
            if !(known.is_floor && rise <= fit.predict(&inputs)) {
                fit.learn(&inputs, rise);
            }
        }
        self.inputs = inputs;
    }

    /// Finds the coefficients for what was learned so far.
    pub(in super::super) fn refit(&mut self) {
        self.fits.iter_mut().for_each(QuantileRegression::solve);
    }

    /// Bytes on the heap.
    pub(in super::super) fn bytes(&self) -> usize {
        let row = self.fits[0].inputs() * 8;
        let fits: usize = self.fits.iter().map(QuantileRegression::bytes).sum();
        fits + self.waiting.bytes() + self.waiting.len() * row
    }

    /// One guess each.
    pub(in super::super) fn guess(&mut self, now: &Now<'_>) -> [Option<f64>; 2] {
        let (level, reference) = (now.recent.level(), now.recent.reference());
        let inputs = &mut self.inputs;
        inputs.clear();
        inputs.reserve_exact(self.fits[0].inputs());
        inputs.extend([1.0, level / reference]);
        inputs.extend(now.recent.spreads().map(|spread| spread / reference));
        inputs.extend(now.guesses.iter().map(|guess| (guess - level) / reference));
        let least = ROWS * inputs.len() as u64;
        let guesses = self.fits.each_ref().map(|fit| {
            let rise = fit.predict(inputs) * reference;
            (fit.rows() >= least).then_some(level + rise)
        });
        if now.level.is_some() {
            let inputs = std::mem::take(&mut self.inputs);
            self.waiting.push(now.step, Row { level, reference, inputs });
        }
        guesses
    }
}
