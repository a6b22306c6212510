//! Where decisions are published: one cell per object, swapped whole. Readers never wait and never make a writer wait.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use plimsoll::scale::Decision;
use plimsoll_sim::fluid::Backtest;

use crate::finding::Finding;

/// Decisions that a cell remembers: an hour of them at one every 15 seconds.
const REMEMBERED: usize = 240;

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
        let decision = Arc::new(decision);
        let mut recent = VecDeque::clone(&self.recent.load());
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&decision));
        self.recent.store(Arc::new(recent));
        self.latest.store(Some(decision));
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
    fn a_cell_is_made_once() {
        let board = Board::default();
        let key = ObjectKey::new("shop", "checkout");
        let cell = board.cell(&key);
        assert!(Arc::ptr_eq(&cell, &board.cell(&key)));
        assert!(cell.latest().is_none());
        assert_eq!(board.objects().len(), 1);
    }
}
