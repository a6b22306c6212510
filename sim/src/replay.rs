//! A replay: one trace, the same arrivals for every policy, each with a cluster of its own.
//!
//! Timers of real clusters do not know of each other, so each has its own phase, drawn from the seed and the same for
//! every policy. Measurements become readable a while after they were taken.

use plimsoll::hpa::PodUsage;
use plimsoll::load::Sample;
use plimsoll::units::{Span, Time};
use rand::RngExt;

use crate::cluster::{Cluster, Completion, Request};
use crate::fluid::Step;
use crate::history::History;
use crate::measure::{Delayed, MetricsServer, Scraper, list};
use crate::policy::{self, Basis, Policy, Seen};
use crate::profile::Profile;
use crate::random::{Purpose, generator};
use crate::report::Report;
use crate::scenario::{ReplayError, Scenario, Timing};
use crate::score::{Score, Tally};
use crate::trace::Trace;

/// Where a replay begins: a Monday's midnight, as traces tell offsets and schedules go by the hour.
pub(crate) const START: Time = Time::from_secs(1_699_833_600);

const MINUTE: Span = Span::from_secs(60);

/// What is done with the trace, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is read, to see what it is like. How long it is shows at the end.
    Reading,
    /// It is played once for the weights.
    Fitting,
    /// It is replayed under every policy.
    Replaying,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Requests in the trace, as far as it has been read.
    pub requests: u64,
    /// Length of the trace, as far as it has been read.
    pub length: Span,
    /// How much of that is done in this stage.
    pub done: Span,
}

/// A trace that has been read and played for its weights: what all policies start from.
#[derive(Debug)]
pub struct Prepared {
    trace: Trace,
    scenario: Scenario,
    profile: Profile,
    history: History,
}

impl Prepared {
    /// Reads the trace, and plays it once for the weights. `progress` is told after every minute of it.
    ///
    /// # Errors
    /// When the trace or a setting is wrong.
    pub fn new(
        trace: &Trace,
        scenario: &Scenario,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, ReplayError> {
        scenario.check()?;
        let profile = Profile::of_with(trace, |read| progress(at(Stage::Reading, read, read.length)))?;
        let history = History::of_with(trace, &profile, &scenario.cluster, scenario.share, |done| {
            progress(at(Stage::Fitting, &profile, done));
        })?;
        Ok(Self { trace: trace.clone(), scenario: scenario.clone(), profile, history })
    }

    /// What the trace is like.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whether there is such a policy, and it can be set like that.
    ///
    /// # Errors
    /// When there is not, or it cannot.
    pub fn check(&self, policy: &str) -> Result<(), ReplayError> {
        let basis = Basis::new(&self.profile, &self.history.weights, &self.scenario, START);
        policy::build(policy, &basis)?;
        Ok(())
    }

    /// Replays the trace under each of the policies (`NAME` or `NAME:key=value,…`), in lockstep, and scores them in the order
    /// given. `progress` is told after every minute of the trace.
    ///
    /// # Errors
    /// When a policy is wrong, or the trace has become wrong.
    pub fn run(
        &self,
        policies: &[String],
        progress: impl FnMut(Progress),
    ) -> Result<Vec<Score>, ReplayError> {
        self.run_seen(policies, progress, |_, _| ())
    }

    /// The same; `each` is told how every minute of each policy went, by the policy's place.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_seen(
        &self,
        policies: &[String],
        mut progress: impl FnMut(Progress),
        mut each: impl FnMut(usize, &Step),
    ) -> Result<Vec<Score>, ReplayError> {
        let Self { trace, scenario, profile, history } = self;
        let basis = Basis::new(profile, &history.weights, scenario, START);
        let usual = basis.usual_pods();
        let mut runs = Vec::new();
        for name in policies {
            runs.push(Run::new(name, policy::build(name, &basis)?, usual, scenario));
        }
        let mut arrivals = trace.arrivals()?;
        let mut chunk: Vec<Request> = Vec::new();
        let mut work = 0.0;
        for (now, tick) in Timers::new(scenario).take_while(|(now, _)| *now <= START + profile.length) {
            chunk.clear();
            arrivals.take_until(now - START, &mut chunk)?;
            work += chunk.iter().map(|request| request.cpu.as_secs_f64()).sum::<f64>();
            for (place, run) in runs.iter_mut().enumerate() {
                run.advance(now, &chunk);
                if let Some(step) = run.tick(now, tick, work, scenario) {
                    each(place, &step);
                }
            }
            if tick == Tick::Minute {
                work = 0.0;
                progress(at(Stage::Replaying, profile, now - START));
            }
        }
        Ok(runs.into_iter().map(Run::score).collect())
    }
}

fn at(stage: Stage, profile: &Profile, done: Span) -> Progress {
    let Profile { requests, length, .. } = *profile;
    Progress { stage, requests, length, done }
}

/// Prepares the trace, replays it under the policies, and reports. `progress` is told after every minute of the trace, in
/// each stage.
///
/// # Errors
/// When the trace, a policy or a setting is wrong.
pub fn replay(
    trace: &Trace,
    scenario: &Scenario,
    policies: &[String],
    mut progress: impl FnMut(Progress),
) -> Result<Report, ReplayError> {
    let prepared = Prepared::new(trace, scenario, &mut progress)?;
    let scores = prepared.run(policies, progress)?;
    Ok(Report::new(trace, &prepared.profile, &prepared.history, scenario, scores))
}

/// What happens at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tick {
    Minute,
    Scrape,
    MetricsServer,
    Sync,
}

/// The timers' ticks, in order, without end.
struct Timers([(Time, Span, Tick); 4]);

impl Timers {
    fn new(scenario: &Scenario) -> Self {
        let mut rng = generator(scenario.seed, Purpose::Phases);
        let mut timer = |every: Span, tick| {
            let phase = Span::from_nanos(rng.random_range(0..every.as_nanos().max(1)));
            (START + phase, every, tick)
        };
        let Timing { scrape, metrics_server, sync, .. } = scenario.timing;
        Self([
            timer(scrape, Tick::Scrape),
            timer(metrics_server, Tick::MetricsServer),
            timer(sync, Tick::Sync),
            (START + MINUTE, MINUTE, Tick::Minute),
        ])
    }
}

impl Iterator for Timers {
    type Item = (Time, Tick);

    fn next(&mut self) -> Option<Self::Item> {
        let (next, every, tick) = self.0.iter_mut().min_by_key(|(next, ..)| *next)?;
        let now = *next;
        *next += *every;
        Some((now, *tick))
    }
}

/// One policy with its cluster.
struct Run<'a> {
    name: &'a str,
    policy: Box<dyn Policy>,
    cluster: Cluster,
    scraper: Scraper,
    metrics_server: MetricsServer,
    samples: Delayed<Sample>,
    usages: Delayed<Vec<PodUsage>>,
    usage: Vec<PodUsage>,
    tally: Tally,
}

impl<'a> Run<'a> {
    fn new(name: &'a str, policy: Box<dyn Policy>, usual: u32, scenario: &Scenario) -> Self {
        let replicas = policy.start(usual);
        Self {
            name,
            policy,
            cluster: Cluster::new(scenario.cluster.clone(), START, replicas),
            scraper: Scraper::new(scenario.timing.scrape),
            metrics_server: MetricsServer::default(),
            samples: Delayed::new(),
            usages: Delayed::new(),
            usage: Vec::new(),
            tally: Tally::new(scenario.late, replicas),
        }
    }

    fn advance(&mut self, now: Time, arrivals: &[Request]) {
        let tally = &mut self.tally;
        self.cluster.inject(arrivals.iter().copied());
        self.cluster.advance_with(now, |completion: &Completion| tally.completed(completion));
    }

    /// At the end of a minute, how it went.
    fn tick(&mut self, now: Time, tick: Tick, work: f64, scenario: &Scenario) -> Option<Step> {
        let readable = now + scenario.timing.delay;
        match tick {
            Tick::Minute => {
                return Some(self.tally.minute(work, &self.cluster.totals(), scenario.cluster.usable()));
            }
            Tick::Scrape | Tick::MetricsServer | Tick::Sync if !self.policy.looks() => {}
            Tick::Scrape => self.samples.put(readable, self.scraper.round(&self.cluster)),
            Tick::MetricsServer => self.usages.put(readable, self.metrics_server.round(&self.cluster)),
            Tick::Sync => self.reconcile(now),
        }
        None
    }

    fn reconcile(&mut self, now: Time) {
        while let Some(sample) = self.samples.take(now) {
            self.policy.observe(&sample);
        }
        while let Some(usage) = self.usages.take(now) {
            self.usage = usage;
        }
        let before = self.cluster.replicas();
        let pods = list(&self.cluster);
        let seen = Seen { replicas: before, pods: &pods, usage: &self.usage };
        let after = self.policy.reconcile(now, &seen);
        if after != before {
            self.tally.scaled(before, after);
            self.cluster.set_replicas(after);
        }
    }

    fn score(self) -> Score {
        self.tally.score(self.name, self.policy.target(), &self.cluster)
    }
}
