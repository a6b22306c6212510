use super::*;
use crate::forecast::Basis;
use crate::load::{ClassLoad, Congestion, WeightsInForce};
use crate::spec::ForecastWish;
use crate::units::Rate;

const INTERVAL: Span = Span::from_secs(15);
const DAY: i64 = 86_400;

fn outlook(interval: Span) -> Outlook {
    let promise = crate::forecast::Promise::Quantile(0.95);
    let wish = ForecastWish { lead_time: Some(Span::from_secs(180)), ..ForecastWish::new(promise) };
    Outlook::new(wish, interval)
}

fn at(seconds: i64) -> Time {
    Time::from_secs(seconds)
}

/// A load of these classes.
fn load(weights: &[f64], rates: &[f64]) -> Load {
    let class = |(weight, rate): (&f64, &f64)| ClassLoad {
        value: None,
        le: None,
        rate: Rate::new(*rate).unwrap(),
        weight: *weight,
    };
    let (completed, metricsqps) =
        (rates.iter().sum::<f64>(), rates.iter().zip(weights).map(|(r, w)| r * w).sum::<f64>());
    Load {
        metricsqps: MetricsQps::new(metricsqps).unwrap(),
        standard_error: MetricsQps::ZERO,
        raw: MetricsQps::new(metricsqps).unwrap(),
        weights: WeightsInForce::Fitted { version: 1 },
        borne_out: None,
        completed: Rate::new(completed).unwrap(),
        offered: Rate::new(completed).unwrap(),
        classes: weights.iter().zip(rates).map(class).collect(),
        inexact_edges: vec![],
        congestion: vec![],
    }
}

/// A daily tide, with more of the heavy requests the busier it is.
fn rates(seconds: i64, classes: usize) -> Vec<f64> {
    let tide = 1.0 - (std::f64::consts::TAU * seconds as f64 / DAY as f64).cos();
    let wave = (seconds / 60 * 7919 % 101) as f64 / 101.0;
    (0..classes).map(|class| 20.0 + wave + (10.0 + class as f64) * tide).collect()
}

fn live(outlook: &mut Outlook, weights: &[f64], from: i64, until: i64) {
    for seconds in (from + 15..=until).step_by(15) {
        outlook.observe(at(seconds), &load(weights, &rates(seconds, weights.len())));
    }
}

fn bound(outlook: &Outlook, seconds: i64) -> f64 {
    outlook.forecast(at(seconds)).unwrap().bound.get()
}

/// Two versions of weights for as many classes.
const VERSIONS: [[&[f64]; 2]; 2] =
    [[&[0.5, 1.0, 4.0], &[0.6, 0.9, 5.0]], [&[0.1, 0.5, 1.0, 3.0, 8.0], &[0.2, 0.4, 1.5, 3.5, 6.0]]];

#[test]
fn after_a_change_of_weights_the_forecast_is_what_it_would_have_been_with_them() {
    for [old, new] in VERSIONS {
        let then = 2 * DAY + 9 * 3600;
        let (mut changed, mut always) = (outlook(INTERVAL), outlook(INTERVAL));
        live(&mut changed, old, 0, then);
        live(&mut always, new, 0, then);
        let share = bound(&changed, then) / bound(&always, then);
        assert!((share - 1.0).abs() > 0.05, "the weights matter: {share}");
        let mut worst: f64 = 0.0;
        for seconds in (then + 15..then + 7200).step_by(15) {
            live(&mut changed, new, seconds - 15, seconds);
            live(&mut always, new, seconds - 15, seconds);
            let share = bound(&changed, seconds) / bound(&always, seconds);
            worst = worst.max((share - 1.0).abs());
        }
        // One minute is lost, and folded classes weigh what their usual mix does.
        assert!(worst < 0.01, "{worst} with {} classes", old.len());
        let forecast = changed.forecast(at(then + 7200)).unwrap();
        assert_eq!((forecast.basis, forecast.earned), (Basis::Experts, 1.0));
    }
}

#[test]
fn history_is_weighed_anew_and_not_mixed() {
    let [old, new] = VERSIONS[0];
    let mut outlook = outlook(INTERVAL);
    live(&mut outlook, old, 0, 3600);
    live(&mut outlook, new, 3600, 7200);
    let series = outlook.history().unwrap();
    for (minute, level) in series.levels(&outlook.folded.weights).into_iter().enumerate() {
        if minute == 59 {
            assert_eq!(level, None, "it was open when the weights changed");
            continue;
        }
        let mean = |weights| {
            let samples =
                (1..=4).map(|i| load(weights, &rates(minute as i64 * 60 + 15 * i, 3)).metricsqps.get());
            samples.sum::<f64>() / 4.0
        };
        let expected = mean(new);
        assert!((level.unwrap() - expected).abs() < 1e-5 * expected, "minute {minute}");
    }
}

#[test]
fn a_minute_is_what_its_samples_say_and_a_missing_one_is_not_known() {
    let mut outlook = outlook(INTERVAL);
    let mut observe = |seconds: i64, rate: f64, is_congested: bool| {
        let congestion = if is_congested { vec![Congestion::Rejecting { share: 0.1 }] } else { vec![] };
        outlook.observe(at(seconds), &Load { congestion, ..load(&[1.0], &[rate]) });
    };
    // A sample tells of the time before it: that of a full minute belongs to the minute that ends.
    for (seconds, rate) in [(15, 1.0), (30, 2.0), (45, 3.0), (60, 6.0), (75, 10.0)] {
        observe(seconds, rate, seconds == 30);
    }
    observe(250, 20.0, false);
    observe(301, 40.0, false);
    let series = outlook.history().unwrap();
    assert_eq!(series.levels(&[1.0]), [Some(3.0), Some(10.0), None, None, Some(20.0)]);
    let written = serde_json::to_value(series).unwrap();
    assert_eq!(written["floors"], serde_json::json!([true, false, false, false, false]));
}

#[test]
fn a_step_is_no_shorter_than_the_time_between_samples() {
    for (interval, step) in [(5, 60), (60, 60), (61, 120), (120, 120), (150, 300), (600, 300)] {
        let mut outlook = outlook(Span::from_secs(interval));
        outlook.observe(at(1000), &load(&[1.0], &[1.0]));
        assert_eq!(outlook.history().unwrap().step(), Span::from_secs(step), "every {interval} s");
    }
}

#[test]
fn the_horizon_follows_the_lead_time_up_at_once_and_down_after_six_hours() {
    let promise = crate::forecast::Promise::Quantile(0.95);
    let mut outlook = Outlook::new(ForecastWish::new(promise), INTERVAL);
    let start_up = |seconds| StartUp { total: Span::from_secs(seconds), scheduled: None, started: None };
    let horizon = |outlook: &mut Outlook, seconds: i64| {
        outlook.observe_pods(
            at(seconds),
            Pods { replicas: 1, ready: 1, warming: 0, silent: 0, updating: false },
        );
        outlook.observe(at(seconds), &load(&[1.0], &[1.0]));
        outlook.forecast(at(seconds)).map(|forecast| forecast.horizon.as_nanos() / 60_000_000_000)
    };
    assert_eq!(horizon(&mut outlook, 60), None, "no minute is over");
    // 75 s of lead, two intervals and a step are 2.75 minutes.
    assert_eq!(horizon(&mut outlook, 120), Some(3));
    outlook.record(start_up(400));
    assert_eq!(horizon(&mut outlook, 180), Some(9));
    (0..60).for_each(|_| outlook.record(start_up(20)));
    let mut seconds = 240;
    while horizon(&mut outlook, seconds) == Some(9) {
        seconds += 60;
    }
    assert_eq!(horizon(&mut outlook, seconds + 60), Some(3));
    assert_eq!(seconds, 240 + 6 * 3600);
}

#[test]
fn a_forecast_of_long_ago_says_nothing_of_now() {
    let mut outlook = outlook(INTERVAL);
    live(&mut outlook, &[1.0], 0, 3600 + 15);
    assert!(outlook.forecast(at(3600 + 180)).is_some());
    assert_eq!(outlook.forecast(at(3600 + 181)), None);
}

#[test]
fn history_of_other_steps_or_columns_is_left_aside() {
    let minutes = |columns: usize, step: i64| {
        let mut series = Series::new(Span::from_secs(step), columns, Span::from_secs(DAY));
        for number in 0..100 {
            series.push(number, Some(Step { rates: &vec![7.0; columns], is_floor: false }));
        }
        series
    };
    for (history, taken_up) in [(minutes(1, 60), 101), (minutes(2, 60), 1), (minutes(1, 120), 1)] {
        let mut outlook = outlook(INTERVAL);
        outlook.take_up(history);
        live(&mut outlook, &[1.0], 6000, 6075);
        assert_eq!(outlook.history().unwrap().len(), taken_up);
    }
}

#[test]
fn other_classes_leave_the_past_as_large_as_it_was() {
    let then = DAY + 12 * 3600;
    let mut outlook = outlook(INTERVAL);
    live(&mut outlook, &[1.0, 4.0], 0, then);
    let (levels, before) = (outlook.history().unwrap().levels(&[1.0, 4.0]), bound(&outlook, then));
    // The same load, told apart by a label as well, and its weights in another order of size.
    let rates: Vec<f64> = rates(then + 15, 2).iter().flat_map(|rate| [rate / 2.0, rate / 2.0]).collect();
    outlook.observe(at(then + 15), &load(&[4.0, 1.0, 4.0, 1.0], &rates));
    let weights = outlook.folded.weights.clone();
    assert_eq!(weights.len(), 3);
    let after = outlook.history().unwrap().levels(&weights);
    for (before, after) in levels.iter().flatten().zip(after.iter().flatten()) {
        assert!((after / before - 1.0).abs() < 1e-5, "{before} {after}");
    }
    assert!((bound(&outlook, then + 15) / before - 1.0).abs() < 1e-3);
}

#[test]
fn what_another_remembers_fills_what_it_did_not_see_itself() {
    let weights = [1.0, 4.0];
    let then = 2 * DAY + 6 * 3600;
    let mut always = outlook(INTERVAL);
    live(&mut always, &weights, 0, then);
    let mut late = outlook(INTERVAL);
    // It was there for an hour, and not for the hour before the last.
    live(&mut late, &weights, then - 3 * 3600, then - 2 * 3600);
    live(&mut late, &weights, then - 3600, then);
    let own = late.history().unwrap().levels(&weights);
    let past = (1..=then / 60).map(|minute| {
        // The server tells twice as much for what it saw itself, so that it is seen who is believed.
        let rates: Vec<f64> = rates(60 * minute - 22, 2).iter().map(|rate| 2.0 * rate).collect();
        (at(60 * minute), load(&weights, &rates))
    });
    let known = late.remember(past);
    let series = late.history().unwrap();
    assert_eq!((known, series.first()), (Some(series.len()), 0));
    let after = series.levels(&weights);
    let at_own = after.len() - own.len();
    for (minute, level) in own.iter().enumerate().filter_map(|(i, level)| Some((i, (*level)?))) {
        assert_eq!(after[at_own + minute], Some(level), "what it saw itself stays");
    }
    let always = always.history().unwrap().levels(&weights);
    for (minute, (after, truth)) in after.iter().zip(&always).take(at_own).enumerate() {
        let share = after.unwrap() / truth.unwrap();
        assert!((share - 2.0).abs() < 0.2, "minute {minute}: {share}");
    }
    assert_eq!(late.forecast(at(then)).unwrap().earned, 1.0);
}
