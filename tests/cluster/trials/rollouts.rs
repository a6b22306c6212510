//! Pods are replaced, and the replicas stay what the load takes.

use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use libtest_mimic::Failed;
use serde_json::json;

use crate::Named;
use crate::objects::{NAME, SHOP, autoscaler};
use crate::scene::{Scene, free_address, play};

pub(super) const TRIALS: &[Named] = &[
    ("a rollout with surge does not ratchet the replicas", surge),
    ("pods whose pages may not be read are not read", unreadable),
];

fn surge(program: &Path) -> Result<(), Failed> {
    play(program, 6, 58.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_condition("Ready", "True", "Deciding").await;
        let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), SHOP);
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SHOP);
        let mut seen = Vec::new();
        let mut most_pods = 0;
        for version in 1..=3 {
            let annotations = json!({"version": version.to_string()});
            let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
            deployments.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            let done = async || {
                most_pods = most_pods.max(pods.list(&ListParams::default()).await.unwrap().items.len());
                seen.push(scene.replicas(NAME).await);
                let deployment = deployments.get(NAME).await.unwrap();
                let (generation, status) = (deployment.metadata.generation, deployment.status?);
                let is_done = status.observed_generation == generation
                    && status.updated_replicas == Some(6)
                    && status.replicas == Some(6)
                    && status.ready_replicas == Some(6);
                is_done.then_some(())
            };
            scene.until("the rollout is done", done).await;
        }
        scene.pass_intervals(12, async || seen.push(scene.replicas(NAME).await)).await;
        assert!(most_pods > 6, "there was a surge");
        assert!(seen.iter().all(|replicas| *replicas == 6), "{seen:?}");
    })
}

fn unreadable(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        scene.start_adapter();
        let source = |scrape: serde_json::Value| {
            json!({"load": {
                "histogram": "http_request_duration_seconds",
                "source": {"scrape": scrape},
                "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}},
            }})
        };
        scene.apply(&autoscaler(NAME, source(json!({"port": "admin"})))).await;
        scene.until_message("MetricsAvailable", "no container port named \"admin\"").await;
        scene.apply(&autoscaler(NAME, source(json!({})))).await;
        scene.until_condition("MetricsAvailable", "True", "LoadMeasured").await;

        // Through its node's network a pod's port is the node's: whoever may write pods could aim at anything there.
        let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), SHOP);
        let port = free_address().port();
        let host = json!({"spec": {"template": {"spec": {"hostNetwork": true, "containers": [{
            "name": "app", "image": "none", "ports": [{"name": "metrics", "containerPort": port, "hostPort": port}]}]}}}});
        deployments.patch(NAME, &PatchParams::default(), &Patch::Merge(host)).await.unwrap();
        scene.until_message("MetricsAvailable", "node's network").await;
    })
}
