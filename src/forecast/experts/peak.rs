//! It will be as high as it was lately.

use super::tuned::Tuned;
use super::{Expert, Grid, Known, Now};

/// Guesses the maximum of the last minutes: the rule that reacts to noise once and then waits.
#[derive(Debug, Clone)]
pub(super) struct RecentPeak {
    tuned: Tuned<{ WINDOWS.len() }>,
}

/// Which of the windows of [`Recent`](super::super::recent::Recent).
const WINDOWS: [usize; 4] = [1, 2, 3, 4];

impl RecentPeak {
    pub(super) fn new(grid: Grid) -> Self {
        Self { tuned: Tuned::new(grid) }
    }
}

impl Expert for RecentPeak {
    fn name(&self) -> &'static str {
        "recent peak"
    }

    fn learn(&mut self, known: &Known) {
        self.tuned.learn(known);
    }

    fn guess(&mut self, now: &Now<'_>) -> Option<f64> {
        let guesses = WINDOWS.map(|which| now.recent.peak(which));
        Some(self.tuned.choose(now.step, guesses))
    }

    fn bytes(&self) -> usize {
        self.tuned.bytes()
    }

    fn boxed(&self) -> Box<dyn Expert> {
        Box::new(self.clone())
    }
}
