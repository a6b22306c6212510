//! The closed loop's comparison, for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use plimsoll::units::Span;

use crate::fluid::{Actuator, Comparison};

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
