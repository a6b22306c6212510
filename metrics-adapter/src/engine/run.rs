//! The loop of one object: read its load, decide, publish, wait for the next round.

use std::sync::Arc;

use plimsoll::load::Sample;
use plimsoll::scale::Autoscaler;
use plimsoll::spec::Checked;
use plimsoll::units::Span;
use tokio::sync::watch;

use crate::board::{Board, Cell, ObjectKey};
use crate::collect::prometheus::Endpoint;
use crate::collect::{Collector, PodsCpu, QueriedPods, Query, Scraper, ServerCollector, Targets};
use crate::ops::Readiness;
use crate::stop::Stop;

/// One object that is to be measured and decided about.
#[derive(Debug)]
pub struct Object {
    /// Which one.
    pub key: ObjectKey,
    /// What it wants, checked.
    pub spec: Checked,
    /// What it reads of its workload.
    pub query: Query,
    /// Where it reads that.
    pub source: Source,
}

/// Where a workload's load is read.
#[derive(Debug)]
pub enum Source {
    /// The pods' own pages.
    Pods {
        /// The pods of the workload.
        targets: watch::Receiver<Targets>,
        /// Who tells their CPU, if not their pages.
        cpu: Option<Server>,
    },
    /// A metrics server.
    Server {
        /// The pods of the workload.
        pods: watch::Receiver<QueriedPods>,
        /// Who tells of them.
        server: Server,
    },
}

/// A metrics server, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The window that rates are taken over.
    pub window: Span,
}

/// Who makes the samples.
#[derive(Debug)]
pub(crate) enum Collecting {
    Pages(Box<Collector>),
    Server(Box<ServerCollector>),
}

impl Collecting {
    /// One that reads the workload of `key` every `interval`.
    pub(crate) fn new(
        key: &ObjectKey,
        query: Query,
        interval: Span,
        source: Source,
        scraper: &Scraper,
    ) -> Self {
        match source {
            Source::Pods { targets, cpu } => {
                let pages = Collector::new(key.clone(), query, interval, targets, scraper.clone());
                Self::Pages(Box::new(match cpu {
                    Some(Server { endpoint, window }) => {
                        let namespace = key.namespace.clone();
                        pages.with_cpu(PodsCpu::new(namespace, (interval, window), &endpoint, scraper))
                    }
                    None => pages,
                }))
            }
            Source::Server { pods, server: Server { endpoint, window } } => {
                let (key, times, scraper) = (key.clone(), (interval, window), scraper.clone());
                Self::Server(Box::new(ServerCollector::new(key, query, times, &endpoint, pods, scraper)))
            }
        }
    }

    /// A sample of now; none where nobody tells of now, so that the last one grows old.
    pub(crate) async fn round(&mut self) -> Option<Sample> {
        match self {
            Self::Pages(collector) => Some(collector.round().await),
            Self::Server(collector) => collector.round().await,
        }
    }
}

/// Runs one object.
#[derive(Debug)]
pub struct Engine {
    key: ObjectKey,
    autoscaler: Autoscaler,
    collector: Collecting,
    scraper: Scraper,
    cell: Arc<Cell>,
    readiness: Readiness,
}

impl Engine {
    /// An engine that publishes to the object's cell on `board`, and says so to `readiness` when it first does.
    pub fn new(object: Object, scraper: Scraper, board: &Board, readiness: Readiness) -> Self {
        let Object { key, spec, query, source } = object;
        let collector = Collecting::new(&key, query, spec.interval, source, &scraper);
        let cell = board.cell(&key);
        Self { key, autoscaler: Autoscaler::new(spec), collector, scraper, cell, readiness }
    }

    /// Works until it is told to stop.
    pub async fn run(mut self, mut stop: Stop) {
        let mut ticks = self.scraper.clock.every(self.autoscaler.spec().interval);
        let work = async {
            loop {
                ticks.next().await;
                self.round().await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.told() => {}
        }
    }

    async fn round(&mut self) {
        let began = self.scraper.clock.now();
        if let Some(sample) = self.collector.round().await
            && let Err(error) = self.autoscaler.observe(&sample)
        {
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
