//! The manifests by which people install it: their rights are enough, no more than that, and nothing is left when they go.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Client, Config, ResourceExt};
use libtest_mimic::Failed;
use plimsoll_adapter::resource::LoadAwareAutoscaler;
use plimsoll_adapter::run::{Options, ROLE};
use serde_json::json;

use super::modes::{annotate, metrics};
use crate::objects::{NAME, SHOP, SYSTEM, autoscaler, hand_written};
use crate::rights::{Record, given};
use crate::scene::{Scene, play_bare};
use crate::{Named, manifest};

pub(super) const TRIALS: &[Named] = &[(
    "installed by its manifests it has the rights that it uses and no others, and it leaves nothing behind",
    installed,
)];

pub(super) const INSTALL: &str = include_str!("../../../deploy/install.yaml");
const README: &str = include_str!("../../../README.md");
const GUIDE: &str = include_str!("../../../docs/install.md");
const QUICK_START: &str = include_str!("../../../docs/quick-start.md");

/// A tenant's namespace, whose workload is not there.
const TENANT: &str = "shop";

/// Rights for kinds of workloads that no trial has, each as good as a Deployment's.
const NOT_IN_THE_SCENE: [&str; 4] = [
    "get replicasets/scale.apps",
    "get statefulsets/scale.apps",
    "patch replicasets/scale.apps",
    "patch statefulsets/scale.apps",
];

fn installed(program: &Path) -> Result<(), Failed> {
    play_bare(program, 3, 55.0, async |scene: &mut Scene| {
        let objects = manifest::documents(INSTALL);
        for object in &objects {
            let applied = manifest::apply(&scene.client, object, false).await;
            applied.unwrap_or_else(|e| panic!("{}: {e}", manifest::name(object)));
        }
        let pods = until_pods(scene).await;
        let selector = lead_here(scene).await;
        let config = account(scene).await;
        let record = Record::default();
        start(scene, &objects, &record.client(config.clone()), &pods[0]);

        first_objects(scene).await;
        follows(scene).await;
        assert_eq!(selected(scene, &selector).await, pods[..1], "the Service picks the leader alone");
        another_leads(scene, &objects, &record.client(config.clone()), &pods[1], &selector).await;
        writes_the_scale(scene).await;
        takes_over_and_gives_back(scene).await;

        assert_eq!(record.refused(), [""; 0], "rights that are missing");
        let mut rights = BTreeSet::new();
        for object in &objects {
            let is_the_adapters =
                object.name_any() == "plimsoll-adapter" && object.data.get("rules").is_some();
            if is_the_adapters {
                let rules: Vec<PolicyRule> = serde_json::from_value(object.data["rules"].clone()).unwrap();
                rights.extend(given(&rules));
            }
        }
        let unused = rights.iter().filter(|right| !record.has_used(right)).map(ToString::to_string);
        assert_eq!(unused.collect::<Vec<_>>(), NOT_IN_THE_SCENE, "rights that nothing uses");
        may_not(&Client::try_from(config).unwrap()).await;

        uninstall(scene, &objects).await;
    })
}

/// The adapter's pods, when they are ready: nobody runs in them.
async fn until_pods(scene: &Scene) -> Vec<String> {
    let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), SYSTEM);
    let are_ready = async || {
        let status = deployments.get("plimsoll-adapter").await.unwrap().status?;
        (status.ready_replicas == Some(2)).then_some(())
    };
    scene.until("both pods are admitted and ready", are_ready).await;
    selected(scene, "app.kubernetes.io/name=plimsoll-adapter").await
}

async fn selected(scene: &Scene, selector: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SYSTEM);
    let pods = pods.list(&ListParams::default().labels(selector)).await.unwrap();
    pods.items.iter().map(ResourceExt::name_any).collect()
}

/// Without a network, the Service leads to this machine. What it selects by otherwise.
async fn lead_here(scene: &Scene) -> String {
    let services: Api<Service> = Api::namespaced(scene.client.clone(), SYSTEM);
    let spec = services.get("plimsoll-adapter").await.unwrap().spec.unwrap();
    let labels = spec.selector.unwrap().into_iter().map(|(label, value)| format!("{label}={value}"));
    services.delete("plimsoll-adapter", &DeleteParams::default()).await.unwrap();
    let here: Service = serde_json::from_value(json!({
        "metadata": {"name": "plimsoll-adapter"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": scene.api.port()}]},
    }))
    .unwrap();
    services.create(&PostParams::default(), &here).await.unwrap();
    labels.collect::<Vec<_>>().join(",")
}

/// How the adapter's own account reaches the cluster, and nobody else.
pub(super) async fn account(scene: &Scene) -> Config {
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.client.clone(), SYSTEM);
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let made = accounts.create_token_request("plimsoll-adapter", &PostParams::default(), &request).await;
    let token = made.unwrap().status.unwrap().token;
    let mut config = scene.plane.config().await;
    config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
    config
}

/// Starts the adapter as `pod`, as its Deployment would.
fn start(scene: &mut Scene, objects: &[DynamicObject], client: &Client, pod: &str) {
    let deployment = objects.iter().find(|object| object.data["spec"]["template"].is_object()).unwrap();
    let args = deployment.data["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    let flag = |name: &str| {
        let value = args.iter().find_map(|arg| arg.as_str()?.strip_prefix(name)?.strip_prefix('='));
        value.unwrap().to_owned()
    };
    let options = Options {
        pod: Some(pod.to_owned()),
        elects: true,
        service: flag("--service"),
        owner: Some(flag("--api-service-owner")),
        ..scene.options()
    };
    scene.start_adapter_as(options, client.clone());
}

/// What the documentation gives people to begin with is taken, and told about.
async fn first_objects(scene: &Scene) {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": TENANT}})).unwrap();
    Api::all(scene.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    for page in [README, GUIDE, QUICK_START] {
        let beginning = "    apiVersion: autoscaling.plimsoll.dev/v1alpha1\n";
        let text = page.find(beginning).map(|at| &page[at..]).unwrap();
        let lines = text.lines().map_while(|line| line.strip_prefix("    "));
        let object = &manifest::documents(&lines.collect::<Vec<_>>().join("\n"))[0];
        assert_eq!(object.namespace().as_deref(), Some(TENANT));
        manifest::apply(&scene.client, object, false).await.unwrap();
        let is_told = async || {
            let object = manifest::get(&scene.client, object).await?;
            let conditions = object.data.get("status")?.get("conditions")?.as_array()?.clone();
            conditions.iter().any(|c| c["reason"] == "TargetNotFound").then_some(())
        };
        scene.until("its workload is not there, and that is said", is_told).await;
    }
}

/// An HPA, the status, events.
async fn follows(scene: &Scene) {
    let load = json!({
        "histogram": "http_request_duration_seconds",
        "cpu": {"resourceMetrics": {}},
        "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}},
    });
    scene.apply(&autoscaler(NAME, json!({"load": load}))).await;
    scene.until_condition("Ready", "True", "Deciding").await;
    scene.until_replicas(6).await;
    // The second event that says the same is counted with the first.
    for paused in [json!("true"), json!(null), json!("true"), json!(null)] {
        annotate(scene, json!({"plimsoll.dev/paused": paused})).await;
        let is = if paused.is_null() { "False" } else { "True" };
        let reason = if paused.is_null() { "NotPaused" } else { "PausedByAnnotation" };
        scene.until_condition("Paused", is, reason).await;
    }
    let events: Api<Event> = Api::namespaced(scene.client.clone(), SHOP);
    let is_counted = async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let mut ours =
            events.iter().filter(|e| e.reporting_controller.as_deref() == Some("plimsoll-adapter"));
        ours.any(|event| event.series.is_some()).then_some(())
    };
    scene.until("events are told and counted", is_counted).await;
}

/// The next leader shows another certificate, and marks its own pod.
async fn another_leads(
    scene: &mut Scene,
    objects: &[DynamicObject],
    client: &Client,
    pod: &str,
    selector: &str,
) {
    scene.stop_adapter().await;
    start(scene, objects, client, pod);
    let is_marked = async || (selected(scene, selector).await == [pod.to_owned()]).then_some(());
    scene.until(&format!("{pod} is marked by {ROLE}"), is_marked).await;
    scene.load.set(75.0);
    scene.until_replicas(8).await;
}

async fn writes_the_scale(scene: &Scene) {
    scene.apply(&autoscaler(NAME, json!({"actuation": "Scale"}))).await;
    scene.load.set(95.0);
    scene.until_replicas(10).await;
    assert!(scene.hpas().await.is_empty(), "its own HPA is deleted");
    delete_object(scene).await;
}

async fn takes_over_and_gives_back(scene: &Scene) {
    let cpu = json!([{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]);
    let theirs = hand_written("theirs", cpu);
    let theirs = scene.hpa_api().create(&PostParams::default(), &theirs).await.unwrap();
    scene.apply(&autoscaler(NAME, json!({}))).await;
    scene.until_condition("Ready", "False", "TargetHasOtherHPA").await;
    annotate(scene, json!({"plimsoll.dev/transfer-hpa-ownership": "theirs"})).await;
    scene.load.set(115.0);
    scene.until_replicas(12).await;
    delete_object(scene).await;
    let is_back = async || (scene.hpa_api().get("theirs").await.unwrap().spec == theirs.spec).then_some(());
    scene.until("it is what it was", is_back).await;
    scene.hpa_api().delete("theirs", &DeleteParams::default()).await.unwrap();
}

async fn delete_object(scene: &Scene) {
    let api: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
    api.delete(NAME, &DeleteParams::default()).await.unwrap();
}

/// Asks as the adapter's account about things that it has no business with; and about one that it has, since a review that
/// answers no to everything would show nothing.
async fn may_not(client: &Client) {
    let is_allowed = async |namespace: &str, verb: &str, group: &str, resource: &str, name: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review: SelfSubjectAccessReview = serde_json::from_value(json!({"spec": {"resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group,
            "resource": resource, "subresource": subresource, "name": name,
        }}}))
        .unwrap();
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    };
    assert!(is_allowed(SHOP, "patch", "apps", "deployments/scale", NAME).await);
    assert!(is_allowed(SYSTEM, "update", "coordination.k8s.io", "leases", "plimsoll-adapter").await);
    let rbac = "rbac.authorization.k8s.io";
    let registration = "apiregistration.k8s.io";
    for (namespace, verb, group, resource, name) in [
        (SHOP, "get", "", "secrets", ""),
        (SYSTEM, "get", "", "secrets", ""),
        (SYSTEM, "list", "", "secrets", ""),
        ("", "list", "", "configmaps", ""),
        ("kube-system", "get", "", "configmaps", "another"),
        (SHOP, "create", "", "pods", ""),
        (SHOP, "patch", "", "pods", ""),
        (SHOP, "delete", "", "pods", ""),
        (SYSTEM, "delete", "", "pods", ""),
        (SHOP, "create", "", "pods/exec", ""),
        (SYSTEM, "create", "", "pods/exec", ""),
        (SHOP, "get", "", "pods/log", ""),
        (SHOP, "patch", "apps", "deployments", NAME),
        (SHOP, "update", "apps", "deployments", NAME),
        (SHOP, "update", "apps", "deployments/scale", NAME),
        (SHOP, "create", "apps", "deployments", ""),
        (SHOP, "patch", "autoscaling.plimsoll.dev", "loadawareautoscalers", NAME),
        (SHOP, "delete", "autoscaling.plimsoll.dev", "loadawareautoscalers", NAME),
        (SHOP, "create", "", "serviceaccounts/token", "default"),
        (SYSTEM, "patch", "apps", "deployments", "plimsoll-adapter"),
        (SYSTEM, "update", "coordination.k8s.io", "leases", "another"),
        (SHOP, "create", "coordination.k8s.io", "leases", ""),
        ("", "escalate", rbac, "clusterroles", ""),
        ("", "bind", rbac, "clusterroles", "cluster-admin"),
        ("", "create", rbac, "clusterroles", ""),
        ("", "patch", rbac, "clusterroles", "plimsoll-adapter"),
        ("", "create", rbac, "clusterrolebindings", ""),
        ("", "get", rbac, "clusterroles", "cluster-admin"),
        ("", "impersonate", "", "users", "admin"),
        ("", "impersonate", "", "serviceaccounts", "default"),
        ("", "patch", registration, "apiservices", "v1beta1.metrics.k8s.io"),
        ("", "delete", registration, "apiservices", "v1beta1.external.metrics.k8s.io"),
        ("", "list", registration, "apiservices", ""),
        ("", "patch", "apiextensions.k8s.io", "customresourcedefinitions", ""),
        ("", "list", "", "nodes", ""),
        ("", "get", "", "nodes/proxy", ""),
        ("", "list", "", "namespaces", ""),
    ] {
        let allowed = is_allowed(namespace, verb, group, resource, name).await;
        assert!(!allowed, "{verb} {resource} {name} in {namespace:?}");
    }
}

/// As docs/install.md says: objects first, then what was installed, from its end.
async fn uninstall(scene: &mut Scene, objects: &[DynamicObject]) {
    let services: Api<APIService> = Api::all(scene.client.clone());
    let registration = services.get("v1beta1.external.metrics.k8s.io").await.unwrap();
    assert_eq!(registration.owner_references()[0].name, "plimsoll-adapter");
    // One that is still there must not make it hang.
    scene.apply(&autoscaler(NAME, json!({}))).await;
    scene.until_condition("Ready", "True", "Deciding").await;
    let all: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
    all.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    let is_left = async || {
        let hpas = scene.hpas().await;
        (!hpas.is_empty() && hpas.iter().all(|hpa| metrics(hpa) == ["cpu"])).then_some(())
    };
    scene.until("HPAs are left to their CPU", is_left).await;

    for object in objects.iter().rev() {
        manifest::delete(&scene.client, object).await;
        if object.types.as_ref().unwrap().kind == "Deployment" {
            scene.stop_adapter().await;
        }
    }
    let is_gone =
        async || services.get_opt("v1beta1.external.metrics.k8s.io").await.unwrap().is_none().then_some(());
    scene.until("the registration goes with its owner", is_gone).await;
    for object in objects {
        let is_gone = async || manifest::get(&scene.client, object).await.is_none().then_some(());
        scene.until(&format!("{} is gone", manifest::name(object)), is_gone).await;
    }
    scene.delete_namespace(TENANT).await;
}
