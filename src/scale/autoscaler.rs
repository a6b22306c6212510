//! The decision itself.

use super::bounds::Windows;
use super::capacity::{capacity_from_cpu, replicas_for, requested_per_pod};
use super::lead_time::StartUp;
use super::no_opinion::NoOpinion;
use super::outlook::Outlook;
use super::short_time::Account;
use super::step_kind::{Step, StepKind};
use crate::forecast::PlanPoint;
use crate::load::{Group, LatencyCapacity, Load, LoadModel, SAMPLE_SCHEMA, Sample};
use crate::spec::{CapacityTarget, Checked};
use crate::units::{MetricsQps, Span, Time};

use super::decision::{Capacity, CapacitySource, DECISION_SCHEMA, Decision, Evidence, Learned, Outcome};

mod kept;
mod proposal;

use proposal::surely;

/// Intervals after which a sample no longer speaks for the present.
const STALE_INTERVALS: i64 = 3;

/// How long the HPA remembers what it wanted (its default downscale stabilization). After an outage of that length
/// its first reading would be obeyed at once, so nothing is lowered until as much time has passed again. Nobody knows how
/// long the outage before a start was.
const HPA_MEMORY: Span = Span::from_secs(300);

/// How long a rollout is waited for: a Deployment's own `progressDeadlineSeconds`, unless it says other. One that takes
/// longer is stuck, and may be so for days.
const ROLLOUT: Span = Span::from_secs(600);

/// Decides about one workload. Deterministic: the same calls give the same decisions, bit for bit.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    spec: Checked,
    model: LoadModel,
    latency: Option<LatencyCapacity>,
    outlook: Option<Outlook>,
    account: Account,
    windows: Windows,
    newest: Option<Observed>,
    /// The replicas there are, and when somebody told.
    current: Option<(u32, Time)>,
    is_paused: bool,
    /// When the rollout that is under way was first seen.
    updating_since: Option<Time>,
    /// Replicas that were asked for last while nothing held them, and when: what must not be lowered is what was asked
    /// for, be it not there yet. It lapses when the HPA has had the time to follow.
    asked_for: Option<(u32, Time)>,
    /// The last instant at which the load was known; none before the first.
    known_until: Option<Time>,
    /// When somebody first asked in vain.
    asked_since: Option<Time>,
    /// Until then nothing is lowered.
    hold_until: Option<Time>,
    /// When a pause ended.
    resumed_at: Option<Time>,
    /// Whoever follows does nothing about changes of less than 10 %.
    is_tolerant: bool,
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
            windows: Windows::default(),
            newest: None,
            current: None,
            is_paused: false,
            updating_since: None,
            asked_for: None,
            known_until: None,
            asked_since: None,
            hold_until: None,
            resumed_at: None,
            is_tolerant: false,
        }
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

    /// Takes how many replicas the workload's scale asks for at `now`, from whoever watches it. In an outage no sample comes,
    /// and this is all that tells. What is older than the last that was told is left aside.
    pub fn note_replicas(&mut self, now: Time, replicas: u32) {
        if self.current.is_none_or(|(_, at)| at <= now) {
            self.current = Some((replicas, now));
        }
    }

    /// Says whether a person has taken over. While that is so each decision is for the replicas there are; what is learned
    /// goes on being learned. Where they are not known, or the load is not, there is no opinion, which holds them too. When they let go,
    /// nothing is lowered for a while: what a person has scaled to is not taken back by the first word.
    pub fn set_paused(&mut self, now: Time, is_paused: bool) {
        if std::mem::replace(&mut self.is_paused, is_paused) && !is_paused {
            self.resumed_at = Some(now);
        }
    }

    /// Says whether whoever follows is an HPA whose tolerance of 10 % cannot be switched off. It is then asked for a little more where it
    /// would ignore that more is needed; what it ignores downwards costs, and harms nobody.
    pub fn set_tolerant(&mut self, is_tolerant: bool) {
        self.is_tolerant = is_tolerant;
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
        // Not every source knows the scale, and some take the pods that answer for it: they may do so, but not in an outage.
        let least = self.current.filter(|_| load.is_err()).map_or(0, |(replicas, _)| replicas);
        self.note_replicas(sample.at, pods.replicas.max(least));
        self.updating_since = pods.updating.then(|| self.updating_since.unwrap_or(sample.at));
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
        let lead_time = self.outlook.as_ref().map(Outlook::lead);
        let bounds = self.windows.bounds(&self.spec, now, lead_time.map_or(Span::ZERO, |lead| lead.total));
        let outcome = match self.known(now) {
            Ok((observed, load, capacity)) => {
                if self.known_until.is_none_or(|until| now - until >= HPA_MEMORY) {
                    self.hold_until = Some(now + HPA_MEMORY);
                }
                let per_pod = capacity.per_pod;
                let mut desired = self.desired(now, &observed, load, per_pod, forecast.as_ref(), bounds);
                self.known_until = Some(desired.valid_until);
                // What is short while a person has taken over is charged to whoever sets the replicas.
                self.account.wish(now, Some(desired.replicas), desired.is_limited());
                if self.is_paused {
                    let current = self.replicas(&observed);
                    desired.replicas = current;
                    desired.steps.push(Step { replicas: current, kind: StepKind::Paused });
                }
                if !desired.is_held() {
                    self.asked_for = Some((desired.replicas, now));
                }
                Outcome::Desired(desired)
            }
            Err(why) => {
                self.known_until = self.known_until.map(|until| until.min(now));
                let asked_since = *self.asked_since.get_or_insert(now);
                let since = self.known_until.unwrap_or(asked_since);
                self.account.wish(now, None, false);
                match self.fallback(now, since, &why, bounds) {
                    Some(fallback) => {
                        self.asked_for = Some((fallback.replicas, now));
                        Outcome::Fallback(fallback)
                    }
                    None => Outcome::NoOpinion(why),
                }
            }
        };
        Decision {
            schema: DECISION_SCHEMA,
            at: now,
            mode: self.spec.mode,
            min_replicas: bounds.least.replicas,
            max_replicas: bounds.most.replicas,
            capacity: self.newest.as_ref().and_then(|o| o.capacity.clone().ok()).or_else(|| self.given()),
            evidence: self.newest.as_ref().map(|o| o.evidence),
            learned: self.learned(),
            forecast,
            lead_time,
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

    /// The replicas there are, as far as anybody told.
    fn replicas(&self, observed: &Observed) -> u32 {
        self.current.map_or(observed.evidence.pods.replicas, |(replicas, _)| replicas)
    }

    fn patience(&self) -> Span {
        self.spec.interval * STALE_INTERVALS
    }
}

#[cfg(test)]
mod tests;
