//! Which quantile keeps the promise: the least that would have been short no more often than may be.
//!
//! For each quantile of the grid a workload is imagined that is scaled by its bounds, with pods that are ready when the horizon says
//! and that stay for as long as an HPA keeps them. What share of the time it is short is counted as demand comes. So what limits,
//! rate limits, tolerances or crashes do to the real workload is not taken for a fault of the forecast.

use super::conformal::interpolate;
use super::engine::{Bounds, Level};
use super::window::Peak;

/// Days after which a short step counts 1/e: two weeks of each kind of day.
const MEMORY: f64 = 14.0;

/// Episodes that the start value is worth.
const PRIOR_EPISODES: f64 = 20.0;

/// The start value: of the maximum over the horizon so many times the objective may miss. Most of a horizon that misses is not
/// short, and pods that stay for five minutes cover some of what is.
const MISSES: f64 = 2.0;

/// Minutes that pods stay after the last decision that wanted them: the HPA's default downscale stabilization.
const STAY: f64 = 5.0;

/// Tunes the quantile to a share of time that may be short.
#[derive(Debug, Clone)]
pub(super) struct Tuner {
    target: f64,
    lead: usize,
    imagined: Vec<Imagined>,
    /// Steps, each by how much it still counts.
    steps: f64,
    keep: f64,
}

/// A workload scaled by the bounds at one quantile.
#[derive(Debug, Clone)]
struct Imagined {
    /// Most pods of the last decisions, negated and again: fewest of those that may be ready.
    wanted: Peak,
    ready: Peak,
    decided: usize,
    short: f64,
    episodes: f64,
    is_short: bool,
}

impl Tuner {
    /// For a share `target` of short time, above 0 and below 1, with `quantiles` on the grid and pods that are ready `lead` steps
    /// after they are wanted.
    pub(super) fn new(target: f64, quantiles: usize, lead: usize, step_minutes: f64) -> Self {
        let imagined = Imagined {
            wanted: Peak::new(super::recent::steps(STAY, step_minutes)),
            ready: Peak::new(lead),
            decided: 0,
            short: 0.0,
            episodes: 0.0,
            is_short: false,
        };
        let keep = (-step_minutes / (MEMORY * 1440.0)).exp();
        Self { target, lead, imagined: vec![imagined; quantiles], steps: 0.0, keep }
    }

    /// Takes a step, and the bounds after it. `per_pod` is what a pod carries; where that is not known, pods are infinitely small.
    pub(super) fn close(&mut self, level: Option<Level>, bounds: Option<&Bounds>, per_pod: Option<f64>) {
        if let Some(level) = level {
            let is_known = self.imagined.first().is_some_and(|imagined| imagined.decided >= self.lead);
            if is_known {
                self.steps = 1.0 + self.keep * self.steps;
            }
            for imagined in self.imagined.iter_mut().filter(|imagined| imagined.decided >= self.lead) {
                let ready = -imagined.ready.get();
                let is_short = level.value > ready;
                imagined.short *= self.keep;
                imagined.episodes *= self.keep;
                if is_short {
                    imagined.short += 1.0;
                    imagined.episodes += f64::from(u8::from(!imagined.is_short));
                }
                imagined.is_short = is_short;
            }
        }
        let Some(bounds) = bounds else { return };
        for (imagined, bound) in self.imagined.iter_mut().zip(&bounds.at) {
            let carried = match per_pod {
                Some(per_pod) => (bound / per_pod).ceil() * per_pod,
                None => *bound,
            };
            let wanted = imagined.wanted.push(carried);
            imagined.ready.push(-wanted);
            imagined.decided += 1;
        }
    }

    /// The quantile to go by.
    pub(super) fn quantile(&self, quantiles: &[f64]) -> f64 {
        let start =
            1.0 - (MISSES * self.target).clamp(1.0 - quantiles[quantiles.len() - 1], 1.0 - quantiles[0]);
        if self.steps < 1.0 {
            return start;
        }
        // The share of short time falls with the quantile, but for chance: as the grid goes up, the least so far.
        let mut least = f64::INFINITY;
        let mut found = quantiles[quantiles.len() - 1];
        let mut before: Option<(f64, f64)> = None;
        for (quantile, imagined) in quantiles.iter().zip(&self.imagined) {
            least = least.min(imagined.short / self.steps);
            if least <= self.target {
                found = match before {
                    // Between the last that broke the promise and the first that keeps it.
                    Some((below, share)) if share > least => {
                        let place = |tau: f64| -(1.0 - tau).ln();
                        let part = (share - self.target) / (share - least);
                        1.0 - (-(place(below) + part * (place(*quantile) - place(below)))).exp()
                    }
                    _ => *quantile,
                };
                break;
            }
            before = Some((*quantile, least));
        }
        let episodes = self.episodes();
        let weigh = |tau: f64, weight: f64| weight * (1.0 - tau).ln();
        let mean = (weigh(found, episodes) + weigh(start, PRIOR_EPISODES)) / (episodes + PRIOR_EPISODES);
        1.0 - mean.exp()
    }

    /// Episodes of shortage that keeping the promise would just have allowed by now: how much is known.
    fn episodes(&self) -> f64 {
        let all = || self.imagined.iter();
        let (short, episodes) =
            all().fold((0.0, 0.0), |(short, episodes), i| (short + i.short, episodes + i.episodes));
        let length = if episodes > 0.0 { short / episodes } else { self.lead as f64 };
        self.steps * self.target / length.max(1.0)
    }
}

/// The bound at any quantile of the grid.
pub(super) fn bound_at(tau: f64, quantiles: &[f64], bounds: &Bounds) -> f64 {
    interpolate(tau, quantiles, &bounds.at)
}
