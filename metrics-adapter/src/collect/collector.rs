//! Scrapes the pods of one workload, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Uri;
use plimsoll::load::{Counters, Reading, ReadingError, ReadyPods, Sample, Spent};
use plimsoll::units::{Cores, Span};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::access::Access;
use super::fetch::{Content, FetchError, Fetcher, Format};
use super::page::{PageError, Query};
use super::pods_cpu::{PodsCpu, PodsCpuError};
use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::ops::Telemetry;

/// Pages that are fetched and held at a time, over all workloads.
pub const MAX_CONCURRENT: usize = 64;

/// Pages of one workload that are fetched at a time: one whose pods hang leaves room for the others.
pub const MAX_CONCURRENT_PER_WORKLOAD: usize = 16;

/// The pods of one workload, as whoever discovers them knows them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    /// Name and metrics page of each pod that takes requests; none of one whose page may not be read, or cannot be told.
    pub ready: BTreeMap<String, Option<Uri>>,
    /// Pods on their way to being ready.
    pub warming: u32,
    /// The scale's `spec.replicas`, if known; else there are as many as there are pods.
    pub replicas: Option<u32>,
    /// Pods of two versions are there: a rollout is under way.
    pub updating: bool,
    /// CPU of each.
    pub cpu: PodCpu,
    /// How they let the adapter in.
    pub access: Access,
    /// What selects them in the cluster, if they are in one.
    pub selector: Option<String>,
}

/// CPU of each of a workload's pods, as their containers declare it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PodCpu {
    /// What one asked for, if known.
    pub request: Option<Cores>,
    /// What one may use at most, if there is a limit.
    pub limit: Option<Cores>,
}

/// What all collectors share.
#[derive(Debug, Clone)]
pub struct Scraper {
    /// Tells the time.
    pub clock: Clock,
    /// Counts what goes wrong.
    pub telemetry: Arc<Telemetry>,
    slots: Arc<Semaphore>,
    /// Turns at reading the past: it is some 25 MB until it is taken up.
    pub(crate) pasts: Arc<Semaphore>,
    /// Turns at thinking: mostly microseconds, but living through 28 days of history takes half a second.
    pub(crate) minds: Arc<Semaphore>,
    /// Turns at writing down what was learned.
    pub(crate) pens: Arc<Semaphore>,
    /// Turns at looking what other ways of scaling would have made of the past: seconds, and nobody waits for it.
    pub(crate) proofs: Arc<Semaphore>,
}

/// Workloads whose past is in memory at a time, that think at a time, that write at a time, and that look back at a time.
const MAX_PASTS: usize = 2;
const MAX_MINDS: usize = 4;
const MAX_PENS: usize = 2;
const MAX_PROOFS: usize = 1;

impl Scraper {
    /// Room for [`MAX_CONCURRENT`] pages.
    pub fn new(clock: Clock, telemetry: Arc<Telemetry>) -> Self {
        let turns = |count| Arc::new(Semaphore::new(count));
        let [slots, pasts, minds, pens, proofs] =
            [MAX_CONCURRENT, MAX_PASTS, MAX_MINDS, MAX_PENS, MAX_PROOFS].map(turns);
        Self { clock, telemetry, slots, pasts, minds, pens, proofs }
    }
}

/// Why a pod was left out of a round.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScrapeError {
    /// It is not known where its page is.
    #[error(
        "it has no page that may be read: no port of its containers has the name in spec.load.source.scrape.port, or its address is no pod's own"
    )]
    NoPage,
    /// There is no page.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There is a page, but it tells nothing.
    #[error(transparent)]
    Page(#[from] PageError),
    /// It tells what cannot be.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// The round ended before its turn came.
    #[error("the other pods took up the whole interval")]
    RoundOver,
}

impl ScrapeError {
    /// A word for a label: few, and none made of what a pod sent.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoPage => "no_page",
            Self::Fetch(error) => error.reason(),
            Self::Page(error) => error.reason(),
            Self::Reading(_) => "counts",
            Self::RoundOver => "timeout",
        }
    }
}

/// Scrapes the pods of one workload and turns what they say into samples.
#[derive(Debug)]
pub struct Collector {
    key: ObjectKey,
    query: Arc<Query>,
    interval: Span,
    counters: Counters,
    fetcher: Fetcher,
    slots: Arc<Semaphore>,
    /// A pod has shown a histogram without bounds: all are asked for protobuf from then on.
    wants_protobuf: Arc<AtomicBool>,
    targets: watch::Receiver<Targets>,
    scraper: Scraper,
    /// Pods that were left out of the last round.
    faulty: BTreeSet<String>,
    /// Metrics that the user named and no pod showed in the last round.
    absent: BTreeSet<String>,
    /// Who tells the CPU, if not the pages.
    cpu: Option<PodsCpu>,
    /// Why it did not, in the last round.
    cpu_fails: Option<PodsCpuError>,
    /// Whether a pod was read in the last round, and why the last of those was not that were not.
    seen: (bool, Option<ScrapeError>),
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
        Self {
            key,
            query: Arc::new(query),
            interval,
            counters: Counters::new(interval),
            fetcher: Fetcher::new(scraper.clock.clone(), interval, Access::default()),
            slots: Arc::new(Semaphore::new(MAX_CONCURRENT_PER_WORKLOAD)),
            wants_protobuf: Arc::new(AtomicBool::new(false)),
            targets,
            scraper,
            faulty: BTreeSet::new(),
            absent: BTreeSet::new(),
            cpu: None,
            cpu_fails: None,
            seen: (false, None),
        }
    }

    /// With the pods' CPU from elsewhere than their pages.
    pub fn with_cpu(self, cpu: PodsCpu) -> Self {
        Self { cpu: Some(cpu), ..self }
    }

    /// Why no pod at all could be read in the last round, or its CPU, for people.
    pub fn trouble(&self) -> Option<String> {
        match (&self.seen, &self.cpu_fails) {
            ((false, Some(error)), _) => Some(format!("the metrics of no pod can be read: {error}")),
            (_, Some(error)) => Some(format!("the pods' CPU is not told: {error}")),
            _ => None,
        }
    }

    /// Reads every ready pod once, all at about the same time, and within an interval.
    pub async fn round(&mut self) -> Sample {
        let targets = self.targets.borrow_and_update().clone();
        if *self.fetcher.access() != targets.access {
            // With connections of its own: those of before were opened with other credentials.
            self.fetcher = Fetcher::new(self.scraper.clock.clone(), self.interval, targets.access.clone());
        }
        self.seen = (false, None);
        let names: BTreeSet<String> = targets.ready.keys().cloned().collect();
        let teller = self.cpu.clone();
        let cpu = async {
            match teller {
                Some(teller) => Some(teller.of(&names, targets.selector.as_deref()).await),
                None => None,
            }
        };
        let (absent, cpu) = tokio::join!(self.read_pages(&targets), cpu);
        note_absent(&self.key, &mut self.absent, absent);
        self.faulty.retain(|pod| names.contains(pod));
        let Targets { warming, replicas, updating, cpu: PodCpu { request, limit }, .. } = targets;
        let there = u32::try_from(names.len()).unwrap_or(u32::MAX).saturating_add(warming);
        let ready = ReadyPods {
            names,
            warming,
            replicas: replicas.unwrap_or(there),
            updating,
            requested_per_pod: request,
            cores_per_pod: limit,
        };
        let now = self.scraper.clock.now();
        match cpu.map(|cpu| self.told(cpu)) {
            Some(cpu) => self.counters.sample_with_cpu(now, &ready, &cpu),
            None => self.counters.sample(now, &ready),
        }
    }

    /// The CPU that was told. If none was, that of no pod is known: the pages' would be of other processes.
    fn told(&mut self, cpu: Result<BTreeMap<String, Spent>, PodsCpuError>) -> BTreeMap<String, Spent> {
        let object = &self.key;
        match cpu {
            Ok(cpu) => {
                if self.cpu_fails.take().is_some() {
                    tracing::info!(%object, "the pods' CPU is told again");
                }
                cpu
            }
            Err(error) => {
                let reason = error.reason();
                self.scraper.telemetry.query_failed(object, reason);
                if self.cpu_fails.is_none() {
                    tracing::warn!(%object, reason, %error, "the pods' CPU is not told");
                }
                self.cpu_fails = Some(error);
                BTreeMap::new()
            }
        }
    }

    /// Reads the pages, and gives the metrics that none of them shows.
    async fn read_pages(&mut self, targets: &Targets) -> BTreeSet<String> {
        let mut waiting: BTreeSet<&String> = targets.ready.keys().collect();
        let mut pages = JoinSet::new();
        // Those that were left out last time come last: should they hang again, the others have been read.
        let (suspect, sound): (Vec<_>, Vec<_>) =
            targets.ready.iter().partition(|(pod, _)| self.faulty.contains(*pod));
        for (pod, url) in sound.into_iter().chain(suspect) {
            let Some(url) = url else {
                waiting.remove(pod);
                self.take(pod, Err(ScrapeError::NoPage));
                continue;
            };
            pages.spawn(scrape(
                pod.clone(),
                url.clone(),
                Reader {
                    query: Arc::clone(&self.query),
                    fetcher: self.fetcher.clone(),
                    slots: Arc::clone(&self.slots),
                    wants_protobuf: Arc::clone(&self.wants_protobuf),
                    scraper: self.scraper.clone(),
                },
            ));
        }
        let mut absent: Option<BTreeSet<String>> = None;
        let deadline = tokio::time::sleep(self.scraper.clock.in_world(self.interval));
        tokio::pin!(deadline);
        loop {
            let page = tokio::select! {
                page = pages.join_next() => page,
                () = &mut deadline => break,
            };
            match page {
                None => break,
                Some(Ok((pod, reading))) => {
                    waiting.remove(&pod);
                    if let Ok(reading) = &reading {
                        let here: BTreeSet<String> =
                            self.query.absent_in(reading).into_iter().map(str::to_owned).collect();
                        absent = Some(absent.map_or_else(|| here.clone(), |others| &others & &here));
                    }
                    self.take(&pod, reading);
                }
                Some(Err(error)) => tracing::error!(object = %self.key, %error, "a scrape ended early"),
            }
        }
        for pod in waiting {
            self.take(pod, Err(ScrapeError::RoundOver));
        }
        absent.unwrap_or_default()
    }

    /// Counts an error each time, and logs it once until the pod is read again.
    fn take(&mut self, pod: &str, reading: Result<Reading, ScrapeError>) {
        let read = match reading {
            Ok(reading) => self.counters.read(pod, reading).map_err(ScrapeError::from),
            Err(error) => {
                self.counters.miss(pod, self.scraper.clock.now());
                Err(error)
            }
        };
        let object = &self.key;
        match read {
            Ok(()) => {
                self.seen.0 = true;
                if self.faulty.remove(pod) {
                    tracing::info!(%object, pod, "the pod's metrics are read again");
                }
            }
            Err(error) => {
                let reason = error.reason();
                self.scraper.telemetry.scrape_failed(object, reason);
                if self.faulty.insert(pod.to_owned()) {
                    tracing::warn!(%object, pod, reason, %error, "the pod's metrics cannot be read: it is left out");
                }
                self.seen.1 = Some(error);
            }
        }
    }
}

/// Logs a metric that no pod shows, once: its name is misspelt, or nothing was turned away yet.
pub(super) fn note_absent(object: &ObjectKey, noted: &mut BTreeSet<String>, absent: BTreeSet<String>) {
    for metric in absent.difference(noted) {
        tracing::warn!(%object, metric, "no pod shows this metric: nothing is known of what it would tell");
    }
    *noted = absent;
}

/// What it takes to read one page.
struct Reader {
    query: Arc<Query>,
    fetcher: Fetcher,
    slots: Arc<Semaphore>,
    wants_protobuf: Arc<AtomicBool>,
    scraper: Scraper,
}

async fn scrape(pod: String, url: Uri, reader: Reader) -> (String, Result<Reading, ScrapeError>) {
    // Neither semaphore is ever closed.
    let _of_workload = reader.slots.acquire().await;
    let _of_all = reader.scraper.slots.acquire().await;
    (pod, reader.read(&url).await)
}

impl Reader {
    /// Reads the page as text, unless it is known that its histogram is shown in full as protobuf only.
    async fn read(&self, url: &Uri) -> Result<Reading, ScrapeError> {
        if self.wants_protobuf.load(Ordering::Relaxed) {
            return self.read_as(url, Format::Protobuf).await;
        }
        let reading = self.read_as(url, Format::Text).await?;
        if !lacks_bounds(&reading) {
            return Ok(reading);
        }
        self.wants_protobuf.store(true, Ordering::Relaxed);
        self.read_as(url, Format::Protobuf).await
    }

    async fn read_as(&self, url: &Uri, format: Format) -> Result<Reading, ScrapeError> {
        let page = self.fetcher.page(url, format).await?;
        let reading = match &page.content {
            Content::Text(text) => self.query.read(text, page.at)?,
            Content::Protobuf(bytes) => self.query.read_protobuf(bytes, page.at)?,
        };
        Ok(Reading { wall_ahead: self.scraper.clock.wall_ahead(), ..reading })
    }
}

/// Whether a reading counts requests without saying how long they took. A native histogram shows no bounds in text, and all
/// of them in protobuf.
fn lacks_bounds(reading: &Reading) -> bool {
    reading.histograms.iter().any(|histogram| histogram.le().is_empty())
}
