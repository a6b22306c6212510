//! What people install: the chart, and the plain YAML that is made of it.
//!
//! Helm must be on the PATH, or `PLIMSOLL_HELM` name its program; `PLIMSOLL_CONTROL_PLANE` names the program of
//! `tests/controlplane`. What needs one that is not there is reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "cluster/control_plane.rs"]
#[allow(dead_code, reason = "it is shared with the cluster's trials")]
mod control_plane;
#[path = "support/manifest.rs"]
#[allow(dead_code, reason = "it is shared with the cluster's trials")]
mod manifest;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use clap::Parser;
use control_plane::ControlPlane;
use kube::ResourceExt;
use kube::api::DynamicObject;
use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_adapter::cli::Args;
use serde_json::json;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const INSTALL: &str = include_str!("../deploy/install.yaml");

/// Kinds that a cluster knows only when something else is installed.
const OF_OTHERS: [&str; 3] = ["Certificate", "PrometheusRule", "ServiceMonitor"];

/// Values that people give, each a way of its own through the templates.
const COMBINATIONS: [&[&str]; 6] = [
    // Values that an older release was given lack what is new.
    &["--set=watchNamespace=default,replicas=1,stateClaim=learned,prometheusSecrets=null"],
    &[
        "--set=certificate.from=CertManager,certificate.issuerRef.name=internal,serviceMonitor.enabled=true",
        "--set=prometheusRule.enabled=true,dashboards.enabled=true",
    ],
    &["--set=certificate.from=Secret,certificate.secretName=tls,certificate.caBundle=PEM,stateClaim=learned"],
    &[
        "--set=prometheus.main=http://prometheus:9090,prometheus.long=https://thanos:10902/x,bindAddress=0.0.0.0",
        "--set=prometheusSecrets.long.secretName=thanos,prometheusSecrets.long.token=token,prometheusSecrets.long.ca=ca.crt",
    ],
    &[
        "--set=hostNetwork=true,apiPort=10250,priorityClassName=system-cluster-critical,networkPolicy.metricsFrom=null",
        "--set=nodeSelector.disk=ssd,tolerations[0].operator=Exists,affinity.nodeAffinity=null,crd.install=false",
    ],
    &[
        "--set=apiService.register=false,aggregateRoles=false,networkPolicy.enabled=false,logFormat=json",
        "--set=extraScaleTargets[0].apiGroups={argoproj.io},extraScaleTargets[0].resources={rollouts/scale}",
    ],
];

/// Values that make no sense, and what is said of them.
const REFUSED: [(&str, &str); 9] = [
    ("--set=image.repository=", "image.repository must be given"),
    ("--set=certificate.from=CertManager", "name"),
    ("--set=certificate.from=Secret,certificate.secretName=tls", "caBundle"),
    ("--set=prometheus.main=https://me@prometheus", "pattern"),
    ("--set=prometheusSecrets.main.token=token", "secretName"),
    ("--set=prometheusSecrets.main.secretName=main", "prometheusSecrets"),
    ("--set=extraScaleTargets[0].apiGroups={apps},extraScaleTargets[0].resources={deployments}", "pattern"),
    ("--set=apiPort=443", "apiPort"),
    ("--set=replica=3", "replica"),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let (helm, plane) = (helm(), control_plane::executable());
    let with_helm = |name: &str, test: fn(&Path) -> Result<(), Failed>| match helm.clone() {
        Ok(helm) => Trial::test(name, move || test(&helm)),
        Err(reason) => Trial::test(format!("{name} [{reason}]"), || Ok(())).with_ignored_flag(true),
    };
    let both = helm.clone().and_then(|helm| Ok((helm, plane?)));
    let name = "a real API server takes every object of every combination";
    let with_both = match both {
        Ok((helm, plane)) => Trial::test(name, move || taken(&helm, &plane)),
        Err(reason) => Trial::test(format!("{name} [{reason}]"), || Ok(())).with_ignored_flag(true),
    };
    let trials = vec![
        Trial::test("what the chart has of other folders is what they have", copies),
        Trial::test("the adapter takes the flags of the plain YAML", || {
            flags(&manifest::documents(INSTALL));
            Ok(())
        }),
        with_helm("the plain YAML is what the chart makes", rendered),
        with_helm("Helm finds nothing to complain about", lint),
        with_helm("values that make no sense are refused", refused),
        with_helm("each combination of values gives what it should", combinations),
        with_both,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Helm's program, or why there is none.
fn helm() -> Result<PathBuf, String> {
    let named = std::env::var_os("PLIMSOLL_HELM").map_or_else(|| "helm".into(), PathBuf::from);
    match Command::new(&named).arg("version").output() {
        Ok(output) if output.status.success() => Ok(named),
        _ => Err(format!("{} does not run: install Helm, or name it by PLIMSOLL_HELM", named.display())),
    }
}

/// A chart takes nothing from outside its folder.
fn copies() -> Result<(), Failed> {
    let mut files = vec![("crd.yaml".to_owned(), "crd.yaml".to_owned())];
    files.push(("prometheus/alerts.yaml".to_owned(), "alerts.yaml".to_owned()));
    for dashboard in std::fs::read_dir(format!("{DEPLOY}/grafana"))? {
        let name = dashboard?.file_name().into_string().unwrap();
        files.push((format!("grafana/{name}"), format!("dashboards/{name}")));
    }
    for (original, copy) in &files {
        let copy = std::fs::read_to_string(format!("{DEPLOY}/helm/plimsoll/files/{copy}"));
        let original = std::fs::read_to_string(format!("{DEPLOY}/{original}"))?;
        assert!(
            copy.is_ok_and(|copy| copy == original),
            "deploy/copy-to-chart, then deploy/render > deploy/install.yaml"
        );
    }
    let copied = std::fs::read_dir(format!("{DEPLOY}/helm/plimsoll/files/dashboards"))?.count();
    assert_eq!(copied + 2, files.len(), "one that is no more is still in the chart");
    Ok(())
}

fn rendered(helm: &Path) -> Result<(), Failed> {
    let output = Command::new(format!("{DEPLOY}/render")).env("PLIMSOLL_HELM", helm).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text == INSTALL,
        "deploy/install.yaml is of another version: `deploy/render > deploy/install.yaml`"
    );
    Ok(())
}

fn lint(helm: &Path) -> Result<(), Failed> {
    let chart = format!("{DEPLOY}/helm/plimsoll");
    let image = "--set=image.repository=REGISTRY/plimsoll-adapter";
    let arguments = ["lint", "--strict", "--kube-version=1.33.0", image, &chart];
    let output = Command::new(helm).args(arguments).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn template(helm: &Path, values: &[&str]) -> Output {
    let arguments = ["template", "plimsoll", "helm/plimsoll", "--namespace=plimsoll-system"];
    let mut command = Command::new(helm);
    command.current_dir(DEPLOY).args(arguments).arg("--kube-version=1.33.0");
    command.arg("--set=image.repository=REGISTRY/plimsoll-adapter").args(values).output().unwrap()
}

/// The objects that the chart makes of values.
fn objects(helm: &Path, values: &[&str]) -> Vec<DynamicObject> {
    let output = template(helm, values);
    assert!(output.status.success(), "{values:?}: {}", String::from_utf8_lossy(&output.stderr));
    manifest::documents(&String::from_utf8(output.stdout).unwrap())
}

fn refused(helm: &Path) -> Result<(), Failed> {
    for (values, said) in REFUSED {
        let output = template(helm, &[values]);
        let why = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && why.contains(said), "{values}: {why}");
    }
    Ok(())
}

fn combinations(helm: &Path) -> Result<(), Failed> {
    let [alone, cert_manager, secret, servers, host_network, unregistered] =
        COMBINATIONS.map(|values| objects(helm, values));

    // Rights in one namespace are given in no other.
    let everywhere = rules(&alone, "ClusterRole", "plimsoll-adapter");
    assert!(!everywhere.contains("pods") && !everywhere.contains("horizontalpodautoscalers"), "{everywhere}");
    let workloads = find(&alone, "Role", "plimsoll-adapter-workloads").unwrap();
    assert_eq!(workloads.namespace().as_deref(), Some("default"));
    assert!(flags(&alone).contains(&"--watch-namespace=default".to_owned()));
    assert_eq!(pod(&alone)["volumes"][0]["persistentVolumeClaim"]["claimName"], "learned");
    assert!(
        find(&alone, "PodDisruptionBudget", "plimsoll-adapter").is_none(),
        "it would forbid every eviction"
    );

    // Whoever needs not register may not, and the registration is there all the same.
    for of_others in [&cert_manager, &secret] {
        let rules = rules(of_others, "ClusterRole", "plimsoll-adapter");
        assert!(!rules.contains(r#"["create"]"#) && !rules.contains("clusterroles"), "{rules}");
        assert!(flags(of_others).contains(&"--register-api-service=false".to_owned()));
        assert!(flags(of_others).contains(&"--cert-dir=/etc/plimsoll/tls".to_owned()));
        let registration = find(of_others, "APIService", "v1beta1.external.metrics.k8s.io").unwrap();
        assert_eq!(registration.data["spec"]["service"]["name"], "plimsoll-adapter");
    }
    let alerts = find(&cert_manager, "PrometheusRule", "plimsoll-adapter").unwrap();
    let alert = &alerts.data["spec"]["groups"][0]["rules"][1];
    let description = alert["annotations"]["description"].as_str().unwrap();
    assert!(description.contains("{{ $value }}"), "Helm must leave it to Prometheus: {description}");
    let board = find(&cert_manager, "ConfigMap", "plimsoll-dashboard-autoscaler").unwrap();
    assert_eq!(board.labels()["grafana_dashboard"], "1");
    let board = board.data["data"]["plimsoll-autoscaler.json"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(board)?["uid"], "plimsoll-autoscaler");
    let registration = find(&cert_manager, "APIService", "v1beta1.external.metrics.k8s.io").unwrap();
    assert_eq!(
        registration.annotations()["cert-manager.io/inject-ca-from"],
        "plimsoll-system/plimsoll-adapter"
    );
    let registration = find(&secret, "APIService", "v1beta1.external.metrics.k8s.io").unwrap();
    assert_eq!(registration.data["spec"]["caBundle"], "UEVN");
    assert!(find(&unregistered, "APIService", "v1beta1.external.metrics.k8s.io").is_none());
    let rules = rules(&unregistered, "ClusterRole", "plimsoll-adapter");
    assert!(!rules.contains(r#"["create"]"#) && rules.contains("rollouts/scale"), "{rules}");

    let given = flags(&servers);
    for flag in [
        "--prometheus=main=http://prometheus:9090",
        "--prometheus=long=https://thanos:10902/x",
        "--prometheus-ca-file=long=/etc/plimsoll/prometheus/long/ca.crt",
        "--prometheus-token-file=long=/etc/plimsoll/prometheus/long/token",
    ] {
        assert!(given.contains(&flag.to_owned()), "{given:?}");
    }
    let mount = &pod(&servers)["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/etc/plimsoll/prometheus/long");
    let volume = &pod(&servers)["volumes"][0];
    assert_eq!((&volume["name"], &volume["secret"]["secretName"]), (&mount["name"], &"thanos".into()));
    assert!(given.contains(&"--metrics-bind-address=0.0.0.0:8080".to_owned()), "{given:?}");
    assert_eq!(pod(&host_network)["hostNetwork"], true);
    let no_console = "--console-bind-address=off".to_owned();
    assert!(flags(&host_network).contains(&no_console) && !flags(&servers).contains(&no_console));
    assert!(find(&host_network, "CustomResourceDefinition", CRD).is_none());
    // An empty list of peers would let everybody read.
    let policy = find(&host_network, "NetworkPolicy", "plimsoll-adapter").unwrap();
    assert!(!policy.data["spec"].to_string().contains("metrics"), "{:?}", policy.data);

    let kept = find(&servers, "CustomResourceDefinition", CRD).unwrap();
    assert_eq!(kept.annotations()["helm.sh/resource-policy"], "keep");
    Ok(())
}

const CRD: &str = "loadawareautoscalers.autoscaling.plimsoll.dev";

fn find<'a>(objects: &'a [DynamicObject], kind: &str, name: &str) -> Option<&'a DynamicObject> {
    objects.iter().find(|object| object.types.as_ref().unwrap().kind == kind && object.name_any() == name)
}

fn rules(objects: &[DynamicObject], kind: &str, name: &str) -> String {
    find(objects, kind, name).unwrap().data["rules"].to_string()
}

/// The spec of the adapter's pods.
fn pod(objects: &[DynamicObject]) -> &serde_json::Value {
    &find(objects, "Deployment", "plimsoll-adapter").unwrap().data["spec"]["template"]["spec"]
}

/// The adapter's flags, which it takes.
fn flags(objects: &[DynamicObject]) -> Vec<String> {
    let flags: Vec<String> = serde_json::from_value(pod(objects)["containers"][0]["args"].clone()).unwrap();
    let program = ["plimsoll-adapter".to_owned()];
    if let Err(error) = Args::try_parse_from(program.iter().chain(&flags)) {
        panic!("{flags:?}: {error}");
    }
    flags
}

fn taken(helm: &Path, plane: &Path) -> Result<(), Failed> {
    let plane = ControlPlane::start(plane, "15s");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let client = plane.client().await;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "plimsoll-system"}});
        manifest::apply(&client, &serde_json::from_value(namespace).unwrap(), false).await.unwrap();
        for values in COMBINATIONS {
            for object in objects(helm, values) {
                if OF_OTHERS.contains(&object.types.as_ref().unwrap().kind.as_str()) {
                    continue;
                }
                let applied = manifest::apply(&client, &object, true).await;
                applied.unwrap_or_else(|e| panic!("{values:?}: {}: {e}", manifest::name(&object)));
            }
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(())
}
