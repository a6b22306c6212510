//! Costs, for a terminal.

use std::fmt::Write;

use super::{Costs, OfAutoscaler, Stage};

/// A table for each autoscaler, then the sum.
pub fn text(costs: &Costs) -> String {
    let mut text = format!(
        "What pods cost from {} to {}{}\n",
        costs.from,
        costs.to,
        match costs.hours - costs.known_hours.min(costs.hours) {
            0 => String::new(),
            unknown => format!("; {unknown} of {} hours are not known", costs.hours),
        }
    );
    for of in &costs.autoscalers {
        // Writing to a text cannot fail.
        let _ = autoscaler(&mut text, costs, of);
    }
    let bill = &costs.bill;
    let _ = writeln!(text, "\nAll together  {}", money(costs, bill.total));
    if bill.unused_reserved_pod_hours >= 0.5 {
        let _ = writeln!(text, "{:.0} pod-hours were reserved and not used.", bill.unused_reserved_pod_hours);
    }
    for week in &costs.weeks {
        let change = week.change_percent.map(percent).unwrap_or_default();
        let from = week.from.get(..10).unwrap_or_default();
        let line = format!("week from {from}  {:>14}  {change}", money(costs, week.total));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn autoscaler(text: &mut String, costs: &Costs, of: &OfAutoscaler) -> std::fmt::Result {
    writeln!(
        text,
        "\n{}/{}  {}\n  {:<28} {:<17} {:>6} {:>7} {:>16} {:>9} {:>15}",
        of.namespace,
        of.name,
        money(costs, of.total),
        "settings",
        "since",
        "days",
        "pods",
        "a day",
        "",
        "short min a day"
    )?;
    for stage in &of.stages {
        let short = stage.short_minutes_per_day.map_or_else(|| "-".to_owned(), |short| format!("{short:.1}"));
        let line = format!(
            "  {:<28} {:<17} {:>6.1} {:>7.1} {:>16} {:>9} {short:>15}",
            settings(stage),
            stage.from.get(..16).unwrap_or_default().replace('T', " "),
            f64::from(stage.known_hours) / 24.0,
            stage.pods_mean,
            money(costs, stage.cost_per_day),
            stage.change_percent.map(percent).unwrap_or_default(),
        );
        writeln!(text, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What was in force, for people.
pub(super) fn settings(stage: &Stage) -> String {
    match (&stage.mode, stage.generation) {
        (None, _) => "not told".to_owned(),
        (Some(mode), None) => mode.clone(),
        (Some(mode), Some(generation)) => format!("{mode}, generation {generation}"),
    }
}

pub(super) fn money(costs: &Costs, amount: f64) -> String {
    let digits = if amount.abs() < 1000.0 { 2 } else { 0 };
    format!("{amount:.digits$} {}", costs.bill.currency).trim_end().to_owned()
}

pub(super) fn percent(change: f64) -> String {
    format!("{change:+.1} %")
}
