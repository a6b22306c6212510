//! What was said, until the truth is known.

use std::collections::VecDeque;

/// Things said after some steps, in the order of the steps.
#[derive(Debug, Clone)]
pub(super) struct Waiting<T> {
    said: VecDeque<(i64, T)>,
    /// Steps after which nothing is waited for any more.
    longest: i64,
}

impl<T> Waiting<T> {
    /// For truths that are known `longest` steps later, or never.
    pub(super) fn new(longest: usize) -> Self {
        Self { said: VecDeque::new(), longest: i64::try_from(longest).unwrap_or(i64::MAX) }
    }

    pub(super) fn len(&self) -> usize {
        self.said.len()
    }

    /// Bytes on the heap, without what the things themselves have there.
    pub(super) fn bytes(&self) -> usize {
        self.said.capacity() * size_of::<(i64, T)>()
    }

    /// Keeps what was said after step `origin`, which is later than all before.
    pub(super) fn push(&mut self, origin: i64, said: T) {
        while self.said.front().is_some_and(|(at, _)| origin.saturating_sub(*at) > self.longest) {
            self.said.pop_front();
        }
        self.said.push_back((origin, said));
    }

    /// What was said after step `origin`, if anything was. What was said before it is dropped: its time has passed.
    pub(super) fn take(&mut self, origin: i64) -> Option<T> {
        while self.said.front().is_some_and(|(at, _)| *at < origin) {
            self.said.pop_front();
        }
        if self.said.front().is_some_and(|(at, _)| *at == origin) {
            self.said.pop_front().map(|(_, said)| said)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_waits_for_its_step() {
        let mut waiting = Waiting::new(9);
        for step in [3, 4, 7] {
            waiting.push(step, step * 10);
        }
        assert_eq!(waiting.take(2), None);
        assert_eq!(waiting.take(4), Some(40));
        assert_eq!(waiting.take(5), None);
        assert_eq!(waiting.take(7), Some(70));
    }

    #[test]
    fn what_is_never_known_is_not_waited_for() {
        let mut waiting = Waiting::new(5);
        (0..1000).for_each(|step| waiting.push(step, ()));
        assert_eq!(waiting.len(), 6);
    }
}
