//! The contract of `external.metrics.k8s.io/v1beta1`, played against the real server over TLS: what the aggregator asks by
//! itself, what a HorizontalPodAutoscaler asks, and every error.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use plimsoll::load::{Load, Pods};
use plimsoll::scale::{
    Capacity, CapacitySource, DECISION_SCHEMA, Decision, Desired, Evidence, NoOpinion, Outcome,
};
use plimsoll::spec::Mode;
use plimsoll::units::{MetricsQps, Rate, Span, Time};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::{Clock, Hand};
use plimsoll_adapter::external::{Api, BindError, Certificate, Server};
use plimsoll_adapter::ops::{Readiness, Telemetry};
use plimsoll_adapter::stop::{self, Stopper};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const BASE: &str = "/apis/external.metrics.k8s.io/v1beta1";
const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
/// What the controller manager sends.
const HPA_ACCEPT: &str = "application/vnd.kubernetes.protobuf, */*";
/// 2026-01-31T09:30:00.25Z.
const SAMPLED: Time = Time::from_nanos(1_769_851_800_250_000_000);
const VALID: Span = Span::from_secs(60);

fn decision(outcome: Outcome) -> Decision {
    Decision {
        schema: DECISION_SCHEMA,
        at: SAMPLED,
        mode: Mode::Auto,
        min_replicas: 1,
        max_replicas: 10,
        capacity: Some(Capacity {
            per_pod: MetricsQps::new(5.0).unwrap(),
            interval: None,
            source: CapacitySource::Given,
        }),
        evidence: Some(Evidence { sampled_at: SAMPLED, pods: Pods::default() }),
        learned: None,
        forecast: None,
        lead_time: None,
        short_time: plimsoll::scale::ShortTime::default(),
        outcome,
    }
}

/// A load of 8.6 with a bound of 12.25, which takes three replicas.
fn desired() -> Decision {
    decision(Outcome::Desired(Desired {
        replicas: 3,
        reactive: 2,
        proactive: Some(3),
        load: Load {
            metricsqps: MetricsQps::new(8.6).unwrap(),
            standard_error: MetricsQps::ZERO,
            raw: MetricsQps::new(8.6).unwrap(),
            weights: plimsoll::load::WeightsInForce::Given,
            borne_out: None,
            completed: Rate::new(8.6).unwrap(),
            offered: Rate::new(8.6).unwrap(),
            classes: vec![],
            inexact_edges: vec![],
            congestion: vec![],
        },
        bound: MetricsQps::new(12.25).unwrap(),
        steps: vec![],
        valid_until: SAMPLED + VALID,
    }))
}

/// A server with `shop/checkout` and `shop/search` decided, `shop/silent` without an opinion, `shop/new` undecided and
/// `alone/worker` decided.
struct World {
    addr: SocketAddr,
    certificate: Certificate,
    tls: Arc<ArcSwap<ServerConfig>>,
    hand: Hand,
    ready: Readiness,
    stop: Stopper,
    server: JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        let board = Arc::new(Board::default());
        let unknown = decision(Outcome::NoOpinion(NoOpinion::NoReadyPods));
        for (namespace, name, decision) in [
            ("shop", "checkout", Some(desired())),
            ("shop", "search", Some(desired())),
            ("shop", "silent", Some(unknown)),
            ("shop", "new", None),
            ("alone", "worker", Some(desired())),
        ] {
            let cell = board.cell(&ObjectKey::new(namespace, name));
            if let Some(decision) = decision {
                cell.publish(decision);
            }
        }
        let (clock, hand) = Clock::manual(SAMPLED + Span::from_secs(10));
        let ready = Readiness::default();
        let certificate = Certificate::self_signed(&[]).unwrap();
        let tls = Arc::new(ArcSwap::new(certificate.config()));
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
        let api = Api::new(board, clock, ready.clone(), telemetry);
        let server = Server::bind(([127, 0, 0, 1], 0).into(), Arc::clone(&tls), api).await.unwrap();
        let addr = server.addr();
        let (stop, stopped) = stop::channel();
        let server = tokio::spawn(server.run(stopped));
        Self { addr, certificate, tls, hand, ready, stop, server }
    }

    async fn connect(
        &self,
        trusted: &CertificateDer<'static>,
        alpn: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.addr).await?;
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
    }

    async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let stream = self.connect(&self.certificate.chain()[0], "http/1.1").await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = self.connect(&self.certificate.chain()[0], "h2").await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Over a new HTTP/1.1 connection.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let response = self.http1().await.send_request(request(method, path, headers)).await.unwrap();
        Answer::read(response).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[]).await
    }

    async fn accepting(&self, path: &str, accept: &str) -> Answer {
        self.send("GET", path, &[("accept", accept)]).await
    }

    /// `metricsqps` in namespace `shop`, with a selector that is encoded already.
    async fn select(&self, selector: &str) -> Answer {
        self.accepting(&format!("{BASE}/namespaces/shop/metricsqps?labelSelector={selector}"), HPA_ACCEPT)
            .await
    }
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    if uri.starts_with('/') {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    #[track_caller]
    fn is_json(&self, expected: &Value) {
        assert_eq!((self.status, &self.json()), (200, expected));
        assert_eq!(self.header("content-type"), "application/json");
    }

    /// A Status about `metric`, if there is one, with this code and reason. Never to be asked again by the client itself.
    #[track_caller]
    fn is_status(&self, code: u16, reason: &str, metric: Option<&str>, message: &str) {
        let mut expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        if let Some(metric) = metric {
            expected["details"] =
                json!({ "name": metric, "group": "external.metrics.k8s.io", "kind": metric });
        }
        assert_eq!((self.status, self.json()), (code, expected));
        assert_eq!(self.header("content-type"), "application/json");
        assert!(!self.headers.contains_key("retry-after"));
    }
}

fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1",
        "resources": [{
            "name": "externalmetrics", "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }],
    })
}

fn aggregated(version: &str) -> Value {
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {},
        "items": [{
            "metadata": { "name": "external.metrics.k8s.io" },
            "versions": [{
                "version": "v1beta1", "freshness": "Current",
                "resources": [{
                    "resource": "externalmetrics",
                    "responseKind": { "group": "", "version": "", "kind": "ExternalMetricValueList" },
                    "scope": "Namespaced", "singularResource": "", "verbs": ["get"],
                }],
            }],
        }],
    })
}

fn list(metric: &str, autoscaler: &str, value: &str) -> Value {
    json!({
        "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
        "items": [{
            "metricName": metric, "metricLabels": { "plimsoll.dev/autoscaler": autoscaler },
            "timestamp": "2026-01-31T09:30:00Z", "value": value,
        }],
    })
}

#[tokio::test]
async fn the_aggregator_finds_the_api_available() {
    let world = World::start().await;
    world.get(BASE).await.is_json(&resources());
    // Its way out where aggregated discovery is not to be had.
    world.accepting(BASE, "application/json").await.is_json(&resources());
}

#[tokio::test]
async fn aggregated_discovery_is_served_in_both_versions_and_once() {
    let world = World::start().await;
    let mut etags = vec![];
    for (accept, version) in [
        (V2.to_owned(), "v2"),
        (V2BETA1.to_owned(), "v2beta1"),
        (format!("{V2},{V2BETA1},application/json"), "v2"),
    ] {
        let answer = world.accepting("/apis", &accept).await;
        assert_eq!((answer.status, answer.json()), (200, aggregated(version)));
        let content_type =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        assert_eq!((answer.header("content-type"), answer.header("vary")), (&*content_type, "accept"));
        let etag = answer.header("etag");
        let again = world.send("GET", "/apis", &[("accept", &accept), ("if-none-match", etag)]).await;
        assert_eq!((again.status, &*again.text, again.header("etag")), (304, "", etag));
        assert_eq!(again.header("vary"), "accept");
        etags.push(etag.to_owned());
    }
    assert_ne!(etags[0], etags[1]);
    assert_eq!(etags[0], etags[2]);
}

#[tokio::test]
async fn plain_discovery_lists_the_group_and_the_paths() {
    let world = World::start().await;
    let version = json!({ "groupVersion": "external.metrics.k8s.io/v1beta1", "version": "v1beta1" });
    let group =
        json!({ "name": "external.metrics.k8s.io", "versions": [version], "preferredVersion": version });
    let list = json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group] });
    world.get("/apis").await.is_json(&list);
    world.accepting("/apis", "application/json").await.is_json(&list);
    let mut alone = group;
    alone["kind"] = "APIGroup".into();
    alone["apiVersion"] = "v1".into();
    world.get("/apis/external.metrics.k8s.io").await.is_json(&alone);
    world.get("/").await.is_json(&json!({ "paths": [
        "/apis", "/apis/external.metrics.k8s.io", BASE, "/healthz", "/livez", "/readyz",
    ] }));
}

#[tokio::test]
async fn there_is_no_openapi_and_the_aggregator_takes_404_for_that() {
    let world = World::start().await;
    for path in ["/openapi/v2", "/openapi/v3"] {
        let message = format!("the server could not find {path}; / lists the paths there are");
        world.get(path).await.is_status(404, "NotFound", None, &message);
    }
}

#[tokio::test]
async fn an_hpa_gets_the_one_value_that_it_selects() {
    let world = World::start().await;
    for (metric, value) in
        [("metricsqps", "8600m"), ("metricsqps-forecast", "12250m"), ("plimsoll-desired-replicas", "3000m")]
    {
        let path =
            format!("{BASE}/namespaces/shop/{metric}?labelSelector=plimsoll.dev%2Fautoscaler%3Dcheckout");
        for accept in
            [HPA_ACCEPT, "application/vnd.kubernetes.protobuf,application/json", "application/json", ""]
        {
            world.accepting(&path, accept).await.is_json(&list(metric, "checkout", value));
        }
    }
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    let world = World::start().await;
    let mut client = world.http2().await;
    let uri = |namespace| format!("https://localhost{BASE}/namespaces/{namespace}/metricsqps");
    let alone = client.send_request(request("GET", &uri("alone"), &[("accept", HPA_ACCEPT)]));
    let none = client.clone().send_request(request("GET", &uri("none"), &[]));
    let (alone, none) = tokio::join!(alone, none);
    Answer::read(alone.unwrap()).await.is_json(&list("metricsqps", "worker", "8600m"));
    assert_eq!(Answer::read(none.unwrap()).await.status, 404);
    let head = client.send_request(request("HEAD", &uri("alone"), &[])).await.unwrap();
    let head = Answer::read(head).await;
    assert_eq!((head.status, &*head.text), (200, ""));
}

#[tokio::test]
async fn the_field_order_is_that_of_kubernetes() {
    let world = World::start().await;
    let answer = world.get(&format!("{BASE}/namespaces/alone/metricsqps")).await;
    assert_eq!(
        answer.text,
        concat!(
            r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"#,
            r#""items":[{"metricName":"metricsqps","metricLabels":{"plimsoll.dev/autoscaler":"worker"},"#,
            r#""timestamp":"2026-01-31T09:30:00Z","value":"8600m"}]}"#
        )
    );
}

#[tokio::test]
async fn selectors_arrive_form_encoded() {
    let world = World::start().await;
    let checkout = list("metricsqps", "checkout", "8600m");
    for selector in [
        "plimsoll.dev%2Fautoscaler+in+%28checkout%2Cother%29",
        "plimsoll.dev/autoscaler%20in%20(checkout)",
        "plimsoll.dev%2Fautoscaler+notin+%28search%2Csilent%2Cnew%29%2C%21app",
    ] {
        world.select(selector).await.is_json(&checkout);
    }
    // Read, but our objects have no such label.
    world.select("a+in+%28x%2Cy%29").await.is_status(
        404,
        "NotFound",
        Some("metricsqps"),
        "the server could not find the metric metricsqps for namespace shop: labelSelector \"a in (x,y)\" picks no \
         LoadAwareAutoscaler there; select one with plimsoll.dev/autoscaler=NAME",
    );
}

#[tokio::test]
async fn a_selector_that_cannot_be_read_is_a_bad_request() {
    let world = World::start().await;
    world.select("a+in+%28x").await.is_status(
        400,
        "BadRequest",
        Some("metricsqps"),
        "labelSelector \"a in (x\": unable to parse requirement: found '', expected: ',' or ')'",
    );
    for selector in ["%ff=x", "a%zz", "%00", "a%3D%3D%3Dx"] {
        let answer = world.select(selector).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("BadRequest")), "{selector}");
    }
}

#[tokio::test]
async fn several_objects_are_never_added_up() {
    let world = World::start().await;
    // An HPA without a selector, in a namespace with several objects.
    world.get(&format!("{BASE}/namespaces/shop/metricsqps")).await.is_status(
        400,
        "BadRequest",
        Some("metricsqps"),
        "labelSelector \"\" picks 4 LoadAwareAutoscalers in namespace shop: checkout, new, search, silent; a \
         HorizontalPodAutoscaler would add their values up. Select one with plimsoll.dev/autoscaler=checkout",
    );
}

#[tokio::test]
async fn an_unknown_metric_is_not_found() {
    let world = World::start().await;
    world.get(&format!("{BASE}/namespaces/shop/qps")).await.is_status(
        404,
        "NotFound",
        Some("qps"),
        "the server could not find the metric qps for namespace shop: it serves metricsqps, metricsqps-forecast, \
         plimsoll-desired-replicas",
    );
}

#[tokio::test]
async fn an_unknown_load_is_unavailable_and_never_zero() {
    let world = World::start().await;
    for (name, why) in [("silent", "there is no ready pod to measure"), ("new", "nothing was decided yet")] {
        world.select(&format!("plimsoll.dev%2Fautoscaler%3D{name}")).await.is_status(
            503,
            "ServiceUnavailable",
            Some("metricsqps"),
            &format!("metricsqps of shop/{name} is not known: {why}"),
        );
    }
}

#[tokio::test]
async fn a_decision_that_has_grown_old_is_unavailable() {
    let world = World::start().await;
    let path = format!("{BASE}/namespaces/alone/plimsoll-desired-replicas");
    world.get(&path).await.is_json(&list("plimsoll-desired-replicas", "worker", "3000m"));
    world.hand.set(SAMPLED + Span::from_millis(75_500));
    world.get(&path).await.is_status(
        503,
        "ServiceUnavailable",
        Some("plimsoll-desired-replicas"),
        "plimsoll-desired-replicas of alone/worker is not known: the newest decision rests on a sample that is 75.5 s old \
         and holds for 1m only",
    );
}

#[tokio::test]
async fn there_is_nothing_but_reading() {
    let world = World::start().await;
    let path = format!("{BASE}/namespaces/alone/metricsqps");
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let message = format!("{method} is not supported, since there is nothing to write here; use GET");
        let answer = world.send(method, &path, &[]).await;
        answer.is_status(405, "MethodNotAllowed", Some("metricsqps"), &message);
        assert_eq!(answer.header("allow"), "GET, HEAD");
        world.send(method, BASE, &[]).await.is_status(405, "MethodNotAllowed", None, &message);
    }
    for watch in ["watch=true", "watch=1", "watch", "labelSelector=&watch=True"] {
        world.get(&format!("{path}?{watch}")).await.is_status(
            405,
            "MethodNotAllowed",
            Some("metricsqps"),
            "watch is not supported: values are read, one by one; leave watch out",
        );
    }
    for watch in ["watch=false", "watch=0", "pretty=true"] {
        assert_eq!(world.get(&format!("{path}?{watch}")).await.status, 200, "{watch}");
    }
}

#[tokio::test]
async fn head_gets_what_get_gets_without_the_body() {
    let world = World::start().await;
    for path in [BASE, "/apis", "/livez", "/readyz", &format!("{BASE}/namespaces/alone/metricsqps")] {
        let (get, head) = (world.get(path).await, world.send("HEAD", path, &[]).await);
        assert_eq!((head.status, &*head.text), (get.status, ""), "{path}");
        assert_eq!(head.header("content-length"), get.text.len().to_string(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn paths_that_are_not_served_are_not_found() {
    let world = World::start().await;
    for path in [
        "/api",
        "/apis/apps",
        "/apis/external.metrics.k8s.io/v1",
        &format!("{BASE}/metricsqps"),
        &format!("{BASE}/namespaces/shop"),
        &format!("{BASE}/namespaces/shop/metricsqps/checkout"),
    ] {
        let message = format!("the server could not find {path}; / lists the paths there are");
        world.get(path).await.is_status(404, "NotFound", None, &message);
    }
}

#[tokio::test]
async fn who_accepts_no_json_is_told_what_there_is() {
    let world = World::start().await;
    let message =
        "only the following media types are accepted: application/json; put it, or */*, into Accept";
    let metric = format!("{BASE}/namespaces/alone/metricsqps");
    for accept in [
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    ] {
        world.accepting("/apis", accept).await.is_status(406, "NotAcceptable", None, message);
        world.accepting(&metric, accept).await.is_status(406, "NotAcceptable", Some("metricsqps"), message);
    }
    // kubectl get --raw and kubectl get.
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    for accept in ["application/json, */*", table] {
        world.accepting(&metric, accept).await.is_json(&list("metricsqps", "worker", "8600m"));
    }
}

#[tokio::test]
async fn it_is_alive_at_once_and_ready_when_told() {
    let world = World::start().await;
    let not_yet = "not ready: the first data are not there yet";
    world.get("/readyz").await.is_status(503, "ServiceUnavailable", None, not_yet);
    world.ready.set();
    for path in ["/healthz", "/livez", "/readyz"] {
        // A probe does not care about formats.
        let answer = world.accepting(path, "text/html").await;
        assert_eq!((answer.status, &*answer.text), (200, "ok"), "{path}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections() {
    let world = World::start().await;
    let mut old = world.http1().await;
    let new = Certificate::self_signed(&[]).unwrap();
    world.tls.store(new.config());
    assert!(world.connect(&world.certificate.chain()[0], "http/1.1").await.is_err());
    assert!(world.connect(&new.chain()[0], "http/1.1").await.is_ok());
    let answer = old.send_request(request("GET", "/livez", &[])).await.unwrap();
    assert_eq!(Answer::read(answer).await.status, 200);
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_disturbs_nobody() {
    let world = World::start().await;
    let mut plain = TcpStream::connect(world.addr).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(world.get("/livez").await.text, "ok");
    let mut rest = vec![];
    // A TLS alert, or the connection reset; no answer in any case.
    let _ = plain.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"));
}

#[tokio::test]
async fn a_request_head_has_a_limit() {
    let world = World::start().await;
    let long = "x".repeat(200_000);
    let (mut http1, mut http2) = (world.http1().await, world.http2().await);
    for answer in [
        http1.send_request(request("GET", "/livez", &[("long", &long)])).await,
        http2.send_request(request("GET", "https://localhost/livez", &[("long", &long)])).await,
    ] {
        // Or the connection ends before the answer is read.
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
    }
    assert_eq!(world.get("/livez").await.text, "ok");
}

#[tokio::test]
async fn a_crowd_is_turned_away_and_forgotten() {
    let world = World::start().await;
    let mut crowd = vec![];
    for _ in 0..256 {
        crowd.push(TcpStream::connect(world.addr).await.unwrap());
    }
    let trusted = &world.certificate.chain()[0];
    assert!(world.connect(trusted, "h2").await.is_err());
    drop(crowd);
    // The server learns of it one by one.
    while world.connect(trusted, "h2").await.is_err() {}
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let world = World::start().await;
    let mut stream = world.connect(&world.certificate.chain()[0], "http/1.1").await.unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_has_begun_and_then_is_gone() {
    let world = World::start().await;
    let mut idle = world.http1().await;
    idle.send_request(request("GET", "/livez", &[])).await.unwrap();
    let mut also_idle = world.http2().await;
    also_idle.send_request(request("GET", "https://localhost/livez", &[])).await.unwrap();
    let mut begun = world.connect(&world.certificate.chain()[0], "http/1.1").await.unwrap();
    begun.write_all(b"GET /livez HT").await.unwrap();
    // Once this is answered, the server has read what came before it: all of this runs on one thread.
    world.get("/livez").await;

    world.stop.stop();
    begun.write_all(b"TP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nok"), "{answer}");
    world.server.await.unwrap();
    assert!(TcpStream::connect(world.addr).await.is_err());
}

#[tokio::test]
async fn it_stops_when_nobody_is_left_to_tell_it_to() {
    let world = World::start().await;
    drop(world.stop);
    world.server.await.unwrap();
}

/// Answers from a board on which there is nothing.
fn empty_api() -> Api {
    let (board, clock) = (Arc::default(), Clock::manual(SAMPLED).0);
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
    Api::new(board, clock, Readiness::default(), telemetry)
}

#[tokio::test]
async fn without_authentication_only_the_machine_itself_is_served() {
    let tls = Arc::new(ArcSwap::new(Certificate::self_signed(&[]).unwrap().config()));
    let api = empty_api;
    for addr in ["0.0.0.0:6443", "[::]:6443", "10.0.0.1:6443", "[::ffff:10.0.0.1]:6443"] {
        let error = Server::bind(addr.parse().unwrap(), Arc::clone(&tls), api()).await.unwrap_err();
        assert!(matches!(error, BindError::NotLoopback(_)));
        assert_eq!(
            error.to_string(),
            format!(
                "{addr} can be reached from other machines, but requests are not authenticated here: bind a loopback \
                 address, such as 127.0.0.1:6443 or [::1]:6443"
            )
        );
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let world = World::start().await;
    let api = empty_api();
    let error = Server::bind(world.addr, Arc::clone(&world.tls), api).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} cannot be bound", world.addr));
    assert!(std::error::Error::source(&error).is_some());
}
