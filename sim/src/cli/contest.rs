//! What `compare` and `frontier` have in common: fields are made ready, and policies run on them, on all cores.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use indicatif::ProgressBar;
use plimsoll::units::Span;
use rayon::prelude::*;

use super::args::in_range;
use super::assumed::Assumed;
use super::style;
use crate::contest::{Engine, Entry, Field, Size};
use crate::policy::NAMES;
use crate::scenario::ReplayError;

#[derive(Debug, clap::Args)]
pub(super) struct Contest {
    /// What to run policies on: a file, or the built-in trace; may be given several times
    #[arg(long = "trace", value_name = "FILE", default_value = "builtin:shop")]
    traces: Vec<String>,
    /// Policy to run; may be given several times. Default: all
    #[arg(long = "policy", value_name = "NAME[:k=v,…]")]
    policies: Vec<String>,
    /// What runs them. Default: event, and fluid for a .rate.csv longer than two days
    #[arg(long, value_enum)]
    engine: Option<EngineName>,
    /// Requests for each one of the trace. Default: 1, and --mean-pods 20 in the fluid engine
    #[arg(long, value_name = "F", conflicts_with = "mean_pods")]
    rate_scale: Option<f64>,
    /// So many requests that the mean work takes this many pods at full use
    #[arg(long, value_name = "N")]
    mean_pods: Option<f64>,
    /// Write JSON to this file, or in place of the table to standard output (-)
    #[arg(long, value_name = "-|FILE")]
    pub(super) json: Option<String>,
    #[command(flatten)]
    assumed: Assumed,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    /// Request by request: latency is an outcome
    Event,
    /// Load as a number: months in seconds, pods and shortage alone
    Fluid,
}

impl Contest {
    pub(super) fn policies(&self) -> Vec<String> {
        if self.policies.is_empty() { NAMES.map(str::to_owned).to_vec() } else { self.policies.clone() }
    }

    /// The traces, ready. All policies can be run on them.
    pub(super) fn fields(&self) -> Result<Vec<Field>, ReplayError> {
        let options = self.assumed.trace_options()?;
        let scenario = self.assumed.scenario();
        let engine = self.engine.map(|engine| match engine {
            EngineName::Event => Engine::Event,
            EngineName::Fluid => Engine::Fluid,
        });
        let size = match (self.rate_scale, self.mean_pods) {
            (Some(scale), _) => Some(Size::RateScale(in_range(scale)?)),
            (None, Some(pods)) if (0.1..=10_000.0).contains(&pods) => Some(Size::MeanPods(pods)),
            (None, Some(pods)) => {
                let (setting, expected) = ("--mean-pods", "0.1 to 10000");
                return Err(ReplayError::Setting { setting, value: pods.to_string(), expected });
            }
            (None, None) => None,
        };
        let ready = |trace: &String| Field::new(trace, &options, &scenario, engine, size);
        let fields = self.traces.par_iter().map(ready).collect::<Result<Vec<_>, _>>()?;
        for field in &fields {
            self.policies().iter().try_for_each(|policy| field.check(policy))?;
        }
        Ok(fields)
    }
}

/// Runs each policy on its field; what came of it, in the order given. On how many threads changes nothing but the time.
pub(super) fn run(jobs: &[(&Field, &str)]) -> Result<Vec<Entry>, ReplayError> {
    run_by(jobs, Field::run)
}

/// The same with what `how` gives.
pub(super) fn run_by<T: Send>(
    jobs: &[(&Field, &str)],
    how: impl Fn(&Field, &str) -> Result<T, ReplayError> + Sync,
) -> Result<Vec<T>, ReplayError> {
    let bar =
        if io::stderr().is_terminal() { ProgressBar::new(jobs.len() as u64) } else { ProgressBar::hidden() };
    bar.set_style(style("{wide_bar} {pos} of {len} runs, {eta} left"));
    bar.tick();
    let entries = jobs.par_iter().map(|(field, policy)| {
        let entry = how(field, policy);
        bar.inc(1);
        entry
    });
    let entries = entries.collect();
    bar.finish_and_clear();
    entries
}

/// What a field is, in two lines.
pub(super) fn heading(field: &Field) -> String {
    let profile = field.profile();
    let cores = field.scenario().cluster.usable().get();
    let engine = match field.engine() {
        Engine::Event => "request by request",
        Engine::Fluid => "fluid: neither latency nor single requests are seen",
    };
    let scored = match field.warm_up() {
        Span::ZERO => String::new(),
        warm_up => format!(" Scored after {warm_up}."),
    };
    let length = Span::from_secs_f64(profile.length.as_secs_f64());
    let scale = match field.rate_scale() {
        1.0 => String::new(),
        scale => format!(" at {scale:.4} times its rate"),
    };
    format!(
        "{}{scale}: {length}, {engine}.\nWork for {:.1} pods at full use on average, {:.1} in the busiest minute; {} to {} pods, ready {} after creation.{scored}\n",
        field.name(),
        profile.mean_cores().get() / cores,
        profile.peak_minute.get() / cores,
        field.scenario().min,
        field.scenario().max,
        field.scenario().cluster.start_up,
    )
}
