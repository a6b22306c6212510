//! `*.rate.csv` and `*.hist.csv`: how many requests arrive in each step.

use std::path::Path;

use plimsoll::units::Span;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::counts::{Counts, Step};
use super::durations::{Lent, log_uniform};
use super::{TraceError, TraceOptions};
use crate::cluster::Request;
use crate::random::{OrderStatistics, Purpose, generator, poisson};

/// Draws the requests of each step. Within a step arrivals are uniform, so that with the count given they are those of a
/// Poisson process.
#[derive(Debug)]
pub(super) struct Steps {
    rows: Counts,
    options: TraceOptions,
    durations: Durations,
    step: Span,
    current: Option<Step>,
    arrivals: OrderStatistics,
    instants: Pcg64,
    draws: Pcg64,
}

#[derive(Debug)]
enum Durations {
    /// One column of counts; durations are lent.
    Lent(Lent),
    /// One column a bucket, each with its bounds in seconds.
    Buckets(Vec<(f64, f64)>),
}

impl Steps {
    pub(super) fn open_rates(path: &Path, options: &TraceOptions) -> Result<Self, TraceError> {
        let rows = Counts::open_rates(path, options.window)?;
        Ok(Self::new(rows, options, Durations::Lent(Lent::new(&options.mix))))
    }

    pub(super) fn open_histograms(path: &Path, options: &TraceOptions) -> Result<Self, TraceError> {
        let (rows, buckets) = Counts::open_histograms(path, options.window)?;
        Ok(Self::new(rows, options, Durations::Buckets(buckets)))
    }

    fn new(rows: Counts, options: &TraceOptions, durations: Durations) -> Self {
        Self {
            step: rows.step(),
            rows,
            options: options.clone(),
            durations,
            current: None,
            arrivals: OrderStatistics::new(0),
            instants: generator(options.seed, Purpose::Arrivals),
            draws: generator(options.seed, Purpose::Durations),
        }
    }

    /// How many requests it gives, on average over all seeds. Reads it to its end.
    pub(super) fn expected(mut self) -> Result<u64, TraceError> {
        let mut sum = 0.0;
        while let Some(step) = self.rows.next()? {
            if !self.outside(&step) {
                sum += step.counts.iter().map(|n| *n as f64).sum::<f64>() * self.options.rate_scale;
            }
        }
        Ok(sum as u64)
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
        self.arrivals = OrderStatistics::new(step.total());
        self.current = Some(step);
    }

    fn advance(&mut self) -> Result<Option<Request>, TraceError> {
        loop {
            if let Some(step) = &mut self.current
                && let Some(share) = self.arrivals.next(&mut self.instants)
            {
                let at = step.at + Span::from_secs_f64(self.step.as_secs_f64() * share);
                let duration = self.durations.draw(step, &mut self.draws);
                return Ok(Some(super::split(at, duration, self.options.cpu_share)));
            }
            let Some(step) = self.rows.next()? else { return Ok(None) };
            self.begin(step);
        }
    }
}

impl Durations {
    /// The duration of one of the requests that `step` has left.
    fn draw(&self, step: &mut Step, rng: &mut Pcg64) -> Span {
        match self {
            Self::Lent(mix) => mix.draw(rng),
            Self::Buckets(buckets) => {
                let left = step.total();
                let mut chosen = if left > 0 { rng.random_range(0..left) } else { 0 };
                for (count, (lower, upper)) in step.counts.iter_mut().zip(buckets) {
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
