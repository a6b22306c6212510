//! Cumulative counters to rates, pod by pod.
//!
//! Every rate is an increase divided by the time between the pod's *own* two readings. A counter that dropped was
//! reset, and its new value is the increase. Pods are never mixed up: a pod that vanished keeps nothing, a pod
//! with a single reading contributes only what it counted since a start that is known and recent, and a pod that
//! stopped answering is marked silent and keeps the last that it told.
//!
//! Read all pods of a workload at about the same time. Requests that move from one pod to another, as they do
//! when pods are added, are then missing in one pod's window by as much as they appear in the other's; with windows
//! of different phase they would be counted twice for a while.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ReadingError;
use super::reading::Reading;
use super::remembered::{Remembered, Spent};
use super::sample::{Group, Labels, Pods, SAMPLE_SCHEMA, Sample};
use crate::units::{Cores, Span, Time};

/// Scrape intervals that a new pod is given before it should have told its load, and after which a histogram that is
/// gone from a page is gone for good.
const GRACE_INTERVALS: i64 = 2;

/// Histograms that are remembered of one pod, those among them that its page no longer shows.
const MAX_REMEMBERED: usize = 4096;

/// The pods that take requests, how many are on their way, and the CPU that each of them has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadyPods {
    /// Names of the pods that take requests.
    pub names: BTreeSet<String>,
    /// Pods on their way to being ready.
    pub warming: u32,
    /// The scale's `spec.replicas`.
    pub replicas: u32,
    /// A rollout of the workload is under way.
    pub updating: bool,
    /// CPU that one pod asked for, if known.
    pub requested_per_pod: Option<Cores>,
    /// CPU that one pod may use at most, if there is a limit.
    pub cores_per_pod: Option<Cores>,
}

/// Turns the readings of one workload's pods into [`Sample`]s. Owned by whoever scrapes.
#[derive(Debug)]
pub struct Counters {
    interval: Span,
    pods: BTreeMap<String, Pod>,
    /// The time over which somebody else tells CPU, once it does.
    spent_over: Option<Span>,
}

#[derive(Debug)]
struct Pod {
    first_seen: Time,
    answers: bool,
    last: Option<Reading>,
    group: Option<Group>,
    /// What it told before, where CPU is told later.
    before: Remembered,
    /// Readings in a row that lacked a histogram.
    lacking: i64,
    /// Histograms that the last page lacked, and was believed.
    gone: BTreeSet<Labels>,
    /// The process is new, and counts at what the old one told.
    restarted: bool,
}

impl Pod {
    fn new(first_seen: Time) -> Self {
        Self {
            first_seen,
            answers: true,
            last: None,
            group: None,
            before: Remembered::default(),
            lacking: 0,
            gone: BTreeSet::new(),
            restarted: false,
        }
    }
}

impl Counters {
    /// For a workload that is scraped every `interval`.
    pub fn new(interval: Span) -> Self {
        Self { interval, pods: BTreeMap::new(), spent_over: None }
    }

    /// Takes what a pod's page said.
    ///
    /// # Errors
    /// When the reading is not newer than the last one, or holds values that no pod can have counted. The pod then
    /// counts as one that did not answer.
    pub fn read(&mut self, pod: &str, reading: Reading) -> Result<(), ReadingError> {
        let pod = self.pods.entry(pod.to_owned()).or_insert_with(|| Pod::new(reading.at));
        let taken = pod.take(reading, self.interval);
        pod.answers = taken.is_ok();
        if let (Ok(()), Some(window)) = (&taken, self.spent_over)
            && let (Some(group), Some(last)) = (&pod.group, &pod.last)
        {
            pod.before.add(last.at, group, window);
        }
        taken
    }

    /// Notes that a pod was asked at `at` and gave no page.
    pub fn miss(&mut self, pod: &str, at: Time) {
        self.pods.entry(pod.to_owned()).or_insert_with(|| Pod::new(at)).answers = false;
    }

    /// As [`sample`](Self::sample), with the CPU of each pod as `cpu` tells it instead of the pods' own pages, and the requests of the
    /// time in which it was used as [`Evidence`](super::Evidence). A pod that is not in there has used an unknown amount.
    pub fn sample_with_cpu(&mut self, at: Time, ready: &ReadyPods, cpu: &BTreeMap<String, Spent>) -> Sample {
        let longest = cpu.values().map(|spent| spent.until - spent.from).max();
        self.spent_over = longest.or(self.spent_over).or(Some(self.interval));
        self.sample_of(at, ready, |(name, pod), group| {
            let evidence = cpu.get(name).and_then(|spent| pod.before.evidence(spent));
            Group { cpu: None, evidence: evidence.map(Box::new), ..group }
        })
    }

    /// What is known of the workload at `at`. Pods that are not among the ready ones are forgotten.
    pub fn sample(&mut self, at: Time, ready: &ReadyPods) -> Sample {
        self.sample_of(at, ready, |_, group| group)
    }

    fn sample_of(
        &mut self,
        at: Time,
        ready: &ReadyPods,
        told: impl Fn((&str, &Pod), Group) -> Group,
    ) -> Sample {
        self.pods.retain(|name, _| ready.names.contains(name));
        for name in &ready.names {
            self.pods.entry(name.clone()).or_insert_with(|| Pod::new(at));
        }
        let mut silent = 0;
        let mut groups = Vec::with_capacity(self.pods.len());
        for (name, pod) in &self.pods {
            let is_silent = pod.is_silent(at, self.interval);
            silent += u32::from(is_silent);
            let ReadyPods { requested_per_pod, cores_per_pod, .. } = *ready;
            let group = pod.group(self.interval).map(|g| Group { silent: is_silent, ..told((name, pod), g) });
            groups.extend(group.map(|g| Group { requested_per_pod, cores_per_pod, ..g }));
        }
        let count = u32::try_from(ready.names.len()).unwrap_or(u32::MAX);
        let ReadyPods { replicas, warming, updating, .. } = *ready;
        let pods = Pods { replicas, ready: count, warming, silent, updating };
        Sample { schema: SAMPLE_SCHEMA, at, pods, offered: None, groups }
    }
}

impl Pod {
    fn take(&mut self, reading: Reading, interval: Span) -> Result<(), ReadingError> {
        reading.check()?;
        let group = match &self.last {
            Some(last) if reading.at <= last.at => {
                return Err(ReadingError::NotNewer { last: last.at, given: reading.at });
            }
            Some(last) if reading.clock_stepped_since(last) => {
                self.rebase(reading);
                return Err(ReadingError::ClockStepped);
            }
            Some(last) => {
                let lacking = reading.lacking_of(last);
                let has_some = !reading.histograms.is_empty();
                // One that was idle is missed by nobody. A page that was cut off may lack others, an error page lacks them
                // all; what is still lacking after a while is gone.
                let is_excused =
                    |labels: &Labels| self.gone.contains(labels) || has_some && self.was_idle(labels);
                let is_complete = lacking.iter().all(is_excused);
                self.lacking = if is_complete { 0 } else { self.lacking + 1 };
                let may_be_true = has_some || reading.is_the_process_of(last);
                if !(is_complete || self.lacking > GRACE_INTERVALS && may_be_true) {
                    return Err(ReadingError::Vanished);
                }
                (self.gone, self.lacking) = (lacking, 0);
                let group = reading.rates_since(last, interval)?;
                let began_anew = reading.began_anew_since(last);
                let old = self
                    .group
                    .take()
                    .filter(|old| began_anew && !self.restarted && old.total() > group.total());
                self.restarted = old.is_some();
                Some(if has_some || began_anew {
                    // What the old process counted last is lost: for a round its last rate counts, if that is more.
                    old.unwrap_or(group)
                } else {
                    let idle = last.nothing_counted(group.window);
                    Group { histograms: idle.map(|idle| idle.histograms).unwrap_or_default(), ..group }
                })
            }
            None => reading.rates_since_start(interval, interval * GRACE_INTERVALS).transpose()?,
        };
        self.group = group;
        self.rebase(reading);
        Ok(())
    }

    /// Makes a reading the one that the next is compared with.
    fn rebase(&mut self, mut reading: Reading) {
        if let Some(last) = self.last.take().filter(|last| last.histograms.len() <= MAX_REMEMBERED) {
            reading.keep_what_was_in(last);
        }
        self.last = Some(reading);
    }

    /// Whether nothing was counted under these labels in the last window.
    fn was_idle(&self, labels: &Labels) -> bool {
        let histograms = self.group.as_ref().map_or(&[][..], |group| &group.histograms);
        histograms.iter().any(|h| h.labels() == labels && h.total() == 0.0)
    }

    /// What it told last. A pod that serves requests and was read only once has told nothing yet.
    fn group(&self, interval: Span) -> Option<Group> {
        let unread = || self.last.as_ref().filter(|_| !self.answers)?.nothing_counted(interval);
        self.group.clone().or_else(unread)
    }

    /// Whether this pod should tell its load at `at` and does not. One that never did is given some time.
    fn is_silent(&self, at: Time, interval: Span) -> bool {
        let patience = interval * GRACE_INTERVALS;
        match &self.last {
            Some(last) => !self.answers || at - last.at > patience,
            None => at - self.first_seen > patience,
        }
    }
}

#[cfg(test)]
mod tests;
