//! `spec` of an HPA: bounds, metrics, behavior; and what the API server fills in or refuses.

use super::behavior::Behavior;
use super::error::SpecError;
use super::settings::Gates;
use super::status::Reason;
use crate::units::Quantity;

/// `spec` of an HPA, without the reference to what it scales.
#[derive(Debug, Clone, PartialEq)]
pub struct HpaSpec {
    /// The fewest replicas; 1 if absent. 0 needs the gate and a metric that exists without pods.
    pub min_replicas: Option<i32>,
    /// The most replicas, at least 1 and not below the minimum.
    pub max_replicas: i32,
    /// What the size follows; the metric that wants most replicas wins. Empty is 80 % of the requested CPU.
    pub metrics: Vec<MetricSpec>,
    /// How fast the size may change. Absent is not the same as empty.
    pub behavior: Option<Behavior>,
}

/// One metric to follow (`MetricSpec`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricSpec {
    /// Usage of a resource such as `cpu`, summed over the containers of each pod.
    Resource {
        /// The resource.
        resource: String,
        /// What each pod should use.
        target: ResourceTarget,
    },
    /// Usage of a resource by one container of each pod.
    ContainerResource {
        /// The resource.
        resource: String,
        /// The container.
        container: String,
        /// What each pod's container should use.
        target: ResourceTarget,
    },
    /// A custom metric of each pod.
    Pods {
        /// The metric.
        metric: String,
        /// The average over the pods to keep, above 0.
        average_value: Quantity,
    },
    /// A metric of one object, such as an Ingress.
    Object {
        /// The kind of the object.
        kind: String,
        /// The name of the object.
        object: String,
        /// The metric.
        metric: String,
        /// The value to keep.
        target: ValueTarget,
    },
    /// A metric from outside the cluster, or from an adapter within it.
    External {
        /// The metric.
        metric: String,
        /// The label selector that narrows it down, if any.
        selector: Option<String>,
        /// The value to keep.
        target: ValueTarget,
    },
    /// A source that the controller does not know: it fails at every reconcile.
    Unknown {
        /// Its `type`.
        source_type: String,
    },
}

/// The target of a metric that every pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceTarget {
    /// Percent of what the pods request, above 0.
    Utilization(i32),
    /// The average over the pods, above 0.
    AverageValue(Quantity),
}

/// The target of a metric that is one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueTarget {
    /// The value as a whole, above 0. The size is scaled in proportion, from the pods that are ready: with none
    /// ready the proposal is 0.
    Value(Quantity),
    /// The value per replica, above 0. Pods are not looked at.
    AverageValue(Quantity),
}

impl HpaSpec {
    /// The fewest replicas, with the default for an absent value.
    pub fn min(&self) -> i32 {
        self.min_replicas.unwrap_or(1)
    }

    /// Whether a metric exists without any pod: type Object or External. Only such an HPA can wake from zero.
    pub fn has_metric_without_pods(&self) -> bool {
        self.metrics
            .iter()
            .any(|metric| matches!(metric, MetricSpec::Object { .. } | MetricSpec::External { .. }))
    }

    /// Itself with the API server's defaults filled in (`SetDefaults_HorizontalPodAutoscaler`).
    pub fn defaulted(mut self) -> Self {
        self.min_replicas = Some(self.min());
        if self.metrics.is_empty() {
            let target = ResourceTarget::Utilization(80);
            self.metrics.push(MetricSpec::Resource { resource: "cpu".into(), target });
        }
        self.behavior = self.behavior.map(|behavior| behavior.defaulted());
        self
    }

    /// Whether the API server takes it (`ValidateHorizontalPodAutoscaler`).
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self, gates: &Gates) -> Result<(), SpecError> {
        let wrong = |field: String, rule| Err(SpecError { field, rule });
        let least = if gates.scale_to_zero && self.has_metric_without_pods() { 0 } else { 1 };
        if self.min() < least {
            return wrong(
                "spec.minReplicas".into(),
                "must be at least 1, or 0 with HPAScaleToZero and a metric of type Object or External",
            );
        }
        if self.max_replicas < 1 || self.max_replicas < self.min() {
            return wrong("spec.maxReplicas".into(), "must be at least 1 and not below minReplicas");
        }
        for (index, metric) in self.metrics.iter().enumerate() {
            match metric.target() {
                None => return wrong(format!("spec.metrics[{index}].type"), "must be a known metric source"),
                Some(target) if target <= 0 => {
                    return wrong(format!("spec.metrics[{index}].target"), "must be above 0");
                }
                Some(_) => {}
            }
        }
        self.behavior.as_ref().map_or(Ok(()), Behavior::validate)
    }
}

impl MetricSpec {
    /// The target as a bare number, for a check of its sign.
    fn target(&self) -> Option<i64> {
        match self {
            Self::Resource { target, .. } | Self::ContainerResource { target, .. } => Some(match target {
                ResourceTarget::Utilization(percent) => i64::from(*percent),
                ResourceTarget::AverageValue(average) => average.as_milli(),
            }),
            Self::Object { target, .. } | Self::External { target, .. } => Some(match target {
                ValueTarget::Value(value) | ValueTarget::AverageValue(value) => value.as_milli(),
            }),
            Self::Pods { average_value, .. } => Some(average_value.as_milli()),
            Self::Unknown { .. } => None,
        }
    }

    /// How the controller calls the metric when it gives the reason for a new size.
    pub fn title(&self) -> String {
        // Object with an average target goes by "external metric" upstream too.
        match self {
            Self::Resource { resource, target: ResourceTarget::Utilization(_) } => {
                format!("{resource} resource utilization (percentage of request)")
            }
            Self::Resource { resource, .. } => format!("{resource} resource"),
            Self::ContainerResource { resource, target: ResourceTarget::Utilization(_), .. } => {
                format!("{resource} container resource utilization (percentage of request)")
            }
            Self::ContainerResource { resource, .. } => format!("{resource} container resource"),
            Self::Pods { metric, .. } => format!("pods metric {metric}"),
            Self::Object { kind, metric, target: ValueTarget::Value(_), .. } => {
                format!("{kind} metric {metric}")
            }
            Self::Object { metric, .. } => format!("external metric {metric}(nil)"),
            Self::External { metric, selector, .. } => {
                format!("external metric {metric}({})", selector.as_deref().unwrap_or("nil"))
            }
            Self::Unknown { source_type } => source_type.clone(),
        }
    }

    /// The reason under which a failure of this metric is reported.
    pub fn failure(&self) -> Reason {
        match self {
            Self::Resource { .. } => Reason::FailedGetResourceMetric,
            Self::ContainerResource { .. } => Reason::FailedGetContainerResourceMetric,
            Self::Pods { .. } => Reason::FailedGetPodsMetric,
            Self::Object { .. } => Reason::FailedGetObjectMetric,
            Self::External { .. } => Reason::FailedGetExternalMetric,
            Self::Unknown { .. } => Reason::InvalidMetricSourceType,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(target: i64) -> MetricSpec {
        let target = ValueTarget::AverageValue(Quantity::from_milli(target));
        MetricSpec::External { metric: "qps".into(), selector: None, target }
    }

    fn spec(min: i32, max: i32, metrics: Vec<MetricSpec>) -> HpaSpec {
        HpaSpec { min_replicas: Some(min), max_replicas: max, metrics, behavior: None }
    }

    #[test]
    fn an_hpa_without_metrics_follows_80_percent_cpu() {
        let spec =
            HpaSpec { min_replicas: None, max_replicas: 3, metrics: vec![], behavior: None }.defaulted();
        assert_eq!(spec.min_replicas, Some(1));
        let target = ResourceTarget::Utilization(80);
        assert_eq!(spec.metrics, [MetricSpec::Resource { resource: "cpu".into(), target }]);
        assert_eq!(spec.behavior, None, "an absent behavior stays absent");
    }

    #[test]
    fn zero_replicas_take_the_gate_and_a_metric_that_needs_no_pod() {
        let on = Gates::default();
        let off = Gates { scale_to_zero: false, ..on };
        assert_eq!(spec(0, 3, vec![external(1)]).validate(&on), Ok(()));
        assert_eq!(spec(0, 3, vec![external(1)]).validate(&off).unwrap_err().field, "spec.minReplicas");
        assert_eq!(spec(0, 3, vec![]).validate(&on).unwrap_err().field, "spec.minReplicas");
        assert_eq!(spec(4, 3, vec![]).validate(&on).unwrap_err().field, "spec.maxReplicas");
        assert_eq!(spec(1, 3, vec![external(0)]).validate(&on).unwrap_err().field, "spec.metrics[0].target");
    }
}
