//! A real Prometheus server is the workload: its own page is scraped, its requests are counted, and the MetricsQPS
//! that the API serves is what the same histogram gives by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/prometheus.rs"]
mod prometheus;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::spec::ScaleTargetRef;
use plimsoll::units::{Quantity, Rate, Span, Time};
use plimsoll_adapter::adapter::{Adapter, Listen};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::client::{Client, ClientError};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::{Api, Endpoint, Series, Value as QueryValue};
use plimsoll_adapter::collect::{PodCpu, PodNames, QueriedPods, Query, Scraper, ServerCollector};
use plimsoll_adapter::config::{Config, Servers};
use plimsoll_adapter::external::Metric;
use plimsoll_adapter::ops::Telemetry;
use plimsoll_adapter::stop;
use prometheus::Prometheus;
use prometheus_parse::{Scrape, Value};
use tokio::sync::watch;

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
    let tests: [(&str, Check); 4] = [
        ("the_served_load_is_what_the_histogram_gives_by_hand", by_hand),
        ("a_query_gives_a_vector_or_an_error", queries),
        ("a_server_tells_the_load_that_its_own_rates_make", told_by_a_server),
        ("a_server_tells_cpu_pods_and_what_is_not_there", told_in_parts),
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
    Config::read(file.path(), &Servers::default()).unwrap()
}

#[tokio::main]
async fn by_hand(executable: &PathBuf) -> Result<(), Failed> {
    let server = Prometheus::start(executable);
    let key = ObjectKey::new("default", "prometheus");
    let loopback = ([127, 0, 0, 1], 0).into();
    // The clock moves when the test says so: the two readings then enclose the load exactly. They lie in one minute, so that none is closed and
    // nothing is forecast.
    let minute = 60_000_000_000;
    let began = Time::from_nanos(Clock::system().now().as_nanos() / minute * minute) + Span::from_secs(1);
    let (clock, hand) = Clock::manual(began);
    let mut adapter = Adapter::bind(Listen::locally(loopback, loopback), clock).await.unwrap();
    let configured = config(&server).objects.remove(&key).unwrap();
    adapter.add(configured.into_object(key.clone()));
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

/// A server that scrapes itself as a workload of two pods, one of which does not answer, and as one that nobody but probes asks.
const SCRAPES: &str = "{job_name: shop, static_configs: [
    {targets: [SELF], labels: {namespace: shop, pod: prometheus-0}},
    {targets: ['127.0.0.1:1'], labels: {namespace: shop, pod: prometheus-1}}],
  metric_relabel_configs: [
    {source_labels: [__name__], regex: process_cpu_seconds_total, target_label: container, replacement: server},
    {source_labels: [__name__], regex: process_cpu_seconds_total, target_label: __name__,
     replacement: container_cpu_usage_seconds_total}]},
  {job_name: idle, static_configs: [{targets: [SELF], labels: {namespace: shop, pod: idle-0}}],
   metric_relabel_configs: [{source_labels: [handler], regex: '/metrics|', action: keep}]}";

/// The window of rates: ten scrapes.
const WINDOW: Span = Span::from_secs(10);

/// By hand: one value of a query's answer, by the API's own JSON.
fn value(server: &Prometheus, query: &str) -> Option<f64> {
    let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let (status, body) = server.get(&format!("/api/v1/query?query={query}")).unwrap();
    assert_eq!(status, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    answer["data"]["result"][0]["value"][1].as_str().map(|text| text.parse().unwrap())
}

/// MetricsQPS by hand: another expression than the adapter's, in which a weight counts for what exceeds the class below.
fn load_by_hand(server: &Prometheus) -> Option<f64> {
    let at_most = |le: &str| {
        let own = format!("pod=\"prometheus-0\",handler!~\"/metrics|/-/(ready|healthy)\",le=~\"{le}\"");
        format!("sum(increase(prometheus_http_request_duration_seconds_bucket{{{own}}}[10s]))")
    };
    let below = ["0.1", "0.4", "1|1.0"].map(at_most);
    let heaviest = WEIGHTS[below.len()];
    let mut load = format!("{heaviest} * {}", at_most(".Inf"));
    for (i, below) in below.iter().enumerate() {
        load += &format!(" - {} * {below}", WEIGHTS[i + 1] - WEIGHTS[i]);
    }
    value(server, &format!("({load}) / 10"))
}

/// Whether the load has moved as little as it does while nothing is scraped.
fn is_between_scrapes(before: f64, after: f64) -> bool {
    (before - after).abs() < 0.005 * before
}

/// Waits until a condition holds.
async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::main]
async fn told_by_a_server(executable: &PathBuf) -> Result<(), Failed> {
    let server = Prometheus::start_with(executable, SCRAPES);
    let text = format!(
        "apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {{name: prometheus, namespace: shop}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: StatefulSet, name: prometheus}}
  maxReplicas: 5000
  load:
    histogram: prometheus_http_request_duration_seconds
    source: {{prometheus: {{ref: main, window: {WINDOW}, interval: {INTERVAL}}}}}
    weights: {{fixed: {{edges: {EDGES:?}, weights: {WEIGHTS:?}}}}}
  target: {{metricsQPSPerPod: {CAPACITY}}}
---
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: StaticTargets
metadata: {{name: prometheus, namespace: shop}}
spec: {{pods: [prometheus-0]}}
"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let servers = Servers::parse([format!("main={}", server.url()).as_str()]).unwrap();
    let config = Config::read(file.path(), &servers).unwrap();
    let key = ObjectKey::new("shop", "prometheus");
    let loopback = ([127, 0, 0, 1], 0).into();
    let began = Clock::system().now();
    let (clock, hand) = Clock::manual(began);
    let mut adapter = Adapter::bind(Listen::locally(loopback, loopback), clock).await.unwrap();
    adapter.add(config.objects[&key].clone().into_object(key.clone()));
    let cell = adapter.board().cell(&key);
    let mut client = Client::new(adapter.api_addr(), &adapter.certificate().chain()[0]).unwrap();

    // Every class of its own requests has a rate before the adapter asks.
    until(|| load_by_hand(&server).is_some()).await;
    let server = tokio::task::spawn_blocking(move || {
        load(&server);
        server
    })
    .await
    .unwrap();
    // A scrape has just been made, so that the first rounds are before the next: the cost of a request is that of the first window for a while.
    let mut last = None;
    until(|| {
        let load = load_by_hand(&server).filter(|load| *load > 1.0);
        let has_jumped = load.zip(last).is_some_and(|(load, last)| !is_between_scrapes(load, last));
        last = load;
        has_jumped
    })
    .await;
    let (stopper, stop) = stop::channel();
    let running = tokio::spawn(adapter.run(stop));
    let decided = async |rounds: usize| {
        while cell.recent().len() < rounds {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut now = began;
    let mut rounds = 1;
    tokio::time::timeout(PATIENCE, decided(rounds)).await.unwrap();
    // Between two scrapes a rate hardly moves, and only one way: what it was just before and just after enclose what the adapter
    // was told.
    let served = loop {
        let before = load_by_hand(&server).unwrap();
        now += INTERVAL;
        rounds += 1;
        hand.set(now);
        tokio::time::timeout(PATIENCE, decided(rounds)).await.unwrap();
        let after = load_by_hand(&server).unwrap();
        if is_between_scrapes(before, after) {
            let served = client.values(Metric::MetricsQps, &key).await.unwrap();
            println!("served {served:?}, by hand {before} and {after}, after {rounds} rounds");
            let milli = |load: f64| Quantity::at_least(load).unwrap().as_milli();
            let enclosed = milli(before.min(after)) - 1..=milli(before.max(after)) + 1;
            assert!(before > 1.0 && served.len() == 1 && enclosed.contains(&served[0].as_milli()));
            break served;
        }
        assert!(rounds < 100, "no round fits between two scrapes");
    };

    // A server that is gone leaves the last sample to grow old.
    drop(server);
    for age in 1..=4 {
        now += INTERVAL;
        rounds += 1;
        hand.set(now);
        tokio::time::timeout(PATIENCE, decided(rounds)).await.unwrap();
        let answer = client.values(Metric::MetricsQps, &key).await;
        match answer {
            Ok(values) => assert!(age <= 3 && values == served, "{age}: {values:?}"),
            Err(ClientError::Refused { code: 503, .. }) => assert_eq!(age, 4),
            Err(error) => panic!("{error}"),
        }
    }
    stopper.stop();
    running.await.unwrap().unwrap();
    Ok(())
}

#[tokio::main]
async fn told_in_parts(executable: &PathBuf) -> Result<(), Failed> {
    let server = Prometheus::start_with(executable, SCRAPES);
    let endpoint = Endpoint::parse(&server.url()).unwrap();
    let sample = async |load: serde_json::Value, names: PodNames| {
        let mut load = load;
        load["histogram"] = "prometheus_http_request_duration_seconds".into();
        let query = Query::new(&serde_json::from_value(load).unwrap());
        let pods = watch::channel(QueriedPods {
            updating: false,
            names,
            warming: 0,
            replicas: None,
            cpu: PodCpu::default(),
            target: None,
        })
        .1;
        let board = Arc::new(Board::default());
        let scraper = Scraper::new(Clock::system(), Arc::new(Telemetry::new(board, Clock::system())));
        let key = ObjectKey::new("shop", "prometheus");
        let times = (INTERVAL, WINDOW);
        ServerCollector::new(key, query, times, &endpoint, pods, scraper).round().await.unwrap()
    };
    let of = |kind: &str, name: &str| {
        PodNames::Of(ScaleTargetRef { api_version: "apps/v1".into(), kind: kind.into(), name: name.into() })
    };
    let known = |names: &[&str]| PodNames::Known(names.iter().map(|n| (*n).to_owned()).collect());
    until(|| load_by_hand(&server).is_some()).await;

    let more = serde_json::json!({
        "inFlight": {"metric": "prometheus_engine_queries"},
        "rejected": {"metric": "prometheus_http_requests_total"},
    });
    let all = sample(more, of("StatefulSet", "prometheus")).await;
    // The pod that is not reached holds the replicas, and is not made up for.
    assert_eq!((all.pods.ready, all.pods.silent, all.pods.replicas), (2, 0, 2));
    let [group] = all.groups.as_slice() else { panic!("{:?}", all.groups) };
    assert_eq!((group.pods, group.window, group.silent), (1, WINDOW, false));
    assert!(group.histograms[0].le().contains(&0.4) && group.histograms[0].busy().is_some());
    let cpu =
        value(&server, "sum(rate(container_cpu_usage_seconds_total{pod=\"prometheus-0\"}[10s]))").unwrap();
    assert!((group.cpu.unwrap().get() - cpu).abs() < 0.2, "{:?} {cpu}", group.cpu);
    // One query is in flight when it counts them; nothing was turned away so far, and that is known.
    assert!(group.in_flight.is_some_and(|in_flight| in_flight.now >= 0.0));
    assert_eq!(group.rejected, Some(Rate::ZERO));

    // Classes that a label tells apart.
    let fit = serde_json::json!({"weights": {"fit": {"byLabel": {"name": "handler"}}}});
    let by_handler = sample(fit, known(&["prometheus-0"])).await.groups.remove(0).histograms;
    let query = by_handler.iter().find(|h| h.labels()["handler"] == "/api/v1/query").unwrap();
    assert!(query.labels().len() == 1 && query.le().contains(&0.4) && query.busy().is_some());

    let two = sample(serde_json::json!({}), known(&["prometheus-0", "prometheus-1"])).await;
    assert_eq!((two.pods.ready, two.pods.silent, two.pods.replicas), (2, 1, 2));
    assert_eq!(two.groups.iter().map(|g| (g.pods, g.silent)).collect::<Vec<_>>(), [(1, false), (1, true)]);

    // What is not there is missing: neither a load of zero nor a CPU of none.
    let elsewhere = sample(serde_json::json!({}), of("Deployment", "prometheus")).await;
    assert_eq!((elsewhere.pods.ready, elsewhere.groups.len()), (0, 0));
    let other =
        serde_json::json!({"matchers": {"handler": {"in": ["/nowhere"]}}, "inFlight": {"metric": "x"}});
    let missing = sample(other, known(&["prometheus-0"])).await;
    assert_eq!((missing.pods.ready, missing.groups[0].histograms.len()), (1, 0));
    assert_eq!(missing.groups[0].in_flight, None);
    // Probes alone are a load of zero.
    let probes = "rate(prometheus_http_request_duration_seconds_count{pod=\"idle-0\"}[10s])";
    until(|| value(&server, probes).is_some()).await;
    let idle = sample(serde_json::json!({}), known(&["idle-0"])).await;
    assert_eq!((idle.groups[0].pods, idle.groups[0].histograms[0].total()), (1, 0.0));

    // What a user writes stays within the quotes.
    let hostile =
        serde_json::json!({"matchers": {"x": {"in": ["\"} or up{a=\"", "a|b.*", "\\", "line\nfeed", "é"]}}});
    assert_eq!(sample(hostile, known(&["prometheus-0"])).await.groups[0].histograms, []);
    let harmless =
        serde_json::json!({"matchers": {"x": {"notIn": ["\"} or up{a=\"", ".*", "\\", "line\nfeed"]}}});
    assert_eq!(sample(harmless, known(&["prometheus-0"])).await.groups[0].histograms.len(), 1);
    Ok(())
}
