//! The search: a periodogram proposes, the autocorrelation confirms, what was found is taken out.
//!
//! Periods are counted in cycles of the history here, as the spectrum does.

use statrs::distribution::{ContinuousCDF, FisherSnedecor};

use super::spectrum::{around, autocorrelation, background, power, power_at};
use super::take_out;

/// The chance that noise looks like a period to the periodogram alone, for each search.
const FALSE_ALARM: f64 = 5e-4;
/// How often a period of the calendar, and another, must have been seen.
const LEAST_CYCLES: (f64, f64) = (2.0, 4.0);
/// The shortest period, in points of the history.
const SHORTEST: f64 = 4.0;
/// A harmonic that is a period of its own has so many times the power of those beside it, and of what a profile with
/// jumps would have there.
const STANDS_OUT: f64 = 4.0;
/// What share of the bins around another counts for knowing its noise, of which only the low 30 % speak: from the false
/// alarms measured.
const SPEAKING: f64 = 0.75;
/// What the first harmonic of a calendar's period must have over the background at least.
const LEAST_FIRST: f64 = 3.0;
/// How often something is looked for beyond the calendar, found or not.
const TRIES: usize = 10;

/// A period that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// How many of it the history holds; exactly the calendar's number where it is one of the calendar's.
    pub(super) cycles: f64,
    /// Its power over that of the noise around.
    pub(super) periodogram: f64,
    /// The correlation at a lag of one period.
    pub(super) autocorrelation: f64,
}

/// The periods of a series, the shortest first. `calendar` has those that are tried first, the day before the week.
pub(super) fn periods(series: &[f64], calendar: &[f64]) -> Vec<Found> {
    let mut search = Search::new(series, calendar);
    search.try_calendar();
    search.try_peaks();
    search.try_harmonics();
    search.drop_harmonics();
    search.found.sort_by(|a, b| b.cycles.total_cmp(&a.cycles));
    search.found
}

struct Search<'a> {
    series: &'a [f64],
    calendar: &'a [f64],
    /// Of the whole series, and the noise in it.
    power: Vec<f64>,
    noise: Vec<f64>,
    found: Vec<Found>,
    /// The series without what was found, and the bins where that was.
    rest: Vec<f64>,
    masked: Vec<bool>,
}

impl<'a> Search<'a> {
    fn new(series: &'a [f64], calendar: &'a [f64]) -> Self {
        let power = power(series);
        let masked = vec![false; power.len()];
        let noise = background(&power, &masked);
        Self { series, calendar, power, noise, found: Vec::new(), rest: series.to_vec(), masked }
    }

    /// By the first harmonic and the second together: a weekend has a third of its power there.
    fn try_calendar(&mut self) {
        for cycles in self.calendar {
            let k = cycles.round() as usize;
            let is_seen = *cycles >= LEAST_CYCLES.0 && 2.0 * cycles <= self.most_cycles();
            if !is_seen || self.masked[k] || self.masked[2 * k] {
                continue;
            }
            let noise = background(&power(&self.rest), &self.masked);
            let own = power_at(&self.rest, *cycles);
            let first = own / noise[k];
            let second = power_at(&self.rest, 2.0 * cycles) / noise[2 * k];
            let both = 0.5 * (first + second);
            let m = SPEAKING * (around(2 * k).1 - around(k).0) as f64;
            // Half the period would be without the first; what peaks beside it is another, for which the next search is.
            if first > LEAST_FIRST
                && chance(both, 2, m) * (self.calendar.len() as f64) < FALSE_ALARM
                && 2.0 * own > power_at(&self.rest, refined(&self.rest, *cycles))
            {
                self.confirm(*cycles, *cycles, both);
            }
        }
    }

    fn try_peaks(&mut self) {
        let mut refused = vec![false; self.power.len()];
        for _ in 0..TRIES {
            let power = power(&self.rest);
            let noise = background(&power, &self.masked);
            let bins = LEAST_CYCLES.1 as usize..=self.most_cycles() as usize;
            let standing = bins.filter(|k| !self.masked[*k] && !refused[*k]);
            let standing = standing.map(|k| (k, power[k] / noise[k] / search_threshold(k, power.len())));
            let Some((k, over)) = standing.max_by(|a, b| a.1.total_cmp(&b.1)) else { return };
            if over < 1.0 {
                return;
            }
            let measured = refined(&self.rest, k as f64);
            let cycles = self.known(measured).unwrap_or(measured);
            let periodogram = power_at(&self.rest, measured) / noise[k];
            let is_confirmed = measured >= LEAST_CYCLES.1
                && self.is_new(cycles)
                && self.confirm(measured, cycles, periodogram);
            if !is_confirmed {
                refused[k - 1..=k + 1].fill(true);
            }
        }
    }

    /// Harmonics of what was found that are too strong to be no more than that; they were taken out with it.
    fn try_harmonics(&mut self) {
        for base in self.found.clone() {
            let last = (self.most_cycles() / base.cycles) as usize;
            for m in 2..last {
                let cycles = base.cycles * m as f64;
                let k = cycles.round() as usize;
                let periodogram = self.harmonic(base.cycles, m) / self.noise[k];
                if cycles < LEAST_CYCLES.1
                    || periodogram < search_threshold(k, self.power.len())
                    || !self.is_new(cycles)
                    || !self.is_own(base.cycles, m, cycles)
                {
                    continue;
                }
                if let Some(autocorrelation) = resemblance(&self.apart(cycles), cycles) {
                    let cycles = self.known(cycles).unwrap_or(cycles);
                    self.found.push(Found { cycles, periodogram, autocorrelation });
                }
            }
        }
    }

    /// The series without the periods that were found and do not contain one of so many cycles.
    fn apart(&self, cycles: f64) -> Vec<f64> {
        let mut series = self.series.to_vec();
        for other in self.found.iter().filter(|other| !is_multiple(cycles, other.cycles)) {
            take_out(&mut series, other.cycles, usize::MAX);
        }
        series
    }

    fn drop_harmonics(&mut self) {
        let is_known = |found: &Found| self.calendar.contains(&found.cycles);
        let is_own = |short: &Found| {
            self.found.iter().all(|long| {
                let m = (short.cycles / long.cycles).round();
                let is_harmonic = m >= 2.0 && is_multiple(short.cycles, long.cycles);
                // The day is no harmonic of the week, whatever the weekend does to it.
                let both_known = is_known(short) && is_known(long);
                !is_harmonic || both_known || self.is_own(long.cycles, m as usize, short.cycles)
            })
        };
        self.found = self.found.iter().copied().filter(is_own).collect();
    }

    /// Whether the m-th harmonic of a period is more than a part of that period's profile: it stands out of the
    /// harmonics beside it, and above 1/m² of those before it, which is how the harmonics of a profile with jumps fall off.
    /// Those before it that other periods account for do not count.
    fn is_own(&self, base: f64, m: usize, cycles: f64) -> bool {
        let least = self.harmonic(base, m) / STANDS_OUT;
        let others: Vec<f64> = self
            .found
            .iter()
            .map(|found| found.cycles)
            .filter(|c| *c > base + 0.5 && *c < cycles - 0.5)
            .collect();
        let is_others = |j: usize| others.iter().any(|other| is_multiple(j as f64 * base, *other));
        let of_jumps = |j: usize| self.harmonic(base, j) * (j as f64 / m as f64).powi(2);
        let beside = [m - 1, m + 1];
        beside.into_iter().all(|j| self.harmonic(base, j) < least)
            && (1..m).all(|j| of_jumps(j) < least || is_others(j))
    }

    fn is_new(&self, cycles: f64) -> bool {
        self.found.iter().all(|found| (found.cycles - cycles).abs() > 0.5)
    }

    /// The power of a period's m-th harmonic.
    fn harmonic(&self, base: f64, m: usize) -> f64 {
        let cycles = base * m as f64;
        let at = |k: f64| self.power.get(k as usize).copied().unwrap_or(0.0);
        at(cycles.floor()).max(at(cycles.ceil()))
    }

    /// Takes in a period, and out of the rest, if the rest resembles itself after one.
    fn confirm(&mut self, measured: f64, cycles: f64, periodogram: f64) -> bool {
        let Some(autocorrelation) = resemblance(&self.rest, measured) else { return false };
        self.found.push(Found { cycles, periodogram, autocorrelation });
        take_out(&mut self.rest, measured, usize::MAX);
        let harmonics = (1..).map(|m| (measured * f64::from(m)).round() as usize);
        harmonics.take_while(|k| *k < self.power.len()).for_each(|k| self.masked[k] = true);
        true
    }

    /// The period that people would mean by one: the calendar's that is within 1 % of it and explains half of what it does,
    /// or that a history of so few cycles cannot tell from it; else, where it cannot tell, a whole fraction of the first
    /// of the calendar's, the day.
    fn known(&self, cycles: f64) -> Option<f64> {
        let power = |cycles: f64| power_at(self.series, cycles);
        let own = power(cycles);
        let is_same = |known: f64| (cycles - known).abs() < 0.5 && power(known) > 0.9 * own;
        let is_near = |known: f64| (cycles - known).abs() <= 0.01 * known && power(known) > 0.5 * own;
        let fraction = self.calendar.first().map(|day| day * (cycles / day).round().max(1.0));
        let known = self.calendar.iter().copied().find(|known| is_near(*known) || is_same(*known));
        known.or(fraction.filter(|known| is_same(*known)))
    }

    fn most_cycles(&self) -> f64 {
        self.series.len() as f64 / SHORTEST
    }
}

/// Whether so many cycles are a whole multiple of others, as far as the spectrum can tell.
fn is_multiple(cycles: f64, of: f64) -> bool {
    let times = (cycles / of).round();
    times >= 1.0 && (cycles - times * of).abs() <= 0.5
}

/// The chance that the mean of so many bins of pure noise is so many times the background, which was taken from `m` bins.
fn chance(times: f64, bins: u32, m: f64) -> f64 {
    FisherSnedecor::new(2.0 * f64::from(bins), 2.0 * m).map_or(1.0, |f| f.sf(times))
}

/// How often a bin of pure noise is allowed to have more than its background, in so many tests: the quantile of an F
/// distribution with 2 and 2m degrees of freedom, m being the bins that the background was taken from.
fn threshold(k: usize, tests: f64) -> f64 {
    let (low, high) = around(k);
    let m = SPEAKING * (high - low) as f64;
    m * ((tests / FALSE_ALARM).powf(1.0 / m) - 1.0)
}

/// The same where all bins are searched: each octave has an equal part of the false alarms.
fn search_threshold(k: usize, bins: usize) -> f64 {
    threshold(k, k as f64 * (bins as f64).ln())
}

/// Where the power is greatest within half a bin, by golden sections.
fn refined(series: &[f64], cycles: f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (cycles - 0.6, cycles + 0.6);
    let inner = |low: f64, high: f64| (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut left, mut right) = inner(low, high);
    let (mut at_left, mut at_right) = (power_at(series, left), power_at(series, right));
    // A hundredth of a bin: a hundredth of a cycle in the whole history.
    for _ in 0..10 {
        if at_left > at_right {
            high = right;
            (right, at_right) = (left, at_left);
            left = inner(low, high).0;
            at_left = power_at(series, left);
        } else {
            low = left;
            (left, at_left) = (right, at_right);
            right = inner(low, high).1;
            at_right = power_at(series, right);
        }
    }
    0.5 * (low + high)
}

/// The correlation at a lag of one period, if it is a hill there and at two and three periods, as far as the history
/// reaches: higher than half a period before and after by more than noise makes it, and not the slope of a hill nearby.
fn resemblance(series: &[f64], cycles: f64) -> Option<f64> {
    let n = series.len() as f64;
    let lag = n / cycles;
    let mut sums = vec![0.0];
    let correlations = autocorrelation(series, 0.5 * cycles);
    let even = |lag: usize| correlations[lag] * n / (n - lag as f64);
    let mut sum = 0.0;
    let last = ((3.75 * lag) as usize + 2).min(series.len() - 1);
    sums.extend((0..=last).map(|lag| {
        sum += even(lag);
        sum
    }));
    // An eighth of a period smooths the noise and leaves the hill.
    let half = (lag / 16.0) as usize;
    let smooth = |lag: usize| {
        let (from, to) = (lag.saturating_sub(half), (lag + half).min(last));
        (sums[to + 1] - sums[from]) / (to + 1 - from) as f64
    };
    let noise = 1.0 / (n * (2 * half + 1) as f64).sqrt();
    let is_hill = |m: u32| {
        let near = |periods: f64| (((f64::from(m) + periods) * lag).round() as usize).min(last);
        let top = smooth(near(0.0));
        let highest = (near(-0.25)..=near(0.25)).map(smooth).fold(0.0, f64::max);
        top >= 0.8 * highest && top - 0.5 * (smooth(near(-0.5)) + smooth(near(0.5))) > 4.0 * noise
    };
    let reached = (1..=3).take_while(|m| *m == 1 || (f64::from(*m) + 0.5) * lag < 0.75 * n);
    reached.into_iter().all(is_hill).then(|| even(lag.round() as usize).clamp(-1.0, 1.0))
}
