//! `report`: policies on traces, on one page.

mod course;
mod drawing;
mod page;

use serde::Serialize;

use super::compare;
use super::contest::{Contest, run_by};
use super::frontier::{Swept, sweep};
use super::output::{Output, Target};
use super::priced::Priced;
use crate::contest::{Engine, Entry, Field, speedup};
use crate::cost::{Bill, Ledger};
use course::{Course, MINUTE};

pub(super) const HELP: &str = "\
Prices, by region; all but onDemand may be left out
  currency: USD
  regions:
    eu-central-1:
      onDemand: 0.0416                       # a pod-hour
      reserved: {pods: 12, price: 0.0262}    # paid for always, and used first
      spot: {price: 0.0141, share: 60%, interruptionsPerHour: 0.03}

Examples
  plimsoll-sim report --html report.html
  plimsoll-sim report --trace shop.rate.csv.gz --policy hpa-cpu --policy plimsoll --prices prices.yaml --html report.html
  plimsoll-sim report --points 0 --price 0.04 --html report.html --json report.json";

/// Shares of short time at which frontiers are compared.
const SHORTAGES: [f64; 2] = [0.005, 0.02];

#[derive(Debug, clap::Args)]
pub(super) struct Report {
    #[command(flatten)]
    contest: Contest,
    #[command(flatten)]
    priced: Priced,
    /// Settings of each policy's knob in the frontiers, 2 to 200; 0 leaves frontiers out, which take most of the time
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(0..=200))]
    points: u16,
    /// Write the page to this file
    #[arg(long, value_name = "FILE")]
    html: String,
}

/// All that is on the page, trace by trace.
#[derive(Debug, Serialize)]
pub(super) struct Findings {
    /// 1. It changes when a field changes its meaning or goes.
    schema: u32,
    traces: Vec<OfTrace>,
}

/// What came out on one trace.
#[derive(Debug, Serialize)]
struct OfTrace {
    trace: String,
    engine: Engine,
    /// Length of the part that is scored.
    scored_s: f64,
    /// CPU work on average, in pods at full use.
    mean_pods_at_full_use: f64,
    /// The same in the busiest minute.
    peak_pods_at_full_use: f64,
    policies: Vec<OfPolicy>,
    /// Empty where they were left out.
    frontiers: Vec<Swept>,
}

/// What came of one policy.
#[derive(Debug, Serialize)]
struct OfPolicy {
    #[serde(flatten)]
    entry: Entry,
    /// What its pods cost; none without prices.
    cost: Option<Bill>,
    #[serde(skip)]
    course: Course,
}

pub(super) fn execute(asked: &Report) -> anyhow::Result<()> {
    let output = Output::open(asked.contest.json.as_deref())?;
    let html = Target::open("--html", &asked.html)?;
    let (fields, findings) = find(asked)?;
    html.fill(&page::render(&fields, &findings)?)?;
    let entries = || findings.traces.iter().flat_map(|trace| &trace.policies).map(|of| &of.entry);
    output.write(&findings, || {
        let entries: Vec<Entry> = entries().cloned().collect();
        format!("{}{}", compare::render(&fields, &entries), bills(&findings))
    })
}

fn find(asked: &Report) -> anyhow::Result<(Vec<Field>, Findings)> {
    let prices = asked.priced.list()?;
    let policies = asked.contest.policies();
    let fields = asked.contest.fields()?;
    let jobs: Vec<(&Field, &str)> =
        fields.iter().flat_map(|field| policies.iter().map(move |policy| (field, policy.as_str()))).collect();
    let mut done = run_by(&jobs, |field, policy| {
        let mut course = Course::default();
        let mut ledger = prices.clone().map(Ledger::new);
        let entry = field.run_seen(policy, |step| {
            course.add(step);
            if let Some(ledger) = &mut ledger {
                ledger.add(MINUTE * i64::try_from(step.index).unwrap_or(i64::MAX), MINUTE, step.paid);
            }
        })?;
        let cost = ledger.map(|ledger| ledger.bill(field.scenario().cluster.start_up.mean()));
        Ok(OfPolicy { entry, cost, course })
    })?
    .into_iter();
    let points = usize::from(asked.points);
    let mut curves = match points {
        0 => Vec::new(),
        _ => sweep(&fields, &policies, points.max(2), &SHORTAGES)?,
    }
    .into_iter();
    let traces = fields.iter().map(|field| {
        let mut policies: Vec<OfPolicy> = done.by_ref().take(policies.len()).collect();
        let first = policies.first().map(|first| first.entry.scores);
        for OfPolicy { entry, .. } in &mut policies {
            entry.speedup = first.map(|first| speedup(&entry.scores, &first)).unwrap_or_default();
        }
        let cores = field.scenario().cluster.usable().get();
        OfTrace {
            trace: field.name().to_owned(),
            engine: field.engine(),
            scored_s: (field.profile().length - field.warm_up()).as_secs_f64(),
            mean_pods_at_full_use: field.profile().mean_cores().get() / cores,
            peak_pods_at_full_use: field.profile().peak_minute.get() / cores,
            frontiers: curves.by_ref().take(policies.len()).collect(),
            policies,
        }
    });
    let traces = traces.collect();
    Ok((fields, Findings { schema: 1, traces }))
}

/// What policies cost, a line each.
fn bills(findings: &Findings) -> String {
    let mut text = String::new();
    for trace in &findings.traces {
        let first = trace.policies.first().and_then(|first| first.cost.as_ref());
        for OfPolicy { entry, cost, .. } in &trace.policies {
            let (Some(bill), Some(first)) = (cost, first) else { continue };
            if text.is_empty() {
                text.push_str("\nWhat pods cost\n");
            }
            let line = format!(
                "  {:<24} {:>14}  {}\n",
                entry.policy,
                money(bill, bill.total),
                against(bill, first).unwrap_or_default()
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// An amount, to the cent where it is small.
fn money(bill: &Bill, amount: f64) -> String {
    let digits = if amount.abs() < 1000.0 { 2 } else { 0 };
    format!("{amount:.digits$} {}", bill.currency).trim_end().to_owned()
}

/// How much more or less than the first one, in percent.
fn against(bill: &Bill, first: &Bill) -> Option<String> {
    let change = 100.0 * (bill.total / first.total - 1.0);
    (first.total > 0.0 && change.abs() >= 0.05).then(|| format!("{change:+.1} %"))
}
