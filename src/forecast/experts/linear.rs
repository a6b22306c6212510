//! Whatever a straight line through all that is known can tell: direct regression on the maximum itself.

use std::f64::consts::TAU;

use super::super::regression::{QuantileRegression, Regression, Ridge};
use super::super::waiting::Waiting;
use super::{DAY, Grid, HOUR, Known, Now};

/// Three regressions on the same inputs: least squares, the same relative to the level, and the upper quantile. What they learn
/// is by how much the maximum exceeds the present level, so that knowing nothing means persistence.
#[derive(Debug, Clone)]
pub(in super::super) struct Linear {
    grid: Grid,
    plain: Regression,
    relative: Regression,
    quantile: QuantileRegression,
    waiting: Waiting<Row>,
    inputs: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Row {
    level: f64,
    reference: f64,
    inputs: Vec<f64>,
}

/// Two weekly cycles.
const HALF_LIFE: f64 = 14.0 * DAY;
/// Of an input's own size: enough to hold what the rows do not tell, too little to matter where they do.
const RIDGE: f64 = 1e-3;
/// Rows for each input before the regressions speak.
const ROWS: u64 = 3;
/// Sines and cosines of the day, and of the hour.
const HARMONICS: [(f64, u32); 2] = [(DAY, 3), (HOUR, 1)];

impl Linear {
    /// What they are called, in the order of their guesses.
    pub(in super::super) const NAMES: [&'static str; 3] =
        ["regression", "relative regression", "quantile regression"];

    /// With the guesses of so many other experts among the inputs.
    pub(in super::super) fn new(grid: Grid, guesses: usize) -> Self {
        let inputs = 2 + super::super::recent::Recent::LEVELS + 2 + 8 + guesses;
        let half_life = HALF_LIFE / grid.step_minutes;
        // Horizons overlap: as many rows as it has steps tell what one does.
        let ridge = Ridge { ridge: RIDGE, prior: grid.horizon as f64 };
        Self {
            grid,
            plain: Regression::new(inputs, half_life, ridge),
            relative: Regression::new(inputs, half_life, ridge),
            quantile: QuantileRegression::new(inputs, 0.95, half_life, ridge),
            waiting: Waiting::new(grid.horizon),
            inputs: Vec::with_capacity(inputs),
        }
    }

    /// Learns a maximum that it guessed at.
    pub(in super::super) fn learn(&mut self, known: &Known) {
        let Some(Row { level, reference, inputs }) = self.waiting.take(known.origin) else { return };
        let rise = known.peak - level;
        // What is at least there says nothing to one who expects more.
        let tells = |fit: &Regression| !(known.is_floor && rise <= fit.predict(&inputs));
        if tells(&self.plain) {
            self.plain.learn(&inputs, rise, 1.0);
        }
        // Relative to nothing there is no row.
        let weight = (reference * reference).recip();
        if weight.is_finite() && tells(&self.relative) {
            self.relative.learn(&inputs, rise, weight);
        }
        if tells(self.quantile.fit()) {
            self.quantile.learn(&inputs, rise);
        }
        self.inputs = inputs;
    }

    /// Finds the coefficients for what was learned so far.
    pub(in super::super) fn refit(&mut self) {
        self.plain.solve();
        self.relative.solve();
        self.quantile.solve();
    }

    /// Bytes on the heap.
    pub(in super::super) fn bytes(&self) -> usize {
        let row = self.plain.inputs() * 8;
        let fits = self.plain.bytes() + self.relative.bytes() + self.quantile.bytes();
        fits + self.waiting.bytes() + self.waiting.len() * row
    }

    /// One guess each.
    pub(in super::super) fn guess(&mut self, now: &Now<'_>) -> [Option<f64>; 3] {
        let level = now.recent.level();
        self.look(now, level);
        let least = ROWS * self.inputs.len() as u64;
        let tell = |rows: u64, rise: f64| (rows >= least).then_some(level + rise);
        let guesses = [
            tell(self.plain.rows(), self.plain.predict(&self.inputs)),
            tell(self.relative.rows(), self.relative.predict(&self.inputs)),
            tell(self.quantile.rows(), self.quantile.predict(&self.inputs)),
        ];
        if now.level.is_some() {
            let inputs = std::mem::take(&mut self.inputs);
            self.waiting.push(now.step, Row { level, reference: now.recent.reference(), inputs });
        }
        guesses
    }

    fn look(&mut self, now: &Now<'_>, level: f64) {
        let inputs = &mut self.inputs;
        inputs.clear();
        // Rows wait for as long as the horizon is: no more than they need.
        inputs.reserve_exact(self.plain.inputs());
        let usual = now.recent.usual();
        inputs.extend([usual, level]);
        now.recent.each_level(|other| inputs.push(other - level));
        inputs.extend(now.recent.spreads());
        inputs.extend(now.guesses.iter().map(|guess| guess - level));
        let minutes = now.local as f64 * self.grid.step_minutes;
        for (period, harmonics) in HARMONICS {
            let share = minutes.rem_euclid(period) / period;
            for harmonic in 1..=harmonics {
                let (sin, cos) = (TAU * f64::from(harmonic) * share).sin_cos();
                inputs.extend([usual * sin, usual * cos]);
            }
        }
    }
}
