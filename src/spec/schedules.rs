//! When other bounds hold: a schedule begins at each instant that its cron fields name on its own local clock, and lasts for a
//! length of time.
//!
//! The fields are read by a library, the clock is that of the compiled-in time zones. All is checked when the schedules are
//! made, so that [`Schedule::starts_after`] cannot fail.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::Schedule as Written;
use crate::forecast::local_time::Zone;
use crate::units::{Span, Time};

/// Other bounds for a while, again and again; checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What decisions call it; unique in the spec.
    pub name: String,
    /// How long it lasts, in elapsed time: 1m to 7d.
    pub duration: Span,
    /// `minReplicas` meanwhile; at least 1. None leaves it to others.
    pub min_replicas: Option<u32>,
    /// `maxReplicas` meanwhile; at least 1. None leaves it to others.
    pub max_replicas: Option<u32>,
    cron: Cron,
    zone: Zone,
}

/// A text that is not when something begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CronError {
    #[error(
        "{given:?} has {found} fields, not the five of cron: minute, hour, day of the month, month, day of the week"
    )]
    Fields { given: String, found: usize },
    #[error("{given:?} is not when something begins, as 0 8 * * 1-5 is: {why}")]
    Unreadable { given: String, why: String },
    #[error("{given:?} never comes")]
    Never { given: String },
}

impl Schedule {
    /// What the user wrote, with its zone. The name, the length and the bounds are taken as they are.
    pub(super) fn new(written: &Written, zone: Zone) -> Result<Self, CronError> {
        let Written { name, cron, duration, min_replicas, max_replicas, .. } = written.clone();
        let found = cron.split_whitespace().count();
        if found != 5 {
            return Err(CronError::Fields { given: cron, found });
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser
            .parse(&cron)
            .map_err(|error| CronError::Unreadable { given: cron, why: error.to_string() })?;
        let schedule = Self { name, duration, min_replicas, max_replicas, cron, zone };
        let given = || CronError::Never { given: written.cron.clone() };
        schedule.starts_after(Time::EPOCH).map(|_| ()).ok_or_else(given)?;
        Ok(schedule)
    }

    /// When it begins next, later than `time`; none if that is beyond the years that [`Time`] has. On a day on which the clock
    /// skips a time of day, what should begin then begins at the end of the gap; what is shown twice begins once, the first
    /// time. Where more than one hour or minute is named, an hour that is skipped is left out, and one that comes twice counts
    /// twice.
    pub fn starts_after(&self, time: Time) -> Option<Time> {
        let start = self.cron.find_next_occurrence(&self.zone.zoned(time), false).ok()?;
        let start = i64::try_from(start.timestamp().as_nanosecond()).ok().map(Time::from_nanos)?;
        (start > time).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(cron: &str) -> Written {
        Written {
            name: "s".into(),
            cron: cron.into(),
            time_zone: "UTC".into(),
            duration: Span::from_secs(3600),
            min_replicas: Some(1),
            max_replicas: None,
        }
    }

    fn schedule(cron: &str, zone: &str) -> Schedule {
        Schedule::new(&written(cron), zone.parse().unwrap()).unwrap()
    }

    fn starts(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = schedule(cron, zone);
        let mut time: Time = after.parse().unwrap();
        let next = |_| {
            time = schedule.starts_after(time).unwrap();
            time.to_string()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn it_begins_by_its_own_local_clock() {
        // The clock goes forward on the 29th.
        assert_eq!(
            starts("0 8 * * *", "Europe/Berlin", "2026-03-28T07:00:00Z", 2),
            ["2026-03-29T06:00:00Z", "2026-03-30T06:00:00Z"]
        );
        assert_eq!(starts("30 9 * * 1", "UTC", "2026-01-05T09:29:59.5Z", 1), ["2026-01-05T09:30:00Z"]);
        assert_eq!(starts("30 9 * * 1", "UTC", "2026-01-05T09:30:00Z", 1), ["2026-01-12T09:30:00Z"]);
        assert_eq!(starts("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn what_the_clock_skips_begins_after_the_gap_and_what_it_shows_twice_begins_once() {
        assert_eq!(
            starts("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            starts("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn what_never_comes_is_told_and_so_is_what_is_no_cron() {
        let error = |cron: &str| Schedule::new(&written(cron), Zone::UTC).unwrap_err().to_string();
        assert_eq!(error("0 0 30 2 *"), "\"0 0 30 2 *\" never comes");
        assert_eq!(
            error("0 0 8 * * *"),
            "\"0 0 8 * * *\" has 6 fields, not the five of cron: minute, hour, day of the month, month, day of the week"
        );
        assert!(error("@daily").contains("has 1 fields"));
        assert!(error("61 8 * * *").contains("is not when something begins"));
        assert!(error("0 8 * * SOMEDAY").contains("is not when something begins"));
    }

    proptest! {
        /// What is remembered of the next start holds as long as it is later: there is none in between.
        #[test]
        fn the_next_start_is_the_same_until_it_comes(
            cron in prop::sample::select(vec!["0 8 * * 1-5", "*/7 * * * *", "30 2 * * *", "15 2,14 * * *", "0 0 1 * *"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Beirut"]),
            // Around the days on which Berlin's and Beirut's clocks change, and half a year around them.
            minute in 0i64..400_000,
            share in 0.0..1.0f64,
        ) {
            let schedule = schedule(cron, zone);
            let time = "2026-03-20T00:00:30Z".parse::<Time>().unwrap() + Span::from_secs(60) * minute;
            let start = schedule.starts_after(time).unwrap();
            prop_assert!(start > time);
            let between = time + Span::from_secs_f64((start - time).as_secs_f64() * share);
            if between < start {
                prop_assert_eq!(schedule.starts_after(between), Some(start), "{}", between);
            }
        }
    }
}
