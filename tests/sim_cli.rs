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

#[test]
fn wrong_input_ends_with_2_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.req.csv");
    std::fs::File::create(&path).unwrap().write_all(b"timestamp_s,duration_s\n0,1\n1,one\n").unwrap();
    for (arguments, message) in [
        (&["--trace", path.to_str().unwrap()][..], "a.req.csv:3, column duration_s: found \"one\""),
        (&["--trace", "nowhere.req.csv"], "nowhere.req.csv: "),
        (&["--policy", "kubernetes"], "the policies are fixed"),
        (&["--window", "3h..4h"], "no request from 3h to 4h"),
        (&["--window", "4h..3h"], "is not a window"),
        (&["--rate-scale", "100000"], "give --rate-scale"),
        (&["--rate-scale", "0"], "--rate-scale is 0"),
        (&["--cpu-share", "0%"], "--cpu-share is 0%"),
        (&["--cores", "0"], "cores is 0"),
        (&["--min", "9", "--max", "3"], "max is 3"),
        (&["--unknown"], "--unknown"),
    ] {
        let out = sim(arguments);
        let error = text(&out.stderr);
        assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(2), ""), "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
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
