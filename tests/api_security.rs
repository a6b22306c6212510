//! Who may read the aggregated API, played against the real server over TLS: certificates, headers and tokens as the API
//! server, users and impostors send them.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use plimsoll::units::Span;
use plimsoll_adapter::adapter::{Adapter, Listen};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::{Clock, Hand};
use plimsoll_adapter::external::auth::{
    Access, Guard, Question, ReviewError, Reviewer, Trust, Trusted, User,
};
use plimsoll_adapter::external::{Api, BindError, Certificate, Rotation, Server};
use plimsoll_adapter::ops::{Readiness, Telemetry};
use plimsoll_adapter::stop::{self, Stopper};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[path = "support/api_server.rs"]
mod api_server;
#[path = "support/authorities.rs"]
mod authorities;

use api_server::ApiServer;
use authorities::{Ca, NOW, PROXY, client, configuration};

const DISCOVERY: &str = "/apis/external.metrics.k8s.io/v1beta1";
/// A metric of an object on which nothing was decided yet: whoever is let in is told that, with a 503.
const METRIC: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/metricsqps";
const NOT_DECIDED: &str = "metricsqps of shop/checkout is not known: nothing was decided yet";

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A cluster in which some users may read everything, and one the autoscalers of `shop`.
#[derive(Debug, Default)]
struct Cluster {
    allowed: Mutex<Vec<&'static str>>,
    down: Mutex<bool>,
    asked: Mutex<Vec<(User, String)>>,
}

impl Cluster {
    fn asked(&self) -> Vec<(User, String)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn is_up(&self) -> Result<(), ReviewError> {
        if *self.down.lock().unwrap() { Err(ReviewError::Failed("down".to_owned())) } else { Ok(()) }
    }
}

impl Reviewer for Cluster {
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
        Box::pin(async move {
            self.is_up()?;
            Ok(token.strip_prefix("token-of-").map(|name| User { name: name.to_owned(), ..User::default() }))
        })
    }

    fn access<'a>(
        &'a self,
        user: &'a User,
        question: Question<'a>,
    ) -> BoxFuture<'a, Result<bool, ReviewError>> {
        Box::pin(async move {
            self.is_up()?;
            self.asked.lock().unwrap().push((user.clone(), format!("{question:?}")));
            let of_shop = Question::Autoscalers { namespace: Some("shop") };
            let is_ann = user.name == "ann" && question == of_shop;
            Ok(is_ann || self.allowed.lock().unwrap().contains(&&*user.name))
        })
    }
}

/// A server that `hpa` may read.
struct World {
    addr: SocketAddr,
    root: Mutex<CertificateDer<'static>>,
    cluster: Arc<Cluster>,
    trusted: Trusted,
    ready: Readiness,
    hand: Hand,
    proxies: Ca,
    clients: Ca,
    cert_dir: tempfile::TempDir,
    _stop: Stopper,
}

/// Writes a certificate as a directory holds it.
fn write_certificate(dir: &std::path::Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("tls.crt"), made.cert.pem()).unwrap();
    made.cert.into()
}

impl World {
    async fn start() -> Self {
        let world = Self::start_unread().await;
        world.trusted.take(configuration(&world.proxies.pem, &world.clients.pem));
        world
    }

    /// The same, before it is known whom to believe.
    async fn start_unread() -> Self {
        let board = Arc::new(Board::default());
        board.cell(&ObjectKey::new("shop", "checkout"));
        board.cell(&ObjectKey::new("bank", "ledger"));
        let (clock, hand) = Clock::manual(NOW);
        let ready = Readiness::default();
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
        let cluster = Arc::new(Cluster::default());
        cluster.allowed.lock().unwrap().push("hpa");
        let trusted = Trusted::new(ready.clone());
        let guard = Guard::new(cluster.clone(), trusted.clone(), clock.clone());
        let api = Api::new(board, clock.clone(), ready.clone(), Arc::clone(&telemetry)).guarded(guard);
        let cert_dir = tempfile::tempdir().unwrap();
        let root = Mutex::new(write_certificate(cert_dir.path()));
        let certificate = Certificate::read(cert_dir.path()).unwrap();
        let tls = Arc::new(ArcSwap::new(certificate.config()));
        let server = Server::bind(([127, 0, 0, 1], 0).into(), Arc::clone(&tls), api).await.unwrap();
        let addr = server.addr();
        let (stopper, stop) = stop::channel();
        tokio::spawn(server.run(stop.clone()));
        let dir = cert_dir.path().to_owned();
        tokio::spawn(Rotation::new(dir, &certificate, tls, telemetry, clock).run(stop));
        let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
        Self { addr, root, cluster, trusted, ready, hand, proxies, clients, cert_dir, _stop: stopper }
    }

    fn proxy(&self) -> Option<Identity> {
        Some(self.proxies.issue(client(PROXY, &[])))
    }

    fn user(&self, name: &str, groups: &[&str]) -> Option<Identity> {
        Some(self.clients.issue(client(name, groups)))
    }

    async fn connect(&self, identity: Option<Identity>, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let root = self.root.lock().unwrap().clone();
        connect(self.addr, root, identity, alpn).await
    }

    /// Over a new HTTP/1.1 connection of its own.
    async fn get(&self, identity: Option<Identity>, headers: &[(&str, &str)], path: &str) -> Answer {
        let mut connection = Http1::over(self.connect(identity, "http/1.1").await.unwrap()).await;
        connection.get(headers, path).await
    }

    /// `METRIC`, over HTTP/1.1.
    async fn metric(&self, identity: Option<Identity>, headers: &[(&str, &str)]) -> Answer {
        self.get(identity, headers, METRIC).await
    }

    fn only_asked(&self) -> User {
        let asked = self.cluster.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.into_iter().next().unwrap().0
    }
}

/// Connects as whoever the identity is, showing its certificate whether or not the server names its authority.
async fn connect(
    addr: SocketAddr,
    root: CertificateDer<'static>,
    identity: Option<Identity>,
    alpn: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_by(addr, tls_client(root, identity, alpn)).await
}

async fn connect_by(addr: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    TlsConnector::from(config).connect("localhost".try_into().unwrap(), stream).await
}

fn tls_client(root: CertificateDer<'static>, identity: Option<Identity>, alpn: &str) -> Arc<ClientConfig> {
    tls_client_of(&rustls::version::TLS13, root, identity, alpn)
}

fn tls_client_of(
    version: &'static SupportedProtocolVersion,
    root: CertificateDer<'static>,
    identity: Option<Identity>,
    alpn: &str,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((chain, key)) => {
            // Not checked whether the two belong together: an impostor's do not.
            let key = provider.key_provider.load_private_key(key).unwrap();
            config.with_client_cert_resolver(Arc::new(Show(Arc::new(CertifiedKey::new(chain, key)))))
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

/// Shows one certificate to whoever asks for any.
#[derive(Debug)]
struct Show(Arc<CertifiedKey>);

impl ResolvesClientCert for Show {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn request(uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::get(uri);
    if uri.starts_with('/') {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

struct Http1(http1::SendRequest<Empty<Bytes>>);

impl Http1 {
    async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn get(&mut self, headers: &[(&str, &str)], path: &str) -> Answer {
        self.0.ready().await.unwrap();
        Answer::read(self.0.send_request(request(path, headers)).await.unwrap()).await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    async fn read(response: hyper::Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        assert!(!parts.headers.contains_key("retry-after"));
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Self { status: parts.status.as_u16(), text }
    }

    fn message(&self) -> String {
        let status: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(
            (status["kind"].as_str(), status["code"].as_u64()),
            (Some("Status"), Some(self.status.into()))
        );
        status["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn was_let_in(&self) {
        assert_eq!((self.status, &*self.message()), (503, NOT_DECIDED));
    }

    #[track_caller]
    fn is(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.message().contains(says), "{}", self.text);
    }
}

#[tokio::test]
async fn the_front_proxy_says_who_asks() {
    let world = World::start().await;
    let headers = [
        ("X-Remote-User", "hpa"),
        ("X-Remote-Uid", "7"),
        ("X-Remote-Group", "controllers"),
        ("X-Remote-Group", "more"),
        ("X-Remote-Extra-acme.com%2Fteam%3A", "a"),
        ("X-Remote-Extra-acme.com%2Fteam%3A", "b"),
    ];
    world.metric(world.proxy(), &headers).await.was_let_in();
    assert_eq!(
        world.only_asked(),
        User {
            name: "hpa".to_owned(),
            uid: Some("7".to_owned()),
            groups: ["controllers", "more", "system:authenticated"].map(String::from).into(),
            extra: BTreeMap::from([("acme.com/team:".to_owned(), vec!["a".to_owned(), "b".to_owned()])]),
        }
    );
}

#[tokio::test]
async fn a_user_without_groups_is_authenticated_all_the_same() {
    let world = World::start().await;
    world.cluster.allowed.lock().unwrap().push("system:kube-aggregator");
    let answer = world.get(world.proxy(), &[("X-Remote-User", "system:kube-aggregator")], DISCOVERY).await;
    assert_eq!(answer.status, 200);
    let asked = world.cluster.asked();
    assert_eq!(asked[0].0.groups, ["system:authenticated"]);
    assert_eq!(asked[0].1, format!("Path({DISCOVERY:?})"));
}

#[tokio::test]
async fn one_http2_connection_carries_the_requests_of_many_users() {
    let world = World::start().await;
    let stream = world.connect(world.proxy(), "h2").await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("https://localhost{METRIC}");
    let mut answers = vec![];
    for user in ["hpa", "other", "hpa"] {
        answers.push(sender.send_request(request(&uri, &[("x-remote-user", user)])));
    }
    answers.push(sender.send_request(request(&uri, &[])));
    let mut codes = vec![];
    for answer in futures::future::join_all(answers).await {
        codes.push(Answer::read(answer.unwrap()).await);
    }
    codes[0].was_let_in();
    codes[1].is(403, r#"User "other" cannot"#);
    codes[2].was_let_in();
    codes[3].is(403, r#"User "system:anonymous" cannot"#);
}

#[tokio::test]
async fn a_proxy_of_another_name_names_nobody() {
    let world = World::start().await;
    let other = || Some(world.proxies.issue(client("somebody", &[])));
    let headers = [("X-Remote-User", "hpa"), ("X-Remote-Group", "system:masters")];
    world.metric(other(), &headers).await.is(401, r#"common name "somebody" may not name users"#);
    world.metric(other(), &[]).await.is(401, "Unauthorized");
    world.metric(other(), &[("Authorization", "Bearer wrong")]).await.is(401, "Unauthorized");
    assert!(world.cluster.asked().is_empty());
    // The next way is tried, for itself.
    let headers = [("X-Remote-User", "root"), ("Authorization", "Bearer token-of-hpa")];
    world.metric(other(), &headers).await.was_let_in();
    assert_eq!(world.only_asked().name, "hpa");
}

#[tokio::test]
async fn a_header_without_a_certificate_that_somebody_vouches_for_is_nothing() {
    let world = World::start().await;
    let headers = [("X-Remote-User", "hpa"), ("X-Remote-Group", "system:masters")];
    let stranger = Ca::new("front-proxy").issue(client(PROXY, &["system:masters"]));
    for identity in [None, Some(stranger), world.user("someone", &[])] {
        world.metric(identity, &headers).await.is(403, "cannot list resource");
    }
    let asked: Vec<_> = world.cluster.asked().into_iter().map(|(user, _)| (user.name, user.groups)).collect();
    let groups = |group: &str| vec![group.to_owned()];
    // The second is the first again, and remembered.
    assert_eq!(
        asked,
        [
            ("system:anonymous".to_owned(), groups("system:unauthenticated")),
            ("someone".to_owned(), groups("system:authenticated")),
        ]
    );
}

#[tokio::test]
async fn a_certificate_without_its_key_is_no_way_in() {
    let world = World::start().await;
    let (chain, _) = world.proxy().unwrap();
    let (_, key) = world.proxy().unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let identity = Some((chain.clone(), key.clone_key()));
        let config = tls_client_of(version, world.root.lock().unwrap().clone(), identity, "http/1.1");
        // In TLS 1.3 the client is told after it thinks that it is connected.
        if let Ok(mut stream) = connect_by(world.addr, config).await {
            let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            let mut answer = [0; 64];
            assert!(stream.read(&mut answer).await.is_err(), "{}", String::from_utf8_lossy(&answer));
        }
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = tls_client_of(version, world.root.lock().unwrap().clone(), world.proxy(), "http/1.1");
        let stream = connect_by(world.addr, config).await.unwrap();
        Http1::over(stream).await.get(&[("X-Remote-User", "hpa")], METRIC).await.was_let_in();
    }
}

#[tokio::test]
async fn a_user_may_come_with_a_certificate() {
    let world = World::start().await;
    world.metric(world.user("hpa", &["dev"]), &[]).await.was_let_in();
    assert_eq!(world.only_asked().groups, ["dev", "system:authenticated"]);
    world.metric(world.user("other", &[]), &[]).await.is(403, r#"User "other" cannot"#);
    world.cluster.asked();
    world.metric(world.user("admin", &["system:masters"]), &[]).await.was_let_in();
    assert!(world.cluster.asked().is_empty());
}

#[tokio::test]
async fn a_user_may_come_with_a_token() {
    let world = World::start().await;
    world.metric(None, &[("Authorization", "Bearer token-of-hpa")]).await.was_let_in();
    assert_eq!(world.only_asked().groups, ["system:authenticated"]);
    world.metric(None, &[("Authorization", "Bearer token-of-other")]).await.is(403, r#"User "other" cannot"#);
    let refused = world.metric(None, &[("Authorization", "Bearer hunter2")]).await;
    refused.is(401, "the bearer token is not good");
    assert!(!refused.text.contains("hunter2"));
}

#[tokio::test]
async fn a_refusal_is_a_status_about_the_metric() {
    let world = World::start().await;
    let answer = world.metric(world.proxy(), &[("X-Remote-User", "u")]).await;
    let expected = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "metricsqps.external.metrics.k8s.io is forbidden: User \"u\" cannot list resource \"metricsqps\" in \
                    API group \"external.metrics.k8s.io\" in the namespace \"shop\"",
        "details": { "name": "metricsqps", "group": "external.metrics.k8s.io", "kind": "metricsqps" },
    });
    assert_eq!(serde_json::from_str::<Value>(&answer.text).unwrap(), expected);
    let answer = world.get(world.proxy(), &[("X-Remote-User", "u")], "/apis").await;
    answer.is(403, r#"forbidden: User "u" cannot get path "/apis""#);
}

#[tokio::test]
async fn an_outage_of_the_cluster_is_no_refusal_and_ends_no_right_at_once() {
    let world = World::start().await;
    let hpa = [("X-Remote-User", "hpa")];
    world.metric(world.proxy(), &hpa).await.was_let_in();
    *world.cluster.down.lock().unwrap() = true;
    world.metric(world.proxy(), &[("X-Remote-User", "new")]).await.is(503, "the cluster cannot be asked now");
    world.metric(None, &[("Authorization", "Bearer token-of-hpa")]).await.is(503, "cannot be asked now");
    world.hand.set(NOW + Span::from_secs(60));
    world.metric(world.proxy(), &hpa).await.was_let_in();
    world.hand.set(NOW + Span::from_secs(70));
    world.metric(world.proxy(), &hpa).await.is(503, r#"whether user "hpa" may read this cannot be told"#);
}

#[tokio::test]
async fn probes_and_paths_that_are_not_there_ask_nobody() {
    let world = World::start().await;
    world.ready.set();
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(world.get(None, &[], path).await.text, "ok", "{path}");
    }
    // The aggregator takes 404 for "none", and nothing else.
    for path in ["/openapi/v2", "/openapi/v3", "/apis/apps"] {
        world.get(None, &[], path).await.is(404, "the server could not find");
    }
    assert!(world.cluster.asked().is_empty());
}

#[tokio::test]
async fn before_it_is_known_whom_to_believe_nobody_gets_anything() {
    let world = World::start_unread().await;
    world.ready.set();
    let headers = [("X-Remote-User", "hpa"), ("X-Remote-Group", "system:masters")];
    world.metric(world.proxy(), &headers).await.is(503, "has not been read yet");
    world.get(None, &[], "/readyz").await.is(503, "the cluster's word on whom to believe is not there yet");
    assert_eq!(world.get(None, &[], "/livez").await.text, "ok");
    world.trusted.take(configuration(&world.proxies.pem, &world.clients.pem));
    world.metric(world.proxy(), &headers).await.was_let_in();
    assert_eq!(world.get(None, &[], "/readyz").await.text, "ok");
}

#[tokio::test]
async fn authorities_are_exchanged_under_open_connections() {
    let world = World::start().await;
    let new = Ca::new("front-proxy");
    let hpa = [("X-Remote-User", "hpa")];
    let mut old_proxy = Http1::over(world.connect(world.proxy(), "http/1.1").await.unwrap()).await;
    let new_identity = Some(new.issue(client(PROXY, &[])));
    let mut new_proxy = Http1::over(world.connect(new_identity, "http/1.1").await.unwrap()).await;
    old_proxy.get(&hpa, METRIC).await.was_let_in();
    new_proxy.get(&hpa, METRIC).await.is(403, "system:anonymous");

    world.trusted.take(configuration(&format!("{}{}", world.proxies.pem, new.pem), &world.clients.pem));
    old_proxy.get(&hpa, METRIC).await.was_let_in();
    new_proxy.get(&hpa, METRIC).await.was_let_in();

    // What cannot be read changes nothing.
    world.trusted.take(configuration("-----BEGIN CERTIFICATE-----", &world.clients.pem));
    old_proxy.get(&hpa, METRIC).await.was_let_in();

    world.trusted.take(configuration(&new.pem, &world.clients.pem));
    old_proxy.get(&hpa, METRIC).await.is(403, "system:anonymous");
    new_proxy.get(&hpa, METRIC).await.was_let_in();
}

#[tokio::test]
async fn a_session_that_is_resumed_is_worth_what_its_certificate_is_worth_now() {
    let world = World::start().await;
    let hpa = [("X-Remote-User", "hpa")];
    let config = tls_client(world.root.lock().unwrap().clone(), world.proxy(), "http/1.1");
    let first = connect_by(world.addr, Arc::clone(&config)).await.unwrap();
    Http1::over(first).await.get(&hpa, METRIC).await.was_let_in();
    for (authority, let_in) in [(&world.proxies, true), (&Ca::new("front-proxy"), false)] {
        world.trusted.take(configuration(&authority.pem, &world.clients.pem));
        let again = connect_by(world.addr, Arc::clone(&config)).await.unwrap();
        assert_eq!(again.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        let answer = Http1::over(again).await.get(&hpa, METRIC).await;
        if let_in { answer.was_let_in() } else { answer.is(403, "system:anonymous") }
    }
}

#[tokio::test]
async fn a_certificate_that_is_replaced_on_disk_is_shown_to_new_connections() {
    let world = World::start().await;
    let hpa = [("X-Remote-User", "hpa")];
    let mut open = Http1::over(world.connect(world.proxy(), "http/1.1").await.unwrap()).await;
    open.get(&hpa, METRIC).await.was_let_in();
    let new = write_certificate(world.cert_dir.path());
    *world.root.lock().unwrap() = new;
    let mut now = NOW;
    while world.connect(None, "http/1.1").await.is_err() {
        now += Span::from_secs(5);
        world.hand.set(now);
    }
    world.metric(world.proxy(), &hpa).await.was_let_in();
    open.get(&hpa, METRIC).await.was_let_in();
}

#[tokio::test]
async fn a_user_named_twice_is_refused() {
    let world = World::start().await;
    for second in ["X-Remote-User", "x-remote-user", "X-REMOTE-USER"] {
        let mut stream = world.connect(world.proxy(), "http/1.1").await.unwrap();
        // As bytes: a client's library might tidy up.
        let head = format!(
            "GET {METRIC} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nX-Remote-User: other\r\n{second}: hpa\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    // A name that only looks like it is another header.
    for name in ["X-Remote-User_", "X_Remote_User", "X-Remote-Users"] {
        world.metric(world.proxy(), &[(name, "hpa")]).await.is(403, "system:anonymous");
    }
    assert!(world.cluster.asked().iter().all(|(user, _)| user.name == "system:anonymous"));
}

#[tokio::test]
async fn a_guarded_api_may_be_bound_for_others() {
    let (clock, _hand) = Clock::manual(NOW);
    let telemetry = Arc::new(Telemetry::new(Arc::default(), clock.clone()));
    let api = Api::new(Arc::default(), clock.clone(), Readiness::default(), telemetry);
    let guard = Guard::new(Arc::<Cluster>::default(), Trusted::new(Readiness::default()), clock);
    let tls = Arc::new(ArcSwap::new(Certificate::self_signed(&[]).unwrap().config()));
    // An address that no machine has: it is the system that refuses.
    let error = Server::bind("192.0.2.1:6443".parse().unwrap(), tls, api.guarded(guard)).await.unwrap_err();
    assert!(matches!(error, BindError::Refused { .. }), "{error}");
}

#[test]
fn a_configuration_without_anything_trusts_nobody() {
    let (_, faults) = Trust::read(BTreeMap::new(), None);
    assert!(faults.is_empty());
}

/// What a probe is told, head and all.
async fn plain(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_whole_adapter_asks_a_cluster() {
    let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
    let cluster = ApiServer::start(configuration(&proxies.pem, &clients.pem)).await;
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    let names = ["adapter.plimsoll.svc".to_owned()];
    let listen = Listen {
        access: Access::Delegated(cluster.client()),
        service_names: names.into(),
        health: Some(loopback),
        ..Listen::locally(loopback, loopback)
    };
    let adapter = Adapter::bind(listen, Clock::system()).await.unwrap();
    adapter.board().cell(&ObjectKey::new("shop", "checkout"));
    let root = adapter.certificate().ca_pem().unwrap();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    let (addr, health) = (adapter.api_addr(), adapter.health_addr().unwrap());
    let (stopper, stop) = stop::channel();
    let running = tokio::spawn(adapter.run(stop));

    let identity = || Some(proxies.issue(client(PROXY, &[])));
    let get = async |identity, headers: &[(&str, &str)]| {
        let stream = connect(addr, root.clone(), identity, "http/1.1").await.unwrap();
        Http1::over(stream).await.get(headers, METRIC).await
    };
    let hpa = [("X-Remote-User", "hpa"), ("X-Remote-Group", "g"), ("X-Remote-Extra-K", "v")];
    let mut answer = get(identity(), &hpa).await;
    while answer.message().contains("has not been read yet") {
        answer = get(identity(), &hpa).await;
    }
    answer.was_let_in();
    get(None, &[("Authorization", "Bearer good")]).await.was_let_in();
    get(None, &[("Authorization", "Bearer bad")]).await.is(401, "not good");
    get(identity(), &[("X-Remote-User", "other")]).await.is(403, r#"User "other""#);
    get(identity(), &[("X-Remote-User", "denied")]).await.is(403, r#"User "denied""#);
    get(None, &[("Authorization", "Bearer broken")]).await.is(503, "cannot be asked now");
    let [hpa_asked, token_asked, ..] = &*cluster.reviews() else { panic!() };
    assert_eq!(
        hpa_asked["spec"],
        serde_json::json!({
            "user": "hpa", "groups": ["g", "system:authenticated"], "extra": {"k": ["v"]},
            "resourceAttributes": {
                "namespace": "shop", "verb": "list", "group": "external.metrics.k8s.io", "version": "v1beta1",
                "resource": "metricsqps",
            },
        })
    );
    assert_eq!(token_asked["kind"], "TokenReview");
    assert!(plain(health, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(plain(health, "/readyz").await.ends_with("the first data are not there yet\n"));
    assert!(plain(health, "/metrics").await.starts_with("HTTP/1.1 404 "));

    // The front proxy's authority is replaced.
    let new = Ca::new("front-proxy");
    cluster.change(configuration(&new.pem, &clients.pem));
    while get(Some(new.issue(client(PROXY, &[]))), &hpa).await.status == 403 {}
    get(identity(), &hpa).await.is(403, "system:anonymous");
    stopper.stop();
    running.await.unwrap().unwrap();
}

/// Names of the autoscalers that the console lists for whoever shows this token.
async fn listed(world: &World, token: &str) -> Vec<String> {
    let bearer = format!("Bearer {token}");
    let answer = world.get(None, &[("Authorization", &bearer)], "/console/objects").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let list: Value = serde_json::from_str(&answer.text).unwrap();
    let names = list["objects"].as_array().unwrap().iter();
    names
        .map(|object| {
            format!("{}/{}", object["namespace"].as_str().unwrap(), object["name"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn people_who_sign_on_see_what_they_may_read() {
    let world = World::start().await;
    let page = world.get(None, &[], "/console").await;
    assert!(page.status == 200 && page.text.contains("\"signOn\":true") && !page.text.contains("ledger"));
    assert!(world.cluster.asked().is_empty(), "the page is nobody's secret");
    world.get(None, &[], "/console/objects").await.is(401, "sign on with a token of the cluster");
    world.get(None, &[], "/console/objects/shop/checkout").await.is(401, "sign on");
    let ask = async |token: &str, path: &str| {
        world.get(None, &[("Authorization", &format!("Bearer {token}"))], path).await
    };
    ask("made-up", "/console/objects").await.is(401, "the bearer token is not good");
    assert_eq!(listed(&world, "token-of-bob").await, [""; 0], "who may read none is shown none");
    let refused = ask("token-of-bob", "/console/objects/shop/checkout").await;
    refused.is(403, "User \"bob\" cannot list resource \"loadawareautoscalers\"");
    assert_eq!(listed(&world, "token-of-hpa").await, ["bank/ledger", "shop/checkout"]);
    assert_eq!(listed(&world, "token-of-ann").await, ["shop/checkout"]);

    let own = ask("token-of-ann", "/console/objects/shop/checkout").await;
    assert!(own.status == 200 && own.text.contains("\"name\":\"checkout\""), "{}", own.text);
    assert_eq!(ask("token-of-ann", "/console/objects/shop/none").await.status, 404);
    // Whether there is such an object is not told either, nor by another way to write its name.
    for path in ["bank/ledger", "bank/none", "b%61nk/ledger", "shop%2F..%2Fbank/ledger"] {
        ask("token-of-ann", &format!("/console/objects/{path}")).await.is(403, "cannot list resource");
    }
    assert_eq!(ask("token-of-hpa", "/console/events").await.status, 404, "an event source shows no token");
    *world.cluster.down.lock().unwrap() = true;
    ask("token-of-carl", "/console/objects").await.is(503, "the cluster cannot be asked now");
}
