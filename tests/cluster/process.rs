//! Adapters in processes of their own, and a Service that leads to the one that leads.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use plimsoll_adapter::run::ROLE;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::objects::SYSTEM;
use crate::scene::{Scene, free_address};

/// An adapter, which ends with this.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// `plimsoll-adapter run` as the pod `name`, which says in its annotation where it listens.
    pub(crate) async fn start(scene: &Scene, name: &str) -> Self {
        let port = free_address().port();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {"port": port.to_string()}},
            "spec": {"containers": [{"name": "adapter", "image": "none"}]},
        }))
        .unwrap();
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SYSTEM);
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let service_port = scene.api.port().to_string();
        let said = std::env::var("PLIMSOLL_LOG").unwrap_or_else(|_| "warn".to_owned());
        let child = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"))
            .args(["--log", &said, "run", "--bind-address", "127.0.0.1", "--secure-port", &port.to_string()])
            .args(["--metrics-bind-address", "127.0.0.1:0", "--health-probe-bind-address", "127.0.0.1:0"])
            .args(["--console-bind-address", "127.0.0.1:0"])
            .args(["--namespace", SYSTEM, "--pod-name", name, "--service-port", &service_port])
            .env("KUBECONFIG", scene.plane.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once: it puts nothing in order.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "an adapter that is told to end ends in order");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a Service with the selector of `deploy/` does: each connection goes to the pod that is marked as the leader.
pub(crate) struct LeadersService {
    _task: JoinSet<()>,
}

impl LeadersService {
    pub(crate) async fn start(client: &Client, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(forward(listener, client.clone()));
        Self { _task: task }
    }
}

async fn forward(listener: TcpListener, client: Client) {
    let mut connections = JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let client = client.clone();
        connections.spawn(async move {
            let Some(port) = leader(&client).await else { return };
            let Ok(mut to) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
            let _ = copy_bidirectional(&mut from, &mut to).await;
        });
    }
}

async fn leader(client: &Client) -> Option<u16> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM);
    let leaders = pods.list(&ListParams::default().labels(&format!("{ROLE}=leader"))).await.ok()?.items;
    leaders.first()?.annotations().get("port")?.parse().ok()
}
