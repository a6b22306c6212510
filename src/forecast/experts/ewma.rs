//! It returns to its level.

use super::super::recent::Ewma;
use super::tuned::Tuned;
use super::{Expert, Grid, Known, Now};

/// Simple exponential smoothing (Brown 1956), with the time constant that has served best lately.
#[derive(Debug, Clone)]
pub(super) struct Smoothed {
    levels: [Ewma; CONSTANTS.len()],
    gap: usize,
    tuned: Tuned<{ CONSTANTS.len() }>,
}

/// Time constants in minutes, three to a decade: between two of them errors differ by less than 2 %.
const CONSTANTS: [f64; 5] = [2.0, 5.0, 12.0, 30.0, 90.0];

impl Smoothed {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            levels: CONSTANTS.map(|minutes| Ewma::new(minutes / grid.step_minutes)),
            gap: 0,
            tuned: Tuned::new(grid),
        }
    }
}

impl Expert for Smoothed {
    fn name(&self) -> &'static str {
        "smoothed level"
    }

    fn learn(&mut self, known: &Known) {
        self.tuned.learn(known);
    }

    fn guess(&mut self, now: &Now<'_>) -> Option<f64> {
        match now.level {
            None => self.gap += 1,
            Some(level) => {
                self.levels.iter_mut().for_each(|ewma| ewma.push_after(level, self.gap));
                self.gap = 0;
            }
        }
        let guesses = self.levels.each_ref().map(Ewma::get);
        Some(self.tuned.choose(now.step, guesses))
    }

    fn bytes(&self) -> usize {
        self.tuned.bytes()
    }

    fn boxed(&self) -> Box<dyn Expert> {
        Box::new(self.clone())
    }
}
