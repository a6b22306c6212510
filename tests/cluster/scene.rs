//! A cluster with a workload under a load, and the adapter beside it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use plimsoll::units::Span;
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::config::Servers;
use plimsoll_adapter::resource::{LoadAwareAutoscaler, Status};
use plimsoll_adapter::run::{self, Options};
use plimsoll_adapter::stop::{self, Stopper};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::control_plane::ControlPlane;
use crate::kubelet::Kubelet;
use crate::load::Load;
use crate::objects::{self, NAME, SHOP, SYSTEM};

/// How fast a scene is played.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Seconds on the adapter's clock for each of the world's.
    speed: f64,
    /// How often an HPA looks.
    sync_period: &'static str,
}

/// An interval of 15 s is over in half a second. No multiple of the HPA's period comes near a whole number of seconds: windows of both the
/// real one and its model end between two syncs.
pub(crate) const QUICK: Pace = Pace { speed: 30.0, sync_period: "730ms" };
/// For adapters in processes of their own, which live in the world's time.
pub(crate) const IN_THE_WORLD: Pace = Pace { speed: 1.0, ..QUICK };
/// As a cluster is.
pub(crate) const REAL: Pace = Pace { speed: 1.0, sync_period: "15s" };

/// Longest time that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// How long pods take to be ready.
const START_UP: Duration = Duration::from_millis(300);

/// Everything that a trial needs. What is declared first ends first.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) load: Load,
    pub(crate) api: SocketAddr,
    adapter: Option<Adapter>,
    _kubelet: Kubelet,
    pub(crate) plane: ControlPlane,
}

struct Adapter {
    stopper: Stopper,
    running: JoinHandle<anyhow::Result<()>>,
}

/// Runs a trial in a scene with `replicas` pods under `rate` requests a second.
pub(crate) fn play<F>(program: &Path, replicas: u32, rate: f64, trial: F) -> Result<(), libtest_mimic::Failed>
where
    F: AsyncFnOnce(&mut Scene),
{
    play_at(QUICK, program, replicas, rate, trial)
}

/// The same in a cluster in which nothing is installed yet.
pub(crate) fn play_bare<F>(
    program: &Path,
    replicas: u32,
    rate: f64,
    trial: F,
) -> Result<(), libtest_mimic::Failed>
where
    F: AsyncFnOnce(&mut Scene),
{
    set(QUICK, program, replicas, rate, trial)
}

/// The same, as fast as `pace`.
pub(crate) fn play_at<F>(
    pace: Pace,
    program: &Path,
    replicas: u32,
    rate: f64,
    trial: F,
) -> Result<(), libtest_mimic::Failed>
where
    F: AsyncFnOnce(&mut Scene),
{
    set(pace, program, replicas, rate, async |scene: &mut Scene| {
        objects::install(&scene.client, scene.api.port()).await;
        trial(scene).await;
    })
}

fn set<F>(pace: Pace, program: &Path, replicas: u32, rate: f64, trial: F) -> Result<(), libtest_mimic::Failed>
where
    F: AsyncFnOnce(&mut Scene),
{
    let plane = ControlPlane::start(program, pace.sync_period);
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let client = plane.client().await;
        let clock = Clock::compressed(pace.speed);
        let load = Load::new(clock.clone(), rate);
        let kubelet = Kubelet::start(&client, START_UP, [(NAME.to_owned(), load.clone())].into());
        let api = free_address();
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), SHOP);
        let workload = objects::deployment(NAME, replicas, free_address().port());
        deployments.create(&PostParams::default(), &workload).await.unwrap();
        let mut scene = Scene { client, clock, load, api, adapter: None, _kubelet: kubelet, plane };
        trial(&mut scene).await;
        scene.stop_adapter().await;
    });
    // The adapter's tasks end before the API server that they talk to.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

impl Scene {
    /// How the adapter runs in trials.
    pub(crate) fn options(&self) -> Options {
        Options {
            api: self.api,
            ops: (Ipv4Addr::LOCALHOST, 0).into(),
            health: None,
            console: None,
            cert_dir: None,
            state_dir: None,
            watch_namespace: None,
            servers: Servers::default(),
            namespace: SYSTEM.to_owned(),
            pod: None,
            elects: false,
            service: "plimsoll-adapter".to_owned(),
            service_port: self.api.port(),
            registers: true,
            owner: None,
        }
    }

    pub(crate) fn start_adapter(&mut self) {
        self.start_adapter_with(self.options());
    }

    pub(crate) fn start_adapter_with(&mut self, options: Options) {
        self.start_adapter_as(options, self.client.clone());
    }

    /// Starts it with a client of its own, which may do less than an administrator's.
    pub(crate) fn start_adapter_as(&mut self, options: Options, client: Client) {
        let (stopper, stop) = stop::channel();
        let running = tokio::spawn(run::run(options, client, self.clock.clone(), stop));
        self.adapter = Some(Adapter { stopper, running });
    }

    /// Ends the adapter in order.
    pub(crate) async fn stop_adapter(&mut self) {
        let Some(Adapter { stopper, running }) = self.adapter.take() else { return };
        stopper.stop();
        running.await.unwrap().unwrap();
    }

    /// Ends the adapter as a crash does: nothing is put in order.
    pub(crate) async fn kill_adapter(&mut self) {
        let Some(Adapter { stopper, running }) = self.adapter.take() else { return };
        running.abort();
        let _ = running.await;
        drop(stopper);
        // What it spawned ends by itself, and may hold its port until then.
        let api = self.api;
        self.until("its port is free", async || TcpListener::bind(api).ok().map(drop)).await;
    }

    /// Deletes a namespace and waits until it is gone.
    pub(crate) async fn delete_namespace(&self, name: &str) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.delete(name, &DeleteParams::default()).await.unwrap();
        let is_gone = async || api.get_opt(name).await.unwrap().is_none().then_some(());
        self.until(&format!("the namespace {name} is gone"), is_gone).await;
    }

    /// Asks the cluster for what is looked for, again and again, until it is there.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        self.until_within(PATIENCE, what, async || look().await).await
    }

    /// The same, for what takes longer.
    pub(crate) async fn until_within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let looking = async {
            loop {
                match look().await {
                    Some(found) => return found,
                    None => tokio::time::sleep(LOOK).await,
                }
            }
        };
        match tokio::time::timeout(patience, looking).await {
            Ok(found) => found,
            Err(_) => panic!("{what}: not within {patience:?}\n{}", self.account().await),
        }
    }

    /// Lets so many of the adapter's intervals pass, and looks in each.
    pub(crate) async fn pass_intervals(&self, count: u32, mut look: impl AsyncFnMut()) {
        let interval = Span::from_secs(15);
        for _ in 0..count {
            self.clock.sleep_until(self.clock.now() + interval).await;
            look().await;
        }
    }

    /// What there is, for whoever reads why a trial failed.
    pub(crate) async fn account(&self) -> String {
        let status = self.status(NAME).await;
        let hpas = self.hpas().await;
        let replicas = self.replicas(NAME).await;
        let manager = self.plane.log("kube-controller-manager.log");
        let has_ended = self.adapter.as_ref().is_some_and(|adapter| adapter.running.is_finished());
        let ended = if has_ended { "the adapter has ended\n" } else { "" };
        format!(
            "{ended}replicas {replicas}, load {}\nstatus: {}\nHPAs: {}\n{manager}",
            self.load.rate(),
            serde_json::to_string_pretty(&status).unwrap(),
            serde_json::to_string(&hpas).unwrap()
        )
    }

    pub(crate) async fn apply(&self, object: &LoadAwareAutoscaler) {
        objects::apply(&self.client, object).await;
    }

    /// Replicas that are asked for.
    pub(crate) async fn replicas(&self, deployment: &str) -> i32 {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), SHOP);
        api.get(deployment).await.unwrap().spec.unwrap().replicas.unwrap()
    }

    /// Scales as a person does.
    pub(crate) async fn scale(&self, deployment: &str, replicas: i32) {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), SHOP);
        let patch = Patch::Merge(serde_json::json!({"spec": {"replicas": replicas}}));
        api.patch_scale(deployment, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn until_replicas(&self, wanted: i32) {
        let is_so = async || (self.replicas(NAME).await == wanted).then_some(());
        self.until(&format!("{wanted} replicas"), is_so).await;
    }

    pub(crate) async fn status(&self, name: &str) -> Status {
        let api: Api<LoadAwareAutoscaler> = Api::namespaced(self.client.clone(), SHOP);
        let object = api.get_opt(name).await.unwrap();
        object.and_then(|object| object.status).unwrap_or_default()
    }

    /// Waits until a condition is so: its status, and its reason.
    pub(crate) async fn until_condition(&self, kind: &str, status: &str, reason: &str) -> String {
        let is_so = async || {
            let conditions = self.status(NAME).await.conditions;
            let condition = conditions.into_iter().find(|c| c.type_ == kind)?;
            (condition.status == status && condition.reason == reason).then_some(condition.message)
        };
        self.until(&format!("{kind}={status}, {reason}"), is_so).await
    }

    /// Waits until a condition says so.
    pub(crate) async fn until_message(&self, kind: &str, text: &str) {
        let is_so = async || {
            let conditions = self.status(NAME).await.conditions;
            conditions.iter().any(|c| c.type_ == kind && c.message.contains(text)).then_some(())
        };
        self.until(&format!("{kind} says {text:?}"), is_so).await;
    }

    pub(crate) fn hpa_api(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), SHOP)
    }

    pub(crate) async fn hpas(&self) -> Vec<HorizontalPodAutoscaler> {
        self.hpa_api().list(&kube::api::ListParams::default()).await.unwrap().items
    }
}
