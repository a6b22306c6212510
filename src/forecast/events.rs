//! What the user knows and no history shows: a sale, a broadcast, a holiday.
//!
//! Events are given, never inferred: what is not in the calendar changes nothing. All local times are checked when the
//! calendar is made, so that [`Events::at`] cannot fail.

use jiff::civil::{Date, DateTime};
use jiff::tz::Disambiguation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::local_time::{Zone, ZoneError};
use crate::units::Time;

/// A stretch of local time in which the load will be unlike its usual self.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What decisions call it; unique in the calendar.
    pub name: String,
    /// IANA name of the time zone that `start`, `end` and `like` are read in.
    pub time_zone: String,
    /// When it begins: local time to the minute, e.g. `2026-11-11T00:00`.
    pub start: String,
    /// When it is over: local time to the minute, after `start`.
    pub end: String,
    /// The day whose load it will resemble, e.g. `2025-11-11`, before `start`'s; the second day of an event resembles the
    /// day after, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// Times the load of the like-day, or times the forecast where there is none: above 0, up to 1000. Default 1, only with
    /// `like`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
}

/// An event that makes no sense: which one, which field, and why.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("event {event:?}: {field}: {problem}")]
pub struct EventError {
    /// The event's name.
    pub event: String,
    /// The field, as the user writes it.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: EventProblem,
}

/// What is wrong with a field of an event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EventProblem {
    /// Decisions could not say which event they mean.
    #[error("must be a name that no other event has")]
    Name,
    /// No such zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// Not a local time, or not one between the years 1678 and 2261.
    #[error("{given:?} is not a local time such as 2026-11-11T00:00")]
    LocalTime {
        /// What was given.
        given: String,
    },
    /// Not a date, or not one between the years 1678 and 2261.
    #[error("{given:?} is not a date such as 2026-11-11")]
    Date {
        /// What was given.
        given: String,
    },
    /// The event would last no time.
    #[error("must be after start")]
    NotAfterStart,
    /// A day that is not over cannot be resembled.
    #[error("must be a day before that of start")]
    NotBefore,
    /// Not a factor, or missing where there is no like-day.
    #[error("must be a number above 0, up to 1000; only with a like-day may it be left out")]
    Factor,
}

/// An event with its bounds as instants.
#[derive(Debug, Clone, PartialEq)]
struct Resolved {
    name: String,
    zone: Zone,
    start: Time,
    end: Time,
    factor: f64,
    /// The event's first day and the day that it resembles.
    like: Option<(Date, Date)>,
}

/// The calendar, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events(Vec<Resolved>);

/// The event that is on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Active<'a> {
    /// Its name.
    pub name: &'a str,
    /// Times the load at `like`, or times the forecast where there is none: above 0.
    pub factor: f64,
    /// The instant at which the local clock of the like-day shows the same time.
    pub like: Option<Time>,
}

impl Events {
    /// Checks a calendar. Where a change of the clock makes a bound ambiguous or skips it, the event takes the longer
    /// reading.
    ///
    /// # Errors
    /// At the first field that makes no sense.
    pub fn new(events: Vec<Event>) -> Result<Self, EventError> {
        let mut resolved: Vec<Resolved> = Vec::with_capacity(events.len());
        for event in events {
            let is_taken = resolved.iter().any(|other| other.name == event.name);
            let result = if event.name.is_empty() || is_taken {
                Err(("name", EventProblem::Name))
            } else {
                resolve(&event)
            };
            match result {
                Ok(event) => resolved.push(event),
                Err((field, problem)) => return Err(EventError { event: event.name, field, problem }),
            }
        }
        Ok(Self(resolved))
    }

    /// The event that is on at `time`: from its start, up to but without its end. Of several the one with the largest
    /// factor, and of equals the one that was given first.
    pub fn at(&self, time: Time) -> Option<Active<'_>> {
        let on = self.0.iter().filter(|event| (event.start..event.end).contains(&time));
        let event = on.reduce(|best, other| if other.factor > best.factor { other } else { best })?;
        let like = event.like.and_then(|(first, like)| like_instant(event, first, like, time));
        Some(Active { name: &event.name, factor: event.factor, like })
    }
}

/// The like-day's instant for one of the event's; none only where it would lie before the year 1678.
fn like_instant(event: &Resolved, first: Date, like: Date, time: Time) -> Option<Time> {
    let local = event.zone.datetime(time);
    let day = like.checked_add(local.date() - first).ok()?;
    event.zone.instant(day.to_datetime(local.time()), Disambiguation::Compatible)
}

fn resolve(event: &Event) -> Result<Resolved, (&'static str, EventProblem)> {
    let zone: Zone = event.time_zone.parse().map_err(|error| ("timeZone", EventProblem::Zone(error)))?;
    let instant = |field, given: &str, choice| {
        let local = local_time(given);
        let both = local.and_then(|local| Some((local, zone.instant(local, choice)?)));
        both.ok_or_else(|| (field, EventProblem::LocalTime { given: given.to_owned() }))
    };
    let (local_start, start) = instant("start", &event.start, Disambiguation::Earlier)?;
    let (local_end, end) = instant("end", &event.end, Disambiguation::Later)?;
    if local_end <= local_start || end <= start {
        return Err(("end", EventProblem::NotAfterStart));
    }
    let like = match &event.like {
        None => None,
        Some(given) => {
            let known = date(given).filter(|day| {
                zone.instant(day.to_datetime(local_start.time()), Disambiguation::Compatible).is_some()
            });
            let day = known.ok_or_else(|| ("like", EventProblem::Date { given: given.clone() }))?;
            if day >= local_start.date() {
                return Err(("like", EventProblem::NotBefore));
            }
            Some((local_start.date(), day))
        }
    };
    let factor = event.factor.or(like.map(|_| 1.0)).filter(|factor| *factor > 0.0 && *factor <= 1000.0);
    let factor = factor.ok_or(("factor", EventProblem::Factor))?;
    Ok(Resolved { name: event.name.clone(), zone, start, end, factor, like })
}

/// Exactly `2026-11-11T00:00`: jiff reads more forms, and drops an offset without a word.
fn local_time(text: &str) -> Option<DateTime> {
    let local: DateTime = text.parse().ok()?;
    (local.strftime("%Y-%m-%dT%H:%M").to_string() == text).then_some(local)
}

/// Exactly `2026-11-11`.
fn date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Span;

    fn event(name: &str, start: &str, end: &str, factor: Option<f64>) -> Event {
        Event {
            name: name.into(),
            time_zone: "Asia/Shanghai".into(),
            start: start.into(),
            end: end.into(),
            like: None,
            factor,
        }
    }

    fn singles_day() -> Event {
        let like = Some("2025-11-11".into());
        Event { like, ..event("singles-day", "2026-11-11T00:00", "2026-11-13T00:00", Some(1.2)) }
    }

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn an_event_is_on_from_its_start_to_just_before_its_end_by_the_local_clock() {
        let events = Events::new(vec![singles_day()]).unwrap();
        assert_eq!(events.at(at("2026-11-10T15:59:59Z")), None);
        let active = events.at(at("2026-11-10T16:00:00Z")).unwrap();
        assert_eq!((active.name, active.factor), ("singles-day", 1.2));
        assert_eq!(active.like, Some(at("2025-11-10T16:00:00Z")));
        let second_day = events.at(at("2026-11-12T15:59:59Z")).unwrap();
        assert_eq!(second_day.like, Some(at("2025-11-12T15:59:59Z")));
        assert_eq!(events.at(at("2026-11-12T16:00:00Z")), None);
        assert_eq!(Events::default().at(at("2026-11-12T16:00:00Z")), None);
    }

    #[test]
    fn the_like_day_keeps_the_local_time_over_a_change_of_the_clock() {
        let broadcast = Event {
            time_zone: "Europe/Berlin".into(),
            like: Some("2026-10-18".into()),
            ..event("broadcast", "2026-10-25T20:00", "2026-10-25T22:00", None)
        };
        let events = Events::new(vec![broadcast]).unwrap();
        let active = events.at(at("2026-10-25T19:30:00Z")).unwrap();
        assert_eq!((active.factor, active.like), (1.0, Some(at("2026-10-18T18:30:00Z"))));
    }

    #[test]
    fn an_event_in_the_repeated_or_the_missing_hour_takes_the_longer_reading() {
        let night = |start, end| {
            Events::new(vec![Event {
                time_zone: "Europe/Berlin".into(),
                ..event("n", start, end, Some(2.0))
            }])
            .unwrap()
        };
        let back = night("2026-10-25T02:00", "2026-10-25T02:30");
        assert!(
            back.at(at("2026-10-25T00:00:00Z")).is_some() && back.at(at("2026-10-25T01:29:00Z")).is_some()
        );
        assert_eq!(back.at(at("2026-10-25T01:30:00Z")), None);
        let forward = night("2026-03-29T02:00", "2026-03-29T02:30");
        assert!(forward.at(at("2026-03-29T01:00:00Z")).is_some());
    }

    #[test]
    fn what_is_wrong_is_told_with_the_event_and_the_field() {
        let good = singles_day;
        let cases: [(Event, &str); 17] = [
            (Event { name: String::new(), ..good() }, "name"),
            (Event { time_zone: "China".into(), ..good() }, "timeZone"),
            (Event { start: "2026-11-11".into(), ..good() }, "start"),
            (Event { start: "2026-11-11T00:00Z".into(), ..good() }, "start"),
            (Event { start: "2026-11-11T00:00+01:00".into(), ..good() }, "start"),
            (Event { start: "2026-11-11T00:00:01".into(), ..good() }, "start"),
            (Event { start: "2026-02-30T00:00".into(), ..good() }, "start"),
            (Event { start: "2263-01-01T00:00".into(), ..good() }, "start"),
            (Event { end: "2026-11-11T24:00".into(), ..good() }, "end"),
            (Event { end: "2026-11-11T00:00".into(), ..good() }, "end"),
            (Event { end: "2026-11-10T00:00".into(), ..good() }, "end"),
            (Event { like: Some("2026-11-11".into()), ..good() }, "like"),
            (Event { like: Some("11.11.2025".into()), ..good() }, "like"),
            (Event { like: Some("0001-01-01".into()), ..good() }, "like"),
            (Event { factor: Some(0.0), ..good() }, "factor"),
            (Event { factor: Some(f64::NAN), ..good() }, "factor"),
            (Event { like: None, factor: None, ..good() }, "factor"),
        ];
        for (event, field) in cases {
            let error = Events::new(vec![event.clone()]).unwrap_err();
            assert_eq!((error.field, &error.event), (field, &event.name), "{event:?}");
            let message = error.to_string();
            assert!(message.starts_with(&format!("event {:?}: {field}: ", event.name)), "{message}");
        }
        let error = Events::new(vec![good(), good()]).unwrap_err();
        assert_eq!((error.field, error.problem), ("name", EventProblem::Name));
    }

    #[test]
    fn an_event_is_written_in_camel_case() {
        let json = serde_json::json!({
            "name": "singles-day",
            "timeZone": "Asia/Shanghai",
            "start": "2026-11-11T00:00",
            "end": "2026-11-13T00:00",
            "like": "2025-11-11",
            "factor": 1.2,
        });
        assert_eq!(serde_json::from_value::<Event>(json.clone()).unwrap(), singles_day());
        assert_eq!(serde_json::to_value(singles_day()).unwrap(), json);
        let schema = schemars::schema_for!(Event).to_value();
        assert_eq!(schema["required"], serde_json::json!(["name", "timeZone", "start", "end"]));
    }

    proptest! {
        /// Of overlapping events the largest factor is in force, whatever their order, and none where there is none.
        #[test]
        fn the_largest_factor_of_those_that_are_on_is_in_force(
            given in proptest::collection::vec((1u32..28, 0u32..23, 1u32..60, 1u32..30), 0..8),
            minute in 0i64..40_320,
        ) {
            let events: Vec<Event> = given.iter().enumerate().map(|(i, (day, hour, length, factor))| {
                let start = format!("2026-02-{day:02}T{hour:02}:00");
                let end = format!("2026-02-{:02}T{hour:02}:{length:02}", (day + 2).min(28));
                Event { time_zone: "UTC".into(), ..event(&i.to_string(), &start, &end, Some(f64::from(*factor))) }
            }).collect();
            // Text of one width, in one zone without changes, sorts as time does.
            let time = at("2026-02-01T00:00:00Z") + Span::from_secs(60) * minute;
            let clock = &time.to_string()[..16];
            let on = events.iter().filter(|event| event.start.as_str() <= clock && clock < event.end.as_str());
            let largest = on.filter_map(|event| event.factor).max_by(f64::total_cmp);
            let forward = Events::new(events.clone()).unwrap();
            let backward = Events::new(events.into_iter().rev().collect()).unwrap();
            prop_assert_eq!(forward.at(time).map(|active| active.factor), largest);
            prop_assert_eq!(backward.at(time).map(|active| active.factor), largest);
        }
    }
}
