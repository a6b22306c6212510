//! The aggregated API: what the board says, as `external.metrics.k8s.io/v1beta1` over TLS.
//!
//! The API server passes on the requests of HorizontalPodAutoscalers; each gets the one value of the one object that it
//! selects, or an error that says why there is none. A HorizontalPodAutoscaler that gets an error keeps its replicas, one
//! that gets a zero gives them away. So what is not known is never a number here, least of all 0, and a decision whose
//! sample has grown too old counts as not known. Several values for one request, which the reader would add up, are
//! refused as well.
//!
//! Answers come from memory: no lock is taken, nothing is waited for, no decision is copied. Nothing is ever written. Who
//! may read is the cluster's to say; where it is not asked, only loopback addresses are served.
//!
//! ```text
//! server      accepts connections; tls: with which certificate; rotation: until it is replaced
//! route       which path is asked for
//! auth        who asks, and whether they may read it
//! negotiate   in which format
//! discovery   the documents by which clients find the API
//! value       one metric of one object; selector: which object
//! fingerprint what secrets, questions and files are remembered by
//! status      errors; reply: bodies and headers
//! ```

pub mod auth;
mod discovery;
mod fingerprint;
mod negotiate;
mod reply;
mod rotation;
mod route;
mod selector;
mod server;
mod status;
mod tls;
mod value;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Request, Response, Uri};

pub use rotation::Rotation;
use route::{AUTOSCALERS, AUTOSCALERS_GROUP};
pub use route::{GROUP, VERSION};
pub use server::{BindError, Server};
pub use tls::{Certificate, CertificateError};
pub use value::{AUTOSCALER_LABEL, Metric};

use crate::board::Board;
use crate::clock::Clock;
use crate::console::Console;
use crate::ops::{Readiness, Telemetry};
use auth::{Guard, Peer, Question};
use negotiate::Format;
use reply::Reply;
use route::Route;
use status::{Reason, Status};

/// What answers are made of.
#[derive(Debug)]
pub struct Api {
    board: Arc<Board>,
    clock: Clock,
    readiness: Readiness,
    telemetry: Arc<Telemetry>,
    guard: Option<Guard>,
    console: Option<Console>,
}

impl Api {
    /// Answers everybody from `board`. Decisions grow old by `clock`, the one that samples are stamped by.
    pub const fn new(
        board: Arc<Board>,
        clock: Clock,
        readiness: Readiness,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self { board, clock, readiness, telemetry, guard: None, console: None }
    }

    /// The same, for those only whom the guard lets in; with a console that shows each the autoscalers that they may read.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        let console = Console::signed_on(Arc::clone(&self.board), self.clock.clone());
        Self { guard: Some(guard), console: Some(console), ..self }
    }

    /// Whether anybody who can connect is answered.
    const fn is_open(&self) -> bool {
        self.guard.is_none()
    }

    /// The answer to a request that came over the connection of `peer`, if it may be given.
    async fn serve(&self, peer: &Peer, mut request: Request<()>) -> Response<Full<Bytes>> {
        let Some(guard) = &self.guard else { return self.respond(&request) };
        let began = self.clock.now();
        let mut headers = std::mem::take(request.headers_mut());
        let (method, uri) = (request.method(), request.uri());
        // What needs nobody's data needs nobody's name: probes, paths that there are not, methods that are not served.
        let refused = match Route::of(uri.path()) {
            Some(Route::Live | Route::Ready | Route::Console) | None => None,
            Some(_) if !is_reading(method) => None,
            Some(route @ (Route::Objects | Route::Object { .. })) => {
                match self.shown(guard, peer, &mut headers, &route).await {
                    Ok(response) => {
                        let response =
                            if method == Method::HEAD { reply::without_body(response) } else { response };
                        self.telemetry.answered(response.status().as_u16(), self.clock.now() - began);
                        return response;
                    }
                    Err(status) => Some(status),
                }
            }
            Some(Route::Metric { namespace, metric }) => {
                let question = Question::Metric { namespace, metric };
                guard.admit(peer, &mut headers, question).await.err().map(|status| status.about(metric))
            }
            Some(_) => guard.admit(peer, &mut headers, Question::Path(uri.path())).await.err(),
        };
        let Some(status) = refused else {
            *request.headers_mut() = headers;
            return self.respond(&request);
        };
        let response = status.into_reply();
        let response = if method == Method::HEAD { reply::without_body(response) } else { response };
        self.telemetry.answered(response.status().as_u16(), self.clock.now() - began);
        response
    }

    /// What the console shows of what somebody may read.
    async fn shown(
        &self,
        guard: &Guard,
        peer: &Peer,
        headers: &mut HeaderMap,
        route: &Route<'_>,
    ) -> Result<Reply, Status> {
        let Some(console) = &self.console else {
            return Err(Status::new(Reason::NotFound, "there is no console here"));
        };
        if let Route::Object { namespace, name } = route {
            guard.may_read(peer, headers, namespace).await?;
            // As it is written in the path, which is what was asked about.
            return Ok(console.object(namespace, name, |read| read == *namespace));
        }
        let namespaces = self.board.objects().keys().map(|key| key.namespace.clone()).collect();
        let readable = guard.readable(peer, headers, namespaces).await?;
        Ok(console.objects(|namespace| readable.has(namespace)))
    }

    /// The answer to a request that may be given, and whose body is not looked at.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let began = self.clock.now();
        let response = self.route(request);
        self.telemetry.answered(response.status().as_u16(), self.clock.now() - began);
        response
    }

    fn route<B>(&self, request: &Request<B>) -> Reply {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let response = match Route::of(uri.path()) {
            Some(route) => self.answer(route, method, uri, headers).map_err(|status| match route {
                Route::Metric { metric, .. } => status.about(metric),
                _ => status,
            }),
            None => Err(Status::new(
                Reason::NotFound,
                format!("the server could not find {}; / lists the paths there are", uri.path()),
            )),
        };
        let response = response.unwrap_or_else(Status::into_reply);
        if method == Method::HEAD { reply::without_body(response) } else { response }
    }

    fn answer(
        &self,
        route: Route<'_>,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Reply, Status> {
        if !is_reading(method) {
            let message = format!("{method} is not supported, since there is nothing to write here; use GET");
            return Err(Status::new(Reason::MethodNotAllowed, message));
        }
        match (route, &self.console) {
            (Route::Console, Some(console)) => return Ok(console.page()),
            (Route::Console | Route::Objects | Route::Object { .. }, _) => {
                let message = format!("the server could not find {}: there is no console here", uri.path());
                return Err(Status::new(Reason::NotFound, message));
            }
            _ => {}
        }
        match route {
            Route::Console | Route::Objects | Route::Object { .. } | Route::Live => Ok(reply::ok()),
            Route::Ready => match self.readiness.missing() {
                None => Ok(reply::ok()),
                Some(missing) => {
                    let message = format!("not ready: {missing} not there yet");
                    Err(Status::new(Reason::ServiceUnavailable, message))
                }
            },
            Route::Groups => {
                let offered = [Format::Json, Format::DiscoveryV2, Format::DiscoveryV2Beta1];
                Ok(discovery::groups(headers, negotiate::choose(headers, &offered)?))
            }
            Route::Paths | Route::Group | Route::Resources => {
                negotiate::choose(headers, &[Format::Json])?;
                Ok(match route {
                    Route::Paths => discovery::paths(headers),
                    Route::Group => discovery::group(headers),
                    _ => discovery::resources(headers),
                })
            }
            Route::Metric { namespace, metric } => {
                let query = uri.query().unwrap_or_default();
                if parameter(query, "watch").is_some_and(|v| !v.eq_ignore_ascii_case("false") && v != "0") {
                    let message = "watch is not supported: values are read, one by one; leave watch out";
                    return Err(Status::new(Reason::MethodNotAllowed, message));
                }
                negotiate::choose(headers, &[Format::Json])?;
                let selector = parameter(query, "labelSelector").unwrap_or_default();
                value::answer(&self.board, self.clock.now(), namespace, metric, &selector)
            }
        }
    }
}

fn is_reading(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The first value of a query's parameter, decoded as forms are: a plus is a blank.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}
