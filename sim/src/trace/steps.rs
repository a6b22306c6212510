//! `*.rate.csv` and `*.hist.csv`: how many requests arrive in each step.

use std::collections::VecDeque;
use std::path::Path;

use plimsoll::units::Span;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::durations::{UsualMix, log_uniform};
use super::rows::Rows;
use super::{TraceError, TraceOptions};
use crate::cluster::Request;
use crate::random::{OrderStatistics, Purpose, generator, poisson};

/// How far beyond a histogram's last bound durations go, and how far below its first one.
const BEYOND_LAST: f64 = 3.0;
const BELOW_FIRST: f64 = 0.1;

/// Reads `timestamp_s` and counts of requests in `[timestamp, timestamp + step)`. The first two rows are adjacent: they
/// tell how long a step is. All others are whole steps later; a missing one is one without requests. Within a step arrivals are uniform, so
/// that with the count given they are those of a Poisson process.
#[derive(Debug)]
pub(super) struct Steps {
    rows: Rows,
    options: TraceOptions,
    durations: Durations,
    step: Span,
    current: Option<Step>,
    /// The first two rows, which tell how long a step is, until their turn comes.
    ahead: VecDeque<Step>,
    /// Of the row that was read last.
    last: Option<Span>,
    arrivals: OrderStatistics,
    instants: Pcg64,
    draws: Pcg64,
}

#[derive(Debug)]
enum Durations {
    /// One column of counts; durations are lent.
    Lent(UsualMix),
    /// One column a bucket, each with its bounds in seconds.
    Buckets(Vec<(f64, f64)>),
}

#[derive(Debug, Clone)]
struct Step {
    at: Span,
    counts: Vec<u64>,
}

impl Steps {
    pub(super) fn open_rates(path: &Path, options: &TraceOptions) -> Result<Self, TraceError> {
        let rows = Rows::open(path)?;
        let header: Vec<&str> = rows.header().iter().collect();
        if header != ["timestamp_s", "requests"] {
            let expected = "the header timestamp_s,requests";
            return Err(rows.row_error(header.join(","), expected.to_owned()));
        }
        Self::open(rows, options, Durations::Lent(UsualMix::new()))
    }

    pub(super) fn open_histograms(path: &Path, options: &TraceOptions) -> Result<Self, TraceError> {
        let rows = Rows::open(path)?;
        let Some(buckets) = buckets(rows.header().iter()) else {
            let expected = "the header timestamp_s,le_0.005,…,le_+Inf with ascending bounds in seconds";
            return Err(
                rows.row_error(rows.header().iter().collect::<Vec<_>>().join(","), expected.to_owned())
            );
        };
        Self::open(rows, options, Durations::Buckets(buckets))
    }

    fn open(rows: Rows, options: &TraceOptions, durations: Durations) -> Result<Self, TraceError> {
        let mut steps = Self {
            rows,
            options: options.clone(),
            durations,
            step: Span::ZERO,
            current: None,
            ahead: VecDeque::new(),
            last: None,
            arrivals: OrderStatistics::new(0),
            instants: generator(options.seed, Purpose::Arrivals),
            draws: generator(options.seed, Purpose::Durations),
        };
        let Some(first) = steps.read()? else { return Ok(steps) };
        let Some(second) = steps.read()? else {
            let expected = "at least two rows: their distance is the length of a step";
            return Err(steps.rows.row_error("the end".to_owned(), expected.to_owned()));
        };
        steps.step = second.at - first.at;
        steps.ahead = VecDeque::from([first, second]);
        Ok(steps)
    }

    /// How many requests it gives, on average over all seeds. Reads it to its end.
    pub(super) fn expected(mut self) -> Result<u64, TraceError> {
        let mut sum = 0.0;
        while let Some(step) = self.following()? {
            if !self.outside(&step) {
                sum += step.counts.iter().map(|n| *n as f64).sum::<f64>() * self.options.rate_scale;
            }
        }
        Ok(sum as u64)
    }

    fn following(&mut self) -> Result<Option<Step>, TraceError> {
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
            None => self.rows.first_instant(self.options.window)?,
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

    /// Whether all of the step lies outside the window.
    fn outside(&self, step: &Step) -> bool {
        step.at + self.step <= self.options.window.from || step.at >= self.options.window.to
    }

    /// Makes `step` the current one, with counts to the scale.
    fn begin(&mut self, mut step: Step) {
        let scale = self.options.rate_scale;
        if self.outside(&step) {
            step.counts.fill(0);
        } else if scale != 1.0 {
            for count in &mut step.counts {
                *count = poisson(&mut self.instants, *count as f64 * scale);
            }
        }
        self.arrivals = OrderStatistics::new(total(&step.counts));
        self.current = Some(step);
    }

    fn advance(&mut self) -> Result<Option<Request>, TraceError> {
        loop {
            if let Some(step) = &mut self.current
                && let Some(share) = self.arrivals.next(&mut self.instants)
            {
                let at = step.at + Span::from_secs_f64(self.step.as_secs_f64() * share);
                let duration = self.durations.draw(&mut step.counts, &mut self.draws);
                return Ok(Some(super::split(at, duration, self.options.cpu_share)));
            }
            let Some(step) = self.following()? else { return Ok(None) };
            self.begin(step);
        }
    }
}

/// Scaled counts may be beyond what a number holds; such a trace is refused for its size.
fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

impl Durations {
    /// The duration of one of the requests that `counts` has left.
    fn draw(&self, counts: &mut [u64], rng: &mut Pcg64) -> Span {
        match self {
            Self::Lent(mix) => mix.draw(rng),
            Self::Buckets(buckets) => {
                let left = total(counts);
                let mut chosen = if left > 0 { rng.random_range(0..left) } else { 0 };
                for (count, (lower, upper)) in counts.iter_mut().zip(buckets) {
                    if chosen < *count {
                        *count -= 1;
                        return log_uniform(rng, *lower, *upper);
                    }
                    chosen -= *count;
                }
                Span::ZERO
            }
        }
    }
}

impl Iterator for Steps {
    type Item = Result<Request, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
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
