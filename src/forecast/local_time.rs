//! Where an instant lies in the local day and week: what a season is counted in.
//!
//! People come at nine by their own clock, also on the day after it was changed. The time zones are those of a
//! database that is compiled in, never the system's: the same binary gives the same seasons on every machine. That adds
//! 300 KB to a stripped release binary and a tenth of a second to its build; an instant takes some 30 ns. The database is
//! as old as the binary: a country that changes its rules needs a newer one.

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use jiff::tz::{Disambiguation, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::units::{Span, Time};

/// A name that the IANA database does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no time zone of the IANA database, such as Europe/Berlin or UTC")]
pub struct ZoneError {
    /// What was given for a name.
    pub given: String,
}

/// A time zone of the IANA database. Text form its name, in which case does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// Minute and weekday that a local clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalMinute {
    /// Days since Monday: 0 to 6.
    pub weekday: u8,
    /// Minutes that the clock shows since midnight: 0 to 1439.
    pub minute_of_day: u16,
}

impl LocalMinute {
    /// Minutes that the clock shows since Monday's midnight: 0 to 10,079.
    pub fn minute_of_week(self) -> u16 {
        u16::from(self.weekday) * 1440 + self.minute_of_day
    }
}

impl Zone {
    /// Coordinated universal time, which has no clock changes.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The name in the database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What the local clock shows, truncated to its minute. On the day on which it goes forward the missing hour is never
    /// returned, on the day on which it goes back the repeated hour is returned twice.
    pub fn local_minute(&self, time: Time) -> LocalMinute {
        let local = self.datetime(time);
        LocalMinute {
            weekday: local.weekday().to_monday_zero_offset().unsigned_abs(),
            minute_of_day: u16::from(local.hour().unsigned_abs()) * 60
                + u16::from(local.minute().unsigned_abs()),
        }
    }

    /// What the local clock and calendar show.
    pub(super) fn datetime(&self, time: Time) -> civil::DateTime {
        // Every i64 of nanoseconds lies within jiff's years -9999..9999: the fallback is unreachable.
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).unwrap_or_default();
        self.0.to_datetime(timestamp)
    }

    /// The instant with this zone's clock.
    pub(crate) fn zoned(&self, time: Time) -> jiff::Zoned {
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).unwrap_or_default();
        timestamp.to_zoned(self.0.clone())
    }

    /// How far the local clock is ahead of UTC at `time`; negative behind it.
    pub(super) fn ahead(&self, time: Time) -> Span {
        if self.0 == TimeZone::UTC {
            return Span::ZERO;
        }
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).unwrap_or_default();
        Span::from_secs(i64::from(self.0.to_offset(timestamp).seconds()))
    }

    /// The instant at which the local clock shows this; which one of two where it shows it twice, and what to take where
    /// it never does, says `choice`. None outside the years that [`Time`] has, 1677 to 2262.
    pub(super) fn instant(&self, local: civil::DateTime, choice: Disambiguation) -> Option<Time> {
        let timestamp = self.0.to_ambiguous_timestamp(local).disambiguate(choice).ok()?;
        i64::try_from(timestamp.as_nanosecond()).ok().map(Time::from_nanos)
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        let zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
        zone.map(Self).ok_or_else(|| ZoneError { given: name.to_owned() })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::units::Span;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    /// How often each minute of the day is shown from `start` on, in so many minutes.
    fn shown(zone: &Zone, start: &str, minutes: i64) -> BTreeMap<u16, u32> {
        let start: Time = start.parse().unwrap();
        let mut shown = BTreeMap::new();
        for minute in 0..minutes {
            let local = zone.local_minute(start + Span::from_secs(60) * minute);
            *shown.entry(local.minute_of_day).or_default() += 1;
        }
        shown
    }

    /// The minutes of the day that are not shown exactly once, first and last, and how often they are.
    fn odd(shown: &BTreeMap<u16, u32>) -> (u16, u16, u32) {
        let odd: Vec<u16> = (0..1440).filter(|m| shown.get(m) != Some(&1)).collect();
        let (first, last) = (odd[0], odd[odd.len() - 1]);
        assert_eq!(usize::from(last - first) + 1, odd.len());
        let times = shown.get(&first).copied().unwrap_or(0);
        assert!(odd.iter().all(|m| shown.get(m).copied().unwrap_or(0) == times));
        (first, last, times)
    }

    #[test]
    fn a_clock_that_goes_forward_never_shows_the_missing_hour() {
        let berlin = shown(&zone("Europe/Berlin"), "2026-03-28T23:00:00Z", 23 * 60);
        assert_eq!(odd(&berlin), (120, 179, 0));
        let lord_howe = shown(&zone("Australia/Lord_Howe"), "2026-10-03T13:30:00Z", 24 * 60 - 30);
        assert_eq!(odd(&lord_howe), (120, 149, 0));
        // Where it goes forward at midnight.
        let beirut = shown(&zone("Asia/Beirut"), "2026-03-28T22:00:00Z", 23 * 60);
        assert_eq!(odd(&beirut), (0, 59, 0));
    }

    #[test]
    fn a_clock_that_goes_back_shows_an_hour_twice() {
        let berlin = shown(&zone("Europe/Berlin"), "2026-10-24T22:00:00Z", 25 * 60);
        assert_eq!(odd(&berlin), (120, 179, 2));
        let new_york = shown(&zone("America/New_York"), "2026-11-01T04:00:00Z", 25 * 60);
        assert_eq!(odd(&new_york), (60, 119, 2));
    }

    #[test]
    fn rules_hold_for_years_that_no_table_has() {
        let summer = zone("Europe/Berlin").local_minute("2099-07-01T10:30:00Z".parse().unwrap());
        assert_eq!(summer, LocalMinute { weekday: 2, minute_of_day: 12 * 60 + 30 });
        assert_eq!(summer.minute_of_week(), 2 * 1440 + 750);
    }

    #[test]
    fn names_are_read_and_wrong_ones_are_named() {
        assert_eq!(zone("asia/kolkata").name(), "Asia/Kolkata");
        assert_eq!(zone("UTC"), Zone::UTC);
        for name in ["", "Europe/Berlln", "CEST", "+02:00", "Etc/Unknown", "/etc/localtime", "../UTC"] {
            let error = name.parse::<Zone>().unwrap_err();
            assert_eq!(error, ZoneError { given: name.into() });
            assert!(error.to_string().contains(&format!("{name:?}")));
        }
        let error = serde_json::from_str::<Zone>("\"Mars/Olympus\"").unwrap_err().to_string();
        assert!(error.contains("Mars/Olympus"), "{error}");
        assert_eq!(serde_json::to_string(&zone("Europe/Berlin")).unwrap(), "\"Europe/Berlin\"");
    }

    proptest! {
        #[test]
        fn every_instant_has_a_minute_and_the_next_one_follows(
            nanos in any::<i64>(),
            name in proptest::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia"]),
        ) {
            let (zone, time) = (zone(name), Time::from_nanos(nanos / 2));
            let local = zone.local_minute(time);
            prop_assert!(local.weekday < 7 && local.minute_of_day < 1440);
            let in_a_week = zone.local_minute(time + Span::from_secs(7 * 86_400));
            let apart = (i32::from(in_a_week.minute_of_week()) - i32::from(local.minute_of_week())).rem_euclid(10_080);
            // A clock moves by two hours at most, Samoa's by the day that it once skipped.
            prop_assert!(apart <= 120 || apart >= 10_080 - 120 || name == "Pacific/Apia", "{apart}");
        }
    }
}
