//! The recording rules that `plimsoll-adapter rules` writes, checked by promtool and evaluated by a real Prometheus. Without one on PATH or in
//! `PLIMSOLL_PROMETHEUS` the tests are reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::units::Time;
use plimsoll_adapter::clock::Clock;
use serde_json::Value;

#[path = "support/prometheus.rs"]
mod prometheus;

use prometheus::Prometheus;

/// The histogram has bounds 0.1 and 0.5; requests weigh 1, 4 and 10.
const OBJECT: &str = "\
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {name: checkout, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}
  maxReplicas: 10
  load:
    histogram: d
    source: {prometheus: {ref: main, window: 2m}}
    weights: {fixed: {edges: [0.1, 0.5], weights: [1, 4, 10]}}
  target: {metricsQPSPerPod: 120}
";

/// Requests per second of a pod up to each bound.
const RATES: [(&str, f64); 3] = [("0.1", 8.0), ("0.5", 11.0), ("+Inf", 12.0)];

const PODS: [&str; 2] = ["checkout-7d5f9c6b8-x2lqz", "checkout-7d5f9c6b8-bcd5f"];

/// Cores that a pod uses.
const CORES: f64 = 0.25;

type Named = (&'static str, fn(&Path) -> Result<(), Failed>);

const TRIALS: [Named; 3] = [
    ("promtool finds nothing wrong with the rules", checked),
    ("a real server records what was counted", recorded),
    ("edges that are no bounds of the server's histogram are refused", refused),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = |(name, run): Named| match prometheus::executable() {
        Ok(file) => Trial::test(name, move || run(&file)),
        Err(reason) => Trial::test(format!("{name} (ignored: {reason})"), || Ok(())).with_ignored_flag(true),
    };
    libtest_mimic::run(&arguments, TRIALS.map(trial).into()).exit_code()
}

/// What the command writes for an object, or what it says.
fn rules(object: &str, more: &[&str]) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object).unwrap();
    let adapter = env!("CARGO_BIN_EXE_plimsoll-adapter");
    let output = Command::new(adapter).args(["rules", "-f"]).arg(file.path()).args(more).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn checked(prometheus: &Path) -> Result<(), Failed> {
    let scratch = tempfile::tempdir()?;
    let file: PathBuf = scratch.path().join("rules.yml");
    std::fs::write(&file, rules(OBJECT, &[])?)?;
    let promtool = prometheus.with_file_name("promtool");
    let output = Command::new(promtool).args(["check", "rules"]).arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("3 rules found"), "{said}");
    Ok(())
}

fn recorded(prometheus: &Path) -> Result<(), Failed> {
    let server = Prometheus::start_with_past(&prometheus.to_owned(), &past());
    let value_of = |object: &str, record: &str| {
        let rules: Value = serde_saphyr::from_str(&rules(object, &[]).unwrap()).unwrap();
        let rules = rules["groups"][0]["rules"].as_array().unwrap();
        let rule = rules.iter().find(|rule| rule["record"] == record).unwrap();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("query", rule["expr"].as_str().unwrap());
        let (status, body) = server.get(&format!("/api/v1/query?{}", query.finish())).unwrap();
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"]["result"].as_array().unwrap().clone()
    };
    let value = |record: &str| value_of(OBJECT, record);
    let number = |series: &Value| series["value"][1].as_str().unwrap().parse::<f64>().unwrap();
    let is_near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;

    // Of two pods: 8 fast ones, 3 slower ones, 1 slow one a second each.
    let load = number(&value("plimsoll:metricsqps")[0]);
    assert!(is_near(load, 2.0 * (8.0 + 3.0 * 4.0 + 10.0)), "{load}");
    let elsewhere = OBJECT.replace("[0.1, 0.5]", "[0.1, 0.3]");
    assert!(value_of(&elsewhere, "plimsoll:metricsqps").is_empty(), "what cannot be counted has no value");
    let cores = number(&value("plimsoll:cpu_cores")[0]);
    assert!(is_near(cores, 2.0 * CORES), "{cores}");
    for series in value("plimsoll:request_rate") {
        let (_, rate) = RATES.iter().find(|(le, _)| series["metric"]["le"] == *le).unwrap();
        assert!(is_near(number(&series), 2.0 * rate), "{series}");
    }
    Ok(())
}

fn refused(prometheus: &Path) -> Result<(), Failed> {
    let server = Prometheus::start_with_past(&prometheus.to_owned(), &past());
    let url = server.url();
    let asked = ["--bounds-from", url.as_str()];
    rules(OBJECT, &asked)?;
    let said = rules(&OBJECT.replace("[0.1, 0.5]", "[0.1, 0.3]"), &asked).unwrap_err();
    assert!(said.contains(":10: spec.load.weights.fixed.edges: 0.3 is no bound"), "{said}");
    assert!(said.contains("possible are 0.1, 0.5"), "{said}");
    Ok(())
}

/// Half an hour until a little after now, every fifteen seconds, in the OpenMetrics format.
fn past() -> String {
    let now = ((Clock::system().now() - Time::EPOCH).as_secs_f64() / 15.0).floor() as i64 * 15;
    let mut text = String::from("# TYPE d histogram\n");
    let instants = || (0..).map(|i| now - 1800 + 15 * i).take(160);
    for pod in PODS {
        for (le, rate) in RATES {
            for at in instants() {
                let count = (rate * (at - now + 1800) as f64).round();
                writeln!(text, "d_bucket{{namespace=\"shop\",pod=\"{pod}\",le=\"{le}\"}} {count} {at}")
                    .unwrap();
            }
        }
    }
    text.push_str("# TYPE process_cpu_seconds counter\n");
    for pod in PODS {
        for at in instants() {
            let seconds = CORES * (at - now + 1800) as f64;
            writeln!(text, "process_cpu_seconds_total{{namespace=\"shop\",pod=\"{pod}\"}} {seconds} {at}")
                .unwrap();
        }
    }
    text + "# EOF\n"
}
