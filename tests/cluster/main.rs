//! The adapter in a real cluster: etcd, kube-apiserver with its aggregation layer, and kube-controller-manager, whose
//! HorizontalPodAutoscalers are real. Only nodes are pretended: pods are marked ready by a stand-in for the kubelet, and show the
//! metrics page of a load that the test sets.
//!
//! `PLIMSOLL_CONTROL_PLANE` names the program of `tests/controlplane`; without it the suite is reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "../support/authorities.rs"]
#[allow(dead_code, reason = "it is shared with the suite of the API's security")]
mod authorities;
mod control_plane;
mod cpu;
mod kubelet;
mod load;
#[path = "../support/manifest.rs"]
mod manifest;
mod objects;
mod process;
#[path = "../support/prometheus.rs"]
#[allow(dead_code, reason = "it is shared with the suites of a metrics server")]
mod prometheus;
mod rights;
mod scene;
mod trials;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tracing_subscriber::prelude::*;

/// A trial: what it shows, and how.
type Named = (&'static str, fn(&Path) -> Result<(), Failed>);

fn main() -> ExitCode {
    // What the adapter says of itself is shown beside a trial that failed.
    let said = std::env::var("PLIMSOLL_LOG").unwrap_or_else(|_| "warn".to_owned());
    let said: tracing_subscriber::filter::Targets = said.parse().unwrap();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(said);
    tracing_subscriber::registry().with(lines).init();
    let mut arguments = Arguments::from_args();
    // Each has a control plane of its own, of half a gigabyte.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2).min(2));
    let trials = match control_plane::executable() {
        Ok(program) => {
            let trial = |(name, run): Named| {
                let program = program.clone();
                Trial::test(name, move || run(&program))
            };
            let by_hand = trials::by_hand().into_iter().map(trial).map(|trial| trial.with_ignored_flag(true));
            let all = trials::all().into_iter().map(trial).chain(by_hand);
            all.chain([trials::proof(&program)]).collect()
        }
        Err(reason) => {
            let ignored = |(name, _): Named| {
                Trial::test(format!("{name} (ignored: {reason})"), || Ok(())).with_ignored_flag(true)
            };
            trials::all().into_iter().chain(trials::by_hand()).map(ignored).collect()
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}
