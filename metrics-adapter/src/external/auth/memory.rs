//! Answers that are remembered for a while, so that the cluster is not asked at every request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plimsoll::units::{Span, Time};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::review::ReviewError;
use crate::clock::Clock;
use crate::external::fingerprint::Fingerprint;

/// So long an answer is good without asking again.
const FRESH: Span = Span::from_secs(10);

/// Answers that are remembered at one time: one a HorizontalPodAutoscaler in the largest of clusters.
const CAPACITY: usize = 4096;

/// Answers of one kind. Whoever asks what is being asked already waits for that answer, and only so many are asked for
/// at one time.
#[derive(Debug)]
pub(super) struct Memory<V> {
    /// What it remembers, for the log.
    what: &'static str,
    clock: Clock,
    /// For how long an answer that is not fresh any more still counts while there is no other.
    lasts: fn(&V) -> Span,
    asked: Semaphore,
    slots: Mutex<BTreeMap<Fingerprint, Arc<Slot<V>>>>,
    failing: AtomicBool,
}

#[derive(Debug)]
struct Slot<V> {
    made: Time,
    /// Held by the one that asks.
    asking: tokio::sync::Mutex<()>,
    known: Mutex<Option<(Time, V)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done while one is held can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V: Clone> Slot<V> {
    /// What is known, unless it is older than `age`.
    fn known(&self, now: Time, age: impl Fn(&V) -> Span) -> Option<V> {
        lock(&self.known)
            .as_ref()
            .filter(|(at, value)| now - *at < age(value))
            .map(|(_, value)| value.clone())
    }
}

impl<V: Clone> Memory<V> {
    /// Remembers nothing yet. `at_once` answers are asked for at one time.
    pub(super) fn new(what: &'static str, at_once: usize, lasts: fn(&V) -> Span, clock: Clock) -> Self {
        Self {
            what,
            clock,
            lasts,
            asked: Semaphore::new(at_once),
            slots: Mutex::default(),
            failing: AtomicBool::new(false),
        }
    }

    /// The answer to the question of this fingerprint, if need be by asking.
    ///
    /// # Errors
    /// When it is not known and asking fails, or takes until the deadline.
    pub(super) async fn recall(
        &self,
        question: Fingerprint,
        deadline: Instant,
        ask: impl Future<Output = Result<V, ReviewError>>,
    ) -> Result<V, ReviewError> {
        let slot = self.slot(question);
        let fresh = || slot.known(self.clock.now(), |_| FRESH);
        if let Some(value) = fresh() {
            return Ok(value);
        }
        let asked = timeout_at(deadline, async {
            let _one = slot.asking.lock().await;
            if let Some(value) = fresh() {
                return Ok(value);
            }
            let _permit = self.asked.acquire().await.map_err(|_| ReviewError::Late)?;
            let asked = timeout_at(deadline, ask).await.unwrap_or(Err(ReviewError::Late));
            // Here, and not for those who only waited: a crowd says nothing about the cluster.
            self.note(asked.as_ref().err());
            let value = asked?;
            *lock(&slot.known) = Some((self.clock.now(), value.clone()));
            Ok(value)
        });
        let asked = asked.await.unwrap_or(Err(ReviewError::Late));
        asked.or_else(|error| slot.known(self.clock.now(), |value| FRESH + (self.lasts)(value)).ok_or(error))
    }

    fn slot(&self, question: Fingerprint) -> Arc<Slot<V>> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(&question) {
            return Arc::clone(slot);
        }
        let now = self.clock.now();
        if slots.len() >= CAPACITY {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.known(now, |_| FRESH).is_some());
        }
        if slots.len() >= CAPACITY
            && let Some(oldest) =
                slots.iter().min_by_key(|(_, slot)| slot.made).map(|(question, _)| *question)
        {
            slots.remove(&oldest);
        }
        let slot =
            Arc::new(Slot { made: now, asking: tokio::sync::Mutex::default(), known: Mutex::new(None) });
        slots.insert(question, Arc::clone(&slot));
        slot
    }

    /// Logs the first failure, and the end of it.
    fn note(&self, error: Option<&ReviewError>) {
        let was_failing = self.failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_failing => {
                tracing::warn!(what = self.what, %error, "the cluster cannot be asked");
            }
            None if was_failing => tracing::info!(what = self.what, "the cluster answers again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;
    use crate::clock::Hand;

    const START: Time = Time::from_secs(1_000);

    fn memory() -> (Memory<u32>, Hand) {
        let (clock, hand) = Clock::manual(START);
        (Memory::new("numbers", 2, |value| Span::from_secs(i64::from(*value)), clock), hand)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    fn failure() -> Result<u32, ReviewError> {
        Err(ReviewError::Failed("down".to_owned()))
    }

    fn question(n: usize) -> Fingerprint {
        let mut question = Fingerprint::default();
        question[..8].copy_from_slice(&n.to_le_bytes());
        question
    }

    #[tokio::test]
    async fn an_answer_is_good_for_ten_seconds() {
        let (memory, hand) = memory();
        let ask = async |value| memory.recall(question(1), soon(), ready(Ok(value))).await;
        assert_eq!(ask(1).await, Ok(1));
        hand.set(START + Span::from_millis(9_999));
        assert_eq!(ask(2).await, Ok(1));
        hand.set(START + Span::from_secs(10));
        assert_eq!(ask(2).await, Ok(2));
        assert_eq!(memory.recall(question(2), soon(), ready(failure())).await, failure());
    }

    #[tokio::test]
    async fn while_nobody_answers_an_old_answer_lasts_as_long_as_it_may() {
        let (memory, hand) = memory();
        for (n, value) in [(0, 0), (1, 60)] {
            memory.recall(question(n), soon(), ready(Ok(value))).await.unwrap();
        }
        let ask = async |n| memory.recall(question(n), soon(), ready(failure())).await;
        hand.set(START + Span::from_secs(10));
        assert_eq!((ask(0).await, ask(1).await), (failure(), Ok(60)));
        hand.set(START + Span::from_secs(69));
        assert_eq!(ask(1).await, Ok(60));
        hand.set(START + Span::from_secs(70));
        assert_eq!(ask(1).await, failure());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_waited_for_until_the_deadline() {
        let (memory, hand) = memory();
        memory.recall(question(1), soon(), ready(Ok(60))).await.unwrap();
        hand.set(START + Span::from_secs(10));
        assert_eq!(memory.recall(question(1), soon(), pending()).await, Ok(60));
        assert_eq!(memory.recall(question(2), soon(), pending()).await, Err(ReviewError::Late));
        // Given up, it is not in the way of the next.
        assert_eq!(memory.recall(question(2), soon(), ready(Ok(3))).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_asked_for_at_once() {
        let (memory, _hand) = memory();
        let asks = (0..2).map(|n| memory.recall(question(n), soon(), pending()));
        let blocked = futures::future::join_all(asks);
        let sooner = Instant::now() + Duration::from_millis(500);
        let late = memory.recall(question(2), sooner, ready(Ok(1)));
        let (_, late) = futures::join!(blocked, late);
        assert_eq!(late, Err(ReviewError::Late));
        assert_eq!(memory.recall(question(2), soon(), ready(Ok(1))).await, Ok(1));
    }

    #[tokio::test]
    async fn what_is_being_asked_is_not_asked_again() {
        let (memory, _hand) = memory();
        let (tell, told) = tokio::sync::oneshot::channel();
        let first = memory.recall(question(1), soon(), async { Ok(told.await.unwrap()) });
        let second = memory.recall(question(1), soon(), async { panic!("asked twice") });
        let answer = async { tell.send(7).unwrap() };
        let (first, second, ()) = futures::join!(first, second, answer);
        assert_eq!((first, second), (Ok(7), Ok(7)));
    }

    #[tokio::test]
    async fn it_does_not_grow_without_end() {
        let (memory, hand) = memory();
        for n in 0..CAPACITY + 10 {
            memory.recall(question(n), soon(), ready(Ok(1))).await.unwrap();
            hand.set(START + Span::from_millis(n as i64));
        }
        assert_eq!(lock(&memory.slots).len(), CAPACITY);
        // The oldest had to go.
        assert_eq!(memory.recall(question(0), soon(), ready(Ok(2))).await, Ok(2));
        assert_eq!(memory.recall(question(CAPACITY), soon(), ready(Ok(2))).await, Ok(1));
        hand.set(START + Span::from_secs(60));
        memory.recall(question(5_000), soon(), ready(Ok(1))).await.unwrap();
        assert_eq!(lock(&memory.slots).len(), 1);
    }
}
