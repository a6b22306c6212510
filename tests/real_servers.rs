//! What requests cost, learned from real servers of two kinds under a load whose mix changes, and under one whose mix does not: a Prometheus and an
//! etcd that are scraped by `plimsoll-adapter record`, and the fit over what it wrote.
//!
//! One works at a time, for twenty minutes under a mix that changes and for as long under one that does not: what a request costs depends on what else
//! the machine does. And the same load on one Prometheus and shared by two is the same MetricsQPS, which takes five minutes.
//!
//! They want a machine to themselves, and are reported as ignored: `cargo test -p plimsoll-adapter --test real_servers -- --ignored`. With
//! `PLIMSOLL_SAMPLES` set to a folder what was recorded is kept there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/mixed_load.rs"]
mod mixed_load;
#[path = "support/prometheus.rs"]
mod prometheus;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use etcd::Etcd;
use libtest_mimic::{Arguments, Failed, Trial};
use mixed_load::{Kind, Mix, cost, drive, plan, send};
use plimsoll::load::FitSettings;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::adapter::{Adapter, Listen};
use plimsoll_adapter::board::ObjectKey;
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::config::{Config, Servers};
use plimsoll_adapter::stop;
use plimsoll_sim::costs::{Costs, learn};
use plimsoll_sim::samples::Samples;
use prometheus::Prometheus;

/// A window, which is as long as it is by default. A request is counted where it ends, and its CPU where it was used: of one that takes a sixth of a
/// window so much lies in the window before that a third of the CPU's variance cannot be told.
const INTERVAL: &str = "15s";

/// CPU-seconds that requests of a kind take at most.
///
/// So a slower machine asks for no more than a core. Each kind is within a class of its own, with a free one above it: in a busy moment a request takes longer,
/// and is no other request for that.
const QUERIES: Heaviness = Heaviness { medium: 0.13, heavy: 0.55 };
const SCANS: Heaviness = Heaviness { medium: 0.15, heavy: 0.8 };

/// Cores that light requests use at most.
const LIGHT: f64 = 0.15;

/// What the fit learns of; the last half scores it.
const RECORDED: Duration = Duration::from_secs(1200);

/// The R² that CPU must be predicted with where the mix varies.
const ENOUGH: f64 = 0.9;

/// How much worse than a cost per request weights may be where the mix is always the same.
const WORSE: f64 = 0.01;

/// What is asked.
#[derive(Debug, Clone)]
enum Server {
    Prometheus(PathBuf),
    Etcd(PathBuf),
}

fn main() -> ExitCode {
    // One after the other: all of them are of the same machine.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let prometheus = prometheus::executable();
    let servers = [
        ("prometheus", prometheus.clone().map(Server::Prometheus)),
        ("etcd", etcd::executable().map(Server::Etcd)),
    ];
    let mut trials = Vec::new();
    for (mix, mixed) in [(Mix::Varied, "a mix that changes"), (Mix::Constant, "always the same mix")] {
        for (name, server) in servers.clone() {
            let name = format!("{name}, {mixed} [twenty minutes]");
            trials.push(trial(name, server, move |server| check(&work(&server, mix)?, mix)));
        }
    }
    let name = "the same load on one server and on two is the same MetricsQPS [five minutes]".to_owned();
    trials.push(trial(name, prometheus, |executable| shared(&executable)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What is run by hand; without what it needs its name tells so.
fn trial<T: Send + 'static>(
    name: String,
    needed: Result<T, String>,
    run: impl FnOnce(T) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let trial = match needed {
        Ok(needed) => Trial::test(name, move || run(needed)),
        Err(reason) => Trial::test(format!("{name} [{reason}]"), || Ok(())),
    };
    trial.with_ignored_flag(true)
}

fn check(costs: &Costs, mix: Mix) -> Result<(), Failed> {
    println!("{costs:#?}");
    let (r2, qps) = (costs.r2.ok_or("no R²")?, costs.r2_qps.ok_or("no R² of QPS")?);
    if r2 < qps - WORSE {
        return Err(format!("R² {r2:.3}, by the number of requests alone {qps:.3}").into());
    }
    if mix == Mix::Varied && r2 < ENOUGH {
        return Err(format!("R² {r2:.3}, and {ENOUGH} was expected").into());
    }
    Ok(())
}

/// Runs the server under the load, and learns what its requests cost.
#[tokio::main]
async fn work(server: &Server, mix: Mix) -> Result<Costs, String> {
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("PLIMSOLL_SAMPLES").map(PathBuf::from);
    let kept = kept.unwrap_or_else(|| folder.path().to_owned());
    match server {
        Server::Prometheus(executable) => {
            let now = (Clock::system().now() - Time::EPOCH).as_millis() / 1000;
            let server = Prometheus::start_on_one_core(executable, &past(now));
            let kinds = sized(address(&server), QUERIES, |sizes| queries(now, sizes)).await;
            let out = kept.join(format!("prometheus-{mix:?}.csv"));
            recorded(address(&server), kinds, mix, "prometheus_http_request_duration_seconds", &out).await
        }
        Server::Etcd(executable) => {
            let server = Etcd::start(executable);
            fill(server.address()).await;
            let kinds = sized(server.address(), SCANS, ranges).await;
            let out = kept.join(format!("etcd-{mix:?}.csv"));
            recorded(server.address(), kinds, mix, "grpc_server_handling_seconds", &out).await
        }
    }
}

/// What the server's requests cost, by what is recorded while they come.
async fn recorded(
    address: SocketAddr,
    kinds: Vec<Kind>,
    mix: Mix,
    histogram: &str,
    out: &Path,
) -> Result<Costs, String> {
    let plan = plan(&kinds, mix, RECORDED + Duration::from_secs(30), 1);
    let load = tokio::spawn(drive(address, kinds, plan));
    let recorded = record(address, histogram, out).await;
    load.abort();
    recorded?;
    let samples = Samples::open(out).map_err(|error| error.to_string())?;
    learn(samples, FitSettings::default()).map_err(|error| error.to_string())
}

/// Of a medium and of a heavy request: CPU-seconds, or the size as a share of the largest of its kind.
#[derive(Debug, Clone, Copy)]
struct Heaviness {
    medium: f64,
    heavy: f64,
}

/// Light, medium and heavy requests that cost what they should on this machine, or less.
async fn sized(address: SocketAddr, wanted: Heaviness, kinds: impl Fn(Heaviness) -> [Kind; 3]) -> Vec<Kind> {
    let costs = async |[light, medium, heavy]: &[Kind; 3]| {
        [cost(address, light, 300).await, cost(address, medium, 20).await, cost(address, heavy, 5).await]
            .map(Result::unwrap)
    };
    let largest = costs(&kinds(Heaviness { medium: 1.0, heavy: 1.0 })).await;
    let share = |most: f64, cost: f64| (most / cost).min(1.0);
    let sizes =
        Heaviness { medium: share(wanted.medium, largest[1]), heavy: share(wanted.heavy, largest[2]) };
    let mut kinds = kinds(sizes);
    let found = costs(&kinds).await;
    kinds[0].most *= share(LIGHT, kinds[0].most * found[0]);
    println!("CPU-seconds of a light, medium and heavy request: {largest:.4?}, with {sizes:?}: {found:.4?}");
    kinds.into()
}

fn address(server: &Prometheus) -> SocketAddr {
    server.url().trim_start_matches("http://").parse().unwrap()
}

/// What a person would do to learn what the server's requests cost.
async fn record(address: SocketAddr, histogram: &str, out: &Path) -> Result<(), String> {
    let config = out.with_extension("yaml");
    let text = format!(
        "apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {{name: server}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: StatefulSet, name: server}}
  maxReplicas: 50
  load: {{histogram: {histogram}, source: {{scrape: {{interval: {INTERVAL}}}}}}}
  target: {{cpuUtilization: 70}}
---
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: StaticTargets
metadata: {{name: server}}
spec: {{cpu: {{request: 1, limit: 1}}, targets: [\"http://{address}/metrics\"]}}
"
    );
    std::fs::write(&config, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"));
    command.args(["record", "--force", "--for", &format!("{}s", RECORDED.as_secs())]);
    command.arg("--config").arg(&config).arg("--out").arg(out);
    let recorded =
        tokio::task::spawn_blocking(move || command.output()).await.map_err(|error| error.to_string())?;
    let recorded = recorded.map_err(|error| error.to_string())?;
    if recorded.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&recorded.stderr).into_owned())
    }
}

/// Two hours of a hundred counters, to be asked about.
fn past(now: i64) -> String {
    let mut text = String::from("# TYPE shop_requests counter\n");
    for series in 0..100 {
        let mut value = 0.0;
        for at in (now - 9000..now - 1800).step_by(15) {
            value += 10.0 + 5.0 * (f64::from(series) + at as f64 / 600.0).sin();
            let route = series % 7;
            writeln!(text, "shop_requests_total{{pod=\"p{series}\",route=\"/{route}\"}} {value:.3} {at}")
                .unwrap();
        }
    }
    text + "# EOF\n"
}

/// Instant queries, and range queries of two weights.
fn queries(now: i64, sizes: Heaviness) -> [Kind; 3] {
    let (start, end) = (now - 5400, now - 1800);
    let range = |window: &str, step: f64| {
        format!(
            "/api/v1/query_range?start={start}&end={end}&step={step:.3}&query=sum%20by%20(route)%20(quantile_over_time(0.9,%20shop_requests_total%5B{window}%5D))"
        )
    };
    let instant = format!("/api/v1/query?time={end}&query=sum(rate(shop_requests_total%5B5m%5D))");
    let [medium, heavy] = [range("30m", 6.0 / sizes.medium), range("1h", 3.0 / sizes.heavy)];
    [Kind::get(&instant, 100.0), Kind::get(&medium, 0.8), Kind::get(&heavy, 0.8)]
}

/// How far MetricsQPS may be apart where the same load is on one server and on two, neither of which is congested.
const APART: f64 = 0.05;

/// Longest time for what takes two rounds.
const PATIENCE: Duration = Duration::from_secs(30);

/// So long each of the two is measured...
const MEASURED: Duration = Duration::from_secs(60);

/// ...after so long under the same load: what a request costs is a mean over the time before, which would be that of the first requests alone.
const SETTLES: Duration = Duration::from_secs(60);

#[tokio::main]
async fn shared(prometheus: &PathBuf) -> Result<(), Failed> {
    let now = (Clock::system().now() - Time::EPOCH).as_millis() / 1000;
    let servers = [(); 2].map(|()| Prometheus::start_with_past(prometheus, &past(now)));
    let addresses = servers.each_ref().map(address);
    // Well below what one server does, where queries would wait for one another, and of two kinds of which none is near the edge: the one between takes
    // now less and now more than 0.1 s.
    let mut kinds = sized(addresses[0], QUERIES, |sizes| queries(now, sizes)).await;
    kinds.remove(1);
    let on_one = metricsqps(&addresses[..1], &kinds).await?;
    let on_two = metricsqps(&addresses, &kinds).await?;
    println!("on one {on_one:.1}, on two {on_two:.1}");
    if (on_two / on_one - 1.0).abs() > APART {
        return Err(format!("MetricsQPS {on_one:.2} on one server, {on_two:.2} on two").into());
    }
    Ok(())
}

/// Mean MetricsQPS under the same requests, which go to each of the servers in turn.
async fn metricsqps(addresses: &[SocketAddr], kinds: &[Kind]) -> Result<f64, Failed> {
    let loopback = (Ipv4Addr::LOCALHOST, 0).into();
    let mut adapter = Adapter::bind(Listen::locally(loopback, loopback), Clock::system()).await?;
    let pages: Vec<String> = addresses.iter().map(|address| format!("http://{address}/metrics")).collect();
    let text = format!(
        "apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {{name: server}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: StatefulSet, name: server}}
  maxReplicas: 50
  mode: Reactive
  load:
    histogram: prometheus_http_request_duration_seconds
    source: {{scrape: {{interval: 5s}}}}
    weights: {{fixed: {{edges: [0.1], weights: [1, 30]}}}}
  target: {{metricsQPSPerPod: 100}}
---
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: StaticTargets
metadata: {{name: server}}
spec: {{targets: {pages:?}}}
"
    );
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    let key = ObjectKey::new("default", "server");
    let configured =
        Config::read(file.path(), &Servers::default())?.objects.remove(&key).ok_or("no object")?;
    adapter.add(configured.into_object(key.clone()));
    let cell = adapter.board().cell(&key);
    let (stopper, stop) = stop::channel();
    let running = tokio::spawn(adapter.run(stop));

    // What has never been asked has no series. This is not of the load, and is twice as much on two.
    for address in addresses {
        for kind in kinds {
            send(*address, &kind.request).await?;
        }
    }
    let known = |after: Time| {
        let recent = cell.recent();
        let known =
            recent.iter().filter(|decision| decision.at > after && decision.outcome.desired().is_some());
        known.count()
    };
    let until_known = async |after: Time, rounds: usize| {
        while known(after) < rounds {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until_known(Clock::system().now(), 2)).await?;
    let begins = Clock::system().now() + Span::from_secs(SETTLES.as_secs() as i64);
    let plan = plan(kinds, Mix::Constant, SETTLES + MEASURED, 7);
    let shares = addresses.iter().enumerate().map(|(number, address)| {
        let every = plan.iter().skip(number).step_by(addresses.len()).copied().collect();
        drive(*address, kinds.to_vec(), every)
    });
    futures::future::join_all(shares).await;
    // All of it is to be counted.
    tokio::time::timeout(PATIENCE, until_known(Clock::system().now(), 2)).await?;
    stopper.stop();
    running.await??;
    // By the time of each window: who was read a little earlier or later has counted the same.
    let recent = cell.recent();
    let work: f64 = recent
        .iter()
        .zip(recent.iter().skip(1))
        .filter(|(_, now)| now.at > begins)
        .filter_map(|(before, now)| {
            let load = now.outcome.desired()?.load.metricsqps.get();
            Some(load * (now.at - before.at).as_secs_f64())
        })
        .sum();
    Ok(work / MEASURED.as_secs_f64())
}

/// Keys in the store.
const KEYS: u32 = 400_000;

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS[(bits & 63) as usize] as char;
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |i: usize| chunk.get(i).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digits = [bits >> 18, bits >> 12, bits >> 6, bits].map(digit);
        encoded.extend(digits.iter().take(chunk.len() + 1));
        encoded.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    encoded
}

async fn fill(address: SocketAddr) {
    for first in (0..KEYS).step_by(100) {
        let put = |key: u32| {
            let (name, value) = (format!("k{key:06}"), format!("{:0128}", u64::from(key) * 7919 % 120_011));
            format!("{{\"requestPut\":{{\"key\":\"{}\",\"value\":\"{}\"}}}}", base64(&name), base64(&value))
        };
        let puts: Vec<String> = (first..first + 100).map(put).collect();
        let body = format!("{{\"success\":[{}]}}", puts.join(","));
        let status = send(address, &Kind::post("/v3/kv/txn", &body, 0.0).request).await.unwrap();
        assert!(status.contains(" 200 "), "{status}");
    }
}

/// One key, and the first by value of many and of all.
fn ranges(sizes: Heaviness) -> [Kind; 3] {
    let kind = |body: &BTreeMap<&str, String>, most| {
        Kind::post("/v3/kv/range", &serde_json::to_string(body).unwrap(), most)
    };
    let one = BTreeMap::from([("key", base64("k000005"))]);
    let first_of = |size: f64| {
        let keys = (f64::from(KEYS) * size) as u32;
        let order = [
            ("sort_target", "VALUE".to_owned()),
            ("sort_order", "ASCEND".to_owned()),
            ("limit", "1".to_owned()),
        ];
        let ends = [("key", base64("k000000")), ("range_end", base64(&format!("k{keys:06}")))];
        order.into_iter().chain(ends).collect::<BTreeMap<_, _>>()
    };
    [kind(&one, 150.0), kind(&first_of(sizes.medium / 4.0), 2.0), kind(&first_of(sizes.heavy), 0.4)]
}
