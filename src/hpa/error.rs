//! Why an HPA is refused, and why a metric gives no number of replicas.

use super::metrics::FetchError;

/// A field of a spec that the API server refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct SpecError {
    /// The path of the field.
    pub field: String,
    /// What holds for it.
    pub rule: &'static str,
}

/// Why a metric asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalcError {
    /// The resource metrics API gave no answer.
    #[error("unable to get metrics for resource {resource}: {error}")]
    Resource {
        /// The resource.
        resource: String,
        /// What went wrong.
        error: FetchError,
    },
    /// The custom or external metrics API gave no answer.
    #[error("unable to get metric {metric}: {error}")]
    Metric {
        /// The metric.
        metric: String,
        /// What went wrong.
        error: FetchError,
    },
    /// There is no pod.
    #[error("no pods returned by selector while calculating replica count")]
    NoPods,
    /// No pod that counts has a sample.
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoSamples,
    /// No pod with a sample requests anything.
    #[error("no metrics returned matched known pods")]
    NoMatch,
    /// A container does not say what it requests.
    #[error("missing request for {resource} in container {container} of Pod {pod}")]
    MissingRequest {
        /// The resource.
        resource: String,
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// A pod lacks the container of the metric.
    #[error("container {container} not found in Pod {pod}")]
    ContainerNotFound {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The metric has a type that the controller does not know.
    #[error("unknown metric source type {0:?}")]
    UnknownSource(String),
}
