//! The decision itself.

use super::event_floor::Floor;
use super::lead_time::{LeadTime, StartUp};
use super::outlook::Outlook;
use super::short_time::Account;
use crate::forecast::{Forecast, PlanPoint, Series};
use crate::load::{CpuCost, Group, LatencyCapacity, Load, LoadModel, SAMPLE_SCHEMA, Sample};
use crate::spec::{CapacityTarget, Checked, Mode};
use crate::units::{MetricsQps, Span, Time};

use super::checkpoint::{CHECKPOINT_SCHEMA, Checkpoint};
use super::decision::{
    Capacity, CapacitySource, DECISION_SCHEMA, Decision, Desired, Evidence, Learned, NoOpinion, Outcome,
    Step, StepKind,
};

/// Intervals after which a sample no longer speaks for the present.
const STALE_INTERVALS: i64 = 3;

/// How long the HPA remembers what it wanted (its default downscale stabilization). After an outage of that length
/// its first reading would be obeyed at once, so nothing is lowered until as much time has passed again. Nobody knows how
/// long the outage before a start was.
const HPA_MEMORY: Span = Span::from_secs(300);

/// Replicas are rounded up, but not for a rounding error of the division.
const ROUNDING: f64 = 1e-9;

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

    /// Whether it forecasts: it has seen a load.
    pub fn is_forecasting(&self) -> bool {
        self.outlook.as_ref().is_some_and(Outlook::is_forecasting)
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
        let looks_ahead = self.spec.mode != Mode::Reactive && self.is_forecasting();
        if looks_ahead && forecast.is_none() {
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

/// Cores that a pod has asked for: the mean over the pods of which it is known.
fn requested_per_pod(sample: &Sample) -> Option<f64> {
    let known = sample.groups.iter().filter_map(|g| Some((g.requested_per_pod?.get(), f64::from(g.pods))));
    let (cores, pods) =
        known.fold((0.0, 0.0), |(cores, all), (each, pods)| (cores + each * pods, all + pods));
    (cores > 0.0).then(|| cores / pods)
}

/// C = (allowed − idle) / unit, and the same at the ends of what idle and unit lie between.
fn capacity_from_cpu(allowed: f64, cost: &CpuCost) -> Result<Capacity, NoOpinion> {
    let at = |idle: f64, unit: f64| MetricsQps::saturating(((allowed - idle) / unit).max(0.0));
    let per_pod = at(cost.idle, cost.unit);
    if per_pod.get() <= 0.0 {
        return Err(NoOpinion::IdleTooMuch { idle: cost.idle, allowed });
    }
    let interval = cost.idle_interval.map(|(least_idle, most_idle)| {
        let (least_unit, most_unit) = cost.unit_interval.unwrap_or((cost.unit, cost.unit));
        (at(most_idle, most_unit), at(least_idle, least_unit.max(f64::MIN_POSITIVE)))
    });
    Ok(Capacity { per_pod, interval, source: CapacitySource::Cpu })
}

/// ⌈load / capacity⌉, saturating at what the HPA can count.
fn replicas_for(load: MetricsQps, per_pod: MetricsQps) -> u32 {
    let pods = load.get() / per_pod.get();
    let pods = (pods * (1.0 - ROUNDING)).ceil();
    // In this order, so that a NaN would ask for more and not for none.
    if pods < f64::from(i32::MAX) { pods as u32 } else { i32::MAX.unsigned_abs() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{
        Classes, Edges, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA, Sample, Weighing, Weights,
    };
    use crate::units::Rate;

    fn at(seconds: i64) -> Time {
        Time::from_secs(seconds)
    }

    /// One that has known its load for so long that the hold after the start is over.
    fn settled(mode: Mode) -> Autoscaler {
        let mut autoscaler = autoscaler(mode);
        for round in -25..0 {
            autoscaler.observe(&sample(round * 15, pods(2), &[1.0; 2])).unwrap();
            autoscaler.decide(at(round * 15));
        }
        autoscaler
    }

    fn autoscaler(mode: Mode) -> Autoscaler {
        Autoscaler::new(Checked {
            min_replicas: 2,
            max_replicas: 20,
            mode,
            interval: Span::from_secs(15),
            weighing: Weighing::Given(
                Weights::new(Classes::by_duration(Edges::new(vec![]).unwrap()), &[1.0]).unwrap(),
            ),
            target: CapacityTarget::Given(MetricsQps::new(10.0).unwrap()),
            forecast: None,
        })
    }

    /// `rates` of pods that told; all others are as `pods` says.
    fn sample(seconds: i64, pods: Pods, rates: &[f64]) -> Sample {
        let group = |rate: &f64| Group {
            pods: 1,
            silent: false,
            window: Span::from_secs(15),
            histograms: vec![
                HistogramRates::new(Labels::new(), vec![], vec![Rate::new(*rate).unwrap()], None).unwrap(),
            ],
            cpu: None,
            requested_per_pod: None,
            cores_per_pod: None,
            in_flight: None,
            rejected: None,
            work: None,
        };
        let groups = rates.iter().map(group).collect();
        Sample { schema: SAMPLE_SCHEMA, at: at(seconds), pods, offered: None, groups }
    }

    fn pods(replicas: u32) -> Pods {
        Pods { replicas, ready: replicas, warming: 0, silent: 0 }
    }

    fn replicas(decision: &Decision) -> Result<(u32, Vec<&'static str>), NoOpinion> {
        match &decision.outcome {
            Outcome::Desired(d) => Ok((d.replicas, d.steps.iter().map(|s| s.kind.name()).collect())),
            Outcome::NoOpinion(reason) => Err(reason.clone()),
        }
    }

    #[test]
    fn replicas_follow_the_load_and_say_why() {
        let mut a = settled(Mode::Auto);
        a.observe(&sample(0, pods(4), &[10.0, 10.0, 10.0, 10.0])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((4, vec!["Load"])));
        a.observe(&sample(15, pods(4), &[20.0, 20.0, 20.0, 11.0])).unwrap();
        assert_eq!(replicas(&a.decide(at(15))), Ok((8, vec!["Load"])));
        a.observe(&sample(30, pods(8), &[1.0; 8])).unwrap();
        assert_eq!(replicas(&a.decide(at(30))), Ok((2, vec!["Load", "MinReplicas"])));
        a.observe(&sample(45, pods(8), &[100.0; 8])).unwrap();
        assert_eq!(replicas(&a.decide(at(45))), Ok((20, vec!["Load", "MaxReplicas"])));
    }

    #[test]
    fn a_full_pod_needs_no_second_one() {
        assert_eq!(replicas_for(MetricsQps::saturating(0.1 + 0.2), MetricsQps::saturating(0.1)), 3);
        assert_eq!(replicas_for(MetricsQps::saturating(30.1), MetricsQps::saturating(10.0)), 4);
        assert_eq!(replicas_for(MetricsQps::saturating(1e15), MetricsQps::saturating(0.001)), 2_147_483_647);
    }

    #[test]
    fn scale_up_only_never_lowers() {
        let mut a = settled(Mode::ScaleUpOnly);
        a.observe(&sample(0, pods(6), &[1.0; 6])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((6, vec!["Load", "ScaleUpOnly"])));
    }

    #[test]
    fn pods_that_have_not_told_yet_hold_the_replicas() {
        let mut a = settled(Mode::Auto);
        a.observe(&sample(0, pods(6), &[5.0; 4])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((6, vec!["Load", "WarmingUp"])));
        let mut without_series = sample(15, pods(6), &[5.0; 6]);
        without_series.groups[0].histograms.clear();
        a.observe(&without_series).unwrap();
        assert_eq!(replicas(&a.decide(at(15))), Ok((6, vec!["Load", "WarmingUp"])));
    }

    #[test]
    fn a_silent_pod_holds_the_replicas_and_more_than_half_leave_no_opinion() {
        let mut a = settled(Mode::Auto);
        a.observe(&sample(0, Pods { silent: 2, ..pods(4) }, &[5.0; 2])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((4, vec!["Load", "Silent"])));
        a.observe(&sample(15, Pods { silent: 3, ..pods(4) }, &[5.0])).unwrap();
        assert_eq!(replicas(&a.decide(at(15))), Err(NoOpinion::Silent { silent: 3, ready: 4 }));
    }

    #[test]
    fn congestion_holds_the_replicas() {
        let mut a = settled(Mode::Auto);
        let mut congested = sample(0, pods(9), &[2.0; 9]);
        congested.groups[0].in_flight = Some(InFlight { now: 300.0, change: 200.0 });
        a.observe(&congested).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((9, vec!["Load", "Congested"])));
    }

    #[test]
    fn what_is_not_known_is_no_opinion() {
        let mut a = autoscaler(Mode::Auto);
        assert_eq!(replicas(&a.decide(at(0))), Err(NoOpinion::NoSample));
        a.observe(&sample(0, pods(3), &[])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Err(NoOpinion::NoRate));
        a.observe(&sample(15, Pods { warming: 3, ready: 0, ..pods(3) }, &[])).unwrap();
        assert_eq!(replicas(&a.decide(at(15))), Err(NoOpinion::NoReadyPods));
        let mut other_names = sample(20, pods(3), &[9.0; 3]);
        other_names.groups.iter_mut().for_each(|g| g.histograms.clear());
        a.observe(&other_names).unwrap();
        assert_eq!(replicas(&a.decide(at(20))), Err(NoOpinion::NoSeries));
        a.observe(&sample(30, pods(3), &[9.0; 3])).unwrap();
        assert!(replicas(&a.decide(at(75))).is_ok());
        let (age, limit) = (Span::from_secs(46), Span::from_secs(45));
        assert_eq!(replicas(&a.decide(at(76))), Err(NoOpinion::Stale { age, limit }));
    }

    #[test]
    fn after_a_long_outage_nothing_is_lowered_for_as_long_as_the_hpa_remembers() {
        let mut a = settled(Mode::Auto);
        a.observe(&sample(0, pods(8), &[10.0; 8])).unwrap();
        a.decide(at(0));
        a.decide(at(60)); // The outage is noticed.
        a.observe(&sample(360, pods(8), &[1.0; 8])).unwrap();
        let hold = Ok((8, vec!["Load", "AfterOutage"]));
        assert_eq!(replicas(&a.decide(at(360))), hold);
        // It begins anew if the load is lost again meanwhile, for long again.
        a.decide(at(420));
        a.observe(&sample(710, pods(8), &[1.0; 8])).unwrap();
        assert_eq!(replicas(&a.decide(at(710))), hold);
        a.observe(&sample(1000, pods(8), &[1.0; 8])).unwrap();
        assert_eq!(replicas(&a.decide(at(1009))), hold);
        assert_eq!(replicas(&a.decide(at(1010))), Ok((2, vec!["Load", "MinReplicas"])));
    }

    #[test]
    fn an_outage_that_nobody_asked_about_is_one() {
        let mut a = settled(Mode::Auto);
        a.observe(&sample(0, pods(8), &[10.0; 8])).unwrap();
        a.decide(at(0));
        a.observe(&sample(900, pods(8), &[1.0; 8])).unwrap();
        assert_eq!(replicas(&a.decide(at(900))), Ok((8, vec!["Load", "AfterOutage"])));
    }

    #[test]
    fn a_start_ends_an_outage_of_unknown_length() {
        let mut a = autoscaler(Mode::Auto);
        a.observe(&sample(0, pods(8), &[1.0; 8])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((8, vec!["Load", "AfterOutage"])));
    }

    #[test]
    fn a_short_outage_needs_no_hold() {
        let mut a = settled(Mode::Auto);
        a.decide(at(60));
        a.observe(&sample(290, pods(8), &[1.0; 8])).unwrap();
        assert_eq!(replicas(&a.decide(at(290))), Ok((2, vec!["Load", "MinReplicas"])));
    }

    /// What was asked for may not be there yet: the HPA goes up in steps.
    #[test]
    fn what_may_not_be_lowered_is_what_was_asked_for() {
        let mut a = settled(Mode::Auto);
        a.observe(&sample(0, pods(2), &[100.0, 100.0])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((20, vec!["Load"])));
        a.observe(&sample(15, Pods { silent: 1, ..pods(2) }, &[100.0])).unwrap();
        assert_eq!(replicas(&a.decide(at(15))), Ok((20, vec!["Load", "Silent"])));
    }

    #[test]
    fn what_was_asked_for_long_ago_is_no_floor() {
        let mut a = settled(Mode::Auto);
        a.observe(&sample(0, pods(2), &[100.0, 100.0])).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Ok((20, vec!["Load"])));
        for round in 1..=20 {
            a.observe(&sample(round * 15, Pods { silent: 1, ..pods(3) }, &[10.0; 2])).unwrap();
            assert_eq!(replicas(&a.decide(at(round * 15))), Ok((20, vec!["Load", "Silent"])));
        }
        a.observe(&sample(315, Pods { silent: 1, ..pods(3) }, &[10.0; 2])).unwrap();
        assert_eq!(replicas(&a.decide(at(315))), Ok((3, vec!["Load", "Silent"])));
    }

    #[test]
    fn requests_that_never_complete_are_no_load_of_zero() {
        let mut a = settled(Mode::Auto);
        let mut stuck = sample(0, pods(2), &[0.0, 0.0]);
        stuck.groups[0].in_flight = Some(InFlight { now: 300.0, change: 0.0 });
        a.observe(&stuck).unwrap();
        assert_eq!(replicas(&a.decide(at(0))), Err(NoOpinion::NothingCompletes { in_flight: 300.0 }));
    }

    #[test]
    fn samples_must_be_new_and_of_a_known_schema() {
        let mut a = autoscaler(Mode::Auto);
        a.observe(&sample(15, pods(1), &[1.0])).unwrap();
        let (last, given) = (at(15), at(15));
        assert_eq!(a.observe(&sample(15, pods(1), &[1.0])), Err(ObserveError::NotNewer { last, given }));
        assert_eq!(
            a.observe(&Sample { schema: 9, ..sample(30, pods(1), &[]) }),
            Err(ObserveError::Schema(9))
        );
    }
}
