//! What a replay assumes, and the ranges of its settings.

use plimsoll::units::{Percent, Span};

use crate::cluster::ClusterConfig;
use crate::history::{HistoryError, MAX_PODS};
use crate::policy::PolicyError;
use crate::score::Late;
use crate::trace::TraceError;

/// Everything but the trace and the policies.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The pods.
    pub cluster: ClusterConfig,
    /// Fewest replicas of a policy that scales; at least 1.
    pub min: u32,
    /// Most replicas of a policy that scales; at least `min`.
    pub max: u32,
    /// Share of the cores that it requests that a pod at target uses, at the trace's mean mix; at least 1 %, in whole
    /// percent.
    pub share: Percent,
    /// When a request is late.
    pub late: Late,
    /// The timers.
    pub timing: Timing,
    /// Of the timers' phases.
    pub seed: u64,
}

impl Scenario {
    /// Everything as it is by default, with pods at target using `share` of their cores.
    pub fn with_share(share: Percent) -> Self {
        Self {
            cluster: ClusterConfig::default(),
            min: 2,
            max: 100,
            share,
            late: Late::default(),
            timing: Timing::default(),
            seed: 1,
        }
    }

    /// Time from a decision until its pods take requests, in 95 of 100 cases: to the next reconcile, and the start-up.
    pub fn lead(&self) -> Span {
        self.timing.sync + self.cluster.start_up.p95()
    }

    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn check(&self) -> Result<(), ReplayError> {
        let check = |fits: bool, setting, value: String, expected| {
            if fits { Ok(()) } else { Err(ReplayError::Setting { setting, value, expected }) }
        };
        let cores = self.cluster.cores.get();
        check((0.01..=1024.0).contains(&cores), "cores", cores.to_string(), "0.01 to 1024")?;
        check(self.min >= 1, "min", self.min.to_string(), "at least 1")?;
        let concurrency = self.cluster.concurrency;
        check(concurrency != Some(0), "concurrency", "0".to_owned(), "at least 1")?;
        let crashes = self.cluster.crashes_per_hour;
        check((0.0..=3600.0).contains(&crashes), "crashes", crashes.to_string(), "0 to 3600 an hour")?;
        let bounds = format!("{}, min {}", self.max, self.min);
        check((self.min..=MAX_PODS).contains(&self.max), "max", bounds, "at least min, at most 100000")?;
        let share = self.share.as_fraction();
        // An HPA on CPU takes whole percent, and all targets are to be alike.
        let percent = share * 100.0;
        let whole = percent >= 0.5 && (percent - percent.round()).abs() < 1e-9;
        check(whole, "share", self.share.to_string(), "1% to 100%, in whole percent")?;
        if let Some(limit) = self.cluster.limit {
            // A pod that may not use that much is never at its target, and no number of pods is enough.
            let fits = (0.01..=1024.0).contains(&limit.get()) && limit.get() > cores * share;
            check(fits, "limit", limit.to_string(), "0.01 to 1024, and more than the share of the cores")?;
        }
        let Late { factor, slack } = self.late;
        check((1.0..=1e6).contains(&factor), "late factor", factor.to_string(), "1 to 10^6")?;
        check(slack >= Span::ZERO, "late slack", slack.to_string(), "not negative")?;
        let Timing { scrape, metrics_server, delay, sync } = self.timing;
        for (setting, period) in [("scrape", scrape), ("metrics-server", metrics_server), ("sync", sync)] {
            check(period >= Span::from_secs(1), setting, period.to_string(), "at least 1s")?;
        }
        check(delay >= Span::ZERO, "delay", delay.to_string(), "not negative")
    }
}

/// How often things are measured and decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two scrapes of all pods. 15 s.
    pub scrape: Span,
    /// Between two rounds of metrics-server, which is also the window of its CPU values. 15 s.
    pub metrics_server: Span,
    /// From a measurement until it can be read: the round's own time. 1 s.
    pub delay: Span,
    /// Between two reconciles of the HPA: its period of 15 s, and the time of a reconcile.
    pub sync: Span,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            scrape: Span::from_secs(15),
            metrics_server: Span::from_secs(15),
            delay: Span::from_secs(1),
            sync: Span::from_millis(15_010),
        }
    }
}

/// A replay that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The trace is wrong.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Nothing can be learned from the trace.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A policy is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A setting is out of its range.
    #[error("{setting} is {value}: expected {expected}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}
