//! A rollout: nothing is lowered while it lasts, and its surge raises nothing.

use super::*;

/// What ten replicas show in a rollout, with three pods more that have not told yet.
fn surging(seconds: i64, rate: f64) -> Sample {
    sample(seconds, Pods { ready: 10, warming: 3, updating: true, ..pods(10) }, &[rate; 10])
}

#[test]
fn nothing_is_lowered_during_a_rollout_and_the_surge_raises_nothing() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, pods(10), &[10.0; 10])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((10, vec!["Load"])));
    a.observe(&surging(15, 4.0)).unwrap();
    let decision = a.decide(at(15));
    assert_eq!(replicas(&decision), Ok((10, vec!["Load", "RollingOut"])));
    let until = at(615);
    assert_eq!(decision.outcome.steps()[1].kind, StepKind::RollingOut { until });
    assert_eq!(
        decision.outcome.steps()[1].kind.to_string(),
        "a rollout is under way, which counts until 1970-01-01T00:10:15Z"
    );
    // More of them take requests by now, and each a part of the same load.
    for round in 2..40 {
        let ready = Pods { ready: 13, warming: 0, updating: true, ..pods(10) };
        a.observe(&sample(15 * round, ready, &[4.0 * 10.0 / 13.0; 13])).unwrap();
        assert_eq!(replicas(&a.decide(at(15 * round))), Ok((10, vec!["Load", "RollingOut"])), "{round}");
    }
    a.observe(&sample(600, pods(10), &[4.0; 10])).unwrap();
    assert_eq!(replicas(&a.decide(at(600))), Ok((4, vec!["Load"])), "it is over");
}

#[test]
fn a_load_that_rises_is_followed_during_a_rollout() {
    let mut a = settled(Mode::Auto);
    a.observe(&surging(0, 15.0)).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((15, vec!["Load"])));
    // What was asked for counts, though it is not there yet.
    a.observe(&surging(15, 4.0)).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Ok((15, vec!["Load", "RollingOut"])));
}

#[test]
fn a_stuck_rollout_holds_for_ten_minutes_from_its_beginning() {
    let mut a = settled(Mode::Auto);
    for round in 0..40 {
        a.observe(&surging(15 * round, 4.0)).unwrap();
        assert_eq!(replicas(&a.decide(at(15 * round))), Ok((10, vec!["Load", "RollingOut"])), "{round}");
    }
    a.observe(&surging(600, 4.0)).unwrap();
    assert_eq!(replicas(&a.decide(at(600))), Ok((4, vec!["Load"])));
    // The next one has ten minutes of its own.
    a.observe(&sample(615, pods(10), &[4.0; 10])).unwrap();
    a.observe(&surging(630, 4.0)).unwrap();
    assert_eq!(replicas(&a.decide(at(630))), Ok((10, vec!["Load", "RollingOut"])));
}
