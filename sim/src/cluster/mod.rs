//! Simulated pods behind a balancer, driven event by event.
//!
//! A request needs CPU first and waits for I/O after. A pod shares its cores among the requests that compute, none
//! of which gets more than one core, so a request's latency is an outcome of what else is in its pod. What happens
//! beyond a pod's concurrency limit, if it has one, is [`Beyond`]. [`Cluster`] is
//! a stepper for whoever owns the time: [`Cluster::inject`] what arrives, [`Cluster::advance_to`] an instant,
//! [`Cluster::set_replicas`], look at [`Cluster::pods`] and read each pod's counters by [`Cluster::reading`], as its
//! metrics page would show them. Arrived requests are completed, in flight, rejected or lost; there is no fifth.
//!
//! It never decides how many pods there should be, reads no clock, and knows nothing of traces and policies.
//!
//! ```
//! use plimsoll::units::{Span, Time};
//! use plimsoll_sim::cluster::{Cluster, ClusterConfig, Request};
//!
//! let start = Time::from_secs(1_700_000_000);
//! let mut cluster = Cluster::new(ClusterConfig::default(), start, 2);
//! let request = |ms| Request { at: Span::from_millis(ms), cpu: Span::from_millis(20), io: Span::ZERO };
//! cluster.inject((0..100).map(|i| request(i * 10)));
//! cluster.advance_to(start + Span::from_secs(1));
//! let pod = cluster.pods().next().map(|pod| pod.name.to_owned()).unwrap();
//! assert!(cluster.reading(&pod).unwrap().cpu_seconds > Some(0.9));
//! ```

mod calendar;
mod config;
mod pod;
mod processor;

use std::collections::VecDeque;

use plimsoll::load::Reading;
use plimsoll::units::{Span, Time};
use rand::RngExt;
use rand_pcg::Pcg64;

pub use config::{Balancer, Beyond, BeyondError, ClusterConfig, Shows, StartUp, StartUpError};
pub use pod::{LE, Phase};

use calendar::Calendar;
use pod::{Answer, Pod};

use crate::random::{Purpose, generator};

/// How long the pods have been running that are there at the start.
const HEAD_START: Span = Span::from_secs(3600);

/// One request, as it arrives at the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When, after the start.
    pub at: Span,
    /// CPU that it needs; at least zero.
    pub cpu: Span,
    /// Time that it waits for something else; at least zero.
    pub io: Span,
}

impl Request {
    /// How long it takes in an idle pod.
    pub fn intrinsic(&self) -> Span {
        self.cpu + self.io
    }
}

/// One request, as it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// When.
    pub at: Time,
    /// Time since its arrival, as its client sees it.
    pub sojourn: Span,
    /// CPU that it needed.
    pub cpu: Span,
    /// Time that it waited for something else.
    pub io: Span,
}

impl Completion {
    /// What the sojourn would have been in an idle pod.
    pub fn intrinsic(&self) -> Span {
        self.cpu + self.io
    }
}

/// A pod as `kubectl get pods` would show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodView<'a> {
    /// Its name: unique for ever.
    pub name: &'a str,
    /// Where it is in its life.
    pub phase: Phase,
    /// When it was created.
    pub created: Time,
    /// When it last crashed and its process was started anew; none if it never did.
    pub restarted: Option<Time>,
    /// When it became ready; none while it is not.
    pub ready_since: Option<Time>,
}

/// What a cluster has done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Requests that reached the balancer: completed + in flight + rejected + lost.
    pub arrived: u64,
    /// Requests that were answered.
    pub completed: u64,
    /// Requests inside the pods, or in the backlog of one.
    pub in_flight: u64,
    /// Requests turned away with 429 by a pod at its concurrency limit.
    pub rejected: u64,
    /// Requests that found no ready pod or a full backlog, or were in a pod that crashed.
    pub lost: u64,
    /// Pods' processes that crashed.
    pub crashes: u64,
    /// Time that pods have existed, warming and draining included, in pod-seconds.
    pub pod_seconds: f64,
    /// Time that pods were ready, in pod-seconds.
    pub ready_pod_seconds: f64,
    /// CPU that the pods used, in core-seconds.
    pub cpu_seconds: f64,
}

/// A workload's pods behind a balancer.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    start: Time,
    now: Time,
    replicas: u32,
    /// In the order of their creation.
    pods: Vec<Pod>,
    /// Indices of the ready ones.
    ready: Vec<usize>,
    calendar: Calendar,
    /// Requests that are yet to arrive, in order.
    coming: VecDeque<Request>,
    turn: usize,
    chance: Pcg64,
    created: u64,
    /// `in_flight` and `cpu_seconds` hold what the processes that are gone have left; integrals are as of `counted`.
    totals: Totals,
    counted: Time,
}

impl Cluster {
    /// A cluster that has long been running with `replicas` ready pods at `start`.
    pub fn new(config: ClusterConfig, start: Time, replicas: u32) -> Self {
        let mut cluster = Self {
            chance: generator(config.seed, Purpose::Balancing),
            config,
            start,
            now: start,
            replicas,
            pods: Vec::new(),
            ready: Vec::new(),
            calendar: Calendar::default(),
            coming: VecDeque::new(),
            turn: 0,
            created: 0,
            totals: Totals::default(),
            counted: start,
        };
        for _ in 0..replicas {
            let mut pod = cluster.create(start - HEAD_START);
            pod.make_ready(start, pod.created);
            cluster.pods.push(pod);
        }
        cluster.reorder();
        cluster
    }

    /// The instant that it has been advanced to.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What the pods are like.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Pods asked for: `spec.replicas`.
    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    /// Adds requests that are to arrive, in the order of their arrival. One that should have arrived already does so
    /// at once.
    pub fn inject(&mut self, requests: impl IntoIterator<Item = Request>) {
        self.coming.extend(requests);
    }

    /// Lets time pass until `to`; an earlier instant changes nothing.
    pub fn advance_to(&mut self, to: Time) {
        self.advance_with(to, |_| ());
    }

    /// As [`Self::advance_to`], and tells of each request that is answered, in the order of time.
    pub fn advance_with(&mut self, to: Time, mut completed: impl FnMut(&Completion)) {
        loop {
            let event = self.calendar.first().filter(|(at, _)| *at <= to);
            let arrival = self.coming.front().map(|request| (self.start + request.at).max(self.now));
            match (event, arrival.filter(|at| *at <= to)) {
                // What ends makes room for what arrives at the same instant.
                (Some((at, pod)), arrival) if arrival.is_none_or(|arrival| at <= arrival) => {
                    self.now = at;
                    if let Some(completion) = self.fire(pod) {
                        completed(&completion);
                    }
                }
                (_, Some(at)) => {
                    self.now = at;
                    if let Some(request) = self.coming.pop_front() {
                        self.arrive(&request);
                    }
                }
                (_, None) => break,
            }
        }
        self.now = self.now.max(to);
    }

    /// Asks for so many pods from now on. Missing ones are created and warm up; of too many the newest go, once they
    /// have finished their requests.
    pub fn set_replicas(&mut self, replicas: u32) {
        self.replicas = replicas;
        self.count();
        let staying = |pod: &&mut Pod| pod.phase != Phase::Draining;
        let there = self.pods.iter_mut().filter(staying).count();
        let wanted = replicas as usize;
        for pod in self.pods.iter_mut().rev().filter(staying).take(there.saturating_sub(wanted)) {
            pod.phase = Phase::Draining;
        }
        for _ in there..wanted {
            let mut pod = self.create(self.now);
            pod.phase = Phase::Warming { until: self.up(pod.number) };
            self.pods.push(pod);
        }
        self.remove_drained();
        self.reorder();
    }

    /// The pods, in the order of their creation.
    pub fn pods(&self) -> impl Iterator<Item = PodView<'_>> {
        self.pods.iter().map(Pod::view)
    }

    /// All pods, in the order of their creation, each with what its metrics page says now.
    pub fn readings(&self) -> impl Iterator<Item = (PodView<'_>, Reading)> {
        self.pods.iter().map(|pod| (pod.view(), pod.reading(self.now)))
    }

    /// What the metrics page of a pod says now; none if there is no such pod.
    pub fn reading(&self, pod: &str) -> Option<Reading> {
        self.pods.iter().find(|p| p.name == pod).map(|p| p.reading(self.now))
    }

    /// What it has done since its start.
    pub fn totals(&self) -> Totals {
        let inside =
            |number: fn(&Pod, Time) -> f64| self.pods.iter().map(|p| number(p, self.now)).sum::<f64>();
        let uncounted = (self.now - self.counted).as_secs_f64();
        Totals {
            in_flight: self.pods.iter().map(|p| p.in_flight() as u64).sum(),
            cpu_seconds: self.totals.cpu_seconds + inside(Pod::cpu_seconds),
            pod_seconds: self.totals.pod_seconds + uncounted * self.pods.len() as f64,
            ready_pod_seconds: self.totals.ready_pod_seconds + uncounted * self.ready.len() as f64,
            ..self.totals
        }
    }

    /// Requests in flight that have been there for longer than `limit` of their intrinsic duration.
    pub fn overdue(&self, limit: impl Fn(Span) -> Span) -> u64 {
        self.pods.iter().map(|pod| pod.overdue(self.now, &limit) as u64).sum()
    }

    fn create(&mut self, created: Time) -> Pod {
        self.created += 1;
        Pod::new(self.created, created, self.now, &self.config)
    }

    /// When a pod that starts now will be ready.
    fn up(&self, pod: u64) -> Time {
        self.now + self.config.start_up.draw(self.config.seed, pod)
    }

    fn arrive(&mut self, request: &Request) {
        self.totals.arrived += 1;
        let Some(index) = self.pick() else {
            self.totals.lost += 1;
            return;
        };
        let pod = &mut self.pods[index];
        if pod.take(self.now, request) {
            self.calendar.set(index, pod.next());
        } else {
            self.totals.lost += 1;
        }
    }

    /// The pod that the balancer chooses.
    fn pick(&mut self) -> Option<usize> {
        match self.config.balancer {
            Balancer::RoundRobin => {
                self.turn = if self.turn + 1 < self.ready.len() { self.turn + 1 } else { 0 };
                self.ready.get(self.turn).copied()
            }
            Balancer::LeastLoaded => self.ready.iter().copied().min_by_key(|i| self.pods[*i].in_flight()),
            Balancer::Random => self.draw(),
            Balancer::PowerOfTwo => {
                // The same one twice is one choice.
                let two = [self.draw(), self.draw()];
                two.into_iter().flatten().min_by_key(|i| self.pods[*i].in_flight())
            }
        }
    }

    /// Any ready pod.
    fn draw(&mut self) -> Option<usize> {
        let count = self.ready.len();
        (count > 0).then(|| self.ready[self.chance.random_range(0..count)])
    }

    /// The event of a pod whose time has come.
    fn fire(&mut self, index: usize) -> Option<Completion> {
        let pod = &mut self.pods[index];
        if let Phase::Warming { until } = pod.phase {
            self.count();
            let pod = &mut self.pods[index];
            pod.make_ready(until, until);
            self.reorder();
            return None;
        }
        if pod.crashes(self.now) {
            self.crash(index);
            return None;
        }
        let answer = pod.fire(self.now);
        if pod.phase == Phase::Draining && pod.in_flight() == 0 {
            self.count();
            self.remove_drained();
            self.reorder();
        } else {
            self.calendar.set(index, pod.next());
        }
        match answer? {
            Answer::Completed(completion) => {
                self.totals.completed += 1;
                Some(completion)
            }
            Answer::Rejected => {
                self.totals.rejected += 1;
                None
            }
        }
    }

    fn crash(&mut self, index: usize) {
        self.count();
        let until = self.up(self.pods[index].number);
        let pod = &mut self.pods[index];
        self.totals.crashes += 1;
        self.totals.lost += pod.in_flight() as u64;
        self.totals.cpu_seconds += pod.cpu_seconds(self.now);
        pod.restart(self.now, until, &self.config);
        self.reorder();
    }

    /// Brings the integrals up to now, before the number of pods changes.
    fn count(&mut self) {
        let elapsed = (self.now - self.counted).as_secs_f64();
        self.totals.pod_seconds += elapsed * self.pods.len() as f64;
        self.totals.ready_pod_seconds += elapsed * self.ready.len() as f64;
        self.counted = self.now;
    }

    fn remove_drained(&mut self) {
        let gone = |pod: &Pod| pod.phase == Phase::Draining && pod.in_flight() == 0;
        for pod in self.pods.iter().filter(|pod| gone(pod)) {
            self.totals.cpu_seconds += pod.cpu_seconds(self.now);
        }
        self.pods.retain(|pod| !gone(pod));
    }

    /// Finds out anew who is ready and who is next, after pods came, went or changed their phase.
    fn reorder(&mut self) {
        let ready = self.pods.iter().enumerate().filter(|(_, pod)| pod.phase == Phase::Ready);
        self.ready = ready.map(|(index, _)| index).collect();
        self.calendar = Calendar::new(self.pods.iter().map(Pod::next));
    }
}

#[cfg(test)]
mod tests;
