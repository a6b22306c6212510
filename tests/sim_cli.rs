//! The program as it is called: what it prints where, and its exit status.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/sim_command.rs"]
mod sim_command;

use std::process::{Output, Stdio};

use sim_command::{text, trace};

const SHORT: [&str; 4] = ["--window", "0s..3m", "--policy", "plimsoll"];

fn sim(arguments: &[&str]) -> Output {
    sim_command::sim("run", arguments).output().unwrap()
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
            "there is no policy \"kubernetes\": the policies are fixed, hpa-cpu, hpa-qps, hpa-metricsqps, cpu-per-request, \
             max-recent, mean-recent, knative-kpa, cron, aws-like, phpa-like, crane-like, ahpa-like, plimsoll-reactive, plimsoll, \
             clairvoyant"
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
    let mut child =
        sim_command::sim("run", &SHORT).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
}

fn fit(arguments: &[&str]) -> Output {
    sim_command::sim("fit", arguments).output().unwrap()
}

/// Core-seconds of a request of each class, and cores of an idle pod.
const COSTS: [f64; 3] = [0.002, 0.03, 0.4];
const IDLE: f64 = 0.05;

const FIT_KEYS: [&str; 15] = [
    "congested",
    "identifiable",
    "idle_cores_per_pod",
    "idle_interval",
    "intervals",
    "lagged",
    "mae_cores",
    "message",
    "r2",
    "r2_cpu_per_request",
    "r2_qps",
    "samples",
    "schema",
    "unit_cost_core_s",
    "weights",
];

/// Rates of each class in row `i`: each comes and goes in its own time.
fn rates(i: usize) -> [f64; 3] {
    let wave =
        |mean: f64, period: f64| mean * (1.0 + 0.8 * (i as f64 * std::f64::consts::TAU / period).sin());
    [wave(100.0, 23.0), wave(20.0, 11.0), wave(1.0, 7.0)]
}

fn pods(i: usize) -> f64 {
    (2 + i / 40) as f64
}

/// Rows of a workload whose costs are known, as Unix time. `wobble` is the share of CPU that nothing explains.
fn samples(rows: usize, wobble: f64) -> String {
    let row = |i: usize| {
        let (pods, rates) = (pods(i), rates(i));
        let cpu = IDLE * pods + rates.iter().zip(COSTS).map(|(rate, cost)| rate * cost).sum::<f64>();
        // A different sign from row to row, in no step with the rates.
        let cpu = cpu * (1.0 + wobble * (i as f64 * 2.4).sin());
        format!("{}.5,{pods},{cpu},{},{},{}\n", 1_790_000_000 + 15 * i, rates[0], rates[1], rates[2])
    };
    let header = "timestamp_s,pods,cpu_cores,le_0.01,le_0.1,le_+Inf\n";
    header.to_owned() + &(0..rows).map(row).collect::<String>()
}

fn fitted(content: &str, more: &[&str]) -> serde_json::Value {
    let (_folder, path) = trace("samples.csv", content);
    let out = fit(&[&["--samples", &path, "--json", "-"], more].concat());
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn costs_that_are_known_are_found_within_their_intervals() {
    // The unit is the mean request's cost by the rates and costs that are found.
    let mean: [f64; 3] = std::array::from_fn(|class| (0..160).map(|i| rates(i)[class]).sum::<f64>() / 160.0);
    let unit = mean.iter().zip(COSTS).map(|(rate, cost)| rate * cost).sum::<f64>() / mean.iter().sum::<f64>();
    for (wobble, near) in [(0.0, 0.001), (0.03, 0.1)] {
        let json = fitted(&samples(160, wobble), &[]);
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), FIT_KEYS);
        assert_eq!(
            (&json["schema"], &json["samples"], &json["congested"]),
            (&1.into(), &160.into(), &0.into())
        );
        for (class, cost) in ["le_0.01", "le_0.1", "le_+Inf"].into_iter().zip(COSTS) {
            let weight = json["weights"][class].as_f64().unwrap();
            let [low, high] = [0, 1].map(|end| json["intervals"][class][end].as_f64().unwrap());
            assert!(low <= weight && weight <= high, "{class}: {json:#}");
            assert!((weight / (cost / unit) - 1.0).abs() < near, "{class}: {json:#}");
        }
        let found = |key: &str| json[key].as_f64().unwrap();
        assert!((found("unit_cost_core_s") / unit - 1.0).abs() < near, "{json:#}");
        assert!((found("idle_cores_per_pod") / IDLE - 1.0).abs() < 5.0 * near, "{json:#}");
        let [low, high] = [0, 1].map(|end| json["idle_interval"][end].as_f64().unwrap());
        assert!(low <= found("idle_cores_per_pod") && found("idle_cores_per_pod") <= high);
        assert!(
            found("r2") > 0.95 && found("r2") > found("r2_qps").max(found("r2_cpu_per_request")),
            "{json:#}"
        );
        assert!(found("mae_cores") < 0.05);
        assert_eq!(json["identifiable"], true);
        assert_eq!(json["message"], "the samples tell all costs that matter");
    }
}

#[test]
fn costs_that_the_samples_do_not_tell_are_null_and_the_message_says_what_would() {
    // The second class is always a tenth of the first.
    let always_together = |line: &str| {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        if let Ok(first) = fields[3].parse::<f64>() {
            fields[4] = (first / 10.0).to_string();
        }
        fields.join(",") + "\n"
    };
    let json = fitted(&samples(160, 0.03).lines().map(always_together).collect::<String>(), &[]);
    for class in ["le_0.01", "le_0.1"] {
        assert!(json["weights"][class].is_null() && json["intervals"][class].is_null(), "{json:#}");
    }
    assert_eq!(json["identifiable"], false);
    let message = json["message"].as_str().unwrap();
    assert!(message.contains("class 1, 2") && message.contains("load test"), "{message}");

    let few = fitted(&samples(5, 0.0), &[]);
    assert!(few["r2"].is_null() && few["mae_cores"].is_null(), "{few:#}");
    assert_eq!(few["message"], "5 samples; 16 are needed at least: wait");
}

#[test]
fn rows_that_show_congestion_are_not_learned_from() {
    let honest = samples(160, 0.03);
    let calm: String = honest
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let more = if i == 0 { "cores_per_pod,in_flight,rejected" } else { "8,3,0" };
            format!("{line},{more}\n")
        })
        .collect();
    // While 100 requests a second are turned away the pods use 5 cores and tell next to no requests.
    let congested: String = calm
        .lines()
        .enumerate()
        .map(|(i, line)| {
            if (50..60).contains(&i) {
                let at = line.split(',').next().unwrap();
                format!("{at},3,5,1,1,1,8,3,100\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    let (calm, congested) = (fitted(&calm, &[]), fitted(&congested, &[]));
    assert_eq!((&calm["congested"], &congested["congested"]), (&0.into(), &10.into()));
    for class in ["le_0.01", "le_0.1", "le_+Inf"] {
        let [without, with] = [&calm, &congested].map(|json| json["weights"][class].as_f64().unwrap());
        assert!((with / without - 1.0).abs() < 0.1, "{class}: {without} {with}");
    }
    assert!(congested["r2"].as_f64().unwrap() > 0.95, "{congested:#}");
}

#[test]
fn wrong_samples_end_with_2_and_say_where() {
    let header = "timestamp_s,pods,cpu_cores,le_0.01,le_0.1,le_+Inf";
    let expected_header = "the header timestamp_s,pods,cpu_cores,le_0.005,…,le_+Inf with ascending bounds in seconds, and \
                           after them, if known, cores_per_pod,in_flight,rejected";
    let no_number = "a number that is not negative, such as 12.5";
    for (content, line, found, expected) in [
        ("", ":1", "", expected_header),
        ("time,cpu\n0,1\n", ":1", "time,cpu", expected_header),
        (
            "timestamp_s,pods,cpu_cores,le_0.1,le_0.01,le_+Inf\n",
            ":1",
            "timestamp_s,pods,cpu_cores,le_0.1,le_0.01,le_+Inf",
            expected_header,
        ),
        (&format!("{header}\n0,1,0.5,1,1,1\n15,1,0.5,1,many,1\n"), ":3, column le_0.1", "many", no_number),
        (&format!("{header}\n0,1,0.5,1,1,1\n15,1,-0.5,1,1,1\n"), ":3, column cpu_cores", "-0.5", no_number),
        (&format!("{header}\n0,1,0.5,1,1,1\n15,1,0.5,1,1\n"), ":3", "5 fields", "6, one a column"),
        (
            &format!("{header}\n0,1,0.5,1,1,1\n"),
            ":3",
            "the end",
            "at least two rows: their distance is the length of a window",
        ),
        (
            &format!("{header}\n0,1,0.5,1,1,1\n30,1,0.5,1,1,1\n15,1,0.5,1,1,1\n"),
            ":4, column timestamp_s",
            "15",
            "more than 30: rows are in the order of time",
        ),
    ] {
        let (_folder, path) = trace("samples.csv", content);
        let out = fit(&["--samples", &path]);
        let expected = format!("plimsoll-sim: {path}{line}: found {found:?}, expected {expected}\n");
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(2), expected));
        assert_eq!(text(&out.stdout), "");
    }
    let out = fit(&["--samples", "nowhere.csv"]);
    let expected = "plimsoll-sim: nowhere.csv: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(2), expected));
}

#[test]
fn what_was_learned_goes_to_a_file_beside_the_table_or_is_refused_before_the_work() {
    let (folder, path) = trace("samples.csv", &samples(160, 0.03));
    let json = folder.path().join("costs.json");
    let out = fit(&["--samples", &path, "--json", json.to_str().unwrap()]);
    let table = text(&out.stdout);
    assert!(table.contains("le_+Inf") && table.contains("Weight 1 is the mean request"), "{table}");
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(written, fitted(&samples(160, 0.03), &[]));
    let out = fit(&["--samples", "nowhere.csv", "--json", "/nowhere/costs.json"]);
    let expected = "plimsoll-sim: --json /nowhere/costs.json: cannot be written: No such file or directory (os error 2)\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(2), expected));
}

#[test]
fn durations_are_lent_as_they_are_asked_for() {
    let rows: String = (0..10).map(|i| format!("{},300\n", 60 * i)).collect();
    let (folder, path) = trace("a.rate.csv", &format!("timestamp_s,requests\n{rows}"));
    let mixes = folder.path().join("mixes.csv");
    std::fs::write(&mixes, "mix,le_s,count\nslow,1.9,0\nslow,2,9\nquick,0.01,9\n").unwrap();
    let run = |mix: &str| {
        let asked = ["--trace", &path, "--policy", "fixed", "--json", "-", "--mix", mix];
        sim_command::sim("run", &asked).output().unwrap()
    };
    let median = |mix: &str| {
        let out = run(mix);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        (
            report["trace"]["duration_p50_s"].as_f64().unwrap(),
            report["trace"]["mix"].as_str().unwrap().to_owned(),
        )
    };
    let mixes = mixes.to_str().unwrap();
    let (slow, name) = median(&format!("{mixes}:slow"));
    assert!((1.85..=2.05).contains(&slow) && name == "mixes.csv:slow", "{slow} {name}");
    let (log_normal, name) = median("lognormal:300ms,0.5");
    assert!((0.27..=0.33).contains(&log_normal) && name == "lognormal:300ms,0.5", "{log_normal} {name}");
    assert_eq!(median("usual").1, "usual");
    for (mix, expected) in [
        ("odd", "usual, lognormal:MEDIAN,SIGMA, or a file"),
        ("lognormal:0s,1", "such as lognormal:30ms,1.2"),
        ("lognormal:1s", "such as lognormal:30ms,1.2"),
        (mixes, "FILE:NAME to say which"),
        (&format!("{mixes}:odd"), "one of the mixes quick, slow"),
    ] {
        let out = run(mix);
        assert!(
            out.status.code() == Some(2) && text(&out.stderr).contains(expected),
            "{}",
            text(&out.stderr)
        );
    }
}
