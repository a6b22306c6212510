//! What the pods of a cluster are like.

use std::fmt;
use std::str::FromStr;

use plimsoll::units::{Cores, Span};
use rand::RngExt;

use crate::random::{Purpose, generator, normal_quantile};

/// The 95th percentile of the standard normal distribution.
const NORMAL_P95: f64 = 1.644_853_626_951_472_7;

/// What the pods of a [`Cluster`](super::Cluster) are like.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// CPU that one pod requests; above zero.
    pub cores: Cores,
    /// Most CPU that one pod may use; above zero. None: what it requests.
    pub limit: Option<Cores>,
    /// Most requests that a pod serves at once, those that wait for something else than CPU included. None: no limit.
    pub concurrency: Option<u32>,
    /// What happens to others.
    pub beyond: Beyond,
    /// What the pods' metrics pages show beside durations and CPU.
    pub shows: Shows,
    /// Who gets the next request.
    pub balancer: Balancer,
    /// Time from the creation of a pod to its first request.
    pub start_up: StartUp,
    /// How often a ready pod's process crashes, per hour, at random; not negative. The requests inside are lost, and the
    /// pod starts anew.
    pub crashes_per_hour: f64,
    /// Of everything random about them.
    pub seed: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            cores: Cores::saturating(1.0),
            limit: None,
            concurrency: None,
            beyond: Beyond::default(),
            shows: Shows::default(),
            balancer: Balancer::RoundRobin,
            start_up: StartUp::default(),
            crashes_per_hour: 0.0,
            seed: 1,
        }
    }
}

impl ClusterConfig {
    /// Most CPU that one pod may use.
    pub fn usable(&self) -> Cores {
        self.limit.unwrap_or(self.cores)
    }
}

/// What happens to requests beyond a pod's concurrency limit.
///
/// Text form: `reject` or `reject:5ms`, `queue`, `backlog` or `backlog:128`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// They are answered 429. Until then they are in flight; they use no CPU and show in no duration.
    Reject {
        /// How long that takes; not negative.
        after: Span,
    },
    /// They queue in the pod, first come first served: in flight and lasting since they came.
    Queue,
    /// They wait in the kernel, first come first served, until the pod accepts them. To its metrics they come only then;
    /// their clients have been waiting since they came.
    Backlog {
        /// Most that wait; the connections of others are refused. None: no end of them.
        size: Option<u32>,
    },
}

impl Default for Beyond {
    fn default() -> Self {
        Self::Reject { after: Span::from_millis(2) }
    }
}

/// What happens beyond the limit, in a form that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not say what happens: give reject or reject:5ms, queue, backlog or backlog:128")]
pub struct BeyondError(String);

impl FromStr for Beyond {
    type Err = BeyondError;

    fn from_str(text: &str) -> Result<Self, BeyondError> {
        let wrong = || BeyondError(text.to_owned());
        match text.split_once(':') {
            None if text == "reject" => Ok(Self::default()),
            None if text == "queue" => Ok(Self::Queue),
            None if text == "backlog" => Ok(Self::Backlog { size: None }),
            Some(("reject", after)) => {
                let after = after.parse::<Span>().ok().filter(|after| *after >= Span::ZERO);
                Ok(Self::Reject { after: after.ok_or_else(wrong)? })
            }
            Some(("backlog", size)) => Ok(Self::Backlog { size: Some(size.parse().map_err(|_| wrong())?) }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject { after } => write!(f, "reject:{after}"),
            Self::Queue => f.write_str("queue"),
            Self::Backlog { size: None } => f.write_str("backlog"),
            Self::Backlog { size: Some(size) } => write!(f, "backlog:{size}"),
        }
    }
}

/// What the pods' metrics pages show beside durations and CPU. Many real ones show neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shows {
    /// How many requests are in flight.
    pub in_flight: bool,
    /// How many were turned away.
    pub rejected: bool,
}

impl Default for Shows {
    fn default() -> Self {
        Self { in_flight: true, rejected: true }
    }
}

/// Who gets the next request, among the ready pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancer {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests inside; the oldest of several.
    LeastLoaded,
    /// Any.
    Random,
    /// Of any two, the one with fewer requests inside.
    PowerOfTwo,
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round robin",
            Self::LeastLoaded => "least loaded",
            Self::Random => "random",
            Self::PowerOfTwo => "two choices",
        })
    }
}

/// Time from the creation of a pod to its first request: scheduling, image, boot, readiness.
///
/// Text form: `30s` is fixed, `20s..40s` is lognormal with median 20 s and 95th percentile 40 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartUp {
    /// Always the same; not negative.
    Fixed(Span),
    /// Lognormal.
    LogNormal {
        /// Half of the pods are ready by then; above zero.
        median: Span,
        /// 95 % of the pods are ready by then; not less than the median.
        p95: Span,
    },
}

impl Default for StartUp {
    fn default() -> Self {
        Self::LogNormal { median: Span::from_secs(20), p95: Span::from_secs(40) }
    }
}

impl StartUp {
    /// What it takes in 95 of 100 cases.
    pub fn p95(self) -> Span {
        match self {
            Self::Fixed(span) => span,
            Self::LogNormal { p95, .. } => p95,
        }
    }

    /// What it takes on average.
    pub fn mean(self) -> Span {
        match self {
            Self::Fixed(span) => span,
            Self::LogNormal { median, p95 } => {
                let sigma = Self::sigma(median, p95);
                Span::from_secs_f64(median.as_secs_f64() * (0.5 * sigma * sigma).exp())
            }
        }
    }

    /// Standard deviation of the logarithm.
    fn sigma(median: Span, p95: Span) -> f64 {
        (p95.as_secs_f64() / median.as_secs_f64()).ln() / NORMAL_P95
    }

    /// That of the `pod`-th pod of a run: the same one whoever asks for it.
    pub(crate) fn draw(self, seed: u64, pod: u64) -> Span {
        match self {
            Self::Fixed(span) => span,
            Self::LogNormal { median, p95 } => {
                let sigma = Self::sigma(median, p95);
                let p = generator(seed, Purpose::StartUp(pod)).random_range(1e-6..1.0 - 1e-6);
                Span::from_secs_f64(median.as_secs_f64() * (sigma * normal_quantile(p)).exp())
            }
        }
    }
}

/// A start-up time that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a start-up time: give 30s, or median and 95th percentile as 20s..40s")]
pub struct StartUpError(String);

impl FromStr for StartUp {
    type Err = StartUpError;

    fn from_str(text: &str) -> Result<Self, StartUpError> {
        let wrong = || StartUpError(text.to_owned());
        let span = |text: &str| text.parse::<Span>().map_err(|_| wrong());
        match text.split_once("..") {
            Some((median, p95)) => {
                let (median, p95) = (span(median)?, span(p95)?);
                let ordered = median.is_positive() && median <= p95;
                if ordered { Ok(Self::LogNormal { median, p95 }) } else { Err(wrong()) }
            }
            None => span(text).and_then(|s| if s < Span::ZERO { Err(wrong()) } else { Ok(Self::Fixed(s)) }),
        }
    }
}

impl fmt::Display for StartUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(span) => span.fmt(f),
            Self::LogNormal { median, p95 } => write!(f, "{median}..{p95}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_pods_start_by_the_median_and_95_percent_by_the_p95() {
        let start_up: StartUp = "20s..40s".parse().unwrap();
        let drawn: Vec<Span> = (0..4000).map(|pod| start_up.draw(1, pod)).collect();
        let by = |limit: i64| drawn.iter().filter(|s| **s <= Span::from_secs(limit)).count();
        // Four standard deviations of a binomial count.
        assert!(by(20).abs_diff(2000) < 127 && by(40).abs_diff(3800) < 55, "{} {}", by(20), by(40));
        let mean = drawn.iter().map(|span| span.as_secs_f64()).sum::<f64>() / 4000.0;
        assert!((start_up.mean().as_secs_f64() - mean).abs() < 0.6, "{mean}");
    }

    #[test]
    fn the_same_pod_starts_in_the_same_time() {
        assert_eq!(StartUp::default().draw(3, 5), StartUp::default().draw(3, 5));
        assert_ne!(StartUp::default().draw(3, 5), StartUp::default().draw(3, 6));
    }

    #[test]
    fn what_happens_beyond_the_limit_is_written_as_it_is_read() {
        for text in ["reject:2ms", "reject:0s", "queue", "backlog", "backlog:0", "backlog:128"] {
            assert_eq!(text.parse::<Beyond>().unwrap().to_string(), text);
        }
        assert_eq!("reject".parse(), Ok(Beyond::default()));
        for text in ["", "drop", "reject:", "reject:2", "reject:-2ms", "queue:9", "backlog:-1", "backlog:"] {
            assert!(text.parse::<Beyond>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn start_up_times_are_written_as_they_are_read() {
        for text in ["30s", "0s", "20s..40s"] {
            assert_eq!(text.parse::<StartUp>().unwrap().to_string(), text);
        }
        for text in ["", "30", "40s..20s", "0s..5s", "-1s", "5s.."] {
            assert!(text.parse::<StartUp>().is_err(), "{text:?}");
        }
    }
}
