//! The CPU of a scraped workload's pods, from elsewhere than their own pages: a metrics server, or the cluster's resource metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use plimsoll::load::{ReadingError, Spent};
use plimsoll::units::{Cores, Span, Time};
use serde::Deserialize;

use super::collector::Scraper;
use super::fetch::MAX_PAGE_TIME;
use super::prometheus::{Api, Endpoint, QueryError, Series, Value};
use super::promql::{PodNames, Workload};
use super::queried::{QueriedError, cores};
use crate::clock::Clock;

/// What is older says nothing of now: several times what metrics-server takes to come by.
const OLDEST: Span = Span::from_secs(120);

/// So far clocks may differ.
const AHEAD: Span = Span::from_secs(15);

/// Who tells the CPU.
#[derive(Debug, Clone)]
pub enum PodsCpu {
    /// A server with Prometheus' API.
    Server(Box<ServerCpu>),
    /// The cluster's resource metrics.
    Cluster(ClusterCpu),
}

/// Why the CPU is not known.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PodsCpuError {
    /// The server does not tell it.
    #[error(transparent)]
    Server(#[from] QueriedError),
    /// The cluster's resource metrics are not to be had.
    #[error("the cluster's resource metrics (metrics.k8s.io): {0}")]
    Cluster(String),
    /// They took too long.
    #[error("the cluster's resource metrics (metrics.k8s.io): no answer within {0:?}")]
    Timeout(Duration),
    /// They are of another time, or of other pods.
    #[error(
        "the cluster's resource metrics (metrics.k8s.io) are of no pod of the workload, or of more than {OLDEST} ago, or of the future: does this machine's clock go right?"
    )]
    Old,
}

impl PodsCpuError {
    /// A word for a label: few, and none made of what the other side sent.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Server(error) => error.reason(),
            Self::Cluster(_) => "cluster",
            Self::Timeout(_) => "timeout",
            Self::Old => "old",
        }
    }
}

impl PodsCpu {
    /// What each of these pods used, and when, by the adapter's clock; `selector` selects them, if it is known. Those of which nothing is told are not among them.
    ///
    /// # Errors
    /// When there is no answer, or none that can be used.
    pub async fn of(
        &self,
        pods: &BTreeSet<String>,
        selector: Option<&str>,
    ) -> Result<BTreeMap<String, Spent>, PodsCpuError> {
        if pods.is_empty() {
            return Ok(BTreeMap::new());
        }
        match self {
            Self::Server(server) => Ok(server.of(pods).await?),
            Self::Cluster(cluster) => cluster.of(pods, selector).await,
        }
    }
}

/// Container CPU at a metrics server.
#[derive(Debug, Clone)]
pub struct ServerCpu {
    api: Api,
    namespace: String,
    window: Span,
}

impl ServerCpu {
    /// For pods in `namespace`, asked every `interval`, over `window`.
    pub fn new(
        namespace: String,
        (interval, window): (Span, Span),
        endpoint: &Endpoint,
        scraper: &Scraper,
    ) -> Self {
        Self { api: Api::new(endpoint, scraper.clock.clone(), interval), namespace, window }
    }

    async fn of(&self, pods: &BTreeSet<String>) -> Result<BTreeMap<String, Spent>, QueriedError> {
        let pods = PodNames::Known(pods.clone());
        let workload = Workload { namespace: &self.namespace, pods: &pods, window: self.window };
        let answer = self.api.query(&workload.cpu()).await?;
        let of = |Series { mut labels, value }: Series| {
            let (Some(pod), Value::Number(value)) = (labels.remove("pod"), value) else {
                return Err(QueryError::Malformed.into());
            };
            let (from, until) = (answer.at - self.window, answer.at);
            Ok((pod, Spent { cores: cores(value)?, from, until }))
        };
        answer.series.into_iter().map(of).collect()
    }
}

/// The cluster's resource metrics, which an HPA on CPU reads too: some 15 to 60 s old, over as long.
#[derive(Clone)]
pub struct ClusterCpu {
    client: Client,
    namespace: String,
    clock: Clock,
    patience: Duration,
}

impl std::fmt::Debug for ClusterCpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterCpu").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl ClusterCpu {
    /// For pods in `namespace`, asked every `interval`.
    pub fn new(namespace: String, interval: Span, client: Client, scraper: &Scraper) -> Self {
        let clock = scraper.clock.clone();
        let patience = clock.in_world(interval).min(MAX_PAGE_TIME);
        Self { client, namespace, clock, patience }
    }

    async fn of(
        &self,
        pods: &BTreeSet<String>,
        selector: Option<&str>,
    ) -> Result<BTreeMap<String, Spent>, PodsCpuError> {
        let asked = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", self.namespace);
        let request = Request::new(path).list(&asked);
        let request = request.map_err(|error| PodsCpuError::Cluster(error.to_string()))?;
        let answer =
            tokio::time::timeout(self.patience, self.client.request::<PodMetricsList>(request)).await;
        let told = match answer {
            Err(_) => return Err(PodsCpuError::Timeout(self.patience)),
            Ok(Err(kube::Error::Api(status))) => {
                return Err(PodsCpuError::Cluster(
                    status.message.lines().next().unwrap_or_default().to_owned(),
                ));
            }
            Ok(Err(error)) => return Err(PodsCpuError::Cluster(error.to_string())),
            Ok(Ok(told)) => told,
        };
        let (now, date) = (self.clock.now(), self.clock.date());
        let known = told.used(pods, date)?.into_iter().map(|(pod, used)| {
            let until = now - self.clock.of_world(date - used.until);
            (
                pod,
                Spent { cores: used.cores, from: until - self.clock.of_world(used.until - used.from), until },
            )
        });
        let known: BTreeMap<String, Spent> = known.collect();
        if known.is_empty() { Err(PodsCpuError::Old) } else { Ok(known) }
    }
}

/// An answer, of which only what is needed is decoded.
#[derive(Debug, Deserialize)]
struct PodMetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Debug, Deserialize)]
struct PodMetrics {
    metadata: Named,
    /// When its window ended, RFC 3339.
    timestamp: String,
    /// How long it was, as Go writes durations.
    window: String,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Container {
    usage: Usage,
}

#[derive(Debug, Deserialize)]
struct Usage {
    /// None where it is not known.
    cpu: Option<String>,
}

impl PodMetricsList {
    /// Of these pods those whose CPU is known of not long before `date`; a pod of which a container's is not known is not among them.
    fn used(self, pods: &BTreeSet<String>, date: Time) -> Result<BTreeMap<String, Spent>, PodsCpuError> {
        let mut known = BTreeMap::new();
        for PodMetrics { metadata: Named { name }, timestamp, window, containers } in self.items {
            if !pods.contains(&name) || containers.is_empty() {
                continue;
            }
            let wrong = |what: String| PodsCpuError::Cluster(format!("of the pod {name} it says {what:?}"));
            let until = instant(&timestamp).ok_or_else(|| wrong(timestamp.clone()))?;
            let window = duration(&window).ok_or_else(|| wrong(window.clone()))?;
            if date - until > OLDEST || until - date > AHEAD {
                continue;
            }
            let Some(cpus) = containers.into_iter().map(|of| of.usage.cpu).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let mut sum = 0.0;
            for cpu in cpus {
                sum += quantity(&cpu).ok_or_else(|| wrong(cpu))?;
            }
            let cores = Cores::new(sum).map_err(|_| {
                PodsCpuError::from(QueriedError::from(ReadingError::Value {
                    what: "the CPU use",
                    value: sum,
                }))
            })?;
            known.insert(name, Spent { cores, from: until - window, until });
        }
        Ok(known)
    }
}

/// A time as Go writes it, such as `1m0.5s`; above zero, and at most an hour.
fn duration(text: &str) -> Option<Span> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    (seconds > 0.0 && seconds <= 3600.0).then(|| Span::from_secs_f64(seconds))
}

fn instant(text: &str) -> Option<Time> {
    let timestamp = text.parse::<jiff::Timestamp>().ok()?;
    let nanos = i64::try_from(timestamp.as_nanosecond()).ok()?;
    Some(Time::EPOCH + Span::from_nanos(nanos))
}

/// Cores, from a quantity as the API writes CPU: `12345678n`, `250m`, `2`. Whole thousandths, as other quantities have here, are too coarse
/// for a pod that is idle.
fn quantity(text: &str) -> Option<f64> {
    let (number, factor) = match text.as_bytes().last()? {
        b'n' => (&text[..text.len() - 1], 1e-9),
        b'u' => (&text[..text.len() - 1], 1e-6),
        b'm' => (&text[..text.len() - 1], 1e-3),
        b'k' => (&text[..text.len() - 1], 1e3),
        _ => (text, 1.0),
    };
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &serde_json::Value) -> PodMetricsList {
        serde_json::from_value(serde_json::json!({"kind": "PodMetricsList", "items": items})).unwrap()
    }

    fn pod(name: &str, at: &str, cpus: &[&str]) -> serde_json::Value {
        let containers: Vec<_> = cpus
            .iter()
            .map(|cpu| serde_json::json!({"name": "c", "usage": {"cpu": cpu, "memory": "1Mi"}}))
            .collect();
        serde_json::json!({"metadata": {"name": name}, "timestamp": at, "window": "15s", "containers": containers})
    }

    #[test]
    fn containers_add_up_and_what_is_old_or_of_others_is_not_known() {
        let now = Time::from_secs(1_767_323_045);
        let items = serde_json::json!([
            pod("a", "2026-01-02T03:03:55Z", &["250m", "12345678n"]),
            pod("old", "2026-01-02T03:00:00Z", &["1"]),
            pod("other", "yesterday", &["much"]),
            pod("none", "2026-01-02T03:03:55Z", &[]),
            pod("ahead", "2026-01-02T03:05:00Z", &["1"]),
            {"metadata": {"name": "half"}, "timestamp": "2026-01-02T03:03:55Z", "window": "15s", "containers": [{"usage": {"cpu": "1"}}, {"usage": {}}]},
        ]);
        let pods = ["a", "old", "none", "half", "ahead", "missing"].map(str::to_owned).into();
        let known = list(&items).used(&pods, now).unwrap();
        let until = now - Span::from_secs(10);
        let spent =
            Spent { cores: Cores::new(0.262_345_678).unwrap(), from: until - Span::from_secs(15), until };
        assert_eq!(known, BTreeMap::from([("a".to_owned(), spent)]));
    }

    #[test]
    fn what_is_no_amount_or_instant_is_told() {
        let now = Time::from_secs(1_767_323_045);
        let pods: BTreeSet<String> = ["a".to_owned()].into();
        for (at, cpu) in
            [("yesterday", "1"), ("2026-01-02T03:03:55Z", "much"), ("2026-01-02T03:03:55Z", "-1m")]
        {
            let error = list(&serde_json::json!([pod("a", at, &[cpu])])).used(&pods, now).unwrap_err();
            let wrong = if at == "yesterday" { at } else { cpu };
            assert!(error.to_string().contains(wrong) && error.reason() == "cluster", "{error}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in
            [("15s", 15_000), ("1m0s", 60_000), ("17.412s", 17_412), ("1m12.5s", 72_500), ("500ms", 500)]
        {
            assert_eq!(duration(text), Some(Span::from_millis(millis)), "{text}");
        }
        for text in ["", "0s", "15", "s", "-15s", "2h", "1d", "1.2.3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_of_cpu_are_exact() {
        for (text, cores) in
            [("0", 0.0), ("1500n", 1.5e-6), ("3u", 3e-6), ("250m", 0.25), ("2", 2.0), ("1.5", 1.5)]
        {
            assert!(quantity(text).is_some_and(|value| (value - cores).abs() <= 1e-15), "{text}");
        }
        for text in ["", "n", "-1", "1x", "NaN", "inf", "1e999"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }
}
