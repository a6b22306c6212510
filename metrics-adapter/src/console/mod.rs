//! The console: one page for people, which shows what is on the board and follows it.
//!
//! On the port for operations it asks nobody who they are, so it is served on loopback addresses alone, and only to who asked for this machine by name:
//! a page from elsewhere that a browser was tricked into cannot read it. On the API's port people sign on with a token of the cluster, which the page
//! sends along; what each may read is not decided here.

mod view;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use plimsoll_page::Page;
use serde::Serialize;

use crate::board::{Board, ObjectKey};
use crate::clock::Clock;

/// Time between two looks at the board for a page that follows it.
const LOOK: Duration = Duration::from_secs(1);

/// After so many looks without news something is said all the same, so that a connection that is broken is noticed.
const LOOKS_IN_SILENCE: u32 = 15;

const BODY: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");

/// A body that may never end.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Shows what is on a board.
#[derive(Debug, Clone)]
pub struct Console {
    board: Arc<Board>,
    clock: Clock,
    page: Bytes,
}

impl Console {
    /// One that shows `board`, at the times of `clock`.
    pub fn new(board: Arc<Board>, clock: Clock) -> Self {
        let page = Page { title: "Plimsoll", body: BODY, data: "null", script: SCRIPT, is_live: true };
        Self { board, clock, page: Bytes::from(page.to_string()) }
    }

    /// One that asks people for a token, and shows each what they may read.
    pub fn signed_on(board: Arc<Board>, clock: Clock) -> Self {
        let data = r#"{"signOn":true}"#;
        let page = Page { title: "Plimsoll", body: BODY, data, script: SCRIPT, is_live: true };
        Self { board, clock, page: Bytes::from(page.to_string()) }
    }

    /// The page, which holds no data.
    pub fn page(&self) -> Response<Full<Bytes>> {
        reply(StatusCode::OK, "text/html; charset=utf-8", self.page.clone())
    }

    /// The list of the objects in namespaces that may be read.
    pub fn objects(&self, may_read: impl Fn(&str) -> bool) -> Response<Full<Bytes>> {
        json(&view::List::of(&self.board, self.clock.now(), may_read))
    }

    /// One object, as it stands in a path, if its namespace may be read.
    pub fn object(
        &self,
        namespace: &str,
        name: &str,
        may_read: impl Fn(&str) -> bool,
    ) -> Response<Full<Bytes>> {
        let objects = self.board.objects();
        let known = key(namespace, name).filter(|key| may_read(&key.namespace));
        match known.as_ref().and_then(|key| Some((key, objects.get(key)?))) {
            Some((key, cell)) => json(&view::Object::of(key, cell, self.clock.now())),
            None => {
                let said = known.map_or_else(|| format!("{namespace}/{name}"), |key| key.to_string());
                let said = Bytes::from(format!("there is no {said}\n"));
                reply(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", said)
            }
        }
    }

    /// The answer to a GET of `uri` by anybody on this machine; none where the console has nothing.
    pub fn answer(&self, uri: &Uri, headers: &HeaderMap) -> Option<Response<Body>> {
        let path = uri.path();
        let rest = match path {
            "/" => None,
            _ => Some(path.strip_prefix("/console/")?),
        };
        if !names_this_machine(headers) {
            let said = "the console is for whoever asks for localhost or 127.0.0.1\n";
            let refused = reply(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", Bytes::from(said));
            return Some(refused.map(BodyExt::boxed_unsync));
        }
        let everywhere = |_: &str| true;
        let response = match rest {
            None => self.page(),
            Some("objects") => self.objects(everywhere),
            Some("events") => return Some(self.events(uri.query() == Some("once"))),
            Some(rest) => {
                let (namespace, name) = rest.strip_prefix("objects/")?.split_once('/')?;
                self.object(namespace, name, everywhere)
            }
        };
        Some(response.map(BodyExt::boxed_unsync))
    }

    /// The list again and again, whenever there is a newer decision; or once, for whoever takes a picture.
    fn events(&self, once: bool) -> Response<Body> {
        let (board, clock) = (Arc::clone(&self.board), self.clock.clone());
        let events = stream::unfold((None, board, clock), |(mut told, board, clock)| async move {
            for _ in 0..LOOKS_IN_SILENCE {
                let list = view::List::of(&board, clock.now(), |_| true);
                let news = list.news();
                if told.as_ref() != Some(&news) {
                    told = Some(news);
                    let event = format!("data: {}\n\n", serde_json::to_string(&list).unwrap_or_default());
                    return Some((event, (told, board, clock)));
                }
                tokio::time::sleep(LOOK).await;
            }
            Some((": still here\n\n".to_owned(), (told, board, clock)))
        });
        let events = events.take(if once { 1 } else { usize::MAX });
        let frames = events.map(|event| Ok(Frame::data(Bytes::from(event))));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        head(response.headers_mut(), "text/event-stream");
        response
    }
}

/// The object that is named so in a path.
fn key(namespace: &str, name: &str) -> Option<ObjectKey> {
    let plain = |part: &str| percent_decode_str(part).decode_utf8().ok().map(|part| part.into_owned());
    Some(ObjectKey::new(plain(namespace)?, plain(name)?))
}

/// Whether the request is for this machine by a name that nobody else can have.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    matches!(name, Some("localhost" | "127.0.0.1" | "::1"))
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(text) => reply(StatusCode::OK, "application/json", Bytes::from(text)),
        Err(error) => {
            let said = Bytes::from(format!("{error}\n"));
            reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", said)
        }
    }
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    head(response.headers_mut(), kind);
    response
}

fn head(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn asked(host: &str, path: &str) -> Option<StatusCode> {
        let console = Console::new(Arc::default(), Clock::system());
        let headers = [(HOST, HeaderValue::from_str(host).unwrap())];
        let headers: HeaderMap =
            headers.into_iter().collect::<Vec<(HeaderName, HeaderValue)>>().into_iter().collect();
        console.answer(&path.parse().unwrap(), &headers).map(|response| response.status())
    }

    #[test]
    fn only_who_asks_for_this_machine_is_answered() {
        for host in ["localhost", "localhost:8082", "127.0.0.1:1", "[::1]:8082", "[::1]"] {
            assert_eq!(asked(host, "/"), Some(StatusCode::OK), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8082", "10.0.0.1"]
        {
            assert_eq!(asked(host, "/"), Some(StatusCode::FORBIDDEN), "{host}");
            assert_eq!(asked(host, "/console/objects"), Some(StatusCode::FORBIDDEN), "{host}");
        }
    }

    #[test]
    fn what_it_has_not_it_leaves_to_others() {
        assert_eq!(asked("localhost", "/metrics"), None);
        assert_eq!(asked("localhost", "/console/objects"), Some(StatusCode::OK));
        assert_eq!(asked("localhost", "/console/objects/shop/a%20b"), Some(StatusCode::NOT_FOUND));
        assert_eq!(asked("localhost", "/console/objects/shop"), None);
    }
}
