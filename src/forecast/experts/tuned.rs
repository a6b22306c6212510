//! Variants of one idea, of which the one that has served best lately speaks.

use super::super::recent::Ewma;
use super::super::waiting::Waiting;
use super::Known;

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
    pub(super) fn new(step_minutes: f64) -> Self {
        let ewma = || Ewma::new(MEMORY / step_minutes);
        let variants = std::array::from_fn(|_| Record { bias: ewma(), error: ewma() });
        Self { variants, best: 0, waiting: Waiting::new() }
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
