//! What may be wrong with a trace.

use std::io;
use std::path::PathBuf;

use plimsoll::units::Span;

/// A trace that cannot be replayed: where it is wrong, and what was expected there.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The name does not say which format it is.
    #[error(
        "{}: which kind of trace is this? Name it *.req.csv (a row a request), *.rate.csv (requests a step) or \
         *.hist.csv (requests a step and duration bucket), each with .gz if it is compressed",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// There is no such trace within the program.
    #[error("there is no built-in trace {0:?}: the only one is builtin:shop")]
    Builtin(String),
    /// A header, row or value is not what it should be.
    #[error(
        "{}:{line}{}: found {found:?}, expected {expected}",
        path.display(),
        column.as_deref().map(|c| format!(", column {c}")).unwrap_or_default()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, if it is about one.
        column: Option<String>,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// The window ends within a minute.
    #[error("the window {window} is not whole minutes long: results are minute by minute; end it at {end}")]
    PartialMinute {
        /// The window, in words.
        window: String,
        /// Where it might end.
        end: String,
    },
    /// The window leaves nothing of it.
    #[error("{trace}: there is no request {window}; the trace must have at least one there")]
    Empty {
        /// The trace.
        trace: String,
        /// The window, in words.
        window: String,
    },
    /// Too many requests to be simulated one by one.
    #[error(
        "{trace}: {requests} requests are too many to simulate one by one (at most {limit}): give --rate-scale {scale} \
         for fewer of them, or a shorter --window"
    )]
    TooMany {
        /// The trace.
        trace: String,
        /// How many it would be.
        requests: u64,
        /// How many are taken.
        limit: u64,
        /// A scale that would do.
        scale: f64,
    },
    /// Too many steps to be held in memory.
    #[error(
        "{trace}: it is more than {limit} steps of {step} long: is there a gap, or a wrong unit of time? If not, give a \
         shorter --window"
    )]
    TooLong {
        /// The trace.
        trace: String,
        /// How long a step is.
        step: Span,
        /// How many are taken.
        limit: usize,
    },
}
