//! `ahpa-like`: after AHPA (Alibaba; AAAI 2023, arXiv 2303.03640), which is closed. The load is taken apart into a season (daily or weekly, by
//! autocorrelation; the median of up to seven cycles), a trend (what is left, as an exponential mean with a half-life of
//! six hours) and a rest, of which an upper quantile by the hour of the day is added: the paper has a quantile forest there. Rises are
//! moved earlier by the ready time, and the larger one of this and the newest load counts. As AHPA asks for seven days of history, the newest load alone until then
//! and while no period is found. Renewed every six hours. Its Erlang-C model from load to pods is the utilization here, as for all others.

use ::plimsoll::units::{Span, Time};

use super::knobs::Knobs;
use super::past::{DAY, Past, WEEK, minute, of_day};
use super::planned::{Plan, larger};
use super::season::{median_profile, period};
use super::{Basis, PolicyError};

const RENEWED: i64 = 360;
const MOST_CYCLES: usize = 7;
const TREND_HALF_LIFE: f64 = 360.0;
const QUANTILE: f64 = 0.95;

#[derive(Debug)]
pub(super) struct AhpaLike {
    quantile: f64,
    lead: Span,
    made: Option<i64>,
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    /// The minute of the season's first value.
    first: i64,
    season: Vec<f64>,
    trend: f64,
    /// The quantile of the rest, by hour of the day.
    rest: [f64; 24],
}

impl Parts {
    fn new(past: &Past, period: usize, quantile: f64) -> Self {
        let first = past.now();
        let cycles = past.cycles(period, MOST_CYCLES);
        let count = (cycles.len() / period).max(2) as f64;
        let season = median_profile(cycles, period);
        let mut parts = Self { first, season, trend: 0.0, rest: [0.0; 24] };
        let mut rests: [Vec<f64>; 24] = Default::default();
        for (i, load) in cycles.iter().enumerate() {
            let at = first - cycles.len() as i64 + i as i64;
            // A cycle is part of its own season; without it, it would be further from it by about so much.
            let rest = (load - parts.season[i % period] - parts.trend) * count / (count - 1.0);
            if i >= DAY.min(period) {
                rests[of_day(at) * 24 / DAY].push(rest);
            }
            parts.follow(*load, at);
        }
        parts.rest = rests.map(|mut rests| {
            rests.sort_by(f64::total_cmp);
            let rank = (quantile * rests.len() as f64).ceil() as usize;
            rests.get(rank.clamp(1, rests.len().max(1)) - 1).copied().unwrap_or(0.0)
        });
        parts
    }

    fn season(&self, at: i64) -> f64 {
        self.season[(at - self.first).rem_euclid(self.season.len().max(1) as i64) as usize]
    }

    fn follow(&mut self, load: f64, at: i64) {
        let gain = 1.0 - (-1.0 / TREND_HALF_LIFE).exp2();
        self.trend += gain * (load - self.season(at) - self.trend);
    }

    fn foreseen(&self, at: i64) -> f64 {
        self.season(at) + self.trend + self.rest[of_day(at) * 24 / DAY]
    }
}

impl AhpaLike {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let fits = |q: &f64| (0.5..=0.9999).contains(q);
        let quantile = knobs.get("quantile", "a quantile from 0.5 to 0.9999", fits)?.unwrap_or(QUANTILE);
        Ok(Self { quantile, lead: basis.lead, made: None, parts: None })
    }
}

impl Plan for AhpaLike {
    fn minute(&mut self, past: &Past) {
        if let (Some(parts), Some(load)) = (&mut self.parts, past.last(1).first()) {
            parts.follow(*load, past.now() - 1);
        }
        if self.made.is_some_and(|made| made + RENEWED > past.now()) || past.len() < WEEK {
            return;
        }
        self.made = Some(past.now());
        self.parts = period(past).map(|period| Parts::new(past, period, self.quantile));
    }

    fn wanted(&mut self, now: Time, newest: Option<f64>) -> Option<f64> {
        let foreseen = self.parts.as_ref().map(|parts| {
            let minutes = minute(now)..=minute(now + self.lead + Span::from_secs(60));
            minutes.map(|at| parts.foreseen(at)).fold(0.0, f64::max)
        });
        larger(newest, foreseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_there_by_the_ready_time_before_and_follows_the_level() {
        let lead = Span::from_secs(240);
        let mut ahpa = AhpaLike { quantile: 0.95, lead, made: None, parts: None };
        let mut past = Past::default();
        let at = |minute: i64| Time::EPOCH + Span::from_secs(60 * minute);
        for i in 0..=8 * DAY as i64 {
            let load = if i % DAY as i64 / 60 == 9 { 8.0 } else { 2.0 };
            if past.push(at(i), load) {
                ahpa.minute(&past);
            }
        }
        let day = 8 * DAY as i64;
        let before = ahpa.wanted(at(day + 500), Some(1.0)).unwrap();
        let early = ahpa.wanted(at(day + 537), Some(1.0)).unwrap();
        assert!((1.9..3.5).contains(&before) && early > 7.0, "{before} {early}");
        assert_eq!(ahpa.wanted(at(day + 500), Some(20.0)), Some(20.0));
    }
}
