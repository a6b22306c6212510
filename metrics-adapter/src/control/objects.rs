//! The objects of a cluster, by watch: each runs by itself, and one that is wrong does not disturb the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, DynamicObject};
use kube::core::ApiResource;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::actuation::Actuator;
use super::api_service::{self, ExternalApi, ServedAt};
use super::claims::Claims;
use super::hpa::{MANAGED_BY, MANAGED_BY_PLIMSOLL};
use super::leadership::Leadership;
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
    tasks: JoinSet<()>,
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
    pub async fn run(self, mut stop: Stop) {
        let Self { context, scope, external, serves_cpu, hpas, mut running, mut tasks } = self;
        let (client, leadership) = (context.client.clone(), context.leadership.clone());
        let mut beside = JoinSet::new();
        let (served_at, registers) = (scope.served_at.clone(), scope.registers);
        beside.spawn(api_service::keep(client.clone(), served_at, registers, leadership, external));
        beside.spawn(api_service::watch_cpu(client.clone(), serves_cpu));
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
            listed: None,
        };
        // Whose HPA is whose must be known before anything is written.
        let is_told = async {
            let _ = context.hpas.wait_until_ready().await;
        };
        tokio::select! {
            () = is_told => {}
            () = stop.told() => return,
        }
        let mut is_interrupted = false;
        loop {
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
                    None => break,
                },
                ended = list.tasks.join_next(), if !list.tasks.is_empty() => {
                    if let Some(Err(error)) = ended {
                        tracing::error!(%error, "the work on an object ended early");
                    }
                }
                () = stop.told() => break,
            }
        }
        for Running { stopper, .. } in running.into_values() {
            stopper.stop();
        }
        while tasks.join_next().await.is_some() {}
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
    tasks: &'a mut JoinSet<()>,
    /// Those that were deleted and are leaving their workloads to others.
    leaving: BTreeMap<ObjectKey, Running>,
    /// Those of a list that is being told.
    listed: Option<BTreeSet<ObjectKey>>,
}

impl List<'_> {
    fn take(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.listed = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(key(&object));
                }
                self.is(object);
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<_> = self.running.keys().filter(|key| !listed.contains(key)).cloned().collect();
                gone.iter().for_each(|key| self.is_gone(key));
                self.let_go_of_orphans(&listed);
            }
            Event::Apply(object) => self.is(object),
            Event::Delete(object) => self.is_gone(&key(&object)),
        }
    }

    fn is(&mut self, object: DynamicObject) {
        let key = key(&object);
        let told = told(object);
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
                // One of the same name: it must have left before this one begins.
                before.told.closed().await;
            }
            workload.run(receiver, stop).await;
        });
        self.running.insert(key, Running { told: sender, stopper });
    }

    fn is_gone(&mut self, key: &ObjectKey) {
        if let Some(running) = self.running.remove(key) {
            tracing::info!(object = %key, "deleted");
            running.told.send_replace(Told::Deleted);
            self.leaving.retain(|_, leaving| !leaving.told.is_closed());
            self.leaving.insert(key.clone(), running);
        }
    }

    /// HPAs of objects that were deleted while nobody looked.
    fn let_go_of_orphans(&mut self, listed: &BTreeSet<ObjectKey>) {
        let is_orphan = |hpa: &HorizontalPodAutoscaler| {
            let labels = hpa.labels();
            let is_ours = labels.get(MANAGED_BY).is_some_and(|by| by == MANAGED_BY_PLIMSOLL);
            let name = labels.get(AUTOSCALER_LABEL).filter(|_| is_ours)?;
            let key = ObjectKey::new(hpa.namespace()?, name.clone());
            (!listed.contains(&key)).then_some(key)
        };
        let orphans: BTreeSet<ObjectKey> =
            self.context.hpas.state().iter().filter_map(|hpa| is_orphan(hpa)).collect();
        for key in orphans {
            let context = Arc::clone(self.context);
            self.tasks.spawn(async move {
                let hpas = context.hpas(&key.namespace);
                let (client, leadership) = (context.client.clone(), context.leadership.clone());
                let actuator = Actuator::new(client, key.clone(), leadership);
                // One that should have gone with its object had it as its owner.
                if let Err(trouble) = actuator.release(plimsoll::spec::OnDelete::Retain, &hpas).await {
                    tracing::warn!(object = %key, ?trouble, "the HPA of a deleted object is left as it is");
                }
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
