//! `plimsoll`: the HPA that the controller keeps. External `plimsoll-desired-replicas`, AverageValue 1, no tolerance:
//! what is decided is what is set. Beside it CPU at 90 %, the safety net that still scales up while nothing is decided. The
//! decision is the real one, in mode Auto or, as `plimsoll-reactive`, in mode Reactive. By default it has to learn what requests
//! cost from the pods' CPU, as in a cluster, and begins without knowing anything; with a target in MetricsQPS the weights of the
//! trace's own history are given to it. How the load moves it always has to learn.

use plimsoll::forecast::Promise;
use plimsoll::hpa::Samples;
use plimsoll::load::{Fitting, Sample, Weighing};
use plimsoll::scale::Autoscaler;
use plimsoll::spec::{CapacityTarget, Checked, ForecastWish, Mode};
use plimsoll::units::{MetricsQps, Percent, Quantity, Time};

use super::controller::{Controller, answer, cpu, external, usage};
use super::knobs::Knobs;
use super::{Basis, Policy, PolicyError, Seen, Target};

const METRIC: &str = "plimsoll-desired-replicas";

/// CPU in percent of its request above which the HPA scales up whatever else is known.
const SAFETY_NET: i32 = 90;

#[derive(Debug)]
pub(super) struct Plimsoll {
    target: Target,
    autoscaler: Autoscaler,
    controller: Controller,
}

/// Share of the time that may be short, in percent, unless the knob says other.
const OBJECTIVE: f64 = 0.5;

/// An autoscaler as an object in a cluster would have it, with weights and a capacity in MetricsQPS that are given. Without a
/// promise it does not look ahead.
pub(super) fn given(basis: &Basis<'_>, promise: Option<Promise>, per_pod: f64) -> Autoscaler {
    let target = CapacityTarget::Given(MetricsQps::saturating(per_pod));
    autoscaler(basis, promise, Weighing::Given(basis.weights.clone()), target)
}

fn autoscaler(
    basis: &Basis<'_>,
    promise: Option<Promise>,
    weighing: Weighing,
    target: CapacityTarget,
) -> Autoscaler {
    Autoscaler::new(Checked {
        min_replicas: basis.bounds.0,
        max_replicas: basis.bounds.1,
        schedules: vec![],
        mode: if promise.is_some() { Mode::Auto } else { Mode::Reactive },
        on_missing_metrics: None,
        interval: basis.interval,
        weighing,
        target,
        forecast: promise.map(ForecastWish::new),
    })
}

impl Plimsoll {
    /// In mode Auto.
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let objective = knobs.get("objective", "a percentage from 0.01 to 20", |percent: &f64| {
            (0.01..=20.0).contains(percent)
        })?;
        let objective = Percent::new(objective.unwrap_or(OBJECTIVE)).ok();
        Self::with(knobs, basis, objective.map(Promise::ShortTime))
    }

    /// In mode Reactive.
    pub(super) fn reactive(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        Self::with(knobs, basis, None)
    }

    fn with(knobs: &mut Knobs, basis: &Basis<'_>, promise: Option<Promise>) -> Result<Self, PolicyError> {
        let per_pod = knobs.positive("target")?;
        let percent = knobs.utilization()?.unwrap_or_else(|| basis.whole_percent());
        let metric = external(METRIC, Quantity::from_milli(1000));
        let controller = Controller::exact(vec![metric, cpu(SAFETY_NET)], basis.bounds);
        if let Some(per_pod) = per_pod {
            let autoscaler = given(basis, promise, per_pod);
            return Ok(Self { target: Target::MetricsQps(per_pod), autoscaler, controller });
        }
        // 1 to 100, so never the other.
        let share = Percent::new(f64::from(percent)).unwrap_or(basis.share);
        let fitted = Weighing::Fitted(Fitting::default());
        let autoscaler = autoscaler(basis, promise, fitted, CapacityTarget::CpuUtilization(share));
        Ok(Self { target: Target::Cpu(percent), autoscaler, controller })
    }
}

impl Policy for Plimsoll {
    fn target(&self) -> Target {
        self.target
    }

    fn observe(&mut self, sample: &Sample) {
        // Refused only if it is older than the last one, and rounds do not go back.
        let _ = self.autoscaler.observe(sample);
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        let outcome = self.autoscaler.decide(now).outcome;
        let wanted =
            outcome.replicas().map(|(replicas, _)| f64::from(replicas)).map_err(|why| why.to_string());
        let samples = Samples { resources: usage(seen), ..answer(METRIC, wanted) };
        self.controller.reconcile(now, seen, &samples)
    }
}
