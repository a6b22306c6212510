//! The simulated part of the demo: requests, and pods that serve them and show it over HTTP.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use plimsoll::units::{Span, Time};
use plimsoll_sim::cluster::{Cluster, ClusterConfig, Phase, Totals};
use plimsoll_sim::trace::{Arrivals, Trace, TraceOptions};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::page;
use crate::clock::Clock;
use crate::collect::{Access, PodCpu, Targets};

/// Time between two looks at which pods are ready: what a watch would tell at once.
const LOOK: Span = Span::from_secs(1);

/// Simulated pods behind real HTTP. Dropping it closes their port.
#[derive(Debug)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    clock: Clock,
    pages: SocketAddr,
    targets: watch::Sender<Targets>,
    _server: JoinSet<()>,
}

/// The cluster, and the requests that go to it.
struct State {
    cluster: Cluster,
    started: Time,
    trace: Trace,
    arrivals: Arrivals,
    /// When the present lap of the trace began: it is played again and again.
    lap: Span,
    sojourns: Vec<Span>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// What is to be seen of the world at one instant.
#[derive(Debug)]
pub(super) struct View {
    /// Time since the demo began.
    pub(super) elapsed: Span,
    /// Pods asked for.
    pub(super) replicas: u32,
    /// Pods that take requests.
    pub(super) ready: u32,
    /// Pods on their way.
    pub(super) warming: u32,
    /// All that was done since the beginning.
    pub(super) totals: Totals,
    /// 95th percentile of the time that requests took which ended since the last look.
    pub(super) p95: Option<Span>,
}

impl World {
    /// Starts with so many ready pods; who is ready is told to `targets`.
    pub(super) async fn start(
        clock: Clock,
        seed: u64,
        replicas: u32,
        targets: watch::Sender<Targets>,
    ) -> anyhow::Result<Self> {
        let trace = Trace::shop(TraceOptions { seed, ..TraceOptions::default() });
        let arrivals = trace.arrivals()?;
        let started = clock.now();
        let cluster = Cluster::new(ClusterConfig { seed, ..ClusterConfig::default() }, started, replicas);
        let state = State { cluster, started, trace, arrivals, lap: Span::ZERO, sojourns: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await.context("the pods' port cannot be bound")?;
        let pages = listener.local_addr()?;
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&state), clock.clone()));
        let world = Self { state, clock, pages, targets, _server: server };
        world.tell_targets();
        Ok(world)
    }

    /// Lets time pass until the clock shows `until`.
    pub(super) async fn pass_until(&self, until: Time) {
        loop {
            let next = until.min(self.clock.now() + LOOK);
            self.clock.sleep_until(next).await;
            self.tell_targets();
            if next == until {
                return;
            }
        }
    }

    /// As the scale subresource: the pods asked for, and those that exist.
    pub(super) fn scale(&self) -> (u32, u32) {
        let mut state = lock(&self.state);
        state.advance(self.clock.now());
        let there = state.cluster.pods().filter(|pod| pod.phase != Phase::Draining).count();
        (state.cluster.replicas(), u32::try_from(there).unwrap_or(u32::MAX))
    }

    /// Asks for so many pods.
    pub(super) fn set_replicas(&self, replicas: u32) {
        let mut state = lock(&self.state);
        state.advance(self.clock.now());
        state.cluster.set_replicas(replicas);
        drop(state);
        self.tell_targets();
    }

    /// Looks at everything, and forgets the durations that it has seen.
    pub(super) fn look(&self) -> View {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        state.advance(now);
        let mut sojourns = std::mem::take(&mut state.sojourns);
        sojourns.sort_unstable();
        let (ready, warming) = state.count();
        View {
            elapsed: now - state.started,
            replicas: state.cluster.replicas(),
            ready,
            warming,
            totals: state.cluster.totals(),
            p95: sojourns.get(sojourns.len() * 95 / 100).copied(),
        }
    }

    fn tell_targets(&self) {
        let mut state = lock(&self.state);
        state.advance(self.clock.now());
        let url = |name: &str| format!("http://{}/{name}/metrics", self.pages).parse::<Uri>();
        let ready = state.cluster.pods().filter(|pod| pod.phase == Phase::Ready);
        let ready = ready.map(|pod| (pod.name.to_owned(), url(pod.name).ok())).collect();
        let config = state.cluster.config();
        let cpu = PodCpu { request: Some(config.cores), limit: Some(config.usable()) };
        let (warming, replicas) = (state.count().1, state.cluster.replicas());
        let targets = Targets {
            ready,
            warming,
            replicas: Some(replicas),
            updating: false,
            cpu,
            access: Access::Open,
            selector: None,
        };
        self.targets.send_replace(targets);
    }
}

/// A panic elsewhere leaves nothing half done here that would matter to a demo.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Lets time pass, with the requests that come meanwhile.
    fn advance(&mut self, now: Time) {
        let until = now - self.started;
        loop {
            let mut coming = Vec::new();
            if let Err(error) = self.arrivals.take_until(until - self.lap, &mut coming) {
                tracing::error!(%error, "the demo's requests end here");
            }
            let lap = self.lap;
            self.cluster.inject(
                coming
                    .into_iter()
                    .map(|request| plimsoll_sim::cluster::Request { at: request.at + lap, ..request }),
            );
            if until - self.lap < TRACE_LENGTH {
                break;
            }
            self.lap = self.lap + TRACE_LENGTH;
            match self.trace.arrivals() {
                Ok(arrivals) => self.arrivals = arrivals,
                Err(error) => tracing::error!(%error, "the demo's requests cannot be repeated"),
            }
        }
        let Self { cluster, sojourns, .. } = self;
        cluster.advance_with(now, |completion| sojourns.push(completion.sojourn));
    }

    /// Pods that take requests, and pods on their way.
    fn count(&self) -> (u32, u32) {
        let (mut ready, mut warming) = (0, 0);
        for pod in self.cluster.pods() {
            match pod.phase {
                Phase::Ready => ready += 1,
                Phase::Warming { .. } => warming += 1,
                Phase::Draining => {}
            }
        }
        (ready, warming)
    }
}

/// Length of the trace that is played.
const TRACE_LENGTH: Span = Span::from_secs(7200);

/// Serves `/POD/metrics` for every pod that there is.
async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, clock: Clock) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (state, clock) = (Arc::clone(&state), clock.clone());
        connections.spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let response = respond(request.uri().path(), &state, &clock);
                async move { Ok::<_, Infallible>(response) }
            });
            // A scrape that ended early is the adapter's to report.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn respond(path: &str, state: &Mutex<State>, clock: &Clock) -> Response<Full<Bytes>> {
    let pod = path.strip_prefix('/').and_then(|path| path.strip_suffix("/metrics"));
    let mut state = lock(state);
    state.advance(clock.now());
    let page = pod.and_then(|pod| state.cluster.reading(pod)).map(|reading| page::render(&reading));
    let mut response = Response::new(Full::new(Bytes::from(page.clone().unwrap_or_default())));
    if page.is_none() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}
