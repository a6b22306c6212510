//! The trace that comes with the program: two hours of a web shop.
//!
//! Requests per second swell and ebb as over a day, from 30 to 90. From 0:55 to 1:25 the *mix* changes: someone asks for many
//! reports, whose share of the requests goes from 3 % to 12 %, while the number of requests does not change at all. A
//! report costs a hundred times the CPU of a page, so there is 2.7 times the work. Whoever counts requests cannot see it.

use plimsoll::units::Span;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::durations::LogNormal;
use super::{TraceError, TraceOptions};
use crate::cluster::Request;
use crate::random::{Purpose, generator, positive_uniform};

const LENGTH_S: f64 = 7200.0;
const MEAN_RATE: f64 = 60.0;
/// Half of the difference between the rates of the high tide and the low tide.
const SWELL: f64 = 30.0;
/// When reports are in demand, and how quickly the demand comes and goes.
const REPORTS_S: (f64, f64) = (3300.0, 5100.0);
const RAMP_S: f64 = 60.0;
const REPORT_SHARE: (f64, f64) = (0.03, 0.12);
const SEARCH_SHARE: f64 = 0.2;

/// How many requests there are on average over all seeds, before scaling.
pub(super) const MEAN_REQUESTS: f64 = MEAN_RATE * LENGTH_S;

/// A kind of request: CPU as a lognormal, I/O as a multiple of it.
struct Kind {
    cpu: LogNormal,
    io_per_cpu: f64,
}

pub(super) struct Shop {
    page: Kind,
    search: Kind,
    report: Kind,
    scale: f64,
    at: f64,
    instants: Pcg64,
    draws: Pcg64,
}

impl Shop {
    pub(super) fn new(options: &TraceOptions) -> Self {
        let kind = |median, sigma, io_per_cpu| Kind { cpu: LogNormal::new(median, sigma), io_per_cpu };
        Self {
            page: kind(0.004, 0.5, 1.0),
            search: kind(0.03, 0.6, 1.0),
            report: kind(0.4, 0.5, 0.5),
            scale: options.rate_scale,
            at: 0.0,
            instants: generator(options.seed, Purpose::Arrivals),
            draws: generator(options.seed, Purpose::Durations),
        }
    }

    /// Requests per second, before scaling.
    fn rate(at: f64) -> f64 {
        MEAN_RATE - SWELL * (at / LENGTH_S * std::f64::consts::TAU).cos()
    }

    /// Share of requests that ask for a report.
    fn report_share(at: f64) -> f64 {
        let (from, to) = REPORTS_S;
        let up = ((at - from) / RAMP_S).clamp(0.0, 1.0);
        let down = ((at - to) / RAMP_S).clamp(0.0, 1.0);
        REPORT_SHARE.0 + (REPORT_SHARE.1 - REPORT_SHARE.0) * (up - down)
    }

    fn request(&mut self) -> Request {
        let chosen: f64 = self.draws.random();
        let reports = Self::report_share(self.at);
        let kind = if chosen < reports {
            &self.report
        } else if chosen < reports + SEARCH_SHARE {
            &self.search
        } else {
            &self.page
        };
        let cpu = kind.cpu.draw(&mut self.draws);
        Request {
            at: Span::from_secs_f64(self.at),
            cpu: Span::from_secs_f64(cpu),
            io: Span::from_secs_f64(cpu * kind.io_per_cpu),
        }
    }
}

impl Iterator for Shop {
    type Item = Result<Request, TraceError>;

    /// A Poisson process whose rate changes, by thinning one of the greatest rate.
    fn next(&mut self) -> Option<Self::Item> {
        let greatest = MEAN_RATE + SWELL;
        loop {
            self.at -= positive_uniform(&mut self.instants).ln() / (greatest * self.scale);
            if self.at >= LENGTH_S {
                return None;
            }
            if self.instants.random::<f64>() * greatest < Self::rate(self.at) {
                return Some(Ok(self.request()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests, and CPU-seconds of them, between two instants.
    fn between(from: i64, to: i64) -> (f64, f64) {
        let shop = Shop::new(&TraceOptions::default()).map(Result::unwrap);
        let within = shop.filter(|r| (Span::from_secs(from)..Span::from_secs(to)).contains(&r.at));
        within.fold((0.0, 0.0), |(n, cpu), r| (n + 1.0, cpu + r.cpu.as_secs_f64()))
    }

    #[test]
    fn in_the_middle_the_mix_changes_and_the_number_of_requests_does_not() {
        let (before, after) = (between(2700, 3300), between(3400, 4000));
        assert!((after.0 / before.0 - 1.0).abs() < 0.06, "{before:?} {after:?}");
        assert!(after.1 / before.1 > 2.0, "{before:?} {after:?}");
    }
}
