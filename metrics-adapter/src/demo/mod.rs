//! The whole loop on a laptop, without a cluster.
//!
//! Simulated pods serve real metrics pages over HTTP, the real adapter scrapes them and answers over HTTPS, and a
//! HorizontalPodAutoscaler (the core's exact model of it) asks the adapter as a real one would and changes the
//! simulated replicas. Only the requests and the pods' work are simulated. Time is compressed for all of them alike.
//!
//! Everything listens on loopback; nothing is written and nothing is sent elsewhere.

mod page;
mod scaler;
mod table;
mod world;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use plimsoll::spec::Spec;
use plimsoll::units::{Span, Time};
use tokio::sync::watch;

use crate::adapter::{Adapter, Listen};
use crate::board::ObjectKey;
use crate::client::Client;
use crate::clock::Clock;
use crate::collect::Query;
use crate::engine::{Object, Source};
use crate::resource::LoadAwareAutoscaler;
use crate::stop::{self, Stop};
use scaler::Scaler;
use table::Table;
use world::World;

/// The object that the demo runs, as a user would write it.
const OBJECT: &str = include_str!("demo.yaml");

/// Time between two rounds of the HPA, as kube-controller-manager has it: its period, and a little for the work.
const SYNC: Span = Span::from_millis(15_010);

/// How the demo runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Seconds that pass in the demo for each second of the world; above zero.
    pub speed: f64,
    /// Of the requests and the pods' start-up times.
    pub seed: u64,
    /// Address of the external metrics API; a loopback one.
    pub api: SocketAddr,
}

impl Default for Options {
    fn default() -> Self {
        Self { speed: 60.0, seed: 1, api: (Ipv4Addr::LOCALHOST, 0).into() }
    }
}

/// Runs the demo until it is told to stop, and writes a table of what happens to `out`.
///
/// # Errors
/// When the adapter cannot start, or `out` cannot be written to.
pub async fn run(options: Options, out: &mut (impl Write + Send), mut stop: Stop) -> anyhow::Result<()> {
    let Options { speed, seed, api } = options;
    let clock = Clock::compressed(speed);
    let object: LoadAwareAutoscaler = serde_saphyr::from_str(OBJECT).context("the demo's own document")?;
    let key = ObjectKey::new("default", object.metadata.name.unwrap_or_default());
    let spec: Spec = object.spec.0;
    let checked = spec.check().context("the demo's own document")?;

    let (targets, targets_rx) = watch::channel(crate::collect::Targets::default());
    let world = World::start(clock.clone(), seed, checked.min_replicas, targets).await?;
    let listen = Listen::locally(api, (Ipv4Addr::LOCALHOST, 0).into());
    let mut adapter = Adapter::bind(listen, clock.clone()).await?;
    let query = Query::new(&spec.load);
    let source = Source::Pods { targets: targets_rx, cpu: None };
    let workload = spec.scale_target_ref.clone();
    adapter.add(Object { key: key.clone(), workload, spec: checked, query, source });

    let client = Client::new(adapter.api_addr(), &adapter.certificate().chain()[0])?;
    let mut scaler = Scaler::new(&spec, key.clone(), client);
    let mut table = Table::new(out, speed);
    table.head(&adapter, &key)?;
    let cell = adapter.board().cell(&key);
    let (stopper, adapter_stop) = stop::channel();
    let mut adapter = tokio::spawn(adapter.run(adapter_stop));

    let mut next = clock.now() + SYNC;
    loop {
        tokio::select! {
            () = world.pass_until(next) => {}
            () = stop.told() => break,
            ended = &mut adapter => return Ok(ended??),
        }
        let now: Time = clock.now();
        let synced = tokio::select! {
            synced = scaler.sync(now, &world) => synced,
            () = stop.told() => break,
        };
        table.row(world.look(), cell.latest().as_deref(), &synced)?;
        // A laptop that slept is not made to catch up.
        while next <= now {
            next += SYNC;
        }
    }
    table.foot(&world.look())?;
    stopper.stop();
    Ok(adapter.await??)
}
