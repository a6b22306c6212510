//! `convert`: traces out of what people have.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use plimsoll::units::Span;

use super::output::Target;
use crate::convert::{
    ConvertError, Field, Format, LogFormat, PassedOver, Trace, Unit, azure_functions, range_query,
    requests_of_logs, trace,
};

const MINUTE: Span = Span::from_secs(60);

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
    /// Where a line of a log says when: brackets, or the text before it [default: brackets]
    #[arg(long, value_name = "brackets|TEXT")]
    time: Option<String>,
    /// Where it says how long the request took: last, none, or the text before it [default: last]
    #[arg(long, value_name = "last|none|TEXT")]
    duration: Option<String>,
    /// What durations are in [default: s]
    #[arg(long, value_enum)]
    unit: Option<UnitName>,
    /// A line says when the request came, and not when it was answered
    #[arg(long)]
    arrival: bool,
    /// Length of a step: in which requests of a log are counted [default: 1m], or of the range query [default: the least that occurs in its answer]
    #[arg(long, value_name = "T")]
    step: Option<Span>,
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
    asked.check()?;
    let format = Format::of(&asked.out)?;
    let target = Target::open("--out", &asked.out.to_string_lossy())?;
    let converted = match asked.from {
        From::Log => requests_of_logs(&asked.files, &asked.log_format())?,
        From::Prometheus => {
            let [file] = asked.files.as_slice() else {
                return Err(
                    ConvertError::Unused { given: "FILE", why: "one answer at a time is read" }.into()
                );
            };
            range_query(file, asked.step)?
        }
        From::AzureFunctions => azure_functions(&asked.files, asked.only.as_deref())?,
    };
    let step = asked.step.unwrap_or(MINUTE);
    let made = trace(converted.content, format, step, &asked.out)?;
    target.fill_by(|file| made.write(file).with_context(|| asked.out.display().to_string()))?;
    let _ = writeln!(io::stderr(), "{}: {}", asked.out.display(), found(&made));
    if let Some(PassedOver { lines, first, why }) = converted.passed_over {
        let _ = writeln!(io::stderr(), "{lines} lines were passed over; {first}: {why}");
    }
    Ok(())
}

fn found(made: &Trace) -> String {
    let (requests, steps) = made.size();
    let steps = steps.map(|(steps, step)| format!(" in {steps} steps of {step}"));
    let start = made.start().map(|start| format!(" from {}", start.to_rfc3339_secs()));
    format!("{requests:.0} requests{}{}", steps.unwrap_or_default(), start.unwrap_or_default())
}

impl Convert {
    /// That nothing was asked for that would be passed over.
    fn check(&self) -> Result<(), ConvertError> {
        let is_log = matches!(self.from, From::Log);
        let is_azure = matches!(self.from, From::AzureFunctions);
        let of_a_log = "says how a line of --from log is read";
        let given = [
            ("--time", self.time.is_some() && !is_log, of_a_log),
            ("--duration", self.duration.is_some() && !is_log, of_a_log),
            ("--unit", self.unit.is_some() && !is_log, of_a_log),
            ("--arrival", self.arrival && !is_log, of_a_log),
            ("--step", self.step.is_some() && is_azure, "these invocations are counted by minutes"),
            ("--only", self.only.is_some() && !is_azure, "is for --from azure-functions"),
        ];
        match given.into_iter().find(|(_, is_unused, _)| *is_unused) {
            Some((given, _, why)) => Err(ConvertError::Unused { given, why }),
            None => Ok(()),
        }
    }

    fn log_format(&self) -> LogFormat {
        LogFormat {
            time: match self.time.as_deref() {
                None | Some("brackets") => Field::Brackets,
                Some(text) => Field::After(text.to_owned()),
            },
            duration: match self.duration.as_deref() {
                Some("none") => None,
                None | Some("last") => Some(Field::Last),
                Some(text) => Some(Field::After(text.to_owned())),
            },
            unit: match self.unit {
                None | Some(UnitName::S) => Unit::Seconds,
                Some(UnitName::Ms) => Unit::Milliseconds,
                Some(UnitName::Us) => Unit::Microseconds,
                Some(UnitName::Ns) => Unit::Nanoseconds,
            },
            is_arrival: self.arrival,
        }
    }
}
