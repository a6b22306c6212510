//! Requests of several kinds to a real server, at rates and in a mix that change every few seconds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// One kind of request, as it goes over the wire.
#[derive(Clone)]
pub(crate) struct Kind {
    pub(crate) request: Vec<u8>,
    /// Most that come a second.
    pub(crate) most: f64,
}

impl Kind {
    pub(crate) fn get(path: &str, most: f64) -> Self {
        Self { request: format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").into_bytes(), most }
    }

    pub(crate) fn post(path: &str, body: &str, most: f64) -> Self {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        Self { request: [head.as_bytes(), body.as_bytes()].concat(), most }
    }
}

/// How kinds go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Each comes and goes by itself.
    Varied,
    /// All of them always in the same proportion.
    Constant,
}

/// When requests of which kind are sent, from the beginning.
pub(crate) fn plan(kinds: &[Kind], mix: Mix, length: Duration, seed: u64) -> Vec<(Duration, usize)> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut sent = Vec::new();
    let mut begin = 0.0;
    while begin < length.as_secs_f64() {
        let end = begin + random.random_range(8.0..20.0);
        let together: f64 = random.random_range(0.05..1.0);
        for (number, kind) in kinds.iter().enumerate() {
            let share = match mix {
                Mix::Constant => together,
                // The first kind is always there, the others half of the time.
                Mix::Varied if number == 0 => random.random_range(0.05..1.0),
                Mix::Varied if random.random() => random.random_range(0.1..1.0),
                Mix::Varied => continue,
            };
            let mut at = begin;
            loop {
                let u: f64 = random.random();
                at -= (1.0 - u).ln() / (kind.most * share);
                if at >= end {
                    break;
                }
                sent.push((Duration::from_secs_f64(at), number));
            }
        }
        begin = end;
    }
    sent.sort_unstable();
    sent
}

/// Sends all of it, whatever the answers take.
pub(crate) async fn drive(address: SocketAddr, kinds: Vec<Kind>, plan: Vec<(Duration, usize)>) {
    let kinds = Arc::new(kinds);
    let began = Instant::now();
    let mut sending = JoinSet::new();
    for (at, number) in plan {
        tokio::time::sleep_until(began + at).await;
        while sending.try_join_next().is_some() {}
        let kinds = Arc::clone(&kinds);
        sending.spawn(async move { send(address, &kinds[number].request).await });
    }
    sending.join_all().await;
}

/// The status line of the answer, or why there is none.
pub(crate) async fn send(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let answer = answer(address, request).await?;
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

async fn answer(address: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// CPU-seconds that the server takes for one such request when nothing else is asked of it: the mean of `times`.
pub(crate) async fn cost(address: SocketAddr, kind: &Kind, times: u32) -> std::io::Result<f64> {
    let ask = async || {
        let status = send(address, &kind.request).await?;
        if status.contains(" 200 ") { Ok(()) } else { Err(std::io::Error::other(status)) }
    };
    // The first one finds nothing in any cache.
    ask().await?;
    let before = cpu(address).await?;
    for _ in 0..times {
        ask().await?;
    }
    Ok((cpu(address).await? - before) / f64::from(times))
}

async fn cpu(address: SocketAddr) -> std::io::Result<f64> {
    let page = answer(address, &Kind::get("/metrics", 0.0).request).await?;
    let page = String::from_utf8_lossy(&page);
    let value = page.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    value
        .and_then(|value| value.trim().parse().ok())
        .ok_or_else(|| std::io::Error::other("the server does not tell its CPU"))
}
