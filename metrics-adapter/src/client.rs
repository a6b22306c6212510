//! Reads the external metrics API over HTTPS, as the HorizontalPodAutoscaler does: one value list a request, and any error
//! means that the value is not known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use plimsoll::units::Quantity;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::board::ObjectKey;
use crate::external::{AUTOSCALER_LABEL, GROUP, Metric, VERSION};

/// What kube-controller-manager sends.
const ACCEPTED: &str = "application/vnd.kubernetes.protobuf, */*";

/// The name that a self-signed certificate is good for on its own machine.
const SERVER_NAME: &str = "localhost";

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest answer: a list of one value is some 300 bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody took the connection, it broke, or the certificate is not the trusted one.
    #[error("no connection: {0}")]
    Connection(String),
    /// The API answered with an error.
    #[error("{code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The message of the Status object.
        message: String,
    },
    /// The answer is not what the API should say.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

/// A reader of one adapter's API, over one connection that is opened when it is needed.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

#[derive(Deserialize)]
struct ValueList {
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct Value {
    value: Quantity,
}

#[derive(Deserialize)]
struct Status {
    message: String,
}

impl Client {
    /// For the adapter at `address`, whose certificate is signed by, or is, `trusted`.
    ///
    /// # Errors
    /// When `trusted` is no certificate.
    pub fn new(address: SocketAddr, trusted: &CertificateDer<'static>) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: Arc::new(config), connection: None })
    }

    /// The values of `metric` for one object.
    ///
    /// # Errors
    /// When there is no answer, when it is an error, or when it cannot be read.
    pub async fn values(&mut self, metric: Metric, object: &ObjectKey) -> Result<Vec<Quantity>, ClientError> {
        let path = format!(
            "/apis/{GROUP}/{VERSION}/namespaces/{}/{}?labelSelector={}%3D{}",
            object.namespace,
            metric.name(),
            AUTOSCALER_LABEL.replace('/', "%2F"),
            object.name
        );
        let answer = tokio::time::timeout(PATIENCE, self.get(&path)).await;
        let (status, body) = answer.map_err(|_| no_connection("timed out")).flatten().inspect_err(|_| {
            self.connection = None;
        })?;
        let unreadable = |error: serde_json::Error| ClientError::Unreadable(error.to_string());
        if status == StatusCode::OK {
            let list: ValueList = serde_json::from_slice(&body).map_err(unreadable)?;
            return Ok(list.items.into_iter().map(|item| item.value).collect());
        }
        let Status { message } = serde_json::from_slice(&body).map_err(unreadable)?;
        Err(ClientError::Refused { code: status.as_u16(), message })
    }

    async fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
        let request = Request::get(path).header(HOST, SERVER_NAME).header(ACCEPT, ACCEPTED);
        let request = request.body(Empty::new()).map_err(no_connection)?;
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await?,
        };
        connection.ready().await.map_err(no_connection)?;
        let response = connection.send_request(request).await.map_err(no_connection)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(no_connection)?.to_bytes();
        self.connection = Some(connection);
        Ok((status, body))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, ClientError> {
        let name = ServerName::try_from(SERVER_NAME).map_err(no_connection)?;
        let stream = TcpStream::connect(self.address).await.map_err(no_connection)?;
        let stream =
            TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(no_connection)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(no_connection)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn no_connection(error: impl ToString) -> ClientError {
    ClientError::Connection(error.to_string())
}
