//! What one pod's metrics page said, and what was counted between two of its readings.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{ReadingError, check_bounds};
use super::sample::{Group, HistogramRates, InFlight, Labels};
use crate::units::{Cores, Rate, Span, Time};

/// Largest value that is taken for counted: a double loses single events at 2^53, some 10^16.
const MAX_COUNT: f64 = 1e15;

/// Most requests that a pod is believed to hold at once.
const MAX_IN_FLIGHT: f64 = 1e9;

/// Sums are added up in different orders.
const ROUNDING: f64 = 1e-6;

/// Start times of one process that differ by less were read with a rounding error.
const SAME_START: Span = Span::from_secs(2);

/// What one pod's metrics page said at one instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// When the page was read, on the reader's clock.
    pub at: Time,
    /// How far the wall's clock is ahead of the reader's. Zero where there is only one.
    pub wall_ahead: Span,
    /// When the process started, by the wall's clock, if known.
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
    /// What came with the requests and is paid for beside them, such as tokens, since the start.
    pub work: Option<f64>,
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

fn check(what: &'static str, value: f64, max: f64) -> Result<(), ReadingError> {
    if (0.0..=max).contains(&value) { Ok(()) } else { Err(ReadingError::Value { what, value }) }
}

fn rate(what: &'static str, increase: f64, window: Span) -> Result<Rate, ReadingError> {
    let value = increase / window.as_secs_f64();
    Rate::new(value).map_err(|_| ReadingError::Value { what, value })
}

/// The increase of one counter: a drop is a reset, and what it shows then was counted since.
fn increase(now: f64, before: f64) -> f64 {
    if now < before { now } else { now - before }
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
            check("a bucket's count", *count, MAX_COUNT)?;
        }
        if let Some(pair) = counts.windows(2).find(|pair| pair[0] > pair[1]) {
            return Err(ReadingError::NotCumulative { before: pair[0], after: pair[1] });
        }
        if let Some(sum) = sum {
            check("the sum of durations", sum, MAX_COUNT)?;
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

    fn has_counted(&self) -> bool {
        self.counts.last().is_some_and(|count| *count > 0.0)
    }

    /// Whether a count is lower than before.
    fn count_dropped_since(&self, before: &Self) -> bool {
        let (now, then) = self.aligned_with(before);
        now.counts.iter().zip(&then.counts).any(|(now, then)| now < then)
    }

    /// Whether a count, or the sum, is lower than before. A sum may drop in a process that goes on as well, where durations
    /// are measured by a clock that steps.
    fn dropped_since(&self, before: &Self) -> bool {
        let sum_dropped = |(now, then): (f64, f64)| now < then * (1.0 - ROUNDING) - ROUNDING;
        self.count_dropped_since(before) || self.sum.zip(before.sum).is_some_and(sum_dropped)
    }

    /// Both at the bounds at which both are known. Some client libraries show only buckets that are not empty: a bound
    /// between two equal counts is known although it is not shown.
    fn aligned_with(&self, other: &Self) -> (Self, Self) {
        if self.le == other.le {
            return (self.clone(), other.clone());
        }
        let known = |h: &Self, bound: f64| {
            let next = h.le.partition_point(|le| *le <= bound);
            let below = if next == 0 { 0.0 } else { h.counts[next - 1] };
            (next > 0 && h.le[next - 1] == bound || h.counts[next] == below).then_some(below)
        };
        let mut le: Vec<f64> = self.le.iter().chain(&other.le).copied().collect();
        le.sort_by(f64::total_cmp);
        le.dedup();
        le.retain(|bound| known(self, *bound).is_some() && known(other, *bound).is_some());
        let at = |h: &Self| {
            let counts = le.iter().filter_map(|bound| known(h, *bound)).chain(h.counts.last().copied());
            Self { labels: h.labels.clone(), le: le.clone(), counts: counts.collect(), sum: h.sum }
        };
        (at(self), at(other))
    }

    /// What was counted since `before`; everything, where the counts dropped or there was nothing before. `same_process`
    /// is known to have counted both.
    fn rates_since(
        &self,
        before: Option<&Self>,
        same_process: bool,
        window: Span,
    ) -> Result<HistogramRates, ReadingError> {
        let dropped = if same_process { Self::count_dropped_since } else { Self::dropped_since };
        match before.filter(|before| before.has_counted() && !dropped(self, before)) {
            Some(before) => {
                let (now, then) = self.aligned_with(before);
                now.increases(Some(&then), window)
            }
            None => self.increases(None, window),
        }
    }

    fn increases(&self, before: Option<&Self>, window: Span) -> Result<HistogramRates, ReadingError> {
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
}

impl Reading {
    /// Whether the values can be those of a pod.
    pub(super) fn check(&self) -> Result<(), ReadingError> {
        let values = [
            ("the CPU time", self.cpu_seconds, MAX_COUNT),
            ("the in-flight gauge", self.in_flight, MAX_IN_FLIGHT),
            ("the rejected counter", self.rejected, MAX_COUNT),
            ("the counter of work", self.work, MAX_COUNT),
        ];
        values.into_iter().try_for_each(|(what, value, max)| value.map_or(Ok(()), |v| check(what, v, max)))
    }

    /// How long the process has been running, if that is known and makes sense.
    fn age(&self) -> Option<Span> {
        let age = self.at + self.wall_ahead - self.started?;
        age.is_positive().then_some(age)
    }

    fn by_labels(&self) -> BTreeMap<&Labels, &HistogramCounts> {
        self.histograms.iter().map(|h| (&h.labels, h)).collect()
    }

    /// Whether the process that was read is not the one that was read before, as far as its start tells; nothing if it does
    /// not. Some libraries work their start out from the node's clock, and it moves when that one steps: a process that is
    /// older than the time between the readings is not new.
    fn is_another_process_than(&self, before: &Self) -> Option<bool> {
        let (now, then) = self.started.zip(before.started)?;
        let moved = now - then > SAME_START || then - now > SAME_START;
        let is_young = self.age().is_some_and(|age| age <= self.at - before.at + SAME_START);
        Some(moved && is_young)
    }

    /// Whether all counters began anew since `before`: the process's start decides. Where that is not known, all histograms
    /// that both pages show must have dropped; one alone may have been dropped and made again.
    pub(super) fn began_anew_since(&self, before: &Self) -> bool {
        let earlier = before.by_labels();
        let counted = |h: &HistogramCounts| earlier.get(&h.labels).copied().filter(|b| b.has_counted());
        let all_dropped = || {
            let mut pairs = self.histograms.iter().filter_map(|h| Some((h, counted(h)?))).peekable();
            pairs.peek().is_some() && pairs.all(|(now, then)| now.dropped_since(then))
        };
        self.is_another_process_than(before).unwrap_or_else(all_dropped)
    }

    /// Whether the reader's clock and the wall's went apart since `before`: one of them was stepped, or the reader slept
    /// and its clock with it. The time between the two readings is then not known.
    pub(super) fn clock_stepped_since(&self, before: &Self) -> bool {
        let apart = self.wall_ahead - before.wall_ahead;
        apart > SAME_START || Span::ZERO - apart > SAME_START
    }

    /// Labels of the histograms that `before` showed, with requests in them, and this page does not.
    pub(super) fn lacking_of(&self, before: &Self) -> BTreeSet<Labels> {
        if self.began_anew_since(before) {
            return BTreeSet::new();
        }
        let now = self.by_labels();
        let gone = before.histograms.iter().filter(|h| h.has_counted() && !now.contains_key(&h.labels));
        gone.map(|h| h.labels.clone()).collect()
    }

    /// Whether it is known that the process is the one that was read before.
    pub(super) fn is_the_process_of(&self, before: &Self) -> bool {
        self.is_another_process_than(before) == Some(false)
    }

    /// Adds the histograms of `before` that are gone, so that they are not counted from zero should they return.
    pub(super) fn keep_what_was_in(&mut self, before: Self) {
        if self.began_anew_since(&before) {
            return;
        }
        self.rejected = self.rejected.or(before.rejected);
        self.work = self.work.or(before.work);
        let gone: Vec<HistogramCounts> = {
            let now = self.by_labels();
            before
                .histograms
                .into_iter()
                .filter(|h| h.has_counted() && !now.contains_key(&h.labels))
                .collect()
        };
        self.histograms.extend(gone);
    }

    /// The rates between `before` and this reading.
    pub(super) fn rates_since(&self, before: &Self, interval: Span) -> Result<Group, ReadingError> {
        let apart = self.at - before.at;
        if self.is_another_process_than(before) == Some(true) {
            // What the old process counted after its last reading is lost; the new one's counts are all of the time since
            // its start.
            let window = self.age().map_or(apart, |age| age.min(apart));
            return self.group(window.max(interval), None);
        }
        self.group(apart, Some(before))
    }

    /// The rates since the process started, if it did so within `youth`. They are taken over an interval at least, like
    /// those of the other pods, in whose last interval the requests are missing that this one took over: dividing by a
    /// shorter age would count them twice.
    pub(super) fn rates_since_start(
        &self,
        interval: Span,
        youth: Span,
    ) -> Option<Result<Group, ReadingError>> {
        let age = self.age().filter(|age| *age <= youth)?;
        Some(self.group(age.max(interval), None))
    }

    /// A group in which nothing was counted, of a pod that is known to serve requests.
    pub(super) fn nothing_counted(&self, window: Span) -> Option<Group> {
        let zero = |h: &HistogramCounts| h.increases(Some(h), window);
        let histograms: Result<Vec<_>, _> = self.histograms.iter().map(zero).collect();
        let histograms = histograms.ok().filter(|h| !h.is_empty())?;
        Some(Group { histograms, ..Group::empty(window) })
    }

    fn group(&self, window: Span, before: Option<&Self>) -> Result<Group, ReadingError> {
        let earlier = before.map(Self::by_labels).unwrap_or_default();
        let began_anew = before.is_none_or(|before| self.began_anew_since(before));
        let same_process = before.is_some_and(|before| self.is_the_process_of(before));
        let rates =
            |h: &HistogramCounts| h.rates_since(earlier.get(&h.labels).copied(), same_process, window);
        let histograms = self.histograms.iter().map(rates);
        // One that drops although the process goes on is not one counter: what was used is not known.
        let cpu = match before {
            Some(before) => {
                let both = self.cpu_seconds.zip(before.cpu_seconds);
                both.filter(|(now, then)| now >= then || began_anew).map(|(now, then)| increase(now, then))
            }
            None => self.cpu_seconds,
        };
        // What was in flight in an old process died with it. A gauge that appears tells nothing of growth.
        let in_flight = |now: f64| {
            let then = if began_anew { Some(0.0) } else { before.and_then(|before| before.in_flight) };
            InFlight { now, change: then.map_or(0.0, |then| now - then) }
        };
        // A counter that appears was zero. One that drops although the process goes on is a sum over series that lost one:
        // what it tells is not known.
        let since = |now: Option<f64>, then: Option<f64>| {
            let (now, then) = (now?, then.unwrap_or(0.0));
            if now < then && !began_anew { None } else { Some(increase(now, then)) }
        };
        let rejected = before.map_or(self.rejected, |before| since(self.rejected, before.rejected));
        let work = before.map_or(self.work, |before| since(self.work, before.work));
        let cpu = cpu.map(|cpu| rate("the CPU use", cpu, window)).transpose()?;
        let rejected = rejected.map(|rejected| rate("the rate of rejections", rejected, window));
        let work = work.map(|work| rate("the rate of work", work, window));
        Ok(Group {
            histograms: histograms.collect::<Result<_, _>>()?,
            cpu: cpu.map(|cpu| Cores::saturating(cpu.get())),
            in_flight: self.in_flight.map(in_flight),
            rejected: rejected.transpose()?,
            work: work.transpose()?,
            ..Group::empty(window)
        })
    }
}
