//! What people see.

use super::*;

fn run(arguments: &[&str]) -> Run {
    let words = ["plimsoll-sim", "run"].iter().chain(arguments);
    let Args { command: Command::Run(run) } = Args::parse_from(words);
    run
}

/// The first thing that a newcomer sees. Every number follows from the seed, given the functions of the platform's
/// mathematics library: another one may round the last digit differently.
#[test]
fn the_table_of_the_built_in_trace() {
    insta::assert_snapshot!(table::render(&simulate(&run(&[])).unwrap()));
}

#[test]
fn the_arguments_are_sound() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}

#[test]
fn the_defaults_are_the_librarys() {
    let run = run(&[]);
    assert_eq!(run.scenario(), crate::scenario::Scenario::with_share("70%".parse().unwrap()));
    assert_eq!(run.trace_options().unwrap(), crate::trace::TraceOptions::default());
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
