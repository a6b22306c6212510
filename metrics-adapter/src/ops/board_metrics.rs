//! The decisions on the board as metrics, read when somebody asks. What is not known is left out, not zero.

use std::fmt;
use std::sync::Arc;

use plimsoll::forecast::Forecast;
use plimsoll::load::Scores;
use plimsoll::scale::{Decision, Desired, Fallback, Learned, Outcome};
use plimsoll::units::Time;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
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
                    Outcome::Desired(_) | Outcome::Fallback(_) | Outcome::NoOpinion(_) => None,
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
        gauge("forecast_quantile", "Quantile of the load to come that the bound is", &|decision, _| {
            forecast(decision, |f| Some(f.quantile))
        })?;
        gauge(
            "forecast_skill",
            "1 - loss of the bounds / loss of persistence with its own errors, over the last day",
            &|decision, _| forecast(decision, |f| f.skill),
        )?;
        gauge("forecast_coverage", "Share of the last day's bounds that held", &|decision, _| {
            forecast(decision, |f| f.coverage)
        })?;
        gauge(
            "forecast_earned",
            "How much of its distance from the present load the bound counts, 0 to 1",
            &|decision, _| forecast(decision, |f| Some(f.earned)),
        )?;
        gauge("forecast_horizon_seconds", "How far the bound looks", &|decision, _| {
            forecast(decision, |f| Some(f.horizon.as_secs_f64()))
        })?;
        gauge(
            "forecast_expert_weight",
            "Weights of the experts that carry most of the bound",
            &|decision, _| {
                let experts = decision.forecast.iter().flat_map(|f| &f.experts);
                experts.map(|share| (vec![("expert", share.expert.clone())], share.weight)).collect()
            },
        )?;
        gauge(
            "lead_time_seconds",
            "From a decision until what it asks for serves, and its parts",
            &lead_time,
        )?;
        gauge("metricsqps_standard_error", "Standard error of the load", &|_, desired| {
            of(desired, |d| d.load.standard_error.get())
        })?;
        gauge("capacity", "MetricsQPS that one ready pod should carry", &|decision, _| {
            decision.capacity.iter().map(|capacity| (vec![], capacity.per_pod.get())).collect()
        })?;
        gauge("replicas", "Replicas by kind", &|decision, desired| replicas(decision, desired, now))?;
        gauge("class_rate", "Completed requests per second by duration class", &|_, desired| {
            classes(desired, |class| class.rate.get())
        })?;
        gauge("weight", "What a request of each duration class weighs", &|_, desired| {
            classes(desired, |class| class.weight)
        })?;
        gauge(
            "weights_version",
            "Number of the learned weights in force; absent while there are none",
            &|decision, _| learned(decision, |learned| f64::from(learned.version)),
        )?;
        gauge(
            "unit_cost_core_seconds",
            "CPU that 1 MetricsQPS stands for, where weights are learned",
            &|decision, _| learned(decision, |learned| learned.unit_core_seconds),
        )?;
        gauge(
            "fit_r2",
            "Share of CPU's variance predicted when the weights were learned, by them and by what they had to beat",
            &fit_r2,
        )?;
        gauge(
            "weights_drifting",
            "1 while requests cost other than when their weights were learned",
            &|decision, _| learned(decision, |learned| f64::from(u8::from(learned.drift_since.is_some()))),
        )?;
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
        gauge("restricted", "1 for each step that changed what the load asked for", &|decision, desired| {
            restricted(decision, desired, now)
        })?;
        let mut conditions = encoder.encode_descriptor(
            "condition",
            "1 for what holds of the object, as its status has it",
            None,
            MetricType::Gauge,
        )?;
        for (key, cell) in self.board.objects().iter() {
            for finding in cell.findings().iter() {
                let all = [
                    ("namespace", key.namespace.as_str()),
                    ("name", key.name.as_str()),
                    ("type", finding.kind),
                    ("status", finding.status()),
                    ("reason", finding.reason.as_str()),
                ];
                ConstGauge::new(1.0).encode(conditions.encode_family(&all)?)?;
            }
        }
        let mut settings = encoder.encode_descriptor(
            "settings",
            "1 for the mode in force, and the generation of the spec that it is of; 0 where nobody counts them",
            None,
            MetricType::Gauge,
        )?;
        for (key, cell) in self.board.objects().iter() {
            let Some(decision) = cell.latest().clone() else { continue };
            let all = [
                ("namespace", key.namespace.clone()),
                ("name", key.name.clone()),
                ("mode", format!("{:?}", decision.mode)),
                ("generation", cell.generation().to_string()),
            ];
            ConstGauge::new(1.0).encode(settings.encode_family(&all)?)?;
        }
        let mut short = encoder.encode_descriptor(
            "short_seconds",
            "Time in which the ready pods were too few, by cause",
            None,
            MetricType::Counter,
        )?;
        for (key, decision) in &decisions {
            for (cause, span) in decision.short_time.causes() {
                let all =
                    [("namespace", key.namespace.as_str()), ("name", key.name.as_str()), ("cause", cause)];
                let counter = ConstCounter::new(span.as_secs_f64());
                counter.encode(short.encode_family(&all)?)?;
            }
        }
        Ok(())
    }
}

fn learned(decision: &Decision, value: fn(&Learned) -> f64) -> Points {
    decision.learned.as_ref().map_or(vec![], |learned| vec![(vec![], value(learned))])
}

fn fit_r2(decision: &Decision, _: Option<&Desired>) -> Points {
    let scores = decision.learned.map(|learned| {
        let Scores { metricsqps, qps, cpu_per_request } = learned.scores;
        [("metricsqps", metricsqps), ("qps", qps), ("cpu_per_request", cpu_per_request)]
    });
    let known = scores.into_iter().flatten().filter_map(|(by, score)| Some((by, score?.r2)));
    known.map(|(by, r2)| (vec![("by", by.to_owned())], r2)).collect()
}

fn forecast(decision: &Decision, value: fn(&Forecast) -> Option<f64>) -> Points {
    decision.forecast.as_ref().and_then(value).map_or(vec![], |value| vec![(vec![], value)])
}

fn lead_time(decision: &Decision, _: Option<&Desired>) -> Points {
    let parts = decision.lead_time.map(|lead| {
        [
            ("total", Some(lead.total)),
            ("start_up", Some(lead.start_up)),
            ("scheduled", lead.scheduled),
            ("started", lead.started),
        ]
    });
    let known = parts.into_iter().flatten().filter_map(|(part, span)| Some((part, span?)));
    known.map(|(part, span)| (vec![("part", part.to_owned())], span.as_secs_f64())).collect()
}

fn replicas(decision: &Decision, desired: Option<&Desired>, now: Time) -> Points {
    // Without a load too, where the user has said what holds then.
    let asked_for = decision.outcome.replicas().ok().filter(|(_, until)| now <= *until);
    let kinds = [
        ("min", Some(decision.min_replicas)),
        ("max", Some(decision.max_replicas)),
        ("current", decision.evidence.map(|e| e.pods.replicas)),
        ("reactive", desired.map(|d| d.reactive)),
        ("proactive", desired.and_then(|d| d.proactive)),
        ("desired", asked_for.map(|(replicas, _)| replicas)),
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
        (Outcome::NoOpinion(why) | Outcome::Fallback(Fallback { why, .. }), _) => why.name(),
        (Outcome::Desired(_), None) => "StaleSample",
    };
    vec![(vec![("reason", reason.to_owned())], 1.0)]
}

fn restricted(decision: &Decision, desired: Option<&Desired>, now: Time) -> Points {
    let steps = match (&decision.outcome, desired) {
        // The first step is the load's own; where there is no load even that is another's.
        (_, Some(desired)) => desired.steps.get(1..).unwrap_or_default(),
        (Outcome::Fallback(fallback), _) if now <= fallback.valid_until => &fallback.steps,
        _ => &[],
    };
    steps.iter().map(|step| (vec![("reason", step.kind.name().to_owned())], 1.0)).collect()
}
