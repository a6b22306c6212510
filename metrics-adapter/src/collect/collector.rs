//! Scrapes the pods of one workload, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyper::Uri;
use plimsoll::load::{Counters, ReadingError, ReadyPods, Sample};
use plimsoll::units::Span;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::fetch::{FetchError, Fetcher};
use super::page::{PageError, Query};
use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::ops::Telemetry;

/// Pages that are fetched and held at a time, over all workloads.
pub const MAX_CONCURRENT: usize = 64;

/// The pods of one workload, as whoever discovers them knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Name and metrics page of each pod that takes requests.
    pub ready: BTreeMap<String, Uri>,
    /// Pods on their way to being ready.
    pub warming: u32,
    /// The scale's `spec.replicas`.
    pub replicas: u32,
}

/// What all collectors share.
#[derive(Debug, Clone)]
pub struct Scraper {
    /// Tells the time.
    pub clock: Clock,
    /// Counts what goes wrong.
    pub telemetry: Arc<Telemetry>,
    slots: Arc<Semaphore>,
}

impl Scraper {
    /// Room for [`MAX_CONCURRENT`] pages.
    pub fn new(clock: Clock, telemetry: Arc<Telemetry>) -> Self {
        Self { clock, telemetry, slots: Arc::new(Semaphore::new(MAX_CONCURRENT)) }
    }
}

/// Why a pod was left out of a round.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScrapeError {
    /// There is no page.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There is a page, but it tells nothing.
    #[error(transparent)]
    Page(#[from] PageError),
    /// It tells what cannot be.
    #[error(transparent)]
    Reading(#[from] ReadingError),
}

impl ScrapeError {
    /// A word for a label: few, and none made of what a pod sent.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::Unreachable) => "unreachable",
            Self::Fetch(FetchError::Timeout(_)) => "timeout",
            Self::Fetch(FetchError::Status(_)) => "status",
            Self::Fetch(FetchError::TooLarge) | Self::Page(PageError::TooManySeries) => "too_large",
            Self::Fetch(FetchError::Encoding) => "encoding",
            Self::Fetch(FetchError::NotText) => "not_text",
            Self::Page(PageError::Malformed(_) | PageError::Le { .. }) => "malformed",
            Self::Page(PageError::Counts(_)) | Self::Reading(_) => "counts",
        }
    }
}

/// Scrapes the pods of one workload and turns what they say into samples.
#[derive(Debug)]
pub struct Collector {
    key: ObjectKey,
    query: Arc<Query>,
    counters: Counters,
    fetcher: Fetcher,
    targets: watch::Receiver<Targets>,
    scraper: Scraper,
    /// Pods that were left out of the last round, with the reason: each is logged when it changes.
    faulty: BTreeMap<String, &'static str>,
}

impl Collector {
    /// For the workload of the object `key`, every `interval`.
    pub fn new(
        key: ObjectKey,
        query: Query,
        interval: Span,
        targets: watch::Receiver<Targets>,
        scraper: Scraper,
    ) -> Self {
        let fetcher = Fetcher::new(scraper.clock.in_world(interval));
        let query = Arc::new(query);
        let counters = Counters::new(interval);
        Self { key, query, counters, fetcher, targets, scraper, faulty: BTreeMap::new() }
    }

    /// Reads every ready pod once, all at about the same time.
    pub async fn round(&mut self) -> Sample {
        let targets = self.targets.borrow_and_update().clone();
        let mut pages = JoinSet::new();
        for (pod, url) in &targets.ready {
            pages.spawn(scrape(
                pod.clone(),
                url.clone(),
                Arc::clone(&self.query),
                self.fetcher.clone(),
                self.scraper.clone(),
            ));
        }
        while let Some(page) = pages.join_next().await {
            match page {
                Ok((pod, Ok(reading))) => {
                    let read = self.counters.read(&pod, reading).map_err(ScrapeError::from);
                    self.note(&pod, read);
                }
                Ok((pod, Err(error))) => {
                    self.counters.miss(&pod, self.scraper.clock.now());
                    self.note(&pod, Err(error));
                }
                // A task that was aborted or panicked says nothing of its pod, which then counts as silent in time.
                Err(error) => tracing::error!(object = %self.key, %error, "a scrape ended early"),
            }
        }
        let names: BTreeSet<String> = targets.ready.into_keys().collect();
        self.faulty.retain(|pod, _| names.contains(pod));
        let ready = ReadyPods { names, warming: targets.warming, replicas: targets.replicas };
        self.counters.sample(self.scraper.clock.now(), &ready)
    }

    /// Counts an error each time, and logs it once.
    fn note(&mut self, pod: &str, read: Result<(), ScrapeError>) {
        let object = &self.key;
        match read {
            Ok(()) => {
                if self.faulty.remove(pod).is_some() {
                    tracing::info!(%object, pod, "the pod's metrics are read again");
                }
            }
            Err(error) => {
                let reason = error.reason();
                self.scraper.telemetry.scrape_failed(object, reason);
                if self.faulty.insert(pod.to_owned(), reason) != Some(reason) {
                    tracing::warn!(%object, pod, reason, %error, "the pod's metrics cannot be read: it is left out");
                }
            }
        }
    }
}

async fn scrape(
    pod: String,
    url: Uri,
    query: Arc<Query>,
    fetcher: Fetcher,
    scraper: Scraper,
) -> (String, Result<plimsoll::load::Reading, ScrapeError>) {
    let _slot = scraper.slots.acquire().await;
    let at = scraper.clock.now();
    let reading = async {
        let page = fetcher.page(&url).await?;
        let mut reading = query.read(&page, at)?;
        reading.started = reading.started.map(|wall| scraper.clock.from_wall(wall));
        Ok(reading)
    };
    (pod, reading.await)
}
