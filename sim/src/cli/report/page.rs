//! The page.

use std::ffi::OsStr;
use std::path::Path;

use plimsoll_page::{Page, escape, thin};
use serde::Serialize;

use super::course::MINUTE;
use super::drawing::{Row, bars, dots};
use super::{Findings, OfPolicy, OfTrace, SHORTAGES, against, money};
use crate::cli::contest::heading;
use crate::cli::frontier::page::{Drawn as Frontiers, charts, figures};
use crate::contest::{Engine, Field};
use crate::cost::{Bill, Day};

const SCRIPT: &str = concat!(include_str!("page.js"), include_str!("../frontier/page.js"));

/// Two points each: lines of some 1,400 points, as a screen has pixels.
const BUCKETS: usize = 700;

/// What the page's script draws.
#[derive(Debug, Serialize)]
struct Drawn<'a> {
    courses: Vec<Course<'a>>,
    frontiers: Vec<[Option<Frontiers<'a>>; 2]>,
}

/// The load of one trace, and what each policy had against it, in pods. Times are seconds from the beginning of the run.
#[derive(Debug, Serialize)]
struct Course<'a> {
    at_s: Vec<f64>,
    load: Vec<f64>,
    policies: Vec<Line<'a>>,
    /// Which two are shown at first, by their places.
    shown: [usize; 2],
    currency: &'a str,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    ready: Vec<f64>,
    short_at_s: Vec<f64>,
    short_load: Vec<f64>,
    /// Days, and what pods cost in each.
    day: Vec<i64>,
    cost: Vec<f64>,
}

pub(super) fn render(fields: &[Field], findings: &Findings) -> serde_json::Result<String> {
    let of_trace = || fields.iter().zip(&findings.traces).enumerate();
    let sections: String = of_trace().map(|(i, (field, trace))| section(i, field, trace)).collect();
    let title = "What autoscaling would have cost, and broken";
    let contents: String = match findings.traces.len() {
        0 | 1 => String::new(),
        _ => {
            let link = |(i, trace): (usize, &OfTrace)| {
                format!("<li><a href=\"#trace-{i}\">{}</a></li>", escape(&file_name(&trace.trace)))
            };
            let links: String = findings.traces.iter().enumerate().map(link).collect();
            format!("<nav aria-label=\"Traces\"><ul class=\"contents\">{links}</ul></nav>\n")
        }
    };
    let body = format!(
        "<header>\n<h1>{title}</h1>\n<p class=\"soft\">Every policy meets the same load, at the same instants, by the same seed.</p>\n{contents}</header>\n\
         {sections}\n{HOW_TO_READ}\n{NOSCRIPT}\n{FOOTER}"
    );
    let drawn = Drawn {
        courses: findings.traces.iter().map(course).collect(),
        frontiers: findings.traces.iter().map(|trace| charts(&trace.frontiers)).collect(),
    };
    let data = serde_json::to_string(&drawn)?;
    Ok(Page { title, body: &body, data: &data, script: SCRIPT, is_live: false }.to_string())
}

fn course(trace: &OfTrace) -> Course<'_> {
    let first = trace.policies.first();
    let minutes = first.map(|first| first.course.minutes.as_slice()).unwrap_or_default();
    let load = first.map(|first| first.course.load.as_slice()).unwrap_or_default();
    let lines: Vec<&[f64]> =
        std::iter::once(load).chain(trace.policies.iter().map(|of| of.course.ready.as_slice())).collect();
    let (places, thinned) = thin(&lines, BUCKETS);
    let at_s = places.iter().filter_map(|place| minutes.get(*place));
    let at_s = at_s.map(|minute| *minute as f64 * MINUTE.as_secs_f64()).collect();
    let mut thinned = thinned.into_iter();
    let load = thinned.next().unwrap_or_default();
    let policies = trace.policies.iter().zip(thinned).map(|(of, ready)| {
        let (short_at_s, short_load) = of.course.short(BUCKETS);
        let days = of.cost.iter().flat_map(|bill| &bill.days);
        let (day, cost) = days.map(|day| (day.day, day.total)).unzip();
        Line { name: &of.entry.policy, ready, short_at_s, short_load, day, cost }
    });
    let policies = policies.collect();
    let place = |name: &str| trace.policies.iter().position(|of| of.entry.policy.starts_with(name));
    let last = trace.policies.len().saturating_sub(1);
    let own = place("plimsoll").filter(|own| !is(trace, *own, "plimsoll-reactive"));
    let own = own.or_else(|| trace.policies.iter().position(|of| of.entry.policy == "plimsoll"));
    let shown = [place("hpa-cpu").unwrap_or(0), own.unwrap_or(last)];
    let currency =
        first.and_then(|first| first.cost.as_ref()).map(|bill| bill.currency.as_str()).unwrap_or_default();
    Course { at_s, load, policies, shown, currency }
}

fn is(trace: &OfTrace, place: usize, name: &str) -> bool {
    trace.policies.get(place).is_some_and(|of| of.entry.policy.starts_with(name))
}

/// Where the file lay is of no interest to those whom the page is passed on to.
fn file_name(path: &str) -> String {
    Path::new(path)
        .file_name()
        .map_or_else(|| path.to_owned(), |name| OsStr::to_string_lossy(name).into_owned())
}

fn section(number: usize, field: &Field, trace: &OfTrace) -> String {
    let name = file_name(&trace.trace);
    let said = heading(field).replacen(&trace.trace, &name, 1);
    let frontier = match trace.frontiers.is_empty() {
        true => String::new(),
        false => format!(
            "<h3>At equal shortage</h3>\n<p class=\"soft\">Each policy at several settings of its knob. A line is what it can reach: left is cheaper, lower is better.</p>\n{}",
            figures(number, &SHORTAGES, &trace.frontiers)
        ),
    };
    format!(
        "<section id=\"trace-{number}\" aria-labelledby=\"trace-{number}-title\">\n\
         <h2 id=\"trace-{number}-title\">{}</h2>\n<p class=\"soft\">{}</p>\n{}{}{}{}{}{frontier}</section>\n",
        escape(&name),
        escape(&said),
        verdict(trace),
        table(number, trace),
        load(number, trace),
        latency(trace),
        cost(number, trace),
    )
}

/// Which policy is cheapest of those that are short no more often than the first one on CPU, for most have that.
fn verdict(trace: &OfTrace) -> String {
    let of = |name: &str| trace.policies.iter().find(|of| of.entry.policy == name);
    let Some(usual) = of("hpa-cpu").or(trace.policies.first()) else { return String::new() };
    let is_rival = |of: &&OfPolicy| {
        !of.entry.policy.starts_with("clairvoyant") && of.entry.short_minutes <= usual.entry.short_minutes
    };
    let rivals = trace.policies.iter().filter(is_rival);
    let Some(best) = rivals.min_by(|a, b| a.entry.pod_hours.total_cmp(&b.entry.pod_hours)) else {
        return String::new();
    };
    let (usual, best) = (&usual.entry, &best.entry);
    let text = if usual.policy == best.policy {
        format!(
            "No policy here is cheaper than {} and short no more often: {:.1} pod-hours, {} short minutes.",
            usual.policy, usual.pod_hours, usual.short_minutes
        )
    } else {
        format!(
            "{} had {:.1} pod-hours and {} short minutes. Of those that were short no more often, {} was cheapest: {:.1} pod-hours ({:+.0} %), {} short \
             minutes.",
            usual.policy,
            usual.pod_hours,
            usual.short_minutes,
            best.policy,
            best.pod_hours,
            100.0 * (best.pod_hours / usual.pod_hours - 1.0),
            best.short_minutes
        )
    };
    format!("<p class=\"lead\">{}</p>\n", escape(&text))
}

/// A number that can be read by machines, and its text.
fn data(id: &str, value: f64, text: &str) -> String {
    format!("<td><data id=\"{id}\" value=\"{value}\">{}</data></td>", escape(text))
}

fn or_none(id: &str, value: Option<f64>, text: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "<td>–</td>".to_owned(), |value| data(id, value, &text(value)))
}

fn seconds(value: f64) -> String {
    match value {
        s if s < 0.9995 => format!("{:.0} ms", 1000.0 * s),
        s if s < 9.995 => format!("{s:.2} s"),
        s => format!("{s:.0} s"),
    }
}

fn table(number: usize, trace: &OfTrace) -> String {
    let first = trace.policies.first().and_then(|first| first.cost.as_ref());
    let is_event = trace.engine == Engine::Event;
    let rows: String = trace
        .policies
        .iter()
        .enumerate()
        .map(|(place, OfPolicy { entry, cost, .. })| {
            let id = |what: &str| format!("t{number}-p{place}-{what}");
            let mut cells = data(&id("pod_hours"), entry.pod_hours, &format!("{:.1}", entry.pod_hours));
            if let (Some(bill), Some(first)) = (cost, first) {
                let change = against(bill, first).unwrap_or_default();
                cells.push_str(&data(&id("cost"), bill.total, &money(bill, bill.total)));
                cells.push_str(&format!("<td class=\"soft\">{}</td>", escape(&change)));
            }
            let short = entry.short_minutes;
            cells.push_str(&data(&id("short_minutes"), short as f64, &short.to_string()));
            let shortage = entry.scores.shortage_ratio;
            cells.push_str(&data(&id("shortage_ratio"), shortage, &format!("{:.3} %", 100.0 * shortage)));
            if is_event {
                let failed = |percent: f64| format!("{percent:.2} %");
                cells.push_str(&or_none(&id("failed_percent"), entry.failed_percent, failed));
                cells.push_str(&or_none(&id("latency_p99_s"), entry.latency_p99_s, seconds));
            }
            let most = f64::from(entry.most_replicas);
            cells.push_str(&data(&id("most_replicas"), most, &entry.most_replicas.to_string()));
            let scalings = entry.scale_ups + entry.scale_downs;
            cells.push_str(&data(&id("scalings"), scalings as f64, &scalings.to_string()));
            let own = if entry.policy.starts_with("plimsoll") { " class=\"own\"" } else { "" };
            let (name, target) = (escape(&entry.policy), escape(&entry.target));
            format!("<tr{own}><th scope=\"row\">{name}</th><td class=\"unit\">{target}</td>{cells}</tr>\n")
        })
        .collect();
    let column = |name: &str| format!("<th scope=\"col\">{name}</th>");
    let mut columns = vec!["Policy", "Target per pod", "Pod-hours"];
    if first.is_some() {
        columns.extend(["Cost", "to first"]);
    }
    columns.extend(["Short min", "Shortage"]);
    if is_event {
        columns.extend(["Failed", "p99"]);
    }
    columns.extend(["Most", "Scalings"]);
    let columns: String = columns.into_iter().map(column).collect();
    format!(
        "<div class=\"scroll\"><table class=\"figures wide\">\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// A choice of one policy.
fn choice(id: &str, label: &str, trace: &OfTrace) -> String {
    let option = |(place, of): (usize, &OfPolicy)| {
        format!("<option value=\"{place}\">{}</option>", escape(&of.entry.policy))
    };
    let options: String = trace.policies.iter().enumerate().map(option).collect();
    format!(
        "<label for=\"{id}\" class=\"{label}\">{label_text} <select id=\"{id}\">{options}</select></label>",
        label_text = if label == "middle" { "Show" } else { "and" }
    )
}

fn load(number: usize, trace: &OfTrace) -> String {
    if trace.policies.iter().all(|of| of.course.load.is_empty()) {
        return String::new();
    }
    let long = trace.policies.iter().any(|of| of.course.load.len() > 2 * BUCKETS);
    let thinned = if long {
        " The part is long: each line is drawn by its least and greatest value in each of 700 parts, and of the minutes that were short the worst one is kept in each."
    } else {
        ""
    };
    let one = choice(&format!("one-{number}"), "middle", trace);
    let other = choice(&format!("other-{number}"), "bound", trace);
    format!(
        "<h3>Load and replicas</h3>\n\
         <figure id=\"load-{number}\" data-course=\"{number}\">\n\
         <div class=\"bar\"><div class=\"choices\">{one} {other}</div>\
         <div class=\"zoom\" role=\"group\" aria-label=\"Part of the time\">\
         <button type=\"button\" data-zoom=\"earlier\" aria-label=\"Earlier\">←</button>\
         <button type=\"button\" data-zoom=\"out\" aria-label=\"Zoom out\">−</button>\
         <button type=\"button\" data-zoom=\"in\" aria-label=\"Zoom in\">+</button>\
         <button type=\"button\" data-zoom=\"later\" aria-label=\"Later\">→</button>\
         <button type=\"button\" data-zoom=\"all\">All</button></div></div>\n\
         <ul class=\"key\"><li class=\"load\">pods at full use that the load takes</li><li class=\"middle\">ready pods of the first</li>\
         <li class=\"bound\">of the second</li><li class=\"miss\">minutes in which the second was short</li></ul>\n\
         <div class=\"plot\" role=\"img\" aria-label=\"Load and ready pods of two policies over time; the table above has the sums\"></div>\n\
         <output class=\"readout\" aria-live=\"off\">Drag across the chart to zoom in, double-click to see all.</output>\n\
         <figcaption>Over the time since the beginning of the run. Where the load lies above the ready pods, more work arrived than they could do.{thinned}</figcaption>\n\
         </figure>\n"
    )
}

fn latency(trace: &OfTrace) -> String {
    fn row(OfPolicy { entry, .. }: &OfPolicy) -> Option<Row<'_>> {
        let values = vec![entry.latency_p50_s?, entry.latency_p95_s?, entry.latency_p99_s?];
        Some(Row { name: &entry.policy, text: seconds(*values.last()?), values })
    }
    let rows: Vec<Row<'_>> = trace.policies.iter().filter_map(row).collect();
    let label =
        "Latency by policy: half, 95 and 99 of 100 answers took at most this; the table above has the last";
    match dots(&rows, label, seconds) {
        None => String::new(),
        Some(svg) => format!(
            "<h3>Latency</h3>\n<figure>{svg}<figcaption>Half, 95 and 99 of 100 answers took at most this; at the right the last. Requests that were turned away or lost \
             are in none of them: see Failed.</figcaption></figure>\n"
        ),
    }
}

fn cost(number: usize, trace: &OfTrace) -> String {
    let billed = || trace.policies.iter().filter_map(|of| Some((&of.entry.policy, of.cost.as_ref()?)));
    let row = |(name, bill): (&'_ String, &Bill)| (name.clone(), bill.clone());
    let bills: Vec<(String, Bill)> = billed().map(row).collect();
    let rows: Vec<Row<'_>> = bills
        .iter()
        .map(|(name, bill)| Row {
            name,
            values: vec![bill.reserved, bill.spot, bill.on_demand],
            text: money(bill, bill.total),
        })
        .collect();
    let label = "Cost by policy: reserved, spot and on demand; the table above has the sums";
    let Some(svg) = bars(&rows, label) else { return String::new() };
    let [reserved, spot] =
        [bills.iter().any(|(_, bill)| bill.reserved > 0.0), bills.iter().any(|(_, bill)| bill.spot > 0.0)];
    let keys = [("part0", "reserved", reserved), ("part1", "spot", spot), ("part2", "on demand", true)];
    let keys: String = keys
        .iter()
        .filter(|key| key.2)
        .map(|key| format!("<li class=\"{}\">{}</li>", key.0, key.1))
        .collect();
    let notes: String =
        [reserved.then(|| unused(&bills)).flatten(), spot.then(|| interrupted(&bills)).flatten()]
            .into_iter()
            .flatten()
            .map(|note| format!("<p class=\"note soft\">{}</p>\n", escape(&note)))
            .collect();
    let days = match bills.iter().any(|(_, bill)| bill.days.len() > 2) {
        false => String::new(),
        true => format!(
            "<figure data-cost=\"{number}\"><div class=\"plot\" role=\"img\" aria-label=\"Cost a day of the two policies above\"></div>\n\
             <output class=\"readout\" aria-live=\"off\"></output>\n\
             <figcaption>Cost a day of the two policies that are chosen above. The first and the last day may be parts of one.</figcaption></figure>\n{}",
            weeks(&bills)
        ),
    };
    let of = bills.first().and_then(|(_, bill)| bill.region.as_deref());
    let region = of.map(|region| format!(" Prices of {}.", escape(region))).unwrap_or_default();
    format!(
        "<h3>Cost</h3>\n<figure><ul class=\"key\">{keys}</ul>{svg}<figcaption>What the pods of each policy cost in the part that is scored.{region}</figcaption></figure>\n{notes}{days}"
    )
}

fn unused(bills: &[(String, Bill)]) -> Option<String> {
    let hours = |bill: &Bill| bill.unused_reserved_pod_hours;
    let (name, bill) = bills.iter().max_by(|a, b| hours(&a.1).total_cmp(&hours(&b.1)))?;
    (hours(bill) >= 0.5).then(|| {
        format!("Reserved pods are paid for whether they are there or not: {name} left {:.0} pod-hours of them unused.", hours(bill))
    })
}

fn interrupted(bills: &[(String, Bill)]) -> Option<String> {
    let (name, bill) =
        bills.iter().max_by(|a, b| a.1.spot_interruptions.total_cmp(&b.1.spot_interruptions))?;
    (bill.spot_interruptions > 0.0).then(|| {
        format!(
            "With spot, {name} is to expect {:.1} interruptions, and {:.2} pod-hours missing until others are ready; no shortage above has them.",
            bill.spot_interruptions, bill.spot_missing_pod_hours
        )
    })
}

/// Week by week, each against the one before.
fn weeks(bills: &[(String, Bill)]) -> String {
    let of: Vec<(&str, &Bill, Vec<Day>)> =
        bills.iter().map(|(name, bill)| (name.as_str(), bill, bill.weeks())).collect();
    let Some((_, _, first)) = of.first().filter(|(_, _, weeks)| weeks.len() > 1) else {
        return String::new();
    };
    let columns: String =
        first.iter().map(|week| format!("<th scope=\"col\">from day {}</th>", week.day)).collect();
    let rows: String = of
        .iter()
        .map(|(name, bill, weeks)| {
            let before = std::iter::once(None).chain(weeks.iter().map(Some));
            let cells: String = weeks
                .iter()
                .zip(before)
                .map(|(week, before)| {
                    let change = before.filter(|before| before.total > 0.0).map(|before| {
                        format!(
                            " <span class=\"soft\">{:+.0} %</span>",
                            100.0 * (week.total / before.total - 1.0)
                        )
                    });
                    format!("<td>{}{}</td>", escape(&money(bill, week.total)), change.unwrap_or_default())
                })
                .collect();
            format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(name))
        })
        .collect();
    format!(
        "<details><summary>Week by week, each against the one before</summary>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Policy</th>{columns}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div></details>\n"
    )
}

const HOW_TO_READ: &str = "<section aria-labelledby=\"how\"><h2 id=\"how\">How to read this</h2>\n\
<p><b>Pod-hours</b> are paid for, from a pod's creation on. <b>Short</b> is a minute in which more work arrived than the ready pods could have done; <b>shortage</b> is the \
work that they could not do in its minute, of all work. <b>Failed</b> are requests that were late, turned away or lost; <b>p99</b> is what 99 of 100 answers took at most. Where load flows as a number and not \
request by request there is no latency to see.</p>\n\
<p>One row is one point of what a policy can do: at another target each is cheaper and short more often, or dearer and short less often. Compare at equal shortage.</p></section>";

const NOSCRIPT: &str = "<noscript><p>The charts over time are drawn by a script that is part of this page; scripts are off.</p></noscript>";

const FOOTER: &str = concat!(
    "<footer>plimsoll-sim ",
    env!("CARGO_PKG_VERSION"),
    ". This page is complete in itself and loads nothing. Charts by uPlot 1.6.32 (MIT).</footer>"
);
