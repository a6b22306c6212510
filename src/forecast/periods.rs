//! Which periods a load has: the hour, the day, the week, and what else the data show.
//!
//! Robust first: the history is freed of its trend, and what lies far from the rest is drawn in. Then, as
//! RobustPeriod does (Wen et al., SIGMOD 2021), a periodogram proposes and the autocorrelation confirms: a period is where
//! the power stands out of the noise *around* it (so that the slow wandering of a random walk is noise too) and where
//! the load resembles itself after one period, two and three. Each period found is taken out before the next one is looked
//! for. A harmonic, such as the eight hours that a day of three shifts contains, is not a period of its own; forty-five
//! minutes are, if they stand out of what the day's profile contains anyway.
//!
//! It never reports a period that has not been seen at least twice (the hour, the day, the week) or four times (others),
//! nor one that explains less than 1 % of the variance. Of histories that are noise, from white to a random walk and from
//! one day to 28, fewer than 1 in 100 of any kind have a period, and 45 in 30,000 altogether. A period shorter than four
//! points of the history, which has 16,384 at most, is not looked for: 10 minutes in 28 days. These take some 5 ms where
//! nothing is found, 12 ms where four periods are.
//!
//! What is known to be an outage should be missing, not zero.

use serde::{Deserialize, Serialize};

use crate::units::Span;

mod cleaned;
mod search;
mod spectrum;
#[cfg(test)]
mod tests;

use cleaned::{Cleaned, cleaned};
use search::Found;

/// The periods that people live by, in the order in which they are looked for.
const CALENDAR: [Span; 3] = [DAY, Span::from_secs(7 * 86_400), Span::from_secs(3_600)];
const DAY: Span = Span::from_secs(86_400);

/// The least share of the variance that is worth a season.
const LEAST_STRENGTH: f64 = 0.01;

/// A period of the load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Period {
    /// Its length in whole steps: what a season is folded by.
    pub steps: usize,
    /// Its length: that of the hour, the day or the week or a whole fraction of the day where the history cannot tell it
    /// from them, whole steps where it cannot tell it from these, else as measured.
    pub length: Span,
    /// The share of the variance, 0 to 1, that its profile explains beyond the profiles of the shorter periods: of the
    /// levels without trend and outliers, and allowing for what a profile fitted to noise explains.
    pub strength: f64,
    /// What speaks for it.
    pub evidence: PeriodEvidence,
}

/// What speaks for a period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodEvidence {
    /// The power at its frequency over that of the noise around; for the hour, the day and the week the mean of the first
    /// two harmonics. 1 on average where there is no period, 8 and more where one is reported.
    pub periodogram: f64,
    /// The correlation, −1 to 1, of the load with itself one period later, slower changes left out.
    pub autocorrelation: f64,
    /// How many of its cycles the history holds: 2 or more.
    pub cycles: f64,
}

/// The periods of a history, the shortest first. `levels` are one `step` apart, None where one is missing; the history
/// should be four weeks at most. Empty where nothing is periodic, where the history is shorter than 32 steps, where more
/// than half of it is missing or not finite, and where `step` is not positive.
pub fn detect(levels: &[Option<f64>], step: Span) -> Vec<Period> {
    if !step.is_positive() {
        return Vec::new();
    }
    // Whole weeks or at least days: what is strongest in most loads is then a whole number of cycles, which a spectrum
    // shows as one line.
    let day = usize::try_from(DAY.as_nanos() / step.as_nanos()).unwrap_or(0);
    let units = [7 * day, day].into_iter().filter(|_| DAY.as_nanos() % step.as_nanos() == 0);
    let unit = units.into_iter().find(|unit| 2 * unit <= levels.len()).unwrap_or(1);
    let kept = levels.len() / unit * unit;
    let levels = &levels[levels.len() - kept..];
    let Some(Cleaned { series, variance }) = cleaned(levels, unit) else { return Vec::new() };
    let history = step.as_secs_f64() * kept as f64;
    let calendar = CALENDAR.map(|length| history / length.as_secs_f64());

    let found = search::periods(&series, &calendar);
    let strengths = strengths(&series, variance, &found);
    let all = found.iter().zip(strengths).map(|(found, strength)| {
        let length = length(found.cycles, &calendar, kept, step);
        Period {
            steps: ((length.as_secs_f64() / step.as_secs_f64()).round() as usize).max(1),
            length,
            strength,
            evidence: PeriodEvidence {
                periodogram: found.periodogram,
                autocorrelation: found.autocorrelation,
                cycles: found.cycles,
            },
        }
    });
    all.filter(|period| period.strength >= LEAST_STRENGTH).collect()
}

/// The length of a period: the calendar's or whole steps where the history cannot tell it from them.
fn length(cycles: f64, calendar: &[f64; 3], steps: usize, step: Span) -> Span {
    if let Some(i) = calendar.iter().position(|known| *known == cycles) {
        return CALENDAR[i];
    }
    let measured = steps as f64 / cycles;
    let whole = measured.round();
    if (steps as f64 / whole - cycles).abs() < 0.25 {
        return step * (whole as i64);
    }
    Span::from_secs_f64(measured * step.as_secs_f64())
}

/// The mean profile of a period, taken out of a series; at most `most` points of it. Says how many there are.
fn take_out(series: &mut [f64], cycles: f64, most: usize) -> usize {
    let points = ((series.len() as f64 / cycles) as usize).clamp(1, most);
    let rate = cycles / series.len() as f64;
    let phase = |t: usize| (((t as f64 * rate).fract() * points as f64) as usize).min(points - 1);
    let mut profile = vec![(0.0, 0.0); points];
    for (t, x) in series.iter().enumerate() {
        let (sum, count) = &mut profile[phase(t)];
        *sum += x;
        *count += 1.0;
    }
    for (t, x) in series.iter_mut().enumerate() {
        let (sum, count) = profile[phase(t)];
        *x -= sum / count;
    }
    points
}

/// The share that each profile explains beyond the ones before it.
fn strengths(series: &[f64], variance: f64, found: &[Found]) -> Vec<f64> {
    /// Half an hour of a week: few enough that a profile explains little of mere noise.
    const PROFILE: usize = 336;
    let squares = |series: &[f64]| series.iter().map(|x| x * x).sum::<f64>();
    let mut rest = series.to_vec();
    let per_point = squares(series) / (series.len() - 1) as f64;
    let (mut spent, mut unexplained) = (1, 1.0);
    let shares = found.iter().map(|found| {
        spent += take_out(&mut rest, found.cycles, PROFILE) - 1;
        let free = series.len().saturating_sub(spent).max(1) as f64;
        let left = f64::min(squares(&rest) / free / per_point, unexplained);
        let share = (unexplained - left) * (per_point / variance).min(1.0);
        unexplained = left;
        share
    });
    shares.collect()
}
