//! Proof before the switch is thrown: an object that only observes says what each way of scaling would have made of its past.

use std::fmt::Write;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use libtest_mimic::{Failed, Trial};
use plimsoll::units::Time;
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::config::Servers;
use serde_json::json;

use crate::objects::{NAME, SHOP, autoscaler};
use crate::prometheus::{self, Prometheus};
use crate::scene::{IN_THE_WORLD, Scene, play_at};

/// Minutes of the past that the metrics server knows.
const MINUTES: i64 = 2 * 1440;

/// The trial, which takes a metrics server beside the control plane.
pub(crate) fn trial(plane: &Path) -> Trial {
    let name = "an object that observes tells what each way would have made of its past";
    let plane = plane.to_owned();
    match prometheus::executable() {
        Ok(server) => Trial::test(name, move || proven(&plane, &server)),
        Err(reason) => Trial::test(format!("{name} (ignored: {reason})"), || Ok(())).with_ignored_flag(true),
    }
}

/// Requests per second of all pods together: more in every other hour.
fn rate(minute: i64) -> f64 {
    if minute.div_euclid(60) % 2 == 0 { 55.0 } else { 25.0 }
}

/// Two days of pods that are no more and of these that are there, until ten minutes from now: a server answers for its own present.
fn past(now: i64, pods: &[String]) -> String {
    let mut text = String::from("# TYPE d histogram\n");
    let mut counts = vec![0.0; pods.len()];
    for minute in now / 60 - MINUTES..=now / 60 + 10 {
        for (pod, count) in pods.iter().zip(&mut counts) {
            *count += 60.0 * rate(minute) / pods.len() as f64;
            // A day ago other pods served.
            let pod = if minute < now / 60 - 1440 {
                format!("checkout-6c9fd8b7c-{}", &pod[pod.len() - 5..])
            } else {
                pod.clone()
            };
            let at = minute * 60;
            for le in ["0.1", "+Inf"] {
                let labels = format!("namespace=\"{SHOP}\",pod=\"{pod}\",le=\"{le}\"");
                writeln!(text, "d_bucket{{{labels}}} {count} {at}").unwrap();
            }
        }
    }
    // The format has all samples of a series together.
    let mut lines: Vec<&str> = text.lines().skip(1).collect();
    lines.sort_by_key(|line| line.split(' ').next());
    format!("# TYPE d histogram\n{}\n# EOF\n", lines.join("\n"))
}

fn proven(plane: &Path, server: &Path) -> Result<(), Failed> {
    play_at(IN_THE_WORLD, plane, 4, 0.0, async |scene: &mut Scene| {
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SHOP);
        let names = async || {
            let pods = pods.list(&ListParams::default().labels(&format!("app={NAME}"))).await.unwrap().items;
            let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
            (names.len() == 4).then_some(names)
        };
        let names = scene.until("four pods", names).await;
        let now = (Clock::system().now() - Time::EPOCH).as_millis() / 1000;
        let past = past(now, &names);
        let server = server.to_path_buf();
        let started = tokio::task::spawn_blocking(move || Prometheus::start_with_past(&server, &past));
        let server = started.await.unwrap();
        let main = format!("main={}", server.url());
        let mut options = scene.options();
        options.servers = Servers::parse([main.as_str()]).unwrap();
        scene.start_adapter_with(options);
        let load = json!({
            "histogram": "d",
            "source": {"prometheus": {"ref": "main", "window": "3m", "interval": "1s"}},
            "weights": {"fixed": {"edges": [], "weights": [1]}},
        });
        scene.apply(&autoscaler(NAME, json!({"mode": "Observe", "load": load}))).await;
        let backtest = scene.until("a backtest", async || scene.status(NAME).await.backtest).await;
        let hours = (backtest.to.0.as_second() - backtest.from.0.as_second()) as f64 / 3600.0;
        assert!((23.0..=25.0).contains(&hours), "{backtest:?}");
        let way = |name: &str| backtest.ways.iter().find(|way| way.way == name).unwrap();
        // Every other hour takes six pods, and there are four.
        let fixed = way("Fixed");
        assert!(fixed.most_replicas == 4 && (690..=750).contains(&fixed.short_minutes), "{backtest:?}");
        assert_eq!(way("Clairvoyant").short_minutes, 0, "{backtest:?}");
        assert!(way("Plimsoll").short_minutes < fixed.short_minutes / 4, "{backtest:?}");
        assert_eq!(scene.replicas(NAME).await, 4, "it only observes");
        assert!(scene.hpas().await.is_empty());
    })
}
