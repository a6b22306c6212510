//! Variants of one idea, of which the one that has served best lately speaks.

use super::super::recent::Ewma;
use super::super::waiting::Waiting;
use super::{Grid, Known};

/// Which of `N` variants moves with the truth most closely. Errors are compared after their own mean is taken off: a guess that
/// is always too low by the same is as good as one that is right.
#[derive(Debug, Clone)]
pub(super) struct Tuned<const N: usize> {
    variants: [Record; N],
    best: usize,
    waiting: Waiting<[f64; N]>,
}

#[derive(Debug, Clone)]
struct Record {
    bias: Ewma,
    error: Ewma,
}

/// Another variant must be better by this share before it takes over: each change costs the calibration some of its sharpness.
const HYSTERESIS: f64 = 0.05;
/// Minutes after which an error counts 1/e: a day, so that each hour of it has its say.
const MEMORY: f64 = 1440.0;

impl<const N: usize> Tuned<N> {
    /// The first variant speaks first.
    pub(super) fn new(grid: Grid) -> Self {
        let ewma = || Ewma::new(MEMORY / grid.step_minutes);
        let variants = std::array::from_fn(|_| Record { bias: ewma(), error: ewma() });
        Self { variants, best: 0, waiting: Waiting::new(grid.horizon) }
    }

    /// Takes what the variants guess after step `origin`; the guess of the best.
    pub(super) fn choose(&mut self, origin: i64, guesses: [f64; N]) -> f64 {
        self.waiting.push(origin, guesses);
        guesses[self.best]
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Learns what came.
    pub(super) fn learn(&mut self, known: &Known) {
        let Some(guesses) = self.waiting.take(known.origin) else { return };
        if known.is_floor {
            return;
        }
        for (record, guess) in self.variants.iter_mut().zip(guesses) {
            let error = known.peak - guess;
            record.bias.push(error);
            record.error.push((error - record.bias.get()).abs());
        }
        let errors = self.variants.iter().map(|record| record.error.get()).enumerate();
        if let Some((best, least)) = errors.min_by(|a, b| a.1.total_cmp(&b.1))
            && least < (1.0 - HYSTERESIS) * self.variants[self.best].error.get()
        {
            self.best = best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(origin: i64, peak: f64) -> Known {
        Known { origin, local_origin: origin, peak, is_floor: false }
    }

    /// Who speaks after so many steps in which variant `i` is off by `errors[i]` in turn.
    fn best(steps: i64, errors: [[f64; 2]; 3]) -> usize {
        let mut tuned = Tuned::new(Grid { step_minutes: 1.0, horizon: 1 });
        for step in 0..steps {
            let peak = 100.0 + (step % 7) as f64;
            tuned.choose(step, errors.map(|error| peak - error[(step % 2) as usize]));
            tuned.learn(&known(step, peak));
        }
        tuned.best
    }

    #[test]
    fn whoever_moves_with_the_truth_speaks_however_far_from_it() {
        assert_eq!(best(500, [[5.0, -5.0], [50.0, 52.0], [3.0, -3.0]]), 1);
    }

    #[test]
    fn a_little_better_is_not_enough_to_take_over() {
        assert_eq!(best(5000, [[5.0, -5.0], [4.9, -4.9], [6.0, -6.0]]), 0);
        assert_eq!(best(5000, [[5.0, -5.0], [4.5, -4.5], [6.0, -6.0]]), 1);
    }

    #[test]
    fn nothing_is_learned_of_floors_and_of_what_nobody_guessed_at() {
        let mut tuned: Tuned<2> = Tuned::new(Grid { step_minutes: 1.0, horizon: 1 });
        tuned.choose(0, [10.0, 20.0]);
        tuned.learn(&Known { is_floor: true, ..known(0, 20.0) });
        tuned.learn(&known(-5, 20.0));
        assert!(tuned.variants.iter().all(|record| record.error.get() == 0.0 && record.bias.get() == 0.0));
    }
}
