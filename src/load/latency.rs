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
use super::sample::{Sample, is_after};
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
    /// What was known last: an incident in which all was late leaves it standing.
    known: Option<LatencyLimit>,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

    /// Windows of equal weight that would tell as much.
    fn effective(&self) -> f64 {
        self.windows * self.windows / self.squared_weights
    }

    fn share(&self) -> f64 {
        self.late / self.windows
    }

    /// The bounds that the mean share is between, each with the confidence asked for. Requests of one window are late
    /// together, so windows are what is counted.
    fn bounds(&self) -> Option<(f64, f64)> {
        let windows = self.effective();
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
        Self { objective, bins: BTreeMap::new(), last: None, known: None }
    }

    /// What it is learned for.
    pub fn objective(&self) -> LatencyObjective {
        self.objective
    }

    /// Learns from a sample and the load that it shows. Requests that were turned away, or wait in a queue that grows, are
    /// late. One with too few requests, or with pods whose load is inferred, tells nothing.
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
        // Windows that overlap tell the same twice. A clock that was ahead tells nothing of the order.
        let last = self.last.filter(|last| *last <= sample.at);
        if !is_after(last, (sample.at, Span::from_secs_f64(window))) {
            return;
        }
        if pods <= 0.0 || sample.pods.silent > 0 || requests * window < LEAST_REQUESTS {
            return;
        }
        let per_pod = load.metricsqps.get() / pods;
        let bin = (per_pod.ln() / RATIO.ln()).floor();
        if !bin.is_finite() || bin.abs() > f64::from(MOST_BINS) {
            return;
        }
        let apart = last.map_or(0.0, |last| (sample.at - last).as_secs_f64());
        let keep = 0.5f64.powf(apart / HALF_LIFE.as_secs_f64());
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
        self.known = self.find().or(self.known);
    }

    /// Windows learned from, as many as count.
    pub fn windows(&self) -> f64 {
        self.bins.values().map(|bin| bin.windows).sum()
    }

    /// What one pod may carry; none before there were windows enough at any load that keeps the objective.
    pub fn limit(&self) -> Option<LatencyLimit> {
        self.known
    }

    fn find(&self) -> Option<LatencyLimit> {
        let allowed = 1.0 - self.objective.quantile;
        // Pools of bins, each with the largest load in it that was seen more than now and then: one lucky window proves nothing.
        let mut pools: Vec<(Bin, f64)> = Vec::new();
        for bin in self.bins.values() {
            let is_seen = bin.effective() >= LEAST_WINDOWS;
            pools.push((*bin, if is_seen { bin.load / bin.windows } else { 0.0 }));
            while let [.., (before, _), (last, load)] = &pools[..]
                && (before.share() >= last.share() || before.bounds().is_none() && last.share() <= allowed)
            {
                let mut pooled = *before;
                pooled.add(last);
                let load = load.max(pools[pools.len() - 2].1);
                pools.truncate(pools.len() - 2);
                pools.push((pooled, load));
            }
        }
        let mut per_pod = None;
        let mut too_much = None;
        for (pool, largest) in &pools {
            match pool.bounds() {
                Some((_, high)) if high <= allowed && *largest > 0.0 => per_pod = Some(*largest),
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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::load::{Classes, Congestion, Group, HistogramRates, Labels, Pods, SAMPLE_SCHEMA, Weights};
    use crate::units::Rate;

    fn objective() -> LatencyObjective {
        LatencyObjective::new(0.99, Span::from_millis(300)).unwrap()
    }

    /// A window of two pods under a load per pod, of whose requests the share `late` takes over 300 ms.
    fn sample(at: i64, per_pod: f64, late: f64) -> Sample {
        let rates = [per_pod * (1.0 - late), per_pod * late].map(Rate::saturating).to_vec();
        let histogram = HistogramRates::new(Labels::new(), vec![0.3], rates, None).unwrap();
        let group = Group { histograms: vec![histogram], ..Group::empty(Span::from_secs(15)) };
        let pods = Pods { replicas: 2, ready: 2, warming: 0, silent: 0, updating: false };
        Sample {
            schema: SAMPLE_SCHEMA,
            at: Time::from_secs(at),
            pods,
            offered: None,
            groups: vec![group.clone(), group],
        }
    }

    fn load(sample: &Sample) -> Load {
        let plain = Weights::new(Classes::by_duration(Edges::default()), &[1.0]).unwrap();
        Load::of(sample, &plain, None).unwrap()
    }

    /// Pods whose requests are late in a share that begins to rise at a load of 50.
    fn learned(loads: std::ops::Range<f64>, windows: i64) -> LatencyCapacity {
        let mut rng = Pcg64::seed_from_u64(1);
        let mut capacity = LatencyCapacity::new(objective());
        for i in 0..windows {
            let per_pod = rng.random_range(loads.clone());
            let truth = 0.001 + 0.002 * (per_pod - 50.0).max(0.0);
            let sample = sample(15 * i, per_pod, (truth * rng.random_range(0.5..1.5)).min(1.0));
            capacity.observe(&sample, &load(&sample));
        }
        capacity
    }

    /// One percent is late at a load of 54.5.
    #[test]
    fn the_capacity_is_below_the_load_at_which_too_many_requests_are_late() {
        let limit = learned(10.0..100.0, 2000).limit().unwrap();
        assert!((45.0..=54.5).contains(&limit.per_pod.get()), "{limit:?}");
        assert!((54.5..=70.0).contains(&limit.too_much.unwrap().get()), "{limit:?}");
    }

    #[test]
    fn it_is_never_larger_than_what_was_seen() {
        let limit = learned(10.0..30.0, 500).limit().unwrap();
        assert!((25.0..=30.0).contains(&limit.per_pod.get()) && limit.too_much.is_none(), "{limit:?}");
    }

    #[test]
    fn before_there_are_windows_enough_or_where_all_are_late_nothing_is_known() {
        assert_eq!(learned(10.0..30.0, 3).limit(), None);
        assert_eq!(learned(80.0..100.0, 500).limit(), None);
        assert_eq!(LatencyCapacity::new(objective()).limit(), None);
    }

    /// A few windows at night in which a backup made everything late do not lower the capacity by day.
    #[test]
    fn late_requests_under_little_load_are_seen_against_the_many_in_time_above() {
        let mut capacity = learned(20.0..45.0, 2000);
        for i in 0..20 {
            let sample = sample(100_000 + 15 * i, 12.0, 0.03);
            capacity.observe(&sample, &load(&sample));
        }
        assert!(capacity.limit().unwrap().per_pod.get() > 38.0, "{:?}", capacity.limit());
    }

    #[test]
    fn requests_that_were_turned_away_are_late() {
        let mut capacity = learned(10.0..45.0, 1000);
        for i in 0..100 {
            let mut sample = sample(100_000 + 15 * i, 46.0, 0.0);
            sample.groups.iter_mut().for_each(|group| group.rejected = Rate::new(2.0).ok());
            let load = load(&sample);
            assert!(matches!(load.congestion[..], [Congestion::Rejecting { .. }]));
            capacity.observe(&sample, &load);
        }
        assert!(capacity.limit().unwrap().too_much.unwrap().get() < 50.0, "{:?}", capacity.limit());
    }

    /// Late requests are counted when they end, so the first window of an overload shows none.
    #[test]
    fn a_single_window_at_three_times_the_load_proves_nothing() {
        let mut capacity = learned(20.0..45.0, 2000);
        let lucky = sample(100_000, 130.0, 0.0005);
        capacity.observe(&lucky, &load(&lucky));
        assert!(capacity.limit().unwrap().per_pod.get() < 50.0, "{:?}", capacity.limit());
    }

    #[test]
    fn what_silent_pods_may_carry_is_not_made_up() {
        let mut capacity = learned(20.0..45.0, 2000);
        let before = capacity.limit();
        for i in 0..6 {
            let mut sample = sample(100_000 + 15 * i, 44.0, 0.001);
            sample.pods.silent = 1;
            capacity.observe(&sample, &load(&sample));
        }
        assert_eq!(capacity.limit(), before);
    }

    #[test]
    fn an_incident_in_which_all_is_late_leaves_what_was_known() {
        let mut capacity = learned(20.0..45.0, 2000);
        for i in 0..960 {
            let sample = sample(100_000 + 15 * i, 20.0 + 0.02 * i as f64, 0.9);
            capacity.observe(&sample, &load(&sample));
        }
        assert!(capacity.limit().unwrap().per_pod.get() > 15.0, "{:?}", capacity.limit());
    }

    #[test]
    fn an_objective_must_be_one() {
        for quantile in [0.0, 1.0, f64::NAN] {
            assert_eq!(LatencyObjective::new(quantile, Span::from_secs(1)), Err(LatencyObjectiveError));
        }
        assert_eq!(LatencyObjective::new(0.9, Span::ZERO), Err(LatencyObjectiveError));
    }

    /// A metrics server's rates are asked for more often than they are new.
    #[test]
    fn windows_that_overlap_are_seen_once() {
        let windows = |step: i64| {
            let mut capacity = LatencyCapacity::new(objective());
            for i in 0..300 {
                let sample = sample(step * i, 20.0, 0.001);
                capacity.observe(&sample, &load(&sample));
            }
            capacity.windows()
        };
        let (apart, overlapping) = (windows(15), windows(5));
        assert!((overlapping / apart - 1.0 / 3.0).abs() < 0.02, "{overlapping} {apart}");
    }
}
