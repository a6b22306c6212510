//! The way to a number of replicas: from the load, or without it.

use super::super::bounds::Bounds;
use super::super::capacity::replicas_for;
use super::super::decision::{Desired, Fallback};
use super::super::event_floor::Floor;
use super::super::no_opinion::NoOpinion;
use super::super::step_kind::StepKind;
use super::super::steps::Steps;
use super::{Autoscaler, HPA_MEMORY, Observed, ROLLOUT};
use crate::forecast::Forecast;
use crate::load::Load;
use crate::spec::{Fallback as Then, Mode};
use crate::units::{MetricsQps, Time};

impl Autoscaler {
    pub(super) fn desired(
        &self,
        now: Time,
        observed: &Observed,
        load: Load,
        per_pod: MetricsQps,
        forecast: Option<&Forecast>,
        bounds: Bounds<'_>,
    ) -> Desired {
        let Observed { evidence, warming_up, .. } = observed;
        let reactive = replicas_for(load.metricsqps, per_pod);
        let mut steps = Steps::from(reactive, StepKind::Load { metricsqps: load.metricsqps, per_pod });
        let bound = forecast.map_or(load.metricsqps, |forecast| earned(forecast, &load));
        if let Some(Forecast { horizon, .. }) = forecast.filter(|_| self.spec.mode != Mode::Reactive) {
            // Head-room is the bound's matter, so noise of the present load asks for none.
            let metricsqps = if surely(&load) > bound { surely(&load) } else { bound };
            let replicas = replicas_for(metricsqps, per_pod);
            if replicas != reactive {
                steps.set(replicas, StepKind::Forecast { metricsqps, horizon: *horizon, per_pod });
            }
        }
        let event = self.outlook.as_ref().and_then(|outlook| outlook.event(now));
        if let Some(Floor { event, load }) = event.filter(|_| self.spec.mode != Mode::Reactive) {
            // What a minute hides it hides then too.
            let peak_factor = forecast.map_or(1.0, |forecast| forecast.peak_factor);
            let metricsqps = MetricsQps::saturating(*load * peak_factor);
            let kind = StepKind::Event { event: event.clone(), metricsqps };
            steps.at_least(replicas_for(metricsqps, per_pod), kind);
        }
        let current = self.replicas(observed);
        if self.spec.mode == Mode::ScaleUpOnly {
            steps.at_least(current, StepKind::ScaleUpOnly);
        }
        let asked_for = self.asked_for.filter(|(_, at)| now - *at <= HPA_MEMORY);
        let current = asked_for.map_or(current, |(replicas, _)| current.max(replicas));
        if *warming_up > 0 {
            steps.at_least(current, StepKind::WarmingUp { pods: *warming_up });
        }
        if evidence.pods.silent > 0 {
            steps.at_least(current, StepKind::Silent { pods: evidence.pods.silent });
        }
        if !load.congestion.is_empty() {
            steps.at_least(current, StepKind::Congested { signs: load.congestion.clone() });
        }
        let is_stale = self.outlook.as_ref().is_some_and(|outlook| outlook.is_stale(now));
        if is_stale && self.spec.mode != Mode::Reactive {
            // What was asked for with a forecast is not taken back for the lack of one.
            steps.at_least(current, StepKind::ForecastStale);
        }
        if let Some(until) = self.hold_until.filter(|until| now < *until) {
            steps.at_least(current, StepKind::AfterOutage { until });
        }
        if let Some(until) = self.resumed_at.map(|at| at + HPA_MEMORY).filter(|until| now < *until) {
            steps.at_least(current, StepKind::AfterPause { until });
        }
        if let Some(until) = self.updating_since.map(|since| since + ROLLOUT).filter(|until| now < *until) {
            steps.at_least(current, StepKind::RollingOut { until });
        }
        if self.is_tolerant {
            let asked = acted_upon(self.replicas(observed), steps.replicas);
            // That the load takes more than is allowed is not for this to say.
            steps.at_least(asked.min(bounds.most.replicas), StepKind::Tolerance);
        }
        steps.within(bounds);
        Desired {
            replicas: steps.replicas,
            reactive,
            proactive: forecast.map(|_| replicas_for(bound, per_pod)),
            bound,
            load,
            steps: steps.taken,
            valid_until: evidence.sampled_at + self.patience(),
        }
    }

    /// What the user wants where the load has been unknown since `since`, if that is long enough. Never a guess: "as many as
    /// there are" needs somebody to have told how many that is.
    pub(super) fn fallback(
        &self,
        now: Time,
        since: Time,
        why: &NoOpinion,
        bounds: Bounds<'_>,
    ) -> Option<Fallback> {
        let missing = self.spec.on_missing_metrics.as_ref()?;
        if self.is_paused || now - since < missing.hold_for {
            return None;
        }
        let current = self.current.map(|(current, _)| current);
        let replicas = match missing.then {
            Then::AtLeast(replicas) => current?.max(replicas),
            // The first lessons of a workload are no outage, and no reason to lower what serves it.
            Then::Exactly(_) if self.known_until.is_none() && !why.is_outage() => return None,
            Then::Exactly(replicas) => replicas,
        };
        let mut steps = Steps::from(replicas, StepKind::Fallback { then: missing.then });
        if self.spec.mode == Mode::ScaleUpOnly {
            steps.at_least(current?, StepKind::ScaleUpOnly);
        }
        steps.within(bounds);
        Some(Fallback {
            replicas: steps.replicas,
            why: why.clone(),
            since,
            steps: steps.taken,
            valid_until: now + self.patience(),
        })
    }
}

/// The fewest replicas, `wanted` or more, that an HPA with the usual tolerance acts upon where there are `current`, and more are wanted.
/// Fewer, or as many, are as they are.
pub(super) fn acted_upon(current: u32, wanted: u32) -> u32 {
    // The ratio of 11 to 10 is a little above 1.1 in floats, or a little below: one more is on the safe side.
    let ignored = (f64::from(current) * (1.0 + TOLERANCE) + 1e-6).floor() as u32;
    if wanted > current { wanted.max(ignored.saturating_add(1)) } else { wanted }
}

/// The HPA's tolerance, unless kube-controller-manager has another one.
const TOLERANCE: f64 = 0.1;

/// The forecast's bound, as far as it has earned to be gone by.
fn earned(forecast: &Forecast, load: &Load) -> MetricsQps {
    let present = load.metricsqps.get();
    MetricsQps::saturating(present + forecast.earned * (forecast.bound.get() - present))
}

/// The load without what may be noise: two standard errors.
pub(super) fn surely(load: &Load) -> MetricsQps {
    MetricsQps::saturating(load.metricsqps.get() - 2.0 * load.standard_error.get())
}
