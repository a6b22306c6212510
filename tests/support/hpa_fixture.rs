//! How a case of the conformance file becomes the types of the library.

use std::collections::BTreeMap;

use plimsoll::hpa::{
    Behavior, Condition, ConditionType, Container, FetchError, Gates, MetricSpec, OtherHpa, Phase, Pod,
    PodMetric, PodUsage, Ready, Reason, Recommendation, ResourceTarget, Samples, ScaleEvent, ScaleEvents,
    ScalingRules, Settings, Tolerances, ValueTarget,
};
use plimsoll::units::{Quantity, Span, Time};

use super::schema::*;

/// The present of every case; the oldest age, 1e9 s, is still after the epoch.
pub(crate) const NOW: Time = Time::from_secs(2_000_000_000);

/// The instant `age` seconds ago.
pub(crate) fn ago(age: f64) -> Time {
    NOW - Span::from_secs_f64(age)
}

impl Config {
    pub(crate) fn over(self, base: &Self) -> Self {
        Self {
            tolerance: self.tolerance.or(base.tolerance),
            cpu_init: self.cpu_init.or(base.cpu_init),
            readiness_delay: self.readiness_delay.or(base.readiness_delay),
            downscale_stabilization: self.downscale_stabilization.or(base.downscale_stabilization),
            scale_up_limit_factor: self.scale_up_limit_factor.or(base.scale_up_limit_factor),
            scale_up_limit_minimum: self.scale_up_limit_minimum.or(base.scale_up_limit_minimum),
            sync_period: self.sync_period.or(base.sync_period),
            scale_to_zero: self.scale_to_zero.or(base.scale_to_zero),
            configurable_tolerance: self.configurable_tolerance.or(base.configurable_tolerance),
            pod_level_resources: self.pod_level_resources.or(base.pod_level_resources),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let ours = Settings::default();
        let span = |seconds: Option<f64>, ours| seconds.map_or(ours, Span::from_secs_f64);
        Settings {
            sync_period: span(self.sync_period, ours.sync_period),
            downscale_stabilization: span(self.downscale_stabilization, ours.downscale_stabilization),
            tolerance: self.tolerance.unwrap_or(ours.tolerance),
            cpu_initialization_period: span(self.cpu_init, ours.cpu_initialization_period),
            initial_readiness_delay: span(self.readiness_delay, ours.initial_readiness_delay),
            scale_up_limit_factor: self.scale_up_limit_factor.unwrap_or(ours.scale_up_limit_factor),
            scale_up_limit_minimum: self.scale_up_limit_minimum.unwrap_or(ours.scale_up_limit_minimum),
            gates: Gates {
                scale_to_zero: self.scale_to_zero.unwrap_or(ours.gates.scale_to_zero),
                configurable_tolerance: self
                    .configurable_tolerance
                    .unwrap_or(ours.gates.configurable_tolerance),
                pod_level_resources: self.pod_level_resources.unwrap_or(ours.gates.pod_level_resources),
                hpa_generation: ours.gates.hpa_generation,
            },
        }
    }
}

impl Levels {
    pub(crate) fn tolerances(self) -> Tolerances {
        Tolerances { up: self.up, down: self.down }
    }
}

impl MetricIn {
    pub(crate) fn spec(&self) -> Result<MetricSpec, String> {
        let text = |field: &Option<String>| field.clone().ok_or("the metric lacks a name");
        let target = || self.target.ok_or("the metric lacks a target");
        let resource_target = || match self.target_type {
            Some(TargetType::Utilization) => {
                Ok(ResourceTarget::Utilization(i32::try_from(target()?).map_err(|_| "too large")?))
            }
            Some(TargetType::AverageValue) => {
                Ok(ResourceTarget::AverageValue(Quantity::from_milli(target()?)))
            }
            _ => Err("not a target of a resource"),
        };
        let value_target = || match self.target_type {
            Some(TargetType::Value) => Ok(ValueTarget::Value(Quantity::from_milli(target()?))),
            Some(TargetType::AverageValue) => Ok(ValueTarget::AverageValue(Quantity::from_milli(target()?))),
            _ => Err("not a target of a value"),
        };
        Ok(match self.r#type.as_str() {
            "Resource" => {
                MetricSpec::Resource { resource: text(&self.resource)?, target: resource_target()? }
            }
            "ContainerResource" => MetricSpec::ContainerResource {
                resource: text(&self.resource)?,
                container: text(&self.container)?,
                target: resource_target()?,
            },
            "Pods" => {
                MetricSpec::Pods { metric: text(&self.name)?, average_value: Quantity::from_milli(target()?) }
            }
            "Object" => MetricSpec::Object {
                kind: self.object_kind.clone().unwrap_or_default(),
                object: String::new(),
                metric: text(&self.name)?,
                target: value_target()?,
            },
            "External" => {
                MetricSpec::External { metric: text(&self.name)?, selector: None, target: value_target()? }
            }
            unknown => MetricSpec::Unknown { source_type: unknown.to_owned() },
        })
    }
}

pub(crate) fn specs(metrics: &[MetricIn]) -> Result<Vec<MetricSpec>, String> {
    metrics.iter().map(MetricIn::spec).collect()
}

/// The resources that a case is about: a request in the file is one of each.
pub(crate) fn resources(metrics: &[MetricIn]) -> Vec<String> {
    metrics.iter().filter_map(|metric| metric.resource.clone()).collect()
}

pub(crate) fn pods(pods: &[PodIn], resources: &[String]) -> Result<Vec<Pod>, String> {
    let requests = |milli: Option<i64>| {
        let each = |milli| resources.iter().map(move |name| (name.clone(), Quantity::from_milli(milli)));
        milli.map(each).into_iter().flatten().collect()
    };
    let container = |name: &String, milli| Container { name: name.clone(), requests: requests(milli) };
    let pod = |pod: &PodIn| {
        let ready = match (pod.ready, pod.transition_age) {
            (Some(status), Some(age)) => Some(Ready { status: status.into(), last_transition: ago(age) }),
            (None, None) => None,
            _ => return Err(format!("{}: ready and transitionAge go together", pod.name)),
        };
        let init = pod.init_containers.iter().filter(|(_, init)| init.restartable);
        Ok(Pod {
            name: pod.name.clone(),
            phase: pod.phase.map_or(Phase::Running, |PhaseIn(phase)| phase),
            deleted: pod.deleted,
            start_time: pod.start_age.map(ago),
            ready,
            containers: pod.requests.iter().map(|(name, milli)| container(name, *milli)).collect(),
            restartable_init_containers: init.map(|(name, init)| container(name, init.request)).collect(),
            requests: requests(pod.pod_request),
            labels: pod.labels.clone(),
        })
    };
    pods.iter().map(pod).collect()
}

/// What the metrics APIs of a case answer.
#[derive(Default)]
pub(crate) struct Feed {
    pub(crate) resource: BTreeMap<String, Level>,
    pub(crate) custom: BTreeMap<String, Level>,
    pub(crate) object: Option<i64>,
    pub(crate) external: Option<Vec<i64>>,
    pub(crate) age: f64,
    pub(crate) window: f64,
    pub(crate) errors: ApiErrors,
}

impl Feed {
    /// The answers, under the name of each metric: a case has one list of samples for each API.
    pub(crate) fn samples(&self, metrics: &[MetricIn]) -> Result<Samples, String> {
        fn unless<T>(error: &Option<String>, answer: T) -> Result<T, FetchError> {
            error.as_ref().map_or(Ok(answer), |error| Err(FetchError::new(error)))
        }
        let (timestamp, window) = (ago(self.age), Span::from_secs_f64(self.window));
        let usage = |(pod, level): (&String, &Level)| match level {
            Level::Pod(_) => Err(format!("{pod}: a resource is used by containers")),
            Level::Containers(levels) => {
                let containers =
                    levels.iter().map(|(name, milli)| (name.clone(), Quantity::from_milli(*milli)));
                Ok(PodUsage { pod: pod.clone(), timestamp, window, containers: containers.collect() })
            }
        };
        let custom = |(pod, level): (&String, &Level)| match level {
            Level::Pod(milli) => {
                Ok((pod.clone(), PodMetric { value: Quantity::from_milli(*milli), timestamp, window }))
            }
            Level::Containers(_) => Err(format!("{pod}: a custom metric is one of the pod")),
        };
        let mut samples = Samples::default();
        for metric in metrics {
            let name = metric.resource.clone().or(metric.name.clone()).unwrap_or_default();
            match metric.r#type.as_str() {
                "Resource" | "ContainerResource" => {
                    let usages = self.resource.iter().map(usage).collect::<Result<_, _>>()?;
                    samples.resources.insert(name, unless(&self.errors.resource, usages));
                }
                "Pods" => {
                    let values = self.custom.iter().map(custom).collect::<Result<_, _>>()?;
                    samples.pods.insert(name, unless(&self.errors.custom, values));
                }
                "Object" => {
                    if let Some(milli) = self.object {
                        let value = Quantity::from_milli(milli);
                        samples.objects.insert(name, unless(&self.errors.custom, value));
                    }
                }
                "External" => {
                    let items = self.external.iter().flatten().map(|milli| Quantity::from_milli(*milli));
                    samples.external.insert(name, unless(&self.errors.external, items.collect()));
                }
                _ => {}
            }
        }
        Ok(samples)
    }
}

impl ConditionIn {
    pub(crate) fn condition(&self) -> Result<Condition, String> {
        let kinds = [
            ConditionType::AbleToScale,
            ConditionType::ScalingActive,
            ConditionType::ScalingLimited,
            ConditionType::ScaledToZero,
        ];
        let reasons = [Reason::ScaledToZero, Reason::NotScaledToZero];
        let kind = kinds.into_iter().find(|kind| kind.to_string() == self.r#type);
        let reason = reasons.into_iter().find(|reason| reason.to_string() == self.reason);
        let (Some(kind), Some(reason)) = (kind, reason) else {
            return Err(format!("unknown condition {}/{}", self.r#type, self.reason));
        };
        Ok(Condition { kind, status: self.status.into(), reason, last_transition: ago(3600.0) })
    }
}

impl OtherHpaIn {
    pub(crate) fn other(self) -> OtherHpa {
        OtherHpa { name: self.name, selector: self.selector }
    }
}

impl AgedChange {
    pub(crate) fn event(&self) -> ScaleEvent {
        ScaleEvent { change: self.change, at: ago(self.age), outdated: false }
    }
}

pub(crate) fn scale_events(up: &[AgedChange], down: &[AgedChange]) -> ScaleEvents {
    let events = |changes: &[AgedChange]| changes.iter().map(AgedChange::event).collect();
    ScaleEvents { up: events(up), down: events(down) }
}

pub(crate) fn recommendations(entries: &[(i32, f64)]) -> Vec<Recommendation> {
    entries.iter().map(|(replicas, age)| Recommendation { replicas: *replicas, at: ago(*age) }).collect()
}

/// A behavior with the same rules up and down.
pub(crate) fn both_directions(rules: ScalingRules) -> Behavior {
    Behavior { scale_up: Some(rules.clone()), scale_down: Some(rules) }
}
