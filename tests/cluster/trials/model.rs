//! The core's model of the HPA against the real one: the same metric, and the same replicas at every sync.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, PostParams};
use libtest_mimic::Failed;
use plimsoll::hpa::{Behavior, Hpa, HpaSpec, MetricSpec, Observed, Samples, Settings, ValueTarget};
use plimsoll::units::{Quantity, Span, Time};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::external::Certificate;
use rand::RngExt;
use rand::SeedableRng;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::Named;
use crate::objects::{NAME, SHOP, SYSTEM, hand_written};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] =
    &[("the core's model of the HPA sets what the real one sets, sync by sync", agrees)];

/// How many syncs are compared.
const SYNCS: usize = 80;

/// One sync, as the metrics server sees it: the real controller waits for the answer meanwhile.
#[derive(Debug, Clone)]
struct Sync {
    at: Time,
    spec: i32,
    status: i32,
    value: i64,
}

/// A script of values, and the syncs that they were told at.
struct Script {
    clock: Clock,
    deployments: Api<Deployment>,
    values: Vec<i64>,
    syncs: Mutex<Vec<Sync>>,
}

fn agrees(program: &Path) -> Result<(), Failed> {
    play(program, 3, 0.0, async |scene: &mut Scene| {
        // Rises and falls, some within the tolerance, some beyond what a policy lets through.
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(3);
        let mut level = 30_000.0_f64;
        let values = (0..SYNCS + 1).map(|_| {
            level = (level * random.random_range(0.5..2.0)).clamp(8_000.0, 62_000.0);
            level as i64
        });
        let script = Arc::new(Script {
            clock: Clock::system(),
            deployments: Api::namespaced(scene.client.clone(), SHOP),
            values: values.collect(),
            syncs: Mutex::new(Vec::new()),
        });
        let _server = serve(scene, Arc::clone(&script)).await;
        // Windows that no multiple of the sync period comes near.
        let behavior = json!({
            "scaleUp": {"policies": [
                {"type": "Pods", "value": 2, "periodSeconds": 2}, {"type": "Percent", "value": 60, "periodSeconds": 2}]},
            "scaleDown": {"stabilizationWindowSeconds": 1, "policies": [
                {"type": "Percent", "value": 50, "periodSeconds": 2}]},
        });
        let metrics = json!([{"type": "External", "external": {
            "metric": {"name": "scripted"}, "target": {"type": "AverageValue", "averageValue": "5"}}}]);
        let mut hpa = hand_written(NAME, metrics);
        hpa.spec.as_mut().unwrap().behavior = Some(serde_json::from_value(behavior.clone()).unwrap());
        scene.hpa_api().create(&PostParams::default(), &hpa).await.unwrap();
        let told = async || (script.syncs.lock().unwrap().len() > SYNCS).then_some(());
        scene.until_within(Duration::from_secs(300), "so many syncs", told).await;

        let behavior: Behavior = serde_json::from_value(behavior).unwrap();
        let target = ValueTarget::AverageValue(Quantity::from_milli(5000));
        let metric = MetricSpec::External { metric: "scripted".into(), selector: None, target };
        let spec = HpaSpec {
            min_replicas: Some(2),
            max_replicas: 12,
            metrics: vec![metric],
            behavior: Some(behavior),
        };
        let settings = Settings { downscale_stabilization: Span::from_secs(1), ..Settings::default() };
        let mut model = Hpa::new(spec, settings);
        let syncs = script.syncs.lock().unwrap().clone();
        let mut changes = 0;
        for (i, pair) in syncs.windows(2).enumerate() {
            let [sync, next] = pair else { unreachable!() };
            let observed =
                Observed { spec_replicas: sync.spec, status_replicas: sync.status, ..Observed::default() };
            let value = Ok(vec![Quantity::from_milli(sync.value)]);
            let external = BTreeMap::from([("scripted".to_owned(), value)]);
            let done = model.reconcile(sync.at, &observed, &Samples { external, ..Samples::default() });
            assert_eq!(
                done.replicas,
                next.spec,
                "sync {i} of {}: {sync:?}, then {next:?}\n{syncs:#?}",
                syncs.len()
            );
            changes += usize::from(next.spec != sync.spec);
        }
        eprintln!("{} syncs compared, {changes} of them changed the replicas: all equal", syncs.len() - 1);
        assert!(changes > SYNCS / 8, "the script says something");
    })
}

/// External metrics that tell the script.
async fn serve(scene: &Scene, script: Arc<Script>) -> JoinSet<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, scene.api.port())).await.unwrap();
    let service: APIService = serde_json::from_value(json!({
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {
            "group": "external.metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": SYSTEM, "name": "plimsoll-adapter", "port": scene.api.port()},
        },
    }))
    .unwrap();
    Api::all(scene.client.clone()).create(&PostParams::default(), &service).await.unwrap();
    let tls = TlsAcceptor::from(Certificate::self_signed(&[]).unwrap().config());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, script) = (tls.clone(), Arc::clone(&script));
            connections.spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(|request: Request<hyper::body::Incoming>| {
                    let script = Arc::clone(&script);
                    async move {
                        let answer = script.answer(request.uri().path()).await;
                        let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                        response
                            .headers_mut()
                            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                        Ok::<_, Infallible>(response)
                    }
                });
                let server = Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    tasks
}

impl Script {
    async fn answer(&self, path: &str) -> Value {
        if !path.ends_with("/scripted") {
            return json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1",
                "resources": [{"name": "scripted", "singularName": "", "namespaced": true,
                    "kind": "ExternalMetricValueList", "verbs": ["get"]}],
            });
        }
        // The controller waits for this answer, so nobody changes the scale now.
        let deployment = self.deployments.get(NAME).await.unwrap();
        let spec = deployment.spec.unwrap().replicas.unwrap();
        let status = deployment.status.unwrap_or_default().replicas.unwrap_or_default();
        let at = self.clock.now();
        let mut syncs = self.syncs.lock().unwrap();
        let value = self.values[syncs.len().min(self.values.len() - 1)];
        syncs.push(Sync { at, spec, status, value });
        json!({
            "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
            "items": [{"metricName": "scripted", "metricLabels": null, "timestamp": "2026-01-01T00:00:00Z",
                "value": format!("{value}m")}],
        })
    }
}
