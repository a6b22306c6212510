//! What learns from a workload's CPU: the fit, the weights that came of it, and how far CPU bears them out now.

use super::borne_out::BorneOut;
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

/// Share of the CPU that requests must be thought to have used, for the rest not to drown them.
const LEAST_EXPLAINED: f64 = 0.05;

#[derive(Debug, Clone)]
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
    /// It is clear by now that requests cost more than before, or wait less.
    pub(super) has_risen: bool,
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
        let mut shown =
            sample.groups.iter().filter(|group| group.tells()).flat_map(|group| &group.histograms);
        let le: Vec<f64> = shown.next()?.le().iter().copied().filter(|le| *le > 0.0).collect();
        let le = if le.len() > MOST_EDGES { USUAL_EDGES.to_vec() } else { le };
        let edges = fitting.edges.clone().or_else(|| Edges::new(le).ok())?;
        let classes = Classes::by_duration(edges);
        let classes = if fitting.has_work { classes.and_work() } else { classes };
        let labels = fitting.by_label.clone().map(|(label, most)| LabelValues::new(label, most));
        Some(Self::new(classes, fitting.settings, labels))
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
            busy: 0,
        }
    }

    /// The fit's classes.
    pub(super) fn classes(&self) -> &Classes {
        &self.classes
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

    /// The published weights; while there are none, every request counts as the mean one does.
    pub(super) fn in_force(&self) -> InForce {
        if let Some(version) = self.versions.current() {
            let source = WeightsInForce::Fitted { version: version.number };
            return InForce { weights: version.weights.clone(), source };
        }
        InForce { weights: Weights::all_alike(self.classes.clone()), source: WeightsInForce::CpuPerRequest }
    }

    /// Learns from a sample, unless it shows congestion or pods so busy that durations are waiting as much as work;
    /// `in_classes` sorts its requests.
    pub(super) fn learn(
        &mut self,
        load: &Load,
        is_busy: bool,
        in_classes: impl Fn(&Classes) -> Option<FitSample>,
    ) {
        let Some(of_pods) = in_classes(&self.classes) else { return };
        self.busy = if is_busy { self.busy.saturating_add(1) } else { 0 };
        if !load.congestion.is_empty() || is_busy && self.busy <= MOST_BUSY {
            return self.fit.interrupt();
        }
        self.versions.score(|version| in_classes(version.weights.classes()));
        self.fit.observe(&of_pods);
        if self.unit.is_none() && self.fit.samples() >= Self::SAMPLES_TO_SERVE {
            self.unit = self.fit.mean_cost();
        }
    }

    /// How far the sample's own CPU bears out the work that its classes tell.
    pub(super) fn borne_out(&mut self, in_classes: impl Fn(&Classes) -> Option<FitSample>) -> Trust {
        let InForce { weights, .. } = self.in_force();
        let ratio = self.unit.zip(in_classes(weights.classes())).and_then(|(unit, of_pods)| {
            let requests = weights.requests(&of_pods.rates) * of_pods.window.as_secs_f64();
            let explained = unit * weights.weigh(&of_pods.rates);
            let tells = requests >= LEAST_REQUESTS && explained > LEAST_EXPLAINED * of_pods.cpu;
            tells.then(|| (of_pods.cpu - self.idle().value * of_pods.pods).max(0.0) / explained)
        });
        let mut has_risen = false;
        if self.versions.current().is_none() {
            self.per_request = ratio.unwrap_or(self.per_request);
        } else if let Some(ratio) = ratio {
            has_risen = self.borne_out.learn(ratio);
        }
        Trust { factor: self.factor_in_force(), is_vouched_for: ratio.is_some(), has_risen }
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

    fn idle(&self) -> Cost {
        self.versions.current().map_or_else(|| self.fit.idle_without_classes(), |version| version.idle)
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

    /// What pods cost where the only class is MetricsQPS itself.
    pub(super) fn cost_of_metricsqps(&self) -> Option<CpuCost> {
        let report = (self.samples() >= Self::SAMPLES_TO_SERVE).then(|| self.fit.report())?;
        let unit = report.classes.first().filter(|class| class.value > 0.0)?;
        Some(CpuCost {
            idle: report.idle.value,
            idle_interval: report.idle.interval,
            unit: unit.value,
            unit_interval: unit.interval,
        })
    }

    /// Publishes weights that are worth it, or takes back those that were not. Tells by which factor the same requests
    /// weigh more from now on.
    pub(super) fn publish(&mut self, at: Time, rates: impl Fn(&Classes) -> Option<FitSample>) -> Option<f64> {
        let before = self.in_force();
        let factor = self.factor_in_force();
        let has_changed = self.versions.roll_back(at) || self.publish_if_worth(at);
        if !has_changed {
            return None;
        }
        self.borne_out = BorneOut::new();
        let after = self.in_force();
        let weighed = |weights: &Weights| Some(weights.weigh(&rates(weights.classes())?.rates));
        let (before, after) = weighed(&before.weights).zip(weighed(&after.weights))?;
        (before > 0.0 && after > 0.0).then(|| after / (before * factor))
    }

    fn factor_in_force(&self) -> f64 {
        if self.versions.current().is_some() { self.borne_out.factor() } else { self.per_request }
    }

    fn publish_if_worth(&mut self, at: Time) -> bool {
        let samples = self.fit.samples();
        let is_time = samples >= SAMPLES_TO_PUBLISH && samples.is_multiple_of(LOOK_EVERY);
        let Some(unit) = self.unit.filter(|_| is_time && self.versions.may_change(at)) else { return false };
        let report = self.fit.report();
        let is_sound = report.is_identifiable() && report.beats_rivals;
        if !(is_sound && self.versions.is_worth(self.fit.mean_squared_error())) {
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

    /// After a lasting drift: costs are learned from now on, and not from when they were others.
    pub(super) fn forget_what_was_before_the_drift(&mut self) {
        self.fit = CostFit::new(FitClass::of(&self.classes), self.settings);
    }
}

/// Share of the CPU that pods use of what they may; none where that is not known.
pub(super) fn utilization(sample: &Sample) -> Option<f64> {
    let known = |group: &Group| Some((group.cpu?.get(), group.cores_per_pod?.get() * f64::from(group.pods)));
    let known = sample.groups.iter().filter(|group| group.tells()).filter_map(known);
    let (used, allowed) = known.fold((0.0, 0.0), |(used, all), (cpu, cores)| (used + cpu, all + cores));
    (allowed > 0.0).then(|| used / allowed)
}
