//! The workload that an object scales: anything with a `scale` subresource.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, discovery};
use plimsoll::spec::ScaleTargetRef;

/// Resources by kind, asked for once.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds(Arc<Mutex<BTreeMap<(String, String), ApiResource>>>);

impl Kinds {
    /// What the API calls resources of the kind that `reference` names, if it knows it.
    pub(super) async fn plural(&self, client: &Client, reference: &ScaleTargetRef) -> Option<String> {
        let target = Target::find(client, self, "", reference).await;
        target.ok().and_then(|_| {
            let key = (reference.api_version.clone(), reference.kind.clone());
            self.known().get(&key).map(|resource| resource.plural.clone())
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, String), ApiResource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a scale says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScaleFacts {
    /// The version that says so.
    pub(super) version: Option<String>,
    /// Replicas asked for.
    pub(super) spec: u32,
    /// Replicas there.
    pub(super) status: u32,
    /// Picks the workload's pods.
    pub(super) selector: String,
}

/// Why a workload cannot be scaled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    /// There is none of that name.
    #[error("there is no {kind} {name} in this namespace: create it, or mend spec.scaleTargetRef")]
    NotFound {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The cluster knows no such kind.
    #[error(
        "the cluster knows no kind {kind} of {api_version}, or does not tell: mend spec.scaleTargetRef ({why})"
    )]
    UnknownKind {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
        /// What the API server said.
        why: String,
    },
    /// Its scale has no selector, so its pods cannot be told from others.
    #[error("the scale of {kind} {name} names no selector, so its pods cannot be told from others")]
    NoSelector {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The adapter may not.
    #[error(
        "the adapter may not {verb} the scale of {kind}: grant it {verb} on that kind's scale subresource (see deploy/)"
    )]
    Forbidden {
        /// What it may not do.
        verb: &'static str,
        /// With what.
        kind: String,
    },
    /// Somebody changed the workload after it was read.
    #[error("it has changed since it was read")]
    Changed,
    /// The API server did not answer as it should.
    #[error("the scale of {kind} {name} cannot be reached: {why}")]
    Failed {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        why: String,
    },
}

impl TargetError {
    /// A CamelCase word for conditions.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "TargetNotFound",
            Self::UnknownKind { .. } => "TargetKindUnknown",
            Self::NoSelector { .. } => "TargetWithoutSelector",
            Self::Forbidden { .. } => "TargetForbidden",
            Self::Changed => "TargetChanged",
            Self::Failed { .. } => "TargetUnreachable",
        }
    }
}

/// One workload's scale.
#[derive(Debug, Clone)]
pub(super) struct Target {
    api: Api<DynamicObject>,
    reference: ScaleTargetRef,
}

impl Target {
    /// The scale of what `reference` names in `namespace`.
    ///
    /// # Errors
    /// When the cluster does not know its kind.
    pub(super) async fn find(
        client: &Client,
        kinds: &Kinds,
        namespace: &str,
        reference: &ScaleTargetRef,
    ) -> Result<Self, TargetError> {
        let ScaleTargetRef { api_version, kind, .. } = reference;
        let key = (api_version.clone(), kind.clone());
        let known = kinds.known().get(&key).cloned();
        let resource = match known {
            Some(resource) => resource,
            None => {
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                let wanted = GroupVersionKind::gvk(group, version, kind);
                let found = discovery::pinned_kind(client, &wanted).await;
                let (resource, _) = found.map_err(|error| TargetError::UnknownKind {
                    api_version: api_version.clone(),
                    kind: kind.clone(),
                    why: told(&error),
                })?;
                kinds.known().insert(key, resource.clone());
                resource
            }
        };
        let api = Api::namespaced_with(client.clone(), namespace, &resource);
        Ok(Self { api, reference: reference.clone() })
    }

    /// What its scale says.
    ///
    /// # Errors
    /// When there is none, or the API server does not tell.
    pub(super) async fn read(&self) -> Result<ScaleFacts, TargetError> {
        let ScaleTargetRef { kind, name, .. } = self.reference.clone();
        let scale = self.api.get_scale(&name).await.map_err(|error| self.failed("get", &error))?;
        let count = |replicas: Option<i32>| replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        let status = scale.status.unwrap_or_default();
        let selector = status.selector.filter(|selector| !selector.is_empty());
        Ok(ScaleFacts {
            version: scale.metadata.resource_version,
            spec: count(scale.spec.unwrap_or_default().replicas),
            status: count(Some(status.replicas)),
            selector: selector.ok_or(TargetError::NoSelector { kind, name })?,
        })
    }

    /// Asks for so many replicas, if the workload is as it was `read`: a write that was delayed on its way overrules nobody.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(super) async fn write(&self, replicas: u32, read: &ScaleFacts) -> Result<(), TargetError> {
        let metadata = serde_json::json!({ "resourceVersion": read.version });
        let patch = serde_json::json!({ "metadata": metadata, "spec": { "replicas": replicas } });
        let params = PatchParams { field_manager: Some(super::MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.api.patch_scale(&self.reference.name, &params, &Patch::Merge(patch)).await;
        written.map(|_: Scale| ()).map_err(|error| self.failed("patch", &error))
    }

    fn failed(&self, verb: &'static str, error: &kube::Error) -> TargetError {
        let ScaleTargetRef { kind, name, .. } = self.reference.clone();
        match error {
            kube::Error::Api(status) if status.code == 404 => TargetError::NotFound { kind, name },
            kube::Error::Api(status) if status.code == 409 => TargetError::Changed,
            kube::Error::Api(status) if status.code == 403 => TargetError::Forbidden { verb, kind },
            _ => TargetError::Failed { kind, name, why: told(error) },
        }
    }
}

/// Most lines of what the API server says that are told: conflicts are named one a line.
const MOST_LINES: usize = 8;

/// What the API server said, on one line.
pub(super) fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            status.message.lines().take(MOST_LINES).map(str::trim).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}
