//! One object: an engine that decides, the pods and the scale that it is told of, and what becomes of its decisions.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plimsoll::scale::{Checkpoint, Decision, StartUp};
use plimsoll::spec::{Checked, ScaleTargetRef, Source as SpecSource, Spec};
use plimsoll::units::{Span, Time};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::actuation::{Actuated, Actuator, Surroundings};
use super::conditions::{self, Facts};
use super::credentials::{Asker, ScrapeAccess};
use super::learned::LearnedError;
use super::pods::{self, Pods, Seen};
use super::source::{Feed, WantedSource, source};
use super::status::{self, StatusWriter, Subject};
use super::target::{ScaleFacts, Target, TargetError};
use super::{Context, is_paused};
use crate::board::ObjectKey;
use crate::collect::{PodNames, QueriedPods, Query, Targets};
use crate::engine::{self, Engine, Mind, Object};
use crate::finding::Finding;
use crate::resource::{LoadAwareAutoscaler, Status};
use crate::stop::{self, Stop, Stopper};

/// Time between two looks at everything, as kube-controller-manager has it: however often the load is read, the API server is asked no
/// more often.
const ROUND: Span = Span::from_secs(15);

/// Rounds in which an object whose load is not known again yet, after a start, keeps the status of before.
const SETTLING: u32 = 4;

/// Time between two writes of what was learned.
const KEEP_EVERY: Span = Span::from_secs(600);

/// Rounds that an object waits for what was learned of it: nothing is decided meanwhile, and replicas are held.
const MOST_UNREAD: u32 = 4;

/// Longest time for the last of them, and for forgetting it: nothing waits for either.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Time between two tries to leave a workload to others: at first, and at most.
const LEAVE_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Longest time for one look at everything: an API server that does not answer holds up nothing for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// An object as the watch last told it.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// It is there, and can be read.
    Is(Arc<LoadAwareAutoscaler>),
    /// It is there, and its fields are not what this version knows.
    Unreadable {
        /// Which one it is.
        subject: Box<Subject>,
        /// Why it cannot be read.
        why: String,
    },
    /// It was deleted.
    Deleted,
}

impl Told {
    /// The object, if it is there and can be read.
    pub(super) fn object(&self) -> Option<&Arc<LoadAwareAutoscaler>> {
        match self {
            Self::Is(object) => Some(object),
            Self::Unreadable { .. } | Self::Deleted => None,
        }
    }

    /// Whether a person, or another program, has changed nothing: the adapter's own writes of a status come back as news too.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let (Self::Is(this), Self::Is(that)) = (self, other) else { return false };
        let wish = |object: &LoadAwareAutoscaler| {
            let ObjectMeta { uid, generation, annotations, .. } = &object.metadata;
            (uid.clone(), *generation, annotations.clone())
        };
        wish(this) == wish(that)
    }
}

/// Runs one object until it is deleted or the adapter ends.
pub(super) struct Workload {
    context: Arc<Context>,
    key: ObjectKey,
    running: Option<Running>,
    target: Option<(ScaleTargetRef, Target)>,
    pods: PodsWatch,
    scrape_access: ScrapeAccess,
    actuator: Actuator,
    status: StatusWriter,
    rounds: u32,
    /// The HPA that follows does nothing about less than 10 %, as the last round found.
    follower_is_tolerant: bool,
    /// Rounds in which the API server did not tell what a leader before has learned; none once it has.
    unread: u32,
}

/// The engine of an object, and how it is told of pods.
struct Running {
    spec: Spec,
    mind: Mind,
    feed: Feed,
    /// When what it learned was kept last, and the version of weights that was in force.
    kept: (Time, Option<u32>),
    /// Whether a person has paused it, and the replicas that there are, as the mind was told.
    told: (bool, Option<u32>),
    stopper: Stopper,
    /// The one task of the engine; it goes with this.
    task: JoinSet<()>,
}

/// The watch of a workload's pods, and what it told last.
#[derive(Default)]
struct PodsWatch {
    selector: Option<String>,
    stream: Option<Pin<Box<dyn Stream<Item = Seen> + Send>>>,
    pods: Option<Pods>,
}

impl PodsWatch {
    /// Returns when something changed; never without a watch.
    async fn next(&mut self) -> Option<Seen> {
        match &mut self.stream {
            Some(stream) => stream.next().await,
            None => std::future::pending().await,
        }
    }
}

impl Workload {
    /// For the object `key`.
    pub(super) fn new(context: Arc<Context>, key: ObjectKey) -> Self {
        let actuator = Actuator::new(context.client.clone(), key.clone(), context.leadership.clone());
        Self {
            context,
            key,
            running: None,
            target: None,
            pods: PodsWatch::default(),
            scrape_access: ScrapeAccess::default(),
            actuator,
            status: StatusWriter::default(),
            rounds: 0,
            follower_is_tolerant: false,
            unread: 0,
        }
    }

    /// Works until the object is deleted, then leaves the workload to others; or until it is told to stop, and leaves all as it is.
    ///
    /// # Errors
    /// When its engine panicked.
    pub(super) async fn run(
        mut self,
        mut told: watch::Receiver<Told>,
        mut stop: Stop,
    ) -> Result<(), JoinError> {
        let ended = tokio::select! {
            ended = self.work(&mut told) => ended,
            () = stop.told() => Ok(()),
        };
        if let (Ok(()), Some(running)) = (&ended, &mut self.running) {
            running.kept.0 = Time::EPOCH;
            let keeping = self.keep_learned(self.context.clock.now(), None);
            // It was kept some minutes ago, at the worst.
            let _ = tokio::time::timeout(LAST_WORDS, keeping).await;
        }
        ended.and(self.end_engine().await)
    }

    async fn work(&mut self, told: &mut watch::Receiver<Told>) -> Result<(), JoinError> {
        loop {
            let object = told.borrow_and_update().clone();
            match object {
                Told::Is(object) => match tokio::time::timeout(PATIENCE, self.round(&object)).await {
                    Ok(ended) => ended?,
                    Err(_) => tracing::warn!(object = %self.key, "the API server does not answer"),
                },
                Told::Unreadable { subject, why } => {
                    self.end_engine().await?;
                    self.tell_invalid(&subject, &why).await;
                }
                Told::Deleted => return self.leave().await,
            }
            let clock = self.context.clock.clone();
            let due = clock.now() + ROUND;
            loop {
                tokio::select! {
                    () = clock.sleep_until(due) => break,
                    changed = told.changed() => match changed {
                        Ok(()) => break,
                        // Nobody tells of it any more: the adapter is ending.
                        Err(_) => return Ok(()),
                    },
                    seen = self.pods.next() => self.saw(seen).await,
                    ended = ended(&mut self.running) => return ended,
                }
            }
        }
    }

    /// Looks at everything once, and acts.
    async fn round(&mut self, object: &LoadAwareAutoscaler) -> Result<(), JoinError> {
        let spec = &object.spec.0;
        let now = self.context.clock.now();
        if object.metadata.deletion_timestamp.is_some() {
            // What it leaves is seen to when it is gone; what is not granted any more is not used until then.
            self.look_at_credentials(spec, now).await;
            self.feed(None);
            return Ok(());
        }
        let made = spec.check().map_err(|error| error.to_string());
        let made = made
            .and_then(|checked| Ok((source(spec, &self.context.servers, &self.context.client)?, checked)));
        let (source, checked) = match made {
            Ok(made) => made,
            Err(why) => {
                self.end_engine().await?;
                self.tell_invalid(&object.into(), &why).await;
                return Ok(());
            }
        };
        let scale = self.look_at_scale(spec).await;
        self.look_at_credentials(spec, self.context.clock.now()).await;
        let is_other = self.keep_engine(spec, checked, source).await?;
        let is_paused = is_paused(object);
        let now = self.context.clock.now();
        let current = scale.as_ref().ok().map(|(_, scale)| scale.spec);
        self.feed(current);
        if let Some(running) = &mut self.running {
            running.mind.tell(now, current, is_paused, self.follower_is_tolerant).await;
            // What was decided by another spec, before a pause, or of other replicas than there are is not to be acted upon.
            let told = (is_paused, current.or(running.told.1));
            if std::mem::replace(&mut running.told, told) != told || is_other {
                running.mind.decide(now).await;
            }
        }
        let cell = self.context.board.cell(&self.key);
        cell.is_at(object.metadata.generation.unwrap_or_default());
        let decision = cell.latest().clone();
        let decision = decision.as_deref();
        let hpas = self.context.hpas(&self.key.namespace);
        let external = self.context.external.borrow().clone();
        let is_there = scale.is_ok();
        let around = Surroundings { hpas: &hpas, external: &external, is_there, has_cpu: self.has_cpu() };
        let actuated = match (&scale, self.context.claims.rival(&self.key, object)) {
            (_, Some(rival)) => match self.actuator.yield_to(&around).await {
                Ok(()) => Actuated::trouble_because(
                    "TargetHasOtherObject",
                    format!(
                        "the older LoadAwareAutoscaler {} scales the same workload: delete one of the two",
                        rival.name
                    ),
                ),
                Err(trouble) => trouble,
            },
            (found, None) => self.actuator.act(object, &around, found.as_ref().ok(), decision, now).await,
        };
        if let Actuated::Followed { is_exact, .. } = &actuated {
            self.follower_is_tolerant = !is_exact;
        }
        let unreadable = match (&self.running, &self.pods.pods) {
            (Some(Running { feed: Feed::Pages(_, scrape), .. }), Some(pods)) => pods.unreadable(scrape),
            _ => None,
        };
        let unreadable = self.scrape_access.trouble().map(ToString::to_string).or(unreadable);
        let unreadable = unreadable.or_else(|| cell.unread().map(|why| why.to_string()));
        let findings = conditions::of(&Facts {
            is_paused,
            mode: spec.mode,
            actuation: spec.actuation,
            weights: &spec.load.weights,
            target: scale.as_ref().err(),
            unreadable: unreadable.as_deref(),
            decision,
            now,
            actuated: &actuated,
        });
        let version = decision.and_then(|decision| Some(decision.learned.as_ref()?.version));
        self.keep_learned(now, version).await;
        let subject = object.into();
        if !self.is_settling(&subject, decision) {
            let mut status = status::of(decision, spec.mode, current, &actuated);
            status.backtest = cell.backtest().map(|backtest| status::backtest(&backtest));
            self.tell(&subject, status, findings, now).await;
        }
        Ok(())
    }

    /// What a leader before this one has learned.
    ///
    /// # Errors
    /// When that is not told at the moment, and may be in the next round: without it what is kept would soon be overwritten.
    async fn learned_before(&mut self, about: &str) -> Result<Option<Checkpoint>, LearnedError> {
        let Some(store) = &self.context.learned else { return Ok(None) };
        let object = &self.key;
        match store.read(object, about).await {
            Ok(learned) => {
                self.unread = 0;
                if learned.is_some() {
                    tracing::info!(%object, "what a leader before has learned is taken up");
                }
                Ok(learned)
            }
            Err(error) if error.may_pass() && self.unread < MOST_UNREAD => {
                self.unread += 1;
                tracing::warn!(%object, %error, "what a leader before has learned is not told: asked again in a round");
                Err(error)
            }
            Err(error) => {
                tracing::warn!(%object, %error, "everything is learned anew");
                if !error.may_pass() {
                    self.unread = 0;
                }
                Ok(None)
            }
        }
    }

    /// Keeps what was learned for the next leader, from time to time and at each version of weights; not in place of what is there and could not
    /// be read.
    async fn keep_learned(&mut self, now: Time, version: Option<u32>) {
        if self.unread > 0 {
            return;
        }
        let (Some(store), Some(running)) = (&self.context.learned, &mut self.running) else { return };
        let (at, kept) = running.kept;
        if now - at < KEEP_EVERY && (version.is_none() || kept == version) {
            return;
        }
        running.kept = (now, version);
        let Running { spec, mind, .. } = &*running;
        let Some(checkpoint) = mind.checkpoint().await else { return };
        let about = engine::about(&spec.scale_target_ref, &Query::new(&spec.load));
        if let Err(error) = store.write(&self.key, &about, checkpoint).await {
            tracing::warn!(object = %self.key, %error, "what was learned is not kept");
        }
    }

    /// Whether the adapter has just begun, so that what it does not know yet is no news of the workload.
    fn is_settling(&mut self, subject: &Subject, decision: Option<&Decision>) -> bool {
        let is_known = decision.is_some_and(|decision| decision.outcome.desired().is_some());
        let was_told = !subject.conditions.is_empty() && self.status.is_silent();
        if self.running.is_some() {
            self.rounds = self.rounds.saturating_add(1);
        }
        was_told && !is_known && self.rounds <= SETTLING
    }

    /// Whether an HPA could go by the pods' CPU; none while that is not known.
    fn has_cpu(&self) -> Option<bool> {
        let asked_for = self.pods.pods.as_ref().and_then(Pods::ask_for_cpu);
        match (*self.context.serves_cpu.borrow(), asked_for) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    /// The scale, and the watch of the pods that it selects.
    async fn look_at_scale(&mut self, spec: &Spec) -> Result<(Target, ScaleFacts), TargetError> {
        let reference = &spec.scale_target_ref;
        let context = Arc::clone(&self.context);
        let target = match &self.target {
            Some((of, target)) if of == reference => target.clone(),
            _ => {
                let namespace = &self.key.namespace;
                let target = Target::find(&context.client, &context.kinds, namespace, reference).await?;
                self.target = Some((reference.clone(), target.clone()));
                target
            }
        };
        let scale = target.read().await?;
        if self.pods.selector.as_ref() != Some(&scale.selector) {
            let stream = pods::watch(&context.client, &self.key.namespace, &scale.selector);
            self.pods = PodsWatch {
                selector: Some(scale.selector.clone()),
                stream: Some(Box::pin(stream)),
                pods: None,
            };
        }
        Ok((target, scale))
    }

    /// What the pods ask for, before they are read.
    async fn look_at_credentials(&mut self, spec: &Spec, now: Time) {
        let scrape = match &spec.load.source {
            SpecSource::Scrape(scrape) => Some(scrape),
            SpecSource::Prometheus(_) => None,
        };
        let Context { client, namespace: adapter, .. } = &*self.context;
        let asker = Asker { client, namespace: &self.key.namespace, adapter };
        self.scrape_access.look(asker, scrape, now).await;
    }

    async fn saw(&mut self, seen: Option<Seen>) {
        let Some(Seen { pods, started }) = seen else {
            // The watch ended for good: the next round begins another.
            self.pods = PodsWatch::default();
            return;
        };
        self.pods.pods = Some(pods);
        self.feed(None);
        let Some(running) = &self.running else { return };
        for start_up in started {
            let on_clock = |span| self.context.clock.of_world(span);
            let StartUp { total, scheduled, started } = start_up;
            let start_up = StartUp {
                total: on_clock(total),
                scheduled: scheduled.map(on_clock),
                started: started.map(on_clock),
            };
            running.mind.started(start_up).await;
        }
    }

    /// Tells the engine of the pods, and of the replicas if they are known anew.
    fn feed(&self, replicas: Option<u32>) {
        let Some(running) = &self.running else { return };
        if let Feed::Pages(targets, scrape) = &running.feed {
            let access = self.scrape_access.access(scrape);
            targets.send_modify(|targets| targets.access = access);
        }
        let Some(pods) = &self.pods.pods else { return };
        match &running.feed {
            Feed::Pages(targets, scrape) => targets.send_modify(|targets| {
                *targets = Targets {
                    ready: pods.pages(scrape),
                    warming: pods.warming(),
                    replicas: replicas.or(targets.replicas),
                    updating: pods.are_updating(),
                    cpu: pods.cpu(),
                    access: targets.access.clone(),
                    selector: self.pods.selector.clone(),
                };
            }),
            Feed::Server(queried) => queried.send_modify(|queried| {
                *queried = QueriedPods {
                    names: PodNames::Known(pods.ready()),
                    warming: pods.warming(),
                    replicas: replicas.or(queried.replicas),
                    updating: pods.are_updating(),
                    cpu: pods.cpu(),
                    target: queried.target.clone(),
                };
            }),
        }
    }

    /// An engine for this spec, which knows what the one for the last spec learned. Whether it goes on by another spec than before.
    async fn keep_engine(
        &mut self,
        spec: &Spec,
        checked: Checked,
        source: WantedSource,
    ) -> Result<bool, JoinError> {
        let same_load = |running: &Running| {
            running.spec.load == spec.load && running.spec.scale_target_ref == spec.scale_target_ref
        };
        match &mut self.running {
            Some(running) if running.spec == *spec => return Ok(false),
            Some(running) if same_load(running) => {
                running.mind.respec(checked).await;
                running.spec = spec.clone();
                return Ok(true);
            }
            _ => {}
        }
        let same_series = |running: &Running| {
            running.spec.scale_target_ref == spec.scale_target_ref
                && Query::new(&running.spec.load) == Query::new(&spec.load)
        };
        let query = Query::new(&spec.load);
        let learned = match &self.running {
            Some(running) if same_series(running) => running.mind.checkpoint().await,
            Some(_) => None,
            None => match self.learned_before(&engine::about(&spec.scale_target_ref, &query)).await {
                Ok(learned) => learned,
                Err(_) => return Ok(false),
            },
        };
        self.end_engine().await?;
        let context = &self.context;
        let (source, feed) = source.start(spec);
        let object = Object {
            key: self.key.clone(),
            workload: spec.scale_target_ref.clone(),
            spec: checked,
            query,
            source,
        };
        let engine = Engine::new(
            object,
            context.scraper.clone(),
            &context.board,
            context.readiness.clone(),
            context.state_dir.as_deref(),
        );
        let mind = engine.mind();
        if let Some(learned) = learned {
            mind.resume(learned).await;
        }
        let (stopper, stop) = stop::channel();
        let mut task = JoinSet::new();
        task.spawn(engine.run(stop));
        let kept = (self.context.clock.now(), None);
        self.running =
            Some(Running { spec: spec.clone(), mind, feed, kept, told: (false, None), stopper, task });
        Ok(false)
    }

    async fn end_engine(&mut self) -> Result<(), JoinError> {
        let mut running = self.running.take();
        if let Some(running) = &running {
            running.stopper.stop();
        }
        let ended = match running {
            Some(_) => ended(&mut running).await,
            None => Ok(()),
        };
        self.context.board.clear(&self.key);
        ended
    }

    async fn tell_invalid(&mut self, subject: &Subject, why: &str) {
        let (findings, status) = (conditions::invalid(why), Status::default());
        self.tell(subject, status, findings, self.context.clock.now()).await;
    }

    async fn tell(&mut self, subject: &Subject, status: Status, findings: Vec<Finding>, now: Time) {
        self.context.board.cell(&self.key).tell(findings.clone());
        if self.context.leadership.check().is_ok() {
            let Context { client, recorder, .. } = &*self.context;
            self.status.write(client, recorder, subject, (status, findings), now).await;
        }
    }

    /// The object is gone.
    async fn leave(&mut self) -> Result<(), JoinError> {
        let spec = self.running.as_ref().map(|running| running.spec.clone());
        self.end_engine().await?;
        self.context.board.remove(&self.key);
        if let Some(Err(error)) = self.context.state_dir.as_deref().map(|dir| engine::forget(dir, &self.key))
        {
            tracing::warn!(object = %self.key, %error, "what was learned of a deleted object is still there");
        }
        if let Some(store) = &self.context.learned
            && let Ok(Err(error)) = tokio::time::timeout(LAST_WORDS, store.forget(&self.key)).await
        {
            tracing::warn!(object = %self.key, %error, "what was learned of a deleted object is still there");
        }
        let (mut pause, longest) = LEAVE_AGAIN;
        loop {
            let trouble = match tokio::time::timeout(PATIENCE, self.actuator.leave(spec.as_ref())).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(trouble)) => trouble.trouble().map(|(_, message)| message).unwrap_or_default(),
                Err(_) => "the API server does not answer".to_owned(),
            };
            tracing::warn!(object = %self.key, trouble, "the HPA of a deleted object is not left yet: tried again");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(longest);
        }
    }
}

/// Returns when the engine ends; never without one.
async fn ended(running: &mut Option<Running>) -> Result<(), JoinError> {
    match running {
        Some(running) => running.task.join_next().await.unwrap_or(Ok(())),
        None => std::future::pending().await,
    }
}
