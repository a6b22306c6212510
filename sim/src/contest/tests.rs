//! Claims about contests: the engines agree where both run, and a frontier is what it says.

use super::frontier::{Frontier, Point, Shortage};
use super::*;
use crate::fluid::{Scores, Tally};

/// Three hours that swell and ebb with some noise, a row a minute, as a file.
fn hours() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.rate.csv");
    let load = |i: i64| {
        let swell = (i as f64 / 60.0 * std::f64::consts::TAU).sin();
        6000.0 + 3000.0 * swell + ((i * 7919) % 601) as f64 - 300.0
    };
    let rows = (0..180).map(|i| format!("{},{}\n", 60 * i, load(i).round()));
    std::fs::write(&path, format!("timestamp_s,requests\n{}", rows.collect::<String>())).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn scenario() -> Scenario {
    Scenario::with_share("70%".parse().unwrap())
}

/// What the fluid engine cannot see (each pod and each request by itself) moves pod-hours little. Tail latency it does not see at all, and what goes by counts of
/// few heavy requests (`hpa-metricsqps` with its tolerance) or by requests inside (`knative-kpa`) is further off: 4 and 30 %. A few percent is also what it costs when the costs that a policy learns become known
/// some minutes earlier or later.
#[test]
fn both_engines_pay_for_the_same_pods_and_are_short_alike() {
    let (_folder, path) = hours();
    let field = |engine| {
        let options = TraceOptions { window: "0s..100m".parse().unwrap(), ..TraceOptions::default() };
        Field::new(&path, &options, &scenario(), Some(engine), Some(Size::MeanPods(20.0))).unwrap()
    };
    let (event, fluid) = (field(Engine::Event), field(Engine::Fluid));
    for policy in ["hpa-cpu", "mean-recent:utilization=90", "plimsoll", "clairvoyant"] {
        let (a, b) = (event.run(policy).unwrap(), fluid.run(policy).unwrap());
        let off = b.pod_hours / a.pod_hours - 1.0;
        assert!(off.abs() < 0.02, "{policy}: {} and {} pod-hours", a.pod_hours, b.pod_hours);
        let short = [a.short_minutes, b.short_minutes].map(|n| n as f64 + 3.0);
        assert!(short[0] < 3.0 * short[1] && short[1] < 3.0 * short[0], "{policy}: {a:?} {b:?}");
        assert!(a.latency_p99_s.is_some() && b.latency_p99_s.is_none());
    }
}

#[test]
fn the_engine_is_fluid_for_days_of_rates_alone() {
    let (folder, path) = hours();
    let engine = |path: &str| {
        Field::new(path, &TraceOptions::default(), &scenario(), None, None).map(|field| field.engine())
    };
    assert_eq!(engine(&path).unwrap(), Engine::Event);
    let long = folder.path().join("long.rate.csv");
    let rows: String = (0..3 * 1440).map(|i| format!("{},{}\n", 60 * i, 50 + i % 7)).collect();
    std::fs::write(&long, format!("timestamp_s,requests\n{rows}")).unwrap();
    assert_eq!(engine(long.to_str().unwrap()).unwrap(), Engine::Fluid);
}

#[test]
fn a_sweep_sets_the_first_knob_that_is_free() {
    let (_folder, path) = hours();
    let field = Field::new(&path, &TraceOptions::default(), &scenario(), Some(Engine::Fluid), None).unwrap();
    let swept = |policy: &str| {
        let (knob, all) = settings(policy, &field, 3)?;
        Some((knob, all.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")))
    };
    for (policy, knob, all) in [
        ("hpa-cpu", "utilization", "hpa-cpu:utilization=20 hpa-cpu:utilization=45 hpa-cpu:utilization=100"),
        (
            "plimsoll",
            "objective",
            "plimsoll:utilization=100,objective=0.01 plimsoll:utilization=100,objective=0.4472 \
             plimsoll:utilization=100,objective=20",
        ),
        (
            "plimsoll:objective=1",
            "utilization",
            "plimsoll:objective=1,utilization=20 plimsoll:objective=1,utilization=45 plimsoll:objective=1,utilization=100",
        ),
    ] {
        assert_eq!(swept(policy), Some((knob, all.to_owned())));
    }
    assert_eq!(swept("hpa-cpu:utilization=50"), None);
    for policy in crate::policy::NAMES {
        for (_, text) in settings(policy, &field, 5).unwrap().1 {
            assert!(field.check(&text).is_ok(), "{text}");
        }
    }
}

fn frontier(points: &[(f64, f64, f64)]) -> Frontier {
    let (_folder, path) = hours();
    let field = Field::new(&path, &TraceOptions::default(), &scenario(), Some(Engine::Fluid), None).unwrap();
    let entry = field.run("fixed").unwrap();
    let nothing = Tally::default().scores();
    let point = |(knob_value, short_time_ratio, pods_mean): &(f64, f64, f64)| Point {
        knob_value: *knob_value,
        entry: Entry {
            scores: Scores { short_time_ratio: *short_time_ratio, pods_mean: *pods_mean, ..nothing },
            ..entry.clone()
        },
    };
    let points = points.iter().map(point).collect();
    Frontier { trace: path, policy: "fixed".to_owned(), knob: Some("replicas"), points }
}

#[test]
fn pods_at_equal_shortage_are_interpolated_along_the_running_minimum() {
    // The second point costs more than the first and is short more often: nobody would set it.
    let curve = frontier(&[(1.0, 0.01, 40.0), (2.0, 0.02, 50.0), (4.0, 0.04, 20.0)]);
    let cost = |at| {
        let cost = curve.cost_at(Shortage::ShortTime, at)?;
        Some((cost.pods, cost.knob_value, cost.is_cheapest))
    };
    assert_eq!(cost(0.005), None, "it never reaches that");
    assert_eq!(cost(0.01), Some((40.0, 1.0, false)));
    assert_eq!(cost(0.04), Some((20.0, 4.0, false)));
    assert_eq!(cost(0.5), Some((20.0, 4.0, true)));
    let (pods, ..) = cost(0.025).unwrap();
    assert!((pods - 30.0).abs() < 1e-9, "{pods}");
    assert_eq!(curve.cost_at(Shortage::FailedRequests, 0.5), None, "the fluid engine sees none");
}
