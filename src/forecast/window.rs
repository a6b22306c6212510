//! Values of the last steps: a ring, a running maximum, a running order statistic.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The last values of a series.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    values: VecDeque<f64>,
    capacity: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { values: VecDeque::with_capacity(capacity), capacity }
    }

    /// Takes a value, and gives back the one that it pushes out.
    pub(super) fn push(&mut self, value: f64) -> Option<f64> {
        let out = if self.values.len() == self.capacity { self.values.pop_front() } else { None };
        self.values.push_back(value);
        out
    }

    pub(super) fn bytes(&self) -> usize {
        8 * self.values.capacity()
    }

    pub(super) fn last(&self) -> Option<f64> {
        self.values.back().copied()
    }

    /// The value `lag` steps before the last one; the oldest where there is none so old, and 0 without any.
    pub(super) fn back(&self, lag: usize) -> f64 {
        let index = self.values.len().saturating_sub(lag + 1);
        self.values.get(index).copied().unwrap_or(0.0)
    }
}

/// The largest of the last `length` values, in constant time a step: a queue that only holds what can still become the
/// maximum.
#[derive(Debug, Clone)]
pub(super) struct Peak {
    length: usize,
    at: usize,
    candidates: VecDeque<(usize, f64)>,
}

impl Peak {
    /// Of the last `length` values, at least 1.
    pub(super) fn new(length: usize) -> Self {
        Self { length: length.max(1), at: 0, candidates: VecDeque::new() }
    }

    /// Takes a value; the maximum with it.
    pub(super) fn push(&mut self, value: f64) -> f64 {
        self.at += 1;
        while self.candidates.back().is_some_and(|(_, last)| *last <= value) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((self.at, value));
        if self.candidates.front().is_some_and(|(at, _)| at + self.length <= self.at) {
            self.candidates.pop_front();
        }
        self.get()
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<(usize, f64)>() * self.candidates.capacity()
    }

    /// The maximum; 0 before the first value.
    pub(super) fn get(&self) -> f64 {
        self.candidates.front().map_or(0.0, |(_, value)| *value)
    }
}

/// The last `capacity` scores, in order of size too, so that any quantile is one look-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub(super) struct Scores {
    ring: VecDeque<f32>,
    sorted: Vec<f32>,
    capacity: usize,
}

/// Scores as they are written down.
#[derive(Serialize, Deserialize)]
struct Kept {
    capacity: usize,
    scores: Vec<f32>,
}

/// Most that are read back.
const MOST_KEPT: usize = 10_000;

impl From<Scores> for Kept {
    fn from(scores: Scores) -> Self {
        Self { capacity: scores.capacity, scores: scores.ring.into() }
    }
}

impl From<Kept> for Scores {
    fn from(Kept { capacity, scores }: Kept) -> Self {
        let mut all = Self::new(capacity.clamp(1, MOST_KEPT));
        scores.into_iter().filter(|score| score.is_finite()).for_each(|score| all.push(f64::from(score)));
        all
    }
}

impl Scores {
    pub(super) fn new(capacity: usize) -> Self {
        Self { ring: VecDeque::with_capacity(capacity), sorted: Vec::with_capacity(capacity), capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn bytes(&self) -> usize {
        4 * (self.ring.capacity() + self.sorted.capacity())
    }

    /// Takes a score, which must not be NaN; beyond the capacity the oldest goes.
    pub(super) fn push(&mut self, score: f64) {
        let score = score as f32;
        let place = |sorted: &[f32], score: f32| sorted.partition_point(|s| *s < score);
        let to = place(&self.sorted, score);
        if self.ring.len() < self.capacity {
            self.sorted.insert(to, score);
        } else if let Some(oldest) = self.ring.pop_front() {
            let from = place(&self.sorted, oldest);
            // One move of what lies in between, in place of a removal and an insertion.
            if from < to {
                self.sorted.copy_within(from + 1..to, from);
                self.sorted[to - 1] = score;
            } else {
                self.sorted.copy_within(to..from, to + 1);
                self.sorted[to] = score;
            }
        }
        self.ring.push_back(score);
    }

    /// The score of 0-based rank min(n − 1, ⌈τ (n + 1)⌉ − 1): the split-conformal quantile (Vovk et al., "Algorithmic Learning in a
    /// Random World", 2005). None without scores.
    pub(super) fn quantile(&self, tau: f64) -> Option<f64> {
        let n = self.sorted.len();
        let rank = ((tau * (n as f64 + 1.0)).ceil() as usize).saturating_sub(1);
        self.sorted.get(rank.min(n.checked_sub(1)?)).map(|score| f64::from(*score))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forecast::golden::{number, numbers, part};

    #[test]
    fn a_quantile_of_scores_is_the_split_conformal_one() {
        let golden = part("conformal");
        let (mut drawn, mut sorted) = (Scores::new(1440), Scores::new(1440));
        for case in golden["cases"].as_array().unwrap() {
            let [n, rank] = ["n", "rank"].map(|name| case[name].as_u64().unwrap() as usize);
            if sorted.len() != n {
                // Scores that are their own rank.
                sorted = Scores::new(1440);
                (0..n).for_each(|i| sorted.push(i as f64));
                drawn = Scores::new(1440);
                let scores = case.get("scores").map(numbers).unwrap_or_default();
                scores.into_iter().for_each(|score| drawn.push(score));
            }
            let tau = number(&case["tau"]);
            assert_eq!(sorted.quantile(tau), Some(rank as f64), "of {n} at {tau}");
            if let Some(quantile) = case.get("quantile") {
                assert_eq!(drawn.quantile(tau).map(|q| q as f32), Some(number(quantile) as f32));
            }
        }
        assert_eq!(Scores::new(9).quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_running_maximum_is_the_maximum(values in prop::collection::vec(-9.0..9.0f64, 1..60), length in 1usize..9) {
            let mut peak = Peak::new(length);
            for (i, value) in values.iter().enumerate() {
                let from = (i + 1).saturating_sub(length);
                let expected = values[from..=i].iter().copied().fold(f64::MIN, f64::max);
                prop_assert_eq!(peak.push(*value), expected);
            }
        }

        #[test]
        fn running_order_is_that_of_a_sort(values in prop::collection::vec(-5i32..5, 1..80), capacity in 1usize..20) {
            let mut scores = Scores::new(capacity);
            for (i, value) in values.iter().enumerate() {
                scores.push(f64::from(*value));
                let mut last: Vec<f32> =
                    values[(i + 1).saturating_sub(capacity)..=i].iter().map(|v| *v as f32).collect();
                last.sort_by(f32::total_cmp);
                prop_assert_eq!(&scores.sorted, &last);
            }
        }
    }
}
