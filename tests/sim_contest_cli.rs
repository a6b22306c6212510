//! `plimsoll-sim compare` and `frontier` as they are called: what they print, what they refuse, and that threads change nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/sim_command.rs"]
mod sim_command;

use std::process::Output;

use serde_json::Value;
use sim_command::{text, trace};

fn sim(command: &str, threads: &str, arguments: &[&str]) -> Output {
    sim_command::sim(command, arguments).env("RAYON_NUM_THREADS", threads).output().unwrap()
}

fn json(out: &Output) -> Value {
    assert!(out.status.success(), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A folder with three days of a load that swells and ebbs, a row a minute.
fn days() -> (tempfile::TempDir, String) {
    let load = |i: usize| {
        let swell = (i as f64 * std::f64::consts::TAU / 1440.0).sin();
        1000.0 + 600.0 * swell + ((i * 7919) % 101) as f64
    };
    let rows: String = (0..3 * 1440).map(|i| format!("{},{}\n", 60 * i, load(i).round())).collect();
    trace("days.rate.csv", &format!("timestamp_s,requests\n{rows}"))
}

const SHORT: [&str; 4] = ["--window", "0s..4m", "--policy", "hpa-cpu"];

#[test]
fn a_comparison_has_all_scores_with_their_units() {
    let (_folder, path) = days();
    let asked = ["--policy", "hpa-cpu", "--policy", "mean-recent:utilization=100", "--json", "-"];
    let out = json(&sim(
        "compare",
        "2",
        &[&["--trace", "builtin:shop", "--window", "0s..4m"], &asked[..]].concat(),
    ));
    assert_eq!(out["schema"], 1);
    let entries = out["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    for key in [
        "pod_hours",
        "minutes",
        "short_minutes",
        "short_time_ratio",
        "shortage_ratio",
        "pods_mean",
        "churn",
        "theta_u_percent",
        "theta_o_percent",
        "tau_u_percent",
        "tau_o_percent",
        "instability_percent",
        "late_percent",
        "failed_percent",
        "latency_p50_s",
        "latency_p95_s",
        "latency_p99_s",
        "scale_ups",
        "scale_downs",
        "most_replicas",
    ] {
        assert!(entries.iter().all(|entry| entry[key].is_number()), "{key}");
    }
    assert_eq!(entries[0]["engine"], "event");
    let out = json(&sim("compare", "2", &[&["--trace", &path], &asked[..]].concat()));
    let [own, other] = [&out["entries"][0], &out["entries"][1]];
    assert_eq!((&own["engine"], &own["latency_p99_s"]), (&Value::from("fluid"), &Value::Null));
    assert_eq!(own["minutes"], 1296, "the last three tenths are scored");
    // Against itself every ratio is one.
    for key in ["speedup_theta_o", "speedup_tau_o"] {
        assert_eq!(own[key], 1.0, "{key}");
        assert!(other[key].as_f64().unwrap() > 1.0, "{key}: fewer pods are too many");
    }
}

#[test]
fn threads_change_nothing() {
    let (_folder, path) = days();
    let asked = ["--trace", &path, "--trace", "builtin:shop", "--window", "0s..30m", "--engine", "fluid"];
    let compare = [&asked[..], &["--json", "-"]].concat();
    let frontier = [&compare[..], &["--points", "3"]].concat();
    for (command, arguments) in [("compare", &compare), ("frontier", &frontier)] {
        let [one, two] = ["1", "2"].map(|threads| sim(command, threads, arguments));
        assert!(one.status.success(), "{}", text(&one.stderr));
        assert_eq!(one.stdout, two.stdout, "{command}");
    }
    let [one, two] =
        ["1", "2"].map(|threads| sim("compare", threads, &[&SHORT[..], &["--policy", "fixed"]].concat()));
    assert_eq!((&one.stdout, one.status.code()), (&two.stdout, Some(0)));
}

#[test]
fn a_frontier_gives_pods_at_equal_shortage_or_says_never() {
    let (folder, path) = days();
    let page = folder.path().join("page.html");
    let asked = [
        "--trace",
        &path,
        "--policy",
        "clairvoyant",
        "--policy",
        "hpa-cpu",
        "--policy",
        "fixed:replicas=9",
        "--points",
        "6",
    ];
    let out = json(&sim("frontier", "2", &[&asked[..], &["--json", "-"]].concat()));
    assert_eq!(out["shortages"], serde_json::json!([0.005, 0.02]));
    let pods =
        |curve: usize, share: usize| out["curves"][curve]["at_equal_short_time"][share]["pods"].as_f64();
    assert!(pods(0, 0).unwrap() < pods(1, 0).unwrap(), "the clairvoyant pays least");
    assert!(pods(1, 1).unwrap() <= pods(1, 0).unwrap(), "more shortage costs no more");
    assert_eq!(pods(2, 0), None, "nine pods are always too few");
    assert_eq!(out["curves"][1]["points"].as_array().unwrap().len(), 6);
    assert_eq!(out["curves"][1]["points"][5]["knob_value"], 100.0);
    let out = sim("frontier", "2", &[&asked[..], &["--html", page.to_str().unwrap()]].concat());
    let table = text(&out.stdout);
    assert!(table.contains("pods at 0.5 % short") && table.contains("never"), "{table}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("hpa-cpu") && !page.contains(folder.path().to_str().unwrap()),
        "no path of this machine"
    );
}

#[test]
fn wrong_input_ends_with_2_and_says_where() {
    for (command, arguments, message) in [
        ("compare", &["--policy", "keda"][..], "there is no policy \"keda\""),
        ("compare", &["--mean-pods", "0"], "--mean-pods is 0: expected 0.1 to 10000"),
        ("frontier", &["--rate-scale", "0"], "--rate-scale is 0: expected a number above 0, up to 10^6"),
        ("frontier", &["--points", "1"], "1 is not in 2..=200"),
        ("frontier", &["--shortage", "0.5"], "--shortage"),
        ("frontier", &["--policy", "cron:margin=99"], "cron: margin=99: expected a share from -0.9 to 10"),
    ] {
        let out = sim(command, "1", &[&["--window", "0s..3m"], arguments].concat());
        assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(2), ""), "{arguments:?}");
        assert!(text(&out.stderr).contains(message), "{}", text(&out.stderr));
    }
}

const PRICES: &str = "\
currency: EUR
regions:
  north: {onDemand: 1, reserved: {pods: 1, price: 0.5}, spot: {price: 0.25, share: 50%, interruptionsPerHour: 0.1}}
  south: {onDemand: 2}
";

#[test]
fn a_report_bills_by_the_prices_of_a_region() {
    let (folder, prices) = trace("prices.yaml", PRICES);
    let html = folder.path().join("report.html");
    let asked =
        [&["--prices", &prices, "--points", "0", "--html", html.to_str().unwrap()], &SHORT[..]].concat();
    let of = |region: &str| {
        json(&sim("report", "2", &[&asked[..], &["--region", region, "--json", "-"]].concat()))
    };
    let (north, south) = (of("north"), of("south"));
    assert_eq!(
        (&north["schema"], &north["traces"][0]["frontiers"]),
        (&Value::from(1), &Value::Array(vec![]))
    );
    let cost =
        |report: &Value, what: &str| report["traces"][0]["policies"][0]["cost"][what].as_f64().unwrap();
    let minutes = north["traces"][0]["policies"][0]["minutes"].as_f64().unwrap();
    // One of two or more pods is reserved all the time; of the others half are on spot.
    assert!((cost(&north, "reserved") - 0.5 * minutes / 60.0).abs() < 1e-9);
    assert!((cost(&north, "spot") - 0.25 * cost(&north, "on_demand")).abs() < 1e-9);
    let pods = cost(&south, "total") / 2.0;
    let paid = minutes / 60.0 + 2.0 * cost(&north, "on_demand");
    assert!((pods - paid).abs() < 1e-9, "{pods} {paid}");
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(
        page.contains("hpa-cpu") && page.contains("Load and replicas") && !page.contains("At equal shortage")
    );
}

#[test]
fn prices_and_pages_that_cannot_be_had_are_told() {
    let (folder, prices) = trace("prices.yaml", PRICES);
    let html = folder.path().join("report.html");
    let refused = |more: &[&str], expected: &str| {
        let asked = [&["--points", "0", "--html", html.to_str().unwrap()], &SHORT[..], more].concat();
        let out = sim("report", "2", &asked);
        let said = text(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains(expected), "{more:?}: {said}");
    };
    refused(&["--prices", &prices], "give --region, one of north, south");
    refused(&["--prices", &prices, "--region", "west"], "one of north, south was expected");
    refused(&["--prices", "nowhere.yaml"], "nowhere.yaml: ");
    refused(&["--price=-1"], "--price: ");
    let (_other, wrong) = trace("wrong.yaml", "regions: {north: {onDemand: 1, onDemend: 2}}");
    refused(&["--prices", &wrong], "onDemend");
    let out = sim("report", "2", &["--html", "/nowhere/at/all.html", "--points", "0", "--policy", "fixed"]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("--html /nowhere/at/all.html"));
}
