//! `forecast`: what can be asked for, and what came of it, for people and for a browser.

mod figures;
mod page;
mod table;

use plimsoll::units::Span;

use super::args::SeriesArgs;
use super::output::{Output, Target};
use crate::backtest::{Settings, backtest};

pub(super) const HELP: &str = "\
The forecaster goes through the trace as it would have in a cluster: when a step ends it has seen the steps so far and gives an
upper bound of the largest step within the horizon. What it said is scored on the last part of the trace.

Traces, plain or .gz: *.rate.csv and *.hist.csv with their own step, *.req.csv counted every --step

Examples
  plimsoll-sim forecast --trace shop.rate.csv.gz --horizon 10m
  plimsoll-sim forecast --trace shop.rate.csv.gz --html forecast.html
  plimsoll-sim forecast --trace shop.rate.csv.gz --json - | jq '{skill, coverage}'";

#[derive(Debug, clap::Args)]
pub(super) struct Forecast {
    #[command(flatten)]
    series: SeriesArgs,
    /// How far ahead bounds hold; at least one step
    #[arg(long, value_name = "T", default_value = "5m")]
    horizon: Span,
    /// Share of the bounds that should hold. 0.5 to 0.999
    #[arg(long, value_name = "Q", default_value_t = 0.95)]
    quantile: f64,
    /// Share of the trace, its end, that is scored. 0.01 to 0.9
    #[arg(long, value_name = "F", default_value_t = 0.3)]
    test_fraction: f64,
    /// Write JSON to this file, or in place of the table to standard output (-)
    #[arg(long, value_name = "-|FILE")]
    json: Option<String>,
    /// Write a page with charts, for a browser, to this file
    #[arg(long, value_name = "FILE")]
    html: Option<String>,
}

/// Does what is asked for.
pub(super) fn execute(asked: &Forecast) -> anyhow::Result<()> {
    let settings =
        Settings { horizon: asked.horizon, quantile: asked.quantile, test_fraction: asked.test_fraction };
    settings.check()?;
    let output = Output::open(asked.json.as_deref())?;
    let html = asked.html.as_deref().map(|path| Target::open("--html", path)).transpose()?;
    let series = asked.series.open()?;
    let mut course = Vec::new();
    let each = |point: &_| {
        if html.is_some() {
            course.push(*point);
        }
    };
    let done = backtest(&series, &settings, clock(), each)?;
    if let Some(html) = html {
        html.fill(&page::render(&done, &course)?)?;
    }
    output.write(&done.report, || table::render(&done.report))
}

/// Time since now.
#[allow(
    clippy::disallowed_methods,
    reason = "what the forecaster costs is measured, and nothing follows from it"
)]
fn clock() -> impl FnMut() -> Span {
    let start = std::time::Instant::now();
    move || Span::from_nanos(i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX))
}
