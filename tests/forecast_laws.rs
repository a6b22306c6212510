//! What must hold of every forecast, whatever the load: units, the calendar, restarts, and that it never breaks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "support/loads.rs"]
mod loads;

use loads::{
    DAY, MINUTE, MONDAY, Seen, assert_same, bounds, lived, noisy_tide, quantile, said, series, settings,
    short_time,
};
use plimsoll::forecast::{Forecaster, Promise, Series, Settings, Step};
use plimsoll::units::Span;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const PROMISES: [fn() -> Promise; 2] = [|| quantile(0.95), || short_time(0.5)];

/// Nine days of a tide in whole numbers, with two gaps and an hour that is only known to be at least so much.
fn nine_days() -> Vec<Seen> {
    let mut steps = noisy_tide(MONDAY, 9 * DAY, 8.0, 7);
    for step in &mut steps {
        step.rates.iter_mut().flatten().for_each(|rate| *rate = rate.round());
    }
    steps[3000..3100].fill(Seen::nothing());
    steps[9000] = Seen::nothing();
    steps[5700..5760].iter_mut().for_each(|step| step.is_floor = true);
    steps
}

fn times(factor: f64, steps: &[Seen]) -> Vec<Seen> {
    let mut steps = steps.to_vec();
    steps.iter_mut().flat_map(|step| step.rates.iter_mut().flatten()).for_each(|rate| *rate *= factor);
    steps
}

fn fresh(promise: Promise) -> Forecaster {
    Forecaster::new(settings(promise), &[1.0])
}

#[test]
fn in_another_unit_the_bound_is_the_same_load() {
    for promise in PROMISES {
        let steps = nine_days();
        let plain = said(&mut fresh(promise()), MONDAY, &steps);
        for power in [2.0f64.powi(-20), 2.0, 1024.0] {
            let scaled = said(&mut fresh(promise()), MONDAY, &times(power, &steps));
            for (a, b) in plain.iter().zip(&scaled) {
                assert_eq!(a.bound.get() * power, b.bound.get(), "{} times {power}", a.made_at);
                assert_eq!((a.quantile, a.skill, &a.experts), (b.quantile, b.skill, &b.experts));
            }
        }
        let scaled = said(&mut fresh(promise()), MONDAY, &times(3.0, &steps));
        for (a, b) in plain.iter().zip(&scaled) {
            let (a, b) = (3.0 * a.bound.get(), b.bound.get());
            assert!((a - b).abs() <= 1e-6 * a, "{a} {b}");
        }
    }
}

/// The weekday matters only in that the week is seven days long: a load that has not shown a week yet has none.
#[test]
fn weeks_or_days_later_the_same_load_has_the_same_bounds() {
    for promise in PROMISES {
        let steps = nine_days();
        let plain = bounds(&said(&mut fresh(promise()), MONDAY, &steps));
        for days in [1, 7, 7 * 52, -7 * 1000] {
            let later = bounds(&said(&mut fresh(promise()), MONDAY + days * DAY, &steps));
            let differ = plain.iter().zip(&later).position(|(a, b)| a != b);
            assert_eq!(differ, None, "{days} days later");
        }
    }
}

#[test]
fn columns_with_weights_are_their_weighed_sum() {
    let steps = nine_days();
    let weights = [0.25, 3.0];
    let mut two = Forecaster::new(settings(quantile(0.95)), &weights);
    let mut one = fresh(quantile(0.95));
    for (i, step) in steps.iter().enumerate() {
        let number = MONDAY + i as i64;
        let split = step.rates.as_ref().map(|rates| {
            let heavy = (i * 7 % 40) as f64;
            vec![4.0 * rates[0], heavy]
        });
        let sum = split.as_ref().map(|rates| vec![weights[0] * rates[0] + weights[1] * rates[1]]);
        Seen { rates: split, ..*step }.close(&mut two, number);
        Seen { rates: sum, ..*step }.close(&mut one, number);
        assert_eq!(two.forecast().unwrap(), one.forecast().unwrap(), "step {i}");
    }
}

#[test]
fn whoever_takes_up_a_series_goes_on_as_if_having_lived_through_it() {
    for promise in PROMISES {
        let steps = nine_days();
        let (past, future) = steps.split_at(8 * DAY as usize + 123);
        let then = MONDAY + past.len() as i64;
        let kept = series(&settings(promise()), MONDAY, past);
        let text = serde_json::to_string(&kept).unwrap();
        let read: Series = serde_json::from_str(&text).unwrap();
        let mut living = lived(settings(promise()), MONDAY, past);
        let mut warm = Forecaster::of(settings(promise()), kept, &[1.0]);
        let mut restarted = Forecaster::of(settings(promise()), read, &[1.0]);
        assert_eq!(living.forecast(), warm.forecast());
        assert_eq!(living.forecast(), restarted.forecast());
        let lived = said(&mut living, then, future);
        assert_same(&lived, &said(&mut warm, then, future), "warm");
        assert_same(&lived, &said(&mut restarted, then, future), "restarted");
    }
}

#[test]
fn new_weights_and_horizons_are_as_if_they_had_always_been() {
    let steps = nine_days();
    let (past, future) = steps.split_at(8 * DAY as usize);
    let then = MONDAY + past.len() as i64;
    let longer = Settings { horizon: MINUTE * 12, ..settings(quantile(0.99)) };
    let mut always = Forecaster::new(longer.clone(), &[2.5]);
    said(&mut always, MONDAY, past);
    let mut late = Forecaster::new(settings(quantile(0.99)), &[1.0]);
    said(&mut late, MONDAY, past);
    late.set_weights(&[2.5]);
    assert_ne!(late.forecast(), always.forecast());
    late.set_horizon(longer.horizon);
    assert_eq!(late.forecast(), always.forecast());
    assert_same(&said(&mut late, then, future), &said(&mut always, then, future), "late");
}

#[test]
fn another_future_leaves_the_past_as_it_was() {
    let steps = nine_days();
    let (past, future) = steps.split_at(4 * DAY as usize);
    let both = |future: Vec<Seen>| {
        let all = said(&mut fresh(short_time(0.5)), MONDAY, &[past, &future].concat());
        (bounds(&all[..past.len()]), bounds(&all[past.len() + 5..]))
    };
    let (a, b) = (both(future.to_vec()), both(times(9.0, future)));
    assert!(a.0 == b.0);
    assert!(a.1 != b.1);
}

/// A gap longer than the memory leaves nothing: neither the series nor what was learned from it.
#[test]
fn after_a_gap_longer_than_its_memory_it_is_as_one_that_has_seen_nothing() {
    let memory = Settings { memory: Span::from_secs(2 * 86_400), ..settings(quantile(0.95)) };
    let steps = nine_days();
    let later = MONDAY + 30 * DAY;
    for first in [later, MONDAY + 1_000_000_000] {
        let mut old = lived(memory.clone(), MONDAY, &times(100.0, &steps[..2 * DAY as usize]));
        let mut new = Forecaster::new(memory.clone(), &[1.0]);
        let future = &steps[..600];
        assert_same(&said(&mut old, first, future), &said(&mut new, first, future), "begun anew");
    }
}

#[test]
fn a_step_that_is_not_later_is_left_aside() {
    let mut forecaster = lived(settings(quantile(0.95)), MONDAY, &nine_days()[..500]);
    let before = forecaster.forecast();
    for number in [MONDAY + 499, MONDAY + 3, i64::MIN] {
        assert!(!forecaster.close(number, Some(Step { rates: &[1e9], is_floor: false })));
    }
    assert_eq!(forecaster.forecast(), before);
}

/// A stretch of steps of one kind.
#[derive(Debug, Clone)]
enum Stretch {
    Constant(f64, usize),
    Alternating(f64, usize),
    Drawn(Vec<f64>),
    Gap(i64),
    Back(i64),
    Unknown(usize),
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.0..1000.0f64, Just(1e-12), Just(1e-300), Just(1e15), 1e9..1e12f64]
}

fn stretch() -> impl Strategy<Value = Stretch> {
    prop_oneof![
        3 => (rate(), 1usize..400).prop_map(|(rate, steps)| Stretch::Constant(rate, steps)),
        2 => (rate(), 1usize..300).prop_map(|(rate, steps)| Stretch::Alternating(rate, steps)),
        4 => prop::collection::vec(rate(), 1..300).prop_map(Stretch::Drawn),
        2 => prop::sample::select(vec![1i64, 50, 3000, 1_000_000_000]).prop_map(Stretch::Gap),
        1 => (0i64..5000).prop_map(Stretch::Back),
        1 => (1usize..40).prop_map(Stretch::Unknown),
    ]
}

impl Stretch {
    /// How far the number jumps before it, and its rates.
    fn steps(&self) -> (i64, Vec<Option<f64>>) {
        match self {
            Self::Constant(rate, steps) => (0, vec![Some(*rate); *steps]),
            Self::Alternating(rate, steps) => {
                (0, (0..*steps).map(|i| Some(if i % 2 == 0 { 0.0 } else { *rate })).collect())
            }
            Self::Drawn(rates) => (0, rates.iter().copied().map(Some).collect()),
            Self::Gap(steps) => (*steps, vec![Some(1.0)]),
            Self::Back(steps) => (-*steps, vec![Some(5.0)]),
            Self::Unknown(steps) => (0, vec![None; *steps]),
        }
    }
}

fn check(forecaster: &Forecaster) -> Result<(), TestCaseError> {
    let forecast = forecaster.forecast().unwrap();
    prop_assert!(forecast.bound.get().is_finite() && forecast.bound.get() >= 0.0, "{:?}", forecast);
    prop_assert!(forecast.middle.get().is_finite() && forecast.middle.get() >= 0.0, "{:?}", forecast);
    prop_assert!(forecast.middle <= forecast.bound || forecast.experts.is_empty(), "{:?}", forecast);
    prop_assert!((0.5..=0.999).contains(&forecast.quantile), "{:?}", forecast);
    prop_assert!(forecast.skill.is_none_or(|skill| skill <= 1.0), "{:?}", forecast);
    prop_assert!(forecast.coverage.is_none_or(|share| (0.0..=1.0).contains(&share)), "{:?}", forecast);
    let weights = || forecast.experts.iter().map(|share| share.weight);
    prop_assert!(weights().all(|weight| (0.0..=1.0).contains(&weight)), "{:?}", forecast);
    prop_assert!(weights().sum::<f64>() <= 1.000_001, "{:?}", forecast);
    if forecaster.bounds_at(0.5).is_some() {
        let bounds: Vec<f64> =
            (0..500).map(|i| forecaster.bounds_at(0.5 + f64::from(i) / 1000.0).unwrap().0).collect();
        prop_assert!(bounds.is_sorted(), "{:?}", bounds);
    }
    Ok(())
}

proptest! {
    // The same cases each time: others are for whoever looks for more.
    #![proptest_config(ProptestConfig { cases: 60, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_there_is_a_bound_that_is_a_load(
        stretches in prop::collection::vec(stretch(), 1..12),
        floors in prop::collection::vec(any::<bool>(), 1..7),
        columns in prop::sample::select(vec![1usize, 3]),
        step in prop::sample::select(vec![60i64, 300, 3600]),
        ahead in 1i64..=60,
        promise in prop_oneof![(0.5..0.999f64).prop_map(quantile), (0.01..20.0f64).prop_map(short_time)],
        per_pod in prop::option::of(0.001..1e6f64),
    ) {
        let step = Span::from_secs(step);
        let settings = Settings { step, ..Settings::new(step * ahead, promise) };
        let weights = &[1.0, 2.0, 0.5][..columns];
        let mut forecaster = Forecaster::new(settings, weights);
        forecaster.set_per_pod(per_pod.map(plimsoll::units::MetricsQps::saturating));
        let mut number = MONDAY;
        let mut last = None;
        for stretch in &stretches {
            let (jump, rates) = stretch.steps();
            number += jump;
            for (i, rate) in rates.into_iter().enumerate() {
                let is_floor = floors[i % floors.len()];
                let rates = rate.map(|rate| vec![rate; columns]);
                let is_new = last.is_none_or(|last| number > last);
                prop_assert_eq!(Seen { rates, is_floor }.close(&mut forecaster, number), is_new);
                last = Some(last.map_or(number, |last: i64| last.max(number)));
                if i % 10 == 0 {
                    check(&forecaster)?;
                }
                number += 1;
            }
        }
        check(&forecaster)?;
    }
}

/// A restart knows what the series holds. What was learned from days that it no longer holds has faded by then.
#[test]
fn what_the_memory_no_longer_holds_counts_little() {
    for promise in PROMISES {
        let memory = Settings { memory: Span::from_secs(10 * 86_400), ..settings(promise()) };
        let steps = noisy_tide(MONDAY, 20 * DAY, 8.0, 5);
        let (past, future) = steps.split_at(19 * DAY as usize);
        let mut living = lived(memory.clone(), MONDAY, past);
        let mut warm = Forecaster::of(memory, living.series().clone(), &[1.0]);
        let then = MONDAY + past.len() as i64;
        for (a, b) in said(&mut living, then, future).iter().zip(said(&mut warm, then, future)) {
            let share = b.bound.get() / a.bound.get();
            assert!((0.97..1.03).contains(&share), "{}: {share}", a.made_at);
        }
    }
}
