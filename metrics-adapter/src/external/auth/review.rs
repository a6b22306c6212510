//! What the cluster is asked about a request.

use futures::future::BoxFuture;

use super::user::User;

/// What somebody wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// The values of a metric in a namespace: the verb `list`.
    Metric {
        /// The namespace.
        namespace: &'a str,
        /// The metric.
        metric: &'a str,
    },
    /// The autoscalers of a namespace, or of all: the verb `list`.
    Autoscalers {
        /// Which one; none for all.
        namespace: Option<&'a str>,
    },
    /// A document under a path: the verb `get`.
    Path(&'a str),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It took too long, or too many were asked for at once.
    #[error("there was no answer in time")]
    Late,
    /// The cluster cannot be asked, or answers an error. The text never holds what a token was or said.
    #[error("{0}")]
    Failed(String),
}

/// Knows users and rules. Waiting for it is ended from outside.
pub trait Reviewer: std::fmt::Debug + Send + Sync {
    /// Whose token it is; nobody's if it is not good.
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, ReviewError>>;

    /// Whether the user may read it.
    fn access<'a>(
        &'a self,
        user: &'a User,
        question: Question<'a>,
    ) -> BoxFuture<'a, Result<bool, ReviewError>>;
}
