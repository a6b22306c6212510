//! When an HPA is reconciled: the work queue of the controller.
//!
//! Every reconcile, also a failed one, puts its HPA back with the wait of a rate-limited add: one sync period. So
//! the interval is the sync period plus the time of the reconcile. A simulator takes a little more than 15 s: with
//! exactly 15 s an event can be exactly as old as its window, which never happens in reality.

use super::settings::Settings;
use crate::units::Span;

/// A change of an HPA object that the controller hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Created,
    /// It was updated, by a user or by the controller's own write of the status.
    Updated {
        /// Whether `metadata.generation` changed, that is, the spec.
        generation_changed: bool,
    },
}

/// When an HPA that changed is reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// At once.
    Immediate,
    /// After one sync period.
    RateLimited,
}

impl Queued {
    /// How long it waits.
    pub fn wait(self, settings: &Settings) -> Span {
        match self {
            Self::Immediate => Span::ZERO,
            Self::RateLimited => settings.sync_period,
        }
    }
}

/// When the controller of Kubernetes 1.`minor` reconciles an HPA that changed (`enqueueHPA`, `updateHPA`). A new
/// HPA goes first since 1.37; a new spec does, with the gate HPAGeneration.
pub fn enqueue(minor: u32, change: Change, settings: &Settings) -> Queued {
    let at_once = minor >= 37
        && match change {
            Change::Created => true,
            Change::Updated { generation_changed } => settings.gates.hpa_generation && generation_changed,
        };
    if at_once { Queued::Immediate } else { Queued::RateLimited }
}
