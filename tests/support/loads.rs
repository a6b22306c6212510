//! Loads to forecast, step by step, and a forecaster that lives through them.

#![allow(dead_code, reason = "each test that includes this uses a part")]

use plimsoll::forecast::{Forecast, Forecaster, Promise, Series, Settings, Step};
use plimsoll::units::{Percent, Span};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub(crate) const MINUTE: Span = Span::from_secs(60);
/// Steps of a day of minutes.
pub(crate) const DAY: i64 = 1440;
/// A Monday's midnight, in minutes since the epoch: 2026-01-05T00:00Z.
pub(crate) const MONDAY: i64 = 29_459_520;

/// One step's rates, one a column; none where they are not known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) rates: Option<Vec<f64>>,
    pub(crate) is_floor: bool,
}

impl Seen {
    pub(crate) fn of(rate: f64) -> Self {
        Self { rates: Some(vec![rate]), is_floor: false }
    }

    pub(crate) fn floor(rate: f64) -> Self {
        Self { is_floor: true, ..Self::of(rate) }
    }

    pub(crate) fn nothing() -> Self {
        Self { rates: None, is_floor: false }
    }

    pub(crate) fn close(&self, forecaster: &mut Forecaster, number: i64) -> bool {
        let step = self.rates.as_ref().map(|rates| Step { rates, is_floor: self.is_floor });
        forecaster.close(number, step)
    }
}

/// Standard normal numbers, by Box and Muller.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    move || {
        let (u, v): (f64, f64) = (random.random(), random.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// Minutes of a day that has its peak of about 200 at noon and its trough of about 40 at midnight.
pub(crate) fn tide(number: i64) -> f64 {
    120.0 - 80.0 * (std::f64::consts::TAU * number as f64 / DAY as f64).cos()
}

/// `count` minutes of the tide from `first` on, with noise.
pub(crate) fn noisy_tide(first: i64, count: i64, spread: f64, seed: u64) -> Vec<Seen> {
    let mut noise = noise(seed);
    (first..first + count).map(|number| Seen::of((tide(number) + spread * noise()).max(1.0))).collect()
}

pub(crate) fn quantile(tau: f64) -> Promise {
    Promise::Quantile(tau)
}

pub(crate) fn short_time(percent: f64) -> Promise {
    Promise::ShortTime(Percent::new(percent).unwrap())
}

/// For minutes, five ahead.
pub(crate) fn settings(promise: Promise) -> Settings {
    Settings::new(MINUTE * 5, promise)
}

/// What is said after each step from `first` on.
pub(crate) fn said(forecaster: &mut Forecaster, first: i64, steps: &[Seen]) -> Vec<Forecast> {
    let each = (first..).zip(steps).map(|(number, step)| {
        assert!(step.close(forecaster, number), "step {number}");
        forecaster.forecast().unwrap()
    });
    each.collect()
}

/// One that has lived through these steps.
pub(crate) fn lived(settings: Settings, first: i64, steps: &[Seen]) -> Forecaster {
    let mut forecaster = Forecaster::new(settings, &[1.0]);
    for (number, step) in (first..).zip(steps) {
        step.close(&mut forecaster, number);
    }
    forecaster
}

/// The same steps as a series of one column.
pub(crate) fn series(settings: &Settings, first: i64, steps: &[Seen]) -> Series {
    let mut series = Series::new(settings.step, 1, settings.memory);
    for (number, step) in (first..).zip(steps) {
        series.push(number, step.rates.as_ref().map(|rates| Step { rates, is_floor: step.is_floor }));
    }
    series
}

/// Bounds as bits, to be compared exactly.
pub(crate) fn bounds(said: &[Forecast]) -> Vec<u64> {
    said.iter().map(|forecast| forecast.bound.get().to_bits()).collect()
}

/// That two accounts of the same steps are the same, without showing all of both.
#[track_caller]
pub(crate) fn assert_same(a: &[Forecast], b: &[Forecast], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    if let Some((a, b)) = a.iter().zip(b).find(|(a, b)| a != b) {
        panic!("{what}: first at {}\n{a:?}\n{b:?}", a.made_at);
    }
}
