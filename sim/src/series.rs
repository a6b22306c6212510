//! A rate series: how many requests a trace has in each step, as it stands in the file.
//!
//! Nothing is drawn and nothing is cleaned. It is what a forecaster learns from, and what the [`fluid`](crate::fluid) loop
//! is driven by.

use plimsoll::units::Span;

use crate::trace::{Counts, Trace, TraceError, TraceOptions, Window};

/// Longest series that is held: 80 MB.
pub const MAX_STEPS: usize = 10_000_000;

/// Requests in each step of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the trace was asked for by.
    pub name: String,
    /// How long a step is; above zero.
    pub step: Span,
    /// Requests in each step, in the order of time, without gaps. Not negative, and at least one of them.
    pub counts: Vec<f64>,
}

impl Series {
    /// Reads the series of the trace that `name` names, as [`Trace::open`] does.
    ///
    /// A file of steps has its own step, and begins with its first row in the window; a step without a row is one
    /// without requests, and one that is partly outside the window is left out. Where a row is a request, requests are counted
    /// every `request_step` (above zero) from the window's beginning to the last one, so that the last step may be
    /// incomplete.
    ///
    /// # Errors
    /// When there is no such trace, a row is wrong, the window has nothing of it, or it is longer than [`MAX_STEPS`].
    pub fn open(name: &str, window: Window, request_step: Span) -> Result<Self, TraceError> {
        let trace = Trace::open(name, TraceOptions { window, ..TraceOptions::default() })?;
        let (step, counts) = match trace.counts()? {
            Some(rows) => (rows.step(), of_steps(rows, &trace)?),
            None => {
                let step = request_step.max(Span::from_nanos(1));
                (step, of_requests(&trace, step)?)
            }
        };
        if counts.is_empty() {
            return Err(TraceError::Empty { trace: trace.to_string(), window: window.to_string() });
        }
        Ok(Self { name: name.to_owned(), step, counts })
    }
}

fn of_steps(mut rows: Counts, trace: &Trace) -> Result<Vec<f64>, TraceError> {
    let Window { from, to } = trace.options().window;
    let step = rows.step();
    let (mut counts, mut first) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        if row.at >= from && row.at + step <= to {
            let ahead = row.at - *first.get_or_insert(row.at);
            *at(&mut counts, ahead, step, trace)? = row.total() as f64;
        }
    }
    Ok(counts)
}

fn of_requests(trace: &Trace, step: Span) -> Result<Vec<f64>, TraceError> {
    let mut counts = Vec::new();
    for request in trace.arrivals()? {
        *at(&mut counts, request?.at, step, trace)? += 1.0;
    }
    Ok(counts)
}

/// The step that is so far from the first one; those that are missing before it are without requests.
fn at<'a>(
    counts: &'a mut Vec<f64>,
    ahead: Span,
    step: Span,
    trace: &Trace,
) -> Result<&'a mut f64, TraceError> {
    let index = usize::try_from(ahead.as_nanos() / step.as_nanos().max(1)).unwrap_or(usize::MAX);
    if index >= MAX_STEPS {
        return Err(TraceError::TooLong { trace: trace.to_string(), step, limit: MAX_STEPS });
    }
    if index >= counts.len() {
        counts.resize(index + 1, 0.0);
    }
    Ok(&mut counts[index])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MINUTE: Span = Span::from_secs(60);

    fn read(file: &str, content: &str, window: &str, step: Span) -> Result<Series, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, content).unwrap();
        let opened = Series::open(path.to_str().unwrap(), window.parse().unwrap(), step);
        let shorter = |error: TraceError| error.to_string().replace(path.to_str().unwrap(), "FILE");
        opened.map(|series| Series { name: file.to_owned(), ..series }).map_err(shorter)
    }

    fn counts(file: &str, content: &str, window: &str) -> (i64, Vec<f64>) {
        let Series { step, counts, .. } = read(file, content, window, MINUTE).unwrap();
        (step.as_millis() / 1000, counts)
    }

    #[test]
    fn rates_are_as_they_stand_and_missing_steps_are_empty() {
        let rows = "timestamp_s,requests\n30,5\n60,7\n150,2\n";
        assert_eq!(counts("a.rate.csv", rows, ".."), (30, vec![5.0, 7.0, 0.0, 0.0, 2.0]));
        // Of the step from 150 to 180 s only a part is in the window.
        assert_eq!(counts("a.rate.csv", rows, "60s..170s"), (30, vec![7.0]));
    }

    #[test]
    fn buckets_are_added_up() {
        let rows = "timestamp_s,le_0.1,le_+Inf\n0,5,1\n300,0,2\n";
        assert_eq!(counts("a.hist.csv", rows, ".."), (300, vec![6.0, 2.0]));
    }

    #[test]
    fn requests_are_counted_from_the_beginning_of_the_window() {
        let rows = "timestamp_s,duration_s\n59.9,1\n60,1\n61,1\n200,1\n";
        assert_eq!(counts("a.req.csv", rows, ".."), (60, vec![1.0, 2.0, 0.0, 1.0]));
        assert_eq!(counts("a.req.csv", rows, "55s.."), (60, vec![3.0, 0.0, 1.0]));
        let series = read("a.req.csv", rows, "..3m", Span::from_secs(40)).unwrap();
        assert_eq!(series.counts, [0.0, 3.0]);
    }

    #[test]
    fn compressed_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.rate.csv.gz");
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        std::io::Write::write_all(&mut writer, b"timestamp_s,requests\n0,5\n60,7\n").unwrap();
        writer.finish().unwrap();
        let series = Series::open(path.to_str().unwrap(), Window::default(), MINUTE).unwrap();
        assert_eq!((series.counts, Path::new(&series.name)), (vec![5.0, 7.0], path.as_path()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let refused = |file: &str, content: &str| read(file, content, "..", MINUTE).unwrap_err();
        for (content, error) in [
            ("time,n\n", "FILE:1: found \"time,n\", expected the header timestamp_s,requests"),
            (
                "timestamp_s,requests\n0,5\n60,many\n",
                "FILE:3, column requests: found \"many\", expected a number of requests, such as 42",
            ),
            (
                "timestamp_s,requests\n0,5\n60,5\n90,5\n",
                "FILE:4, column timestamp_s: found \"90\", expected 120, or later by a multiple of 60: a step is 60 s, from \
                 the first row to the second",
            ),
            (
                "timestamp_s,requests\n0,5\n",
                "FILE:3: found \"the end\", expected at least two rows: their distance is the length of a step",
            ),
            (
                "timestamp_s,requests\n",
                "FILE: there is no request from its beginning to its end; the trace must have at least one there",
            ),
            (
                "timestamp_s,requests\n0,5\n1,5\n3000000000,5\n",
                "FILE: it is more than 10000000 steps of 1s long: is there a gap, or a wrong unit of time? If not, give a \
                 shorter --window",
            ),
        ] {
            assert_eq!(refused("a.rate.csv", content), error);
        }
        let rows = "timestamp_s,duration_s\n5,1\n4,1\n";
        assert!(refused("a.req.csv", rows).starts_with("FILE:3, column timestamp_s: found \"4\""));
        assert!(refused("a.csv", rows).contains("which kind of trace"));
    }
}
