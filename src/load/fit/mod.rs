//! What requests cost, learned from the workload's own CPU.
//!
//! ```text
//! y = c₀·n + Σ aᵦ·rᵦ     y: cores that n pods used    c₀: a pod's idle cost    aᵦ: CPU-seconds of a request of class b
//! ```
//!
//! [`CostFit::observe`] predicts each sample's CPU before it learns from it, so that the [`FitReport`] can say how well the
//! classes predict CPU beside two rivals that need none: a cost per request that is fitted (plain QPS), and one that is
//! read off the last samples (CPU per request). It also says which costs the data do not tell, and what would make
//! them: classes that always come in the same proportion share one cost between them, and where the load per pod never
//! changes a pod's idle cost and its requests' are one.
//!
//! Memory is a few matrices of the number of classes squared, whatever the length of the history.

mod lag;
mod movement;
mod ratio;
mod regression;
mod report;
mod score;
mod solve;

use serde::{Deserialize, Serialize};

use super::classes::Classes;
use super::sample::Sample;
use crate::units::{Span, Time};

use lag::{Lag, Row};
use movement::Movement;
use ratio::CpuPerRequest;
use regression::{Prior, Regression};
pub(super) use score::Errors;

pub use report::{Ambiguity, Cost, FitReport, Scores};
pub use score::Score;

/// How far better the lagged reading must predict: it has fewer samples, and is the less simple one.
const LAG_GAIN: f64 = 0.97;

/// A gap of so many windows between two samples breaks the autoregression of the noise.
const GAP_WINDOWS: f64 = 1.5;

/// A class whose requests' cost is to be learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitClass {
    /// What one of its requests typically amounts to, in seconds (or tokens, …): costs are thought to be in proportion
    /// while nothing tells them. Above zero.
    pub typical: f64,
    /// Seconds that one of its requests typically lasts: its CPU is spread over that long before it is counted.
    pub lasts: f64,
    /// The class whose requests should not cost more than those of this one: an index below its own.
    pub follows: Option<usize>,
    /// Whether these are requests, or something that comes with them, such as tokens.
    pub are_requests: bool,
}

impl FitClass {
    /// One for each column of `classes`: costs are thought to grow with the duration. A unit of work (a token, …) is thought
    /// to take what a request of a millisecond does.
    pub fn of(classes: &Classes) -> Vec<Self> {
        let typical = classes.edges().typical();
        let request = |column: usize| {
            let class = column % typical.len();
            let follows = (class > 0).then(|| column - 1);
            Self { typical: typical[class], lasts: typical[class], follows, are_requests: true }
        };
        let work = Self { typical: 0.001, lasts: 0.0, follows: None, are_requests: false };
        let work = classes.has_work().then_some(work);
        (0..classes.requests()).map(request).chain(work).collect()
    }
}

/// How a fit learns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitSettings {
    /// Time after which a sample counts half; above zero.
    pub half_life: Span,
    /// Whether a request that lasts longer is thought not to cost less. The data may contradict.
    pub ordered: bool,
}

impl Default for FitSettings {
    fn default() -> Self {
        // Long enough to have seen each hour of the day, short enough to forget last week's release.
        Self { half_life: Span::from_secs(3 * 86_400), ordered: true }
    }
}

/// One sample for a fit: the pods of which both requests and CPU are known.
#[derive(Debug, Clone, PartialEq)]
pub struct FitSample {
    /// When its window ended.
    pub at: Time,
    /// How long its window was.
    pub window: Span,
    /// How many pods.
    pub pods: f64,
    /// Requests per second, class by class; or what else is counted.
    pub rates: Vec<f64>,
    /// Requests per second, where `rates` count something else.
    pub requests: Option<f64>,
    /// Cores used.
    pub cpu: f64,
}

impl FitSample {
    /// What a sample tells of the pods of which both requests and CPU of the same time are known, over windows that are much the same; none if
    /// there are no such pods.
    pub fn of(sample: &Sample, classes: &Classes) -> Option<Self> {
        let mut of_pods = Self {
            at: sample.at,
            window: Span::ZERO,
            pods: 0.0,
            rates: vec![0.0; classes.columns()],
            requests: None,
            cpu: 0.0,
        };
        let (at, _) = sample.evidence()?;
        of_pods.at = at;
        for group in sample.groups.iter().filter(|group| group.tells()) {
            let group = group.evidence.as_ref().map_or(group, |evidence| &evidence.of);
            let Some(cpu) = group.cpu else { continue };
            of_pods.window = of_pods.window.max(group.window);
            of_pods.pods += f64::from(group.pods);
            of_pods.cpu += cpu.get();
            for (total, rate) in of_pods.rates.iter_mut().zip(classes.sort(group).rates) {
                *total += rate;
            }
        }
        (of_pods.pods > 0.0).then_some(of_pods)
    }
}

/// Learns what requests cost. Deterministic, and can be stored and taken up again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostFit {
    classes: Vec<FitClass>,
    settings: FitSettings,
    aligned: Candidate,
    lagged: Option<(Lag, Candidate)>,
    qps: Candidate,
    cpu_per_request: CpuPerRequest,
    #[serde(default)]
    per_pod: Movement,
    last: Option<Time>,
    /// Seconds between the last two samples.
    #[serde(default)]
    apart: f64,
    samples: u64,
}

/// A regression with the errors that it made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Candidate {
    regression: Regression,
    errors: Errors,
}

impl Candidate {
    fn new(prior: Prior, after: Vec<Option<usize>>) -> Self {
        Self { regression: Regression::new(prior, after), errors: Errors::default() }
    }

    fn learn(&mut self, row: &Row, keep: f64, scores: bool) {
        let x: Vec<f64> = [row.pods].iter().chain(&row.rates).copied().collect();
        if scores {
            self.errors.add(self.regression.predict(&x), row.cpu, keep);
        }
        self.regression.learn(&x, row.cpu, keep);
    }
}

impl CostFit {
    /// For these classes.
    pub fn new(classes: Vec<FitClass>, settings: FitSettings) -> Self {
        let prior: Prior = [None].into_iter().chain(classes.iter().map(|c| Some(c.typical))).collect();
        // Columns of the regression: the pods, then the classes.
        let follows = |class: &FitClass| class.follows.filter(|_| settings.ordered).map(|other| other + 1);
        let after = [None].into_iter().chain(classes.iter().map(follows)).collect();
        Self {
            aligned: Candidate::new(prior, after),
            lagged: None,
            qps: Candidate::new(vec![None, Some(1.0)], vec![None, None]),
            cpu_per_request: CpuPerRequest::default(),
            per_pod: Movement::default(),
            classes,
            settings,
            last: None,
            apart: 0.0,
            samples: 0,
        }
    }

    /// Whether its parts fit together: one that was written down may have been damaged.
    pub(super) fn is_sound(&self) -> bool {
        let classes = self.classes.len();
        let of_classes = |candidate: &Candidate| candidate.regression.is_sound(classes + 1);
        self.classes.iter().filter_map(|class| class.follows).all(|class| class < classes)
            && of_classes(&self.aligned)
            && self
                .lagged
                .as_ref()
                .is_none_or(|(lag, candidate)| lag.is_sound(classes) && of_classes(candidate))
            && self.qps.regression.is_sound(2)
    }

    /// The classes.
    pub fn classes(&self) -> &[FitClass] {
        &self.classes
    }

    /// Predicts the sample's CPU, and then learns from it. A sample of a workload that is congested should not come here:
    /// [`Self::interrupt`] instead. One that is not after the last one, or holds numbers that no pods can have shown, is
    /// left aside.
    pub fn observe(&mut self, sample: &FitSample) {
        let sane = |value: f64| value.is_finite() && value >= 0.0;
        let window = sample.window.as_secs_f64();
        let is_sound = sample.rates.len() == self.classes.len()
            && sample.rates.iter().all(|rate| sane(*rate))
            && sample.requests.is_none_or(sane)
            && sane(sample.cpu)
            && sane(sample.pods)
            && sample.pods > 0.0
            && window > 0.0;
        if !is_sound || self.last.is_some_and(|last| sample.at <= last) {
            return;
        }
        let apart = self.last.map_or(window, |last| (sample.at - last).as_secs_f64());
        // Windows that are always so far apart, as those of CPU that is told seldom, follow each other all the same; only CPU that was spent
        // in the window before cannot be told then.
        if apart > GAP_WINDOWS * window.max(self.apart) {
            self.interrupt();
        } else if let Some((lag, _)) = self.lagged.as_mut().filter(|_| apart > GAP_WINDOWS * window) {
            lag.interrupt();
        }
        self.apart = apart;
        if self.samples == 0 {
            let durations: Vec<f64> = self.classes.iter().map(|class| class.lasts).collect();
            self.lagged = Lag::new(&durations, window).map(|lag| (lag, self.aligned.clone()));
        }
        let keep = 0.5f64.powf(apart / self.settings.half_life.as_secs_f64());
        let scores = self.samples >= self.samples_to_score();
        let row = Row { pods: sample.pods, rates: sample.rates.clone(), cpu: sample.cpu };
        let requests = sample.requests.unwrap_or_else(|| self.requests(&row.rates));
        self.per_pod.learn(requests / sample.pods, keep);
        let total = Row { rates: vec![requests], ..row.clone() };
        let idle = self.qps.regression.coefficients()[0];
        self.cpu_per_request.learn(&total, idle, keep, scores);
        self.qps.learn(&total, keep, scores);
        let most = report::most_idle(&self.qps);
        self.aligned.regression.limit(most);
        self.aligned.learn(&row, keep, scores);
        if let Some((lag, candidate)) = &mut self.lagged
            && let Some(row) = lag.push(row)
        {
            // Its row is of some windows ago, and this limit knows them: one number that comes of hundreds.
            candidate.regression.limit(most);
            candidate.learn(&row, keep, scores);
        }
        self.last = Some(sample.at);
        self.samples += 1;
    }

    /// Counts all that it has learned as the share `keep` of it: costs are thought to have changed.
    pub fn forget(&mut self, keep: f64) {
        let lagged = self.lagged.as_mut().map(|(_, candidate)| candidate);
        for candidate in [&mut self.aligned, &mut self.qps].into_iter().chain(lagged) {
            candidate.regression.forget(keep);
        }
        // Errors made while costs changed say nothing of who predicts better now.
        self.restart_scores();
    }

    /// CPU per request, or what else the rates count, over all that was learned from, idle pods' included, in core-seconds; none before there was
    /// one.
    pub fn cpu_per_request(&self) -> Option<f64> {
        let regression = &self.aligned.regression;
        let means: Vec<f64> = (1..=self.classes.len()).map(|column| regression.mean(column)).collect();
        let (requests, cpu) = (self.requests(&means), regression.mean(self.classes.len() + 1));
        (requests > 0.0 && cpu > 0.0).then(|| cpu / requests)
    }

    /// CPU that it expects, in cores.
    pub(super) fn predict(&self, sample: &FitSample) -> f64 {
        let work: f64 = self.costs().iter().zip(&sample.rates).map(|(cost, rate)| cost * rate).sum();
        self.idle() * sample.pods + work
    }

    /// Where the last sample is later than `now`, as by a clock that was ahead, those that come are not before it.
    pub(super) fn begin_at(&mut self, now: Time) {
        if self.last.is_some_and(|last| last > now) {
            self.interrupt();
            self.last = None;
        }
    }

    /// The next sample does not follow the last one: what was in between cannot be learned from.
    pub fn interrupt(&mut self) {
        let lagged = self.lagged.as_mut().map(|(lag, candidate)| {
            lag.interrupt();
            candidate
        });
        for candidate in [&mut self.aligned, &mut self.qps].into_iter().chain(lagged) {
            candidate.regression.interrupt();
        }
    }

    /// Scores anew from here on: as if nothing had been predicted yet.
    pub fn restart_scores(&mut self) {
        let lagged = self.lagged.as_mut().map(|(_, candidate)| candidate);
        for candidate in [&mut self.aligned, &mut self.qps].into_iter().chain(lagged) {
            candidate.errors = Errors::default();
        }
        self.cpu_per_request.restart_scores();
    }

    /// Samples learned from.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Whether CPU is read as spent before the requests were counted.
    pub fn is_lagged(&self) -> bool {
        self.lagged.as_ref().is_some_and(|(_, candidate)| {
            let gains = candidate.errors.mean_squared() < LAG_GAIN * self.aligned.errors.mean_squared();
            gains && candidate.errors.weight() >= self.aligned.errors.weight() / 2.0
        })
    }

    fn best(&self) -> &Candidate {
        let lagged = self.lagged.as_ref().filter(|_| self.is_lagged());
        lagged.map_or(&self.aligned, |(_, candidate)| candidate)
    }

    /// What a pod costs that does nothing, in cores.
    pub fn idle(&self) -> f64 {
        self.best().regression.coefficients()[0]
    }

    /// What a request of each class costs, in core-seconds.
    pub fn costs(&self) -> &[f64] {
        &self.best().regression.coefficients()[1..]
    }

    /// What a pod costs that does nothing if the classes are not looked at, in cores.
    pub fn idle_without_classes(&self) -> Cost {
        report::idle_of(&self.qps, self)
    }

    fn requests(&self, rates: &[f64]) -> f64 {
        self.classes.iter().zip(rates).filter(|(class, _)| class.are_requests).map(|(_, rate)| rate).sum()
    }

    /// The mean cost of a request over all that was learned from, in core-seconds; none before there was a request.
    pub fn mean_cost(&self) -> Option<f64> {
        let regression = &self.best().regression;
        let rates: Vec<f64> = (1..=self.classes.len()).map(|column| regression.mean(column)).collect();
        let work: f64 = self.costs().iter().zip(&rates).map(|(cost, rate)| cost * rate).sum();
        let requests = self.requests(&rates);
        (requests > 0.0 && work > 0.0).then(|| work / requests)
    }

    /// Samples before anything is predicted in earnest: fewer would tell the coefficients, not the workload.
    pub(super) fn samples_to_score(&self) -> u64 {
        let seen = |column: &usize| self.aligned.regression.mean(*column) > 0.0;
        let classes = (1..=self.classes.len()).filter(seen).count() as u64;
        2 * (classes + 1) + 8
    }

    /// What is known, how well, and what is not.
    pub fn report(&self) -> FitReport {
        FitReport::of(self)
    }
}

#[cfg(test)]
mod tests;
