//! The decision itself.

use crate::load::{Load, SAMPLE_SCHEMA, Sample};
use crate::spec::{Checked, Mode};
use crate::units::{MetricsQps, Span, Time};

use super::decision::{
    Capacity, CapacitySource, DECISION_SCHEMA, Decision, Desired, Evidence, NoOpinion, Outcome, Step,
    StepKind,
};

/// Intervals after which a sample no longer speaks for the present.
const STALE_INTERVALS: i64 = 3;

/// How long the HPA remembers what it wanted (its default downscale stabilization). After an outage of that length
/// its first reading would be obeyed at once, so nothing is lowered until as much time has passed again.
const HPA_MEMORY: Span = Span::from_secs(300);

/// Replicas are rounded up, but not for a rounding error of the division.
const ROUNDING: f64 = 1e-9;

/// Decides about one workload. Deterministic: the same calls give the same decisions, bit for bit.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    spec: Checked,
    newest: Option<Observed>,
    /// Mean weight of a request when it was last known.
    usual_cost: Option<f64>,
    outage: Outage,
}

#[derive(Debug, Clone)]
struct Observed {
    evidence: Evidence,
    load: Result<Load, NoOpinion>,
    /// Ready pods that neither told a rate nor fell silent.
    warming_up: u32,
}

/// Whether the load is unknown, and since when.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Never,
    Since(Time),
    HoldUntil(Time),
}

/// A sample that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// It is of a schema that this version does not know.
    #[error("sample of schema {0}; this version reads {SAMPLE_SCHEMA}")]
    Schema(u32),
    /// It is not newer than the last one.
    #[error("the sample of {given} is not newer than the last one, of {last}")]
    NotNewer {
        /// Instant of the last sample.
        last: Time,
        /// Instant of this one.
        given: Time,
    },
}

impl Autoscaler {
    /// For a workload whose spec has been checked.
    pub fn new(spec: Checked) -> Self {
        Self { spec, newest: None, usual_cost: None, outage: Outage::Never }
    }

    /// The spec that it decides by.
    pub fn spec(&self) -> &Checked {
        &self.spec
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// When the sample is of an unknown schema or not newer than the last one. It is then left aside.
    pub fn observe(&mut self, sample: &Sample) -> Result<(), ObserveError> {
        if sample.schema != SAMPLE_SCHEMA {
            return Err(ObserveError::Schema(sample.schema));
        }
        if let Some(newest) = &self.newest
            && sample.at <= newest.evidence.sampled_at
        {
            return Err(ObserveError::NotNewer { last: newest.evidence.sampled_at, given: sample.at });
        }
        let load = self.judge(sample);
        if let Ok(load) = &load {
            self.usual_cost = load.mean_cost().or(self.usual_cost);
        }
        let told: u32 = sample.groups.iter().filter(|g| !g.silent).map(|g| g.pods).sum();
        let pods = sample.pods;
        self.newest = Some(Observed {
            evidence: Evidence { sampled_at: sample.at, pods },
            load,
            warming_up: pods.ready.saturating_sub(pods.silent).saturating_sub(told),
        });
        Ok(())
    }

    /// The load that a sample shows, if it shows enough of it.
    fn judge(&self, sample: &Sample) -> Result<Load, NoOpinion> {
        let pods = sample.pods;
        if pods.ready == 0 {
            return Err(NoOpinion::NoReadyPods);
        }
        if pods.silent > pods.ready / 2 {
            return Err(NoOpinion::Silent { silent: pods.silent, ready: pods.ready });
        }
        if sample.groups.iter().all(|g| g.silent) {
            return Err(NoOpinion::NoRate);
        }
        Ok(self.spec.weights.load(sample, self.usual_cost))
    }

    /// Decides, as of `now`.
    pub fn decide(&mut self, now: Time) -> Decision {
        let outcome = match self.known(now) {
            Ok((observed, load)) => {
                self.outage = self.outage.ended(now);
                Outcome::Desired(self.desired(now, &observed, load))
            }
            Err(reason) => {
                self.outage = self.outage.goes_on(now);
                Outcome::NoOpinion(reason)
            }
        };
        Decision {
            schema: DECISION_SCHEMA,
            at: now,
            mode: self.spec.mode,
            min_replicas: self.spec.min_replicas,
            max_replicas: self.spec.max_replicas,
            capacity: Capacity { per_pod: self.spec.capacity, source: CapacitySource::Given },
            evidence: self.newest.as_ref().map(|o| o.evidence),
            outcome,
        }
    }

    fn known(&self, now: Time) -> Result<(Observed, Load), NoOpinion> {
        let observed = self.newest.clone().ok_or(NoOpinion::NoSample)?;
        let (age, limit) = (now - observed.evidence.sampled_at, self.patience());
        if age > limit {
            return Err(NoOpinion::Stale { age, limit });
        }
        let load = observed.load.clone()?;
        Ok((observed, load))
    }

    fn patience(&self) -> Span {
        self.spec.interval * STALE_INTERVALS
    }

    fn desired(&self, now: Time, observed: &Observed, load: Load) -> Desired {
        let Observed { evidence, warming_up, .. } = observed;
        let reactive = replicas_for(load.metricsqps, self.spec.capacity);
        let mut steps = Steps::from(
            reactive,
            StepKind::Load { metricsqps: load.metricsqps, per_pod: self.spec.capacity },
        );
        let current = evidence.pods.replicas;
        if self.spec.mode == Mode::ScaleUpOnly {
            steps.at_least(current, StepKind::ScaleUpOnly);
        }
        if *warming_up > 0 {
            steps.at_least(current, StepKind::WarmingUp { pods: *warming_up });
        }
        if evidence.pods.silent > 0 {
            steps.at_least(current, StepKind::Silent { pods: evidence.pods.silent });
        }
        if !load.congestion.is_empty() {
            steps.at_least(current, StepKind::Congested { signs: load.congestion.clone() });
        }
        if let Outage::HoldUntil(until) = self.outage
            && now < until
        {
            steps.at_least(current, StepKind::AfterOutage { until });
        }
        steps.within(self.spec.min_replicas, self.spec.max_replicas);
        Desired {
            replicas: steps.replicas,
            reactive,
            proactive: None,
            bound: load.metricsqps,
            load,
            steps: steps.taken,
            valid_until: evidence.sampled_at + self.patience(),
        }
    }
}

impl Outage {
    fn goes_on(self, now: Time) -> Self {
        match self {
            Self::Since(_) => self,
            Self::HoldUntil(until) if now < until => self,
            Self::Never | Self::HoldUntil(_) => Self::Since(now),
        }
    }

    fn ended(self, now: Time) -> Self {
        match self {
            Self::Since(since) if now - since >= HPA_MEMORY => Self::HoldUntil(now + HPA_MEMORY),
            Self::HoldUntil(until) if now < until => self,
            _ => Self::Never,
        }
    }
}

/// ⌈load / capacity⌉, saturating at what the HPA can count.
fn replicas_for(load: MetricsQps, per_pod: MetricsQps) -> u32 {
    let pods = load.get() / per_pod.get();
    let pods = (pods * (1.0 - ROUNDING)).ceil();
    if pods >= f64::from(i32::MAX) { i32::MAX.unsigned_abs() } else { pods as u32 }
}

/// The steps taken so far, and where they led.
struct Steps {
    replicas: u32,
    taken: Vec<Step>,
}

impl Steps {
    fn from(replicas: u32, kind: StepKind) -> Self {
        Self { replicas, taken: vec![Step { replicas, kind }] }
    }

    /// A reason not to go below `floor`: noted only where it changes something.
    fn at_least(&mut self, floor: u32, kind: StepKind) {
        if self.replicas < floor {
            self.set(floor, kind);
        }
    }

    fn within(&mut self, min: u32, max: u32) {
        self.at_least(min, StepKind::MinReplicas);
        if self.replicas > max {
            self.set(max, StepKind::MaxReplicas);
        }
    }

    fn set(&mut self, replicas: u32, kind: StepKind) {
        self.replicas = replicas;
        self.taken.push(Step { replicas, kind });
    }
}
