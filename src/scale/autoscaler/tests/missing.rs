//! What the user has said for a load that is not known.

use super::*;
use crate::scale::Fallback;
use crate::spec::{Fallback as Then, OnMissingMetrics};

const HOLD: i64 = 600;

fn told(then: Then) -> Checked {
    let missing = OnMissingMetrics { hold_for: Span::from_secs(HOLD), then };
    Checked { on_missing_metrics: Some(missing), ..spec(Mode::Auto) }
}

fn fallback(decision: &Decision) -> &Fallback {
    match &decision.outcome {
        Outcome::Fallback(fallback) => fallback,
        other => panic!("no fallback: {other:?}"),
    }
}

fn is_held(decision: &Decision) -> bool {
    matches!(decision.outcome, Outcome::NoOpinion(_))
}

/// One that knew its load until 45 s, when there were eight replicas.
fn known_once(spec: Checked) -> Autoscaler {
    let mut a = settled_by(spec);
    a.observe(&sample(0, pods(8), &[10.0; 8])).unwrap();
    a.decide(at(0));
    a
}

#[test]
fn an_unknown_load_holds_first_and_then_keeps_at_least_what_is_there() {
    let mut a = known_once(told(Then::AtLeast(5)));
    assert!(is_held(&a.decide(at(46))));
    assert!(is_held(&a.decide(at(45 + HOLD - 1))));
    let decision = a.decide(at(45 + HOLD));
    let stale = NoOpinion::Stale { age: Span::from_secs(45 + HOLD), limit: Span::from_secs(45) };
    assert_eq!(
        fallback(&decision),
        &Fallback {
            replicas: 8,
            why: stale,
            since: at(45),
            steps: vec![Step { replicas: 8, kind: StepKind::Fallback { then: Then::AtLeast(5) } }],
            valid_until: at(45 + HOLD + 45),
        }
    );
    assert_eq!((decision.min_replicas, decision.max_replicas), (2, 20));
    a.note_replicas(at(700), 3);
    assert_eq!(fallback(&a.decide(at(700))).replicas, 5);
    a.note_replicas(at(715), 12);
    assert_eq!(fallback(&a.decide(at(715))).replicas, 12);
    a.note_replicas(at(714), 1);
    assert_eq!(fallback(&a.decide(at(716))).replicas, 12, "what is older does not count");
}

#[test]
fn exactly_is_what_it_says_within_the_bounds() {
    let mut a = known_once(told(Then::Exactly(5)));
    assert_eq!(replicas(&a.decide(at(45 + HOLD))), Ok((5, vec!["Fallback"])));
    let mut a = known_once(told(Then::Exactly(1)));
    assert_eq!(replicas(&a.decide(at(45 + HOLD))), Ok((2, vec!["Fallback", "MinReplicas"])));
    let mut a = known_once(Checked { mode: Mode::ScaleUpOnly, ..told(Then::Exactly(5)) });
    assert_eq!(replicas(&a.decide(at(45 + HOLD))), Ok((8, vec!["Fallback", "ScaleUpOnly"])));
}

#[test]
fn where_nothing_was_ever_known_it_counts_from_the_first_question_and_guesses_nothing() {
    let mut a = Autoscaler::new(told(Then::Exactly(5)));
    assert!(is_held(&a.decide(at(100))));
    assert!(is_held(&a.decide(at(100 + HOLD - 1))));
    let decision = a.decide(at(100 + HOLD));
    assert_eq!((fallback(&decision).replicas, fallback(&decision).since), (5, at(100)));
    assert_eq!(decision.evidence, None);
    let mut a = Autoscaler::new(told(Then::AtLeast(5)));
    a.decide(at(100));
    assert_eq!(replicas(&a.decide(at(9000))), Err(NoOpinion::NoSample), "nobody knows how many there are");
    a.note_replicas(at(9001), 8);
    assert_eq!(fallback(&a.decide(at(9001))).replicas, 8);
}

/// The load is there to be seen. What a pod carries is not known yet, and that is no reason to lower what serves it.
#[test]
fn the_first_lessons_are_no_outage() {
    let lessons = |then| {
        let target = CapacityTarget::CpuUtilization(crate::units::Percent::new(70.0).unwrap());
        let mut a = Autoscaler::new(Checked { target, ..told(then) });
        for round in 0..=HOLD / 15 {
            a.observe(&sample(15 * round, pods(8), &[10.0; 8])).unwrap();
            a.decide(at(15 * round));
        }
        a.decide(at(HOLD + 1))
    };
    assert_eq!(replicas(&lessons(Then::Exactly(5))), Err(NoOpinion::NoCpuRequest));
    assert_eq!(fallback(&lessons(Then::AtLeast(5))).replicas, 8);
    assert_eq!(fallback(&lessons(Then::AtLeast(12))).replicas, 12);
}

#[test]
fn nothing_is_said_unless_the_user_has_said_it() {
    let mut a = known_once(spec(Mode::Auto));
    for round in 1..1000 {
        a.note_replicas(at(60 * round), 8);
        assert!(is_held(&a.decide(at(60 * round))));
    }
}

/// A source that does not know the scale takes the pods that answer for it.
#[test]
fn a_sample_without_a_load_is_not_believed_that_there_are_fewer() {
    let mut a = known_once(told(Then::AtLeast(5)));
    for round in 1..60 {
        a.observe(&sample(15 * round, Pods { silent: 3, ..pods(4) }, &[])).unwrap();
        a.decide(at(15 * round));
    }
    assert_eq!(fallback(&a.decide(at(900))).replicas, 8);
    a.observe(&sample(900, Pods { silent: 6, ..pods(9) }, &[])).unwrap();
    assert_eq!(fallback(&a.decide(at(900))).replicas, 9);
}

#[test]
fn when_the_load_comes_back_what_was_asked_for_meanwhile_is_kept_for_a_while() {
    let mut a = known_once(told(Then::AtLeast(12)));
    a.decide(at(46));
    assert_eq!(fallback(&a.decide(at(650))).replicas, 12);
    // The HPA has set two of the four more so far.
    a.observe(&sample(665, pods(10), &[1.0; 10])).unwrap();
    assert_eq!(replicas(&a.decide(at(665))), Ok((12, vec!["Load", "AfterOutage"])));
    a.observe(&sample(960, pods(12), &[1.0; 12])).unwrap();
    assert_eq!(replicas(&a.decide(at(960))), Ok((12, vec!["Load", "AfterOutage"])));
    a.observe(&sample(966, pods(12), &[1.0; 12])).unwrap();
    assert_eq!(replicas(&a.decide(at(966))), Ok((2, vec!["Load"])));
}
