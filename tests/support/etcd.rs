//! A real etcd for tests: found on PATH or named by `PLIMSOLL_ETCD`, on free loopback ports, in a scratch directory, ended with
//! the test that started it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use plimsoll::units::Span;
use plimsoll_adapter::clock::Clock;
use tempfile::TempDir;

/// Longest time that the server is given to come up.
const START: Span = Span::from_secs(60);

/// The executable, or why there is none.
pub(crate) fn executable() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("PLIMSOLL_ETCD") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|file| file.is_file());
    found.ok_or_else(|| "no etcd on PATH; install it, or name it in PLIMSOLL_ETCD".to_owned())
}

/// A server of one member that counts how long its calls take.
pub(crate) struct Etcd {
    process: Child,
    address: SocketAddr,
    _scratch: TempDir,
}

impl Etcd {
    pub(crate) fn start(executable: &Path) -> Self {
        // The ports are free when they are chosen; should another process take one meanwhile, the next are tried.
        (0..5).find_map(|_| Self::try_start(executable)).expect("etcd does not start")
    }

    fn try_start(executable: &Path) -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, peers) = (free(), free());
        // One core, as in a pod that may use no more.
        let process = Command::new(executable)
            .env("GOMAXPROCS", "1")
            .arg("--data-dir")
            .arg(scratch.path().join("data"))
            .args(["--metrics", "extensive"])
            .arg(format!("--listen-client-urls=http://{address}"))
            .arg(format!("--advertise-client-urls=http://{address}"))
            .arg(format!("--listen-peer-urls=http://{peers}"))
            .arg(format!("--initial-advertise-peer-urls=http://{peers}"))
            .arg(format!("--initial-cluster=default=http://{peers}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { process, address, _scratch: scratch };
        let clock = Clock::system();
        let until = clock.now() + START;
        while clock.now() < until {
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            if std::net::TcpStream::connect(address).is_ok() {
                return Some(server);
            }
        }
        None
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
