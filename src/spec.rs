//! What a user configures: the `spec` of a `LoadAwareAutoscaler`.
//!
//! One set of types stands behind the custom resource, the adapter's file, the simulator and the docs. Reading
//! one only says that its shape is right; [`Spec::check`] says whether its values make sense, and names every
//! field that does not. Settings that this version cannot honour are refused with the reason, never ignored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forecast::events::Event;
use crate::hpa::Behavior;
use crate::load::FitSettings;
use crate::units::{Percent, Quantity, Span};

mod check;
pub mod schedules;

pub use check::{CapacityTarget, Checked, ForecastWish, InvalidSpec, Violation};

/// The wish for one workload: what to scale, within which bounds, by which load, towards which target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.minReplicas <= self.maxReplicas", "message": "maxReplicas must be at least minReplicas"}]))]
pub struct Spec {
    /// The workload: anything with a `scale` subresource, in the object's own namespace.
    pub scale_target_ref: ScaleTargetRef,
    /// Never fewer replicas than this; at least 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub min_replicas: u32,
    /// Never more replicas than this; at least `minReplicas`.
    #[schemars(range(min = 1, max = 2147483647))]
    pub max_replicas: u32,
    /// How far the autoscaler may go.
    #[serde(default)]
    pub mode: Mode,
    /// How the load is measured.
    pub load: Load,
    /// What one ready pod should carry.
    pub target: Target,
    /// How far ahead to look, and how surely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Times at which other bounds hold. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub schedules: Vec<Schedule>,
    /// How fast the HPA may move: `autoscaling/v2` `spec.behavior`, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// Who moves the replicas.
    #[serde(default)]
    pub actuation: Actuation,
    /// What to do when the load has been unknown for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missing_metrics: Option<OnMissingMetrics>,
    /// What becomes of the HPA when this object is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
}

fn one() -> u32 {
    1
}

/// Names the workload to scale, as in `autoscaling/v2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTargetRef {
    /// Group and version, e.g. `apps/v1`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]+$")
    )]
    pub api_version: String,
    /// Kind, e.g. `Deployment`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z][-A-Za-z0-9]*$"))]
    pub kind: String,
    /// Name, in the object's own namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// How far the autoscaler may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Decide and show, and move nothing.
    #[default]
    Observe,
    /// The forecast's bound or the present load, whichever asks for more.
    Auto,
    /// The present load alone.
    Reactive,
    /// As `Auto`, but never fewer replicas than there are.
    ScaleUpOnly,
}

/// Who moves the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Actuation {
    /// A HorizontalPodAutoscaler that follows the decision.
    #[default]
    HPA,
    /// Plimsoll writes the scale subresource itself.
    Scale,
    /// Nobody: the metrics are served, and that is all.
    None,
}

/// What becomes of the HPA when the object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It stays, and works on its CPU metric.
    #[default]
    Retain,
    /// It goes with the object.
    Delete,
}

/// How the load is measured: which series, from where, and what each duration class weighs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// The histogram of request durations in seconds, without `_bucket`.
    #[schemars(length(min = 1, max = 512))]
    pub histogram: String,
    /// Where the series are read. Default: the pods themselves.
    #[serde(default)]
    pub source: Source,
    /// Which series of the histogram count, by label. Where a label is not named here, values that say probe or
    /// metrics page are left out of `handler`, `path`, `route`, `uri` and `endpoint`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matchers: BTreeMap<String, Matcher>,
    /// A gauge of the requests now being served or queued in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<Series>,
    /// A counter of requests turned away for lack of capacity; without `matchers`, those with the `code` 429, 503 or 504.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Series>,
    /// A counter of arrivals in front of the workload (ingress, mesh, load balancer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Series>,
    /// A counter of what comes with the requests and is paid for beside them, such as tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Series>,
    /// Where the pods' CPU is read. Default: `process_cpu_seconds_total` of their own pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// What a request of each duration class costs.
    #[serde(default)]
    pub weights: Weights,
}

/// Where the series are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.scrape), has(self.prometheus)].filter(given, given).size() == 1", "message": "give exactly one of scrape, prometheus"}]))]
pub enum Source {
    /// The pods' own metrics page.
    Scrape(Scrape),
    /// A server with Prometheus' API that the operator configured.
    Prometheus(Prometheus),
}

impl Default for Source {
    fn default() -> Self {
        Self::Scrape(Scrape::default())
    }
}

/// The pods' own metrics page, how often it is read, and what that takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "(self.scheme == 'HTTPS') == has(self.tlsConfig)", "message": "scheme HTTPS takes tlsConfig, which says whose certificates to trust, and HTTP takes none"}]))]
pub struct Scrape {
    /// A declared container port, by name.
    pub port: String,
    /// The page's path.
    pub path: String,
    /// Time between two scrapes, 1s to 5m.
    pub interval: Span,
    /// How pods are spoken to.
    pub scheme: Scheme,
    /// Whose certificates to trust; with scheme `HTTPS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// What pods are shown, where they do not tell everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
}

impl Default for Scrape {
    fn default() -> Self {
        Self {
            port: "metrics".into(),
            path: "/metrics".into(),
            interval: Span::from_secs(15),
            scheme: Scheme::default(),
            tls_config: None,
            authorization: None,
        }
    }
}

/// How pods are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Scheme {
    /// In the clear.
    #[default]
    HTTP,
    /// Over TLS.
    HTTPS,
}

/// Whose certificates to trust. Each is verified; there is no way to leave that out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    /// Certificates of the authorities that may have signed a pod's, as PEM.
    pub ca: CaBundle,
    /// The name that a pod's certificate must be good for. Default: the pod's IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
}

/// Where the authorities' certificates are, in the object's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.configMap), has(self.secret)].filter(given, given).size() == 1", "message": "give exactly one of configMap, secret"}]))]
pub enum CaBundle {
    /// In a ConfigMap.
    ConfigMap(KeyRef),
    /// In a Secret. The right to read it is one to read all of its keys, such as a private one beside.
    Secret(KeyRef),
}

/// What pods are shown: the header `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// The word before the credentials.
    #[serde(rename = "type", default = "bearer")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z][-A-Za-z0-9]*$"))]
    pub kind: String,
    /// The Secret in the object's own namespace, and the key under which it has them.
    pub credentials: KeyRef,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// One key of a Secret or ConfigMap in the object's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// What it is called.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A metrics server by the operator's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prometheus {
    /// The operator's name for the server.
    #[serde(rename = "ref")]
    #[schemars(length(min = 1, max = 63))]
    pub reference: String,
    /// The window that rates are taken over, 10s to 1h: at least four of the server's own scrape intervals.
    #[serde(default = "one_minute")]
    pub window: Span,
    /// Time between two queries, 1s to 5m.
    #[serde(default = "scrape_interval")]
    pub interval: Span,
}

/// Where the pods' CPU is read, if not on their own pages: all containers of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.prometheus), has(self.resourceMetrics)].filter(given, given).size() == 1", "message": "give exactly one of prometheus, resourceMetrics"}]))]
pub enum Cpu {
    /// `container_cpu_usage_seconds_total` at a server with Prometheus' API.
    Prometheus(CpuServer),
    /// The cluster's resource metrics (`metrics.k8s.io`), which HPAs on CPU read too.
    ResourceMetrics(ResourceMetrics),
}

/// The cluster's resource metrics. They have no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceMetrics {}

/// A metrics server that knows the pods' CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuServer {
    /// The operator's name for the server.
    #[serde(rename = "ref")]
    #[schemars(length(min = 1, max = 63))]
    pub reference: String,
    /// The window that the CPU is taken over, 10s to 1h.
    #[serde(default = "one_minute")]
    pub window: Span,
}

fn one_minute() -> Span {
    Span::from_secs(60)
}

fn scrape_interval() -> Span {
    Scrape::default().interval
}

/// Which values of one label count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Matcher {
    /// If any are given, only these values. A series without the label has the value "".
    #[serde(rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// None of these values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_in: Vec<String>,
}

impl Matcher {
    /// Whether a label with this value counts.
    pub fn matches(&self, value: &str) -> bool {
        let has = |values: &[String]| values.iter().any(|v| v == value);
        (self.any_of.is_empty() || has(&self.any_of)) && !has(&self.not_in)
    }
}

/// One gauge or counter of the workload's, summed over the series that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// The sample's name as the page has it, e.g. `http_requests_total`.
    pub metric: String,
    /// Which of its series count, by label. `rejected` without matchers takes `code` 429, 503 and 504.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matchers: BTreeMap<String, Matcher>,
}

/// What a request of each duration class costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.fit), has(self.fixed)].filter(given, given).size() == 1", "message": "give exactly one of fit, fixed"}]))]
pub enum Weights {
    /// Learned from the workload's own CPU.
    Fit(Fit),
    /// Typed by hand.
    Fixed(Fixed),
}

impl Default for Weights {
    fn default() -> Self {
        Self::Fit(Fit::default())
    }
}

/// How weights are learned. Nothing need be said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!has(self.edges) || (self.edges.isSorted() && self.edges.all(edge, edge > 0.0 && self.edges.exists_one(same, same == edge)))", "message": "edges must be above zero and ascend, in seconds"}]))]
pub struct Fit {
    /// Upper edges of all classes but the last, in seconds, ascending. Default: the histogram's own bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub edges: Option<Vec<f64>>,
    /// A label of the histogram that tells kinds of requests apart which last equally long and cost unlike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_label: Option<FitLabel>,
    /// Time after which a sample counts half.
    pub half_life: Span,
    /// Whether a request that lasts longer is thought not to cost less, until the data say otherwise.
    pub ordered: bool,
}

impl Default for Fit {
    fn default() -> Self {
        let FitSettings { half_life, ordered } = FitSettings::default();
        Self { edges: None, by_label: None, half_life, ordered }
    }
}

/// Classes by the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FitLabel {
    /// Its name, e.g. `route`.
    pub name: String,
    /// The most values that get classes of their own, those in which most time is spent; 1 to 11. All others share theirs.
    #[serde(default = "most_values")]
    pub most: usize,
}

fn most_values() -> usize {
    5
}

/// Most values of a label that get classes of their own.
const MOST_VALUES: usize = 11;

/// Weights typed by hand. Without edges and weights: CudgX's five classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.edges.isSorted() && self.edges.all(edge, edge > 0.0 && self.edges.exists_one(same, same == edge))", "message": "edges must be above zero and ascend, in seconds"}, {"rule": "self.weights.size() == self.edges.size() + 1", "message": "there must be one weight more than there are edges"}, {"rule": "self.weights.all(weight, weight >= 0.0)", "message": "weights must not be negative"}]))]
pub struct Fixed {
    /// Upper edges of all classes but the last, in seconds, ascending.
    #[serde(default = "cudgx_edges")]
    #[schemars(length(max = 128))]
    pub edges: Vec<f64>,
    /// One weight a class: one more than there are edges.
    #[serde(default = "cudgx_weights")]
    #[schemars(length(max = 129))]
    pub weights: Vec<f64>,
    /// What a unit of `load.work` weighs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<f64>,
}

impl Default for Fixed {
    fn default() -> Self {
        Self { edges: cudgx_edges(), weights: cudgx_weights(), work: None }
    }
}

fn cudgx_edges() -> Vec<f64> {
    vec![0.01, 0.05, 0.1, 0.5]
}

fn cudgx_weights() -> Vec<f64> {
    vec![0.1, 0.5, 2.0, 4.0, 8.0]
}

/// What one ready pod should carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.metricsQPSPerPod), has(self.cpuUtilization), has(self.latency)].filter(given, given).size() == 1", "message": "give exactly one of metricsQPSPerPod, cpuUtilization, latency"}]))]
pub enum Target {
    /// So much MetricsQPS.
    #[serde(rename = "metricsQPSPerPod")]
    MetricsQpsPerPod(Quantity),
    /// As much as keeps the pod at this percentage of its CPU request.
    CpuUtilization(u32),
    /// As much as keeps this latency objective.
    Latency(LatencyObjective),
}

/// A quantile of latency and the longest time that it may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyObjective {
    /// Between 0 and 1, e.g. 0.99.
    pub quantile: f64,
    /// Seconds.
    pub seconds: f64,
}

/// How far ahead to look, and how surely. By default: short in 0.5 % of the time, with the measured lead time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!has(self.objective) || !has(self.quantile)", "message": "give an objective or a quantile, not both"}]))]
pub struct Forecast {
    /// What is promised, at least cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// The bound's quantile, 0.5 to 0.999, in place of an objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.5, max = 0.999))]
    pub quantile: Option<f64>,
    /// `Auto`, or a pinned duration of 1s to 6h: from a decision until a pod serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_time: Option<String>,
    /// IANA name of the time zone whose clock the load lives by: seasons follow its changes. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What no history shows: a sale, a broadcast. Never inferred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

/// What the forecast promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Share of time that may be short.
    pub short_time: Percent,
}

/// Other bounds for a while, again and again. At least one of the two is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.minReplicas) || has(self.maxReplicas)", "message": "give minReplicas, maxReplicas or both"}, {"rule": "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas", "message": "maxReplicas must be at least minReplicas"}]))]
pub struct Schedule {
    /// What people call it; unique in the spec.
    pub name: String,
    /// When it begins, as five cron fields: minute, hour, day of the month, month, day of the week.
    #[schemars(length(max = 100), regex(pattern = r"^\s*(\S+\s+){4}\S+\s*$"))]
    pub cron: String,
    /// IANA name of the time zone that `cron` is read in.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+\-/]+$"))]
    pub time_zone: String,
    /// How long it lasts, 1m to 7d.
    pub duration: Span,
    /// `minReplicas` meanwhile. Pods are asked for a lead time earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<u32>,
    /// `maxReplicas` meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<u32>,
}

/// What to do when the load has been unknown for long. Never lowers, unless told an exact number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnMissingMetrics {
    /// How long to hold first, 1m to 24h.
    pub hold_for: Span,
    /// What then.
    pub then: Fallback,
}

/// Replicas without knowledge of the load: 1 to `maxReplicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.atLeast), has(self.exactly)].filter(given, given).size() == 1", "message": "give exactly one of atLeast, exactly"}]))]
pub enum Fallback {
    /// As many as there are, and at least so many.
    AtLeast(u32),
    /// So many, be it fewer.
    Exactly(u32),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_matcher_takes_some_values_and_leaves_others() {
        let matcher: Matcher = serde_json::from_value(json!({"notIn": ["/healthz"]})).unwrap();
        assert!(matcher.matches("/") && matcher.matches("") && !matcher.matches("/healthz"));
        let matcher: Matcher = serde_json::from_value(json!({"in": ["a", "b"], "notIn": ["b"]})).unwrap();
        assert!(matcher.matches("a") && !matcher.matches("b") && !matcher.matches("c"));
    }
}
