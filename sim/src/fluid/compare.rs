//! Plimsoll against the reactive rules and the clairvoyant, on one series.

use plimsoll::units::{Percent, Span};
use serde::Serialize;

use super::actuator::Actuator;
use super::error::FluidError;
use super::frontier::{Frontier, Point, scored, sweep, utilizations};
use super::kernel::Plant;
use super::rules::{Clairvoyant, Plimsoll, Reactive};
use super::score::Scores;
use crate::series::Series;

/// Pods that the mean load before the test part takes. Results in pods are relative to it.
const MEAN_PODS: f64 = 20.0;

/// Time for which the ideal actuator gives nothing back: the HPA's default.
const HOLD: Span = Span::from_secs(300);

/// What is compared, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// From a decision until the pods that it orders are ready; above zero. Rounded to steps, one at least.
    pub lead: Span,
    /// Share of the time in which load may be above the ready capacity.
    pub objective: Percent,
    /// Who orders the pods.
    pub actuator: Actuator,
    /// Share of the series, its end, that results are from: 0.01 to 0.4. As much before it validates: reactive rules are
    /// tuned there.
    pub test_fraction: f64,
}

/// Where the parts of a series begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// First step of the validation part, which ends where the test part begins. What is before it is run-in.
    pub validation: usize,
    /// First step of the test part, which ends with the series.
    pub test: usize,
}

impl Parts {
    /// Of `steps` steps, of which the last share `test_fraction` (up to 1) is the test part. Beyond a half there is no run-in.
    pub fn new(steps: usize, test_fraction: f64) -> Self {
        // The little more is for products such as 0.7 · 5760, which doubles put just below a whole number.
        let start = |parts: f64| (steps as f64 * (1.0 - parts * test_fraction) + 1e-6).floor() as usize;
        Self { validation: start(2.0), test: start(1.0) }
    }
}

/// What came of it, over the test part. Serialized as it stands: names carry their unit, shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// 1. It changes when a field changes its meaning or goes.
    pub schema: u32,
    /// The series.
    pub trace: String,
    /// Length of a step.
    pub step_s: f64,
    /// The lead.
    pub lead_s: f64,
    /// The share of short time that was asked for.
    pub objective: f64,
    /// Who ordered the pods.
    pub actuator: Actuator,
    /// Load that one pod carries.
    pub requests_per_s_and_pod: f64,
    /// Of Plimsoll.
    #[serde(flatten)]
    pub scores: Scores,
    /// Pods of the clairvoyant.
    pub pods_clairvoyant: f64,
    /// Its share of short time: zero but where an HPA stands between its wish and the pods.
    pub clairvoyant_short_time_ratio: f64,
    /// Pods of the reactive rule that a user would have chosen: of those that met the objective over the validation part, the one
    /// with the fewest pods there. None if none met it.
    pub pods_reactive_best: Option<f64>,
    /// That rule and its knob.
    pub reactive_best: Option<String>,
    /// Its share of short time.
    pub reactive_best_short_time_ratio: Option<f64>,
    /// The fewest pods of any reactive rule at Plimsoll's share of short time, with the knob that hindsight would set; none if no
    /// rule is short so seldom.
    pub pods_reactive_best_at_equal_short_time: Option<f64>,
    /// Every reactive rule.
    pub rules: Vec<RuleReport>,
}

/// One reactive rule over the test part, at the knob that was the best over the validation part. None if no knob met the
/// objective there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleReport {
    /// What it is called.
    pub rule: &'static str,
    /// The knob.
    pub utilization: Option<f64>,
    /// Its share of short time.
    pub short_time_ratio: Option<f64>,
    /// Its pods.
    pub pods_mean: Option<f64>,
    /// Its pods at Plimsoll's share of short time, with the knob that hindsight would set.
    pub pods_at_equal_short_time: Option<f64>,
}

impl Settings {
    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn check(&self) -> Result<(), FluidError> {
        let check = |fits: bool, setting, value: String, expected| {
            if fits { Ok(()) } else { Err(FluidError::Setting { setting, value, expected }) }
        };
        check(self.lead.is_positive(), "lead", self.lead.to_string(), "more than 0s")?;
        let fraction = self.test_fraction;
        check((0.01..=0.4).contains(&fraction), "test fraction", fraction.to_string(), "0.01 to 0.4")
    }

    /// The pods that carry `series`, and where its parts begin. A pod is sized so that the mean load before the test part takes 20.
    ///
    /// # Errors
    /// When a setting is out of its range, the series is too short, or it has no load before the test part.
    pub fn plant(&self, series: &Series) -> Result<(Plant, Parts), FluidError> {
        self.check()?;
        let lead = Plant::steps(series.step, self.lead);
        let hold = Plant::steps(series.step, HOLD);
        let steps = series.counts.len();
        let needed = (lead.saturating_add(hold) as f64 / self.test_fraction).ceil() as usize;
        if steps < needed {
            return Err(FluidError::TooShort { trace: series.name.clone(), steps, needed });
        }
        let parts = Parts::new(steps, self.test_fraction);
        let train = &series.counts[..parts.test];
        let capacity = train.iter().sum::<f64>() / train.len() as f64 / MEAN_PODS;
        if capacity > 0.0 {
            Ok((Plant { step: series.step, capacity, lead, hold, actuator: self.actuator }, parts))
        } else {
            Err(FluidError::NoLoad(series.name.clone()))
        }
    }
}

/// Runs Plimsoll, the clairvoyant, and every reactive rule at many knobs over the series.
///
/// # Errors
/// As [`Settings::plant`].
pub fn compare(series: &Series, settings: &Settings) -> Result<Comparison, FluidError> {
    let (plant, parts) = settings.plant(series)?;
    let counts = &series.counts;
    let objective = settings.objective.as_fraction();
    let mut own = Plimsoll::new(series.step, settings.lead, settings.objective, plant.capacity);
    let [_, scores] = scored(counts, &plant, &parts, &mut own);
    let [_, clairvoyant] = scored(counts, &plant, &parts, &mut Clairvoyant::new(counts, plant.lead));
    let frontiers: Vec<(Reactive, Frontier)> = Reactive::ALL
        .into_iter()
        .map(|kind| (kind, sweep(counts, &plant, &parts, utilizations(), |u| kind.rule(series.step, u))))
        .collect();
    let rules: Vec<RuleReport> = frontiers
        .iter()
        .map(|(kind, frontier)| RuleReport::new(*kind, frontier, objective, scores.short_time_ratio))
        .collect();
    let best = frontiers
        .iter()
        .filter_map(|(kind, frontier)| Some((*kind, frontier.chosen(objective)?)))
        .min_by(|(_, a), (_, b)| a.validation.pods_mean.total_cmp(&b.validation.pods_mean));
    let equal = rules.iter().filter_map(|rule| rule.pods_at_equal_short_time).min_by(f64::total_cmp);
    Ok(Comparison {
        schema: 1,
        trace: series.name.clone(),
        step_s: series.step.as_secs_f64(),
        lead_s: settings.lead.as_secs_f64(),
        objective,
        actuator: settings.actuator,
        requests_per_s_and_pod: plant.capacity / series.step.as_secs_f64(),
        scores,
        pods_clairvoyant: clairvoyant.pods_mean,
        clairvoyant_short_time_ratio: clairvoyant.short_time_ratio,
        pods_reactive_best: best.map(|(_, point)| point.test.pods_mean),
        reactive_best: best.map(|(kind, point)| format!("{} u={:.3}", kind.name(), point.utilization)),
        reactive_best_short_time_ratio: best.map(|(_, point)| point.test.short_time_ratio),
        pods_reactive_best_at_equal_short_time: equal,
        rules,
    })
}

impl RuleReport {
    fn new(kind: Reactive, frontier: &Frontier, objective: f64, equal: f64) -> Self {
        let chosen: Option<&Point> = frontier.chosen(objective);
        Self {
            rule: kind.name(),
            utilization: chosen.map(|point| point.utilization),
            short_time_ratio: chosen.map(|point| point.test.short_time_ratio),
            pods_mean: chosen.map(|point| point.test.pods_mean),
            pods_at_equal_short_time: frontier.pods_at(equal),
        }
    }
}
