//! What is assumed of pods, balancer and lateness: what all commands that run policies have in common.

use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use plimsoll::units::{Cores, Percent, Span};

use crate::cluster::{Balancer, Beyond, ClusterConfig, Shows, StartUp};
use crate::scenario::{ReplayError, Scenario, Timing};
use crate::score::Late;
use crate::trace::{CountedMix, DurationMix, TraceOptions, Window};

#[derive(Debug, clap::Args)]
pub(super) struct Assumed {
    /// Of everything random: the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Part of the trace, by offsets from its beginning, e.g. 2h..4h
    #[arg(long, value_name = "FROM..TO")]
    window: Option<Window>,
    /// Share of a request's duration that is CPU, where the trace tells durations only; the rest is I/O
    #[arg(long, value_name = "PERCENT", default_value = "50%")]
    cpu_share: Percent,
    /// Durations of requests where the trace tells none: usual, lognormal:MEDIAN,SIGMA, or a file with the columns le_s,count (mix,le_s,count)
    #[arg(long, value_name = "usual|lognormal:T,S|FILE[:NAME]", default_value = "usual")]
    mix: String,
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

impl Assumed {
    /// At the trace's own rate.
    pub(super) fn trace_options(&self) -> Result<TraceOptions, ReplayError> {
        let share = self.cpu_share.as_fraction();
        if share <= 0.0 {
            let (setting, value) = ("--cpu-share", self.cpu_share.to_string());
            return Err(ReplayError::Setting { setting, value, expected: "more than 0%" });
        }
        Ok(TraceOptions {
            seed: self.seed,
            window: self.window.unwrap_or_default(),
            cpu_share: share,
            mix: self.mix()?,
            ..TraceOptions::default()
        })
    }

    fn mix(&self) -> Result<DurationMix, ReplayError> {
        let wrong = |expected| ReplayError::Setting { setting: "--mix", value: self.mix.clone(), expected };
        if self.mix == "usual" {
            return Ok(DurationMix::Usual);
        }
        if let Some(parameters) = self.mix.strip_prefix("lognormal:") {
            let parse = |(median, sigma): (&str, &str)| {
                let median = median.parse().ok().filter(|median: &Span| median.is_positive())?;
                let sigma = sigma.parse().ok().filter(|sigma: &f64| (0.0..=5.0).contains(sigma))?;
                Some(DurationMix::LogNormal { median, sigma })
            };
            let expected = "lognormal:MEDIAN,SIGMA, such as lognormal:30ms,1.2";
            return parameters.split_once(',').and_then(parse).ok_or_else(|| wrong(expected));
        }
        // A path may hold a colon itself.
        let path = Path::new(&self.mix);
        let (path, name) = match self.mix.rsplit_once(':') {
            Some((file, name)) if !path.is_file() => (Path::new(file), Some(name)),
            _ => (path, None),
        };
        if !path.is_file() {
            return Err(wrong("usual, lognormal:MEDIAN,SIGMA, or a file"));
        }
        Ok(DurationMix::Counted(Arc::new(CountedMix::open(path, name)?)))
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
