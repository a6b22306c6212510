//! What policies that plan know of seasons.

use std::f64::consts::TAU;

use super::past::{DAY, Past, WEEK};

/// Correlation with itself one period later from which a load counts as periodic.
const PERIODIC: f64 = 0.3;

/// How much better a week has to be than a day, which is learned sooner.
const BETTER: f64 = 0.05;

/// The period of a load, in minutes: a week or a day, whichever it is more like itself after; none if after neither. A period
/// counts from its second cycle on.
pub(super) fn period(past: &Past) -> Option<usize> {
    let similarity = |period: usize| {
        let cycles = past.cycles(period, WEEK / period * 4);
        (cycles.len() >= 2 * period).then(|| autocorrelation(cycles, period))
    };
    let day = similarity(DAY).filter(|day| *day >= PERIODIC);
    let week = similarity(WEEK).filter(|week| *week >= PERIODIC);
    match (day, week) {
        (Some(day), Some(week)) if week > day + BETTER => Some(WEEK),
        (None, Some(_)) => Some(WEEK),
        (Some(_), _) => Some(DAY),
        (None, None) => None,
    }
}

/// The correlation, -1 to 1, of values with those `lag` later; 0 where nothing varies.
pub(super) fn autocorrelation(values: &[f64], lag: usize) -> f64 {
    let pairs = values.len().saturating_sub(lag);
    let (before, after) = (&values[..pairs], &values[values.len() - pairs..]);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / pairs.max(1) as f64;
    let (a, b) = (mean(before), mean(after));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in before.iter().zip(after) {
        ab += (x - a) * (y - b);
        aa += (x - a) * (x - a);
        bb += (y - b) * (y - b);
    }
    if aa > 0.0 && bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

/// The mean over all cycles, by phase. `values` are whole cycles.
pub(super) fn mean_profile(values: &[f64], period: usize) -> Vec<f64> {
    by_phase(values, period, |cycle| cycle.iter().sum::<f64>() / cycle.len().max(1) as f64)
}

/// The median over all cycles, by phase: one bad day does not move it. `values` are whole cycles.
pub(super) fn median_profile(values: &[f64], period: usize) -> Vec<f64> {
    by_phase(values, period, |cycle| {
        cycle.sort_by(f64::total_cmp);
        let middle = cycle.len() / 2;
        match cycle.len() % 2 {
            0 if middle > 0 => (cycle[middle - 1] + cycle[middle]) / 2.0,
            _ => cycle.get(middle).copied().unwrap_or(0.0),
        }
    })
}

fn by_phase(values: &[f64], period: usize, of: impl Fn(&mut [f64]) -> f64) -> Vec<f64> {
    let mut same = Vec::new();
    let phase = |phase: usize| {
        same.clear();
        same.extend(values.iter().skip(phase).step_by(period));
        of(&mut same)
    };
    (0..period).map(phase).collect()
}

/// What is left of a profile when only its mean and its `harmonics` slowest waves are kept: a low-pass by the discrete Fourier
/// transform.
pub(super) fn low_pass(profile: &[f64], harmonics: usize) -> Vec<f64> {
    let n = profile.len();
    let mean = profile.iter().sum::<f64>() / n.max(1) as f64;
    let mut kept = vec![mean; n];
    for harmonic in 1..=harmonics.min(n.saturating_sub(1) / 2) {
        // Each angle is the one before turned a little: no sine a value.
        let (turn_sin, turn_cos) = (TAU * harmonic as f64 / n as f64).sin_cos();
        let turned =
            |(sin, cos): (f64, f64)| (sin * turn_cos + cos * turn_sin, cos * turn_cos - sin * turn_sin);
        let (mut a, mut b, mut at) = (0.0, 0.0, (0.0, 1.0));
        for value in profile {
            a += value * at.1;
            b += value * at.0;
            at = turned(at);
        }
        let scale = 2.0 / n as f64;
        at = (0.0, 1.0);
        for value in &mut kept {
            *value += scale * (a * at.1 + b * at.0);
            at = turned(at);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use ::plimsoll::units::{Span, Time};

    use super::*;

    fn past(minutes: usize, load: impl Fn(usize) -> f64) -> Past {
        let mut past = Past::default();
        for i in 0..=minutes {
            past.push(Time::EPOCH + Span::from_secs(60 * i as i64), load(i));
        }
        past
    }

    #[test]
    fn a_period_is_what_a_load_is_like_itself_after() {
        let wave = |i: usize| (TAU * i as f64 / DAY as f64).sin();
        assert_eq!(period(&past(2 * DAY, wave)), Some(DAY));
        assert_eq!(period(&past(2 * DAY - 1, wave)), None, "one cycle is none");
        // Of seven days one is another.
        let weekly = |i: usize| if i / DAY % 7 == 3 { -wave(i) } else { wave(i) };
        assert_eq!(period(&past(2 * WEEK, weekly)), Some(WEEK));
        assert_eq!(period(&past(3 * DAY, |_| 5.0)), None);
    }

    #[test]
    fn profiles_are_means_and_medians_by_phase() {
        let values = [1.0, 5.0, 2.0, 5.0, 9.0, 5.0];
        assert_eq!(mean_profile(&values, 2), [4.0, 5.0]);
        assert_eq!(median_profile(&values, 2), [2.0, 5.0]);
        assert_eq!(median_profile(&values[..4], 2), [1.5, 5.0]);
    }

    #[test]
    fn a_low_pass_keeps_slow_waves_and_drops_quick_ones() {
        let wave = |i: usize, harmonic: usize| (TAU * (i * harmonic) as f64 / 200.0 + 0.3).sin();
        let mixed: Vec<f64> = (0..200).map(|i| 4.0 + wave(i, 2) + wave(i, 40)).collect();
        for (i, kept) in low_pass(&mixed, 9).into_iter().enumerate() {
            assert!((kept - 4.0 - wave(i, 2)).abs() < 1e-9, "{i}: {kept}");
        }
    }
}
