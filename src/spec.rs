//! What a user configures: the `spec` of a `LoadAwareAutoscaler`.
//!
//! One set of types stands behind the custom resource, the adapter's file, the simulator and the docs. Reading
//! one only says that its shape is right; [`Spec::check`] says whether its values make sense, and names every
//! field that does not. Settings that this version cannot honour are refused with the reason, never ignored.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forecast::Promise;
use crate::forecast::events::{Event, Events};
use crate::forecast::local_time::Zone;
use crate::hpa::Behavior;
use crate::load::{
    Classes, Edges, FitSettings, Fitting, LatencyObjective as LateAt, Weighing, Weights as ClassWeights,
};
use crate::units::{MetricsQps, Percent, Quantity, Span};

/// The wish for one workload: what to scale, within which bounds, by which load, towards which target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The workload: anything with a `scale` subresource, in the object's own namespace.
    pub scale_target_ref: ScaleTargetRef,
    /// Never fewer replicas than this; at least 1.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// Never more replicas than this; at least `minReplicas`.
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
    /// Times at which other bounds hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    pub api_version: String,
    /// Kind, e.g. `Deployment`.
    pub kind: String,
    /// Name, in the object's own namespace.
    pub name: String,
}

/// How far the autoscaler may go. Modes change the decision only, never the shape of an HPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Decide and show, but own no HPA.
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
    /// A counter of requests turned away for lack of capacity; see [`Series::matchers`] for its default.
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

/// The pods' own metrics page, and how often it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scrape {
    /// A declared container port, by name.
    pub port: String,
    /// The page's path.
    pub path: String,
    /// Time between two scrapes, 1s to 5m.
    pub interval: Span,
}

impl Default for Scrape {
    fn default() -> Self {
        Self { port: "metrics".into(), path: "/metrics".into(), interval: Span::from_secs(15) }
    }
}

/// A metrics server by the operator's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prometheus {
    /// The operator's name for the server.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The window that rates are taken over, 10s to 1h: at least four of the server's own scrape intervals.
    #[serde(default = "one_minute")]
    pub window: Span,
    /// Time between two queries, 1s to 5m.
    #[serde(default = "scrape_interval")]
    pub interval: Span,
}

/// Where the pods' CPU is read, if not on their own pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cpu {
    /// `container_cpu_usage_seconds_total` at a server with Prometheus' API: all containers of the pod.
    Prometheus(CpuServer),
}

/// A metrics server that knows the pods' CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuServer {
    /// The operator's name for the server.
    #[serde(rename = "ref")]
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
pub struct Fit {
    /// Upper edges of all classes but the last, in seconds, ascending. Default: the histogram's own bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
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
pub struct Fixed {
    /// Upper edges of all classes but the last, in seconds, ascending.
    #[serde(default = "cudgx_edges")]
    pub edges: Vec<f64>,
    /// One weight a class: one more than there are edges.
    #[serde(default = "cudgx_weights")]
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
pub struct Forecast {
    /// What is promised, at least cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// The bound's quantile, 0.5 to 0.999, in place of an objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// Other bounds for a while, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// What people call it.
    pub name: String,
    /// When it begins, as five cron fields.
    pub cron: String,
    /// IANA name of the time zone that `cron` is read in.
    pub time_zone: String,
    /// How long it lasts.
    pub duration: Span,
    /// `minReplicas` meanwhile.
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
    /// How long to hold first.
    pub hold_for: Span,
    /// What then.
    pub then: Fallback,
}

/// Replicas without knowledge of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fallback {
    /// As many as there are, and at least so many.
    AtLeast(u32),
    /// So many, be it fewer.
    Exactly(u32),
}

/// One field with a value that cannot be used, and what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Violation {
    /// Path from the object's root, e.g. `spec.load.weights.fixed.edges`.
    pub field: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// Every field of a spec that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSpec(pub Vec<Violation>);

impl fmt::Display for InvalidSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            write!(f, "{}{violation}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// A spec whose values make sense and that this version can honour: what an `Autoscaler` is built from.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Never fewer replicas than this.
    pub min_replicas: u32,
    /// Never more replicas than this.
    pub max_replicas: u32,
    /// How far the autoscaler may go.
    pub mode: Mode,
    /// Time between two samples.
    pub interval: Span,
    /// How requests are weighed.
    pub weighing: Weighing,
    /// What one ready pod should carry.
    pub target: CapacityTarget,
    /// What the forecast promises; none where nobody looks ahead.
    pub forecast: Option<ForecastWish>,
}

/// What the forecast promises, and how far it looks.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastWish {
    /// What is promised.
    pub promise: Promise,
    /// The lead time that the user knows; none for the measured one.
    pub lead_time: Option<Span>,
    /// Whose clock the load lives by.
    pub zone: Zone,
    /// What no history shows.
    pub events: Events,
    /// What a metrics server takes rates over: evidence is half of it late. Zero where pods are scraped.
    pub window: Span,
}

impl ForecastWish {
    /// This promise, and all else as it is by default.
    pub fn new(promise: Promise) -> Self {
        Self { promise, lead_time: None, zone: Zone::UTC, events: Events::default(), window: Span::ZERO }
    }
}

/// What one ready pod should carry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CapacityTarget {
    /// So much MetricsQPS; above zero.
    Given(MetricsQps),
    /// As much as takes this share of its CPU request.
    CpuUtilization(Percent),
    /// As much as keeps a latency objective.
    Latency(LateAt),
}

impl Spec {
    /// Checks every value.
    ///
    /// # Errors
    /// All fields that cannot be used, each with what was expected or why this version refuses it.
    pub fn check(&self) -> Result<Checked, InvalidSpec> {
        let mut wrong = Wrong(Vec::new());
        self.check_bounds(&mut wrong);
        self.refuse_unsupported(&mut wrong);
        let interval = self.load.check_source(&mut wrong);
        self.load.check_series(&mut wrong);
        let weighing = self.load.check_weights(&mut wrong);
        let target = self.target.check(&mut wrong);
        let forecast = self.forecast.clone().unwrap_or_default().check(&mut wrong);
        if let (Weights::Fit(_), Target::MetricsQpsPerPod(_)) = (&self.load.weights, &self.target) {
            wrong.not_yet(
                "spec.target.metricsQPSPerPod",
                "the unit of learned weights is the workload's mean request after a start, and a restart may find another one; \
                 use cpuUtilization or latency, or give weights",
            );
        }
        match (interval, weighing, target) {
            (Some(interval), Some(weighing), Some(target)) if wrong.0.is_empty() => Ok(Checked {
                min_replicas: self.min_replicas,
                max_replicas: self.max_replicas,
                mode: self.mode,
                interval,
                weighing,
                target,
                forecast: forecast.map(|wish| ForecastWish { window: self.load.window(), ..wish }),
            }),
            _ => Err(InvalidSpec(wrong.0)),
        }
    }

    fn check_bounds(&self, wrong: &mut Wrong) {
        if self.min_replicas == 0 {
            wrong.add("spec.minReplicas", "must be at least 1: a workload at 0 has no load to measure");
        }
        if self.max_replicas < self.min_replicas.max(1) {
            wrong.add("spec.maxReplicas", format!("must be at least minReplicas, {}", self.min_replicas));
        }
        // The HPA counts in int32.
        if i32::try_from(self.max_replicas).is_err() {
            wrong.add("spec.maxReplicas", "must be below 2^31");
        }
        for (field, value) in [
            ("spec.scaleTargetRef.apiVersion", &self.scale_target_ref.api_version),
            ("spec.scaleTargetRef.kind", &self.scale_target_ref.kind),
            ("spec.scaleTargetRef.name", &self.scale_target_ref.name),
        ] {
            if value.is_empty() {
                wrong.add(field, "must not be empty");
            }
        }
    }

    fn refuse_unsupported(&self, wrong: &mut Wrong) {
        if !self.schedules.is_empty() {
            wrong.not_yet("spec.schedules", "there is no scheduler; leave them out");
        }
        if self.behavior.is_some() {
            wrong.not_yet("spec.behavior", "no HPA is created; put it into your own HPA");
        }
        if self.actuation == Actuation::Scale {
            wrong.not_yet("spec.actuation", "nothing writes the scale subresource; use HPA or None");
        }
        if self.on_missing_metrics.is_some() {
            wrong.not_yet("spec.onMissingMetrics", "an unknown load holds the replicas; leave it out");
        }
    }
}

impl Load {
    /// What a metrics server takes rates over; zero where pods are scraped.
    fn window(&self) -> Span {
        match &self.source {
            Source::Scrape(_) => Span::ZERO,
            Source::Prometheus(server) => server.window,
        }
    }

    fn check_source(&self, wrong: &mut Wrong) -> Option<Span> {
        let (field, interval) = match &self.source {
            Source::Scrape(scrape) => ("spec.load.source.scrape", scrape.interval),
            Source::Prometheus(server) => {
                let field = "spec.load.source.prometheus";
                check_server(wrong, field, &server.reference, server.window);
                (field, server.interval)
            }
        };
        if interval < Span::from_secs(1) || interval > Span::from_secs(300) {
            wrong.add(format!("{field}.interval"), format!("{interval} is not between 1s and 5m"));
        }
        match (&self.cpu, &self.source) {
            (Some(Cpu::Prometheus(_)), Source::Prometheus(_)) => {
                wrong.add("spec.load.cpu", "the source tells the CPU as well; leave it out");
            }
            (Some(Cpu::Prometheus(server)), Source::Scrape(_)) => {
                check_server(wrong, "spec.load.cpu.prometheus", &server.reference, server.window);
            }
            (None, _) => {}
        }
        Some(interval)
    }

    fn check_series(&self, wrong: &mut Wrong) {
        let named = [("inFlight", &self.in_flight), ("rejected", &self.rejected), ("work", &self.work)];
        let mut names = vec![("spec.load.histogram".to_owned(), &self.histogram)];
        for (field, series) in named {
            if let Some(series) = series {
                names.push((format!("spec.load.{field}.metric"), &series.metric));
            }
        }
        for (field, name) in names {
            if name.is_empty() {
                wrong.add(field, "must name a metric");
            } else if let Some(base) = name.strip_suffix("_bucket") {
                wrong.add(field, format!("leave out the suffix: {base}"));
            }
        }
        if self.offered.is_some() && !matches!(self.source, Source::Prometheus(_)) {
            wrong.add(
                "spec.load.offered",
                "only a metrics server tells what arrives in front of the workload: use source.prometheus, or inFlight and \
                 rejected",
            );
        }
    }

    fn check_weights(&self, wrong: &mut Wrong) -> Option<Weighing> {
        match &self.weights {
            Weights::Fit(fit) => fit.check(self.work.is_some(), wrong).map(Weighing::Fitted),
            Weights::Fixed(fixed) => fixed.check(self.work.is_some(), wrong).map(Weighing::Given),
        }
    }
}

impl Fit {
    fn check(&self, has_work: bool, wrong: &mut Wrong) -> Option<Fitting> {
        let field = "spec.load.weights.fit";
        let edges = match &self.edges {
            Some(edges) => Some(check_edges(edges, field, wrong)?),
            None => None,
        };
        if self.half_life < Span::from_secs(600) {
            wrong.add(format!("{field}.halfLife"), format!("{} is less than 10m", self.half_life));
        }
        if let Some(label) = &self.by_label {
            if label.name.is_empty() || label.name == "le" {
                wrong
                    .add(format!("{field}.byLabel.name"), "must name a label of the histogram other than le");
            }
            if !(1..=MOST_VALUES).contains(&label.most) {
                wrong.add(format!("{field}.byLabel.most"), format!("must be 1 to {MOST_VALUES}"));
            }
        }
        Some(Fitting {
            edges,
            by_label: self.by_label.as_ref().map(|label| (label.name.clone(), label.most)),
            has_work,
            settings: FitSettings { half_life: self.half_life, ordered: self.ordered },
        })
    }
}

impl Fixed {
    fn check(&self, has_work: bool, wrong: &mut Wrong) -> Option<ClassWeights> {
        let field = "spec.load.weights.fixed";
        let edges = check_edges(&self.edges, field, wrong)?;
        if has_work != self.work.is_some() {
            wrong.add(
                format!("{field}.work"),
                "must say what a unit of spec.load.work weighs, if there is one",
            );
            return None;
        }
        if self.weights.len() != edges.classes() {
            let (found, expected) = (self.weights.len(), edges.classes());
            let message =
                format!("{} edges make {expected} classes, but there are {found} weights", self.edges.len());
            wrong.add(format!("{field}.weights"), message);
            return None;
        }
        let classes = Classes::by_duration(edges);
        let classes = if has_work { classes.and_work() } else { classes };
        let weights: Vec<f64> = self.weights.iter().copied().chain(self.work).collect();
        ClassWeights::new(classes, &weights)
            .map_err(|e| wrong.add(format!("{field}.weights"), e.to_string()))
            .ok()
    }
}

fn check_edges(edges: &[f64], field: &str, wrong: &mut Wrong) -> Option<Edges> {
    Edges::new(edges.to_vec()).map_err(|e| wrong.add(format!("{field}.edges"), e.to_string())).ok()
}

fn check_server(wrong: &mut Wrong, field: &str, reference: &str, window: Span) {
    if reference.is_empty() {
        wrong.add(format!("{field}.ref"), "must name a server of the operator's");
    }
    if window < Span::from_secs(10) || window > Span::from_secs(3600) {
        wrong.add(format!("{field}.window"), format!("{window} is not between 10s and 1h"));
    }
}

impl Target {
    fn check(&self, wrong: &mut Wrong) -> Option<CapacityTarget> {
        match self {
            Self::MetricsQpsPerPod(quantity) if quantity.as_milli() > 0 => {
                MetricsQps::new(quantity.as_f64()).ok().map(CapacityTarget::Given)
            }
            Self::MetricsQpsPerPod(quantity) => {
                wrong.add("spec.target.metricsQPSPerPod", format!("{quantity} is not above zero"));
                None
            }
            Self::CpuUtilization(percent) => match Percent::new(f64::from(*percent)) {
                Ok(share) if *percent > 0 => Some(CapacityTarget::CpuUtilization(share)),
                _ => {
                    wrong.add("spec.target.cpuUtilization", "must be 1 to 100 percent of the CPU request");
                    None
                }
            },
            Self::Latency(LatencyObjective { quantile, seconds }) => {
                let limit = Span::from_secs_f64(*seconds);
                LateAt::new(*quantile, limit)
                    .map(CapacityTarget::Latency)
                    .map_err(|e| wrong.add("spec.target.latency", e.to_string()))
                    .ok()
            }
        }
    }
}

impl Forecast {
    fn check(&self, wrong: &mut Wrong) -> Option<ForecastWish> {
        let promise = match (&self.objective, self.quantile) {
            (Some(_), Some(_)) => {
                wrong.add("spec.forecast.quantile", "is given beside an objective; leave out one of the two");
                return None;
            }
            (None, Some(quantile)) => {
                if !(0.5..=0.999).contains(&quantile) {
                    wrong.add("spec.forecast.quantile", format!("{quantile} is not between 0.5 and 0.999"));
                }
                Promise::Quantile(quantile)
            }
            (objective, None) => {
                let share =
                    objective.as_ref().map_or(SHORT_TIME, |objective| objective.short_time.as_fraction());
                if !(0.0001..=0.2).contains(&share) {
                    wrong.add("spec.forecast.objective.shortTime", "must be 0.01% to 20%");
                }
                Promise::ShortTime(Percent::new(100.0 * share).ok()?)
            }
        };
        let lead_time = match self.lead_time.as_deref() {
            None | Some("Auto") => None,
            Some(text) => {
                let span = text.parse::<Span>().ok();
                let fits = |span: &Span| (Span::from_secs(1)..=Span::from_secs(6 * 3600)).contains(span);
                let span = span.filter(fits);
                if span.is_none() {
                    let message = format!("{text:?} is neither Auto nor a duration of 1s to 6h, such as 90s");
                    wrong.add("spec.forecast.leadTime", message);
                }
                span
            }
        };
        let zone = match self.time_zone.as_deref().map(str::parse) {
            None => Zone::UTC,
            Some(Ok(zone)) => zone,
            Some(Err(error)) => {
                wrong.add("spec.forecast.timeZone", error.to_string());
                return None;
            }
        };
        let events = Events::new(self.events.clone());
        let events = events.map_err(|error| wrong.add("spec.forecast.events", error.to_string())).ok()?;
        Some(ForecastWish { promise, lead_time, zone, events, window: Span::ZERO })
    }
}

/// Share of time that may be short, by default: some seven minutes a day.
const SHORT_TIME: f64 = 0.005;

struct Wrong(Vec<Violation>);

impl Wrong {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation { field: field.into(), message: message.into() });
    }

    fn not_yet(&mut self, field: &str, message: &str) {
        self.add(field, format!("not supported in this version: {message}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn minimal() -> Value {
        json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
            "maxReplicas": 10,
            "load": {"histogram": "http_request_duration_seconds", "weights": {"fixed": {}}},
            "target": {"metricsQPSPerPod": "120"},
        })
    }

    /// The fields that a spec is refused for, when `pointer` is set to `value` in the minimal one.
    fn refused(pointer: &[&str], value: Value) -> Vec<String> {
        let mut spec = minimal();
        let mut place = &mut spec;
        for key in pointer {
            place = &mut place[*key];
        }
        *place = value;
        let spec: Spec = serde_json::from_value(spec).unwrap();
        spec.check().map_or_else(|e| e.0.into_iter().map(|v| v.field).collect(), |_| vec![])
    }

    #[test]
    fn the_least_that_a_user_writes_is_enough() {
        let spec: Spec = serde_json::from_value(minimal()).unwrap();
        let checked = spec.check().unwrap();
        assert_eq!(spec.mode, Mode::Observe);
        assert_eq!((checked.min_replicas, checked.interval), (1, Span::from_secs(15)));
        let Weighing::Given(weights) = checked.weighing else { panic!("weights are given") };
        assert_eq!(weights.classes().edges().as_slice(), [0.01, 0.05, 0.1, 0.5]);
        assert_eq!(checked.target, CapacityTarget::Given(MetricsQps::new(120.0).unwrap()));
    }

    #[test]
    fn weights_are_fitted_unless_they_are_given() {
        let mut spec = minimal();
        spec["load"] = json!({"histogram": "d", "work": {"metric": "tokens_total"}});
        spec["target"] = json!({"cpuUtilization": 70});
        let checked = serde_json::from_value::<Spec>(spec).unwrap().check().unwrap();
        let fitting = Fitting { has_work: true, ..Fitting::default() };
        assert_eq!(checked.weighing, Weighing::Fitted(fitting));
        assert_eq!(checked.target, CapacityTarget::CpuUtilization(Percent::new(70.0).unwrap()));
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        assert_eq!(refused(&["minReplicas"], json!(0)), ["spec.minReplicas"]);
        assert_eq!(refused(&["minReplicas"], json!(11)), ["spec.maxReplicas"]);
        assert_eq!(refused(&["target", "metricsQPSPerPod"], json!("0")), ["spec.target.metricsQPSPerPod"]);
        assert_eq!(refused(&["load", "histogram"], json!("x_bucket")), ["spec.load.histogram"]);
        let weights = |w| refused(&["load", "weights", "fixed"], w);
        assert_eq!(weights(json!({"edges": [0.2, 0.1]})), ["spec.load.weights.fixed.edges"]);
        assert_eq!(weights(json!({"edges": [0.1]})), ["spec.load.weights.fixed.weights"]);
        let fit = |f| {
            let mut fields = refused(&["load", "weights"], json!({"fit": f}));
            // That of the minimal spec does not go with learned weights.
            fields.retain(|field| field != "spec.target.metricsQPSPerPod");
            fields
        };
        assert_eq!(fit(json!({"edges": [0.0]})), ["spec.load.weights.fit.edges"]);
        assert_eq!(fit(json!({"halfLife": "1m"})), ["spec.load.weights.fit.halfLife"]);
        assert_eq!(fit(json!({"byLabel": {"name": "le"}})), ["spec.load.weights.fit.byLabel.name"]);
        assert_eq!(
            fit(json!({"byLabel": {"name": "route", "most": 12}})),
            ["spec.load.weights.fit.byLabel.most"]
        );
        let work = json!({"metric": "tokens_total"});
        assert_eq!(refused(&["load", "work"], work), ["spec.load.weights.fixed.work"]);
        let learned = json!({"histogram": "d"});
        assert_eq!(refused(&["load"], learned), ["spec.target.metricsQPSPerPod"]);
        for percent in [0, 101] {
            let target = json!({"cpuUtilization": percent});
            assert_eq!(refused(&["target"], target), ["spec.target.cpuUtilization"]);
        }
        let latency = |quantile, seconds| {
            refused(&["target"], json!({"latency": {"quantile": quantile, "seconds": seconds}}))
        };
        assert_eq!(latency(1.0, 0.3), ["spec.target.latency"]);
        assert_eq!(latency(0.99, 0.0), ["spec.target.latency"]);
        let source = json!({"scrape": {"interval": "10ms"}});
        assert_eq!(refused(&["load", "source"], source), ["spec.load.source.scrape.interval"]);
    }

    #[test]
    fn what_this_version_cannot_honour_is_refused_and_not_ignored() {
        assert_eq!(refused(&["actuation"], json!("Scale")), ["spec.actuation"]);
        let missing = json!({"holdFor": "10m", "then": {"atLeast": 10}});
        assert_eq!(refused(&["onMissingMetrics"], missing), ["spec.onMissingMetrics"]);
    }

    #[test]
    fn a_metrics_server_is_named_and_its_window_holds_some_scrapes() {
        let source = |server| refused(&["load", "source"], json!({"prometheus": server}));
        assert_eq!(source(json!({"ref": "main"})), Vec::<String>::new());
        assert_eq!(source(json!({"ref": ""})), ["spec.load.source.prometheus.ref"]);
        assert_eq!(source(json!({"ref": "main", "window": "9s"})), ["spec.load.source.prometheus.window"]);
        assert_eq!(
            source(json!({"ref": "main", "interval": "6m"})),
            ["spec.load.source.prometheus.interval"]
        );
        let cpu = |server| refused(&["load", "cpu"], json!({"prometheus": server}));
        assert_eq!(cpu(json!({"ref": "main"})), Vec::<String>::new());
        assert_eq!(
            cpu(json!({"ref": "", "window": "2h"})),
            ["spec.load.cpu.prometheus.ref", "spec.load.cpu.prometheus.window"]
        );
        let mut both = minimal();
        both["load"]["source"] = json!({"prometheus": {"ref": "main"}});
        both["load"]["cpu"] = json!({"prometheus": {"ref": "main"}});
        let spec: Spec = serde_json::from_value(both).unwrap();
        assert_eq!(spec.check().unwrap_err().0[0].field, "spec.load.cpu");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let mut spec = minimal();
        spec["minReplicas"] = json!(0);
        spec["target"] = json!({"cpuUtilization": 700});
        let spec: Spec = serde_json::from_value(spec).unwrap();
        assert_eq!(spec.check().unwrap_err().0.len(), 2);
    }

    #[test]
    fn a_matcher_takes_some_values_and_leaves_others() {
        let matcher: Matcher = serde_json::from_value(json!({"notIn": ["/healthz"]})).unwrap();
        assert!(matcher.matches("/") && matcher.matches("") && !matcher.matches("/healthz"));
        let matcher: Matcher = serde_json::from_value(json!({"in": ["a", "b"], "notIn": ["b"]})).unwrap();
        assert!(matcher.matches("a") && !matcher.matches("b") && !matcher.matches("c"));
    }
}
