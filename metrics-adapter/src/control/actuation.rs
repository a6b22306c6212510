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
        (target, scale): &(Target, ScaleFacts),
        decision: Option<&Decision>,
        now: Time,
    ) -> Actuated {
        let spec = &object.spec.0;
        let is_paused = super::is_paused(object);
        let acts = spec.mode != Mode::Observe;
        if !(acts && spec.actuation == Actuation::Scale) {
            self.stop_writing();
        }
        let done = match spec.actuation {
            Actuation::HPA if acts => self.hpas.keep(object, (around.has_cpu, is_paused), around).await,
            Actuation::Scale if acts => {
                let wanted = decision.and_then(|decision| replicas(decision, spec, scale, now));
                self.write_scale((spec, is_paused), around, target, scale, wanted, now).await
            }
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
        if self.overruled.is_fight(now, scale.spec) {
            return Err(Actuated::trouble_because(
                "ForeignWriter",
                "somebody else writes the replicas again and again: nothing is written until they have left them alone for \
                 10 minutes",
            ));
        }
        // A decision that is older than the pause, or than what a person scaled since, would undo it.
        if is_paused {
            return Ok(Actuated::Written);
        }
        let follower = match &mut self.follower {
            Some(follower) if follower.is_for(spec) => follower,
            _ => self.follower.insert(Follower::new(spec)),
        };
        if let Some(replicas) = follower.sync(now, scale, wanted) {
            self.leadership.check()?;
            match target.write(replicas, scale).await {
                Ok(()) => self.overruled.written = Some(replicas),
                // Somebody was faster: the next round sees what they did.
                Err(TargetError::Changed) => {}
                Err(error) => return Err(scale_failed(&error)),
            }
        }
        Ok(Actuated::Written)
    }
}

/// The replicas that a decision asks for, if it is by this spec and still holds.
fn replicas(decision: &Decision, spec: &Spec, scale: &ScaleFacts, now: Time) -> Option<u32> {
    let (replicas, valid_until) = decision.outcome.replicas().ok()?;
    if decision.mode != spec.mode || now > valid_until {
        return None;
    }
    let then = spec.on_missing_metrics.as_ref().map(|missing| missing.then);
    match (&decision.outcome, then) {
        // "At least" keeps what a person scaled after the decision.
        (Outcome::Fallback(_), Some(Fallback::AtLeast(_))) => Some(replicas.max(scale.spec)),
        _ => Some(replicas),
    }
}

fn scale_failed(error: &TargetError) -> Actuated {
    Actuated::trouble_because(error.reason(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
