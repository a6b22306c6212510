//! `frontier`: each policy at many settings of its knob, and what it pays at equal shortage.

pub(super) mod page;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use plimsoll::units::Percent;
use serde::Serialize;

use super::contest::{Contest, heading, run};
use super::output::{Output, Target};
use crate::contest::frontier::{Cost, Frontier as Curve, Point, Shortage};
use crate::contest::{Entry, Field, settings};
use crate::scenario::ReplayError;

pub(super) const HELP: &str = "\
The first of these knobs that a policy does not have set is swept:
  utilization 20 to 100   hpa-cpu, cpu-per-request, max-recent, mean-recent, aws-like, phpa-like, plimsoll-reactive, clairvoyant
  target                  hpa-qps, hpa-metricsqps, knative-kpa
  objective 0.01 to 20    plimsoll            margin -0.2 to 2   cron, crane-like
  quantile 0.5 to 0.9999  ahpa-like           replicas           fixed
Where objective, margin or quantile is swept, pods carry all that they can (utilization=100) unless utilization is set; with the first of them set,
plimsoll, cron, crane-like and ahpa-like sweep utilization: --policy plimsoll:objective=0.5

Examples
  plimsoll-sim frontier --policy hpa-cpu --policy plimsoll
  plimsoll-sim frontier --trace shop.rate.csv.gz --points 20 --shortage 0.5%,2% --html frontier.html";

#[derive(Debug, clap::Args)]
pub(super) struct Frontier {
    #[command(flatten)]
    contest: Contest,
    /// Settings of each knob; 2 to 200
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=200))]
    points: u16,
    /// Shares at which policies are compared, separated by commas
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', default_value = "0.5%,2%")]
    shortage: Vec<Percent>,
    /// Write a page with charts, for a browser, to this file
    #[arg(long, value_name = "FILE")]
    html: Option<String>,
}

/// All frontiers, trace by trace.
#[derive(Debug, Serialize)]
pub(super) struct Frontiers {
    /// 1. It changes when a field changes its meaning or goes.
    schema: u32,
    /// What policies are compared at, 0 to 1.
    shortages: Vec<f64>,
    curves: Vec<Swept>,
}

/// One policy on one trace.
#[derive(Debug, Serialize)]
pub(super) struct Swept {
    #[serde(flatten)]
    curve: Curve,
    /// What it pays at each of the shares of short time; none where it is never short so seldom.
    at_equal_short_time: Vec<Option<Cost>>,
    /// The same at shares of requests late, rejected or lost; of the event engine.
    at_equal_failed_requests: Vec<Option<Cost>>,
}

pub(super) fn execute(asked: &Frontier) -> anyhow::Result<()> {
    let output = Output::open(asked.contest.json.as_deref())?;
    let html = asked.html.as_deref().map(|path| Target::open("--html", path)).transpose()?;
    let policies = asked.contest.policies();
    let fields = asked.contest.fields()?;
    let shortages: Vec<f64> = asked.shortage.iter().map(|share| share.as_fraction()).collect();
    let curves = sweep(&fields, &policies, usize::from(asked.points), &shortages)?;
    let report = Frontiers { schema: 1, shortages, curves };
    if let Some(html) = html {
        html.fill(&page::render(&fields, &report, policies.len())?)?;
    }
    output.write(&report, || render(&fields, &report, policies.len()))
}

/// Runs all points of all policies on all fields at once.
pub(super) fn sweep(
    fields: &[Field],
    policies: &[String],
    points: usize,
    shortages: &[f64],
) -> Result<Vec<Swept>, ReplayError> {
    let mut planned = Vec::new();
    for field in fields {
        for policy in policies {
            let (knob, texts) = match settings(policy, field, points) {
                Some((knob, texts)) => (Some(knob), texts),
                // All is set: one point.
                None => (None, vec![(f64::NAN, policy.clone())]),
            };
            planned.push((field, policy, knob, texts));
        }
    }
    let jobs: Vec<(&Field, &str)> = planned
        .iter()
        .flat_map(|(field, _, _, texts)| texts.iter().map(move |(_, text)| (*field, text.as_str())))
        .collect();
    let mut entries = run(&jobs)?.into_iter();
    let curves = planned.iter().map(|(field, policy, knob, texts)| {
        let point =
            |((knob_value, _), entry): (&(f64, String), Entry)| Point { knob_value: *knob_value, entry };
        let points = texts.iter().zip(entries.by_ref()).map(point).collect();
        let curve = Curve { trace: field.name().to_owned(), policy: (*policy).clone(), knob: *knob, points };
        let at = |shortage| shortages.iter().map(|at| curve.cost_at(shortage, *at)).collect();
        let at_equal_short_time = at(Shortage::ShortTime);
        let at_equal_failed_requests = at(Shortage::FailedRequests);
        Swept { curve, at_equal_short_time, at_equal_failed_requests }
    });
    Ok(curves.collect())
}

/// Share as it is asked for.
fn percent(share: f64) -> String {
    format!("{} %", (share * 1e6).round() / 1e4)
}

/// Pods, or what is to be said in their place.
fn pods(cost: Option<&Cost>) -> String {
    match cost {
        None => "never".to_owned(),
        Some(Cost { pods, is_cheapest: true, .. }) => format!("≤ {pods:.1}"),
        Some(Cost { pods, .. }) => format!("{pods:.1}"),
    }
}

fn knob(cost: Option<&Cost>) -> String {
    let value = cost.map(|cost| cost.knob_value).filter(|value| value.is_finite());
    value.map_or_else(String::new, |value| format!("{}", (value * 1e4).round() / 1e4))
}

fn is_seen(curves: &[Swept]) -> bool {
    curves.iter().any(|swept| swept.curve.points.iter().any(|point| point.entry.failed_percent.is_some()))
}

fn render(fields: &[Field], report: &Frontiers, policies: usize) -> String {
    let tables: Vec<String> = fields
        .iter()
        .zip(report.curves.chunks(policies.max(1)))
        .map(|(field, curves)| {
            format!("{}\n{}\n{}", heading(field), table(report, curves), held(field, curves))
        })
        .collect();
    format!("{}{LEGEND}", tables.concat())
}

fn table(report: &Frontiers, curves: &[Swept]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let seen = is_seen(curves);
    let mut header = vec!["policy".to_owned(), "knob".to_owned()];
    for share in &report.shortages {
        header.extend([format!("pods at {} short", percent(*share)), "set to".to_owned()]);
    }
    for share in report.shortages.iter().filter(|_| seen) {
        header.extend([format!("at {} failed", percent(*share)), "set to".to_owned()]);
    }
    let columns = header.len();
    table.set_header(header);
    for swept in curves {
        let mut row = vec![swept.curve.policy.clone(), swept.curve.knob.unwrap_or("").to_owned()];
        let failed = swept.at_equal_failed_requests.iter().filter(|_| seen);
        for cost in swept.at_equal_short_time.iter().chain(failed) {
            row.extend([pods(cost.as_ref()), knob(cost.as_ref())]);
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(2).take(columns) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Which policies wanted more than they may have.
fn held(field: &Field, curves: &[Swept]) -> String {
    let max = field.scenario().max;
    let is_held = |swept: &&Swept| {
        !swept.curve.policy.starts_with("fixed")
            && swept.curve.points.iter().any(|point| point.entry.most_replicas >= max)
    };
    let names: Vec<&str> = curves.iter().filter(is_held).map(|swept| swept.curve.policy.as_str()).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("Held by the most replicas, {max}, at some settings (see --max): {}.\n\n", names.join(", "))
    }
}

const LEGEND: &str = "\
pods at …  mean pods that are paid for, when the policy is short in that share of the minutes: more work arrived than the ready pods could do.
           Between two settings it is interpolated, along the cheapest that are short no more often. never: no setting is short so seldom;
           ≤: all settings are short less often, the cheapest is given
failed     the same for requests late, rejected or lost
set to     the knob of the cheapest setting that is short no more often: in hindsight, as nobody can set it beforehand
";
