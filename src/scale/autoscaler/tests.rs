use super::*;
use crate::load::{
    Classes, Edges, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA, Sample, Weighing, Weights,
};
use crate::spec::Mode;
use crate::units::Rate;

mod missing;
mod people;
mod rollout;
mod tolerance;

fn at(seconds: i64) -> Time {
    Time::from_secs(seconds)
}

/// One that has known its load for so long that the hold after the start is over.
fn settled(mode: Mode) -> Autoscaler {
    settled_by(spec(mode))
}

fn settled_by(spec: Checked) -> Autoscaler {
    let mut autoscaler = Autoscaler::new(spec);
    for round in -25..0 {
        autoscaler.observe(&sample(round * 15, pods(2), &[1.0; 2])).unwrap();
        autoscaler.decide(at(round * 15));
    }
    autoscaler
}

fn autoscaler(mode: Mode) -> Autoscaler {
    Autoscaler::new(spec(mode))
}

fn spec(mode: Mode) -> Checked {
    Checked {
        min_replicas: 2,
        max_replicas: 20,
        schedules: vec![],
        mode,
        on_missing_metrics: None,
        interval: Span::from_secs(15),
        weighing: Weighing::Given(
            Weights::new(Classes::by_duration(Edges::new(vec![]).unwrap()), &[1.0]).unwrap(),
        ),
        target: CapacityTarget::Given(MetricsQps::new(10.0).unwrap()),
        forecast: None,
    }
}

/// `rates` of pods that told; all others are as `pods` says.
fn sample(seconds: i64, pods: Pods, rates: &[f64]) -> Sample {
    let group = |rate: &f64| Group {
        histograms: vec![
            HistogramRates::new(Labels::new(), vec![], vec![Rate::new(*rate).unwrap()], None).unwrap(),
        ],
        ..Group::new(1, Span::from_secs(15))
    };
    let groups = rates.iter().map(group).collect();
    Sample { schema: SAMPLE_SCHEMA, at: at(seconds), pods, offered: None, groups }
}

fn pods(replicas: u32) -> Pods {
    Pods { replicas, ready: replicas, warming: 0, silent: 0, updating: false }
}

fn replicas(decision: &Decision) -> Result<(u32, Vec<&'static str>), NoOpinion> {
    match &decision.outcome {
        Outcome::Desired(d) => Ok((d.replicas, d.steps.iter().map(|s| s.kind.name()).collect())),
        Outcome::Fallback(f) => Ok((f.replicas, f.steps.iter().map(|s| s.kind.name()).collect())),
        Outcome::NoOpinion(reason) => Err(reason.clone()),
    }
}

#[test]
fn replicas_follow_the_load_and_say_why() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, pods(4), &[10.0, 10.0, 10.0, 10.0])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((4, vec!["Load"])));
    a.observe(&sample(15, pods(4), &[20.0, 20.0, 20.0, 11.0])).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Ok((8, vec!["Load"])));
    a.observe(&sample(30, pods(8), &[1.0; 8])).unwrap();
    assert_eq!(replicas(&a.decide(at(30))), Ok((2, vec!["Load", "MinReplicas"])));
    a.observe(&sample(45, pods(8), &[100.0; 8])).unwrap();
    assert_eq!(replicas(&a.decide(at(45))), Ok((20, vec!["Load", "MaxReplicas"])));
}

#[test]
fn a_full_pod_needs_no_second_one() {
    assert_eq!(replicas_for(MetricsQps::saturating(0.1 + 0.2), MetricsQps::saturating(0.1)), 3);
    assert_eq!(replicas_for(MetricsQps::saturating(30.1), MetricsQps::saturating(10.0)), 4);
    assert_eq!(replicas_for(MetricsQps::saturating(1e15), MetricsQps::saturating(0.001)), 2_147_483_647);
}

#[test]
fn scale_up_only_never_lowers() {
    let mut a = settled(Mode::ScaleUpOnly);
    a.observe(&sample(0, pods(6), &[1.0; 6])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((6, vec!["Load", "ScaleUpOnly"])));
}

#[test]
fn pods_that_have_not_told_yet_hold_the_replicas() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, pods(6), &[5.0; 4])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((6, vec!["Load", "WarmingUp"])));
    let mut without_series = sample(15, pods(6), &[5.0; 6]);
    without_series.groups[0].histograms.clear();
    a.observe(&without_series).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Ok((6, vec!["Load", "WarmingUp"])));
}

#[test]
fn a_silent_pod_holds_the_replicas_and_more_than_half_leave_no_opinion() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, Pods { silent: 2, ..pods(4) }, &[5.0; 2])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((4, vec!["Load", "Silent"])));
    a.observe(&sample(15, Pods { silent: 3, ..pods(4) }, &[5.0])).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Err(NoOpinion::Silent { silent: 3, ready: 4 }));
}

#[test]
fn congestion_holds_the_replicas() {
    let mut a = settled(Mode::Auto);
    let mut congested = sample(0, pods(9), &[2.0; 9]);
    congested.groups[0].in_flight = Some(InFlight { now: 300.0, change: 200.0 });
    a.observe(&congested).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((9, vec!["Load", "Congested"])));
}

#[test]
fn what_is_not_known_is_no_opinion() {
    let mut a = autoscaler(Mode::Auto);
    assert_eq!(replicas(&a.decide(at(0))), Err(NoOpinion::NoSample));
    a.observe(&sample(0, pods(3), &[])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Err(NoOpinion::NoRate));
    a.observe(&sample(15, Pods { warming: 3, ready: 0, ..pods(3) }, &[])).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Err(NoOpinion::NoReadyPods));
    let mut other_names = sample(20, pods(3), &[9.0; 3]);
    other_names.groups.iter_mut().for_each(|g| g.histograms.clear());
    a.observe(&other_names).unwrap();
    assert_eq!(replicas(&a.decide(at(20))), Err(NoOpinion::NoSeries));
    a.observe(&sample(30, pods(3), &[9.0; 3])).unwrap();
    assert!(replicas(&a.decide(at(75))).is_ok());
    let (age, limit) = (Span::from_secs(46), Span::from_secs(45));
    assert_eq!(replicas(&a.decide(at(76))), Err(NoOpinion::Stale { age, limit }));
}

#[test]
fn after_a_long_outage_nothing_is_lowered_for_as_long_as_the_hpa_remembers() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, pods(8), &[10.0; 8])).unwrap();
    a.decide(at(0));
    a.decide(at(60)); // The outage is noticed.
    a.observe(&sample(360, pods(8), &[1.0; 8])).unwrap();
    let hold = Ok((8, vec!["Load", "AfterOutage"]));
    assert_eq!(replicas(&a.decide(at(360))), hold);
    // It begins anew if the load is lost again meanwhile, for long again.
    a.decide(at(420));
    a.observe(&sample(710, pods(8), &[1.0; 8])).unwrap();
    assert_eq!(replicas(&a.decide(at(710))), hold);
    a.observe(&sample(1000, pods(8), &[1.0; 8])).unwrap();
    assert_eq!(replicas(&a.decide(at(1009))), hold);
    assert_eq!(replicas(&a.decide(at(1010))), Ok((2, vec!["Load", "MinReplicas"])));
}

#[test]
fn an_outage_that_nobody_asked_about_is_one() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, pods(8), &[10.0; 8])).unwrap();
    a.decide(at(0));
    a.observe(&sample(900, pods(8), &[1.0; 8])).unwrap();
    assert_eq!(replicas(&a.decide(at(900))), Ok((8, vec!["Load", "AfterOutage"])));
}

#[test]
fn a_start_ends_an_outage_of_unknown_length() {
    let mut a = autoscaler(Mode::Auto);
    a.observe(&sample(0, pods(8), &[1.0; 8])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((8, vec!["Load", "AfterOutage"])));
}

#[test]
fn a_short_outage_needs_no_hold() {
    let mut a = settled(Mode::Auto);
    a.decide(at(60));
    a.observe(&sample(290, pods(8), &[1.0; 8])).unwrap();
    assert_eq!(replicas(&a.decide(at(290))), Ok((2, vec!["Load", "MinReplicas"])));
}

/// What was asked for may not be there yet: the HPA goes up in steps.
#[test]
fn what_may_not_be_lowered_is_what_was_asked_for() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, pods(2), &[100.0, 100.0])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((20, vec!["Load"])));
    a.observe(&sample(15, Pods { silent: 1, ..pods(2) }, &[100.0])).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Ok((20, vec!["Load", "Silent"])));
}

#[test]
fn what_was_asked_for_long_ago_is_no_floor() {
    let mut a = settled(Mode::Auto);
    a.observe(&sample(0, pods(2), &[100.0, 100.0])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((20, vec!["Load"])));
    for round in 1..=20 {
        a.observe(&sample(round * 15, Pods { silent: 1, ..pods(3) }, &[10.0; 2])).unwrap();
        assert_eq!(replicas(&a.decide(at(round * 15))), Ok((20, vec!["Load", "Silent"])));
    }
    a.observe(&sample(315, Pods { silent: 1, ..pods(3) }, &[10.0; 2])).unwrap();
    assert_eq!(replicas(&a.decide(at(315))), Ok((3, vec!["Load", "Silent"])));
}

#[test]
fn requests_that_never_complete_are_no_load_of_zero() {
    let mut a = settled(Mode::Auto);
    let mut stuck = sample(0, pods(2), &[0.0, 0.0]);
    stuck.groups[0].in_flight = Some(InFlight { now: 300.0, change: 0.0 });
    a.observe(&stuck).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Err(NoOpinion::NothingCompletes { in_flight: 300.0 }));
}

#[test]
fn samples_must_be_new_and_of_a_known_schema() {
    let mut a = autoscaler(Mode::Auto);
    a.observe(&sample(15, pods(1), &[1.0])).unwrap();
    let (last, given) = (at(15), at(15));
    assert_eq!(a.observe(&sample(15, pods(1), &[1.0])), Err(ObserveError::NotNewer { last, given }));
    assert_eq!(a.observe(&Sample { schema: 9, ..sample(30, pods(1), &[]) }), Err(ObserveError::Schema(9)));
}
