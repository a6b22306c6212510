//! Where decisions are published: one cell per object, swapped whole. Readers never wait and never make a writer wait.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use plimsoll::scale::Decision;
use plimsoll::units::{Span, Time};
use plimsoll_sim::fluid::Backtest;

use crate::finding::Finding;

/// Decisions that a cell remembers: an hour of them at one every 15 seconds.
const REMEMBERED: usize = 240;

/// Length of a [`Stretch`], and how many a cell remembers: a day.
const STRETCH: Span = Span::from_secs(300);
const STRETCHES: usize = 288;

/// What five minutes came to, for charts of a day: their last decision, with the largest load and bound of all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// When the last decision was made.
    pub at: Time,
    /// The largest load; none while it was not known.
    pub load: Option<f64>,
    /// The largest bound; none without a forecast.
    pub bound: Option<f64>,
    /// Until when the last bound was to hold.
    pub bound_until: Option<Time>,
    /// Replicas that there were.
    pub current: Option<u32>,
    /// What the load took.
    pub reactive: Option<u32>,
    /// What the bound took.
    pub proactive: Option<u32>,
    /// Replicas that were asked for.
    pub desired: Option<u32>,
}

impl Stretch {
    /// One decision.
    pub fn of(decision: &Decision) -> Self {
        let desired = decision.outcome.desired();
        let horizon = decision.forecast.as_ref().map(|forecast| forecast.horizon);
        Self {
            at: decision.at,
            load: desired.map(|desired| desired.load.metricsqps.get()),
            bound: desired.filter(|_| horizon.is_some()).map(|desired| desired.bound.get()),
            bound_until: horizon.map(|horizon| decision.at + horizon),
            current: decision.evidence.map(|evidence| evidence.pods.replicas),
            reactive: desired.map(|desired| desired.reactive),
            proactive: desired.and_then(|desired| desired.proactive),
            desired: decision.outcome.replicas().ok().map(|(replicas, _)| replicas),
        }
    }

    fn number(&self) -> i64 {
        (self.at - Time::EPOCH).as_nanos().div_euclid(STRETCH.as_nanos())
    }

    /// This, which came before, and the next together.
    fn and(self, next: Self) -> Self {
        let larger = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Self { load: larger(self.load, next.load), bound: larger(self.bound, next.bound), ..next }
    }
}

/// Names one `LoadAwareAutoscaler`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The object `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The newest decision about one object, the recent ones, and what holds of it.
#[derive(Debug, Default)]
pub struct Cell {
    latest: ArcSwapOption<Decision>,
    recent: ArcSwap<VecDeque<Arc<Decision>>>,
    day: Mutex<VecDeque<Stretch>>,
    findings: ArcSwap<Vec<Finding>>,
    backtest: ArcSwapOption<Backtest>,
    /// Why nothing could be read last time.
    unread: ArcSwapOption<String>,
    /// 0 where there is none.
    generation: AtomicI64,
}

impl Cell {
    /// Makes this decision the newest. One engine writes a cell; readers may be many.
    pub fn publish(&self, decision: Decision) {
        self.add_to_day(Stretch::of(&decision));
        let decision = Arc::new(decision);
        let mut recent = VecDeque::clone(&self.recent.load());
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&decision));
        self.recent.store(Arc::new(recent));
        self.latest.store(Some(decision));
    }

    fn add_to_day(&self, next: Stretch) {
        // Nothing that is done while it is held can leave it half changed.
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        match day.back_mut() {
            Some(last) if last.number() == next.number() => *last = last.and(next),
            _ => {
                if day.len() == STRETCHES {
                    day.pop_front();
                }
                day.push_back(next);
            }
        }
    }

    /// The last day, oldest first.
    pub fn day(&self) -> Vec<Stretch> {
        self.day.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Forgets the newest decision: nothing stands for the present any more.
    pub fn clear(&self) {
        self.latest.store(None);
        self.unread.store(None);
    }

    /// Says what holds of the object.
    pub fn tell(&self, findings: Vec<Finding>) {
        self.findings.store(Arc::new(findings));
    }

    /// What holds of the object; nothing where nobody looks after it but an engine.
    pub fn findings(&self) -> Arc<Vec<Finding>> {
        self.findings.load_full()
    }

    /// Says why nothing could be read last time, if so.
    pub fn cannot_read(&self, why: Option<String>) {
        self.unread.store(why.map(Arc::new));
    }

    /// Why nothing could be read last time, for people.
    pub fn unread(&self) -> Option<Arc<String>> {
        self.unread.load_full()
    }

    /// Says which generation of its spec is in force.
    pub fn is_at(&self, generation: i64) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// The generation of its spec that is in force; 0 where nobody counts them.
    pub fn generation(&self) -> i64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Says what other ways of scaling would have made of the object's past.
    pub fn prove(&self, backtest: Backtest) {
        self.backtest.store(Some(Arc::new(backtest)));
    }

    /// What other ways of scaling would have made of the object's past; none while a day and a half of it is not known.
    pub fn backtest(&self) -> Option<Arc<Backtest>> {
        self.backtest.load_full()
    }

    /// The newest decision; none before the first.
    pub fn latest(&self) -> arc_swap::Guard<Option<Arc<Decision>>> {
        self.latest.load()
    }

    /// The last hour or so, oldest first.
    pub fn recent(&self) -> Arc<VecDeque<Arc<Decision>>> {
        self.recent.load_full()
    }
}

/// One cell for each object that exists.
#[derive(Debug, Default)]
pub struct Board {
    cells: ArcSwap<BTreeMap<ObjectKey, Arc<Cell>>>,
}

impl Board {
    /// The object's cell, made if it is not there.
    pub fn cell(&self, key: &ObjectKey) -> Arc<Cell> {
        if let Some(cell) = self.cells.load().get(key) {
            return Arc::clone(cell);
        }
        let new = Arc::new(Cell::default());
        self.cells.rcu(|cells| {
            let mut cells = BTreeMap::clone(cells);
            cells.entry(key.clone()).or_insert_with(|| Arc::clone(&new));
            cells
        });
        self.cells.load().get(key).map_or(new, Arc::clone)
    }

    /// Forgets the newest decision of an object, if it has a cell.
    pub fn clear(&self, key: &ObjectKey) {
        if let Some(cell) = self.cells.load().get(key) {
            cell.clear();
        }
    }

    /// Forgets an object that is no more.
    pub fn remove(&self, key: &ObjectKey) {
        self.cells.rcu(|cells| {
            let mut cells = BTreeMap::clone(cells);
            cells.remove(key);
            cells
        });
    }

    /// All objects as they are now, in the order of namespace and name.
    pub fn objects(&self) -> arc_swap::Guard<Arc<BTreeMap<ObjectKey, Arc<Cell>>>> {
        self.cells.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_are_their_last_decision_with_the_most_of_all() {
        let at = |seconds: i64, load: Option<f64>, desired: u32| Stretch {
            at: Time::from_secs(1_800_000_000 + seconds),
            load,
            bound: load.map(|load| 2.0 * load),
            bound_until: None,
            current: Some(3),
            reactive: None,
            proactive: None,
            desired: Some(desired),
        };
        let cell = Cell::default();
        for stretch in [at(0, Some(5.0), 1), at(120, Some(9.0), 2), at(299, None, 3), at(300, Some(1.0), 4)] {
            cell.add_to_day(stretch);
        }
        let day = cell.day();
        assert_eq!(
            day,
            [Stretch { load: Some(9.0), bound: Some(18.0), ..at(299, None, 3) }, at(300, Some(1.0), 4)]
        );
        (2..=400).for_each(|i| cell.add_to_day(at(300 * i, None, 5)));
        let day = cell.day();
        assert_eq!((day.len(), day[0].at), (STRETCHES, at(300 * 113, None, 5).at));
    }

    #[test]
    fn a_cell_is_made_once() {
        let board = Board::default();
        let key = ObjectKey::new("shop", "checkout");
        let cell = board.cell(&key);
        assert!(Arc::ptr_eq(&cell, &board.cell(&key)));
        assert!(cell.latest().is_none());
        assert_eq!(board.objects().len(), 1);
    }
}
