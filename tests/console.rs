//! The console in a real browser: what the page shows is what the board says. Without `chromium` on the PATH what needs it is reported as
//! ignored. With `PLIMSOLL_PICTURES` set to a folder the page is painted into it, as docs/ has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::scale::Autoscaler;
use plimsoll::units::{Span, Time};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::{Clock, Hand};
use plimsoll_adapter::console::Console;
use plimsoll_adapter::finding::Finding;
use plimsoll_adapter::ops::{OpsServer, Readiness, Served};
use plimsoll_adapter::stop::{self, Stopper};
use serde_json::Value;
use tokio::runtime::Runtime;

#[path = "support/shop.rs"]
mod shop;

/// 2026-11-25T16:00:00Z.
const NOW: Time = Time::from_secs(1_795_622_400);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let has_chromium = Command::new("chromium").arg("--version").output().is_ok();
    let seen = |name: &str, test: fn() -> Result<(), Failed>| match has_chromium {
        true => Trial::test(name, test),
        false => {
            let name = format!("{name} (ignored: there is no chromium on the PATH)");
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
    };
    let trials = vec![
        seen("the list shows each autoscaler's numbers, and which need a look", list),
        seen("one autoscaler is shown with its numbers, reasons, charts and log", one),
        seen("what is on the board is shown as it is written, and never run", hostile),
        seen("who signs on is shown what the token is good for", signed_on),
        Trial::test("who follows is told of each newer decision", followed),
        Trial::test("only this machine is answered", guarded),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A console of three autoscalers: one that is well, one whose load is not known, one with a condition that is bad.
struct Scene {
    board: Arc<Board>,
    checkout: Autoscaler,
    address: SocketAddr,
    hand: Hand,
    _stopper: Stopper,
    _runtime: Runtime,
}

fn scene() -> Scene {
    let (clock, hand) = Clock::manual(NOW);
    let board = Arc::new(Board::default());
    let mut checkout = Autoscaler::new(shop::spec());
    let (cell, mut replicas) = (board.cell(&ObjectKey::new("shop", "checkout")), 4);
    for minute in -1440 * 2..=0 {
        let at = NOW + Span::from_secs(60 * minute);
        checkout.observe(&shop::sample(at, replicas, minute + 2880 + 560)).unwrap();
        let decision = checkout.decide(at);
        replicas = decision.outcome.replicas().map_or(replicas, |(replicas, _)| replicas);
        cell.publish(decision);
    }
    cell.tell(vec![finding("Ready", true, "Deciding", "the load is measured and decided about")]);
    cell.prove(plimsoll_sim::fluid::backtest(&checkout.past_load().unwrap()).unwrap());
    let mut blind = Autoscaler::new(shop::spec());
    board.cell(&ObjectKey::new("shop", "cart")).publish(blind.decide(NOW));
    let search = board.cell(&ObjectKey::new("shop", "search"));
    search.publish(checkout.decide(NOW));
    search.tell(vec![finding("Ready", false, "HPAChangedByOther", "<b>somebody</b> & \"others\"")]);

    let runtime = Runtime::new().unwrap();
    let console = Console::new(Arc::clone(&board), clock);
    let served = Served { telemetry: None, console: Some(console), readiness: Readiness::default() };
    let bound = OpsServer::bind((Ipv4Addr::LOCALHOST, 0).into(), served);
    let server = runtime.block_on(bound).unwrap();
    let address = server.local_addr().unwrap();
    let (stopper, stop) = stop::channel();
    runtime.spawn(server.run(stop));
    Scene { board, checkout, address, hand, _stopper: stopper, _runtime: runtime }
}

fn finding(kind: &'static str, holds: bool, reason: &str, message: &str) -> Finding {
    Finding { kind, holds: Some(holds), reason: reason.into(), message: message.into() }
}

/// Asks for a path, by this name of the machine.
fn ask(address: SocketAddr, host: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

fn objects(scene: &Scene, path: &str) -> Value {
    let mut answer = String::new();
    ask(scene.address, "localhost", path).read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// What a browser makes of the page.
fn page(scene: &Scene, place: &str, more: &[&str]) -> String {
    browse(&format!("http://{}/?once{place}", scene.address), more)
}

fn browse(url: &str, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--virtual-time-budget=3000")
        .args(more)
        .arg(url)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn dom(scene: &Scene, place: &str) -> String {
    page(scene, place, &["--dump-dom"])
}

/// A number as the page writes it.
fn number(value: f64) -> String {
    if value >= 100.0 {
        let whole = format!("{value:.0}");
        let (head, tail) = whole.split_at(whole.len() - 3);
        return if head.is_empty() { whole } else { format!("{head},{tail}") };
    }
    let digits = (2 - value.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn check(page: &str, parts: &[String]) -> Result<(), Failed> {
    let visible = page.split("<script type=").next().unwrap_or_default();
    match parts.iter().find(|part| !visible.contains(part.as_str())) {
        Some(part) => Err(format!("{part:?} is not in\n{visible}").into()),
        None => Ok(()),
    }
}

fn list() -> Result<(), Failed> {
    let scene = scene();
    let told = objects(&scene, "/console/objects");
    let checkout = &told["objects"][1];
    assert_eq!(checkout["name"], "checkout");
    let cell = |text: String| format!("<td>{text}</td>");
    let dom = dom(&scene, "");
    check(
        &dom,
        &[
            "3 autoscalers, 2 with something to look at.".to_owned(),
            "<a href=\"#/shop/checkout\">shop/checkout</a>".to_owned(),
            cell(number(checkout["load"].as_f64().unwrap())),
            cell(number(checkout["bound"].as_f64().unwrap())),
            cell(checkout["current"].to_string()),
            cell(format!("{} of 2–12", checkout["desired"])),
            cell(checkout["reactive"].to_string()),
            cell(checkout["proactive"].to_string()),
            "<td class=\"left bad\">HPAChangedByOther: &lt;b&gt;somebody".to_owned(),
            "<td class=\"left bad\">nothing was measured yet</td>".to_owned(),
        ],
    )?;
    paint(&scene, "", "console.png", "1280,420");
    Ok(())
}

fn one() -> Result<(), Failed> {
    let scene = scene();
    let told = objects(&scene, "/console/objects/shop/checkout");
    let row = &told["row"];
    let step = told["steps"][0]["reason"].as_str().unwrap();
    let learned = &told["decision"]["learned"];
    let dom = dom(&scene, "#/shop/checkout");
    check(
        &dom,
        &[
            format!("The load is {} MetricsQPS", number(row["load"].as_f64().unwrap())),
            format!("One pod should carry {}", number(row["capacity"].as_f64().unwrap())),
            format!("it should stay below {}", number(row["bound"].as_f64().unwrap())),
            format!("<td class=\"left\">{step}</td>"),
            format!("version {}; they predict", learned["version"]),
            "<td class=\"left\">True: Deciding</td>".to_owned(),
            "over 0.5 s".to_owned(),
            "What each way would have made of the last 24 hours".to_owned(),
            format!("<td>{}</td>", number(told["backtest"]["ways"][2]["podHours"].as_f64().unwrap())),
        ],
    )?;
    assert_eq!(dom.matches("<canvas").count(), 3, "load, replicas and classes are drawn");
    let log = told["log"].as_array().unwrap();
    assert!(!log.is_empty() && dom.matches(" → ").count() >= 1, "{log:?}");
    assert_eq!(told["history"]["at"].as_array().unwrap().len(), 240);
    paint(&scene, "#/shop/checkout", "console-one.png", "1280,1290");

    // A day of it, five minutes at a time, each with the most that it had.
    let day = |column: &str| told["day"][column].as_array().unwrap().clone();
    let (at, load) = (day("at"), day("load"));
    assert_eq!((at.len(), at[1].as_f64().unwrap() - at[0].as_f64().unwrap()), (288, 300.0));
    let minutes = told["history"]["load"].as_array().unwrap();
    let most = minutes[234..239].iter().filter_map(Value::as_f64).fold(0.0, f64::max);
    assert_eq!((load[286].as_f64(), load[287].as_f64()), (Some(most), minutes[239].as_f64()));
    let of_day = self::dom(&scene, "&day#/shop/checkout");
    check(&of_day, &["the last day, by 5 min".to_owned()])?;
    assert_eq!(of_day.matches("<canvas").count(), 3);
    paint(&scene, "&day#/shop/checkout", "console-day.png", "1280,1290");
    Ok(())
}

/// Pictures are made when somebody asks for them.
fn paint(scene: &Scene, place: &str, name: &str, size: &str) {
    let Some(folder) = std::env::var_os("PLIMSOLL_PICTURES") else { return };
    let file = std::path::Path::new(&folder).join(name);
    page(scene, place, &[&format!("--screenshot={}", file.display()), &format!("--window-size={size}")]);
}

fn hostile() -> Result<(), Failed> {
    let scene = scene();
    let dom = dom(&scene, "#/shop/search");
    check(&dom, &["&lt;b&gt;somebody&lt;/b&gt; &amp; \"others\"".to_owned()])?;
    assert!(!dom.contains("<b>somebody"));
    check(&self::dom(&scene, "#/shop/nobody"), &["there is no shop/nobody".to_owned()])
}

/// Fills in the form as somebody would, then tells what the page shows.
const SIGNS_ON: &str = r##"<script>
const errors = [];
addEventListener("error", event => errors.push(event.message));
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
const shown = () => [...document.querySelectorAll("#objects tbody tr th")].map(cell => cell.textContent).join();
const sign = text => {
  document.getElementById("token").value = text;
  document.querySelector("#sign button").click();
};
addEventListener("load", () => {
  const told = [];
  setTimeout(() => {
    told.push(document.getElementById("sign").hidden);
    sign("made-up");
  }, 500);
  setTimeout(() => {
    told.push(document.getElementById("refused").textContent, shown());
    sign("good");
  }, 1200);
  setTimeout(() => {
    told.push(document.getElementById("sign").hidden, shown(), document.getElementById("token").value);
    document.body.setAttribute("data-told", JSON.stringify([...told, ...errors]));
  }, 2000);
});
</script>
</head>"##;

/// Answers plain requests as the API does over TLS: the page to everybody, and the objects of `shop` to who shows the token `good`.
fn answering(console: &Console, listener: &TcpListener) {
    let runtime = Runtime::new().unwrap();
    for stream in listener.incoming() {
        let mut stream = BufReader::new(stream.unwrap());
        let (mut path, mut is_good) = (String::new(), false);
        for line in stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("GET ") {
                path = rest.split(' ').next().unwrap_or_default().to_owned();
            }
            is_good |= line.eq_ignore_ascii_case("authorization: bearer good");
        }
        let response = match path.as_str() {
            "/console" => console.page(),
            "/console/objects" if is_good => console.objects(|namespace| namespace == "shop"),
            _ => {
                let said = r#"{"kind":"Status","message":"Unauthorized: the bearer token is not good"}"#;
                hyper::Response::builder().status(401).body(said.into()).unwrap()
            }
        };
        let (parts, body) = response.into_parts();
        let body = runtime.block_on(http_body_util::BodyExt::collect(body)).unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap().replacen("</head>", SIGNS_ON, 1);
        let kind =
            parts.headers.get("content-type").map_or("application/json", |kind| kind.to_str().unwrap());
        let (status, length) = (parts.status.as_u16(), text.len());
        let head = format!(
            "HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.get_mut().write_all(format!("{head}{text}").as_bytes());
    }
}

fn signed_on() -> Result<(), Failed> {
    let scene = scene();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let console = Console::signed_on(Arc::clone(&scene.board), Clock::manual(NOW).0);
    std::thread::spawn(move || answering(&console, &listener));
    let dom = browse(&format!("http://{address}/console"), &["--dump-dom"]);
    let told =
        dom.split_once("data-told=\"").and_then(|(_, rest)| rest.split('"').next()).ok_or("nothing told")?;
    let told: Value = serde_json::from_str(&told.replace("&quot;", "\""))?;
    let refused = "Unauthorized: the bearer token is not good";
    let names = "shop/cart,shop/checkout,shop/search";
    assert_eq!(told, serde_json::json!([false, refused, "", true, names, ""]), "{dom}");
    Ok(())
}

fn followed() -> Result<(), Failed> {
    let mut scene = scene();
    let mut lines = BufReader::new(ask(scene.address, "localhost", "/console/events")).lines();
    let mut event = || loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let list: Value = serde_json::from_str(data).unwrap();
            return list["objects"][1]["at"].as_f64().unwrap();
        }
    };
    let first = event();
    let later = NOW + Span::from_secs(60);
    scene.hand.set(later);
    scene.board.cell(&ObjectKey::new("shop", "checkout")).publish(scene.checkout.decide(later));
    assert_eq!(event(), first + 60.0);
    Ok(())
}

fn guarded() -> Result<(), Failed> {
    let scene = scene();
    for path in ["/", "/console/objects", "/console/objects/shop/checkout", "/console/events"] {
        for (host, status) in [("localhost", "200"), ("rebound.example", "403")] {
            let mut head = String::new();
            BufReader::new(ask(scene.address, host, path)).read_line(&mut head)?;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{host}{path}: {head}");
        }
    }
    Ok(())
}
