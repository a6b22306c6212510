//! A pretend kubelet and scheduler: pods get a node and an address, become ready after a while, show a metrics page, and go
//! when they are told to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::Full;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use plimsoll_adapter::clock::Clock;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::load::Load;

/// The only node, which nobody has to see.
const NODE: &str = "pretend";

/// Pods of one workload by their names' beginning, and the load that they share.
pub(crate) type Loads = BTreeMap<String, Load>;

/// Each pod of this process has a loopback address of its own.
static ADDRESSES: AtomicU32 = AtomicU32::new(1);

/// Looks after all pods of a cluster until it is dropped.
pub(crate) struct Kubelet {
    _task: JoinSet<()>,
}

impl Kubelet {
    /// Pods are ready `start_up` after they were seen.
    pub(crate) fn start(client: &Client, start_up: Duration, loads: Loads) -> Self {
        let mut task = JoinSet::new();
        task.spawn(run(client.clone(), start_up, Arc::new(loads)));
        Self { _task: task }
    }
}

async fn run(client: Client, start_up: Duration, loads: Arc<Loads>) {
    let events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let mut events = std::pin::pin!(events);
    let mut running: BTreeMap<String, tokio::task::AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(event) = events.next().await {
        while tasks.try_join_next().is_some() {}
        let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else { continue };
        let (name, namespace) = (pod.name_any(), pod.namespace().unwrap());
        let load =
            loads.iter().find(|(workload, _)| name.starts_with(workload.as_str())).map(|(_, load)| load);
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        if pod.metadata.deletion_timestamp.is_some() {
            if let Some(load) = load {
                load.pod_is_gone(&name);
            }
            if let Some(page) = running.remove(&name) {
                page.abort();
            }
            let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            let _ = api.delete(&name, &now).await;
        } else if let Entry::Vacant(place) = running.entry(name) {
            place.insert(tasks.spawn(look_after(api, pod, start_up, load.cloned())));
        }
    }
}

/// Starts a pod and serves its page for as long as it is there.
async fn look_after(api: Api<Pod>, pod: Pod, start_up: Duration, load: Option<Load>) {
    let name = pod.name_any();
    let [_, a, b, c] = ADDRESSES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [_, _, _, process] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 1 + (a ^ process) % 250, b, c);
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) {
        let binding = Binding {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            target: ObjectReference {
                kind: Some("Node".into()),
                name: Some(NODE.into()),
                ..Default::default()
            },
        };
        let _: Result<serde_json::Value, _> =
            api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
    }
    let port = pod
        .spec
        .as_ref()
        .and_then(|spec| Some(spec.containers.first()?.ports.as_ref()?.first()?.container_port));
    let mut listener = None;
    if let (Some(port), Some(load)) = (port, &load) {
        load.pod_is(&name, false);
        let port = u16::try_from(port).unwrap();
        listener = TcpListener::bind(SocketAddr::new(IpAddr::V4(address), port)).await.ok();
    }
    tokio::time::sleep(start_up).await;
    let now = Clock::system().now().to_rfc3339_secs();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let conditions: Vec<_> =
        ["PodScheduled", "Initialized", "ContainersReady", "Ready"].into_iter().map(condition).collect();
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address.to_string(),
        "podIPs": [{"ip": address.to_string()}],
        "startTime": now,
        "conditions": conditions,
    }});
    if api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.is_err() {
        return;
    }
    let (Some(listener), Some(load)) = (listener, load) else { return };
    load.pod_is(&name, true);
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (load, name) = (load.clone(), name.clone());
        connections.spawn(async move {
            match load.door() {
                Some(door) => {
                    if let Ok(stream) = door.tls.accept(stream).await {
                        serve(stream, load, name).await;
                    }
                }
                None => serve(stream, load, name).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, load: Load, name: String) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (status, page) = match (load.lets_in(shown), load.page(&name)) {
            (false, _) => (StatusCode::UNAUTHORIZED, String::new()),
            (true, None) => (StatusCode::NOT_FOUND, String::new()),
            (true, Some(page)) => (StatusCode::OK, page),
        };
        let mut response = Response::new(Full::new(Bytes::from(page)));
        *response.status_mut() = status;
        async move { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
