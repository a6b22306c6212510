//! The CPU of one pod: processor sharing in virtual time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use plimsoll::units::{Span, Time};

/// `cores` shared equally by the jobs on them, none of which gets more than one core.
///
/// All jobs get the same share, so one number tells what each has attained: a job that comes when every job present
/// has had `a` CPU-seconds ends when they have had `a` plus its own demand. Coming and ending cost O(log n).
#[derive(Debug)]
pub(super) struct Processor<J> {
    cores: f64,
    /// CPU-seconds that a job would have had that is there since the processor was last idle.
    attained: f64,
    /// CPU-seconds given to all jobs so far.
    used: f64,
    /// The instant that `attained` and `used` are of.
    at: Time,
    jobs: BinaryHeap<Reverse<Due<J>>>,
    sequence: u64,
}

#[derive(Debug)]
struct Due<J> {
    attained: f64,
    sequence: u64,
    job: J,
}

impl<J> Ord for Due<J> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.attained.total_cmp(&other.attained).then(self.sequence.cmp(&other.sequence))
    }
}

impl<J> PartialOrd for Due<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> PartialEq for Due<J> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<J> Eq for Due<J> {}

impl<J> Processor<J> {
    pub(super) fn new(cores: f64, at: Time) -> Self {
        Self { cores, attained: 0.0, used: 0.0, at, jobs: BinaryHeap::new(), sequence: 0 }
    }

    /// How many jobs are on it.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// The jobs on it, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &J> {
        self.jobs.iter().map(|Reverse(due)| &due.job)
    }

    /// CPU-seconds used until `now`.
    pub(super) fn used(&self, now: Time) -> f64 {
        self.used + (now - self.at).as_secs_f64() * self.speed() * self.jobs.len() as f64
    }

    /// The share of a core that each job gets.
    fn speed(&self) -> f64 {
        (self.cores / self.jobs.len().max(1) as f64).min(1.0)
    }

    fn advance(&mut self, to: Time) {
        let given = (to - self.at).as_secs_f64() * self.speed();
        self.attained += given;
        self.used += given * self.jobs.len() as f64;
        self.at = to;
    }

    /// Puts a job on it that needs `demand` of CPU.
    pub(super) fn push(&mut self, now: Time, demand: Span, job: J) {
        self.advance(now);
        if self.jobs.is_empty() {
            // Small numbers keep their digits.
            self.attained = 0.0;
        }
        self.sequence += 1;
        let attained = self.attained + demand.as_secs_f64();
        self.jobs.push(Reverse(Due { attained, sequence: self.sequence, job }));
    }

    /// When the next job will have had its CPU, if nothing else comes.
    pub(super) fn next(&self) -> Option<Time> {
        let Reverse(due) = self.jobs.peek()?;
        let left = ((due.attained - self.attained) / self.speed()).max(0.0);
        // Rounded up: at that instant the job has had all of it.
        let nanos = left * 1e9;
        let whole = nanos as i64;
        let up = if (whole as f64) < nanos { whole.saturating_add(1) } else { whole };
        Some(self.at + Span::from_nanos(up))
    }

    /// Takes the job that [`Self::next`] told of, at that instant.
    pub(super) fn pop(&mut self, now: Time) -> Option<J> {
        self.advance(now);
        self.jobs.pop().map(|Reverse(due)| due.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::EPOCH + Span::from_secs_f64(seconds)
    }

    fn seconds(n: f64) -> Span {
        Span::from_secs_f64(n)
    }

    fn ends(mut cpu: Processor<&'static str>) -> Vec<(&'static str, f64)> {
        std::iter::from_fn(|| {
            let next = cpu.next()?;
            Some((cpu.pop(next)?, (next.as_secs_f64() * 1e6).round() / 1e6))
        })
        .collect()
    }

    #[test]
    fn two_jobs_on_one_core_halve_their_speed() {
        let mut cpu = Processor::new(1.0, Time::EPOCH);
        cpu.push(at(0.0), seconds(1.0), "long");
        cpu.push(at(0.5), seconds(0.2), "short");
        // Until 0.5 the long one is alone; both then share until the short one has had 0.2.
        assert_eq!(ends(cpu), [("short", 0.9), ("long", 1.2)]);
    }

    #[test]
    fn nobody_gets_more_than_one_core() {
        let mut cpu = Processor::new(4.0, Time::EPOCH);
        for job in ["a", "b", "c"] {
            cpu.push(at(0.0), seconds(1.0), job);
        }
        assert_eq!(ends(cpu), [("a", 1.0), ("b", 1.0), ("c", 1.0)]);
    }

    #[test]
    fn half_a_core_takes_twice_as_long() {
        let mut cpu = Processor::new(0.5, Time::EPOCH);
        cpu.push(at(0.0), seconds(1.0), "a");
        assert_eq!(ends(cpu), [("a", 2.0)]);
    }

    #[test]
    fn what_is_used_is_what_was_asked_for() {
        let mut cpu = Processor::new(2.0, Time::EPOCH);
        for job in 0..7 {
            cpu.push(at(0.1), seconds(0.3), job);
        }
        assert!((cpu.used(at(0.6)) - 1.0).abs() < 1e-9, "two cores for half a second");
        while let Some(next) = cpu.next() {
            cpu.pop(next);
        }
        assert!((cpu.used(at(9.0)) - 2.1).abs() < 1e-6, "seven jobs of 0.3");
    }
}
