//! Pods whose pages do not tell CPU: it is read where the cluster has it.

use std::path::Path;

use libtest_mimic::Failed;
use serde_json::json;

use super::asking::ask;
use crate::Named;
use crate::cpu::CpuServer;
use crate::objects::{NAME, autoscaler};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] =
    &[("what requests cost is learned from the cluster's own CPU metrics where pages tell none", learned)];

fn learned(program: &Path) -> Result<(), Failed> {
    play(program, 3, 55.0, async |scene: &mut Scene| {
        scene.load.hide_cpu();
        let by_pages = json!({"histogram": "http_request_duration_seconds"});
        let mut by_cluster = by_pages.clone();
        by_cluster["cpu"] = json!({"resourceMetrics": {}});
        let object = |load| autoscaler(NAME, json!({"target": {"cpuUtilization": 70}, "load": load}));
        scene.start_adapter();
        scene.apply(&object(by_pages)).await;
        scene.until_message("MetricsAvailable", "no pod's CPU is known").await;
        scene.apply(&object(by_cluster)).await;
        // Nobody serves it yet, and that is said; nothing moves.
        scene.until_message("MetricsAvailable", "the cluster's resource metrics (metrics.k8s.io): ").await;
        assert_eq!(scene.replicas(NAME).await, 3);
        let (_, asked) = ask(scene, &["preflight", NAME]);
        assert!(asked.contains("the cluster's resource metrics (metrics.k8s.io): "), "{asked}");

        let _cpu = CpuServer::start(&scene.client, scene.load.clone()).await;
        scene.until_condition("MetricsAvailable", "True", "LoadMeasured").await;
        let (_, asked) = ask(scene, &["preflight", NAME]);
        assert!(asked.contains("the cluster tells that of 3 of 3 ready pods"), "{asked}");
        // 160 requests a second at 10 ms each are 1.6 cores, and a pod may use 0.35 of the half that it asks for.
        scene.load.set(160.0);
        scene.until_replicas(5).await;
    })
}
