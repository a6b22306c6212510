//! What pods have cost, from a real Prometheus that has some weeks of what the adapter tells of itself. Without one on PATH or in `PLIMSOLL_PROMETHEUS`
//! the tests are reported as ignored; so is the page's where there is no `chromium` on the PATH.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::units::Time;
use plimsoll_adapter::clock::Clock;
use serde_json::Value;

#[path = "support/prometheus.rs"]
mod prometheus;

use prometheus::Prometheus;

const DAY: i64 = 86_400;

/// Days of the past, which a Prometheus keeps unless told otherwise; of which the first seven are in mode Observe.
const DAYS: i64 = 14;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    type Test = fn(&Path) -> Result<(), Failed>;
    let tests: [(&str, Test, bool); 3] = [
        ("costs are told by autoscaler and by the settings that were in force", told, false),
        ("what cannot be told is said with a way out", refused, false),
        ("the page in a browser has the same numbers, and its chart", in_a_browser, true),
    ];
    let executable = prometheus::executable();
    let has_chromium = Command::new("chromium").arg("--version").output().is_ok();
    let trial = |(name, test, needs_browser): (&str, Test, bool)| match executable.clone() {
        Ok(file) if has_chromium || !needs_browser => Trial::test(name, move || test(&file)),
        Ok(_) => Trial::test(format!("{name} (ignored: there is no chromium on the PATH)"), || Ok(()))
            .with_ignored_flag(true),
        Err(reason) => Trial::test(format!("{name} (ignored: {reason})"), || Ok(())).with_ignored_flag(true),
    };
    let mut trials: Vec<Trial> = tests.map(trial).into();
    trials.push(Trial::test("an answer that is too large is asked for in parts", in_parts));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Seconds since 1970, and the UTC midnight at which the past begins.
fn times() -> (i64, i64) {
    let now = (Clock::system().now() - Time::EPOCH).as_millis() / 1000;
    (now, (now / DAY - DAYS) * DAY)
}

/// Checkout has 6 pods and then, in mode Auto, 3 that are short for 6 minutes a day; cart has 2 all the time, and is of an older version. Of checkout
/// tells a second adapter for ten minutes of each day's noon, whose counts begin anew, and of a third one's seconds for the whole time: the server scrapes the
/// first one twice.
fn past() -> String {
    let (now, start) = times();
    let mut text = String::new();
    let mut series = |name: &str, kind: &str, of: &dyn Fn(i64) -> Option<(String, f64)>| {
        writeln!(text, "# TYPE {name} {kind}").unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let mut by_labels: std::collections::BTreeMap<String, String> = Default::default();
        // Not at whole hours: what is told then belongs to the hour before.
        let mut at = start + 10;
        while at < now {
            if let Some((labels, value)) = of(at - start) {
                let lines = by_labels.entry(labels.clone()).or_default();
                writeln!(lines, "{name}{suffix}{{{labels}}} {value} {at}").unwrap();
            }
            at += 300;
        }
        by_labels.values().for_each(|lines| text.push_str(lines));
    };
    let is_auto = |at: i64| at >= 7 * DAY;
    let checkout = r#"namespace="shop",name="checkout""#;
    let cart = r#"namespace="shop",name="cart",kind="current""#;
    series("plimsoll_replicas", "gauge", &|at| {
        Some((format!("{checkout},kind=\"current\""), if is_auto(at) { 3.0 } else { 6.0 }))
    });
    series("plimsoll_replicas_of_cart", "gauge", &|_| Some((cart.to_owned(), 2.0)));
    series("plimsoll_replicas_of_another", "gauge", &|at| {
        let replicas = if is_auto(at) { 3.0 } else { 6.0 };
        let is_noon = (DAY / 2..DAY / 2 + 600).contains(&(at % DAY));
        is_noon.then(|| (format!("{checkout},kind=\"current\",instance=\"b\""), replicas))
    });
    series("plimsoll_settings", "gauge", &|at| {
        let (mode, generation) = if is_auto(at) { ("Auto", 2) } else { ("Observe", 1) };
        Some((format!("{checkout},mode=\"{mode}\",generation=\"{generation}\""), 1.0))
    });
    series("plimsoll_short_seconds", "counter", &|at| {
        let days = (at - 7 * DAY).max(0) as f64 / DAY as f64;
        Some((format!("{checkout},cause=\"forecast\""), 360.0 * days))
    });
    series("plimsoll_short_seconds_of_another", "counter", &|at| {
        let days = (at - 7 * DAY).max(0) as f64 / DAY as f64;
        Some((format!("{checkout},cause=\"forecast\",instance=\"b\""), 360.0 * days))
    });
    // One family has one place in the format.
    for (other, kind, family) in [
        ("plimsoll_replicas_of_cart", "gauge", "plimsoll_replicas"),
        ("plimsoll_replicas_of_another", "gauge", "plimsoll_replicas"),
        ("plimsoll_short_seconds_of_another", "counter", "plimsoll_short_seconds"),
    ] {
        text = text.replace(&format!("# TYPE {other} {kind}\n"), "").replace(other, family);
    }
    text + "# EOF\n"
}

fn cost(server: &Prometheus, more: &[&str]) -> (bool, String) {
    let main = format!("main={}", server.url());
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"));
    let output = command.args(["cost", "--prometheus", &main]).args(more).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn close(value: &Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() <= 0.005 * expected.abs().max(1.0))
}

fn told(executable: &Path) -> Result<(), Failed> {
    let server = Prometheus::start_with_past(&PathBuf::from(executable), &past());
    let asked = ["--price", "0.5", "--for", "14d"];
    let (is_content, said) = cost(&server, &[&asked[..], &["--json"]].concat());
    assert!(is_content, "{said}");
    let costs: Value = serde_json::from_str(&said)?;
    let [checkout, cart] = [&costs["autoscalers"][0], &costs["autoscalers"][1]];
    assert_eq!((&checkout["name"], &cart["name"]), (&"checkout".into(), &"cart".into()));
    let [observe, auto] = [&checkout["stages"][0], &checkout["stages"][1]];
    assert_eq!((&observe["mode"], &observe["generation"]), (&"Observe".into(), &1.into()));
    assert_eq!((&auto["mode"], &auto["generation"]), (&"Auto".into(), &2.into()));
    assert!(checkout["stages"][2].is_null(), "{checkout}");
    assert!(close(&observe["cost_per_day"], 72.0) && close(&observe["known_hours"], 168.0), "{observe}");
    assert!(close(&auto["cost_per_day"], 36.0) && close(&auto["change_percent"], -50.0), "{auto}");
    assert!(close(&auto["pods_mean"], 3.0) && observe["change_percent"].is_null(), "{auto}");
    let short = auto["short_minutes_per_day"].as_f64().unwrap();
    assert!((5.5..6.5).contains(&short), "{short}");
    assert!(cart["stages"][0]["mode"].is_null() && close(&cart["stages"][0]["cost_per_day"], 24.0), "{cart}");
    let weeks = costs["weeks"].as_array().unwrap();
    assert_eq!(weeks.len(), 2);
    assert!(close(&weeks[0]["total"], 7.0 * 96.0) && close(&weeks[1]["change_percent"], -37.5), "{weeks:?}");

    // Reserved pods are paid for by those that there are.
    let prices = tempfile::NamedTempFile::new()?;
    let list = "currency: EUR\nregions: {north: {onDemand: 1, reserved: {pods: 10, price: 0.5}}}\n";
    std::fs::write(prices.path(), list)?;
    let reserved = ["--prices", prices.path().to_str().unwrap(), "--for", "14d"];
    let (is_content, said) = cost(&server, &[&reserved[..], &["--json"]].concat());
    assert!(is_content, "{said}");
    let costs: Value = serde_json::from_str(&said)?;
    // Of 120 a day, 6 of 8 pods in Observe; then 3 of 5.
    let stage = |i: usize| &costs["autoscalers"][0]["stages"][i]["cost_per_day"];
    assert!(close(stage(0), 90.0) && close(stage(1), 72.0), "{costs}");
    assert!(costs["bill"]["unused_reserved_pod_hours"].as_f64() > Some(24.0 * 2.0 * 7.0), "{costs}");

    let (is_content, said) = cost(&server, &[&reserved[..], &["-n", "shop", "checkout"]].concat());
    assert!(is_content && said.contains("Observe, generation 1") && !said.contains("cart"), "{said}");
    assert!(
        said.contains("reserved and not used, by nobody in the fleet") && said.contains(" EUR"),
        "{said}"
    );
    // Who looks at one of them alone sees the same amounts.
    let one = ["--json", "-n", "shop", "checkout"];
    let (is_content, said) = cost(&server, &[&reserved[..], &one].concat());
    assert!(is_content, "{said}");
    let of_one: Value = serde_json::from_str(&said)?;
    assert_eq!((&of_one["autoscalers"][0], &of_one["bill"]), (&costs["autoscalers"][0], &costs["bill"]));
    assert_eq!((&of_one["total"], &of_one["is_whole"]), (&costs["autoscalers"][0]["total"], &false.into()));
    Ok(())
}

fn refused(executable: &Path) -> Result<(), Failed> {
    let server = Prometheus::start(&PathBuf::from(executable));
    let says = |more: &[&str], expected: &str| {
        let (is_content, said) = cost(&server, more);
        assert!(!is_content && said.contains(expected), "{more:?}: {said}");
    };
    says(&["--price", "1"], "knows no plimsoll_replicas");
    says(&["--price", "1", "-n", "shop"], "{namespace=\"shop\"}");
    says(&["--prices", "nowhere.yaml"], "nowhere.yaml: ");
    says(&["--price", "1", "--server", "other"], "there is no server \"other\": one of main");
    says(&["--price", "1", "--prometheus", "second=http://127.0.0.1:1"], "--server says which");
    says(&["--price", "1", "--for", "1h"], "from 1d to 90d");
    says(&[], "--price");
    let output =
        Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter")).args(["cost", "--price", "1"]).output()?;
    assert!(String::from_utf8(output.stderr)?.contains("give the metrics server"));
    Ok(())
}

/// A server of a fleet so large that it cannot tell more than 30 hours at once: two pods, always.
fn large_fleet(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = BufReader::new(stream.unwrap());
        let mut length = 0;
        for line in stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let line = line.to_ascii_lowercase();
            length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let asked: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        let number = |name: &str| asked[name].parse::<f64>().unwrap();
        let (start, end, step, query) = (number("start"), number("end"), number("step"), &asked["query"]);
        let (labels, value) = match query.as_str() {
            query if query.starts_with("sum(max") => ("", Some(2)),
            query if query.starts_with("sum_over_time") => (r#""namespace":"shop","name":"web""#, Some(24)),
            query if query.starts_with("count_over_time") => (r#""namespace":"shop","name":"web""#, Some(12)),
            _ => ("", None),
        };
        let points: Vec<String> = (0..)
            .map(|i| start + step * f64::from(i))
            .take_while(|at| *at <= end)
            .filter_map(|at| value.map(|value| format!("[{at},\"{value}\"]")))
            .collect();
        let series = format!("{{\"metric\":{{{labels}}},\"values\":[{}]}}", points.join(","));
        let padding = if end - start > 30.0 * 3600.0 { " ".repeat(5 << 20) } else { String::new() };
        let text = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{series}]}}}}{padding}"
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        let _ = stream.get_mut().write_all(format!("{head}{text}").as_bytes());
    }
}

fn in_parts() -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let main = format!("main=http://{}", listener.local_addr()?);
    std::thread::spawn(move || large_fleet(&listener));
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"));
    let output =
        command.args(["cost", "--prometheus", &main, "--price", "0.5", "--for", "10d", "--json"]).output()?;
    let costs: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(costs["known_hours"].as_f64().map(f64::round), costs["hours"].as_f64(), "{costs}");
    let stage = &costs["autoscalers"][0]["stages"][0];
    assert!(close(&stage["cost_per_day"], 24.0) && close(&stage["pods_mean"], 2.0), "{stage}");
    assert_eq!(stage["known_hours"].as_f64().map(f64::round), costs["hours"].as_f64(), "{stage}");
    Ok(())
}

const PROBE: &str = r#"<script>
const errors = [];
addEventListener("error", event => errors.push(event.message));
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
setTimeout(() => {
  const canvas = document.querySelector("canvas");
  const drawn = canvas ? canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.filter(value => value > 0).length : 0;
  document.body.setAttribute("data-probe", `${errors.join()}|${drawn}`);
}, 500);
</script>
</head>"#;

fn in_a_browser(executable: &Path) -> Result<(), Failed> {
    let server = Prometheus::start_with_past(&PathBuf::from(executable), &past());
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("costs.html");
    let asked = ["--price", "0.5", "--for", "14d", "--json", "--html", page.to_str().unwrap()];
    let (is_content, said) = cost(&server, &asked);
    assert!(is_content, "{said}");
    let costs: Value = serde_json::from_str(&said)?;
    std::fs::write(&page, std::fs::read_to_string(&page)?.replacen("</head>", PROBE, 1))?;
    let out = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--virtual-time-budget=4000", "--window-size=1000,1400", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", page.display()))
        .output()?;
    let dom = String::from_utf8(out.stdout)?;
    let after = |text: &str| dom.split_once(text).map(|(_, rest)| rest.split('"').next().unwrap_or_default());
    let (errors, drawn) = after("data-probe=\"").and_then(|probe| probe.split_once('|')).ok_or("no probe")?;
    assert!(errors.is_empty() && drawn.parse::<u64>()? > 1000, "{errors} {drawn}");
    assert_eq!(costs["total"], costs["bill"]["total"]);
    let total: f64 = after("<data id=\"total\" value=\"").ok_or("no total")?.parse()?;
    assert_eq!(costs["bill"]["total"].as_f64(), Some(total));
    for (place, number) in [(0, 0), (0, 1), (1, 0)] {
        let id = format!("<data id=\"a{place}-s{number}-cost_per_day\" value=\"");
        let shown: f64 = after(&id).ok_or("no cost a day")?.parse()?;
        let told = &costs["autoscalers"][place]["stages"][number]["cost_per_day"];
        assert_eq!(told.as_f64(), Some(shown));
    }
    Ok(())
}
