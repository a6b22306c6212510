//! What Plimsoll would have learned from the workload's own history: the weights of its duration classes.
//!
//! A fit sees durations as the pods' histograms show them, waiting included, and the CPU that went with them. So the
//! trace is played once through pods that are always just enough, and each class weighs what its requests needed on
//! average. At the trace's mean mix a pod at target then carries exactly its share: no policy gets a better target than
//! another. That history is the trace itself, which flatters every policy equally: the other targets know its mean
//! too.

use plimsoll::load::{Classes, Edges, EdgesError, Weights, WeightsError};
use plimsoll::units::{Cores, Percent, Span, Time};

use crate::cluster::{Cluster, ClusterConfig, LE, StartUp};
use crate::profile::Profile;
use crate::trace::{Trace, TraceError};

const MINUTE: Span = Span::from_secs(60);

/// Most pods that are simulated.
pub const MAX_PODS: u32 = 100_000;

/// What can be learned from a workload's history.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// What a request of each duration class needs, relative to the mean request. The classes are the buckets of the
    /// pods' histograms. A class that no request fell into weighs what the class below it does.
    pub weights: Weights,
    /// Pod-hours, if in every minute there were just the pods that its work takes at the share, one at least.
    pub ideal_pod_hours: f64,
}

/// A trace that nothing can be learned from.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It is wrong.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Its classes have no edges.
    #[error(transparent)]
    Edges(#[from] EdgesError),
    /// Its classes have no weights.
    #[error("the trace's duration classes have no weights")]
    Weights(#[from] WeightsError),
    /// Nothing in it is any work.
    #[error("{0}: no request needs any CPU")]
    NoCpu(String),
    /// Its busiest minute takes more pods than can be simulated.
    #[error(
        "{trace}: the minute that begins at {at} has {cores:.1} cores of work, which takes {pods} pods (at most {MAX_PODS}): \
         are its durations in seconds? If so, give more --cores or a smaller --rate-scale"
    )]
    TooManyPods {
        /// The trace.
        trace: String,
        /// When the busiest minute begins, from the beginning of the trace.
        at: Span,
        /// CPU work that arrives in it, per second.
        cores: f64,
        /// Pods that it takes.
        pods: u32,
    },
}

impl History {
    /// Plays the trace through pods like those of `config`, as many in each minute as its work takes when each uses
    /// `share` of its cores.
    ///
    /// # Errors
    /// When the trace is wrong, none of its requests needs any CPU, or it takes more than [`MAX_PODS`].
    pub fn of(
        trace: &Trace,
        profile: &Profile,
        config: &ClusterConfig,
        share: Percent,
    ) -> Result<Self, HistoryError> {
        Self::of_with(trace, profile, config, share, |_| ())
    }

    /// As [`Self::of`], and tells after every minute how much of the trace was played.
    ///
    /// # Errors
    /// As for [`Self::of`].
    pub fn of_with(
        trace: &Trace,
        profile: &Profile,
        config: &ClusterConfig,
        share: Percent,
        mut played: impl FnMut(Span),
    ) -> Result<Self, HistoryError> {
        if profile.cpu_seconds <= 0.0 {
            return Err(HistoryError::NoCpu(trace.to_string()));
        }
        let most = pods_for(profile.peak_minute, config.cores, share);
        if most > MAX_PODS {
            return Err(HistoryError::TooManyPods {
                trace: trace.to_string(),
                at: trace.options().window.from + profile.peak_at,
                cores: profile.peak_minute.get(),
                pods: most,
            });
        }
        let config = ClusterConfig {
            start_up: StartUp::Fixed(Span::ZERO),
            concurrency: None,
            crashes_per_hour: 0.0,
            ..config.clone()
        };
        let cores = config.cores;
        let mut cluster = Cluster::new(config, Time::EPOCH, 1);
        let mut classes = ByClass::default();
        let mut arrivals = trace.arrivals()?;
        let mut minute = Vec::new();
        let mut until = Span::ZERO;
        let mut pod_minutes = 0u64;
        while until < profile.length {
            until = until + MINUTE;
            arrivals.take_until(until, &mut minute)?;
            let work: f64 = minute.iter().map(|request| request.cpu.as_secs_f64()).sum();
            let pods = pods_for(Cores::saturating(work / MINUTE.as_secs_f64()), cores, share);
            pod_minutes += u64::from(pods);
            cluster.set_replicas(pods);
            cluster.inject(minute.drain(..));
            cluster.advance_with(Time::EPOCH + until, |done| classes.add(done.sojourn, done.cpu));
            played(until);
        }
        // The last requests too: without them a trace would lose those that take longest.
        cluster.advance_with(Time::EPOCH + Span::MAX, |done| classes.add(done.sojourn, done.cpu));
        let edges = Edges::new(LE.to_vec())?;
        let weights = Weights::new(Classes::by_duration(edges), &classes.weights())?;
        Ok(Self { weights, ideal_pod_hours: pod_minutes as f64 / 60.0 })
    }
}

/// Pods that carry this much CPU work when each uses `share` of its cores; at least one.
pub fn pods_for(work: Cores, cores_per_pod: Cores, share: Percent) -> u32 {
    (work.get() / (cores_per_pod.get() * share.as_fraction())).ceil().clamp(1.0, 1e9) as u32
}

/// Requests, and the CPU-seconds that they needed, by duration.
#[derive(Debug, Default)]
pub(crate) struct ByClass([(u64, f64); LE.len() + 1]);

impl ByClass {
    pub(crate) fn add(&mut self, duration: Span, cpu: Span) {
        let class = &mut self.0[LE.partition_point(|le| *le < duration.as_secs_f64())];
        class.0 += 1;
        class.1 += cpu.as_secs_f64();
    }

    /// Share of the requests in each class; all zero if there is none.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let requests = self.0.iter().map(|(requests, _)| requests).sum::<u64>().max(1);
        self.0.iter().map(|class| class.0 as f64 / requests as f64).collect()
    }

    /// What a request of each class needs relative to the mean one; that of an empty class as of the class below.
    pub(crate) fn weights(&self) -> Vec<f64> {
        let (requests, cpu) = self.0.iter().fold((0, 0.0), |sum, class| (sum.0 + class.0, sum.1 + class.1));
        if cpu <= 0.0 {
            return vec![0.0; self.0.len()];
        }
        let mean = cpu / requests as f64;
        let weight = |(requests, cpu): &(u64, f64)| (*requests > 0).then(|| cpu / *requests as f64 / mean);
        let mut last = self.0.iter().find_map(weight).unwrap_or(1.0);
        let mut or_last = |class| {
            last = weight(class).unwrap_or(last);
            last
        };
        self.0.iter().map(&mut or_last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: i64) -> Span {
        Span::from_millis(n)
    }

    #[test]
    fn the_mean_request_weighs_one_and_an_empty_class_what_the_one_below_does() {
        let mut classes = ByClass::default();
        for _ in 0..3 {
            classes.add(ms(20), ms(250));
        }
        classes.add(ms(300), ms(1250));
        let weights = classes.weights();
        assert_eq!(weights[..6], [0.5; 6]);
        assert_eq!(weights[6..], [2.5; 6]);
    }

    #[test]
    fn pods_are_rounded_up_and_one_at_least() {
        let (core, share) = (Cores::saturating(1.0), Percent::new(50.0).unwrap());
        let pods = |work| pods_for(Cores::saturating(work), core, share);
        assert_eq!([0.0, 0.5, 0.51, 10.0].map(pods), [1, 1, 2, 20]);
    }
}
