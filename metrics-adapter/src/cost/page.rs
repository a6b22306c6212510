//! Costs, as a page for a browser.

use plimsoll_page::{Page, escape};
use serde_json::json;

use super::text::{money, of_fleet, percent, settings};
use super::{Costs, OfAutoscaler};

const SCRIPT: &str = include_str!("page.js");

/// Autoscalers in the chart's choice: the dearest.
const MOST_DRAWN: usize = 200;

/// One file that loads nothing.
///
/// # Errors
/// Never in fact: it is made of what serialises.
pub fn page(costs: &Costs) -> serde_json::Result<String> {
    let drawn = costs.autoscalers.iter().take(MOST_DRAWN);
    let lines: Vec<_> =
        drawn.map(|of| json!({"name": format!("{}/{}", of.namespace, of.name), "days": of.days})).collect();
    let data = json!({
        "from": costs.from,
        "currency": costs.bill.currency,
        "days": costs.days,
        "autoscalers": lines,
    });
    let title = "What pods cost";
    let region = costs.bill.region.as_ref().map(|region| format!(" Prices of {}.", escape(region)));
    let gaps = match costs.unknown_hours() {
        0 => String::new(),
        unknown => format!(" {unknown} of {} hours are not known, and cost nothing here.", costs.hours),
    };
    let body = format!(
        "<header>\n<h1>{title}</h1>\n<p class=\"soft\">From {} to {}.{}{gaps}</p>\n\
         <p class=\"lead\">{} <data id=\"total\" value=\"{}\">{}</data>.{}</p>\n</header>\n{}{}{}{NOTES}{FOOTER}",
        escape(&costs.from),
        escape(&costs.to),
        region.unwrap_or_default(),
        if costs.is_whole { "All together" } else { "Those below" },
        costs.total,
        escape(&money(costs, costs.total)),
        of_the_fleet(costs),
        chart(costs),
        weeks(costs),
        autoscalers(costs),
    );
    let data = serde_json::to_string(&data)?;
    Ok(Page { title, body: &body, data: &data, script: SCRIPT, is_live: false }.to_string())
}

fn of_the_fleet(costs: &Costs) -> String {
    of_fleet(costs).iter().map(|said| format!(" {}", escape(said))).collect()
}

fn chart(costs: &Costs) -> String {
    let option = |(place, of): (usize, &OfAutoscaler)| {
        format!("<option value=\"{place}\">{}/{}</option>", escape(&of.namespace), escape(&of.name))
    };
    let options: String = costs.autoscalers.iter().take(MOST_DRAWN).enumerate().map(option).collect();
    format!(
        "<figure id=\"days\"><div class=\"bar\"><div class=\"choices\"><label class=\"middle\" for=\"one\">Show <select id=\"one\">{options}</select></label></div>\n\
         <ul class=\"key\"><li class=\"bound\">all together</li><li class=\"middle\">the chosen one</li></ul></div>\n\
         <div class=\"plot\" role=\"img\" aria-label=\"Cost a day; the tables below have the sums\"></div>\n\
         <output class=\"readout\" aria-live=\"off\"></output>\n\
         <figcaption>Cost a day, by UTC. The last day is not over.</figcaption></figure>\n"
    )
}

fn weeks(costs: &Costs) -> String {
    if costs.weeks.is_empty() {
        return String::new();
    }
    let rows: String = costs
        .weeks
        .iter()
        .map(|week| {
            let change = week.change_percent.map(percent).unwrap_or_default();
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"soft\">{change}</td></tr>\n",
                escape(week.from.get(..10).unwrap_or_default()),
                escape(&money(costs, week.total))
            )
        })
        .collect();
    format!(
        "<h2>Week by week</h2>\n<table><thead><tr><th scope=\"col\">From</th><th scope=\"col\">Cost</th><th scope=\"col\">to the one before</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n"
    )
}

fn autoscalers(costs: &Costs) -> String {
    let of = |(place, of): (usize, &OfAutoscaler)| {
        let rows: String = of
            .stages
            .iter()
            .enumerate()
            .map(|(number, stage)| {
                let short =
                    stage.short_minutes_per_day.map_or_else(|| "–".to_owned(), |short| format!("{short:.1}"));
                let own = if number + 1 == of.stages.len() { " class=\"own\"" } else { "" };
                format!(
                    "<tr{own}><th scope=\"row\">{}</th><td class=\"unit\">{}</td><td>{:.1}</td><td>{:.1}</td>\
                     <td><data id=\"a{place}-s{number}-cost_per_day\" value=\"{}\">{}</data></td><td class=\"soft\">{}</td><td>{short}</td></tr>\n",
                    escape(&settings(stage)),
                    escape(&stage.from.get(..16).unwrap_or_default().replace('T', " ")),
                    stage.known_hours / 24.0,
                    stage.pods_mean,
                    stage.cost_per_day,
                    escape(&money(costs, stage.cost_per_day)),
                    stage.change_percent.map(percent).unwrap_or_default(),
                )
            })
            .collect();
        format!(
            "<h2>{}/{}</h2>\n<p class=\"soft\">{} in all, {:.0} pod-hours.</p>\n<div class=\"scroll\"><table class=\"figures wide\"><thead><tr><th scope=\"col\">Settings</th>\
             <th scope=\"col\" class=\"unit\">since</th><th scope=\"col\">days</th><th scope=\"col\">pods</th><th scope=\"col\">a day</th><th scope=\"col\">to the first</th>\
             <th scope=\"col\">short min a day</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n",
            escape(&of.namespace),
            escape(&of.name),
            escape(&money(costs, of.total)),
            of.pod_hours,
        )
    };
    costs.autoscalers.iter().enumerate().map(of).collect()
}

const NOTES: &str = "<section aria-labelledby=\"how\"><h2 id=\"how\">How to read this</h2>\n<p>Hours under the same mode and generation of the spec are one row; the one in \
mode Observe is what there was before. Load differs from day to day, too: compare like with like, such as whole weeks. What an hour of all pods costs is shared out by pods, reserved ones that nobody used \
included. <b>Short</b> are minutes in which the ready pods were too few for the load.</p></section>\n";

const FOOTER: &str = concat!(
    "<noscript><p>The chart is drawn by a script that is part of this page; scripts are off.</p></noscript>\n<footer>plimsoll-adapter ",
    env!("CARGO_PKG_VERSION"),
    ". This page is complete in itself and loads nothing. Charts by uPlot 1.6.32 (MIT).</footer>"
);
