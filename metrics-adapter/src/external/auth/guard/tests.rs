use std::future::pending;
use std::sync::Mutex;

use futures::future::BoxFuture;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderName};
use plimsoll::units::Time;

use super::super::review::ReviewError;
use super::super::testing::{Ca, NOW, PROXY, client, configuration};
use super::*;
use crate::clock::Hand;
use crate::ops::Readiness;

const METRIC: Question<'_> = Question::Metric { namespace: "shop", metric: "metricsqps" };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Yes,
    No,
    Fails,
    Nothing,
}

/// A cluster that says one thing about everything, and knows `good` as the token of `t`.
#[derive(Debug)]
struct Fake {
    says: Mutex<Says>,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    async fn answer(&self, asked: String) -> Result<bool, ReviewError> {
        self.asked.lock().unwrap().push(asked);
        let says = *self.says.lock().unwrap();
        match says {
            Says::Yes => Ok(true),
            Says::No => Ok(false),
            Says::Fails => Err(ReviewError::Failed("down".to_owned())),
            Says::Nothing => pending().await,
        }
    }
}

impl Reviewer for Fake {
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
        Box::pin(async move {
            self.answer("token".to_owned()).await?;
            Ok((token == "good").then(|| User { name: "t".to_owned(), ..User::default() }))
        })
    }

    fn access<'a>(
        &'a self,
        user: &'a User,
        question: Question<'a>,
    ) -> BoxFuture<'a, Result<bool, ReviewError>> {
        let what = match question {
            Question::Metric { namespace, metric } => format!("{namespace}/{metric}"),
            Question::Autoscalers { namespace } => format!("autoscalers of {}", namespace.unwrap_or("all")),
            Question::Path(path) => path.to_owned(),
        };
        Box::pin(self.answer(format!("{} [{}] {what}", user.name, user.groups.join(" "))))
    }
}

struct World {
    guard: Guard,
    fake: Arc<Fake>,
    hand: Hand,
    proxies: Ca,
    clients: Ca,
    trusted: Trusted,
}

impl World {
    fn new(says: Says) -> Self {
        let world = Self::unread(says);
        world.trusted.take(configuration(&world.proxies.pem, &world.clients.pem));
        world
    }

    fn unread(says: Says) -> Self {
        let (clock, hand) = Clock::manual(NOW);
        let fake = Arc::new(Fake { says: Mutex::new(says), asked: Mutex::default() });
        let trusted = Trusted::new(Readiness::default());
        let guard = Guard::new(fake.clone(), trusted.clone(), clock);
        let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
        Self { guard, fake, hand, proxies, clients, trusted }
    }

    fn says(&self, says: Says) {
        *self.fake.says.lock().unwrap() = says;
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.fake.asked.lock().unwrap())
    }

    fn proxy(&self) -> Peer {
        Peer::new(self.proxies.issue(client(PROXY, &[])).0)
    }

    /// What a request is answered: 200 if it is let in.
    async fn code(&self, peer: &Peer, headers: &[(&str, &str)], question: Question<'_>) -> u16 {
        self.answer(peer, headers, question).await.0
    }

    async fn answer(&self, peer: &Peer, pairs: &[(&str, &str)], question: Question<'_>) -> (u16, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        match self.guard.admit(peer, &mut headers, question).await {
            Ok(()) => {
                assert!(headers.is_empty(), "{headers:?}");
                (StatusCode::OK.as_u16(), String::new())
            }
            Err(status) => {
                let text = format!("{status:?}");
                (status.into_reply().status().as_u16(), text)
            }
        }
    }
}

fn later(seconds: i64) -> Time {
    NOW + Span::from_secs(seconds)
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [(AUTHORIZATION.as_str().to_owned().leak(), format!("Bearer {token}"))]
}

#[tokio::test]
async fn nobody_is_let_in_before_it_is_known_whom_to_believe() {
    let world = World::unread(Says::Yes);
    assert_eq!(world.code(&world.proxy(), &[("x-remote-user", "u")], METRIC).await, 503);
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn the_cluster_is_asked_about_the_user_and_the_metric() {
    let world = World::new(Says::Yes);
    let proxy = world.proxy();
    let headers = [("x-remote-user", "system:aggregator"), ("x-remote-group", "g")];
    assert_eq!(world.code(&proxy, &headers, METRIC).await, 200);
    assert_eq!(world.code(&proxy, &headers[..1], Question::Path("/apis")).await, 200);
    assert_eq!(world.code(&Peer::default(), &[], METRIC).await, 200);
    assert_eq!(
        world.asked(),
        [
            "system:aggregator [g system:authenticated] shop/metricsqps",
            "system:aggregator [system:authenticated] /apis",
            "system:anonymous [system:unauthenticated] shop/metricsqps",
        ]
    );
}

#[tokio::test]
async fn about_masters_nobody_is_asked() {
    let world = World::new(Says::Fails);
    let headers = [("x-remote-user", "system:kube-aggregator"), ("x-remote-group", "system:masters")];
    assert_eq!(world.code(&world.proxy(), &headers, Question::Path("/apis")).await, 200);
    let master = Peer::new(world.clients.issue(client("admin", &["system:masters"])).0);
    assert_eq!(world.code(&master, &[], METRIC).await, 200);
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_refusal_says_it_in_kubernetes_words() {
    let world = World::new(Says::No);
    let headers = [("x-remote-user", "u")];
    let (code, text) = world.answer(&world.proxy(), &headers, METRIC).await;
    let said = r#"metricsqps.external.metrics.k8s.io is forbidden: User "u" cannot list resource "metricsqps" in API group "external.metrics.k8s.io" in the namespace "shop""#;
    assert!(code == 403 && text.contains(&format!("{said:?}")), "{text}");
    let (code, text) = world.answer(&world.proxy(), &headers, Question::Path("/apis")).await;
    assert!(code == 403 && text.contains(r#"cannot get path \"/apis\""#), "{text}");
}

#[tokio::test]
async fn a_right_is_remembered_for_the_user_with_these_groups_only() {
    let world = World::new(Says::Yes);
    let proxy = world.proxy();
    let dev = [("x-remote-user", "u"), ("x-remote-group", "dev")];
    assert_eq!(world.code(&proxy, &dev, METRIC).await, 200);
    world.says(Says::No);
    assert_eq!(world.code(&proxy, &dev, METRIC).await, 200);
    for other in [
        [("x-remote-user", "u"), ("x-remote-group", "ops")],
        [("x-remote-user", "v"), ("x-remote-group", "dev")],
        [("x-remote-user", "u"), ("x-remote-extra-dev", "")],
        [("x-remote-user", "u"), ("x-remote-uid", "dev")],
    ] {
        assert_eq!(world.code(&proxy, &other, METRIC).await, 403, "{other:?}");
    }
    let elsewhere = Question::Metric { namespace: "bank", metric: "metricsqps" };
    assert_eq!(world.code(&proxy, &dev, elsewhere).await, 403);
    world.hand.set(later(10));
    assert_eq!(world.code(&proxy, &dev, METRIC).await, 403);
}

#[tokio::test]
async fn a_yes_outlives_the_cluster_for_a_minute_and_a_no_does_not() {
    let world = World::new(Says::Yes);
    let proxy = world.proxy();
    let (u, v) = ([("x-remote-user", "u")], [("x-remote-user", "v")]);
    assert_eq!(world.code(&proxy, &u, METRIC).await, 200);
    world.says(Says::No);
    assert_eq!(world.code(&proxy, &v, METRIC).await, 403);
    world.says(Says::Fails);
    assert_eq!(world.code(&proxy, &[("x-remote-user", "w")], METRIC).await, 503);
    world.hand.set(later(69));
    assert_eq!((world.code(&proxy, &u, METRIC).await, world.code(&proxy, &v, METRIC).await), (200, 503));
    world.hand.set(later(70));
    assert_eq!(world.code(&proxy, &u, METRIC).await, 503);
    world.says(Says::Yes);
    assert_eq!(world.code(&proxy, &u, METRIC).await, 200);
    // Withdrawn while the cluster answers, it is gone.
    world.hand.set(later(80));
    world.says(Says::No);
    assert_eq!(world.code(&proxy, &u, METRIC).await, 403);
    world.says(Says::Fails);
    world.hand.set(later(90));
    assert_eq!(world.code(&proxy, &u, METRIC).await, 503);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_says_nothing_is_waited_for_in_all_a_second_and_a_half() {
    let world = World::new(Says::Yes);
    let headers = bearer("good");
    let headers = headers.each_ref().map(|(name, value)| (*name, &**value));
    assert_eq!(world.code(&Peer::default(), &headers, METRIC).await, 200);
    world.says(Says::Nothing);
    let began = Instant::now();
    assert_eq!(world.code(&Peer::default(), &headers, Question::Path("/apis")).await, 503);
    assert_eq!(began.elapsed(), PATIENCE);
    assert_eq!(world.code(&world.proxy(), &[("x-remote-user", "u")], METRIC).await, 503);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_strangers_keeps_nobody_out() {
    let world = World::new(Says::Nothing);
    let nobody = Peer::default();
    let metrics: Vec<String> = (0..100).map(|n| format!("m{n}")).collect();
    let crowd =
        metrics.iter().map(|metric| world.code(&nobody, &[], Question::Metric { namespace: "n", metric }));
    let crowd = futures::future::join_all(crowd);
    let known = async {
        while world.fake.asked.lock().unwrap().len() < UNKNOWN_AT_ONCE {
            tokio::task::yield_now().await;
        }
        world.says(Says::Yes);
        world.code(&world.proxy(), &[("x-remote-user", "u")], METRIC).await
    };
    let (_, known) = futures::join!(crowd, known);
    assert_eq!(known, 200);
}

#[tokio::test]
async fn a_token_is_looked_up_once_in_ten_seconds_and_never_shown() {
    let world = World::new(Says::Yes);
    let nobody = Peer::default();
    let of = async |token: &str| {
        let headers = bearer(token);
        let headers = headers.each_ref().map(|(name, value)| (*name, &**value));
        world.answer(&nobody, &headers, METRIC).await
    };
    assert_eq!((of("good").await.0, of("good").await.0), (200, 200));
    assert_eq!(world.asked(), ["token", "t [system:authenticated] shop/metricsqps"]);
    let (code, text) = of("guessed").await;
    assert!(code == 401 && !text.contains("guessed"), "{text}");
    assert_eq!(of("guessed").await.0, 401);
    assert_eq!(world.asked(), ["token"]);
    let shown = format!("{:?}", world.guard);
    assert!(!shown.contains("good") && !shown.contains("guessed"));
    // Unlike a right, a token may have an end: it does not outlive the cluster.
    world.says(Says::Fails);
    world.hand.set(later(10));
    assert_eq!((of("good").await.0, of("guessed").await.0), (503, 503));
}

#[tokio::test]
async fn whom_to_believe_may_change_while_a_connection_lasts() {
    let world = World::new(Says::Yes);
    let proxy = world.proxy();
    let headers = [("x-remote-user", "u"), ("x-remote-group", "system:masters")];
    assert_eq!(world.code(&proxy, &headers, METRIC).await, 200);
    assert!(world.asked().is_empty());
    let new = Ca::new("front-proxy");
    let both = format!("{}{}", world.proxies.pem, new.pem);
    world.trusted.take(configuration(&both, &world.clients.pem));
    let renewed = Peer::new(new.issue(client(PROXY, &[])).0);
    assert_eq!(world.code(&proxy, &headers, METRIC).await, 200);
    assert_eq!(world.code(&renewed, &headers, METRIC).await, 200);
    assert!(world.asked().is_empty());
    world.trusted.take(configuration(&new.pem, &world.clients.pem));
    assert_eq!(world.code(&renewed, &headers, METRIC).await, 200);
    assert!(world.asked().is_empty());
    world.says(Says::No);
    let mut names = HeaderMap::new();
    names.insert("x-remote-user", "u".parse().unwrap());
    let status = world.guard.admit(&proxy, &mut names, METRIC).await.unwrap_err();
    assert!(format!("{status:?}").contains("system:anonymous"), "{status:?}");
}

#[tokio::test]
async fn a_certificate_ends_while_a_connection_lasts() {
    let world = World::new(Says::Yes);
    let mut ending = client("u", &["system:masters"]);
    // Two days from now.
    ending.not_after = rcgen::date_time_ymd(2026, 2, 2);
    let peer = Peer::new(world.clients.issue(ending).0);
    assert_eq!(world.code(&peer, &[], METRIC).await, 200);
    assert!(world.asked().is_empty());
    world.hand.set(later(2 * 24 * 3600));
    world.code(&peer, &[], METRIC).await;
    assert_eq!(world.asked(), ["system:anonymous [system:unauthenticated] shop/metricsqps"]);
}
