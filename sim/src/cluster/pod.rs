//! One simulated pod: its life, its requests, its counters.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use plimsoll::load::{HistogramCounts, Labels, Reading};
use plimsoll::units::{Span, Time};

use super::processor::Processor;
use super::{Completion, PodView, Request};

/// Upper bounds of the pods' duration histogram in seconds: the defaults of Prometheus' client libraries.
pub const LE: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Created, and not ready until the instant given.
    Warming {
        /// When it will be ready.
        until: Time,
    },
    /// Takes requests.
    Ready,
    /// Takes no more requests, finishes those that it has, and is gone then.
    Draining,
}

/// A request inside a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    arrived: Time,
    cpu: Span,
    io: Span,
}

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) created: Time,
    pub(super) ready_since: Option<Time>,
    pub(super) phase: Phase,
    cpu: Processor<Job>,
    /// Requests that wait for something else than the CPU, by when they will be done.
    waiting: BinaryHeap<Reverse<(Time, u64, Job)>>,
    sequence: u64,
    concurrency: Option<u32>,
    /// Completed requests by bucket of their sojourn, not cumulative; one more than there are bounds.
    counts: [u64; LE.len() + 1],
    /// Sum of the sojourns, in nanoseconds.
    sum: i128,
    rejected: u64,
}

impl Pod {
    pub(super) fn new(name: String, created: Time, now: Time, cores: f64, concurrency: Option<u32>) -> Self {
        Self {
            name,
            created,
            ready_since: None,
            phase: Phase::Warming { until: now },
            cpu: Processor::new(cores, now),
            waiting: BinaryHeap::new(),
            sequence: 0,
            concurrency,
            counts: [0; LE.len() + 1],
            sum: 0,
            rejected: 0,
        }
    }

    pub(super) fn view(&self) -> PodView<'_> {
        PodView { name: &self.name, phase: self.phase, created: self.created, ready_since: self.ready_since }
    }

    /// Requests inside.
    pub(super) fn in_flight(&self) -> usize {
        self.cpu.jobs() + self.waiting.len()
    }

    pub(super) fn cpu_seconds(&self, now: Time) -> f64 {
        self.cpu.used(now)
    }

    /// Whether it takes the request; if not, it answers 429 at once.
    pub(super) fn accept(&mut self, now: Time, request: &Request) -> bool {
        if self.concurrency.is_some_and(|limit| self.in_flight() >= limit as usize) {
            self.rejected += 1;
            return false;
        }
        let job = Job { arrived: now, cpu: request.cpu, io: request.io };
        self.cpu.push(now, request.cpu, job);
        true
    }

    /// When something happens to it next.
    pub(super) fn next(&self) -> Option<Time> {
        if let Phase::Warming { until } = self.phase {
            return Some(until);
        }
        let waiting = self.waiting.peek().map(|Reverse((until, ..))| *until);
        [self.cpu.next(), waiting].into_iter().flatten().min()
    }

    /// What [`Self::next`] told of: the end of a request, or nothing that anybody waits for.
    pub(super) fn fire(&mut self, now: Time) -> Option<Completion> {
        if self.cpu.next().is_some_and(|next| next <= now) {
            let job = self.cpu.pop(now)?;
            if job.io.is_positive() {
                self.sequence += 1;
                self.waiting.push(Reverse((now + job.io, self.sequence, job)));
                return None;
            }
            return Some(self.complete(now, job));
        }
        let Reverse((_, _, job)) = self.waiting.pop()?;
        Some(self.complete(now, job))
    }

    fn complete(&mut self, now: Time, job: Job) -> Completion {
        let sojourn = now - job.arrived;
        let seconds = sojourn.as_secs_f64();
        self.counts[LE.partition_point(|le| *le < seconds)] += 1;
        self.sum += i128::from(sojourn.as_nanos());
        Completion { at: now, sojourn, cpu: job.cpu, io: job.io }
    }

    /// Requests inside that are not done after `limit` of their intrinsic duration.
    pub(super) fn overdue(&self, now: Time, limit: &dyn Fn(Span) -> Span) -> usize {
        let waiting = self.waiting.iter().map(|Reverse((_, _, job))| job);
        self.cpu.iter().chain(waiting).filter(|job| now - job.arrived > limit(job.cpu + job.io)).count()
    }

    pub(super) fn reading(&self, now: Time) -> Reading {
        let mut total = 0.0;
        let cumulative = self.counts.iter().map(|count| {
            total += *count as f64;
            total
        });
        let sum = Some(self.sum as f64 / 1e9);
        let histogram = HistogramCounts::new(Labels::new(), LE.to_vec(), cumulative.collect(), sum);
        Reading {
            at: now,
            started: Some(self.created),
            // Never refused: the bounds ascend, and cumulative counts cannot decrease.
            histograms: histogram.into_iter().collect(),
            cpu_seconds: Some(self.cpu.used(now)),
            in_flight: Some(self.in_flight() as f64),
            rejected: Some(self.rejected as f64),
            ..Reading::default()
        }
    }
}
