//! `crane-like`: after the DSP predictor and the EffectiveHorizontalPodAutoscaler of Crane (gocrane/crane). A load that autocorrelation shows to be
//! daily or weekly is foreseen by one of two estimators, whichever would have been nearer to the last cycle: the mean of the cycles, or the last cycle with
//! its 50 slowest waves a day alone (a low-pass by Fourier transform). To that a margin is added, and the maximum over the hour ahead is what
//! there should be pods for. As Crane's HPA has the metric itself beside the forecast, the newest load counts too, and alone while no period is found, which
//! takes two cycles. Looked at anew every six hours, on up to seven days or four weeks.

use ::plimsoll::units::Time;

use super::PolicyError;
use super::cron::margin;
use super::knobs::Knobs;
use super::past::{DAY, Past, minute};
use super::planned::{Plan, larger};
use super::season::{low_pass, mean_profile, period};

const AHEAD: usize = 60;
const RENEWED: i64 = 360;
const WAVES_A_DAY: usize = 50;
const MOST_CYCLES: usize = 7;
/// Crane's estimators have margins from 1 to 20 %.
const MARGIN: f64 = 0.15;

#[derive(Debug)]
pub(super) struct CraneLike {
    margin: f64,
    made: Option<i64>,
    /// The minute of the first value, and a cycle of the maxima of the hour after each minute.
    ahead: Option<(i64, Vec<f64>)>,
}

impl CraneLike {
    pub(super) fn new(knobs: &mut Knobs) -> Result<Self, PolicyError> {
        Ok(Self { margin: margin(knobs, MARGIN)?, made: None, ahead: None })
    }
}

/// The cycle to come, by the estimator that would have been nearer to the last one.
fn estimate(cycles: &[f64], period: usize) -> Vec<f64> {
    let waves = WAVES_A_DAY * (period / DAY).max(1);
    let (before, last) = cycles.split_at(cycles.len() - period);
    let filtered = |cycles: &[f64]| low_pass(&cycles[cycles.len() - period..], waves);
    let error =
        |guess: Vec<f64>| guess.iter().zip(last).map(|(guess, load)| (guess - load).abs()).sum::<f64>();
    if error(filtered(before)) < error(mean_profile(before, period)) {
        filtered(cycles)
    } else {
        mean_profile(cycles, period)
    }
}

impl Plan for CraneLike {
    fn minute(&mut self, past: &Past) {
        if self.made.is_some_and(|made| made + RENEWED > past.now()) || past.len() < 2 * DAY {
            return;
        }
        self.made = Some(past.now());
        self.ahead = period(past).map(|period| {
            let cycle = estimate(past.cycles(period, MOST_CYCLES), period);
            let most = |i: usize| (i..=i + AHEAD).map(|k| cycle[k % period]).fold(0.0, f64::max);
            (past.now(), (0..period).map(most).collect())
        });
    }

    fn wanted(&mut self, now: Time, newest: Option<f64>) -> Option<f64> {
        let foreseen = self.ahead.as_ref().and_then(|(first, ahead)| {
            let phase = (minute(now) - first).rem_euclid(ahead.len().max(1) as i64) as usize;
            ahead.get(phase).map(|most| most * (1.0 + self.margin))
        });
        larger(newest, foreseen)
    }
}

#[cfg(test)]
mod tests {
    use ::plimsoll::units::Span;

    use super::*;

    #[test]
    fn a_rise_is_there_an_hour_before() {
        let mut crane = CraneLike { margin: 0.5, made: None, ahead: None };
        let mut past = Past::default();
        let at = |minute: i64| Time::EPOCH + Span::from_secs(60 * minute);
        for i in 0..=3 * DAY as i64 {
            let load = if i % DAY as i64 / 60 == 9 { 8.0 } else { 2.0 };
            if past.push(at(i), load) {
                crane.minute(&past);
            }
        }
        let day = 3 * DAY as i64;
        let wanted = [479, 480, 599, 600].map(|minute| crane.wanted(at(day + minute), Some(1.0)).unwrap());
        assert_eq!(wanted, [3.0, 12.0, 12.0, 3.0]);
        assert_eq!(crane.wanted(at(day), Some(20.0)), Some(20.0));
    }
}
