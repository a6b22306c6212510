//! The custom resource: a Kubernetes object around the core's own [`Spec`], and the status that it is given.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, CustomResourceExt};
use plimsoll::load::{Score, Scores};
use plimsoll::spec::{Mode, Spec};
use plimsoll::units::{Quantity, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_saphyr::SerializeError;

/// Scales one workload by the load that arrives at it.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "autoscaling.plimsoll.dev",
    version = "v1alpha1",
    kind = "LoadAwareAutoscaler",
    namespaced,
    shortname = "laa",
    category = "plimsoll",
    status = "Status",
    printcolumn = r#"{"name":"Reference","type":"string","jsonPath":".spec.scaleTargetRef.name"}"#,
    printcolumn = r#"{"name":"Min","type":"integer","jsonPath":".spec.minReplicas"}"#,
    printcolumn = r#"{"name":"Max","type":"integer","jsonPath":".spec.maxReplicas"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".status.replicas.current"}"#,
    printcolumn = r#"{"name":"Desired","type":"integer","jsonPath":".status.replicas.desired"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"MetricsQPS","type":"string","jsonPath":".status.metricsQPS"}"#,
    printcolumn = r#"{"name":"Forecast","type":"string","jsonPath":".status.forecast"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct LoadAwareAutoscalerSpec(pub Spec);

/// What the autoscaler sees, wants and waits for. Written at most once a minute, unless replicas or conditions change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The load now; absent while it is not known.
    #[serde(rename = "metricsQPS", skip_serializing_if = "Option::is_none")]
    pub metrics_qps: Option<Quantity>,
    /// The load that each ready pod carries now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_pod: Option<Quantity>,
    /// The load that one ready pod should carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,
    /// The upper bound of the load until replicas wanted now will serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Quantity>,
    /// Replicas there and wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaStatus>,
    /// The mode in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What led to the replicas wanted: the last step of the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How the replicas wanted came about: what was proposed, and each thing that changed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// What a request costs, where that was learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightStatus>,
    /// From a decision until what it asks for serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_time: Option<Span>,
    /// What other ways of scaling would have made of the workload's past, looked at once a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backtest: Option<BacktestStatus>,
    /// When the newest decision was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "instant")]
    pub last_decision: Option<Time>,
    /// The HorizontalPodAutoscaler that follows the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizontal_pod_autoscaler: Option<String>,
    /// What holds of it, one entry a type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// Replicas there and wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// The scale's `spec.replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u32>,
    /// What the load now takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reactive: Option<u32>,
    /// What the forecast's bound takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proactive: Option<u32>,
    /// What is wanted, all things considered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<u32>,
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Replicas wanted after it.
    pub replicas: u32,
    /// What it was.
    pub reason: String,
}

/// What other ways of scaling would have made of the workload's past. A pod carries what it was found to carry, and takes as long to
/// serve as it was found to; the load is taken to come whatever there is of pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BacktestStatus {
    /// When the part that is scored begins: a day after the first load that is known.
    #[schemars(schema_with = "instant")]
    pub from: Time,
    /// When it ends.
    #[schemars(schema_with = "instant")]
    pub to: Time,
    /// One entry a way.
    pub ways: Vec<WayStatus>,
}

/// What one way of scaling came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WayStatus {
    /// `Fixed`: as many as now, always. `Reactive`: by the load now, as an HPA at its best. `Plimsoll`: mode Auto. `Clairvoyant`: with knowledge of
    /// the future.
    pub way: String,
    /// Pods that were paid for, times hours.
    pub pod_hours: u64,
    /// Minutes in which the load was above what the ready pods should carry.
    pub short_minutes: u64,
    /// Most pods at a time.
    pub most_replicas: u32,
}

/// A version of weights that were learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightStatus {
    /// Its number, from 1.
    pub version: u32,
    /// When it came into force.
    #[schemars(schema_with = "instant")]
    pub fitted_at: Time,
    /// Share of the CPU's variance that MetricsQPS predicted, in percent; below 0 where a constant would do better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r_squared_percent: Option<i32>,
    /// The same for plain requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qps_r_squared_percent: Option<i32>,
}

impl WeightStatus {
    /// How well costs were predicted by `scores`, as whole percents: a status that changes with every digit is written too often.
    pub fn new(version: u32, fitted_at: Time, scores: &Scores) -> Self {
        let percent = |score: &Option<Score>| {
            let r_squared: f64 = score.as_ref()?.r2;
            r_squared.is_finite().then(|| (100.0 * r_squared).round() as i32)
        };
        Self {
            version,
            fitted_at,
            r_squared_percent: percent(&scores.metricsqps),
            qps_r_squared_percent: percent(&scores.qps),
        }
    }
}

fn instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "What it is about, such as `Ready`." },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, as a word for programs."
                },
                "message": {
                    "type": "string", "maxLength": 32768, "description": "Why, for people, and what to do about it."
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When its status changed last."
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the spec that it is about."
                }
            }
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"]
    })
}

/// The definition of the custom resource.
///
/// # Errors
/// Never in fact: it is made of what serialises.
pub fn definition() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(LoadAwareAutoscaler::crd())?;
    as_kubernetes_says(&mut definition);
    // It becomes the value of a label, by which an HPA finds its metric.
    let rule = json!([{"rule": "self.metadata.name.size() <= 63", "message": "the name must have 63 characters at most"}]);
    if let Some(schema) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        schema["x-kubernetes-validations"] = rule;
    }
    serde_json::from_value(definition)
}

/// The definition of the custom resource as YAML, as `deploy/crd.yaml` has it.
///
/// # Errors
/// Never in fact: it is made of what serialises.
pub fn definition_as_yaml() -> Result<String, SerializeError> {
    let definition = definition().map_err(SerializeError::custom)?;
    let definition = serde_saphyr::to_string(&definition)?;
    Ok(format!("# Written by `plimsoll-adapter crd`.\n{definition}"))
}

/// Kubernetes knows no formats of unsigned numbers; their minimum says as much. And where a rule says in words which fields exclude each
/// other, "must validate one and only one schema" would be said before it.
fn as_kubernetes_says(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(fields) => {
            if fields.contains_key("x-kubernetes-validations") {
                fields.remove("oneOf");
            }
            if fields.get("format").and_then(|format| format.as_str()).is_some_and(|f| f.starts_with("uint"))
            {
                fields.remove("format");
            }
            fields.values_mut().for_each(as_kubernetes_says);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(as_kubernetes_says),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_that_is_shipped_is_this_one() {
        let shipped = include_str!("../../deploy/crd.yaml");
        let is_same = definition_as_yaml().unwrap() == shipped;
        assert!(is_same, "deploy/crd.yaml is of another version: `plimsoll-adapter crd > deploy/crd.yaml`");
    }
}
