//! `aws-like`: predictive scaling as the documentation of Amazon EC2 Auto Scaling describes it. From a day of history on, and from up to 14
//! days of it, a plan is made every six hours for the 48 hours ahead, with one number an hour; each is launched 300 s before its hour
//! (`SchedulingBufferTime`). The plan only raises: beside it the newest load over the utilization, which dynamic scaling follows
//! as an HPA does. Until there is a day, that alone.
//!
//! The forecast itself is not published. Here an hour's load is the mean of the same hour over the days, those of the same weekday thrice,
//! times how the last day compares with what the same would have said of it.

use ::plimsoll::units::{Span, Time};

use super::past::{DAY, Past, minute};
use super::planned::{Plan, larger};

const HOUR: usize = 60;
const MOST_DAYS: usize = 14;
const PLANNED_HOURS: usize = 48;
const BUFFER: Span = Span::from_secs(300);
const RENEWED: i64 = 6 * HOUR as i64;
const SAME_WEEKDAY: f64 = 3.0;

#[derive(Debug, Default)]
pub(super) struct AwsLike {
    /// The first hour of the plan, by its number since 1970, and the load of each.
    plan: Option<(i64, Vec<f64>)>,
    made: Option<i64>,
}

/// Mean loads of the hours that are over, the newest one last, and the number of the one that is not.
fn hourly(past: &Past) -> (i64, Vec<f64>) {
    let hour = past.now().div_euclid(HOUR as i64);
    let begun = past.now().rem_euclid(HOUR as i64) as usize;
    let all = past.last(MOST_DAYS * DAY + begun);
    let whole = &all[..all.len() - begun.min(all.len())];
    (hour, whole.rchunks_exact(HOUR).rev().map(|hour| hour.iter().sum::<f64>() / HOUR as f64).collect())
}

/// What the hours before `index` say about it.
fn usual(hours: &[f64], index: usize) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for days in 1..=MOST_DAYS + 2 {
        let Some(load) = index.checked_sub(24 * days).and_then(|i| hours.get(i)) else { continue };
        let weight = if days % 7 == 0 { SAME_WEEKDAY } else { 1.0 };
        sum += weight * load;
        weights += weight;
    }
    (weights > 0.0).then(|| sum / weights)
}

impl Plan for AwsLike {
    fn minute(&mut self, past: &Past) {
        if self.made.is_some_and(|made| made + RENEWED > past.now()) || past.len() < DAY + HOUR {
            return;
        }
        let (hour, hours) = hourly(past);
        let newest = hours.len().saturating_sub(24)..hours.len();
        let pairs = newest.filter_map(|i| Some((hours[i], usual(&hours, i)?)));
        let (is, was) = pairs.fold((0.0, 0.0), |(is, was), (load, usual)| (is + load, was + usual));
        let level = if was > 0.0 { is / was } else { 1.0 };
        let load = |ahead: usize| usual(&hours, hours.len() + ahead).unwrap_or(0.0) * level;
        self.plan = Some((hour, (0..PLANNED_HOURS).map(load).collect()));
        self.made = Some(past.now());
    }

    fn wanted(&mut self, now: Time, newest: Option<f64>) -> Option<f64> {
        let planned = |at: Time| {
            let (first, loads) = self.plan.as_ref()?;
            let hour = usize::try_from(minute(at).div_euclid(HOUR as i64) - first).ok()?;
            loads.get(hour).copied()
        };
        larger(newest, larger(planned(now), planned(now + BUFFER)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_planned_as_it_was_on_the_days_before_and_begins_early() {
        let (mut aws, mut past) = (AwsLike::default(), Past::default());
        let at = |minute: i64| Time::EPOCH + Span::from_secs(60 * minute);
        // Two days with a busy hour, the second half as busy again.
        for i in 0..=2 * DAY as i64 {
            let busy = if (i / 60) % 24 == 9 { 8.0 } else { 2.0 };
            let load = if i < DAY as i64 { busy } else { 1.5 * busy };
            if past.push(at(i), load) {
                aws.minute(&past);
            }
        }
        aws.made = None;
        aws.minute(&past);
        let day = 2 * DAY as i64;
        let wanted =
            [8 * 60, 9 * 60 - 5, 10 * 60 - 1, 10 * 60].map(|m| aws.wanted(at(day + m), Some(1.0)).unwrap());
        // The mean of both days is 1.25 times the first one, and the last day was 1.5 times what the first one said.
        for (wanted, expected) in wanted.into_iter().zip([3.75, 15.0, 15.0, 3.75]) {
            assert!((wanted - expected).abs() < 0.1, "{wanted} {expected}");
        }
        assert_eq!(aws.wanted(at(day), Some(99.0)), Some(99.0), "it only raises");
    }
}
