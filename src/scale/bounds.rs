//! The bounds in force: the object's own, or those of schedules.
//!
//! While a schedule is in force its bounds take the place of the object's; of several the largest of each kind. What a
//! schedule holds at least is asked for a lead time before it begins, so that the pods are there when it does. Where the
//! least exceeds the most, the least counts for both: two schedules that overlap never take away what one of them asks for.

use crate::spec::Checked;
use crate::spec::schedules::Schedule;
use crate::units::{Span, Time};

/// The bounds in force; `least` is not above `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds<'a> {
    pub(super) least: Bound<'a>,
    pub(super) most: Bound<'a>,
}

/// One bound, and the schedule that sets it; none for the object's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound<'a> {
    pub(super) replicas: u32,
    pub(super) schedule: Option<&'a str>,
}

/// What is remembered of each schedule, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows(Vec<Window>);

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// An instant, and the first start that is later: the same for all instants in between, and dear to find.
    next: Option<(Time, Option<Time>)>,
    /// The start that pods have been asked for ahead of. Lead times that shorten as these come up do not take them back.
    prepared: Option<Time>,
}

impl Windows {
    /// The bounds in force at `now`, where pods take `lead` to come.
    pub(super) fn bounds<'a>(&mut self, spec: &'a Checked, now: Time, lead: Span) -> Bounds<'a> {
        self.0.resize(spec.schedules.len(), Window::default());
        let (mut least, mut most, mut ahead) = (None, None, None);
        for (schedule, window) in spec.schedules.iter().zip(&mut self.0) {
            // In force since the last start, if that is not longer ago than it lasts.
            let Some(start) = window.starts_after(schedule, now - schedule.duration) else { continue };
            if start <= now {
                raise(&mut least, schedule, schedule.min_replicas);
                raise(&mut most, schedule, schedule.max_replicas);
            } else if start <= now + lead || window.prepared == Some(start) {
                window.prepared = Some(start);
                raise(&mut ahead, schedule, schedule.min_replicas);
            }
        }
        let own = |replicas| Bound { replicas, schedule: None };
        let least = least.unwrap_or(own(spec.min_replicas));
        let least = ahead.filter(|ahead| ahead.replicas > least.replicas).unwrap_or(least);
        let most = most.unwrap_or(own(spec.max_replicas));
        Bounds { least, most: if most.replicas < least.replicas { least } else { most } }
    }
}

impl Window {
    fn starts_after(&mut self, schedule: &Schedule, time: Time) -> Option<Time> {
        match self.next {
            Some((from, start)) if from <= time && start.is_none_or(|start| time < start) => start,
            _ => {
                let start = schedule.starts_after(time);
                self.next = Some((time, start));
                start
            }
        }
    }
}

fn raise<'a>(bound: &mut Option<Bound<'a>>, schedule: &'a Schedule, replicas: Option<u32>) {
    if let Some(replicas) = replicas
        && bound.is_none_or(|bound| bound.replicas < replicas)
    {
        *bound = Some(Bound { replicas, schedule: Some(&schedule.name) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::Spec;

    /// Name, cron, duration, bounds.
    type Row<'a> = (&'a str, &'a str, &'a str, Option<u32>, Option<u32>);

    /// An object of 2 to 20 replicas with these schedules.
    fn spec(schedules: &[Row<'_>]) -> Checked {
        let schedule = |(name, cron, duration, min, max): &Row<'_>| {
            json!({
                "name": name, "cron": cron, "timeZone": "Europe/Berlin", "duration": duration,
                "minReplicas": min, "maxReplicas": max,
            })
        };
        let schedules: Vec<Value> = schedules.iter().map(schedule).collect();
        let spec: Spec = serde_json::from_value(json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
            "minReplicas": 2,
            "maxReplicas": 20,
            "load": {"histogram": "d", "weights": {"fixed": {}}},
            "target": {"metricsQPSPerPod": "10"},
            "schedules": schedules,
        }))
        .unwrap();
        spec.check().unwrap()
    }

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    /// Bounds and who sets them, as `least most`, with the lead time in seconds.
    fn bounds(spec: &Checked, now: &str, lead: i64) -> String {
        told(Windows::default().bounds(spec, at(now), Span::from_secs(lead)))
    }

    fn told(bounds: Bounds<'_>) -> String {
        let bound = |Bound { replicas, schedule }: Bound<'_>| match schedule {
            Some(schedule) => format!("{replicas}:{schedule}"),
            None => replicas.to_string(),
        };
        format!("{} {}", bound(bounds.least), bound(bounds.most))
    }

    #[test]
    fn a_schedule_replaces_the_bounds_from_its_start_for_its_duration() {
        let spec = spec(&[
            ("day", "0 8 * * *", "4h", Some(10), Some(40)),
            ("night", "0 22 * * *", "8h", Some(1), None),
        ]);
        // Berlin is an hour ahead in January.
        assert_eq!(bounds(&spec, "2026-01-12T06:59:59.9Z", 0), "2 20");
        assert_eq!(bounds(&spec, "2026-01-12T07:00:00Z", 0), "10:day 40:day");
        assert_eq!(bounds(&spec, "2026-01-12T10:59:59.9Z", 0), "10:day 40:day");
        assert_eq!(bounds(&spec, "2026-01-12T11:00:00Z", 0), "2 20");
        assert_eq!(bounds(&spec, "2026-01-12T21:00:00Z", 0), "1:night 20");
        assert_eq!(bounds(&spec, "2026-01-13T04:59:00Z", 0), "1:night 20");
    }

    #[test]
    fn the_start_is_local_and_the_length_is_elapsed_time() {
        // The clock goes forward at two on the 29th and back at three on the 25th: 23:00 is 22:00Z and 21:00Z.
        let spec = spec(&[("night", "0 23 * * *", "6h", Some(5), None)]);
        for (start, end) in [
            ("2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z"),
            ("2026-10-24T21:00:00Z", "2026-10-25T03:00:00Z"),
        ] {
            let before = |time: &str| (at(time) - Span::from_nanos(1)).to_string();
            assert_eq!(bounds(&spec, &before(start), 0), "2 20");
            assert_eq!(bounds(&spec, start, 0), "5:night 20");
            assert_eq!(bounds(&spec, &before(end), 0), "5:night 20");
            assert_eq!(bounds(&spec, end, 0), "2 20");
        }
    }

    #[test]
    fn of_several_the_largest_of_each_kind_wins_and_the_least_wins_over_the_most() {
        let spec = spec(&[
            ("a", "0 8 * * *", "4h", Some(10), Some(12)),
            ("b", "0 9 * * *", "4h", Some(5), Some(30)),
            ("c", "0 10 * * *", "1h", Some(11), None),
            ("low", "0 20 * * *", "4h", Some(2), Some(3)),
            ("high", "0 21 * * *", "1h", Some(6), None),
        ]);
        assert_eq!(bounds(&spec, "2026-01-12T08:30:00Z", 0), "10:a 30:b");
        assert_eq!(bounds(&spec, "2026-01-12T09:30:00Z", 0), "11:c 30:b");
        assert_eq!(bounds(&spec, "2026-01-12T19:30:00Z", 0), "2:low 3:low");
        assert_eq!(bounds(&spec, "2026-01-12T20:30:00Z", 0), "6:high 6:high");
    }

    #[test]
    fn one_that_begins_anew_while_it_is_in_force_goes_on() {
        let spec = spec(&[("s", "0 * * * *", "90m", Some(5), None)]);
        for minute in 0..180 {
            let now = at("2026-01-12T08:00:00Z") + Span::from_secs(60) * minute;
            assert_eq!(bounds(&spec, &now.to_string(), 0), "5:s 20", "{now}");
        }
    }

    #[test]
    fn the_least_is_asked_for_a_lead_time_early_and_the_most_is_not() {
        let spec = spec(&[
            ("day", "0 8 * * *", "4h", Some(30), Some(40)),
            ("late", "0 20 * * *", "1h", Some(1), Some(3)),
        ]);
        assert_eq!(bounds(&spec, "2026-01-12T06:54:59Z", 300), "2 20");
        assert_eq!(bounds(&spec, "2026-01-12T06:55:00Z", 300), "30:day 30:day");
        assert_eq!(bounds(&spec, "2026-01-12T07:00:00Z", 300), "30:day 40:day");
        assert_eq!(bounds(&spec, "2026-01-12T10:59:00Z", 300), "30:day 40:day");
        // It lowers nothing before its time.
        assert_eq!(bounds(&spec, "2026-01-12T18:59:59Z", 300), "2 20");
        assert_eq!(bounds(&spec, "2026-01-12T19:00:00Z", 300), "1:late 3:late");
    }

    /// As the pods that were asked for come up quickly, the lead time shortens.
    #[test]
    fn what_was_asked_for_ahead_is_not_taken_back_when_the_lead_time_shortens() {
        let spec = spec(&[("day", "0 8 * * *", "4h", Some(10), None)]);
        let mut windows = Windows::default();
        let mut told = |now: &str, lead| told(windows.bounds(&spec, at(now), Span::from_secs(lead)));
        assert_eq!(told("2026-01-12T06:55:00Z", 300), "10:day 20");
        assert_eq!(told("2026-01-12T06:56:00Z", 60), "10:day 20");
        assert_eq!(told("2026-01-12T12:00:00Z", 60), "2 20");
        assert_eq!(told("2026-01-13T06:56:00Z", 60), "2 20", "the next day is another one");
    }

    proptest! {
        /// What is remembered changes nothing, whichever instants were asked about before.
        #[test]
        fn bounds_are_a_function_of_the_instant(
            minutes in prop::collection::vec(0i64..30_000, 1..30),
            seconds in 0i64..60,
        ) {
            let spec = spec(&[
                ("a", "*/7 * * * *", "3m", Some(7), Some(9)),
                ("b", "30 2 * * *", "90m", None, Some(50)),
                ("c", "0 8,20 * * 1-5", "4h", Some(15), None),
                ("d", "0 0 1 * *", "7d", Some(3), None),
            ]);
            let mut windows = Windows::default();
            for minute in minutes {
                let now = at("2026-03-20T00:00:00Z") + Span::from_secs(60 * minute + seconds);
                prop_assert_eq!(
                    windows.bounds(&spec, now, Span::ZERO),
                    Windows::default().bounds(&spec, now, Span::ZERO)
                );
            }
        }
    }
}
