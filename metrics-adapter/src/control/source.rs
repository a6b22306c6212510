//! Where an object's load is read, and how its engine is told of pods.

use kube::Client;
use plimsoll::spec::{Cpu, Load, Scrape, Source as SpecSource, Spec};
use plimsoll::units::Span;
use tokio::sync::watch;

use crate::collect::{PodCpu, PodNames, QueriedPods, Targets};
use crate::config::Servers;
use crate::engine::{CpuSource, Server, Source};

/// Tells an engine of pods.
pub(super) enum Feed {
    Pages(watch::Sender<Targets>, Box<Scrape>),
    Server(watch::Sender<QueriedPods>),
}

/// Where an object wants its load to be read.
pub(super) enum WantedSource {
    /// On the pods' pages.
    Pages { scrape: Box<Scrape>, cpu: Option<CpuSource> },
    /// At a metrics server.
    Server(Server),
}

/// Where the load is to be read, if the operator knows the servers that are named.
pub(super) fn source(spec: &Spec, servers: &Servers, client: &Client) -> Result<WantedSource, String> {
    let server = |field: &str, reference: &str, window: Span| match servers.get(reference) {
        Some(endpoint) => Ok(Server { endpoint: endpoint.clone(), window }),
        None => Err(format!("{field}: there is no server {reference:?}: {}", servers.known())),
    };
    let Load { source, cpu, .. } = &spec.load;
    match source {
        SpecSource::Prometheus(wanted) => {
            let field = "spec.load.source.prometheus.ref";
            server(field, &wanted.reference, wanted.window).map(WantedSource::Server)
        }
        SpecSource::Scrape(scrape) => {
            let cpu = cpu.as_ref().map(|cpu| match cpu {
                Cpu::Prometheus(wanted) => {
                    let field = "spec.load.cpu.prometheus.ref";
                    server(field, &wanted.reference, wanted.window).map(CpuSource::Server)
                }
                Cpu::ResourceMetrics(_) => Ok(CpuSource::Cluster(client.clone())),
            });
            Ok(WantedSource::Pages { scrape: Box::new(scrape.clone()), cpu: cpu.transpose()? })
        }
    }
}

impl WantedSource {
    /// A source that is told of pods by a feed.
    pub(super) fn start(self, spec: &Spec) -> (Source, Feed) {
        match self {
            Self::Pages { scrape, cpu } => {
                let (feed, targets) = watch::channel(Targets::default());
                (Source::Pods { targets, cpu }, Feed::Pages(feed, scrape))
            }
            Self::Server(server) => {
                let (feed, pods) = watch::channel(QueriedPods {
                    names: PodNames::Known([].into()),
                    warming: 0,
                    replicas: None,
                    updating: false,
                    cpu: PodCpu::default(),
                    target: Some(spec.scale_target_ref.clone()),
                });
                (Source::Server { pods, server }, Feed::Server(feed))
            }
        }
    }
}
