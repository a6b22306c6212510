//! The adapter in a cluster: it answers the API server, and while it leads, it measures, decides and acts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use crate::adapter::{Adapter, Listen};
use crate::clock::Clock;
use crate::config::Servers;
use crate::control::{Candidate, Controller, Leadership, MANAGER, Scope, ServedAt};
use crate::external::auth::Access;
use crate::stop::{self, Stop};

/// On the adapter's pods: which of them leads. The Service of the API selects by it, so that every answer has one author.
pub const ROLE: &str = "plimsoll.dev/role";

/// The Lease that the leader holds.
const LEASE: &str = "plimsoll-adapter";

/// Time for the API server to answer one question at the start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two tries to mark the adapter's own pod.
const RETRY: Duration = Duration::from_secs(2);

/// How the adapter works in a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the external metrics API.
    pub api: SocketAddr,
    /// Address of `/metrics`, which tells every object's load to whoever can reach it.
    pub ops: SocketAddr,
    /// Address of the health checks alone, if they are to be had apart from `/metrics`.
    pub health: Option<SocketAddr>,
    /// Address of the console, a loopback one; none for no console.
    pub console: Option<SocketAddr>,
    /// A directory with `tls.crt` and `tls.key`; without one, a certificate is made.
    pub cert_dir: Option<PathBuf>,
    /// A directory for what is learned.
    pub state_dir: Option<PathBuf>,
    /// Objects of this namespace alone; none for all.
    pub watch_namespace: Option<String>,
    /// The metrics servers that objects may name.
    pub servers: Servers,
    /// The adapter's own namespace.
    pub namespace: String,
    /// The adapter's own pod, if it runs in one: it is marked while it leads.
    pub pod: Option<String>,
    /// Whether there may be several, of which one leads.
    pub elects: bool,
    /// The Service through which the API server reaches the adapter, in its own namespace.
    pub service: String,
    /// That Service's port.
    pub service_port: u16,
    /// Whether to register as the one who answers external metrics, if nobody else does.
    pub registers: bool,
    /// A ClusterRole that the registration goes with.
    pub owner: Option<String>,
}

/// Works until it is told to stop.
///
/// # Errors
/// When it cannot start, when a part of it ended early, or when another took the lead.
pub async fn run(options: Options, client: Client, clock: Clock, mut stop: Stop) -> anyhow::Result<()> {
    let Options { namespace, service, .. } = &options;
    let host = format!("{service}.{namespace}.svc");
    let listen = Listen {
        api: options.api,
        access: Access::Delegated(client.clone()),
        ops: options.ops,
        remote_metrics: true,
        health: options.health,
        console: options.console,
        cert_dir: options.cert_dir.clone(),
        service_names: vec![host.clone(), format!("{host}.cluster.local")],
        state_dir: options.state_dir.clone(),
    };
    let adapter = Adapter::bind(listen, clock.clone()).await?;
    tracing::info!("external metrics API: https://{}", adapter.api_addr());
    tracing::info!("metrics:              http://{}/metrics", adapter.ops_addr());
    if let Some(console) = adapter.console_addr() {
        tracing::info!("console:              http://{console}/");
    }
    let scope = Scope {
        namespace: options.watch_namespace.clone(),
        servers: options.servers.clone(),
        state_dir: options.state_dir.clone(),
        served_at: served_at(&options, &client, &adapter).await?,
        registers: options.registers,
    };
    let parts = adapter.parts();
    // One that stands by is as ready as it can be.
    parts.readiness.set();
    parts.scraper.telemetry.leads(false);
    let (adapter_stopper, adapter_stop) = stop::channel();
    let mut serving = tokio::spawn(adapter.run(adapter_stop));
    let me = Me { api: Api::namespaced(client.clone(), namespace), pod: options.pod.clone() };
    let (controller_stopper, controller_stop) = stop::channel();
    let mut to_stand_by = stop.clone();
    let lead = async {
        if !options.elects {
            let controller = Controller::new(client, parts, Leadership::alone(), scope);
            tokio::select! {
                ended = controller.run(controller_stop) => ended?,
                never = me.stay_marked(true) => match never {},
            }
            return Ok(());
        }
        let identity = match &options.pod {
            Some(pod) => pod.clone(),
            None => name_of_this_process()?,
        };
        let lease = (namespace.as_str(), LEASE);
        let (mut candidate, leadership) = Candidate::new(client.clone(), clock.clone(), lease, identity);
        tokio::select! {
            () = candidate.win() => {}
            () = to_stand_by.told() => return Ok(()),
            // One that died as the leader may still be marked as it.
            never = me.stay_marked(false) => match never {},
        }
        let controller = Controller::new(client, parts, leadership, scope);
        let mut working = tokio::spawn(controller.run(controller_stop));
        let ended = tokio::select! {
            ended = &mut working => Some(ended),
            () = candidate.keep() => None,
            // Until it is marked the Service selects nobody, and every HPA holds.
            never = me.stay_marked(true) => match never {},
        };
        // Whatever the end was: nobody is to be sent here any more.
        me.mark(false).await;
        let Some(ended) = ended else {
            // What is under way sees that nothing may be written any more.
            working.abort();
            anyhow::bail!("another adapter leads by now: this one begins anew, as a standby");
        };
        candidate.resign().await;
        Ok(ended??)
    };
    let mut lead = std::pin::pin!(lead);
    let ended = tokio::select! {
        ended = &mut lead => ended,
        ended = &mut serving => return Ok(ended??),
        () = stop.told() => {
            controller_stopper.stop();
            lead.await
        }
    };
    adapter_stopper.stop();
    serving.await??;
    ended
}

/// A name that no other process has: in containers, those of one number are many.
fn name_of_this_process() -> anyhow::Result<String> {
    let mut random = [0; 4];
    SystemRandom::new().fill(&mut random).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(format!("process-{}-{:08x}", std::process::id(), u32::from_ne_bytes(random)))
}

/// How the API server reaches the adapter.
async fn served_at(options: &Options, client: &Client, adapter: &Adapter) -> anyhow::Result<ServedAt> {
    // Whoever made a certificate that is read says who signed it.
    let ca_bundle = adapter.certificate().ca_pem().map(str::to_owned);
    let owner = match &options.owner {
        None => None,
        Some(name) => {
            let roles: Api<ClusterRole> = Api::all(client.clone());
            let found = tokio::time::timeout(PATIENCE, roles.get(name)).await;
            let role = found.context("the API server does not answer")?;
            let role = role.with_context(|| format!("the ClusterRole {name}"))?;
            Some(OwnerReference {
                api_version: ClusterRole::api_version(&()).into_owned(),
                kind: ClusterRole::kind(&()).into_owned(),
                name: name.clone(),
                uid: role.metadata.uid.unwrap_or_default(),
                ..OwnerReference::default()
            })
        }
    };
    Ok(ServedAt {
        namespace: options.namespace.clone(),
        service: options.service.clone(),
        port: options.service_port,
        ca_bundle,
        owner,
    })
}

/// The adapter's own pod.
struct Me {
    api: Api<Pod>,
    pod: Option<String>,
}

impl Me {
    /// Says of itself whether it leads, again until it is taken.
    async fn stay_marked(&self, leads: bool) -> Infallible {
        while !self.mark(leads).await {
            tokio::time::sleep(RETRY).await;
        }
        std::future::pending().await
    }

    /// Says of itself whether it leads. Whether that was taken.
    async fn mark(&self, leads: bool) -> bool {
        let Some(pod) = &self.pod else { return true };
        let role = leads.then_some("leader");
        let patch = json!({ "metadata": { "labels": { ROLE: role } } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let marking = self.api.patch_metadata(pod, &params, &patch);
        match tokio::time::timeout(PATIENCE, marking).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => tracing::warn!(pod, %error, "the adapter's own pod cannot be marked"),
            Err(_) => tracing::warn!(pod, "the adapter's own pod cannot be marked: no answer"),
        }
        false
    }
}
