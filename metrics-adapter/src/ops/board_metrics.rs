//! The decisions on the board as metrics, read when somebody asks. What is not known is left out, not zero.

use std::fmt;
use std::sync::Arc;

use plimsoll::scale::{Decision, Desired, Outcome};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::board::{Board, ObjectKey};
use crate::clock::Clock;

#[derive(Debug)]
pub(super) struct BoardMetrics {
    pub(super) board: Arc<Board>,
    pub(super) clock: Clock,
}

/// Label pairs beside namespace and name, and a value.
type Points = Vec<(Vec<(&'static str, String)>, f64)>;

impl Collector for BoardMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let decisions: Vec<(ObjectKey, Arc<Decision>)> = self
            .board
            .objects()
            .iter()
            .filter_map(|(key, cell)| Some((key.clone(), cell.latest().clone()?)))
            .collect();
        let now = self.clock.now();
        let mut gauge = |name: &str, help: &str, points: &dyn Fn(&Decision, Option<&Desired>) -> Points| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (key, decision) in &decisions {
                let desired = match &decision.outcome {
                    Outcome::Desired(desired) if desired.is_valid_at(now) => Some(desired),
                    Outcome::Desired(_) | Outcome::NoOpinion(_) => None,
                };
                for (labels, value) in points(decision, desired) {
                    let mut all = vec![("namespace", key.namespace.clone()), ("name", key.name.clone())];
                    all.extend(labels);
                    ConstGauge::new(value).encode(metric.encode_family(&all)?)?;
                }
            }
            Ok::<(), fmt::Error>(())
        };
        let one = |value: f64| vec![(vec![], value)];
        let of = |desired: Option<&Desired>, value: fn(&Desired) -> f64| {
            desired.map_or(vec![], |desired| one(value(desired)))
        };
        gauge(
            "metricsqps",
            "Offered load: requests per second times what one costs at present",
            &|_, desired| of(desired, |d| d.load.metricsqps.get()),
        )?;
        gauge("metricsqps_forecast", "Upper bound of the load over the horizon", &|_, desired| {
            of(desired, |d| d.bound.get())
        })?;
        gauge("metricsqps_standard_error", "Standard error of the load", &|_, desired| {
            of(desired, |d| d.load.standard_error.get())
        })?;
        gauge("capacity", "MetricsQPS that one ready pod should carry", &|decision, _| {
            decision.capacity.iter().map(|capacity| (vec![], capacity.per_pod.get())).collect()
        })?;
        gauge("replicas", "Replicas by kind", &replicas)?;
        gauge("class_rate", "Completed requests per second by duration class", &|_, desired| {
            classes(desired, |class| class.rate.get())
        })?;
        gauge("weight", "What a request of each duration class weighs", &|_, desired| {
            classes(desired, |class| class.weight)
        })?;
        gauge("congested", "1 while demand is at least what was seen", &|_, desired| {
            of(desired, |d| f64::from(u8::from(!d.load.congestion.is_empty())))
        })?;
        gauge("pods_silent", "Ready pods that do not tell their load", &|decision, _| {
            decision.evidence.map_or(vec![], |e| one(f64::from(e.pods.silent)))
        })?;
        gauge("sample_age_seconds", "Age of the newest sample", &|decision, _| {
            decision.evidence.map_or(vec![], |e| one((now - e.sampled_at).as_secs_f64()))
        })?;
        gauge("missing", "1 while the load is not known, by reason", &|decision, desired| {
            missing(decision, desired)
        })?;
        gauge("restricted", "1 for each step that changed what the load asked for", &restricted)
    }
}

fn replicas(decision: &Decision, desired: Option<&Desired>) -> Points {
    let kinds = [
        ("min", Some(decision.min_replicas)),
        ("max", Some(decision.max_replicas)),
        ("current", decision.evidence.map(|e| e.pods.replicas)),
        ("reactive", desired.map(|d| d.reactive)),
        ("proactive", desired.and_then(|d| d.proactive)),
        ("desired", desired.map(|d| d.replicas)),
    ];
    let known = kinds.into_iter().filter_map(|(kind, replicas)| Some((kind, replicas?)));
    known.map(|(kind, replicas)| (vec![("kind", kind.to_owned())], f64::from(replicas))).collect()
}

fn classes(desired: Option<&Desired>, value: impl Fn(&plimsoll::load::ClassLoad) -> f64) -> Points {
    let classes = desired.map_or(&[][..], |d| &d.load.classes);
    let le = |class: &plimsoll::load::ClassLoad| class.le.map_or("+Inf".to_owned(), |le| le.to_string());
    classes.iter().map(|class| (vec![("le", le(class))], value(class))).collect()
}

fn missing(decision: &Decision, desired: Option<&Desired>) -> Points {
    let reason = match (&decision.outcome, desired) {
        (_, Some(_)) => return vec![],
        (Outcome::NoOpinion(reason), _) => reason.name(),
        (Outcome::Desired(_), None) => "StaleSample",
    };
    vec![(vec![("reason", reason.to_owned())], 1.0)]
}

fn restricted(_: &Decision, desired: Option<&Desired>) -> Points {
    let steps = desired.map_or(&[][..], |d| d.steps.get(1..).unwrap_or_default());
    steps.iter().map(|step| (vec![("reason", step.kind.name().to_owned())], 1.0)).collect()
}
