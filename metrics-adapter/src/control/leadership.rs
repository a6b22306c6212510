//! One leader measures, decides, writes and answers. It holds a Lease and says so again every few seconds; who cannot say so in time
//! stops before anyone else may begin.
//!
//! The rules are those of Kubernetes' own leader election: nobody trusts another's clock, but waits until a lease has not
//! changed for as long as it lasts.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::actuation::Actuated;
use super::target::told;
use super::{MANAGER, timestamp};
use crate::clock::Clock;

/// So long a lease lasts after it was last renewed.
const LASTS: Duration = Duration::from_secs(15);
/// Who could not renew for so long stops: well before another may begin.
const GIVES_UP_AFTER: Duration = Duration::from_secs(10);
/// Time between two tries to renew or to get it, and for one try.
const RETRY: Duration = Duration::from_secs(2);

/// Whether this adapter may write. Clones know the same.
#[derive(Debug, Clone)]
pub struct Leadership(Arc<watch::Receiver<Option<Until>>>);

/// It may until then.
#[derive(Debug, Clone, Copy)]
enum Until {
    Always,
    Instant(Instant),
}

impl Leadership {
    /// Without an election: there is one adapter only.
    pub fn alone() -> Self {
        Self(Arc::new(watch::channel(Some(Until::Always)).1))
    }

    fn is_held(&self) -> bool {
        match *self.0.borrow() {
            Some(Until::Always) => true,
            Some(Until::Instant(until)) => Instant::now() < until,
            None => false,
        }
    }

    /// Whether it is held at this moment: to be asked before each write.
    ///
    /// # Errors
    /// When another may be writing.
    pub(super) fn check(&self) -> Result<(), Actuated> {
        if self.is_held() {
            return Ok(());
        }
        Err(Actuated::Trouble {
            reason: "NotLeading",
            message: "another adapter may be the leader by now: nothing is written".into(),
        })
    }
}

/// Wants to lead.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    clock: Clock,
    name: String,
    identity: String,
    /// The lease as it was last seen to change, and when.
    seen: Option<(Lease, Instant)>,
    state: watch::Sender<Option<Until>>,
}

/// What one try to get or to keep the lease came to.
enum Try {
    Held,
    OfAnother(String),
}

impl Candidate {
    /// For the Lease `name` in `namespace`, under an `identity` that no other candidate has.
    pub fn new(
        client: Client,
        clock: Clock,
        (namespace, name): (&str, &str),
        identity: String,
    ) -> (Self, Leadership) {
        let (state, held) = watch::channel(None);
        let api = Api::namespaced(client, namespace);
        let candidate = Self { api, clock, name: name.to_owned(), identity, seen: None, state };
        (candidate, Leadership(Arc::new(held)))
    }

    /// Returns when it leads.
    pub async fn win(&mut self) {
        let mut leader = None;
        loop {
            let began = Instant::now();
            match timeout(RETRY, self.attempt()).await {
                Ok(Ok(Try::Held)) => {
                    self.state.send_replace(Some(Until::Instant(began + GIVES_UP_AFTER)));
                    tracing::info!(identity = self.identity, "leading");
                    return;
                }
                Ok(Ok(Try::OfAnother(holder))) if leader.as_ref() != Some(&holder) => {
                    tracing::info!(leader = holder, "standing by");
                    leader = Some(holder);
                }
                Ok(Ok(Try::OfAnother(_))) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = %told(&error), "the lease {} cannot be had", self.name)
                }
                Err(_) => tracing::warn!("the lease {} cannot be had: no answer", self.name),
            }
            sleep(RETRY).await;
        }
    }

    /// Keeps leading; returns when it no longer does.
    pub async fn keep(&mut self) {
        loop {
            let Some(Until::Instant(until)) = *self.state.borrow() else { return };
            tokio::select! {
                () = sleep(RETRY) => {}
                () = tokio::time::sleep_until(until) => break,
            }
            let began = Instant::now();
            match timeout(RETRY, self.attempt()).await {
                Ok(Ok(Try::Held)) => {
                    self.state.send_replace(Some(Until::Instant(began + GIVES_UP_AFTER)));
                }
                Ok(Ok(Try::OfAnother(holder))) => {
                    tracing::error!(leader = holder, "another has taken the lease");
                    break;
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = %told(&error), "the lease {} is not renewed", self.name)
                }
                Err(_) => tracing::warn!("the lease {} is not renewed: no answer", self.name),
            }
        }
        self.state.send_replace(None);
    }

    /// Lets the next one begin at once.
    pub async fn resign(&mut self) {
        if self.state.send_replace(None).is_none() {
            return;
        }
        let given_up = async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                self.api.replace(&self.name, &params(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Ok(Err(error)) = timeout(RETRY, given_up).await {
            tracing::warn!(error = %told(&error), "the lease is not given up: it lapses by itself");
        }
    }

    async fn attempt(&mut self) -> Result<Try, kube::Error> {
        let now = MicroTime(timestamp(self.clock.now()));
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.held_since(&LeaseSpec::default(), now)),
            };
            self.api.create(&params(), &lease).await?;
            return Ok(Try::Held);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        if let Some(holder) = holder.filter(|holder| *holder != self.identity)
            && !self.has_lapsed(&lease)
        {
            return Ok(Try::OfAnother(holder));
        }
        lease.spec = Some(self.held_since(&spec, now));
        // With the version that was read: of two who try, one is refused.
        self.api.replace(&self.name, &params(), &lease).await?;
        Ok(Try::Held)
    }

    /// Whether the lease has not changed for as long as it lasts.
    fn has_lapsed(&mut self, lease: &Lease) -> bool {
        match &self.seen {
            Some((seen, at)) if seen.metadata.resource_version == lease.metadata.resource_version => {
                let lasts = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
                let lasts =
                    lasts.and_then(|secs| u64::try_from(secs).ok()).map_or(LASTS, Duration::from_secs);
                at.elapsed() >= lasts
            }
            _ => {
                self.seen = Some((lease.clone(), Instant::now()));
                false
            }
        }
    }

    fn held_since(&self, before: &LeaseSpec, now: MicroTime) -> LeaseSpec {
        let is_mine = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: if is_mine { before.acquire_time.clone() } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if is_mine { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}
