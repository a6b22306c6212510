//! A stand-in for metrics-server: tells the CPU that each pod uses under its load.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Client;
use kube::api::{Api, PostParams};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::external::Certificate;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::load::Load;
use crate::objects::{NAME, SYSTEM};

/// Answers until it is dropped.
pub(crate) struct CpuServer {
    _task: JoinSet<()>,
}

impl CpuServer {
    /// Registers as the cluster's source of pods' CPU.
    pub(crate) async fn start(client: &Client, load: Load) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        register(client, address).await;
        let mut task = JoinSet::new();
        task.spawn(serve(listener, load));
        Self { _task: task }
    }
}

async fn register(client: &Client, address: SocketAddr) {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "metrics-server"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": address.port()}]},
    }))
    .unwrap();
    Api::namespaced(client.clone(), SYSTEM).create(&PostParams::default(), &service).await.unwrap();
    let service: APIService = serde_json::from_value(json!({
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": SYSTEM, "name": "metrics-server", "port": address.port()},
        },
    }))
    .unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &service).await.unwrap();
}

async fn serve(listener: TcpListener, load: Load) {
    let tls = TlsAcceptor::from(Certificate::self_signed(&[]).unwrap().config());
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (tls, load) = (tls.clone(), load.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let answer = answer(request.uri().path(), &load);
                let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                async move { Ok::<_, Infallible>(response) }
            });
            let server = Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(path: &str, load: &Load) -> Value {
    if !path.ends_with("/pods") {
        return json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1",
            "resources": [{"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["list"]}],
        });
    }
    let pods = load.all_cpu().into_iter().map(|(pod, cores)| {
        json!({
            "metadata": {"name": pod, "namespace": "default", "labels": {"app": NAME}},
            "timestamp": Clock::system().now().to_rfc3339_secs(),
            "window": "1s",
            "containers": [{"name": "app", "usage": {"cpu": format!("{}m", (1000.0 * cores).round()), "memory": "1Mi"}}],
        })
    });
    let pods: Vec<Value> = pods.collect();
    json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": pods})
}
