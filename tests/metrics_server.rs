//! A metrics server that answers nonsense, too much, too slowly, elsewhere or not at all: no such answer becomes a number.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use plimsoll::units::Span;
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::{Answer, Api, Endpoint, QueryError, Value};
use plimsoll_adapter::collect::{FetchError, MAX_PAGE_BYTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A slow server is given as long, in the world's time.
const INTERVAL: Span = Span::from_secs(1);

/// What the server sends after the n-th request, counted from 0; nothing means that it keeps the connection open and silent.
type Reply = Arc<dyn Fn(usize) -> Option<Vec<u8>> + Send + Sync>;

/// A stand-in for a metrics server, and what it was asked.
struct StandIn {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (reply, heard) = (Arc::clone(&reply), Arc::clone(&heard));
                tokio::spawn(async move {
                    let request = request(&mut stream).await;
                    let number = {
                        let mut heard = heard.lock().unwrap();
                        heard.push(request);
                        heard.len() - 1
                    };
                    match reply(number) {
                        // The asker may have heard enough before all is written.
                        Some(bytes) => drop(stream.write_all(&bytes).await),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn api(&self) -> Api {
        let endpoint = Endpoint::parse(&format!("http://{}/prefix", self.address)).unwrap();
        Api::new(&endpoint, Clock::system(), INTERVAL)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A whole request, body and all.
async fn request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return text,
            Ok(length) => bytes.extend_from_slice(&part[..length]),
        }
    }
}

fn http(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body.as_ref()].concat()
}

fn vector(result: &str) -> Vec<u8> {
    let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#);
    http("200 OK\r\nContent-Type: application/json", body)
}

async fn answer(reply: Vec<u8>) -> Result<Answer, QueryError> {
    StandIn::start(Arc::new(move |_| Some(reply.clone()))).await.api().query("up").await
}

#[tokio::test]
async fn a_query_is_one_form_post_below_the_servers_own_path() {
    let server = StandIn::start(Arc::new(|_| Some(vector(r#"{"metric":{},"value":[1,"2"]}"#)))).await;
    let answer = server.api().query(r#"up{a="x&y=z+ %",b="é"}"#).await.unwrap();
    assert_eq!(answer.series[0].value, Value::Number(2.0));
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("POST /prefix/api/v1/query HTTP/1.1\r\n"), "{}", asked[0]);
    let form = asked[0].split_once("\r\n\r\n").unwrap().1;
    let expected = "query=up%7Ba%3D%22x%26y%3Dz%2B+%25%22%2Cb%3D%22%C3%A9%22%7D&timeout=1000ms";
    assert_eq!(form, expected);
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    assert_eq!(answer(http("200 OK", "<html>")).await, Err(QueryError::Malformed));
    assert_eq!(answer(vector(r#"{"metric":{},"value":[1,"NaN"]}"#)).await, Err(QueryError::NotANumber));
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
    assert_eq!(answer(http("200 OK", scalar)).await, Err(QueryError::Malformed));
    let fetch = |reply| async { answer(reply).await.unwrap_err() };
    let large = vec![b' '; MAX_PAGE_BYTES + 1];
    assert_eq!(fetch(http("200 OK", large)).await, FetchError::TooLarge.into());
    assert_eq!(fetch(b"SSH-2.0-OpenSSH\r\n".to_vec()).await, FetchError::Unreachable.into());
    let error = r#"{"status":"error","errorType":"execution","error":"secret"}"#;
    let refused = fetch(http("422 Unprocessable Entity", error)).await;
    assert_eq!(refused, FetchError::Status(StatusCode::UNPROCESSABLE_ENTITY).into());
    assert_eq!(refused.to_string(), "answered 422 Unprocessable Entity");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = StandIn::start(Arc::new(|_| Some(vector("")))).await;
    let head = format!("302 Found\r\nLocation: http://{}/api/v1/query", elsewhere.address);
    assert_eq!(answer(http(&head, "")).await, Err(FetchError::Status(StatusCode::FOUND).into()));
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_is_slow_or_gone_is_given_up() {
    let silent = StandIn::start(Arc::new(|_| None)).await;
    let error = silent.api().query("up").await.unwrap_err();
    assert_eq!((error.reason(), error.to_string()), ("timeout", "no answer within 1s".to_owned()));
    let gone = Endpoint::parse("http://127.0.0.1:1").unwrap();
    let error = Api::new(&gone, Clock::system(), INTERVAL).query("up").await.unwrap_err();
    assert_eq!(error, FetchError::Unreachable.into());
}
