//! A real Prometheus that knows two days of a workload's past: the forecast begins with them, and not with nothing. Without one on PATH or in
//! `PLIMSOLL_PROMETHEUS` the test is reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::scale::Checkpoint;
use plimsoll::spec::{ScaleTargetRef, Spec};
use plimsoll::units::{Span, Time};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::Endpoint;
use plimsoll_adapter::collect::{PodCpu, PodNames, QueriedPods, Query, Scraper};
use plimsoll_adapter::engine::{Engine, Object, Server, Source};
use plimsoll_adapter::ops::{Readiness, Telemetry};
use plimsoll_adapter::stop;
use tokio::sync::watch;

#[path = "support/prometheus.rs"]
mod prometheus;

use prometheus::Prometheus;

const MINUTES: i64 = 2 * 1440;

/// Longest time that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    type Test = fn(&PathBuf) -> Result<(), Failed>;
    let tests: [(&str, Test); 2] = [
        ("a forecast begins with what the metrics server knows", begins),
        ("a backtest says what each way would have made of it", backtest),
    ];
    let executable = prometheus::executable();
    let trial = |(name, test): (&str, Test)| match executable.clone() {
        Ok(file) => Trial::test(name, move || test(&file)),
        Err(reason) => Trial::test(format!("{name} (ignored: {reason})"), || Ok(())).with_ignored_flag(true),
    };
    libtest_mimic::run(&arguments, tests.map(trial).into()).exit_code()
}

const OBJECT: &str = "\
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {name: checkout, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}
  maxReplicas: 8
  load:
    histogram: d
    source: {prometheus: {ref: main, window: 3m}}
    weights: {fixed: {edges: [0.1], weights: [1, 10]}}
  target: {metricsQPSPerPod: 10}
";

/// What the command says of an object, and whether it was content.
fn told(object: &str, words: &[&str]) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"));
    let output = command.arg("backtest").arg("-f").arg(file.path()).args(words).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn backtest(executable: &PathBuf) -> Result<(), Failed> {
    let now = (Clock::system().now() - Time::EPOCH).as_millis() / 1000;
    let server = Prometheus::start_with_past(executable, &past(now));
    let main = format!("main={}", server.url());
    let asked = ["--prometheus", &main, "--replicas", "5"];
    let (is_content, said) = told(OBJECT, &[&asked[..], &["--json"]].concat());
    assert!(is_content, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said)?;
    let hours = report["backtest"]["hours"].as_f64().unwrap();
    // Two days but for their first minutes, of which a rate needs some, and the first day.
    assert!((23.5..=24.5).contains(&hours), "{report}");
    let way = |kind: &str| {
        let ways = report["backtest"]["ways"].as_array().unwrap().clone();
        let way = ways.into_iter().find(|way| way["kind"] == kind).unwrap();
        ["podHours", "shortMinutes", "most"].map(|field| way[field].as_f64().unwrap())
    };
    // The load is 40 in every hour: 30 light requests and 1 heavy one, or 10 and 3. Four pods carry 40.
    let fixed = way("Fixed");
    assert!((fixed[0] - 5.0 * hours).abs() < 1e-6 && fixed[1] == 0.0, "{fixed:?}");
    for kind in ["Reactive", "Plimsoll", "Clairvoyant"] {
        let [pod_hours, _, most] = way(kind);
        assert!((3.9 * hours..=5.3 * hours).contains(&pod_hours) && most <= 8.0, "{kind}: {report}");
    }

    let (is_content, said) = told(OBJECT, &[&asked[..], &["--price", "0.5"]].concat());
    let cost = format!("{:.2}", 0.5 * fixed[0]);
    assert!(is_content && said.contains("as many as now, always") && said.contains(&cost), "{said}");
    assert!(said.contains("carry 10 MetricsQPS, and to serve 2m"), "{said}");

    // What cannot be known is said, with a way out.
    let learned = OBJECT
        .replace("    weights: {fixed: {edges: [0.1], weights: [1, 10]}}\n", "")
        .replace("metricsQPSPerPod: 10", "cpuUtilization: 70");
    let (is_content, said) = told(&learned, &asked);
    assert!(!is_content && said.contains("give --per-pod"), "{said}");
    let (is_content, said) = told(&learned, &[&asked[..], &["--per-pod", "10"]].concat());
    assert!(is_content && said.contains("10 requests a second, whatever they cost"), "{said}");
    let (is_content, said) = told(OBJECT, &[]);
    assert!(!is_content && said.contains("give --prometheus main=URL"), "{said}");
    let (is_content, said) = told(&OBJECT.replace("histogram: d", "histogram: e"), &asked);
    assert!(!is_content && said.contains("knows no e of its pods"), "{said}");
    Ok(())
}

/// Light and heavy requests per second in the minute that ends at `minute`: more in every other hour.
fn rates(minute: i64) -> (f64, f64) {
    if minute.div_euclid(60) % 2 == 0 { (30.0, 1.0) } else { (10.0, 3.0) }
}

/// Pages of a pod of the past and of one of the present, minute by minute, from `MINUTES` before `now` to a little after it: a server answers
/// for its own present.
fn past(now: i64) -> String {
    let mut text = String::from("# TYPE d histogram\n");
    let (mut light, mut heavy) = (0.0, 0.0);
    let mut ups = String::from("# TYPE up gauge\n");
    let (first, last) = (now / 60 - MINUTES, now / 60 + 10);
    for minute in first..=last {
        let (of_light, of_heavy) = rates(minute);
        light += 60.0 * of_light;
        heavy += 60.0 * of_heavy;
        // Half of the time another pod served, which is no longer there.
        let pod = if minute < now / 60 - MINUTES / 2 {
            "checkout-6c9fd8b7c-x2lqz"
        } else {
            "checkout-7d5f9c6b8-k8wvt"
        };
        let at = minute * 60;
        for (le, count) in [("0.1", light), ("1", light + heavy), ("+Inf", light + heavy)] {
            writeln!(text, "d_bucket{{namespace=\"shop\",pod=\"{pod}\",le=\"{le}\"}} {count} {at}").unwrap();
        }
        writeln!(text, "d_count{{namespace=\"shop\",pod=\"{pod}\"}} {} {at}", light + heavy).unwrap();
        writeln!(text, "d_sum{{namespace=\"shop\",pod=\"{pod}\"}} {} {at}", light + heavy).unwrap();
        writeln!(ups, "up{{namespace=\"shop\",pod=\"{pod}\"}} 1 {at}").unwrap();
    }
    text + &ups + "# EOF\n"
}

#[tokio::main]
async fn begins(executable: &PathBuf) -> Result<(), Failed> {
    let clock = Clock::system();
    let now = (clock.now() - Time::EPOCH).as_millis() / 1000;
    let server = Prometheus::start_with_past(executable, &past(now));
    let spec: Spec = serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        "maxReplicas": 100,
        "load": {
            "histogram": "d",
            "source": {"prometheus": {"ref": "main", "window": "3m", "interval": "1s"}},
            "weights": {"fixed": {"edges": [0.1], "weights": [1, 10]}},
        },
        "target": {"metricsQPSPerPod": "10"},
    }))?;
    let target: ScaleTargetRef = spec.scale_target_ref.clone();
    let names = PodNames::Known(["checkout-7d5f9c6b8-k8wvt".to_owned()].into());
    let pods = QueriedPods {
        names,
        warming: 0,
        updating: false,
        replicas: None,
        cpu: PodCpu::default(),
        target: Some(target),
    };
    let object = Object {
        workload: spec.scale_target_ref.clone(),
        key: ObjectKey::new("shop", "checkout"),
        query: Query::new(&spec.load),
        spec: spec.check()?,
        source: Source::Server {
            pods: watch::channel(pods).1,
            server: Server { endpoint: Endpoint::parse(&server.url())?, window: Span::from_secs(180) },
        },
    };
    let board = Arc::new(Board::default());
    let cell = board.cell(&object.key);
    let scraper = Scraper::new(clock.clone(), Arc::new(Telemetry::new(Arc::clone(&board), clock)));
    let kept = tempfile::tempdir()?;
    let engine = Engine::new(object, scraper, &board, Readiness::default(), Some(kept.path()));
    let (stopper, stop) = stop::channel();
    let running = tokio::spawn(engine.run(stop));

    let of_two_days = async {
        loop {
            let latest = cell.latest().clone();
            if let Some(forecast) = latest.as_ref().and_then(|decision| decision.forecast.as_ref())
                && forecast.history >= Span::from_secs(47 * 3600)
            {
                return forecast.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let forecast = tokio::time::timeout(PATIENCE, of_two_days).await?;
    assert_eq!(forecast.earned, 1.0, "a restart is not the first day");
    // Two hours ago it was as it is now, and an hour ago it was other.
    assert!(forecast.bound.get() >= 39.0, "{forecast}");

    let proven = async {
        loop {
            match cell.backtest() {
                Some(backtest) => return backtest,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let proven = tokio::time::timeout(PATIENCE, proven).await?;
    assert!(proven.hours > 23.0 && proven.ways.len() == 4, "{proven:?}");

    stopper.stop();
    running.await?;
    let file = std::fs::read(kept.path().join("shop_checkout.state.json"))?;
    let kept = serde_json::from_slice::<serde_json::Value>(&file[9..])?;
    let checkpoint: Checkpoint = serde_json::from_value(kept["checkpoint"].clone())?;
    let series = checkpoint.history.unwrap();
    let weights = [1.0, 10.0];
    let (mut known, mut right) = (0, 0);
    for number in series.first()..series.end() {
        let Some(level) = series.levels_from(number, 1, &weights).next().flatten() else { continue };
        let (light, heavy) = rates(number + 1);
        known += 1;
        right += i32::from((level - light - 10.0 * heavy).abs() < 0.5);
    }
    // Rates over three minutes are of both where the load changes, and the pods' change costs a few minutes.
    let share = f64::from(right) / f64::from(known);
    assert!(known > 2800 && share > 0.93, "{known} minutes known, {share} of them right");
    Ok(())
}
