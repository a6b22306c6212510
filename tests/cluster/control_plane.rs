//! A real control plane for one trial: the program of `tests/controlplane`, which is etcd, kube-apiserver and
//! kube-controller-manager.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;

/// The executable, or why there is none.
pub(crate) fn executable() -> Result<PathBuf, String> {
    let named = std::env::var_os("PLIMSOLL_CONTROL_PLANE");
    named.map(PathBuf::from).ok_or_else(|| {
        "PLIMSOLL_CONTROL_PLANE does not name the program that `go build` makes of tests/controlplane"
            .to_owned()
    })
}

/// A control plane that is ready. It ends with this.
pub(crate) struct ControlPlane {
    process: Child,
    scratch: TempDir,
}

impl ControlPlane {
    /// One whose HPAs are looked at so often, and lower replicas a second after they could.
    pub(crate) fn start(executable: &Path, sync_period: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(scratch.path().join("control-plane.log")).unwrap();
        let mut process = Command::new(executable)
            .arg("--dir")
            .arg(scratch.path())
            .arg("--")
            .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
            .arg(format!("--horizontal-pod-autoscaler-sync-period={sync_period}"))
            .arg("--horizontal-pod-autoscaler-downscale-stabilization=1s")
            .arg("--horizontal-pod-autoscaler-cpu-initialization-period=1s")
            .arg("--horizontal-pod-autoscaler-initial-readiness-delay=1s")
            // It ends when its input does, so it never outlives the test.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let is_ready = BufReader::new(output).lines().map_while(Result::ok).any(|line| line == "ready");
        let plane = Self { process, scratch };
        assert!(is_ready, "the control plane does not start: {}", plane.log("control-plane.log"));
        plane
    }

    /// A file of its certificates, which it reads again when they change.
    pub(crate) fn certificate(&self, file: &str) -> PathBuf {
        self.scratch.path().join("pki").join(file)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.scratch.path().join("admin.kubeconfig")
    }

    /// How its administrator reaches it.
    pub(crate) async fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
    }

    /// Its administrator's client.
    pub(crate) async fn client(&self) -> Client {
        Client::try_from(self.config().await).unwrap()
    }

    /// The end of one of its logs.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
