//! The forecaster of one workload.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clean::{Cleaner, Shifted};
use super::engine::{Bounds, Engine, Level};
use super::experts::Grid;
use super::local_time::Zone;
use super::objective::{Tuner, bound_at};
use super::periods::{Period, detect};
use super::plan::PlanPoint;
use super::record::Record;
use super::series::{Series, Step};
use super::waiting::Waiting;
use super::window::Peak;
use crate::units::{MetricsQps, Percent, Span, Time};

/// Quantiles at which bounds are kept. The promise is kept at one of them or in between.
const GRID: [f64; 9] = [0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999];

/// Before anything can be calibrated, the bound is this many times the most of so many minutes.
const WIDE: f64 = 1.25;
const START: f64 = 30.0;

/// Minutes of the periods that have experts in any case.
const CALENDAR: [f64; 3] = [60.0, DAY, 7.0 * DAY];
const DAY: f64 = 1440.0;

/// Looks at the history while it becomes twice as long; a look at 28 days takes some 10 ms.
const LOOKS: i64 = 7;

/// A period that explains less of the variance than this is known and not gone by.
const WORTH_AN_EXPERT: f64 = 0.02;

/// Experts that are named.
const SHARES: usize = 3;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Promise {
    /// Short no more than this share of the time, at least cost.
    ShortTime(Percent),
    /// The bound is this quantile of what comes; between 0.5 and 0.999.
    Quantile(f64),
}

/// What a forecaster needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Length of a step; at least a second.
    pub step: Span,
    /// How far ahead the bound holds; in whole steps, at least one.
    pub horizon: Span,
    /// What is promised.
    pub promise: Promise,
    /// How much history is kept.
    pub memory: Span,
    /// Whose clock the load lives by.
    pub zone: Zone,
}

impl Settings {
    /// 28 days of minutes: four of each kind of day.
    pub fn new(horizon: Span, promise: Promise) -> Self {
        Self {
            step: Span::from_secs(60),
            horizon,
            promise,
            memory: Span::from_secs(28 * 86_400),
            zone: Zone::UTC,
        }
    }

    fn grid(&self) -> Grid {
        let minutes = self.step.as_secs_f64() / 60.0;
        let horizon = (self.horizon.as_secs_f64() / self.step.as_secs_f64() + 0.5).floor();
        Grid { step_minutes: minutes, horizon: (horizon as usize).max(1) }
    }
}

/// What is said of the time to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// End of the last closed step: what came later is not in it.
    pub made_at: Time,
    /// The bound holds for so long after that.
    pub horizon: Span,
    /// Upper bound of the load over the horizon.
    pub bound: MetricsQps,
    /// The quantile that it is, as asked for or as tuned to the promise.
    pub quantile: f64,
    /// The load's maximum over the horizon that is as likely exceeded as not.
    pub middle: MetricsQps,
    /// What is known by now.
    pub basis: Basis,
    /// 1 − loss / loss of persistence over the last day or so, in pinball loss at the quantile; none before the first score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// Share of the last day's bounds that held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// How much history it rests on, gaps not included.
    pub history: Span,
    /// The bound counts this many times what the steps' means say: what a step hides, where somebody has seen single samples.
    pub peak_factor: f64,
    /// The periods that the load has, the shortest first, as of the last look at them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Period>,
    /// The last lasting shift of the level, if it was within a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shifted: Option<Shifted>,
    /// The load was gone at once, and is taken to be unknown for up to half an hour, not zero.
    #[serde(default)]
    pub is_outage: bool,
    /// How much of its distance from the present load the bound counts in a decision, 0 to 1: it earns that with history.
    pub earned: f64,
    /// The experts that carry most of it, the heaviest first; weights are shares of 1.
    pub experts: Vec<Share>,
}

/// What a bound rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// Too little history for anything but a wide margin.
    Start,
    /// The experts.
    Experts,
    /// Persistence with its own errors: the experts have done worse than it lately.
    Persistence,
}

/// An expert, and how much it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// What it is called.
    pub expert: String,
    /// Its weight.
    pub weight: f64,
}

/// A few sentences for people.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| 100.0 * share;
        write!(
            f,
            "At most {:.1} MetricsQPS within {}, at quantile {:.4}.",
            self.bound.get(),
            self.horizon,
            self.quantile
        )?;
        match self.basis {
            Basis::Start => f.write_str(" There is too little history for more than a wide margin.")?,
            Basis::Persistence => {
                f.write_str(" The experts have done worse than persistence lately, so persistence with its own errors it is.")?;
            }
            Basis::Experts => {
                for (i, Share { expert, weight }) in self.experts.iter().enumerate() {
                    let before = if i == 0 { " It is carried by" } else { "," };
                    write!(f, "{before} {expert} ({:.0} %)", percent(*weight))?;
                }
                if !self.experts.is_empty() {
                    f.write_str(": what has lost least over the last days.")?;
                }
            }
        }
        if let (Some(skill), Some(coverage)) = (self.skill, self.coverage) {
            let (better, word) = if skill < 0.0 { (-skill, "more") } else { (skill, "less") };
            write!(
                f,
                " Over the last day it lost {:.0} % {word} than persistence, and {:.1} % of its bounds held.",
                percent(better),
                percent(coverage)
            )?;
        }
        if self.is_outage {
            f.write_str(" The load was gone at once, which is taken for an outage for half an hour.")?;
        }
        if self.earned < 1.0 {
            write!(
                f,
                " It counts by {:.0} %, since it has seen {} and a day makes it count fully.",
                percent(self.earned),
                self.history
            )?;
        }
        Ok(())
    }
}

/// Forecasts one workload's load. Deterministic: a function of the closed steps, their weights and what a pod carries.
#[derive(Debug, Clone)]
pub struct Forecaster {
    settings: Settings,
    grid: Grid,
    quantiles: Vec<f64>,
    series: Series,
    weights: Vec<f64>,
    per_pod: Option<f64>,
    cleaner: Cleaner,
    periods: Vec<Period>,
    found: Option<usize>,
    engine: Engine,
    tuner: Option<Tuner>,
    record: Record,
    /// What was said, step by step, until the truth is known.
    in_force: Waiting<Said>,
    /// The most of the last half hour.
    most: Peak,
    said: Option<Said>,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    quantile: f64,
    bound: f64,
    yardstick: f64,
    middle: f64,
}

impl Forecaster {
    /// One that has seen nothing. The series has one weight a column.
    pub fn new(settings: Settings, weights: &[f64]) -> Self {
        let series = Series::new(settings.step, weights.len(), settings.memory);
        Self::of(settings, series, weights)
    }

    /// One that takes up a series, as if it had lived through it.
    pub fn of(settings: Settings, series: Series, weights: &[f64]) -> Self {
        Self::living(settings, series, weights, None)
    }

    /// The same, of a workload whose pods carried so much all along.
    pub(crate) fn of_pods(
        settings: Settings,
        series: Series,
        weights: &[f64],
        per_pod: Option<MetricsQps>,
    ) -> Self {
        Self::living(settings, series, weights, carried(per_pod))
    }

    fn living(settings: Settings, series: Series, weights: &[f64], per_pod: Option<f64>) -> Self {
        let grid = settings.grid();
        let mut quantiles = GRID.to_vec();
        if let Promise::Quantile(tau) = settings.promise {
            let tau = tau.clamp(GRID[0], GRID[GRID.len() - 1]);
            let place = quantiles.partition_point(|other| *other < tau);
            if quantiles.get(place) != Some(&tau) {
                quantiles.insert(place, tau);
            }
        }
        let tuner = match settings.promise {
            Promise::ShortTime(share) => {
                let target = share.as_fraction().clamp(1e-4, 0.5);
                Some(Tuner::new(target, quantiles.len(), grid.horizon, grid.step_minutes))
            }
            Promise::Quantile(_) => None,
        };
        let mut forecaster = Self {
            cleaner: Cleaner::new(grid.step_minutes),
            periods: Vec::new(),
            found: None,
            engine: Engine::new(grid, quantiles.clone(), settings.step, settings.zone.clone()),
            record: Record::new(grid.step_minutes),
            settings,
            grid,
            quantiles,
            series,
            weights: weights.to_vec(),
            per_pod,
            tuner,
            in_force: Waiting::new(grid.horizon),
            most: Peak::new(grid.steps(START)),
            said: None,
        };
        for number in forecaster.series.first()..forecaster.series.end() {
            forecaster.take(number);
        }
        forecaster
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it has seen.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Closes step `number`, counted from the epoch. Steps between the last one and it are not known; one that is not later than
    /// the last is left aside, and the answer is false.
    pub fn close(&mut self, number: i64, step: Option<Step<'_>>) -> bool {
        let before = if self.series.is_empty() { number } else { self.series.end() };
        if !self.series.push(number, step) {
            return false;
        }
        if self.series.first() > before {
            // The gap was longer than the memory: what was learned before it is gone with the series.
            let weights = self.weights.clone();
            self.relive(self.settings.clone(), &weights);
        } else {
            for number in before..=number {
                self.take(number);
            }
        }
        true
    }

    fn take(&mut self, number: i64) {
        let level = self.cleaner.clean(self.series.level(number, &self.weights));
        if number.rem_euclid(self.grid.steps(DAY) as i64) == 0 {
            self.look_for_periods(number);
        }
        if let Some(known) = self.engine.close(number, level)
            && let Some(said) = self.in_force.take(known.origin)
            && !(known.is_floor && said.bound >= known.peak)
        {
            self.record.learn(said.quantile, said.bound, said.yardstick, known.peak);
        }
        self.most.push(level.map_or(0.0, |level| level.value));
        if let (Some(_), Some(surprise)) = (level, self.engine.surprise()) {
            self.cleaner.watch(surprise);
        }
        let bounds = self.engine.bounds();
        if let Some(tuner) = &mut self.tuner {
            tuner.close(level, bounds, self.per_pod);
        }
        self.said = bounds.map(|bounds| self.say(bounds));
        if let Some(said) = self.said {
            self.in_force.push(number, said);
        }
    }

    /// Looks for a period that the calendar does not have, in all steps before `number`: each day at first, and less often the more
    /// there is to look at.
    fn look_for_periods(&mut self, number: i64) {
        let from = self.series.first();
        let day = self.grid.steps(DAY) as i64;
        let days = (number - from) / day;
        if days < 2 || (number / day) % (days / LOOKS).max(1) != 0 {
            return;
        }
        // What is known to be an outage is no trough of a period.
        let mut cleaner = Cleaner::new(self.grid.step_minutes);
        let levels: Vec<Option<Level>> =
            (from..number).map(|number| cleaner.clean(self.series.level(number, &self.weights))).collect();
        let values: Vec<Option<f64>> = levels.iter().map(|level| level.map(|level| level.value)).collect();
        self.periods = detect(&values, self.settings.step);
        let is_calendar =
            |period: &Period| CALENDAR.iter().any(|minutes| self.grid.steps(*minutes) == period.steps);
        let strongest = self
            .periods
            .iter()
            .filter(|period| !is_calendar(period) && period.strength >= WORTH_AN_EXPERT)
            .max_by(|a, b| a.strength.total_cmp(&b.strength))
            .map(|period| period.steps);
        // What is measured wanders by a step or two: a new season for each would never learn.
        let is_same = match (self.found, strongest) {
            (Some(old), Some(new)) => old.abs_diff(new) * 100 <= old,
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            self.found = strongest;
            self.engine.set_found(strongest, from, &levels);
        }
    }

    fn say(&self, bounds: &Bounds) -> Said {
        let quantile = match (&self.tuner, self.settings.promise) {
            (Some(tuner), _) => tuner.quantile(&self.quantiles),
            (None, Promise::Quantile(tau)) => tau.clamp(GRID[0], GRID[GRID.len() - 1]),
            (None, Promise::ShortTime(_)) => GRID[GRID.len() - 1],
        };
        let yardstick = super::conformal::interpolate(quantile, &self.quantiles, &bounds.yardstick);
        Said { quantile, bound: bound_at(quantile, &self.quantiles, bounds), yardstick, middle: bounds.at[0] }
    }

    /// What is said of the time after the last closed step. None before the first.
    pub fn forecast(&self) -> Option<Forecast> {
        if self.series.is_empty() {
            return None;
        }
        let amount = |value: f64| MetricsQps::saturating(value.max(0.0));
        let step = self.settings.step;
        let (basis, said) = match self.said {
            None => {
                let wide = WIDE * self.most.get();
                let last = self.quantiles[self.quantiles.len() - 1];
                (Basis::Start, Said { quantile: last, bound: wide, yardstick: wide, middle: self.most.get() })
            }
            Some(said) if self.record.is_trusted() => (Basis::Experts, said),
            Some(said) => {
                let bound = said.yardstick.min(self.engine.largest());
                (Basis::Persistence, Said { bound, ..said })
            }
        };
        Some(Forecast {
            made_at: self.series.begins(self.series.end()),
            horizon: step * self.grid.horizon as i64,
            bound: amount(said.bound),
            quantile: said.quantile,
            middle: amount(said.middle),
            basis,
            history: step * self.series.known() as i64,
            peak_factor: 1.0,
            earned: 1.0,
            periods: self.periods.clone(),
            shifted: self.cleaner.shifted(),
            is_outage: self.cleaner.is_gone(),
            skill: self.record.skill(),
            coverage: self.record.coverage(),
            experts: if basis == Basis::Experts { self.shares(said.quantile) } else { Vec::new() },
        })
    }

    fn shares(&self, quantile: f64) -> Vec<Share> {
        let which = self.quantiles.partition_point(|other| *other < quantile).min(self.quantiles.len() - 1);
        let mut shares: Vec<Share> = self
            .engine
            .names()
            .zip(self.engine.weights(which))
            .filter(|(_, weight)| **weight > 0.0)
            .map(|(expert, weight)| Share { expert: expert.to_owned(), weight: *weight })
            .collect();
        shares.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        shares.truncate(SHARES);
        shares
    }

    /// Bounds at `quantile` for numbers, as [`Self::forecast`] gives them for people: those of the experts, trusted or not, and
    /// those of persistence with its own errors. None while there are none.
    pub fn bounds_at(&self, quantile: f64) -> Option<(f64, f64)> {
        let bounds = self.engine.bounds()?;
        let yardstick = super::conformal::interpolate(quantile, &self.quantiles, &bounds.yardstick);
        Some((bound_at(quantile, &self.quantiles, bounds), yardstick))
    }

    /// The load of each step of [`series`](Self::series), by the weights in force; none where it is not known.
    pub fn levels(&self) -> Vec<Option<f64>> {
        self.series.levels(&self.weights)
    }

    /// The day to come, for people; none before there are two days of history.
    pub fn plan(&self) -> Option<Vec<PlanPoint>> {
        super::plan::plan(&self.series, &self.weights, &self.settings.zone)
    }

    /// Forgets step `number` and all after it, as if they had not been.
    pub fn forget_from(&mut self, number: i64) {
        let mut series = self.series.clone();
        series.truncate(number);
        self.replace(series);
    }

    /// Goes by another series from now on, with as many columns: it is as if it had lived through that one. How many of its steps are
    /// known.
    pub fn replace(&mut self, series: Series) -> usize {
        if series.columns() == self.series.columns() {
            let settings = self.settings.clone();
            *self = Self::living(settings, series, &self.weights.clone(), self.per_pod);
        }
        self.series.levels(&self.weights).iter().flatten().count()
    }

    /// Finds anew what all that is learned by regression has for coefficients. That happens by itself, as often as is needed; alone it
    /// is of use for measuring.
    pub fn refit(&mut self) {
        self.engine.refit();
    }

    /// Bytes that it takes, by the sizes of what it holds.
    pub fn bytes(&self) -> usize {
        let tuner = self.tuner.as_ref().map_or(0, Tuner::bytes);
        size_of::<Self>()
            + self.series.bytes()
            + self.engine.bytes()
            + self.in_force.bytes()
            + self.most.bytes()
            + tuner
    }

    /// Says what a pod carries: the promise is about pods, and they come whole.
    pub fn set_per_pod(&mut self, per_pod: Option<MetricsQps>) {
        self.per_pod = carried(per_pod);
    }

    /// Weighs all history anew: it is as if the weights, one a column, had always been these.
    pub fn set_weights(&mut self, weights: &[f64]) {
        if weights != self.weights && weights.len() == self.weights.len() {
            self.relive(self.settings.clone(), weights);
        }
    }

    /// Looks as far ahead from now on: it is as if it had always done so.
    pub fn set_horizon(&mut self, horizon: Span) {
        let settings = Settings { horizon, ..self.settings.clone() };
        if settings.grid() == self.grid {
            self.settings = settings;
        } else {
            let weights = self.weights.clone();
            self.relive(settings, &weights);
        }
    }

    fn relive(&mut self, settings: Settings, weights: &[f64]) {
        let none = Series::new(settings.step, 1, settings.step);
        let series = std::mem::replace(&mut self.series, none);
        *self = Self::living(settings, series, weights, self.per_pod);
    }
}

/// What a pod carries, as a number above zero.
fn carried(per_pod: Option<MetricsQps>) -> Option<f64> {
    per_pod.map(MetricsQps::get).filter(|per_pod| *per_pod > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(basis: Basis, earned: f64) -> Forecast {
        Forecast {
            made_at: Time::EPOCH,
            horizon: Span::from_secs(240),
            bound: MetricsQps::saturating(123.44),
            quantile: 0.9871,
            middle: MetricsQps::saturating(100.0),
            basis,
            history: Span::from_secs(7200),
            peak_factor: 1.0,
            periods: vec![],
            shifted: None,
            is_outage: false,
            earned,
            skill: Some(0.341),
            coverage: Some(0.989),
            experts: vec![
                Share { expert: "regression".into(), weight: 0.31 },
                Share { expert: "stack".into(), weight: 0.22 },
            ],
        }
    }

    #[test]
    fn a_forecast_says_what_it_rests_on() {
        assert_eq!(
            forecast(Basis::Experts, 1.0).to_string(),
            "At most 123.4 MetricsQPS within 4m, at quantile 0.9871. It is carried by regression (31 %), stack (22 %): what has lost \
             least over the last days. Over the last day it lost 34 % less than persistence, and 98.9 % of its bounds held."
        );
        let start = Forecast { skill: None, ..forecast(Basis::Start, 0.083) };
        assert_eq!(
            start.to_string(),
            "At most 123.4 MetricsQPS within 4m, at quantile 0.9871. There is too little history for more than a wide margin. It \
             counts by 8 %, since it has seen 2h and a day makes it count fully."
        );
        let worse = Forecast { skill: Some(-0.4), ..forecast(Basis::Persistence, 1.0) };
        assert!(worse.to_string().contains("lost 40 % more than persistence"), "{worse}");
    }
}
