//! A real Prometheus for tests: found on PATH or named by `PLIMSOLL_PROMETHEUS`, on a free loopback port, in a scratch
//! directory, ended with the test that started it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use plimsoll::units::Span;
use plimsoll_adapter::clock::Clock;
use tempfile::TempDir;

/// Longest time that the server is given to come up.
const START: Span = Span::from_secs(60);

/// The executable, or why there is none.
pub(crate) fn executable() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("PLIMSOLL_PROMETHEUS") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file());
    found.ok_or_else(|| "no prometheus on PATH; install it, or name it in PLIMSOLL_PROMETHEUS".to_owned())
}

/// A server that is ready for queries.
pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    _scratch: TempDir,
}

#[allow(dead_code, reason = "no suite uses all of it")]
impl Prometheus {
    /// Starts one that scrapes nothing.
    pub(crate) fn start(executable: &PathBuf) -> Self {
        Self::start_with(executable, "")
    }

    /// Starts one with these entries in its `scrape_configs`, in which `SELF` stands for its own address.
    pub(crate) fn start_with(executable: &PathBuf, scrapes: &str) -> Self {
        // The port is free when it is chosen; should another process take it meanwhile, the next is tried.
        (0..5)
            .find_map(|_| Self::try_start(executable, scrapes, "", "", false))
            .expect("prometheus does not start")
    }

    /// Starts one that scrapes nothing and has this past, in the OpenMetrics format.
    pub(crate) fn start_with_past(executable: &PathBuf, past: &str) -> Self {
        Self::start_with_rules(executable, past, "")
    }

    /// Starts one that scrapes nothing, has this past, and evaluates the rules of this file. It records nothing before the past's end.
    pub(crate) fn start_with_rules(executable: &PathBuf, past: &str, rules: &str) -> Self {
        (0..5)
            .find_map(|_| Self::try_start(executable, "", past, rules, false))
            .expect("prometheus does not start")
    }

    /// Starts one that has this past and works on one core, as in a pod that may use no more: on idle cores Go collects garbage for nothing.
    pub(crate) fn start_on_one_core(executable: &PathBuf, past: &str) -> Self {
        (0..5)
            .find_map(|_| Self::try_start(executable, "", past, "", true))
            .expect("prometheus does not start")
    }

    fn try_start(
        executable: &PathBuf,
        scrapes: &str,
        past: &str,
        rules: &str,
        on_one_core: bool,
    ) -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("rules.yml"), rules).unwrap();
        if !past.is_empty() {
            let file = scratch.path().join("past.om");
            std::fs::write(&file, past).unwrap();
            let made = Command::new(executable.with_file_name("promtool"))
                .args(["tsdb", "create-blocks-from", "openmetrics"])
                .arg(&file)
                .arg(scratch.path().join("data"))
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(made.success(), "promtool makes no blocks");
        }
        let config = scratch.path().join("prometheus.yml");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let scrapes = scrapes.replace("SELF", &address.to_string());
        let text = format!(
            "global: {{scrape_interval: 1s}}\nrule_files: [rules.yml]\nscrape_configs: [{scrapes}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new(executable)
            .envs(on_one_core.then_some(("GOMAXPROCS", "1")))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", scratch.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--query.max-samples=200000000")
            .arg("--enable-feature=native-histograms")
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
            if server.get("/-/ready").is_ok_and(|(status, _)| status == 200) {
                return Some(server);
            }
        }
        None
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn metrics_url(&self) -> String {
        format!("{}/metrics", self.url())
    }

    /// Evaluates a query that reads no data and keeps the processor busy in proportion to `steps`. Gives the time taken.
    pub(crate) fn work(&self, steps: u64) -> Span {
        let clock = Clock::system();
        let began = clock.now();
        let query = format!("sum_over_time(vector(1)[{steps}s:1s])");
        let query = query.replace('[', "%5B").replace(']', "%5D");
        let (status, _) = self.get(&format!("/api/v1/query?query={query}")).unwrap();
        assert_eq!(status, 200);
        clock.now() - began
    }

    /// Status and body of a GET.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
