//! The backtest as a page for a browser.

use std::ffi::OsStr;
use std::path::Path;

use plimsoll_page::{Page, escape, thin};
use serde::Serialize;

use super::figures::{Figure, cost, percent, percent_short, quality, scope, verdict};
use crate::backtest::{Backtest, Day, Point, Report};

/// Two points each, so that a line has some 4000: more than a screen has pixels.
const BUCKETS: usize = 2000;

const SCRIPT: &str = include_str!("page.js");

/// What the page's script draws. Times are seconds from the beginning of the series.
#[derive(Debug, Serialize)]
struct Drawn<'a> {
    report: &'a Report,
    lines: Lines,
    misses: Misses,
    days: Days,
}

#[derive(Debug, Serialize)]
struct Lines {
    at_s: Vec<f64>,
    load: Vec<f64>,
    middle: Vec<f64>,
    bound: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Misses {
    at_s: Vec<f64>,
    peak: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Days {
    number: Vec<i64>,
    coverage: Vec<f64>,
}

/// The page. `course` has every step that was scored.
pub(super) fn render(done: &Backtest, course: &[Point]) -> serde_json::Result<String> {
    let report = &done.report;
    let judged: Vec<&Day> = done.days.iter().filter(|day| day.is_judged).collect();
    let missed = || course.iter().filter(|point| point.is_miss());
    let at = |point: &Point| point.index as f64 * report.step_s;
    let lines = lines(course, at);
    let is_thinned = lines.at_s.len() < course.len();
    let drawn = Drawn {
        report,
        lines,
        misses: Misses { at_s: missed().map(at).collect(), peak: missed().map(|point| point.peak).collect() },
        days: Days {
            number: judged.iter().map(|day| day.number).collect(),
            coverage: judged.iter().map(|day| day.coverage()).collect(),
        },
    };
    // Where the file lay is of no interest to those whom the page is passed on to.
    let name = Path::new(&report.trace)
        .file_name()
        .map_or_else(|| report.trace.as_str().into(), OsStr::to_string_lossy);
    let title = format!("Forecast of {name}");
    let body = format!(
        "<header>\n<h1>{}</h1>\n<p class=\"soft\">{}</p>\n<p class=\"lead\">{}</p>\n</header>\n{}\n{}\n{}\n{}\n{FOOTER}",
        escape(&title),
        escape(&format!("The last {}", scope(report))),
        escape(&verdict(report)),
        figures(report),
        COURSE.replace("{thinned}", if is_thinned { THINNED } else { "" }),
        by_day(report, &judged),
        NOSCRIPT,
    );
    let data = serde_json::to_string(&drawn)?;
    Ok(Page { title: &title, body: &body, data: &data, script: SCRIPT, is_live: false }.to_string())
}

fn lines(course: &[Point], at: impl Fn(&Point) -> f64) -> Lines {
    let column = |value: fn(&Point) -> f64| -> Vec<f64> { course.iter().map(value).collect() };
    let columns = [column(|point| point.load), column(|point| point.middle), column(|point| point.bound)];
    let (places, thinned) = thin(&columns.each_ref().map(Vec::as_slice), BUCKETS);
    let mut thinned = thinned.into_iter();
    let mut next = || thinned.next().unwrap_or_default();
    Lines {
        at_s: places.iter().filter_map(|place| course.get(*place)).map(at).collect(),
        load: next(),
        middle: next(),
        bound: next(),
    }
}

/// A number for people that a machine can read as well.
fn shown(key: &str, value: Option<f64>, text: &str) -> String {
    match value {
        Some(value) => format!("<data id=\"{key}\" value=\"{value}\">{}</data>", escape(text)),
        None => format!("<span id=\"{key}\">{}</span>", escape(text)),
    }
}

fn figures(report: &Report) -> String {
    let row = |figure: Figure| {
        let Figure { name, unit, own: (key, value, text), persistence } = figure;
        let other = persistence.map_or_else(String::new, |(key, value, text)| shown(key, Some(value), &text));
        format!(
            "<tr><th scope=\"row\">{name}</th><td class=\"own\">{}</td><td>{other}</td><td class=\"unit\">{unit}</td></tr>\n",
            shown(key, value, &text),
        )
    };
    let rows: String = quality(report).into_iter().map(row).collect();
    let spent = |figure: Figure| {
        let Figure { name, own: (key, value, text), .. } = figure;
        format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", shown(key, value, &text))
    };
    let costs: String = cost(report).into_iter().map(spent).collect();
    format!(
        "<div class=\"scroll\"><table class=\"figures\">\n\
         <caption>Over the test part</caption>\n\
         <thead><tr><th scope=\"col\">Figure</th><th scope=\"col\">Plimsoll</th><th scope=\"col\">Persistence</th>\
         <th scope=\"col\" class=\"unit\">Unit</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n\
         <p class=\"soft note\">Persistence is the last step plus its own errors of the last 1440 steps; as a middle forecast, the last step. \
         Less loss and error is better; good coverage is the share that was asked for, {asked}.</p>\n<dl class=\"costs\">\n{costs}</dl>",
        asked = percent_short(report.quantile),
    )
}

const COURSE: &str = r#"<h2 id="course-title">Load and bound</h2>
<figure id="course" aria-labelledby="course-title">
<div class="bar">
<ul class="key"><li class="load">load</li><li class="middle">middle</li><li class="bound">bound</li><li class="miss">missed</li></ul>
<div class="zoom" role="group" aria-label="Zoom">
<button type="button" data-zoom="earlier" aria-label="Earlier">←</button>
<button type="button" data-zoom="out" aria-label="Zoom out">−</button>
<button type="button" data-zoom="in" aria-label="Zoom in">+</button>
<button type="button" data-zoom="later" aria-label="Later">→</button>
<button type="button" data-zoom="all">All</button>
</div>
</div>
<div class="plot" role="img" aria-label="Load, middle and bound over the test part, with misses marked"></div>
<output class="readout" aria-live="off">Drag across the chart to zoom in, double-click to see all.</output>
<figcaption>In requests a step, over the time since the beginning of the series. Bound and middle stand at the step after which they were
given; a miss stands there too, as high as the largest step that came within the horizon.{thinned}</figcaption>
</figure>"#;

const THINNED: &str = " The series is long: each line is drawn by its least and greatest value in each of 2,000 parts, \
                       and of the misses none is left out.";

fn by_day(report: &Report, days: &[&Day]) -> String {
    if days.is_empty() {
        return "<p class=\"soft\">No day was scored for half of it or more, so there is nothing to show by day.</p>"
            .to_owned();
    }
    let rows: String = days
        .iter()
        .map(|day| {
            let Day { number, steps, .. } = day;
            let coverage = shown(&format!("day-{number}"), Some(day.coverage()), &percent(day.coverage()));
            format!("<tr><th scope=\"row\">{number}</th><td>{steps}</td><td>{coverage}</td></tr>\n")
        })
        .collect();
    format!(
        "<h2 id=\"by-day-title\">Coverage by day</h2>\n\
         <figure id=\"by-day\" aria-labelledby=\"by-day-title\">\n\
         <div class=\"bar\"><ul class=\"key\"><li class=\"day\">bounds that held</li><li class=\"asked\">asked for: {}</li></ul></div>\n\
         <div class=\"plot\" role=\"img\" aria-label=\"Share of the bounds that held, by day; the table below has the numbers\"></div>\n\
         <output class=\"readout\" aria-live=\"off\"></output>\n\
         <figcaption>Days are 24 hours each from the beginning of the series. One of which less than half was scored is left out.</figcaption>\n\
         <details><summary>The same as a table</summary>\n\
         <table><thead><tr><th scope=\"col\">Day</th><th scope=\"col\">Steps</th><th scope=\"col\">Held</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></details>\n</figure>",
        percent_short(report.quantile),
    )
}

const NOSCRIPT: &str = "<noscript><p>The charts are drawn by a script that is part of this page; scripts are off.</p></noscript>";

const FOOTER: &str = concat!(
    "<footer>plimsoll-sim ",
    env!("CARGO_PKG_VERSION"),
    ". This page is complete in itself and loads nothing. Charts by uPlot 1.6.32 (MIT).</footer>"
);
