//! Gets one metrics page over HTTP, within limits; so are a metrics server's answers got.
//!
//! A page may be slow, endless, compressed a thousandfold or not text at all: nothing of that may cost more than its
//! limit. Redirects are not followed, and errors never carry what the other side sent.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use plimsoll::units::{Span, Time};

use super::access::{Access, Caller};
use crate::clock::Clock;

/// Largest page, before and after decompression: twenty times what a large service shows.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

/// Longest time for one page, from connecting to its last byte.
pub const MAX_PAGE_TIME: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1";
const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited, \
     text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=1.0.0;q=0.3, */*;q=0.1";

/// The media type of a page in protobuf.
const PROTOBUF_TYPE: &str = "application/vnd.google.protobuf";

pub(super) const AGENT: &str = concat!("plimsoll-adapter/", env!("CARGO_PKG_VERSION"));

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody took the connection, or it broke.
    #[error("no connection")]
    Unreachable,
    /// There is no connection to whom it should be with.
    #[error("no connection over TLS: {0}")]
    Tls(&'static str),
    /// What must be shown to be let in is not known.
    #[error("the credentials that it takes are not known")]
    NoCredentials,
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// An answer that is not a page; redirects among them.
    #[error("answered {0}")]
    Status(StatusCode),
    /// More bytes than a page may have.
    #[error("more than {MAX_PAGE_BYTES} bytes")]
    TooLarge,
    /// An encoding that was not asked for, or broken compression.
    #[error("the compression cannot be read")]
    Encoding,
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotText,
}

impl FetchError {
    /// A word for a label: few, and none made of what the other side sent.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Tls(_) => "tls",
            Self::NoCredentials => "credentials",
            Self::Timeout(_) => "timeout",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::NotText => "not_text",
        }
    }
}

/// A metrics page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// When its head arrived: a pod that is slow to answer counts until then.
    pub at: Time,
    /// What it says.
    pub content: Content,
}

/// A page's content, in the format that the pod chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Lines of text.
    Text(String),
    /// Metric families, each behind its length.
    Protobuf(Vec<u8>),
}

/// The format that is asked for first. A pod may answer in the other: not all know protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What every pod has.
    Text,
    /// What native histograms take.
    Protobuf,
}

impl Format {
    fn accepted(self) -> &'static str {
        match self {
            Self::Text => TEXT,
            Self::Protobuf => PROTOBUF,
        }
    }
}

/// Gets metrics pages. Keeps connections to pods open between scrapes.
#[derive(Debug, Clone)]
pub struct Fetcher {
    caller: Caller<Empty<Bytes>>,
    clock: Clock,
    patience: Duration,
}

impl Fetcher {
    /// One that is let in so, and waits for a page as long as `patience` on `clock`, and never longer than [`MAX_PAGE_TIME`] of the
    /// world.
    pub fn new(clock: Clock, patience: Span, access: Access) -> Self {
        let patience = clock.in_world(patience).min(MAX_PAGE_TIME);
        Self { caller: Caller::new(access, patience), clock, patience }
    }

    /// How it is let in.
    pub(super) const fn access(&self) -> &Access {
        self.caller.access()
    }

    /// The page, in the format that is asked for if the pod has it.
    ///
    /// # Errors
    /// When there is none within the limits.
    pub async fn page(&self, url: &Uri, format: Format) -> Result<Page, FetchError> {
        let page = tokio::time::timeout(self.patience, self.unlimited(url, format));
        page.await.unwrap_or(Err(FetchError::Timeout(self.patience)))
    }

    async fn unlimited(&self, url: &Uri, format: Format) -> Result<Page, FetchError> {
        let request = Request::get(url)
            .header(ACCEPT, format.accepted())
            .header(ACCEPT_ENCODING, "gzip")
            .header(USER_AGENT, AGENT)
            .body(Empty::new())
            .map_err(|_| FetchError::Unreachable)?;
        let response = self.caller.send(request).await?;
        let at = self.clock.now();
        let is_protobuf = response.headers().get(CONTENT_TYPE).is_some_and(is_protobuf);
        let body = body(response).await?;
        let content = if is_protobuf {
            Content::Protobuf(body)
        } else {
            Content::Text(String::from_utf8(body).map_err(|_| FetchError::NotText)?)
        };
        Ok(Page { at, content })
    }
}

/// The content of an answer, within the limit.
pub(super) async fn body(response: Response<Incoming>) -> Result<Vec<u8>, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let encoding = response.headers().get(CONTENT_ENCODING).cloned();
    let body = Limited::new(response.into_body(), MAX_PAGE_BYTES).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { FetchError::TooLarge } else { FetchError::Unreachable }
    })?;
    match encoding.as_ref().map(|e| e.as_bytes()) {
        None | Some(b"identity") => Ok(body.to_bytes().into()),
        Some(b"gzip") => gunzip(&body.to_bytes()),
        Some(_) => Err(FetchError::Encoding),
    }
}

fn is_protobuf(content_type: &HeaderValue) -> bool {
    let media_type = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(PROTOBUF_TYPE.as_bytes())
}

fn gunzip(compressed: &[u8]) -> Result<Vec<u8>, FetchError> {
    let mut page = Vec::new();
    let limit = MAX_PAGE_BYTES as u64 + 1;
    let read = MultiGzDecoder::new(compressed).take(limit).read_to_end(&mut page);
    read.map_err(|_| FetchError::Encoding)?;
    if page.len() > MAX_PAGE_BYTES { Err(FetchError::TooLarge) } else { Ok(page) }
}
