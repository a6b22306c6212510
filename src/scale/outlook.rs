//! From samples to the forecast: minutes are closed, classes folded, the horizon follows the lead time.

use super::event_floor::{EventFloor, Floor};
use super::lead_time::{LeadTime, LeadTimes, StartUp};
use crate::forecast::{Forecast, Forecaster, MOST_COLUMNS, Peaks, PlanPoint, Series, Settings, Step};
use crate::load::{Load, Pods};
use crate::spec::ForecastWish;
use crate::units::{MetricsQps, Span, Time};
use serde::{Deserialize, Serialize};

/// Steps are so long where samples come often enough, and else the next of these that does.
const STEPS: [Span; 3] = [Span::from_secs(60), Span::from_secs(120), Span::from_secs(300)];

/// The horizon is shortened only when a shorter one has done for so long: looking less far costs a look at all history.
const SHORTEN_AFTER: Span = Span::from_secs(6 * 3600);

/// History from which on the forecast counts fully. Before it counts by as much of it as there is: a quantile of a few hours says
/// little of the next ones.
const FULLY_EARNED: Span = Span::from_secs(86_400);

/// A forecast older than so many steps says nothing of now.
const STALE_STEPS: i64 = 3;

/// Forecasts one workload from its samples.
#[derive(Debug, Clone)]
pub(super) struct Outlook {
    wish: ForecastWish,
    interval: Span,
    step: Span,
    lead: LeadTimes,
    horizon: Span,
    /// Since when a shorter horizon would have done.
    shorter_since: Option<Time>,
    forecaster: Option<Forecaster>,
    /// History that is taken up when it is known how many columns there are.
    history: Option<Series>,
    folded: Folded,
    open: Option<Open>,
    peaks: Peaks,
    event: EventFloor,
    per_pod: Option<MetricsQps>,
}

/// The step that is being filled.
#[derive(Debug, Clone)]
struct Open {
    number: i64,
    rates: [f64; MOST_COLUMNS],
    samples: f64,
    load: f64,
    most: f64,
    is_floor: bool,
}

/// Classes, folded to a few columns of neighbours, and what a request of each column weighs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Folded {
    classes: Vec<f64>,
    /// How many requests of each class a column is taken to have. Always the same: what a column weighs then changes with the weights
    /// alone, and with it all history in proportion.
    usual: Vec<f64>,
    weights: Vec<f64>,
}

/// Share of all requests that every class is taken to have beside its own: the first sample may have none of some.
const AT_LEAST: f64 = 0.05;

/// What it knows beside the series, to be kept over a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutlookState {
    folded: Folded,
    lead: LeadTimes,
    peaks: Peaks,
    event: EventFloor,
}

impl Folded {
    /// Takes the classes of `load` and what they weigh; a column weighs what its usual request does.
    fn weigh(&mut self, load: &Load) {
        self.classes = load.classes.iter().map(|class| class.weight).collect();
        if self.usual.len() != self.classes.len() {
            let all: f64 = load.classes.iter().map(|class| class.rate.get()).sum();
            let least = AT_LEAST * all / self.classes.len().max(1) as f64;
            self.usual = load.classes.iter().map(|class| class.rate.get() + least).collect();
        }
        let columns = self.classes.len().clamp(1, MOST_COLUMNS);
        // Where there were no requests yet, all classes have as many.
        let few = self.usual.iter().sum::<f64>().max(f64::MIN_POSITIVE) * 1e-6;
        let mut sums = vec![(0.0, 0.0); columns];
        for (i, (weight, usual)) in self.classes.iter().zip(&self.usual).enumerate() {
            let (sum, count) = &mut sums[Self::column(i, self.classes.len())];
            *sum += weight * (usual + few);
            *count += usual + few;
        }
        // A column that weighs nothing could carry nothing.
        self.weights = sums.into_iter().map(|(sum, of)| if sum > 0.0 { sum / of } else { 1.0 }).collect();
    }

    fn column(class: usize, classes: usize) -> usize {
        class * classes.clamp(1, MOST_COLUMNS) / classes.max(1)
    }

    /// Rates of the columns, such that they weigh what the load is.
    fn rates(&self, load: &Load) -> [f64; MOST_COLUMNS] {
        let mut work = [0.0; MOST_COLUMNS];
        for (i, class) in load.classes.iter().enumerate() {
            // As many as are folded; one of a page that shows more is told apart by its sum alone.
            let column = Self::column(i, self.classes.len()).min(MOST_COLUMNS - 1);
            work[column] += class.weight * class.rate.get();
        }
        let all: f64 = work.iter().sum();
        let load = load.metricsqps.get();
        let mut rates = [0.0; MOST_COLUMNS];
        for ((rate, work), weight) in rates.iter_mut().zip(work).zip(&self.weights) {
            *rate = if all > 0.0 { work / all * load / weight } else { 0.0 };
        }
        if all <= 0.0 {
            rates[0] = load / self.weights[0];
        }
        rates
    }
}

impl Outlook {
    pub(super) fn new(wish: ForecastWish, interval: Span) -> Self {
        let step = STEPS.into_iter().find(|step| *step >= interval).unwrap_or(STEPS[2]);
        let lead = LeadTimes::new(wish.lead_time);
        let mut outlook = Self {
            wish,
            interval,
            step,
            lead,
            horizon: Span::ZERO,
            shorter_since: None,
            forecaster: None,
            history: None,
            folded: Folded::default(),
            open: None,
            peaks: Peaks::new(),
            event: EventFloor::default(),
            per_pod: None,
        };
        outlook.horizon = outlook.needed();
        outlook
    }

    /// Wishes otherwise from now on, as if it had always done so.
    pub(super) fn wish_for(&mut self, wish: ForecastWish) {
        let before = std::mem::replace(&mut self.wish, wish);
        let ForecastWish { promise, lead_time, zone, window, .. } = &self.wish;
        if (lead_time, window) != (&before.lead_time, &before.window) {
            self.lead.pin(*lead_time);
            (self.horizon, self.shorter_since) = (self.needed(), None);
        }
        let Some(forecaster) = &mut self.forecaster else { return };
        if (promise, zone) == (&before.promise, &before.zone) {
            forecaster.set_horizon(self.horizon);
        } else {
            let (promise, zone, horizon) = (*promise, zone.clone(), self.horizon);
            let settings = Settings { promise, zone, horizon, ..forecaster.settings().clone() };
            let series = forecaster.series().clone();
            *forecaster = Forecaster::of_pods(settings, series, &self.folded.weights, self.per_pod);
        }
    }

    /// Takes up history. It counts if it has the steps and columns of what comes; else it is left aside.
    pub(super) fn take_up(&mut self, history: Series) {
        self.history = Some(history);
    }

    /// What it knows beside the series.
    pub(super) fn state(&self) -> OutlookState {
        let Self { folded, lead, peaks, event, .. } = self.clone();
        OutlookState { folded, lead, peaks, event }
    }

    /// Goes on with what an earlier one knew; to be called before it has seen anything.
    pub(super) fn resume(&mut self, state: OutlookState) {
        let OutlookState { folded, lead, peaks, event } = state;
        let is_sound = folded.usual.len() == folded.classes.len()
            && folded.weights.len() == folded.classes.len().clamp(1, MOST_COLUMNS)
            && folded.usual.iter().chain(&folded.weights).all(|value| value.is_finite() && *value >= 0.0);
        if is_sound {
            self.folded = folded;
        }
        self.lead.resume(lead);
        (self.peaks, self.event) = (peaks, event);
        self.horizon = self.needed();
    }

    /// What it has seen.
    pub(super) fn history(&self) -> Option<&Series> {
        self.forecaster.as_ref().map(Forecaster::series).or(self.history.as_ref())
    }

    /// What it has seen, as loads, and how it forecasts them.
    pub(super) fn past(&self) -> Option<(Settings, i64, Vec<Option<f64>>)> {
        let forecaster = self.forecaster.as_ref()?;
        Some((forecaster.settings().clone(), forecaster.series().first(), forecaster.levels()))
    }

    pub(super) fn record(&mut self, start_up: StartUp) {
        self.lead.record(start_up);
    }

    pub(super) fn lead(&self) -> LeadTime {
        self.lead.get()
    }

    /// How far to look: the lead time; the time to the next decision; what the evidence is late by, half a window and a scrape; and the
    /// age that a closed step may have. In whole steps.
    fn needed(&self) -> Span {
        let late =
            Span::from_nanos((self.interval.as_nanos() + self.wish.window.max(self.interval).as_nanos()) / 2);
        let span = self.lead.get().total + self.interval + late + self.step;
        let step = self.step.as_nanos();
        Span::from_nanos((span.as_nanos().saturating_add(step - 1)) / step * step)
    }

    pub(super) fn observe_pods(&mut self, at: Time, pods: Pods) {
        self.lead.observe(at, pods);
        let needed = self.needed();
        if needed >= self.horizon {
            self.shorter_since = None;
        }
        let is_long_enough = match self.shorter_since {
            _ if needed == self.horizon => return,
            _ if needed > self.horizon => true,
            None => {
                self.shorter_since = Some(at);
                false
            }
            Some(since) => at - since >= SHORTEN_AFTER,
        };
        if is_long_enough {
            self.horizon = needed;
            self.shorter_since = None;
            if let Some(forecaster) = &mut self.forecaster {
                forecaster.set_horizon(needed);
            }
        }
    }

    /// Takes the load of a sample put together at `at`.
    pub(super) fn observe(&mut self, at: Time, load: &Load) {
        // Weights change seldom, and not with every sample.
        let classes = || load.classes.iter().map(|class| class.weight);
        if self.forecaster.is_none() || !self.folded.classes.iter().copied().eq(classes()) {
            let has_new_classes = self.folded.classes.len() != load.classes.len();
            let before = self.folded.clone();
            self.folded.weigh(load);
            // What was added up so far was weighed otherwise.
            self.open = None;
            match self.forecaster.take() {
                Some(old) if has_new_classes => self.fold_anew(&old, &before.weights, load, at),
                forecaster => {
                    self.forecaster = forecaster;
                    self.weigh(at);
                }
            }
        }
        // A sample tells of the window that ends with it.
        let number = self.number(at);
        if self.open.as_ref().is_some_and(|open| open.number < number) {
            self.close();
        }
        let open = self.open.get_or_insert(Open {
            number,
            rates: [0.0; MOST_COLUMNS],
            samples: 0.0,
            load: 0.0,
            most: 0.0,
            is_floor: false,
        });
        for (sum, rate) in open.rates.iter_mut().zip(self.folded.rates(load)) {
            *sum += rate;
        }
        open.samples += 1.0;
        open.load += load.metricsqps.get();
        // Noise is no peak.
        open.most = open.most.max(load.metricsqps.get() - 2.0 * load.standard_error.get());
        open.is_floor |= !load.congestion.is_empty();
    }

    /// The step that a window which ends at `at` lies in.
    fn number(&self, at: Time) -> i64 {
        (at - Span::from_nanos(1)).as_nanos().div_euclid(self.step.as_nanos())
    }

    fn weigh(&mut self, at: Time) {
        let weights = &self.folded.weights;
        match &mut self.forecaster {
            Some(forecaster) if forecaster.series().columns() == weights.len() => {
                forecaster.set_weights(weights)
            }
            _ => {
                let settings = Settings {
                    step: self.step,
                    zone: self.wish.zone.clone(),
                    ..Settings::new(self.horizon, self.wish.promise)
                };
                // What ends later than now was written by a clock that was ahead.
                let now = at.as_nanos().div_euclid(self.step.as_nanos());
                let fits = |history: &Series| {
                    history.step() == self.step
                        && history.columns() == weights.len()
                        && history.end() <= now + 1
                };
                let history =
                    self.history.take().filter(fits).map(|history| history.remembered_for(settings.memory));
                let history =
                    history.unwrap_or_else(|| Series::new(self.step, weights.len(), settings.memory));
                self.forecaster = Some(Forecaster::of_pods(settings, history, weights, self.per_pod));
            }
        }
    }

    /// Goes on with other classes, such as those of a label: what the columns were then says nothing of what they are now, so the past is taken to
    /// have been as large as it was, and of the present mix.
    fn fold_anew(&mut self, old: &Forecaster, weights: &[f64], load: &Load, at: Time) {
        let lived = old.series();
        let columns = self.folded.weights.len();
        let rates = self.folded.rates(load);
        let present: f64 = rates.iter().zip(&self.folded.weights).map(|(rate, weight)| rate * weight).sum();
        let mut series = Series::new(self.step, columns, old.settings().memory);
        for number in lived.first()..lived.end() {
            let Some((_, is_floor)) = lived.step_at(number) else { continue };
            let Some(level) = lived.levels_from(number, 1, weights).next().flatten() else { continue };
            let mut rates = rates.map(|rate| if present > 0.0 { rate * level / present } else { 0.0 });
            if present <= 0.0 {
                rates[0] = level / self.folded.weights[0];
            }
            series.push(number, Some(Step { rates: &rates[..columns], is_floor }));
        }
        self.history = Some(series);
        self.weigh(at);
    }

    /// Takes loads of the past, in the order of time, for steps that it does not know itself. How many it then knows; none where it has no load
    /// yet to compare them with.
    pub(super) fn remember(&mut self, past: impl Iterator<Item = (Time, Load)>) -> Option<usize> {
        let mut forecaster = self.forecaster.take()?;
        let classes = self.folded.classes.len();
        let past = past.filter(|(_, load)| load.classes.len() == classes);
        let lived = forecaster.series();
        let mut series = Series::new(self.step, lived.columns(), forecaster.settings().memory);
        let columns = lived.columns();
        let mut lived_steps = (lived.first()..lived.end()).peekable();
        let live = |series: &mut Series, number: i64| {
            if let Some((rates, is_floor)) = lived.step_at(number) {
                series.push(number, Some(Step { rates: &rates[..columns], is_floor }));
            }
        };
        // What is being filled is its own to close.
        let open = self.open.as_ref().map_or(i64::MAX, |open| open.number);
        for (at, load) in past {
            let number = self.number(at);
            if number >= open {
                break;
            }
            while let Some(number) = lived_steps.next_if(|lived| *lived < number) {
                live(&mut series, number);
            }
            if lived.step_at(number).is_none() {
                let rates = self.folded.rates(&load);
                series.push(number, Some(Step { rates: &rates[..columns], is_floor: false }));
            }
        }
        lived_steps.for_each(|number| live(&mut series, number));
        let known = forecaster.replace(series);
        self.forecaster = Some(forecaster);
        Some(known)
    }

    fn close(&mut self) {
        let (Some(open), Some(forecaster)) = (self.open.take(), &mut self.forecaster) else { return };
        let columns = forecaster.series().columns();
        let rates = open.rates.map(|sum| sum / open.samples);
        let step = Step { rates: &rates[..columns], is_floor: open.is_floor };
        if !forecaster.close(open.number, Some(step)) {
            // The clock was set back: what is later than now has not been.
            forecaster.forget_from(open.number);
            forecaster.close(open.number, Some(step));
        }
        self.peaks.learn(open.most, open.load / open.samples);
        let series = forecaster.series();
        let now = series.begins(series.end());
        if let Some(forecast) = forecaster.forecast() {
            self.event.observe(&self.wish.events, now, &forecast, series, &self.folded.weights);
        }
    }

    /// Says what a pod carries; before a sample of that time, so that history that is taken up with it is lived through with that.
    pub(super) fn set_per_pod(&mut self, per_pod: Option<MetricsQps>) {
        self.per_pod = per_pod;
        if let Some(forecaster) = &mut self.forecaster {
            forecaster.set_per_pod(per_pod);
        }
    }

    /// The day to come, for people.
    pub(super) fn plan(&self) -> Option<Vec<PlanPoint>> {
        self.forecaster.as_ref()?.plan()
    }

    /// What an event in sight asks for, if it asks for anything at `now`.
    pub(super) fn event(&self, now: Time) -> Option<&Floor> {
        self.forecast(now).and(self.event.get())
    }

    /// Whether it has seen a load.
    pub(super) fn has_seen_load(&self) -> bool {
        self.forecaster.is_some()
    }

    /// Whether it has history, and none of it speaks of `now`: minutes are missing. A first start misses none.
    pub(super) fn is_stale(&self, now: Time) -> bool {
        self.forecaster.as_ref().is_some_and(|forecaster| !forecaster.series().is_empty())
            && self.forecast(now).is_none()
    }

    /// What is said of the time to come, if it says anything of `now`.
    pub(super) fn forecast(&self, now: Time) -> Option<Forecast> {
        let mut forecast = self.forecaster.as_ref()?.forecast()?;
        if now - forecast.made_at > self.step * STALE_STEPS || forecast.made_at > now + self.step {
            return None;
        }
        forecast.earned = (forecast.history.as_secs_f64() / FULLY_EARNED.as_secs_f64()).min(1.0);
        forecast.peak_factor = self.peaks.factor();
        forecast.bound = MetricsQps::saturating(forecast.bound.get() * forecast.peak_factor);
        Some(forecast)
    }
}

#[cfg(test)]
mod tests;
