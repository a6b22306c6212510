//! A real client library's native histograms, read as it serves them and as a real Prometheus tells them: the load in each
//! class is what was observed.
//!
//! The library is Go's, so the test builds a small program (`tests/native-histogram`) where there is a Go compiler, and
//! reports itself as ignored elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/prometheus.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::load::HistogramCounts;
use plimsoll::scale::{Decision, Outcome};
use plimsoll::spec::Spec;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::Endpoint;
use plimsoll_adapter::collect::{
    Access, Content, Fetcher, Format, PodCpu, PodNames, QueriedPods, Query, Scraper, ServerCollector, Targets,
};
use plimsoll_adapter::engine::{Engine, Object, Source};
use plimsoll_adapter::ops::{Readiness, Telemetry};
use plimsoll_adapter::stop;
use tempfile::TempDir;
use tokio::sync::watch;

const START: Time = Time::from_secs(1_800_000_000);
const INTERVAL: Span = Span::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// How much wider than its lower end a bucket of the program's histograms is.
const BUCKET_FACTOR: f64 = 1.1;

type Check = fn(&Path) -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [(&str, Check); 3] = [
        ("classes_are_exact_at_bounds_and_within_a_bucket_elsewhere", classes),
        ("classes_stay_exact_while_the_library_coarsens_its_buckets", coarsened),
        ("a_page_in_protobuf_says_what_the_page_in_text_says_and_the_bounds_besides", formats),
    ];
    let program = build();
    let trial = |(name, test): (&str, Check)| match &program {
        Ok((_, program)) => {
            let program = program.clone();
            Trial::test(name, move || test(&program))
        }
        Err(reason) => Trial::test(format!("{name} [{reason}]"), || Ok(())).with_ignored_flag(true),
    };
    let mut trials: Vec<Trial> = tests.into_iter().map(trial).collect();
    let name = "a_server_tells_the_classes_of_a_native_histogram";
    trials.push(match (&program, &prometheus::executable()) {
        (Ok((_, program)), Ok(server)) => {
            let (program, server) = (program.clone(), server.clone());
            Trial::test(name, move || told_by_a_server(&program, &server))
        }
        (Err(reason), _) | (_, Err(reason)) => {
            Trial::test(format!("{name} [{reason}]"), || Ok(())).with_ignored_flag(true)
        }
    });
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The program, or why there is none.
fn build() -> Result<(TempDir, PathBuf), String> {
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join("native-histogram");
    let go = |arguments: &[&str]| {
        let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/native-histogram");
        Command::new("go").args(arguments).current_dir(module).stdin(Stdio::null()).output()
    };
    match go(&["mod", "download"]) {
        Err(_) => return Err("no go on PATH".to_owned()),
        Ok(output) if !output.status.success() => return Err("go cannot download the modules".to_owned()),
        Ok(_) => {}
    }
    let built = go(&["build", "-o", program.to_str().unwrap(), "."]).unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok((scratch, program))
}

/// The program at work.
struct Library {
    process: Child,
    address: String,
}

impl Library {
    fn start(program: &Path) -> Self {
        let mut process = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }

    fn url(&self) -> hyper::Uri {
        format!("http://{}/metrics", self.address).parse().unwrap()
    }

    /// Lets every histogram observe these durations.
    fn observe(&self, seconds: &[f64]) {
        let lines: String = seconds.iter().map(|seconds| format!("{seconds}\n")).collect();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = lines.len();
        write!(stream, "POST /observe HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{lines}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spec(histogram: &str, edges: &[f64]) -> Spec {
    serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "maxReplicas": 100,
        "load": {
            "histogram": histogram,
            "source": {"scrape": {"interval": INTERVAL}},
            "weights": {"fixed": {"edges": edges, "weights": vec![1.0; edges.len() + 1]}},
        },
        "target": {"metricsQPSPerPod": "10"},
    }))
    .unwrap()
}

/// Durations from half a millisecond to twenty seconds; no two alike, none at a bound.
fn durations(count: u32, from: f64, to: f64) -> Vec<f64> {
    let share = |i: u32| (f64::from(i) * 0.618_034).fract();
    (0..count).map(|i| from * (to / from).powf(share(i))).collect()
}

/// How many lie in each class.
fn by_hand(edges: &[f64], durations: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; edges.len() + 1];
    for seconds in durations {
        counts[edges.partition_point(|edge| edge < seconds)] += 1.0;
    }
    counts
}

/// An engine reads the program's page before and after it observes each of these lists, and says how many it saw of each in
/// every class.
async fn seen(library: &Library, spec: &Spec, lists: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (clock, hand) = Clock::manual(START);
    let board = Arc::new(Board::default());
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
    let key = ObjectKey::new("default", "shop");
    let ready = BTreeMap::from([("pod".to_owned(), Some(library.url()))]);
    let object = Object {
        key: key.clone(),
        workload: spec.scale_target_ref.clone(),
        spec: spec.check().unwrap(),
        query: Query::new(&spec.load),
        source: Source::Pods {
            targets: watch::channel(Targets { ready, replicas: Some(1), ..Targets::default() }).1,
            cpu: None,
        },
    };
    let cell = board.cell(&key);
    let engine = Engine::new(object, Scraper::new(clock, telemetry), &board, Readiness::default(), None);
    let (_stopper, stop) = stop::channel();
    tokio::spawn(engine.run(stop));
    let decided = async |rounds: usize| {
        let done = async {
            while cell.recent().len() < rounds {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap();
        Arc::clone(&cell.recent()[rounds - 1])
    };
    decided(1).await;
    let mut all = Vec::new();
    for list in lists {
        library.observe(list);
        hand.set(START + INTERVAL * (all.len() as i64 + 1));
        all.push(counts(&*decided(all.len() + 2).await));
    }
    all
}

fn counts(decision: &Decision) -> Vec<f64> {
    let Outcome::Desired(desired) = &decision.outcome else { panic!("{:?}", decision.outcome) };
    let count = |rate: f64| (rate * INTERVAL.as_secs_f64() * 1e6).round() / 1e6;
    desired.load.classes.iter().map(|class| count(class.rate.get())).collect()
}

#[tokio::main]
async fn classes(program: &Path) -> Result<(), Failed> {
    let library = Library::start(program);
    library.observe(&durations(50, 0.01, 1.0));
    let new = durations(400, 0.0005, 20.0);
    // Powers of two are bounds at every resolution.
    let edges = [0.0625, 0.25, 1.0];
    let exact = seen(&library, &spec("native_seconds", &edges), std::slice::from_ref(&new)).await;
    assert_eq!(exact[0], by_hand(&edges, &new));

    let edges = [0.01, 0.05, 0.1, 0.5];
    let near = seen(&library, &spec("native_seconds", &edges), std::slice::from_ref(&new)).await;
    let mut at_most = 0.0;
    for (i, edge) in edges.iter().enumerate() {
        at_most += near[0][i];
        let within = |edge: f64| new.iter().filter(|seconds| **seconds <= edge).count() as f64;
        let (least, most) = (within(edge / BUCKET_FACTOR), within(edge * BUCKET_FACTOR));
        assert!((least..=most).contains(&at_most), "{at_most} up to {edge}, {least} to {most} by hand");
    }
    assert!((near[0].iter().sum::<f64>() - 400.0).abs() < 1e-6, "{near:?}");
    Ok(())
}

#[tokio::main]
async fn coarsened(program: &Path) -> Result<(), Failed> {
    let library = Library::start(program);
    library.observe(&durations(10, 0.1, 0.2));
    // Each list spreads further than the last, so that the library has to widen its zero bucket, then to halve its resolution.
    let lists = [durations(40, 0.08, 0.3), durations(60, 0.002, 2.0), durations(100, 0.0005, 60.0)];
    let edges = [0.0625, 0.25, 1.0];
    let spec = spec("bounded_seconds", &edges);
    let bounds = async || {
        let fetcher = Fetcher::new(Clock::system(), INTERVAL, Access::Open);
        let page = fetcher.page(&library.url(), Format::Protobuf).await.unwrap();
        let Content::Protobuf(page) = page.content else { panic!("text was sent") };
        let reading = Query::new(&spec.load).read_protobuf(&page, START).unwrap();
        reading.histograms[0].le().to_vec()
    };
    let before = bounds().await;
    let all = seen(&library, &spec, &lists).await;
    let after = bounds().await;
    for (seen, observed) in all.iter().zip(&lists) {
        assert_eq!(*seen, by_hand(&edges, observed));
    }
    // It did what this test is about.
    let widest = |le: &[f64]| le.windows(2).map(|pair| pair[1] / pair[0]).fold(0.0, f64::max);
    assert!(before[0] < 1e-9 && (0.001..=0.01).contains(&after[0]), "{before:?} {after:?}");
    assert!(widest(&before[1..]) < BUCKET_FACTOR && widest(&after) > 1.9, "{before:?} {after:?}");
    Ok(())
}

#[tokio::main]
async fn formats(program: &Path) -> Result<(), Failed> {
    let library = Library::start(program);
    library.observe(&durations(100, 0.001, 5.0));
    let fetcher = Fetcher::new(Clock::system(), INTERVAL, Access::Open);
    let read = async |histogram: &str| {
        let query = Query::new(&spec(histogram, &[1.0]).load);
        let text = fetcher.page(&library.url(), Format::Text).await.unwrap();
        let protobuf = fetcher.page(&library.url(), Format::Protobuf).await.unwrap();
        let (Content::Text(text), Content::Protobuf(protobuf)) = (text.content, protobuf.content) else {
            panic!("the library has both formats")
        };
        (query.read(&text, START).unwrap(), query.read_protobuf(&protobuf, START).unwrap())
    };
    let total = |h: &HistogramCounts| *h.counts().last().unwrap();
    for (histogram, in_text) in [("native_seconds", 0), ("both_seconds", 11)] {
        let (text, protobuf) = read(histogram).await;
        assert_eq!((text.histograms.len(), protobuf.histograms.len()), (1, 1));
        let (of_text, of_protobuf) = (&text.histograms[0], &protobuf.histograms[0]);
        assert_eq!((of_text.labels(), of_text.sum()), (of_protobuf.labels(), of_protobuf.sum()));
        assert_eq!((total(of_text), total(of_protobuf)), (100.0, 100.0));
        assert_eq!(of_text.le().len(), in_text, "{histogram}");
        assert!(of_protobuf.le().len() > 50, "{histogram}");
        assert_eq!(text.started, protobuf.started);
        assert!(text.cpu_seconds <= protobuf.cpu_seconds && text.cpu_seconds.is_some());
    }
    Ok(())
}

#[tokio::main]
async fn told_by_a_server(program: &Path, executable: &PathBuf) -> Result<(), Failed> {
    let library = Library::start(program);
    library.observe(&durations(50, 0.01, 1.0));
    let pod = format!("{{targets: ['{}'], labels: {{namespace: shop, pod: pod-0}}}}", library.address);
    let scrapes = format!("{{job_name: shop, static_configs: [{pod}]}}");
    let server = prometheus::Prometheus::start_with(executable, &scrapes);
    let edges = [0.0625, 0.25, 1.0];
    let spec = spec("native_seconds", &edges);
    let names = PodNames::Known(BTreeSet::from(["pod-0".to_owned()]));
    let pods = watch::channel(QueriedPods {
        updating: false,
        names,
        warming: 0,
        replicas: Some(1),
        cpu: PodCpu::default(),
        target: None,
    })
    .1;
    let telemetry = Arc::new(Telemetry::new(Arc::new(Board::default()), Clock::system()));
    let mut collector = ServerCollector::new(
        ObjectKey::new("shop", "shop"),
        Query::new(&spec.load),
        (INTERVAL, Span::from_secs(10)),
        &Endpoint::parse(&server.url()).unwrap(),
        pods,
        Scraper::new(Clock::system(), telemetry),
    );
    let mut classes = async || {
        let sample = collector.round().await.unwrap();
        let group = sample.groups.first()?;
        let histogram = group.histograms.first()?;
        let mut classes = vec![0.0; edges.len() + 1];
        for (i, rate) in histogram.rates().iter().enumerate() {
            let upper = histogram.le().get(i).copied().unwrap_or(f64::INFINITY);
            classes[edges.partition_point(|edge| *edge < upper)] += rate.get();
        }
        Some((histogram.le().len(), classes))
    };
    let waiting = async {
        // The server has read it twice.
        while classes().await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let new = durations(400, 0.0005, 20.0);
        library.observe(&new);
        let expected = by_hand(&edges, &new);
        loop {
            // A rate is extrapolated to its window, by the same factor in every class.
            let (bounds, rates) = classes().await.unwrap();
            let (rate, count): (f64, f64) = (rates.iter().sum(), expected.iter().sum());
            if rate > 1.0 {
                assert!(bounds > 50, "native buckets have many bounds: {bounds}");
                for (seen, expected) in rates.iter().zip(&expected) {
                    assert!((seen / rate - expected / count).abs() < 1e-9, "{rates:?} {expected:?}");
                }
                assert!((30.0..=60.0).contains(&rate), "400 in some ten seconds: {rate}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    Ok(())
}
