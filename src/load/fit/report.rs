//! What a fit knows, how well, and what it does not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::regression::Estimate;
use super::score::Score;
use super::{Candidate, CostFit};

/// Share of the squared errors of the better rival that is clearly less than it.
const CLEARLY: f64 = 0.9;

/// Columns of the pods in any regression, and of CPU in that of the number of requests.
const PODS: usize = 0;
const CPU_AFTER_REQUESTS: usize = 2;

/// A column whose variance is so many times what it would be alone goes along with others exactly.
const COLLINEAR: f64 = 1e6;

/// Uncertainty of a class's part in the CPU, as a share of all CPU, beyond which its cost is anybody's guess.
const VAGUE_PART: f64 = 0.5;

/// The same for the pods' idle CPU: capacity rests on it.
const VAGUE_IDLE: f64 = 0.3;

/// Share of what a pod uses on average up to which an idle one's CPU is believed whatever the number of requests says.
const USUAL_IDLE: f64 = 0.1;

/// How far the number of requests per pod must have moved, from the least to the most as a share of its mean. An autoscaler that acts beyond
/// a tenth leaves a quarter. Within so little, requests that wait the longer the busier their pod is explain CPU as well as an idle
/// cost does.
const LEAST_MOVED: f64 = 1.0 / 3.0;

/// Half an interval, in the cost itself or what was thought of it before, beyond which it says nothing.
const VAGUE_COST: f64 = 4.0;

/// Share of the CPU from which on a class must be known for the whole to count as known.
const MATTERS: f64 = 0.05;

/// One cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The best guess: cores for a pod, core-seconds for a request. Where the data tell nothing, it rests on what is
    /// typical alone.
    pub value: f64,
    /// The 95 % interval; none where the data do not tell.
    pub interval: Option<(f64, f64)>,
}

/// Prequential scores: each sample's CPU predicted before it was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    /// By the cost of each class.
    pub metricsqps: Option<Score>,
    /// By one cost for all requests.
    pub qps: Option<Score>,
    /// By the mean cost of the last requests.
    pub cpu_per_request: Option<Score>,
}

/// What the data leave open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ambiguity {
    /// Fewer samples than it takes.
    Samples {
        /// How many there are.
        have: u64,
        /// How many it takes.
        need: u64,
    },
    /// There were no requests at all.
    Idle,
    /// These classes' requests come in much the same proportion to others, or there are too few of them.
    Mix {
        /// Indices of the classes.
        classes: Vec<usize>,
    },
    /// The load per pod hardly changes.
    LoadPerPod,
    /// Classes make an idle pod far dearer than the number of requests does: requests wait for one another.
    Waiting,
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Samples { have, need } => write!(f, "{have} samples; {need} are needed at least: wait"),
            Self::Idle => f.write_str("there were no requests: send some"),
            Self::Mix { classes } => {
                let numbers: Vec<String> = classes.iter().map(|class| (class + 1).to_string()).collect();
                write!(
                    f,
                    "the mix moves too little to tell what class {} costs: wait for other hours, or run a load test of \
                     one kind of request after the other",
                    numbers.join(", ")
                )
            }
            Self::LoadPerPod => f.write_str(
                "the load per pod moves too little to tell an idle pod's CPU from its requests': keep the number of pods \
                 fixed for a day, or run a load test at twice the load",
            ),
            Self::Waiting => f.write_str(
                "going by durations an idle pod uses far more CPU than going by the number of requests, so requests wait as \
                 much as they work: give pods more cores or a lower target, or requests a class by what they ask for (a label)",
            ),
        }
    }
}

/// What a fit knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FitReport {
    /// Samples learned from.
    pub samples: u64,
    /// Cores of a pod that does nothing.
    pub idle: Cost,
    /// Core-seconds of a request of each class.
    pub classes: Vec<Cost>,
    /// Core-seconds of the mean request.
    pub mean_cost: Option<f64>,
    /// How well CPU was predicted.
    pub scores: Scores,
    /// Whether the classes predicted clearly better than both rivals.
    pub beats_rivals: bool,
    /// Whether CPU is read as spent before the requests were counted.
    pub lagged: bool,
    /// What the data leave open; empty when they tell all that matters.
    pub ambiguities: Vec<Ambiguity>,
}

impl FitReport {
    pub(super) fn of(fit: &CostFit) -> Self {
        let best = fit.best();
        let view = View { fit, best };
        let costs = fit.costs();
        let classes: Vec<Cost> =
            (0..costs.len()).map(|class| Cost { value: costs[class], interval: view.class(class) }).collect();
        let idle = idle_of(best, fit);
        let rivals = fit.qps.errors.mean_squared().min(fit.cpu_per_request.mean_squared());
        Self {
            samples: fit.samples,
            ambiguities: view.ambiguities(&idle, &classes),
            idle,
            classes,
            mean_cost: fit.mean_cost(),
            scores: Scores {
                metricsqps: best.errors.score(),
                qps: fit.qps.errors.score(),
                cpu_per_request: fit.cpu_per_request.score(),
            },
            beats_rivals: best.errors.mean_squared() < CLEARLY * rivals,
            lagged: fit.is_lagged(),
        }
    }

    /// Whether the data tell all costs that matter.
    pub fn is_identifiable(&self) -> bool {
        self.ambiguities.is_empty()
    }
}

struct View<'a> {
    fit: &'a CostFit,
    best: &'a Candidate,
}

impl View<'_> {
    fn cpu(&self) -> f64 {
        self.best.regression.mean(self.fit.classes.len() + 1)
    }

    fn rate(&self, class: usize) -> f64 {
        self.best.regression.mean(class + 1)
    }

    /// What a request of this class would cost if costs were in proportion to what is typical.
    fn thought(&self, class: usize) -> f64 {
        let typical: f64 = self.fit.classes.iter().enumerate().map(|(i, c)| c.typical * self.rate(i)).sum();
        if typical > 0.0 { self.fit.classes[class].typical * self.cpu() / typical } else { 0.0 }
    }

    fn class(&self, class: usize) -> Option<(f64, f64)> {
        let estimate = self.best.regression.estimate(class + 1).filter(|_| self.rate(class) > 0.0)?;
        let half = half(&estimate);
        let is_vague = half * self.rate(class) > VAGUE_PART * self.cpu()
            || half > VAGUE_COST * self.thought(class).max(estimate.value);
        (estimate.inflation < COLLINEAR && !is_vague).then(|| interval(&estimate))
    }

    /// Whether an idle pod's cost, by classes alone, is far above what it is believed to be.
    fn is_waiting(&self) -> bool {
        let regression = &self.best.regression;
        let above = |estimate: Estimate| estimate.plain - half(&estimate) - estimate.value;
        let above = regression.estimate(PODS).map_or(0.0, above);
        above * regression.mean(PODS) > VAGUE_IDLE * self.cpu()
    }

    fn ambiguities(&self, idle: &Cost, classes: &[Cost]) -> Vec<Ambiguity> {
        let need = self.fit.samples_to_score();
        if self.fit.samples < need {
            return vec![Ambiguity::Samples { have: self.fit.samples, need }];
        }
        if classes.iter().enumerate().all(|(class, _)| self.rate(class) <= 0.0) {
            return vec![Ambiguity::Idle];
        }
        let matters = |(class, cost): (usize, &Cost)| {
            cost.value.max(self.thought(class)) * self.rate(class) > MATTERS * self.cpu()
        };
        let unknown = |(class, cost): &(usize, &Cost)| cost.interval.is_none() && matters((*class, cost));
        let mix: Vec<usize> = classes.iter().enumerate().filter(unknown).map(|(class, _)| class).collect();
        let mix = (!mix.is_empty()).then_some(Ambiguity::Mix { classes: mix });
        let load_per_pod = idle.interval.is_none().then_some(Ambiguity::LoadPerPod);
        let waiting = self.is_waiting().then_some(Ambiguity::Waiting);
        mix.into_iter().chain(load_per_pod).chain(waiting).collect()
    }
}

/// What a pod costs that does nothing.
pub(super) fn idle_of(candidate: &Candidate, fit: &CostFit) -> Cost {
    let regression = &candidate.regression;
    let value = regression.coefficients()[PODS];
    let cpu = regression.mean(regression.coefficients().len());
    let has_moved = fit.per_pod.share().is_none_or(|share| share >= LEAST_MOVED);
    let known = |estimate: &Estimate| {
        let is_vague = half(estimate) * regression.mean(PODS) > VAGUE_IDLE * cpu;
        estimate.inflation < COLLINEAR && !is_vague && has_moved
    };
    Cost { value, interval: regression.estimate(PODS).filter(known).map(|estimate| interval(&estimate)) }
}

/// The most that an idle pod is thought to cost; none while little is known.
pub(super) fn most_idle(qps: &Candidate) -> Option<f64> {
    let regression = &qps.regression;
    let usual = USUAL_IDLE * regression.mean(CPU_AFTER_REQUESTS) / regression.mean(PODS);
    Some(regression.at_most(PODS)?.max(usual))
}

fn half(estimate: &Estimate) -> f64 {
    estimate.quantile * estimate.standard_error
}

/// Around what plain least squares say, since only that is without bias; costs are not negative, and the best guess is
/// always within.
fn interval(estimate: &Estimate) -> (f64, f64) {
    let half = half(estimate);
    let (low, high) = ((estimate.plain - half).max(0.0), (estimate.plain + half).max(0.0));
    (low.min(estimate.value), high.max(estimate.value))
}
