//! The program as it is called: what it prints where, and its exit status.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

const SHORT: [&str; 4] = ["--window", "0s..3m", "--policy", "plimsoll"];

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll-sim")).arg("run").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn json_replaces_the_table_or_goes_to_a_file() {
    let out = sim(&[&SHORT[..], &["--json", "-"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((json["schema"].as_u64(), out.status.code()), (Some(1), Some(0)));
    for field in ["pod_hours", "short_minutes", "late_percent", "latency_p99_s", "rejected"] {
        assert!(json["policies"][0][field].is_number(), "{field}");
    }
    let score = &json["policies"][0];
    assert!(score["target_value"].as_f64().unwrap() > 1.0);
    assert_eq!(score["target_unit"], "% CPU");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let out = sim(&[&SHORT[..], &["--json", path.to_str().unwrap()]].concat());
    assert!(text(&out.stdout).contains("pod-hours"));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap(), json);
}

#[test]
fn nothing_but_results_and_errors_is_written_where_nobody_watches() {
    let out = sim(&SHORT);
    assert_eq!(text(&out.stderr), "");
    assert!(out.status.success());
}

/// A folder with one trace in it.
fn trace(name: &str, content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// Standard error of a run that must end with 2 and print nothing.
fn refused(arguments: &[&str]) -> String {
    let out = sim(arguments);
    let error = text(&out.stderr);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(2), ""), "{arguments:?}: {error}");
    error
}

#[test]
fn wrong_input_ends_with_2_and_says_where() {
    let (_folder, path) = trace("a.req.csv", "timestamp_s,duration_s\n0,1\n1,one\n");
    for (arguments, message) in [
        (
            &["--trace", &path][..],
            format!("{path}:3, column duration_s: found \"one\", expected seconds, such as 12.5"),
        ),
        (
            &["--trace", "nowhere.req.csv"],
            "nowhere.req.csv: cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            &["--policy", "kubernetes"],
            "there is no policy \"kubernetes\": the policies are fixed, hpa-cpu, hpa-qps, hpa-metricsqps, plimsoll"
                .to_owned(),
        ),
        (
            &["--policy", "plimsoll:target=1,target=2"],
            "plimsoll: target is set twice: give it once".to_owned(),
        ),
        (
            &["--window", "3h..4h"],
            "builtin:shop: there is no request from 3h to 4h; the trace must have at least one there".to_owned(),
        ),
        (
            &["--window", "60m..60m30s"],
            "the window from 1h to 1h30s is not whole minutes long: results are minute by minute; end it at 1h1m"
                .to_owned(),
        ),
        (
            &["--rate-scale", "100000"],
            "builtin:shop: 43200000000 requests are too many to simulate one by one (at most 100000000): give \
             --rate-scale 200 for fewer of them, or a shorter --window"
                .to_owned(),
        ),
        (&["--rate-scale", "0"], "--rate-scale is 0: expected a number above 0, up to 10^6".to_owned()),
        (&["--cpu-share", "0%"], "--cpu-share is 0%: expected more than 0%".to_owned()),
        (&["--cores", "0"], "cores is 0: expected 0.01 to 1024".to_owned()),
        (&["--share", "70.4%"], "share is 70.4%: expected 1% to 100%, in whole percent".to_owned()),
        (
            &["--limit", "0.7"],
            "limit is 0.7: expected 0.01 to 1024, and more than the share of the cores".to_owned(),
        ),
        (&["--crashes", "4000"], "crashes is 4000: expected 0 to 3600 an hour".to_owned()),
        (&["--concurrency", "0"], "concurrency is 0: expected at least 1".to_owned()),
        (
            &["--min", "9", "--max", "3"],
            "max is 3, min 9: expected at least min, at most 100000".to_owned(),
        ),
    ] {
        assert_eq!(refused(arguments), format!("plimsoll-sim: {message}\n"));
    }
    assert!(refused(&["--concurrency", "9", "--beyond", "drop"]).contains("backlog:128"));
    assert!(refused(&["--beyond", "queue"]).contains("--concurrency"));
    assert!(refused(&["--window", "4h..3h"]).contains("is not a window"));
    assert!(refused(&["--unknown"]).contains("--unknown"));
}

#[test]
fn unix_time_is_refused_unless_the_window_begins_there() {
    let (_folder, path) = trace("a.req.csv", "timestamp_s,duration_s\n1700000000.5,0.1\n1700000030,0.1\n");
    let expected = format!(
        "plimsoll-sim: {path}:2, column timestamp_s: found \"1700000000.5\", expected seconds from the trace's \
         beginning, or from the window's, less than a year: is this Unix time? Then give --window FROM..TO, such \
         as 1700000000s..1700003600s\n"
    );
    assert_eq!(refused(&["--trace", &path]), expected);
    let out = sim(&["--trace", &path, "--window", "1700000000s..1700000060s", "--policy", "fixed"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

#[test]
fn an_absurd_duration_is_asked_about() {
    let rows = "timestamp_s,duration_s\n1,0.1\n70,1000000000\n";
    let (_folder, path) = trace("a.req.csv", rows);
    let expected = format!(
        "plimsoll-sim: {path}: the minute that begins at 1m has 8333333.3 cores of work, which takes 11904762 pods \
         (at most 100000): are its durations in seconds? If so, give more --cores or a smaller --rate-scale\n"
    );
    assert_eq!(refused(&["--trace", &path]), expected);
}

#[test]
fn a_trace_without_work_is_named_and_one_long_request_is_enough() {
    let (_folder, path) = trace("a.req.csv", "timestamp_s,duration_s\n0,0\n1,0\n");
    assert_eq!(refused(&["--trace", &path]), format!("plimsoll-sim: {path}: no request needs any CPU\n"));
    let (_folder, path) = trace("a.req.csv", "timestamp_s,duration_s\n0,300\n");
    let out = sim(&["--trace", &path, "--policy", "hpa-metricsqps"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("0.00467 MetricsQPS"), "{}", text(&out.stdout));
}

#[test]
fn huge_counts_are_too_many_and_no_crash() {
    let rows = "timestamp_s,le_1,le_+Inf\n0,9007199254740991,9007199254740991\n60,0,0\n";
    let (_folder, path) = trace("a.hist.csv", rows);
    let error = refused(&["--trace", &path, "--rate-scale", "1000000"]);
    assert!(error.contains("requests are too many"), "{error}");
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_the_run() {
    let error = refused(&["--json", "/nowhere/report.json", "--trace", "nowhere.req.csv"]);
    let expected = "plimsoll-sim: --json /nowhere/report.json: cannot be written: No such file or directory (os error 2)\n";
    assert_eq!(error, expected);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_filled_costs_no_table() {
    let out = sim(&[&SHORT[..], &["--json", "/dev/full"]].concat());
    assert!(text(&out.stdout).contains("pod-hours"));
    let expected = "plimsoll-sim: /dev/full: No space left on device (os error 28)\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(1), expected));
}

#[test]
fn a_report_that_was_there_is_replaced_by_a_shorter_one_and_kept_by_a_failed_run() {
    let (_folder, path) = trace("report.json", &"x".repeat(100_000));
    refused(&["--json", &path, "--trace", "nowhere.req.csv"]);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 100_000);
    assert!(sim(&[&SHORT[..], &["--json", &path]].concat()).status.success());
    serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap();
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll-sim"))
        .arg("run")
        .args(SHORT)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
}
