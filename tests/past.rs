//! A real Prometheus that knows two days of a workload's past: the forecast begins with them, and not with nothing. Without one on PATH or in
//! `PLIMSOLL_PROMETHEUS` the test is reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::scale::Checkpoint;
use plimsoll::spec::{ScaleTargetRef, Spec};
use plimsoll::units::{Span, Time};
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::collect::prometheus::Endpoint;
use plimsoll_adapter::collect::{PodCpu, PodNames, QueriedPods, Query, Scraper};
use plimsoll_adapter::engine::{Engine, Object, Server, Source};
use plimsoll_adapter::ops::{Readiness, Telemetry};
use plimsoll_adapter::stop;
use tokio::sync::watch;

#[path = "support/prometheus.rs"]
mod prometheus;

use prometheus::Prometheus;

const MINUTES: i64 = 2 * 1440;

/// Longest time that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = match prometheus::executable() {
        Ok(file) => {
            Trial::test("a forecast begins with what the metrics server knows", move || begins(&file))
        }
        Err(reason) => {
            Trial::test(format!("a server's past (ignored: {reason})"), || Ok(())).with_ignored_flag(true)
        }
    };
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

/// Light and heavy requests per second in the minute that ends at `minute`: more in every other hour.
fn rates(minute: i64) -> (f64, f64) {
    if minute.div_euclid(60) % 2 == 0 { (30.0, 1.0) } else { (10.0, 3.0) }
}

/// Pages of a pod of the past and of one of the present, minute by minute, from `MINUTES` before `now` to a little after it: a server answers
/// for its own present.
fn past(now: i64) -> String {
    let mut text = String::from("# TYPE d histogram\n");
    let (mut light, mut heavy) = (0.0, 0.0);
    let mut ups = String::from("# TYPE up gauge\n");
    let (first, last) = (now / 60 - MINUTES, now / 60 + 10);
    for minute in first..=last {
        let (of_light, of_heavy) = rates(minute);
        light += 60.0 * of_light;
        heavy += 60.0 * of_heavy;
        // Half of the time another pod served, which is no longer there.
        let pod = if minute < now / 60 - MINUTES / 2 {
            "checkout-6c9fd8b7c-x2lqz"
        } else {
            "checkout-7d5f9c6b8-k8wvt"
        };
        let at = minute * 60;
        for (le, count) in [("0.1", light), ("1", light + heavy), ("+Inf", light + heavy)] {
            writeln!(text, "d_bucket{{namespace=\"shop\",pod=\"{pod}\",le=\"{le}\"}} {count} {at}").unwrap();
        }
        writeln!(text, "d_count{{namespace=\"shop\",pod=\"{pod}\"}} {} {at}", light + heavy).unwrap();
        writeln!(text, "d_sum{{namespace=\"shop\",pod=\"{pod}\"}} {} {at}", light + heavy).unwrap();
        writeln!(ups, "up{{namespace=\"shop\",pod=\"{pod}\"}} 1 {at}").unwrap();
    }
    text + &ups + "# EOF\n"
}

#[tokio::main]
async fn begins(executable: &PathBuf) -> Result<(), Failed> {
    let clock = Clock::system();
    let now = (clock.now() - Time::EPOCH).as_millis() / 1000;
    let server = Prometheus::start_with_past(executable, &past(now));
    let spec: Spec = serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        "maxReplicas": 100,
        "load": {
            "histogram": "d",
            "source": {"prometheus": {"ref": "main", "window": "3m", "interval": "1s"}},
            "weights": {"fixed": {"edges": [0.1], "weights": [1, 10]}},
        },
        "target": {"metricsQPSPerPod": "10"},
    }))?;
    let target: ScaleTargetRef = spec.scale_target_ref.clone();
    let names = PodNames::Known(["checkout-7d5f9c6b8-k8wvt".to_owned()].into());
    let pods = QueriedPods {
        names,
        warming: 0,
        updating: false,
        replicas: None,
        cpu: PodCpu::default(),
        target: Some(target),
    };
    let object = Object {
        workload: spec.scale_target_ref.clone(),
        key: ObjectKey::new("shop", "checkout"),
        query: Query::new(&spec.load),
        spec: spec.check()?,
        source: Source::Server {
            pods: watch::channel(pods).1,
            server: Server { endpoint: Endpoint::parse(&server.url())?, window: Span::from_secs(180) },
        },
    };
    let board = Arc::new(Board::default());
    let cell = board.cell(&object.key);
    let scraper = Scraper::new(clock.clone(), Arc::new(Telemetry::new(Arc::clone(&board), clock)));
    let kept = tempfile::tempdir()?;
    let engine = Engine::new(object, scraper, &board, Readiness::default(), Some(kept.path()));
    let (stopper, stop) = stop::channel();
    let running = tokio::spawn(engine.run(stop));

    let of_two_days = async {
        loop {
            let latest = cell.latest().clone();
            if let Some(forecast) = latest.as_ref().and_then(|decision| decision.forecast.as_ref())
                && forecast.history >= Span::from_secs(47 * 3600)
            {
                return forecast.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let forecast = tokio::time::timeout(PATIENCE, of_two_days).await?;
    assert_eq!(forecast.earned, 1.0, "a restart is not the first day");
    // Two hours ago it was as it is now, and an hour ago it was other.
    assert!(forecast.bound.get() >= 39.0, "{forecast}");

    stopper.stop();
    running.await?;
    let file = std::fs::read(kept.path().join("shop_checkout.state.json"))?;
    let kept = serde_json::from_slice::<serde_json::Value>(&file[9..])?;
    let checkpoint: Checkpoint = serde_json::from_value(kept["checkpoint"].clone())?;
    let series = checkpoint.history.unwrap();
    let weights = [1.0, 10.0];
    let (mut known, mut right) = (0, 0);
    for number in series.first()..series.end() {
        let Some(level) = series.levels_from(number, 1, &weights).next().flatten() else { continue };
        let (light, heavy) = rates(number + 1);
        known += 1;
        right += i32::from((level - light - 10.0 * heavy).abs() < 0.5);
    }
    // Rates over three minutes are of both where the load changes, and the pods' change costs a few minutes.
    let share = f64::from(right) / f64::from(known);
    assert!(known > 2800 && share > 0.93, "{known} minutes known, {share} of them right");
    Ok(())
}
