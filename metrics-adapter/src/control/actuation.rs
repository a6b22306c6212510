//! What becomes of an object's decisions: an HPA that follows them, a scale that is written, or nothing.
//!
//! It writes only where something differs from what it should be, and never over somebody else: who changed what is ours is
//! named in a condition, and the change stays.

use std::collections::VecDeque;
use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use plimsoll::scale::Decision;
use plimsoll::spec::{Actuation, Mode, OnDelete, Spec};
use plimsoll::units::{Span, Time};

use super::MANAGER;
use super::api_service::ExternalApi;
use super::follow::Follower;
use super::hpa::{self, Shape, Whose};
use super::leadership::Leadership;
use super::target::{ScaleFacts, Target, TargetError, told};
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
    client: Client,
    key: ObjectKey,
    leadership: Leadership,
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
        Self { client, key, leadership, follower: None, overruled: Overruled::default() }
    }

    /// Makes what there is what it should be.
    pub(super) async fn act(
        &mut self,
        object: &LoadAwareAutoscaler,
        around: &Surroundings<'_>,
        target: &Target,
        scale: &ScaleFacts,
        decision: Option<&Decision>,
        now: Time,
    ) -> Actuated {
        let spec = &object.spec.0;
        let acts = spec.mode != Mode::Observe;
        if !(acts && spec.actuation == Actuation::Scale) {
            self.follower = None;
            self.overruled = Overruled::default();
        }
        let done = match spec.actuation {
            Actuation::HPA if acts => self.keep_hpa(object, around).await,
            Actuation::Scale if acts => {
                self.write_scale((spec, super::is_paused(object)), around, target, scale, decision, now).await
            }
            _ => self.release(spec.on_delete, around.hpas).await.map(|()| Actuated::Nothing),
        };
        done.unwrap_or_else(|trouble| trouble)
    }

    /// The HPA's name and the condition in which it is.
    async fn keep_hpa(
        &self,
        object: &LoadAwareAutoscaler,
        around: &Surroundings<'_>,
    ) -> Result<Actuated, Actuated> {
        let (key, spec) = (&self.key, &object.spec.0);
        around.external.check()?;
        let offered = object.annotations().get(hpa::TRANSFER).map(String::as_str);
        let existing = self.existing(spec, around, offered)?;
        let name = match existing {
            Some((hpa, _)) => hpa.name_any(),
            None => key.name.clone(),
        };
        if existing.is_none() && around.hpas.iter().any(|hpa| hpa.name_any() == name) {
            return Err(Actuated::trouble_because(
                "HPANameTaken",
                format!("there is an HPA {name} for another workload: rename it, or this object"),
            ));
        }
        // What is not known yet, as after a start, takes no HPA's safety net away.
        let has_it = existing.is_some_and(|(hpa, _)| hpa::goes_by_cpu(hpa));
        let shape = Shape { has_cpu: around.has_cpu.unwrap_or(has_it) };
        let owner = kube::Resource::controller_owner_ref(object, &());
        let is_taken_over = existing.is_some_and(|(_, whose)| whose == Whose::Offered);
        let original = existing.and_then(|(hpa, whose)| match whose {
            Whose::Own => hpa.annotations().get(hpa::ORIGINAL_SPEC).cloned(),
            _ => serde_json::to_string(hpa.spec.as_ref()?).ok(),
        });
        // One that was somebody's before is given back, so it must not go with the object.
        let owner = owner.filter(|_| original.is_none());
        let mut wanted = hpa::wanted(&name, key, spec, shape, owner);
        if let Some(original) = original {
            wanted.annotations_mut().insert(hpa::ORIGINAL_SPEC.to_owned(), original);
        }
        let kept = match existing {
            Some((hpa, _)) if contains(hpa.as_ref(), &wanted) => HorizontalPodAutoscaler::clone(hpa),
            _ => self.apply(&name, &wanted, is_taken_over).await?,
        };
        Ok(Actuated::Followed { hpa: name, is_exact: hpa::keeps_tolerance(&kept) })
    }

    /// The HPA that is the object's own, or that it may take over. Two writers of one scale would fight, so anyone else's stops it.
    fn existing<'a>(
        &self,
        spec: &Spec,
        around: &Surroundings<'a>,
        offered: Option<&str>,
    ) -> Result<Option<(&'a Arc<HorizontalPodAutoscaler>, Whose)>, Actuated> {
        let mut found = None;
        for one in around.hpas {
            let whose = hpa::whose(one, &self.key, offered);
            match whose {
                Whose::Own => found = Some((one, whose)),
                Whose::Offered if hpa::scales(one, &spec.scale_target_ref) => {
                    found = found.or(Some((one, whose)));
                }
                Whose::Other if hpa::scales(one, &spec.scale_target_ref) => {
                    let name = one.name_any();
                    return Err(Actuated::trouble_because(
                        "TargetHasOtherHPA",
                        format!(
                            "the HPA {name} scales the same workload: delete it, or let this object take it over by the annotation \
                             {}: {name} (what KEDA made KEDA makes again: delete its ScaledObject)",
                            hpa::TRANSFER
                        ),
                    ));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    async fn apply(
        &self,
        name: &str,
        wanted: &HorizontalPodAutoscaler,
        takes_over: bool,
    ) -> Result<HorizontalPodAutoscaler, Actuated> {
        self.leadership.check()?;
        let params = PatchParams { force: takes_over, ..PatchParams::apply(MANAGER) };
        let applied = self.hpas().patch(name, &params, &Patch::Apply(wanted)).await;
        applied.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 409 => Actuated::trouble_because(
                "HPAChangedByOther",
                format!(
                    "the HPA {name} was changed by somebody else, and is left as it is: undo that, or delete it and it is made anew \
                     ({})",
                    told(&error)
                ),
            ),
            _ => hpa_failed(name, &error),
        })
    }

    async fn write_scale(
        &mut self,
        (spec, is_paused): (&Spec, bool),
        around: &Surroundings<'_>,
        target: &Target,
        scale: &ScaleFacts,
        decision: Option<&Decision>,
        now: Time,
    ) -> Result<Actuated, Actuated> {
        self.drop_own(around).await?;
        self.existing(spec, around, None)?;
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
        let wanted = decision.and_then(|decision| replicas(decision, now));
        if let Some(replicas) = follower.sync(now, scale, wanted) {
            self.leadership.check()?;
            target.write(replicas).await.map_err(|error| scale_failed(&error))?;
            self.overruled.written = Some(replicas);
        }
        Ok(Actuated::Written)
    }

    /// Leaves the workload to others, as the object is deleted or no longer acts.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(super) async fn release(
        &self,
        on_delete: OnDelete,
        hpas: &[Arc<HorizontalPodAutoscaler>],
    ) -> Result<(), Actuated> {
        for own in self.own(hpas) {
            match (hpa::original(own), on_delete) {
                (Some(_), _) => self.give_back(own).await?,
                (None, OnDelete::Delete) => self.delete(own).await?,
                (None, OnDelete::Retain) => {
                    let left = hpa::left_behind(own);
                    if !contains(own, &left) {
                        self.apply(&own.name_any(), &left, false).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes own HPAs, since the scale is written without one.
    async fn drop_own(&self, around: &Surroundings<'_>) -> Result<(), Actuated> {
        for own in self.own(around.hpas) {
            match hpa::original(own) {
                Some(_) => self.give_back(own).await?,
                None => self.delete(own).await?,
            }
        }
        Ok(())
    }

    fn own<'a>(&self, hpas: &'a [Arc<HorizontalPodAutoscaler>]) -> Vec<&'a HorizontalPodAutoscaler> {
        let own = |hpa: &&HorizontalPodAutoscaler| hpa::whose(hpa, &self.key, None) == Whose::Own;
        hpas.iter().map(AsRef::as_ref).filter(own).collect()
    }

    /// An HPA that was taken over becomes what it was.
    async fn give_back(&self, own: &HorizontalPodAutoscaler) -> Result<(), Actuated> {
        self.leadership.check()?;
        let name = own.name_any();
        let api = self.hpas();
        let mut hpa = api.get(&name).await.map_err(|error| hpa_failed(&name, &error))?;
        let Some(original) = hpa::original(&hpa) else { return Ok(()) };
        hpa.spec = Some(original);
        hpa.annotations_mut().remove(hpa::ORIGINAL_SPEC);
        hpa.labels_mut()
            .retain(|label, _| label != hpa::MANAGED_BY && label != crate::external::AUTOSCALER_LABEL);
        hpa.metadata.owner_references = None;
        hpa.metadata.managed_fields = None;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let replaced = api.replace(&name, &params, &hpa).await;
        replaced.map(|_| ()).map_err(|error| hpa_failed(&name, &error))
    }

    async fn delete(&self, own: &HorizontalPodAutoscaler) -> Result<(), Actuated> {
        self.leadership.check()?;
        let name = own.name_any();
        match self.hpas().delete(&name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(hpa_failed(&name, &error)),
        }
    }

    fn hpas(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }
}

/// The replicas that a decision asks for and still stands for.
fn replicas(decision: &Decision, now: Time) -> Option<u32> {
    let (replicas, valid_until) = decision.outcome.replicas().ok()?;
    (now <= valid_until).then_some(replicas)
}

fn hpa_failed(name: &str, error: &kube::Error) -> Actuated {
    Actuated::trouble_because("HPAWriteFailed", format!("the HPA {name} cannot be written: {}", told(error)))
}

fn scale_failed(error: &TargetError) -> Actuated {
    Actuated::trouble_because(error.reason(), error.to_string())
}

/// Whether `there` says all that `wanted` does. The API server adds defaults of its own.
fn contains(there: &HorizontalPodAutoscaler, wanted: &HorizontalPodAutoscaler) -> bool {
    match (serde_json::to_value(there), serde_json::to_value(wanted)) {
        (Ok(there), Ok(wanted)) => says(&there, &wanted),
        _ => false,
    }
}

fn says(there: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match (there, wanted) {
        (Object(there), Object(wanted)) => {
            wanted.iter().all(|(key, value)| there.get(key).is_some_and(|there| says(there, value)))
        }
        (Array(there), Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| says(there, wanted))
        }
        _ => there == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_adds_is_no_difference() {
        let there = json!({"spec": {"a": 1, "b": {"c": [{"d": 1, "e": 2}]}}});
        assert!(says(&there, &json!({"spec": {"b": {"c": [{"d": 1}]}}})));
        assert!(!says(&there, &json!({"spec": {"b": {"c": [{"d": 2}]}}})));
        assert!(!says(&there, &json!({"spec": {"b": {"c": []}}})));
        assert!(!says(&there, &json!({"spec": {"f": 1}})));
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
