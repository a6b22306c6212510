//! What a reconcile leaves behind for people: conditions and events.

use std::fmt;

use crate::units::Time;

/// A condition of an HPA (`HorizontalPodAutoscalerCondition`), without its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// When `status` last changed.
    pub last_transition: Time,
}

/// What a condition is about (`HorizontalPodAutoscalerConditionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// Whether the scale can be read and written, and whether the wish was stabilized.
    AbleToScale,
    /// Whether a size can be computed from the metrics.
    ScalingActive,
    /// Whether bounds or policies cut the wish.
    ScalingLimited,
    /// Whether it was the HPA that took the workload to zero (1.36).
    ScaledToZero,
}

/// `status` of a condition, of an HPA or of a pod (`ConditionStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The reason of a condition or of an event. The variants are the API's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Kubernetes' own and say all there is to say")]
pub enum Reason {
    SucceededGetScale,
    FailedGetScale,
    SucceededRescale,
    SuccessfulRescale,
    FailedUpdateScale,
    FailedRescale,
    ReadyForNewScale,
    ScaleUpStabilized,
    ScaleDownStabilized,
    ValidMetricFound,
    ScalingDisabled,
    SelectorRequired,
    InvalidSelector,
    AmbiguousSelector,
    FailedGetResourceMetric,
    FailedGetContainerResourceMetric,
    FailedGetPodsMetric,
    FailedGetObjectMetric,
    FailedGetExternalMetric,
    InvalidMetricSourceType,
    FailedComputeMetricsReplicas,
    TooFewReplicas,
    TooManyReplicas,
    ScaleUpLimit,
    ScaleDownLimit,
    DesiredWithinRange,
    ScaledToZero,
    NotScaledToZero,
}

/// An event of a reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether it is a Warning; Normal otherwise.
    pub warning: bool,
    /// What happened.
    pub reason: Reason,
    /// The details, for people.
    pub message: String,
}

// The names of the variants are the API's words, so the derived text serves.
impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// Sets a condition (`setConditionInList`): a new one goes to the end, so that the order is that of first
/// appearance, and only a change of `status` moves the time.
pub(super) fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    now: Time,
) {
    match conditions.iter_mut().find(|condition| condition.kind == kind) {
        None => conditions.push(Condition { kind, status, reason, last_transition: now }),
        Some(condition) => {
            if condition.status != status {
                condition.last_transition = now;
            }
            condition.status = status;
            condition.reason = reason;
        }
    }
}
