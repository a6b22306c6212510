use std::f64::consts::TAU;

use proptest::prelude::{any, prop_assert, proptest};
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
        for (days, period) in [(3, 45.0), (28, 45.0), (7, 7.0 * HOURS), (28, 7.0 * HOURS)] {
            let levels = soiled(days, 40.0, seed, |minute| 20.0 * wave(minute, period));
            let found = detect(&levels, MINUTE);
            assert_eq!(found.len(), 1, "{period} in {days} days, seed {seed}: {found:#?}");
            // 24 cycles under so much noise tell a period to a quarter of a percent.
            let off = found[0].length.as_secs_f64() / (60.0 * period) - 1.0;
            assert!(off.abs() < 0.005, "{period} in {days} days, seed {seed}: {found:#?}");
            assert!(period > 45.0 || found[0].steps == 45);
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

#[test]
fn a_part_of_the_day_is_not_taken_for_the_day() {
    for seed in 0..20 {
        for (period, name) in [(12.0 * HOURS, "12h"), (8.0 * HOURS, "8h"), (30.0, "30m")] {
            let levels = soiled(7, 20.0, seed, |minute| 20.0 * wave(minute, period));
            assert_found(&levels, &[name], &format!("seed {seed}"));
        }
    }
}

/// In how many of so many seeds there is a false alarm, for noise made of the standard normal numbers given.
fn alarms(seeds: u64, minutes: usize, noise: impl Fn(&mut dyn FnMut() -> f64, usize) -> Vec<f64>) -> u64 {
    let count = (0..seeds).filter(|seed| {
        let mut random = Pcg64Mcg::seed_from_u64(*seed);
        let levels = noise(&mut || normal(&mut random), minutes);
        let levels: Vec<Option<f64>> = levels.into_iter().map(Some).collect();
        !detect(&levels, MINUTE).is_empty()
    });
    count.count() as u64
}

const DAYS_OF_NOISE: [usize; 6] = [1, 2, 3, 7, 14, 28];
const NOISES: [(&str, f64); 5] =
    [("white", 0.0), ("AR(1) 0.5", 0.5), ("AR(1) 0.95", 0.95), ("AR(1) 0.999", 0.999), ("random walk", 1.0)];

/// x(t) = phi·x(t−1) + noise.
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
    for (name, phi) in NOISES {
        let count: u64 = DAYS_OF_NOISE.iter().map(|days| alarms(50, days * 1440, autoregressive(phi))).sum();
        assert!(count * 100 <= 50 * DAYS_OF_NOISE.len() as u64, "{name}: {count}");
    }
}

/// Run by hand, in release, for a minute. The worst was a random walk of 14 days, with 7; all 30,000 together had 45.
#[test]
#[ignore = "takes long"]
fn noise_of_no_kind_and_length_has_periods() {
    let mut all = 0;
    for days in DAYS_OF_NOISE {
        for (name, phi) in NOISES {
            let count = alarms(1000, days * 1440, autoregressive(phi));
            println!("{name}, {days} days: {count} of 1000");
            assert!(count <= 10, "{name}, {days} days: {count} of 1000");
            all += count;
        }
    }
    println!("{all} in all");
}

#[test]
fn what_happens_once_is_no_period() {
    for seed in 0..20 {
        for days in [2, 7, 14, 28] {
            let end = days as f64 * DAYS;
            let shift = soiled(days, 20.0, seed, |minute| if minute > 0.6 * end { 100.0 } else { 0.0 });
            assert_found(&shift, &[], &format!("shift, {days} days, seed {seed}"));
            let hill =
                soiled(days, 20.0, seed, |minute| 100.0 * (-(minute / end - 0.4).powi(2) * 50.0).exp());
            assert_found(&hill, &[], &format!("hill, {days} days, seed {seed}"));
            let growth = soiled(days, 20.0, seed, |minute| 30.0 * (2.0 * minute / end).exp());
            assert_found(&growth, &[], &format!("growth, {days} days, seed {seed}"));
        }
    }
}

#[test]
fn a_day_is_found_over_an_outage_of_another() {
    for seed in 0..20 {
        for days in [7, 14, 28] {
            let mut levels = soiled(days, 30.0, seed, |minute| 30.0 * wave(minute, DAYS));
            levels[4000..5440].fill(None);
            assert_found(&levels, &["1d"], &format!("{days} days, seed {seed}"));
        }
    }
}

#[test]
fn a_step_of_any_length_will_do() {
    for (step, name) in
        [(15, "15 s"), (300, "5 min"), (600, "10 min"), (420, "7 min, of which no day is made")]
    {
        let mut random = Pcg64Mcg::seed_from_u64(step);
        let levels: Vec<Option<f64>> = (0..5 * 86_400 / step)
            .map(|i| Some(100.0 + 30.0 * wave((i * step) as f64 / 60.0, DAYS) + 30.0 * normal(&mut random)))
            .collect();
        let found = detect(&levels, Span::from_secs(step as i64));
        assert_eq!(names(&found), ["1d"], "{name}: {found:?}");
        assert_eq!(found[0].steps as u64, (86_400.0 / step as f64).round() as u64);
    }
}

#[test]
fn a_period_reads_back_what_it_wrote() {
    let found = detect(&soiled(7, 20.0, 1, |minute| 20.0 * wave(minute, 45.0)), MINUTE);
    let text = serde_json::to_string(&found).unwrap();
    assert!(text.starts_with(r#"[{"steps":45,"length":"45m","strength":0."#), "{text}");
    assert_eq!(serde_json::from_str::<Vec<Period>>(&text).unwrap(), found);
}

proptest! {
    #[test]
    fn no_history_is_too_odd(
        levels in proptest::collection::vec(proptest::option::weighted(0.8, any::<f64>()), 0..300),
        small in proptest::collection::vec(proptest::option::weighted(0.8, -1.0..1.0f64), 0..300),
        step in 1i64..200_000,
    ) {
        for levels in [levels, small] {
            for period in detect(&levels, Span::from_secs(step)) {
                prop_assert!((LEAST_STRENGTH..=1.0).contains(&period.strength), "{:?}", period);
                prop_assert!(period.steps >= 2 && period.steps <= levels.len() / 2 && period.length.is_positive());
                prop_assert!(period.evidence.cycles >= 2.0 && period.evidence.periodogram > 1.0);
                prop_assert!(period.evidence.autocorrelation.abs() <= 1.0);
            }
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
