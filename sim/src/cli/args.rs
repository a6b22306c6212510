//! What can be asked for.

use clap::{Parser, Subcommand, ValueEnum};
use plimsoll::load::FitSettings;
use plimsoll::units::{Cores, Percent, Span};

use crate::cluster::{Balancer, Beyond, ClusterConfig, Shows, StartUp};
use crate::scenario::{ReplayError, Scenario, Timing};
use crate::score::Late;
use crate::series::Series;
use crate::trace::{TraceError, TraceOptions, Window};

use super::closed_loop::{self, Loop};
use super::forecast::{self, Forecast};

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
    /// Of everything random: the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Part of the trace, by offsets from its beginning, e.g. 2h..4h
    #[arg(long, value_name = "FROM..TO")]
    window: Option<Window>,
    /// Requests for each one of the trace
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    rate_scale: f64,
    /// Share of a request's duration that is CPU, where the trace tells durations only; the rest is I/O
    #[arg(long, value_name = "PERCENT", default_value = "50%")]
    cpu_share: Percent,
    /// CPU that a pod requests
    #[arg(long, value_name = "N", default_value = "1", value_parser = cores)]
    cores: Cores,
    /// Most CPU that a pod may use. Default: what it requests
    #[arg(long, value_name = "N", value_parser = cores)]
    limit: Option<Cores>,
    /// Share of its requested CPU that a pod at target uses, in whole percent
    #[arg(long, value_name = "PERCENT", default_value = "70%")]
    share: Percent,
    /// Fewest replicas
    #[arg(long, value_name = "N", default_value_t = 2)]
    min: u32,
    /// Most replicas
    #[arg(long, value_name = "N", default_value_t = 100)]
    max: u32,
    /// Time from a pod's creation to its first request: 30s, or median and 95th percentile
    #[arg(long, value_name = "T|T..T", default_value_t)]
    startup: StartUp,
    /// How often a pod crashes, per hour: what is in it is lost, and it starts anew
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    crashes: f64,
    /// Most requests that a pod serves at once. Default: no limit
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// What happens to others: reject (429, after 2ms), queue (in the pod), or backlog (in the kernel; :N holds so many)
    #[arg(long, value_name = "reject[:T]|queue|backlog[:N]", requires = "concurrency", default_value_t)]
    beyond: Beyond,
    /// What the pods' metrics do not show: in-flight, rejected, or both, separated by a comma
    #[arg(long, value_enum, value_name = "WHAT,…", value_delimiter = ',', hide_possible_values = true)]
    hide: Vec<Hidden>,
    /// Who gets the next request
    #[arg(long, value_enum, default_value_t = BalancerName::RoundRobin)]
    balancer: BalancerName,
    /// A request is late after this many times its duration in an idle pod…
    #[arg(long, value_name = "F", default_value_t = Late::default().factor)]
    late_factor: f64,
    /// …and this much more
    #[arg(long, value_name = "T", default_value_t = Late::default().slack)]
    late_slack: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Hidden {
    InFlight,
    Rejected,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BalancerName {
    /// One pod after the other
    RoundRobin,
    /// The pod with the fewest requests inside
    LeastLoaded,
    /// Any pod
    Random,
    /// Of any two pods, the one with fewer requests inside
    TwoChoices,
}

fn cores(text: &str) -> Result<Cores, String> {
    let number = text.parse::<f64>().map_err(|e| e.to_string())?;
    Cores::new(number).map_err(|e| e.to_string())
}

impl Run {
    pub(super) fn policies(&self) -> Vec<String> {
        if self.policies.is_empty() { DEFAULTS.map(str::to_owned).to_vec() } else { self.policies.clone() }
    }

    pub(super) fn trace_options(&self) -> Result<TraceOptions, ReplayError> {
        let check = |fits: bool, setting, value: String, expected| {
            if fits { Ok(()) } else { Err(ReplayError::Setting { setting, value, expected }) }
        };
        let scale = self.rate_scale;
        check(
            (1e-9..=1e6).contains(&scale),
            "--rate-scale",
            scale.to_string(),
            "a number above 0, up to 10^6",
        )?;
        let share = self.cpu_share.as_fraction();
        check(share > 0.0, "--cpu-share", self.cpu_share.to_string(), "more than 0%")?;
        Ok(TraceOptions {
            seed: self.seed,
            window: self.window.unwrap_or_default(),
            rate_scale: scale,
            cpu_share: share,
        })
    }

    pub(super) fn scenario(&self) -> Scenario {
        Scenario {
            cluster: ClusterConfig {
                cores: self.cores,
                limit: self.limit,
                concurrency: self.concurrency,
                beyond: self.beyond,
                shows: Shows {
                    in_flight: !self.hide.contains(&Hidden::InFlight),
                    rejected: !self.hide.contains(&Hidden::Rejected),
                },
                balancer: match self.balancer {
                    BalancerName::RoundRobin => Balancer::RoundRobin,
                    BalancerName::LeastLoaded => Balancer::LeastLoaded,
                    BalancerName::Random => Balancer::Random,
                    BalancerName::TwoChoices => Balancer::PowerOfTwo,
                },
                start_up: self.startup,
                crashes_per_hour: self.crashes,
                seed: self.seed,
            },
            min: self.min,
            max: self.max,
            share: self.share,
            late: Late { factor: self.late_factor, slack: self.late_slack },
            timing: Timing::default(),
            seed: self.seed,
        }
    }
}
