//! The listener: TLS, HTTP/2 and HTTP/1.1, and an end.
//!
//! The aggregator keeps one HTTP/2 connection and sends everything over it; probes and `curl` come with HTTP/1.1. Time is
//! the world's here, not the [`Clock`](crate::clock::Clock)'s: peers live in it. Answers are read from memory, and the guard
//! has a deadline of its own, so they need none here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Api;
use super::auth::Peer;
use crate::stop::Stop;

/// Connections at one time. An API server needs one; the rest are probes and people.
const MAX_CONNECTIONS: usize = 256;
/// Requests at one time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Bytes of a request's line and headers; over HTTP/1.1, where it is looked at between two reads, up to twice as many. A
/// selector is a few hundred.
const MAX_HEAD: u32 = 32 * 1024;
/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// For the head of a request, the wait for it included: longer than the 15 s between two rounds of the
/// HorizontalPodAutoscalers, which may come over one HTTP/1.1 connection.
const HEAD: Duration = Duration::from_secs(30);
/// Between two pings on a quiet HTTP/2 connection, and for the answer to one.
const PING: Duration = Duration::from_secs(30);
/// For what is under way when the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// After a failure to accept, such as too many open files, which another try at once would only repeat.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a server cannot be had at an address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Others than this machine could reach it, and nobody is asked who they are.
    #[error(
        "{0} can be reached from other machines, but requests are not authenticated here: bind a loopback address, such \
         as 127.0.0.1:{port} or [::1]:{port}", port = .0.port()
    )]
    NotLoopback(SocketAddr),
    /// The system refuses.
    #[error("{addr} cannot be bound")]
    Refused {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A bound server. Connections wait until it runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Arc<ArcSwap<ServerConfig>>,
    api: Arc<Api>,
}

impl Server {
    /// Binds `addr`, which is a loopback address if the API has no guard; port 0 takes a free one. Each new connection is served with what is in `tls`
    /// at that time, so a certificate can be replaced without a restart.
    ///
    /// # Errors
    /// For an address that is not loopback without a guard, and if the system refuses.
    pub async fn bind(
        addr: SocketAddr,
        tls: Arc<ArcSwap<ServerConfig>>,
        api: Api,
    ) -> Result<Self, BindError> {
        if api.is_open() && !addr.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback(addr));
        }
        let refused = |source| BindError::Refused { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, addr, tls, api: Arc::new(api) })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until it is told to stop. Then nothing more is accepted, what is under way is
    /// finished, and after 5 s the rest is cut off.
    pub async fn run(self, mut stop: Stop) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                // In this order: those that have ended must not count against those that come.
                biased;
                () = stop.told() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    // Closed at once: whoever waited in the queue instead would learn nothing.
                    Ok((_, peer)) if connections.len() >= MAX_CONNECTIONS => {
                        tracing::warn!(%peer, limit = MAX_CONNECTIONS, "refused: too many connections");
                    }
                    Ok((stream, peer)) => {
                        let (tls, api, stop) = (self.tls.load_full(), Arc::clone(&self.api), stop.clone());
                        connections.spawn(async move {
                            if let Err(error) = serve(stream, tls, api, stop).await {
                                tracing::debug!(%peer, %error, "connection ended");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no connection could be accepted");
                        sleep(PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        let finished = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, finished).await.is_err() {
            tracing::warn!(cut_off = connections.len(), "connections were still open at the end");
        }
    }
}

/// One connection, from the handshake to the last answer.
async fn serve(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    api: Arc<Api>,
    mut stop: Stop,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await??;
    let session = stream.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    let chain = session.peer_certificates().unwrap_or_default();
    let peer = Arc::new(Peer::new(chain.iter().cloned().map(CertificateDer::into_owned).collect()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, peer) = (Arc::clone(&api), Arc::clone(&peer));
        // The body, if there is one, is dropped unread.
        let request = request.map(drop);
        async move { Ok::<_, Infallible>(api.serve(&peer, request).await) }
    });
    let builder = builder();
    let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.told() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD);
    builder
}
