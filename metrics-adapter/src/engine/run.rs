//! The loop of one object: read its load, decide, publish, wait for the next round.

use std::path::Path;
use std::sync::Arc;

use plimsoll::forecast::Series;
use plimsoll::load::Sample;
use plimsoll::scale::Autoscaler;
use plimsoll::spec::{Checked, ScaleTargetRef};
use plimsoll::units::{Span, Time};
use plimsoll_sim::fluid::{Backtest, backtest};
use tokio::sync::{Mutex, OwnedSemaphorePermit, watch};
use tokio::task::{JoinError, JoinHandle};

use crate::board::{Board, ObjectKey};
use crate::collect::prometheus::Endpoint;
use crate::collect::{
    ClusterCpu, Collector, Past, PodNames, PodsCpu, QueriedError, QueriedPods, Query, Scraper,
    ServerCollector, ServerCpu, Targets,
};
use crate::engine::mind::Mind;
use crate::engine::state::StateFile;
use crate::ops::Readiness;
use crate::stop::Stop;

/// One object that is to be measured and decided about.
#[derive(Debug)]
pub struct Object {
    /// Which one.
    pub key: ObjectKey,
    /// Which workload it is about: what was learned of another says nothing of this one.
    pub workload: ScaleTargetRef,
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
        cpu: Option<CpuSource>,
    },
    /// A metrics server.
    Server {
        /// The pods of the workload.
        pods: watch::Receiver<QueriedPods>,
        /// Who tells of them.
        server: Server,
    },
}

/// Who tells pods' CPU.
#[derive(Clone)]
pub enum CpuSource {
    /// A metrics server.
    Server(Server),
    /// The cluster's resource metrics, by this client.
    Cluster(kube::Client),
}

impl std::fmt::Debug for CpuSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(server) => f.debug_tuple("Server").field(server).finish(),
            Self::Cluster(_) => f.write_str("Cluster"),
        }
    }
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
                let namespace = key.namespace.clone();
                let cpu = cpu.map(|cpu| match cpu {
                    CpuSource::Server(Server { endpoint, window }) => PodsCpu::Server(Box::new(
                        ServerCpu::new(namespace, (interval, window), &endpoint, scraper),
                    )),
                    CpuSource::Cluster(client) => {
                        PodsCpu::Cluster(ClusterCpu::new(namespace, interval, client, scraper))
                    }
                });
                Self::Pages(Box::new(match cpu {
                    Some(cpu) => pages.with_cpu(cpu),
                    None => pages,
                }))
            }
            Source::Server { pods, server: Server { endpoint, window } } => {
                let (key, times, scraper) = (key.clone(), (interval, window), scraper.clone());
                Self::Server(Box::new(ServerCollector::new(key, query, times, &endpoint, pods, scraper)))
            }
        }
    }

    /// Why nothing could be read last time, for people.
    fn trouble(&self) -> Option<String> {
        match self {
            Self::Pages(collector) => collector.trouble(),
            Self::Server(collector) => collector.trouble(),
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
    interval: Span,
    mind: Mind,
    collector: Collecting,
    scraper: Scraper,
    readiness: Readiness,
    state: Option<StateFile>,
    kept_at: Time,
    past: Recollection,
    proof: Proof,
}

/// What other ways of scaling would have made of the past.
#[derive(Debug)]
enum Proof {
    /// It is to be looked at from this instant on.
    Due(Time),
    /// It is being looked at, beside everything else.
    Running(JoinHandle<Option<Backtest>>),
}

/// Time between two looks at what other ways would have made of the past.
const PROVE_EVERY: Span = Span::from_secs(86_400);

/// The same while too little of it is known.
const PROVE_AGAIN: Span = Span::from_secs(600);

/// What a metrics server knows of the time before.
#[derive(Debug)]
enum Recollection {
    /// Nobody knows it, or it is known.
    Over,
    /// It is asked for when there is a load to compare it with, and not before this instant.
    Due(Past, Time),
    /// It is being read.
    Reading(Past, JoinHandle<Held>),
}

/// Samples of the past, why there are no earlier ones, and the turn that they take up.
type Held = (Vec<Sample>, Option<QueriedError>, Option<OwnedSemaphorePermit>);

/// Time between two tries to read the past.
const RETRY: Span = Span::from_secs(600);

/// How far back the past is read: as far as a forecast looks.
const MEMORY: Span = Span::from_secs(28 * 86_400);

/// Time between two writes of what was learned.
const KEEP_EVERY: Span = Span::from_secs(600);

impl Engine {
    /// An engine that publishes to the object's cell on `board`, and says so to `readiness` when it first does.
    /// What it learns is kept in `state_dir`, if there is one, and taken up again.
    pub fn new(
        object: Object,
        scraper: Scraper,
        board: &Board,
        readiness: Readiness,
        state_dir: Option<&Path>,
    ) -> Self {
        let Object { key, workload, spec, query, source } = object;
        let past = Recollection::of(&key, &query, &source, &scraper);
        let state = state_dir.map(|dir| StateFile::of(dir, &key, &workload, &query));
        let interval = spec.interval;
        let collector = Collecting::new(&key, query, interval, source, &scraper);
        let mind = Mind {
            autoscaler: Arc::new(Mutex::new(Autoscaler::new(spec))),
            cell: board.cell(&key),
            deciding: Arc::default(),
        };
        let kept_at = scraper.clock.now();
        Self {
            key,
            interval,
            mind,
            collector,
            scraper,
            readiness,
            state,
            kept_at,
            past,
            proof: Proof::Due(Time::EPOCH),
        }
    }

    /// What it thinks with, to be told of more.
    pub fn mind(&self) -> Mind {
        self.mind.clone()
    }

    /// Works until it is told to stop.
    pub async fn run(mut self, mut stop: Stop) {
        let mut ticks = self.scraper.clock.every(self.interval);
        let work = async {
            self.resume().await;
            loop {
                ticks.next().await;
                self.round().await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.told() => {}
        }
        self.keep().await;
    }

    /// Does something with the autoscaler where it keeps nobody waiting: a few microseconds mostly, half a second where 28 days of
    /// history are lived through.
    async fn think<T: Send + 'static>(
        &self,
        thought: impl FnOnce(&mut Autoscaler) -> T + Send + 'static,
    ) -> T {
        let autoscaler = Arc::clone(&self.mind.autoscaler);
        // Nobody closes it.
        let turn = Arc::clone(&self.scraper.minds).acquire_owned().await.ok();
        let thinking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            thought(&mut autoscaler.blocking_lock())
        });
        match thinking.await.map_err(JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is ending, and this with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    /// Goes on with what was kept.
    async fn resume(&self) {
        let Some(file) = self.state.clone() else { return };
        let object = self.key.clone();
        self.think(move |autoscaler| match file.read() {
            Ok(Some(checkpoint)) => {
                let minutes = checkpoint.history.as_ref().map_or(0, Series::known);
                if autoscaler.resume(checkpoint) {
                    tracing::info!(%object, minutes, "what was learned before is taken up");
                } else {
                    tracing::warn!(%object, "the spec has changed: what was learned before is left aside, or part of it");
                }
            }
            Err(error) => tracing::warn!(%object, %error, "everything is learned anew"),
            Ok(None) => {}
        })
        .await;
    }

    /// Reads the past beside the present, once, and takes it up when it is there.
    async fn recollect(&mut self) {
        let now = self.scraper.clock.now();
        self.past = match std::mem::replace(&mut self.past, Recollection::Over) {
            Recollection::Due(past, at) if at <= now => {
                let step = self.think(|autoscaler| {
                    autoscaler.has_seen_load().then(|| autoscaler.history().map(Series::step)).flatten()
                });
                match step.await {
                    Some(step) => Recollection::Reading(past.clone(), self.read(past, now, step)),
                    None => Recollection::Due(past, at),
                }
            }
            Recollection::Reading(past, reading) if reading.is_finished() => match reading.await {
                Ok((samples, failed, _turn)) => {
                    let known = self.think(move |autoscaler| autoscaler.remember(&samples)).await;
                    let object = &self.key;
                    tracing::info!(%object, minutes = known, "history is read from the metrics server");
                    if known.is_some() {
                        self.proof = Proof::Due(now);
                    }
                    match failed {
                        None if known.is_some() => Recollection::Over,
                        None => Recollection::Due(past, now),
                        Some(error) => {
                            let reason = error.reason();
                            tracing::warn!(%object, reason, %error, "the metrics server does not tell all of the past");
                            Recollection::Due(past, now + RETRY)
                        }
                    }
                }
                // It panicked, which is said already.
                Err(_) => Recollection::Over,
            },
            other => other,
        };
    }

    /// Looks once a day at what other ways of scaling would have made of the past.
    async fn prove(&mut self) {
        let now = self.scraper.clock.now();
        self.proof = match std::mem::replace(&mut self.proof, Proof::Due(now + PROVE_AGAIN)) {
            Proof::Due(at) if at <= now => {
                // There is no hurry: what is looked at is the past.
                let Ok(turn) = Arc::clone(&self.scraper.proofs).try_acquire_owned() else {
                    self.proof = Proof::Due(now);
                    return;
                };
                let Some(past) = self.think(|autoscaler| autoscaler.past_load()).await else {
                    return;
                };
                Proof::Running(tokio::spawn(async move {
                    let looking = tokio::task::spawn_blocking(move || {
                        let _turn = turn;
                        backtest(&past)
                    });
                    looking.await.ok().flatten()
                }))
            }
            Proof::Running(looking) if looking.is_finished() => match looking.await {
                Ok(Some(backtest)) => {
                    self.mind.cell.prove(backtest);
                    Proof::Due(now + PROVE_EVERY)
                }
                // Too little is known yet; or it panicked, which is said already.
                Ok(None) | Err(_) => Proof::Due(now + PROVE_AGAIN),
            },
            other => other,
        };
    }

    fn read(&self, past: Past, now: Time, step: Span) -> JoinHandle<Held> {
        // Each answer is of a whole step.
        let end = now - Span::from_nanos((now - Time::EPOCH).as_nanos() % step.as_nanos());
        let turns = Arc::clone(&self.scraper.pasts);
        tokio::spawn(async move {
            // Nobody closes it.
            let turn = turns.acquire_owned().await.ok();
            let (samples, failed) = past.samples(end - MEMORY, end, step).await;
            (samples, failed, turn)
        })
    }

    /// Keeps what was learned.
    async fn keep(&mut self) {
        self.kept_at = self.scraper.clock.now();
        let Some(file) = self.state.clone() else { return };
        let turn = Arc::clone(&self.scraper.pens).acquire_owned().await.ok();
        let checkpoint = self.think(|autoscaler| autoscaler.checkpoint()).await;
        let writing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            file.write(&checkpoint)
        });
        if let Ok(Err(error)) = writing.await {
            tracing::warn!(object = %self.key, %error, "what was learned is not kept");
        }
    }

    async fn round(&mut self) {
        let began = self.scraper.clock.now();
        if let Some(sample) = self.collector.round().await {
            let observed = self.think(move |autoscaler| autoscaler.observe(&sample)).await;
            if let Err(error) = observed {
                tracing::warn!(object = %self.key, %error, "the sample is left aside");
            }
        }
        self.mind.cell.cannot_read(self.collector.trouble());
        self.recollect().await;
        self.prove().await;
        let now = self.scraper.clock.now();
        let turn = self.mind.deciding.lock().await;
        let decision = self.think(move |autoscaler| autoscaler.decide(now)).await;
        tracing::debug!(object = %self.key, ?decision.outcome, "decided");
        self.mind.cell.publish(decision);
        drop(turn);
        self.readiness.set();
        self.scraper.telemetry.round_took(now - began);
        if now - self.kept_at >= KEEP_EVERY {
            self.keep().await;
        }
    }
}

impl Recollection {
    /// What the workload's source may know of the time before.
    fn of(key: &ObjectKey, query: &Query, source: &Source, scraper: &Scraper) -> Self {
        let Source::Server { pods, server } = source else { return Self::Over };
        let pods = pods.borrow();
        let names = match (&pods.names, &pods.target) {
            (_, None) => return Self::Over,
            (PodNames::Known(names), Some(target)) => PodNames::Either(names.clone(), target.clone()),
            (names, Some(_)) => names.clone(),
        };
        let Server { endpoint, window } = server;
        let clock = scraper.clock.clone();
        let past = Past::new(key.namespace.clone(), query.clone(), *window, endpoint, names, clock);
        Self::Due(past, Time::EPOCH)
    }
}
