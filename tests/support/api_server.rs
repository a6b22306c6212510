//! So much of an API server as an adapter asks: one ConfigMap that can be watched, and reviews.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, Infallible>;

/// In it `hpa` may read everything, and `good` is the token of `hpa`.
pub(crate) struct ApiServer {
    addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    map: Mutex<BTreeMap<String, String>>,
    watchers: Mutex<Vec<UnboundedSender<Bytes>>>,
    reviews: Mutex<Vec<Value>>,
}

impl ApiServer {
    /// With this ConfigMap.
    pub(crate) async fn start(map: BTreeMap<String, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state =
            Arc::new(State { map: Mutex::new(map), watchers: Mutex::default(), reviews: Mutex::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { addr, state }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> kube::Client {
        let config = kube::Config::new(format!("http://{}", self.addr).parse().unwrap());
        kube::Client::try_from(config).unwrap()
    }

    /// The reviews that were asked for.
    pub(crate) fn reviews(&self) -> Vec<Value> {
        self.state.reviews.lock().unwrap().clone()
    }

    /// Changes the ConfigMap and tells those who watch it.
    pub(crate) fn change(&self, map: BTreeMap<String, String>) {
        *self.state.map.lock().unwrap() = map;
        let event = json!({ "type": "MODIFIED", "object": self.state.object("2") });
        for watcher in &*self.state.watchers.lock().unwrap() {
            watcher.unbounded_send(format!("{event}\n").into()).unwrap();
        }
    }
}

impl State {
    fn object(&self, version: &str) -> Value {
        json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": *self.map.lock().unwrap(),
            "metadata": {
                "name": "extension-apiserver-authentication", "namespace": "kube-system", "resourceVersion": version,
            },
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let body = body.collect().await.unwrap().to_bytes();
        match parts.uri.path() {
            "/api/v1/namespaces/kube-system/configmaps" => {
                assert!(query.contains("fieldSelector=metadata.name%3Dextension-apiserver-authentication"));
                if query.contains("watch=true") {
                    let (sender, receiver): (_, UnboundedReceiver<Bytes>) = unbounded();
                    self.watchers.lock().unwrap().push(sender);
                    let events = receiver.map(|event| Ok(Frame::data(event)));
                    return Response::new(BodyExt::boxed(StreamBody::new(events)));
                }
                json(&json!({
                    "kind": "ConfigMapList", "apiVersion": "v1", "metadata": { "resourceVersion": "1" },
                    "items": [self.object("1")],
                }))
            }
            "/apis/authentication.k8s.io/v1/tokenreviews" => {
                let mut review = self.reviewed(&body);
                review["status"] = match review["spec"]["token"].as_str().unwrap() {
                    "good" => json!({ "authenticated": true, "user": { "username": "hpa" } }),
                    "broken" => json!({ "authenticated": "perhaps" }),
                    _ => json!({ "error": "invalid bearer token" }),
                };
                json(&review)
            }
            "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
                let mut review = self.reviewed(&body);
                review["status"] = match review["spec"]["user"].as_str().unwrap() {
                    "hpa" => json!({ "allowed": true }),
                    "denied" => json!({ "allowed": true, "denied": true }),
                    _ => json!({ "allowed": false }),
                };
                json(&review)
            }
            _ => {
                let mut unknown = json(&json!({ "kind": "Status", "code": 404 }));
                *unknown.status_mut() = StatusCode::NOT_FOUND;
                unknown
            }
        }
    }

    fn reviewed(&self, body: &[u8]) -> Value {
        let review: Value = serde_json::from_slice(body).unwrap();
        self.reviews.lock().unwrap().push(review.clone());
        review
    }
}

fn json(value: &Value) -> Response<Body> {
    Response::new(Full::from(value.to_string()).boxed())
}
