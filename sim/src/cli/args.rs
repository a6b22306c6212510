//! What can be asked for.

use clap::{Parser, Subcommand};
use plimsoll::load::FitSettings;
use plimsoll::units::Span;

use crate::scenario::ReplayError;
use crate::series::Series;
use crate::trace::{TraceError, TraceOptions, Window};

use super::assumed::Assumed;
use super::closed_loop::{self, Loop};
use super::compare::{self, Compare};
use super::convert::{self, Convert};
use super::forecast::{self, Forecast};
use super::frontier::{self, Frontier};
use super::report::{self, Report};

/// What autoscaling policies would have cost, and broken.
#[derive(Debug, Parser)]
#[command(name = "plimsoll-sim", version, propagate_version = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Replay a request trace under several policies and compare them
    #[command(after_long_help = POLICIES)]
    Run(Run),
    /// Run policies on traces, by either engine, and compare all their scores
    #[command(after_long_help = compare::HELP)]
    Compare(Compare),
    /// Sweep each policy's knob, and compare what policies pay at equal shortage
    #[command(after_long_help = frontier::HELP)]
    Frontier(Frontier),
    /// Compare policies on traces on one page, with charts, frontiers and, by a price list, costs
    #[command(after_long_help = report::HELP)]
    Report(Report),
    /// Make a trace of a log, of what a metrics server answers, or of a published data set
    #[command(after_long_help = convert::HELP)]
    Convert(Convert),
    /// Learn what requests of each duration cost from recorded samples
    #[command(after_long_help = SAMPLES)]
    Fit(Fit),
    /// Replay months of load as numbers a step, and compare pods and short time with reactive rules
    #[command(after_long_help = closed_loop::HELP)]
    Loop(Loop),
    /// Hold the forecaster's bounds against what came, and against what persistence would have said
    #[command(after_long_help = forecast::HELP)]
    Forecast(Forecast),
}

/// The series that a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct SeriesArgs {
    /// What to replay
    #[arg(long, value_name = "FILE")]
    trace: String,
    /// Part of the trace, by offsets from its beginning, e.g. 7d..35d
    #[arg(long, value_name = "FROM..TO")]
    window: Option<Window>,
    /// Length of a step where a row of the trace is a request
    #[arg(long, value_name = "T", default_value = "1m")]
    step: Span,
}

/// A series that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum WrongSeries {
    #[error("--step is {0}: expected more than 0s")]
    Step(Span),
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl SeriesArgs {
    pub(super) fn open(&self) -> Result<Series, WrongSeries> {
        if self.step.is_positive() {
            Ok(Series::open(&self.trace, self.window.unwrap_or_default(), self.step)?)
        } else {
            Err(WrongSeries::Step(self.step))
        }
    }
}

const SAMPLES: &str = "\
Samples, plain or .gz, as plimsoll-adapter record writes them
  timestamp_s,pods,cpu_cores,le_0.005,…,le_+Inf[,cores_per_pod,in_flight,rejected]
A row tells of the window that ends at its timestamp: pods, cores that they used, and requests per second by duration, not
cumulative. Rows that show congestion are not learned from.

Examples
  plimsoll-sim fit --samples checkout.csv
  plimsoll-sim fit --samples checkout.csv --json - | jq .weights";

#[derive(Debug, clap::Args)]
pub(super) struct Fit {
    /// Recorded samples
    #[arg(long, value_name = "FILE.csv")]
    pub(super) samples: std::path::PathBuf,
    /// Write JSON to this file, or in place of the table to standard output (-)
    #[arg(long, value_name = "-|FILE")]
    pub(super) json: Option<String>,
    /// Time after which a sample counts half
    #[arg(long, value_name = "T", default_value_t = FitSettings::default().half_life)]
    half_life: Span,
    /// A request that lasts longer may cost less: do not expect otherwise
    #[arg(long)]
    unordered: bool,
}

impl Fit {
    pub(super) fn settings(&self) -> FitSettings {
        FitSettings { half_life: self.half_life.max(Span::from_secs(1)), ordered: !self.unordered }
    }
}

/// All policies. What most people have is shown at two targets, so that the table is no comparison of single points.
const DEFAULTS: [&str; 7] = [
    "fixed",
    "hpa-cpu",
    "hpa-cpu:utilization=50",
    "hpa-qps",
    "hpa-metricsqps",
    "plimsoll",
    "plimsoll:utilization=50",
];

const POLICIES: &str = "\
Policies and their knobs, NAME or NAME:key=value,key=value
  fixed           replicas=N     always so many; default: what the busiest minute needs, within --min and --max
  hpa-cpu         utilization=P  an HPA on CPU, percent
  hpa-qps         target=X       an HPA on requests per second and pod
  hpa-metricsqps  target=X       an HPA on MetricsQPS per pod
  plimsoll        utilization=P  Plimsoll's own decision; it learns costs from CPU as it goes
                  target=X       the same with the history's weights and MetricsQPS per pod given
                  objective=P    percent of the time that may be short (0.5)
  plimsoll-reactive              the same without looking ahead; utilization or target
  cpu-per-request utilization=P  requests times the CPU that a request used lately
  max-recent      utilization=P, minutes=N (15)   the maximum of the last minutes of MetricsQPS
  mean-recent     utilization=P, minutes=N (5)    their mean
  knative-kpa     target=X, metric=concurrency|rps   Knative's autoscaler
  cron            margin=F (0.1), utilization=P, hours=N/N/…   a daily schedule by the hour, from the last week
  aws-like        utilization=P  an hourly plan that only raises, from a day of history on
  phpa-like       utilization=P  Holt-Winters on replicas, from two days on
  crane-like      margin=F (0.15), utilization=P    daily or weekly cycles, from two of them on
  ahpa-like       quantile=Q (0.95), utilization=P  season, trend and a quantile of the rest, from a week on
  clairvoyant     utilization=P  knows the work of the minutes ahead
Without a knob, a pod at target uses the same share of its cores under all of them (--share).

Traces, plain or .gz
  *.req.csv   timestamp_s,duration_s,…         a row a request
  *.rate.csv  timestamp_s,requests             a row a step
  *.hist.csv  timestamp_s,le_0.005,…,le_+Inf   requests by step and duration, not cumulative

Examples
  plimsoll-sim run
  plimsoll-sim run --trace shop.req.csv.gz --window 2h..4h --startup 90s
  plimsoll-sim run --policy hpa-cpu:utilization=60 --policy plimsoll
  plimsoll-sim run --json - | jq '.policies[] | [.policy, .pod_hours, .short_minutes]'";

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// What to replay: a file, or the built-in trace
    #[arg(long, value_name = "FILE", default_value = "builtin:shop")]
    pub(super) trace: String,
    /// Policy to replay it under; may be given several times. Default: all, hpa-cpu at two targets
    #[arg(long = "policy", value_name = "NAME[:k=v,…]")]
    policies: Vec<String>,
    /// Write JSON to this file, or in place of the table to standard output (-)
    #[arg(long, value_name = "-|FILE")]
    pub(super) json: Option<String>,
    #[command(flatten)]
    pub(super) assumed: Assumed,
    /// Requests for each one of the trace
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    rate_scale: f64,
}

impl Run {
    pub(super) fn policies(&self) -> Vec<String> {
        if self.policies.is_empty() { DEFAULTS.map(str::to_owned).to_vec() } else { self.policies.clone() }
    }

    pub(super) fn trace_options(&self) -> Result<TraceOptions, ReplayError> {
        Ok(TraceOptions { rate_scale: in_range(self.rate_scale)?, ..self.assumed.trace_options()? })
    }
}

/// A rate scale that a trace takes.
pub(super) fn in_range(scale: f64) -> Result<f64, ReplayError> {
    if (1e-9..=1e6).contains(&scale) {
        return Ok(scale);
    }
    let expected = "a number above 0, up to 10^6";
    Err(ReplayError::Setting { setting: "--rate-scale", value: scale.to_string(), expected })
}
