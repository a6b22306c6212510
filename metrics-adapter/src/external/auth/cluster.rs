//! The cluster as it is asked: TokenReview and SubjectAccessReview.

use std::fmt;

use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
};
use kube::client::{Body, Client};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::review::{Question, ReviewError, Reviewer};
use super::user::User;
use crate::external::{AUTOSCALERS, AUTOSCALERS_GROUP, GROUP, VERSION};

const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Bytes of an answer; one is a few hundred, and some more for a user in many groups.
const MAX_ANSWER: usize = 1024 * 1024;

/// Asks the API server.
#[derive(Clone)]
pub struct Cluster(Client);

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}

/// An answer. What was asked is in it too and is passed over: it may be a token.
#[derive(Deserialize)]
struct Answer<S> {
    status: S,
}

impl Cluster {
    /// Asks by this client, whose account needs the ClusterRole `system:auth-delegator`.
    pub const fn new(client: Client) -> Self {
        Self(client)
    }

    /// The client's own ways to read an answer are not used: they log one that they cannot read, with the token in it.
    async fn ask<S: DeserializeOwned>(&self, path: &str, review: &impl Serialize) -> Result<S, ReviewError> {
        let failed = |error: &dyn fmt::Display| ReviewError::Failed(format!("{path}: {error}"));
        let review =
            serde_json::to_vec(review).map_err(|_| failed(&"the question cannot be written as JSON"))?;
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(review));
        let request = request.map_err(|error| failed(&error))?;
        let response = self.0.send(request).await.map_err(|error| failed(&error))?;
        match response.status() {
            status if status.is_success() => {}
            status @ StatusCode::FORBIDDEN => {
                let why =
                    format!("{status}; the adapter's account needs the ClusterRole system:auth-delegator");
                return Err(failed(&why));
            }
            status => return Err(failed(&status)),
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| failed(&"the answer ends early, or does not end"))?.to_bytes();
        let answer: Result<Answer<S>, _> = serde_json::from_slice(&body);
        // What is wrong with it may be told with words of it.
        Ok(answer.map_err(|_| failed(&"the answer cannot be understood"))?.status)
    }
}

impl Reviewer for Cluster {
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: None },
            ..TokenReview::default()
        };
        Box::pin(async move {
            let status: TokenReviewStatus = self.ask(TOKEN_REVIEWS, &review).await?;
            if status.authenticated != Some(true) {
                return Ok(None);
            }
            let user = status.user.unwrap_or_default();
            Ok(user.username.filter(|name| !name.is_empty()).map(|name| User {
                name,
                uid: user.uid.filter(|uid| !uid.is_empty()),
                groups: user.groups.unwrap_or_default(),
                extra: user.extra.unwrap_or_default(),
            }))
        })
    }

    fn access<'a>(
        &'a self,
        user: &'a User,
        question: Question<'a>,
    ) -> BoxFuture<'a, Result<bool, ReviewError>> {
        let text = |text: &str| Some(text.to_owned());
        let (resource_attributes, non_resource_attributes) = match question {
            Question::Metric { namespace, metric } => {
                let attributes = ResourceAttributes {
                    namespace: text(namespace),
                    verb: text("list"),
                    group: text(GROUP),
                    version: text(VERSION),
                    resource: text(metric),
                    ..ResourceAttributes::default()
                };
                (Some(attributes), None)
            }
            Question::Autoscalers { namespace } => {
                let attributes = ResourceAttributes {
                    namespace: namespace.and_then(text),
                    verb: text("list"),
                    group: text(AUTOSCALERS_GROUP),
                    resource: text(AUTOSCALERS),
                    ..ResourceAttributes::default()
                };
                (Some(attributes), None)
            }
            Question::Path(path) => {
                (None, Some(NonResourceAttributes { path: text(path), verb: text("get") }))
            }
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: text(&user.name),
                uid: user.uid.clone(),
                groups: Some(user.groups.clone()),
                extra: Some(user.extra.clone()),
                resource_attributes,
                non_resource_attributes,
            },
            ..SubjectAccessReview::default()
        };
        Box::pin(async move {
            let status: SubjectAccessReviewStatus = self.ask(ACCESS_REVIEWS, &review).await?;
            Ok(status.allowed && status.denied != Some(true))
        })
    }
}
