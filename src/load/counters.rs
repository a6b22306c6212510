//! Cumulative counters to rates.
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

use super::error::{ReadingError, check_bounds};
use super::sample::{Group, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA, Sample};
use crate::units::{Cores, Rate, Span, Time};

/// Scrape intervals that a new pod is given before it should have told its load.
const GRACE_INTERVALS: i64 = 2;

/// What one pod's metrics page said at one instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// When the page was read.
    pub at: Time,
    /// When the process started, if known.
    pub started: Option<Time>,
    /// Histograms of request durations, one for each set of labels. Many client libraries show none before the first
    /// request; such a pod's load is not known.
    pub histograms: Vec<HistogramCounts>,
    /// CPU-seconds used since the start.
    pub cpu_seconds: Option<f64>,
    /// Requests being served or queued now.
    pub in_flight: Option<f64>,
    /// Requests turned away since the start.
    pub rejected: Option<f64>,
}

/// A cumulative histogram of durations: `counts[i]` requests took at most `le[i]` seconds; the last entry counts
/// them all.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramCounts {
    labels: Labels,
    le: Vec<f64>,
    counts: Vec<f64>,
    sum: Option<f64>,
}

fn check_count(what: &'static str, value: f64) -> Result<(), ReadingError> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(ReadingError::Value { what, value }) }
}

impl HistogramCounts {
    /// `le` are the finite upper bounds in seconds, ascending; `counts` are cumulative and have one entry more,
    /// for `+Inf`; `sum` is the sum of all durations in seconds.
    ///
    /// # Errors
    /// When bounds or counts do not ascend, do not match, or are not numbers that a counter can have.
    pub fn new(
        labels: Labels,
        le: Vec<f64>,
        counts: Vec<f64>,
        sum: Option<f64>,
    ) -> Result<Self, ReadingError> {
        check_bounds(&le)?;
        if counts.len() != le.len() + 1 {
            return Err(ReadingError::BucketCount { expected: le.len() + 1, found: counts.len() });
        }
        for count in &counts {
            check_count("a bucket's count", *count)?;
        }
        if let Some(pair) = counts.windows(2).find(|pair| pair[0] > pair[1]) {
            return Err(ReadingError::NotCumulative { before: pair[0], after: pair[1] });
        }
        if let Some(sum) = sum {
            check_count("the sum of durations", sum)?;
        }
        Ok(Self { labels, le, counts, sum })
    }

    /// Labels of the series, without `le`.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Finite upper bounds in seconds, ascending.
    pub fn le(&self) -> &[f64] {
        &self.le
    }

    /// Cumulative counts; the last one counts all requests.
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// Sum of all durations in seconds, where known.
    pub fn sum(&self) -> Option<f64> {
        self.sum
    }

    /// What was counted since `before`, in the process that counted it; everything, if that is a new one.
    fn rates_since(&self, before: Option<&Self>, window: Span) -> Result<HistogramRates, ReadingError> {
        let before = before.filter(|b| b.le == self.le && !self.was_reset_since(b));
        let mut rates = Vec::with_capacity(self.counts.len());
        let mut below = 0.0;
        for (i, count) in self.counts.iter().enumerate() {
            let increase = count - before.map_or(0.0, |b| b.counts[i]);
            // Pages are not written atomically: a bucket may be a request ahead of the next one.
            rates.push(rate("a bucket's rate", (increase - below).max(0.0), window)?);
            below = increase.max(below);
        }
        let busy = match (self.sum, before.map(|b| b.sum)) {
            (Some(sum), None) => Some(sum),
            (Some(sum), Some(Some(earlier))) => Some((sum - earlier).max(0.0)),
            _ => None,
        };
        let busy = busy.map(|b| rate("the rate of durations", b, window)).transpose()?;
        HistogramRates::new(self.labels.clone(), self.le.clone(), rates, busy)
    }

    fn was_reset_since(&self, before: &Self) -> bool {
        self.counts.iter().zip(&before.counts).any(|(now, then)| now < then)
    }
}

fn rate(what: &'static str, increase: f64, window: Span) -> Result<Rate, ReadingError> {
    let value = increase / window.as_secs_f64();
    Rate::new(value).map_err(|_| ReadingError::Value { what, value })
}

/// The increase of a counter that may have been reset.
fn increase(now: f64, before: f64) -> f64 {
    if now < before { now } else { now - before }
}

impl Reading {
    fn check(&self) -> Result<(), ReadingError> {
        let values = [
            ("the CPU time", self.cpu_seconds),
            ("the in-flight gauge", self.in_flight),
            ("the rejected counter", self.rejected),
        ];
        values.into_iter().try_for_each(|(what, value)| value.map_or(Ok(()), |v| check_count(what, v)))
    }

    /// The rates between `before` and this reading, over the time between them.
    fn rates_since(&self, before: &Self) -> Result<Group, ReadingError> {
        let window = self.at - before.at;
        let earlier: BTreeMap<&Labels, &HistogramCounts> =
            before.histograms.iter().map(|h| (&h.labels, h)).collect();
        let pair = |now: Option<f64>, then: Option<f64>| now.zip(then);
        let rejected = pair(self.rejected, before.rejected).map(|(now, then)| increase(now, then));
        let cpu = pair(self.cpu_seconds, before.cpu_seconds).map(|(now, then)| increase(now, then));
        let in_flight = pair(self.in_flight, before.in_flight);
        self.group(window, |h| earlier.get(&h.labels).copied(), cpu, rejected, in_flight)
    }

    /// The rates since the process started, if it did so a short while ago. They are taken over an interval at least,
    /// like those of the other pods, in whose last interval the requests are missing that this one took over: dividing by
    /// a shorter age would count them twice.
    fn rates_since_start(&self, interval: Span) -> Option<Result<Group, ReadingError>> {
        let age = self.at - self.started?;
        (age.is_positive() && age <= interval * GRACE_INTERVALS).then(|| {
            let in_flight = self.in_flight.map(|now| (now, 0.0));
            self.group(age.max(interval), |_| None, self.cpu_seconds, self.rejected, in_flight)
        })
    }

    fn group<'a>(
        &self,
        window: Span,
        earlier: impl Fn(&HistogramCounts) -> Option<&'a HistogramCounts>,
        cpu: Option<f64>,
        rejected: Option<f64>,
        in_flight: Option<(f64, f64)>,
    ) -> Result<Group, ReadingError> {
        let histograms = self.histograms.iter().map(|h| h.rates_since(earlier(h), window));
        let cpu = cpu.map(|c| rate("the CPU use", c, window)).transpose()?;
        Ok(Group {
            pods: 1,
            silent: false,
            window,
            histograms: histograms.collect::<Result<_, _>>()?,
            cpu: cpu.and_then(|c| Cores::new(c.get()).ok()),
            cores_per_pod: None,
            in_flight: in_flight.map(|(now, then)| InFlight { now, change: now - then }),
            rejected: rejected.map(|r| rate("the rate of rejections", r, window)).transpose()?,
        })
    }
}

/// The pods that take requests, and how many are on their way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadyPods {
    /// Names of the pods that take requests.
    pub names: BTreeSet<String>,
    /// Pods on their way to being ready.
    pub warming: u32,
    /// The scale's `spec.replicas`.
    pub replicas: u32,
}

/// Turns the readings of one workload's pods into [`Sample`]s. Owned by whoever scrapes.
#[derive(Debug)]
pub struct Counters {
    interval: Span,
    pods: BTreeMap<String, Pod>,
}

#[derive(Debug)]
struct Pod {
    first_seen: Time,
    answers: bool,
    last: Option<Reading>,
    group: Option<Group>,
}

impl Pod {
    fn new(first_seen: Time) -> Self {
        Self { first_seen, answers: true, last: None, group: None }
    }
}

impl Counters {
    /// For a workload that is scraped every `interval`.
    pub fn new(interval: Span) -> Self {
        Self { interval, pods: BTreeMap::new() }
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
        taken
    }

    /// Notes that a pod was asked at `at` and gave no page.
    pub fn miss(&mut self, pod: &str, at: Time) {
        self.pods.entry(pod.to_owned()).or_insert_with(|| Pod::new(at)).answers = false;
    }

    /// What is known of the workload at `at`. Pods that are not among the ready ones are forgotten.
    pub fn sample(&mut self, at: Time, ready: &ReadyPods) -> Sample {
        self.pods.retain(|name, _| ready.names.contains(name));
        for name in &ready.names {
            self.pods.entry(name.clone()).or_insert_with(|| Pod::new(at));
        }
        let mut silent = 0;
        let mut groups = Vec::with_capacity(self.pods.len());
        for pod in self.pods.values() {
            let is_silent = pod.is_silent(at, self.interval);
            silent += u32::from(is_silent);
            groups.extend(pod.group.clone().map(|group| Group { silent: is_silent, ..group }));
        }
        let count = u32::try_from(ready.names.len()).unwrap_or(u32::MAX);
        let pods = Pods { replicas: ready.replicas, ready: count, warming: ready.warming, silent };
        Sample { schema: SAMPLE_SCHEMA, at, pods, groups }
    }
}

impl Pod {
    fn take(&mut self, reading: Reading, interval: Span) -> Result<(), ReadingError> {
        reading.check()?;
        let group = match &self.last {
            Some(last) if reading.at <= last.at => {
                return Err(ReadingError::NotNewer { last: last.at, given: reading.at });
            }
            Some(last) if reading.histograms.is_empty() && !last.histograms.is_empty() => {
                return Err(ReadingError::Vanished);
            }
            Some(last) => Some(reading.rates_since(last)?),
            None => reading.rates_since_start(interval).transpose()?,
        };
        self.group = group;
        self.last = Some(reading);
        Ok(())
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
mod tests {
    use super::*;

    const INTERVAL: Span = Span::from_secs(10);

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_000_000 + seconds)
    }

    /// A page with one histogram: `fast` requests up to 0.1 s, `slow` ones beyond.
    fn page(seconds: i64, fast: f64, slow: f64) -> Reading {
        let histogram =
            HistogramCounts::new(Labels::new(), vec![0.1], vec![fast, fast + slow], None).unwrap();
        Reading { at: at(seconds), histograms: vec![histogram], ..Reading::default() }
    }

    fn ready(names: &[&str]) -> ReadyPods {
        let names: BTreeSet<String> = names.iter().map(|n| (*n).to_owned()).collect();
        ReadyPods { replicas: names.len() as u32, names, warming: 0 }
    }

    fn rates(group: &Group) -> Vec<f64> {
        group.histograms[0].rates().iter().map(|r| r.get()).collect()
    }

    #[test]
    fn increases_are_divided_by_the_pods_own_two_readings() {
        let mut counters = Counters::new(INTERVAL);
        counters.read("a", page(0, 100.0, 5.0)).unwrap();
        counters.read("b", page(3, 100.0, 5.0)).unwrap();
        counters.read("a", page(10, 200.0, 15.0)).unwrap();
        counters.read("b", page(23, 200.0, 15.0)).unwrap();
        let sample = counters.sample(at(24), &ready(&["a", "b"]));
        assert_eq!(rates(&sample.groups[0]), [10.0, 1.0]);
        assert_eq!(rates(&sample.groups[1]), [5.0, 0.5]);
    }

    #[test]
    fn after_a_reset_the_new_value_is_the_increase() {
        let mut counters = Counters::new(INTERVAL);
        counters.read("a", page(0, 1000.0, 0.0)).unwrap();
        counters.read("a", page(10, 20.0, 10.0)).unwrap();
        assert_eq!(rates(&counters.sample(at(10), &ready(&["a"])).groups[0]), [2.0, 1.0]);
    }

    #[test]
    fn a_series_that_appears_counts_from_zero() {
        let mut counters = Counters::new(INTERVAL);
        counters.read("a", Reading { at: at(0), ..Reading::default() }).unwrap();
        counters.read("a", page(10, 20.0, 0.0)).unwrap();
        assert_eq!(rates(&counters.sample(at(10), &ready(&["a"])).groups[0]), [2.0, 0.0]);
    }

    #[test]
    fn a_young_pod_counts_since_its_start_and_an_old_one_not_before_its_second_reading() {
        let mut counters = Counters::new(INTERVAL);
        let started = |seconds| Some(at(seconds));
        counters.read("young", Reading { started: started(-5), ..page(0, 50.0, 0.0) }).unwrap();
        counters.read("youth", Reading { started: started(-20), ..page(0, 50.0, 0.0) }).unwrap();
        counters.read("old", Reading { started: started(-500), ..page(0, 5e6, 0.0) }).unwrap();
        counters.read("unknown", page(0, 5e6, 0.0)).unwrap();
        let sample = counters.sample(at(1), &ready(&["old", "unknown", "young", "youth"]));
        assert_eq!(sample.groups.len(), 2);
        assert_eq!(rates(&sample.groups[0]), [5.0, 0.0]);
        assert_eq!(rates(&sample.groups[1]), [2.5, 0.0]);
        assert_eq!(sample.pods, Pods { replicas: 4, ready: 4, warming: 0, silent: 0 });
    }

    #[test]
    fn a_pod_that_falls_silent_keeps_what_it_told_and_is_marked() {
        let mut counters = Counters::new(INTERVAL);
        counters.read("a", page(0, 0.0, 0.0)).unwrap();
        counters.read("a", page(10, 70.0, 0.0)).unwrap();
        counters.miss("a", at(20));
        let sample = counters.sample(at(20), &ready(&["a"]));
        assert!(sample.groups[0].silent);
        assert_eq!(rates(&sample.groups[0]), [7.0, 0.0]);
        assert_eq!(sample.pods.silent, 1);
        // Its next rate is taken over its own two readings, however far apart.
        counters.read("a", page(30, 110.0, 0.0)).unwrap();
        assert_eq!(rates(&counters.sample(at(30), &ready(&["a"])).groups[0]), [2.0, 0.0]);
    }

    #[test]
    fn a_pod_that_never_answers_is_silent_only_after_its_grace() {
        let mut counters = Counters::new(INTERVAL);
        counters.miss("a", at(0));
        assert_eq!(counters.sample(at(20), &ready(&["a"])).pods.silent, 0);
        assert_eq!(counters.sample(at(21), &ready(&["a"])).pods.silent, 1);
        assert!(counters.sample(at(21), &ready(&["a"])).groups.is_empty());
    }

    #[test]
    fn a_vanished_pod_keeps_nothing() {
        let mut counters = Counters::new(INTERVAL);
        counters.read("a", page(0, 0.0, 0.0)).unwrap();
        counters.read("a", page(10, 70.0, 0.0)).unwrap();
        assert_eq!(counters.sample(at(11), &ready(&[])).groups, []);
        counters.read("a", page(20, 140.0, 0.0)).unwrap();
        assert_eq!(counters.sample(at(20), &ready(&["a"])).groups, []);
    }

    #[test]
    fn values_that_no_pod_can_have_counted_are_refused_and_the_pod_counts_as_silent() {
        let mut counters = Counters::new(INTERVAL);
        counters.read("a", page(0, 1.0, 0.0)).unwrap();
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let reading = Reading { cpu_seconds: Some(bad), ..page(10, 2.0, 0.0) };
            assert!(matches!(counters.read("a", reading), Err(ReadingError::Value { .. })));
        }
        assert_eq!(counters.sample(at(10), &ready(&["a"])).pods.silent, 1);
        for counts in [vec![2.0, 1.0], vec![-1.0, 0.0], vec![f64::NAN, 1.0], vec![1.0]] {
            assert!(HistogramCounts::new(Labels::new(), vec![0.1], counts, None).is_err());
        }
        let old = counters.read("a", page(0, 1.0, 0.0));
        assert_eq!(old, Err(ReadingError::NotNewer { last: at(0), given: at(0) }));
    }

    #[test]
    fn a_histogram_that_vanishes_is_no_load_of_zero() {
        let mut counters = Counters::new(INTERVAL);
        counters.read("a", page(0, 0.0, 0.0)).unwrap();
        counters.read("a", page(10, 70.0, 0.0)).unwrap();
        let bare = Reading { at: at(20), ..Reading::default() };
        assert_eq!(counters.read("a", bare), Err(ReadingError::Vanished));
        let sample = counters.sample(at(20), &ready(&["a"]));
        assert!(sample.groups[0].silent);
        assert_eq!(rates(&sample.groups[0]), [7.0, 0.0]);
    }

    #[test]
    fn cpu_rejections_and_in_flight_are_taken_over_the_same_window() {
        let mut counters = Counters::new(INTERVAL);
        let with = |seconds, cpu, in_flight, rejected| Reading {
            cpu_seconds: Some(cpu),
            in_flight: Some(in_flight),
            rejected: Some(rejected),
            ..page(seconds, 0.0, 0.0)
        };
        counters.read("a", with(0, 100.0, 9.0, 1000.0)).unwrap();
        counters.read("a", with(10, 105.0, 4.0, 20.0)).unwrap();
        let sample = counters.sample(at(10), &ready(&["a"]));
        let group = &sample.groups[0];
        assert_eq!(group.cpu, Cores::new(0.5).ok());
        assert_eq!(group.rejected, Rate::new(2.0).ok());
        assert_eq!(group.in_flight, Some(InFlight { now: 4.0, change: -5.0 }));
    }
}
