//! What people see.

use super::*;

fn run(arguments: &[&str]) -> Run {
    let words = ["plimsoll-sim", "run"].iter().chain(arguments);
    match Args::parse_from(words).command {
        Command::Run(run) => run,
        _ => unreachable!("it says run"),
    }
}

/// The first thing that a newcomer sees. Every number follows from the seed, given the functions of the platform's
/// mathematics library: another one may round the last digit differently.
#[test]
fn the_table_of_the_built_in_trace() {
    insta::assert_snapshot!(table::render(&simulate(&run(&[])).unwrap()));
}

/// All policies on the built-in trace, and every score of each.
#[test]
fn the_comparison_on_the_built_in_trace() {
    let words = ["plimsoll-sim", "compare", "--engine", "fluid", "--mean-pods", "10"];
    match Args::parse_from(words).command {
        Command::Compare(asked) => insta::assert_snapshot!(compare::table_of(&asked).unwrap()),
        _ => unreachable!("it says compare"),
    }
}

#[test]
fn the_arguments_are_sound() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}

#[test]
fn the_defaults_are_the_librarys() {
    let run = run(&[]);
    assert_eq!(run.assumed.scenario(), crate::scenario::Scenario::with_share("70%".parse().unwrap()));
    assert_eq!(run.trace_options().unwrap(), crate::trace::TraceOptions::default());
}

#[test]
fn what_the_pods_are_like_is_said() {
    let said = |arguments: &[&str], expected: &[&str]| {
        let run = run(&[&["--window", "0s..1m", "--policy", "fixed"], arguments].concat());
        let text = table::render(&simulate(&run).unwrap());
        for expected in expected {
            assert!(text.contains(expected), "{text}");
        }
    };
    said(
        &["--limit", "2", "--concurrency", "9"],
        &["Pods: 1 core each that may use 2, 9 requests at once, then reject:2ms, ready 20s"],
    );
    said(
        &["--concurrency", "9", "--beyond", "queue", "--hide", "in-flight"],
        &["each, 9 requests at once, then queue, ready", "Their metrics do not show what is in flight. Seed"],
    );
    said(
        &["--crashes", "2.5"],
        &["of them, each of which crashes 2.5 times an hour. Seed", "or its pod crashed\n"],
    );
    said(&["--balancer", "two-choices"], &["after creation, two choices; 2 to"]);
    said(
        &["--concurrency", "9", "--beyond", "backlog:50", "--hide", "in-flight,rejected"],
        &["then backlog:50", "neither what is in flight nor what is rejected", "or a backlog was full\n"],
    );
}

#[test]
fn a_load_that_never_leaves_the_fewest_replicas_is_said_to() {
    let report =
        simulate(&run(&["--window", "0s..5m", "--rate-scale", "0.1", "--policy", "plimsoll"])).unwrap();
    assert!(table::render(&report).contains("--rate-scale"));
}

#[test]
fn who_wanted_more_than_the_most_replicas_is_named() {
    let report = simulate(&run(&["--window", "50m..65m", "--max", "6", "--policy", "plimsoll"])).unwrap();
    assert!(table::render(&report).contains("plimsoll was held by the most replicas, 6"));
}

#[test]
fn who_is_overloaded_at_the_most_replicas_is_named_and_nobody_is_idle() {
    let report = simulate(&run(&[
        "--window", "55m..65m", "--max", "2", "--policy", "hpa-cpu", "--policy", "plimsoll",
    ]))
    .unwrap();
    let text = table::render(&report);
    for policy in ["hpa-cpu", "plimsoll"] {
        assert!(text.contains(&format!("{policy} was held by the most replicas, 2")), "{text}");
    }
    assert!(!text.contains("No policy ever scaled"), "{text}");
}

#[test]
fn a_note_shows_what_differs_and_nothing_else() {
    let policies = ["--policy", "fixed:replicas=5", "--policy", "fixed:replicas=20"];
    let mut report = simulate(&run(&[&["--window", "50m..65m"][..], &policies].concat())).unwrap();
    let pairs = [(11.5, 0.98), (11.52, 0.31)];
    for (score, (pod_hours, failed_percent)) in report.policies.iter_mut().zip(pairs) {
        (score.pod_hours, score.failed_percent) = (pod_hours, failed_percent);
    }
    let text = table::render(&report);
    let note = "fixed:replicas=5 is beaten by fixed:replicas=20: 0.98 % against 0.31 % late or rejected.\n";
    assert!(text.contains(note), "{text}");
}
