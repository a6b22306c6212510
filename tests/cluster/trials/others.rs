//! What somebody else has is named and left alone.

use std::path::Path;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use plimsoll::spec::Actuation;
use plimsoll_adapter::resource::LoadAwareAutoscaler;
use serde_json::json;

use super::modes::{annotate, metrics};
use crate::Named;
use crate::objects::{NAME, SHOP, autoscaler, hand_written};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] = &[
    (
        "another HPA of the same workload is left alone until it may be taken over, and is given back",
        takeover,
    ),
    ("an HPA that a person changed is left as it is", edited),
    ("of two objects for one workload the older one acts, and one that is made anew at once works", rivals),
    ("external metrics of another adapter are left to it, and the scale can be written all the same", taken),
];

fn takeover(program: &Path) -> Result<(), Failed> {
    play(program, 3, 75.0, async |scene: &mut Scene| {
        let cpu = json!([{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]);
        let theirs = hand_written("theirs", cpu);
        let theirs = scene.hpa_api().create(&PostParams::default(), &theirs).await.unwrap();
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        let message = scene.until_condition("Ready", "False", "TargetHasOtherHPA").await;
        assert!(message.contains("theirs") && message.contains("transfer-hpa-ownership"), "{message}");
        scene.pass_intervals(4, async || assert_eq!(scene.replicas(NAME).await, 3)).await;
        assert_eq!(scene.hpa_api().get("theirs").await.unwrap().spec, theirs.spec);

        annotate(scene, json!({"plimsoll.dev/transfer-hpa-ownership": "theirs"})).await;
        scene.until_replicas(8).await;
        let hpas = scene.hpas().await;
        assert_eq!(hpas.len(), 1);
        assert_eq!(metrics(&hpas[0]), ["plimsoll-desired-replicas"]);

        // A second one that appears meanwhile: ours moves neither way until it is gone.
        let down = async || {
            let behavior = scene.hpa_api().get("theirs").await.unwrap().spec.unwrap().behavior.unwrap();
            behavior.scale_down.and_then(|rules| rules.select_policy).unwrap_or_default()
        };
        let second = hand_written("second", json!(null));
        scene.hpa_api().create(&PostParams::default(), &second).await.unwrap();
        scene.until_condition("Ready", "False", "TargetHasOtherHPA").await;
        assert_eq!(down().await, "Disabled");
        scene.hpa_api().delete("second", &DeleteParams::default()).await.unwrap();
        scene.until_condition("Ready", "True", "Deciding").await;
        assert_ne!(down().await, "Disabled");

        let api: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
        api.delete(NAME, &DeleteParams::default()).await.unwrap();
        let is_back =
            async || (scene.hpa_api().get("theirs").await.unwrap().spec == theirs.spec).then_some(());
        scene.until("it is what it was", is_back).await;
        let hpa = scene.hpa_api().get("theirs").await.unwrap();
        assert!(hpa.labels().is_empty() && hpa.annotations().is_empty(), "{hpa:?}");
        let is_disowned = async || {
            let hpa = scene.hpa_api().get("theirs").await.unwrap();
            let managers: Vec<_> = hpa.managed_fields().iter().map(|entry| entry.manager.clone()).collect();
            let before: Vec<_> = theirs.managed_fields().iter().map(|entry| entry.manager.clone()).collect();
            // The controller that writes its status may have come in between.
            let is_theirs = before.iter().all(|manager| managers.contains(manager));
            (is_theirs && !managers.contains(&Some("plimsoll-adapter".to_owned()))).then_some(())
        };
        scene.until("its fields are whose they were", is_disowned).await;
    })
}

fn edited(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        let made = async || scene.hpa_api().get_opt(NAME).await.unwrap();
        scene.until("an HPA", made).await;
        let patch = Patch::Merge(json!({"spec": {"maxReplicas": 20}}));
        let person = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
        scene.hpa_api().patch(NAME, &person, &patch).await.unwrap();
        let message = scene.until_condition("Ready", "False", "HPAChangedByOther").await;
        assert!(message.contains("kubectl-edit"), "{message}");
        scene
            .pass_intervals(4, async || {
                let max = scene.hpa_api().get(NAME).await.unwrap().spec.unwrap().max_replicas;
                assert_eq!(max, 20, "a person's change stays");
            })
            .await;
        // Two ways out: to undo it, or to say the same.
        scene.apply(&autoscaler(NAME, json!({"maxReplicas": 20}))).await;
        scene.until_condition("Ready", "True", "Deciding").await;

        // What is taken out of the object goes out of the HPA.
        let slow = async || {
            let spec = scene.hpa_api().get(NAME).await.unwrap().spec.unwrap();
            spec.behavior?.scale_down?.stabilization_window_seconds
        };
        let behavior =
            json!({"maxReplicas": 20, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 77}}});
        scene.apply(&autoscaler(NAME, behavior)).await;
        scene.until("the HPA has it", async || slow().await.filter(|window| *window == 77)).await;
        scene.apply(&autoscaler(NAME, json!({"maxReplicas": 20}))).await;
        let is_gone = async || (slow().await != Some(77)).then_some(());
        scene.until("the HPA has it no more", is_gone).await;

        // The runbook's way to hold an HPA without the adapter.
        let frozen = json!({"spec": {"behavior": {
            "scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}}}});
        scene.hpa_api().patch(NAME, &person, &Patch::Merge(frozen)).await.unwrap();
        let message = scene.until_condition("Ready", "False", "HPAChangedByOther").await;
        assert!(message.contains("selectPolicy"), "{message}");
        let thawed = json!({"spec": {"behavior": {
            "scaleUp": {"selectPolicy": null}, "scaleDown": {"selectPolicy": null}}}});
        scene.hpa_api().patch(NAME, &person, &Patch::Merge(thawed)).await.unwrap();
        scene.until_condition("Ready", "True", "Deciding").await;
    })
}

fn rivals(program: &Path) -> Result<(), Failed> {
    play(program, 3, 75.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({"actuation": "Scale"}))).await;
        scene.until_replicas(8).await;
        let mut second = autoscaler("second", json!({"actuation": "Scale", "minReplicas": 12}));
        second.spec.0.scale_target_ref.name = NAME.to_owned();
        // Ages are told in seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        scene.apply(&second).await;
        let told = async || {
            let conditions = scene.status("second").await.conditions;
            conditions
                .into_iter()
                .find(|c| c.type_ == "Ready" && c.reason == "TargetHasOtherObject")
                .map(|c| c.message)
        };
        let message = scene.until("the younger one is told so", told).await;
        assert!(message.contains(NAME), "{message}");
        scene.pass_intervals(6, async || assert_eq!(scene.replicas(NAME).await, 8)).await;

        // While the older one only observes, the younger one acts, and then makes room again.
        let followed = async |by: &str| {
            let hpas = scene.hpas().await;
            (hpas.len() == 1 && hpas[0].name_any() == by).then_some(())
        };
        scene.apply(&autoscaler(NAME, json!({"mode": "Observe"}))).await;
        second.spec.0.actuation = Actuation::HPA;
        scene.apply(&second).await;
        scene.until("an HPA of the younger one", async || followed("second").await).await;
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until("an HPA of the older one alone", async || followed(NAME).await).await;

        let api: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
        api.delete("second", &DeleteParams::default()).await.unwrap();
        api.delete(NAME, &DeleteParams::default()).await.unwrap();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_condition("ScalingActive", "True", "HPAFollows").await;
        scene.load.set(95.0);
        scene.until_replicas(10).await;
    })
}

fn taken(program: &Path) -> Result<(), Failed> {
    play(program, 3, 75.0, async |scene: &mut Scene| {
        let services: Api<APIService> = Api::all(scene.client.clone());
        let theirs: APIService = serde_json::from_value(json!({
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "group": "external.metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"namespace": "keda", "name": "keda-operator-metrics-apiserver", "port": 443},
            },
        }))
        .unwrap();
        let theirs = services.create(&PostParams::default(), &theirs).await.unwrap();
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        let message = scene.until_condition("Ready", "False", "ExternalMetricsTaken").await;
        assert!(message.contains("keda/keda-operator-metrics-apiserver"), "{message}");
        let none = |hpas: Vec<HorizontalPodAutoscaler>| assert!(hpas.is_empty(), "nobody would answer it");
        scene.pass_intervals(4, async || none(scene.hpas().await)).await;
        scene.apply(&autoscaler(NAME, json!({"actuation": "Scale"}))).await;
        scene.until_replicas(8).await;
        let now = services.get(&theirs.name_any()).await.unwrap();
        assert_eq!(now.spec, theirs.spec);

        // When they leave, the place is taken.
        services.delete(&theirs.name_any(), &DeleteParams::default()).await.unwrap();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_condition("Ready", "True", "Deciding").await;
    })
}
