//! What policies have in common that say which load there should be pods for: how they see it, and how that becomes pods.

use ::plimsoll::load::{Fitting, Load, LoadModel, Sample, Weighing};
use ::plimsoll::units::{Quantity, Time};

use super::controller::{Controller, answer, external};
use super::knobs::Knobs;
use super::past::Past;
use super::{Basis, Policy, PolicyError, Seen, Target};

const METRIC: &str = "wanted-replicas";

/// What a pod at target does.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetPod {
    /// MetricsQPS, at any mix, as far as costs are known.
    pub(super) metricsqps: f64,
    /// CPU.
    pub(super) cores: f64,
}

/// Says which load there should be pods for. All loads are in pods at target.
pub(super) trait Plan: std::fmt::Debug + Send {
    /// Is told once, before all else, how much CPU a pod at target uses.
    fn size(&mut self, cores: f64) {
        let _ = cores;
    }

    /// The load that a sample shows.
    fn measure(&mut self, load: &Load, sample: &Sample, pod: TargetPod) -> Option<f64> {
        let _ = sample;
        Some(load.metricsqps.get() / pod.metricsqps)
    }

    /// A minute has ended, after a sample.
    fn minute(&mut self, past: &Past) {
        let _ = past;
    }

    /// The load that there should be pods for now; none if there is nothing to say. `newest` is the load that was seen last, none while it
    /// is not known.
    fn wanted(&mut self, now: Time, newest: Option<f64>) -> Option<f64>;
}

/// A plan at work: it sees MetricsQPS just as Plimsoll measures it, with weights and costs that are learned from CPU on the way, and orders pods through
/// an HPA on an External metric, AverageValue 1, without tolerance. What differs from Plimsoll is what is made of it. While there is nothing to
/// say the metric is an error and the HPA holds.
#[derive(Debug)]
struct Planned<P> {
    plan: P,
    percent: i32,
    /// CPU of a pod at target.
    cores: f64,
    model: LoadModel,
    past: Past,
    newest: Option<f64>,
    controller: Controller,
}

/// The policy that follows `plan`, with the knob `utilization`.
pub(super) fn planned<P: Plan + 'static>(
    mut plan: P,
    knobs: &mut Knobs,
    basis: &Basis<'_>,
) -> Result<Box<dyn Policy>, PolicyError> {
    let metric = external(METRIC, Quantity::from_milli(1000));
    let percent = knobs.utilization()?.unwrap_or_else(|| basis.whole_percent());
    let cores = basis.cores.get() * f64::from(percent) / 100.0;
    plan.size(cores);
    Ok(Box::new(Planned {
        plan,
        percent,
        cores,
        model: LoadModel::new(Weighing::Fitted(Fitting::default())),
        past: Past::default(),
        newest: None,
        controller: Controller::exact(vec![metric], basis.bounds),
    }))
}

/// The larger one of what is there.
pub(super) fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

impl<P: Plan> Planned<P> {
    fn measure(&mut self, sample: &Sample) -> Option<f64> {
        let load = self.model.observe(sample).ok()?;
        let cost = self.model.cpu_cost().ok()?;
        // As Plimsoll has it. Where pods that do nothing would be at target already, no number of them is right.
        let metricsqps = (self.cores - cost.idle).max(0.01 * self.cores) / cost.unit;
        self.plan.measure(&load, sample, TargetPod { metricsqps, cores: self.cores })
    }
}

impl<P: Plan> Policy for Planned<P> {
    fn target(&self) -> Target {
        Target::Cpu(self.percent)
    }

    fn observe(&mut self, sample: &Sample) {
        self.newest = self.measure(sample);
        if let Some(load) = self.newest
            && self.past.push(sample.at, load)
        {
            self.plan.minute(&self.past);
        }
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        let wanted = self.plan.wanted(now, self.newest);
        let wanted = wanted.ok_or_else(|| "nothing is known of the load yet".to_owned());
        self.controller.reconcile(now, seen, &answer(METRIC, wanted))
    }
}
