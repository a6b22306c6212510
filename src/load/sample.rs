//! The seam between whoever measures and whoever decides: what was seen of a workload, and nothing inferred.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{ReadingError, check_bounds};
use crate::units::{Cores, Rate, Span, Time};

/// The schema number that a [`Sample`] of this version carries.
pub const SAMPLE_SCHEMA: u32 = 1;

/// Windows may overlap by this share of one and still count as following each other.
const OVERLAP: f64 = 0.1;

/// Label names and values, in the order of the names.
pub type Labels = BTreeMap<String, String>;

/// What was seen of one workload at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Number of the record's schema: [`SAMPLE_SCHEMA`].
    pub schema: u32,
    /// When it was put together.
    pub at: Time,
    /// How many pods there are, and in which state.
    pub pods: Pods,
    /// Requests per second that arrive in front of the workload, where a counter there tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Rate>,
    /// The rates: one group a pod when pods are scraped, one in all when a metrics server has aggregated.
    pub groups: Vec<Group>,
}

impl Sample {
    /// When the windows ended of which both requests and CPU are known, and how long they were on average; none if there are no such pods.
    pub(super) fn evidence(&self) -> Option<(Time, Span)> {
        let telling = || self.groups.iter().filter(|group| group.tells());
        let late = || telling().filter_map(|group| group.evidence.as_deref());
        let mean = |windows: &mut dyn Iterator<Item = Span>| {
            let (count, sum) =
                windows.fold((0.0, 0.0), |(n, sum), window| (n + 1.0, sum + window.as_secs_f64()));
            (count > 0.0).then(|| Span::from_secs_f64(sum / count))
        };
        match late().map(|evidence| evidence.until).max() {
            Some(until) => Some((until, mean(&mut late().map(|evidence| evidence.of.window))?)),
            None => {
                let with_cpu = telling().filter(|group| group.cpu.is_some());
                Some((self.at, mean(&mut with_cpu.map(|group| group.window))?))
            }
        }
    }
}

/// Whether a window of this end and length hardly overlaps one that ended at `until`.
pub(super) fn is_after(until: Option<Time>, (at, window): (Time, Span)) -> bool {
    let least = Span::from_secs_f64(window.as_secs_f64() * (1.0 - OVERLAP));
    until.is_none_or(|until| at - until >= least)
}

/// How many pods a workload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pods {
    /// The scale's `spec.replicas`: what the last decision asked for, during a rollout's surge too.
    pub replicas: u32,
    /// Pods that take requests.
    pub ready: u32,
    /// Pods on their way to being ready.
    pub warming: u32,
    /// Ready pods that do not tell their load although they should: they did before, or had the time to.
    pub silent: u32,
    /// A rollout of the workload is under way, where somebody watches it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub updating: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The rates of one pod, or of several that somebody else has added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// How many pods these rates are the sum of.
    pub pods: u32,
    /// The pod fell silent: this is the last that it told.
    pub silent: bool,
    /// Time that the rates were taken over.
    pub window: Span,
    /// Request rates by duration, one entry for each set of labels. Without any the group's load is not known.
    pub histograms: Vec<HistogramRates>,
    /// CPU used in the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
    /// CPU that was told later, with the requests of the time in which it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
    /// CPU that one pod asked for: what its utilization is a share of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_per_pod: Option<Cores>,
    /// CPU that one pod may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores_per_pod: Option<Cores>,
    /// Requests inside the pods, where a gauge tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
    /// Requests turned away for lack of capacity, per second, where a counter tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rate>,
    /// What comes with the requests and is paid for beside them, such as tokens, per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Rate>,
}

/// What requests cost, of some time ago: rates and CPU over the same seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When those seconds ended.
    pub until: Time,
    /// Rates and CPU over them.
    pub of: Group,
}

/// Requests that are being served or queued.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// How many at the window's end.
    pub now: f64,
    /// How many more than at its beginning; negative when a queue drained.
    pub change: f64,
}

impl InFlight {
    /// Of parts that followed each other: how many at the end of the last, and how many more than at the beginning of the first.
    fn over(parts: &[(f64, &Group)]) -> Option<Self> {
        let (_, last) = parts.last()?;
        let change = |(seconds, group): &(f64, &Group)| {
            Some(group.in_flight?.change * seconds / group.window.as_secs_f64())
        };
        let change: f64 = parts.iter().map(change).sum::<Option<_>>()?;
        Some(Self { now: last.in_flight?.now, change }).filter(|_| change.is_finite())
    }
}

/// Completed requests per second by duration: bucket `i` holds durations in `(le[i-1], le[i]]` seconds, the last
/// one everything longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawHistogramRates")]
pub struct HistogramRates {
    labels: Labels,
    le: Vec<f64>,
    rates: Vec<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<Rate>,
}

impl Group {
    /// Some pods of which nothing is known but the time that they were looked at.
    pub fn new(pods: u32, window: Span) -> Self {
        Self { pods, ..Self::empty(window) }
    }

    /// One pod of which nothing is known but the time that it was looked at.
    pub(super) fn empty(window: Span) -> Self {
        Self {
            pods: 1,
            silent: false,
            window,
            histograms: Vec::new(),
            cpu: None,
            evidence: None,
            requested_per_pod: None,
            cores_per_pod: None,
            in_flight: None,
            rejected: None,
            work: None,
        }
    }

    /// All requests per second.
    pub(super) fn total(&self) -> f64 {
        self.histograms.iter().map(HistogramRates::total).sum()
    }

    /// CPU used, as far as it is known: in the same time, or a little before.
    pub fn latest_cpu(&self) -> Option<Cores> {
        self.cpu.or_else(|| self.evidence.as_ref()?.of.cpu)
    }

    /// The requests, those that were turned away or waited, and the work of several that followed each other, as many seconds of each as are given
    /// with it; none if that is no time, or their buckets differ. Labels that one of them lacks had no requests in it. Nothing else is told.
    pub(super) fn over(parts: &[(f64, &Self)]) -> Option<Self> {
        let seconds: f64 = parts.iter().map(|(seconds, _)| seconds).sum();
        if seconds <= 0.0 {
            return None;
        }
        let mut sums: BTreeMap<&Labels, Sum<'_>> = BTreeMap::new();
        for (share, group) in parts.iter().map(|(of, group)| (of / seconds, group)) {
            for histogram in &group.histograms {
                let sum = sums.entry(&histogram.labels).or_insert_with(|| Sum::new(histogram));
                if !sum.add(share, histogram) {
                    return None;
                }
            }
        }
        let histograms =
            sums.into_iter().map(|(labels, sum)| sum.histogram(labels)).collect::<Option<_>>()?;
        let mean = |rate: fn(&Self) -> Option<Rate>| {
            let sum =
                parts.iter().map(|(of, group)| Some(of / seconds * rate(group)?.get())).sum::<Option<f64>>();
            Rate::new(sum?).ok()
        };
        let (work, rejected) = (mean(|group| group.work), mean(|group| group.rejected));
        let in_flight = InFlight::over(parts);
        Some(Self { histograms, work, rejected, in_flight, ..Self::empty(Span::from_secs_f64(seconds)) })
    }

    /// Whether these rates are of now, and tell a load.
    pub fn tells(&self) -> bool {
        !self.silent && !self.histograms.is_empty()
    }
}

/// Rates of one histogram that are added up.
struct Sum<'a> {
    le: &'a [f64],
    rates: Vec<f64>,
    busy: Option<f64>,
}

impl<'a> Sum<'a> {
    /// Nothing yet, in the buckets of this one.
    fn new(of: &'a HistogramRates) -> Self {
        Self { le: of.le(), rates: vec![0.0; of.rates.len()], busy: Some(0.0) }
    }

    /// Adds a share of them, if the buckets are the same.
    fn add(&mut self, share: f64, histogram: &HistogramRates) -> bool {
        let is_same = self.le == histogram.le();
        for (sum, rate) in self.rates.iter_mut().zip(&histogram.rates).filter(|_| is_same) {
            *sum += share * rate.get();
        }
        self.busy = self.busy.zip(histogram.busy).map(|(sum, busy)| sum + share * busy.get());
        is_same
    }

    fn histogram(self, labels: &Labels) -> Option<HistogramRates> {
        let rate = |value: f64| Rate::new(value).ok();
        let rates = self.rates.into_iter().map(rate).collect::<Option<_>>()?;
        HistogramRates::new(labels.clone(), self.le.to_vec(), rates, self.busy.and_then(rate)).ok()
    }
}

impl HistogramRates {
    /// `le` are the finite upper bounds, ascending; `rates` has one entry more. `busy` is the sum of the durations
    /// that ended per second, in seconds, where known.
    ///
    /// # Errors
    /// Bounds that are not ascending and finite, or as many rates as there should not be.
    pub fn new(
        labels: Labels,
        le: Vec<f64>,
        rates: Vec<Rate>,
        busy: Option<Rate>,
    ) -> Result<Self, ReadingError> {
        check_bounds(&le)?;
        if rates.len() != le.len() + 1 {
            return Err(ReadingError::BucketCount { expected: le.len() + 1, found: rates.len() });
        }
        Ok(Self { labels, le, rates, busy })
    }

    /// The labels that these requests share.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Finite upper bounds in seconds, ascending.
    pub fn le(&self) -> &[f64] {
        &self.le
    }

    /// Requests per second in each bucket, not cumulative.
    pub fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// Sum of the durations that ended per second, in seconds.
    pub fn busy(&self) -> Option<Rate> {
        self.busy
    }

    /// All requests per second.
    pub fn total(&self) -> f64 {
        self.rates.iter().map(|r| r.get()).sum()
    }
}

#[derive(Deserialize)]
struct RawHistogramRates {
    labels: Labels,
    le: Vec<f64>,
    rates: Vec<Rate>,
    #[serde(default)]
    busy: Option<Rate>,
}

impl TryFrom<RawHistogramRates> for HistogramRates {
    type Error = ReadingError;

    fn try_from(raw: RawHistogramRates) -> Result<Self, ReadingError> {
        Self::new(raw.labels, raw.le, raw.rates, raw.busy)
    }
}
