//! How a forecast fares through days that are not like the others: capped, dark, an hour longer, or without any pattern.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/loads.rs"]
mod loads;

use loads::{DAY, MINUTE, MONDAY, Seen, lived, noise, noisy_tide, quantile, said, settings, short_time};
use plimsoll::forecast::{Basis, Forecast, Forecaster, Promise, Settings};
use plimsoll::units::{MetricsQps, Time};

const PROMISES: [fn() -> Promise; 2] = [|| quantile(0.95), || short_time(0.5)];

/// When the office opens and closes, in minutes of its day, and what it does then and else.
const OPENS: i64 = 9 * 60;
const CLOSES: i64 = 17 * 60;
const BUSY: f64 = 200.0;
const IDLE: f64 = 60.0;

/// `count` minutes of an office whose clock shows `local` of the epoch's minutes, each day alike.
fn office(first: i64, count: i64, local: impl Fn(i64) -> i64) -> Vec<Seen> {
    let mut noise = noise(3);
    let level = |number| match local(number).rem_euclid(DAY) {
        OPENS..CLOSES => BUSY,
        _ => IDLE,
    };
    (first..first + count).map(|number| Seen::of(level(number) + 4.0 * noise())).collect()
}

fn lives(promise: Promise, steps: &[Seen]) -> Vec<Forecast> {
    said(&mut Forecaster::new(settings(promise), &[1.0]), MONDAY, steps)
}

/// The bound at a minute of a day.
fn bound(said: &[Forecast], day: i64, minute: i64) -> f64 {
    said[(day * DAY + minute) as usize].bound.get()
}

/// What a workload that cannot do more lets through.
const CAP: f64 = 0.7 * BUSY;

/// `steps` with five days from `day` on in which no more gets through than the cap.
fn capped(steps: &[Seen], day: i64, is_marked: bool) -> Vec<Seen> {
    let mut steps = steps.to_vec();
    for step in steps.iter_mut().skip((day * DAY) as usize).take(5 * DAY as usize) {
        if step.rates.iter().flatten().any(|rate| *rate > CAP) {
            *step = Seen { is_floor: is_marked, ..Seen::of(CAP) };
        }
    }
    steps
}

#[test]
fn five_capped_days_do_not_become_the_forecast_if_they_are_marked() {
    let steps = office(MONDAY, 11 * DAY, |number| number);
    for promise in PROMISES {
        let marked = lives(promise(), &capped(&steps, 5, true));
        let unmarked = lives(promise(), &capped(&steps, 5, false));
        for minute in [OPENS - 4, OPENS - 1] {
            let before = bound(&marked, 4, minute);
            assert!(before > BUSY, "{before} {minute}");
            let after = bound(&marked, 10, minute);
            assert!(after >= 0.9 * before, "{after}, and {before} before");
        }
        let learned = bound(&unmarked, 10, OPENS - 1);
        assert!(learned < 1.05 * CAP, "without the mark the cap is what it learns, not {learned}");
    }
}

/// What was never seen cannot be known. Where the load jumps to the cap, the bound is above it by what errors are made there: next to
/// nothing. Where it rises to the cap, the rise up to there speaks for more.
#[test]
fn a_load_that_was_always_capped_is_thought_to_be_little_more() {
    let over = |steps: &[Seen], minute| {
        let steps = capped(&steps[..5 * DAY as usize], 0, true);
        PROMISES.map(|promise| bound(&lives(promise(), &steps), 4, minute) / CAP)
    };
    let office = office(MONDAY, 5 * DAY, |number| number);
    let tide = noisy_tide(MONDAY, 5 * DAY, 4.0, 3);
    for minute in [11 * 60, 12 * 60, 13 * 60] {
        let jumping = over(&office, minute);
        assert!(jumping.iter().all(|over| (1.0..1.03).contains(over)), "{jumping:?}");
        let rising = over(&tide, minute);
        assert!(rising.iter().all(|over| (1.05..1.15).contains(over)), "{rising:?}");
    }
}

/// The tide, and the same with the load gone for a while from a noon on.
fn gone(promise: fn() -> Promise, minutes: usize) -> (Vec<Forecast>, Vec<Forecast>, usize) {
    let mut steps = noisy_tide(MONDAY, 6 * DAY, 4.0, 3);
    let plain = lives(promise(), &steps);
    let from = (4 * DAY + 720) as usize;
    steps[from..from + minutes].fill(Seen::of(0.0));
    (plain, lives(promise(), &steps), from)
}

#[test]
fn ten_minutes_without_any_load_are_an_outage_and_leave_no_trace() {
    for promise in PROMISES {
        let (plain, with_outage, from) = gone(promise, 10);
        for i in from..plain.len() {
            assert_eq!(with_outage[i].is_outage, i < from + 10);
            let share = with_outage[i].bound.get() / plain[i].bound.get();
            assert!((0.97..1.03).contains(&share), "minute {} after it began: {share}", i - from);
        }
    }
}

#[test]
fn a_load_that_stays_away_is_believed_after_half_an_hour_and_welcome_when_it_is_back() {
    for promise in PROMISES {
        let (plain, with_outage, from) = gone(promise, 120);
        let share = |minute: usize| with_outage[from + minute].bound.get() / plain[from + minute].bound.get();
        assert_eq!(with_outage[from..].iter().filter(|forecast| forecast.is_outage).count(), 31);
        assert!(share(29) > 0.97, "{}", share(29));
        assert!(share(60) < 0.2 && share(119) < 0.05, "{} {}", share(60), share(119));
        for minute in (130..180).chain([DAY as usize]) {
            assert!((0.97..1.1).contains(&share(minute)), "minute {minute}: {}", share(minute));
        }
    }
}

/// The step of the epoch that an instant is in.
fn minute(text: &str) -> i64 {
    text.parse::<Time>().unwrap().as_nanos() / MINUTE.as_nanos()
}

/// What is said before, at and after the change of Berlin's clock on a Sunday, by somebody who looks 45 minutes ahead: the bound at a
/// local minute of the first Monday after it.
fn monday_after(change: &str, hours_before: i64, hours_after: i64, zone: &str) -> impl Fn(i64) -> f64 {
    let change = minute(change);
    let local = move |number| number + 60 * if number < change { hours_before } else { hours_after };
    let first = change - change.rem_euclid(DAY) - 13 * DAY;
    let steps = office(first, 16 * DAY, local);
    let settings = Settings { zone: zone.parse().unwrap(), ..Settings::new(MINUTE * 45, quantile(0.95)) };
    let said = said(&mut Forecaster::new(settings, &[1.0]), first, &steps);
    let midnight = first + 14 * DAY - 60 * hours_after;
    move |minute| said[(midnight + minute - first) as usize].bound.get()
}

#[test]
fn the_day_after_the_clock_was_changed_the_load_is_expected_by_the_new_time() {
    for (change, before, after) in [("2026-10-25T01:00:00Z", 2, 1), ("2026-03-29T01:00:00Z", 1, 2)] {
        let berlin = monday_after(change, before, after, "Europe/Berlin");
        assert!(berlin(OPENS - 30) > BUSY, "half an hour before it opens: {}", berlin(OPENS - 30));
        for minute in [OPENS - 90, OPENS - 60, CLOSES + 30] {
            assert!(berlin(minute) < 0.5 * BUSY, "at {minute}: {}", berlin(minute));
        }
        let utc = monday_after(change, before, after, "UTC");
        assert!(utc(OPENS - 30) < 0.7 * BUSY, "it is not expected then: {}", utc(OPENS - 30));
    }
}

/// Percent of the time from `from` on that a workload is short which has what the bounds of the last five minutes want, five minutes
/// later, in pods as small as one likes.
fn short(said: &[Forecast], steps: &[Seen], from: usize) -> f64 {
    let largest = |until: usize| (until - 4..=until).map(|i| said[i].bound.get()).fold(0.0, f64::max);
    let short = (from..steps.len()).filter(|u| {
        let ready = (u - 5..*u).map(largest).fold(f64::MAX, f64::min);
        steps[*u].rates.iter().flatten().any(|rate| *rate > ready)
    });
    100.0 * short.count() as f64 / (steps.len() - from) as f64
}

#[test]
fn the_promised_share_of_time_is_short_and_no_less_than_it_need_be() {
    let steps = noisy_tide(MONDAY, 20 * DAY, 10.0, 11);
    let realised = [0.5, 5.0].map(|percent| {
        let said = lives(short_time(percent), &steps);
        short(&said, &steps, 10 * DAY as usize)
    });
    assert!((0.1..=1.0).contains(&realised[0]), "{realised:?}");
    assert!((2.5..=7.5).contains(&realised[1]), "{realised:?}");
}

#[test]
fn pods_that_come_whole_need_no_higher_quantile() {
    let steps = noisy_tide(MONDAY, 10 * DAY, 10.0, 11);
    let mut small = Forecaster::new(settings(short_time(0.5)), &[1.0]);
    let mut whole = Forecaster::new(settings(short_time(0.5)), &[1.0]);
    whole.set_per_pod(Some(MetricsQps::saturating(50.0)));
    let small = said(&mut small, MONDAY, &steps).pop().unwrap();
    let whole = said(&mut whole, MONDAY, &steps).pop().unwrap();
    assert!(whole.quantile < small.quantile, "{} {}", whole.quantile, small.quantile);
}

/// A tide that gives way to noise around a level that jumps each hour: nothing of what was learned holds.
#[test]
fn experts_that_do_worse_than_persistence_step_back_and_return() {
    let mut steps = noisy_tide(MONDAY, 3 * DAY, 4.0, 0);
    let mut noise = noise(100);
    let jumping = (0..2 * DAY).map(|i| Seen::of(100.0 + 100.0 * ((i / 60 + 1) % 2) as f64 + 10.0 * noise()));
    steps.extend(jumping);
    let mut forecaster = lived(settings(quantile(0.95)), MONDAY, &steps[..3 * DAY as usize]);
    let mut bases = vec![];
    for (i, step) in steps.iter().enumerate().skip(3 * DAY as usize) {
        step.close(&mut forecaster, MONDAY + i as i64);
        let forecast = forecaster.forecast().unwrap();
        let (experts, persistence) = forecaster.bounds_at(0.95).unwrap();
        match forecast.basis {
            Basis::Persistence => {
                assert_eq!(forecast.bound.get(), persistence.max(0.0));
                assert!(forecast.skill.unwrap() < 0.0 && forecast.experts.is_empty());
            }
            _ => assert_eq!(forecast.bound.get(), experts.max(0.0)),
        }
        if bases.last() != Some(&forecast.basis) {
            bases.push(forecast.basis);
        }
    }
    assert!(bases.contains(&Basis::Persistence), "{bases:?}");
    assert_eq!(bases.last(), Some(&Basis::Experts), "{bases:?}");
}

/// Before anything can be calibrated, a quarter more than the most that was seen; then what persistence has for errors.
#[test]
fn the_first_minutes_have_a_wide_margin() {
    let steps = noisy_tide(MONDAY, 60, 4.0, 5);
    let said = lives(quantile(0.95), &steps);
    let most = steps[..10]
        .iter()
        .filter_map(|step| step.rates.as_ref())
        .map(|r| f64::from(r[0] as f32))
        .fold(0.0, f64::max);
    assert_eq!((said[9].basis, said[9].bound.get()), (Basis::Start, 1.25 * most));
    assert_eq!(said.iter().position(|forecast| forecast.basis != Basis::Start), Some(24));
    assert_eq!(said[9].history, MINUTE * 10);
}
