//! Rights: which ones a client used, and which ones roles give.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::{Method, Request, Response, StatusCode, Uri};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};

/// One thing that may be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) verb: String,
    /// The API group; empty for the first one.
    pub(crate) group: String,
    /// With its subresource.
    pub(crate) resource: String,
    /// The one object, or any.
    pub(crate) name: Option<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, resource, name } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// Each right that rules give.
pub(crate) fn given(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut given = BTreeSet::new();
    for rule in rules {
        let names = rule.resource_names.clone().unwrap_or_default();
        let names: Vec<_> = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    for name in names.clone() {
                        let (verb, group, resource) = (verb.clone(), group.clone(), resource.clone());
                        given.insert(Right { verb, group, resource, name });
                    }
                }
            }
        }
    }
    given
}

/// What a client did so far. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Done>>);

#[derive(Debug, Default)]
struct Done {
    used: BTreeSet<Right>,
    refused: Vec<String>,
}

impl Record {
    /// A client whose requests are recorded.
    pub(crate) fn client(&self, config: Config) -> Client {
        let record = self.clone();
        let layer = tower::layer::layer_fn(move |inner| Recorded { inner, record: record.clone() });
        ClientBuilder::try_from(config).unwrap().with_layer(&layer).build()
    }

    /// Whether a right was used, by its own name or, if it holds for any, by some.
    pub(crate) fn has_used(&self, right: &Right) -> bool {
        let is_it = |used: &Right| match right.name {
            Some(_) => used == right,
            None => Right { name: None, ..used.clone() } == *right,
        };
        self.0.lock().unwrap().used.iter().any(is_it)
    }

    /// Requests for which a right was missing.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.0.lock().unwrap().refused.clone()
    }

    fn take(&self, method: &Method, uri: &Uri, status: StatusCode) {
        let mut done = self.0.lock().unwrap();
        if status == StatusCode::FORBIDDEN {
            done.refused.push(format!("{method} {uri}"));
        } else {
            let used = needed(method, uri);
            if method == Method::PATCH && status == StatusCode::CREATED {
                // Who applies what is not there must be allowed to create it.
                let create = |right: &Right| Right { verb: "create".into(), ..right.clone() };
                done.used.extend(used.as_ref().map(create));
            }
            done.used.extend(used);
        }
    }
}

/// The right that a request takes; none where it is for no resource.
fn needed(method: &Method, uri: &Uri) -> Option<Right> {
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let (group, path) = match path.as_slice() {
        ["api", _, path @ ..] => ("", path),
        ["apis", group, _, path @ ..] => (*group, path),
        _ => return None,
    };
    let path = match path {
        ["namespaces", _, path @ ..] if !path.is_empty() => path,
        path => path,
    };
    let query: Vec<(String, String)> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    let one = asked("fieldSelector").and_then(|field| field.strip_prefix("metadata.name="));
    let (resource, name) = match path {
        [resource] => ((*resource).to_owned(), one),
        [resource, name] => ((*resource).to_owned(), Some(*name)),
        [resource, name, sub] => (format!("{resource}/{sub}"), Some(*name)),
        _ => return None,
    };
    let verb = match (method.as_str(), path.len()) {
        ("GET", 1) if asked("watch") == Some("true") => "watch",
        ("GET", 1) => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", 1) => "deletecollection",
        ("DELETE", _) => "delete",
        _ => return None,
    };
    let name = name.map(str::to_owned);
    Some(Right { verb: verb.into(), group: group.into(), resource, name })
}

#[derive(Clone)]
struct Recorded<S> {
    inner: S,
    record: Record,
}

impl<S, B> tower::Service<Request<Body>> for Recorded<S>
where
    S: tower::Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (method, uri, record) = (request.method().clone(), request.uri().clone(), self.record.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            record.take(&method, &uri, answer.status());
            Ok(answer)
        })
    }
}
