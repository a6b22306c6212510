//! What people say: schedules, a pause, another spec.

use super::*;
use crate::spec::{Spec, schedules::Schedule};

/// From 1 h after the epoch, and every day, for an hour.
fn schedule(min: Option<u32>, max: Option<u32>) -> Vec<Schedule> {
    let spec: Spec = serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        "minReplicas": 1,
        "maxReplicas": 20,
        "load": {"histogram": "d", "weights": {"fixed": {}}},
        "target": {"metricsQPSPerPod": "10"},
        "schedules": [{
            "name": "rush", "cron": "0 1 * * *", "timeZone": "UTC", "duration": "1h", "minReplicas": min, "maxReplicas": max,
        }],
    }))
    .unwrap();
    spec.check().unwrap().schedules
}

#[test]
fn a_schedule_bounds_decisions_while_it_is_in_force_and_is_named() {
    let mut a = settled_by(Checked { schedules: schedule(Some(6), Some(8)), ..spec(Mode::Auto) });
    let mut decide = |seconds, load: f64| {
        a.observe(&sample(seconds, pods(8), &[load / 8.0; 8])).unwrap();
        let decision = a.decide(at(seconds));
        let last = decision.outcome.steps().last().unwrap().kind.to_string();
        let is_limited = decision.outcome.desired().unwrap().is_limited();
        ((decision.min_replicas, decision.max_replicas), replicas(&decision).unwrap().0, last, is_limited)
    };
    // The hold after the start.
    (3000..3585).step_by(15).for_each(|seconds| drop(decide(seconds, 10.0)));
    // Nobody looks ahead here, so no lead time is known.
    for (seconds, load, bounds, replicas, why, is_limited) in [
        (3585, 10.0, (2, 20), 2, "minReplicas", false),
        (3600, 10.0, (6, 8), 6, "minReplicas of the schedule rush", false),
        (3615, 150.0, (6, 8), 8, "maxReplicas of the schedule rush", true),
        (3630, 70.0, (6, 8), 7, "load of 70.0 MetricsQPS at 10 a pod", false),
    ] {
        assert_eq!(decide(seconds, load), (bounds, replicas, why.to_owned(), is_limited), "{seconds}");
    }
}

#[test]
fn a_pause_keeps_what_is_there_against_the_load_and_the_bounds() {
    let mut a = settled(Mode::Auto);
    a.set_paused(at(0), true);
    a.observe(&sample(0, pods(30), &[100.0; 30])).unwrap();
    let decision = a.decide(at(0));
    assert_eq!(replicas(&decision), Ok((30, vec!["Load", "MaxReplicas", "Paused"])));
    assert!(!decision.outcome.desired().unwrap().is_limited());
    a.note_replicas(at(10), 1);
    assert_eq!(replicas(&a.decide(at(10))), Ok((1, vec!["Load", "MaxReplicas", "Paused"])));
    // A person is no reason to guess, and an error holds them too.
    assert!(replicas(&a.decide(at(100))).is_err());
}

#[test]
fn a_paused_object_falls_back_to_nothing() {
    let missing = crate::spec::OnMissingMetrics {
        hold_for: Span::from_secs(60),
        then: crate::spec::Fallback::Exactly(20),
    };
    let mut a = Autoscaler::new(Checked { on_missing_metrics: Some(missing), ..spec(Mode::Auto) });
    a.set_paused(at(0), true);
    a.decide(at(0));
    assert_eq!(replicas(&a.decide(at(60))), Err(NoOpinion::NoSample));
    a.set_paused(at(61), false);
    assert_eq!(replicas(&a.decide(at(61))), Ok((20, vec!["Fallback"])));
}

#[test]
fn a_pause_asks_for_nothing_that_a_hold_could_keep() {
    let mut a = settled(Mode::Auto);
    a.set_paused(at(0), true);
    a.observe(&sample(0, pods(18), &[1.0; 18])).unwrap();
    a.decide(at(0));
    a.set_paused(at(10), false);
    a.observe(&sample(15, Pods { silent: 1, ..pods(4) }, &[1.0; 3])).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Ok((4, vec!["Load", "Silent"])));
}

#[test]
fn what_a_person_scaled_to_is_kept_for_a_while_when_they_let_go() {
    let mut a = settled(Mode::Auto);
    a.set_paused(at(0), true);
    let mut round = |seconds: i64, paused: bool, load: f64| {
        a.set_paused(at(seconds), paused);
        a.observe(&sample(seconds, pods(18), &[load; 18])).unwrap();
        replicas(&a.decide(at(seconds)))
    };
    assert_eq!(round(15, true, 1.0), Ok((18, vec!["Load", "Paused"])));
    assert_eq!(round(30, false, 1.0), Ok((18, vec!["Load", "AfterPause"])));
    assert_eq!(round(45, false, 10.5), Ok((19, vec!["Load"])), "more is never held back");
    for seconds in (60..330).step_by(15) {
        let held = round(seconds, false, 1.0).unwrap();
        assert!(held.0 >= 18 && held.1.contains(&"AfterPause"), "{seconds}: {held:?}");
    }
    assert_eq!(round(330, false, 1.0), Ok((2, vec!["Load"])));
}

/// Another spec than that of before, and whether what was learned still counts.
fn respecced(change: impl FnOnce(&mut Checked)) -> (Autoscaler, bool) {
    let mut a = settled(Mode::Auto);
    a.note_replicas(at(0), 7);
    a.set_paused(at(0), true);
    let mut spec = a.spec().clone();
    change(&mut spec);
    let counts = a.respec(spec);
    (a, counts)
}

#[test]
fn another_spec_forgets_only_what_was_measured_otherwise() {
    let (a, counts) = respecced(|spec| spec.max_replicas = 9);
    assert!(counts && a.newest.is_some() && a.known_until.is_some());
    let (a, counts) = respecced(|spec| spec.interval = Span::from_secs(30));
    assert!(counts && a.newest.is_none() && a.known_until.is_none(), "as after a restart");
    assert_eq!((a.current, a.is_paused), (Some((7, at(0))), true), "nobody has to say that again");
    let (_, counts) = respecced(|spec| {
        let classes = Classes::by_duration(Edges::new(vec![]).unwrap());
        spec.weighing = Weighing::Given(Weights::new(classes, &[2.0]).unwrap());
    });
    assert!(!counts, "history is in other weights");
}
