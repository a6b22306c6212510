//! What a pod told in the last minutes: CPU that is told later belongs to the requests of its own time.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::sample::{Evidence, Group};
use crate::units::{Cores, Span, Time};

/// CPU that a pod used in some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    /// Cores, on average.
    pub cores: Cores,
    /// When that time began.
    pub from: Time,
    /// When it ended: now, or a while ago.
    pub until: Time,
}

/// How much later than it was used CPU may be told, so that the requests of that time are still remembered.
const LATEST: Span = Span::from_secs(180);

/// Pieces that are remembered of a pod's requests: fewer where it shows many histograms.
const PIECES: RangeInclusive<usize> = 8..=64;

/// Histograms in all of them, until they are as few as they may be.
const MAX_PIECES: usize = 1024;

/// Share of the time in which CPU was used of which the requests must be remembered.
const REMEMBERED: f64 = 0.9;

/// Rates of the last minutes, piece by piece, and when each ended.
#[derive(Debug, Default)]
pub(super) struct Remembered(VecDeque<(Time, Group)>);

impl Remembered {
    /// Adds what was told at `end`, and forgets what is so old that CPU that is used over `window` will not be told of it any more. Short pieces
    /// become one.
    pub(super) fn add(&mut self, end: Time, group: &Group, window: Span) {
        let kept = window + LATEST;
        let pieces = (MAX_PIECES / group.histograms.len().max(1)).clamp(*PIECES.start(), *PIECES.end());
        let piece = Span::from_nanos(kept.as_nanos() / pieces as i64);
        let joined = self.0.back().filter(|(_, last)| last.window < piece).and_then(|(_, last)| {
            Group::over(&[(last.window.as_secs_f64(), last), (group.window.as_secs_f64(), group)])
        });
        match joined {
            Some(joined) => {
                self.0.pop_back();
                self.0.push_back((end, joined));
            }
            None => self.0.push_back((end, group.clone())),
        }
        while self.0.front().is_some_and(|(at, _)| end - *at > kept) {
            self.0.pop_front();
        }
    }

    /// The requests of the time in which this CPU was used; none if too much of it is not remembered.
    pub(super) fn evidence(&self, spent: &Spent) -> Option<Evidence> {
        let Spent { cores, from, until } = *spent;
        let parts = self.0.iter().map(|(end, group)| {
            let (begin, end) = ((*end - group.window).max(from), (*end).min(until));
            ((end - begin).as_secs_f64().max(0.0), group)
        });
        let parts: Vec<(f64, &Group)> = parts.filter(|(seconds, _)| *seconds > 0.0).collect();
        let remembered: f64 = parts.iter().map(|(seconds, _)| seconds).sum();
        if remembered < REMEMBERED * (until - from).as_secs_f64() {
            return None;
        }
        let of = Group { cpu: Some(cores), window: until - from, ..Group::over(&parts)? };
        Some(Evidence { until, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{HistogramRates, InFlight, Labels};
    use crate::units::Rate;

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_000_000 + seconds)
    }

    /// A second with so many requests a second under each of so many sets of labels.
    fn second(rate: f64, sets: usize) -> Group {
        let histogram = |route: usize| {
            let labels = Labels::from([("route".to_owned(), route.to_string())]);
            HistogramRates::new(labels, vec![], vec![Rate::new(rate).unwrap()], None).unwrap()
        };
        Group { histograms: (0..sets).map(histogram).collect(), ..Group::new(1, Span::from_secs(1)) }
    }

    #[test]
    fn what_is_remembered_stays_small() {
        let window = Span::from_secs(60);
        for (sets, most) in [(1, 66), (100, 12), (2000, 10)] {
            let mut remembered = Remembered::default();
            (1..=1000).for_each(|i| remembered.add(at(i), &second(5.0, sets), window));
            assert!(remembered.0.len() <= most, "{sets}: {}", remembered.0.len());
            let spent = Spent { cores: Cores::new(0.1).unwrap(), from: at(930), until: at(990) };
            let evidence = remembered.evidence(&spent).unwrap();
            assert!(
                (evidence.of.total() / (5.0 * sets as f64) - 1.0).abs() < 1e-9
                    && evidence.of.window == window
            );
        }
    }

    #[test]
    fn what_was_turned_away_is_remembered_with_the_rest() {
        let mut remembered = Remembered::default();
        for i in 1..=10 {
            let rejected = Rate::new(f64::from(i)).ok();
            remembered.add(at(i.into()), &Group { rejected, ..second(5.0, 1) }, Span::from_secs(10));
        }
        let spent = Spent { cores: Cores::new(0.1).unwrap(), from: at(0), until: at(10) };
        assert_eq!(remembered.evidence(&spent).unwrap().of.rejected, Rate::new(5.5).ok());
    }

    /// A queue that grows by ten a second, in pieces of many lengths, and CPU that was used over a part of them.
    #[test]
    fn what_waited_is_remembered_with_the_rest() {
        let mut remembered = Remembered::default();
        for i in 1..=60 {
            let in_flight = Some(InFlight { now: 10.0 * f64::from(i), change: 10.0 });
            remembered.add(at(i.into()), &Group { in_flight, ..second(5.0, 1) }, Span::from_secs(60));
        }
        let spent = Spent { cores: Cores::new(0.1).unwrap(), from: at(10), until: at(40) };
        let InFlight { now, change } = remembered.evidence(&spent).unwrap().of.in_flight.unwrap();
        assert!((change - 300.0).abs() < 1e-9, "{change}");
        assert!((400.0..=450.0).contains(&now), "{now}");
    }

    #[test]
    fn pieces_whose_buckets_differ_are_not_added_up() {
        let mut remembered = Remembered::default();
        let mut other = second(5.0, 1);
        other.histograms[0] =
            HistogramRates::new(other.histograms[0].labels().clone(), vec![0.1], vec![Rate::ZERO; 2], None)
                .unwrap();
        remembered.add(at(1), &second(5.0, 1), Span::from_secs(10));
        remembered.add(at(2), &other, Span::from_secs(10));
        let spent = |from, until| Spent { cores: Cores::new(0.1).unwrap(), from: at(from), until: at(until) };
        assert!(remembered.evidence(&spent(1, 2)).is_some() && remembered.evidence(&spent(0, 2)).is_none());
    }
}
