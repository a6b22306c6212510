//! What it takes to be let in by a pod or a metrics server: whom to believe about who the other side is, and what it is shown.
//!
//! The other side's certificate is always verified. Nothing here shows a secret when it is printed, and no error repeats one.

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response};
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::fetch::FetchError;

/// What an open connection keeps to read into. There are as many as pods, and one that grows with the page stays as large.
const READ_BUFFER: usize = 16 << 10;

/// Longest token, in bytes: those of service accounts have some thousand.
const MAX_TOKEN: u64 = 64 << 10;

/// Whether and how pods, or a metrics server, let the adapter in.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// They tell everybody, without TLS.
    #[default]
    Open,
    /// With these.
    With(Arc<Credentials>),
    /// With something that is not known at the moment: nothing is read.
    Unknown,
}

/// What two hold is compared by its place alone: secrets are not.
impl Eq for Access {}

impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open, Self::Open) | (Self::Unknown, Self::Unknown) => true,
            (Self::With(this), Self::With(that)) => Arc::ptr_eq(this, that),
            _ => false,
        }
    }
}

/// Whom to believe about who the other side is, and what it is shown.
pub struct Credentials {
    tls: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    shown: Option<Shown>,
}

/// What the other side is shown.
enum Shown {
    /// This value of `Authorization`.
    Header(HeaderValue),
    /// The bearer's token in this file, as it is at that moment.
    TokenIn(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Nobody's: there is no TLS.
    Nobody,
    /// Those of the authorities that the machine trusts, or, where `SSL_CERT_FILE` names a file, of those in it.
    System,
    /// Those of these authorities, as PEM.
    Authorities(&'a [u8]),
}

/// Why credentials cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The authorities are no PEM of certificates.
    #[error("the authorities' certificates cannot be read: PEM was expected")]
    Authorities,
    /// The machine trusts nobody.
    #[error("this machine has no certificates of authorities: name a file of them (--prometheus-ca-file)")]
    NoSystem,
    /// No name that a certificate can be good for.
    #[error("{0:?} is no name that a certificate can be good for")]
    Name(String),
    /// A secret that no header can hold.
    #[error("the credentials are empty, or hold what cannot be sent, such as a line break")]
    Secret,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls,
}

impl Credentials {
    /// Trusts so; `name` is what the other side's certificate must be good for, where that is not the host of its URL.
    ///
    /// # Errors
    /// When nobody can be trusted so, or the name is none.
    pub fn new(trust: Trust<'_>, name: Option<&str>) -> Result<Self, CredentialsError> {
        let parsed = |name: &str| {
            ServerName::try_from(name.to_owned()).map_err(|_| CredentialsError::Name(name.to_owned()))
        };
        let name = name.map(parsed).transpose()?;
        Ok(Self { tls: trusting(roots(trust)?)?, name, shown: None })
    }

    /// Shows `Authorization: {kind} {secret}`; white space around the secret is not part of it.
    ///
    /// # Errors
    /// When no header can hold it.
    pub fn showing(self, kind: &str, secret: &[u8]) -> Result<Self, CredentialsError> {
        Ok(Self { shown: Some(Shown::Header(header(kind, secret)?)), ..self })
    }

    /// Shows the bearer's token that is in a file, which is read anew each time: tokens are exchanged under way.
    pub fn showing_token_in(self, file: &Path) -> Self {
        Self { shown: Some(Shown::TokenIn(file.to_owned())), ..self }
    }

    /// The value of `Authorization` at this moment, if there is one.
    async fn authorization(&self) -> Result<Option<HeaderValue>, FetchError> {
        match &self.shown {
            None => Ok(None),
            Some(Shown::Header(header)) => Ok(Some(header.clone())),
            Some(Shown::TokenIn(file)) => {
                let file = file.clone();
                let token = tokio::task::spawn_blocking(move || read_token(&file)).await;
                let token = token.ok().and_then(Result::ok).ok_or(FetchError::NoCredentials)?;
                header("Bearer", &token).map(Some).map_err(|_| FetchError::NoCredentials)
            }
        }
    }
}

fn read_token(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut token = Vec::new();
    std::fs::File::open(file)?.take(MAX_TOKEN).read_to_end(&mut token)?;
    Ok(token)
}

fn header(kind: &str, secret: &[u8]) -> Result<HeaderValue, CredentialsError> {
    let secret = secret.trim_ascii();
    if secret.is_empty() {
        return Err(CredentialsError::Secret);
    }
    let mut header = HeaderValue::from_bytes(&[kind.as_bytes(), b" ", secret].concat())
        .map_err(|_| CredentialsError::Secret)?;
    header.set_sensitive(true);
    Ok(header)
}

fn roots(trust: Trust<'_>) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Nobody => {}
        Trust::System => {
            // Some that cannot be used are in every such list.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(CredentialsError::NoSystem);
            }
        }
        Trust::Authorities(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| CredentialsError::Authorities)?;
                roots.add(certificate).map_err(|_| CredentialsError::Authorities)?;
            }
            if roots.is_empty() {
                return Err(CredentialsError::Authorities);
            }
        }
    }
    Ok(roots)
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, CredentialsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| CredentialsError::Tls)?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // Connections are kept, and pods that share a name share no session.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Trusts nobody: where it is https, no connection comes about.
static NOBODY: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| trusting(RootCertStore::empty()).ok());

/// Sends requests, and is let in. Keeps connections open between them; clones share those.
#[derive(Debug, Clone)]
pub(super) struct Caller<B> {
    access: Access,
    /// None where nothing may be read.
    client: Option<Client<HttpsConnector<HttpConnector>, B>>,
}

impl<B> Caller<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// One that is let in so, and gives up connecting after `patience`.
    pub(super) fn new(access: Access, patience: Duration) -> Self {
        let (tls, name) = match &access {
            Access::Open => (NOBODY.clone(), None),
            Access::With(credentials) => (Some(Arc::clone(&credentials.tls)), credentials.name.clone()),
            Access::Unknown => (None, None),
        };
        let client = tls.map(|tls| {
            let mut http = HttpConnector::new();
            http.set_connect_timeout(Some(patience));
            http.set_nodelay(true);
            http.enforce_http(false);
            let resolver: Arc<dyn ResolveServerName + Send + Sync> = match name {
                Some(name) => Arc::new(FixedServerNameResolver::new(name)),
                None => Arc::new(DefaultServerNameResolver::default()),
            };
            let connector = HttpsConnector::new(http, tls, false, resolver);
            Client::builder(TokioExecutor::new()).http1_read_buf_exact_size(READ_BUFFER).build(connector)
        });
        Self { access, client }
    }

    /// How it is let in.
    pub(super) const fn access(&self) -> &Access {
        &self.access
    }

    /// The head of the answer.
    pub(super) async fn send(&self, mut request: Request<B>) -> Result<Response<Incoming>, FetchError> {
        let client = self.client.as_ref().ok_or(FetchError::NoCredentials)?;
        if let Access::With(credentials) = &self.access
            && let Some(authorization) = credentials.authorization().await?
        {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        client.request(request).await.map_err(|error| no_answer(&error))
    }
}

/// Why a request came to nothing, before there was an answer.
fn no_answer(error: &(dyn Error + 'static)) -> FetchError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref() {
            return FetchError::Tls(why_no_tls(tls));
        }
        // An I/O error gives as its source that of the error in it, and leaves that one out.
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = within.map(|within| within as &(dyn Error + 'static)).or_else(|| error.source());
    }
    FetchError::Unreachable
}

/// In words of our own: the library's repeat what the other side sent.
fn why_no_tls(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return "it does not speak TLS as it should";
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is good for another name"
        }
        CertificateError::UnknownIssuer => "its certificate is signed by nobody who is trusted",
        _ => "its certificate cannot be verified",
    }
}
