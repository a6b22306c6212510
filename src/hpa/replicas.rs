//! How many replicas one metric asks for.

use std::collections::BTreeMap;

use super::error::CalcError;
use super::metrics::{FetchError, MetricsSource, PodMetric, PodMetrics};
use super::pods::{Groups, Pod, calculate_requests, group_pods};
use super::settings::{Settings, Tolerances};
use super::spec::{MetricSpec, ResourceTarget, ValueTarget};
use crate::units::{Quantity, Span, Time};

/// What one metric asks for, and what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// The replicas asked for, before any bound.
    pub replicas: i32,
    /// Percent of what the pods request, for a Utilization target.
    pub utilization: Option<i32>,
    /// The value that the status shows: the average over the pods, or the value itself for a Value target. Without
    /// meaning for an AverageValue target of an Object or External metric while there are no replicas.
    pub usage: Quantity,
}

/// The state of the world that a proposal follows from (`ReplicaCalculator`).
#[derive(Clone, Copy)]
pub struct ReplicaCalculator<'a> {
    /// The controller's settings.
    pub settings: &'a Settings,
    /// The tolerances of this HPA.
    pub tolerances: Tolerances,
    /// The time.
    pub now: Time,
    /// `spec.replicas` of the scale.
    pub spec_replicas: i32,
    /// `status.replicas` of the scale.
    pub status_replicas: i32,
    /// The pods under the selector.
    pub pods: &'a [Pod],
    /// The metrics APIs.
    pub metrics: &'a dyn MetricsSource,
}

impl std::fmt::Debug for ReplicaCalculator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaCalculator")
            .field("now", &self.now)
            .field("spec_replicas", &self.spec_replicas)
            .field("status_replicas", &self.status_replicas)
            .finish_non_exhaustive()
    }
}

/// Rounded up and saturating; NaN becomes 0.
fn ceil_i32(number: f64) -> i32 {
    number.ceil() as i32
}

/// As [`ceil_i32`].
fn ceil_i64(number: f64) -> i64 {
    number.ceil() as i64
}

/// The ratio of usage to target, with what it was made of.
struct Usage {
    ratio: f64,
    utilization: Option<i32>,
    average: Quantity,
}

impl Usage {
    fn propose(&self, replicas: i32) -> Proposal {
        Proposal { replicas, utilization: self.utilization, usage: self.average }
    }
}

/// What the samples of a metric are measured against.
enum Yardstick<'a> {
    /// Percent of what each pod requests.
    Utilization { percent: i32, requests: BTreeMap<&'a str, i64> },
    /// The average of all samples.
    Average(i64),
}

impl Yardstick<'_> {
    /// `GetResourceUtilizationRatio`, `GetMetricUsageRatio`.
    fn usage(&self, metrics: &PodMetrics) -> Result<Usage, CalcError> {
        let (mut used, mut requested, mut count) = (0i128, 0i128, 0i128);
        for (pod, metric) in metrics {
            match self {
                Self::Utilization { requests, .. } => match requests.get(pod.as_str()) {
                    Some(request) => requested += i128::from(*request),
                    None => continue,
                },
                Self::Average(_) => {}
            }
            used += i128::from(metric.value.as_milli());
            count += 1;
        }
        let average = i64::try_from(used.checked_div(count).ok_or(CalcError::NoMatch)?).unwrap_or(i64::MAX);
        let (ratio, utilization) = match self {
            Self::Utilization { percent, .. } => {
                // Whole percent: 54.9 % counts as 54 %.
                let utilization = (used * 100).checked_div(requested).ok_or(CalcError::NoMatch)?;
                let utilization = utilization.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                (f64::from(utilization) / f64::from(*percent), Some(utilization))
            }
            Self::Average(target) => (average as f64 / *target as f64, None),
        };
        Ok(Usage { ratio, utilization, average: Quantity::from_milli(average) })
    }

    /// What a pod without a sample is taken to use when the others use too little: enough not to speak for fewer
    /// replicas.
    fn fallback(&self, pod: &str) -> i64 {
        match self {
            Self::Utilization { percent, requests } => {
                let request = requests.get(pod).copied().unwrap_or(0);
                let used = i128::from(request) * i128::from(*percent.max(&100)) / 100;
                i64::try_from(used).unwrap_or(i64::MAX)
            }
            Self::Average(target) => *target,
        }
    }
}

impl ReplicaCalculator<'_> {
    /// How many replicas `metric` asks for (`computeReplicasForMetric`).
    ///
    /// # Errors
    /// If the metric cannot be read, or says nothing about the pods.
    pub fn propose(&self, metric: &MetricSpec) -> Result<Proposal, CalcError> {
        match metric {
            MetricSpec::Resource { resource, target } => self.resource(resource, None, target),
            MetricSpec::ContainerResource { resource, container, target } => {
                self.resource(resource, Some(container), target)
            }
            MetricSpec::Pods { metric, average_value } => {
                let metrics = non_empty(self.metrics.pods(metric), "custom")
                    .map_err(|error| CalcError::Metric { metric: metric.clone(), error })?;
                self.by_pods(metrics, None, || Ok(Yardstick::Average(average_value.as_milli())))
            }
            MetricSpec::Object { kind, object, metric, target } => {
                let value = self
                    .metrics
                    .object(kind, object, metric)
                    .map_err(|error| CalcError::Metric { metric: metric.clone(), error })?;
                self.by_value(value.as_milli(), target)
            }
            MetricSpec::External { metric, selector, target } => {
                let items =
                    self.metrics
                        .external(metric, selector.as_deref())
                        .and_then(|items| {
                            if items.is_empty() { Err(FetchError::empty("external")) } else { Ok(items) }
                        })
                        .map_err(|error| CalcError::Metric { metric: metric.clone(), error })?;
                self.external(&items, target)
            }
            MetricSpec::Unknown { source_type } => Err(CalcError::UnknownSource(source_type.clone())),
        }
    }

    /// `GetResourceReplicas`, `GetRawResourceReplicas`.
    fn resource(
        &self,
        resource: &str,
        container: Option<&str>,
        target: &ResourceTarget,
    ) -> Result<Proposal, CalcError> {
        let metrics = non_empty(self.metrics.resource(resource, container), "resource")
            .map_err(|error| CalcError::Resource { resource: resource.to_owned(), error })?;
        self.by_pods(metrics, Some(resource), || match *target {
            ResourceTarget::Utilization(percent) => {
                let requests = calculate_requests(self.pods, resource, container, self.settings)?;
                Ok(Yardstick::Utilization { percent, requests })
            }
            ResourceTarget::AverageValue(average) => Ok(Yardstick::Average(average.as_milli())),
        })
    }

    /// The size at which the pods use what they should (`GetResourceReplicas`, `calcPlainMetricReplicas`). Pods
    /// that are unready or without a sample only ever damp the change.
    fn by_pods<'s>(
        &'s self,
        mut metrics: PodMetrics,
        resource: Option<&str>,
        yardstick: impl FnOnce() -> Result<Yardstick<'s>, CalcError>,
    ) -> Result<Proposal, CalcError> {
        if self.pods.is_empty() {
            return Err(CalcError::NoPods);
        }
        let Groups { ready, unready, missing, ignored } =
            group_pods(self.pods, &metrics, resource, self.settings, self.now);
        metrics.retain(|pod, _| !ignored.contains(pod.as_str()) && !unready.contains(pod.as_str()));
        if metrics.is_empty() {
            return Err(CalcError::NoSamples);
        }
        let yardstick = yardstick()?;
        let first = yardstick.usage(&metrics)?;
        let up_with_unready = !unready.is_empty() && first.ratio > 1.0;
        if !up_with_unready && missing.is_empty() {
            return Ok(first.propose(if self.tolerances.is_within(first.ratio) {
                self.spec_replicas
            } else {
                ceil_i32(first.ratio * ready as f64)
            }));
        }

        let mut assume = |pod: &str, milli| {
            let value = Quantity::from_milli(milli);
            metrics.insert(pod.to_owned(), PodMetric { value, timestamp: self.now, window: Span::ZERO });
        };
        for pod in missing {
            if first.ratio < 1.0 {
                assume(pod, yardstick.fallback(pod));
            } else if first.ratio > 1.0 {
                assume(pod, 0);
            }
        }
        if up_with_unready {
            unready.into_iter().for_each(|pod| assume(pod, 0));
        }
        let ratio = yardstick.usage(&metrics)?.ratio;
        let turned = (first.ratio < 1.0 && ratio > 1.0) || (first.ratio > 1.0 && ratio < 1.0);
        if self.tolerances.is_within(ratio) || turned {
            return Ok(first.propose(self.spec_replicas));
        }
        let replicas = ceil_i32(ratio * metrics.len() as f64);
        let against =
            (ratio < 1.0 && replicas > self.spec_replicas) || (ratio > 1.0 && replicas < self.spec_replicas);
        Ok(first.propose(if against { self.spec_replicas } else { replicas }))
    }

    /// `GetExternalMetricReplicas`, `GetExternalPerPodMetricReplicas`.
    fn external(&self, items: &[Quantity], target: &ValueTarget) -> Result<Proposal, CalcError> {
        let sum = |fits: fn(&i64) -> bool| {
            let sum = items.iter().try_fold(0i64, |sum, item| sum.checked_add(item.as_milli()).filter(fits));
            sum.unwrap_or(i64::MAX)
        };
        match target {
            ValueTarget::Value(_) => self.by_value(sum(|_| true), target),
            ValueTarget::AverageValue(_) => {
                // A sum below zero is taken for an overflow (since 1.34): a negative item asks for all the
                // replicas there can be. Such a sum is shown as it is, not as an average.
                let value = sum(|sum| *sum >= 0);
                let proposal = self.by_value(value, target)?;
                let usage = if value as f64 >= i64::MAX as f64 {
                    Quantity::from_milli(i64::MAX)
                } else {
                    proposal.usage
                };
                Ok(Proposal { usage, ..proposal })
            }
        }
    }

    /// What a single value asks for.
    fn by_value(&self, value: i64, target: &ValueTarget) -> Result<Proposal, CalcError> {
        let (replicas, usage) = match target {
            ValueTarget::Value(target) => {
                (self.in_proportion(value as f64 / target.as_milli() as f64)?, value)
            }
            ValueTarget::AverageValue(target) => self.per_replica(value, target.as_milli()),
        };
        Ok(Proposal { replicas, utilization: None, usage: Quantity::from_milli(usage) })
    }

    /// `getUsageRatioReplicaCount`, behind `GetObjectMetricReplicas` and `GetExternalMetricReplicas`.
    fn in_proportion(&self, ratio: f64) -> Result<i32, CalcError> {
        if self.spec_replicas == 0 {
            return Ok(ceil_i32(ratio));
        }
        if self.tolerances.is_within(ratio) {
            return Ok(self.spec_replicas);
        }
        if self.pods.is_empty() {
            return Err(CalcError::NoPods);
        }
        let ready = self.pods.iter().filter(|pod| pod.is_ready()).count();
        Ok(ceil_i32(ratio * ready as f64))
    }

    /// `GetObjectPerPodMetricReplicas` and the core of `GetExternalPerPodMetricReplicas`: the replicas and the
    /// average. They divide by `status.replicas`, which lags behind `spec.replicas`; with none the ratio is infinite or NaN and
    /// no tolerance applies.
    fn per_replica(&self, value: i64, target: i64) -> (i32, i64) {
        let (value, target, replicas) = (value as f64, target as f64, f64::from(self.status_replicas));
        let within = self.tolerances.is_within(value / (target * replicas));
        let wanted = if within { self.status_replicas } else { ceil_i32(value / target) };
        (wanted, ceil_i64(value / replicas))
    }
}

/// The samples of an API, where no sample at all is a failure.
fn non_empty(answer: Result<PodMetrics, FetchError>, api: &'static str) -> Result<PodMetrics, FetchError> {
    let metrics = answer?;
    if metrics.is_empty() { Err(FetchError::empty(api)) } else { Ok(metrics) }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Samples;
    use super::super::status::ConditionStatus;
    use super::*;

    fn replicas(
        metric: &MetricSpec,
        spec: i32,
        status: i32,
        pods: &[Pod],
        items: &[i64],
    ) -> Result<i32, CalcError> {
        let items: Vec<_> = items.iter().map(|milli| Quantity::from_milli(*milli)).collect();
        let metrics = Samples { external: BTreeMap::from([("qps".into(), Ok(items))]), ..Samples::default() };
        let calculator = ReplicaCalculator {
            settings: &Settings::default(),
            tolerances: Tolerances { up: 0.1, down: 0.1 },
            now: Time::from_secs(10_000),
            spec_replicas: spec,
            status_replicas: status,
            pods,
            metrics: &metrics,
        };
        calculator.propose(metric).map(|proposal| proposal.replicas)
    }

    fn external(target: ValueTarget) -> MetricSpec {
        MetricSpec::External { metric: "qps".into(), selector: None, target }
    }

    fn pods(count: usize, ready: bool) -> Vec<Pod> {
        let pod = |index| {
            let mut pod = Pod::running(&format!("pod-{index}"), Time::EPOCH, Quantity::from_milli(1000));
            if let Some(condition) = &mut pod.ready {
                condition.status = ConditionStatus::from(ready);
            }
            pod
        };
        (0..count).map(pod).collect()
    }

    const PER_REPLICA: ValueTarget = ValueTarget::AverageValue(Quantity::from_milli(1000));
    const WHOLE: ValueTarget = ValueTarget::Value(Quantity::from_milli(1000));

    #[test]
    fn a_value_target_without_a_ready_pod_asks_for_none() {
        assert_eq!(replicas(&external(WHOLE), 3, 3, &pods(3, true), &[2000]), Ok(6));
        assert_eq!(replicas(&external(WHOLE), 3, 3, &pods(3, false), &[2000]), Ok(0));
        assert_eq!(replicas(&external(WHOLE), 3, 3, &[], &[2000]), Err(CalcError::NoPods));
    }

    #[test]
    fn an_average_target_of_one_asks_for_the_value_itself_outside_the_tolerance() {
        for (status, wanted, expected) in [(10, 12, 12), (10, 11, 10), (9, 10, 10), (20, 21, 20), (0, 7, 7)] {
            let got = replicas(&external(PER_REPLICA), status, status, &[], &[wanted * 1000]);
            assert_eq!(got, Ok(expected), "{status} -> {wanted}");
        }
    }

    #[test]
    fn an_average_target_within_the_tolerance_follows_the_status_not_the_spec() {
        assert_eq!(replicas(&external(PER_REPLICA), 3, 5, &[], &[5000]), Ok(5));
    }

    #[test]
    fn an_empty_list_is_unknown_and_not_zero() {
        let error = replicas(&external(PER_REPLICA), 3, 3, &[], &[]).unwrap_err();
        assert!(error.to_string().contains("no metrics returned from external metrics API"));
        assert_eq!(replicas(&external(PER_REPLICA), 3, 3, &[], &[0]), Ok(0));
    }

    #[test]
    fn an_average_target_takes_a_sum_below_zero_for_an_overflow_and_a_value_target_does_not() {
        for items in [&[i64::MAX, 1][..], &[-5], &[3, -5, 10]] {
            assert_eq!(replicas(&external(PER_REPLICA), 3, 3, &[], items), Ok(i32::MAX), "{items:?}");
        }
        assert_eq!(replicas(&external(WHOLE), 3, 3, &pods(3, true), &[3000, -5000, 4000]), Ok(6));
        assert_eq!(replicas(&external(WHOLE), 3, 3, &pods(3, true), &[i64::MAX, 1]), Ok(i32::MAX));
    }

    #[test]
    fn no_target_or_value_makes_it_panic() {
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            for target in [i64::MIN, -1, 0, 1, i64::MAX] {
                let target = Quantity::from_milli(target);
                for size in [i32::MIN, 0, 1, i32::MAX] {
                    for target in [ValueTarget::Value(target), ValueTarget::AverageValue(target)] {
                        let _ = replicas(&external(target), size, size, &pods(2, true), &[value]);
                    }
                }
            }
        }
    }
}
