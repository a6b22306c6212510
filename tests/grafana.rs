//! The dashboards: each has a shape that Grafana takes, and each panel's queries, sent to a real Prometheus that has three days of what the
//! adapter tells of itself, give data; and those of what a demo has, to one that scrapes the running demo. Without a Prometheus on PATH or in `PLIMSOLL_PROMETHEUS` the latter is reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::scale::Autoscaler;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::finding::Finding;
use plimsoll_adapter::ops::Telemetry;
use serde_json::Value;

#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/shop.rs"]
mod shop;

use prometheus::Prometheus;

const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana");
const METRICS: &str = include_str!("../docs/api.md");

/// Values of the dashboards' variables, the longer names first.
const VARIABLES: [(&str, &str); 7] = [
    ("$__rate_interval", "10m"),
    ("${datasource}", "prometheus"),
    ("$namespace", "shop"),
    ("$period", "1d"),
    ("$ahead", "2m"),
    ("$price", "0.05"),
    ("$name", "checkout"),
];

const DAYS: i64 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    type Test = fn(&PathBuf) -> Result<(), Failed>;
    let asked: [(&str, Test); 2] = [
        ("each panel's queries give data", answered),
        ("what the running demo tells is on the panels", scraped),
    ];
    let executable = prometheus::executable();
    let asked = asked.map(|(name, test)| match executable.clone() {
        Ok(executable) => Trial::test(name, move || test(&executable)),
        Err(reason) => Trial::test(format!("{name} (ignored: {reason})"), || Ok(())).with_ignored_flag(true),
    });
    let shape = Trial::test("dashboards have their shape", shaped);
    libtest_mimic::run(&arguments, [shape].into_iter().chain(asked).collect()).exit_code()
}

/// The dashboards by file.
fn dashboards() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(Path::new(DASHBOARDS)).unwrap().map(|file| file.unwrap().path());
    let dashboard = |file: PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap())
    };
    files.map(dashboard).collect()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn shaped() -> Result<(), Failed> {
    let dashboards = dashboards();
    assert_eq!(dashboards.len(), 5);
    let uids: BTreeSet<&str> = dashboards.values().map(|d| d["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), dashboards.len(), "each has its own");
    for (file, dashboard) in &dashboards {
        let panels = panels(dashboard);
        let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{file}: two panels of one id");
        let mut cells = BTreeSet::new();
        for panel in panels {
            let title = panel["title"].as_str().unwrap();
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{file}: {title} is wider than the page");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(cells.insert((x, y)), "{file}: {title} lies over another panel");
                }
            }
            if panel["type"] != "row" {
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{file}: {title}");
                assert!(!panel["targets"].as_array().unwrap().is_empty(), "{file}: {title} asks nothing");
            }
        }
        for (panel, query) in queries(dashboard) {
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for metric in words.filter(|word| word.starts_with("plimsoll_")) {
                let metric = metric.trim_end_matches("_bucket");
                assert!(METRICS.contains(&format!("`{metric}`")), "{file}: {panel}: what is {metric}?");
            }
        }
    }
    Ok(())
}

/// The queries of all panels, with the panels' titles.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let query = move |target: Value| (title.clone(), target["expr"].as_str().unwrap().to_owned());
        targets.into_iter().map(query).collect::<Vec<_>>()
    };
    panels(dashboard).iter().flat_map(of_panel).collect()
}

fn answered(executable: &PathBuf) -> Result<(), Failed> {
    // Long enough ago for the last page not to be of the future.
    let end = Clock::system().now() - Span::from_secs(600);
    let end = Time::EPOCH + Span::from_secs((end - Time::EPOCH).as_millis() / 60_000 * 60);
    let server = Prometheus::start_with_past(executable, &past(end));
    let mut problems = String::new();
    for (file, dashboard) in dashboards() {
        for (panel, query) in queries(&dashboard) {
            let query = with(&query, &VARIABLES);
            assert!(!query.contains('$'), "{query}");
            if let Err(body) = ask(&server, &query, Some(end)) {
                writeln!(problems, "{file}: {panel}: {query}\n    {body}")?;
            }
        }
    }
    assert!(problems.is_empty(), "\n{problems}");
    Ok(())
}

fn with(query: &str, variables: &[(&str, &str)]) -> String {
    variables.iter().fold(query.to_owned(), |query, (variable, value)| query.replace(variable, value))
}

/// Whether the server has a finite number for the query.
fn ask(server: &Prometheus, query: &str, at: Option<Time>) -> Result<(), String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("query", query);
    if let Some(at) = at {
        form.append_pair("time", &((at - Time::EPOCH).as_millis() / 1000).to_string());
    }
    let (status, body) = server.get(&format!("/api/v1/query?{}", form.finish())).unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let is_finite = |one: &Value| one["value"][1].as_str().unwrap().parse::<f64>().unwrap().is_finite();
    if status == 200 && series.iter().any(is_finite) { Ok(()) } else { Err(body) }
}

/// A demo, which ends with this.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Longest time that the demo and the server are given.
const PATIENCE: Span = Span::from_secs(60);

fn scraped(executable: &PathBuf) -> Result<(), Failed> {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"))
        .args(["demo", "--speed", "60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let said = BufReader::new(demo.stdout.take().unwrap());
    let _demo = Demo(demo);
    let mut lines = said.lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let (_, rest) = line.split_once("http://127.0.0.1:")?;
        let port = rest.strip_suffix("/metrics")?.to_owned();
        Some(format!("127.0.0.1:{port}"))
    });
    let address = address.ok_or("the demo does not say where its metrics are")?;
    // Who does not read what it says stops it.
    std::thread::spawn(move || lines.for_each(drop));
    let scrape =
        format!("{{job_name: plimsoll, honor_labels: true, static_configs: [{{targets: [\"{address}\"]}}]}}");
    let server = Prometheus::start_with(executable, &scrape);
    let variables = VARIABLES.map(|(variable, value)| match variable {
        "$__rate_interval" => (variable, "20s"),
        "$namespace" => (variable, "default"),
        "$name" => (variable, "shop"),
        _ => (variable, value),
    });
    let clock = Clock::system();
    let began = clock.now();
    let mut asked = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        for (panel, query) in queries(&dashboard) {
            let query = with(&query, &variables);
            // What a demo has not: a past, whole minutes, a cluster, weights that are learned, and trouble.
            let has_not = [
                "offset",
                ":1m]",
                "condition",
                "weights_",
                "unit_cost",
                "fit_r2",
                "skill",
                "coverage",
                "expert",
                "_errors_",
            ];
            if has_not.iter().any(|word| query.contains(word)) {
                continue;
            }
            while let Err(body) = ask(&server, &query, None) {
                assert!(clock.now() - began < PATIENCE, "{file}: {panel}: {query}\n    {body}");
                std::thread::sleep(Duration::from_millis(200));
            }
            asked.insert(format!("{file}: {panel}"));
        }
    }
    assert!(asked.len() >= 25, "{asked:?}");
    Ok(())
}

/// Three days until `end` of what the adapter tells, in the OpenMetrics format: a workload whose weights are learned and whose load is
/// foreseen, and one whose load is not known.
fn past(end: Time) -> String {
    let begin = end - Span::from_secs(DAYS * 86_400);
    let (clock, hand) = Clock::manual(begin);
    let board = Arc::new(Board::default());
    let telemetry = Telemetry::new(Arc::clone(&board), clock);
    let mut pages = Pages::default();
    let mut checkout = Autoscaler::new(shop::spec());
    let mut blind = Autoscaler::new(shop::spec());
    let ready = Finding {
        kind: "Ready",
        holds: Some(false),
        reason: "NoReadyPods".into(),
        message: "there are none".into(),
    };
    let (cell, other) =
        (board.cell(&ObjectKey::new("shop", "checkout")), board.cell(&ObjectKey::new("shop", "cart")));
    other.tell(vec![ready.clone()]);
    cell.tell(vec![Finding { holds: Some(true), reason: "Deciding".into(), ..ready }]);
    let mut replicas = 4;
    for minute in 0..=DAYS * 1440 {
        let at = begin + Span::from_secs(60 * minute);
        hand.set(at);
        checkout.observe(&shop::sample(at, replicas, minute)).unwrap();
        let decision = checkout.decide(at);
        replicas = decision.outcome.replicas().map_or(replicas, |(replicas, _)| replicas);
        cell.publish(decision);
        other.publish(blind.decide(at));
        telemetry.answered(200, Span::from_millis(1));
        telemetry.round_took(Span::from_millis(40));
        telemetry.scrape_failed(&ObjectKey::new("shop", "cart"), "Timeout");
        telemetry.query_failed(&ObjectKey::new("shop", "cart"), "Timeout");
        // The last day by the minute, the days before as often as a range needs.
        if minute % 4 == 0 || minute > (DAYS - 1) * 1440 {
            pages.add(&telemetry.page(), at);
        }
    }
    pages.text()
}

/// Pages of many instants as one: families together, as the format wants it.
#[derive(Default)]
struct Pages(BTreeMap<String, (Vec<String>, Vec<String>)>);

impl Pages {
    fn add(&mut self, page: &str, at: Time) {
        let seconds = (at - Time::EPOCH).as_millis() / 1000;
        let mut family = String::new();
        for line in page.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.split(' ');
                let (Some(word), Some(name)) = (words.next(), words.next()) else { continue };
                if word == "EOF" {
                    continue;
                }
                family = name.to_owned();
                let (heads, _) = self.0.entry(family.clone()).or_default();
                if !heads.iter().any(|head| head == line) {
                    heads.push(line.to_owned());
                }
            } else if let Some((_, samples)) = self.0.get_mut(&family) {
                // The format lets nobody write an empty set of labels.
                samples.push(format!("{} {seconds}", line.replace("{}", "")));
            }
        }
    }

    fn text(&self) -> String {
        let families = self.0.values().map(|(heads, samples)| {
            let lines = heads.iter().chain(samples);
            lines.flat_map(|line| [line, "\n"]).collect::<String>()
        });
        families.chain(["# EOF\n".to_owned()]).collect()
    }
}
