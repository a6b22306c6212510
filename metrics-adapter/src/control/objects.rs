//! The objects of a cluster, by watch: each runs by itself, and one that is wrong does not disturb the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, DynamicObject};
use kube::core::ApiResource;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::actuation::Actuator;
use super::api_service::{self, ExternalApi, ServedAt};
use super::claims::Claims;
use super::hpa::{MANAGED_BY, MANAGED_BY_PLIMSOLL, is_left};
use super::leadership::Leadership;
use super::learned::Learned;
use super::status::Subject;
use super::target::Kinds;
use super::workload::{Told, Workload};
use super::{Context, MANAGER};
use crate::adapter::Parts;
use crate::board::ObjectKey;
use crate::config::Servers;
use crate::external::AUTOSCALER_LABEL;
use crate::resource::{LoadAwareAutoscaler, Status};
use crate::stop::{self, Stop, Stopper};

/// Time between two looks for HPAs whose object is gone.
const SWEEP: Duration = Duration::from_secs(300);

/// Longest time for all objects to end in order.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a controller looks after.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Objects of this namespace alone; none for all.
    pub namespace: Option<String>,
    /// The metrics servers that objects may name.
    pub servers: Servers,
    /// Where what is learned is kept.
    pub state_dir: Option<PathBuf>,
    /// How the API server reaches the adapter.
    pub served_at: ServedAt,
    /// Whether to register there, if nobody else is.
    pub registers: bool,
}

/// Watches the objects of a cluster and runs them.
pub struct Controller {
    context: Arc<Context>,
    scope: Scope,
    external: watch::Sender<ExternalApi>,
    serves_cpu: watch::Sender<Option<bool>>,
    hpas: reflector::store::Writer<HorizontalPodAutoscaler>,
    running: BTreeMap<ObjectKey, Running>,
    tasks: JoinSet<Result<(), JoinError>>,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("scope", &self.scope).finish_non_exhaustive()
    }
}

struct Running {
    told: watch::Sender<Told>,
    stopper: Stopper,
}

impl Controller {
    /// A controller that publishes to the parts' board.
    pub fn new(client: Client, parts: Parts, leadership: Leadership, scope: Scope) -> Self {
        let (store, hpas) = reflector::store();
        let (external, external_told) = watch::channel(ExternalApi::Unknown);
        let (serves_cpu, serves_cpu_told) = watch::channel(None);
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        let Parts { clock, scraper, board, readiness } = parts;
        let context = Context {
            recorder: Recorder::new(client.clone(), reporter),
            learned: scope
                .state_dir
                .is_none()
                .then(|| Learned::new(client.clone(), &scope.served_at.namespace, leadership.clone())),
            namespace: scope.served_at.namespace.clone(),
            client,
            clock,
            kinds: Kinds::default(),
            claims: Claims::default(),
            hpas: store,
            external: external_told,
            serves_cpu: serves_cpu_told,
            leadership,
            scraper,
            board,
            readiness,
            servers: scope.servers.clone(),
            state_dir: scope.state_dir.clone(),
        };
        Self {
            context: Arc::new(context),
            scope,
            external,
            serves_cpu,
            hpas,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Works until it is told to stop; then engines keep what they learned, and all else stays as it is.
    ///
    /// # Errors
    /// When a part of it ended early: what it kept up to date would go on being believed.
    pub async fn run(self, mut stop: Stop) -> Result<(), EndedEarly> {
        let Self { context, scope, external, serves_cpu, hpas, mut running, mut tasks } = self;
        let (client, leadership) = (context.client.clone(), context.leadership.clone());
        let mut beside = JoinSet::new();
        let (served_at, registers) = (scope.served_at.clone(), scope.registers);
        let may_write = (leadership, context.clock.clone());
        beside.spawn(api_service::keep(client.clone(), served_at, registers, may_write, external));
        beside.spawn(api_service::watch_cpu(client.clone(), context.clock.clone(), serves_cpu));
        beside.spawn(watch_hpas(client.clone(), scope.namespace.clone(), hpas));

        let resource = ApiResource::erase::<LoadAwareAutoscaler>(&());
        let api: Api<DynamicObject> = match &scope.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut list = List {
            context: &context,
            running: &mut running,
            tasks: &mut tasks,
            leaving: BTreeMap::new(),
            listed: Some(BTreeMap::new()),
        };
        // Whose HPA is whose must be known before anything is written.
        let is_told = async {
            let _ = context.hpas.wait_until_ready().await;
        };
        tokio::select! {
            () = is_told => {}
            () = stop.told() => return Ok(()),
            ended = beside.join_next() => return Err(EndedEarly::of(ended)),
        }
        context.scraper.telemetry.leads(true);
        let mut sweep = tokio::time::interval(SWEEP);
        let mut is_interrupted = false;
        let ended = loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        is_interrupted = false;
                        list.take(event);
                    }
                    Some(Err(error)) if !std::mem::replace(&mut is_interrupted, true) => tracing::warn!(
                        %error,
                        "the watch of LoadAwareAutoscalers is interrupted and is tried again; if the cluster does not know \
                         them: plimsoll-adapter crd | kubectl apply --server-side -f -"
                    ),
                    Some(Err(_)) => {}
                    None => break Err(EndedEarly::Watch),
                },
                ended = list.tasks.join_next(), if !list.tasks.is_empty() => {
                    if let Some(Ok(Err(error)) | Err(error)) = ended {
                        break Err(EndedEarly::Panic(error));
                    }
                }
                ended = beside.join_next() => break Err(EndedEarly::of(ended)),
                _ = sweep.tick() => list.let_go_of_orphans(),
                () = stop.told() => break Ok(()),
            }
        };
        for Running { stopper, .. } in list.leaving.into_values().chain(running.into_values()) {
            stopper.stop();
        }
        // Engines keep what they learned, be another part broken.
        let kept = async {
            while let Some(done) = tasks.join_next().await {
                if let Err(error) = done.flatten() {
                    tracing::error!(%error, "the work on an object failed");
                }
            }
        };
        if timeout(PATIENCE, kept).await.is_err() {
            tracing::warn!("not all work on objects ended in time");
        }
        ended
    }
}

/// Why a controller does not work any more.
#[derive(Debug, thiserror::Error)]
pub enum EndedEarly {
    /// A part of it panicked.
    #[error("a part of the adapter failed; please report what its log says: {0}")]
    Panic(#[source] JoinError),
    /// A watch ended for good.
    #[error("a watch of the API server ended for good")]
    Watch,
}

impl EndedEarly {
    fn of(ended: Option<Result<(), JoinError>>) -> Self {
        match ended {
            Some(Err(error)) => Self::Panic(error),
            _ => Self::Watch,
        }
    }
}

/// Keeps the HPAs that there are in a store, without who wrote what in them.
async fn watch_hpas(
    client: Client,
    namespace: Option<String>,
    writer: reflector::store::Writer<HorizontalPodAutoscaler>,
) {
    let api: Api<HorizontalPodAutoscaler> = match namespace {
        Some(namespace) => Api::namespaced(client, &namespace),
        None => Api::all(client),
    };
    let events = watcher(api, watcher::Config::default().any_semantic()).default_backoff();
    let events = events.modify(|hpa: &mut HorizontalPodAutoscaler| {
        hpa.metadata.managed_fields = None;
        hpa.status = None;
    });
    let mut events = std::pin::pin!(events.reflect(writer));
    while let Some(event) = events.next().await {
        if let Err(error) = event {
            tracing::warn!(%error, "the watch of HorizontalPodAutoscalers is interrupted");
        }
    }
}

/// The objects that run.
struct List<'a> {
    context: &'a Arc<Context>,
    running: &'a mut BTreeMap<ObjectKey, Running>,
    tasks: &'a mut JoinSet<Result<(), JoinError>>,
    /// Those that were deleted and are leaving their workloads to others.
    leaving: BTreeMap<ObjectKey, Running>,
    /// Those of a list that is being told: nothing begins before the list is whole, for whose workload it is depends on all of them.
    listed: Option<BTreeMap<ObjectKey, Told>>,
}

impl List<'_> {
    fn take(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.listed = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let key = key(&object);
                self.listed.get_or_insert_default().insert(key, told(object));
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let is_gone = |key: &&ObjectKey| !listed.contains_key(*key);
                let gone: Vec<_> = self.running.keys().filter(is_gone).cloned().collect();
                gone.iter().for_each(|key| self.is_gone(key));
                for (key, told) in &listed {
                    self.context.claims.note(key, told.object());
                }
                for (key, told) in listed {
                    self.is(key, told);
                }
                self.let_go_of_orphans();
            }
            Event::Apply(object) => {
                let (key, told) = (key(&object), told(object));
                self.context.claims.note(&key, told.object());
                self.is(key, told);
            }
            Event::Delete(object) => self.is_gone(&key(&object)),
        }
    }

    fn is(&mut self, key: ObjectKey, told: Told) {
        if let Some(running) = self.running.get(&key) {
            running.told.send_if_modified(|before| {
                let is_news = !before.says_the_same(&told);
                *before = told;
                is_news
            });
            return;
        }
        tracing::info!(object = %key, "watching");
        let (sender, receiver) = watch::channel(told);
        let (stopper, stop) = stop::channel();
        let workload = Workload::new(Arc::clone(self.context), key.clone());
        let before = self.leaving.remove(&key);
        self.tasks.spawn(async move {
            if let Some(before) = before {
                // One of the same name leaves nothing behind any more: this one goes on with its HPA.
                before.stopper.stop();
                before.told.closed().await;
            }
            workload.run(receiver, stop).await
        });
        self.running.insert(key, Running { told: sender, stopper });
    }

    fn is_gone(&mut self, key: &ObjectKey) {
        self.context.claims.note(key, None);
        if let Some(running) = self.running.remove(key) {
            tracing::info!(object = %key, "deleted");
            running.told.send_replace(Told::Deleted);
            self.leaving.retain(|_, leaving| !leaving.told.is_closed());
            self.leaving.insert(key.clone(), running);
        }
    }

    /// HPAs of objects that were deleted while nobody looked.
    fn let_go_of_orphans(&mut self) {
        if self.listed.is_some() {
            return;
        }
        self.leaving.retain(|_, leaving| !leaving.told.is_closed());
        let is_orphan = |hpa: &HorizontalPodAutoscaler| {
            let labels = hpa.labels();
            let is_ours = labels.get(MANAGED_BY).is_some_and(|by| by == MANAGED_BY_PLIMSOLL);
            // One that was left already is nobody's any more.
            let name = labels.get(AUTOSCALER_LABEL).filter(|_| is_ours && !is_left(hpa))?;
            let key = ObjectKey::new(hpa.namespace()?, name.clone());
            let is_looked_after = self.running.contains_key(&key) || self.leaving.contains_key(&key);
            (!is_looked_after).then_some(key)
        };
        let orphans: BTreeSet<ObjectKey> =
            self.context.hpas.state().iter().filter_map(|hpa| is_orphan(hpa)).collect();
        for key in orphans {
            let Context { client, leadership, .. } = &**self.context;
            let actuator = Actuator::new(client.clone(), key.clone(), leadership.clone());
            self.tasks.spawn(async move {
                // The next sweep tries again.
                if let Ok(Err(trouble)) = timeout(PATIENCE, actuator.leave(None)).await {
                    tracing::warn!(object = %key, ?trouble, "the HPA of a deleted object is left as it is");
                }
                Ok(())
            });
        }
    }
}

fn key(object: &DynamicObject) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// An object as this version can read it.
fn told(object: DynamicObject) -> Told {
    let DynamicObject { types: _, metadata, data } = object;
    let spec = data.get("spec").cloned().unwrap_or_default();
    let status = data.get("status").cloned();
    let status: Option<Status> = status.and_then(|status| serde_json::from_value(status).ok());
    match serde_json::from_value(spec) {
        Ok(spec) => {
            let mut object = LoadAwareAutoscaler::new("", spec);
            object.metadata = metadata;
            object.status = status;
            Told::Is(Arc::new(object))
        }
        Err(error) => {
            let why = format!(
                "spec: {error}: the definition of the resource is of another version than the adapter"
            );
            let subject = Subject { metadata, conditions: status.map(|s| s.conditions).unwrap_or_default() };
            Told::Unreadable { subject: Box::new(subject), why }
        }
    }
}
