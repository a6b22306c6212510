//! The alerts: promtool finds nothing wrong with them, each is shown to fire and to stay quiet, each has its page in the runbook, and all go by
//! metrics that the adapter has. Without a Prometheus on PATH or in `PLIMSOLL_PROMETHEUS` what needs promtool is reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

#[path = "support/prometheus.rs"]
#[allow(dead_code, reason = "no server is started here")]
mod prometheus;

const ALERTS: &str = include_str!("../deploy/prometheus/alerts.yaml");
const TESTS: &str = include_str!("../deploy/prometheus/alerts.test.yaml");
const RUNBOOK: &str = include_str!("../docs/runbook.md");
const METRICS: &str = include_str!("../docs/api.md");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![
        Trial::test("each alert is shown to fire, and to stay quiet", tested),
        Trial::test("each alert has its page in the runbook, and no page is without one", told_of),
        Trial::test("alerts go by metrics that there are", of_metrics),
    ];
    let promtool = "promtool finds them right, and they do what their tests say";
    trials.push(match prometheus::executable() {
        Ok(prometheus) => Trial::test(promtool, move || right(&prometheus)),
        Err(reason) => {
            Trial::test(format!("{promtool} (ignored: {reason})"), || Ok(())).with_ignored_flag(true)
        }
    });
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The alerts of the file.
fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(ALERTS).unwrap();
    file["groups"][0]["rules"].as_array().unwrap().clone()
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().unwrap()
}

fn right(prometheus: &Path) -> Result<(), Failed> {
    let promtool = prometheus.with_file_name("promtool");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    for words in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new(&promtool).args(words).current_dir(&rules).output()?;
        let said = [output.stdout, output.stderr].concat();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&said).into_owned().into());
        }
    }
    Ok(())
}

fn tested() -> Result<(), Failed> {
    let file: Value = serde_saphyr::from_str(TESTS)?;
    let tests = file["tests"].as_array().unwrap();
    for alert in alerts() {
        let name = name(&alert);
        let test = tests.iter().find(|test| test["name"] == name);
        let test = test.ok_or_else(|| format!("{name} has no test"))?;
        let checks = test["promql_expr_test"].as_array().unwrap();
        let fires = |check: &&Value| !check["exp_samples"].as_array().unwrap().is_empty();
        assert!(checks.iter().any(|check| fires(&check)), "{name} is not shown to fire");
        assert!(!checks.iter().all(|check| fires(&check)), "{name} is not shown to stay quiet");
    }
    Ok(())
}

fn told_of() -> Result<(), Failed> {
    let headings = RUNBOOK.lines().filter_map(|line| line.strip_prefix("### "));
    let headings: BTreeSet<&str> = headings.filter(|heading| heading.starts_with("Plimsoll")).collect();
    let alerts = alerts();
    assert_eq!(headings, alerts.iter().map(name).collect());
    for alert in &alerts {
        let page = format!("docs/runbook.md#{}", name(alert).to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], Value::from(page));
        assert!(["critical", "warning"].contains(&alert["labels"]["severity"].as_str().unwrap()));
    }
    Ok(())
}

fn of_metrics() -> Result<(), Failed> {
    for alert in alerts() {
        let expression = alert["expr"].as_str().unwrap();
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: Vec<&str> = words.filter(|word| word.starts_with("plimsoll_")).collect();
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics {
            assert!(METRICS.contains(&format!("`{metric}`")), "{metric} is not in docs/api.md");
        }
    }
    Ok(())
}
