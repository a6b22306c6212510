//! The named steps of a decision: what may propose or change a number of replicas.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::load::Congestion;
use crate::spec::Fallback;
use crate::units::{MetricsQps, Span, Time};

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
    /// A person had paused the object until a moment ago: the HPA was told nothing meanwhile, and would obey the first word.
    AfterPause {
        /// Until when nothing is lowered.
        until: Time,
    },
    /// A rollout of the workload is under way.
    RollingOut {
        /// Until when that counts, if it lasts for so long.
        until: Time,
    },
    /// The load has been unknown for so long that the user's fallback holds.
    Fallback {
        /// What the user said.
        then: Fallback,
    },
    /// More than the HPA would ignore: one whose tolerance cannot be switched off does nothing about less than 10 %.
    Tolerance,
    /// The lower bound.
    MinReplicas {
        /// The schedule that sets it; none for the object's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<String>,
    },
    /// The upper bound.
    MaxReplicas {
        /// The schedule that sets it; none for the object's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<String>,
    },
    /// The object is paused: the replicas stay as they are, whatever all other steps say.
    Paused,
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
            Self::AfterPause { .. } => "AfterPause",
            Self::RollingOut { .. } => "RollingOut",
            Self::Fallback { .. } => "Fallback",
            Self::Tolerance => "Tolerance",
            Self::MinReplicas { .. } => "MinReplicas",
            Self::MaxReplicas { .. } => "MaxReplicas",
            Self::Paused => "Paused",
        }
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { metricsqps, per_pod } => {
                write!(f, "load of {:.1} MetricsQPS at {} a pod", metricsqps.get(), brief(*per_pod))
            }
            Self::Forecast { metricsqps, horizon, per_pod } => {
                let per_pod = brief(*per_pod);
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
            Self::AfterPause { until } => {
                write!(f, "nothing is lowered until {}: it was paused until now", until.to_rfc3339_secs())
            }
            Self::RollingOut { until } => {
                write!(f, "a rollout is under way, which counts until {}", until.to_rfc3339_secs())
            }
            Self::Fallback { then: Fallback::AtLeast(replicas) } => {
                write!(f, "as many as there are, and at least {replicas}, while the load is not known")
            }
            Self::Fallback { then: Fallback::Exactly(replicas) } => {
                write!(f, "{replicas} while the load is not known")
            }
            Self::Tolerance => {
                f.write_str("the HPA does nothing about less than 10 %, so a little more is asked for")
            }
            Self::MinReplicas { schedule } => bound(f, "minReplicas", schedule.as_deref()),
            Self::MaxReplicas { schedule } => bound(f, "maxReplicas", schedule.as_deref()),
            Self::Paused => f.write_str("paused: the replicas stay as they are"),
        }
    }
}

/// To three significant digits, if there are more: what is learned has fifteen.
fn brief(load: MetricsQps) -> f64 {
    let load = load.get();
    if load <= 0.0 {
        return load;
    }
    let unit = 10f64.powf(2.0 - load.log10().floor());
    (load * unit).round() / unit
}

fn some_pods(pods: u32) -> String {
    if pods == 1 { "1 pod has".into() } else { format!("{pods} pods have") }
}

fn bound(f: &mut fmt::Formatter<'_>, name: &str, schedule: Option<&str>) -> fmt::Result {
    match schedule {
        Some(schedule) => write!(f, "{name} of the schedule {schedule}"),
        None => f.write_str(name),
    }
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
