use std::f64::consts::TAU;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

const MINUTE: Span = Span::from_secs(60);
const HOURS: f64 = 60.0;
const DAYS: f64 = 1440.0;

/// A standard normal number, by Box and Muller.
fn normal(random: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos()
}

/// A wave of so many minutes.
fn wave(minute: f64, period: f64) -> f64 {
    (TAU * minute / period).sin()
}

/// Minutes of a load of 100 on average that waves as told, with Gaussian noise, a trend that doubles it in four weeks, 2 %
/// spikes of ten times the load and a tenth of the minutes missing.
fn soiled(days: usize, noise: f64, seed: u64, waves: impl Fn(f64) -> f64) -> Vec<Option<f64>> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let minutes = (0..days * 1440).map(|minute| {
        let minute = minute as f64;
        let level = 100.0 * (1.0 + minute / (28.0 * DAYS)) + waves(minute) + noise * normal(&mut random);
        let spike = if random.random_bool(0.02) { 10.0 } else { 1.0 };
        (!random.random_bool(0.1)).then_some(level * spike)
    });
    minutes.collect()
}

fn names(periods: &[Period]) -> Vec<String> {
    periods.iter().map(|period| period.length.to_string()).collect()
}

#[track_caller]
fn assert_found(levels: &[Option<f64>], expected: &[&str], what: &str) {
    let found = detect(levels, MINUTE);
    assert_eq!(names(&found), expected, "{what}: {found:#?}");
}

fn weekday(minute: f64) -> bool {
    (minute / DAYS) as usize % 7 < 5
}

#[test]
fn a_day_is_found_in_any_history_of_two_and_more() {
    for seed in 0..20 {
        for days in [2, 3, 5, 7, 9, 14, 20, 28] {
            let levels = soiled(days, 30.0, seed, |minute| 30.0 * wave(minute, DAYS));
            assert_found(&levels, &["1d"], &format!("{days} days, seed {seed}"));
        }
    }
}

#[test]
fn a_day_and_a_week_are_told_apart() {
    for seed in 0..20 {
        for days in [14, 17, 21, 28] {
            let levels = soiled(days, 30.0, seed, |minute| {
                if weekday(minute) {
                    40.0 * wave(minute, DAYS) + 10.0
                } else {
                    15.0 * wave(minute, DAYS) - 25.0
                }
            });
            assert_found(&levels, &["1d", "7d"], &format!("{days} days, seed {seed}"));
        }
    }
}

#[test]
fn what_the_calendar_does_not_know_is_found() {
    for seed in 0..20 {
        for (days, period, name) in
            [(3, 45.0, "45m"), (28, 45.0, "45m"), (7, 7.0 * HOURS, "7h"), (28, 7.0 * HOURS, "7h")]
        {
            let levels = soiled(days, 40.0, seed, |minute| 20.0 * wave(minute, period));
            assert_found(&levels, &[name], &format!("{days} days, seed {seed}"));
        }
    }
}

#[test]
fn a_cycle_that_the_day_contains_is_found_beside_it() {
    for seed in 0..20 {
        let levels = soiled(14, 30.0, seed, |minute| 30.0 * wave(minute, DAYS) + 15.0 * wave(minute, 45.0));
        assert_found(&levels, &["45m", "1d"], &format!("seed {seed}"));
    }
}

#[test]
fn all_that_is_there_is_found_together() {
    for seed in 0..20 {
        let levels = soiled(28, 30.0, seed, |minute| {
            let day =
                if weekday(minute) { 40.0 * wave(minute, DAYS) } else { 15.0 * wave(minute, DAYS) - 25.0 };
            day + 15.0 * wave(minute, 7.0 * HOURS) + 15.0 * wave(minute, 45.0)
        });
        assert_found(&levels, &["45m", "7h", "1d", "7d"], &format!("seed {seed}"));
    }
}

#[test]
fn harmonics_are_no_periods_of_their_own() {
    let office = |minute: f64| if (9.0..17.0).contains(&(minute % DAYS / HOURS)) { 60.0 } else { 0.0 };
    let lunch = |minute: f64| if (12.0..13.0).contains(&(minute % DAYS / HOURS)) { 90.0 } else { 0.0 };
    let half = |minute: f64| if minute % DAYS < DAYS / 2.0 { 60.0 } else { 0.0 };
    let shapes: [(&str, &dyn Fn(f64) -> f64); 3] = [("office", &office), ("lunch", &lunch), ("half", &half)];
    for seed in 0..10 {
        for (name, shape) in shapes {
            // One hour in the day has little power at the day's own frequency: two days do not show it.
            for days in if name == "lunch" { [3, 5, 7, 14, 28] } else { [2, 3, 7, 14, 28] } {
                let levels = soiled(days, 20.0, seed, shape);
                assert_found(&levels, &["1d"], &format!("{name}, {days} days, seed {seed}"));
            }
        }
        // Five minutes of every hour, as a cron job has them.
        let levels = soiled(7, 20.0, seed, |minute| if minute % HOURS < 5.0 { 100.0 } else { 0.0 });
        assert_found(&levels, &["1h"], &format!("cron, seed {seed}"));
    }
}

/// Share of false alarms over seeds, for noise made of the standard normal numbers given.
fn alarms(seeds: u64, minutes: usize, noise: impl Fn(&mut dyn FnMut() -> f64, usize) -> Vec<f64>) -> u64 {
    let count = (0..seeds).filter(|seed| {
        let mut random = Pcg64Mcg::seed_from_u64(*seed);
        let levels = noise(&mut || normal(&mut random), minutes);
        let levels: Vec<Option<f64>> = levels.into_iter().map(Some).collect();
        !detect(&levels, MINUTE).is_empty()
    });
    count.count() as u64
}

fn autoregressive(phi: f64) -> impl Fn(&mut dyn FnMut() -> f64, usize) -> Vec<f64> {
    move |normal, n| {
        let mut x = 0.0;
        (0..n)
            .map(|_| {
                x = phi * x + normal();
                x
            })
            .collect()
    }
}

#[test]
fn noise_has_no_periods() {
    let seeds = 300;
    for days in [1, 2, 3, 7, 14, 28] {
        for (name, phi) in
            [("white", 0.0), ("AR(1) 0.5", 0.5), ("AR(1) 0.95", 0.95), ("AR(1) 0.999", 0.999), ("walk", 1.0)]
        {
            let count = alarms(seeds, days * 1440, autoregressive(phi));
            println!("{name}, {days} days: {count} of {seeds}");
            assert!(count * 100 <= seeds, "{name}, {days} days: {count} of {seeds}");
        }
    }
}

#[test]
fn what_holds_nothing_holds_no_period() {
    for levels in
        [vec![], vec![Some(1.0); 31], vec![Some(7.0); 5000], vec![None; 5000], vec![Some(f64::NAN); 5000]]
    {
        assert_eq!(detect(&levels, MINUTE), vec![]);
    }
    assert_eq!(detect(&[Some(1.0); 100], Span::ZERO), vec![]);
    assert_eq!(detect(&[Some(1.0), Some(2.0)].repeat(1000), Span::from_nanos(1)), vec![]);
    assert_eq!(detect(&[Some(1.0), Some(2.0)].repeat(1000), Span::MAX), vec![]);
}

/// Run by hand, in release: `cargo test --release -p plimsoll --lib periods -- --ignored --nocapture`.
#[test]
#[ignore = "measures time"]
#[allow(clippy::disallowed_methods, reason = "measures time")]
fn four_weeks_of_minutes_take_milliseconds() {
    let all = |minute: f64| {
        let day = if weekday(minute) { 40.0 * wave(minute, DAYS) } else { 15.0 * wave(minute, DAYS) - 25.0 };
        day + 15.0 * wave(minute, 7.0 * HOURS) + 15.0 * wave(minute, 45.0)
    };
    let quiet = |_: f64| 0.0;
    let shapes: [(&str, &dyn Fn(f64) -> f64); 2] = [("four periods", &all), ("none", &quiet)];
    for (name, shape) in shapes {
        let levels = soiled(28, 30.0, 1, shape);
        let start = std::time::Instant::now();
        let found = (0..20).map(|_| detect(&levels, MINUTE).len()).sum::<usize>();
        println!("{name}: {found} in 20, {:?} each", start.elapsed() / 20);
    }
}
