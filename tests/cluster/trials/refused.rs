//! Objects that make no sense are refused by the API server, with a sentence that a person can use.

use std::path::Path;

use kube::api::{Api, DynamicObject, PostParams};
use kube::core::ApiResource;
use libtest_mimic::Failed;
use plimsoll_adapter::resource::LoadAwareAutoscaler;
use serde_json::{Value, json};

use crate::Named;
use crate::objects::{NAME, SHOP, autoscaler};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] =
    &[("objects that make no sense are refused by the API server, and told apart by the adapter", refused)];

/// A change of a spec that is right, and a part of what is said about it.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/maxReplicas", json!(1), "maxReplicas must be at least minReplicas"),
        ("/minReplicas", json!(0), "should be greater than or equal to 1"),
        ("/mode", json!("Fast"), "supported values"),
        (
            "/target",
            json!({"metricsQPSPerPod": "1", "cpuUtilization": 70}),
            "exactly one of metricsQPSPerPod",
        ),
        ("/target", json!({}), "exactly one of metricsQPSPerPod"),
        ("/load/histogram", json!(""), "at least 1 chars long"),
        (
            "/load/source",
            json!({"scrape": {}, "prometheus": {"ref": "main"}}),
            "exactly one of scrape, prometheus",
        ),
        (
            "/load/weights",
            json!({"fixed": {"edges": [0.1, 0.1], "weights": [1, 2, 3]}}),
            "must be above zero and ascend",
        ),
        (
            "/load/weights",
            json!({"fixed": {"edges": [0.2, 0.1], "weights": [1, 2, 3]}}),
            "must be above zero and ascend",
        ),
        (
            "/load/weights",
            json!({"fixed": {"edges": [0.1], "weights": [1]}}),
            "one weight more than there are edges",
        ),
        ("/load/weights", json!({"fixed": {"edges": [0.1], "weights": [1, -2]}}), "must not be negative"),
        ("/forecast", json!({"quantile": 2}), "spec.forecast.quantile"),
        ("/forecast", json!({"quantile": 0.9, "objective": {"shortTime": "1%"}}), "not both"),
        (
            "/schedules",
            json!([{"name": "n", "cron": "0 9", "timeZone": "UTC", "duration": "1h", "minReplicas": 1}]),
            "spec.schedules[0].cron",
        ),
        (
            "/schedules",
            json!([{"name": "n", "cron": "0 9 * * *", "timeZone": "UTC", "duration": "1h"}]),
            "give minReplicas, maxReplicas or both",
        ),
        ("/onMissingMetrics", json!({"holdFor": "10m", "then": {}}), "exactly one of atLeast, exactly"),
        ("/load/source/scrape/scheme", json!("HTTPS"), "scheme HTTPS takes tlsConfig"),
        (
            "/load/source/scrape/tlsConfig",
            json!({"ca": {"configMap": {"name": "ca", "key": "ca.crt"}}}),
            "HTTP takes none",
        ),
        (
            "/load/source/scrape",
            json!({"scheme": "HTTPS", "tlsConfig": {"ca": {}}}),
            "exactly one of configMap, secret",
        ),
        (
            "/load/source/scrape/authorization",
            json!({"type": "two words", "credentials": {"name": "shop", "key": "token"}}),
            "spec.load.source.scrape.authorization.type",
        ),
        (
            "/load/source/scrape/authorization",
            json!({"credentials": {"name": "../shop", "key": "token"}}),
            "spec.load.source.scrape.authorization.credentials.name",
        ),
        ("/load/source/scrape/interval", json!("15"), "spec.load.source.scrape.interval"),
    ]
}

fn refused(program: &Path) -> Result<(), Failed> {
    play(program, 2, 15.0, async |scene: &mut Scene| {
        let resource = ApiResource::erase::<LoadAwareAutoscaler>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(scene.client.clone(), SHOP, &resource);
        let right = serde_json::to_value(autoscaler(NAME, json!({"forecast": {}}))).unwrap();
        let mut wrong = Vec::new();
        for (field, value, expected) in cases() {
            let mut object = right.clone();
            let (parent, name) = field.rsplit_once('/').unwrap();
            object.pointer_mut(&format!("/spec{parent}")).unwrap()[name] = value.clone();
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            match api.create(&PostParams::default(), &object).await {
                Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains(expected) => {}
                Err(kube::Error::Api(status)) => wrong.push(format!("{field} {value}: {}", status.message)),
                other => {
                    wrong.push(format!("{field} {value}: {other:?}"));
                    let _ = api.delete(NAME, &kube::api::DeleteParams::default()).await;
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));

        // What only the adapter can know is told in a condition, and others go on.
        scene.start_adapter();
        let unknown = json!({"load": {
            "histogram": "d", "source": {"prometheus": {"ref": "nowhere"}},
            "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}}}});
        let elsewhere = autoscaler("elsewhere", unknown);
        scene.apply(&elsewhere).await;
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_condition("Ready", "True", "Deciding").await;
        let told = async || {
            let conditions = scene.status("elsewhere").await.conditions;
            conditions
                .into_iter()
                .find(|c| c.type_ == "Ready" && c.reason == "InvalidSpec")
                .map(|c| c.message)
        };
        let message = scene.until("an object that names no server is told so", told).await;
        assert!(message.contains("there is no server \"nowhere\""), "{message}");
    })
}
