//! `plimsoll-sim forecast` as it is called: what it prints, what it writes, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/sim_command.rs"]
mod sim_command;

use std::process::Output;

use serde_json::Value;
use sim_command::{sim, text, trace};

/// In this order.
const KEYS: [&str; 20] = [
    "schema",
    "trace",
    "step_s",
    "horizon_s",
    "quantile",
    "steps",
    "pinball",
    "pinball_r0",
    "skill",
    "coverage",
    "coverage_r0",
    "worst_day_coverage",
    "mae",
    "mae_persistence",
    "rmse",
    "rmse_persistence",
    "seconds_per_step",
    "seconds_per_refit",
    "seconds_per_day",
    "bytes_per_workload",
];

fn forecast(arguments: &[&str]) -> Output {
    sim("forecast", arguments).output().unwrap()
}

/// Steps of a load that swells and ebbs over a day, a row a minute.
fn swelling(steps: usize) -> String {
    let load = |i: usize| {
        let day = (i as f64 * std::f64::consts::TAU / 1440.0).sin();
        1000.0 + 600.0 * day + 50.0 * (i as f64 * 2.4).sin()
    };
    let row = |i: usize| format!("{},{}\n", 60 * i, load(i).round());
    "timestamp_s,requests\n".to_owned() + &(0..steps).map(row).collect::<String>()
}

#[test]
fn a_forecast_is_scored_in_a_table_and_in_json() {
    let (folder, path) = trace("days.rate.csv", &swelling(4320));
    let file = folder.path().join("forecast.json");
    let asked = ["--trace", &path, "--horizon", "10m", "--quantile", "0.9", "--test-fraction", "0.5"];
    let out = forecast(&[&asked[..], &["--json", file.to_str().unwrap()]].concat());
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
    let table = text(&out.stdout);
    for word in ["the last 2150 steps of 1m", "within 10m", "hold 90 %", "pinball loss", "persistence's; "] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let json = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = json.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(lines, KEYS);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["trace"]), (&1.into(), &path.as_str().into()));
    assert_eq!((&json["step_s"], &json["horizon_s"]), (&60.0.into(), &600.0.into()));
    assert_eq!((&json["quantile"], &json["steps"]), (&0.9.into(), &2150.into()));
    for key in &KEYS[6..] {
        assert!(json[key].as_f64().unwrap() > 0.0, "{key}: {json:#}");
    }
}

/// Figures that are of time differ from run to run.
fn timeless(mut report: Value) -> Value {
    let figures = report.as_object_mut().unwrap();
    figures.retain(|key, _| !key.starts_with("seconds_"));
    report
}

#[test]
fn json_takes_the_place_of_the_table_and_is_the_same_again() {
    let (folder, path) = trace("days.rate.csv", &swelling(3000));
    let html = folder.path().join("page.html");
    let once = || {
        let files = ["--json", "-", "--html", html.to_str().unwrap()];
        let out = forecast(&[&["--trace", &path, "--window", "0s..1d"], &files[..]].concat());
        assert_eq!(out.status.code(), Some(0));
        timeless(serde_json::from_slice(&out.stdout).unwrap())
    };
    let json = once();
    assert_eq!(json["steps"], 1440 - 1008 - 5);
    assert_eq!(json["worst_day_coverage"], Value::Null);
    assert_eq!(json, once());
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(unbalanced(&page), Vec::<String>::new());
    assert!(page.contains("No day was scored") && !page.contains("none is left out"));
}

/// What a page says by its `<data>`: numbers by their key.
fn shown(page: &str) -> Vec<(&str, f64)> {
    let quoted = |tag: &str| -> (String, f64) {
        let mut parts = tag.split('"');
        (parts.next().unwrap().to_owned(), parts.nth(1).unwrap().parse().unwrap())
    };
    let tags = page.split("<data id=\"").skip(1);
    tags.map(|tag| (tag.split('"').next().unwrap(), quoted(tag).1)).collect()
}

/// Tags that are open when the page ends, or closed when they are not. Scripts and styles are text.
fn unbalanced(page: &str) -> Vec<String> {
    const EMPTY: [&str; 2] = ["meta", "link"];
    let (mut open, mut wrong, mut rest) = (Vec::new(), Vec::new(), page);
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').unwrap();
        let name = tag.split_whitespace().next().unwrap().to_owned();
        rest = after;
        if let Some(closed) = name.strip_prefix('/') {
            if open.pop().as_deref() != Some(closed) {
                wrong.push(name);
            }
        } else if !name.starts_with('!') && !EMPTY.contains(&name.as_str()) {
            if ["script", "style"].contains(&name.as_str()) {
                let end = format!("</{name}>");
                rest = rest.split_once(&end).unwrap_or_else(|| panic!("{name} has no end")).1;
            } else {
                open.push(name);
            }
        }
    }
    wrong.extend(open);
    wrong
}

#[test]
fn a_page_is_complete_in_itself_and_has_the_reports_numbers() {
    // The name of a file is nothing to be trusted either.
    let (folder, path) = trace("<b>&'days'</script>.rate.csv".replace('/', "_").as_str(), &swelling(6000));
    let (html, json) = (folder.path().join("forecast.html"), folder.path().join("forecast.json"));
    let files = ["--html", html.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let out = forecast(&[&["--trace", &path, "--test-fraction", "0.8"], &files[..]].concat());
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
    let page = std::fs::read_to_string(html).unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();

    assert_eq!(unbalanced(&page), Vec::<String>::new());
    assert!(page.contains("<title>Forecast of &lt;b&gt;&amp;&#39;days&#39;&lt;_script&gt;.rate.csv</title>"));
    // The one address is in a comment, uPlot's heading.
    assert_eq!((page.matches("://").count(), page.matches("/*! https://").count()), (1, 1));
    assert!(!page.contains(" src=") && page.contains("default-src 'none'"));

    let island = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: Value = serde_json::from_str(island).unwrap();
    assert_eq!(data["report"], report);
    let count = |pointer: &str| data.pointer(pointer).and_then(Value::as_array).unwrap().len();
    assert_eq!(count("/lines/at_s"), 4000);
    for line in ["load", "middle", "bound"] {
        assert_eq!(count(&format!("/lines/{line}")), 4000);
    }
    assert!(page.contains("none is left out"));
    let steps = report["steps"].as_f64().unwrap();
    let missed = (1.0 - report["coverage"].as_f64().unwrap()) * steps;
    assert_eq!(count("/misses/at_s"), missed.round() as usize);

    let numbers = shown(&page);
    let figures = numbers.iter().filter(|(key, _)| !key.starts_with("day-"));
    for (key, number) in figures.clone() {
        assert_eq!(report[key].as_f64(), Some(*number), "{key}");
    }
    assert_eq!(figures.count(), 13);
    let days: Vec<f64> =
        numbers.iter().filter(|(key, _)| key.starts_with("day-")).map(|(_, number)| *number).collect();
    assert_eq!(data["days"]["coverage"], Value::from(days));
}

#[test]
fn what_cannot_be_ends_with_2_and_says_why() {
    let (folder, path) = trace("few.rate.csv", "timestamp_s,requests\n0,5\n60,many\n");
    let (_folder, short) = trace("short.rate.csv", &swelling(80));
    let nowhere = folder.path().join("nowhere/page.html");
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, message) in [
        (
            &["--trace", &path][..],
            format!("{path}:3, column requests: found \"many\", expected a number of requests, such as 42"),
        ),
        (
            &["--trace", &short],
            format!(
                "{short}: its 80 steps are too few for a horizon of 5m: the forecaster would see 56 of them before the test part \
                 and be scored at 19, and needs a horizon and 20 before and 20 to be scored at. Take a longer trace, a shorter \
                 horizon or step, or another test fraction"
            ),
        ),
        (&["--trace", &path, "--horizon", "0s"], "horizon is 0s: expected more than 0s".to_owned()),
        (&["--trace", &path, "--quantile", "0.4"], "quantile is 0.4: expected 0.5 to 0.999".to_owned()),
        (&["--trace", &path, "--quantile", "1"], "quantile is 1: expected 0.5 to 0.999".to_owned()),
        (
            &["--trace", &path, "--test-fraction", "0.95"],
            "test fraction is 0.95: expected 0.01 to 0.9".to_owned(),
        ),
        (&["--trace", &path, "--step", "0s"], "--step is 0s: expected more than 0s".to_owned()),
        // Before the trace is read, which is wrong too.
        (
            &["--trace", &path, "--html", nowhere],
            format!("--html {nowhere}: cannot be written: No such file or directory (os error 2)"),
        ),
        (
            &["--trace", "nowhere.rate.csv"],
            "nowhere.rate.csv: cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
    ] {
        let out = forecast(arguments);
        let expected = format!("plimsoll-sim: {message}\n");
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(2), expected));
        assert_eq!(text(&out.stdout), "");
    }
}
