//! The command line `plimsoll-sim`.
//!
//! Results go to standard output, everything else to standard error. What was asked for wrongly ends with status 2 and a
//! message that says where and what to do; a reader that closes its pipe is no error.

mod args;
mod assumed;
mod closed_loop;
mod compare;
mod contest;
mod convert;
mod costs;
mod forecast;
mod frontier;
mod output;
mod priced;
mod report;
mod table;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use plimsoll::units::Span;

use crate::backtest::BacktestError;
use crate::convert::ConvertError;
use crate::costs::learn;
use crate::fluid::{FluidError, compare};
use crate::replay::{Progress, Stage, replay};
use crate::report::Report;
use crate::samples::Samples;
use crate::scenario::ReplayError;
use crate::trace::{Trace, TraceError};
use args::{Args, Command, Run, WrongSeries};
use output::{Output, Unwritable};
use priced::WrongPrices;

/// Events, in all passes over the trace, from which a bar shows how far it is: a few seconds.
const LONG: u64 = 5_000_000;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let Args { command } = Args::parse();
    match execute(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads errors there is nobody to tell.
            let _ = writeln!(io::stderr(), "plimsoll-sim: {error:#}");
            let wrong_input = error.is::<ReplayError>()
                || error.is::<TraceError>()
                || error.is::<WrongSeries>()
                || error.is::<FluidError>()
                || error.is::<BacktestError>()
                || error.is::<WrongPrices>()
                || error.is::<ConvertError>()
                || error.is::<Unwritable>();
            ExitCode::from(if wrong_input { 2 } else { 1 })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

fn execute(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Run(run) => {
            let output = Output::open(run.json.as_deref())?;
            let report = simulate(run)?;
            output.write(&report, || table::render(&report))
        }
        Command::Fit(fit) => {
            let output = Output::open(fit.json.as_deref())?;
            let samples = Samples::open(&fit.samples)?;
            let names = samples.classes().to_vec();
            let learned = learn(samples, fit.settings())?;
            output.write(&learned, || costs::render(&names, &learned))
        }
        Command::Loop(args) => {
            let output = Output::open(args.json.as_deref())?;
            let settings = args.settings();
            settings.check()?;
            let comparison = compare(&args.series.open()?, &settings)?;
            output.write(&comparison, || closed_loop::render(&comparison))
        }
        Command::Forecast(args) => forecast::execute(args),
        Command::Compare(args) => compare::execute(args),
        Command::Frontier(args) => frontier::execute(args),
        Command::Report(args) => report::execute(args),
        Command::Convert(args) => convert::execute(args),
    }
}

/// Everything but the output.
fn simulate(run: &Run) -> Result<Report, ReplayError> {
    let trace = Trace::open(&run.trace, run.trace_options()?)?;
    let policies = run.policies();
    let terminal = io::stderr().is_terminal();
    let mut bar: Option<ProgressBar> = None;
    // The fit takes about as long as a policy.
    let passes = policies.len() as u64 + 1;
    let progress = |progress: Progress| {
        if terminal && work(&progress).saturating_mul(passes) > LONG {
            let millis = |span: Span| span.as_millis().unsigned_abs();
            let Progress { stage, requests, length, done } = progress;
            let bar = bar.get_or_insert_with(new_bar);
            let position = match stage {
                Stage::Reading => return bar.set_message(format!("{requests} requests read")),
                Stage::Fitting => millis(done),
                Stage::Replaying => millis(length).saturating_add(millis(done).saturating_mul(passes - 1)),
            };
            if bar.length().is_none() {
                bar.set_length(millis(length).saturating_mul(passes));
                bar.set_style(style("{wide_bar} {percent} % done, {eta} left"));
                bar.reset_eta();
            }
            bar.set_position(position);
        }
    };
    let report = replay(&trace, &run.assumed.scenario(), &policies, progress);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    report
}

/// Events of one pass, roughly: requests, and a dozen ticks of the timers a minute.
fn work(progress: &Progress) -> u64 {
    progress.requests.saturating_add(progress.length.as_millis().unsigned_abs() / 5000)
}

/// Without a length: that is not known until the trace has been read.
fn new_bar() -> ProgressBar {
    ProgressBar::no_length().with_style(style("{spinner} {msg}"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests;
