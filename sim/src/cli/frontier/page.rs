//! The frontiers as a page for a browser.

use std::ffi::OsStr;
use std::path::Path;

use plimsoll_page::{Page, escape};
use serde::Serialize;

use super::{Frontiers, Swept, is_seen, knob, percent, pods};
use crate::cli::contest::heading;
use crate::contest::Field;
use crate::contest::frontier::Shortage;

/// Draws what [`charts`] gives, which it finds in the page's data under `frontiers`.
const SCRIPT: &str = include_str!("page.js");

/// Shortage above which nothing is drawn: nobody wants to be there, and the part that matters would be small.
const MOST_DRAWN: f64 = 0.1;

/// One chart.
#[derive(Debug, Serialize)]
pub(in super::super) struct Drawn<'a> {
    lines: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    policy: &'a str,
    /// Mean pods, ascending.
    pods: Vec<f64>,
    short_percent: Vec<f64>,
    knob: Vec<f64>,
}

/// The page; `policies` curves belong to each field.
pub(super) fn render(fields: &[Field], report: &Frontiers, policies: usize) -> serde_json::Result<String> {
    let of_field = || fields.iter().zip(report.curves.chunks(policies.max(1)));
    let charts: Vec<[Option<Drawn<'_>>; 2]> = of_field().map(|(_, curves)| charts(curves)).collect();
    let sections: String =
        of_field().enumerate().map(|(i, (field, curves))| section(i, field, report, curves)).collect();
    let title = "Pods at equal shortage";
    let body = format!(
        "<header>\n<h1>{title}</h1>\n<p class=\"soft\">Each policy at many settings of its knob. A line is what it can reach: left is cheaper, lower is better. \
         Settings that cost more than another that is short no more often are left out.</p>\n</header>\n{sections}\n{NOSCRIPT}\n{FOOTER}"
    );
    let data = serde_json::to_string(&serde_json::json!({ "frontiers": charts }))?;
    Ok(Page { title, body: &body, data: &data, script: SCRIPT, is_live: false }.to_string())
}

/// By short time, and by failed requests where they were seen.
pub(in super::super) fn charts(curves: &[Swept]) -> [Option<Drawn<'_>>; 2] {
    let drawn = |shortage: Shortage| Drawn {
        lines: curves
            .iter()
            .map(|swept| line(swept, shortage))
            .filter(|line| !line.pods.is_empty())
            .collect(),
    };
    [Some(drawn(Shortage::ShortTime)), is_seen(curves).then(|| drawn(Shortage::FailedRequests))]
}

fn line(swept: &Swept, shortage: Shortage) -> Line<'_> {
    let mut edge = swept.curve.edge(shortage);
    edge.retain(|(short, ..)| *short <= MOST_DRAWN);
    edge.reverse();
    Line {
        policy: &swept.curve.policy,
        pods: edge.iter().map(|point| point.1).collect(),
        short_percent: edge.iter().map(|point| 100.0 * point.0).collect(),
        knob: edge.iter().map(|point| if point.2.is_finite() { point.2 } else { 0.0 }).collect(),
    }
}

fn section(number: usize, field: &Field, report: &Frontiers, curves: &[Swept]) -> String {
    // Where the file lay is of no interest to those whom the page is passed on to.
    let path = field.name();
    let name = Path::new(path).file_name().map_or_else(|| path.into(), OsStr::to_string_lossy);
    let said = heading(field).replacen(path, &name, 1);
    format!(
        "<h2>{}</h2>\n<p class=\"soft\">{}</p>\n{}",
        escape(&name),
        escape(&said),
        figures(number, &report.shortages, curves)
    )
}

/// The charts of one trace, and the table of their numbers.
pub(in super::super) fn figures(number: usize, shortages: &[f64], curves: &[Swept]) -> String {
    let seen = is_seen(curves);
    let failed = if seen { figure(number, 1, "requests late, rejected or lost") } else { String::new() };
    format!("{}{failed}{}", figure(number, 0, "minutes that are short"), table(shortages, curves, seen))
}

fn figure(number: usize, chart: usize, what: &str) -> String {
    format!(
        "<figure id=\"frontier-{number}-{chart}\" data-field=\"{number}\" data-chart=\"{chart}\">\n\
         <div class=\"bar\"><ul class=\"key\"><li class=\"bound\">Plimsoll</li><li class=\"middle\">clairvoyant</li><li class=\"load\">others</li></ul></div>\n\
         <div class=\"plot\" role=\"img\" aria-label=\"Mean pods and {what}, a line a policy; the table below has the numbers\"></div>\n\
         <output class=\"readout\" aria-live=\"off\">Point at the chart for what is there; drag to zoom in, double-click to see all.</output>\n\
         <figcaption>Across: mean pods that are paid for. Up: {what}, in percent of all, up to 10 %.</figcaption>\n</figure>\n"
    )
}

fn table(shortages: &[f64], curves: &[Swept], seen: bool) -> String {
    let head = |what: &str| -> String {
        let of = |share: &f64| {
            format!("<th scope=\"col\">{} {what}</th><th scope=\"col\">knob</th>", percent(*share))
        };
        shortages.iter().map(of).collect()
    };
    let failed = if seen { head("failed") } else { String::new() };
    let rows: String = curves
        .iter()
        .map(|swept| {
            let costs = swept
                .at_equal_short_time
                .iter()
                .chain(swept.at_equal_failed_requests.iter().filter(|_| seen));
            let cells: String = costs
                .map(|cost| {
                    format!("<td>{}</td><td class=\"soft\">{}</td>", pods(cost.as_ref()), knob(cost.as_ref()))
                })
                .collect();
            let own = if swept.curve.policy.starts_with("plimsoll") { " class=\"own\"" } else { "" };
            let name = escape(&swept.curve.policy);
            format!("<tr{own}><th scope=\"row\">{name}</th>{cells}</tr>\n")
        })
        .collect();
    format!(
        "<div class=\"scroll\"><table class=\"figures\">\n<caption>Mean pods at equal shortage, and the knob of the setting at or below it. never: no setting is short so \
         seldom; ≤: all settings are short less often</caption>\n<thead><tr><th scope=\"col\">Policy</th>{}{failed}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        head("short"),
    )
}

const NOSCRIPT: &str = "<noscript><p>The charts are drawn by a script that is part of this page; scripts are off.</p></noscript>";

const FOOTER: &str = concat!(
    "<footer>plimsoll-sim ",
    env!("CARGO_PKG_VERSION"),
    ". This page is complete in itself and loads nothing. Charts by uPlot 1.6.32 (MIT).</footer>"
);
