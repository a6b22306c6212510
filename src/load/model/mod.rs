//! From samples to the load: what is counted, what a request costs, and what CPU says of both.
//!
//! ```text
//! Sample ─▶ classes ─▶ offered requests ───────────────────────────────▶ × ─▶ MetricsQPS ± standard error
//!              │                                                          ▲
//!              └─▶ Σ weight · rate ─▶ × what CPU bears out ─▶ filter ─▶ cost per request
//!              └─▶ fit ─▶ weights, published when they beat what needs no classes
//! ```
//!
//! With weights typed by hand the classes weigh what was typed, and CPU is not asked. With fitted ones the load is in
//! units of the workload's mean request when it was first served, for ever after: 1 MetricsQPS is so many
//! core-seconds. Until weights have shown that they predict CPU better than its mean per request does, that mean is
//! served, and said to be.

use serde::{Deserialize, Serialize};

use super::classes::Classes;
use super::cost::{CostFilter, Counted};
use super::edges::Edges;
use super::fit::{FitReport, FitSample, FitSettings};
use super::learner::{InForce, Learner, MOST_BUSY, Sums, Trust, utilization};
use super::offered::{ClassLoad, Load, NothingCompletes, WeightsInForce, has_congested_evidence};
use super::sample::{Sample, is_after};
use super::versions::Version;
use super::weights::Weights;
use crate::units::{MetricsQps, Span, Time};

/// Share of its CPU above which a pod's durations are more waiting than work: from then on the cost of a request is not
/// learned where CPU does not vouch for it.
const KNEE: f64 = 0.8;

/// Clocks that are ahead by less are caught up with soon: whoever tells CPU goes by one of their own.
const AHEAD: Span = Span::from_secs(600);

/// How requests are weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Weighing {
    /// As typed.
    Given(Weights),
    /// As learned from CPU.
    Fitted(Fitting),
}

/// How weights are learned.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Fitting {
    /// Edges between durations; none for the histogram's own bounds.
    pub edges: Option<Edges>,
    /// A label that tells kinds of requests apart, and the most values that get classes of their own.
    pub by_label: Option<(String, usize)>,
    /// Whether work, such as tokens, is paid for beside the requests.
    pub has_work: bool,
    /// How fast, and what is expected.
    pub settings: FitSettings,
}

/// Why the load is not known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unknown {
    /// Requests are inside the pods and none completes.
    NothingCompletes {
        /// How many are there.
        in_flight: f64,
    },
    /// Weights are to be learned from CPU, and no pod shows any.
    NoCpu,
    /// Too few samples with CPU yet.
    Learning {
        /// How many there are.
        samples: u64,
        /// How many it takes.
        of: u64,
    },
}

/// What a pod uses when it does nothing, and for each MetricsQPS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuCost {
    /// Cores of a pod that does nothing, and its 95 % interval where it is known.
    pub idle: f64,
    /// See [`Self::idle`].
    pub idle_interval: Option<(f64, f64)>,
    /// Core-seconds of 1 MetricsQPS.
    pub unit: f64,
    /// Its 95 % interval; none where the unit is fixed.
    pub unit_interval: Option<(f64, f64)>,
}

/// Measures one workload's load, and learns what its requests cost. Deterministic, and can be stored and taken up again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadModel {
    weighing: Weighing,
    filter: Option<CostFilter>,
    /// End of the last window that the filter learned.
    learned_until: Option<Time>,
    /// End of the last window whose CPU was learned from.
    evidence_until: Option<Time>,
    /// Windows that it was kept from learning for doubt, in a row.
    frozen: u32,
    /// None before the first sample that shows what there is to learn.
    learner: Option<Learner>,
    drift_since: Option<Time>,
}

impl From<NothingCompletes> for Unknown {
    fn from(NothingCompletes { in_flight }: NothingCompletes) -> Self {
        Self::NothingCompletes { in_flight }
    }
}

impl LoadModel {
    /// A model that has seen nothing yet.
    pub fn new(weighing: Weighing) -> Self {
        Self {
            weighing,
            filter: None,
            learned_until: None,
            evidence_until: None,
            frozen: 0,
            learner: None,
            drift_since: None,
        }
    }

    /// Goes on with what an earlier one has learned, if it weighed as this one does and is sound. Whether it does.
    pub fn take_up(&mut self, earlier: Self) -> bool {
        let is_sound = earlier.learner.as_ref().is_none_or(Learner::is_sound)
            && earlier.filter.as_ref().is_none_or(CostFilter::is_sound);
        let fits = earlier.weighing == self.weighing && is_sound;
        if fits {
            *self = earlier;
        }
        fits
    }

    /// The load that a sample shows.
    ///
    /// # Errors
    /// When it cannot be known, or not yet.
    pub fn observe(&mut self, sample: &Sample) -> Result<Load, Unknown> {
        self.begin_at(sample.at);
        match &self.weighing {
            Weighing::Given(weights) => {
                let weights = weights.clone();
                self.observe_given(sample, &weights)
            }
            Weighing::Fitted(fitting) => {
                let fitting = fitting.clone();
                self.observe_fitted(sample, &fitting)
            }
        }
    }

    /// What was learned by a clock that was ahead does not keep what comes from being learned.
    fn begin_at(&mut self, now: Time) {
        let latest = now + AHEAD;
        for at in [&mut self.learned_until, &mut self.evidence_until, &mut self.drift_since] {
            *at = at.filter(|at| *at <= latest);
        }
        if let Some(learner) = &mut self.learner {
            learner.begin_at(latest);
        }
    }

    fn observe_given(&mut self, sample: &Sample, weights: &Weights) -> Result<Load, Unknown> {
        let load = Load::of(sample, weights, self.cost())?;
        let is_busy = is_busy(sample);
        let is_congested = !load.congestion.is_empty();
        if self.is_new_evidence(sample) {
            let was_congested = is_congested || has_congested_evidence(sample);
            let ratio = self.share_that_cpu_explains(sample, weights);
            let learner = self.learner.get_or_insert_with(Learner::of_metricsqps);
            if let Some(ratio) = ratio {
                learner.compare_metricsqps(ratio, is_busy || was_congested);
            }
            // The one class of this fit is MetricsQPS itself.
            learner.learn(was_congested, is_busy, |_| {
                let of_pods = FitSample::of(sample, weights.classes())?;
                let requests = Some(weights.requests(&of_pods.rates));
                Some(FitSample { rates: vec![weights.weigh(&of_pods.rates)], requests, ..of_pods })
            });
        }
        let is_busy = is_busy || is_congested;
        let borne_out = if is_busy { self.share_that_cpu_explains(sample, weights) } else { None };
        let trust = match borne_out {
            // More CPU than usual is no reason to count more than what was typed.
            Some(share) => {
                Trust { factor: share.min(1.0), is_vouched_for: true, has_changed: None, sums: None }
            }
            None => Trust { factor: 1.0, is_vouched_for: !is_busy, has_changed: None, sums: None },
        };
        self.learn_cost(sample, &load, trust, None);
        Ok(self.estimate(sample, load, trust))
    }

    /// CPU used, of what the MetricsQPS of the same pods usually takes; none while that is not known.
    fn share_that_cpu_explains(&self, sample: &Sample, weights: &Weights) -> Option<f64> {
        let of_pods = FitSample::of(sample, weights.classes())?;
        let cost = self.learner.as_ref()?.usual_cost_of_metricsqps()?;
        let usual = cost.unit * weights.weigh(&of_pods.rates);
        (usual > 0.0).then(|| (of_pods.cpu - cost.idle * of_pods.pods).max(0.0) / usual)
    }

    fn observe_fitted(&mut self, sample: &Sample, fitting: &Fitting) -> Result<Load, Unknown> {
        let usual = self.cost();
        if self.learner.is_none() {
            self.learner = Learner::for_sample(sample, fitting);
        }
        let is_new = self.is_new_evidence(sample);
        let Some(learner) = &mut self.learner else { return Err(Unknown::NoCpu) };
        learner.choose_classes(sample);
        let in_classes = |classes: &Classes| FitSample::of(sample, classes);
        let InForce { weights, source } = learner.in_force();
        let load = Load::of(sample, &weights, usual)?;
        learner.check_edges(sample, &load);
        let was_congested = !load.congestion.is_empty() || has_congested_evidence(sample);
        let is_crowded = is_busy(sample) || was_congested;
        let has_learned = is_new && learner.learn(was_congested, is_busy(sample), in_classes);
        if !learner.is_serving() {
            let samples = learner.windows();
            let has_cpu = in_classes(learner.classes()).is_some();
            return Err(match samples {
                0 if !has_cpu => Unknown::NoCpu,
                _ => Unknown::Learning { samples, of: Learner::SAMPLES_TO_SERVE },
            });
        }
        if let Some(filter) = &mut self.filter {
            filter.take_off_idle(learner.idle_metricsqps());
        }
        let trust = if is_new { learner.borne_out(is_crowded, in_classes) } else { learner.as_before() };
        let is_by_class = matches!(source, WeightsInForce::Fitted { .. });
        // Classes tell what requests cost without CPU; without classes, nothing does.
        let is_calm = is_by_class && load.congestion.is_empty();
        let trust = Trust { is_vouched_for: trust.is_vouched_for || is_calm, ..trust };
        let variance = in_classes(learner.classes())
            .filter(|_| !is_by_class)
            .map(|of_pods| learner.variance_of_one(&of_pods.rates));
        let load = Load { weights: source, ..load };
        self.learn_cost(sample, &load, trust, variance);
        if let Some(learner) = &mut self.learner {
            // In an overload the next samples would not tell old weights from new ones.
            if has_learned {
                learner.publish(sample.at);
            }
            // New weights count from the next sample on; what pods cost, which comes with them, at once.
            if let Some(filter) = &mut self.filter {
                filter.take_off_idle(learner.idle_metricsqps());
            }
        }
        let load = self.estimate(sample, load, trust);
        self.note_drift(sample.at);
        Ok(load)
    }

    /// The load that a sample of the past shows, as requests are weighed now; nothing is learned from it. None where nothing is weighed
    /// yet, or the sample shows none.
    pub fn weigh(&self, sample: &Sample) -> Option<Load> {
        let (weights, source) = match &self.weighing {
            Weighing::Given(weights) => (weights.clone(), WeightsInForce::Given),
            Weighing::Fitted(_) => {
                let InForce { weights, source } = self.learner.as_ref()?.in_force();
                (weights, source)
            }
        };
        let load = Load::of(sample, &weights, self.cost()).ok()?;
        // Where all requests weigh alike, they cost what the mean one does at present.
        let metricsqps = match (source, self.cost()) {
            (WeightsInForce::CpuPerRequest, Some(cost)) => MetricsQps::saturating(load.offered.get() * cost),
            _ => load.metricsqps,
        };
        Some(Load { metricsqps, weights: source, ..load })
    }

    /// Whether the window of which both requests and CPU are known begins after the last one that was learned from. Windows that overlap tell the
    /// same twice.
    fn is_new_evidence(&mut self, sample: &Sample) -> bool {
        let Some((at, window)) = sample.evidence() else { return false };
        let is_new = is_after(self.evidence_until, (at, window));
        if is_new {
            self.evidence_until = Some(at);
        }
        is_new
    }

    fn note_drift(&mut self, at: Time) {
        let Some(learner) = &mut self.learner else { return };
        if !learner.has_drifted() {
            self.drift_since = None;
        } else if self.drift_since.is_none() {
            self.drift_since = Some(at);
            learner.forget_what_was_before_the_drift();
        }
    }

    fn cost(&self) -> Option<f64> {
        self.filter.as_ref().map(CostFilter::cost)
    }

    /// Learns what a request costs at present. `variance`, if given, is the relative variance of one request's cost, where the weights themselves do
    /// not tell.
    fn learn_cost(&mut self, sample: &Sample, load: &Load, trust: Trust, variance: Option<f64>) {
        let Trust { factor, is_vouched_for, has_changed, sums } = trust;
        let Worked { seconds, requests, work } = Worked::of(sample, load, factor);
        if self.filter.is_none() && requests > 0.0 {
            // A first window whose CPU is lost in that of idle pods is no request that costs nothing.
            let mut filter = CostFilter::new(if work > 0.0 { work / requests } else { 1.0 });
            if let (Weighing::Fitted(_), Some(learner)) = (&self.weighing, &self.learner) {
                filter.take_off_idle(learner.idle_metricsqps());
            }
            self.filter = Some(filter);
        }
        let Some(filter) = &mut self.filter else { return };
        // Those that have not told may have other requests than those that have.
        let telling: u32 = sample.groups.iter().filter(|group| group.tells()).map(|group| group.pods).sum();
        let is_doubtful = !is_vouched_for || telling < sample.pods.ready;
        self.frozen = if is_doubtful { self.frozen.saturating_add(1) } else { 0 };
        let is_calm = load.congestion.is_empty();
        let is_evidence = is_vouched_for || !matches!(load.weights, WeightsInForce::CpuPerRequest);
        let may_learn = is_evidence && (!is_doubtful || is_calm && self.frozen > MOST_BUSY);
        let is_new = is_after(self.learned_until, (sample.at, window(sample)));
        // Of an overload the light requests get through first, so what completes seems light; heavier it can only be.
        let is_lighter = !is_calm && work < requests * filter.cost();
        if is_new && may_learn && !is_lighter {
            let (windows, requests, work, pod_seconds) = match sums {
                Some(Sums { windows, requests, pods, .. }) => {
                    (f64::from(windows), requests, requests * factor, pods)
                }
                None => (1.0, requests, work, f64::from(telling) * seconds),
            };
            let squared = |class: &ClassLoad| (class.weight * factor).powi(2) * class.rate.get() * seconds;
            let squared = match variance {
                Some(variance) => work * work / requests * (1.0 + variance),
                None => load.classes.iter().map(squared).sum(),
            };
            filter.learn(&Counted { windows, requests, work, squared, pod_seconds });
            self.learned_until = Some(sample.at);
        }
        if let Some(changed) = has_changed
            && requests > 0.0
        {
            // All requests cost more, or less, and not a mix that may be chance.
            filter.change_costs(changed, work / requests);
        }
    }

    /// Offered requests times their filtered cost.
    fn estimate(&self, sample: &Sample, load: Load, trust: Trust) -> Load {
        let Some(filter) = &self.filter else { return load };
        let Trust { factor, is_vouched_for, .. } = trust;
        let Worked { seconds, requests, work } = Worked::of(sample, &load, factor);
        let offered = load.offered.get();
        // A congested workload does all the work that it can: there is at least that much.
        let is_floor = is_vouched_for && !load.congestion.is_empty() && requests > 0.0;
        let cost = if is_floor { filter.cost().max(work / requests) } else { filter.cost() };
        // Tokens may flow for longer than a window before a request completes.
        let ongoing = if requests > 0.0 || seconds <= 0.0 { 0.0 } else { work / seconds };
        let standard_error = if offered > 0.0 {
            offered * filter.standard_error()
        } else if seconds > 0.0 {
            filter.of_one_request() / seconds
        } else {
            0.0
        };
        Load {
            metricsqps: MetricsQps::saturating((offered * cost).max(ongoing)),
            standard_error: MetricsQps::saturating(standard_error),
            borne_out: matches!(load.weights, WeightsInForce::Fitted { .. }).then_some(factor),
            ..load
        }
    }

    /// What pods cost in CPU, in MetricsQPS as it is served.
    ///
    /// # Errors
    /// While that is not known.
    pub fn cpu_cost(&self) -> Result<CpuCost, Unknown> {
        let Some(learner) = &self.learner else { return Err(Unknown::NoCpu) };
        let known = match self.weighing {
            Weighing::Given(_) => learner.cost_of_metricsqps(),
            Weighing::Fitted(_) => learner.cpu_cost(),
        };
        known.ok_or(match learner.windows() {
            0 => Unknown::NoCpu,
            samples => Unknown::Learning { samples, of: Learner::SAMPLES_TO_SERVE.max(samples) },
        })
    }

    /// The weights in force, if fitted ones have been published.
    pub fn version(&self) -> Option<&Version> {
        self.learner.as_ref()?.version()
    }

    /// What the fit knows by now; none before it has seen CPU.
    pub fn fit_report(&self) -> Option<FitReport> {
        self.learner.as_ref().filter(|learner| learner.samples() > 0).map(Learner::report)
    }

    /// Since when requests have cost other than when their weights were learned.
    pub fn drift_since(&self) -> Option<Time> {
        self.drift_since
    }
}

/// What completed in a sample's window.
struct Worked {
    seconds: f64,
    requests: f64,
    /// Σ weight over them, as far as CPU bears it out.
    work: f64,
}

impl Worked {
    fn of(sample: &Sample, load: &Load, factor: f64) -> Self {
        let seconds = window(sample).as_secs_f64();
        let rate: f64 = load.classes.iter().map(|class| class.weight * class.rate.get()).sum();
        Self { seconds, requests: load.completed.get() * seconds, work: factor * rate * seconds }
    }
}

/// Whether durations are waiting as much as work, as far as CPU tells.
fn is_busy(sample: &Sample) -> bool {
    utilization(sample).is_some_and(|share| share > KNEE)
}

/// The mean window of the pods that tell.
fn window(sample: &Sample) -> Span {
    let telling = || sample.groups.iter().filter(|group| group.tells());
    let sum: f64 = telling().map(|group| group.window.as_secs_f64()).sum();
    Span::from_secs_f64(sum / telling().count().max(1) as f64)
}

#[cfg(test)]
mod tests;
