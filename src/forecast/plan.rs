//! The day to come, for people: what the load usually does at these times, with bands that say how far off that has been.
//!
//! It is for looking at, and for those who order machines a day ahead. Decisions do not rest on it: they look as far as the lead
//! time, and much more sharply.

use serde::{Deserialize, Serialize};

use super::local_time::Zone;
use super::series::Series;
use crate::units::{MetricsQps, Time};

/// One step of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanPoint {
    /// When the step begins.
    pub at: Time,
    /// As likely exceeded as not.
    pub middle: MetricsQps,
    /// One in ten plans was below this...
    pub low: MetricsQps,
    /// ...and one in ten above that.
    pub high: MetricsQps,
}

/// Minutes of a day, and those that are planned.
const DAY: f64 = 1440.0;
/// Days before that say what is usual at a time of the day.
const DAYS: i64 = 7;
/// Weeks before that say what is usual at a time of the week, once there are two of them.
const WEEKS: i64 = 4;
/// Minutes to either side that a time's usual level is the mean of.
const SMOOTH: f64 = 5.0;
/// Minutes whose level says how the present differs from what is usual, and after which that counts 1/e.
const PRESENT: f64 = 60.0;
const FADES: f64 = 360.0;
/// Days on which the same plan is made in hindsight, to see how far off it was.
const HINDSIGHTS: i64 = 7;
/// Share outside of the band, on each side.
const TAIL: f64 = 0.1;
/// Minutes to either side whose errors are thought alike.
const ALIKE: f64 = 30.0;

/// The steps of a series as the local clock has them.
struct Local<'a> {
    levels: Vec<Option<f64>>,
    series: &'a Series,
    zone: &'a Zone,
    day: i64,
    smooth: i64,
    step_minutes: f64,
}

impl Local<'_> {
    /// Mean level around the step at the same local time `days` before step `number`, of steps before `end`.
    fn level(&self, number: i64, days: i64, end: i64) -> Option<f64> {
        let step = self.series.step().as_nanos();
        let ahead = |number: i64| self.zone.ahead(self.series.begins(number)).as_nanos() / step;
        let then = number - days * self.day;
        // The local clock may have been changed in between.
        let then = then + ahead(number) - ahead(then);
        let range = (then - self.smooth..=then + self.smooth).filter(|number| *number < end);
        let known = range.filter_map(|number| {
            let index = usize::try_from(number - self.series.first()).ok()?;
            self.levels.get(index).copied().flatten()
        });
        let (sum, count) = known.fold((0.0, 0.0), |(sum, count), level| (sum + level, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    /// What is usual at step `number`, as known before step `end`: at this time of the week, or of the day.
    fn usual(&self, number: i64, end: i64) -> Option<f64> {
        let lag = (number - end) / self.day + 1;
        let mean = |days: &mut dyn Iterator<Item = i64>| {
            let known = days.filter_map(|days| self.level(number, days, end));
            let (sum, count) = known.fold((0.0, 0u32), |(sum, count), level| (sum + level, count + 1));
            (count > 0).then(|| (sum / f64::from(count), count))
        };
        let weekly = mean(&mut (1..=WEEKS).map(|weeks| 7 * weeks));
        if let Some((level, 2..)) = weekly {
            return Some(level);
        }
        mean(&mut (lag..lag + DAYS)).map(|(level, _)| level)
    }

    /// The plan for `count` steps from `end` on, by what was known before.
    fn plan(&self, end: i64, count: usize) -> Option<Vec<f64>> {
        let recent = (PRESENT / self.step_minutes).ceil() as i64;
        let (mut present, mut usual) = (0.0, 0.0);
        for number in end - recent..end {
            let index = usize::try_from(number - self.series.first()).ok()?;
            if let (Some(level), Some(other)) =
                (self.levels.get(index).copied().flatten(), self.usual(number, end - recent))
            {
                present += level;
                usual += other;
            }
        }
        let ratio = if usual > 0.0 { (present / usual).clamp(0.1, 10.0) } else { 1.0 };
        (end..end + count as i64)
            .map(|number| {
                let minutes = (number - end) as f64 * self.step_minutes;
                let correction = 1.0 + (ratio - 1.0) * (-minutes / FADES).exp();
                Some(self.usual(number, end)? * correction)
            })
            .collect()
    }
}

/// The plan for the day after the last step of `series`, with one weight a column, by the clock of `zone`. None before there are two
/// days of history.
pub(super) fn plan(series: &Series, weights: &[f64], zone: &Zone) -> Option<Vec<PlanPoint>> {
    let step_minutes = series.step().as_secs_f64() / 60.0;
    let count = super::recent::steps(DAY, step_minutes);
    let local = Local {
        levels: series.levels(weights),
        series,
        zone,
        day: count as i64,
        smooth: (SMOOTH / step_minutes).round() as i64,
        step_minutes,
    };
    let end = series.end();
    if (series.len() as i64) < 2 * local.day {
        return None;
    }
    let middle = local.plan(end, count)?;
    let alike = super::recent::steps(ALIKE, step_minutes);
    // Ratios of what came to what would have been planned, by time ahead.
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); count.div_ceil(alike)];
    for days in 1..=HINDSIGHTS {
        let then = end - days * local.day;
        if then - series.first() < local.day {
            break;
        }
        let Some(planned) = local.plan(then, count) else { continue };
        for (i, planned) in planned.into_iter().enumerate() {
            let came = local.levels.get((then - series.first()) as usize + i).copied().flatten();
            if let Some(came) = came.filter(|_| planned > 0.0) {
                ratios[i / alike].push(came / planned);
            }
        }
    }
    ratios.iter_mut().for_each(|ratios| ratios.sort_by(f64::total_cmp));
    let amount = |value: f64| MetricsQps::saturating(value.max(0.0));
    let points = middle.into_iter().enumerate().map(|(i, middle)| {
        let ratios = &ratios[i / alike];
        let tail = (TAIL * ratios.len() as f64) as usize;
        let low = ratios.get(tail).map_or(0.0, |ratio| ratio.min(1.0));
        let high = ratios.len().checked_sub(tail + 1).and_then(|i| ratios.get(i));
        PlanPoint {
            at: series.begins(end + i as i64),
            middle: amount(middle),
            low: amount(middle * low),
            // Without hindsight nobody knows.
            high: amount(middle * high.map_or(10.0, |ratio| ratio.max(1.0))),
        }
    });
    Some(points.collect())
}

#[cfg(test)]
mod tests {
    use super::super::series::Step;
    use super::*;
    use crate::units::Span;

    /// So many days of a load that is `high` from 9 to 17 h by the clock of `zone`, and 10 else.
    fn office(days: i64, zone: &Zone, high: impl Fn(i64) -> f64) -> Series {
        let mut series = Series::new(Span::from_secs(60), 1, Span::from_secs(28 * 86_400));
        // 2026-03-02, a Monday.
        let first = series.number("2026-03-02T00:00:00Z".parse().unwrap());
        for minute in 0..days * 1440 {
            let hour = zone.local_minute(series.begins(first + minute)).minute_of_day / 60;
            let rate = if (9..17).contains(&hour) { high(minute / 1440) } else { 10.0 };
            series.push(first + minute, Some(Step { rates: &[rate], is_floor: false }));
        }
        series
    }

    fn at(plan: &[PlanPoint], hour: usize) -> (f64, f64, f64) {
        let PlanPoint { low, middle, high, .. } = plan[hour * 60 + 30];
        (low.get(), middle.get(), high.get())
    }

    #[test]
    fn the_day_to_come_is_like_the_days_before() {
        let series = office(6, &Zone::UTC, |_| 100.0);
        let plan = plan(&series, &[1.0], &Zone::UTC).unwrap();
        assert_eq!(plan.len(), 1440);
        assert_eq!(plan[0].at, series.begins(series.end()));
        assert_eq!(at(&plan, 12), (100.0, 100.0, 100.0));
        assert_eq!(at(&plan, 3), (10.0, 10.0, 10.0));
    }

    #[test]
    fn bands_are_as_wide_as_plans_were_off() {
        let series = office(14, &Zone::UTC, |day| if day % 2 == 0 { 50.0 } else { 150.0 });
        let plan = plan(&series, &[1.0], &Zone::UTC).unwrap();
        let (low, middle, high) = at(&plan, 12);
        assert!(low < 0.7 * middle && high > 1.3 * middle, "{low} {middle} {high}");
        assert_eq!(at(&plan, 3), (10.0, 10.0, 10.0));
    }

    #[test]
    fn it_follows_the_local_clock_over_its_change() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        // Up to Sunday, March 29, the day of the change.
        let series = office(27, &zone, |_| 100.0);
        let plan = plan(&series, &[1.0], &zone).unwrap();
        let of = |text: &str| {
            let time: Time = text.parse().unwrap();
            plan.iter().find(|point| point.at == time).unwrap().middle.get()
        };
        // 9:30 by the clock is 7:30 now, and was 8:30 the week before.
        assert_eq!((of("2026-03-29T06:30:00Z"), of("2026-03-29T07:30:00Z")), (10.0, 100.0));
    }

    #[test]
    fn two_days_are_the_least() {
        assert_eq!(plan(&office(1, &Zone::UTC, |_| 9.0), &[1.0], &Zone::UTC), None);
        assert!(plan(&office(2, &Zone::UTC, |_| 9.0), &[1.0], &Zone::UTC).is_some());
    }
}
