//! Periods that the calendar does not have: found, gone by, and not seen where there are none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/loads.rs"]
mod loads;

use loads::{DAY, MONDAY, Seen, lived, noise, quantile, said, settings};
use plimsoll::forecast::Forecaster;

/// So many days of noise around what `level` says of each minute.
fn days(count: i64, spread: f64, level: impl Fn(i64) -> f64) -> Vec<Seen> {
    let mut noise = noise(4);
    (0..count * DAY)
        .map(|minute| match level(minute) {
            0.0 => Seen::of(0.0),
            level => Seen::of((level + spread * noise()).max(1.0)),
        })
        .collect()
}

fn periods(steps: &[Seen]) -> Vec<usize> {
    let forecast = lived(settings(quantile(0.95)), MONDAY, steps).forecast().unwrap();
    forecast.periods.iter().map(|period| period.steps).collect()
}

/// A batch of eight minutes every 100, which no clock tells.
#[test]
fn a_period_that_the_data_show_is_gone_by_from_the_third_day_on() {
    let steps = days(5, 5.0, |minute| if minute % 100 < 8 { 300.0 } else { 100.0 });
    let said = said(&mut Forecaster::new(settings(quantile(0.95)), &[1.0]), MONDAY, &steps);
    let (mut early, mut missed) = (0, 0);
    for minute in 3 * DAY..5 * DAY {
        let forecast = &said[minute as usize];
        assert_eq!(forecast.periods.iter().map(|period| period.steps).collect::<Vec<_>>(), [100]);
        assert_eq!(forecast.experts[0].expert, "found period");
        // What begins within the next five minutes, or goes on.
        let is_batch = (1..=5).any(|ahead| (minute + ahead) % 100 < 8);
        early += u32::from(!is_batch && forecast.bound.get() > 150.0);
        missed += u32::from(is_batch && forecast.bound.get() < 280.0);
    }
    assert_eq!((early, missed), (0, 0), "of two days of minutes");
    assert!(said.last().unwrap().skill.unwrap() > 0.9);
}

/// An outage is taken to be unknown, not zero; so it is when periods are looked for.
#[test]
fn outages_at_the_same_time_again_and_again_are_no_period_of_the_load() {
    let daily = days(8, 10.0, |minute| if (180..205).contains(&(minute % DAY)) { 0.0 } else { 100.0 });
    assert!(periods(&daily).is_empty(), "{:?}", periods(&daily));
    let odd = days(8, 10.0, |minute| if (80..105).contains(&(minute % 500)) { 0.0 } else { 100.0 });
    assert!(periods(&odd).is_empty(), "{:?}", periods(&odd));
    // A dip that is no outage is one.
    let dips = days(8, 10.0, |minute| if (80..105).contains(&(minute % 500)) { 10.0 } else { 100.0 });
    assert_eq!(periods(&dips), [500]);
}

#[test]
fn a_period_of_short_batches_below_six_hours_is_found() {
    for (steps, part) in (17i64..360).step_by(29).zip([0.1, 0.2, 0.15].into_iter().cycle()) {
        let busy = (steps as f64 * part) as i64;
        let steps_seen = days(5, 5.0, |minute| if minute % steps < busy { 300.0 } else { 100.0 });
        let found = periods(&steps_seen);
        // Near a whole fraction of a day five days cannot tell it from that.
        let is_it = |found: &usize| (*found as i64 - steps).abs() <= 1 + steps / 50;
        assert!(found.iter().any(is_it), "{found:?}, not {steps}");
    }
}
