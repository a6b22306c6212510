//! `loop`: what can be asked for, and the comparison for people.

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use plimsoll::units::{Percent, Span};

use super::args::SeriesArgs;
use crate::fluid::{Actuator, Comparison, Settings};

pub(super) const HELP: &str = "\
Rules that Plimsoll is compared with, each at a utilization u that is tuned on the part before the test part
  reactive  the last step           mean5  mean of 5 minutes       max15  maximum of 15 minutes
  max60     maximum of an hour      ewma   exponential mean, half-life 5 minutes

Traces, plain or .gz: *.rate.csv and *.hist.csv with their own step, *.req.csv counted every --step

Examples
  plimsoll-sim loop --trace shop.rate.csv.gz --lead 5m
  plimsoll-sim loop --trace shop.rate.csv.gz --actuator hpa --json - | jq .pods_mean";

#[derive(Debug, clap::Args)]
pub(super) struct Loop {
    #[command(flatten)]
    pub(super) series: SeriesArgs,
    /// From a decision until the pods that it orders are ready; at least one step
    #[arg(long, value_name = "T", default_value = "5m")]
    lead: Span,
    /// Share of the time in which load may be above what the ready pods carry
    #[arg(long, value_name = "PERCENT", default_value = "0.5%")]
    objective: Percent,
    /// Who orders the pods
    #[arg(long, value_enum, default_value_t = ActuatorName::Ideal)]
    actuator: ActuatorName,
    /// Share of the trace, its end, that results are from; as much before it tunes the reactive rules. 0.01 to 0.4
    #[arg(long, value_name = "F", default_value_t = 0.3)]
    test_fraction: f64,
    /// Write JSON to this file, or in place of the table to standard output (-)
    #[arg(long, value_name = "-|FILE")]
    pub(super) json: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ActuatorName {
    /// Exactly what is wanted; nothing is given back for five minutes
    Ideal,
    /// An HPA on what is wanted, with its defaults: tolerance 10 %, five minutes of stabilization
    Hpa,
}

impl Loop {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            lead: self.lead,
            objective: self.objective,
            actuator: match self.actuator {
                ActuatorName::Ideal => Actuator::Ideal,
                ActuatorName::Hpa => Actuator::Hpa,
            },
            test_fraction: self.test_fraction,
        }
    }
}

/// What was run, the table, and how to read it.
pub(super) fn render(comparison: &Comparison) -> String {
    let Comparison { scores, rules, .. } = comparison;
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["rule", "utilization", "short time", "pods", "pods at equal short time"]);
    table.add_row(["plimsoll", "", &percent(scores.short_time_ratio), &pods(scores.pods_mean), ""]);
    for rule in rules {
        table.add_row([
            rule.rule.to_owned(),
            rule.utilization.map_or_else(|| "none".to_owned(), |u| format!("{u:.3}")),
            rule.short_time_ratio.map_or_else(none, percent),
            rule.pods_mean.map_or_else(none, pods),
            rule.pods_at_equal_short_time.map_or_else(none, pods),
        ]);
    }
    let clairvoyant = [percent(comparison.clairvoyant_short_time_ratio), pods(comparison.pods_clairvoyant)];
    table.add_row(["clairvoyant", "", &clairvoyant[0], &clairvoyant[1], ""]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    format!("{}\n{lines}\n{}", heading(comparison), legend(comparison))
}

fn percent(ratio: f64) -> String {
    format!("{:.2} %", 100.0 * ratio)
}

fn pods(pods: f64) -> String {
    format!("{pods:.1}")
}

fn none() -> String {
    "-".to_owned()
}

fn heading(comparison: &Comparison) -> String {
    let Comparison { trace, step_s, lead_s, objective, actuator, requests_per_s_and_pod, scores, .. } =
        comparison;
    let span = |seconds: f64| Span::from_secs_f64(seconds).to_string();
    let actuator = match actuator {
        Actuator::Ideal => "what is wanted is ordered at once, and nothing is given back for 5 minutes",
        Actuator::Hpa => "an HPA follows what is wanted, with its default tolerance and stabilization",
    };
    format!(
        "{trace}: the last {} steps of {}. A pod carries {requests_per_s_and_pod:.3} requests a second and is ready {} after its \
         order;\n{actuator}. The objective is to be short in {} of the time.\n",
        scores.steps,
        span(*step_s),
        span(*lead_s),
        percent(*objective),
    )
}

fn legend(comparison: &Comparison) -> String {
    let Comparison { scores, .. } = comparison;
    let best = match (&comparison.reactive_best, comparison.pods_reactive_best_at_equal_short_time) {
        (None, _) => "No reactive rule met the objective before these steps.\n".to_owned(),
        (Some(name), None) => {
            format!(
                "The best reactive rule before these steps was {name}. None is short so seldom as plimsoll.\n"
            )
        }
        (Some(name), Some(equal)) => format!(
            "The best reactive rule before these steps was {name}. At plimsoll's short time, {} against at least {} \
             pods.\n",
            pods(scores.pods_mean),
            pods(equal),
        ),
    };
    format!(
        "utilization  the highest that met the objective on the part before these steps\n\
         short time   steps in which more arrived than the ready pods carry\n\
         pods         mean number of pods, ready or not\n\
         pods at …    with the utilization at which, in hindsight, the rule was short as often as plimsoll\n\n\
         Plimsoll: {} of the load was not carried; {:.3} pods ordered or given back a step.\n\
         SPEC: θ_U {:.2} %, θ_O {:.1} %, τ_U {:.2} %, τ_O {:.1} %, instability {:.1} %.\n{best}",
        percent(scores.shortage_ratio),
        scores.churn,
        scores.theta_u_percent,
        scores.theta_o_percent,
        scores.tau_u_percent,
        scores.tau_o_percent,
        scores.instability_percent,
    )
}
