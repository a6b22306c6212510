//! The pods of a fluid workload: numbers flow through them, and they come and go one by one.

use plimsoll::hpa::{Pod, PodUsage, Ready};
use plimsoll::units::{Quantity, Span, Time};

use crate::cluster::ClusterConfig;
use crate::measure::{listed, usage_of};

/// How long the pods that a run begins with have been there.
const HEAD_START: Span = Span::from_secs(3600);

/// Pods in the order of their creation. They start in the time in which the [`Cluster`](crate::cluster::Cluster)'s would, and the newest go
/// first, at once.
#[derive(Debug)]
pub(super) struct Pods<'a> {
    config: &'a ClusterConfig,
    created: u64,
    ready_at: Vec<Time>,
    listed: Vec<Pod>,
    usage: Vec<PodUsage>,
}

impl<'a> Pods<'a> {
    /// So many that have long been running.
    pub(super) fn new(config: &'a ClusterConfig, start: Time, count: u32) -> Self {
        let (ready_at, listed) = (Vec::new(), Vec::new());
        let mut pods = Self { config, created: 0, ready_at, listed, usage: Vec::new() };
        for _ in 0..count {
            pods.create(start - HEAD_START, start - HEAD_START, true);
        }
        pods
    }

    fn create(&mut self, created: Time, ready_at: Time, is_ready: bool) {
        self.created += 1;
        let ready = Ready { status: is_ready.into(), last_transition: created };
        self.ready_at.push(ready_at);
        self.listed.push(listed(&format!("pod-{}", self.created), self.config.cores, created, ready));
    }

    /// How many there are, ready or not.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.ready_at.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn set(&mut self, count: u32, now: Time) {
        let wanted = count as usize;
        self.ready_at.truncate(wanted);
        self.listed.truncate(wanted);
        while self.ready_at.len() < wanted {
            let start_up = self.config.start_up.draw(self.config.seed, self.created + 1);
            self.create(now, now + start_up, !start_up.is_positive());
        }
    }

    /// Time that pods are ready between two instants, all pods together, in seconds.
    pub(super) fn ready_seconds(&self, from: Time, to: Time) -> f64 {
        self.ready_at.iter().map(|ready| (to - (*ready).max(from)).as_secs_f64().max(0.0)).sum()
    }

    /// How many are ready at an instant.
    pub(super) fn ready(&self, now: Time) -> u32 {
        let ready = self.ready_at.iter().filter(|ready| **ready <= now).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// As the HPA lists them at an instant, and the CPU of those that have been ready for a window, each of which used `cores` in it.
    pub(super) fn seen(&mut self, now: Time, window: Span, cores: f64) -> (&[Pod], &[PodUsage]) {
        let cores = Quantity::at_least(cores).unwrap_or(Quantity::from_milli(0));
        self.usage.clear();
        for (pod, ready_at) in self.listed.iter_mut().zip(&self.ready_at) {
            if let Some(ready) = pod.ready.as_mut().filter(|_| *ready_at <= now)
                && ready.last_transition < *ready_at
            {
                *ready = Ready { status: true.into(), last_transition: *ready_at };
            }
            if *ready_at + window <= now {
                self.usage.push(usage_of(&pod.name, now, window, cores));
            }
        }
        (&self.listed, &self.usage)
    }
}
