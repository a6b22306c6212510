//! What an engine knows and thinks, to be told of more from outside.

use std::sync::Arc;

use plimsoll::scale::{Autoscaler, Checkpoint, StartUp};
use plimsoll::spec::Checked;
use plimsoll::units::Time;
use tokio::sync::Mutex;
use tokio::task::JoinError;

use crate::board::Cell;

/// The autoscaler of one engine, and where it publishes. It thinks one thing at a time, so these wait until it has thought.
#[derive(Debug, Clone)]
pub struct Mind {
    pub(super) autoscaler: Arc<Mutex<Autoscaler>>,
    pub(super) cell: Arc<Cell>,
    /// Held from a decision until it is published: the newest one stays.
    pub(super) deciding: Arc<Mutex<()>>,
}

impl Mind {
    /// Tells it of the replicas that are asked for now, where that is known, whether a person has paused it, and whether the HPA that
    /// follows has a tolerance.
    pub async fn tell(&self, now: Time, replicas: Option<u32>, is_paused: bool, is_tolerant: bool) {
        let mut autoscaler = self.autoscaler.lock().await;
        if let Some(replicas) = replicas {
            autoscaler.note_replicas(now, replicas);
        }
        autoscaler.set_paused(now, is_paused);
        autoscaler.set_tolerant(is_tolerant);
    }

    /// Tells it how a pod came up.
    pub async fn started(&self, start_up: StartUp) {
        self.autoscaler.lock().await.started(start_up);
    }

    /// Gives it another spec; it keeps what it has learned. Whether all of that still counts.
    pub async fn respec(&self, spec: Checked) -> bool {
        self.think(|autoscaler| autoscaler.respec(spec)).await.unwrap_or_default()
    }

    /// Decides anew by what it knows, and publishes that: for when something was told that cannot wait for the next sample.
    pub async fn decide(&self, now: Time) {
        let _turn = self.deciding.lock().await;
        if let Some(decision) = self.think(move |autoscaler| autoscaler.decide(now)).await {
            self.cell.publish(decision);
        }
    }

    /// What it has learned.
    pub async fn checkpoint(&self) -> Option<Checkpoint> {
        self.think(|autoscaler| autoscaler.checkpoint()).await
    }

    /// Lets it go on with what another has learned.
    pub async fn resume(&self, learned: Checkpoint) {
        self.think(|autoscaler| autoscaler.resume(learned)).await;
    }

    /// Some thoughts take half a second, which nobody else is to wait for. None if the runtime is ending.
    async fn think<T: Send + 'static>(
        &self,
        thought: impl FnOnce(&mut Autoscaler) -> T + Send + 'static,
    ) -> Option<T> {
        let autoscaler = Arc::clone(&self.autoscaler);
        let thinking = tokio::task::spawn_blocking(move || thought(&mut autoscaler.blocking_lock()));
        match thinking.await.map_err(JoinError::try_into_panic) {
            Ok(done) => Some(done),
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => None,
        }
    }
}
