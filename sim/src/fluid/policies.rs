//! The policies of the event engine on a series: months with the very code that decides there.
//!
//! Time goes in ticks of 15 s, at the end of which there is a sample, metrics-server's CPU, and a reconcile, all of the tick that has ended.
//! The load flows evenly within a step but for chance: requests come by themselves and cost as much as they cost, so the work of a tick is drawn with the
//! variance of a compound Poisson process, from the seed, as requests at the mean cost. The mix is the same all the time. What the ready pods
//! cannot do waits, for a minute at most, and is given up then.

use plimsoll::load::{Group, InFlight, Pods as PodCounts, SAMPLE_SCHEMA, Sample};
use plimsoll::units::{Cores, Span, Time};
use rand::RngExt;

use super::kernel::Step;
use super::mix::Mix;
use super::pods::Pods;
use super::score::{Scores, Tally};
use crate::history::MAX_PODS;
use crate::policy::{self, Basis, Policy, Seen, Target};
use crate::profile::Profile;
use crate::random::{Purpose, generator, normal_quantile};
use crate::replay::START;
use crate::scenario::{ReplayError, Scenario};
use crate::series::Series;
use crate::trace::{TraceError, TraceOptions};

const TICK: Span = Span::from_secs(15);
const TICKS_A_MINUTE: usize = 4;
const MINUTE: Span = Span::from_secs(60);

/// Longest that a request waits for capacity, in ticks of full pods.
const PATIENCE: f64 = 4.0;

/// A series that policies can be run on.
#[derive(Debug, Clone)]
pub struct Workload {
    mix: Mix,
    profile: Profile,
    /// Work of each tick, in requests at the mean cost.
    arrivals: Vec<f64>,
}

/// What came of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What one pod should carry.
    pub target: Target,
    /// Time that pods existed; this and all that follows after the warm-up.
    pub pod_hours: f64,
    /// By minutes: load is CPU work, and a pod carries what it may use.
    pub scores: Scores,
    /// How often replicas were added.
    pub scale_ups: u64,
    /// How often they were removed.
    pub scale_downs: u64,
    /// Most replicas asked for.
    pub most_replicas: u32,
}

impl Workload {
    /// Of a series, with `options.rate_scale` requests for each one of it; of a step that is cut off by the last whole minute, the
    /// part before it. What requests need is taken from a sample of the trace.
    ///
    /// # Errors
    /// When the trace is wrong, shorter than a minute, its requests need no CPU, or its busiest minute takes too many pods.
    pub fn new(series: &Series, options: &TraceOptions, scenario: &Scenario) -> Result<Self, ReplayError> {
        scenario.check()?;
        let mix = Mix::of(series, options, scenario)?;
        let length = series.step * i64::try_from(series.counts.len()).unwrap_or(i64::MAX);
        let minutes = usize::try_from(length.as_nanos() / MINUTE.as_nanos()).unwrap_or(0);
        let mut arrivals = ticks(series, options.rate_scale, minutes * TICKS_A_MINUTE);
        let mut rng = generator(options.seed, Purpose::Costs);
        for arrived in &mut arrivals {
            let chance = normal_quantile(rng.random_range(1e-9..1.0 - 1e-9));
            *arrived = (*arrived + chance * (*arrived * (mix.spread - 1.0)).sqrt()).max(0.0);
        }
        let cores = |minute: &[f64]| minute.iter().sum::<f64>() * mix.cpu_s / MINUTE.as_secs_f64();
        let work: Vec<f64> = arrivals.chunks(TICKS_A_MINUTE).map(cores).collect();
        let requests: f64 = arrivals.iter().sum();
        if requests < 0.5 {
            let window = options.window.to_string();
            return Err(TraceError::Empty { trace: series.name.clone(), window }.into());
        }
        let first = work.first().copied().unwrap_or(0.0);
        let (peak_at, peak) = work
            .iter()
            .enumerate()
            .fold((0, 0.0), |most, (i, cores)| if *cores > most.1 { (i, *cores) } else { most });
        let profile = Profile {
            requests: requests.round() as u64,
            cpu_seconds: requests * mix.cpu_s,
            io_seconds: requests * mix.io_s,
            work,
            length: MINUTE * i64::try_from(minutes).unwrap_or(i64::MAX),
            first_minute: Cores::saturating(first),
            peak_minute: Cores::saturating(peak),
            peak_at: MINUTE * i64::try_from(peak_at).unwrap_or(0),
            durations: mix.durations.clone(),
        };
        let pods = crate::history::pods_for(profile.peak_minute, scenario.cluster.cores, scenario.share);
        if pods > MAX_PODS {
            return Err(crate::history::HistoryError::TooManyPods {
                trace: series.name.clone(),
                at: profile.peak_at,
                cores: peak,
                pods,
            }
            .into());
        }
        Ok(Self { mix, profile, arrivals })
    }

    /// CPU work that arrives on average in a series as it is, at the mean cost of a sample of the trace's requests.
    ///
    /// # Errors
    /// When the trace is wrong, or its requests need no CPU.
    pub fn cores(series: &Series, options: &TraceOptions, scenario: &Scenario) -> Result<Cores, ReplayError> {
        let requests: f64 = series.counts.iter().sum();
        let length = series.step.as_secs_f64() * series.counts.len() as f64;
        Ok(Cores::saturating(requests * Mix::of(series, options, scenario)?.cpu_s / length))
    }

    /// Whether there is such a policy, and it can be set like that.
    ///
    /// # Errors
    /// When there is not, or it cannot.
    pub fn check(&self, policy: &str, scenario: &Scenario) -> Result<(), ReplayError> {
        policy::build(policy, &Basis::new(&self.profile, &self.mix.weights, scenario, START))?;
        Ok(())
    }

    /// What the workload is like.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Runs the policy that `text` describes from the beginning to the end, and scores it after `warm_up`, in whole minutes.
    ///
    /// # Errors
    /// When there is no such policy, or it cannot be set like that.
    pub fn run(&self, text: &str, scenario: &Scenario, warm_up: Span) -> Result<Outcome, ReplayError> {
        self.run_seen(text, scenario, warm_up, |_| ())
    }

    /// The same; `each` is told how every minute that is scored went.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_seen(
        &self,
        text: &str,
        scenario: &Scenario,
        warm_up: Span,
        each: impl FnMut(&Step),
    ) -> Result<Outcome, ReplayError> {
        let basis = Basis::new(&self.profile, &self.mix.weights, scenario, START);
        let policy = policy::build(text, &basis)?;
        let skipped = usize::try_from(warm_up.as_nanos() / MINUTE.as_nanos()).unwrap_or(0);
        Ok(Running::new(self, policy, basis.usual_pods(), scenario).finish(skipped, each))
    }
}

/// Requests in each of so many ticks, those of a step spread evenly over it.
fn ticks(series: &Series, scale: f64, count: usize) -> Vec<f64> {
    let step = series.step.as_nanos().max(1);
    let upto = |at: Span| -> f64 {
        // Of the step that the instant is in, the part before it.
        let index = usize::try_from(at.as_nanos() / step).unwrap_or(usize::MAX);
        let part = (at.as_nanos() % step) as f64 / step as f64;
        part * series.counts.get(index).copied().unwrap_or(0.0)
    };
    let tick = |i: usize| {
        let (from, to) = (TICK * i as i64, TICK * (i as i64 + 1));
        let index =
            |at: Span| usize::try_from(at.as_nanos() / step).unwrap_or(usize::MAX).min(series.counts.len());
        let whole: f64 = series.counts[index(from)..index(to)].iter().sum();
        (whole + upto(to) - upto(from)).max(0.0) * scale
    };
    (0..count).map(tick).collect()
}

/// How a tick went.
struct Ticked {
    /// Time that pods were ready, all together.
    ready_seconds: f64,
    /// Requests at the mean cost that they served.
    served: f64,
}

/// A policy at work.
struct Running<'a> {
    workload: &'a Workload,
    scenario: &'a Scenario,
    policy: Box<dyn Policy>,
    pods: Pods<'a>,
    /// Requests that wait for capacity, and all that are inside.
    waiting: f64,
    inside: f64,
    outcome: Outcome,
}

impl<'a> Running<'a> {
    fn new(workload: &'a Workload, policy: Box<dyn Policy>, usual: u32, scenario: &'a Scenario) -> Self {
        let replicas = policy.start(usual);
        let outcome = Outcome {
            target: policy.target(),
            pod_hours: 0.0,
            scores: Tally::default().scores(),
            scale_ups: 0,
            scale_downs: 0,
            most_replicas: replicas,
        };
        let pods = Pods::new(&scenario.cluster, START, replicas);
        Self { workload, scenario, policy, pods, waiting: 0.0, inside: 0.0, outcome }
    }

    /// Scores all minutes but the first ones that are skipped.
    fn finish(mut self, skipped: usize, mut each: impl FnMut(&Step)) -> Outcome {
        let minute = MINUTE.as_secs_f64();
        let capacity = self.scenario.cluster.usable().get() * minute;
        let mut tally = Tally::default();
        let mut now = START;
        for (index, arrivals) in self.workload.arrivals.chunks(TICKS_A_MINUTE).enumerate() {
            let (mut paid, mut ready, mut changed, mut served) = (0.0, 0.0, 0.0, 0.0);
            for arrived in arrivals {
                let before = self.pods.count();
                paid += f64::from(before) * TICK.as_secs_f64();
                let tick = self.tick(now, *arrived);
                ready += tick.ready_seconds;
                served += tick.served;
                changed += f64::from(self.pods.count().abs_diff(before));
                now += TICK;
            }
            let load = arrivals.iter().sum::<f64>() * self.workload.mix.cpu_s;
            let step = Step {
                index,
                load,
                capacity,
                paid: paid / minute,
                ready: ready / minute,
                changed,
                carried: Some(served * self.workload.mix.cpu_s),
            };
            if index >= skipped {
                tally.add(&step);
                each(&step);
                self.outcome.pod_hours += paid / 3600.0;
            } else {
                tally.before(&step);
            }
            if index + 1 == skipped {
                let Outcome { scale_ups, scale_downs, most_replicas, .. } = &mut self.outcome;
                (*scale_ups, *scale_downs, *most_replicas) = (0, 0, self.pods.count());
            }
        }
        self.outcome.scores = tally.scores();
        self.outcome
    }

    /// A tick that begins `from`.
    fn tick(&mut self, from: Time, arrived: f64) -> Ticked {
        let (to, mix) = (from + TICK, &self.workload.mix);
        let tick = TICK.as_secs_f64();
        let ready_seconds = self.pods.ready_seconds(from, to);
        let capacity = ready_seconds * self.scenario.cluster.usable().get() / mix.cpu_s;
        let served = (self.waiting + arrived).min(capacity);
        let left = self.waiting + arrived - served;
        let given_up = (left - capacity * PATIENCE).max(0.0);
        self.waiting = left - given_up;
        let ticked = Ticked { ready_seconds, served };
        if !self.policy.looks() {
            return ticked;
        }
        let busy = if capacity > 0.0 { served / capacity } else { 1.0 };
        let serving = served / tick * mix.sojourn_s(busy);
        let before = std::mem::replace(&mut self.inside, serving + self.waiting);
        // The first tick begins with what would have been inside.
        let change = if from == START { 0.0 } else { self.inside - before };
        let completed = (arrived - given_up - change).max(0.0);
        let cores = served * mix.cpu_s / tick;
        if let Some(sample) =
            self.sample(to, completed / tick, busy, cores, InFlight { now: self.inside, change })
        {
            self.policy.observe(&sample);
        }
        let replicas = self.pods.count();
        let ready = f64::from(self.pods.ready(to).max(1));
        let (pods, usage) = self.pods.seen(to, TICK, cores / ready);
        let wanted = self.policy.reconcile(to, &Seen { replicas, pods, usage });
        self.outcome.scale_ups += u64::from(wanted > replicas);
        self.outcome.scale_downs += u64::from(wanted < replicas);
        self.outcome.most_replicas = self.outcome.most_replicas.max(wanted);
        if wanted != replicas {
            self.pods.set(wanted, to);
        }
        ticked
    }

    /// One group for all pods; none but the pods while none is ready.
    fn sample(&self, at: Time, requests: f64, busy: f64, cores: f64, in_flight: InFlight) -> Option<Sample> {
        let (replicas, ready) = (self.pods.count(), self.pods.ready(at));
        let pods = PodCounts { replicas, ready, warming: replicas - ready, silent: 0, updating: false };
        let config = &self.scenario.cluster;
        let mut groups = Vec::new();
        if ready > 0 {
            let mut group = Group::new(ready, TICK);
            group.histograms = vec![self.workload.mix.histogram(requests, busy).ok()?];
            group.cpu = Some(Cores::saturating(cores));
            group.requested_per_pod = Some(config.cores);
            group.cores_per_pod = Some(config.usable());
            group.in_flight = config.shows.in_flight.then_some(in_flight);
            groups.push(group);
        }
        Some(Sample { schema: SAMPLE_SCHEMA, at, pods, offered: None, groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_spread_evenly_over_its_ticks() {
        let series = |step: i64, counts: &[f64]| Series {
            name: String::new(),
            step: Span::from_secs(step),
            counts: counts.to_vec(),
        };
        assert_eq!(ticks(&series(60, &[4.0, 8.0]), 2.0, 8), [2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0]);
        assert_eq!(ticks(&series(5, &[1.0; 12]), 1.0, 4), [3.0; 4]);
        let odd = ticks(&series(20, &[4.0, 8.0, 12.0]), 1.0, 4);
        for (tick, expected) in odd.into_iter().zip([3.0, 5.0, 7.0, 9.0]) {
            assert!((tick - expected).abs() < 1e-9, "{tick} {expected}");
        }
    }
}
