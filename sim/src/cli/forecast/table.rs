//! The backtest, for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::figures::{Figure, cost, quality, scope, verdict};
use crate::backtest::Report;

/// What was scored, the figures, and how to read them.
pub(super) fn render(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["", "plimsoll", "persistence", ""]);
    for Figure { name, unit, own, persistence } in quality(report) {
        let persistence = persistence.map_or_else(String::new, |(.., shown)| shown);
        table.add_row([name, &own.2, &persistence, unit]);
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    let [step, refit, day, memory] = cost(report).map(|figure| figure.own.2);
    format!(
        "{}: the last {}\n\n{lines}\n\
         pinball loss  of the bounds: what they miss by counts {q:.3} times, what they are too high by {rest:.3} times\n\
         coverage      steps after which no more came than the bound\n\
         worst day     the least coverage of a day of which half or more was scored; - if there is none\n\
         mean error    of the middle forecast, in size; of persistence: of the last step as a forecast\n\
         persistence   the last step plus its own errors of the last 1440 steps\n\n\
         {step} a step, {refit} a refit, {day} a day with all of that, {memory} of memory for a workload.\n{}\n",
        report.trace,
        scope(report),
        verdict(report),
        q = report.quantile,
        rest = 1.0 - report.quantile,
    )
}
