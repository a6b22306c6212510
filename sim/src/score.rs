//! Scores: what a policy cost, and what it broke.

use plimsoll::units::{Cores, Span};
use serde::Serialize;

use crate::cluster::{Cluster, Completion, Totals};
use crate::fluid::{self, Scores, Step};
use crate::latency::Latencies;
use crate::policy::Target;

const MINUTE: Span = Span::from_secs(60);

/// When a request is late: its time in the system exceeds `factor` times its duration in an idle pod, plus `slack`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Late {
    /// At least 1.
    pub factor: f64,
    /// Not negative. Keeps requests of a few milliseconds from being late for a few milliseconds more.
    pub slack: Span,
}

impl Default for Late {
    fn default() -> Self {
        Self { factor: 3.0, slack: Span::from_millis(100) }
    }
}

impl Late {
    /// The longest time in the system that is not late.
    pub fn limit(&self, intrinsic: Span) -> Span {
        Span::from_secs_f64(intrinsic.as_secs_f64() * self.factor) + self.slack
    }
}

/// What a policy cost, and what it broke. Serialized as it stands: every name carries its unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// The policy, as it was asked for.
    pub policy: String,
    /// Its target, for people.
    pub target: String,
    /// Its number...
    pub target_value: f64,
    /// ...and what it is a number of.
    pub target_unit: &'static str,
    /// Time that pods existed, from creation to disappearance: what is paid for.
    pub pod_hours: f64,
    /// Full minutes that were replayed.
    pub minutes: u64,
    /// Minutes in which more CPU work arrived than the ready pods could have done in them.
    pub short_minutes: u64,
    /// The same minutes as SPEC and others score them: a step is a minute, load is CPU work, and a pod carries what it may use.
    #[serde(flatten)]
    pub scores: Scores,
    /// Requests that reached the balancer.
    pub arrived: u64,
    /// Requests that were answered.
    pub completed: u64,
    /// Requests that were in a pod at the end.
    pub in_flight_at_end: u64,
    /// Requests turned away with 429.
    pub rejected: u64,
    /// Requests that found no ready pod or a full backlog, or were in a pod that crashed.
    pub lost: u64,
    /// Pods' processes that crashed.
    pub crashes: u64,
    /// Requests answered late, and those in flight at the end that were late already.
    pub late: u64,
    /// Share of the arrived requests that were late, rejected or lost, in percent.
    pub failed_percent: f64,
    /// Share of the arrived requests that were late, in percent.
    pub late_percent: f64,
    /// Half of the answers took at most this; none if nothing was answered.
    pub latency_p50_s: Option<f64>,
    /// 95 % did.
    pub latency_p95_s: Option<f64>,
    /// 99 % did.
    pub latency_p99_s: Option<f64>,
    /// CPU used, of the CPU that the ready pods requested, in percent.
    pub ready_cpu_percent: f64,
    /// How often replicas were added.
    pub scale_ups: u64,
    /// How often replicas were removed.
    pub scale_downs: u64,
    /// Most replicas asked for.
    pub most_replicas: u32,
}

/// Counts along a run.
#[derive(Debug)]
pub(crate) struct Tally {
    late_rule: Late,
    late: u64,
    latencies: Latencies,
    minutes: u64,
    short_minutes: u64,
    scores: fluid::Tally,
    /// Pod-seconds, and of those the ready ones, up to the last full minute.
    before: (f64, f64),
    /// CPU used up to then, in core-seconds.
    used_before: f64,
    /// Pods ordered and given back since then.
    changed: u32,
    scale_ups: u64,
    scale_downs: u64,
    most_replicas: u32,
}

impl Tally {
    pub(crate) fn new(late_rule: Late, replicas: u32) -> Self {
        Self {
            late_rule,
            late: 0,
            latencies: Latencies::default(),
            minutes: 0,
            short_minutes: 0,
            scores: fluid::Tally::default(),
            before: (0.0, 0.0),
            used_before: 0.0,
            changed: 0,
            scale_ups: 0,
            scale_downs: 0,
            most_replicas: replicas,
        }
    }

    pub(crate) fn completed(&mut self, completion: &Completion) {
        self.latencies.add(completion.sojourn);
        self.late += u64::from(completion.sojourn > self.late_rule.limit(completion.intrinsic()));
    }

    /// A minute is over, in which `arrived` core-seconds of work arrived. A pod can do `usable` of it.
    pub(crate) fn minute(&mut self, arrived: f64, totals: &Totals, usable: Cores) -> Step {
        let (paid, ready) = (totals.pod_seconds - self.before.0, totals.ready_pod_seconds - self.before.1);
        self.short_minutes += u64::from(arrived > ready * usable.get());
        let minute = MINUTE.as_secs_f64();
        let step = Step {
            index: usize::try_from(self.minutes).unwrap_or(usize::MAX),
            load: arrived,
            capacity: usable.get() * minute,
            paid: paid / minute,
            ready: ready / minute,
            changed: f64::from(self.changed),
            carried: Some(totals.cpu_seconds - self.used_before),
        };
        self.scores.add(&step);
        self.minutes += 1;
        self.before = (totals.pod_seconds, totals.ready_pod_seconds);
        self.used_before = totals.cpu_seconds;
        self.changed = 0;
        step
    }

    pub(crate) fn scaled(&mut self, before: u32, after: u32) {
        self.changed += after.abs_diff(before);
        self.scale_ups += u64::from(after > before);
        self.scale_downs += u64::from(after < before);
        self.most_replicas = self.most_replicas.max(after);
    }

    pub(crate) fn score(self, policy: &str, target: Target, cluster: &Cluster) -> Score {
        let totals = cluster.totals();
        let late = self.late + cluster.overdue(|intrinsic| self.late_rule.limit(intrinsic));
        let percent = |count: u64| 100.0 * count as f64 / totals.arrived.max(1) as f64;
        let quantile = |q| self.latencies.quantile(q).map(Span::as_secs_f64);
        let ready_core_seconds = totals.ready_pod_seconds * cluster.config().cores.get();
        Score {
            policy: policy.to_owned(),
            target: target.to_string(),
            target_value: target.value(),
            target_unit: target.unit(),
            pod_hours: totals.pod_seconds / 3600.0,
            minutes: self.minutes,
            short_minutes: self.short_minutes,
            scores: self.scores.scores(),
            arrived: totals.arrived,
            completed: totals.completed,
            in_flight_at_end: totals.in_flight,
            rejected: totals.rejected,
            lost: totals.lost,
            crashes: totals.crashes,
            late,
            failed_percent: percent(late + totals.rejected + totals.lost),
            late_percent: percent(late),
            latency_p50_s: quantile(0.5),
            latency_p95_s: quantile(0.95),
            latency_p99_s: quantile(0.99),
            ready_cpu_percent: 100.0 * totals.cpu_seconds / ready_core_seconds.max(f64::MIN_POSITIVE),
            scale_ups: self.scale_ups,
            scale_downs: self.scale_downs,
            most_replicas: self.most_replicas,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_late_by_its_own_measure() {
        let late = Late { factor: 3.0, slack: Span::from_millis(100) };
        assert_eq!(late.limit(Span::from_millis(10)), Span::from_millis(130));
        assert_eq!(late.limit(Span::from_secs(2)), Span::from_millis(6100));
    }

    #[test]
    fn a_minute_is_short_by_what_arrived_in_it_and_who_was_ready_in_it() {
        let mut tally = Tally::new(Late::default(), 2);
        let cores = Cores::saturating(2.0);
        let ready = |pod_seconds| Totals { ready_pod_seconds: pod_seconds, ..Totals::default() };
        // One pod of two cores: 120 core-seconds a minute. Then two pods.
        tally.minute(120.0, &ready(60.0), cores);
        tally.minute(120.1, &ready(120.0), cores);
        tally.minute(200.0, &ready(240.0), cores);
        assert_eq!((tally.minutes, tally.short_minutes), (3, 1));
    }

    #[test]
    fn scalings_count_by_direction() {
        let mut tally = Tally::new(Late::default(), 2);
        for (before, after) in [(2, 5), (5, 3), (3, 4)] {
            tally.scaled(before, after);
        }
        assert_eq!((tally.scale_ups, tally.scale_downs, tally.most_replicas), (2, 1, 5));
    }
}
