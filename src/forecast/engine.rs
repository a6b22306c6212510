//! One step after the other: what was guessed is scored, experts learn, and guess again.

use super::calibration::{Calibration, Margins, Moment, Size, When};
use super::conformal::Adaptive;
use super::experts::{Expert, Grid, Known, Linear, Now, Stack, found, season_of, simple};
use super::local_time::Zone;
use super::mixture::{Mixture, Outcome};
use super::recent::Recent;
use super::waiting::Waiting;
use super::window::Peak;
use crate::units::{Span, Time};

/// Minutes between two refits: what a quarter of an hour adds to days of rows changes little.
const REFIT: f64 = 15.0;

/// A load that is more than this many times the largest of four weeks is not forecast: should it come, the present load says so.
const NEVER_SEEN: f64 = 1.5;
const MOST_OF: f64 = 28.0 * 1440.0;

/// One closed step of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    /// Mean load of the step.
    pub(super) value: f64,
    /// There was at least so much.
    pub(super) is_floor: bool,
}

/// Upper bounds of the maximum over the horizon after a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bounds {
    /// One for each quantile, ascending.
    pub(super) at: Vec<f64>,
    /// What persistence with its own errors says.
    pub(super) yardstick: Vec<f64>,
}

/// The experts, their calibrations and their mixture. A function of the closed steps and nothing else.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    grid: Grid,
    clock: LocalClock,
    quantiles: Vec<f64>,
    recent: Recent,
    simple: Vec<Box<dyn Expert>>,
    linear: Linear,
    stack: Stack,
    /// The first is the yardstick's; then one an expert.
    calibrations: Vec<Calibration>,
    mixture: Mixture,
    /// One a quantile.
    adaptive: Vec<Adaptive>,
    horizon: Horizon,
    /// The largest level of the last weeks.
    most: Peak,
    waiting: Waiting<Said>,
    guesses: Vec<Option<f64>>,
    /// The same, with the present level where an expert had nothing to say.
    filled: Vec<f64>,
    bounds: Option<Bounds>,
}

/// What was said after one step.
#[derive(Debug, Clone)]
struct Said {
    guesses: Vec<Option<(f64, Size)>>,
    /// By quantile, then expert; NaN where an expert had none.
    by_expert: Vec<f32>,
    /// By quantile, before any insurance.
    mixed: Vec<f32>,
    bounds: Option<Bounds>,
}

/// What the local clock makes of steps.
#[derive(Debug, Clone)]
struct LocalClock {
    zone: Zone,
    step: Span,
}

impl LocalClock {
    /// The step's number as the local clock counts: an hour more or less after the clock was changed.
    fn local(&self, step: i64) -> i64 {
        let nanos = self.step.as_nanos();
        let ahead = self.zone.ahead(Time::from_nanos(step.saturating_mul(nanos)));
        step + ahead.as_nanos().div_euclid(nanos)
    }
}

/// The horizon that has just passed.
#[derive(Debug, Clone)]
struct Horizon {
    peak: Peak,
    length: usize,
    since_gap: usize,
    since_floor: usize,
}

impl Horizon {
    fn new(length: usize) -> Self {
        Self { peak: Peak::new(length), length, since_gap: 0, since_floor: usize::MAX }
    }

    /// Takes a step; the maximum of the horizon that ends with it, if all of it is known.
    fn push(&mut self, step: i64, level: Option<Level>, clock: &LocalClock) -> Option<Known> {
        let peak = self.peak.push(level.map_or(0.0, |level| level.value));
        self.since_gap = if level.is_some() { self.since_gap.saturating_add(1) } else { 0 };
        let is_floor = level.is_some_and(|level| level.is_floor);
        self.since_floor = if is_floor { 0 } else { self.since_floor.saturating_add(1) };
        let origin = step - self.length as i64;
        let known = Known {
            origin,
            local_origin: clock.local(origin),
            peak,
            is_floor: self.since_floor < self.length,
        };
        (self.since_gap >= self.length).then_some(known)
    }
}

impl Engine {
    /// `quantiles` ascending, each between 0 and 1.
    pub(super) fn new(grid: Grid, quantiles: Vec<f64>, step: Span, zone: Zone) -> Self {
        let simple = simple(grid);
        // The first guesses the present level, which is what all others are compared with.
        let linear = Linear::new(grid, simple.len() - 1);
        let stack = Stack::new(grid, simple.len() - 1 + Linear::NAMES.len());
        let learned = || Calibration::learned(grid);
        let mut calibrations = vec![Calibration::plain()];
        calibrations.extend(simple.iter().map(|_| learned()));
        // Upper quantiles tell by themselves how far the truth may be.
        calibrations.extend([learned(), learned(), Calibration::plain()]);
        calibrations.extend([learned(), Calibration::plain()]);
        Self {
            recent: Recent::new(grid.step_minutes),
            mixture: Mixture::new(calibrations.len(), quantiles.len(), grid.step_minutes),
            adaptive: quantiles.iter().map(|tau| Adaptive::new(*tau)).collect(),
            horizon: Horizon::new(grid.horizon),
            most: Peak::new(grid.steps(MOST_OF)),
            grid,
            clock: LocalClock { zone, step },
            quantiles,
            simple,
            linear,
            stack,
            calibrations,
            waiting: Waiting::new(grid.horizon),
            guesses: Vec::new(),
            filled: Vec::new(),
            bounds: None,
        }
    }

    /// What the experts are called, in the order of [`Self::weights`].
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let simple = self.simple.iter().map(|expert| expert.name());
        ["plain persistence"].into_iter().chain(simple).chain(Linear::NAMES).chain(Stack::NAMES)
    }

    /// Weights of the experts at quantile number `which`.
    pub(super) fn weights(&self, which: usize) -> &[f64] {
        self.mixture.weights(which)
    }

    /// Bounds after the last step. None while nothing can be said.
    pub(super) fn bounds(&self) -> Option<&Bounds> {
        self.bounds.as_ref()
    }

    /// The largest load that is forecast.
    pub(super) fn largest(&self) -> f64 {
        NEVER_SEEN * self.most.get()
    }

    /// Finds anew what all that is learned by regression has for coefficients.
    pub(super) fn refit(&mut self) {
        self.linear.refit();
        self.stack.refit();
        self.calibrations.iter_mut().for_each(Calibration::refit);
    }

    /// Goes by a period of so many steps that the data show from now on, or by none. `levels` are those of all steps up to the
    /// last one, the first of which is number `first`: the season learns from them as if it had been there.
    pub(super) fn set_found(&mut self, period: Option<usize>, first: i64, levels: &[Option<Level>]) {
        let season = period.map(|steps| {
            let mut season = season_of(steps, self.grid);
            let mut horizon = Horizon::new(self.grid.horizon);
            for (step, level) in (first..).zip(levels) {
                if let Some(known) = horizon.push(step, *level, &self.clock) {
                    season.learn(&known);
                }
                let local = self.clock.local(step);
                season.guess(&now((step, local), *level, &self.recent, &[]));
            }
            season
        });
        if let Some(place) = self.simple.last_mut() {
            *place = found(season);
            // The yardstick is before all of them.
            self.mixture.restart(self.simple.len());
        }
    }

    /// How far the last step's level was from what the days before say, before any correction; none while they say nothing.
    pub(super) fn surprise(&self) -> Option<f64> {
        self.simple.iter().find_map(|expert| expert.surprise())
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let experts = self.simple.iter().map(|expert| size_of_val(expert.as_ref()) + expert.bytes());
        let calibrations = self.calibrations.iter().map(Calibration::bytes);
        let of_a_quantile = (self.calibrations.len() + 1) * size_of::<f32>() + 2 * size_of::<f64>();
        let said =
            self.calibrations.len() * size_of::<Option<(f64, Size)>>() + self.quantiles.len() * of_a_quantile;
        self.recent.bytes()
            + experts.sum::<usize>()
            + self.linear.bytes()
            + self.stack.bytes()
            + size_of::<Calibration>() * self.calibrations.capacity()
            + calibrations.sum::<usize>()
            + self.mixture.bytes()
            + self.most.bytes()
            + self.horizon.peak.bytes()
            + self.waiting.bytes()
            + self.waiting.len() * said
    }

    /// Closes a step, the one after the last; the maximum that became known by that.
    pub(super) fn close(&mut self, step: i64, level: Option<Level>) -> Option<Known> {
        let known = self.horizon.push(step, level, &self.clock);
        if let Some(known) = &known {
            self.learn(known);
        }
        // By the clock, so that it does not matter when the series began.
        if step.rem_euclid(self.grid.steps(REFIT) as i64) == 0 {
            self.refit();
        }
        if let Some(level) = level {
            self.most.push(level.value);
        }
        self.recent.push(level.map(|level| level.value));
        self.guess(step, level);
        self.mixture.renew();
        self.bound(step);
        known
    }

    fn learn(&mut self, known: &Known) {
        self.simple.iter_mut().for_each(|expert| expert.learn(known));
        self.linear.learn(known);
        self.stack.learn(known);
        let Some(Said { guesses, by_expert, mixed, bounds }) = self.waiting.take(known.origin) else {
            return;
        };
        // Who expected more than what is at least there may be right: nothing is learned.
        let tells = |said: f64| !(known.is_floor && said >= known.peak);
        let by_quantile = by_expert.chunks(self.calibrations.len()).zip(&mixed);
        for (which, (tau, (bounds, mixed))) in self.quantiles.iter().zip(by_quantile).enumerate() {
            let outcome = Outcome { tau: *tau, truth: known.peak };
            let bounds = bounds.iter().map(|bound| f64::from(*bound));
            self.mixture.learn(which, outcome, bounds, f64::from(*mixed), tells);
        }
        for (adaptive, bound) in self.adaptive.iter_mut().zip(bounds.iter().flat_map(|b| &b.at)) {
            if tells(*bound) {
                adaptive.learn(known.peak > *bound);
            }
        }
        let when = self.when(known.local_origin);
        for (calibration, guess) in self.calibrations.iter_mut().zip(&guesses) {
            if let Some((guess, size)) = guess
                && tells(*guess)
            {
                calibration.learn(*guess, known.peak, size, when);
            }
        }
    }

    fn guess(&mut self, step: i64, level: Option<Level>) {
        let present = self.recent.level();
        let local = self.clock.local(step);
        let (guesses, filled) = (&mut self.guesses, &mut self.filled);
        guesses.clear();
        filled.clear();
        let recent = &self.recent;
        for expert in &mut self.simple {
            guesses.push(expert.guess(&now((step, local), level, recent, &[])));
        }
        filled.extend(guesses[1..].iter().map(|guess| guess.unwrap_or(present)));
        let linear = self.linear.guess(&now((step, local), level, recent, filled));
        guesses.extend(linear);
        filled.extend(linear.map(|guess| guess.unwrap_or(present)));
        let stacked = self.stack.guess(&now((step, local), level, recent, filled));
        guesses.extend(stacked);
    }

    fn when(&self, local: i64) -> When {
        When::at(local as f64 * self.grid.step_minutes)
    }

    fn bound(&mut self, step: i64) {
        let moment = Moment::new(&self.recent, self.when(self.clock.local(step)));
        // The yardstick guesses as persistence does, which is the first.
        let all = self.guesses.first().into_iter().chain(&self.guesses);
        let guesses: Vec<Option<(f64, Size)>> = all
            .zip(&self.calibrations)
            .map(|(guess, calibration)| {
                let guess = guess.filter(|guess| guess.is_finite())?;
                Some((guess, calibration.expect(guess, moment)))
            })
            .collect();
        let said: Vec<Option<(f64, Margins<'_>)>> = guesses
            .iter()
            .zip(&self.calibrations)
            .map(|(guess, calibration)| {
                let (guess, size) = guess.as_ref()?;
                Some((*guess, calibration.margins(size)?))
            })
            .collect();
        let count = self.quantiles.len();
        let mut by_expert = Vec::with_capacity(guesses.len() * count);
        let (mut mixed, mut yardstick) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (which, tau) in self.quantiles.iter().enumerate() {
            let (mut sum, mut of) = (0.0, 0.0);
            for (said, weight) in said.iter().zip(self.mixture.weights(which)) {
                let bound =
                    said.as_ref().and_then(|(guess, margins)| Some((guess + margins.at(*tau)?).max(0.0)));
                by_expert.push(bound.map_or(f32::NAN, |bound| bound as f32));
                if let Some(bound) = bound {
                    sum += weight * bound;
                    of += weight;
                }
            }
            let own = f64::from(by_expert[which * guesses.len()]);
            let bound = if of > 0.0 { sum / of } else { own };
            mixed.push(bound);
            yardstick.push(own);
        }
        in_order(&mut mixed);
        let is_known = mixed.iter().chain(&yardstick).all(|bound| bound.is_finite());
        self.bounds = is_known.then(|| {
            let insured = |adaptive: &Adaptive| adaptive.bound(&self.quantiles, &mixed);
            let mut at: Vec<f64> = self.adaptive.iter().map(insured).collect();
            in_order(&mut at);
            let largest = self.largest();
            at.iter_mut().for_each(|bound| *bound = bound.min(largest));
            Bounds { at, yardstick }
        });
        let mixed = mixed.iter().map(|bound| *bound as f32).collect();
        self.waiting.push(step, Said { guesses, by_expert, mixed, bounds: self.bounds.clone() });
    }
}

/// A higher quantile is never below a lower one.
fn in_order(bounds: &mut [f64]) {
    let Some((first, others)) = bounds.split_first_mut() else { return };
    let mut least = *first;
    for bound in others {
        least = bound.max(least);
        *bound = least;
    }
}

fn now<'a>(
    (step, local): (i64, i64),
    level: Option<Level>,
    recent: &'a Recent,
    guesses: &'a [f64],
) -> Now<'a> {
    let is_floor = level.is_some_and(|level| level.is_floor);
    Now { step, local, level: level.map(|level| level.value), is_floor, recent, guesses }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each quantile is insured by its own misses: one that has had too many asks for more than the next one that has had none.
    #[test]
    fn insurance_leaves_bounds_in_the_order_of_their_quantiles() {
        let grid = Grid { step_minutes: 1.0, horizon: 1 };
        let mut engine = Engine::new(grid, vec![0.995, 0.9975], Span::from_secs(60), Zone::UTC);
        for (adaptive, missed) in engine.adaptive.iter_mut().zip([true, false]) {
            (0..1000).for_each(|_| adaptive.learn(missed));
        }
        let mut asked = 0;
        for step in 0..1000 {
            let value = 100.0 + (step * 7919 % 101) as f64;
            engine.close(step, Some(Level { value, is_floor: false }));
            let Some(bounds) = engine.bounds() else { continue };
            assert!(bounds.at.is_sorted() && bounds.yardstick.is_sorted(), "step {step}: {bounds:?}");
            asked += 1;
        }
        assert!(asked > 900);
    }
}
