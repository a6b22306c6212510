//! Real traces, where there are some: every file in the folder that `PLIMSOLL_TRACES` names is read, and a little of it
//! replayed. Without the variable each test says so and is ignored.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::units::Span;
use plimsoll_sim::contest::{Engine, Field, Size};
use plimsoll_sim::policy::NAMES;
use plimsoll_sim::profile::Profile;
use plimsoll_sim::replay::replay;
use plimsoll_sim::scenario::Scenario;
use plimsoll_sim::trace::{Trace, TraceOptions, Window};

const VARIABLE: &str = "PLIMSOLL_TRACES";

/// Most requests that the short run replays.
const SHORT: f64 = 20_000.0;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match std::env::var_os(VARIABLE) {
        Some(folder) => of_folder(Path::new(&folder)),
        None => {
            let name = format!("real traces (ignored: {VARIABLE} names no folder of them)");
            vec![Trial::test(name, || Ok(())).with_ignored_flag(true)]
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn of_folder(folder: &Path) -> Vec<Trial> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()),
        Err(error) => {
            let message = format!("{VARIABLE}={}: {error}", folder.display());
            return vec![Trial::test("folder is readable", move || Err(Failed::from(message)))];
        }
    };
    let is_trace = |path: &PathBuf| {
        let name = path.to_string_lossy();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        [".req.csv", ".rate.csv", ".hist.csv"].iter().any(|ending| plain.ends_with(ending))
    };
    let mut traces: Vec<PathBuf> = entries.filter(is_trace).collect();
    traces.sort();
    if traces.is_empty() {
        let message = format!("{VARIABLE}={} holds no trace", folder.display());
        return vec![Trial::test("folder holds a trace", move || Err(Failed::from(message)))];
    }
    traces.into_iter().flat_map(of_trace).collect()
}

fn of_trace(path: PathBuf) -> Vec<Trial> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (again, rate) = (path.clone(), path.clone());
    let mut trials = vec![
        Trial::test(format!("{name}: its beginning reads"), move || Ok(read(&path)?)),
        Trial::test(format!("{name}: an hour replays"), move || Ok(run(&again)?)),
    ];
    // Steps of minutes or less whose mix does not change: what the fluid engine can see.
    if name.starts_with("web_portal") || name.starts_with("msft") {
        trials
            .push(Trial::test(format!("{name}: both engines agree on two hours"), move || Ok(agree(&rate)?)));
    }
    trials
}

/// Pod-hours agree within 2 %, of those that learn costs within 4 %, and minutes that are short in their order of magnitude. Tail
/// latency the fluid engine cannot see.
fn agree(path: &Path) -> Result<(), String> {
    let name = path.to_str().ok_or("a name that is not UTF-8")?;
    let window = Window { from: Span::from_secs(7 * 3600), to: Span::from_secs(9 * 3600) };
    let options = TraceOptions { window, ..TraceOptions::default() };
    let scenario =
        Scenario::with_share("70%".parse().map_err(|e: plimsoll::units::UnitError| e.to_string())?);
    let field = |engine| {
        let size = Some(Size::MeanPods(20.0));
        Field::new(name, &options, &scenario, Some(engine), size).map_err(|e| e.to_string())
    };
    let (event, fluid) = (field(Engine::Event)?, field(Engine::Fluid)?);
    // Who learns costs from CPU learns them from other samples in either engine, and in two hours that shows.
    let policies = [
        ("hpa-cpu", 0.02),
        ("cpu-per-request:utilization=95", 0.04),
        ("plimsoll", 0.04),
        ("clairvoyant", 0.02),
    ];
    for (policy, most) in policies {
        let run = |field: &Field| field.run(policy).map_err(|e| e.to_string());
        let (a, b) = (run(&event)?, run(&fluid)?);
        let off = (b.pod_hours / a.pod_hours - 1.0).abs();
        let [x, y] = [a.short_minutes, b.short_minutes].map(|n| n as f64 + 3.0);
        if off > most || x > 4.0 * y || y > 4.0 * x {
            return Err(format!("{policy}: {} and {} pod-hours, {x} and {y}", a.pod_hours, b.pod_hours));
        }
    }
    Ok(())
}

fn open(path: &Path, options: TraceOptions) -> Result<Trace, String> {
    let name = path.to_str().ok_or("a name that is not UTF-8")?;
    Trace::open(name, options).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Result<(), String> {
    let mut arrivals = open(path, TraceOptions::default())?.arrivals().map_err(|e| e.to_string())?;
    let mut last = Span::ZERO;
    for request in arrivals.by_ref().take(1000) {
        let request = request.map_err(|e| e.to_string())?;
        if request.at < last || request.cpu < Span::ZERO || request.io < Span::ZERO {
            return Err(format!("{request:?} after {last}"));
        }
        last = request.at;
    }
    if last == Span::ZERO { Err("no request".into()) } else { Ok(()) }
}

/// The hour that begins with the first request, thinned to a size that takes a moment.
fn run(path: &Path) -> Result<(), String> {
    let first = open(path, TraceOptions::default())?.arrivals().map_err(|e| e.to_string())?.next();
    let from = first.ok_or("no request")?.map_err(|e| e.to_string())?.at;
    let window = Window { from, to: from + Span::from_secs(3600) };
    let options = TraceOptions { window, rate_scale: 0.01, ..TraceOptions::default() };
    let thinned = Profile::of(&open(path, options.clone())?).map_or(1.0, |p| p.requests as f64);
    let rate_scale = (0.01 * SHORT / thinned).min(1.0);
    let trace = open(path, TraceOptions { rate_scale, ..options })?;
    let report = replay(
        &trace,
        &Scenario::with_share("70%".parse().map_err(|e: plimsoll::units::UnitError| e.to_string())?),
        &NAMES.map(str::to_owned),
        |_| (),
    )
    .map_err(|e| e.to_string())?;
    for s in &report.policies {
        if s.arrived != s.completed + s.in_flight_at_end + s.rejected + s.lost || s.pod_hours <= 0.0 {
            return Err(format!("{s:?}"));
        }
    }
    Ok(())
}
