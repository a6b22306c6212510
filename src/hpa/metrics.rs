//! Where samples come from: the metrics APIs, as the controller sees them.

use std::collections::BTreeMap;

use crate::units::{Quantity, Span, Time};

/// A metrics API that gave no answer, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(String);

impl FetchError {
    /// An error with the given text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The API answers, but with an empty list: unknown, not zero.
    pub(super) fn empty(api: &str) -> Self {
        Self(format!("no metrics returned from {api} metrics API"))
    }
}

/// One value of one pod (`PodMetric`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodMetric {
    /// The value.
    pub value: Quantity,
    /// The end of the time over which it was measured.
    pub timestamp: Time,
    /// The length of that time.
    pub window: Span,
}

/// Values by pod name (`PodMetricsInfo`). A pod without a value is absent.
pub type PodMetrics = BTreeMap<String, PodMetric>;

/// The metrics APIs (`MetricsClient`). Each answers with an error unless overridden, so a source implements only
/// what its HPA asks for. An empty answer counts as an error too.
pub trait MetricsSource {
    /// Usage of `resource` by each pod, or by one container of each pod (`GetResourceMetric`).
    ///
    /// # Errors
    /// If the API gives no answer.
    fn resource(&self, resource: &str, container: Option<&str>) -> Result<PodMetrics, FetchError> {
        let _ = (resource, container);
        Err(FetchError::empty("resource"))
    }

    /// A custom metric of each pod (`GetRawMetric`).
    ///
    /// # Errors
    /// If the API gives no answer.
    fn pods(&self, metric: &str) -> Result<PodMetrics, FetchError> {
        let _ = metric;
        Err(FetchError::empty("custom"))
    }

    /// A metric of one object (`GetObjectMetric`).
    ///
    /// # Errors
    /// If the API gives no answer.
    fn object(&self, kind: &str, object: &str, metric: &str) -> Result<Quantity, FetchError> {
        let _ = (kind, object, metric);
        Err(FetchError::empty("custom"))
    }

    /// An external metric: one value per item of the answer, to be summed (`GetExternalMetric`).
    ///
    /// # Errors
    /// If the API gives no answer.
    fn external(&self, metric: &str, selector: Option<&str>) -> Result<Vec<Quantity>, FetchError> {
        let _ = (metric, selector);
        Err(FetchError::empty("external"))
    }
}

/// The plain source: answers by the name of the resource or metric alone, whatever the object or selector. A name
/// that is absent answers with an empty list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Samples {
    /// Resource usage.
    pub resources: BTreeMap<String, Result<Vec<PodUsage>, FetchError>>,
    /// Custom metrics of pods.
    pub pods: BTreeMap<String, Result<PodMetrics, FetchError>>,
    /// Custom metrics of objects.
    pub objects: BTreeMap<String, Result<Quantity, FetchError>>,
    /// External metrics.
    pub external: BTreeMap<String, Result<Vec<Quantity>, FetchError>>,
}

/// What the containers of one pod use of a resource (`PodMetrics` of metrics.k8s.io).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// The pod.
    pub pod: String,
    /// The end of the time over which it was measured.
    pub timestamp: Time,
    /// The length of that time.
    pub window: Span,
    /// Usage by container.
    pub containers: BTreeMap<String, Quantity>,
}

impl PodUsage {
    /// The usage of one container, or the sum of all. A pod without the container has no sample; older clients
    /// failed the whole metric.
    fn metric(&self, container: Option<&str>) -> Option<PodMetric> {
        let milli = match container {
            Some(name) => self.containers.get(name)?.as_milli(),
            None => self.containers.values().fold(0i64, |sum, usage| sum.saturating_add(usage.as_milli())),
        };
        let value = Quantity::from_milli(milli);
        Some(PodMetric { value, timestamp: self.timestamp, window: self.window })
    }
}

impl MetricsSource for Samples {
    fn resource(&self, resource: &str, container: Option<&str>) -> Result<PodMetrics, FetchError> {
        let Some(usages) = self.resources.get(resource) else { return Ok(PodMetrics::new()) };
        let usages = usages.as_ref().map_err(Clone::clone)?.iter();
        Ok(usages.filter_map(|usage| Some((usage.pod.clone(), usage.metric(container)?))).collect())
    }

    fn pods(&self, metric: &str) -> Result<PodMetrics, FetchError> {
        self.pods.get(metric).cloned().unwrap_or_else(|| Ok(PodMetrics::new()))
    }

    fn object(&self, _: &str, _: &str, metric: &str) -> Result<Quantity, FetchError> {
        self.objects.get(metric).cloned().unwrap_or_else(|| Err(FetchError::empty("custom")))
    }

    fn external(&self, metric: &str, _: Option<&str>) -> Result<Vec<Quantity>, FetchError> {
        self.external.get(metric).cloned().unwrap_or_else(|| Ok(Vec::new()))
    }
}
