//! The ops port.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::telemetry::Telemetry;
use crate::console::{Body, Console};
use crate::stop::Stop;

/// Connections at a time; a probe or a scrape needs one.
const MAX_CONNECTIONS: usize = 64;

/// Longest time that a client may take over a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the adapter can answer questions about loads: once all that must come first is there. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Conditions>);

#[derive(Debug, Default)]
struct Conditions {
    data: AtomicBool,
    /// Whether it is not known whom to believe, but must be.
    trust_missing: AtomicBool,
}

impl Readiness {
    /// The first data are there.
    pub fn set(&self) {
        self.0.data.store(true, Ordering::Release);
    }

    /// From now on it is not ready before it is known whom to believe about who asks.
    pub fn wait_for_trust(&self) {
        self.0.trust_missing.store(true, Ordering::Release);
    }

    /// That is known.
    pub fn trust_is_known(&self) {
        self.0.trust_missing.store(false, Ordering::Release);
    }

    /// What it waits for, as the beginning of a sentence; none if it is ready.
    pub fn missing(&self) -> Option<&'static str> {
        if self.0.trust_missing.load(Ordering::Acquire) {
            Some("the cluster's word on whom to believe is")
        } else if !self.0.data.load(Ordering::Acquire) {
            Some("the first data are")
        } else {
            None
        }
    }

    /// Whether it is ready.
    pub fn is_set(&self) -> bool {
        self.missing().is_none()
    }
}

/// What one ops port serves, beside `/healthz`, `/livez` and `/readyz`.
#[derive(Debug, Clone)]
pub struct Served {
    /// `/metrics`, if it is.
    pub telemetry: Option<Arc<Telemetry>>,
    /// The console, if it is.
    pub console: Option<Console>,
    /// What `/readyz` tells.
    pub readiness: Readiness,
}

/// A server that is bound and not yet running.
#[derive(Debug)]
pub struct OpsServer {
    listener: TcpListener,
    served: Served,
}

impl OpsServer {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, served: Served) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, served })
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is told to stop. Requests that run then are cut: nobody's replicas depend on them.
    pub async fn run(self, mut stop: Stop) {
        let Self { listener, served } = self;
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots) => accepted,
                () = stop.told() => return,
            };
            while connections.try_join_next().is_some() {}
            let Some((stream, slot)) = accepted else { continue };
            let served = served.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let response = respond(&request, &served);
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = served.await {
                    tracing::debug!(%error, "a connection to the ops port ended early");
                }
                drop(slot);
            });
        }
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            // Out of file descriptors, most likely: trying again at once would only burn the processor.
            tracing::warn!(%error, "the ops port cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

fn respond<B>(request: &Request<B>, served: &Served) -> Response<Body> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    let console = served.console.as_ref().filter(|_| is_read);
    if let Some(answer) = console.and_then(|console| console.answer(request.uri(), request.headers())) {
        return answer;
    }
    let (status, kind, body) = match (path, &served.telemetry) {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is served here\n".to_owned()),
        ("/metrics", Some(telemetry)) => (StatusCode::OK, OPEN_METRICS, telemetry.page()),
        ("/healthz" | "/livez", _) => (StatusCode::OK, TEXT, "ok".to_owned()),
        ("/readyz", _) => match served.readiness.missing() {
            None => (StatusCode::OK, TEXT, "ok".to_owned()),
            Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{missing} not there yet\n")),
        },
        (_, Some(_)) => (StatusCode::NOT_FOUND, TEXT, "try /metrics, /healthz or /readyz\n".to_owned()),
        (_, None) => (StatusCode::NOT_FOUND, TEXT, "try /healthz or /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
