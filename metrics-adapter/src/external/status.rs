//! Errors as Kubernetes tells them: a `Status` object, always.
//!
//! No answer carries `Retry-After`: Kubernetes' own client would sleep and ask again, and meanwhile hold one of the few
//! workers that serve every HorizontalPodAutoscaler of the cluster.

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue};
use serde::Serialize;

use super::reply::{self, Reply};
use super::route::GROUP;

/// Why a request has no better answer. The names are Kubernetes'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Reason {
    /// The selector cannot be read, or picks more than one object.
    BadRequest,
    /// Who asks is not proven.
    Unauthorized,
    /// Whoever asks may not read that.
    Forbidden,
    /// No such path, metric or object.
    NotFound,
    /// Anything but reading.
    MethodNotAllowed,
    /// Nothing that is served is accepted.
    NotAcceptable,
    /// A fault of this program.
    InternalError,
    /// The object is known, its load is not; or nobody can say whether it may be read.
    ServiceUnavailable,
}

impl Reason {
    const fn code(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    reason: Reason,
    message: String,
    metric: Option<String>,
}

impl Status {
    /// `message` is for people: what happened, where, and what to do.
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metric: None }
    }

    /// Why there is no better answer.
    pub(super) const fn reason(&self) -> Reason {
        self.reason
    }

    /// The same, said of a metric.
    pub(super) fn about(self, metric: &str) -> Self {
        Self { metric: Some(metric.to_owned()), ..self }
    }

    /// The answer.
    pub(super) fn into_reply(self) -> Reply {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Object<'a> {
            kind: &'static str,
            api_version: &'static str,
            metadata: Empty,
            status: &'static str,
            message: &'a str,
            reason: Reason,
            code: u16,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: Option<Details<'a>>,
        }
        #[derive(Serialize)]
        struct Empty {}
        #[derive(Serialize)]
        struct Details<'a> {
            name: &'a str,
            group: &'static str,
            kind: &'a str,
        }
        let code = self.reason.code();
        let mut reply = reply::json(&Object {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            status: "Failure",
            message: &self.message,
            reason: self.reason,
            code: code.as_u16(),
            details: self.metric.as_deref().map(|name| Details { name, group: GROUP, kind: name }),
        });
        *reply.status_mut() = code;
        if self.reason == Reason::MethodNotAllowed {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        reply
    }
}
