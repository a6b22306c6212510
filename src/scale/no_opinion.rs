//! Why there is no opinion: the load is not known, and a number would be a guess.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::load::Unknown;
use crate::units::Span;

/// Why the load is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoOpinion {
    /// Nothing was measured yet.
    NoSample,
    /// Pods were read, but a rate takes two readings.
    NoRate,
    /// No pod shows the histogram, or the matchers leave nothing of it.
    NoSeries,
    /// Requests are inside the pods and none completes.
    NothingCompletes {
        /// How many are there.
        in_flight: f64,
    },
    /// There is no ready pod to measure.
    NoReadyPods,
    /// Costs are to be learned from CPU, and no pod shows any.
    NoCpu,
    /// Too few samples with CPU yet to say what requests cost.
    Learning {
        /// How many there are.
        samples: u64,
        /// How many it takes.
        of: u64,
    },
    /// The target is a share of the pods' CPU request, and that is not known.
    NoCpuRequest,
    /// A pod that does nothing uses more CPU than the target allows a busy one.
    IdleTooMuch {
        /// Cores that it uses.
        idle: f64,
        /// Cores that it may.
        allowed: f64,
    },
    /// Too few windows yet to say at which load requests are late.
    LatencyNotKnown {
        /// How many there are.
        windows: u64,
    },
    /// The newest sample is too old.
    Stale {
        /// Its age.
        age: Span,
        /// The greatest age at which it would do.
        limit: Span,
    },
    /// More than half of the pods do not tell their load.
    Silent {
        /// How many do not.
        silent: u32,
        /// Of how many.
        ready: u32,
    },
}

impl From<Unknown> for NoOpinion {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::NothingCompletes { in_flight } => Self::NothingCompletes { in_flight },
            Unknown::NoCpu => Self::NoCpu,
            Unknown::Learning { samples, of } => Self::Learning { samples, of },
        }
    }
}

impl NoOpinion {
    /// Whether the load itself cannot be seen. Else it can, and what it takes is not known: costs are still being learned, or
    /// cannot be with this spec.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::NoSample
            | Self::NoRate
            | Self::NoSeries
            | Self::NothingCompletes { .. }
            | Self::NoReadyPods
            | Self::Stale { .. }
            | Self::Silent { .. } => true,
            Self::NoCpu
            | Self::Learning { .. }
            | Self::NoCpuRequest
            | Self::IdleTooMuch { .. }
            | Self::LatencyNotKnown { .. } => false,
        }
    }

    /// A CamelCase word for labels and conditions.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoSample => "NoSample",
            Self::NoRate => "NoRate",
            Self::NoSeries => "NoSeries",
            Self::NothingCompletes { .. } => "NothingCompletes",
            Self::NoReadyPods => "NoReadyPods",
            Self::NoCpu => "NoCpu",
            Self::Learning { .. } => "Learning",
            Self::NoCpuRequest => "NoCpuRequest",
            Self::IdleTooMuch { .. } => "IdleTooMuch",
            Self::LatencyNotKnown { .. } => "LatencyNotKnown",
            Self::Stale { .. } => "StaleSample",
            Self::Silent { .. } => "SilentPods",
        }
    }
}

impl fmt::Display for NoOpinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSample => f.write_str("nothing was measured yet"),
            Self::NoRate => f.write_str("no pod was read twice yet, and a rate takes two readings"),
            Self::NoSeries => f.write_str(
                "no pod shows the histogram: check spec.load.histogram and spec.load.matchers against a pod's metrics page",
            ),
            Self::NothingCompletes { in_flight } => {
                write!(f, "{in_flight:.0} requests are in flight, or have come, and none completes")
            }
            Self::NoReadyPods => f.write_str("there is no ready pod to measure"),
            Self::NoCpu => f.write_str(
                "no pod's CPU is known, and requests' costs are learned from it: show process_cpu_seconds_total on the pods' pages, say \
                 in spec.load.cpu who tells it, or give weights and capacity yourself",
            ),
            Self::Learning { samples, of } => {
                write!(f, "still learning what requests cost: {samples} of {of} samples")
            }
            Self::NoCpuRequest => f.write_str(
                "the target is a share of the pods' CPU request, and it is not known: set one, or give metricsQPSPerPod",
            ),
            Self::IdleTooMuch { idle, allowed } => write!(
                f,
                "a pod that does nothing uses {idle:.3} cores, and at the target it may use {allowed:.3}: raise the request \
                 or the target"
            ),
            Self::LatencyNotKnown { windows } => write!(
                f,
                "it is not known yet at which load requests are late ({windows} windows seen): give metricsQPSPerPod to \
                 begin with"
            ),
            Self::Stale { age, limit } => {
                write!(f, "the newest sample is {:.1} s old, more than {limit}", age.as_secs_f64())
            }
            Self::Silent { silent, ready } => {
                let pods = if *ready == 1 { "pod" } else { "pods" };
                write!(f, "{silent} of {ready} {pods} cannot be read, or tell no load")
            }
        }
    }
}
