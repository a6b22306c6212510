//! It will be as at this time of the hour, day or week, but for how the present differs from that.

use super::super::recent::Ewma;
use super::tuned::Tuned;
use super::{Expert, Grid, Known, Now};

/// What a period looks like, slot by slot: the level, and the maximum over the horizon that follows. The guess is that maximum,
/// corrected by how far the present level is from the slot's, in requests or in proportion, fully or by half.
#[derive(Debug, Clone)]
pub(in super::super) struct Season {
    name: &'static str,
    levels: Profile,
    peaks: Profile,
    /// The level, and what the slots have for it, over the last minutes.
    present: Ewma,
    profile: Ewma,
    last: f64,
    /// How far the last level was from its slot's; none before the slot had one.
    surprise: Option<f64>,
    /// How far levels and maxima are from what the corrected profile expects.
    level_spread: Ewma,
    peak_spread: Ewma,
    tuned: Tuned<4>,
}

/// Means by slot; five bytes each, since a week has ten thousand.
#[derive(Debug, Clone)]
struct Profile {
    means: Vec<f32>,
    /// How many values each is the mean of; what is more than 255 does not matter any more.
    seen: Vec<u8>,
    /// Weight of a new value at least.
    rate: f32,
}

impl Profile {
    fn new(slots: usize, rate: f32) -> Self {
        Self { means: vec![0.0; slots], seen: vec![0; slots], rate }
    }

    /// What a slot has; none before its first value.
    fn get(&self, slot: usize) -> Option<f64> {
        (self.seen[slot] > 0).then(|| f64::from(self.means[slot]))
    }

    /// Takes a value; none that is only known to be larger, where it is not.
    fn take(&mut self, slot: usize, value: f64, is_floor: bool) {
        let (mean, seen) = (&mut self.means[slot], &mut self.seen[slot]);
        if is_floor && *seen > 0 && value as f32 <= *mean {
            return;
        }
        *seen = seen.saturating_add(1);
        *mean += (value as f32 - *mean) * f32::from(*seen).recip().max(self.rate);
    }

    fn bytes(&self) -> usize {
        4 * self.means.capacity() + self.seen.capacity()
    }
}

/// A profile takes no more of a surprise than this many times the usual one: a spike today is none tomorrow.
const MOST_SURPRISE: f64 = 6.0;

/// A present that is more times its profile than this is another pattern, not a larger one.
const MOST_UNLIKE: f64 = 3.0;

/// `value`, no further from what is expected than is usual.
fn unsurprising(value: f64, expected: f64, spread: &mut Ewma) -> f64 {
    let surprise = value - expected;
    let limit = MOST_SURPRISE * spread.get();
    spread.push(surprise.abs());
    if limit > 0.0 { expected + surprise.clamp(-limit, limit) } else { value }
}

impl Season {
    /// A period of `minutes`; `cycles` is how many of them its profile is the mean of, or so.
    pub(super) fn new(name: &'static str, grid: Grid, minutes: f64, cycles: f32) -> Self {
        // Weight of a new cycle.
        let profile = || Profile::new(grid.steps(minutes), 2.0 / (cycles + 1.0));
        let short = || Ewma::new(10.0 / grid.step_minutes);
        let day = || Ewma::new(super::DAY / grid.step_minutes);
        Self {
            name,
            levels: profile(),
            peaks: profile(),
            present: short(),
            profile: short(),
            last: 0.0,
            surprise: None,
            level_spread: day(),
            peak_spread: day(),
            tuned: Tuned::new(grid),
        }
    }

    /// Slot of a step: modulo their number, so within it.
    fn slot(&self, step: i64) -> usize {
        step.rem_euclid(self.levels.means.len() as i64) as usize
    }
}

impl Expert for Season {
    fn name(&self) -> &'static str {
        self.name
    }

    fn learn(&mut self, known: &Known) {
        let slot = self.slot(known.local_origin);
        let peak = match self.peaks.get(slot) {
            None => known.peak,
            Some(peak) => {
                let expected = peak + self.present.get() - self.profile.get();
                unsurprising(known.peak, expected, &mut self.peak_spread)
            }
        };
        self.peaks.take(slot, peak, known.is_floor);
        self.tuned.learn(known);
    }

    fn guess(&mut self, now: &Now<'_>) -> Option<f64> {
        let slot = self.slot(now.local);
        let before = self.levels.get(slot);
        if let Some(level) = now.level {
            let seen = match before {
                None => level,
                Some(profile) => {
                    let expected = profile + self.present.get() - self.profile.get();
                    let seen = unsurprising(level, expected, &mut self.level_spread);
                    self.present.push(level);
                    self.profile.push(profile);
                    self.last = level;
                    self.surprise = Some(level - profile);
                    seen
                }
            };
            self.levels.take(slot, seen, now.is_floor);
        }
        let (before, peak) = (before?, self.peaks.get(slot)?);
        let (present, profile) = (self.present.get(), self.profile.get());
        let ratio =
            if profile > 0.0 { (present / profile).clamp(MOST_UNLIKE.recip(), MOST_UNLIKE) } else { 1.0 };
        let guesses = [
            peak + present - profile,
            peak * ratio,
            peak + 0.5 * (present - profile),
            peak + self.last - before,
        ];
        Some(self.tuned.choose(now.step, guesses))
    }

    fn surprise(&self) -> Option<f64> {
        self.surprise.filter(|_| self.name == "days")
    }

    fn bytes(&self) -> usize {
        self.levels.bytes() + self.peaks.bytes() + self.tuned.bytes()
    }

    fn boxed(&self) -> Box<dyn Expert> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::recent::Recent;
    use super::*;

    /// Five steps a cycle, two ahead.
    const GRID: Grid = Grid { step_minutes: 1.0, horizon: 2 };
    const CYCLE: [f64; 5] = [10.0, 20.0, 80.0, 30.0, 10.0];

    /// A season that lives through levels; its last guess.
    fn lived(levels: &[(f64, bool)]) -> (Season, Option<f64>) {
        let mut season = Season::new("days", GRID, 5.0, 3.0);
        let recent = Recent::new(1.0);
        let mut guess = None;
        for (i, (level, is_floor)) in levels.iter().enumerate() {
            let step = i as i64;
            if i >= 2 {
                let (before, is_before_floor) = levels[i - 1];
                let peak = level.max(before);
                let is_floor = *is_floor || is_before_floor;
                season.learn(&Known { origin: step - 2, local_origin: step - 2, peak, is_floor });
            }
            let level = Some(*level);
            guess = season.guess(&Now {
                step,
                local: step,
                level,
                is_floor: *is_floor,
                recent: &recent,
                guesses: &[],
            });
        }
        (season, guess)
    }

    fn cycles(count: usize, times: f64) -> Vec<(f64, bool)> {
        (0..5 * count).map(|i| (times * CYCLE[i % 5], false)).collect()
    }

    #[test]
    fn what_was_seen_a_cycle_ago_is_expected_again() {
        let ends = |more: usize| lived(&cycles(6, 1.0)[..25 + more]).1.unwrap();
        let found = [1, 2, 3, 4, 5].map(|more| ends(more).round());
        assert_eq!(found, [80.0, 80.0, 30.0, 10.0, 20.0], "after each step the maximum of the next two");
        assert_eq!(lived(&cycles(1, 1.0)).1, None, "not before it was seen");
    }

    #[test]
    fn a_day_at_another_level_is_that_level_higher() {
        let levels = [cycles(40, 1.0), cycles(40, 2.0)].concat();
        let (season, _) = lived(&levels);
        let again = [levels, cycles(1, 4.0)[..1].to_vec()].concat();
        let guess = lived(&again).1.unwrap();
        assert!((160.0..=320.0).contains(&guess), "{guess}");
        assert!(season.surprise().unwrap().abs() < 10.0);
    }

    #[test]
    fn a_spike_does_not_become_the_season() {
        let mut levels = cycles(30, 1.0);
        // Some noise, so that there is a usual surprise.
        levels.iter_mut().enumerate().for_each(|(i, level)| level.0 += (i * 7 % 3) as f64);
        levels[120].0 = 10_000.0;
        let (season, _) = lived(&levels);
        let most = |profile: &Profile| profile.means.iter().copied().fold(0.0, f32::max);
        assert!(most(&season.levels) < 200.0 && most(&season.peaks) < 400.0, "{season:?}");
    }

    #[test]
    fn floors_raise_a_season_and_never_lower_it() {
        let floors: Vec<(f64, bool)> = cycles(9, 0.5).into_iter().map(|(level, _)| (level, true)).collect();
        let (before, _) = lived(&cycles(5, 1.0));
        let (after, _) = lived(&[cycles(5, 1.0), floors].concat());
        let pairs = [(&before.levels, &after.levels), (&before.peaks, &after.peaks)];
        for (a, b) in pairs.into_iter().flat_map(|(before, after)| before.means.iter().zip(&after.means)) {
            assert!(b >= a, "{a} {b}");
        }
        let higher: Vec<(f64, bool)> = cycles(9, 2.0).into_iter().map(|(level, _)| (level, true)).collect();
        let (raised, _) = lived(&[cycles(5, 1.0), higher].concat());
        assert!(raised.levels.means.iter().zip(&before.levels.means).all(|(a, b)| a > b));
    }
}
