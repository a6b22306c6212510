//! The record of one decision: what was known, what was proposed, what changed it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::lead_time::LeadTime;
use super::short_time::ShortTime;
use crate::forecast::Forecast;
use crate::load::{Congestion, Load, Pods, Scores, Unknown};
use crate::spec::Mode;
use crate::units::{MetricsQps, Span, Time};

/// The schema number that a [`Decision`] of this version carries.
pub const DECISION_SCHEMA: u32 = 1;

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
    /// Never fewer replicas than this.
    pub min_replicas: u32,
    /// Never more replicas than this.
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
    /// The load is not known: whoever asks gets an error, and the replicas stay.
    NoOpinion(NoOpinion),
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
    /// Whether the load alone would take fewer replicas, and something else than the bounds keeps them.
    pub fn is_held(&self) -> bool {
        let holds = |step: &Step| {
            use StepKind::{Event, Forecast, Load, MaxReplicas, MinReplicas};
            !matches!(step.kind, Load { .. } | Forecast { .. } | Event { .. } | MinReplicas | MaxReplicas)
        };
        self.steps.iter().any(holds)
    }

    /// Whether it would be more replicas but for `maxReplicas`.
    pub fn is_limited(&self) -> bool {
        self.steps.iter().any(|step| step.kind == StepKind::MaxReplicas)
    }

    /// Whether this may still be served at `now`.
    pub fn is_valid_at(&self, now: Time) -> bool {
        now <= self.valid_until
    }
}

/// One named step of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Replicas after this step.
    pub replicas: u32,
    /// What it was.
    pub kind: StepKind,
}

/// What may propose or change a number of replicas. The text form is a sentence for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// The present load over the capacity.
    Load {
        /// The load.
        metricsqps: MetricsQps,
        /// The capacity of one pod.
        per_pod: MetricsQps,
    },
    /// The load to come over the capacity, or the present load where that is surely larger.
    Forecast {
        /// Upper bound of the load over the horizon, or the present load without its noise.
        metricsqps: MetricsQps,
        /// How far the bound looks, from the last closed minute.
        horizon: Span,
        /// The capacity of one pod.
        per_pod: MetricsQps,
    },
    /// An event in the user's calendar comes, or is on.
    Event {
        /// Its name.
        event: String,
        /// The load to be ready for.
        metricsqps: MetricsQps,
    },
    /// Mode `ScaleUpOnly` never lowers.
    ScaleUpOnly,
    /// Some pods have not told their load yet.
    WarmingUp {
        /// How many.
        pods: u32,
    },
    /// Some pods fell silent.
    Silent {
        /// How many.
        pods: u32,
    },
    /// Demand is at least what was seen.
    Congested {
        /// What says so.
        signs: Vec<Congestion>,
    },
    /// There is a forecast, but none of now: minutes are missing.
    ForecastStale,
    /// The load was unknown for so long, a start included, that the HPA may have forgotten what it wanted before.
    AfterOutage {
        /// Until when nothing is lowered.
        until: Time,
    },
    /// The lower bound.
    MinReplicas,
    /// The upper bound.
    MaxReplicas,
}

impl StepKind {
    /// A CamelCase word for labels and conditions.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Load { .. } => "Load",
            Self::Forecast { .. } => "Forecast",
            Self::Event { .. } => "Event",
            Self::ScaleUpOnly => "ScaleUpOnly",
            Self::WarmingUp { .. } => "WarmingUp",
            Self::Silent { .. } => "Silent",
            Self::Congested { .. } => "Congested",
            Self::ForecastStale => "ForecastStale",
            Self::AfterOutage { .. } => "AfterOutage",
            Self::MinReplicas => "MinReplicas",
            Self::MaxReplicas => "MaxReplicas",
        }
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { metricsqps, per_pod } => {
                write!(f, "load of {:.1} MetricsQPS at {} a pod", metricsqps.get(), per_pod)
            }
            Self::Forecast { metricsqps, horizon, per_pod } => {
                write!(f, "up to {:.1} MetricsQPS within {horizon} at {per_pod} a pod", metricsqps.get())
            }
            Self::Event { event, metricsqps } => {
                write!(f, "{event} in the calendar: {:.1} MetricsQPS", metricsqps.get())
            }
            Self::ScaleUpOnly => f.write_str("mode ScaleUpOnly never lowers"),
            Self::WarmingUp { pods } => write!(f, "{} not told the load yet", some_pods(*pods)),
            Self::Silent { pods } => write!(f, "{} fallen silent", some_pods(*pods)),
            Self::Congested { signs } => {
                f.write_str("congested: ")?;
                for (i, sign) in signs.iter().enumerate() {
                    write!(f, "{}{sign}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::ForecastStale => f.write_str("there is no forecast of now: minutes are missing"),
            Self::AfterOutage { until } => {
                let until = until.to_rfc3339_secs();
                write!(f, "nothing is lowered until {until}: the load was not known for long")
            }
            Self::MinReplicas => f.write_str("minReplicas"),
            Self::MaxReplicas => f.write_str("maxReplicas"),
        }
    }
}

fn plural(pods: u32) -> String {
    if pods == 1 { "1 pod".into() } else { format!("{pods} pods") }
}

fn some_pods(pods: u32) -> String {
    if pods == 1 { "1 pod has".into() } else { format!("{pods} pods have") }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejecting { share } => write!(f, "{:.1} % of requests are turned away", share * 100.0),
            Self::Saturated { utilization } => {
                write!(f, "the pods use {:.0} % of the CPU that they may", utilization * 100.0)
            }
            Self::Abandoned { rate } => write!(f, "{rate:.1} requests a second leave without completing"),
            Self::QueueGrowing { rate } => write!(f, "the queue grows by {rate:.1} requests a second"),
        }
    }
}

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
                write!(f, "{in_flight} requests are in flight and none completes")
            }
            Self::NoReadyPods => f.write_str("there is no ready pod to measure"),
            Self::NoCpu => f.write_str(
                "no pod shows process_cpu_seconds_total, and requests' costs are learned from it: export it, or give weights \
                 and capacity yourself",
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
            Self::Silent { silent, ready } => write!(f, "{silent} of {} cannot be read, or tell no load", plural(*ready)),
        }
    }
}
