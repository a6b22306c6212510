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
use crate::console::Console;
use crate::engine::{Engine, Object};
use crate::external::auth::{Access, Cluster, Guard, Trusted, Watch};
use crate::external::{Api, BindError, Certificate, CertificateError, Rotation, Server};
use crate::ops::{OpsServer, Readiness, Served, Telemetry};
use crate::stop::Stop;

/// Where the adapter listens, to whom, and with which certificate.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address of the external metrics API; a loopback one unless access is delegated.
    pub api: SocketAddr,
    /// Who may read the external metrics API.
    pub access: Access,
    /// Address of `/metrics` and the health checks; a loopback one unless `remote_metrics` is set.
    pub ops: SocketAddr,
    /// Whether other machines may read `/metrics`: every object's load, and nobody is asked who they are.
    pub remote_metrics: bool,
    /// One more address for the health checks alone; any.
    pub health: Option<SocketAddr>,
    /// One more address for the console, a loopback one. Where `/metrics` is for this machine alone the console is beside it anyway.
    pub console: Option<SocketAddr>,
    /// A directory with `tls.crt` and `tls.key`, which may be replaced at any time; without one, a certificate is made.
    pub cert_dir: Option<PathBuf>,
    /// Names that a certificate that is made is good for, beside this machine's, such as `NAME.NAMESPACE.svc`. With any,
    /// an authority of its own signs it.
    pub service_names: Vec<String>,
    /// A directory for what is learned of each workload's load; made if it is not there. Without one every start begins anew.
    pub state_dir: Option<PathBuf>,
}

impl Listen {
    /// For this machine only, with a self-signed certificate, and nothing remembered.
    pub const fn locally(api: SocketAddr, ops: SocketAddr) -> Self {
        Self {
            api,
            access: Access::LoopbackOnly,
            ops,
            remote_metrics: false,
            health: None,
            console: None,
            cert_dir: None,
            service_names: Vec::new(),
            state_dir: None,
        }
    }
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
        "/metrics and health checks: {0} can be reached from other machines, but requests are not authenticated here: \
         bind a loopback address, such as 127.0.0.1:{port}", port = .0.port()
    )]
    OpsNotLoopback(SocketAddr),
    /// Others than this machine could read everything.
    #[error(
        "the console: {0} can be reached from other machines, but requests are not authenticated here: bind a loopback \
         address, such as 127.0.0.1:{port}, and reach it by kubectl port-forward", port = .0.port()
    )]
    ConsoleNotLoopback(SocketAddr),
    /// The ops address cannot be had.
    #[error("metrics, health checks and console: {address} cannot be bound")]
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

/// What engines of one adapter share.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Tells the time.
    pub clock: Clock,
    /// Reads pods and servers.
    pub scraper: Scraper,
    /// Where decisions are published.
    pub board: Arc<Board>,
    /// Set once there is something to answer.
    pub readiness: Readiness,
}

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
    others: Vec<OpsServer>,
    health_addr: Option<SocketAddr>,
    console_addr: Option<SocketAddr>,
    rotation: Option<Rotation>,
    watch: Option<Watch>,
    engines: Vec<Engine>,
    state_dir: Option<PathBuf>,
}

impl Adapter {
    /// Reads or makes the certificate, then binds the ports.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn bind(listen: Listen, clock: Clock) -> Result<Self, StartError> {
        if !listen.remote_metrics && !listen.ops.ip().to_canonical().is_loopback() {
            return Err(StartError::OpsNotLoopback(listen.ops));
        }
        if let Some(console) = listen.console.filter(|address| !address.ip().to_canonical().is_loopback()) {
            return Err(StartError::ConsoleNotLoopback(console));
        }
        if let Some(path) = &listen.state_dir {
            let refused = |source| StartError::StateDir { path: path.clone(), source };
            std::fs::create_dir_all(path).map_err(refused)?;
        }
        let certificate = match &listen.cert_dir {
            Some(dir) => Certificate::read(dir)?,
            None if listen.service_names.is_empty() => Certificate::self_signed(&[])?,
            None => Certificate::with_own_authority(&listen.service_names, clock.now() + clock.wall_ahead())?,
        };
        let board = Arc::new(Board::default());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
        let readiness = Readiness::default();
        let api = Api::new(Arc::clone(&board), clock.clone(), readiness.clone(), Arc::clone(&telemetry));
        let (api, watch) = match listen.access {
            Access::LoopbackOnly => (api, None),
            Access::Delegated(client) => {
                let trusted = Trusted::new(readiness.clone());
                let reviewer = Arc::new(Cluster::new(client.clone()));
                let guard = Guard::new(reviewer, trusted.clone(), clock.clone());
                (api.guarded(guard), Some(Watch::new(client, trusted)))
            }
        };
        telemetry.certificate_expires(certificate.expires());
        let tls = Arc::new(ArcSwap::new(certificate.config()));
        let rotation = listen.cert_dir.map(|dir| {
            let (tls, telemetry) = (Arc::clone(&tls), Arc::clone(&telemetry));
            Rotation::new(dir, &certificate, tls, telemetry, clock.clone())
        });
        let server = Server::bind(listen.api, tls, api).await?;
        let refused = |address| move |source| StartError::Ops { address, source };
        let bind = async |address, served| {
            let server = OpsServer::bind(address, served).await.map_err(refused(address))?;
            Ok::<_, StartError>((server.local_addr().map_err(refused(address))?, server))
        };
        let console = Console::new(Arc::clone(&board), clock.clone());
        let health_alone = Served { telemetry: None, console: None, readiness: readiness.clone() };
        let with_metrics = Served { telemetry: Some(Arc::clone(&telemetry)), ..health_alone.clone() };
        let with_all = Served { console: Some(console), ..with_metrics.clone() };
        let (ops_addr, ops) =
            bind(listen.ops, if listen.remote_metrics { with_metrics } else { with_all.clone() }).await?;
        let mut console_addr = (!listen.remote_metrics).then_some(ops_addr);
        let (mut others, mut health_addr) = (Vec::new(), None);
        if let Some(address) = listen.health {
            let (bound, server) = bind(address, health_alone).await?;
            (health_addr, others) = (Some(bound), vec![server]);
        }
        if let Some(address) = listen.console {
            let (bound, server) = bind(address, with_all).await?;
            console_addr = Some(bound);
            others.push(server);
        }
        let scraper = Scraper::new(clock, telemetry);
        Ok(Self {
            board,
            scraper,
            readiness,
            certificate,
            server,
            ops,
            ops_addr,
            others,
            health_addr,
            console_addr,
            rotation,
            watch,
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

    /// Where the health checks alone are served, if they are.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_addr
    }

    /// Where the console is served, if it is.
    pub fn console_addr(&self) -> Option<SocketAddr> {
        self.console_addr
    }

    /// The certificate that the API shows at the start.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Where decisions are published.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// What engines share that are started beside it.
    pub fn parts(&self) -> Parts {
        Parts {
            clock: self.scraper.clock.clone(),
            scraper: self.scraper.clone(),
            board: Arc::clone(&self.board),
            readiness: self.readiness.clone(),
        }
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
        for other in self.others {
            tasks.spawn(other.run(stop.clone()));
        }
        if let Some(rotation) = self.rotation {
            tasks.spawn(rotation.run(stop.clone()));
        }
        if let Some(watch) = self.watch {
            tasks.spawn(watch.run(stop.clone()));
        }
        tasks.spawn(self.server.run(stop));
        while let Some(ended) = tasks.join_next().await {
            // Dropping the set ends the others.
            ended?;
        }
        Ok(())
    }
}
