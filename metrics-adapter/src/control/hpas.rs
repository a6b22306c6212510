//! The HPA of one object in the cluster: kept as it should be, left behind, or given back to whom it belonged.
//!
//! It writes only where something differs from what it should be, and never over somebody else: who changed what is ours is
//! named in a condition, and the change stays.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, OwnerReference};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use plimsoll::spec::{OnDelete, Spec};
use serde_json::json;

use super::MANAGER;
use super::actuation::{Actuated, Surroundings};
use super::hpa::{self, MANAGED_BY, MANAGED_BY_PLIMSOLL, Moves, Shape, Whose};
use super::leadership::Leadership;
use super::target::told;
use crate::board::ObjectKey;
use crate::external::AUTOSCALER_LABEL;
use crate::resource::LoadAwareAutoscaler;

/// Tries to be named in an HPA no more: its controller may write it at the same moment.
const DISOWN_TRIES: u32 = 5;

/// The HPAs that belong to one object.
pub(super) struct Hpas {
    client: Client,
    key: ObjectKey,
    leadership: Leadership,
    kept: Option<Kept>,
}

/// What was applied last.
struct Kept {
    wanted: HorizontalPodAutoscaler,
    /// What the API server made of it: it adds defaults, and old ones leave out what they do not know.
    made: HorizontalPodAutoscaler,
}

/// The HPA that an object finds.
enum Found<'a> {
    /// None that concerns it.
    Nothing,
    /// Its own.
    Own(&'a HorizontalPodAutoscaler),
    /// One that it may take over.
    Offered(&'a HorizontalPodAutoscaler),
}

impl Kept {
    /// Whether `there` is still what was made.
    fn is(&self, there: &HorizontalPodAutoscaler) -> bool {
        let (made, is) = (&self.made.metadata, &there.metadata);
        made.resource_version == is.resource_version
            || (self.made.spec == there.spec
                && made.uid == is.uid
                && made.labels == is.labels
                && made.annotations == is.annotations
                && made.owner_references == is.owner_references)
    }
}

impl Hpas {
    /// Those of the object `key`.
    pub(super) fn new(client: Client, key: ObjectKey, leadership: Leadership) -> Self {
        Self { client, key, leadership, kept: None }
    }

    /// Makes the object's HPA what it should be.
    ///
    /// # Errors
    /// Why it cannot be, and what to do.
    pub(super) async fn keep(
        &mut self,
        object: &LoadAwareAutoscaler,
        moves: Moves,
        around: &Surroundings<'_>,
    ) -> Result<Actuated, Actuated> {
        let (key, spec) = (self.key.clone(), &object.spec.0);
        let offered = object.annotations().get(hpa::TRANSFER).map(String::as_str);
        let alone = self.check_alone(spec, around, offered);
        // Its own is told of a pause and of a rival whatever else is wrong: it goes on moving replicas by itself.
        let taken: HorizontalPodAutoscaler;
        let (name, own) = match self.find(spec, around, offered).await? {
            Found::Own(own) => (own.name_any(), Some(own)),
            _ if alone.is_err() => return alone.map(|()| Actuated::Nothing),
            _ if !around.is_there => return Ok(Actuated::Nothing),
            Found::Offered(offered) => {
                around.external.check_reached()?;
                taken = self.take(spec, offered).await?;
                (taken.name_any(), Some(&taken))
            }
            Found::Nothing => {
                around.external.check_reached()?;
                if around.hpas.iter().any(|hpa| hpa.name_any() == key.name) {
                    return Err(Actuated::trouble_because(
                        "HPANameTaken",
                        format!(
                            "there is an HPA {} for another workload: rename it, or this object",
                            key.name
                        ),
                    ));
                }
                (key.name.clone(), None)
            }
        };
        let moves = if alone.is_err() { Moves::Nowhere } else { moves };
        // What is not known yet, as after a start, takes no HPA's safety net away.
        let has_cpu = around.has_cpu.unwrap_or_else(|| own.is_some_and(hpa::goes_by_cpu));
        let kept = |own: &HorizontalPodAutoscaler, name: &str| {
            Some((name.to_owned(), own.annotations().get(name)?.clone()))
        };
        let original = own.and_then(|own| kept(own, hpa::ORIGINAL_SPEC));
        let managers = own.and_then(|own| kept(own, hpa::ORIGINAL_MANAGERS));
        // One that was somebody's before is given back, so it must not go with the object.
        let owner = object.controller_owner_ref(&()).filter(|_| original.is_none());
        let mut wanted = hpa::wanted(&name, &key, spec, Shape { has_cpu, moves }, owner);
        if original.is_some() || managers.is_some() {
            wanted.annotations_mut().extend(original.into_iter().chain(managers));
        }
        let kept = self.kept.as_ref().filter(|kept| kept.wanted == wanted);
        let is_exact = match (kept, own) {
            (Some(kept), Some(own)) if kept.is(own) => hpa::keeps_tolerance(&kept.made),
            _ => {
                let made = self.apply(&wanted).await?;
                let is_exact = hpa::keeps_tolerance(&made);
                self.kept = Some(Kept { wanted, made });
                is_exact
            }
        };
        alone?;
        around.external.check()?;
        Ok(Actuated::Followed { hpa: name, is_exact })
    }

    /// The HPA that is the object's own, or that it may take over.
    async fn find<'a>(
        &self,
        spec: &Spec,
        around: &Surroundings<'a>,
        offered: Option<&str>,
    ) -> Result<Found<'a>, Actuated> {
        let first = |wanted: Whose| {
            let is_so = |hpa: &&HorizontalPodAutoscaler| {
                let is_about_it = wanted == Whose::Own || hpa::scales(hpa, &spec.scale_target_ref);
                is_about_it && hpa::whose(hpa, &self.key, offered) == wanted
            };
            around.hpas.iter().map(AsRef::as_ref).find(is_so)
        };
        match (first(Whose::Own), first(Whose::Offered)) {
            (Some(own), None) => Ok(Found::Own(own)),
            (None, Some(offered)) => Ok(Found::Offered(offered)),
            (None, None) => Ok(Found::Nothing),
            // The one that it made itself makes room for the one that it is offered.
            (Some(own), Some(_)) => {
                self.drop_one(own).await?;
                Err(changed_meanwhile(&own.name_any()))
            }
        }
    }

    /// Whether nobody else's HPA scales the workload, but for the one that is `offered`. Two writers of one scale would fight.
    ///
    /// # Errors
    /// Whose does, and what to do.
    pub(super) fn check_alone(
        &self,
        spec: &Spec,
        around: &Surroundings<'_>,
        offered: Option<&str>,
    ) -> Result<(), Actuated> {
        let is_rival = |hpa: &&Arc<HorizontalPodAutoscaler>| {
            hpa::whose(hpa, &self.key, offered) == Whose::Other && hpa::scales(hpa, &spec.scale_target_ref)
        };
        let Some(rival) = around.hpas.iter().find(is_rival) else { return Ok(()) };
        Err(Actuated::trouble_because(
            "TargetHasOtherHPA",
            format!(
                "the HPA {name} scales the same workload: delete it, or with actuation HPA let this object take it over by the annotation \
                 {}: {name} (what KEDA made KEDA makes again: delete its ScaledObject)",
                hpa::TRANSFER,
                name = rival.name_any(),
            ),
        ))
    }

    /// Makes an HPA of somebody else's the object's own: it remembers what it was and who managed it, so that it can be given back. Nobody
    /// else owns a field of it from then on, so that all of them can be set, and the old behavior, of which the object may say nothing, is
    /// gone.
    async fn take(
        &self,
        spec: &Spec,
        offered: &HorizontalPodAutoscaler,
    ) -> Result<HorizontalPodAutoscaler, Actuated> {
        self.leadership.check()?;
        let name = offered.name_any();
        let api = self.api();
        // As it is at this moment, not as a watch told.
        let live = api.get(&name).await.map_err(|error| failed(&name, &error))?;
        let is_so = hpa::whose(&live, &self.key, Some(&name)) == Whose::Offered
            && hpa::scales(&live, &spec.scale_target_ref);
        if !is_so {
            return Err(changed_meanwhile(&name));
        }
        let (was, managers) = match hpa::is_left(&live) {
            // Nobody waits for one that another object left behind.
            true => (None, None),
            false => (
                live.spec.as_ref().and_then(|spec| serde_json::to_string(spec).ok()),
                serde_json::to_string(&live.metadata.managed_fields).ok(),
            ),
        };
        // One entry, for where there is none the first apply makes one up that owns everything.
        let managed = ManagedFieldsEntry {
            manager: Some(MANAGER.to_owned()),
            operation: Some("Apply".to_owned()),
            api_version: Some(HorizontalPodAutoscaler::api_version(&()).into_owned()),
            fields_type: Some("FieldsV1".to_owned()),
            fields_v1: Some(FieldsV1(
                json!({ "f:metadata": { "f:labels": { format!("f:{MANAGED_BY}"): {} } } }),
            )),
            ..ManagedFieldsEntry::default()
        };
        let taken = json!({
            "metadata": {
                "resourceVersion": live.metadata.resource_version,
                "managedFields": [managed],
                "labels": { MANAGED_BY: MANAGED_BY_PLIMSOLL, AUTOSCALER_LABEL: self.key.name },
                "annotations": { hpa::ORIGINAL_SPEC: was, hpa::ORIGINAL_MANAGERS: managers },
            },
            "spec": { "behavior": null },
        });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&name, &params, &Patch::Merge(taken)).await.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 409 => changed_meanwhile(&name),
            _ => failed(&name, &error),
        })
    }

    async fn apply(&self, wanted: &HorizontalPodAutoscaler) -> Result<HorizontalPodAutoscaler, Actuated> {
        self.leadership.check()?;
        let name = wanted.name_any();
        let applied = self.api().patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(wanted)).await;
        applied.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 409 => Actuated::trouble_because(
                "HPAChangedByOther",
                format!(
                    "the HPA {name} was changed by somebody else, and is left as it is: undo that, or delete it and it is made anew \
                     ({})",
                    told(&error)
                ),
            ),
            _ => failed(&name, &error),
        })
    }

    /// Leaves the workload to others while the object is there and does not act.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(super) async fn release(&mut self, spec: &Spec, around: &Surroundings<'_>) -> Result<(), Actuated> {
        self.kept = None;
        for own in self.own(around) {
            self.release_one(own, spec.on_delete, Some(spec)).await?;
        }
        Ok(())
    }

    /// Leaves the workload to others, as the object is gone; of its spec nothing may be known any more. It looks at what there is at
    /// this moment, not at what a watch told.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(super) async fn leave(&self, spec: Option<&Spec>) -> Result<(), Actuated> {
        let labels = format!("{MANAGED_BY}={MANAGED_BY_PLIMSOLL},{AUTOSCALER_LABEL}={}", self.key.name);
        let listed = self.api().list(&ListParams::default().labels(&labels)).await;
        for own in listed.map_err(|error| failed(&self.key.name, &error))? {
            // What is owned by the object goes with it, unless whoever deleted the object wants it to stay.
            if own.metadata.deletion_timestamp.is_some() || is_owned(&own) {
                continue;
            }
            let left = self.release_one(&own, OnDelete::Retain, spec).await;
            // What a person has changed since is theirs: without a spec nothing of that is said otherwise.
            if left.is_err() && spec.is_some() {
                self.release_one(&own, OnDelete::Retain, None).await?;
            } else {
                left?;
            }
        }
        Ok(())
    }

    async fn release_one(
        &self,
        own: &HorizontalPodAutoscaler,
        on_delete: OnDelete,
        spec: Option<&Spec>,
    ) -> Result<(), Actuated> {
        match (original(own)?, on_delete) {
            (Some(_), _) => self.give_back(own).await,
            (None, OnDelete::Delete) => self.delete(own).await,
            // It was left before, and whatever a person has made of it since is theirs.
            (None, OnDelete::Retain) if hpa::is_left(own) => Ok(()),
            (None, OnDelete::Retain) => self.apply(&hpa::left_behind(own, spec)).await.map(|_| ()),
        }
    }

    /// Removes own HPAs, since somebody else moves the replicas. Whether there were any.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(super) async fn drop_all(&mut self, around: &Surroundings<'_>) -> Result<bool, Actuated> {
        self.kept = None;
        let own = self.own(around);
        for own in &own {
            self.drop_one(own).await?;
        }
        Ok(!own.is_empty())
    }

    async fn drop_one(&self, own: &HorizontalPodAutoscaler) -> Result<(), Actuated> {
        match original(own)? {
            Some(_) => self.give_back(own).await,
            None => self.delete(own).await,
        }
    }

    fn own<'a>(&self, around: &Surroundings<'a>) -> Vec<&'a HorizontalPodAutoscaler> {
        let own = |hpa: &&HorizontalPodAutoscaler| hpa::whose(hpa, &self.key, None) == Whose::Own;
        around.hpas.iter().map(AsRef::as_ref).filter(own).collect()
    }

    /// An HPA that was taken over becomes what it was, and the adapter owns no field of it any more.
    async fn give_back(&self, own: &HorizontalPodAutoscaler) -> Result<(), Actuated> {
        self.leadership.check()?;
        let name = own.name_any();
        let api = self.api();
        let mut hpa = api.get(&name).await.map_err(|error| failed(&name, &error))?;
        let Some(original) = original(&hpa)? else { return Ok(()) };
        hpa.spec = Some(original);
        hpa.annotations_mut().remove(hpa::ORIGINAL_SPEC);
        let managers = hpa.annotations_mut().remove(hpa::ORIGINAL_MANAGERS);
        let managers: Option<Vec<ManagedFieldsEntry>> =
            managers.and_then(|managers| serde_json::from_str(&managers).ok());
        hpa.labels_mut().retain(|label, _| label != MANAGED_BY && label != AUTOSCALER_LABEL);
        hpa.owner_references_mut().retain(|owner| !is_ours(owner));
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let mut given = api.replace(&name, &params, &hpa).await.map_err(|error| failed(&name, &error))?;
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        for _ in 0..DISOWN_TRIES {
            let managed = managers.clone().or(given.metadata.managed_fields).unwrap_or_default();
            let managed: Vec<_> =
                managed.into_iter().filter(|entry| entry.manager.as_deref() != Some(MANAGER)).collect();
            // An empty list would be filled in again; one empty entry means nobody.
            let managed = if managed.is_empty() { json!([{}]) } else { json!(managed) };
            let disown = json!({
                "metadata": { "managedFields": managed, "resourceVersion": given.metadata.resource_version },
            });
            let again = match api.patch(&name, &params, &Patch::Merge(disown)).await {
                Ok(_) => return Ok(()),
                // Its controller has written its status in between.
                Err(kube::Error::Api(status)) if status.code == 409 => api.get(&name).await,
                Err(error) => Err(error),
            };
            match again {
                Ok(now) => given = now,
                // It is theirs already; that the adapter is still named in it is a blemish.
                Err(error) => {
                    tracing::warn!(object = %self.key, hpa = name, error = %told(&error), "still named as a manager");
                    return Ok(());
                }
            }
        }
        tracing::warn!(object = %self.key, hpa = name, "still named as a manager: it changes all the time");
        Ok(())
    }

    async fn delete(&self, own: &HorizontalPodAutoscaler) -> Result<(), Actuated> {
        self.leadership.check()?;
        let name = own.name_any();
        let this_one = Preconditions { uid: own.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(this_one), ..DeleteParams::default() };
        match self.api().delete(&name, &params).await {
            Ok(_) => Ok(()),
            // It is gone, or another has its name.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            Err(error) => Err(failed(&name, &error)),
        }
    }

    fn api(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }
}

/// What an HPA was before it was taken over; none of one that was not.
fn original(hpa: &HorizontalPodAutoscaler) -> Result<Option<HorizontalPodAutoscalerSpec>, Actuated> {
    hpa::original(hpa).map_err(|error| {
        Actuated::trouble_because(
            "HPAOriginalUnreadable",
            format!(
                "the HPA {} was taken over, and its annotation {} cannot be read any more ({error}): write its spec there, or remove the annotation \
                 if it need not be given back",
                hpa.name_any(),
                hpa::ORIGINAL_SPEC
            ),
        )
    })
}

fn failed(name: &str, error: &kube::Error) -> Actuated {
    Actuated::trouble_because("HPAWriteFailed", format!("the HPA {name} cannot be written: {}", told(error)))
}

fn changed_meanwhile(name: &str) -> Actuated {
    Actuated::trouble_because(
        "HPAChangesHands",
        format!("the HPA {name} has just changed: it is looked at again"),
    )
}

fn is_owned(hpa: &HorizontalPodAutoscaler) -> bool {
    hpa.owner_references().iter().any(is_ours)
}

/// Whether an owner is one of our objects.
fn is_ours(owner: &OwnerReference) -> bool {
    owner.kind == LoadAwareAutoscaler::kind(&()) && owner.api_version == LoadAwareAutoscaler::api_version(&())
}
