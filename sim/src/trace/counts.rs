//! Rows of `*.rate.csv` and `*.hist.csv` as they are: counts of requests, step by step.

use std::collections::VecDeque;
use std::path::Path;

use plimsoll::units::Span;

use super::rows::Rows;
use super::{TraceError, Window};

/// How far beyond a histogram's last bound durations go, and how far below its first one.
const BEYOND_LAST: f64 = 3.0;
pub(super) const BELOW_FIRST: f64 = 0.1;

/// Reads `timestamp_s` and counts of requests in `[timestamp, timestamp + step)`. The first two rows are adjacent: they
/// tell how long a step is. All others are whole steps later; a missing one is one without requests.
#[derive(Debug)]
pub(crate) struct Counts {
    rows: Rows,
    window: Window,
    step: Span,
    /// The first two rows, which tell how long a step is, until their turn comes.
    ahead: VecDeque<Step>,
    /// Of the row that was read last.
    last: Option<Span>,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// When it begins.
    pub(crate) at: Span,
    /// Requests by column.
    pub(crate) counts: Vec<u64>,
}

impl Step {
    /// Requests of all columns. Scaled counts may be beyond what a number holds; such a trace is refused for its size.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl Counts {
    /// Of a file with one column of counts. Where in `window` the first row lies tells whether it is a date.
    pub(crate) fn open_rates(path: &Path, window: Window) -> Result<Self, TraceError> {
        let rows = Rows::open(path)?;
        let header: Vec<&str> = rows.header().iter().collect();
        if header != ["timestamp_s", "requests"] {
            let expected = "the header timestamp_s,requests";
            return Err(rows.row_error(header.join(","), expected.to_owned()));
        }
        Self::begin(rows, window)
    }

    /// Of a file with one column a bucket; also the buckets' bounds in seconds.
    pub(crate) fn open_histograms(
        path: &Path,
        window: Window,
    ) -> Result<(Self, Vec<(f64, f64)>), TraceError> {
        let rows = Rows::open(path)?;
        let Some(buckets) = buckets(rows.header().iter()) else {
            let expected = "the header timestamp_s,le_0.005,…,le_+Inf with ascending bounds in seconds";
            return Err(
                rows.row_error(rows.header().iter().collect::<Vec<_>>().join(","), expected.to_owned())
            );
        };
        Ok((Self::begin(rows, window)?, buckets))
    }

    fn begin(rows: Rows, window: Window) -> Result<Self, TraceError> {
        let mut counts = Self { rows, window, step: Span::ZERO, ahead: VecDeque::new(), last: None };
        let Some(first) = counts.read()? else { return Ok(counts) };
        let Some(second) = counts.read()? else {
            let expected = "at least two rows: their distance is the length of a step";
            return Err(counts.rows.row_error("the end".to_owned(), expected.to_owned()));
        };
        counts.step = second.at - first.at;
        counts.ahead = VecDeque::from([first, second]);
        Ok(counts)
    }

    /// How long a step is; zero where there is none.
    pub(crate) fn step(&self) -> Span {
        self.step
    }

    /// The next row; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, TraceError> {
        match self.ahead.pop_front() {
            Some(step) => Ok(Some(step)),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<Step>, TraceError> {
        if !self.rows.next()? {
            return Ok(None);
        }
        let at = match self.last {
            None => self.rows.first_instant(self.window)?,
            Some(last) => self.instant_after(last)?,
        };
        self.last = Some(at);
        let counts = (1..self.rows.header().len()).map(|column| self.rows.count(column));
        Ok(Some(Step { at, counts: counts.collect::<Result<_, _>>()? }))
    }

    fn instant_after(&self, last: Span) -> Result<Span, TraceError> {
        let at = self.rows.seconds(0)?;
        let ahead = at - last;
        if self.step == Span::ZERO {
            if ahead.is_positive() {
                return Ok(at);
            }
            let expected = format!("more than {}: rows are in the order of time", last.as_secs_f64());
            return Err(self.rows.value_error(0, expected));
        }
        if ahead.is_positive() && ahead.as_nanos() % self.step.as_nanos() == 0 {
            return Ok(at);
        }
        let step = self.step.as_secs_f64();
        let expected = format!(
            "{}, or later by a multiple of {step}: a step is {step} s, from the first row to the second",
            (last + self.step).as_secs_f64()
        );
        Err(self.rows.value_error(0, expected))
    }
}

/// The buckets that a header names, the last of which is open.
fn buckets<'a>(mut header: impl Iterator<Item = &'a str>) -> Option<Vec<(f64, f64)>> {
    if header.next() != Some("timestamp_s") {
        return None;
    }
    let bounds: Option<Vec<f64>> = header.map(|name| name.strip_prefix("le_")?.parse().ok()).collect();
    let bounds = bounds?;
    let (open, finite) = bounds.split_last()?;
    let (first, last) = (*finite.first()?, *finite.last()?);
    let ascending = finite.windows(2).all(|pair| pair[0] < pair[1]);
    if *open != f64::INFINITY || first.is_nan() || first <= 0.0 || !last.is_finite() || !ascending {
        return None;
    }
    let lower = std::iter::once(first * BELOW_FIRST).chain(finite.iter().copied());
    let upper = finite.iter().copied().chain([last * BEYOND_LAST]);
    Some(lower.zip(upper).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_buckets_that_ascend_to_infinity() {
        let header = |names: &[&'static str]| buckets(names.iter().copied());
        let three = header(&["timestamp_s", "le_0.1", "le_1", "le_+Inf"]).unwrap();
        assert_eq!(three, [(0.1 * BELOW_FIRST, 0.1), (0.1, 1.0), (1.0, 3.0)]);
        for wrong in [
            &["time", "le_0.1", "le_+Inf"][..],
            &["timestamp_s", "le_0.1"],
            &["timestamp_s", "le_+Inf"],
            &["timestamp_s", "le_1", "le_0.1", "le_+Inf"],
            &["timestamp_s", "0.1", "le_+Inf"],
        ] {
            assert_eq!(header(wrong), None, "{wrong:?}");
        }
    }
}
