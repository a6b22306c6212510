//! The HorizontalPodAutoscaler that follows an object's decisions: what it should look like, and whose the ones there are.
//!
//! Everything here is a plain function. What it never does: touch an HPA of somebody else, or fight over one.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, ExternalMetricSource, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use plimsoll::spec::{OnDelete, ScaleTargetRef, Spec};

use crate::board::ObjectKey;
use crate::external::{AUTOSCALER_LABEL, Metric};

/// On an HPA: who keeps it.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// On an HPA: the value of [`MANAGED_BY`].
pub(super) const MANAGED_BY_PLIMSOLL: &str = "plimsoll";
/// On an HPA that was taken over: its spec before, as JSON, to be given back.
pub(super) const ORIGINAL_SPEC: &str = "plimsoll.dev/original-spec";
/// On an object: the name of an HPA that it may take over.
pub(super) const TRANSFER: &str = "plimsoll.dev/transfer-hpa-ownership";

/// Share of the CPU request above which the HPA scales up by itself, should nobody else tell it to.
const CPU_SAFETY_NET: i32 = 90;

/// How an HPA for `spec` should be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// CPU can be measured: the cluster serves it, and every container asks for some. A metric that fails would keep the HPA from
    /// ever scaling in, so it is left out where it cannot be had.
    pub(super) has_cpu: bool,
}

/// The HPA called `name` for the object `key`, as it should be.
pub(super) fn wanted(
    name: &str,
    key: &ObjectKey,
    spec: &Spec,
    shape: Shape,
    owner: Option<OwnerReference>,
) -> HorizontalPodAutoscaler {
    let labels = BTreeMap::from([
        (MANAGED_BY.to_owned(), MANAGED_BY_PLIMSOLL.to_owned()),
        (AUTOSCALER_LABEL.to_owned(), key.name.clone()),
    ]);
    let owned = spec.on_delete == OnDelete::Delete;
    HorizontalPodAutoscaler {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(key.namespace.clone()),
            labels: Some(labels),
            owner_references: owner.filter(|_| owned).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(hpa_spec(key, spec, shape)),
        status: None,
    }
}

/// What becomes of an HPA that nobody keeps any more: it works on its CPU alone. A metric that nobody answers would keep it from
/// ever scaling in.
pub(super) fn left_behind(hpa: &HorizontalPodAutoscaler) -> HorizontalPodAutoscaler {
    let kept = |label: &str| Some((label.to_owned(), hpa.metadata.labels.as_ref()?.get(label)?.clone()));
    let labels = [MANAGED_BY, AUTOSCALER_LABEL].into_iter().filter_map(kept).collect();
    let spec =
        hpa.spec.clone().map(|spec| HorizontalPodAutoscalerSpec { metrics: Some(vec![cpu()]), ..spec });
    HorizontalPodAutoscaler {
        metadata: ObjectMeta {
            name: hpa.metadata.name.clone(),
            namespace: hpa.metadata.namespace.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn hpa_spec(key: &ObjectKey, spec: &Spec, shape: Shape) -> HorizontalPodAutoscalerSpec {
    let ScaleTargetRef { api_version, kind, name } = spec.scale_target_ref.clone();
    let (min, max) = widest_bounds(spec);
    let mut metrics = vec![follow(&key.name)];
    if shape.has_cpu {
        metrics.push(cpu());
    }
    HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossVersionObjectReference { api_version: Some(api_version), kind, name },
        min_replicas: i32::try_from(min).ok(),
        max_replicas: i32::try_from(max).unwrap_or(i32::MAX),
        metrics: Some(metrics),
        behavior: Some(behavior(spec)),
    }
}

/// The least and the most replicas that may be in force at any time: the decision keeps to those in force now.
pub(super) fn widest_bounds(spec: &Spec) -> (u32, u32) {
    let scheduled = || spec.schedules.iter();
    let least = scheduled().filter_map(|s| s.min_replicas).chain([spec.min_replicas]).min();
    let both = scheduled().flat_map(|s| [s.min_replicas, s.max_replicas]).flatten();
    let most = both.chain([spec.max_replicas]).max();
    (least.unwrap_or(spec.min_replicas), most.unwrap_or(spec.max_replicas))
}

/// One pod for each replica that is wanted.
fn follow(object: &str) -> MetricSpec {
    let selector = LabelSelector {
        match_labels: Some(BTreeMap::from([(AUTOSCALER_LABEL.to_owned(), object.to_owned())])),
        match_expressions: None,
    };
    let metric =
        MetricIdentifier { name: Metric::DesiredReplicas.name().to_owned(), selector: Some(selector) };
    let target = MetricTarget {
        type_: "AverageValue".to_owned(),
        average_value: Some(Quantity("1".to_owned())),
        ..MetricTarget::default()
    };
    MetricSpec {
        type_: "External".to_owned(),
        external: Some(ExternalMetricSource { metric, target }),
        ..MetricSpec::default()
    }
}

fn cpu() -> MetricSpec {
    let target = MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: Some(CPU_SAFETY_NET),
        ..MetricTarget::default()
    };
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..MetricSpec::default()
    }
}

/// The user's own behavior, with no tolerance where they name none: the decision is a number of pods already.
fn behavior(spec: &Spec) -> HorizontalPodAutoscalerBehavior {
    let given = spec.behavior.as_ref().and_then(|behavior| serde_json::to_value(behavior).ok());
    let given: Option<HorizontalPodAutoscalerBehavior> = given.and_then(|v| serde_json::from_value(v).ok());
    let HorizontalPodAutoscalerBehavior { scale_up, scale_down } = given.unwrap_or_default();
    let exact = |rules: Option<HPAScalingRules>| {
        let rules = rules.unwrap_or_default();
        let none = Some(Quantity("0".to_owned()));
        Some(HPAScalingRules { tolerance: rules.tolerance.or(none), ..rules })
    };
    HorizontalPodAutoscalerBehavior { scale_up: exact(scale_up), scale_down: exact(scale_down) }
}

/// Whether the cluster kept the tolerance that was asked for: older ones drop it, and then do nothing about a change of
/// less than 10 %.
pub(super) fn keeps_tolerance(hpa: &HorizontalPodAutoscaler) -> bool {
    let behavior = hpa.spec.as_ref().and_then(|spec| spec.behavior.as_ref());
    behavior.is_some_and(|behavior| {
        let has = |rules: &Option<HPAScalingRules>| rules.as_ref().is_some_and(|r| r.tolerance.is_some());
        has(&behavior.scale_up) && has(&behavior.scale_down)
    })
}

/// Whether the CPU is one of the metrics that an HPA goes by.
pub(super) fn goes_by_cpu(hpa: &HorizontalPodAutoscaler) -> bool {
    let metrics = hpa.spec.as_ref().and_then(|spec| spec.metrics.as_ref());
    let is_cpu =
        |metric: &MetricSpec| metric.resource.as_ref().is_some_and(|resource| resource.name == "cpu");
    metrics.is_some_and(|metrics| metrics.iter().any(is_cpu))
}

/// Whose an HPA is, as seen by one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This object's.
    Own,
    /// Somebody else's, who lets this object have it.
    Offered,
    /// Somebody else's.
    Other,
}

/// Whose `hpa` is, to the object `key`, which says that it may take over the one called `offered`.
pub(super) fn whose(hpa: &HorizontalPodAutoscaler, key: &ObjectKey, offered: Option<&str>) -> Whose {
    let label = |name: &str| hpa.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let is_managed = label(MANAGED_BY).is_some_and(|by| by == MANAGED_BY_PLIMSOLL);
    if is_managed && label(AUTOSCALER_LABEL) == Some(&key.name) {
        Whose::Own
    } else if offered.is_some() && hpa.metadata.name.as_deref() == offered {
        Whose::Offered
    } else {
        Whose::Other
    }
}

/// Whether `hpa` scales what `target` names. The version of a group's API does not matter: it is the same workload.
pub(super) fn scales(hpa: &HorizontalPodAutoscaler, target: &ScaleTargetRef) -> bool {
    let group = |api_version: &str| api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
    hpa.spec.as_ref().is_some_and(|spec| {
        let CrossVersionObjectReference { api_version, kind, name } = &spec.scale_target_ref;
        *kind == target.kind
            && *name == target.name
            && group(api_version.as_deref().unwrap_or_default()) == group(&target.api_version)
    })
}

/// The spec of an HPA that was taken over, as it was before.
pub(super) fn original(hpa: &HorizontalPodAutoscaler) -> Option<HorizontalPodAutoscalerSpec> {
    let text = hpa.metadata.annotations.as_ref()?.get(ORIGINAL_SPEC)?;
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> ObjectKey {
        ObjectKey::new("shop", "checkout")
    }

    fn spec(more: serde_json::Value) -> Spec {
        let mut spec = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 10,
            "load": {"histogram": "d"},
            "target": {"cpuUtilization": 70},
        });
        let more = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(more);
        serde_json::from_value(spec).unwrap()
    }

    const FOLLOWED: Shape = Shape { has_cpu: true };

    fn made(more: serde_json::Value, shape: Shape) -> serde_json::Value {
        serde_json::to_value(wanted("checkout", &key(), &spec(more), shape, None)).unwrap()
    }

    #[test]
    fn it_follows_the_decision_exactly_and_scales_up_on_cpu_by_itself() {
        let hpa = made(json!({}), FOLLOWED);
        let expected = json!([
            {"type": "External", "external": {
                "metric": {
                    "name": "plimsoll-desired-replicas",
                    "selector": {"matchLabels": {"plimsoll.dev/autoscaler": "checkout"}}},
                "target": {"type": "AverageValue", "averageValue": "1"}}},
            {"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}}},
        ]);
        assert_eq!(hpa["spec"]["metrics"], expected);
        assert_eq!(
            hpa["spec"]["behavior"],
            json!({"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "0"}})
        );
        assert_eq!((&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]), (&json!(2), &json!(10)));
    }

    #[test]
    fn cpu_that_cannot_be_measured_is_left_out() {
        let hpa = made(json!({}), Shape { has_cpu: false });
        assert_eq!(hpa["spec"]["metrics"].as_array().unwrap().len(), 1);
        let made = |has_cpu| wanted("checkout", &key(), &spec(json!({})), Shape { has_cpu }, None);
        assert!(goes_by_cpu(&made(true)) && !goes_by_cpu(&made(false)));
    }

    #[test]
    fn the_users_behavior_is_kept_and_their_tolerance_too() {
        let behavior =
            json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60, "tolerance": "0.05"}}});
        let hpa = made(behavior, FOLLOWED);
        let down = &hpa["spec"]["behavior"]["scaleDown"];
        assert_eq!(down["stabilizationWindowSeconds"], json!(60));
        let tolerance: plimsoll::units::Quantity = serde_json::from_value(down["tolerance"].clone()).unwrap();
        assert_eq!(tolerance.as_milli(), 50);
        assert_eq!(hpa["spec"]["behavior"]["scaleUp"], json!({"tolerance": "0"}));
    }

    #[test]
    fn its_bounds_are_the_widest_of_all_times() {
        let night = json!({"name": "sale", "cron": "0 8 * * *", "timeZone": "UTC", "duration": "1h",
            "minReplicas": 12, "maxReplicas": 30});
        let day = json!({"name": "night", "cron": "0 0 * * *", "timeZone": "UTC", "duration": "1h", "minReplicas": 1});
        let hpa = made(json!({"schedules": [night, day]}), FOLLOWED);
        assert_eq!((&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]), (&json!(1), &json!(30)));
    }

    #[test]
    fn an_hpa_is_owned_by_the_object_only_if_it_should_go_with_it() {
        let owner = OwnerReference { name: "checkout".into(), ..OwnerReference::default() };
        let owners = |on_delete: &str| {
            let spec = spec(json!({"onDelete": on_delete}));
            wanted("checkout", &key(), &spec, FOLLOWED, Some(owner.clone())).metadata.owner_references
        };
        assert_eq!(owners("Retain"), None);
        assert_eq!(owners("Delete"), Some(vec![owner.clone()]));
    }

    #[test]
    fn one_of_somebody_elses_is_taken_over_only_if_it_is_named() {
        let own = wanted("checkout", &key(), &spec(json!({})), FOLLOWED, None);
        assert_eq!(whose(&own, &key(), None), Whose::Own);
        assert_eq!(whose(&own, &ObjectKey::new("shop", "other"), None), Whose::Other);
        let mut others = own;
        others.metadata.labels = None;
        assert_eq!(whose(&others, &key(), None), Whose::Other);
        assert_eq!(whose(&others, &key(), Some("checkout")), Whose::Offered);
        assert_eq!(whose(&others, &key(), Some("another")), Whose::Other);
    }

    #[test]
    fn the_same_workload_is_the_same_in_each_version() {
        let hpa = wanted("checkout", &key(), &spec(json!({})), FOLLOWED, None);
        let target = |api_version: &str, name: &str| ScaleTargetRef {
            api_version: api_version.into(),
            kind: "Deployment".into(),
            name: name.into(),
        };
        assert!(scales(&hpa, &target("apps/v1beta1", "web")));
        assert!(!scales(&hpa, &target("example.com/v1", "web")));
        assert!(!scales(&hpa, &target("apps/v1", "web2")));
    }
}
