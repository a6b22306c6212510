//! Two hundred objects with ten pods each, at their intervals: what an adapter costs. Run by hand, since it measures:
//! `cargo test --release -p plimsoll-adapter --test cluster -- --ignored --nocapture fleet`.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use plimsoll::units::Span;
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::resource::LoadAwareAutoscaler;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Named;
use crate::objects::{SHOP, autoscaler, deployment};
use crate::process::{LeadersService, Process};
use crate::scene::{REAL, Scene, play_at};

pub(super) const BY_HAND: &[Named] = &[("a fleet of 200 objects with 10 pods each", fleet)];

const OBJECTS: usize = 200;
const PODS: usize = 10;

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(120);

/// Bytes of a page that are of no interest to anybody here.
const FILLER: usize = 20_000;

fn fleet(program: &Path) -> Result<(), Failed> {
    play_at(REAL, program, 0, 0.0, async |scene: &mut Scene| {
        let pages =
            Arc::new(Pages { clock: Clock::system(), read: AtomicU64::new(0), bytes: AtomicU64::new(0) });
        let listener = TcpListener::bind((Ipv4Addr::new(127, 9, 9, 9), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&pages)));
        let _service = LeadersService::start(&scene.client, scene.api).await;
        make_workloads(scene, address).await;

        let adapter = Process::start(scene, "adapter").await;
        let before = Usage::of(&adapter);
        let objects: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
        let all_ready = async || {
            let objects = objects.list(&ListParams::default()).await.unwrap().items;
            let is_ready = |object: &LoadAwareAutoscaler| {
                let conditions = object.status.iter().flat_map(|status| &status.conditions);
                conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
            };
            let ready = objects.iter().filter(|object| is_ready(object)).count();
            (ready == OBJECTS).then_some(())
        };
        scene.until("every object is ready", all_ready).await;
        let started = Usage::of(&adapter);
        let (read, bytes) = pages.so_far();
        let writes = requests(scene).await;
        tokio::time::sleep(MEASURED).await;
        let (read_after, bytes_after) = pages.so_far();
        let after = Usage::of(&adapter);
        let seconds = MEASURED.as_secs_f64();
        let cores = (after.cpu - started.cpu).as_secs_f64() / seconds;
        eprintln!("{OBJECTS} objects, {} pods, every 15 s, for {seconds} s:", OBJECTS * PODS);
        eprintln!(
            "  pages read: {:.0}/s ({:.0} wanted)",
            (read_after - read) as f64 / seconds,
            (OBJECTS * PODS) as f64 / 15.0
        );
        eprintln!("  bandwidth: {:.2} MB/s", (bytes_after - bytes) as f64 / seconds / 1e6);
        eprintln!(
            "  CPU: {cores:.3} cores; until all were ready {:.1} s of it",
            (started.cpu - before.cpu).as_secs_f64()
        );
        eprintln!(
            "  memory: {} MB, {} KB an object",
            after.memory >> 20,
            (after.memory >> 10) / OBJECTS as u64
        );
        for (what, count) in requests(scene).await {
            let earlier = writes.iter().find(|(other, _)| *other == what).map_or(0.0, |(_, count)| *count);
            if count > earlier {
                eprintln!("  API server: {what} {:.2}/s", (count - earlier) / seconds);
            }
        }
        let wanted = (OBJECTS * PODS) as f64 / 15.0;
        assert!((read_after - read) as f64 / seconds > 0.95 * wanted, "every pod is read in each interval");
    })
}

/// Workloads, their pods as if they had been started, and an object for each.
async fn make_workloads(scene: &Scene, address: SocketAddr) {
    let names: Vec<String> = (0..OBJECTS).map(|i| format!("fleet-{i:03}")).collect();
    let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), SHOP);
    let make = async |name: String| {
        let replicas = u32::try_from(PODS).unwrap();
        let workload = deployment(&name, replicas, address.port());
        deployments.create(&PostParams::default(), &workload).await.unwrap();
        let spec = json!({"minReplicas": 10, "mode": "Auto"});
        scene.apply(&autoscaler(&name, spec)).await;
    };
    stream::iter(names).for_each_concurrent(16, make).await;
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SHOP);
    let selector = ListParams::default().labels("app");
    let made = async || {
        let pods = pods.list(&selector).await.unwrap().items;
        (pods.len() >= OBJECTS * PODS).then_some(pods)
    };
    let made = scene.until_within(Duration::from_secs(300), "all pods", made).await;
    let start = async |pod: Pod| {
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let status = json!({"status": {
            "phase": "Running",
            "podIP": address.ip().to_string(),
            "podIPs": [{"ip": address.ip().to_string()}],
            "conditions": [condition("Ready"), condition("PodScheduled")],
        }});
        let patch = Patch::Merge(status);
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.unwrap();
    };
    stream::iter(made).for_each_concurrent(16, start).await;
}

/// How often each kind of request was made of the API server.
async fn requests(scene: &Scene) -> Vec<(String, f64)> {
    let request = Request::get("/metrics").body(Vec::new()).unwrap();
    let page = scene.client.request_text(request).await.unwrap();
    let mut counts = std::collections::BTreeMap::<String, f64>::new();
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    for line in page.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let (Some(verb), Some(resource)) = (label(line, "verb"), label(line, "resource")) else { continue };
        let is_of_interest = matches!(
            resource.as_str(),
            "loadawareautoscalers"
                | "horizontalpodautoscalers"
                | "deployments"
                | "leases"
                | "events"
                | "apiservices"
        );
        if is_of_interest && verb != "WATCH" {
            let subresource = label(line, "subresource").unwrap_or_default();
            let count: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
            *counts.entry(format!("{verb} {resource} {subresource}")).or_default() += count;
        }
    }
    counts.into_iter().collect()
}

/// What a process has used.
struct Usage {
    cpu: Span,
    memory: u64,
}

impl Usage {
    fn of(process: &Process) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", process.id())).unwrap();
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // User and system time, in hundredths of a second.
        let ticks: i64 = fields[11].parse::<i64>().unwrap() + fields[12].parse::<i64>().unwrap();
        let status = read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
        Self { cpu: Span::from_millis(10 * ticks), memory: kilobytes << 10 }
    }
}

/// The page that every pod shows.
struct Pages {
    clock: Clock,
    read: AtomicU64,
    bytes: AtomicU64,
}

impl Pages {
    fn so_far(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn page(&self) -> String {
        // Five requests a second of each pod.
        let seconds = (self.clock.now() - plimsoll::units::Time::EPOCH).as_secs_f64();
        let requests = (5.0 * (seconds - 1.7e9)).floor();
        let name = "http_request_duration_seconds";
        let mut page = String::with_capacity(FILLER + 1000);
        while page.len() < FILLER {
            writeln!(page, "some_other_metric{{series=\"{}\",code=\"200\"}} {requests}", page.len()).unwrap();
        }
        for le in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
            writeln!(page, "{name}_bucket{{le=\"{le}\"}} {requests}").unwrap();
        }
        writeln!(page, "{name}_sum {}\n{name}_count {requests}", requests * 0.02).unwrap();
        writeln!(page, "process_cpu_seconds_total {}", requests * 0.01).unwrap();
        self.read.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(page.len() as u64, Ordering::Relaxed);
        page
    }
}

async fn serve(listener: TcpListener, pages: Arc<Pages>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let pages = Arc::clone(&pages);
        connections.spawn(async move {
            let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                let response = Response::new(Full::new(Bytes::from(pages.page())));
                async move { Ok::<_, Infallible>(response) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
