//! A metrics server that answers nonsense, too much, too slowly, elsewhere or not at all: no such answer becomes a number.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use plimsoll::load::Sample;
use plimsoll::scale::{Decision, NoOpinion, Outcome};
use plimsoll::spec::Spec;
use plimsoll::units::{Cores, Span, Time};
use plimsoll_adapter::board::{Board, Cell, ObjectKey};
use plimsoll_adapter::clock::{Clock, Hand};
use plimsoll_adapter::collect::prometheus::{Answer, Api, Endpoint, QueryError, Value};
use plimsoll_adapter::collect::{
    Access, Collector, FetchError, MAX_PAGE_BYTES, PodCpu, PodNames, PodsCpu, QueriedPods, Query, Scraper,
    ServerCpu, Targets,
};
use plimsoll_adapter::engine::{Engine, Object, Server, Source};
use plimsoll_adapter::ops::{Readiness, Telemetry};
use plimsoll_adapter::stop::{self, Stopper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A slow server is given as long, in the world's time.
const INTERVAL: Span = Span::from_secs(1);

/// What the server sends after the n-th request, counted from 0; nothing means that it keeps the connection open and silent.
type Reply = Arc<dyn Fn(usize) -> Option<Vec<u8>> + Send + Sync>;

/// A stand-in for a metrics server, and what it was asked.
struct StandIn {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (reply, heard) = (Arc::clone(&reply), Arc::clone(&heard));
                tokio::spawn(async move {
                    let request = request(&mut stream).await;
                    let number = {
                        let mut heard = heard.lock().unwrap();
                        heard.push(request);
                        heard.len() - 1
                    };
                    match reply(number) {
                        // The asker may have heard enough before all is written.
                        Some(bytes) => drop(stream.write_all(&bytes).await),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn api(&self) -> Api {
        let endpoint = Endpoint::parse(&format!("http://{}/prefix", self.address)).unwrap();
        Api::new(&endpoint, Clock::system(), INTERVAL)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A whole request, body and all.
async fn request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return text,
            Ok(length) => bytes.extend_from_slice(&part[..length]),
        }
    }
}

fn http(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body.as_ref()].concat()
}

fn vector(result: &str) -> Vec<u8> {
    let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#);
    http("200 OK\r\nContent-Type: application/json", body)
}

async fn answer(reply: Vec<u8>) -> Result<Answer, QueryError> {
    StandIn::start(Arc::new(move |_| Some(reply.clone()))).await.api().query("up").await
}

#[tokio::test]
async fn a_query_is_one_form_post_below_the_servers_own_path() {
    let server = StandIn::start(Arc::new(|_| Some(vector(r#"{"metric":{},"value":[1,"2"]}"#)))).await;
    let answer = server.api().query(r#"up{a="x&y=z+ %",b="é"}"#).await.unwrap();
    assert_eq!(answer.series[0].value, Value::Number(2.0));
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("POST /prefix/api/v1/query HTTP/1.1\r\n"), "{}", asked[0]);
    let form = asked[0].split_once("\r\n\r\n").unwrap().1;
    let expected = "query=up%7Ba%3D%22x%26y%3Dz%2B+%25%22%2Cb%3D%22%C3%A9%22%7D&timeout=1000ms";
    assert_eq!(form, expected);
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    assert_eq!(answer(http("200 OK", "<html>")).await, Err(QueryError::Malformed));
    assert_eq!(answer(vector(r#"{"metric":{},"value":[1,"NaN"]}"#)).await, Err(QueryError::NotANumber));
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
    assert_eq!(answer(http("200 OK", scalar)).await, Err(QueryError::Malformed));
    let fetch = |reply| async { answer(reply).await.unwrap_err() };
    let large = vec![b' '; MAX_PAGE_BYTES + 1];
    assert_eq!(fetch(http("200 OK", large)).await, FetchError::TooLarge.into());
    assert_eq!(fetch(b"SSH-2.0-OpenSSH\r\n".to_vec()).await, FetchError::Unreachable.into());
    let error = r#"{"status":"error","errorType":"execution","error":"secret"}"#;
    let refused = fetch(http("422 Unprocessable Entity", error)).await;
    assert_eq!(refused, FetchError::Status(StatusCode::UNPROCESSABLE_ENTITY).into());
    assert_eq!(refused.to_string(), "answered 422 Unprocessable Entity");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = StandIn::start(Arc::new(|_| Some(vector("")))).await;
    let head = format!("302 Found\r\nLocation: http://{}/api/v1/query", elsewhere.address);
    assert_eq!(answer(http(&head, "")).await, Err(FetchError::Status(StatusCode::FOUND).into()));
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_is_slow_or_gone_is_given_up() {
    let silent = StandIn::start(Arc::new(|_| None)).await;
    let error = silent.api().query("up").await.unwrap_err();
    assert_eq!((error.reason(), error.to_string()), ("timeout", "no answer within 1s".to_owned()));
    let gone = Endpoint::parse("http://127.0.0.1:1").unwrap();
    let error = Api::new(&gone, Clock::system(), INTERVAL).query("up").await.unwrap_err();
    assert_eq!(error, FetchError::Unreachable.into());
}

const START: Time = Time::from_secs(1_800_000_000);
const WINDOW: Span = Span::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);

/// Ten fast requests a second and one slow one, in one pod.
fn load() -> Vec<u8> {
    let part = |labels: &str, value: &str| format!(r#"{{"metric":{{{labels}}},"value":[1,"{value}"]}}"#);
    vector(
        &[
            part(r#""plimsoll":"buckets","le":"0.1""#, "10"),
            part(r#""plimsoll":"buckets","le":"+Inf""#, "11"),
            part(r#""plimsoll":"telling""#, "1"),
            part(r#""plimsoll":"up""#, "1"),
        ]
        .join(","),
    )
}

fn spec(matchers: &serde_json::Value) -> Spec {
    serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "maxReplicas": 100,
        "load": {
            "histogram": "d",
            "matchers": matchers,
            "source": {"prometheus": {"ref": "main", "window": WINDOW, "interval": INTERVAL}},
            "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}},
        },
        "target": {"metricsQPSPerPod": "10"},
    }))
    .unwrap()
}

/// An engine whose load the stand-in tells, and whose clock the test moves.
struct World {
    server: StandIn,
    cell: Arc<Cell>,
    telemetry: Arc<Telemetry>,
    hand: Hand,
    rounds: usize,
    _stopper: Stopper,
}

impl World {
    async fn new(matchers: serde_json::Value, reply: Reply) -> Self {
        let server = StandIn::start(reply).await;
        let spec = spec(&matchers);
        let (clock, hand) = Clock::manual(START);
        let board = Arc::new(Board::default());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
        let key = ObjectKey::new("shop", "shop");
        let names = PodNames::Known(BTreeSet::from(["shop-0".to_owned()]));
        let pods = watch::channel(QueriedPods {
            updating: false,
            names,
            warming: 0,
            replicas: Some(1),
            cpu: PodCpu::default(),
            target: None,
        })
        .1;
        let endpoint = Endpoint::parse(&format!("http://{}", server.address)).unwrap();
        let object = Object {
            key: key.clone(),
            workload: spec.scale_target_ref.clone(),
            spec: spec.check().unwrap(),
            query: Query::new(&spec.load),
            source: Source::Server { pods, server: Server { endpoint, window: WINDOW } },
        };
        let scraper = Scraper::new(clock, Arc::clone(&telemetry));
        let engine = Engine::new(object, scraper, &board, Readiness::default(), None);
        let (stopper, stop) = stop::channel();
        tokio::spawn(engine.run(stop));
        let cell = board.cell(&key);
        let mut world = Self { server, cell, telemetry, hand, rounds: 0, _stopper: stopper };
        world.decided().await;
        world
    }

    async fn decided(&mut self) -> Arc<Decision> {
        self.rounds += 1;
        let done = async {
            while self.cell.recent().len() < self.rounds {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap();
        Arc::clone(&self.cell.recent()[self.rounds - 1])
    }

    async fn round(&mut self) -> Arc<Decision> {
        self.hand.set(START + INTERVAL * self.rounds as i64);
        self.decided().await
    }

    fn errors(&self, reason: &str) -> u32 {
        let series =
            format!("plimsoll_query_errors_total{{namespace=\"shop\",name=\"shop\",reason=\"{reason}\"}} ");
        let page = self.telemetry.page();
        page.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
    }
}

fn metricsqps(decision: &Decision) -> Option<f64> {
    match &decision.outcome {
        Outcome::Desired(desired) => Some((desired.load.metricsqps.get() * 1e9).round() / 1e9),
        Outcome::Fallback(_) | Outcome::NoOpinion(_) => None,
    }
}

#[tokio::test]
async fn one_answer_is_enough_for_a_load() {
    let mut world = World::new(serde_json::json!({}), Arc::new(|_| Some(load()))).await;
    assert_eq!(metricsqps(&*world.round().await), Some(15.0));
    // One question a round.
    assert_eq!(world.server.asked().len(), 2);
}

/// A server that stops answering right leaves the last load, until that is too old.
#[tokio::test]
async fn an_answer_that_cannot_be_used_is_no_load_and_no_zero() {
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
    for (bad, reason) in [
        (http("503 Service Unavailable", ""), "status"),
        (http("302 Found\r\nLocation: http://127.0.0.1:1/", ""), "status"),
        (http("200 OK", scalar), "malformed"),
        (http("200 OK", vec![b' '; MAX_PAGE_BYTES + 1]), "too_large"),
        (vector(r#"{"metric":{"plimsoll":"up"},"value":[1,"NaN"]}"#), "counts"),
        (vector(r#"{"metric":{"plimsoll":"buckets","le":"+Inf"},"value":[1,"-4"]}"#), "counts"),
    ] {
        let reply: Reply = Arc::new(move |number| Some(if number == 0 { load() } else { bad.clone() }));
        let mut world = World::new(serde_json::json!({}), reply).await;
        for age in 1..=3 {
            assert_eq!(metricsqps(&*world.round().await), Some(15.0), "{reason} {age}");
        }
        let outcome = &world.round().await.outcome;
        assert!(matches!(outcome, Outcome::NoOpinion(NoOpinion::Stale { .. })), "{reason}: {outcome:?}");
        assert_eq!(world.errors(reason), 4, "{}", world.telemetry.page());
    }
}

#[tokio::test]
async fn an_answer_without_the_histogram_is_no_load_of_zero() {
    let mut world = World::new(serde_json::json!({}), Arc::new(|_| Some(vector("")))).await;
    assert_eq!(world.round().await.outcome, Outcome::NoOpinion(NoOpinion::NoSeries));
}

#[tokio::test]
async fn what_a_user_writes_cannot_leave_the_namespace() {
    let matchers = serde_json::json!({
        "route": {"in": ["\"} or up{namespace=\"other"]},
        "a\"} or up{": {"notIn": ["x"]},
        "namespace": {"in": ["other"]},
    });
    let world = World::new(matchers, Arc::new(|_| Some(load()))).await;
    let asked = world.server.asked().remove(0);
    let form = asked.split_once("\r\n\r\n").unwrap().1;
    let (_, query) = form_urlencoded::parse(form.as_bytes()).find(|(name, _)| name == "query").unwrap();
    let first = r#"sum by () (rate({namespace="shop",__name__="d",pod=~"shop-0","#;
    assert!(query.starts_with(first), "{query}");
    assert!(
        query.contains(r#"\"\\} or up\\{namespace=\"other""#) && query.contains(r#""a\"} or up{"!~"x""#),
        "{query}"
    );
}

/// Pods' pages, and a server that knows their CPU.
async fn cpu_told(reply: Reply) -> Sample {
    let page = |round: usize| {
        let count = 100 + 10 * round;
        let text = format!(
            "d_bucket{{le=\"0.1\"}} {count}\nd_bucket{{le=\"+Inf\"}} {count}\nprocess_cpu_seconds_total {round}\n"
        );
        Some(http("200 OK", text))
    };
    let mut ready = BTreeMap::new();
    for pod in ["shop-0", "shop-1"] {
        let address = StandIn::start(Arc::new(page)).await.address;
        ready.insert(pod.to_owned(), Some(format!("http://{address}/metrics").parse().unwrap()));
    }
    let server = StandIn::start(reply).await;
    let endpoint = Endpoint::parse(&format!("http://{}", server.address)).unwrap();
    let (clock, hand) = Clock::manual(START);
    let telemetry = Arc::new(Telemetry::new(Arc::new(Board::default()), clock.clone()));
    let scraper = Scraper::new(clock, telemetry);
    let targets = watch::channel(Targets {
        ready,
        warming: 0,
        replicas: Some(2),
        updating: false,
        cpu: PodCpu::default(),
        access: Access::Open,
        selector: None,
    })
    .1;
    let query = Query::new(&spec(&serde_json::json!({})).load);
    let mut collector =
        Collector::new(ObjectKey::new("shop", "shop"), query, INTERVAL, targets, scraper.clone()).with_cpu(
            PodsCpu::Server(Box::new(ServerCpu::new(
                "shop".to_owned(),
                (INTERVAL, WINDOW),
                &endpoint,
                &scraper,
            ))),
        );
    let mut sample = collector.round().await;
    // Until the requests of the whole window are remembered.
    for round in 1..=(WINDOW.as_nanos() / INTERVAL.as_nanos()) {
        hand.set(START + INTERVAL * round);
        sample = collector.round().await;
    }
    let asked = &server.asked()[0];
    assert!(
        asked.contains("container_cpu_usage_seconds_total") && asked.contains("shop-0%7Cshop-1"),
        "{asked}"
    );
    assert_eq!(sample.groups.len(), 2);
    assert!(sample.groups.iter().all(|group| group.tells()));
    sample
}

#[tokio::test]
async fn the_cpu_of_scraped_pods_can_come_from_a_server() {
    let one = vector(r#"{"metric":{"pod":"shop-1"},"value":[1,"0.25"]}"#);
    let sample = cpu_told(Arc::new(move |_| Some(one.clone()))).await;
    let cpu: Vec<_> = sample.groups.iter().map(|group| group.latest_cpu()).collect();
    assert_eq!(cpu, [None, Cores::new(0.25).ok()]);
    assert_eq!(sample.groups[1].evidence.as_ref().map(|evidence| evidence.of.window), Some(WINDOW));
    // Should it fail, that of no pod is known: the pages tell of other processes.
    let sample = cpu_told(Arc::new(|_| Some(http("500 Internal Server Error", "")))).await;
    assert!(sample.groups.iter().all(|group| group.latest_cpu().is_none()));
}
