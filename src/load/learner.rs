//! What learns from a workload's CPU: the fit, the weights that came of it, and how far CPU bears them out now.

use serde::{Deserialize, Serialize};

use super::borne_out::{BorneOut, Durations};
use super::classes::{ByLabel, Classes};
use super::edges::Edges;
use super::fit::{Cost, CostFit, FitClass, FitReport, FitSample, FitSettings};
use super::labels::LabelValues;
use super::model::{CpuCost, Fitting};
use super::offered::{Load, WeightsInForce};
use super::sample::{Group, Sample};
use super::versions::{Version, Versions};
use super::weights::Weights;
use crate::units::Time;

/// Classes by duration, where a histogram has more bounds than this: the bounds of Prometheus' client libraries.
const MOST_EDGES: usize = 20;
const USUAL_EDGES: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Most classes of a fit whose requests are told apart by a label too: durations are told apart less finely then.
const MOST_LABELLED: usize = 24;

/// Samples between two looks at whether the weights are worth publishing: the look costs more than the learning.
const LOOK_EVERY: u64 = 20;

/// Samples before the first look: half an hour of 15 s scrapes.
const SAMPLES_TO_PUBLISH: u64 = 120;

/// Requests in a window below which its CPU says nothing of their cost.
const LEAST_REQUESTS: f64 = 30.0;

/// Windows after which busy ones are learned from all the same: a workload that is always that busy has no calmer time to
/// learn in.
pub(super) const MOST_BUSY: u32 = 40;

/// Share of the CPU that requests must have used, for the noise of idle pods not to drown them.
const LEAST_EXPLAINED: f64 = 0.2;

/// Windows that are added up at most, while they say nothing.
const MOST_WINDOWS: u32 = 32;
const MOST_WINDOWS_OF_FEW: u32 = 512;

/// How much longer than of late durations must be, in what they weigh, to be called longer, and the windows after which
/// "of late" counts half.
const LONGER: f64 = 1.1;
const DURATIONS_HALF_LIFE: f64 = 16.0;

/// After a lasting drift what was learned before counts so little.
const AFTER_DRIFT: f64 = 0.01;

/// Samples over which it is seen whether the classes' edges are those of the histogram.
const EDGES_TRIAL: u32 = 20;

/// Share of the requests beyond the last edge that says that they are not, if bounds beyond it are shown.
const BEYOND_EDGES: f64 = 0.2;

/// Durations shorter than this are zero: the first bucket of native histograms.
const LEAST_EDGE: f64 = 1e-6;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Learner {
    /// Of the fit.
    classes: Classes,
    fit: CostFit,
    settings: FitSettings,
    edges: Edges,
    labels: Option<LabelValues>,
    /// Core-seconds of 1 MetricsQPS, from when it was first served on.
    unit: Option<f64>,
    versions: Versions,
    borne_out: BorneOut,
    /// CPU per request in units, while that is what is served.
    per_request: f64,
    /// What a request weighed of late by its duration alone.
    usual_weight: Option<f64>,
    /// Windows that are too small to say anything alone.
    small: Sums,
    /// All windows with CPU before there was a unit, congested ones too.
    first: Sums,
    windows: u64,
    /// Samples that the classes' edges do not fit.
    misfits: u32,
    /// Bounds that these showed, while edges may still be chosen.
    bounds: Vec<f64>,
    edges_are_given: bool,
    /// Number of the sample at which predictions are scored anew: what was predicted while costs changed says nothing of
    /// who predicts better now.
    scores_anew_at: Option<u64>,
    /// Busy windows in a row.
    busy: u32,
}

/// How far the classes' work of a window is to be believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust {
    /// It counts so many times.
    pub(super) factor: f64,
    /// Durations were work rather than waiting, or CPU says how far.
    pub(super) is_vouched_for: bool,
    /// The factor by which requests cost more or less than before, or wait less, once that is clear.
    pub(super) has_changed: Option<f64>,
    /// Where requests count what they cost in CPU: the windows that this is of.
    pub(super) sums: Option<Sums>,
}

/// Windows added up.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) requests: f64,
    /// Core-seconds, pod-seconds, and core-seconds that classes explain.
    cpu: f64,
    pub(super) pods: f64,
    explained: f64,
    #[serde(default)]
    pub(super) windows: u32,
}

impl Sums {
    fn add(&mut self, of_pods: &FitSample, requests: f64, explained: f64) {
        let seconds = of_pods.window.as_secs_f64();
        self.windows += 1;
        self.requests += requests * seconds;
        self.cpu += of_pods.cpu * seconds;
        self.pods += of_pods.pods * seconds;
        self.explained += explained * seconds;
    }

    fn cpu_per_request(&self) -> Option<f64> {
        (self.requests > 0.0 && self.cpu > 0.0).then(|| self.cpu / self.requests)
    }
}

/// The weights to count with.
pub(super) struct InForce {
    pub(super) weights: Weights,
    pub(super) source: WeightsInForce,
}

impl Learner {
    /// Samples with CPU before anything is served that rests on it: two minutes of 15 s scrapes.
    pub(super) const SAMPLES_TO_SERVE: u64 = 8;

    /// One that learns what 1 MetricsQPS of given weights costs.
    pub(super) fn of_metricsqps() -> Self {
        Self::new(Classes::by_duration(Edges::default()), FitSettings::default(), None)
    }

    /// One for the histogram that a sample shows; none if it shows none.
    pub(super) fn for_sample(sample: &Sample, fitting: &Fitting) -> Option<Self> {
        let shown = || sample.groups.iter().filter(|group| group.tells()).flat_map(|group| &group.histograms);
        shown().next()?;
        let mut le: Vec<f64> =
            shown().flat_map(|h| h.le().iter().copied()).filter(|le| *le > LEAST_EDGE).collect();
        le.sort_by(f64::total_cmp);
        le.dedup();
        let le = if le.len() > MOST_EDGES { USUAL_EDGES.to_vec() } else { le };
        let edges = fitting.edges.clone().or_else(|| Edges::new(le).ok())?;
        let classes = Classes::by_duration(edges);
        let classes = if fitting.has_work { classes.and_work() } else { classes };
        let labels = fitting.by_label.clone().map(|(label, most)| LabelValues::new(label, most));
        let edges_are_given = fitting.edges.is_some();
        Some(Self { edges_are_given, ..Self::new(classes, fitting.settings, labels) })
    }

    fn new(classes: Classes, settings: FitSettings, labels: Option<LabelValues>) -> Self {
        Self {
            fit: CostFit::new(FitClass::of(&classes), settings),
            edges: classes.edges().clone(),
            classes,
            settings,
            labels,
            unit: None,
            versions: Versions::default(),
            borne_out: BorneOut::new(),
            per_request: 1.0,
            usual_weight: None,
            small: Sums::default(),
            first: Sums::default(),
            windows: 0,
            misfits: 0,
            bounds: Vec::new(),
            scores_anew_at: None,
            edges_are_given: true,
            busy: 0,
        }
    }

    /// Whether its parts fit together: one that was written down may have been damaged.
    pub(super) fn is_sound(&self) -> bool {
        self.fit.is_sound() && self.fit.costs().len() == self.classes.columns()
    }

    /// The fit's classes.
    pub(super) fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Samples with CPU so far, those that were not learned from too.
    pub(super) fn windows(&self) -> u64 {
        self.windows
    }

    /// Samples learned from.
    pub(super) fn samples(&self) -> u64 {
        self.fit.samples()
    }

    /// Whether there is a unit to serve the load in.
    pub(super) fn is_serving(&self) -> bool {
        self.unit.is_some()
    }

    /// Whether costs have been other than they were learned for long.
    pub(super) fn has_drifted(&self) -> bool {
        self.versions.current().is_some() && self.borne_out.has_drifted()
    }

    pub(super) fn version(&self) -> Option<&Version> {
        self.versions.current()
    }

    pub(super) fn report(&self) -> FitReport {
        self.fit.report()
    }

    /// Chooses the values of the label that get classes of their own, where there is such a label. Costs are then learned anew.
    pub(super) fn choose_classes(&mut self, sample: &Sample) {
        let Some(labels) = &mut self.labels else { return };
        let label = labels.label().to_owned();
        let Some(values) = labels.learn(sample).map(<[String]>::to_vec) else { return };
        let durations = (MOST_LABELLED / (values.len() + 1)).max(1);
        let classes =
            Classes::by_duration(self.edges.thinned(durations)).and_label(ByLabel { label, values });
        self.classes = if self.classes.has_work() { classes.and_work() } else { classes };
        self.fit = CostFit::new(FitClass::of(&self.classes), self.settings);
    }

    /// Takes other edges where the first page did not show the histogram's own: native histograms, and libraries that show only
    /// buckets that are not empty. Costs are then learned anew.
    pub(super) fn check_edges(&mut self, sample: &Sample, load: &Load) {
        if self.edges_are_given {
            return;
        }
        let last = self.edges.as_slice().last().copied().unwrap_or(0.0);
        let shown = || sample.groups.iter().flat_map(|group| &group.histograms).flat_map(|h| h.le());
        let ends_too_soon = shown().fold(0.0, |most: f64, le| most.max(*le)) > last;
        let beyond: f64 =
            load.classes.iter().filter(|class| class.le.is_none()).map(|class| class.rate.get()).sum();
        let is_misfit = !load.inexact_edges.is_empty()
            || ends_too_soon && beyond > BEYOND_EDGES * load.completed.get().max(f64::MIN_POSITIVE);
        if is_misfit && self.bounds.len() <= MOST_EDGES {
            self.bounds.extend(shown().filter(|le| **le > LEAST_EDGE));
            self.bounds.sort_by(f64::total_cmp);
            self.bounds.dedup();
        }
        self.misfits = if is_misfit { self.misfits + 1 } else { self.misfits.saturating_sub(1) };
        if self.misfits < EDGES_TRIAL {
            return;
        }
        let bounds = std::mem::take(&mut self.bounds);
        let bounds = if bounds.len() > MOST_EDGES { USUAL_EDGES.to_vec() } else { bounds };
        let Ok(edges) = Edges::new(bounds) else { return };
        self.edges_are_given = true;
        self.edges = edges.clone();
        let classes = match self.classes.label().cloned() {
            Some(by) => {
                let durations = (MOST_LABELLED / (by.values.len() + 1)).max(1);
                Classes::by_duration(edges.thinned(durations)).and_label(by)
            }
            None => Classes::by_duration(edges),
        };
        self.classes = if self.classes.has_work() { classes.and_work() } else { classes };
        self.fit = CostFit::new(FitClass::of(&self.classes), self.settings);
    }

    /// The published weights; while there are none, every request counts as the mean one does.
    pub(super) fn in_force(&self) -> InForce {
        if let Some(version) = self.versions.current() {
            let source = WeightsInForce::Fitted { version: version.number };
            return InForce { weights: version.weights.clone(), source };
        }
        InForce { weights: Weights::all_alike(self.classes.clone()), source: WeightsInForce::CpuPerRequest }
    }

    /// Learns from a sample, unless it is congested or shows pods so busy that durations are waiting as much as work;
    /// `in_classes` sorts its requests. Whether it did.
    pub(super) fn learn(
        &mut self,
        is_congested: bool,
        is_busy: bool,
        in_classes: impl Fn(&Classes) -> Option<FitSample>,
    ) -> bool {
        let Some(of_pods) = in_classes(&self.classes) else { return false };
        self.windows += 1;
        self.busy = if is_busy { self.busy.saturating_add(1) } else { 0 };
        if self.unit.is_none() {
            let requests: f64 = of_pods.rates[..self.classes.requests()].iter().sum();
            self.first.add(&of_pods, requests, 0.0);
        }
        let learns = !is_congested && (!is_busy || self.busy > MOST_BUSY);
        if !learns {
            self.fit.interrupt();
        } else {
            let candidate = (self.fit.predict(&of_pods), of_pods.cpu);
            self.versions.score(candidate, |version| in_classes(version.weights.classes()));
            self.fit.observe(&of_pods);
            if self.scores_anew_at.is_some_and(|at| self.fit.samples() >= at) {
                self.scores_anew_at = None;
                self.fit.restart_scores();
            }
        }
        if self.unit.is_none() && self.windows >= Self::SAMPLES_TO_SERVE {
            // One that begins in an overload has no calm sample: its CPU per request is what it can say.
            let learned = self.fit.mean_cost().filter(|_| self.fit.samples() >= Self::SAMPLES_TO_SERVE);
            self.unit = learned.or_else(|| self.first.cpu_per_request());
        }
        learns
    }

    /// What was learned by a clock that was ahead does not keep what comes from being learned.
    pub(super) fn begin_at(&mut self, now: Time) {
        self.fit.begin_at(now);
        self.versions.begin_at(now);
        self.labels.iter_mut().for_each(|labels| labels.begin_at(now));
    }

    /// How far the sample's own CPU bears out the work that its classes tell.
    pub(super) fn borne_out(
        &mut self,
        is_crowded: bool,
        in_classes: impl Fn(&Classes) -> Option<FitSample>,
    ) -> Trust {
        let InForce { weights, .. } = self.in_force();
        let by_class = self.versions.current().is_some();
        let (mut has_changed, mut sums) = (None, None);
        let mut is_vouched_for = false;
        if let Some((unit, of_pods)) = self.unit.zip(in_classes(weights.classes())) {
            let requests = weights.requests(&of_pods.rates);
            let durations = self.durations(weights.weigh(&of_pods.rates) / requests, is_crowded);
            // Few requests are waited for; what idle pods drowned for so long, and their noise while nobody came, says nothing.
            let is_few = self.small.requests > 0.0
                && self.small.requests < LEAST_REQUESTS
                && self.small.windows < MOST_WINDOWS_OF_FEW;
            if self.small.windows >= MOST_WINDOWS && !is_few {
                self.small = Sums::default();
            }
            self.small.add(&of_pods, requests, unit * weights.weigh(&of_pods.rates));
            let idle = self.idle();
            // A cost itself, and no ratio of two, needs no more than one request: its noise is the filter's.
            let few_are_enough = !by_class && !is_crowded && idle.interval.is_some() && requests > 0.0;
            let used = self.small.cpu - idle.value * self.small.pods;
            let is_enough = self.small.requests >= LEAST_REQUESTS || few_are_enough;
            // What idle pods' noise drowns counts with what comes next.
            let is_enough = is_enough && requests > 0.0 && self.small.explained > 0.0;
            // A ratio is not to be that of what idle pods are wrongly thought to use.
            let doubt = idle.interval.filter(|_| by_class).map_or(0.0, |(low, high)| high - low) / 2.0;
            let least = (LEAST_EXPLAINED * self.small.cpu).max(doubt * self.small.pods / LEAST_EXPLAINED);
            is_vouched_for = is_enough && used > least;
            if is_vouched_for {
                let small = std::mem::take(&mut self.small);
                let ratio = used / small.explained;
                if by_class {
                    has_changed = self.borne_out.learn(ratio, durations);
                } else {
                    self.per_request = ratio;
                    sums = Some(small);
                }
            }
        }
        Trust { factor: self.factor_in_force(), is_vouched_for, has_changed, sums }
    }

    /// As far as the last sample's CPU said.
    pub(super) fn as_before(&self) -> Trust {
        Trust { factor: self.factor_in_force(), is_vouched_for: false, has_changed: None, sums: None }
    }

    /// What CPU per MetricsQPS is, of what the fit knows, where weights are given and their one class is MetricsQPS.
    pub(super) fn compare_metricsqps(&mut self, ratio: f64, is_crowded: bool) {
        let durations = if is_crowded { Durations::Crowded } else { Durations::Usual };
        self.borne_out.learn(ratio, durations);
    }

    /// What durations look like, from what a request weighs by its duration alone.
    fn durations(&mut self, weight: f64, is_crowded: bool) -> Durations {
        if !weight.is_finite() {
            return Durations::Usual;
        }
        let usual = *self.usual_weight.get_or_insert(weight);
        let gain = 1.0 - 0.5f64.powf(1.0 / DURATIONS_HALF_LIFE);
        self.usual_weight = Some(usual + gain * (weight - usual));
        match weight > LONGER * usual {
            _ if is_crowded => Durations::Crowded,
            true => Durations::Longer,
            false => Durations::Usual,
        }
    }

    /// Relative variance of a single request's cost in these rates, as far as the fit knows costs by now.
    pub(super) fn variance_of_one(&self, rates: &[f64]) -> f64 {
        let requests = self.classes.requests();
        let costs = || self.fit.costs()[..requests].iter().zip(rates);
        let (n, sum, squares) = costs().fold((0.0, 0.0, 0.0), |(n, sum, squares), (cost, rate)| {
            (n + rate, sum + cost * rate, squares + cost * cost * rate)
        });
        if sum > 0.0 { (squares * n / (sum * sum) - 1.0).max(0.0) } else { 0.0 }
    }

    /// What a pod costs that does nothing. While the data do not tell, none of its CPU: replicas are then what an HPA on CPU
    /// would ask for.
    fn idle(&self) -> Cost {
        let fitted = || Some(self.fit.idle_without_classes()).filter(|idle| idle.interval.is_some());
        let idle = self.versions.current().map(|version| version.idle).or_else(fitted);
        idle.unwrap_or(Cost { value: 0.0, interval: None })
    }

    /// What pods cost, in the units that are served.
    pub(super) fn cpu_cost(&self) -> Option<CpuCost> {
        let idle = self.idle();
        Some(CpuCost {
            idle: idle.value,
            idle_interval: idle.interval,
            unit: self.unit?,
            unit_interval: None,
        })
    }

    /// What pods cost where the only class is MetricsQPS itself. CPU that has risen against it counts.
    pub(super) fn cost_of_metricsqps(&self) -> Option<CpuCost> {
        let mut cost = self.usual_cost_of_metricsqps()?;
        let risen = self.borne_out.factor().max(1.0);
        cost.unit *= risen;
        cost.unit_interval = cost.unit_interval.map(|(low, high)| (low * risen, high * risen));
        Some(cost)
    }

    /// The same, as it was learned.
    pub(super) fn usual_cost_of_metricsqps(&self) -> Option<CpuCost> {
        let is_learned = self.samples() >= Self::SAMPLES_TO_SERVE;
        let report = is_learned.then(|| self.fit.report());
        if let Some(report) = report.filter(|report| report.idle.interval.is_some())
            && let Some(unit) = report.classes.first().filter(|class| class.value > 0.0)
        {
            let idle = report.idle;
            return Some(CpuCost {
                idle: idle.value,
                idle_interval: idle.interval,
                unit: unit.value,
                unit_interval: unit.interval,
            });
        }
        // Without an idle pod's cost, all CPU is that of requests; in an overload from the start, that of the first windows.
        let learned = self.fit.cpu_per_request().filter(|_| is_learned);
        Some(CpuCost { idle: 0.0, idle_interval: None, unit: learned.or(self.unit)?, unit_interval: None })
    }

    /// Publishes weights that are worth it, or takes back those that were not.
    pub(super) fn publish(&mut self, at: Time) {
        if self.versions.roll_back(at) || self.publish_if_worth(at) {
            self.borne_out = BorneOut::new();
            (self.usual_weight, self.small) = (None, Sums::default());
        }
    }

    /// What an idle pod is known to cost, in MetricsQPS.
    pub(super) fn idle_metricsqps(&self) -> f64 {
        self.unit.map_or(0.0, |unit| self.idle().value / unit)
    }

    fn factor_in_force(&self) -> f64 {
        if self.versions.current().is_some() { self.borne_out.factor() } else { self.per_request }
    }

    fn publish_if_worth(&mut self, at: Time) -> bool {
        let samples = self.fit.samples();
        let is_time = samples >= SAMPLES_TO_PUBLISH && samples.is_multiple_of(LOOK_EVERY);
        let may_change = self.versions.may_change(at) && self.versions.is_worth_a_change();
        let Some(unit) = self.unit.filter(|_| is_time && may_change) else { return false };
        let report = self.fit.report();
        let is_sound = report.is_identifiable() && report.beats_rivals;
        if !is_sound {
            return false;
        }
        let weights: Vec<f64> = self.fit.costs().iter().map(|cost| cost / unit).collect();
        match Weights::new(self.classes.clone(), &weights) {
            Ok(weights) => {
                self.versions.publish(at, weights, unit, report.idle, report);
                true
            }
            // No request costs anything, or one costs a million others.
            Err(_) => false,
        }
    }

    /// After a lasting drift: costs are those from now on, and hardly those from when they were others.
    pub(super) fn forget_what_was_before_the_drift(&mut self) {
        self.fit.forget(AFTER_DRIFT);
        self.scores_anew_at = Some(self.fit.samples() + SAMPLES_TO_PUBLISH);
    }
}

/// Share of the CPU that pods use of what they may; none where that is not known.
pub(super) fn utilization(sample: &Sample) -> Option<f64> {
    let known =
        |group: &Group| Some((group.latest_cpu()?.get(), group.cores_per_pod?.get() * f64::from(group.pods)));
    let known = sample.groups.iter().filter(|group| group.tells()).filter_map(known);
    let (used, allowed) = known.fold((0.0, 0.0), |(used, all), (cpu, cores)| (used + cpu, all + cores));
    (allowed > 0.0).then(|| used / allowed)
}
