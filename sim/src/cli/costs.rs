//! What was learned of costs, for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use crate::costs::Costs;

/// The table, and what it rests on.
pub(super) fn render(names: &[String], costs: &Costs) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["class", "weight", "95 % interval"]);
    for name in names {
        let weight =
            costs.weights.get(name).copied().flatten().map_or_else(|| "not known".to_owned(), digits);
        let interval = costs.intervals.get(name).copied().flatten();
        let interval = interval.map(|(low, high)| format!("{} to {}", digits(low), digits(high)));
        table.add_row([name.clone(), weight, interval.unwrap_or_default()]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    format!("{lines}\n{}", legend(costs))
}

fn legend(costs: &Costs) -> String {
    let unit = costs.unit_cost_core_s.map_or_else(
        || "There was no request.".to_owned(),
        |unit| format!("Weight 1 is the mean request: {} ms of CPU.", digits(unit * 1000.0)),
    );
    let idle = format!("A pod that does nothing uses {} cores.", digits(costs.idle_cores_per_pod));
    let share = |r2: Option<f64>| r2.map_or_else(|| "-".to_owned(), |r2| format!("{:.1} %", 100.0 * r2));
    let scores = format!(
        "Share of CPU's variance predicted over the last half: {} by these weights, {} by the number of requests alone, {} by the \
         CPU of the last requests.",
        share(costs.r2),
        share(costs.r2_qps),
        share(costs.r2_cpu_per_request)
    );
    let congested = match costs.congested {
        0 => String::new(),
        n => format!("{n} congested of {} samples were left out.\n", costs.samples),
    };
    let message = if costs.identifiable { String::new() } else { format!("Not told: {}.\n", costs.message) };
    format!("{unit} {idle}\n{scores}\n{congested}{message}")
}

/// Three digits that count.
fn digits(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let before = number.abs().log10().floor() as i32 + 1;
    format!("{number:.*}", usize::try_from(3 - before).unwrap_or(0))
}
