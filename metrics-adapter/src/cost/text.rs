//! Costs, for a terminal.

use std::fmt::Write;

use super::{Costs, OfAutoscaler, Stage};

/// A table for each autoscaler, then the sum.
pub fn text(costs: &Costs) -> String {
    let mut text = format!(
        "What pods cost from {} to {}{}\n",
        costs.from,
        costs.to,
        match costs.unknown_hours() {
            0 => String::new(),
            unknown => format!("; {unknown} of {} hours are not known", costs.hours),
        }
    );
    for of in &costs.autoscalers {
        // Writing to a text cannot fail.
        let _ = autoscaler(&mut text, costs, of);
    }
    let whose = if costs.is_whole { "All together" } else { "Those above" };
    let _ = writeln!(text, "\n{whose}  {}", money(costs, costs.total));
    for said in of_fleet(costs) {
        let _ = writeln!(text, "{said}");
    }
    for week in &costs.weeks {
        let change = week.change_percent.map(percent).unwrap_or_default();
        let from = week.from.get(..10).unwrap_or_default();
        let line = format!("week from {from}  {:>14}  {change}", money(costs, week.total));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What is to be said of the whole fleet, a sentence each.
pub(super) fn of_fleet(costs: &Costs) -> Vec<String> {
    let mut said = Vec::new();
    if !costs.is_whole {
        said.push(format!("The whole fleet: {}.", money(costs, costs.bill.total)));
    }
    let unused = costs.bill.unused_reserved_pod_hours;
    if unused >= 0.5 {
        let whose = if costs.is_whole { "" } else { ", by nobody in the fleet" };
        said.push(format!("{unused:.0} pod-hours were reserved and not used{whose}."));
    }
    if costs.is_whole && costs.unshared > 0.0 {
        said.push(format!("{} of it while there was no pod at all.", money(costs, costs.unshared)));
    }
    said
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
            stage.known_hours / 24.0,
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
