//! Native (exponential) histograms as cumulative counts.
//!
//! Bucket `i` of schema `s` holds durations up to 2^(i/2^s) seconds; only runs of populated buckets are sent. What becomes of
//! them has a bound at both ends of every run and at every populated bucket's end, so that no bucket is wider than it was,
//! and an edge that is a power of two is exact. A bound has the same bits at every resolution: when a library halves its
//! resolution or widens its zero bucket, readings before and after still share the bounds that are left.

use super::protobuf::{BucketSpan, Histogram, count};

/// Most buckets of one histogram: at the finest resolution, durations from a microsecond to an hour.
pub const MAX_BUCKETS: usize = 10_000;

const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// Bounds of the finest schema between one and two; those of all others are among them.
const FINEST: i64 = 256;

/// A native histogram that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NativeError {
    /// Bounds by a rule that is not known.
    #[error("a native histogram has schema {0}: -4 to 8 was expected")]
    Schema(i32),
    /// The end of the zero bucket is negative, or no number.
    #[error("a native histogram's zero bucket ends at {0}")]
    ZeroThreshold(f64),
    /// There are more or fewer counts than the spans say.
    #[error("a native histogram's spans do not match its counts")]
    Spans,
    /// A bucket has counted less than nothing.
    #[error("a native histogram's bucket has counted {0}")]
    Count(f64),
    /// More buckets than a histogram may have.
    #[error("a native histogram has more than {MAX_BUCKETS} buckets")]
    TooManyBuckets,
}

/// Whether nothing is in any native bucket.
pub(super) fn is_empty(histogram: &Histogram) -> bool {
    zero_count(histogram) == 0.0
        && positive(histogram).chain(negative(histogram)).all(|count| count.is_ok_and(|count| count == 0.0))
}

/// Upper bounds and cumulative counts, `+Inf` last. Durations below zero, which a clock that steps makes, took no time.
pub(super) fn cumulative(histogram: &Histogram) -> Result<Vec<(f64, f64)>, NativeError> {
    let schema = histogram.schema();
    if !SCHEMAS.contains(&schema) {
        return Err(NativeError::Schema(schema));
    }
    let threshold = histogram.zero_threshold();
    if !(0.0..=f64::MAX).contains(&threshold) {
        return Err(NativeError::ZeroThreshold(threshold));
    }
    let mut below = zero_count(histogram);
    for count in negative(histogram) {
        below += count?;
    }
    let mut buckets = vec![(threshold, below)];
    let mut counts = positive(histogram);
    let mut index = 0i64;
    for BucketSpan { offset, length } in &histogram.positive_span {
        index += i64::from(offset.unwrap_or(0));
        for _ in 0..length.unwrap_or(0) {
            let count = counts.next().ok_or(NativeError::Spans)??;
            if count > 0.0 {
                push(&mut buckets, bound(schema, index - 1), below);
                below += count;
                push(&mut buckets, bound(schema, index), below);
            }
            index += 1;
        }
        if buckets.len() > MAX_BUCKETS {
            return Err(NativeError::TooManyBuckets);
        }
    }
    if counts.next().is_some() {
        return Err(NativeError::Spans);
    }
    buckets.push((f64::INFINITY, histogram.total()));
    Ok(buckets)
}

fn zero_count(histogram: &Histogram) -> f64 {
    count(histogram.zero_count_float, histogram.zero_count)
}

fn positive(histogram: &Histogram) -> impl Iterator<Item = Result<f64, NativeError>> {
    counts(&histogram.positive_delta, &histogram.positive_count)
}

fn negative(histogram: &Histogram) -> impl Iterator<Item = Result<f64, NativeError>> {
    counts(&histogram.negative_delta, &histogram.negative_count)
}

/// What each bucket has counted: whole numbers come as differences, others as they are.
fn counts(deltas: &[i64], floats: &[f64]) -> impl Iterator<Item = Result<f64, NativeError>> {
    let mut last = 0i64;
    let whole = deltas.iter().map(move |delta| {
        last = last.saturating_add(*delta);
        last as f64
    });
    let check = |count: f64| if count >= 0.0 { Ok(count) } else { Err(NativeError::Count(count)) };
    whole.chain(floats.iter().copied()).map(check)
}

/// Adds a bound. One that does not exceed the last, as where the zero bucket reaches into this one, is that bound.
pub(super) fn push(buckets: &mut Vec<(f64, f64)>, bound: f64, count: f64) {
    match buckets.last_mut() {
        Some(last) if bound <= last.0 => last.1 = count,
        // Durations beyond every number are in the total.
        _ if bound == f64::INFINITY => {}
        _ => buckets.push((bound, count)),
    }
}

/// Upper bound of a bucket: 2^(index / 2^schema).
fn bound(schema: i32, index: i64) -> f64 {
    // The shift is one of 0 to 12, and an index is at most the sum of some thousand numbers of 32 bits.
    let finest = index << (8 - schema);
    let (whole, part) = (finest.div_euclid(FINEST), finest.rem_euclid(FINEST));
    match whole {
        // The last bucket of finite durations ends with the last finite number.
        1024 if part == 0 => f64::MAX,
        1024.. => f64::INFINITY,
        ..-1022 => 0.0,
        _ => (part as f64 / FINEST as f64).exp2() * (whole as f64).exp2(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use plimsoll::load::{Counters, HistogramCounts, HistogramRates, Labels, Reading, ReadyPods};
    use plimsoll::units::{Span, Time};
    use proptest::prelude::*;

    use super::*;

    /// Runs of buckets, each behind a gap, with their counts.
    fn native(schema: i32, threshold: f64, zero: u64, runs: &[(i32, &[u64])]) -> Histogram {
        let span = |(offset, counts): &(i32, &[u64])| BucketSpan {
            offset: Some(*offset),
            length: Some(counts.len() as u32),
        };
        let counts: Vec<i64> = runs.iter().flat_map(|(_, counts)| *counts).map(|c| *c as i64).collect();
        let deltas = counts.iter().scan(0, |last, count| Some(count - std::mem::replace(last, *count)));
        Histogram {
            sample_count: Some(zero + counts.iter().sum::<i64>() as u64),
            schema: Some(schema),
            zero_threshold: Some(threshold),
            zero_count: Some(zero),
            positive_span: runs.iter().map(span).collect(),
            positive_delta: deltas.collect(),
            ..Histogram::default()
        }
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn every_run_of_populated_buckets_has_a_bound_at_both_ends() {
        let histogram = native(0, 0.001, 2, &[(-2, &[5, 1]), (3, &[0, 7])]);
        let buckets = cumulative(&histogram).unwrap();
        let expected =
            [(0.001, 2.0), (0.125, 2.0), (0.25, 7.0), (0.5, 8.0), (8.0, 8.0), (16.0, 15.0), (INF, 15.0)];
        assert_eq!(buckets, expected);
        // The gap is counted from the end of the run, an empty bucket is no run.
        assert_eq!(cumulative(&native(0, 0.0, 0, &[])).unwrap(), [(0.0, 0.0), (INF, 0.0)]);
    }

    #[test]
    fn resolutions_share_their_bounds_to_the_last_bit() {
        for schema in -4..8 {
            for index in (-2000i64 >> (8 - schema))..(2000i64 >> (8 - schema)) {
                assert_eq!(bound(schema, index).to_bits(), bound(schema + 1, 2 * index).to_bits());
                assert!(bound(schema, index) < bound(schema, index + 1), "{schema} {index}");
            }
        }
        assert_eq!((bound(3, 8), bound(3, -16), bound(-2, 1)), (2.0, 0.25, 16.0));
        assert!((bound(3, 1) - 1.090_507_732_665_257_7).abs() < 1e-15);
    }

    #[test]
    fn counts_of_doubles_and_of_negative_durations_count() {
        let mut histogram = native(0, 0.001, 0, &[(1, &[1, 1])]);
        histogram.positive_count = vec![0.5, 2.0];
        histogram.positive_delta.clear();
        histogram.negative_delta = vec![3, -1];
        histogram.sample_count_float = Some(7.5);
        let expected = [(0.001, 5.0), (1.0, 5.0), (2.0, 5.5), (4.0, 7.5), (INF, 7.5)];
        // The lower bound of the run is one, the zero bucket holds what took less than no time.
        assert_eq!(cumulative(&histogram).unwrap()[1..], expected[1..]);
        assert_eq!(cumulative(&histogram).unwrap()[0], (0.001, 5.0));
    }

    #[test]
    fn the_ends_of_the_number_line_are_no_bounds() {
        let widest = native(-4, 0.0, 0, &[(-68, &[1]), (131, &[1, 1])]);
        let expected = [(0.0, 1.0), (2f64.powi(1008), 1.0), (f64::MAX, 2.0), (INF, 3.0)];
        assert_eq!(cumulative(&widest).unwrap(), expected);
        // A zero bucket that reaches into the first one.
        let inside = native(0, 1.5, 1, &[(1, &[4])]);
        assert_eq!(cumulative(&inside).unwrap(), [(1.5, 1.0), (2.0, 5.0), (INF, 5.0)]);
        // Numbers that cannot be indices are no panic.
        let far = native(-4, 0.0, 0, &[(i32::MAX, &[1]), (i32::MAX, &[1])]);
        assert_eq!(cumulative(&far).unwrap(), [(0.0, 0.0), (INF, 2.0)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = || native(0, 0.0, 0, &[(1, &[1, 1])]);
        let refusal = |histogram| cumulative(&histogram).unwrap_err();
        assert_eq!(refusal(Histogram { schema: Some(9), ..good() }), NativeError::Schema(9));
        assert_eq!(refusal(Histogram { schema: Some(-53), ..good() }), NativeError::Schema(-53));
        let below = Histogram { zero_threshold: Some(-1.0), ..good() };
        assert_eq!(refusal(below), NativeError::ZeroThreshold(-1.0));
        assert_eq!(refusal(Histogram { positive_delta: vec![1], ..good() }), NativeError::Spans);
        assert_eq!(refusal(Histogram { positive_delta: vec![1, 1, 1], ..good() }), NativeError::Spans);
        assert_eq!(refusal(Histogram { positive_delta: vec![1, -2], ..good() }), NativeError::Count(-1.0));
        let endless = vec![BucketSpan { offset: None, length: Some(u32::MAX) }];
        assert_eq!(refusal(Histogram { positive_span: endless, ..good() }), NativeError::Spans);
        let many = vec![1; MAX_BUCKETS + 1];
        assert_eq!(refusal(native(8, 0.0, 0, &[(0, &many)])), NativeError::TooManyBuckets);
    }

    /// What a library would show of these durations, in thousandths of a second.
    fn observed(millis: &[u32], schema: i32, threshold: f64) -> Histogram {
        let mut zero = 0;
        let mut counts = BTreeMap::<i64, u64>::new();
        for seconds in millis.iter().map(|millis| f64::from(*millis) / 1000.0) {
            if seconds <= threshold {
                zero += 1;
                continue;
            }
            let near = (seconds.log2() * 2f64.powi(schema)).ceil() as i64;
            let index = (near - 1..=near + 1).find(|i| bound(schema, *i) >= seconds).unwrap();
            *counts.entry(index).or_default() += 1;
        }
        let mut histogram = native(schema, threshold, zero, &[]);
        let (mut next, mut last) = (0, 0);
        for (index, count) in &counts {
            let offset = Some((index - next) as i32);
            histogram.positive_span.push(BucketSpan { offset, length: Some(1) });
            histogram.positive_delta.push(*count as i64 - last);
            (next, last) = (index + 1, *count as i64);
        }
        histogram.sample_count = Some(millis.len() as u64);
        histogram
    }

    fn reading(seconds: i64, histogram: &Histogram) -> Reading {
        let buckets = cumulative(histogram).unwrap();
        let le = buckets.iter().map(|(le, _)| *le).filter(|le| le.is_finite()).collect();
        let counts = buckets.iter().map(|(_, count)| *count).collect();
        let counts = HistogramCounts::new(Labels::new(), le, counts, None).unwrap();
        Reading { at: Time::from_secs(seconds), histograms: vec![counts], ..Reading::default() }
    }

    /// The rates between two pages, ten seconds apart.
    fn rates(before: &Histogram, after: &Histogram) -> HistogramRates {
        let mut counters = Counters::new(Span::from_secs(10));
        counters.read("a", reading(0, before)).unwrap();
        counters.read("a", reading(10, after)).unwrap();
        let names = BTreeSet::from(["a".to_owned()]);
        let sample =
            counters.sample(Time::from_secs(10), &ReadyPods { names, replicas: 1, ..ReadyPods::default() });
        sample.groups[0].histograms[0].clone()
    }

    /// How many of the new durations lie in each of the buckets that rates were given for.
    fn by_hand(le: &[f64], millis: &[u32]) -> Vec<f64> {
        let mut counts = vec![0.0; le.len() + 1];
        for millis in millis {
            counts[le.partition_point(|le| *le < f64::from(*millis) / 1000.0)] += 1.0;
        }
        counts
    }

    proptest! {
        /// A library that has too many buckets widens the zero bucket and halves the resolution, again and again: what was
        /// counted since stays exact at every bound that both pages know, and powers of two are among them.
        #[test]
        fn a_coarser_resolution_and_a_wider_zero_bucket_lose_no_request(
            old in proptest::collection::vec(0..20_000u32, 1..60),
            new in proptest::collection::vec(0..20_000u32, 0..60),
            schema in -2..=8i32,
            coarser in 0..3i32,
            widened in 0..4i32,
        ) {
            let threshold = [0.0, 0.001, 0.0625, 0.5][widened as usize];
            let all: Vec<u32> = old.iter().chain(&new).copied().collect();
            let before = observed(&old, schema, 0.0);
            let after = observed(&all, schema - coarser.min(schema + 4), threshold);
            let rates = rates(&before, &after);
            let counts: Vec<f64> = rates.rates().iter().map(|rate| (rate.get() * 10.0).round()).collect();
            prop_assert_eq!(&counts, &by_hand(rates.le(), &new));
            // No bucket is wider than the wider of the two pages' own.
            let widest = 2f64.powf(2f64.powi(-(schema - coarser.min(schema + 4)))) * (1.0 + 1e-12);
            for (i, _) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
                let upper = rates.le().get(i).copied();
                prop_assert!(upper.is_some(), "beyond the last bound");
                let lower = if i == 0 { 0.0 } else { rates.le()[i - 1] };
                let upper = upper.unwrap_or(0.0);
                prop_assert!(upper <= threshold.max(0.000_1) || upper <= lower.max(threshold) * widest, "{lower} {upper}");
            }
        }
    }
}
