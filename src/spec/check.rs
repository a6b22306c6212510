//! Whether the values of a spec make sense and this version can honour them: the one way from what a user wrote to what an
//! `Autoscaler` is built from.

use std::fmt;

use super::schedules::Schedule;
use super::{
    Authorization, CaBundle, Cpu, Fit, Fixed, Forecast, KeyRef, LatencyObjective, Load, MOST_VALUES, Mode,
    OnMissingMetrics, Scheme, Scrape, Source, Spec, Target, TlsConfig, Weights,
};
use crate::forecast::Promise;
use crate::forecast::events::Events;
use crate::forecast::local_time::Zone;
use crate::load::{
    Classes, Edges, FitSettings, Fitting, LatencyObjective as LateAt, Weighing, Weights as ClassWeights,
};
use crate::units::{MetricsQps, Percent, Span};

mod replicas;

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
    /// When other bounds hold.
    pub schedules: Vec<Schedule>,
    /// How far the autoscaler may go.
    pub mode: Mode,
    /// What to do when the load has been unknown for long; none to hold for ever.
    pub on_missing_metrics: Option<OnMissingMetrics>,
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
        let schedules = self.check_schedules(&mut wrong);
        self.check_behavior(&mut wrong);
        self.check_missing(&mut wrong);
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
                schedules,
                mode: self.mode,
                on_missing_metrics: self.on_missing_metrics.clone(),
                interval,
                weighing,
                target,
                forecast: forecast.map(|wish| ForecastWish { window: self.load.window(), ..wish }),
            }),
            _ => Err(InvalidSpec(wrong.0)),
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
            Source::Scrape(scrape) => {
                scrape.check(wrong);
                ("spec.load.source.scrape", scrape.interval)
            }
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
            (Some(_), Source::Prometheus(_)) => {
                wrong.add("spec.load.cpu", "the source tells the CPU as well; leave it out");
            }
            (Some(Cpu::Prometheus(server)), Source::Scrape(_)) => {
                check_server(wrong, "spec.load.cpu.prometheus", &server.reference, server.window);
            }
            (Some(Cpu::ResourceMetrics(_)) | None, Source::Scrape(_)) | (None, Source::Prometheus(_)) => {}
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

impl Scrape {
    fn check(&self, wrong: &mut Wrong) {
        let field = "spec.load.source.scrape";
        match (self.scheme, &self.tls_config) {
            (Scheme::HTTPS, None) => {
                wrong.add(
                    format!("{field}.tlsConfig"),
                    "scheme HTTPS takes one: it says whose certificates to trust",
                );
            }
            (Scheme::HTTP, Some(_)) => wrong.add(format!("{field}.tlsConfig"), "is for scheme HTTPS"),
            _ => {}
        }
        let mut check_key = |field: &str, KeyRef { name, key }: &KeyRef| {
            if name.is_empty() || key.is_empty() {
                wrong.add(field, "must name an object and a key in it");
            }
        };
        if let Some(TlsConfig { ca, .. }) = &self.tls_config {
            match ca {
                CaBundle::ConfigMap(key) => check_key(&format!("{field}.tlsConfig.ca.configMap"), key),
                CaBundle::Secret(key) => check_key(&format!("{field}.tlsConfig.ca.secret"), key),
            }
        }
        if let Some(Authorization { kind, credentials }) = &self.authorization {
            check_key(&format!("{field}.authorization.credentials"), credentials);
            let is_word = kind.starts_with(|c: char| c.is_ascii_alphabetic())
                && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if !is_word {
                wrong.add(format!("{field}.authorization.type"), "must be one word, such as Bearer or Basic");
            }
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
    pub(super) fn refused(pointer: &[&str], value: Value) -> Vec<String> {
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
    fn a_target_that_would_lead_elsewhere_in_the_api_is_refused() {
        for (field, value) in [
            ("apiVersion", "autoscaling/v2/horizontalpodautoscalers?x="),
            ("apiVersion", "../v1"),
            ("apiVersion", "v1?watch=true"),
            ("kind", "Deployment/x"),
            ("name", "a/scale?"),
            ("name", "a b"),
        ] {
            let refused = refused(&["scaleTargetRef", field], json!(value));
            assert_eq!(refused, [format!("spec.scaleTargetRef.{field}")], "{value}");
        }
        assert!(refused(&["scaleTargetRef", "apiVersion"], json!("argoproj.io/v1alpha1")).is_empty());
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
    fn pods_are_read_over_tls_with_authorities_and_in_the_clear_without() {
        let scrape = |more: Value| refused(&["load", "source"], json!({"scrape": more}));
        let ca = json!({"ca": {"secret": {"name": "shop-ca", "key": "ca.crt"}}});
        let tls = |tls_config: Value| json!({"scheme": "HTTPS", "tlsConfig": tls_config});
        let token = json!({"credentials": {"name": "shop", "key": "token"}});
        assert_eq!(scrape(tls(ca.clone())), [""; 0]);
        assert_eq!(scrape(json!({"authorization": token})), [""; 0]);
        assert_eq!(scrape(json!({"scheme": "HTTPS"})), ["spec.load.source.scrape.tlsConfig"]);
        assert_eq!(scrape(json!({"tlsConfig": ca})), ["spec.load.source.scrape.tlsConfig"]);
        let nameless = json!({"ca": {"configMap": {"name": "", "key": "ca.crt"}}});
        assert_eq!(scrape(tls(nameless)), ["spec.load.source.scrape.tlsConfig.ca.configMap"]);
        let two_words = json!({"type": "Bearer of", "credentials": {"name": "shop", "key": "token"}});
        assert_eq!(
            scrape(json!({"authorization": two_words})),
            ["spec.load.source.scrape.authorization.type"]
        );
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
        let spec: Spec = serde_json::from_value(both.clone()).unwrap();
        assert_eq!(spec.check().unwrap_err().0[0].field, "spec.load.cpu");
        assert_eq!(refused(&["load", "cpu"], json!({"resourceMetrics": {}})), Vec::<String>::new());
        both["load"]["cpu"] = json!({"resourceMetrics": {}});
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
}
