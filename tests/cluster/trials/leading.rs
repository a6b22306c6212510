//! Two adapters, of which one leads.

use std::path::Path;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use libtest_mimic::Failed;
use plimsoll_adapter::resource::LoadAwareAutoscaler;
use plimsoll_adapter::run::ROLE;
use serde_json::json;

use crate::Named;
use crate::objects::{NAME, SHOP, SYSTEM, autoscaler};
use crate::process::{LeadersService, Process};
use crate::scene::{IN_THE_WORLD, Scene, play, play_at};

pub(super) const TRIALS: &[Named] = &[
    (
        "of two adapters one leads; when it is killed or ends the other does, and replicas never drop",
        takes_over,
    ),
    ("what one leader has learned the next one goes on with", learned),
];

fn learned(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        let kept: Api<ConfigMap> = Api::namespaced(scene.client.clone(), SYSTEM);
        let name = format!("plimsoll-learned.{SHOP}.{NAME}");
        let object = autoscaler(
            NAME,
            json!({"target": {"cpuUtilization": 70}, "load": {"histogram": "http_request_duration_seconds"}}),
        );
        scene.start_adapter();
        scene.apply(&object).await;
        // What a request costs is not known before some have been seen.
        scene.until_condition("MetricsAvailable", "False", "Learning").await;
        scene.until_condition("MetricsAvailable", "True", "LoadMeasured").await;
        let is_kept = async || kept.get_opt(&name).await.unwrap();
        scene.until("what is learned is kept, ten minutes later", is_kept).await;

        // One that is killed keeps nothing more. The next one knows at once what a request costs.
        scene.kill_adapter().await;
        scene.start_adapter();
        let began = scene.clock.now();
        let capacity = async || {
            let status = scene.status(NAME).await;
            let is_new = status.last_decision.is_some_and(|at| {
                plimsoll::units::Time::from_secs(at.0.as_second()) > began && status.metrics_qps.is_some()
            });
            is_new.then_some(())
        };
        let mut learns = false;
        let looked = async || {
            let conditions = scene.status(NAME).await.conditions;
            learns |= conditions.iter().any(|c| c.type_ == "MetricsAvailable" && c.reason == "Learning");
            capacity().await
        };
        scene.until("the next one measures", looked).await;
        assert!(!learns, "it does not learn anew what was learned");

        let objects: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
        objects.delete(NAME, &DeleteParams::default()).await.unwrap();
        let is_gone = async || kept.get_opt(&name).await.unwrap().is_none().then_some(());
        scene.until("an object that is gone leaves nothing", is_gone).await;
    })
}

async fn holder(scene: &Scene) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), SYSTEM);
    leases.get_opt("plimsoll-adapter").await.unwrap()?.spec?.holder_identity
}

async fn until_led_by(scene: &Scene, name: &str) {
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SYSTEM);
    let is_so = async || {
        let marked = pods.list(&ListParams::default().labels(&format!("{ROLE}=leader"))).await.unwrap();
        let is_marked = marked.items.iter().any(|pod| pod.name_any() == name);
        (is_marked && holder(scene).await.as_deref() == Some(name)).then_some(())
    };
    scene.until(&format!("{name} leads"), is_so).await;
}

fn takes_over(program: &Path) -> Result<(), Failed> {
    play_at(IN_THE_WORLD, program, 3, 25.0, async |scene: &mut Scene| {
        let _service = LeadersService::start(&scene.client, scene.api).await;
        let first = Process::start(scene, "first").await;
        until_led_by(scene, "first").await;
        let second = Process::start(scene, "second").await;
        let every_second = json!({"load": {
            "histogram": "http_request_duration_seconds",
            "source": {"scrape": {"interval": "1s"}},
            "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}},
        }});
        scene.apply(&autoscaler(NAME, every_second)).await;
        scene.load.set(55.0);
        scene.until_replicas(6).await;

        first.kill();
        scene.load.set(85.0);
        let mut least = i32::MAX;
        let watched = async || {
            least = least.min(scene.replicas(NAME).await);
            (holder(scene).await.as_deref() == Some("second")).then_some(())
        };
        scene.until("the other takes over", watched).await;
        // What the killed one wrote of itself is its pod's end to take away: here the test's.
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SYSTEM);
        pods.delete("first", &kube::api::DeleteParams::default()).await.unwrap();
        until_led_by(scene, "second").await;
        scene.until_replicas(9).await;
        assert!(least >= 6, "{least}");

        // In order it takes less than a lease lasts.
        let third = Process::start(scene, "third").await;
        tokio::task::spawn_blocking(|| second.terminate()).await.unwrap();
        let began = tokio::time::Instant::now();
        until_led_by(scene, "third").await;
        eprintln!("the next one leads {:?} after the last one ended", began.elapsed());
        scene.load.set(115.0);
        scene.until_replicas(12).await;
        drop(third);
    })
}
