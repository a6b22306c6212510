//! Whole replays: repeatable, fair, and complete.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use plimsoll_sim::cluster::ClusterConfig;
use plimsoll_sim::policy::NAMES;
use plimsoll_sim::replay::{Progress, Stage, replay};
use plimsoll_sim::report::Report;
use plimsoll_sim::scenario::Scenario;
use plimsoll_sim::trace::{Trace, TraceOptions};

fn shop(seed: u64) -> Trace {
    Trace::shop(TraceOptions { seed, window: "50m..70m".parse().unwrap(), ..TraceOptions::default() })
}

fn scenario() -> Scenario {
    Scenario::with_share("70%".parse().unwrap())
}

fn run(seed: u64, scenario: &Scenario, policies: &[&str]) -> Report {
    let policies: Vec<String> = policies.iter().map(|p| (*p).to_owned()).collect();
    replay(&shop(seed), &Scenario { seed, ..scenario.clone() }, &policies, |_| ()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let bytes = |seed| serde_json::to_string(&run(seed, &scenario(), &NAMES)).unwrap();
    let first = bytes(1);
    assert_eq!(first, bytes(1));
    assert_ne!(first, bytes(2));
}

#[test]
fn every_policy_gets_the_same_requests() {
    let report = run(1, &scenario(), &NAMES);
    for score in &report.policies {
        assert_eq!(score.arrived, report.trace.requests, "{}", score.policy);
    }
}

#[test]
fn a_policy_scores_the_same_whoever_else_runs() {
    let together = run(1, &scenario(), &NAMES);
    for (index, name) in NAMES.iter().enumerate() {
        assert_eq!(run(1, &scenario(), &[name]).policies[0], together.policies[index]);
    }
}

#[test]
fn every_request_is_accounted_for_also_when_pods_turn_some_away() {
    let cluster = ClusterConfig { concurrency: Some(5), ..ClusterConfig::default() };
    let report = run(1, &Scenario { cluster, max: 4, ..scenario() }, &NAMES);
    assert!(report.policies.iter().any(|s| s.rejected > 0));
    for s in &report.policies {
        assert_eq!(s.arrived, s.completed + s.in_flight_at_end + s.rejected + s.lost, "{}", s.policy);
    }
}

#[test]
fn too_few_pods_are_short_in_every_minute_and_plenty_in_none() {
    let report = run(1, &scenario(), &["fixed:replicas=1", "fixed:replicas=40"]);
    let [few, plenty] = &report.policies[..] else { panic!("two policies") };
    assert_eq!((few.short_minutes, few.minutes), (20, 20));
    assert_eq!((plenty.short_minutes, plenty.late), (0, 0));
    assert!((plenty.pod_hours - 40.0 / 3.0).abs() < 1e-9);
}

/// While the mix shifts and the number of requests does not, whoever counts requests stays where it is.
#[test]
fn counting_requests_misses_a_change_of_mix_and_weighing_them_does_not() {
    let trace = Trace::shop(TraceOptions::default());
    let policies = ["hpa-qps", "plimsoll"].map(str::to_owned);
    let report = replay(&trace, &scenario(), &policies, |_| ()).unwrap();
    let [qps, plimsoll] = &report.policies[..] else { panic!("two policies") };
    assert!(qps.short_minutes >= 15 && plimsoll.short_minutes <= 1, "{qps:?} {plimsoll:?}");
    assert!(qps.late_percent > 10.0 * plimsoll.late_percent, "{qps:?} {plimsoll:?}");
}

#[test]
fn progress_goes_through_all_stages_and_reaches_the_end() {
    let mut seen: Vec<Progress> = Vec::new();
    let report = replay(&shop(1), &scenario(), &["fixed".to_owned()], |p: Progress| seen.push(p)).unwrap();
    let of = |stage| seen.iter().filter(|p| p.stage == stage).collect::<Vec<_>>();
    for stage in [Stage::Reading, Stage::Fitting, Stage::Replaying] {
        let seen = of(stage);
        assert_eq!(seen.len(), 20, "{stage:?}: once a minute");
        assert!(seen.is_sorted_by_key(|p| p.done));
        let last = seen[19];
        assert_eq!(
            (last.done, last.length, last.requests),
            (last.length, last.length, report.trace.requests)
        );
    }
    assert!(seen.is_sorted_by_key(|p| p.stage));
}

/// 40 core-seconds of work a minute, of which the second minute's arrives with its first nanosecond.
#[test]
fn work_counts_to_the_minute_in_which_it_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.req.csv");
    let rows = ["1,2\n".repeat(40), "60,2\n".repeat(40)].concat();
    std::fs::write(&path, format!("timestamp_s,duration_s\n{rows}")).unwrap();
    let trace = Trace::open(path.to_str().unwrap(), TraceOptions::default()).unwrap();
    let report = replay(&trace, &scenario(), &["fixed:replicas=1".to_owned()], |_| ()).unwrap();
    assert_eq!((report.policies[0].minutes, report.policies[0].short_minutes), (2, 0));
    assert!((report.trace.ideal_pod_hours - 2.0 / 60.0).abs() < 1e-9);
}

#[test]
fn fixed_stays_within_the_bounds_unless_told_otherwise() {
    let most =
        |min, max, name| run(1, &Scenario { min, max, ..scenario() }, &[name]).policies[0].most_replicas;
    assert_eq!(most(1, 4, "fixed"), 4);
    assert_eq!(most(30, 40, "fixed"), 30);
    assert_eq!(most(1, 4, "fixed:replicas=7"), 7);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let no_concurrency = ClusterConfig { concurrency: Some(0), ..ClusterConfig::default() };
    for (scenario, name) in [
        (Scenario { min: 0, ..scenario() }, "min"),
        (Scenario { min: 5, max: 4, ..scenario() }, "max"),
        (Scenario { share: "0.5%".parse().unwrap(), ..scenario() }, "share"),
        (Scenario { share: "70.4%".parse().unwrap(), ..scenario() }, "share"),
        (Scenario { cluster: no_concurrency, ..scenario() }, "concurrency"),
    ] {
        let error = replay(&shop(1), &scenario, &[], |_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is ")), "{error}");
    }
}
