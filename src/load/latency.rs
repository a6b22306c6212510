//! How much one pod can carry before requests become late: learned from production, window by window.
//!
//! Each window tells the load of a pod and the share of its requests that took longer than the objective allows. Windows
//! are kept by load, a tenth apart; since more load never makes requests faster, shares are made to ascend (pool
//! adjacent violators, Ayer et al. 1955). The capacity is the largest load at which, with confidence, the share is still
//! within the objective. It is never larger than a load that was seen: nobody knows what comes after.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::edges::Edges;
use super::offered::Load;
use super::sample::Sample;
use crate::units::{MetricsQps, Span, Time};

/// Loads are a tenth apart.
const RATIO: f64 = 1.1;

/// Bins to either side of 1 MetricsQPS a pod: beyond them a load is nonsense.
const MOST_BINS: i32 = 300;

/// Windows that tell something of a load, at least, each with requests enough for its share.
const LEAST_WINDOWS: f64 = 5.0;
const LEAST_REQUESTS: f64 = 30.0;

/// One side's confidence.
const CONFIDENCE: f64 = 0.95;

/// Time after which a window counts half: a week, so that a release a month ago does not decide.
const HALF_LIFE: Span = Span::from_secs(7 * 86_400);

/// A share of requests that may be late, and after how long they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatencyObjective {
    quantile: f64,
    limit: Span,
}

/// Not a latency objective.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the quantile must be between 0 and 1, both excluded, and the time above zero")]
pub struct LatencyObjectiveError;

impl LatencyObjective {
    /// `quantile` of all requests are to take `limit` at most.
    ///
    /// # Errors
    /// When the quantile is not between 0 and 1, or the limit not above zero.
    pub fn new(quantile: f64, limit: Span) -> Result<Self, LatencyObjectiveError> {
        let is_sound = quantile > 0.0 && quantile < 1.0 && limit.is_positive();
        is_sound.then_some(Self { quantile, limit }).ok_or(LatencyObjectiveError)
    }
}

/// Learns what load per pod keeps a latency objective. Deterministic, and can be stored and taken up again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyCapacity {
    objective: LatencyObjective,
    bins: BTreeMap<i32, Bin>,
    last: Option<Time>,
}

/// Windows of about the same load.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Bin {
    /// Windows, as many as count, and the sum of their squared weights.
    windows: f64,
    squared_weights: f64,
    /// Σ share late, and Σ of its square.
    late: f64,
    late_squared: f64,
    /// Σ load per pod.
    load: f64,
}

/// The load that one pod may carry, as far as latency tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyLimit {
    /// The largest load per pod at which requests are surely not too late.
    pub per_pod: MetricsQps,
    /// The smallest at which they surely are; none where none was seen.
    pub too_much: Option<MetricsQps>,
}

impl Bin {
    fn forget(&mut self, keep: f64) {
        self.windows *= keep;
        self.squared_weights *= keep * keep;
        self.late *= keep;
        self.late_squared *= keep;
        self.load *= keep;
    }

    fn add(&mut self, other: &Self) {
        self.windows += other.windows;
        self.squared_weights += other.squared_weights;
        self.late += other.late;
        self.late_squared += other.late_squared;
        self.load += other.load;
    }

    fn share(&self) -> f64 {
        self.late / self.windows
    }

    /// The bounds that the mean share is between, each with the confidence asked for. Requests of one window are late
    /// together, so windows are what is counted.
    fn bounds(&self) -> Option<(f64, f64)> {
        let windows = self.windows * self.windows / self.squared_weights;
        if windows < LEAST_WINDOWS {
            return None;
        }
        let variance = (self.late_squared / self.windows - self.share() * self.share()).max(0.0);
        let half = StudentsT::new(0.0, 1.0, windows - 1.0).ok()?.inverse_cdf(CONFIDENCE)
            * (variance / (windows - 1.0)).sqrt();
        Some((self.share() - half, self.share() + half))
    }
}

impl LatencyCapacity {
    /// For an objective.
    pub fn new(objective: LatencyObjective) -> Self {
        Self { objective, bins: BTreeMap::new(), last: None }
    }

    /// Learns from a sample and the load that it shows. Requests that were turned away, or wait in a queue that grows, are
    /// late. One with too few requests tells nothing.
    pub fn observe(&mut self, sample: &Sample, load: &Load) {
        let Ok(edge) = Edges::new(vec![self.objective.limit.as_secs_f64()]) else { return };
        let (mut in_time, mut late, mut pods, mut window) = (0.0, 0.0, 0.0, 0.0f64);
        for group in sample.groups.iter().filter(|group| group.tells()) {
            pods += f64::from(group.pods);
            window = window.max(group.window.as_secs_f64());
            for histogram in &group.histograms {
                let sorted = edge.sort(histogram);
                in_time += sorted.rates[0];
                late += sorted.rates[1];
            }
        }
        let unserved = (load.offered.get() - load.completed.get()).max(0.0);
        let requests = in_time + late + unserved;
        if pods <= 0.0 || requests * window < LEAST_REQUESTS {
            return;
        }
        let per_pod = load.metricsqps.get() / pods;
        let bin = (per_pod.ln() / RATIO.ln()).floor();
        if !bin.is_finite() || bin.abs() > f64::from(MOST_BINS) {
            return;
        }
        let apart = self.last.map_or(0.0, |last| (sample.at - last).as_secs_f64());
        let keep = 0.5f64.powf(apart.max(0.0) / HALF_LIFE.as_secs_f64());
        self.bins.values_mut().for_each(|bin| bin.forget(keep));
        let share = (late + unserved) / requests;
        let seen = Bin {
            windows: 1.0,
            squared_weights: 1.0,
            late: share,
            late_squared: share * share,
            load: per_pod,
        };
        self.bins.entry(bin as i32).or_default().add(&seen);
        self.last = Some(sample.at);
    }

    /// Windows learned from, as many as count.
    pub fn windows(&self) -> f64 {
        self.bins.values().map(|bin| bin.windows).sum()
    }

    /// What one pod may carry; none before there are windows enough at any load that keeps the objective.
    pub fn limit(&self) -> Option<LatencyLimit> {
        let allowed = 1.0 - self.objective.quantile;
        // Pools of bins, each with the largest mean load in it.
        let mut pools: Vec<(Bin, f64)> = Vec::new();
        for bin in self.bins.values() {
            pools.push((*bin, bin.load / bin.windows));
            while let [.., (before, _), (last, load)] = &pools[..]
                && (before.share() >= last.share() || before.bounds().is_none() && last.share() <= allowed)
            {
                let mut pooled = *before;
                pooled.add(last);
                let load = *load;
                pools.truncate(pools.len() - 2);
                pools.push((pooled, load));
            }
        }
        let mut per_pod = None;
        let mut too_much = None;
        for (pool, largest) in &pools {
            match pool.bounds() {
                Some((_, high)) if high <= allowed => per_pod = Some(*largest),
                Some((low, _)) if low > allowed => {
                    too_much = Some(pool.load / pool.windows);
                    break;
                }
                _ => {}
            }
        }
        Some(LatencyLimit {
            per_pod: MetricsQps::saturating(per_pod?),
            too_much: too_much.map(MetricsQps::saturating),
        })
    }
}
