//! What other ways of scaling would have made of a workload's own past: proof before the switch is thrown.
//!
//! It is the closed loop of the [`kernel`](super::kernel) over the loads that an autoscaler has seen, at what a pod was found to carry
//! and the lead time that was found: with an ideal actuator, which takes nothing away for five minutes, as an HPA does. What it
//! cannot see is what the kernel cannot: queues, latency, and what happens within a step. The load that was seen is taken to be what
//! would have come whatever there had been of pods.

use plimsoll::forecast::{Forecaster, Step};
use plimsoll::scale::PastLoad;
use plimsoll::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::actuator::Actuator;
use super::kernel::{Plant, run};
use super::rules::{Clairvoyant, Newest, Rule};
use super::score::Tally;

/// Time that a forecast has to learn in, of which nothing is scored.
pub const WARM_UP: Span = Span::from_secs(86_400);

/// What must be left to be scored.
const LEAST: Span = Span::from_secs(43_200);

/// Time for which nothing is given back: the HPA's default.
const HOLD: Span = Span::from_secs(300);

/// What came of several ways over the same past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backtest {
    /// When the part that is scored begins.
    pub from: Time,
    /// When it ends.
    pub to: Time,
    /// Hours in it whose load is known.
    pub hours: f64,
    /// What each way came to.
    pub ways: Vec<Way>,
}

/// One way of scaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    /// Which one.
    pub kind: WayKind,
    /// Pods that were paid for, times hours.
    pub pod_hours: f64,
    /// Minutes in which the load was above what the ready pods should carry.
    pub short_minutes: f64,
    /// Load that was above that, of all load; 0 to 1.
    pub shortage: f64,
    /// Most pods at a time.
    pub most: u32,
}

/// A way of scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WayKind {
    /// As many as there are now, all the time.
    Fixed,
    /// By the load of the last step, as an HPA on CPU does at its best.
    Reactive,
    /// By the bound of the load to come.
    Plimsoll,
    /// With knowledge of what comes: nothing can do better.
    Clairvoyant,
}

impl WayKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fixed, Self::Reactive, Self::Plimsoll, Self::Clairvoyant];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "as many as now, always",
            Self::Reactive => "by the load now (an HPA at its best)",
            Self::Plimsoll => "Plimsoll, mode Auto",
            Self::Clairvoyant => "with knowledge of the future",
        }
    }
}

/// Runs every way over the past. None if less than a day and a half of it is known, the first day of which is for learning.
pub fn backtest(past: &PastLoad) -> Option<Backtest> {
    let capacity = past.per_pod.get();
    let step = past.forecast.step;
    let begins = past.loads.iter().position(Option::is_some)?;
    let known: Vec<bool> = past.loads[begins..].iter().map(Option::is_some).collect();
    let steps = |length: Span| (length.as_secs_f64() / step.as_secs_f64()).ceil() as usize;
    let warm_up = steps(WARM_UP);
    let scored = known.iter().skip(warm_up).filter(|known| **known).count();
    if capacity <= 0.0 || scored < steps(LEAST) {
        return None;
    }
    // Where nothing is known it is taken to stay, and nothing is scored.
    let mut last = 0.0;
    let loads: Vec<f64> = past.loads[begins..]
        .iter()
        .map(|load| {
            last = load.unwrap_or(last);
            last
        })
        .collect();
    let plant = Plant {
        step,
        capacity,
        lead: Plant::steps(step, past.lead),
        hold: Plant::steps(step, HOLD),
        actuator: Actuator::Ideal,
    };
    let first = past.first + begins as i64;
    let way = |kind: WayKind| -> Option<Way> {
        let mut rule: Box<dyn Rule> = match kind {
            WayKind::Fixed => Box::new(Fixed { load: load_of(past.replicas?, capacity) }),
            WayKind::Reactive => Box::new(Newest::new(1.0)),
            WayKind::Plimsoll => Box::new(Ahead::new(past, first, &known)),
            WayKind::Clairvoyant => Box::new(Clairvoyant::new(&loads, plant.lead)),
        };
        let mut bounded = Bounded {
            rule: rule.as_mut(),
            least: load_of(past.bounds.0, capacity),
            most: load_of(past.bounds.1, capacity),
        };
        let (mut tally, mut most) = (Tally::default(), 0.0f64);
        run(&loads, &plant, &mut bounded, |step| {
            if step.index >= warm_up && known[step.index] {
                tally.add(step);
                most = most.max(step.paid);
            }
        });
        let scores = tally.scores();
        let hours = scores.steps as f64 * step.as_secs_f64() / 3600.0;
        Some(Way {
            kind,
            pod_hours: scores.pods_mean * hours,
            short_minutes: scores.short_time_ratio * hours * 60.0,
            shortage: scores.shortage_ratio,
            most: most.ceil() as u32,
        })
    };
    let at = |index: usize| Time::EPOCH + step * (first + index as i64);
    Some(Backtest {
        from: at(warm_up),
        to: at(known.len()),
        hours: scored as f64 * step.as_secs_f64() / 3600.0,
        ways: WayKind::ALL.into_iter().filter_map(way).collect(),
    })
}

/// A load that takes exactly so many pods: a little less than they carry, for a quotient of floats may be above the whole number.
fn load_of(pods: u32, capacity: f64) -> f64 {
    (f64::from(pods) - 1e-6).max(0.0) * capacity
}

/// A rule within `minReplicas` and `maxReplicas`.
#[derive(Debug)]
struct Bounded<'a> {
    rule: &'a mut dyn Rule,
    least: f64,
    most: f64,
}

impl Rule for Bounded<'_> {
    fn decide(&mut self, load: f64) -> f64 {
        self.rule.decide(load).max(self.least).min(self.most)
    }
}

/// Always the same.
#[derive(Debug)]
struct Fixed {
    load: f64,
}

impl Rule for Fixed {
    fn decide(&mut self, _: f64) -> f64 {
        self.load
    }
}

/// As mode Auto: the bound of what comes or the present load, whichever is more.
#[derive(Debug)]
struct Ahead<'a> {
    forecaster: Forecaster,
    number: i64,
    known: std::slice::Iter<'a, bool>,
}

impl<'a> Ahead<'a> {
    fn new(past: &PastLoad, first: i64, known: &'a [bool]) -> Self {
        let mut forecaster = Forecaster::new(past.forecast.clone(), &[1.0]);
        forecaster.set_per_pod(Some(past.per_pod));
        Self { forecaster, number: first, known: known.iter() }
    }
}

impl Rule for Ahead<'_> {
    fn decide(&mut self, load: f64) -> f64 {
        let is_known = self.known.next().copied().unwrap_or_default();
        let rates = [load];
        let step = is_known.then_some(Step { rates: &rates, is_floor: false });
        self.forecaster.close(self.number, step);
        self.number += 1;
        self.forecaster.forecast().map_or(load, |forecast| forecast.bound.get().max(load))
    }
}

#[cfg(test)]
mod tests {
    use plimsoll::forecast::{Promise, Settings};
    use plimsoll::units::{MetricsQps, Percent};

    use super::*;

    const DAY: usize = 1440;

    /// Days of minutes of this load.
    fn past(days: usize, load: impl Fn(usize) -> Option<f64>) -> PastLoad {
        let promise = Promise::ShortTime(Percent::new(0.5).unwrap());
        PastLoad {
            forecast: Settings::new(Span::from_secs(300), promise),
            first: 29_459_520,
            loads: (0..days * DAY).map(load).collect(),
            per_pod: MetricsQps::new(10.0).unwrap(),
            lead: Span::from_secs(180),
            bounds: (1, 100),
            replicas: Some(12),
        }
    }

    /// 20 at night, 100 from nine to five.
    fn office(minute: usize) -> Option<f64> {
        Some(if (540..1020).contains(&(minute % DAY)) { 100.0 } else { 20.0 })
    }

    fn of(backtest: &Backtest, kind: WayKind) -> &Way {
        backtest.ways.iter().find(|way| way.kind == kind).unwrap()
    }

    #[test]
    fn a_fixed_number_costs_what_it_costs_and_is_short_where_the_load_is_above_it() {
        let told = backtest(&past(4, office)).unwrap();
        assert_eq!(told.hours, 72.0);
        assert_eq!((told.to - told.from).as_secs_f64(), 72.0 * 3600.0);
        let fixed = of(&told, WayKind::Fixed);
        assert_eq!((fixed.pod_hours, fixed.short_minutes, fixed.most), (12.0 * 72.0, 0.0, 12));
        let few = PastLoad { replicas: Some(9), ..past(4, office) };
        let few = backtest(&few).unwrap();
        assert_eq!(of(&few, WayKind::Fixed).short_minutes, 3.0 * 480.0);
    }

    #[test]
    fn who_only_sees_the_present_is_short_for_the_lead_and_who_learned_the_day_is_not() {
        let told = backtest(&past(8, office)).unwrap();
        let [reactive, ahead, seer] =
            [WayKind::Reactive, WayKind::Plimsoll, WayKind::Clairvoyant].map(|kind| of(&told, kind));
        // Three minutes every morning, from when the load is seen.
        assert_eq!(reactive.short_minutes, 7.0 * 3.0);
        assert_eq!(seer.short_minutes, 0.0);
        assert!(ahead.short_minutes < 0.5 * reactive.short_minutes, "{told:?}");
        assert!(seer.pod_hours <= ahead.pod_hours && ahead.pod_hours < 12.0 * told.hours, "{told:?}");
    }

    #[test]
    fn bounds_bind_every_way() {
        let bound = PastLoad { bounds: (3, 5), ..past(4, office) };
        let told = backtest(&bound).unwrap();
        for way in &told.ways {
            assert!(way.most <= 5 && way.pod_hours >= 3.0 * told.hours - 1e-6, "{way:?}");
            assert!(way.short_minutes >= 3.0 * 480.0, "{way:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_scored_and_too_little_tells_nothing() {
        let holes = |minute: usize| office(minute).filter(|_| !minute.is_multiple_of(10));
        let told = backtest(&past(4, holes)).unwrap();
        assert!((told.hours - 0.9 * 72.0).abs() < 0.1, "{}", told.hours);
        assert_eq!(backtest(&past(1, office)), None);
        assert_eq!(backtest(&past(4, |_| None)), None);
        let unknown = PastLoad { replicas: None, ..past(4, office) };
        assert_eq!(backtest(&unknown).unwrap().ways.len(), 3, "nobody knows how many there are");
    }
}
