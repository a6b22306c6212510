//! From samples to replicas, ahead of the load: what a forecast makes of decisions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/loads.rs"]
mod loads;

use loads::noise;
use plimsoll::load::{Group, HistogramRates, Labels, Pods, SAMPLE_SCHEMA, Sample};
use plimsoll::scale::{Autoscaler, Decision, Desired, Outcome, ShortTime, StepKind};
use plimsoll::spec::{Checked, Spec};
use plimsoll::units::{MetricsQps, Rate, Span, Time};
use serde_json::{Value, json};

const INTERVAL: i64 = 15;
const DAY: i64 = 86_400;
/// A Monday's midnight.
const START: i64 = 1_767_571_200;
/// The load jumps at nine and falls at five; ten of it a pod.
const OPENS: i64 = 9 * 3600;
const CLOSES: i64 = 17 * 3600;
/// A pod takes so long to come.
const LEAD: i64 = 180;
const BUSY: f64 = 200.0;
const IDLE: f64 = 60.0;

fn autoscaler(mode: &str, forecast: Value) -> Autoscaler {
    Autoscaler::new(checked(json!({"mode": mode, "forecast": forecast})))
}

/// A spec with some fields as they are given.
fn checked(more: Value) -> Checked {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        "minReplicas": 1,
        "maxReplicas": 1000,
        "load": {"histogram": "http_request_duration_seconds", "weights": {"fixed": {"edges": [0.1], "weights": [0.5, 2.0]}}},
        "target": {"metricsQPSPerPod": "10"},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value::<Spec>(spec).unwrap().check().unwrap()
}

/// What is wished by default but for the lead time, and more.
fn wish(mut more: Value) -> Value {
    more["leadTime"] = format!("{LEAD}s").into();
    more
}

/// What 40 pods show at `seconds` after the start: half of the load by light requests, half by heavy ones.
fn sample(seconds: i64, load: f64) -> Sample {
    let pods = Pods { replicas: 40, ready: 40, warming: 0, silent: 0, updating: false };
    let rates = [load, load / 4.0].map(|rate| Rate::new(rate).unwrap()).to_vec();
    let mut group = Group::new(40, Span::from_secs(INTERVAL));
    group.histograms = vec![HistogramRates::new(Labels::new(), vec![0.1], rates, None).unwrap()];
    Sample {
        schema: SAMPLE_SCHEMA,
        at: Time::from_secs(START + seconds),
        pods,
        offered: None,
        groups: vec![group],
    }
}

fn level(seconds: i64) -> f64 {
    if (OPENS..CLOSES).contains(&seconds.rem_euclid(DAY)) { BUSY } else { IDLE }
}

/// The decisions of an autoscaler that sees a sample every 15 s, from `from` until `until`.
fn decisions(autoscaler: &mut Autoscaler, from: i64, until: i64) -> Vec<Decision> {
    let mut noise = noise(START as u64 ^ from as u64);
    let at = (1..=(until - from) / INTERVAL).map(|round| from + round * INTERVAL);
    at.map(|seconds| {
        let load = (level(seconds - INTERVAL) + 3.0 * noise()).max(0.0);
        autoscaler.observe(&sample(seconds, load)).unwrap();
        autoscaler.decide(Time::from_secs(START + seconds))
    })
    .collect()
}

fn desired(decision: &Decision) -> &Desired {
    match &decision.outcome {
        Outcome::Desired(desired) => desired,
        other => panic!("no load: {other:?}"),
    }
}

/// When the `i`th of some decisions was made, in seconds after the start.
fn made(decision: &Decision) -> i64 {
    decision.at.as_nanos() / 1_000_000_000 - START
}

/// The decision made so many seconds after the start.
fn at(decisions: &[Decision], seconds: i64) -> &Decision {
    decisions.iter().find(|decision| made(decision) == seconds).unwrap()
}

/// One morning of such a jump is not enough to see it coming: from the second repetition on it is seen.
#[test]
fn replicas_rise_before_the_load_does_in_mode_auto_alone() {
    let mut auto = autoscaler("Auto", wish(json!({})));
    let mut reactive = autoscaler("Reactive", wish(json!({})));
    let (auto, reactive) = (decisions(&mut auto, 0, 3 * DAY), decisions(&mut reactive, 0, 3 * DAY));
    let lead_before = 2 * DAY + OPENS - LEAD;
    for seconds in (lead_before..=2 * DAY + OPENS).step_by(INTERVAL as usize) {
        let (decision, follower) = (desired(at(&auto, seconds)), desired(at(&reactive, seconds)));
        assert!(decision.replicas >= 20 && decision.reactive <= 8, "{seconds}: {decision:?}");
        let last = &decision.steps.last().unwrap().kind;
        assert!(matches!(last, StepKind::Forecast { horizon, .. } if *horizon == Span::from_secs(300)));
        assert_eq!(follower.proactive, decision.proactive, "the forecast is the same");
        assert_eq!(follower.replicas, follower.reactive);
        assert_eq!(follower.steps.len(), 1);
    }
    let hour_before = desired(at(&auto, 2 * DAY + OPENS - 3600));
    assert!(hour_before.replicas <= 8, "not earlier than it need be: {hour_before:?}");
    assert_eq!(at(&auto, 3 * DAY).short_time, ShortTime::default(), "the pods were ample all the time");
}

#[test]
fn pods_that_are_too_few_while_it_is_busy_are_short_for_so_long_and_nobody_blames_the_forecast() {
    let mut autoscaler = autoscaler("Auto", wish(json!({})));
    let mut observe = |seconds: i64| {
        let mut sample = sample(seconds, level(seconds - INTERVAL));
        sample.pods = Pods { replicas: 12, ready: 12, ..sample.pods };
        autoscaler.observe(&sample).unwrap();
        autoscaler.decide(sample.at).short_time
    };
    let short = (1..=DAY / INTERVAL).map(|round| observe(round * INTERVAL)).last().unwrap();
    assert_eq!(short.total(), Span::from_secs(CLOSES - OPENS));
    // Until the wish for more was old enough to be fulfilled.
    assert!(short.forecast <= Span::from_secs(LEAD + INTERVAL), "{short:?}");
    assert_eq!(short.forecast + short.tolerance, short.total());
}

#[test]
fn a_forecast_earns_its_say_over_the_first_day() {
    let mut autoscaler = autoscaler("Auto", wish(json!({})));
    let mut last = 0.0;
    for decision in decisions(&mut autoscaler, 0, DAY + 3600) {
        let (Some(forecast), seconds) = (&decision.forecast, made(&decision)) else { continue };
        let closed = (seconds - 1) / 60 * 60;
        assert!(
            (forecast.earned - (closed as f64 / DAY as f64).min(1.0)).abs() < 1e-3,
            "{seconds}: {forecast:?}"
        );
        assert!(forecast.earned >= last);
        last = forecast.earned;
        let desired = desired(&decision);
        let present = desired.load.metricsqps.get();
        let counts = present + forecast.earned * (forecast.bound.get() - present);
        assert!((desired.bound.get() - counts).abs() <= 1e-9 * counts, "{seconds}");
    }
    assert_eq!(last, 1.0);
}

/// Whether a decision was held for want of a forecast of now.
fn is_stale(decision: &Decision) -> bool {
    desired(decision).steps.iter().any(|step| step.kind == StepKind::ForecastStale)
}

#[test]
fn a_first_start_misses_no_forecast() {
    let all = decisions(&mut autoscaler("Auto", wish(json!({}))), 0, 600);
    assert!(!all.iter().any(is_stale));
    assert!(all[0].forecast.is_none() && all[all.len() - 1].forecast.is_some());
}

#[test]
fn missing_minutes_hold_the_replicas_until_there_is_a_forecast_of_now() {
    let hour = 3600;
    let mut live = autoscaler("Auto", wish(json!({})));
    decisions(&mut live, 0, hour);
    let history = live.history().unwrap().clone();
    // Too short for the HPA to forget what it wanted, and long enough for the forecast to be of another time.
    let mut after = decisions(&mut live, hour + 225, hour + 600);
    assert!(is_stale(&after[0]) && desired(&after[0]).replicas == 40, "{:?}", desired(&after[0]).steps);
    assert!(!is_stale(&after.pop().unwrap()));
    // So is one that starts with a history of yesterday.
    let mut restarted = autoscaler("Auto", wish(json!({})));
    restarted.take_up(history);
    let after = decisions(&mut restarted, DAY, DAY + 600);
    assert!(is_stale(&after[0]) && !is_stale(&after[after.len() - 1]));
}

#[test]
fn an_event_in_the_calendar_raises_replicas_a_horizon_before_it_and_is_named() {
    let sale = json!({"events": [{"name": "sale", "timeZone": "UTC", "start": "2026-01-06T12:00", "end": "2026-01-06T13:00", "factor": 3.0}]});
    let [mut with, mut without, mut reactive] =
        [("Auto", sale.clone()), ("Auto", json!({})), ("Reactive", sale)]
            .map(|(mode, more)| autoscaler(mode, wish(more)));
    let (starts, horizon) = (DAY + 12 * 3600, 300);
    let until = starts + 2 * 3600;
    let with = decisions(&mut with, 0, until);
    let without = decisions(&mut without, 0, until);
    let event = |decision: &Decision| {
        let steps = &desired(decision).steps;
        steps.iter().find_map(|step| match &step.kind {
            StepKind::Event { event, metricsqps } => Some((event.clone(), metricsqps.get(), step.replicas)),
            _ => None,
        })
    };
    let named: Vec<i64> = with.iter().filter(|decision| event(decision).is_some()).map(made).collect();
    // The minute that ends a horizon before is closed by the sample after it.
    assert_eq!(named[0], starts - horizon + INTERVAL);
    assert_eq!(named.len() as i64, (horizon + 3600) / INTERVAL);
    for (decision, other) in with.iter().zip(&without) {
        assert_eq!(decision.forecast, other.forecast, "a calendar teaches the forecast nothing");
        match event(decision) {
            Some((name, load, replicas)) => {
                assert_eq!((name.as_str(), replicas), ("sale", (load / 10.0).ceil() as u32));
                assert!((3.0 * BUSY..3.6 * BUSY).contains(&load), "{load}");
                assert_eq!(desired(decision).replicas, replicas);
            }
            None => assert_eq!(decision, other),
        }
    }
    assert!(decisions(&mut reactive, 0, until).iter().all(|decision| event(decision).is_none()));
}

/// But for the minute that was open, and for what single samples told of peaks within minutes.
#[test]
fn one_that_takes_up_the_history_says_much_the_same() {
    for more in [json!({"quantile": 0.95}), json!({})] {
        let mut old = autoscaler("Auto", wish(more.clone()));
        decisions(&mut old, 0, 4 * DAY);
        let mut new = autoscaler("Auto", wish(more));
        new.take_up(old.history().unwrap().clone());
        let until = 4 * DAY + OPENS;
        let (old, new) = (decisions(&mut old, 4 * DAY, until), decisions(&mut new, 4 * DAY, until));
        for (a, b) in old.iter().zip(&new).skip(60 / INTERVAL as usize) {
            let (a, b) = (a.forecast.as_ref().unwrap(), b.forecast.as_ref().unwrap());
            let (x, y) = (a.bound.get() / a.peak_factor, b.bound.get() / b.peak_factor);
            assert!((x - y).abs() < 0.01 * x, "{}: {x} {y}", a.made_at);
            assert!((a.quantile - b.quantile).abs() < 1e-3, "{}: {} {}", a.made_at, a.quantile, b.quantile);
            assert_eq!(b.earned, 1.0);
        }
    }
}

/// The pods of a schedule are there when it begins, however idle it is; what it takes away, it takes when it begins.
#[test]
fn what_a_schedule_wants_at_least_is_asked_for_a_lead_time_early() {
    let schedules = json!([
        {"name": "sale", "cron": "0 3 * * *", "timeZone": "UTC", "duration": "1h", "minReplicas": 30},
        {"name": "saving", "cron": "0 5 * * *", "timeZone": "UTC", "duration": "1h", "maxReplicas": 2},
    ]);
    let spec = checked(json!({"mode": "Auto", "forecast": wish(json!({})), "schedules": schedules}));
    let all = decisions(&mut Autoscaler::new(spec), 0, 7 * 3600);
    let whose = |decision: &Decision| {
        let schedule = desired(decision).steps.iter().find_map(|step| match &step.kind {
            StepKind::MinReplicas { schedule } | StepKind::MaxReplicas { schedule } => schedule.clone(),
            _ => None,
        });
        schedule.unwrap_or_default()
    };
    for decision in &all {
        let (hour, seconds) = (3600, made(decision));
        let expected = match seconds {
            _ if (3 * hour - LEAD..4 * hour).contains(&seconds) => "sale",
            _ if (5 * hour..6 * hour).contains(&seconds) => "saving",
            _ => "",
        };
        assert_eq!(whose(decision), expected, "{seconds}");
        assert_eq!(decision.min_replicas == 30, expected == "sale");
        assert_eq!(decision.max_replicas == 2, expected == "saving");
        let replicas = desired(decision).replicas;
        assert!((decision.min_replicas..=decision.max_replicas).contains(&replicas), "{seconds}");
    }
}

/// All that a decision says of what was learned.
fn learned(decision: &Decision) -> Decision {
    let mut decision = decision.clone();
    let Outcome::Desired(desired) = &mut decision.outcome else { panic!("the load is known") };
    (desired.replicas, desired.steps) = (0, vec![]);
    (decision.mode, decision.min_replicas, decision.max_replicas) = (plimsoll::spec::Mode::Auto, 0, 0);
    decision
}

/// From when the hold after its start is over a decision depends on nothing that the old bounds did.
#[test]
fn bounds_mode_and_schedules_change_as_if_they_had_always_been_so() {
    let (before, day) = (12 * 3600, DAY);
    let schedules = json!([
        {"name": "rush", "cron": "0 14 * * *", "timeZone": "UTC", "duration": "4h", "minReplicas": 30, "maxReplicas": 35},
    ]);
    for more in [json!({"minReplicas": 9}), json!({"mode": "Reactive"}), json!({"schedules": schedules})] {
        let of = |more: &Value| {
            let mut spec = more.clone();
            spec["forecast"] = wish(json!({}));
            spec["mode"] = more.get("mode").cloned().unwrap_or("Auto".into());
            checked(spec)
        };
        let mut changed = Autoscaler::new(of(&json!({})));
        decisions(&mut changed, 0, before);
        let mut always = Autoscaler::new(of(&more));
        decisions(&mut always, 0, before);
        assert!(changed.respec(of(&more)));
        let (changed, always) = (decisions(&mut changed, before, day), decisions(&mut always, before, day));
        let short = |decision: &Decision| decision.short_time;
        assert!(changed.iter().map(short).eq(always.iter().map(short)));
        assert_eq!(changed, always, "{more}");
    }
}

/// Another promise, lead time or clock: the forecast looks at its history again.
#[test]
fn a_forecast_that_promises_otherwise_has_lived_through_the_same_history() {
    for more in [json!({"quantile": 0.9}), json!({"leadTime": "10m"}), json!({"timeZone": "Asia/Kolkata"})] {
        let of = |more: Value| checked(json!({"mode": "Auto", "forecast": more}));
        let mut changed = Autoscaler::new(of(wish(json!({}))));
        decisions(&mut changed, 0, 2 * DAY);
        let mut all = wish(json!({}));
        for (key, value) in more.as_object().unwrap() {
            all[key] = value.clone();
        }
        let mut always = Autoscaler::new(of(all.clone()));
        decisions(&mut always, 0, 2 * DAY);
        let last = changed.decide(Time::from_secs(START + 2 * DAY));
        assert!(changed.respec(of(all)));
        let first = changed.decide(Time::from_secs(START + 2 * DAY));
        assert!(first.forecast.is_some() && !is_stale(&first), "there is no moment without one");
        assert_ne!(first.forecast, last.forecast, "{more}");
        let hour = 2 * DAY + 3600;
        let (changed, always) =
            (decisions(&mut changed, 2 * DAY, hour), decisions(&mut always, 2 * DAY, hour));
        for (a, b) in changed.iter().zip(&always) {
            let (a, b) = (a.forecast.as_ref().unwrap(), b.forecast.as_ref().unwrap());
            let (x, y) = (a.bound.get(), b.bound.get());
            assert!((x - y).abs() <= 0.01 * y, "{more} {}: {x} {y}", a.made_at);
        }
    }
}

/// A person took over for an hour: all that is learned goes on being learned.
#[test]
fn a_pause_teaches_nothing_and_forgets_nothing() {
    let autoscaler = || autoscaler("Auto", wish(json!({})));
    let (mut paused, mut other) = (autoscaler(), autoscaler());
    for (from, until, is_paused) in [(0, 8, false), (8, 10, true), (10, 12, false)] {
        let (from, until) = (from * 3600, until * 3600);
        paused.set_paused(Time::from_secs(START + from), is_paused);
        let (with, without) = (decisions(&mut paused, from, until), decisions(&mut other, from, until));
        assert!(with.iter().map(learned).eq(without.iter().map(learned)));
        if is_paused {
            assert!(
                with.iter().all(|decision| desired(decision).replicas == 40 && desired(decision).is_paused())
            );
        } else {
            // What a person had scaled to is not lowered for the first five minutes.
            let free = if from == 0 { 0 } else { 300 / INTERVAL as usize - 1 };
            assert_eq!(with[free..], without[free..]);
            let held: Vec<u32> = with[..free].iter().map(|d| desired(d).replicas).collect();
            assert!(held.iter().all(|replicas| *replicas >= 40), "{held:?}");
        }
    }
}

#[test]
fn steps_are_told_in_sentences() {
    let metricsqps = MetricsQps::new(203.25).unwrap();
    let forecast = StepKind::Forecast {
        metricsqps,
        horizon: Span::from_secs(300),
        per_pod: MetricsQps::new(10.0).unwrap(),
    };
    assert_eq!(forecast.to_string(), "up to 203.2 MetricsQPS within 5m at 10 a pod");
    let event = StepKind::Event { event: "singles-day".into(), metricsqps };
    assert_eq!(event.to_string(), "singles-day in the calendar: 203.2 MetricsQPS");
}
