//! The whole adapter in one process: the only part that knows all the others.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use crate::board::Board;
use crate::clock::Clock;
use crate::collect::Scraper;
use crate::engine::{Engine, Object};
use crate::external::{Api, BindError, Certificate, CertificateError, Server};
use crate::ops::{OpsServer, Readiness, Telemetry};
use crate::stop::Stop;

/// Where the adapter listens, and with which certificate.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address of the external metrics API; a loopback one.
    pub api: SocketAddr,
    /// Address of `/metrics` and the health checks.
    pub ops: SocketAddr,
    /// A directory with `tls.crt` and `tls.key`; without one, a self-signed certificate is made.
    pub cert_dir: Option<PathBuf>,
    /// A directory for what is learned of each workload's load; made if it is not there. Without one every start begins anew.
    pub state_dir: Option<PathBuf>,
}

/// Why the adapter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no directory for what is learned.
    #[error("--state-dir {}: {source}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The API's address cannot be had.
    #[error("the external metrics API")]
    Api(#[from] BindError),
    /// Others than this machine could read every object's load, and nobody is asked who they are.
    #[error(
        "/metrics and health checks: {0} can be reached from other machines, but requests are not authenticated yet: \
         bind a loopback address, such as 127.0.0.1:{port}", port = .0.port()
    )]
    OpsNotLoopback(SocketAddr),
    /// The ops address cannot be had.
    #[error("/metrics and health checks: {address} cannot be bound")]
    Ops {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A part of the adapter that panicked. The others were told to stop: half an adapter answers for a load that nobody
/// measures any more.
#[derive(Debug, thiserror::Error)]
#[error("a part of the adapter ended early")]
pub struct EndedEarly(#[from] tokio::task::JoinError);

/// An adapter that is bound and not yet running.
#[derive(Debug)]
pub struct Adapter {
    board: Arc<Board>,
    scraper: Scraper,
    readiness: Readiness,
    certificate: Certificate,
    server: Server,
    ops: OpsServer,
    ops_addr: SocketAddr,
    engines: Vec<Engine>,
    state_dir: Option<PathBuf>,
}

impl Adapter {
    /// Reads or makes the certificate, then binds both ports.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn bind(listen: Listen, clock: Clock) -> Result<Self, StartError> {
        if !listen.ops.ip().to_canonical().is_loopback() {
            return Err(StartError::OpsNotLoopback(listen.ops));
        }
        if let Some(path) = &listen.state_dir {
            let refused = |source| StartError::StateDir { path: path.clone(), source };
            std::fs::create_dir_all(path).map_err(refused)?;
        }
        let certificate = match &listen.cert_dir {
            Some(dir) => Certificate::read(dir)?,
            None => Certificate::self_signed(&[])?,
        };
        let board = Arc::new(Board::default());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
        let readiness = Readiness::default();
        let api = Api::new(Arc::clone(&board), clock.clone(), readiness.clone(), Arc::clone(&telemetry));
        let tls = Arc::new(ArcSwap::new(certificate.config()));
        let server = Server::bind(listen.api, tls, api).await?;
        let refused = |source| StartError::Ops { address: listen.ops, source };
        let ops =
            OpsServer::bind(listen.ops, Arc::clone(&telemetry), readiness.clone()).await.map_err(refused)?;
        let ops_addr = ops.local_addr().map_err(refused)?;
        let scraper = Scraper::new(clock, telemetry);
        Ok(Self {
            board,
            scraper,
            readiness,
            certificate,
            server,
            ops,
            ops_addr,
            engines: Vec::new(),
            state_dir: listen.state_dir,
        })
    }

    /// Where the external metrics API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Where `/metrics` and the health checks are served.
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// The certificate that the API shows.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Where decisions are published.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Adds an object that is to be measured and decided about.
    pub fn add(&mut self, object: Object) {
        let (scraper, readiness) = (self.scraper.clone(), self.readiness.clone());
        self.engines.push(Engine::new(object, scraper, &self.board, readiness, self.state_dir.as_deref()));
    }

    /// Works until it is told to stop; requests under way are finished first.
    ///
    /// # Errors
    /// When a part of it panicked. The others were stopped then.
    pub async fn run(self, stop: Stop) -> Result<(), EndedEarly> {
        let mut tasks = JoinSet::new();
        for engine in self.engines {
            tasks.spawn(engine.run(stop.clone()));
        }
        tasks.spawn(self.ops.run(stop.clone()));
        tasks.spawn(self.server.run(stop));
        while let Some(ended) = tasks.join_next().await {
            // Dropping the set ends the others.
            ended?;
        }
        Ok(())
    }
}
