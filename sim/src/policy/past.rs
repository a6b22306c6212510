//! What a policy remembers of the load: minutes, each by the mean of its samples.

use ::plimsoll::units::Time;

const MINUTE_NS: i64 = 60_000_000_000;

/// Minutes of a day.
pub(super) const DAY: usize = 1440;

/// Minutes of a week.
pub(super) const WEEK: usize = 7 * DAY;

/// Longest history that is kept.
const LONGEST: usize = 28 * DAY;

/// The number of the minute, since 1970, that an instant is in.
pub(super) fn minute(at: Time) -> i64 {
    (at - Time::EPOCH).as_nanos().div_euclid(MINUTE_NS)
}

/// The minute of the day, 0 to 1439, of a minute.
pub(super) fn of_day(minute: i64) -> usize {
    minute.rem_euclid(DAY as i64) as usize
}

/// The loads of minutes that are over, without gaps: one that no sample told of is as the one before.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Number of the minute after the last one.
    end: i64,
    loads: Vec<f64>,
    /// Sum and number of the samples of the minute `end`.
    open: (f64, u32),
}

impl Past {
    /// A sample of the load. Whether a minute has ended by it.
    pub(super) fn push(&mut self, at: Time, load: f64) -> bool {
        let now = minute(at);
        let (sum, count) = self.open;
        if count == 0 && self.loads.is_empty() {
            self.end = now;
        }
        let ended = now > self.end;
        if ended {
            if count > 0 {
                self.loads.push(sum / f64::from(count));
                self.end += 1;
            }
            let last = self.loads.last().copied().unwrap_or(load);
            let missing = usize::try_from(now - self.end).unwrap_or(0).min(LONGEST);
            self.loads.resize(self.loads.len() + missing, last);
            self.end = now;
            self.open = (0.0, 0);
            if self.loads.len() > LONGEST + DAY {
                self.loads.drain(..self.loads.len() - LONGEST);
            }
        }
        self.open = (self.open.0 + load, self.open.1 + 1);
        ended
    }

    /// The number of the minute that is not over yet.
    pub(super) fn now(&self) -> i64 {
        self.end
    }

    /// How many minutes there are.
    pub(super) fn len(&self) -> usize {
        self.loads.len()
    }

    /// The last `minutes` of them, or all.
    pub(super) fn last(&self, minutes: usize) -> &[f64] {
        &self.loads[self.loads.len().saturating_sub(minutes)..]
    }

    /// The last whole number of `period`s, `most` of them or fewer: so that the first one has the phase of `now`.
    pub(super) fn cycles(&self, period: usize, most: usize) -> &[f64] {
        let cycles = (self.loads.len() / period.max(1)).min(most);
        self.last(cycles * period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_means_and_gaps_are_as_the_minute_before() {
        let mut past = Past::default();
        let pushed = [(61, 2.0), (75, 4.0), (120, 5.0), (300, 9.0)]
            .map(|(second, load)| past.push(Time::from_secs(second), load));
        assert_eq!(pushed, [false, false, true, true]);
        assert_eq!((past.last(9), past.now()), (&[3.0, 5.0, 5.0, 5.0][..], 5));
        assert_eq!(past.cycles(3, 2), [5.0; 3]);
        assert_eq!((past.cycles(5, 2), past.last(1)), (&[][..], &[5.0][..]));
    }
}
