//! The command line `plimsoll-sim`.
//!
//! Results go to standard output, everything else to standard error. What was asked for wrongly ends with status 2 and a
//! message that says where and what to do; a reader that closes its pipe is no error.

mod args;
mod table;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use plimsoll::units::Span;

use crate::replay::{Progress, replay};
use crate::report::Report;
use crate::scenario::ReplayError;
use crate::trace::Trace;
use args::{Args, Command, Run};

/// Requests, times policies, from which a bar shows how far it is: a few seconds.
const LONG: u64 = 5_000_000;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let Args { command: Command::Run(run) } = Args::parse();
    match execute(&run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads errors there is nobody to tell.
            let _ = writeln!(io::stderr(), "plimsoll-sim: {error:#}");
            ExitCode::from(if error.is::<ReplayError>() { 2 } else { 1 })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

fn execute(run: &Run) -> anyhow::Result<()> {
    let report = simulate(run)?;
    let json = || serde_json::to_string_pretty(&report).map(|text| text + "\n");
    let mut out = io::stdout().lock();
    match run.json.as_deref() {
        Some("-") => return Ok(out.write_all(json()?.as_bytes())?),
        Some(path) => fs::write(path, json()?).with_context(|| path.to_owned())?,
        None => {}
    }
    Ok(out.write_all(table::render(&report).as_bytes())?)
}

/// Everything but the output.
fn simulate(run: &Run) -> Result<Report, ReplayError> {
    let trace = Trace::open(&run.trace, run.trace_options()?)?;
    let policies = run.policies();
    let terminal = io::stderr().is_terminal();
    let mut bar: Option<ProgressBar> = None;
    let progress = |Progress { requests, length, done }| {
        if terminal && requests.saturating_mul(policies.len() as u64) > LONG {
            let bar = bar.get_or_insert_with(|| new_bar(length));
            bar.set_position(done.as_millis().unsigned_abs());
        }
    };
    let report = replay(&trace, &run.scenario(), &policies, progress);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    report
}

fn new_bar(length: Span) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent} % of the trace, {eta} left");
    ProgressBar::new(length.as_millis().unsigned_abs())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests;
