//! One HPA through time: its spec, what it remembers, and the steps of a reconcile.

use std::collections::BTreeMap;

use super::behavior::EffectiveBehavior;
use super::error::CalcError;
use super::metrics::MetricsSource;
use super::normalize::{
    Recommendation, ScaleEvents, limit, limit_with_behavior, stabilize, stabilize_with_behavior,
};
use super::pods::Pod;
use super::replicas::{Proposal, ReplicaCalculator};
use super::settings::{Settings, Tolerances};
use super::spec::HpaSpec;
use super::status::{Condition, ConditionStatus, ConditionType, Event, Reason, set_condition};
use crate::units::Time;

/// A HorizontalPodAutoscaler together with the controller that works on it.
#[derive(Debug, Clone)]
pub struct Hpa {
    spec: HpaSpec,
    behavior: Option<EffectiveBehavior>,
    tolerances: Tolerances,
    settings: Settings,
    /// What the API server keeps: it outlives the controller.
    pub status: Status,
    /// What the controller keeps in memory: a restart or a change of leader loses it.
    pub memory: Memory,
}

/// `status` of an HPA, as far as the algorithm is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The size before the last reconcile that got to see it.
    pub current_replicas: i32,
    /// The size that reconcile wished for.
    pub desired_replicas: i32,
    /// When the size was last changed.
    pub last_scale_time: Option<Time>,
    /// The conditions, in the order of their first appearance.
    pub conditions: Vec<Condition>,
}

/// What the controller remembers of an HPA between two reconciles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Sizes that the metrics asked for. `None` before the first reconcile, which puts the current size there: thus
    /// nothing shrinks for the length of the window after a restart.
    pub recommendations: Option<Vec<Recommendation>>,
    /// Changes that were made.
    pub events: ScaleEvents,
}

/// What the controller finds at a reconcile: the scale and its pods.
#[derive(Debug, Clone, Default)]
pub struct Observed<'a> {
    /// `spec.replicas` of the scale.
    pub spec_replicas: i32,
    /// `status.replicas` of the scale. AverageValue targets of Object and External metrics divide by it.
    pub status_replicas: i32,
    /// The pods under the selector. AverageValue targets of Object and External metrics do without.
    pub pods: &'a [Pod],
    /// `status.selector` of the scale.
    pub selector: Selector,
    /// The other HPAs of the namespace.
    pub others: &'a [OtherHpa],
    /// Why the scale cannot be read, if it cannot.
    pub get_error: Option<String>,
    /// Why the scale cannot be written, if it cannot. A conflict that a retry solves is none.
    pub update_error: Option<String>,
}

/// The selector of a scale.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selector {
    /// One that can be read; [`Observed::pods`] are the pods under it.
    #[default]
    Valid,
    /// None.
    Missing,
    /// One that cannot be read.
    Unparsable(String),
}

/// Another HPA of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherHpa {
    /// Its name.
    pub name: String,
    /// The labels that it selects pods by; all must match.
    pub selector: BTreeMap<String, String>,
}

impl OtherHpa {
    fn selects(&self, pod: &Pod) -> bool {
        self.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    }
}

/// What a reconcile did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// `spec.replicas` of the scale from now on.
    pub replicas: i32,
    /// Whether the scale was written.
    pub rescaled: bool,
    /// What each metric of the spec asked for, in order. Empty if the metrics were not looked at.
    pub proposals: Vec<Result<Proposal, CalcError>>,
    /// All conditions, in the order of their first appearance.
    pub conditions: Vec<Condition>,
    /// The events of this reconcile, in order.
    pub events: Vec<Event>,
    /// What went wrong. The scale may have been written all the same, if some metric could be read.
    pub error: Option<HpaError>,
}

impl Reconciled {
    fn event(&mut self, reason: Reason, message: impl Into<String>) {
        let warning = reason != Reason::SuccessfulRescale;
        self.events.push(Event { warning, reason, message: message.into() });
    }
}

/// Why a reconcile failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HpaError {
    /// The scale could not be read.
    #[error("cannot read the scale: {0}")]
    GetScale(String),
    /// The scale could not be written.
    #[error("cannot write the scale: {0}")]
    UpdateScale(String),
    /// The scale has no selector.
    #[error("the scale has no selector")]
    SelectorRequired,
    /// The selector of the scale cannot be read.
    #[error("the selector {0:?} of the scale cannot be parsed")]
    InvalidSelector(String),
    /// Other HPAs select a pod of this one.
    #[error("pods are selected by other HPAs too: {}", .0.join(", "))]
    AmbiguousSelector(Vec<String>),
    /// Metrics failed: all of them, or some while the others do not ask for as many replicas as there are; or some,
    /// and the rest was used.
    #[error("invalid metrics ({invalid} invalid out of {total}), first error is: {first}")]
    Metrics {
        /// How many failed.
        invalid: usize,
        /// How many there are.
        total: usize,
        /// The first failure.
        first: CalcError,
    },
}

/// A size to set, and why.
struct Target {
    replicas: i32,
    reason: String,
    /// The failure of some metrics, while others sufficed.
    partial: Option<HpaError>,
}

impl Hpa {
    /// A new HPA, with the API server's defaults filled in. Any spec is taken, as the controller does;
    /// [`HpaSpec::validate`] says whether the API server would have.
    pub fn new(spec: HpaSpec, settings: Settings) -> Self {
        let spec = spec.defaulted();
        let behavior = spec.behavior.as_ref();
        let behavior = behavior.map(|behavior| behavior.effective(settings.downscale_stabilization));
        let tolerances = tolerances(behavior.as_ref(), &settings);
        let (status, memory) = Default::default();
        Self { spec, behavior, tolerances, settings, status, memory }
    }

    /// The spec, defaults included.
    pub fn spec(&self) -> &HpaSpec {
        &self.spec
    }

    /// The settings of its controller.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// One reconcile at `now` (`reconcileAutoscaler`). `now` must not go back from call to call. The caller
    /// applies [`Reconciled::replicas`] to its workload.
    pub fn reconcile(
        &mut self,
        now: Time,
        observed: &Observed<'_>,
        metrics: &dyn MetricsSource,
    ) -> Reconciled {
        let mut done = Reconciled {
            replicas: observed.spec_replicas,
            rescaled: false,
            proposals: Vec::new(),
            conditions: Vec::new(),
            events: Vec::new(),
            error: None,
        };
        done.error = self.steps(now, observed, metrics, &mut done).err();
        done.conditions.clone_from(&self.status.conditions);
        done
    }

    fn steps(
        &mut self,
        now: Time,
        observed: &Observed<'_>,
        metrics: &dyn MetricsSource,
        done: &mut Reconciled,
    ) -> Result<(), HpaError> {
        use ConditionType::AbleToScale;

        if let Some(error) = &observed.get_error {
            self.set(now, AbleToScale, false, Reason::FailedGetScale);
            done.event(Reason::FailedGetScale, error);
            return Err(HpaError::GetScale(error.clone()));
        }
        self.set(now, AbleToScale, true, Reason::SucceededGetScale);
        let current = observed.spec_replicas;
        self.memory
            .recommendations
            .get_or_insert_with(|| vec![Recommendation { replicas: current, at: now }]);
        if !self.settings.gates.scale_to_zero {
            self.status.conditions.retain(|condition| condition.kind != ConditionType::ScaledToZero);
        }
        self.status.current_replicas = current;

        let Target { replicas: desired, reason, partial } = self.target(now, observed, metrics, done)?;
        if desired != current {
            if let Some(error) = &observed.update_error {
                self.set(now, AbleToScale, false, Reason::FailedUpdateScale);
                let message = format!("New size: {desired}; reason: {reason}; error: {error}");
                done.event(Reason::FailedRescale, message);
                return Err(HpaError::UpdateScale(error.clone()));
            }
            self.set(now, AbleToScale, true, Reason::SucceededRescale);
            done.event(Reason::SuccessfulRescale, format!("New size: {desired}; reason: {reason}"));
            self.memory.events.store(self.behavior.as_ref(), current, desired, now);
            self.mark_scaled_to_zero(now, current, desired);
            self.status.last_scale_time = Some(now);
            (done.replicas, done.rescaled) = (desired, true);
        }
        self.status.desired_replicas = desired;
        partial.map_or(Ok(()), Err)
    }

    /// The size to set: from the metrics, unless the current size is out of bounds or nobody asked.
    fn target(
        &mut self,
        now: Time,
        observed: &Observed<'_>,
        metrics: &dyn MetricsSource,
        done: &mut Reconciled,
    ) -> Result<Target, HpaError> {
        const ABOVE: &str = "Current number of replicas above Spec.MaxReplicas";
        const BELOW: &str = "Current number of replicas below Spec.MinReplicas";

        let (current, min, max) = (observed.spec_replicas, self.spec.min(), self.spec.max_replicas);
        let bound = |replicas, reason: &str| Target { replicas, reason: reason.to_owned(), partial: None };
        let zero = self.was_scaled_to_zero();
        if current == 0 {
            if !(zero && (min != 0 || self.spec.has_metric_without_pods())) {
                // Zero by someone else's hand is a wish to be left alone.
                self.set(now, ConditionType::ScalingActive, false, Reason::ScalingDisabled);
                return Ok(bound(0, ""));
            }
        } else if current > max {
            return Ok(bound(max, ABOVE));
        } else if current < min {
            return Ok(bound(min, BELOW));
        }

        let (proposal, metric, partial) =
            self.compute(now, observed, metrics, done).inspect_err(|error| {
                done.event(Reason::FailedComputeMetricsReplicas, error.to_string());
            })?;
        let wished = proposal.max(0);
        let mut target = Target {
            replicas: self.normalize(now, current, wished),
            reason: match wished.cmp(&current) {
                std::cmp::Ordering::Greater => format!("{metric} above target"),
                std::cmp::Ordering::Less => "All metrics below target".to_owned(),
                std::cmp::Ordering::Equal => String::new(),
            },
            partial,
        };
        // A behavior leaves a size alone that does not change, also a zero below a minimum that was raised.
        if current == 0 && min != 0 && zero && target.replicas < min {
            (target.replicas, target.reason) = (min, BELOW.to_owned());
        }
        Ok(target)
    }

    /// The largest proposal, the title of its metric, and the failure of some if there was one
    /// (`computeReplicasForMetrics`). While any metric fails the others may hold or raise the size, not lower it.
    fn compute(
        &mut self,
        now: Time,
        observed: &Observed<'_>,
        metrics: &dyn MetricsSource,
        done: &mut Reconciled,
    ) -> Result<(i32, String, Option<HpaError>), HpaError> {
        use ConditionType::ScalingActive;

        if let Err((error, event, condition)) = check_selector(observed) {
            self.set(now, ScalingActive, false, condition);
            done.event(event, error.to_string());
            return Err(error);
        }
        let calculator = ReplicaCalculator {
            settings: &self.settings,
            tolerances: self.tolerances,
            now,
            spec_replicas: observed.spec_replicas,
            status_replicas: observed.status_replicas,
            pods: observed.pods,
            metrics,
        };
        let (mut best, mut title) = (0, String::new());
        let mut first: Option<(CalcError, Reason)> = None;
        let mut invalid = 0;
        for metric in &self.spec.metrics {
            let proposal = calculator.propose(metric);
            match &proposal {
                Ok(Proposal { replicas, .. }) => {
                    if best == 0 || *replicas > best {
                        (best, title) = (*replicas, metric.title());
                    }
                }
                Err(error) => {
                    done.event(metric.failure(), error.to_string());
                    invalid += 1;
                    first.get_or_insert_with(|| (error.clone(), metric.failure()));
                }
            }
            done.proposals.push(proposal);
        }
        let total = self.spec.metrics.len();
        let Some((first, failure)) = first else {
            self.set(now, ScalingActive, true, Reason::ValidMetricFound);
            return Ok((best, title, None));
        };
        let error = HpaError::Metrics { invalid, total, first };
        if invalid == total || best < observed.spec_replicas {
            self.set(now, ScalingActive, false, failure);
            return Err(error);
        }
        self.set(now, ScalingActive, true, Reason::ValidMetricFound);
        Ok((best, title, Some(error)))
    }

    /// Stabilizes and limits a wish (`normalizeDesiredReplicas`, `normalizeDesiredReplicasWithBehaviors`).
    fn normalize(&mut self, now: Time, current: i32, wished: i32) -> i32 {
        let (min, max) = (self.spec.min(), self.spec.max_replicas);
        let recommendations = self.memory.recommendations.get_or_insert_default();
        let (stable, limited) = match &self.behavior {
            None => {
                let window = self.settings.downscale_stabilization;
                let stable = stabilize(recommendations, wished, window, now);
                (stable, limit(current, stable, min, max, &self.settings))
            }
            Some(behavior) => {
                let stable = stabilize_with_behavior(recommendations, current, wished, behavior, now);
                let events = &self.memory.events;
                (stable, limit_with_behavior(current, stable, min, max, behavior, events, now))
            }
        };
        let able = if stable == wished {
            Reason::ReadyForNewScale
        } else if self.behavior.is_some() && wished >= current {
            Reason::ScaleUpStabilized
        } else {
            Reason::ScaleDownStabilized
        };
        self.set(now, ConditionType::AbleToScale, true, able);
        self.set(now, ConditionType::ScalingLimited, limited.replicas != stable, limited.reason);
        limited.replicas
    }

    /// Whether the workload is at zero because the HPA put it there.
    fn was_scaled_to_zero(&self) -> bool {
        self.settings.gates.scale_to_zero
            && self.status.conditions.iter().any(|condition| {
                condition.kind == ConditionType::ScaledToZero && condition.status == ConditionStatus::True
            })
    }

    /// Notes, at every rescale, whether it is the HPA that goes to zero.
    fn mark_scaled_to_zero(&mut self, now: Time, current: i32, desired: i32) {
        if self.settings.gates.scale_to_zero {
            let zero =
                current > 0 && desired == 0 && self.spec.min() == 0 && self.spec.has_metric_without_pods();
            let reason = if zero { Reason::ScaledToZero } else { Reason::NotScaledToZero };
            self.set(now, ConditionType::ScaledToZero, zero, reason);
        }
    }

    fn set(&mut self, now: Time, kind: ConditionType, holds: bool, reason: Reason) {
        set_condition(&mut self.status.conditions, kind, holds.into(), reason, now);
    }
}

/// The tolerances of an HPA (`tolerancesForHpa`): its own where it has them and the gate is on.
fn tolerances(behavior: Option<&EffectiveBehavior>, settings: &Settings) -> Tolerances {
    let own = behavior.filter(|_| settings.gates.configurable_tolerance);
    let (up, down) = own.map_or((None, None), |own| (own.up.tolerance, own.down.tolerance));
    Tolerances {
        up: up.map_or(settings.tolerance, |tolerance| tolerance.as_f64()),
        down: down.map_or(settings.tolerance, |tolerance| tolerance.as_f64()),
    }
}

/// Whether the pods can be told from others: the error, the reason of its event and that of its condition
/// (`validateAndParseSelector`).
fn check_selector(observed: &Observed<'_>) -> Result<(), (HpaError, Reason, Reason)> {
    match &observed.selector {
        Selector::Valid => {}
        Selector::Missing => {
            return Err((HpaError::SelectorRequired, Reason::SelectorRequired, Reason::InvalidSelector));
        }
        Selector::Unparsable(text) => {
            let error = HpaError::InvalidSelector(text.clone());
            return Err((error, Reason::InvalidSelector, Reason::InvalidSelector));
        }
    }
    let also = observed.others.iter().filter(|other| observed.pods.iter().any(|pod| other.selects(pod)));
    let also: Vec<_> = also.map(|other| other.name.clone()).collect();
    if also.is_empty() {
        return Ok(());
    }
    Err((HpaError::AmbiguousSelector(also), Reason::AmbiguousSelector, Reason::AmbiguousSelector))
}
