//! Replicas follow the load, through a real HPA and without one.

use std::path::Path;

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, PostParams};
use libtest_mimic::Failed;
use serde_json::json;

use crate::Named;
use crate::objects::{NAME, SHOP, autoscaler, hand_written};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] = &[
    ("a deployment follows its load up and down through a real HPA", through_an_hpa),
    ("a deployment follows its load up and down without an HPA", without_one),
    ("a hand-written HPA follows the load itself", by_hand),
    ("new pods under the same load never raise the replicas", never_overshoots),
];

/// Up within bounds, to them, and down again.
async fn follows(scene: &Scene) {
    scene.until_condition("Ready", "True", "Deciding").await;
    for (rate, replicas) in [(75.0, 8), (500.0, 12)] {
        scene.load.set(rate);
        scene.until_replicas(replicas).await;
    }
    scene.until_condition("ScalingLimited", "True", "TooManyReplicas").await;
    for (rate, replicas) in [(45.0, 5), (1.0, 2)] {
        scene.load.set(rate);
        scene.until_replicas(replicas).await;
    }
    let wanted = async || (scene.status(NAME).await.replicas?.desired == Some(2)).then_some(());
    scene.until("the status tells what is wanted", wanted).await;
}

fn through_an_hpa(program: &Path) -> Result<(), Failed> {
    play(program, 2, 15.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        follows(scene).await;
        let hpa = scene.hpa_api().get(NAME).await.unwrap();
        let status = hpa.status.unwrap();
        let condition = |kind: &str| {
            let condition = status.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap();
            (condition.status.clone(), condition.reason.clone().unwrap())
        };
        assert_eq!(condition("ScalingActive"), ("True".into(), "ValidMetricFound".into()));
        assert_eq!(condition("AbleToScale").0, "True");
        assert_eq!(status.desired_replicas, 2);
        // One pod for each replica that is wanted: n over n pods is 1.
        let each_is_wanted = async || {
            let metrics = scene.hpa_api().get(NAME).await.unwrap().status?.current_metrics?;
            let current = metrics.first()?.external.as_ref()?.current.average_value.clone()?;
            (current.0 == "1").then_some(())
        };
        scene.until("the HPA sees one pod for each that is wanted", each_is_wanted).await;
        let events: Api<Event> = Api::namespaced(scene.client.clone(), SHOP);
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let rescaled: Vec<String> = events
            .iter()
            .filter(|event| event.reason.as_deref() == Some("SuccessfulRescale"))
            .filter_map(|event| event.note.clone())
            .collect();
        for size in [8, 12, 5, 2] {
            let told = format!("New size: {size};");
            assert!(rescaled.iter().any(|note| note.starts_with(&told)), "{size}: {rescaled:?}");
        }
    })
}

fn without_one(program: &Path) -> Result<(), Failed> {
    play(program, 2, 15.0, async |scene: &mut Scene| {
        scene.start_adapter();
        let quick = json!({
            "actuation": "Scale",
            "behavior": {
                "scaleUp": {"policies": [{"type": "Pods", "value": 20, "periodSeconds": 1}]},
                "scaleDown": {"stabilizationWindowSeconds": 0},
            },
        });
        scene.apply(&autoscaler(NAME, quick)).await;
        follows(scene).await;
        assert!(scene.hpas().await.is_empty());
        scene.until_condition("ScalingActive", "True", "ScaleWritten").await;
    })
}

fn by_hand(program: &Path) -> Result<(), Failed> {
    play(program, 2, 15.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({"actuation": "None"}))).await;
        let selector = json!({"matchLabels": {"plimsoll.dev/autoscaler": NAME}});
        let load = json!([{"type": "External", "external": {
            "metric": {"name": "metricsqps", "selector": selector},
            "target": {"type": "AverageValue", "averageValue": "10"},
        }}]);
        let hpa = hand_written("by-hand", load);
        scene.hpa_api().create(&PostParams::default(), &hpa).await.unwrap();
        for (rate, replicas) in [(75.0, 8), (500.0, 12), (25.0, 3)] {
            scene.load.set(rate);
            scene.until_replicas(replicas).await;
        }
        let hpas = scene.hpas().await;
        assert_eq!(hpas.len(), 1, "actuation None makes no HPA of its own");
    })
}

fn never_overshoots(program: &Path) -> Result<(), Failed> {
    play(program, 4, 75.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        let mut seen = Vec::new();
        let grown = async || {
            let replicas = scene.replicas(NAME).await;
            seen.push(replicas);
            (replicas >= 8).then_some(())
        };
        scene.until("8 replicas", grown).await;
        // As long as new pods have told nothing yet, and after.
        scene.pass_intervals(20, async || seen.push(scene.replicas(NAME).await)).await;
        assert!(seen.iter().all(|replicas| *replicas <= 8), "{seen:?}");
        assert_eq!(seen.last(), Some(&8));
    })
}
