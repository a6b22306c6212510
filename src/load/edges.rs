//! Duration classes: a histogram's buckets sorted into the classes that weights are given for.
//!
//! Where a class edge is one of the histogram's bounds the sorting is exact. Elsewhere the edge cuts a bucket,
//! and the requests in it are split in proportion to the widths, as `histogram_quantile` does, unless the sum of
//! durations rules that out: then the split moves towards the bucket's lower or upper end, by just as much as the
//! sum demands. The edges that cut are reported, since a 10 ms edge in a bucket that begins at 0 and ends at
//! 100 ms is a guess.

use serde::{Deserialize, Serialize};

use super::sample::HistogramRates;

/// Most edges that a user may give: beyond it a histogram's own buckets run out.
const MAX_EDGES: usize = 64;

/// The upper edges of all duration classes but the last, in seconds: positive, finite, ascending. A class holds
/// `lower < d <= upper`, as Prometheus' `le` does.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>")]
pub struct Edges(Vec<f64>);

/// Edges that no classes can be made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EdgesError {
    /// An edge is zero, negative, infinite or NaN.
    #[error("{0} is not a positive number of seconds")]
    NotPositive(f64),
    /// An edge does not exceed the one before it.
    #[error("must be ascending: {1} follows {0}")]
    NotAscending(f64, f64),
    /// More edges than any histogram could serve.
    #[error("{0} edges are too many: give at most {MAX_EDGES}")]
    TooMany(usize),
}

impl TryFrom<Vec<f64>> for Edges {
    type Error = EdgesError;

    fn try_from(edges: Vec<f64>) -> Result<Self, EdgesError> {
        Self::new(edges)
    }
}

impl Edges {
    /// Edges in seconds.
    ///
    /// # Errors
    /// When one is not positive and finite, when they do not ascend, or when there are more than 64.
    pub fn new(edges: Vec<f64>) -> Result<Self, EdgesError> {
        if edges.len() > MAX_EDGES {
            return Err(EdgesError::TooMany(edges.len()));
        }
        if let Some(&edge) = edges.iter().find(|e| !(e.is_finite() && **e > 0.0)) {
            return Err(EdgesError::NotPositive(edge));
        }
        if let Some(pair) = edges.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(EdgesError::NotAscending(pair[0], pair[1]));
        }
        Ok(Self(edges))
    }

    /// The bounds of a histogram above zero; evenly chosen ones where there are more than 64.
    pub fn of(histogram: &HistogramRates) -> Self {
        let above_zero = histogram.le().iter().copied().filter(|le| *le > 0.0);
        Self(above_zero.collect()).thinned(MAX_EDGES + 1)
    }

    /// The edges, in seconds.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// As many of them, evenly chosen, as make `classes` classes at most.
    pub(super) fn thinned(&self, classes: usize) -> Self {
        let keep = classes.saturating_sub(1).min(self.0.len());
        Self((1..=keep).map(|i| self.0[i * self.0.len() / (keep + 1)]).collect())
    }

    /// How many classes they make: one more than there are edges.
    pub fn classes(&self) -> usize {
        self.0.len() + 1
    }

    /// Seconds that a request of each class typically lasts: the middle between its edges, and twice the last edge where
    /// there is no upper one. Without any edge it is one second.
    pub fn typical(&self) -> Vec<f64> {
        let lower = [0.0].into_iter().chain(self.0.iter().copied());
        let middles = lower.zip(&self.0).map(|(lower, upper)| (lower + upper) / 2.0);
        middles.chain([self.0.last().map_or(1.0, |last| 2.0 * last)]).collect()
    }

    /// Requests per second in each class, and the edges that cut a bucket which had requests.
    pub(super) fn sort(&self, histogram: &HistogramRates) -> Sorted {
        let parts = self.parts(histogram);
        let inexact = parts.windows(2).filter(|p| p[0].bucket == p[1].bucket && p[0].total > 0.0);
        let inexact: Vec<f64> = inexact.map(|p| p[0].upper).collect();
        let shift = match histogram.busy() {
            Some(busy) if !inexact.is_empty() => Shift::demanded_by(busy.get(), &parts),
            _ => Shift::None,
        };
        let mut rates = vec![0.0; self.classes()];
        for part in &parts {
            rates[part.class] += shift.apply(part);
        }
        Sorted { rates, inexact }
    }

    /// Every bucket cut at the edges that lie within it.
    fn parts(&self, histogram: &HistogramRates) -> Vec<Part> {
        let mut parts = Vec::with_capacity(histogram.rates().len() + self.0.len());
        let mut begin = 0.0;
        for (bucket, rate) in histogram.rates().iter().enumerate() {
            // A bound of zero or below holds the requests that took no time at all.
            let end = histogram.le().get(bucket).map_or(f64::INFINITY, |le| le.max(0.0));
            let first = self.0.partition_point(|edge| *edge <= begin);
            let last = self.0.partition_point(|edge| *edge < end);
            let mut lower = begin;
            for class in first..=last {
                let upper = if class == last { end } else { self.0[class] };
                let share = if first == last {
                    1.0
                } else if end.is_finite() {
                    (upper - lower) / (end - begin)
                } else {
                    // Nothing tells how far beyond the last bound these requests lie.
                    f64::from(u8::from(class == first))
                };
                parts.push(Part {
                    bucket,
                    class,
                    lower,
                    upper,
                    total: rate.get(),
                    share,
                    lowest: class == first,
                    highest: class == last,
                });
                lower = upper;
            }
            begin = end;
        }
        parts
    }
}

/// Class rates of one histogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sorted {
    /// Requests per second in each class.
    pub(super) rates: Vec<f64>,
    /// Edges that cut a bucket in which there were requests.
    pub(super) inexact: Vec<f64>,
}

/// The piece of one bucket that falls into one class.
struct Part {
    bucket: usize,
    class: usize,
    lower: f64,
    upper: f64,
    /// Requests per second in the whole bucket.
    total: f64,
    /// This piece's share of the bucket's width.
    share: f64,
    lowest: bool,
    highest: bool,
}

/// How far the split leaves the linear one, 0 to 1, and towards which end of each bucket.
enum Shift {
    None,
    Down(f64),
    Up(f64),
}

impl Shift {
    /// The least shift under which the durations may add up to `busy` seconds a second.
    fn demanded_by(busy: f64, parts: &[Part]) -> Self {
        let sum = |amount: &dyn Fn(&Part) -> f64| parts.iter().map(amount).sum::<f64>();
        let least = sum(&|p| p.total * p.share * p.lower);
        if busy < least {
            let lowest = sum(&|p| if p.lowest { p.total * p.lower } else { 0.0 });
            return Self::Down(((least - busy) / (least - lowest)).min(1.0));
        }
        // Requests beyond the last bound may last for any time: they can explain any sum.
        let most = sum(&|p| if p.total * p.share > 0.0 { p.total * p.share * p.upper } else { 0.0 });
        if busy > most {
            let highest = sum(&|p| if p.highest && p.total > 0.0 { p.total * p.upper } else { 0.0 });
            return Self::Up(((busy - most) / (highest - most)).min(1.0));
        }
        Self::None
    }

    /// Requests per second in this piece.
    fn apply(&self, part: &Part) -> f64 {
        let (shift, end) = match self {
            Self::None => (0.0, false),
            Self::Down(shift) => (*shift, part.lowest),
            Self::Up(shift) => (*shift, part.highest),
        };
        part.total * ((1.0 - shift) * part.share + if end { shift } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::Labels;
    use crate::units::Rate;

    fn histogram(le: &[f64], rates: &[f64], busy: Option<f64>) -> HistogramRates {
        let rates = rates.iter().map(|r| Rate::new(*r).unwrap()).collect();
        HistogramRates::new(Labels::new(), le.to_vec(), rates, busy.map(|b| Rate::new(b).unwrap())).unwrap()
    }

    fn edges(edges: &[f64]) -> Edges {
        Edges::new(edges.to_vec()).unwrap()
    }

    #[test]
    fn edges_that_are_bounds_sort_exactly() {
        let sorted = edges(&[0.1, 1.0]).sort(&histogram(&[0.1, 0.4, 1.0], &[5.0, 3.0, 2.0, 1.0], None));
        assert_eq!(sorted, Sorted { rates: vec![5.0, 5.0, 1.0], inexact: vec![] });
    }

    #[test]
    fn a_histograms_own_bounds_are_edges_as_far_as_they_go() {
        let of = |le: &[f64]| Edges::of(&histogram(le, &vec![0.0; le.len() + 1], None)).0;
        assert_eq!(of(&[-1.0, 0.0, 0.1, 1.0]), [0.1, 1.0]);
        let many: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(of(&many[..64]), many[..64]);
        let thinned = of(&many);
        assert!(thinned.len() == 64 && thinned[0] < 3.0 && thinned[63] > 97.0, "{thinned:?}");
        assert!(Edges::new(thinned).is_ok());
    }

    #[test]
    fn an_edge_inside_a_bucket_splits_it_by_width_and_is_reported() {
        let sorted = edges(&[0.25]).sort(&histogram(&[0.1, 0.4], &[0.0, 3.0, 0.0], None));
        assert_eq!(sorted.inexact, [0.25]);
        assert!((sorted.rates[0] - 1.5).abs() < 1e-12 && (sorted.rates[1] - 1.5).abs() < 1e-12);
    }

    #[test]
    fn an_edge_in_an_empty_bucket_is_not_reported() {
        let sorted = edges(&[0.25]).sort(&histogram(&[0.1, 0.4], &[7.0, 0.0, 0.0], None));
        assert_eq!(sorted, Sorted { rates: vec![7.0, 0.0], inexact: vec![] });
    }

    /// Requests of 0.4 ms in a histogram whose first bound is 100 ms: the linear split would say that half of them take
    /// over 50 ms, and the sum of durations knows better.
    #[test]
    fn the_sum_of_durations_overrules_an_impossible_split() {
        let fast = histogram(&[0.1], &[1000.0, 0.0], Some(0.4));
        let sorted = edges(&[0.01, 0.05]).sort(&fast);
        assert!(sorted.rates[0] > 980.0, "{:?}", sorted.rates);
        let slow = histogram(&[0.1], &[1000.0, 0.0], Some(99.0));
        let sorted = edges(&[0.01, 0.05]).sort(&slow);
        assert!(sorted.rates[2] > 940.0, "{:?}", sorted.rates);
    }

    #[test]
    fn beyond_the_last_bound_requests_count_in_the_first_class_there() {
        let sorted = edges(&[1.0, 30.0]).sort(&histogram(&[1.0], &[1.0, 4.0], None));
        assert_eq!(sorted, Sorted { rates: vec![1.0, 4.0, 0.0], inexact: vec![30.0] });
    }

    #[test]
    fn edges_must_be_positive_and_ascend() {
        assert_eq!(Edges::new(vec![0.0]), Err(EdgesError::NotPositive(0.0)));
        assert_eq!(Edges::new(vec![0.2, 0.1]), Err(EdgesError::NotAscending(0.2, 0.1)));
        assert!(matches!(Edges::new(vec![f64::NAN]), Err(EdgesError::NotPositive(_))));
        assert_eq!(Edges::new((1..=65).map(f64::from).collect()), Err(EdgesError::TooMany(65)));
    }

    #[test]
    fn a_class_includes_its_upper_edge() {
        let sorted = edges(&[0.1]).sort(&histogram(&[0.1], &[3.0, 1.0], None));
        assert_eq!(sorted.rates, [3.0, 1.0]);
    }

    #[test]
    fn requests_that_took_no_time_are_the_fastest() {
        let sorted = edges(&[0.1]).sort(&histogram(&[-1.0, 0.0, 0.1], &[0.0, 2.0, 3.0, 1.0], Some(0.5)));
        assert_eq!(sorted.rates, [5.0, 1.0]);
    }

    proptest! {
        /// No request is lost or made up, whatever the edges and the sum.
        #[test]
        fn sorting_keeps_every_request(
            bounds in proptest::collection::btree_set(0u32..1000, 0..8),
            cuts in proptest::collection::btree_set(1u32..1200, 0..6),
            rates in proptest::collection::vec(0.0..100.0f64, 9),
            busy in proptest::option::of(0.0..1e6f64),
        ) {
            let le: Vec<f64> = bounds.iter().map(|b| f64::from(*b) / 100.0).collect();
            let cuts: Vec<f64> = cuts.iter().map(|c| f64::from(*c) / 100.0).collect();
            let given = histogram(&le, &rates[..=le.len()], busy);
            let sorted = edges(&cuts).sort(&given);
            prop_assert!((sorted.rates.iter().sum::<f64>() - given.total()).abs() < 1e-6);
            prop_assert!(sorted.rates.iter().all(|r| *r >= -1e-9));
        }
    }
}
