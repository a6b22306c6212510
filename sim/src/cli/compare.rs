//! `compare`: policies on traces, and all their scores.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::contest::{Contest, heading, run};
use super::output::Output;
use crate::contest::{Entry, Field, speedup};
use crate::scenario::ReplayError;

pub(super) const HELP: &str = "\
Every policy is run on every trace. Policies and their knobs: see plimsoll-sim run --help. Scores against the first policy
are per trace. Runs are spread over the cores; on how many changes no result (RAYON_NUM_THREADS).

Examples
  plimsoll-sim compare
  plimsoll-sim compare --trace shop.rate.csv.gz --policy hpa-cpu --policy plimsoll
  plimsoll-sim compare --trace a.rate.csv --trace b.rate.csv --engine fluid --json - | jq '.entries[] | [.trace, .policy, .pods_mean]'";

#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    #[command(flatten)]
    contest: Contest,
}

/// All entries, trace by trace.
#[derive(Debug, Serialize)]
struct Comparison {
    /// 1. It changes when a field changes its meaning or goes.
    schema: u32,
    entries: Vec<Entry>,
}

pub(super) fn execute(asked: &Compare) -> anyhow::Result<()> {
    let output = Output::open(asked.contest.json.as_deref())?;
    let (fields, comparison) = compare(asked)?;
    output.write(&comparison, || render(&fields, &comparison.entries))
}

fn compare(asked: &Compare) -> Result<(Vec<Field>, Comparison), ReplayError> {
    let policies = asked.contest.policies();
    let fields = asked.contest.fields()?;
    let jobs: Vec<(&Field, &str)> =
        fields.iter().flat_map(|field| policies.iter().map(move |policy| (field, policy.as_str()))).collect();
    let mut entries = run(&jobs)?;
    for of_trace in entries.chunks_mut(policies.len().max(1)) {
        let first = of_trace.first().map(|entry| entry.scores);
        for entry in of_trace {
            entry.speedup = first.map(|first| speedup(&entry.scores, &first)).unwrap_or_default();
        }
    }
    Ok((fields, Comparison { schema: 1, entries }))
}

/// The table alone.
#[cfg(test)]
pub(super) fn table_of(asked: &Compare) -> Result<String, ReplayError> {
    compare(asked).map(|(fields, comparison)| render(&fields, &comparison.entries))
}

const HEADER: [&str; 14] = [
    "policy",
    "target per pod",
    "pod-hours",
    "short min",
    "shortage",
    "late",
    "p99",
    "θ_U",
    "θ_O",
    "τ_U",
    "τ_O",
    "instab.",
    "speed-up",
    "scalings",
];

pub(super) fn render(fields: &[Field], entries: &[Entry]) -> String {
    let policies = entries.len() / fields.len().max(1);
    let tables: Vec<String> = fields
        .iter()
        .zip(entries.chunks(policies.max(1)))
        .map(|(field, entries)| {
            let mut table = Table::new();
            table.load_style(NOTHING);
            table.set_header(HEADER);
            for entry in entries {
                table.add_row(row(entry));
            }
            for column in table.column_iter_mut().skip(2) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let lines: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
            format!("{}\n{lines}\n", heading(field))
        })
        .collect();
    format!("{}{LEGEND}", tables.concat())
}

const LEGEND: &str = "\
short min  minutes in which more work arrived than the ready pods could do
shortage   work that they could not do in its minute, of all work
late, p99  requests late, of all; 99 of 100 answers took at most this (- where the engine cannot see it)
θ_U, θ_O   missing pods and pods too many, of those that the minute's work takes, in percent: the mean over the minutes
τ_U, τ_O   minutes with too few and too many pods, in percent
instab.    minutes in which the pods needed and the ready pods changed in different directions, in percent
speed-up   elastic speed-up against the first policy: fourth root of the product of the four ratios; - where one is zero

A row is one point on a curve: plimsoll-sim frontier compares at equal shortage.
";

fn row(entry: &Entry) -> [String; 14] {
    let scores = &entry.scores;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        entry.policy.clone(),
        entry.target.clone(),
        format!("{:.1}", entry.pod_hours),
        entry.short_minutes.to_string(),
        format!("{:.3} %", 100.0 * scores.shortage_ratio),
        or_none(entry.late_percent.map(|late| format!("{late:.2} %"))),
        or_none(entry.latency_p99_s.map(|s| format!("{s:.2} s"))),
        format!("{:.2}", scores.theta_u_percent),
        format!("{:.1}", scores.theta_o_percent),
        format!("{:.2}", scores.tau_u_percent),
        format!("{:.1}", scores.tau_o_percent),
        format!("{:.1}", scores.instability_percent),
        or_none(entry.speedup.elastic_speedup.map(|x| format!("{x:.2}"))),
        (entry.scale_ups + entry.scale_downs).to_string(),
    ]
}
