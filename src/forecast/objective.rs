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

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let one =
            |imagined: &Imagined| size_of::<Imagined>() + imagined.wanted.bytes() + imagined.ready.bytes();
        self.imagined.iter().map(one).sum()
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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const QUANTILES: [f64; 9] = [0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999];

    /// After so many minutes of a load with an exponential tail, whose true quantiles are the bounds.
    fn tuned(target: f64, minutes: usize, per_pod: Option<f64>) -> f64 {
        let mut random = Pcg64Mcg::seed_from_u64(5);
        let mut tuner = Tuner::new(target, QUANTILES.len(), 1, 1.0);
        let at = QUANTILES.map(|tau| -(1.0 - tau).ln()).to_vec();
        let bounds = Bounds { yardstick: at.clone(), at };
        for _ in 0..minutes {
            let value = -(1.0 - random.random::<f64>()).ln();
            tuner.close(Some(Level { value, is_floor: false }), Some(&bounds), per_pod);
        }
        tuner.quantile(&QUANTILES)
    }

    #[test]
    fn it_starts_with_twice_the_objective_of_misses_and_gives_that_up_with_what_happens() {
        assert!((tuned(0.005, 0, None) - 0.99).abs() < 1e-12);
        assert_eq!(tuned(0.5, 0, None), 0.5, "as low as the grid goes");
        assert!((tuned(1e-5, 0, None) - 0.999).abs() < 1e-12, "and as high");
        let after = [100, 4000, 40_000, 200_000].map(|minutes| tuned(0.005, minutes, None));
        assert!(after.is_sorted() && after[0] > 0.9899 && after[0] < 0.9905, "{after:?}");
    }

    /// Bounds that stay the same are exceeded as often as their quantile says, which is what is short then.
    #[test]
    fn it_finds_the_quantile_that_is_short_as_often_as_may_be() {
        for target in [0.003, 0.007, 0.02, 0.07, 0.15] {
            let short = 1.0 - tuned(target, 200_000, None);
            assert!((short / target - 1.0).abs() < 0.25, "{short}, not {target}");
        }
    }

    #[test]
    fn whole_pods_have_room_of_their_own() {
        // A pod carries 99.9 % of all minutes, and one is there at any quantile.
        // The start value is worth 20 episodes, and two weeks at 0.5 % are a hundred.
        let settled = tuned(0.005, 200_000, Some(7.0));
        assert!((settled - 0.74).abs() < 0.01, "{settled}");
        assert!(tuned(0.005, 200_000, Some(1e-6)) > 0.99);
    }

    #[test]
    fn minutes_of_which_nothing_is_known_are_not_short() {
        let mut tuner = Tuner::new(0.005, 1, 3, 1.0);
        let bounds = Bounds { at: vec![1.0], yardstick: vec![1.0] };
        tuner.close(None, Some(&bounds), None);
        assert_eq!(tuner.steps, 0.0);
        for _ in 0..2 {
            tuner.close(Some(Level { value: 9.0, is_floor: false }), Some(&bounds), None);
        }
        assert_eq!(tuner.steps, 0.0, "no pod can be there yet that a bound asked for");
        tuner.close(Some(Level { value: 9.0, is_floor: true }), Some(&bounds), None);
        assert_eq!((tuner.steps, tuner.imagined[0].short), (1.0, 1.0), "a congested minute is short");
        tuner.close(None, None, None);
        assert_eq!((tuner.steps, tuner.imagined[0].short), (1.0, 1.0));
    }
}
