//! The loop of one object: read the pods, decide, publish, wait for the next round.

use std::sync::Arc;

use plimsoll::scale::Autoscaler;
use plimsoll::spec::Checked;
use tokio::sync::watch;

use crate::board::{Board, Cell, ObjectKey};
use crate::collect::{Collector, Query, Scraper, Targets};
use crate::ops::Readiness;
use crate::stop::Stop;

/// One object that is to be measured and decided about.
#[derive(Debug)]
pub struct Object {
    /// Which one.
    pub key: ObjectKey,
    /// What it wants, checked.
    pub spec: Checked,
    /// What it reads from a metrics page.
    pub query: Query,
    /// The pods of its workload.
    pub targets: watch::Receiver<Targets>,
}

/// Runs one object.
#[derive(Debug)]
pub struct Engine {
    key: ObjectKey,
    autoscaler: Autoscaler,
    collector: Collector,
    scraper: Scraper,
    cell: Arc<Cell>,
    readiness: Readiness,
}

impl Engine {
    /// An engine that publishes to the object's cell on `board`, and says so to `readiness` when it first does.
    pub fn new(object: Object, scraper: Scraper, board: &Board, readiness: Readiness) -> Self {
        let Object { key, spec, query, targets } = object;
        let collector = Collector::new(key.clone(), query, spec.interval, targets, scraper.clone());
        let cell = board.cell(&key);
        Self { key, autoscaler: Autoscaler::new(spec), collector, scraper, cell, readiness }
    }

    /// Works until it is told to stop.
    pub async fn run(mut self, mut stop: Stop) {
        let interval = self.autoscaler.spec().interval;
        let mut next = self.scraper.clock.now();
        loop {
            tokio::select! {
                () = self.round() => {}
                () = stop.told() => return,
            }
            // A round that took too long is followed by the next at its own time, not by several at once.
            let now = self.scraper.clock.now();
            while next <= now {
                next += interval;
            }
            tokio::select! {
                () = self.scraper.clock.sleep_until(next) => {}
                () = stop.told() => return,
            }
        }
    }

    async fn round(&mut self) {
        let began = self.scraper.clock.now();
        let sample = self.collector.round().await;
        if let Err(error) = self.autoscaler.observe(&sample) {
            tracing::warn!(object = %self.key, %error, "the sample is left aside");
        }
        let now = self.scraper.clock.now();
        let decision = self.autoscaler.decide(now);
        tracing::debug!(object = %self.key, ?decision.outcome, "decided");
        self.cell.publish(decision);
        self.readiness.set();
        self.scraper.telemetry.round_took(now - began);
    }
}
