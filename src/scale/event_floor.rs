//! What an event in the user's calendar asks for: a load below which no bound goes.

use crate::forecast::events::Events;
use crate::forecast::{Forecast, Series};
use crate::units::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The event that asks for most, and the load that it is to be ready for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Floor {
    pub(super) event: String,
    pub(super) load: f64,
}

/// Follows the calendar, step by step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct EventFloor {
    /// What was expected when each event in sight that has no like-day came into sight: what its factor multiplies. While it is on, the load is
    /// its own, and is not multiplied again; nor is it by an event that follows.
    bases: BTreeMap<String, f64>,
    floor: Option<Floor>,
}

impl EventFloor {
    /// Takes what is forecast at `now`, when a step was closed. History is looked at with `weights`, one a column.
    pub(super) fn observe(
        &mut self,
        events: &Events,
        now: Time,
        forecast: &Forecast,
        series: &Series,
        weights: &[f64],
    ) {
        let step = series.step();
        let steps = forecast.horizon.as_nanos() / step.as_nanos().max(1);
        let in_sight = (0..=steps).filter_map(|ahead| events.at(now + step * ahead));
        let on = events.at(now).map(|active| active.name);
        let bound = forecast.bound.get();
        // The bound's head-room over what is likely: a day that is like another is so no more surely than forecasts are.
        let room = if forecast.middle.get() > 0.0 { (bound / forecast.middle.get()).max(1.0) } else { 1.0 };
        let mut floor: Option<Floor> = None;
        let mut bases = BTreeMap::new();
        for active in in_sight {
            let load = match active.like {
                Some(like) => {
                    let level = series.levels_from(series.number(like), 1, weights).next().flatten();
                    level.map(|level| active.factor * level * room)
                }
                None => {
                    // One that is on already when it is first seen is in the load. While another is on, so is that.
                    let expected = match on {
                        None => Some(bound),
                        Some(on) => self.bases.get(active.name).or_else(|| self.bases.get(on)).copied(),
                    };
                    if let Some(expected) = expected {
                        bases.insert(active.name.to_owned(), expected);
                    }
                    expected.map(|expected| active.factor * expected)
                }
            };
            if let Some(load) = load
                && floor.as_ref().is_none_or(|floor| floor.load < load)
            {
                floor = Some(Floor { event: active.name.to_owned(), load });
            }
        }
        self.bases = bases;
        self.floor = floor;
    }

    /// The floor of now, if an event is in sight.
    pub(super) fn get(&self) -> Option<&Floor> {
        self.floor.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::events::Event;
    use crate::forecast::{Basis, Step};
    use crate::units::{MetricsQps, Span};

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    fn forecast(bound: f64) -> Forecast {
        Forecast {
            made_at: Time::EPOCH,
            horizon: Span::from_secs(600),
            bound: MetricsQps::new(bound).unwrap(),
            quantile: 0.95,
            middle: MetricsQps::new(bound / 1.25).unwrap(),
            basis: Basis::Experts,
            history: Span::from_secs(86_400),
            peak_factor: 1.0,
            periods: vec![],
            shifted: None,
            is_outage: false,
            earned: 1.0,
            skill: None,
            coverage: None,
            experts: vec![],
        }
    }

    fn sale(like: Option<&str>, factor: Option<f64>) -> Events {
        Events::new(vec![Event {
            name: "sale".into(),
            time_zone: "UTC".into(),
            start: "2026-11-11T10:00".into(),
            end: "2026-11-11T12:00".into(),
            like: like.map(str::to_owned),
            factor,
        }])
        .unwrap()
    }

    #[test]
    fn a_factor_multiplies_what_was_expected_before_and_not_the_event_itself() {
        let events = sale(None, Some(3.0));
        let series = Series::new(Span::from_secs(60), 1, Span::from_secs(86_400));
        let mut floor = EventFloor::default();
        let mut observe = |time: &str, bound: f64| {
            floor.observe(&events, at(time), &forecast(bound), &series, &[1.0]);
            floor.get().map(|floor| floor.load)
        };
        assert_eq!(observe("2026-11-11T09:49:00Z", 100.0), None);
        assert_eq!(observe("2026-11-11T09:50:00Z", 100.0), Some(300.0), "as far ahead as the horizon");
        assert_eq!(observe("2026-11-11T09:59:00Z", 110.0), Some(330.0));
        assert_eq!(observe("2026-11-11T10:30:00Z", 350.0), Some(330.0), "the load is the event's own by now");
        assert_eq!(observe("2026-11-11T12:00:00Z", 350.0), None);
    }

    #[test]
    fn an_event_that_follows_another_does_not_multiply_it() {
        let day = |name: &str, day: &str, next: &str| Event {
            name: name.into(),
            time_zone: "UTC".into(),
            start: format!("2026-11-{day}T00:00"),
            end: format!("2026-11-{next}T00:00"),
            like: None,
            factor: Some(4.0),
        };
        let events = Events::new(vec![day("first", "11", "12"), day("second", "12", "13")]).unwrap();
        let series = Series::new(Span::from_secs(60), 1, Span::from_secs(86_400));
        let mut floor = EventFloor::default();
        for (time, bound) in
            [("10T23:55", 100.0), ("11T23:55", 420.0), ("12T00:01", 420.0), ("12T12:00", 420.0)]
        {
            floor.observe(&events, at(&format!("2026-11-{time}:00Z")), &forecast(bound), &series, &[1.0]);
            assert_eq!(floor.get().map(|floor| floor.load), Some(400.0), "{time}");
        }
    }

    #[test]
    fn an_event_that_is_on_when_it_is_first_seen_is_in_the_load() {
        let mut floor = EventFloor::default();
        let series = Series::new(Span::from_secs(60), 1, Span::from_secs(86_400));
        let now = at("2026-11-11T11:00:00Z");
        floor.observe(&sale(None, Some(3.0)), now, &forecast(300.0), &series, &[1.0]);
        assert_eq!(floor.get(), None);
    }

    #[test]
    fn a_like_day_is_looked_up_in_the_history() {
        let mut series = Series::new(Span::from_secs(60), 1, Span::from_secs(30 * 86_400));
        let first = series.number(at("2026-11-04T10:00:00Z"));
        for minute in 0..120 {
            let rate = [if minute == 5 { 80.0 } else { 40.0 }];
            series.push(first + minute, Some(Step { rates: &rate, is_floor: false }));
        }
        let events = sale(Some("2026-11-04"), Some(1.5));
        let mut floor = EventFloor::default();
        // Times 2 for the weight, 1.5 for the factor and 1.25 for the bound's room.
        floor.observe(&events, at("2026-11-11T10:00:00Z"), &forecast(50.0), &series, &[2.0]);
        assert_eq!(floor.get(), Some(&Floor { event: "sale".into(), load: 300.0 }));
        floor.observe(&events, at("2026-11-11T10:06:00Z"), &forecast(50.0), &series, &[2.0]);
        assert_eq!(floor.get().map(|floor| floor.load), Some(150.0));
    }
}
