//! The protocol by other means, and what must always hold.

use proptest::prelude::*;

use super::*;

const MINUTE: Span = Span::from_secs(60);

fn settings() -> Settings {
    Settings { horizon: MINUTE * 5, quantile: 0.95, test_fraction: 0.3 }
}

/// Days of a swell with some unevenness, in minutes.
fn days(steps: usize) -> Series {
    let load = |i: usize| {
        let day = (i as f64 * std::f64::consts::TAU / 1440.0).sin();
        let uneven = (i as f64 * 2.4).sin() + (i as f64 * 0.37).sin() * (i as f64 * 0.011).cos();
        (1000.0 + 600.0 * day + 60.0 * uneven).round()
    };
    Series { name: "days".to_owned(), step: MINUTE, counts: (0..steps).map(load).collect() }
}

fn timeless() -> Span {
    Span::ZERO
}

fn run(series: &Series, settings: &Settings) -> (Backtest, Vec<Point>) {
    let mut points = Vec::new();
    let done = backtest(series, settings, timeless, |point| points.push(*point)).unwrap();
    (done, points)
}

#[test]
fn the_test_part_is_that_of_the_protocol() {
    let series = days(1000);
    let (done, points) = run(&series, &settings());
    // From ⌊0.7 · 1000⌋ to 1000 − 1 − 5.
    assert_eq!((points[0].index, points.last().unwrap().index), (700, 994));
    assert_eq!((done.report.steps, points.len()), (295, 295));
    assert_eq!((done.report.step_s, done.report.horizon_s), (60.0, 300.0));
    for point in points {
        let next = &series.counts[point.index + 1..=point.index + 5];
        assert_eq!(point.peak, next.iter().copied().fold(0.0, f64::max));
        assert_eq!(point.load, series.counts[point.index]);
    }
}

#[test]
fn a_horizon_is_rounded_to_steps() {
    let slow = Series { step: MINUTE * 5, ..days(200) };
    for (minutes, seconds) in [(1, 300.0), (5, 300.0), (7, 300.0), (8, 600.0), (10, 600.0)] {
        let settings = Settings { horizon: MINUTE * minutes, ..settings() };
        assert_eq!(run(&slow, &settings).0.report.horizon_s, seconds);
    }
}

/// Persistence with its own additive errors, once more: the score of rank min(n − 1, ⌈τ (n + 1)⌉ − 1) of the last 1440 that are known. The
/// forecaster keeps scores and bounds as `f32`, and nothing else makes a difference.
#[test]
fn the_yardstick_is_persistence_with_its_own_errors() {
    let series = days(2400);
    let x = &series.counts;
    for (minutes, quantile) in [(5, 0.95), (1, 0.9), (30, 0.99)] {
        let (_, points) = run(&series, &Settings { horizon: MINUTE * minutes, quantile, test_fraction: 0.5 });
        let h = minutes as usize;
        let error = |i: usize| x[i + 1..=i + h].iter().copied().fold(0.0, f64::max) - x[i];
        for point in points {
            let known = point.index - h + 1;
            let mut scores: Vec<f64> = (known.saturating_sub(1440)..known).map(error).collect();
            scores.sort_by(f64::total_cmp);
            let n = scores.len();
            let rank = ((quantile * (n as f64 + 1.0)).ceil() as usize - 1).min(n - 1);
            let expected = (x[point.index] + scores[rank]).max(0.0);
            assert_eq!(point.yardstick, f64::from(expected as f32), "step {}", point.index);
        }
    }
}

#[test]
fn twice_the_load_is_twice_the_loss_and_the_same_coverage() {
    let series = days(1500);
    let twice = Series { counts: series.counts.iter().map(|count| 2.0 * count).collect(), ..days(1500) };
    let ((one, _), (two, _)) = (run(&series, &settings()), run(&twice, &settings()));
    let figures = |report: &Report| {
        let Report { pinball, pinball_r0, mae, mae_persistence, rmse, rmse_persistence, .. } = *report;
        [pinball, pinball_r0, mae, mae_persistence, rmse, rmse_persistence]
    };
    assert_eq!(figures(&two.report), figures(&one.report).map(|figure| 2.0 * figure));
    assert_eq!((two.report.coverage, two.report.skill), (one.report.coverage, one.report.skill));
    assert_eq!(two.days, one.days);
}

#[test]
fn a_constant_load_is_known() {
    let flat = Series { counts: vec![100.0; 400], ..days(400) };
    let Report { coverage, pinball_r0, mae_persistence, .. } = run(&flat, &settings()).0.report;
    assert_eq!((coverage, pinball_r0, mae_persistence), (1.0, 0.0, 0.0));
}

#[test]
fn time_is_what_the_clock_says() {
    let mut now = Span::ZERO;
    // Looks at the clock are a second apart, each hundredth of them an hour: there are two a step, and two for all refits together.
    let mut looks = 0;
    let clock = || {
        looks += 1;
        now = now + Span::from_secs(if looks % 100 == 0 { 3600 } else { 1 });
        now
    };
    let report = backtest(&days(200), &settings(), clock, |_| ()).unwrap().report;
    assert_eq!((report.seconds_per_step, report.seconds_per_refit), (1.0, 0.05));
    // Four of 200 steps take an hour; a day has 1,440 of them.
    assert_eq!(report.seconds_per_day, (196.0 + 4.0 * 3600.0) / 200.0 * 1440.0);
    assert!(report.bytes_per_workload > 0);
}

#[test]
fn what_cannot_be_tested_is_said() {
    let error = |series: &Series, settings: Settings| run_error(series, &settings);
    let series = days(100);
    assert_eq!(
        error(&series, Settings { horizon: Span::ZERO, ..settings() }),
        "horizon is 0s: expected more than 0s"
    );
    for quantile in [0.49, 0.9991, f64::NAN] {
        let expected = format!("quantile is {quantile}: expected 0.5 to 0.999");
        assert_eq!(error(&series, Settings { quantile, ..settings() }), expected);
    }
    for test_fraction in [0.0, 0.91, f64::NAN] {
        let expected = format!("test fraction is {test_fraction}: expected 0.01 to 0.9");
        assert_eq!(error(&series, Settings { test_fraction, ..settings() }), expected);
    }
    let fast = Series { step: Span::from_millis(100), ..days(100) };
    assert_eq!(error(&fast, settings()), "step is 100ms: expected at least 1s");
    let expected = "days: its 80 steps are too few for a horizon of 5m: the forecaster would see 56 of them before the test part \
                    and be scored at 19, and needs a horizon and 20 before and 20 to be scored at. Take a longer trace, a shorter \
                    horizon or step, or another test fraction";
    assert_eq!(error(&days(80), settings()), expected);
    let far = Settings { horizon: Span::MAX, ..settings() };
    assert!(error(&days(100), far).contains("too few"));
}

fn run_error(series: &Series, settings: &Settings) -> String {
    backtest(series, settings, timeless, |_| ()).unwrap_err().to_string()
}

#[test]
fn the_shortest_series_is_enough() {
    let (done, points) = run(&days(84), &settings());
    assert_eq!((done.report.steps, points.len()), (21, 21));
}

/// As below, where all that learns has learned.
#[test]
fn no_bound_after_days_sees_what_is_to_come() {
    let series = days(4500);
    let settings = Settings { horizon: MINUTE * 10, ..settings() };
    let said = |series: &Series, cut: usize| -> Vec<Point> {
        let (_, points) = run(series, &settings);
        let before = points.into_iter().filter(|point| point.index < cut);
        before.map(|point| Point { peak: 0.0, ..point }).collect()
    };
    for cut in [3300, 4000, 4480] {
        let mut other = series.clone();
        other.counts[cut..].fill(9000.0);
        assert_eq!(said(&series, cut), said(&other, cut));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Another future leaves what was said before it as it was, to the bit.
    #[test]
    fn no_bound_sees_what_is_to_come(
        counts in proptest::collection::vec(0u32..1000, 120..300),
        from in 0.0f64..1.0,
        instead in 0u32..5000,
    ) {
        let series = Series { counts: counts.into_iter().map(f64::from).collect(), ..days(1) };
        let settings = Settings { test_fraction: 0.7, ..settings() };
        let cut = (from * series.counts.len() as f64) as usize;
        let mut other = series.clone();
        other.counts[cut..].fill(f64::from(instead));
        let said = |series| -> Vec<[u64; 3]> {
            let (_, points) = run(series, &settings);
            let before = points.iter().filter(|point| point.index < cut);
            before.map(|point| [point.bound, point.middle, point.yardstick].map(f64::to_bits)).collect()
        };
        prop_assert_eq!(said(&series), said(&other));
    }
}
