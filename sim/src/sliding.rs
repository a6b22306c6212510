//! The largest or smallest of the last few values, in constant time a value.

use std::collections::VecDeque;

/// The extreme of the last `length` values, by a monotone deque: only values that may yet become the extreme are kept.
#[derive(Debug, Clone)]
pub(crate) struct Sliding<T> {
    length: usize,
    seen: usize,
    beats: fn(&T, &T) -> bool,
    /// Each with its number, from the extreme on.
    kept: VecDeque<(usize, T)>,
}

impl<T: PartialOrd + Copy> Sliding<T> {
    /// Of the largest of the last `length` values, at least one.
    pub(crate) fn largest(length: usize) -> Self {
        Self::new(length, |new, old| new >= old)
    }

    /// Of the smallest.
    pub(crate) fn smallest(length: usize) -> Self {
        Self::new(length, |new, old| new <= old)
    }

    fn new(length: usize, beats: fn(&T, &T) -> bool) -> Self {
        Self { length: length.max(1), seen: 0, beats, kept: VecDeque::new() }
    }

    /// Takes a value; the extreme of the last ones, this one included, or of all while they are fewer.
    pub(crate) fn push(&mut self, value: T) -> T {
        while self.kept.back().is_some_and(|(_, old)| (self.beats)(&value, old)) {
            self.kept.pop_back();
        }
        self.kept.push_back((self.seen, value));
        self.seen += 1;
        while self.kept.front().is_some_and(|(number, _)| number + self.length < self.seen) {
            self.kept.pop_front();
        }
        self.kept.front().map_or(value, |(_, extreme)| *extreme)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_extreme_of_the_last_ones(values in proptest::collection::vec(0u32..9, 1..60), length in 1usize..9) {
            let (mut largest, mut smallest) = (Sliding::largest(length), Sliding::smallest(length));
            for (i, value) in values.iter().enumerate() {
                let last = &values[(i + 1).saturating_sub(length)..=i];
                prop_assert_eq!(Some(largest.push(*value)), last.iter().copied().max());
                prop_assert_eq!(Some(smallest.push(*value)), last.iter().copied().min());
            }
        }
    }
}
