//! Traces out of what people have: logs of requests, answers of a metrics server, and published data sets.
//!
//! A reader gives [`Converted`]: requests, or counts a step. What it cannot read is an error with file and line; only of logs, which have lines of all
//! kinds, some may be passed over, and how many is told.

mod azure;
mod error;
mod log;
mod range;
mod write;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use plimsoll::units::{Span, Time};

pub use azure::azure_functions;
pub use error::ConvertError;
pub use log::{Field, LogFormat, Unit, requests_of_logs};
pub use range::range_query;
pub use write::{Format, Trace, trace};

/// Longest line that is read.
const MAX_LINE: u64 = 1 << 20;

/// Largest JSON document.
const MAX_JSON: u64 = 1 << 30;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// What it is.
    pub content: Content,
    /// Lines that were passed over.
    pub passed_over: Option<PassedOver>,
}

/// Lines of a log that are none of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// How many.
    pub lines: u64,
    /// The first of those with the most common reason, as FILE:LINE.
    pub first: String,
    /// That reason.
    pub why: &'static str,
}

/// Requests, or their numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Each by itself, in the order of arrival.
    Requests(Vec<Arrival>),
    /// Numbers a step.
    Counts(Counts),
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When it came.
    pub at: Time,
    /// How long it took; none if that is not known.
    pub duration: Option<Span>,
}

/// Requests by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// When the first step begins; none where that is not told.
    pub start: Option<Time>,
    /// How long one is.
    pub step: Span,
    /// Upper bounds of the duration classes in seconds, ascending, infinity last; none where durations are not known.
    pub le: Option<Vec<f64>>,
    /// One row a step, one number a class; of one class where durations are not known.
    pub rows: Vec<Vec<f64>>,
}

/// A file to read, compressed or not.
fn open(path: &Path) -> Result<Box<dyn BufRead>, ConvertError> {
    let file = File::open(path).map_err(|source| ConvertError::io(path, source))?;
    let file = BufReader::with_capacity(1 << 16, file);
    let is_compressed = path.extension().is_some_and(|extension| extension == "gz");
    Ok(match is_compressed {
        true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
        false => Box::new(file),
    })
}

/// The lines of a file, with their numbers from 1.
struct Lines<'a> {
    path: &'a Path,
    reader: Box<dyn BufRead>,
    number: u64,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn open(path: &'a Path) -> Result<Self, ConvertError> {
        Ok(Self { path, reader: open(path)?, number: 0, line: Vec::new() })
    }

    /// The next line, without its end; what is not UTF-8 in it is replaced.
    fn next(&mut self) -> Result<Option<(u64, std::borrow::Cow<'_, str>)>, ConvertError> {
        self.line.clear();
        let mut limited = self.reader.by_ref().take(MAX_LINE);
        let read = limited.read_until(b'\n', &mut self.line);
        let read = read.map_err(|source| ConvertError::io(self.path, source))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if read as u64 == MAX_LINE && self.line.last() != Some(&b'\n') {
            return Err(ConvertError::content(
                self.path,
                self.number,
                "a line of a megabyte",
                "shorter ones",
            ));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some((self.number, String::from_utf8_lossy(line))))
    }
}
