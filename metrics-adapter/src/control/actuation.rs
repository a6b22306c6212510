//! What becomes of an object's decisions: an HPA that follows them, a scale that is written, or nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Client;
use plimsoll::scale::{Decision, Outcome};
use plimsoll::spec::{Actuation, Fallback, Mode, Spec};
use plimsoll::units::{Span, Time};

use super::api_service::ExternalApi;
use super::follow::Follower;
use super::hpa::Moves;
use super::hpas::Hpas;
use super::leadership::Leadership;
use super::target::{ScaleFacts, Target, TargetError};
use crate::board::ObjectKey;
use crate::resource::LoadAwareAutoscaler;

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Actuated {
    /// Nothing is to be moved.
    Nothing,
    /// An HPA follows.
    Followed {
        /// Its name.
        hpa: String,
        /// It does every change of one pod. If not, the cluster is too old to be told so.
        is_exact: bool,
    },
    /// The scale is written.
    Written,
    /// It cannot be.
    Trouble {
        /// A CamelCase word.
        reason: &'static str,
        /// What it is, and what to do.
        message: String,
    },
}

impl Actuated {
    pub(super) fn trouble_because(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Trouble { reason, message: message.into() }
    }

    /// The reason and a sentence, where it cannot be done.
    pub(super) fn trouble(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Trouble { reason, message } => Some((reason, message.clone())),
            _ => None,
        }
    }
}

/// What the HPAs and the cluster are like.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The HPAs of the object's namespace.
    pub(super) hpas: &'a [Arc<HorizontalPodAutoscaler>],
    /// Who answers external metrics.
    pub(super) external: &'a ExternalApi,
    /// The workload is there, and its scale can be read.
    pub(super) is_there: bool,
    /// The cluster serves CPU usage, and all containers of the workload ask for CPU; none while that is not known.
    pub(super) has_cpu: Option<bool>,
}

/// Acts for one object.
pub(super) struct Actuator {
    leadership: Leadership,
    hpas: Hpas,
    follower: Option<Follower>,
    overruled: Overruled,
}

/// Changes by others of what was written, lately.
#[derive(Debug, Default)]
struct Overruled {
    written: Option<u32>,
    at: VecDeque<Time>,
}

/// So many changes by others within so long are no coincidence.
const FIGHT: usize = 3;
const FIGHT_WITHIN: Span = Span::from_secs(600);

impl Overruled {
    /// Notes what the scale says now; whether somebody writes against us.
    fn is_fight(&mut self, now: Time, spec: u32) -> bool {
        if self.written.is_some_and(|written| written != spec) {
            self.at.push_back(now);
        }
        self.written = self.written.map(|_| spec);
        while self.at.front().is_some_and(|at| now - *at > FIGHT_WITHIN) {
            self.at.pop_front();
        }
        self.at.len() >= FIGHT
    }
}

impl Actuator {
    /// For the object `key`.
    pub(super) fn new(client: Client, key: ObjectKey, leadership: Leadership) -> Self {
        let hpas = Hpas::new(client, key, leadership.clone());
        Self { leadership, hpas, follower: None, overruled: Overruled::default() }
    }

    /// Makes what there is what it should be.
    pub(super) async fn act(
        &mut self,
        object: &LoadAwareAutoscaler,
        around: &Surroundings<'_>,
        found: Option<&(Target, ScaleFacts)>,
        decision: Option<&Decision>,
        now: Time,
    ) -> Actuated {
        let spec = &object.spec.0;
        let is_paused = super::is_paused(object);
        let acts = spec.mode != Mode::Observe;
        if !(acts && spec.actuation == Actuation::Scale) {
            self.stop_writing();
        }
        let done = match (spec.actuation, found) {
            (Actuation::HPA, _) if acts => {
                let moves = match decision.map(|decision| &decision.outcome) {
                    _ if is_paused => Moves::Nowhere,
                    Some(Outcome::Fallback(_)) if keeps_at_least(spec) => Moves::UpOnly,
                    _ => Moves::Freely,
                };
                self.hpas.keep(object, moves, around).await
            }
            (Actuation::Scale, Some((target, scale))) if acts => {
                let wanted = decision.and_then(|decision| replicas(decision, spec, scale, now));
                self.write_scale((spec, is_paused), around, target, scale, wanted, now).await
            }
            (Actuation::Scale, None) if acts => Ok(Actuated::Nothing),
            _ => self.hpas.release(spec, around).await.map(|()| Actuated::Nothing),
        };
        done.unwrap_or_else(|trouble| trouble)
    }

    /// Makes room for another object that acts upon the same workload.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(super) async fn yield_to(&mut self, around: &Surroundings<'_>) -> Result<(), Actuated> {
        self.stop_writing();
        self.hpas.drop_all(around).await.map(|_| ())
    }

    /// Leaves the workload to others: the object is gone, or of a spec that is not known.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(super) async fn leave(&self, spec: Option<&Spec>) -> Result<(), Actuated> {
        self.hpas.leave(spec).await
    }

    fn stop_writing(&mut self) {
        self.follower = None;
        self.overruled = Overruled::default();
    }

    async fn write_scale(
        &mut self,
        (spec, is_paused): (&Spec, bool),
        around: &Surroundings<'_>,
        target: &Target,
        scale: &ScaleFacts,
        wanted: Option<u32>,
        now: Time,
    ) -> Result<Actuated, Actuated> {
        // What was there is still in force: the next round writes.
        if self.hpas.drop_all(around).await? {
            return Ok(Actuated::Written);
        }
        self.hpas.check_alone(spec, around, None)?;
        // A decision that is older than the pause, or than what a person scaled since, would undo it; and whoever scales by hand meanwhile fights
        // nobody.
        if is_paused {
            self.stop_writing();
            return Ok(Actuated::Written);
        }
        if self.overruled.is_fight(now, scale.spec) {
            return Err(Actuated::trouble_because(
                "ForeignWriter",
                "somebody else writes the replicas again and again: nothing is written until they have left them alone for \
                 10 minutes",
            ));
        }
        let follower = match &mut self.follower {
            Some(follower) if follower.is_for(spec) => follower,
            _ => self.follower.insert(Follower::new(spec)),
        };
        let before = follower.clone();
        if let Some(replicas) = follower.sync(now, scale, wanted) {
            self.leadership.check()?;
            match write(target, scale, replicas).await {
                Ok(()) => self.overruled.written = Some(replicas),
                Err(error) => {
                    // What was not done counts for nothing.
                    *follower = before;
                    return match error {
                        // Somebody was faster: the next round sees what they did.
                        TargetError::Changed => Ok(Actuated::Written),
                        error => Err(scale_failed(&error)),
                    };
                }
            }
        }
        Ok(Actuated::Written)
    }
}

/// Writes a scale. Each change of the workload's status makes another version of it, so one that asks for the same replicas still is as
/// good as the one that was read.
async fn write(target: &Target, scale: &ScaleFacts, replicas: u32) -> Result<(), TargetError> {
    match target.write(replicas, scale).await {
        Err(TargetError::Changed) => {
            let anew = target.read().await?;
            if anew.spec != scale.spec {
                return Err(TargetError::Changed);
            }
            target.write(replicas, &anew).await
        }
        written => written,
    }
}

/// Whether the user wants as many as there are, where the load is not known.
fn keeps_at_least(spec: &Spec) -> bool {
    let then = spec.on_missing_metrics.as_ref().map(|missing| missing.then);
    matches!(then, Some(Fallback::AtLeast(_)))
}

/// The replicas that a decision asks for, if it is by this spec and still holds. One that lowers nothing keeps what a person scaled after
/// it was made.
fn replicas(decision: &Decision, spec: &Spec, scale: &ScaleFacts, now: Time) -> Option<u32> {
    let (replicas, valid_until) = decision.outcome.replicas().ok()?;
    if decision.mode != spec.mode || now > valid_until {
        return None;
    }
    let lowers = match &decision.outcome {
        Outcome::Fallback(_) => !keeps_at_least(spec),
        Outcome::Desired(desired) => !desired.is_held(),
        Outcome::NoOpinion(_) => false,
    };
    Some(if lowers { replicas } else { replicas.max(scale.spec).min(decision.max_replicas.max(replicas)) })
}

fn scale_failed(error: &TargetError) -> Actuated {
    Actuated::trouble_because(error.reason(), error.to_string())
}

#[cfg(test)]
mod tests {
    use plimsoll::scale::Autoscaler;
    use serde_json::json;

    use super::*;

    /// What is written where there are `there` replicas by now, after a decision by a load of `load` when there were ten.
    fn written(load: f64, mode: &str, there: u32) -> Option<u32> {
        let spec: Spec = serde_json::from_value(json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 20,
            "mode": mode,
            "load": {"histogram": "d", "weights": {"fixed": {"edges": [], "weights": [1]}}},
            "target": {"metricsQPSPerPod": "10"},
        }))
        .unwrap();
        let mut autoscaler = Autoscaler::new(spec.check().unwrap());
        let at = Time::from_secs(100);
        let sample = json!({
            "schema": 1, "at": at, "pods": {"replicas": 10, "ready": 10, "warming": 0, "silent": 0},
            "groups": [{"pods": 10, "silent": false, "window": "15s",
                "histograms": [{"labels": {}, "le": [], "rates": [load]}]}],
        });
        autoscaler.observe(&serde_json::from_value(sample).unwrap()).unwrap();
        let scale = ScaleFacts { version: None, spec: there, status: there, selector: "app=web".into() };
        replicas(&autoscaler.decide(at), &spec, &scale, at)
    }

    #[test]
    fn a_decision_that_lowers_nothing_keeps_what_a_person_scaled_after_it() {
        // The first decision after a start holds what there is.
        assert_eq!(written(10.0, "Auto", 10), Some(10));
        assert_eq!(written(10.0, "Auto", 15), Some(15));
        assert_eq!(written(10.0, "Auto", 30), Some(20), "never more than is allowed");
        assert_eq!(written(170.0, "Auto", 15), Some(17));
    }

    #[test]
    fn who_writes_against_us_again_and_again_is_left_alone() {
        let at = |secs: i64| Time::from_secs(secs);
        let mut overruled = Overruled::default();
        assert!(!overruled.is_fight(at(0), 3), "nothing of ours was there");
        for secs in [10, 20] {
            overruled.written = Some(5);
            assert!(!overruled.is_fight(at(secs), 3));
        }
        overruled.written = Some(5);
        assert!(overruled.is_fight(at(30), 3));
        assert!(overruled.is_fight(at(40), 3), "it stays one until they stop");
        assert!(!overruled.is_fight(at(700), 3));
    }

    #[test]
    fn what_we_wrote_ourselves_is_no_fight() {
        let mut overruled = Overruled::default();
        for secs in 0..10 {
            overruled.written = Some(u32::try_from(secs).unwrap());
            assert!(!overruled.is_fight(Time::from_secs(secs), u32::try_from(secs).unwrap()));
        }
    }
}
