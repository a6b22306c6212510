//! The guard: each request is identified, then its right is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use hyper::HeaderMap;
use plimsoll::units::Span;
use tokio::time::Instant;

use super::identify::{Identity, identify, strip};
use super::memory::Memory;
use super::peer::Peer;
use super::review::{Question, Reviewer};
use super::trust::Trust;
use super::user::User;
use super::watch::Trusted;
use crate::clock::Clock;
use crate::external::fingerprint::{Fingerprint, Maker};
use crate::external::route::{AUTOSCALERS, AUTOSCALERS_GROUP, GROUP};
use crate::external::status::{Reason, Status};

/// For all that is asked about one request: one slow answer delays every HorizontalPodAutoscaler of the cluster.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The same for people, of whom many namespaces may be asked about.
const PEOPLES_PATIENCE: Duration = Duration::from_secs(10);

/// So long after its 10 s a yes counts while the cluster cannot be asked: longer than the restart of an API server, and
/// than the 15 s between two rounds of the HorizontalPodAutoscalers.
const YES_LASTS: Span = Span::from_secs(60);

/// Questions at one time about users whom the cluster knows.
const KNOWN_AT_ONCE: usize = 32;
/// Those about people who gave no name, and about tokens, which anybody can make up, have places of their own: a flood of
/// them keeps nobody else out.
const UNKNOWN_AT_ONCE: usize = 4;

/// Questions at one time of people who look at the console: with places of their own they keep no HorizontalPodAutoscaler waiting, and what is
/// remembered of them puts nothing else out of memory.
const PEOPLE_AT_ONCE: usize = 8;

/// Namespaces whose autoscalers somebody may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::external) enum Readable {
    /// All.
    All,
    /// These.
    Some(BTreeSet<String>),
}

impl Readable {
    /// Whether it is one of them.
    pub(in crate::external) fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// Lets requests in, or says why not.
#[derive(Debug)]
pub struct Guard {
    reviewer: Arc<dyn Reviewer>,
    trusted: Trusted,
    clock: Clock,
    tokens: Memory<Option<User>>,
    known: Memory<bool>,
    anonymous: Memory<bool>,
    people: Memory<bool>,
}

impl Guard {
    /// Believes whom `trusted` says, asks `reviewer`, and remembers its answers by `clock`.
    pub fn new(reviewer: Arc<dyn Reviewer>, trusted: Trusted, clock: Clock) -> Self {
        let never: fn(&_) -> Span = |_| Span::ZERO;
        let yes: fn(&bool) -> Span = |allowed| if *allowed { YES_LASTS } else { Span::ZERO };
        Self {
            reviewer,
            trusted,
            tokens: Memory::new("tokens", UNKNOWN_AT_ONCE, never, clock.clone()),
            known: Memory::new("rights of users", KNOWN_AT_ONCE, yes, clock.clone()),
            anonymous: Memory::new("rights of nobody", UNKNOWN_AT_ONCE, yes, clock.clone()),
            people: Memory::new("rights in the console", PEOPLE_AT_ONCE, |_| Span::ZERO, clock.clone()),
            clock,
        }
    }

    /// Returns if whoever sends these headers over the connection of `peer` may read what is asked for. The headers that
    /// said who it is are taken out.
    ///
    /// # Errors
    /// 401 for what is shown and not good, 403 for those who may not, 503 while it cannot be found out.
    pub(in crate::external) async fn admit(
        &self,
        peer: &Peer,
        headers: &mut HeaderMap,
        question: Question<'_>,
    ) -> Result<(), Status> {
        let deadline = Instant::now() + PATIENCE;
        let user = self.identify(peer, headers, deadline).await?;
        self.authorize(&user, question, deadline).await
    }

    /// Lets somebody in who may read the autoscalers of a namespace. The headers that said who it is are taken out.
    ///
    /// # Errors
    /// 401 for nobody and for what is shown and not good, 403 for those who may not, 503 while it cannot be found out.
    pub(in crate::external) async fn may_read(
        &self,
        peer: &Peer,
        headers: &mut HeaderMap,
        namespace: &str,
    ) -> Result<(), Status> {
        let deadline = Instant::now() + PEOPLES_PATIENCE;
        let user = self.signed_on(peer, headers, deadline).await?;
        self.authorize(&user, Question::Autoscalers { namespace: Some(namespace) }, deadline).await
    }

    /// Of these namespaces those whose autoscalers the one who sends these headers may read; it may be none. The headers that said who it is are
    /// taken out.
    ///
    /// # Errors
    /// 401 for nobody and for what is shown and not good, 503 while it cannot be found out.
    pub(in crate::external) async fn readable(
        &self,
        peer: &Peer,
        headers: &mut HeaderMap,
        namespaces: BTreeSet<String>,
    ) -> Result<Readable, Status> {
        let deadline = Instant::now() + PEOPLES_PATIENCE;
        let user = self.signed_on(peer, headers, deadline).await?;
        let all = Question::Autoscalers { namespace: None };
        match self.authorize(&user, all, deadline).await {
            Ok(()) => return Ok(Readable::All),
            Err(status) if status.reason() == Reason::Forbidden => {}
            Err(status) => return Err(status),
        }
        let user = &user;
        let each = stream::iter(namespaces).map(async |namespace| {
            let question = Question::Autoscalers { namespace: Some(&namespace) };
            match self.authorize(user, question, deadline).await {
                Ok(()) => Ok(Some(namespace)),
                Err(status) if status.reason() == Reason::Forbidden => Ok(None),
                Err(status) => Err(status),
            }
        });
        let readable: Vec<Option<String>> = each.buffered(PEOPLE_AT_ONCE).try_collect().await?;
        Ok(Readable::Some(readable.into_iter().flatten().collect()))
    }

    /// Who it is, if it is somebody.
    async fn signed_on(
        &self,
        peer: &Peer,
        headers: &mut HeaderMap,
        deadline: Instant,
    ) -> Result<User, Status> {
        let user = self.identify(peer, headers, deadline).await?;
        if user.is_anonymous() {
            return Err(Status::new(
                Reason::Unauthorized,
                "Unauthorized: sign on with a token of the cluster",
            ));
        }
        Ok(user)
    }

    /// Who it is. The headers that said so are taken out.
    async fn identify(
        &self,
        peer: &Peer,
        headers: &mut HeaderMap,
        deadline: Instant,
    ) -> Result<User, Status> {
        let Some(trust) = self.trusted.now() else {
            let message = "who asks cannot be told: ConfigMap kube-system/extension-apiserver-authentication has not been \
                           read yet";
            return Err(Status::new(Reason::ServiceUnavailable, message));
        };
        let user = self.authenticate(&trust, peer, headers, deadline).await?;
        strip(&trust, headers);
        Ok(user)
    }

    async fn authenticate(
        &self,
        trust: &Arc<Trust>,
        peer: &Peer,
        headers: &HeaderMap,
        deadline: Instant,
    ) -> Result<User, Status> {
        let now = self.clock.now();
        let standing = peer.standing(trust, now, now + self.clock.wall_ahead());
        let refused = |why: &str| {
            tracing::debug!(why, "a request is refused: who asks is not proven");
            Err(Status::new(Reason::Unauthorized, format!("Unauthorized: {why}")))
        };
        match identify(trust, &standing, headers) {
            Identity::User(user) => Ok(user),
            Identity::Anonymous => Ok(User::anonymous()),
            Identity::Refused(why) => refused(&why),
            Identity::Token(token) => {
                let key = Maker::new().text(token).done();
                match self.tokens.recall(key, deadline, self.reviewer.token(token)).await {
                    Ok(Some(user)) => Ok(user.proven()),
                    Ok(None) => refused("the bearer token is not good"),
                    Err(_) => {
                        let message =
                            "whose the bearer token is cannot be told: the cluster cannot be asked now";
                        Err(Status::new(Reason::ServiceUnavailable, message))
                    }
                }
            }
        }
    }

    async fn authorize(&self, user: &User, question: Question<'_>, deadline: Instant) -> Result<(), Status> {
        if user.is_master() {
            return Ok(());
        }
        let memory = match question {
            Question::Autoscalers { .. } => &self.people,
            Question::Metric { .. } | Question::Path(_) if user.is_anonymous() => &self.anonymous,
            Question::Metric { .. } | Question::Path(_) => &self.known,
        };
        let asked =
            memory.recall(fingerprint(user, question), deadline, self.reviewer.access(user, question));
        match asked.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::debug!(
                    user = user.name,
                    ?question,
                    "a request is refused: the cluster does not allow it"
                );
                Err(Status::new(Reason::Forbidden, forbidden(user, question)))
            }
            Err(_) => {
                let message = format!(
                    "whether user {:?} may read this cannot be told: the cluster cannot be asked now",
                    user.name
                );
                Err(Status::new(Reason::ServiceUnavailable, message))
            }
        }
    }
}

/// What a right is remembered by: everything that it may depend on.
fn fingerprint(user: &User, question: Question<'_>) -> Fingerprint {
    let User { name, uid, groups, extra } = user;
    let maker = Maker::new().text(name).texts(uid.as_slice().iter()).texts(groups.iter()).texts(extra.keys());
    let maker = extra.values().fold(maker, |maker, values| maker.texts(values.iter()));
    match question {
        Question::Metric { namespace, metric } => maker.text("metric").text(namespace).text(metric),
        Question::Autoscalers { namespace: None } => maker.text("all autoscalers"),
        Question::Autoscalers { namespace: Some(namespace) } => maker.text("autoscalers").text(namespace),
        Question::Path(path) => maker.text("path").text(path),
    }
    .done()
}

/// In Kubernetes' words, which people search for.
fn forbidden(user: &User, question: Question<'_>) -> String {
    let name = &user.name;
    match question {
        Question::Metric { namespace, metric } => format!(
            "{metric}.{GROUP} is forbidden: User {name:?} cannot list resource {metric:?} in API group {GROUP:?} in the \
             namespace {namespace:?}"
        ),
        Question::Autoscalers { namespace } => {
            let place = namespace.map_or_else(
                || "at the cluster scope".to_owned(),
                |namespace| format!("in the namespace {namespace:?}"),
            );
            format!(
                "{AUTOSCALERS}.{AUTOSCALERS_GROUP} is forbidden: User {name:?} cannot list resource {AUTOSCALERS:?} in API group \
                 {AUTOSCALERS_GROUP:?} {place}"
            )
        }
        Question::Path(path) => format!("forbidden: User {name:?} cannot get path {path:?}"),
    }
}

#[cfg(test)]
mod tests;
