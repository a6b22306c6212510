//! The bodies of answers and the headers that go with them.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer with its whole body.
pub(super) type Reply = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn body(content_type: HeaderValue, body: Bytes) -> Reply {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// 200 and the text `ok`.
pub(super) fn ok() -> Reply {
    body(HeaderValue::from_static("text/plain; charset=utf-8"), Bytes::from_static(b"ok"))
}

/// 200 and an object as JSON. A value that does not serialise, which none of ours does, becomes an empty 500.
pub(super) fn json(object: &impl Serialize) -> Reply {
    match serde_json::to_vec(object) {
        Ok(text) => body(JSON, text.into()),
        Err(error) => {
            tracing::error!(%error, "an answer does not serialise; this is a bug");
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

/// 200 and a fixed text in a format that depends on `Accept`; 304 if the client has it already.
pub(super) fn document(request: &HeaderMap, content_type: &'static str, text: &'static str) -> Reply {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let etag = format!("\"{:016x}\"", hasher.finish());
    let mut response = body(HeaderValue::from_static(content_type), Bytes::from_static(text.as_bytes()));
    if holds(request, &etag) {
        response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// Whether the client says that it holds what `etag` names.
fn holds(request: &HeaderMap, etag: &str) -> bool {
    let given = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
    })
}

/// What HEAD gets: all but the body. A 304 has no body to tell the length of.
pub(super) fn without_body(mut response: Reply) -> Reply {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Full::default();
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(if_none_match: Option<&str>) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(etag) = if_none_match {
            headers.insert(IF_NONE_MATCH, etag.parse().unwrap());
        }
        document(&headers, "application/json", "{}")
    }

    #[test]
    fn a_client_that_holds_a_document_is_not_sent_it_again() {
        let etag = get(None).headers()[ETAG].to_str().unwrap().to_owned();
        for held in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
            let response = get(Some(&held));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{held}");
            assert_eq!(response.headers()[ETAG], etag);
            assert_eq!(response.body().size_hint().exact(), Some(0));
        }
        assert_eq!(get(Some("\"other\"")).status(), StatusCode::OK);
    }

    #[test]
    fn head_tells_the_length_of_what_it_leaves_out() {
        let response = without_body(ok());
        assert_eq!(response.headers()[CONTENT_LENGTH], "2");
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
}
