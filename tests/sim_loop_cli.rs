//! `plimsoll-sim loop` as it is called: what it prints, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/sim_command.rs"]
mod sim_command;

use std::process::Output;

use sim_command::{sim, text, trace};

const KEYS: [&str; 24] = [
    "actuator",
    "churn",
    "clairvoyant_short_time_ratio",
    "instability_percent",
    "lead_s",
    "objective",
    "pods_clairvoyant",
    "pods_mean",
    "pods_reactive_best",
    "pods_reactive_best_at_equal_short_time",
    "reactive_best",
    "reactive_best_short_time_ratio",
    "requests_per_s_and_pod",
    "rules",
    "schema",
    "short_time_ratio",
    "shortage_ratio",
    "step_s",
    "steps",
    "tau_o_percent",
    "tau_u_percent",
    "theta_o_percent",
    "theta_u_percent",
    "trace",
];

fn closed_loop(arguments: &[&str]) -> Output {
    sim("loop", arguments).output().unwrap()
}

/// Days of a load that swells and ebbs, a row a minute.
fn swelling(days: usize) -> String {
    let load = |i: usize| 1000.0 + 600.0 * (i as f64 * std::f64::consts::TAU / 1440.0).sin();
    let row = |i: usize| format!("{},{}\n", 60 * i, load(i).round());
    "timestamp_s,requests\n".to_owned() + &(0..1440 * days).map(row).collect::<String>()
}

#[test]
fn a_loop_compares_rules_in_a_table_and_in_json() {
    let (folder, path) = trace("days.rate.csv", &swelling(3));
    for actuator in ["ideal", "hpa"] {
        let json = folder.path().join("loop.json");
        let asked = ["--trace", &path, "--lead", "10m", "--objective", "1%", "--actuator", actuator];
        let out = closed_loop(&[&asked[..], &["--json", json.to_str().unwrap()]].concat());
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
        let table = text(&out.stdout);
        for word in ["the last 1296 steps of 1m", "plimsoll", "clairvoyant", "max60", "SPEC"] {
            assert!(table.contains(word), "{table}");
        }
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), KEYS);
        assert_eq!((&json["schema"], &json["trace"]), (&1.into(), &path.as_str().into()));
        assert_eq!((&json["step_s"], &json["lead_s"]), (&60.0.into(), &600.0.into()));
        assert_eq!((&json["objective"], &json["actuator"]), (&0.01.into(), &actuator.into()));
        let rules = json["rules"].as_array().unwrap();
        let names: Vec<&str> = rules.iter().filter_map(|rule| rule["rule"].as_str()).collect();
        assert_eq!(names, ["reactive", "mean5", "max15", "max60", "ewma"]);
        for rule in rules {
            for key in ["utilization", "short_time_ratio", "pods_mean"] {
                assert!(rule[key].is_number(), "{key}: {json:#}");
            }
        }
        let pods = |key: &str| json[key].as_f64().unwrap();
        assert!(pods("pods_clairvoyant") < pods("pods_reactive_best"), "{json:#}");
    }
}

#[test]
fn a_loop_that_cannot_be_ends_with_2_and_says_why() {
    let (_folder, path) = trace("few.rate.csv", "timestamp_s,requests\n0,5\n60,many\n");
    let (_folder, short) = trace("short.rate.csv", "timestamp_s,requests\n0,5\n60,5\n");
    for (arguments, message) in [
        (
            &["--trace", &path][..],
            format!("{path}:3, column requests: found \"many\", expected a number of requests, such as 42"),
        ),
        (
            &["--trace", &short],
            format!(
                "{short}: its 2 steps are too few: 34 are needed, so that each part is as long as the lead and the hold"
            ),
        ),
        (&["--trace", &path, "--lead", "0s"], "lead is 0s: expected more than 0s".to_owned()),
        (
            &["--trace", &path, "--test-fraction", "0.5"],
            "test fraction is 0.5: expected 0.01 to 0.4".to_owned(),
        ),
        (&["--trace", &path, "--step", "0s"], "--step is 0s: expected more than 0s".to_owned()),
        (
            &["--trace", "nowhere.rate.csv"],
            "nowhere.rate.csv: cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
    ] {
        let out = closed_loop(arguments);
        let expected = format!("plimsoll-sim: {message}\n");
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(2), expected));
        assert_eq!(text(&out.stdout), "");
    }
}
