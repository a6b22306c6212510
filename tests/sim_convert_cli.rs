//! `plimsoll-sim convert` as it is called: what it makes of what people have, that the simulator takes it, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/sim_command.rs"]
#[allow(dead_code, reason = "it is shared with the suites of other commands")]
mod sim_command;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use sim_command::text;

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    let (command, rest) = arguments.split_first().unwrap();
    sim_command::sim(command, rest).current_dir(folder).output().unwrap()
}

fn convert(folder: &Path, arguments: &[&str]) -> String {
    let out = sim(folder, &[&["convert"], arguments].concat());
    assert!(out.status.success(), "{arguments:?}: {}", text(&out.stderr));
    text(&out.stderr).to_owned()
}

/// What the simulator makes of a trace.
fn run(folder: &Path, trace: &str) -> Value {
    let out = sim(folder, &["run", "--trace", trace, "--policy", "fixed", "--json", "-"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Ten minutes of an access log, in the order of the requests' ends, with a line of another kind in it.
fn access_log() -> String {
    let mut log = String::from("2026/01/05 08:59:59 [notice] 1#1: start worker processes\n");
    for i in 0..6000 {
        let (minute, second) = (i / 600, (i / 10) % 60);
        let took = if i % 20 == 0 { "1.250" } else { "0.050" };
        writeln!(
            log,
            "10.0.0.{} - - [05/Jan/2026:09:{minute:02}:{second:02} +0000] \"GET /cart?id={i} HTTP/1.1\" 200 512 \"-\" \"curl/8\" {took}",
            i % 250
        )
        .unwrap();
    }
    log
}

#[test]
fn an_access_log_becomes_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("access.log"), access_log()).unwrap();
    let said = convert(folder.path(), &["--from", "log", "access.log", "--out", "shop.req.csv.gz"]);
    // The first request that came was answered 1.25 s later.
    assert!(said.contains("shop.req.csv.gz: 6000 requests from 2026-01-05T08:59:58Z"), "{said}");
    assert!(said.contains("1 lines were passed over; access.log:1: there is no instant"), "{said}");
    let report = run(folder.path(), "shop.req.csv.gz");
    assert_eq!(report["trace"]["requests"], 6000);
    let p50 = report["trace"]["duration_p50_s"].as_f64().unwrap();
    assert!((p50 - 0.05).abs() < 0.005, "{p50}");
    // Counted, from the same log without durations.
    convert(folder.path(), &["--from", "log", "--duration", "none", "access.log", "--out", "shop.rate.csv"]);
    let counted = std::fs::read_to_string(folder.path().join("shop.rate.csv")).unwrap();
    let rows: Vec<&str> = counted.lines().collect();
    assert_eq!((rows.len(), rows[0], rows[1], rows[10]), (11, "timestamp_s,requests", "0,600", "540,600"));
    assert_eq!(run(folder.path(), "shop.rate.csv")["trace"]["requests"], 6000);
}

/// What Prometheus answers when it is asked for the rates of buckets.
fn answer() -> Value {
    let series = |le: &str, rate: f64| {
        let values: Vec<Value> =
            (0..10).filter(|i| *i != 5).map(|i| json!([1_767_600_060 + 60 * i, rate.to_string()])).collect();
        json!({"metric": {"le": le}, "values": values})
    };
    let result = [series("+Inf", 10.0), series("0.1", 8.0), series("0.5", 9.5)];
    json!({"status": "success", "data": {"resultType": "matrix", "result": result}})
}

#[test]
fn rates_of_buckets_become_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.json"), answer().to_string()).unwrap();
    let said = convert(folder.path(), &["--from", "prometheus", "shop.json", "--out", "shop.hist.csv"]);
    assert!(said.contains("5400 requests in 10 steps of 1m from 2026-01-05T08:00:00Z"), "{said}");
    let written = std::fs::read_to_string(folder.path().join("shop.hist.csv")).unwrap();
    assert!(
        written.starts_with("timestamp_s,le_0.1,le_0.5,le_+Inf\n0,480,90,30\n60,480,90,30\n"),
        "{written}"
    );
    assert!(written.contains("\n300,0,0,0\n"), "a step that is missing is one without requests");
    assert_eq!(run(folder.path(), "shop.hist.csv")["trace"]["requests"], 5400);
    convert(folder.path(), &["--from", "prometheus", "shop.json", "--out", "shop.rate.csv"]);
    assert!(std::fs::read_to_string(folder.path().join("shop.rate.csv")).unwrap().contains("\n60,600\n"));
}

#[test]
fn days_of_functions_become_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let minutes: Vec<String> = (1..=1440).map(|i| i.to_string()).collect();
    let header = format!("HashOwner,HashApp,HashFunction,Trigger,{}", minutes.join(","));
    let row =
        |trigger: &str, count: u32| format!("o,a,f,{trigger},{}", vec![count.to_string(); 1440].join(","));
    for day in ["d01.csv", "d02.csv"] {
        let text = format!("{header}\n{}\n{}\n", row("http", 2), row("timer", 5));
        std::fs::write(folder.path().join(day), text).unwrap();
    }
    let files = ["--from", "azure-functions", "d01.csv", "d02.csv", "--out", "f.rate.csv"];
    convert(folder.path(), &files);
    let written = std::fs::read_to_string(folder.path().join("f.rate.csv")).unwrap();
    assert_eq!((written.lines().count(), written.lines().last()), (2881, Some("172740,7")));
    convert(folder.path(), &[&files[..], &["--only", "http"]].concat());
    let written = std::fs::read_to_string(folder.path().join("f.rate.csv")).unwrap();
    assert_eq!(written.lines().last(), Some("172740,2"));
}

#[test]
fn what_makes_no_trace_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    put("access.log", &access_log());
    put("words.log", "just\nsome\nwords\n");
    put("empty.log", "");
    put("answer.json", &answer().to_string());
    put("vector.json", &answer().to_string().replace("matrix", "vector"));
    put("broken.json", "{\"status\":\n oops");
    put("gap.json", &answer().to_string().replace("1767600120", "1767600121"));
    put("warned.json", &answer().to_string().replacen('{', "{\"warnings\":[\"a store is gone\"],", 1));
    put("partial.json", &answer().to_string().replacen('{', "{\"isPartial\":true,", 1));
    put("error.json", r#"{"status":"error","errorType":"execution","error":"too many samples"}"#);
    put("far.json", &answer().to_string().replace("1767600060", "0"));
    put("day.csv", "HashOwner,Trigger,1,2\no,http,1,2\n");
    let refused = |arguments: &[&str], expected: &str| {
        let out = sim(folder.path(), &[&["convert", "--from"], arguments].concat());
        let said = text(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains(expected), "{arguments:?}: {said}");
    };
    refused(
        &["log", "words.log", "--out", "a.req.csv"],
        "words.log:1: there is no instant where it should be, as in 3 of 3",
    );
    refused(
        &["log", "--duration", "rt=", "access.log", "--out", "a.req.csv"],
        "no duration where it should be",
    );
    refused(&["log", "empty.log", "--out", "a.req.csv"], "empty.log: there is no request in it");
    refused(&["log", "nowhere.log", "--out", "a.req.csv"], "nowhere.log: ");
    refused(&["log", "access.log", "--out", "a.csv"], "a.csv: name it *.req.csv");
    refused(&["log", "--duration", "none", "access.log", "--out", "a.req.csv"], "a.req.csv: the durations");
    refused(&["log", "access.log", "--out", "nowhere/a.req.csv"], "--out nowhere/a.req.csv");
    refused(&["log", "--step", "0s", "access.log", "--out", "a.rate.csv"], "--step 0s");
    refused(&["log", "--step", "12h", "access.log", "--out", "a.rate.csv"], "all of it lies in one step");
    refused(
        &["log", "--only", "http", "access.log", "--out", "a.rate.csv"],
        "--only: is for --from azure-functions",
    );
    refused(&["prometheus", "--unit", "ms", "answer.json", "--out", "a.rate.csv"], "--unit: says how a line");
    refused(
        &["azure-functions", "--step", "1h", "day.csv", "--out", "a.rate.csv"],
        "--step: these invocations",
    );
    refused(&["prometheus", "answer.json", "answer.json", "--out", "a.rate.csv"], "one answer at a time");
    refused(&["prometheus", "--step", "7s", "answer.json", "--out", "a.rate.csv"], "uneven steps");
    refused(
        &["prometheus", "warned.json", "--out", "a.rate.csv"],
        "warned.json: the server warns that its answer is not whole (a store is gone)",
    );
    refused(
        &["prometheus", "partial.json", "--out", "a.rate.csv"],
        "partial.json: the server says that its answer is partial",
    );
    refused(
        &["prometheus", "error.json", "--out", "a.rate.csv"],
        "error.json: the server refused: too many samples",
    );
    refused(&["prometheus", "far.json", "--out", "a.rate.csv"], "steps are more than 10000000");
    refused(
        &["prometheus", "vector.json", "--out", "a.rate.csv"],
        "vector.json:1: found success with a vector",
    );
    refused(&["prometheus", "broken.json", "--out", "a.rate.csv"], "broken.json:2: ");
    refused(&["prometheus", "gap.json", "--out", "a.rate.csv"], "uneven steps");
    refused(&["prometheus", "answer.json", "--out", "a.req.csv"], "only numbers of requests are known");
    refused(
        &["azure-functions", "day.csv", "--out", "a.rate.csv"],
        "day.csv:1: found HashOwner,Trigger,1,2…",
    );
}

#[test]
fn a_file_stays_as_it_was_where_nothing_comes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("access.log"), access_log()).unwrap();
    std::fs::write(at("empty.log"), "").unwrap();
    let failing: [(&[&str], &str); 4] = [
        (&["access.log", "--duration", "none"], "keep.req.csv"),
        (&["access.log"], "keep.hist.csv"),
        (&["access.log", "--step", "2d"], "keep.rate.csv"),
        (&["empty.log"], "keep.req.csv"),
    ];
    for (arguments, name) in failing {
        for before in [Some("older"), None] {
            match before {
                Some(text) => std::fs::write(at(name), text).unwrap(),
                None => std::fs::remove_file(at(name)).unwrap(),
            }
            let out =
                sim(folder.path(), &[&["convert", "--from", "log"], arguments, &["--out", name]].concat());
            assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
            assert_eq!(std::fs::read_to_string(at(name)).ok().as_deref(), before, "{name}");
        }
    }
}

#[test]
fn a_query_that_lacks_every_other_step_is_read_by_the_step_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<Value> = (0..3).map(|i| json!([1_767_600_060 + 120 * i, "1"])).collect();
    let series = |le: &str| json!({"metric": {"le": le}, "values": values});
    let result = [series("0.0"), series("0.1"), series("+Inf")];
    let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
    std::fs::write(folder.path().join("gaps.json"), answer.to_string()).unwrap();
    convert(folder.path(), &["--from", "prometheus", "--step", "1m", "gaps.json", "--out", "a.hist.csv"]);
    let written = std::fs::read_to_string(folder.path().join("a.hist.csv")).unwrap();
    assert_eq!(written, "timestamp_s,le_0.1,le_+Inf\n0,60,0\n60,0,0\n120,60,0\n180,0,0\n240,60,0\n");
}
