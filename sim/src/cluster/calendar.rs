//! Which pod is next: a tournament among the pods' next events.

use plimsoll::units::Time;

/// Later than anything.
const NEVER: Time = Time::from_nanos(i64::MAX);

/// The next event of each of so many pods, by index. Setting one costs O(log n), as does finding the first; of several
/// at one instant the lowest index is first.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// A power of two, not less than the number of pods.
    leaves: usize,
    /// A binary tree: the children of `i` are `2i` and `2i + 1`, the root is 1, each holds its children's minimum.
    tree: Vec<Time>,
}

impl Calendar {
    pub(super) fn new(events: impl ExactSizeIterator<Item = Option<Time>>) -> Self {
        let leaves = events.len().next_power_of_two();
        let mut tree = vec![NEVER; 2 * leaves];
        for (leaf, event) in tree[leaves..].iter_mut().zip(events) {
            *leaf = event.unwrap_or(NEVER);
        }
        for i in (1..leaves).rev() {
            tree[i] = tree[2 * i].min(tree[2 * i + 1]);
        }
        Self { leaves, tree }
    }

    pub(super) fn set(&mut self, index: usize, event: Option<Time>) {
        let mut i = self.leaves + index;
        self.tree[i] = event.unwrap_or(NEVER);
        while i > 1 {
            i /= 2;
            let first = self.tree[2 * i].min(self.tree[2 * i + 1]);
            // Above a match whose winner stays as it was nothing changes.
            if self.tree[i] == first {
                return;
            }
            self.tree[i] = first;
        }
    }

    pub(super) fn first(&self) -> Option<(Time, usize)> {
        let first = *self.tree.get(1)?;
        if first == NEVER {
            return None;
        }
        let mut i = 1;
        while i < self.leaves {
            i = if self.tree[2 * i] == first { 2 * i } else { 2 * i + 1 };
        }
        Some((first, i - self.leaves))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_event_is_the_earliest_of_the_lowest_index(
            events in proptest::collection::vec(proptest::option::of(0i64..20), 1..20),
            changes in proptest::collection::vec((0usize..20, proptest::option::of(0i64..20)), 0..20),
        ) {
            let mut events: Vec<Option<Time>> = events.into_iter().map(|e| e.map(Time::from_nanos)).collect();
            let mut calendar = Calendar::new(events.iter().copied());
            for (index, event) in changes {
                let index = index % events.len();
                events[index] = event.map(Time::from_nanos);
                calendar.set(index, events[index]);
                let indexed = events.iter().enumerate().filter_map(|(i, e)| e.map(|e| (e, i)));
                prop_assert_eq!(calendar.first(), indexed.min());
            }
        }
    }

    #[test]
    fn without_pods_there_is_no_event() {
        assert_eq!(Calendar::default().first(), None);
        assert_eq!(Calendar::new(std::iter::empty()).first(), None);
    }
}
