//! The simulator's pages in a real browser: headless Chromium, where `chromium` is on the PATH. Without it the test says so and is
//! ignored.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// Of every canvas how many pixels have the colour of bounds, and of misses; and whatever went wrong.
const PROBE: &str = r#"<script>
const errors = [];
addEventListener("error", event => errors.push(event.message));
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
setTimeout(() => {
  document.querySelector("[data-zoom=in]")?.click();
  setTimeout(() => {
    const pixels = (canvas, name) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      document.body.style.color = `var(--${name})`;
      const [red, green, blue] = getComputedStyle(document.body).color.match(/\d+/g).map(Number);
      let drawn = 0;
      for (let i = 0; i < data.length; i += 4) {
        drawn += data[i] === red && data[i + 1] === green && data[i + 2] === blue && data[i + 3] === 255;
      }
      document.body.style.color = "";
      return drawn;
    };
    const canvases = [...document.querySelectorAll("canvas")];
    const drawn = ["bound", "miss"].map(name => canvases.map(canvas => pixels(canvas, name)));
    const probe = document.createElement("template");
    probe.id = "probe";
    probe.setAttribute("data-probe", JSON.stringify({ drawn, errors, ink: getComputedStyle(document.body).color }));
    document.body.append(probe);
  }, 500);
}, 500);
</script>
</head>"#;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let has_chromium = Command::new("chromium").arg("--version").output().is_ok();
    let trials = if has_chromium {
        vec![
            Trial::test("a forecast's page in light", || in_theme("light", "rgb(29, 33, 38)")),
            Trial::test("a forecast's page in dark", || in_theme("dark", "rgb(228, 231, 234)")),
            Trial::test("a frontier's page in light", || frontier("light")),
            Trial::test("a frontier's page in dark", || frontier("dark")),
            Trial::test("a report in light", || report("light")),
            Trial::test("a report in dark", || report("dark")),
        ]
    } else {
        let name = "pages in a browser (ignored: there is no chromium on the PATH)";
        vec![Trial::test(name, || Ok(())).with_ignored_flag(true)]
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn in_theme(theme: &str, ink: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let report = forecast(folder.path())?;
    let page = std::fs::read_to_string(folder.path().join("page.html"))?;
    let themed = page.replacen("<html ", &format!("<html data-theme=\"{theme}\" "), 1);
    std::fs::write(folder.path().join("page.html"), themed.replacen("</head>", PROBE, 1))?;
    let dom = dom(folder.path())?;

    let probe = between(&dom, "data-probe=\"", "\"").ok_or_else(|| format!("no probe in {dom}"))?;
    let probe: Value = serde_json::from_str(&probe.replace("&quot;", "\""))?;
    check(probe["errors"] == Value::Array(vec![]), &probe)?;
    check(probe["ink"] == ink, &probe)?;
    // Bounds are in both charts, misses in the first.
    let drawn = |pointer: &str| probe.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    for (pointer, least) in [("/drawn/0/0", 100), ("/drawn/0/1", 30), ("/drawn/1/0", 30)] {
        check(drawn(pointer) > least, &(pointer, &probe))?;
    }

    for (key, percent) in
        [("coverage", true), ("worst_day_coverage", true), ("pinball", false), ("mae_persistence", false)]
    {
        let number = report[key].as_f64().ok_or_else(|| format!("no {key}"))?;
        let tag = between(&dom, &format!("<data id=\"{key}\" value=\""), "</data>");
        let (value, text) =
            tag.and_then(|tag| tag.split_once("\">")).ok_or_else(|| format!("no {key} in {dom}"))?;
        check(value.parse() == Ok(number), &(key, value, number))?;
        let shown: f64 = text.trim_end_matches(" %").parse()?;
        let (expected, digit) = if percent { (100.0 * number, 0.051) } else { (number, 0.005 * number) };
        check((shown - expected).abs() <= digit, &(key, text, number))?;
    }
    Ok(())
}

/// A line of Plimsoll's is drawn, and nothing goes wrong.
fn frontier(theme: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let asked = ["frontier", "--window", "0s..10m", "--points", "3", "--policy", "hpa-cpu", "--policy"];
    let asked = [&asked[..], &["plimsoll", "--min", "1", "--html", "page.html"]].concat();
    let out =
        Command::new(env!("CARGO_BIN_EXE_plimsoll-sim")).args(asked).current_dir(folder.path()).output()?;
    check(out.status.success(), &out)?;
    let page = std::fs::read_to_string(folder.path().join("page.html"))?;
    let themed = page.replacen("<html ", &format!("<html data-theme=\"{theme}\" "), 1);
    std::fs::write(folder.path().join("page.html"), themed.replacen("</head>", PROBE, 1))?;
    let dom = dom(folder.path())?;
    let probe = between(&dom, "data-probe=\"", "\"").ok_or_else(|| format!("no probe in {dom}"))?;
    let probe: Value = serde_json::from_str(&probe.replace("&quot;", "\""))?;
    check(probe["errors"] == Value::Array(vec![]), &probe)?;
    check(probe.pointer("/drawn/0/0").and_then(Value::as_u64) > Some(3), &probe)
}

/// Its numbers are those of the JSON, its charts are drawn, and another policy can be chosen.
fn report(theme: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write_days(folder.path(), 12_000)?;
    let asked = [
        "report",
        "--trace",
        "days.rate.csv",
        "--trace",
        "builtin:shop",
        "--policy",
        "hpa-cpu",
        "--policy",
        "plimsoll",
        "--points",
        "2",
        "--price",
        "0.5",
        "--html",
        "page.html",
        "--json",
        "-",
    ];
    let out =
        Command::new(env!("CARGO_BIN_EXE_plimsoll-sim")).args(asked).current_dir(folder.path()).output()?;
    check(out.status.success(), &out)?;
    let found: Value = serde_json::from_slice(&out.stdout)?;
    let page = std::fs::read_to_string(folder.path().join("page.html"))?;
    let themed = page.replacen("<html ", &format!("<html data-theme=\"{theme}\" "), 1);
    std::fs::write(folder.path().join("page.html"), themed.replacen("</head>", PROBE, 1))?;
    let dom = dom(folder.path())?;
    let probe = between(&dom, "data-probe=\"", "\"").ok_or_else(|| format!("no probe in {dom}"))?;
    let probe: Value = serde_json::from_str(&probe.replace("&quot;", "\""))?;
    check(probe["errors"] == Value::Array(vec![]), &probe)?;
    // Of each trace load and replicas, and of the days their cost; Plimsoll's line is in all of them.
    let drawn = probe["drawn"][0].as_array().ok_or("no canvases")?;
    let with_own = drawn.iter().filter(|pixels| pixels.as_u64() > Some(30)).count();
    check(with_own >= 3, &probe)?;
    for (t, trace) in found["traces"].as_array().ok_or("no traces")?.iter().enumerate() {
        for (p, policy) in trace["policies"].as_array().ok_or("no policies")?.iter().enumerate() {
            let shown = |what: &str| -> Option<f64> {
                let tag = between(&dom, &format!("<data id=\"t{t}-p{p}-{what}\" value=\""), "\"")?;
                tag.parse().ok()
            };
            for what in ["pod_hours", "short_minutes", "shortage_ratio", "most_replicas", "latency_p99_s"] {
                check(shown(what) == policy[what].as_f64(), &(t, p, what, shown(what), &policy[what]))?;
            }
            let (cost, hours) = (policy["cost"]["total"].as_f64(), policy["pod_hours"].as_f64());
            check(shown("cost") == cost, &(t, p, cost))?;
            // Seconds after the last whole minute are in the pod-hours of one engine.
            let is_priced = cost.zip(hours).is_some_and(|(c, h)| (c - 0.5 * h).abs() < 0.01 * h);
            check(is_priced, &(t, p, cost, hours))?;
        }
    }
    Ok(())
}

fn check(holds: bool, seen: &dyn std::fmt::Debug) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{seen:?}").into()) }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

/// Writes a trace of so many minutes into the folder.
fn write_days(folder: &Path, minutes: usize) -> Result<(), Failed> {
    let row = |i: usize| {
        let day = (i as f64 * std::f64::consts::TAU / 1440.0).sin();
        format!("{},{}\n", 60 * i, (1000.0 + 600.0 * day + 50.0 * (i as f64 * 2.4).sin()).round())
    };
    let trace = "timestamp_s,requests\n".to_owned() + &(0..minutes).map(row).collect::<String>();
    Ok(std::fs::write(folder.join("days.rate.csv"), trace)?)
}

/// Writes a trace and the page of its forecast into the folder; the report.
fn forecast(folder: &Path) -> Result<Value, Failed> {
    write_days(folder, 5760)?;
    let asked = [
        "forecast",
        "--trace",
        "days.rate.csv",
        "--test-fraction",
        "0.5",
        "--html",
        "page.html",
        "--json",
        "-",
    ];
    let out = Command::new(env!("CARGO_BIN_EXE_plimsoll-sim")).args(asked).current_dir(folder).output()?;
    check(out.status.success(), &out)?;
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// What the page has become when its scripts are done.
fn dom(folder: &Path) -> Result<String, Failed> {
    let out = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--no-first-run"])
        .args(["--virtual-time-budget=5000", "--window-size=1000,1400", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", folder.join("page.html").display()))
        .output()?;
    let dom = String::from_utf8_lossy(&out.stdout).into_owned();
    check(out.status.success() && dom.contains("</html>"), &out)?;
    Ok(dom)
}
