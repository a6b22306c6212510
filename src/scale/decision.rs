//! The record of one decision: what was known, what was proposed, what changed it.

use serde::{Deserialize, Serialize};

use super::lead_time::LeadTime;
use super::no_opinion::NoOpinion;
use super::short_time::ShortTime;
use super::step_kind::{Step, StepKind};
use crate::forecast::Forecast;
use crate::load::{Load, Pods, Scores};
use crate::spec::Mode;
use crate::units::{MetricsQps, Time};

/// The schema number that a [`Decision`] of this version carries.
pub const DECISION_SCHEMA: u32 = 2;

/// One decision about one workload, with its whole reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Number of the record's schema: [`DECISION_SCHEMA`].
    pub schema: u32,
    /// When it was made.
    pub at: Time,
    /// The mode that the user set.
    pub mode: Mode,
    /// Never fewer replicas than this: the bound in force, be it a schedule's.
    pub min_replicas: u32,
    /// Never more replicas than this: the bound in force, be it a schedule's.
    pub max_replicas: u32,
    /// What one ready pod should carry, once that is known.
    pub capacity: Option<Capacity>,
    /// The newest sample, if there ever was one.
    pub evidence: Option<Evidence>,
    /// What was learned of requests' costs, once weights have been published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
    /// What is said of the time to come; none while there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// How long it takes until what is wanted serves; none where nobody looks ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_time: Option<LeadTime>,
    /// Time in which the ready pods were too few since this autoscaler began, by cause.
    #[serde(default)]
    pub short_time: ShortTime,
    /// The replicas, or why there is no opinion.
    pub outcome: Outcome,
}

/// Weights that were learned from CPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Learned {
    /// Number of the version, from 1 on.
    pub version: u32,
    /// When it came into force.
    pub since: Time,
    /// Core-seconds that 1 MetricsQPS stands for: the same in all versions.
    pub unit_core_seconds: f64,
    /// How well CPU was predicted before the version was published, by it and by what it had to beat.
    pub scores: Scores,
    /// Since when requests have cost other than when it was learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_since: Option<Time>,
}

/// What one ready pod should carry, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// MetricsQPS per ready pod; above zero.
    pub per_pod: MetricsQps,
    /// What it surely lies between, where it was learned and that is known: a 95 % interval, or for a latency objective the
    /// largest load that keeps it and the smallest that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(MetricsQps, MetricsQps)>,
    /// Where the number comes from.
    pub source: CapacitySource,
}

/// Where a capacity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CapacitySource {
    /// The user gave it.
    Given,
    /// The CPU that a pod may use at the target utilization, and what a request costs.
    Cpu,
    /// The largest load at which requests were not too late.
    Latency,
}

/// What a decision rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// When the sample was put together.
    pub sampled_at: Time,
    /// The pods at that time.
    pub pods: Pods,
}

/// The replicas, or why there is no opinion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// So many replicas are wanted.
    Desired(Desired),
    /// The load has been unknown for so long that the user's word for that case holds.
    Fallback(Fallback),
    /// The load is not known: whoever asks gets an error, and the replicas stay.
    NoOpinion(NoOpinion),
}

impl Outcome {
    /// The replicas that are asked for, and the last instant at which that may be served.
    ///
    /// # Errors
    /// Why there is no opinion.
    pub fn replicas(&self) -> Result<(u32, Time), &NoOpinion> {
        match self {
            Self::Desired(desired) => Ok((desired.replicas, desired.valid_until)),
            Self::Fallback(fallback) => Ok((fallback.replicas, fallback.valid_until)),
            Self::NoOpinion(why) => Err(why),
        }
    }

    /// What the load takes, where it is known.
    pub fn desired(&self) -> Option<&Desired> {
        match self {
            Self::Desired(desired) => Some(desired),
            Self::Fallback(_) | Self::NoOpinion(_) => None,
        }
    }

    /// The steps to the replicas that are asked for; none where there is no opinion.
    pub fn steps(&self) -> &[Step] {
        match self {
            Self::Desired(desired) => &desired.steps,
            Self::Fallback(fallback) => &fallback.steps,
            Self::NoOpinion(_) => &[],
        }
    }
}

/// So many replicas without knowledge of the load, by `spec.onMissingMetrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// The replicas asked for.
    pub replicas: u32,
    /// Why the load is not known.
    pub why: NoOpinion,
    /// The last instant at which it was known, or the first at which somebody asked.
    pub since: Time,
    /// What was proposed and what changed it, in order; the last one's replicas are the decision's.
    pub steps: Vec<Step>,
    /// The last instant at which the replicas may be served.
    pub valid_until: Time,
}

/// So many replicas, and how the number came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// The replicas wanted.
    pub replicas: u32,
    /// ⌈load / capacity⌉.
    pub reactive: u32,
    /// ⌈bound / capacity⌉; none while there is no forecast.
    pub proactive: Option<u32>,
    /// The load that the sample shows.
    pub load: Load,
    /// The forecast's upper bound of the load over the horizon, as far as it has earned to be gone by; the load itself while there
    /// is no forecast.
    pub bound: MetricsQps,
    /// What was proposed and what changed it, in order; the last one's replicas are the decision's.
    pub steps: Vec<Step>,
    /// The last instant at which anything may be served from this decision: then its sample is too old.
    pub valid_until: Time,
}

impl Desired {
    /// Whether the load alone would take another number, and something else than the bounds keeps it.
    pub fn is_held(&self) -> bool {
        let holds = |step: &Step| {
            use StepKind::{Event, Forecast, Load, MaxReplicas, MinReplicas, Tolerance};
            !matches!(
                step.kind,
                Load { .. }
                    | Forecast { .. }
                    | Event { .. }
                    | Tolerance
                    | MinReplicas { .. }
                    | MaxReplicas { .. }
            )
        };
        self.steps.iter().any(holds)
    }

    /// Whether it would be more replicas but for `maxReplicas`.
    pub fn is_limited(&self) -> bool {
        let is_limited = |step: &Step| matches!(step.kind, StepKind::MaxReplicas { .. });
        self.steps.iter().any(is_limited) && !self.is_paused()
    }

    /// Whether the object is paused: then the replicas are those there are.
    pub fn is_paused(&self) -> bool {
        self.steps.last().is_some_and(|step| step.kind == StepKind::Paused)
    }

    /// Whether this may still be served at `now`.
    pub fn is_valid_at(&self, now: Time) -> bool {
        now <= self.valid_until
    }
}
