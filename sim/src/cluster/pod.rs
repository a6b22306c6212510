//! One simulated pod: its life, its requests, its counters.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use plimsoll::load::{HistogramCounts, Labels, Reading};
use plimsoll::units::{Span, Time};
use rand_pcg::Pcg64;

use super::processor::Processor;
use super::{Beyond, ClusterConfig, Completion, PodView, Request, Shows};
use crate::random::{Purpose, generator, positive_uniform};

/// Upper bounds of the pods' duration histogram in seconds: the defaults of Prometheus' client libraries.
pub const LE: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Created or crashed, and not ready until the instant given.
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
    /// Since when the pod knows of it.
    accepted: Time,
    cpu: Span,
    io: Span,
}

/// The end of a request.
#[derive(Debug)]
pub(super) enum Answer {
    Completed(Completion),
    /// 429.
    Rejected,
}

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    /// It is the n-th of its cluster.
    pub(super) number: u64,
    pub(super) created: Time,
    restarted: Option<Time>,
    pub(super) ready_since: Option<Time>,
    pub(super) phase: Phase,
    cpu: Processor<Job>,
    /// Requests that wait for something else than the CPU, by when they will be done.
    waiting: BinaryHeap<Reverse<(Time, u64, Job)>>,
    sequence: u64,
    /// Requests beyond the limit, in the order of their arrival; none unless as many are served as may be.
    queue: VecDeque<Job>,
    /// When those that are turned away will be answered, in order.
    turned_away: VecDeque<Time>,
    concurrency: Option<u32>,
    beyond: Beyond,
    shows: Shows,
    crashes_per_hour: f64,
    fate: Pcg64,
    /// When it will crash, if it is ready and ever will.
    crash: Option<Time>,
    /// Completed requests by bucket of their duration, not cumulative; one more than there are bounds.
    counts: [u64; LE.len() + 1],
    /// Sum of the durations, in nanoseconds.
    sum: i128,
    rejected: u64,
}

impl Pod {
    pub(super) fn new(number: u64, created: Time, now: Time, config: &ClusterConfig) -> Self {
        Self {
            name: format!("pod-{number:05}"),
            number,
            created,
            restarted: None,
            ready_since: None,
            phase: Phase::Warming { until: now },
            cpu: Processor::new(config.usable().get(), now),
            waiting: BinaryHeap::new(),
            sequence: 0,
            queue: VecDeque::new(),
            turned_away: VecDeque::new(),
            concurrency: config.concurrency,
            beyond: config.beyond,
            shows: config.shows,
            crashes_per_hour: config.crashes_per_hour,
            fate: generator(config.seed, Purpose::Crashes(number)),
            crash: None,
            counts: [0; LE.len() + 1],
            sum: 0,
            rejected: 0,
        }
    }

    pub(super) fn view(&self) -> PodView<'_> {
        PodView {
            name: &self.name,
            phase: self.phase,
            created: self.created,
            restarted: self.restarted,
            ready_since: self.ready_since,
        }
    }

    /// Takes requests from now on. It has been ready since `since`.
    pub(super) fn make_ready(&mut self, now: Time, since: Time) {
        (self.phase, self.ready_since) = (Phase::Ready, Some(since));
        if self.crashes_per_hour > 0.0 {
            let hours = -positive_uniform(&mut self.fate).ln() / self.crashes_per_hour;
            self.crash = Some(now + Span::from_secs_f64(hours * 3600.0));
        }
    }

    /// Whether its process ends now.
    pub(super) fn crashes(&self, now: Time) -> bool {
        self.phase == Phase::Ready && self.crash.is_some_and(|crash| crash <= now)
    }

    /// A new process takes the place of the old one, and will be ready `until`. What the old one had and knew is gone.
    pub(super) fn restart(&mut self, now: Time, until: Time, config: &ClusterConfig) {
        let fresh = Self::new(self.number, self.created, now, config);
        let phase = Phase::Warming { until };
        *self = Self { restarted: Some(now), phase, fate: self.fate.clone(), ..fresh };
    }

    /// Requests whose clients wait for this pod.
    pub(super) fn in_flight(&self) -> usize {
        self.served() + self.queue.len() + self.turned_away.len()
    }

    /// Requests that it has begun with.
    fn served(&self) -> usize {
        self.cpu.jobs() + self.waiting.len()
    }

    pub(super) fn cpu_seconds(&self, now: Time) -> f64 {
        self.cpu.used(now)
    }

    /// Takes a request, unless the connection is refused.
    pub(super) fn take(&mut self, now: Time, request: &Request) -> bool {
        let job = Job { arrived: now, accepted: now, cpu: request.cpu, io: request.io };
        if self.concurrency.is_none_or(|limit| self.served() < limit as usize) {
            self.cpu.push(now, job.cpu, job);
            return true;
        }
        match self.beyond {
            Beyond::Reject { after } => self.turned_away.push_back(now + after),
            Beyond::Backlog { size: Some(size) } if self.queue.len() >= size as usize => return false,
            Beyond::Queue | Beyond::Backlog { .. } => self.queue.push_back(job),
        }
        true
    }

    /// When something happens to it next.
    pub(super) fn next(&self) -> Option<Time> {
        if let Phase::Warming { until } = self.phase {
            return Some(until);
        }
        let waiting = self.waiting.peek().map(|Reverse((until, ..))| *until);
        let turned_away = self.turned_away.front().copied();
        let crash = self.crash.filter(|_| self.phase == Phase::Ready);
        let first = |a: Option<Time>, b: Option<Time>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
        first(first(self.cpu.next(), waiting), first(turned_away, crash))
    }

    /// What [`Self::next`] told of: the end of a request, or nothing that anybody waits for.
    pub(super) fn fire(&mut self, now: Time) -> Option<Answer> {
        if self.cpu.next().is_some_and(|next| next <= now) {
            let job = self.cpu.pop(now)?;
            if job.io.is_positive() {
                self.sequence += 1;
                self.waiting.push(Reverse((now + job.io, self.sequence, job)));
                return None;
            }
            return Some(self.complete(now, job));
        }
        if self.waiting.peek().is_some_and(|Reverse((until, ..))| *until <= now) {
            let Reverse((_, _, job)) = self.waiting.pop()?;
            return Some(self.complete(now, job));
        }
        self.turned_away.pop_front()?;
        self.rejected += 1;
        Some(Answer::Rejected)
    }

    fn complete(&mut self, now: Time, job: Job) -> Answer {
        let duration = now - job.accepted;
        let seconds = duration.as_secs_f64();
        self.counts[LE.partition_point(|le| *le < seconds)] += 1;
        self.sum += i128::from(duration.as_nanos());
        if let Some(mut next) = self.queue.pop_front() {
            if self.has_backlog() {
                next.accepted = now;
            }
            self.cpu.push(now, next.cpu, next);
        }
        Answer::Completed(Completion { at: now, sojourn: now - job.arrived, cpu: job.cpu, io: job.io })
    }

    /// Whether those beyond the limit wait where it does not see them.
    fn has_backlog(&self) -> bool {
        matches!(self.beyond, Beyond::Backlog { .. })
    }

    /// Requests inside that are not done after `limit` of their intrinsic duration.
    pub(super) fn overdue(&self, now: Time, limit: &dyn Fn(Span) -> Span) -> usize {
        let waiting = self.waiting.iter().map(|Reverse((_, _, job))| job);
        let inside = self.cpu.iter().chain(waiting).chain(&self.queue);
        inside.filter(|job| now - job.arrived > limit(job.cpu + job.io)).count()
    }

    pub(super) fn reading(&self, now: Time) -> Reading {
        let mut total = 0.0;
        let cumulative = self.counts.iter().map(|count| {
            total += *count as f64;
            total
        });
        let sum = Some(self.sum as f64 / 1e9);
        let histogram = HistogramCounts::new(Labels::new(), LE.to_vec(), cumulative.collect(), sum);
        let unseen = if self.has_backlog() { self.queue.len() } else { 0 };
        Reading {
            at: now,
            started: Some(self.restarted.unwrap_or(self.created)),
            // Never refused: the bounds ascend, and cumulative counts cannot decrease.
            histograms: histogram.into_iter().collect(),
            cpu_seconds: Some(self.cpu.used(now)),
            in_flight: self.shows.in_flight.then_some((self.in_flight() - unseen) as f64),
            rejected: self.shows.rejected.then_some(self.rejected as f64),
            ..Reading::default()
        }
    }
}
