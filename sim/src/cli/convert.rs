//! `convert`: traces out of what people have.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use plimsoll::units::Span;

use super::output::Target;
use crate::convert::{
    Content, Converted, Field, Format, LogFormat, PassedOver, Unit, azure_functions, range_query,
    requests_of_logs, write,
};

pub(super) const HELP: &str = "\
From a log, a line a request; when it stands in brackets ([10/Oct/2000:13:55:36 -0700]), and how long at the end
  plimsoll-sim convert --from log access.log.gz --out shop.req.csv.gz
  plimsoll-sim convert --from log --unit us access.log --out shop.req.csv            Apache's %D
  plimsoll-sim convert --from log --duration rt= access.log --out shop.req.csv       … rt=0.123 …
  plimsoll-sim convert --from log --duration none access.log --out shop.rate.csv     without durations
  plimsoll-sim convert --from log --time '\"ts\":' --duration '\"ms\":' --unit ms app.log --out shop.req.csv

From Prometheus: rates a step, of requests or of buckets by le
  curl -G $PROMETHEUS/api/v1/query_range -d start=… -d end=… -d step=60s \\
    --data-urlencode 'query=sum by (le) (rate(http_request_duration_seconds_bucket{namespace=\"shop\"}[60s]))' > shop.json
  plimsoll-sim convert --from prometheus shop.json --out shop.hist.csv

From Azure Functions' invocations of 2019, a file a day
  plimsoll-sim convert --from azure-functions --only http invocations_per_function_md.anon.d*.csv --out functions.rate.csv";

#[derive(Debug, clap::Args)]
pub(super) struct Convert {
    /// What the files are
    #[arg(long, value_enum)]
    from: From,
    /// Files, plain or .gz
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the trace goes: *.req.csv, *.rate.csv or *.hist.csv, with .gz to compress it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where a line says when: brackets, or the text before it
    #[arg(long, value_name = "brackets|TEXT", default_value = "brackets")]
    time: String,
    /// Where a line says how long the request took: last, none, or the text before it
    #[arg(long, value_name = "last|none|TEXT", default_value = "last")]
    duration: String,
    /// What durations are in
    #[arg(long, value_enum, default_value_t = UnitName::S)]
    unit: UnitName,
    /// A line says when the request came, and not when it was answered
    #[arg(long)]
    arrival: bool,
    /// Length of a step, where requests are counted
    #[arg(long, value_name = "T", default_value = "1m")]
    step: Span,
    /// Of Azure's functions those alone whose row has this text, such as the trigger http
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// A line a request
    Log,
    /// The answer to a range query of Prometheus' API
    Prometheus,
    /// Invocations by function and minute
    AzureFunctions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum UnitName {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    Ns,
}

pub(super) fn execute(asked: &Convert) -> anyhow::Result<()> {
    let format = Format::of(&asked.out)?;
    let target = Target::open("--out", &asked.out.to_string_lossy())?;
    let converted = match asked.from {
        From::Log => requests_of_logs(&asked.files, &asked.log_format())?,
        From::Prometheus => {
            let [file] = asked.files.as_slice() else { anyhow::bail!("one answer at a time was expected") };
            range_query(file)?
        }
        From::AzureFunctions => azure_functions(&asked.files, asked.only.as_deref())?,
    };
    let start = target.fill_by(|file| write(&converted.content, format, asked.step, &asked.out, file))?;
    let _ = writeln!(
        io::stderr(),
        "{}: {} from {}",
        asked.out.display(),
        found(&converted),
        start.to_rfc3339_secs()
    );
    if let Some(PassedOver { lines, first, why }) = converted.passed_over {
        let _ = writeln!(io::stderr(), "{lines} lines were passed over; {first}: {why}");
    }
    Ok(())
}

fn found(converted: &Converted) -> String {
    match &converted.content {
        Content::Requests(requests) => format!("{} requests", requests.len()),
        Content::Counts(counts) => {
            let requests: f64 = counts.rows.iter().flatten().sum();
            format!("{requests:.0} requests in {} steps of {}", counts.rows.len(), counts.step)
        }
    }
}

impl Convert {
    fn log_format(&self) -> LogFormat {
        LogFormat {
            time: match self.time.as_str() {
                "brackets" => Field::Brackets,
                text => Field::After(text.to_owned()),
            },
            duration: match self.duration.as_str() {
                "none" => None,
                "last" => Some(Field::Last),
                text => Some(Field::After(text.to_owned())),
            },
            unit: match self.unit {
                UnitName::S => Unit::Seconds,
                UnitName::Ms => Unit::Milliseconds,
                UnitName::Us => Unit::Microseconds,
                UnitName::Ns => Unit::Nanoseconds,
            },
            is_arrival: self.arrival,
        }
    }
}
