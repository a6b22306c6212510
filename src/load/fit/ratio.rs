//! CPU per request: the rival that needs no classes.

use serde::{Deserialize, Serialize};

use super::lag::Row;
use super::score::{Errors, Score};

/// Samples after which one counts half: the rival is whichever of these has predicted best so far.
const HALF_LIVES: [f64; 5] = [1.0, 4.0, 16.0, 64.0, 256.0];

/// QPS times the mean CPU per request of late, beyond what the pods use when they do nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct CpuPerRequest {
    means: [Mean; HALF_LIVES.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Mean {
    cpu: f64,
    requests: f64,
    errors: Errors,
}

impl CpuPerRequest {
    /// `idle`: cores of a pod that does nothing. The row has one class.
    pub(super) fn learn(&mut self, row: &Row, idle: f64, keep: f64, scores: bool) {
        let requests: f64 = row.rates.iter().sum();
        for (mean, half_life) in self.means.iter_mut().zip(HALF_LIVES) {
            if scores && mean.requests > 0.0 {
                mean.errors.add(idle * row.pods + requests * mean.cpu / mean.requests, row.cpu, keep);
            }
            // What is left of the CPU then is what idle pods are wrongly thought to use.
            if requests <= 0.0 {
                continue;
            }
            let keep = 0.5f64.powf(1.0 / half_life);
            mean.cpu = keep * mean.cpu + (row.cpu - idle * row.pods).max(0.0);
            mean.requests = keep * mean.requests + requests;
        }
    }

    fn best(&self) -> Option<&Mean> {
        self.means.iter().min_by(|a, b| a.errors.mean_squared().total_cmp(&b.errors.mean_squared()))
    }

    pub(super) fn mean_squared(&self) -> f64 {
        self.best().map_or(f64::INFINITY, |mean| mean.errors.mean_squared())
    }

    pub(super) fn score(&self) -> Option<Score> {
        self.best()?.errors.score()
    }

    pub(super) fn restart_scores(&mut self) {
        self.means.iter_mut().for_each(|mean| mean.errors = Errors::default());
    }
}
