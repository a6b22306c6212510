//! `cron`: a schedule by the hour of the day, as an operator would write it and KEDA's cron scaler would follow it. After a week the operator
//! takes for each hour the busiest minute of the week's days and some margin, and writes it anew every week. Each hour begins early, by the
//! time that pods take to be ready. Until there is a week, the newest load over the utilization, as an HPA would have it: on a trace of
//! hours it never gets beyond that, unless `hours` gives the schedule: 24 numbers of pods, such as `hours=2/2/…/9`, for midnight first.

use ::plimsoll::units::{Span, Time};

use super::knobs::Knobs;
use super::past::{DAY, Past, WEEK, minute, of_day};
use super::planned::Plan;
use super::{Basis, PolicyError};

/// What is added to the busiest minute, unless the knob says other.
const MARGIN: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Cron {
    margin: f64,
    lead: Span,
    /// Pods by hour of the day.
    schedule: Option<[f64; 24]>,
    /// When it was written; none if it was given.
    written: Option<i64>,
}

impl Cron {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let hours = |text: &String| parse(text).is_some();
        let given = knobs.get("hours", "24 numbers of pods, from 1 to 100000, with / between", hours)?;
        let margin = margin(knobs, MARGIN)?;
        let schedule = given.and_then(|text| parse(&text));
        Ok(Self { margin, lead: basis.lead, schedule, written: None })
    }
}

/// The knob `margin`: what is added, as a share.
pub(super) fn margin(knobs: &mut Knobs, usual: f64) -> Result<f64, PolicyError> {
    let given = knobs.get("margin", "a share from -0.9 to 10", |n: &f64| (-0.9..=10.0).contains(n))?;
    Ok(given.unwrap_or(usual))
}

fn parse(text: &str) -> Option<[f64; 24]> {
    let hours: Vec<f64> = text.split('/').map_while(|n| n.parse::<u32>().ok().map(f64::from)).collect();
    let fits = text.split('/').count() == 24 && hours.iter().all(|n| (1.0..=100_000.0).contains(n));
    if fits { hours.try_into().ok() } else { None }
}

impl Plan for Cron {
    fn minute(&mut self, past: &Past) {
        let now = past.now();
        let is_given = self.schedule.is_some() && self.written.is_none();
        let is_due = self.written.is_none_or(|written| written + WEEK as i64 <= now);
        if is_given || !is_due || past.len() < WEEK {
            return;
        }
        let mut busiest = [0.0f64; 24];
        let week = past.last(WEEK);
        for (ago, load) in week.iter().rev().enumerate() {
            let hour = &mut busiest[of_day(now - 1 - ago as i64) * 24 / DAY];
            *hour = hour.max(*load);
        }
        self.schedule = Some(busiest.map(|load| load * (1.0 + self.margin)));
        self.written = Some(now);
    }

    fn wanted(&mut self, now: Time, newest: Option<f64>) -> Option<f64> {
        let Some(schedule) = &self.schedule else { return newest };
        let at = |time: Time| schedule[of_day(minute(time)) * 24 / DAY];
        Some(at(now).max(at(now + self.lead)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_written_from_a_week_and_begins_each_hour_early() {
        let mut cron = Cron { margin: 0.5, lead: Span::from_secs(120), schedule: None, written: None };
        let mut past = Past::default();
        let hour = Span::from_secs(3600);
        assert_eq!(cron.wanted(Time::EPOCH, Some(3.0)), Some(3.0));
        for i in 0..=WEEK as i64 {
            let at = Time::EPOCH + Span::from_secs(60 * i);
            // At nine o'clock, one day more than on others.
            let load = if of_day(i) / 60 == 9 { if i < DAY as i64 { 8.0 } else { 6.0 } } else { 2.0 };
            if past.push(at, load) {
                cron.minute(&past);
            }
        }
        let at = |time: Span| cron.schedule.is_some().then(|| Time::EPOCH + hour * 24 * 7 + time);
        let wanted = [hour * 8, hour * 9 - Span::from_secs(60), hour * 9, hour * 10].map(at);
        let wanted = wanted.map(|at| cron.wanted(at.unwrap(), None).unwrap());
        assert_eq!(wanted, [3.0, 12.0, 12.0, 3.0]);
    }

    #[test]
    fn a_schedule_that_is_given_has_24_hours() {
        assert!(parse(&["3"; 24].join("/")).is_some_and(|hours| hours == [3.0; 24]));
        for text in [["3"; 23].join("/"), ["0"; 24].join("/"), ["x"; 24].join("/"), String::new()] {
            assert!(parse(&text).is_none(), "{text}");
        }
    }
}
