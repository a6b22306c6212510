//! Claims about whole reconciles: several metrics, restarts, zero.

use std::collections::BTreeMap;

use super::*;
use crate::units::{Quantity, Span, Time};

const NOW: Time = Time::from_secs(1_000_000);
const SYNC: Span = Span::from_millis(15_010);

/// Follows external metrics, each of which holds the wanted number of replicas in thousandths.
fn hpa(min: i32, metrics: &[&str], behavior: Option<Behavior>) -> Hpa {
    let metric = |name: &&str| MetricSpec::External {
        metric: (*name).to_owned(),
        selector: None,
        target: ValueTarget::AverageValue(Quantity::from_milli(1000)),
    };
    let metrics = metrics.iter().map(metric).collect();
    let spec = HpaSpec { min_replicas: Some(min), max_replicas: 50, metrics, behavior };
    Hpa::new(spec, Settings::default())
}

/// One reconcile of `size` replicas, with the wish of each metric; a wish of `None` is an outage.
fn reconcile(hpa: &mut Hpa, now: Time, size: i32, wishes: &[(&str, Option<i64>)]) -> Reconciled {
    let answer = |wish: Option<i64>| {
        let replicas = wish.ok_or_else(|| FetchError::new("outage"))?;
        Ok(vec![Quantity::from_milli(replicas * 1000)])
    };
    let external = wishes.iter().map(|(name, wish)| ((*name).to_owned(), answer(*wish))).collect();
    let samples = Samples { external, ..Samples::default() };
    let observed = Observed { spec_replicas: size, status_replicas: size, ..Observed::default() };
    hpa.reconcile(now, &observed, &samples)
}

fn reason(done: &Reconciled, kind: ConditionType) -> Option<Reason> {
    done.conditions.iter().find(|condition| condition.kind == kind).map(|condition| condition.reason)
}

#[test]
fn while_a_metric_fails_the_others_may_raise_the_size_and_not_lower_it() {
    let mut both = hpa(1, &["a", "b"], Some(Behavior::default()));
    both.memory.recommendations = Some(vec![]);
    let up = reconcile(&mut both, NOW, 10, &[("a", Some(14)), ("b", None)]);
    assert_eq!((up.replicas, up.error.is_some()), (14, true));

    let down = reconcile(&mut both, NOW + SYNC, 14, &[("a", None), ("b", Some(5))]);
    assert_eq!((down.replicas, down.rescaled), (14, false));
    assert_eq!(reason(&down, ConditionType::ScalingActive), Some(Reason::FailedGetExternalMetric));
    let text = down.error.unwrap().to_string();
    assert!(text.starts_with("invalid metrics (1 invalid out of 2), first error is: "), "{text}");
}

#[test]
fn nothing_shrinks_for_the_length_of_the_window_after_a_restart() {
    let mut hpa = hpa(1, &["a"], Some(Behavior::default()));
    hpa.memory.recommendations = Some(vec![]);
    assert_eq!(reconcile(&mut hpa, NOW, 10, &[("a", Some(5))]).replicas, 5);

    hpa.memory = Memory::default();
    let mut now = NOW;
    while now < NOW + Span::from_secs(300) {
        let held = reconcile(&mut hpa, now, 10, &[("a", Some(5))]);
        assert_eq!(held.replicas, 10);
        assert_eq!(reason(&held, ConditionType::AbleToScale), Some(Reason::ScaleDownStabilized));
        now += SYNC;
    }
    assert_eq!(reconcile(&mut hpa, now, 10, &[("a", Some(5))]).replicas, 5);
}

#[test]
fn a_workload_that_was_put_to_zero_by_hand_stays_there() {
    let mut hpa = hpa(0, &["a"], Some(Behavior::default()));
    let left_alone = reconcile(&mut hpa, NOW, 0, &[("a", Some(5))]);
    assert_eq!((left_alone.replicas, left_alone.proposals.len()), (0, 0));
    assert_eq!(reason(&left_alone, ConditionType::ScalingActive), Some(Reason::ScalingDisabled));

    hpa.memory.recommendations = Some(vec![]);
    let to_zero = reconcile(&mut hpa, NOW, 3, &[("a", Some(0))]);
    assert_eq!((to_zero.replicas, to_zero.rescaled), (0, true));
    let awake = reconcile(&mut hpa, NOW + SYNC, 0, &[("a", Some(3))]);
    assert_eq!((awake.replicas, awake.rescaled), (3, true));
}

#[test]
fn out_of_bounds_no_metric_is_read() {
    let mut hpa = hpa(2, &["a"], None);
    for (size, bound) in [(1, 2), (60, 50)] {
        let done = reconcile(&mut hpa, NOW, size, &[("a", None)]);
        assert_eq!((done.replicas, &done.error), (bound, &None));
        assert_eq!(reason(&done, ConditionType::ScalingActive), None);
    }
}

#[test]
fn a_tolerance_of_zero_makes_every_step_of_one_replica_count() {
    let rules = ScalingRules { tolerance: Some(Quantity::from_milli(0)), ..ScalingRules::default() };
    let exact = Behavior { scale_up: Some(rules), ..Behavior::default() };
    assert_eq!(reconcile(&mut hpa(1, &["a"], Some(exact)), NOW, 20, &[("a", Some(21))]).replicas, 21);
    let usual = Some(Behavior::default());
    assert_eq!(reconcile(&mut hpa(1, &["a"], usual), NOW, 20, &[("a", Some(21))]).replicas, 20);
}

#[test]
fn a_failed_write_leaves_the_size_and_the_wish_as_they_were() {
    let mut hpa = hpa(1, &["a"], Some(Behavior::default()));
    let samples = Samples {
        external: BTreeMap::from([("a".into(), Ok(vec![Quantity::from_milli(9000)]))]),
        ..Samples::default()
    };
    let update_error = Some("conflict".to_owned());
    let observed = Observed { spec_replicas: 6, status_replicas: 6, update_error, ..Observed::default() };
    let done = hpa.reconcile(NOW, &observed, &samples);
    assert_eq!((done.replicas, done.rescaled, hpa.status.desired_replicas), (6, false, 0));
    assert_eq!(
        done.events.last().map(ToString::to_string).as_deref(),
        Some("FailedRescale: New size: 9; reason: external metric a(nil) above target; error: conflict")
    );
    assert!(hpa.memory.events.up.is_empty(), "a change that was not made is not remembered");
}
