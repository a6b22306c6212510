//! The recording rules that `plimsoll-adapter rules` writes, checked by promtool and evaluated by a real Prometheus. Without one on PATH or in
//! `PLIMSOLL_PROMETHEUS` the tests are reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::load::Sample;
use plimsoll::scale::{Autoscaler, Outcome};
use plimsoll::spec::Spec;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::{Api, Endpoint, Series, Value as QueryValue};
use plimsoll_adapter::collect::{PodCpu, PodNames, QueriedPods, Query, Scraper, ServerCollector};
use plimsoll_adapter::ops::Telemetry;
use serde_json::Value;
use tokio::sync::watch;

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

const TRIALS: [Named; 5] = [
    ("promtool finds nothing wrong with the rules", checked),
    ("promtool counts the object's own requests and no others", counted),
    ("a real server gives what was counted", recorded),
    ("what a real server records is the load that the adapter knows of the same instant", the_same),
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

/// Runs promtool on a file of this text beside the rules. Gives what it said, if it is content.
fn promtool(prometheus: &Path, words: [&str; 2], rules: &str, file: (&str, &str)) -> Result<String, Failed> {
    let scratch = tempfile::tempdir()?;
    std::fs::write(scratch.path().join("rules.yml"), rules)?;
    let (name, text) = file;
    if name != "rules.yml" {
        std::fs::write(scratch.path().join(name), text)?;
    }
    let promtool = prometheus.with_file_name("promtool");
    let output = Command::new(promtool).args(words).arg(name).current_dir(scratch.path()).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(said.into()) }
}

/// What people may write where it can do harm: to PromQL, to YAML around it, and to names that look like something else.
fn hostile() -> String {
    let values = [
        "\"} or up{a=\"",
        "a|b.*",
        "\\",
        "line\nfeed",
        "\r\u{85}\u{2028}\u{feff}\u{ffff}\u{7f}",
        "\t# é: |-",
    ];
    let mut object: Value = serde_saphyr::from_str(OBJECT).unwrap();
    object["metadata"] = serde_json::json!({"name": "null", "namespace": "1e3"});
    object["spec"]["load"]["histogram"] = "d{} or up{a=\"\r\n---\n".into();
    object["spec"]["load"]["matchers"] = serde_json::json!({"x": {"in": values, "notIn": values}});
    // The adapter's own reader takes such characters only as they are written in ASCII.
    let ascii =
        |c: char| if c.is_ascii_graphic() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    serde_json::to_string(&object).unwrap().chars().map(ascii).collect()
}

fn checked(prometheus: &Path) -> Result<(), Failed> {
    for object in [OBJECT.to_owned(), hostile()] {
        let file = rules(&object, &[])?;
        let resource: Value = serde_saphyr::from_str(&rules(&object, &["--format", "prometheus-rule"])?)?;
        for rules in [file, serde_json::to_string(&resource["spec"])?] {
            let said = promtool(prometheus, ["check", "rules"], &rules, ("rules.yml", ""))?;
            assert!(said.contains("3 rules found"), "{said}");
        }
    }
    let labels =
        &serde_saphyr::from_str::<Value>(&rules(&hostile(), &[])?)?["groups"][0]["rules"][0]["labels"];
    assert_eq!(*labels, serde_json::json!({"namespace": "1e3", "autoscaler": "null"}));
    Ok(())
}

/// Two pods, which write the same bound differently, and what must not count: a probe, another namespace, another workload.
fn counted(prometheus: &Path) -> Result<(), Failed> {
    let mut series = Vec::new();
    let mut add = |labels: &str, le: &str, rate: f64| {
        series.push(serde_json::json!({
            "series": format!("d_bucket{{{labels},le=\"{le}\"}}"),
            "values": format!("0+{}x40", 15.0 * rate),
        }));
    };
    for (pod, half) in [(PODS[0], "0.5"), (PODS[1], "0.50")] {
        for (le, rate) in RATES {
            let own = format!("namespace=\"shop\",pod=\"{pod}\"");
            add(&own, if le == "0.5" { half } else { le }, rate);
            add(&format!("{own},handler=\"/healthz\""), le, 100.0);
            add(&format!("namespace=\"bank\",pod=\"{pod}\""), le, 100.0);
            add("namespace=\"shop\",pod=\"checkout-db-0\"", le, 100.0);
        }
    }
    let own = "namespace=\"shop\",autoscaler=\"checkout\"";
    let sample = |labels: &str, value: f64| serde_json::json!({"labels": labels, "value": value});
    let test = serde_json::json!({
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [{
            "interval": "15s",
            "input_series": series,
            "promql_expr_test": [
                {"expr": "plimsoll:metricsqps", "eval_time": "5m",
                 "exp_samples": [sample(&format!("plimsoll:metricsqps{{{own}}}"), 60.0)]},
                {"expr": "plimsoll:request_rate", "eval_time": "5m", "exp_samples": [
                    sample(&format!("plimsoll:request_rate{{{own},le=\"0.1\"}}"), 16.0),
                    sample(&format!("plimsoll:request_rate{{{own},le=\"0.5\"}}"), 11.0),
                    sample(&format!("plimsoll:request_rate{{{own},le=\"0.50\"}}"), 11.0),
                    sample(&format!("plimsoll:request_rate{{{own},le=\"+Inf\"}}"), 24.0),
                ]},
                {"expr": "plimsoll:cpu_cores", "eval_time": "5m"},
            ],
        }],
    });
    promtool(prometheus, ["test", "rules"], &rules(OBJECT, &[])?, ("test.yml", &test.to_string()))?;
    Ok(())
}

/// Longest time that the server is given to record, and how far apart two looks may be that are of the same instant.
const PATIENCE: Duration = Duration::from_secs(60);
const SAME: Span = Span::from_millis(1200);

#[tokio::main]
async fn the_same(prometheus: &Path) -> Result<(), Failed> {
    let object = OBJECT.replace("window: 2m", "window: 2m, interval: 1s");
    // A server takes nothing into its past: that ends now.
    let past = past_until(0);
    let server = Prometheus::start_with_rules(&prometheus.to_owned(), &past, &rules(&object, &[])?);
    let endpoint = Endpoint::parse(&server.url())?;
    let document: Value = serde_saphyr::from_str(&object)?;
    let spec: Spec = serde_json::from_value(document["spec"].clone())?;
    let target = spec.scale_target_ref.clone();
    let pods = QueriedPods {
        names: PodNames::Of(target),
        warming: 0,
        updating: false,
        replicas: None,
        cpu: PodCpu::default(),
        target: None,
    };
    let clock = Clock::system();
    let scraper =
        Scraper::new(clock.clone(), Arc::new(Telemetry::new(Arc::new(Board::default()), clock.clone())));
    let times = (Span::from_secs(10), Span::from_secs(120));
    let key = ObjectKey::new("shop", "checkout");
    let mut collector =
        ServerCollector::new(key, Query::new(&spec.load), times, &endpoint, watch::channel(pods).1, scraper);
    let api = Api::new(&endpoint, clock, times.0);
    // All series of one evaluation, and when that was.
    let recorded = async || -> (Vec<Series>, Option<f64>) {
        let at = api.query("max(timestamp(plimsoll:metricsqps))").await.unwrap().series;
        let series = api.query("{__name__=~\"plimsoll:.*\",namespace=\"shop\"}").await.unwrap().series;
        (series, at.first().map(number))
    };
    let matching = async {
        loop {
            let (series, at) = recorded().await;
            let sample = collector.round().await.unwrap();
            let asked = (sample.at - Time::EPOCH).as_secs_f64();
            if series.len() == 2 + RATES.len() && at.is_some_and(|at| (asked - at).abs() < SAME.as_secs_f64())
            {
                return (series, sample);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (series, sample): (Vec<Series>, Sample) = tokio::time::timeout(PATIENCE, matching).await?;

    let mut autoscaler = Autoscaler::new(spec.check()?);
    autoscaler.observe(&sample)?;
    let Outcome::Desired(desired) = autoscaler.decide(sample.at).outcome else { panic!("the load is known") };
    let of = |name: &'static str| series.iter().filter(move |series| series.labels["__name__"] == name);
    let load = number(of("plimsoll:metricsqps").next().unwrap());
    for known in [desired.load.raw, desired.load.metricsqps] {
        assert!(is_near(load, known.get()), "recorded {load}, the adapter says {known}");
    }
    let [group] = sample.groups.as_slice() else { panic!("one group") };
    let cores = number(of("plimsoll:cpu_cores").next().unwrap());
    assert!(is_near(cores, group.cpu.unwrap().get()), "{cores} {:?}", group.cpu);
    let mut up_to = 0.0;
    let known = group.histograms[0].rates().iter().map(|rate| {
        up_to += rate.get();
        up_to
    });
    for ((le, _), known) in RATES.into_iter().zip(known.collect::<Vec<_>>()) {
        let rate = number(of("plimsoll:request_rate").find(|series| series.labels["le"] == le).unwrap());
        assert!(is_near(rate, known), "{le}: recorded {rate}, the adapter says {known}");
    }
    assert!(series.iter().all(|series| series.labels["autoscaler"] == "checkout"));
    Ok(())
}

fn number(series: &Series) -> f64 {
    let QueryValue::Number(value) = series.value else { panic!("a number") };
    value
}

fn is_near(found: f64, expected: f64) -> bool {
    (found / expected - 1.0).abs() < 0.02
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

/// Half an hour until a little after now: a server answers for its own present.
fn past() -> String {
    past_until(39)
}

/// Half an hour until so many steps of fifteen seconds after now, in the OpenMetrics format.
fn past_until(steps: i64) -> String {
    let now = ((Clock::system().now() - Time::EPOCH).as_secs_f64() / 15.0).floor() as i64 * 15;
    let mut text = String::from("# TYPE d histogram\n");
    let instants = || (0..).map(|i| now - 1800 + 15 * i).take((121 + steps) as usize);
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
