//! How pods and metrics servers let the adapter in: over TLS whose other side is verified, and with what it is shown. Each of the ways in which
//! that must not work is tried against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/authorities.rs"]
#[allow(dead_code, reason = "it is shared with the suite of the API's security")]
mod authorities;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use authorities::Ca;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use plimsoll::units::Span;
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::{Api, Endpoint, EndpointError};
use plimsoll_adapter::collect::{
    Access, Content, Credentials, CredentialsError, FetchError, Fetcher, Format, Trust,
};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Span = Span::from_secs(10);
const SECRET: &str = "hunter2-of-the-shop";

/// What a server does with who shows the right thing.
#[derive(Debug, Clone)]
enum Answer {
    Text(&'static str),
    Elsewhere(String),
}

/// A server that lets in who shows the token that it holds at the moment.
struct Server {
    address: SocketAddr,
    token: Arc<Mutex<String>>,
    /// What `Authorization` was, request by request.
    shown: Arc<Mutex<Vec<Option<String>>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Over TLS if there are parameters of a certificate and who signs it.
    async fn start(certificate: Option<(CertificateParams, &Ca)>, answer: Answer) -> Self {
        let acceptor = certificate.map(|(params, ca)| {
            let (chain, key) = ca.issue(params);
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
            TlsAcceptor::from(Arc::new(config))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (token, shown) = (Arc::new(Mutex::new(SECRET.to_owned())), Arc::default());
        let mut tasks = JoinSet::new();
        let (held, log) = (Arc::clone(&token), Arc::clone(&shown));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, held, log, answer) =
                    (acceptor.clone(), Arc::clone(&held), Arc::clone(&log), answer.clone());
                connections.spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            // Who does not believe the certificate ends the handshake.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, held, log, answer).await;
                            }
                        }
                        None => serve(stream, held, log, answer).await,
                    }
                });
            }
        });
        Self { address, token, shown, _tasks: tasks }
    }

    fn url(&self, scheme: &str) -> Uri {
        format!("{scheme}://{}/metrics", self.address).parse().unwrap()
    }

    fn shown(&self) -> Vec<Option<String>> {
        self.shown.lock().unwrap().clone()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    token: Arc<Mutex<String>>,
    log: Arc<Mutex<Vec<Option<String>>>>,
    answer: Answer,
) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let shown = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let is_let_in = shown == Some(format!("Bearer {}", token.lock().unwrap()));
        log.lock().unwrap().push(shown);
        let response = Response::builder();
        let response = match (&answer, is_let_in) {
            (Answer::Elsewhere(url), true) => {
                response.status(StatusCode::FOUND).header(LOCATION, url).body("")
            }
            (Answer::Text(text), true) => response.body(*text),
            (_, false) => response.status(StatusCode::UNAUTHORIZED).body("who are you?"),
        };
        async move { Ok::<_, Infallible>(response.unwrap().map(|text| Full::new(Bytes::from(text)))) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

const PAGE: Answer = Answer::Text("up 1\n");

fn good_for(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn trusting(ca: &Ca, name: Option<&str>) -> Credentials {
    Credentials::new(Trust::Authorities(ca.pem.as_bytes()), name).unwrap()
}

fn with(credentials: Credentials, secret: &str) -> Access {
    Access::With(Arc::new(credentials.showing("Bearer", secret.as_bytes()).unwrap()))
}

async fn fetch(url: &Uri, access: Access) -> Result<Content, FetchError> {
    let fetcher = Fetcher::new(Clock::system(), PATIENCE, access);
    fetcher.page(url, Format::Text).await.map(|page| page.content)
}

#[tokio::test]
async fn a_pod_whose_certificate_is_good_is_shown_the_token_and_read() {
    let ca = Ca::new("shop");
    let page = Ok(Content::Text("up 1\n".to_owned()));
    let by_name = Server::start(Some((good_for("shop.shop.svc"), &ca)), PAGE).await;
    let access = with(trusting(&ca, Some("shop.shop.svc")), SECRET);
    assert_eq!(fetch(&by_name.url("https"), access).await, page);
    assert_eq!(by_name.shown(), [Some(format!("Bearer {SECRET}"))]);
    let by_address = Server::start(Some((good_for("127.0.0.1"), &ca)), PAGE).await;
    // A line's end is no part of a token.
    let access = with(trusting(&ca, None), &format!("{SECRET}\n"));
    assert_eq!(fetch(&by_address.url("https"), access).await, page);
    // Old and new authority are both trusted while they are exchanged.
    let both = [Ca::new("next").pem, ca.pem.clone()].concat();
    let both = Credentials::new(Trust::Authorities(both.as_bytes()), None).unwrap();
    assert_eq!(fetch(&by_address.url("https"), with(both, SECRET)).await, page);
}

#[tokio::test]
async fn nothing_is_shown_to_whom_cannot_be_verified() {
    let (ca, other) = (Ca::new("shop"), Ca::new("other"));
    let access = |ca, name| with(trusting(ca, name), SECRET);
    let server = Server::start(Some((good_for("shop.shop.svc"), &ca)), PAGE).await;
    let url = server.url("https");
    let unknown = FetchError::Tls("its certificate is signed by nobody who is trusted");
    assert_eq!(fetch(&url, access(&other, Some("shop.shop.svc"))).await, Err(unknown.clone()));
    let other_name = FetchError::Tls("its certificate is good for another name");
    assert_eq!(fetch(&url, access(&ca, Some("shop.other.svc"))).await, Err(other_name.clone()));
    assert_eq!(fetch(&url, access(&ca, None)).await, Err(other_name), "it is not good for the address");
    assert_eq!(fetch(&url, Access::Open).await, Err(unknown), "without TLS nobody is trusted");
    assert_eq!(fetch(&url, Access::Unknown).await, Err(FetchError::NoCredentials));
    let mut expired = good_for("shop.shop.svc");
    expired.not_after = date_time_ymd(2020, 1, 1);
    let expired = Server::start(Some((expired, &ca)), PAGE).await;
    let answer = fetch(&expired.url("https"), access(&ca, Some("shop.shop.svc"))).await;
    assert_eq!(answer, Err(FetchError::Tls("its certificate has expired")));
    let plain = Server::start(None, PAGE).await;
    let answer = fetch(&plain.url("https"), access(&ca, Some("shop.shop.svc"))).await;
    assert_eq!(answer, Err(FetchError::Tls("it does not speak TLS as it should")));
    for server in [&server, &expired, &plain] {
        assert!(server.shown().is_empty(), "it has been asked: {:?}", server.shown());
    }
}

#[tokio::test]
async fn a_token_goes_nowhere_else_and_is_told_to_nobody() {
    let elsewhere = Server::start(None, PAGE).await;
    let server = Server::start(None, Answer::Elsewhere(elsewhere.url("http").to_string())).await;
    let credentials = || Credentials::new(Trust::Nobody, None).unwrap();
    let answer = fetch(&server.url("http"), with(credentials(), SECRET)).await;
    assert_eq!(answer, Err(FetchError::Status(StatusCode::FOUND)));
    assert!(elsewhere.shown().is_empty(), "a redirect is not followed");
    let wrong = fetch(&server.url("http"), with(credentials(), "wrong-secret")).await.unwrap_err();
    assert_eq!(wrong, FetchError::Status(StatusCode::UNAUTHORIZED));
    assert_eq!(wrong.to_string(), "answered 401 Unauthorized");
    let access = with(credentials(), SECRET);
    let fetcher = Fetcher::new(Clock::system(), PATIENCE, access.clone());
    for printed in [format!("{access:?}"), format!("{fetcher:?}")] {
        assert!(!printed.contains(SECRET), "{printed}");
    }
    for secret in ["", "\n", "two\nlines"] {
        let refused = credentials().showing("Bearer", secret.as_bytes());
        assert_eq!(refused.unwrap_err(), CredentialsError::Secret, "{secret:?}");
    }
}

#[test]
fn authorities_and_names_that_are_none_are_refused() {
    let refused = |pem: &str, name| Credentials::new(Trust::Authorities(pem.as_bytes()), name).unwrap_err();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "no PEM", broken] {
        assert_eq!(refused(pem, None), CredentialsError::Authorities, "{pem:?}");
    }
    let ca = Ca::new("shop");
    // Half a bundle is not taken.
    assert_eq!(refused(&format!("{}{broken}", ca.pem), None), CredentialsError::Authorities);
    assert_eq!(refused(&ca.pem, Some("no name")), CredentialsError::Name("no name".to_owned()));
}

#[tokio::test]
async fn a_metrics_server_is_asked_over_tls_with_the_token_that_its_file_holds_then() {
    const ANSWER: &str = r#"{"status": "success", "data": {"resultType": "vector", "result": []}}"#;
    let ca = Ca::new("monitoring");
    let server = Server::start(Some((good_for("127.0.0.1"), &ca)), Answer::Text(ANSWER)).await;
    let url = format!("https://{}", server.address);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, SECRET).unwrap();
    let endpoint = Endpoint::with(&url, Some(ca.pem.as_bytes()), Some(&file)).unwrap();
    let api = Api::new(&endpoint, Clock::system(), PATIENCE);
    assert!(api.query("up").await.is_ok());
    "exchanged".clone_into(&mut server.token.lock().unwrap());
    let old = FetchError::Status(StatusCode::UNAUTHORIZED);
    assert_eq!(api.query("up").await.unwrap_err(), old.into());
    std::fs::write(&file, "exchanged\n").unwrap();
    assert!(api.query("up").await.is_ok());
    std::fs::remove_file(&file).unwrap();
    assert_eq!(api.query("up").await.unwrap_err(), FetchError::NoCredentials.into());
    assert_eq!(server.shown().len(), 3, "without a token nothing is asked");
    let of_another = Endpoint::with(&url, Some(Ca::new("other").pem.as_bytes()), Some(&file)).unwrap();
    std::fs::write(&file, "exchanged").unwrap();
    let error = Api::new(&of_another, Clock::system(), PATIENCE).query("up").await.unwrap_err();
    assert_eq!(error.reason(), "tls");
    let without_tls = Endpoint::with("http://127.0.0.1:1", Some(ca.pem.as_bytes()), None);
    assert_eq!(without_tls, Err(EndpointError::NoTls));
}
