use std::io::Write;

use super::*;
use crate::config::Wishes;

fn read(text: &str) -> Result<Wishes, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    Wishes::read(file.path()).map_err(|error| error.to_string().replace(&path, "laa.yaml"))
}

/// As serve reads it: the second document is none of the rules' business, and so is the server's name.
const FILE: &str = "\
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {name: checkout, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}
  maxReplicas: 10
  load:
    histogram: d
    source: {prometheus: {ref: main, window: 2m, interval: 30s}}
    matchers: {code: {notIn: [\"429\"]}}
    work: {metric: tokens_total}
    weights: {fixed: {edges: [0.00005, 0.1, 0.4, 1], weights: [1, 1, 4, 10, 3], work: 0.25}}
  target: {metricsQPSPerPod: 120}
---
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: StaticTargets
metadata: {name: checkout, namespace: shop}
spec: {pods: [checkout-7d5f9c6b8-x2lqz]}
";

/// As kubectl writes it.
const LIST: &str = "\
apiVersion: v1
items:
- apiVersion: autoscaling.plimsoll.dev/v1alpha1
  kind: LoadAwareAutoscaler
  metadata:
    creationTimestamp: \"2026-11-23T07:07:41Z\"
    generation: 1
    name: checkout
    namespace: shop
    resourceVersion: \"711\"
    uid: 5f1c9e3e-6c0b-4f5e-8a55-0d7f6f0f2f11
  spec:
    actuation: Scale
    load:
      cpu:
        prometheus:
          ref: main
      histogram: d
      source:
        scrape:
          interval: 20s
      weights:
        fit:
          byLabel:
            name: route
    maxReplicas: 10
    scaleTargetRef:
      apiVersion: apps/v1
      kind: StatefulSet
      name: checkout
    target:
      cpuUtilization: 70
  status:
    metricsQPS: \"120\"
    ofAnotherVersion: true
- apiVersion: autoscaling.plimsoll.dev/v1alpha1
  kind: LoadAwareAutoscaler
  metadata:
    name: \"404\"
    namespace: bank
  spec:
    load:
      histogram: d
      weights:
        fixed: {}
    maxReplicas: 10
    scaleTargetRef:
      apiVersion: apps/v1
      kind: Deployment
      name: web
    target:
      metricsQPSPerPod: \"50\"
kind: List
metadata:
  resourceVersion: \"\"
";

#[test]
fn a_file_of_rules_counts_what_the_adapter_counts() {
    insta::assert_snapshot!(rule_file(&groups(&read(FILE).unwrap()).unwrap()).unwrap());
}

#[test]
fn what_kubectl_writes_becomes_a_resource_a_namespace() {
    let groups = groups(&read(LIST).unwrap()).unwrap();
    insta::assert_snapshot!(custom_resources(&groups, "load").unwrap());
    let json: serde_json::Value = serde_saphyr::from_str(LIST).unwrap();
    assert_eq!(super::groups(&read(&json.to_string()).unwrap()).unwrap(), groups);
}

#[test]
fn what_is_wrong_is_told_with_the_line_and_field_of_the_list() {
    let told = |from: &str, to: &str| {
        assert!(LIST.contains(from), "{from}");
        let wishes = read(&LIST.replacen(from, to, 1));
        wishes.and_then(|wishes| groups(&wishes).map_err(|e| e.to_string())).unwrap_err()
    };
    let lines = [
        told("maxReplicas: 10", "maxReplicas: ten"),
        told("    maxReplicas: 10\n", ""),
        told("      histogram: d\n      weights", "      histogran: d\n      weights"),
        told("metricsQPSPerPod: \"50\"", "metricsQPSPerPod: \"0\""),
        told("fixed: {}", "fixed: {edges: [1, 0.1], weights: [1, 2, 3]}"),
        told("kind: StatefulSet", "kin: StatefulSet"),
        told("name: \"404\"", "name: 404!"),
        told("  kind: LoadAware", "  kind: Load"),
        told("name: route", "name: autoscaler").split(": ").skip(1).collect::<Vec<_>>().join(": "),
        told(LIST, "apiVersion: v1\nkind: List\nitems: []\n"),
        told(LIST, "apiVersion: v1\nkind: List\nitems: 7\n"),
        told("name: \"404\"\n    namespace: bank", "name: checkout\n    namespace: shop"),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn names_that_run_together_are_kept_apart() {
    let group = |namespace: &str, name: &str| Group {
        key: ObjectKey::new(namespace, name),
        interval: Span::from_millis(1500),
        rules: vec![],
        note: None,
    };
    let groups = [group("a", "b-c"), group("a-b", "c"), group("x", "y")];
    let names = names(&groups.iter().collect::<Vec<_>>());
    assert_eq!(names, ["plimsoll-a-b-c", "plimsoll-a-b/c", "plimsoll-x-y"]);
    assert!(rule_file(&groups).unwrap().contains("interval: 1s500ms"));
}
