//! What a trace is like: known to whoever has seen all of it, and used to set every policy's target alike.

use plimsoll::units::{Cores, Rate, Span};

use crate::latency::Latencies;
use crate::trace::{Trace, TraceError};

const MINUTE: Span = Span::from_secs(60);

/// What a trace is like. Taken in one pass, in eight bytes for each of its minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// How many requests there are; at least one.
    pub requests: u64,
    /// CPU that all of them need, in core-seconds.
    pub cpu_seconds: f64,
    /// What all of them wait for beside CPU, in seconds.
    pub io_seconds: f64,
    /// CPU work that arrives in each minute, in cores; as many as `length` has.
    pub work: Vec<f64>,
    /// From the beginning to the end of the last minute in which a request arrives.
    pub length: Span,
    /// CPU work that arrives in the first minute, per second.
    pub first_minute: Cores,
    /// CPU work that arrives in the busiest minute, per second.
    pub peak_minute: Cores,
    /// When the busiest minute begins.
    pub peak_at: Span,
    /// Durations in idle pods.
    pub durations: Latencies,
}

impl Profile {
    /// Reads the trace to its end.
    ///
    /// # Errors
    /// When the trace is wrong somewhere, has no request, or too many, or when its window is not whole minutes long.
    pub fn of(trace: &Trace) -> Result<Self, TraceError> {
        Self::of_with(trace, |_| ())
    }

    /// As [`Self::of`], and tells what is known so far after every minute in which a request arrives.
    ///
    /// # Errors
    /// As for [`Self::of`].
    pub fn of_with(trace: &Trace, mut minute: impl FnMut(&Self)) -> Result<Self, TraceError> {
        let window = trace.options().window;
        // A minute that ends early has no rate that could be compared with others'.
        let excess = (window.to - window.from).as_nanos() % MINUTE.as_nanos();
        if window.to != Span::MAX && excess != 0 {
            let end = (window.to + MINUTE - Span::from_nanos(excess)).to_string();
            return Err(TraceError::PartialMinute { window: window.to_string(), end });
        }
        trace.check_size()?;
        let mut profile = Self {
            requests: 0,
            cpu_seconds: 0.0,
            io_seconds: 0.0,
            work: Vec::new(),
            length: Span::ZERO,
            first_minute: Cores::ZERO,
            peak_minute: Cores::ZERO,
            peak_at: Span::ZERO,
            durations: Latencies::default(),
        };
        let mut in_minute = 0.0;
        for request in trace.arrivals()? {
            let request = request?;
            if request.at >= profile.length {
                if profile.requests > 0 {
                    profile.close_minute(in_minute);
                    minute(&profile);
                }
                in_minute = 0.0;
                let minutes = request.at.as_nanos() / MINUTE.as_nanos() + 1;
                profile.length = MINUTE * minutes;
            }
            let cpu = request.cpu.as_secs_f64();
            in_minute += cpu;
            profile.cpu_seconds += cpu;
            profile.io_seconds += request.io.as_secs_f64();
            profile.requests += 1;
            profile.durations.add(request.intrinsic());
        }
        profile.close_minute(in_minute);
        if profile.requests == 0 {
            let window = trace.options().window.to_string();
            return Err(TraceError::Empty { trace: trace.to_string(), window });
        }
        minute(&profile);
        trace.refuse_above_limit(profile.requests)?;
        Ok(profile)
    }

    /// Ends the minute that `length` ends with.
    fn close_minute(&mut self, cpu_seconds: f64) {
        let cores = Cores::saturating(cpu_seconds / MINUTE.as_secs_f64());
        let minutes = usize::try_from(self.length.as_nanos() / MINUTE.as_nanos()).unwrap_or(0);
        // Minutes without a request are not told of.
        self.work.resize(minutes.max(1) - 1, 0.0);
        self.work.push(cores.get());
        if self.length == MINUTE {
            self.first_minute = cores;
        }
        if cores > self.peak_minute {
            self.peak_minute = cores;
            self.peak_at = self.length - MINUTE;
        }
    }

    /// CPU that a request needs on average, in core-seconds.
    pub fn mean_cpu_seconds(&self) -> f64 {
        self.cpu_seconds / self.requests as f64
    }

    /// What a request waits for beside CPU on average, in seconds.
    pub fn mean_io_seconds(&self) -> f64 {
        self.io_seconds / self.requests as f64
    }

    /// Requests per second on average.
    pub fn mean_rate(&self) -> Rate {
        Rate::saturating(self.requests as f64 / self.length.as_secs_f64())
    }

    /// CPU work that arrives per second on average.
    pub fn mean_cores(&self) -> Cores {
        Cores::saturating(self.cpu_seconds / self.length.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::TraceOptions;

    #[test]
    fn peak_mean_and_length_are_those_of_the_trace() {
        let profile = Profile::of(&Trace::shop(TraceOptions::default())).unwrap();
        assert_eq!(profile.length, Span::from_secs(7200));
        assert!((profile.mean_rate().get() - 60.0).abs() < 1.0);
        assert!(profile.first_minute < profile.mean_cores() && profile.mean_cores() < profile.peak_minute);
    }
}
