//! The part that works in a cluster: objects are watched, each becomes an engine, and what is decided is acted upon.
//!
//! ```text
//! objects      LoadAwareAutoscalers, by watch ─▶ one Workload each
//! workload     the engine of one object; tells it of pods and the scale, acts, tells the status
//! source       where its load is read, and credentials what that takes
//! pods         which pods there are, by watch          target      the scale subresource
//! actuation    what becomes of a decision: an HPA (hpa what it is like, hpas how it gets so), or follow (the scale, written as
//!              an HPA would)
//! claims       of several objects for one workload, the oldest acts
//! conditions   what holds of an object                 status      written seldom; events on changes alone
//! preflight    what must be right before all this works, asked for by people
//! learned      what the next leader goes on with
//! api_service  who answers external metrics            leadership  one adapter measures, decides and writes
//! ```
//!
//! It only ever writes what is its own: the status of its objects, one HPA or scale for each that acts, what it has learned, its
//! Lease and its APIService. What somebody else has is named in a condition and left alone. There are no finalizers: whatever becomes of the
//! adapter, nothing waits for it.

mod actuation;
mod api_service;
mod claims;
mod conditions;
mod credentials;
mod follow;
mod hpa;
mod hpas;
mod leadership;
mod learned;
mod objects;
mod pods;
mod preflight;
mod source;
mod status;
mod target;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use plimsoll::units::Time;
use tokio::sync::watch;

pub use api_service::{ExternalApi, ServedAt};
pub use leadership::{Candidate, Leadership};
pub use objects::{Controller, EndedEarly, Scope};
pub use preflight::{Check, Preflight, Verdict};

use crate::board::Board;
use crate::clock::Clock;
use crate::collect::Scraper;
use crate::config::Servers;
use crate::ops::Readiness;

/// The name under which the adapter writes.
pub const MANAGER: &str = "plimsoll-adapter";

/// On an object: the replicas stay as they are. Any value but "false" counts.
pub const PAUSED: &str = "plimsoll.dev/paused";

/// Whether a person has paused the object.
fn is_paused(object: &crate::resource::LoadAwareAutoscaler) -> bool {
    object.annotations().get(PAUSED).is_some_and(|value| value != "false")
}

/// What all objects share.
pub(crate) struct Context {
    client: Client,
    /// The adapter's own.
    namespace: String,
    clock: Clock,
    kinds: target::Kinds,
    claims: claims::Claims,
    hpas: Store<HorizontalPodAutoscaler>,
    external: watch::Receiver<ExternalApi>,
    serves_cpu: watch::Receiver<Option<bool>>,
    recorder: Recorder,
    leadership: Leadership,
    scraper: Scraper,
    board: Arc<Board>,
    readiness: Readiness,
    servers: Servers,
    state_dir: Option<PathBuf>,
    /// Where what is learned is kept if there is no directory for it.
    learned: Option<learned::Learned>,
}

impl Context {
    /// The HPAs of a namespace, as last told.
    fn hpas(&self, namespace: &str) -> Vec<Arc<HorizontalPodAutoscaler>> {
        self.hpas.state_filter(|hpa| hpa.namespace().as_deref() == Some(namespace))
    }
}

/// An instant as Kubernetes writes it.
fn timestamp(time: Time) -> Timestamp {
    let nanos = (time - Time::EPOCH).as_nanos();
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default()
}
