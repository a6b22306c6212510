//! What happens when the adapter is gone, or another takes over.

use std::path::Path;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, DeleteParams};
use libtest_mimic::Failed;
use serde_json::json;

use super::modes::metrics;
use crate::Named;
use crate::cpu::CpuServer;
use crate::objects::{NAME, SHOP, autoscaler};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] = &[
    ("without the adapter the HPA holds, scales up on CPU, and follows again when it is back", dead),
    ("an adapter that is killed leaves nothing that would hold up the deletion of a namespace", uninstalled),
];

async fn availability(scene: &Scene) -> Option<String> {
    let services: Api<APIService> = Api::all(scene.client.clone());
    let service = services.get_opt("v1beta1.external.metrics.k8s.io").await.unwrap()?;
    let conditions = service.status?.conditions?;
    conditions.into_iter().find(|c| c.type_ == "Available").map(|c| c.status)
}

fn dead(program: &Path) -> Result<(), Failed> {
    play(program, 3, 55.0, async |scene: &mut Scene| {
        let _cpu = CpuServer::start(&scene.client, scene.load.clone()).await;
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_replicas(6).await;
        let both = async || {
            let hpas = scene.hpas().await;
            (metrics(hpas.first()?) == ["plimsoll-desired-replicas", "cpu"]).then_some(())
        };
        scene.until("an HPA that knows the CPU too", both).await;

        scene.kill_adapter().await;
        let unavailable = async || (availability(scene).await? == "False").then_some(());
        scene.until("the API server says that nobody answers", unavailable).await;
        // Much less load, and yet nothing is lowered: nobody knows it.
        scene.load.set(1.0);
        let mut seen = Vec::new();
        scene.pass_intervals(20, async || seen.push(scene.replicas(NAME).await)).await;
        assert!(seen.iter().all(|replicas| *replicas == 6), "{seen:?}");
        // Much more, which the CPU shows: 500 a second at 10 ms each are 5 cores, over 0.45 a pod.
        scene.load.set(500.0);
        scene.until_replicas(12).await;

        let hpas = scene.hpa_api();
        let versions = async || hpas.get(NAME).await.unwrap().metadata.managed_fields;
        let before = versions().await;
        scene.start_adapter();
        let available = async || (availability(scene).await? == "True").then_some(());
        scene.until("the API server says that it is back", available).await;
        scene.load.set(45.0);
        scene.until_replicas(5).await;
        let spec_written = |fields: Option<Vec<_>>| {
            let ours = |entry: &ManagedFieldsEntry| entry.operation.as_deref() == Some("Apply");
            fields.into_iter().flatten().find(ours).and_then(|entry| entry.time)
        };
        assert_eq!(
            spec_written(versions().await),
            spec_written(before),
            "a start writes an HPA that is right no more"
        );
    })
}

fn uninstalled(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_condition("Ready", "True", "Deciding").await;
        scene.kill_adapter().await;
        // As the documentation says: the registration goes first.
        let services: Api<APIService> = Api::all(scene.client.clone());
        services.delete("v1beta1.external.metrics.k8s.io", &DeleteParams::default()).await.unwrap();
        scene.delete_namespace(crate::objects::SYSTEM).await;
        let objects: Api<plimsoll_adapter::resource::LoadAwareAutoscaler> =
            Api::namespaced(scene.client.clone(), SHOP);
        objects.delete(NAME, &DeleteParams::default()).await.unwrap();
        assert!(objects.get_opt(NAME).await.unwrap().is_none(), "nothing waits for the adapter");
    })
}
