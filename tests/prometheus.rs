//! A real Prometheus server is the workload: its own page is scraped, its requests are counted, and the MetricsQPS
//! that the API serves is what the same histogram gives by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/prometheus.rs"]
mod prometheus;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::units::{Quantity, Span};
use plimsoll_adapter::adapter::{Adapter, Listen};
use plimsoll_adapter::board::ObjectKey;
use plimsoll_adapter::client::{Client, ClientError};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::{Api, Endpoint, Series, Value as QueryValue};
use plimsoll_adapter::config::Config;
use plimsoll_adapter::engine::Object;
use plimsoll_adapter::external::Metric;
use plimsoll_adapter::stop;
use prometheus::Prometheus;
use prometheus_parse::{Scrape, Value};

const EDGES: [f64; 3] = [0.1, 0.4, 1.0];
const WEIGHTS: [f64; 4] = [1.0, 4.0, 10.0, 30.0];
const INTERVAL: Span = Span::from_secs(15);
const CAPACITY: f64 = 2.0;

/// A query that takes so long has filled every class on the way.
const LONGEST_QUERY: Span = Span::from_secs(20);

/// Longest time that the adapter is given for one round.
const PATIENCE: Duration = Duration::from_secs(30);

type Check = fn(&PathBuf) -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [(&str, Check); 2] = [
        ("the_served_load_is_what_the_histogram_gives_by_hand", by_hand),
        ("a_query_gives_a_vector_or_an_error", queries),
    ];
    let executable = prometheus::executable();
    let trial = |(name, test): (&str, Check)| match executable.clone() {
        Ok(executable) => Trial::test(name, move || test(&executable)),
        Err(reason) => Trial::test(format!("{name} [{reason}]"), || Ok(())).with_ignored_flag(true),
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}

/// Requests in each class so far, probes and scrapes left out, read by an independent parser.
fn classes(server: &Prometheus) -> [f64; 4] {
    let (status, page) = server.get("/metrics").unwrap();
    assert_eq!(status, 200);
    let scrape = Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut at_most = BTreeMap::<u64, f64>::new();
    for sample in &scrape.samples {
        let Value::Histogram(buckets) = &sample.value else { continue };
        let handler = sample.labels.get("handler").unwrap_or_default();
        if sample.metric != "prometheus_http_request_duration_seconds"
            || ["/metrics", "/-/ready", "/-/healthy"].contains(&handler)
        {
            continue;
        }
        for bucket in buckets {
            *at_most.entry(bucket.less_than.to_bits()).or_default() += bucket.count;
        }
    }
    let at_most = |edge: f64| at_most.get(&edge.to_bits()).copied().unwrap_or(0.0);
    let [first, second, third] = EDGES.map(at_most);
    [first, second - first, third - second, at_most(f64::INFINITY) - third]
}

/// Queries of growing weight, until at least three classes have requests.
fn load(server: &Prometheus) {
    let before = classes(server);
    let mut steps = 1000;
    loop {
        let took = server.work(steps);
        let filled = classes(server).iter().zip(before).filter(|(now, then)| **now > *then).count();
        if filled >= 3 {
            return;
        }
        assert!(took < LONGEST_QUERY, "three classes are not filled by a query of {took}");
        steps = steps * 7 / 5;
    }
}

fn config(server: &Prometheus) -> Config {
    let text = format!(
        "apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {{name: prometheus}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: StatefulSet, name: prometheus}}
  maxReplicas: 50
  mode: Auto
  load:
    histogram: prometheus_http_request_duration_seconds
    source: {{scrape: {{interval: {INTERVAL}}}}}
    weights: {{fixed: {{edges: {EDGES:?}, weights: {WEIGHTS:?}}}}}
  target: {{metricsQPSPerPod: {CAPACITY}}}
---
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: StaticTargets
metadata: {{name: prometheus}}
spec: {{targets: [\"{}\"]}}
",
        server.metrics_url()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::read(file.path()).unwrap()
}

#[tokio::main]
async fn by_hand(executable: &PathBuf) -> Result<(), Failed> {
    let server = Prometheus::start(executable);
    let key = ObjectKey::new("default", "prometheus");
    let loopback = ([127, 0, 0, 1], 0).into();
    // The clock moves when the test says so: the two readings then enclose the load exactly.
    let began = Clock::system().now();
    let (clock, hand) = Clock::manual(began);
    let mut adapter =
        Adapter::bind(Listen { api: loopback, ops: loopback, cert_dir: None }, clock).await.unwrap();
    let configured = config(&server).objects.remove(&key).unwrap();
    adapter.add(Object {
        key: key.clone(),
        spec: configured.spec,
        query: configured.query,
        targets: tokio::sync::watch::channel(configured.targets).1,
    });
    let cell = adapter.board().cell(&key);
    let mut client = Client::new(adapter.api_addr(), &adapter.certificate().chain()[0]).unwrap();
    let (stopper, stop) = stop::channel();
    let running = tokio::spawn(adapter.run(stop));

    let decided = async |rounds: usize| {
        while cell.recent().len() < rounds {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, decided(1)).await.unwrap();
    let before = classes(&server);
    let server = tokio::task::spawn_blocking(move || {
        load(&server);
        server
    })
    .await
    .unwrap();
    let after = classes(&server);
    hand.set(began + INTERVAL);
    tokio::time::timeout(PATIENCE, decided(2)).await.unwrap();

    let counted: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert!(counted.iter().filter(|count| **count > 0.0).count() >= 3, "{counted:?}");
    let weighed: f64 = counted.iter().zip(WEIGHTS).map(|(count, weight)| count * weight).sum();
    let load = weighed / INTERVAL.as_secs_f64();
    let served = client.values(Metric::MetricsQps, &key).await.unwrap();
    let expected = Quantity::at_least(load).unwrap();
    println!("requests by class {counted:?}, served {served:?}, by hand {expected}");
    // Served in thousandths, rounded up: the last one may hang on the order of summation.
    assert_eq!(served.len(), 1);
    assert!((served[0].as_milli() - expected.as_milli()).abs() <= 1, "{served:?}, by hand {load}");
    assert_eq!(client.values(Metric::Forecast, &key).await.unwrap(), served);
    let replicas = client.values(Metric::DesiredReplicas, &key).await.unwrap();
    assert_eq!(replicas, [Quantity::from_milli((load / CAPACITY).ceil().max(1.0) as i64 * 1000)]);

    // A server that is gone is not a load of zero.
    drop(server);
    hand.set(began + INTERVAL + INTERVAL);
    tokio::time::timeout(PATIENCE, decided(3)).await.unwrap();
    let gone = client.values(Metric::MetricsQps, &key).await;
    assert!(matches!(gone, Err(ClientError::Refused { code: 503, .. })), "{gone:?}");

    stopper.stop();
    running.await.unwrap().unwrap();
    Ok(())
}

#[tokio::main]
async fn queries(executable: &PathBuf) -> Result<(), Failed> {
    let server = Prometheus::start(executable);
    let api = Api::new(&Endpoint::parse(&server.url()).unwrap(), Clock::system(), INTERVAL);
    let answer = api.query(r#"label_replace(vector(1.5), "a", "é\"\\", "", "")"#).await.unwrap();
    let labels = BTreeMap::from([("a".to_owned(), "é\"\\".to_owned())]);
    assert_eq!(answer.series, [Series { labels, value: QueryValue::Number(1.5) }]);
    assert_eq!(api.query("vector(1) > 2").await.unwrap().series, []);
    for (query, error) in [
        ("1.5", "the answer is not an instant vector of Prometheus' API"),
        ("vector(NaN)", "a value is not a number"),
        ("sum(", "answered 400 Bad Request"),
    ] {
        assert_eq!(api.query(query).await.unwrap_err().to_string(), error, "{query}");
    }
    drop(server);
    assert_eq!(api.query("vector(1)").await.unwrap_err().reason(), "unreachable");
    Ok(())
}
