//! The objects that trials make, as a user would write them.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use plimsoll_adapter::resource::LoadAwareAutoscaler;
use serde_json::{Value, json};

/// The namespace of the workloads.
pub(crate) const SHOP: &str = "default";
/// The namespace of the adapter.
pub(crate) const SYSTEM: &str = "plimsoll-system";
/// The workload that is scaled, and the object that scales it.
pub(crate) const NAME: &str = "checkout";
/// MetricsQPS that one pod should carry.
pub(crate) const PER_POD: f64 = 10.0;

/// Installs the custom resource, and the namespace and the Service of an adapter that listens on `port` of this machine.
pub(crate) async fn install(client: &Client, port: u16) {
    let definition = plimsoll_adapter::resource::definition().unwrap();
    let definitions = Api::all(client.clone());
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    let name = definition.name_any();
    kube::runtime::wait::await_condition(definitions, &name, established).await.unwrap();
    let namespace = serde_json::from_value(json!({"metadata": {"name": SYSTEM}})).unwrap();
    Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    // The aggregation layer finds a Service of this kind without anybody to route for it.
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "plimsoll-adapter"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }))
    .unwrap();
    Api::namespaced(client.clone(), SYSTEM).create(&PostParams::default(), &service).await.unwrap();
}

/// A Deployment whose pods declare `port` as "metrics" and ask for half a core.
pub(crate) fn deployment(name: &str, replicas: u32, port: u16) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app",
                    "image": "none",
                    "ports": [{"name": "metrics", "containerPort": port}],
                    "resources": {"requests": {"cpu": "500m"}},
                }]},
            },
        },
    }))
    .unwrap()
}

/// What a user writes, with `more` in its spec.
pub(crate) fn autoscaler(name: &str, more: Value) -> LoadAwareAutoscaler {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 2,
        "maxReplicas": 12,
        "mode": "Reactive",
        "load": {
            "histogram": "http_request_duration_seconds",
            "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}},
        },
        "target": {"metricsQPSPerPod": PER_POD.to_string()},
        // As fast as an HPA can: a trial has no time.
        "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 20, "periodSeconds": 1}]}},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    LoadAwareAutoscaler::new(name, serde_json::from_value(spec).unwrap())
}

/// The same, applied: what is there is changed.
pub(crate) async fn apply(client: &Client, object: &LoadAwareAutoscaler) {
    let api: Api<LoadAwareAutoscaler> = Api::namespaced(client.clone(), SHOP);
    let mut object = object.clone();
    object.status = None;
    let params = PatchParams::apply("a-user").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.unwrap();
}

/// An HPA that somebody else wrote, on the load itself.
pub(crate) fn hand_written(name: &str, metrics: Value) -> HorizontalPodAutoscaler {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": 2,
            "maxReplicas": 12,
            "metrics": metrics,
            "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 20, "periodSeconds": 1}]}},
        },
    }))
    .unwrap()
}
