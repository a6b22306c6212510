//! What people ask on the command line: why so many replicas, and what is missing.

use std::path::Path;
use std::process::Command;

use kube::api::{DeleteParams, PostParams};
use libtest_mimic::Failed;
use serde_json::json;

use crate::Named;
use crate::objects::{NAME, SHOP, autoscaler, hand_written};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] = &[
    ("preflight says what is right, what is wrong and what to do", preflight),
    ("explain says why there are so many replicas", explain),
];

/// What the command says, and whether it was content.
pub(super) fn ask(scene: &Scene, words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"))
        .args(words)
        .args(["-n", SHOP])
        .env("KUBECONFIG", scene.plane.kubeconfig())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// The line of one check.
pub(super) fn check<'a>(said: &'a str, what: &str) -> &'a str {
    let line = said.lines().find(|line| line.get(7..).is_some_and(|rest| rest.starts_with(what)));
    line.unwrap_or_else(|| panic!("no {what} in\n{said}"))
}

fn preflight(program: &Path) -> Result<(), Failed> {
    play(program, 3, 75.0, async |scene: &mut Scene| {
        // Nothing but the custom resource is installed.
        let (is_content, said) = ask(scene, &["preflight"]);
        assert!(!is_content, "{said}");
        assert!(
            check(&said, "API server").starts_with("ok     API server          Kubernetes v1."),
            "{said}"
        );
        assert!(check(&said, "custom resource").starts_with("ok "), "{said}");
        assert!(check(&said, "external metrics").starts_with("WRONG"), "{said}");
        assert!(check(&said, "external metrics").contains("install the adapter"), "{said}");
        assert!(check(&said, "HPA tolerance").starts_with("ok "), "{said}");
        assert!(check(&said, "CPU for HPAs").starts_with("note "), "{said}");
        assert!(said.contains("1 of 5 checks"), "{said}");
        assert!(scene.hpas().await.is_empty(), "the HPA that was tried was not made");

        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_condition("Ready", "True", "Deciding").await;
        let (_, said) = ask(scene, &["preflight", NAME]);
        for what in
            ["external metrics", "object", "workload", "other scalers", "pods", "CPU requests", "histogram"]
        {
            assert!(check(&said, what).starts_with("ok "), "{said}");
        }
        assert!(check(&said, "histogram").contains("bounds at 0.05, 0.1 s"), "{said}");
        // This adapter runs as an administrator: no account was given rights.
        let rights = check(&said, "adapter's rights");
        assert!(rights.starts_with("WRONG") && rights.contains("patch deployments/scale"), "{said}");

        // What is wrong is said, each with a way out.
        scene.hpa_api().create(&PostParams::default(), &hand_written("theirs", json!(null))).await.unwrap();
        let load =
            json!({"histogram": "grpc_seconds", "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}}});
        scene.apply(&autoscaler(NAME, json!({"load": load, "mode": "Observe"}))).await;
        let (_, said) = ask(scene, &["preflight", NAME]);
        let rival = check(&said, "other scalers");
        assert!(rival.starts_with("WRONG") && rival.contains("the HPA theirs scales it too"), "{said}");
        let histogram = check(&said, "histogram");
        assert!(
            histogram.starts_with("WRONG") && histogram.contains("grpc_seconds is not on the page"),
            "{said}"
        );
        scene.hpa_api().delete("theirs", &DeleteParams::default()).await.unwrap();
        let weights = json!({"fixed": {"edges": [0.1], "weights": [1, 5]}});
        let source = json!({"histogram": "d", "source": {"prometheus": {"ref": "main"}}, "weights": weights});
        scene.apply(&autoscaler(NAME, json!({"load": source, "mode": "Observe"}))).await;
        let (_, said) = ask(scene, &["preflight", NAME]);
        assert!(check(&said, "metrics server").contains("give --prometheus main=URL"), "{said}");
        let (_, said) = ask(scene, &["preflight", NAME, "--prometheus", "main=http://127.0.0.1:9"]);
        assert!(check(&said, "metrics server").starts_with("WRONG"), "{said}");
        let mut elsewhere = autoscaler(NAME, json!({"mode": "Observe"}));
        elsewhere.spec.0.scale_target_ref.name = "nowhere".to_owned();
        scene.apply(&elsewhere).await;
        let (_, said) = ask(scene, &["preflight", NAME]);
        assert!(check(&said, "workload").contains("there is no Deployment nowhere"), "{said}");
        let (is_content, said) = ask(scene, &["preflight", "nobody"]);
        assert!(!is_content && check(&said, "object").contains("kubectl get laa"), "{said}");
    })
}

fn explain(program: &Path) -> Result<(), Failed> {
    play(program, 3, 75.0, async |scene: &mut Scene| {
        let (is_content, said) = ask(scene, &["explain", NAME]);
        assert!(!is_content && said.contains("there is no LoadAwareAutoscaler checkout"), "{said}");
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({"maxReplicas": 6}))).await;
        scene.until_replicas(6).await;
        scene.until_condition("ScalingLimited", "True", "TooManyReplicas").await;
        let (is_content, said) = ask(scene, &["explain", NAME]);
        assert!(is_content, "{said}");
        for part in [
            "default/checkout wants",
            "replicas of the Deployment checkout",
            "One should carry 10, which takes 8 replicas.",
            "replicas  because",
            "6  maxReplicas",
            "The HPA checkout sees",
            "ScalingLimited  True",
        ] {
            assert!(said.contains(part), "{part:?} is not in\n{said}");
        }
    })
}
