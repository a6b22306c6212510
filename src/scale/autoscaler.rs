//! The decision itself.

use super::capacity::{capacity_from_cpu, replicas_for, requested_per_pod};
use super::event_floor::Floor;
use super::lead_time::{LeadTime, StartUp};
use super::outlook::Outlook;
use super::short_time::Account;
use super::steps::Steps;
use crate::forecast::{Forecast, PlanPoint, Series};
use crate::load::{Group, LatencyCapacity, Load, LoadModel, SAMPLE_SCHEMA, Sample};
use crate::spec::{CapacityTarget, Checked, Mode};
use crate::units::{MetricsQps, Span, Time};

use super::checkpoint::{CHECKPOINT_SCHEMA, Checkpoint};
use super::decision::{
    Capacity, CapacitySource, DECISION_SCHEMA, Decision, Desired, Evidence, Learned, NoOpinion, Outcome,
    StepKind,
};

/// Intervals after which a sample no longer speaks for the present.
const STALE_INTERVALS: i64 = 3;

/// How long the HPA remembers what it wanted (its default downscale stabilization). After an outage of that length
/// its first reading would be obeyed at once, so nothing is lowered until as much time has passed again. Nobody knows how
/// long the outage before a start was.
const HPA_MEMORY: Span = Span::from_secs(300);

/// Decides about one workload. Deterministic: the same calls give the same decisions, bit for bit.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    spec: Checked,
    model: LoadModel,
    latency: Option<LatencyCapacity>,
    outlook: Option<Outlook>,
    account: Account,
    newest: Option<Observed>,
    /// Replicas that the load asked for last while nothing held them, and when: what must not be lowered is what was asked
    /// for, be it not there yet. It lapses when the HPA has had the time to follow.
    asked_for: Option<(u32, Time)>,
    /// The last instant at which the load was known; none before the first.
    known_until: Option<Time>,
    /// Until then nothing is lowered.
    hold_until: Option<Time>,
}

#[derive(Debug, Clone)]
struct Observed {
    evidence: Evidence,
    load: Result<Load, NoOpinion>,
    capacity: Result<Capacity, NoOpinion>,
    /// Ready pods that neither told a rate nor fell silent.
    warming_up: u32,
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
        let latency = match spec.target {
            CapacityTarget::Latency(objective) => Some(LatencyCapacity::new(objective)),
            _ => None,
        };
        let model = LoadModel::new(spec.weighing.clone());
        let outlook = spec.forecast.clone().map(|wish| Outlook::new(wish, spec.interval));
        Self {
            spec,
            model,
            latency,
            outlook,
            account: Account::default(),
            newest: None,
            asked_for: None,
            known_until: None,
            hold_until: None,
        }
    }

    /// What it has learned, to be kept over a restart.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            schema: CHECKPOINT_SCHEMA,
            model: self.model.clone(),
            latency: self.latency.clone(),
            history: self.history().cloned(),
            outlook: self.outlook.as_ref().map(Outlook::state),
        }
    }

    /// Goes on with what an earlier one has learned. Where requests were weighed otherwise nothing counts, as history is in those weights; another
    /// latency objective is left aside. Whether all of it counts.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> bool {
        let Checkpoint { schema, model, latency, history, outlook } = checkpoint;
        if schema != CHECKPOINT_SCHEMA || !self.model.take_up(model) {
            return false;
        }
        let mut is_whole = true;
        if let (Some(own), Some(earlier)) = (&mut self.latency, latency) {
            let fits = own.objective() == earlier.objective();
            if fits {
                *own = earlier;
            }
            is_whole &= fits;
        }
        if let (Some(own), Some(earlier)) = (&mut self.outlook, outlook) {
            own.resume(earlier);
        }
        if let Some(history) = history {
            self.take_up(history);
        }
        is_whole
    }

    /// Takes up history that was kept, as if it had lived through it. It counts if its steps and columns are those of what comes.
    pub fn take_up(&mut self, history: Series) {
        if let Some(outlook) = &mut self.outlook {
            outlook.take_up(history);
        }
    }

    /// Takes what somebody else knows of the past, as samples in the order of time: the forecast then rests on it where it has not been
    /// there itself. To be called after the present was observed, since the past is weighed by it. How many steps it now knows; none where it has
    /// no load yet.
    pub fn remember(&mut self, past: &[Sample]) -> Option<usize> {
        let outlook = self.outlook.as_mut()?;
        let weighed = past.iter().filter_map(|sample| Some((sample.at, self.model.weigh(sample)?)));
        outlook.remember(weighed)
    }

    /// Whether it looks ahead and has seen a load: what it remembers can be weighed.
    pub fn has_seen_load(&self) -> bool {
        self.outlook.as_ref().is_some_and(Outlook::has_seen_load)
    }

    /// What is to be kept, so that another can take it up.
    pub fn history(&self) -> Option<&Series> {
        self.outlook.as_ref().and_then(Outlook::history)
    }

    /// The day to come, for people; none before there are two days of history.
    pub fn plan(&self) -> Option<Vec<PlanPoint>> {
        self.outlook.as_ref()?.plan()
    }

    /// Takes how a pod came up, where somebody watches pods. Without that it is inferred from how many are ready.
    pub fn started(&mut self, start_up: StartUp) {
        if let Some(outlook) = &mut self.outlook {
            outlook.record(start_up);
        }
    }

    /// The spec that it decides by.
    pub fn spec(&self) -> &Checked {
        &self.spec
    }

    /// What it has learned of the load.
    pub fn model(&self) -> &LoadModel {
        &self.model
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
        if let (Some(latency), Ok(load)) = (&mut self.latency, &load) {
            latency.observe(sample, load);
        }
        let capacity = self.capacity(sample);
        let told: u32 = sample.groups.iter().filter(|g| g.tells()).map(|g| g.pods).sum();
        let pods = sample.pods;
        if let Some(outlook) = &mut self.outlook {
            outlook.observe_pods(sample.at, pods);
            if let Ok(load) = &load {
                outlook.set_per_pod(capacity.as_ref().ok().map(|capacity| capacity.per_pod));
                outlook.observe(sample.at, load);
            }
        }
        if let (Ok(load), Ok(capacity)) = (&load, &capacity) {
            self.charge(sample, load, capacity.per_pod);
        }
        self.newest = Some(Observed {
            evidence: Evidence { sampled_at: sample.at, pods },
            load,
            capacity,
            warming_up: pods.ready.saturating_sub(pods.silent).saturating_sub(told),
        });
        Ok(())
    }

    /// Notes time in which the ready pods were too few, and why.
    fn charge(&mut self, sample: &Sample, load: &Load, per_pod: MetricsQps) {
        let Some(newest) = &self.newest else { return };
        let length = (sample.at - newest.evidence.sampled_at).min(self.patience());
        let mut needed = replicas_for(surely(load), per_pod);
        if !load.congestion.is_empty() {
            needed = needed.max(sample.pods.ready.saturating_add(1));
        }
        let lead = self.outlook.as_ref().map_or(self.patience(), |outlook| outlook.lead().total);
        self.account.charge(sample.at, length, needed, sample.pods, lead);
    }

    /// The load that a sample shows, if it shows enough of it.
    fn judge(&mut self, sample: &Sample) -> Result<Load, NoOpinion> {
        let pods = sample.pods;
        if pods.ready == 0 {
            return Err(NoOpinion::NoReadyPods);
        }
        let tells = sample.groups.iter().any(Group::tells);
        if !tells && sample.groups.iter().any(|g| g.histograms.is_empty()) {
            return Err(NoOpinion::NoSeries);
        }
        if pods.silent > pods.ready / 2 {
            return Err(NoOpinion::Silent { silent: pods.silent, ready: pods.ready });
        }
        if !tells {
            return Err(NoOpinion::NoRate);
        }
        Ok(self.model.observe(sample)?)
    }

    /// What one pod should carry.
    fn capacity(&self, sample: &Sample) -> Result<Capacity, NoOpinion> {
        match self.spec.target {
            CapacityTarget::Given(per_pod) => {
                Ok(Capacity { per_pod, interval: None, source: CapacitySource::Given })
            }
            CapacityTarget::CpuUtilization(share) => {
                let requested = requested_per_pod(sample).ok_or(NoOpinion::NoCpuRequest)?;
                capacity_from_cpu(share.as_fraction() * requested, &self.model.cpu_cost()?)
            }
            CapacityTarget::Latency(_) => {
                let windows = self.latency.as_ref().map_or(0.0, LatencyCapacity::windows);
                let limit = self.latency.as_ref().and_then(LatencyCapacity::limit);
                let limit = limit.filter(|limit| limit.per_pod.get() > 0.0);
                let limit = limit.ok_or(NoOpinion::LatencyNotKnown { windows: windows as u64 })?;
                let interval = limit.too_much.map(|too_much| (limit.per_pod, too_much));
                Ok(Capacity { per_pod: limit.per_pod, interval, source: CapacitySource::Latency })
            }
        }
    }

    /// Decides, as of `now`.
    pub fn decide(&mut self, now: Time) -> Decision {
        let forecast = self.outlook.as_ref().and_then(|outlook| outlook.forecast(now));
        let outcome = match self.known(now) {
            Ok((observed, load, capacity)) => {
                if self.known_until.is_none_or(|until| now - until >= HPA_MEMORY) {
                    self.hold_until = Some(now + HPA_MEMORY);
                }
                let desired = self.desired(now, &observed, load, capacity.per_pod, forecast.as_ref());
                if !desired.is_held() {
                    self.asked_for = Some((desired.replicas, now));
                }
                self.known_until = Some(desired.valid_until);
                Outcome::Desired(desired)
            }
            Err(reason) => {
                self.known_until = self.known_until.map(|until| until.min(now));
                Outcome::NoOpinion(reason)
            }
        };
        let wanted = match &outcome {
            Outcome::Desired(desired) => Some(desired),
            Outcome::NoOpinion(_) => None,
        };
        let is_limited = wanted.is_some_and(Desired::is_limited);
        self.account.wish(now, wanted.map(|desired| desired.replicas), is_limited);
        Decision {
            schema: DECISION_SCHEMA,
            at: now,
            mode: self.spec.mode,
            min_replicas: self.spec.min_replicas,
            max_replicas: self.spec.max_replicas,
            capacity: self.newest.as_ref().and_then(|o| o.capacity.clone().ok()).or_else(|| self.given()),
            evidence: self.newest.as_ref().map(|o| o.evidence),
            learned: self.learned(),
            forecast,
            lead_time: self.lead_time(),
            short_time: self.account.short,
            outcome,
        }
    }

    fn learned(&self) -> Option<Learned> {
        let version = self.model.version()?;
        Some(Learned {
            version: version.number,
            since: version.since,
            unit_core_seconds: version.unit,
            scores: version.report.scores,
            drift_since: self.model.drift_since(),
        })
    }

    fn lead_time(&self) -> Option<LeadTime> {
        self.outlook.as_ref().map(Outlook::lead)
    }

    /// The capacity that is known before anything was seen.
    fn given(&self) -> Option<Capacity> {
        match self.spec.target {
            CapacityTarget::Given(per_pod) => {
                Some(Capacity { per_pod, interval: None, source: CapacitySource::Given })
            }
            _ => None,
        }
    }

    fn known(&self, now: Time) -> Result<(Observed, Load, Capacity), NoOpinion> {
        let observed = self.newest.clone().ok_or(NoOpinion::NoSample)?;
        let (age, limit) = (now - observed.evidence.sampled_at, self.patience());
        if age > limit {
            return Err(NoOpinion::Stale { age, limit });
        }
        let (load, capacity) = (observed.load.clone()?, observed.capacity.clone()?);
        Ok((observed, load, capacity))
    }

    fn patience(&self) -> Span {
        self.spec.interval * STALE_INTERVALS
    }

    fn desired(
        &self,
        now: Time,
        observed: &Observed,
        load: Load,
        per_pod: MetricsQps,
        forecast: Option<&Forecast>,
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
        let current = evidence.pods.replicas;
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
        steps.within(self.spec.min_replicas, self.spec.max_replicas);
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
}

/// The forecast's bound, as far as it has earned to be gone by.
fn earned(forecast: &Forecast, load: &Load) -> MetricsQps {
    let present = load.metricsqps.get();
    MetricsQps::saturating(present + forecast.earned * (forecast.bound.get() - present))
}

/// The load without what may be noise: two standard errors.
fn surely(load: &Load) -> MetricsQps {
    MetricsQps::saturating(load.metricsqps.get() - 2.0 * load.standard_error.get())
}

#[cfg(test)]
mod tests;
