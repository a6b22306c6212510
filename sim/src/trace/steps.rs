//! `*.rate.csv` and `*.hist.csv`: how many requests arrive in each step.

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

/// Reads `timestamp_s` and counts of requests in `[timestamp, timestamp + step)`. Within a step arrivals are uniform, so
/// that with the count given they are those of a Poisson process.
#[derive(Debug)]
pub(super) struct Steps {
    rows: Rows,
    options: TraceOptions,
    durations: Durations,
    step: Span,
    current: Option<Step>,
    /// The row after, which tells how long the first step is.
    next: Option<Step>,
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
            next: None,
            arrivals: OrderStatistics::new(0),
            instants: generator(options.seed, Purpose::Arrivals),
            draws: generator(options.seed, Purpose::Durations),
        };
        let first = steps.read(None)?;
        steps.next = steps.read(first.as_ref().map(|step| step.at))?;
        if let (Some(first), Some(second)) = (&first, &steps.next) {
            steps.step = second.at - first.at;
        } else if first.is_some() {
            let expected = "at least two rows: their distance is the length of a step";
            return Err(steps.rows.row_error("the end".to_owned(), expected.to_owned()));
        }
        if let Some(first) = first {
            steps.begin(first);
        }
        Ok(steps)
    }

    /// How many requests it gives, on average over all seeds. Reads it to its end.
    pub(super) fn expected(mut self) -> Result<u64, TraceError> {
        let mut sum = 0.0;
        while let Some(step) = self.current.take() {
            if !self.outside(&step) {
                sum += step.counts.iter().map(|n| *n as f64).sum::<f64>() * self.options.rate_scale;
            }
            self.current = self.next.take();
            let before = self.current.as_ref().map(|step| step.at);
            self.next = self.read(before)?;
        }
        Ok(sum as u64)
    }

    fn read(&mut self, before: Option<Span>) -> Result<Option<Step>, TraceError> {
        if !self.rows.next()? {
            return Ok(None);
        }
        let at = self.rows.seconds(0)?;
        if let Some(before) = before {
            let least = before + self.step.max(Span::from_nanos(1));
            if at < least {
                let expected = format!(
                    "at least {}: steps are in order and all as long as the first",
                    least.as_secs_f64()
                );
                return Err(self.rows.value_error(0, expected));
            }
        }
        let counts = (1..self.rows.header().len()).map(|column| self.rows.count(column));
        Ok(Some(Step { at, counts: counts.collect::<Result<_, _>>()? }))
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
        self.arrivals = OrderStatistics::new(step.counts.iter().sum());
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
            let Some(step) = self.next.take() else { return Ok(None) };
            self.next = self.read(Some(step.at))?;
            self.begin(step);
        }
    }
}

impl Durations {
    /// The duration of one of the requests that `counts` has left.
    fn draw(&self, counts: &mut [u64], rng: &mut Pcg64) -> Span {
        match self {
            Self::Lent(mix) => mix.draw(rng),
            Self::Buckets(buckets) => {
                let left: u64 = counts.iter().sum();
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
