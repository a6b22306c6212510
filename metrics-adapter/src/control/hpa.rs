//! The HorizontalPodAutoscaler that follows an object's decisions: what it should look like, and whose the ones there are.
//!
//! Everything here is a plain function. What it never does: touch an HPA of somebody else, or fight over one.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, ExternalMetricSource, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use plimsoll::hpa::{Behavior, SelectPolicy};
use plimsoll::spec::{Mode, OnDelete, ScaleTargetRef, Spec, Target};

use crate::board::ObjectKey;
use crate::external::{AUTOSCALER_LABEL, Metric};

/// On an HPA: who keeps it.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// On an HPA: the value of [`MANAGED_BY`].
pub(super) const MANAGED_BY_PLIMSOLL: &str = "plimsoll";
/// On an HPA that was taken over: its spec before, as JSON, to be given back.
pub(super) const ORIGINAL_SPEC: &str = "plimsoll.dev/original-spec";
/// On an HPA that was taken over: who managed which of its fields before, as JSON.
pub(super) const ORIGINAL_MANAGERS: &str = "plimsoll.dev/original-managed-fields";
/// On an object: the name of an HPA that it may take over.
pub(super) const TRANSFER: &str = "plimsoll.dev/transfer-hpa-ownership";

/// The `selectPolicy` that shuts a direction.
const DISABLED: &str = "Disabled";

/// Percentage of the CPU request above which the HPA scales up by itself, should nobody else tell it to.
const CPU_SAFETY_NET: u32 = 90;

/// Percentage points that it is at least above the percentage that decisions aim at: below, it would decide itself.
const ABOVE_TARGET: u32 = 10;

/// How an HPA for `spec` should be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// CPU can be measured: the cluster serves it, and every container asks for some. A metric that fails would keep the HPA from
    /// ever scaling in, so it is left out where it cannot be had.
    pub(super) has_cpu: bool,
    /// In which directions it may move.
    pub(super) moves: Moves,
}

/// Where a direction of an HPA is shut, whatever the user's behavior says: a decision may be older than what a person scaled a second
/// ago, and must not undo it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moves {
    /// Up and down.
    Freely,
    /// Up alone: the spec wants none taken away, or as many as there are at least.
    UpOnly,
    /// Not at all: it is paused, or somebody else scales.
    Nowhere,
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

/// What becomes of an HPA that nobody tells the replicas any more: where the pods' CPU is nearly used up it adds some. It never
/// takes any away, since a CPU below that says nothing of how many are too many. So its bounds stay as wide as they were: an HPA sets
/// what is above its `maxReplicas` to that at once, whatever its behavior says. The behavior is the object's, if its spec is still known.
pub(super) fn left_behind(hpa: &HorizontalPodAutoscaler, spec: Option<&Spec>) -> HorizontalPodAutoscaler {
    let kept = |label: &str| Some((label.to_owned(), hpa.metadata.labels.as_ref()?.get(label)?.clone()));
    let labels = [MANAGED_BY, AUTOSCALER_LABEL].into_iter().filter_map(kept).collect();
    let mut left = hpa.spec.clone().unwrap_or_default();
    left.metrics = Some(vec![cpu(spec.map(|spec| &spec.target))]);
    match spec {
        Some(spec) => left.behavior = Some(api(&spec.behavior.clone().unwrap_or_default())),
        // It may have been shut by a pause.
        None => {
            if let Some(up) = left.behavior.as_mut().and_then(|behavior| behavior.scale_up.as_mut()) {
                up.select_policy = up.select_policy.take().filter(|policy| policy != DISABLED);
            }
        }
    }
    let down = left.behavior.get_or_insert_default().scale_down.get_or_insert_default();
    down.select_policy = Some(DISABLED.to_owned());
    HorizontalPodAutoscaler {
        metadata: ObjectMeta {
            name: hpa.metadata.name.clone(),
            namespace: hpa.metadata.namespace.clone(),
            // One that has gone meanwhile is not made anew.
            uid: hpa.metadata.uid.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(left),
        status: None,
    }
}

fn hpa_spec(key: &ObjectKey, spec: &Spec, shape: Shape) -> HorizontalPodAutoscalerSpec {
    let ScaleTargetRef { api_version, kind, name } = spec.scale_target_ref.clone();
    let (min_replicas, max_replicas) = bounds(widest_bounds(spec));
    let mut metrics = vec![follow(&key.name)];
    if shape.has_cpu {
        metrics.push(cpu(Some(&spec.target)));
    }
    HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossVersionObjectReference { api_version: Some(api_version), kind, name },
        min_replicas,
        max_replicas,
        metrics: Some(metrics),
        behavior: Some(api(&behavior(spec, shape.moves))),
    }
}

/// Bounds as the API writes them.
fn bounds((min, max): (u32, u32)) -> (Option<i32>, i32) {
    (i32::try_from(min).ok(), i32::try_from(max).unwrap_or(i32::MAX))
}

/// The least and the most replicas that any schedule, or none, allows. Decisions keep to the bounds in force at their time, so these
/// matter for what the CPU asks for, and for people.
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

/// The safety net beside what decisions aim at, if that is known.
fn cpu(target: Option<&Target>) -> MetricSpec {
    let aimed_at = match target {
        Some(Target::CpuUtilization(percent)) => *percent,
        Some(Target::MetricsQpsPerPod(_) | Target::Latency(_)) | None => 0,
    };
    let target = MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: i32::try_from(CPU_SAFETY_NET.max(aimed_at.saturating_add(ABOVE_TARGET))).ok(),
        ..MetricTarget::default()
    };
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..MetricSpec::default()
    }
}

/// How whoever follows may move: as the user says, by single pods, and not at all where a direction is shut. That it is open is said
/// too, so that nobody else can shut it unnoticed.
pub(super) fn behavior(spec: &Spec, moves: Moves) -> Behavior {
    let mut behavior = spec.behavior.clone().unwrap_or_default().exact();
    for rules in [&mut behavior.scale_up, &mut behavior.scale_down] {
        rules.get_or_insert_default().select_policy.get_or_insert(SelectPolicy::Max);
    }
    match moves {
        Moves::Nowhere => behavior.never_up().never_down(),
        Moves::UpOnly => behavior.never_down(),
        Moves::Freely if spec.mode == Mode::ScaleUpOnly => behavior.never_down(),
        Moves::Freely => behavior,
    }
}

/// The core's behavior is in the API's own shape.
fn api(behavior: &Behavior) -> HorizontalPodAutoscalerBehavior {
    let written = serde_json::to_value(behavior).ok();
    written.and_then(|written| serde_json::from_value(written).ok()).unwrap_or_default()
}

/// Whether the cluster kept the tolerance that was asked for: older ones drop it, and then do nothing about a change of
/// less than 10 %.
pub(super) fn keeps_tolerance(hpa: &HorizontalPodAutoscaler) -> bool {
    let behavior = hpa.spec.as_ref().and_then(|spec| spec.behavior.as_ref());
    behavior.is_some_and(|behavior| {
        let rules = [&behavior.scale_up, &behavior.scale_down];
        rules.iter().all(|rules| rules.as_ref().is_some_and(|rules| rules.tolerance.is_some()))
    })
}

/// Whether an HPA of ours goes by no object's decisions any more.
pub(super) fn is_left(hpa: &HorizontalPodAutoscaler) -> bool {
    is_managed(hpa) && !follows(hpa)
}

fn is_managed(hpa: &HorizontalPodAutoscaler) -> bool {
    let labels = hpa.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGED_BY_PLIMSOLL)
}

/// Whether an HPA goes by the decisions of an object.
fn follows(hpa: &HorizontalPodAutoscaler) -> bool {
    let metrics = hpa.spec.as_ref().and_then(|spec| spec.metrics.as_ref());
    let is_ours = |metric: &MetricSpec| {
        metric
            .external
            .as_ref()
            .is_some_and(|external| external.metric.name == Metric::DesiredReplicas.name())
    };
    metrics.is_some_and(|metrics| metrics.iter().any(is_ours))
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
    let object = hpa.metadata.labels.as_ref().and_then(|labels| labels.get(AUTOSCALER_LABEL));
    if is_managed(hpa) && object == Some(&key.name) {
        Whose::Own
    } else if !(is_managed(hpa) && follows(hpa))
        && offered.is_some()
        && hpa.metadata.name.as_deref() == offered
    {
        Whose::Offered
    } else {
        Whose::Other
    }
}

/// Whether `hpa` scales what `target` names.
pub(super) fn scales(hpa: &HorizontalPodAutoscaler, target: &ScaleTargetRef) -> bool {
    hpa.spec.as_ref().is_some_and(|spec| {
        let CrossVersionObjectReference { api_version, kind, name } = spec.scale_target_ref.clone();
        is_same(&ScaleTargetRef { api_version: api_version.unwrap_or_default(), kind, name }, target)
    })
}

/// Whether two references name one workload. The version of a group's API does not matter.
pub(super) fn is_same(one: &ScaleTargetRef, other: &ScaleTargetRef) -> bool {
    let group = |target: &ScaleTargetRef| {
        let (group, _) = target.api_version.split_once('/').unwrap_or_default();
        group.to_owned()
    };
    one.kind == other.kind && one.name == other.name && group(one) == group(other)
}

/// The spec of an HPA that was taken over, as it was before; none of one that was not.
///
/// # Errors
/// When it was, and somebody changed what it was to be given back as.
pub(super) fn original(
    hpa: &HorizontalPodAutoscaler,
) -> Result<Option<HorizontalPodAutoscalerSpec>, serde_json::Error> {
    let text = hpa.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ORIGINAL_SPEC));
    text.map(|text| serde_json::from_str(text)).transpose()
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

    const FOLLOWED: Shape = Shape { has_cpu: true, moves: Moves::Freely };

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
            json!({
                "scaleUp": {"selectPolicy": "Max", "tolerance": "0"},
                "scaleDown": {"selectPolicy": "Max", "tolerance": "0"},
            })
        );
        assert_eq!((&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]), (&json!(2), &json!(10)));
    }

    #[test]
    fn the_safety_net_is_above_what_decisions_aim_at() {
        let net = |target: serde_json::Value| {
            let hpa = made(json!({ "target": target }), FOLLOWED);
            hpa["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"].clone()
        };
        assert_eq!(net(json!({"cpuUtilization": 50})), json!(90));
        assert_eq!(net(json!({"cpuUtilization": 85})), json!(95));
        assert_eq!(net(json!({"cpuUtilization": 100})), json!(110));
        assert_eq!(net(json!({"metricsQPSPerPod": "10"})), json!(90));
    }

    #[test]
    fn cpu_that_cannot_be_measured_is_left_out() {
        let hpa = made(json!({}), Shape { has_cpu: false, ..FOLLOWED });
        assert_eq!(hpa["spec"]["metrics"].as_array().unwrap().len(), 1);
        let made =
            |has_cpu| wanted("checkout", &key(), &spec(json!({})), Shape { has_cpu, ..FOLLOWED }, None);
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
        assert_eq!(hpa["spec"]["behavior"]["scaleUp"], json!({"selectPolicy": "Max", "tolerance": "0"}));
    }

    #[test]
    fn a_pause_shuts_both_directions_and_scale_up_only_shuts_one() {
        let policies = |mode: &str, moves| {
            let hpa = made(json!({"mode": mode}), Shape { moves, ..FOLLOWED });
            let policy = |direction: &str| hpa["spec"]["behavior"][direction]["selectPolicy"].clone();
            [policy("scaleUp"), policy("scaleDown")]
        };
        assert_eq!(policies("Auto", Moves::Freely), [json!("Max"), json!("Max")]);
        assert_eq!(policies("Auto", Moves::Nowhere), [json!("Disabled"), json!("Disabled")]);
        assert_eq!(policies("Auto", Moves::UpOnly), [json!("Max"), json!("Disabled")]);
        assert_eq!(policies("ScaleUpOnly", Moves::Freely), [json!("Max"), json!("Disabled")]);
    }

    #[test]
    fn one_that_is_left_behind_adds_pods_by_their_cpu_and_takes_none_away() {
        let sale = json!({"name": "sale", "cron": "0 8 * * *", "timeZone": "UTC", "duration": "1h", "maxReplicas": 30});
        let more = json!({"schedules": [sale], "behavior": {"scaleUp": {"stabilizationWindowSeconds": 60}}});
        let spec = spec(more);
        let hpa = wanted("checkout", &key(), &spec, FOLLOWED, None);
        let left = |spec| serde_json::to_value(left_behind(&hpa, spec).spec).unwrap();
        let (known, unknown) = (left(Some(&spec)), left(None));
        for left in [&known, &unknown] {
            assert_eq!(left["metrics"].as_array().unwrap().len(), 1);
            assert_eq!(left["metrics"][0]["resource"]["name"], json!("cpu"));
            assert_eq!(left["behavior"]["scaleDown"]["selectPolicy"], json!("Disabled"));
        }
        assert_eq!(known["behavior"]["scaleUp"], json!({"stabilizationWindowSeconds": 60}));
        // An HPA sets what is above its maximum to that at once, whatever its behavior says.
        assert_eq!((&known["maxReplicas"], &unknown["maxReplicas"]), (&json!(30), &json!(30)));
        let paused = wanted("checkout", &key(), &spec, Shape { moves: Moves::Nowhere, ..FOLLOWED }, None);
        for spec in [Some(&spec), None] {
            let left = left_behind(&paused, spec).spec.unwrap().behavior.unwrap();
            assert_eq!(left.scale_up.unwrap().select_policy, None, "a pause does not outlive its object");
        }
    }

    #[test]
    fn what_another_object_left_behind_may_be_taken_over() {
        let theirs = wanted("web", &ObjectKey::new("shop", "other"), &spec(json!({})), FOLLOWED, None);
        assert!(!is_left(&theirs));
        let left = left_behind(&theirs, None);
        assert!(is_left(&left));
        assert_eq!(whose(&left, &key(), Some("web")), Whose::Offered);
        assert_eq!(whose(&left, &key(), None), Whose::Other);
    }

    #[test]
    fn an_original_that_cannot_be_read_is_not_none() {
        let mut hpa = wanted("web", &key(), &spec(json!({})), FOLLOWED, None);
        assert!(original(&hpa).unwrap().is_none());
        let annotate = |hpa: &mut HorizontalPodAutoscaler, text: &str| {
            let annotations = BTreeMap::from([(ORIGINAL_SPEC.to_owned(), text.to_owned())]);
            hpa.metadata.annotations = Some(annotations);
        };
        annotate(&mut hpa, r#"{"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}"#);
        assert_eq!(original(&hpa).unwrap().unwrap().max_replicas, 3);
        annotate(&mut hpa, "{");
        assert!(original(&hpa).is_err());
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
        let anothers = wanted("web", &ObjectKey::new("shop", "other"), &spec(json!({})), FOLLOWED, None);
        assert_eq!(whose(&anothers, &key(), Some("web")), Whose::Other, "another object keeps it");
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
