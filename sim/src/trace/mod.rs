//! Request traces: what arrives when, and what it needs.
//!
//! A [`Trace`] is a file (a row a request, or counts a step, by its name's ending) or the one built in. Its [`Arrivals`]
//! are read one by one, in order, as often as needed and the same each time: what a trace leaves open is drawn from the
//! seed. Memory does not depend on a trace's length. A file that is not what it should be is an error that names path,
//! line and column, never a guess.

mod builtin;
mod copies;
mod counts;
mod durations;
mod error;
mod options;
mod requests;
mod rows;
mod steps;

use std::fmt;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use plimsoll::units::Span;

pub(crate) use counts::Counts;
pub use durations::{CountedMix, DurationMix};
pub use error::TraceError;
pub(crate) use rows::Rows;

pub use options::{TraceOptions, Window, WindowError};

use crate::cluster::Request;
use requests::Requests;
use steps::Steps;

/// Most requests that are simulated one by one.
pub const MAX_REQUESTS: u64 = 100_000_000;

/// A trace, and how it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    source: Source,
    options: TraceOptions,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Shop,
    File(PathBuf, Format),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Requests,
    Rates,
    Histograms,
}

/// Endings of file names.
const FORMATS: [(&str, Format); 3] =
    [(".req.csv", Format::Requests), (".rate.csv", Format::Rates), (".hist.csv", Format::Histograms)];

impl Trace {
    /// The built-in trace: two hours of a web shop, in the middle of which the mix of requests changes and their number
    /// does not.
    pub fn shop(options: TraceOptions) -> Self {
        Self { source: Source::Shop, options }
    }

    /// The trace that `name` names: a path, or `builtin:shop`. Opens it to see that it is one.
    ///
    /// # Errors
    /// When there is no such trace, or it begins like none.
    pub fn open(name: &str, options: TraceOptions) -> Result<Self, TraceError> {
        if let Some(builtin) = name.strip_prefix("builtin:") {
            return if builtin == "shop" {
                Ok(Self::shop(options))
            } else {
                Err(TraceError::Builtin(builtin.to_owned()))
            };
        }
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        let path = PathBuf::from(name);
        let Some((_, format)) = FORMATS.iter().find(|(ending, _)| plain.ends_with(ending)) else {
            return Err(TraceError::Format { path });
        };
        let trace = Self { source: Source::File(path, *format), options };
        trace.arrivals()?;
        Ok(trace)
    }

    /// Its rows of counts, if it is a file of such rows.
    pub(crate) fn counts(&self) -> Result<Option<Counts>, TraceError> {
        let window = self.options.window;
        match &self.source {
            Source::Shop | Source::File(_, Format::Requests) => Ok(None),
            Source::File(path, Format::Rates) => Counts::open_rates(path, window).map(Some),
            Source::File(path, Format::Histograms) => {
                Counts::open_histograms(path, window).map(|(counts, _)| Some(counts))
            }
        }
    }

    /// How it is read.
    pub fn options(&self) -> &TraceOptions {
        &self.options
    }

    /// Whether the trace tells how long its requests take.
    pub fn has_durations(&self) -> bool {
        !matches!(self.source, Source::File(_, Format::Rates))
    }

    /// Whether the trace tells how much CPU its requests need.
    pub fn has_cpu(&self) -> bool {
        self.source == Source::Shop
    }

    /// Its requests, from the beginning of the window.
    ///
    /// # Errors
    /// When the file cannot be opened, or begins like no trace. Each request may be an error as well, after which there
    /// is none.
    pub fn arrivals(&self) -> Result<Arrivals, TraceError> {
        let options = &self.options;
        let all: Box<dyn Iterator<Item = Result<Request, TraceError>> + Send> = match &self.source {
            Source::Shop => Box::new(builtin::Shop::new(options)),
            Source::File(path, Format::Requests) => Box::new(Requests::open(path, options)?),
            Source::File(path, Format::Rates) => Box::new(Steps::open_rates(path, options)?),
            Source::File(path, Format::Histograms) => Box::new(Steps::open_histograms(path, options)?),
        };
        Ok(Arrivals { all: all.peekable(), window: options.window, failed: false })
    }

    /// Refuses a trace with more than [`MAX_REQUESTS`], as far as its rows tell without drawing all of them.
    ///
    /// # Errors
    /// When they are too many, or a row is wrong.
    pub fn check_size(&self) -> Result<(), TraceError> {
        let steps = |path: &Path, open: fn(&Path, &TraceOptions) -> Result<Steps, TraceError>| {
            open(path, &self.options).and_then(Steps::expected)
        };
        let requests = match &self.source {
            Source::Shop => (builtin::MEAN_REQUESTS * self.options.rate_scale) as u64,
            // Without copies there are no more requests than rows, and those have to be read anyway.
            Source::File(_, Format::Requests) if self.options.rate_scale <= 1.0 => return Ok(()),
            Source::File(path, Format::Requests) => Requests::open(path, &self.options)?.expected()?,
            Source::File(path, Format::Rates) => steps(path, Steps::open_rates)?,
            Source::File(path, Format::Histograms) => steps(path, Steps::open_histograms)?,
        };
        self.refuse_above_limit(requests)
    }

    /// Refuses more requests than can be simulated, with a scale that would do.
    pub(crate) fn refuse_above_limit(&self, requests: u64) -> Result<(), TraceError> {
        if requests <= MAX_REQUESTS {
            return Ok(());
        }
        let scale = self.options.rate_scale * MAX_REQUESTS as f64 / requests as f64;
        // One digit, rounded down.
        let digit = 10f64.powf(scale.log10().floor());
        let scale = (scale / digit).floor() * digit;
        Err(TraceError::TooMany { trace: self.to_string(), requests, limit: MAX_REQUESTS, scale })
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Shop => f.write_str("builtin:shop"),
            Source::File(path, _) => path.display().fmt(f),
        }
    }
}

/// The requests of a trace, in the order of their arrival; instants are counted from the beginning of the window.
pub struct Arrivals {
    all: Peekable<Box<dyn Iterator<Item = Result<Request, TraceError>> + Send>>,
    window: Window,
    failed: bool,
}

impl Arrivals {
    /// Appends the requests that arrive before `until` to `into`: what a [`Cluster`](crate::cluster::Cluster) is injected with
    /// before it is advanced to that instant. One
    /// that arrives at `until` itself belongs to what follows, as with minutes and windows.
    ///
    /// # Errors
    /// When the trace is wrong there.
    pub fn take_until(&mut self, until: Span, into: &mut Vec<Request>) -> Result<(), TraceError> {
        while let Some(request) = self.next_before(until) {
            into.push(request?);
        }
        Ok(())
    }

    fn next_before(&mut self, until: Span) -> Option<Result<Request, TraceError>> {
        let Window { from, to } = self.window;
        loop {
            if self.failed {
                return None;
            }
            let due = |request: &Request| request.at < to && request.at - from < until;
            let request = self.all.next_if(|next| next.as_ref().map_or(true, due))?;
            match request {
                Ok(request) if request.at < from => {}
                Ok(request) => return Some(Ok(Request { at: request.at - from, ..request })),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Result<Request, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_before(Span::MAX)
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("window", &self.window).finish_non_exhaustive()
    }
}

/// A request of which the duration is known, and which share of it is CPU.
fn split(at: Span, duration: Span, cpu_share: f64) -> Request {
    let cpu = Span::from_secs_f64(duration.as_secs_f64() * cpu_share);
    Request { at, cpu, io: duration - cpu }
}

#[cfg(test)]
mod tests;
