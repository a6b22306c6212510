//! The custom resource: a Kubernetes object around the core's own [`Spec`].

use kube::CustomResource;
use plimsoll::spec::Spec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scales one workload by the load that arrives at it.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "autoscaling.plimsoll.dev",
    version = "v1alpha1",
    kind = "LoadAwareAutoscaler",
    namespaced,
    shortname = "laa"
)]
#[serde(transparent)]
pub struct LoadAwareAutoscalerSpec(pub Spec);
