//! Pods that answer nonsense, too much, too slowly or not at all: each is left out with its reason, and the others go on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use plimsoll::scale::{Decision, NoOpinion, Outcome};
use plimsoll::spec::Spec;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::board::{Board, Cell, ObjectKey};
use plimsoll_adapter::clock::{Clock, Hand};
use plimsoll_adapter::collect::{
    MAX_CONCURRENT_PER_WORKLOAD, MAX_HISTOGRAMS, MAX_PAGE_BYTES, Query, Scraper, Targets,
};
use plimsoll_adapter::engine::{Engine, Object, Source};
use plimsoll_adapter::ops::{Readiness, Telemetry};
use plimsoll_adapter::stop::{self, Stopper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

const START: Time = Time::from_secs(1_800_000_000);
/// A slow pod is given as long, in the world's time.
const INTERVAL: Span = Span::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// What a pod sends after a request; nothing means that it keeps the connection open and silent.
type Answer = Arc<dyn Fn(u32) -> Option<Vec<u8>> + Send + Sync>;

/// A pod that gives its n-th answer to the n-th request, counted from 0.
async fn pod(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let asked = Arc::new(AtomicU32::new(0));
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_err() {
                    return;
                }
                match answer(asked.fetch_add(1, Ordering::SeqCst)) {
                    // The reader may have heard enough before all is written.
                    Some(bytes) => drop(stream.write_all(&bytes).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    address
}

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    http("200 OK", body.as_ref())
}

/// A page on which `count` requests were counted.
fn page(count: u32) -> String {
    format!("d_bucket{{le=\"0.1\"}} {count}\nd_bucket{{le=\"+Inf\"}} {count}\n")
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Ten requests more at each round.
fn good() -> Answer {
    Arc::new(|round| Some(ok(page(100 + 10 * round))))
}

fn always(bytes: Vec<u8>) -> Answer {
    Arc::new(move |_| Some(bytes.clone()))
}

/// An engine over some pods, whose clock the test moves.
struct World {
    cell: Arc<Cell>,
    telemetry: Arc<Telemetry>,
    hand: Hand,
    now: Time,
    rounds: usize,
    _stopper: Stopper,
}

impl World {
    async fn new(answers: Vec<Answer>) -> Self {
        Self::with_pageless(answers, 0).await
    }

    /// With so many pods more whose page is not known.
    async fn with_pageless(answers: Vec<Answer>, pageless: usize) -> Self {
        let mut ready: BTreeMap<_, _> = (0..pageless).map(|i| (format!("pageless-{i}"), None)).collect();
        for (i, answer) in answers.into_iter().enumerate() {
            let url = format!("http://{}/metrics", pod(answer).await);
            ready.insert(format!("pod-{i}"), Some(url.parse().unwrap()));
        }
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "maxReplicas": 100,
            "load": {
                "histogram": "d",
                "source": {"scrape": {"interval": INTERVAL}},
                "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}},
            },
            "target": {"metricsQPSPerPod": "10"},
        }))
        .unwrap();
        let (clock, hand) = Clock::manual(START);
        let board = Arc::new(Board::default());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
        let key = ObjectKey::new("default", "shop");
        let replicas = ready.len() as u32;
        let object = Object {
            key: key.clone(),
            workload: spec.scale_target_ref.clone(),
            spec: spec.check().unwrap(),
            query: Query::new(&spec.load),
            source: Source::Pods {
                targets: watch::channel(Targets { ready, replicas: Some(replicas), ..Targets::default() }).1,
                cpu: None,
            },
        };
        let scraper = Scraper::new(clock, Arc::clone(&telemetry));
        let engine = Engine::new(object, scraper, &board, Readiness::default(), None);
        let (stopper, stop) = stop::channel();
        tokio::spawn(engine.run(stop));
        let mut world =
            Self { cell: board.cell(&key), telemetry, hand, now: START, rounds: 0, _stopper: stopper };
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
        self.now += INTERVAL;
        self.hand.set(self.now);
        self.decided().await
    }

    fn errors(&self, reason: &str) -> Option<u32> {
        let series = format!(
            "plimsoll_scrape_errors_total{{namespace=\"default\",name=\"shop\",reason=\"{reason}\"}} "
        );
        let page = self.telemetry.page();
        page.lines().find_map(|line| line.strip_prefix(&series)).map(|count| count.parse().unwrap())
    }
}

/// Two good pods beside a bad one: its reason is counted at each round, and the load is that of the good ones.
async fn is_left_out(bad: Answer, reason: &str) {
    let mut world = World::new(vec![good(), good(), bad]).await;
    let decision = world.round().await;
    assert_eq!(world.errors(reason), Some(2), "{reason}: {}", world.telemetry.page());
    match &decision.outcome {
        Outcome::Desired(desired) => {
            assert_eq!(desired.load.metricsqps.get(), 20.0, "{reason}");
            assert!(desired.replicas >= 3, "{reason}: replicas must not fall while a pod is not read");
        }
        other => panic!("{reason}: {other:?}"),
    }
}

#[tokio::test]
async fn a_pod_that_sends_nonsense_is_left_out() {
    is_left_out(always(ok("<html>\n")), "malformed").await;
    is_left_out(always(ok("d_bucket{le=\"0.1\"} 3\nd_bucket{le=\"+Inf\"} 4")), "malformed").await;
    is_left_out(always(ok("d_bucket{le=\"a tenth\"} 3\n")), "malformed").await;
    is_left_out(always(ok("d_bucket{le=\"+Inf\"} NaN\n")), "counts").await;
    is_left_out(always(ok("d_bucket{le=\"+Inf\"} -4\n")), "counts").await;
    is_left_out(always(ok("d_bucket{le=\"+Inf\"} +Inf\n")), "counts").await;
    is_left_out(always(ok("d_bucket{le=\"0.1\"} 3\n")), "counts").await;
    is_left_out(always(ok([page(1).as_bytes(), b"x{l=\"\xff\"} 1\n"].concat())), "not_text").await;
}

/// A page in protobuf of one family, and the bytes of its only metric.
fn protobuf(metric: &[u8]) -> Vec<u8> {
    let message = |tag: u8, content: &[u8]| [&[tag << 3 | 2, content.len() as u8], content].concat();
    let family = [message(1, b"d"), message(4, metric)].concat();
    let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    http(&format!("200 OK\r\nContent-Type: {kind}"), &[&[family.len() as u8], &*family].concat())
}

#[tokio::test]
async fn a_pod_that_sends_nonsense_as_protobuf_is_left_out() {
    // A histogram of one request; then one that is cut off, and one of a schema that there is not.
    let mut world = World::new(vec![good(), always(protobuf(&[0x3a, 2, 8, 1]))]).await;
    assert!(matches!(&world.round().await.outcome, Outcome::Desired(d) if d.load.metricsqps.get() == 10.0));
    is_left_out(always(protobuf(&[0x3a, 2, 8])), "malformed").await;
    is_left_out(always(protobuf(&[0x3a, 4, 8, 1, 0x28, 99])), "counts").await;
}

/// As native histograms are shown in text. Where protobuf is not to be had either, all requests count in the first class.
#[tokio::test]
async fn a_histogram_without_bounds_is_asked_for_as_protobuf_once() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let bare: Answer = Arc::new(move |_| {
        let request = count.fetch_add(1, Ordering::SeqCst);
        Some(ok(format!("d_bucket{{le=\"+Inf\"}} {}\n", 100 + 10 * request)))
    });
    let mut world = World::new(vec![bare]).await;
    // Twice in the first round, once in the second.
    assert!(matches!(&world.round().await.outcome, Outcome::Desired(d) if d.load.metricsqps.get() == 10.0));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// What overflows is refused when its rate is taken.
#[tokio::test]
async fn a_pod_whose_counts_overflow_is_left_out() {
    let page = |round| format!("d_bucket{{le=\"0.1\"}} 0\nd_bucket{{le=\"+Inf\"}} {round}e300\n");
    let bad: Answer = Arc::new(move |round| Some(ok(page(round))));
    let mut world = World::new(vec![good(), good(), bad]).await;
    world.round().await;
    assert_eq!(world.errors("counts"), Some(1));
}

#[tokio::test]
async fn a_pod_that_answers_anything_but_a_page_is_left_out() {
    is_left_out(always(http("404 Not Found", b"")), "status").await;
    is_left_out(always(http("302 Found\r\nLocation: http://127.0.0.1:1/", b"")), "status").await;
    is_left_out(always(b"SSH-2.0-OpenSSH\r\n".to_vec()), "unreachable").await;
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nd_bucket{le=\"+Inf\"} 3\n";
    is_left_out(always(cut.to_vec()), "unreachable").await;
}

#[tokio::test]
async fn a_pod_that_sends_too_much_is_left_out() {
    is_left_out(always(ok(vec![b'#'; MAX_PAGE_BYTES + 1])), "too_large").await;
    let series: String =
        (0..=MAX_HISTOGRAMS).map(|i| format!("d_bucket{{i=\"{i}\",le=\"+Inf\"}} 1\n")).collect();
    is_left_out(always(ok(series)), "too_large").await;
    let bomb = gzip(&vec![b'\n'; MAX_PAGE_BYTES + 1]);
    assert!(bomb.len() < 10_000);
    is_left_out(always(http("200 OK\r\nContent-Encoding: gzip", &bomb)), "too_large").await;
}

#[tokio::test]
async fn compression_is_understood_or_refused() {
    let compressed: Answer = Arc::new(|round| {
        Some(http("200 OK\r\nContent-Encoding: gzip", &gzip(page(100 + 10 * round).as_bytes())))
    });
    let mut world = World::new(vec![compressed]).await;
    let decision = world.round().await;
    assert!(matches!(&decision.outcome, Outcome::Desired(d) if d.load.metricsqps.get() == 10.0));
    is_left_out(always(http("200 OK\r\nContent-Encoding: gzip", b"not gzip")), "encoding").await;
    is_left_out(always(http("200 OK\r\nContent-Encoding: br", b"x")), "encoding").await;
}

#[tokio::test]
async fn a_pod_that_is_silent_or_endless_is_given_up() {
    is_left_out(Arc::new(|_| None), "timeout").await;
}

/// As when a release renames the port: what its pods serve is not seen, and is not nothing.
#[tokio::test]
async fn a_pod_without_a_page_that_may_be_read_is_there_all_the_same() {
    let mut world = World::with_pageless(vec![good(), good()], 1).await;
    for _ in 0..10 {
        let decision = world.round().await;
        assert!(
            matches!(&decision.outcome, Outcome::Desired(d) if d.reactive == 2 && d.replicas == 3),
            "{decision:?}"
        );
    }
    assert!(world.errors("no_page") > Some(9));
    let mut world = World::with_pageless(vec![good()], 2).await;
    for _ in 0..10 {
        world.round().await;
    }
    let decision = world.round().await;
    assert_eq!(decision.outcome, Outcome::NoOpinion(NoOpinion::Silent { silent: 2, ready: 3 }));
}

/// More of them than are read at a time: the round ends all the same, and with it the wait of those whose turn never came.
#[tokio::test]
async fn a_round_ends_however_many_pods_hang() {
    let world = World::new(vec![Arc::new(|_| None) as Answer; 3 * MAX_CONCURRENT_PER_WORKLOAD]).await;
    assert_eq!(world.errors("timeout"), Some(3 * MAX_CONCURRENT_PER_WORKLOAD as u32));
}

#[tokio::test]
async fn a_pod_that_falls_silent_still_counts_and_the_rest_may_not_be_fewer_than_half() {
    let falls_silent = |after: u32| -> Answer {
        Arc::new(move |round| Some(if round < after { ok(page(100 + 40 * round)) } else { ok("<junk>\n") }))
    };
    let mut world = World::new(vec![good(), good(), falls_silent(2), falls_silent(3)]).await;
    world.round().await;
    let decision = world.round().await;
    assert!(matches!(&decision.outcome, Outcome::Desired(d) if d.load.metricsqps.get() == 100.0));
    let mut world = World::new(vec![good(), falls_silent(2), falls_silent(2)]).await;
    world.round().await;
    let decision = world.round().await;
    assert_eq!(decision.outcome, Outcome::NoOpinion(NoOpinion::Silent { silent: 2, ready: 3 }));
}

/// Most client libraries show a histogram by route only after its first request: that is neither an error nor zero.
#[tokio::test]
async fn a_pod_that_never_showed_the_histogram_holds_the_replicas() {
    let mut world = World::new(vec![good(), good(), always(ok("other 1\n"))]).await;
    let decision = world.round().await;
    assert!(matches!(&decision.outcome, Outcome::Desired(d) if d.reactive == 2 && d.replicas == 3));
    let mut world = World::new(vec![always(ok("other 1\n"))]).await;
    assert_eq!(world.round().await.outcome, Outcome::NoOpinion(NoOpinion::NoSeries));
}

#[tokio::test]
async fn a_histogram_that_vanishes_is_an_error() {
    let vanishes: Answer = Arc::new(|round| Some(ok(if round < 2 { page(100) } else { "other 1\n".into() })));
    let mut world = World::new(vec![good(), good(), vanishes]).await;
    world.round().await;
    world.round().await;
    assert_eq!(world.errors("counts"), Some(1));
}
