//! Pods under a load that is known: what arrives, what they show of it, and what is decided from that.

use plimsoll::load::{Counters, Load, ReadyPods, Sample};
use plimsoll::scale::{Autoscaler, Decision, Desired, Outcome};
use plimsoll::units::{Span, Time};
use plimsoll_sim::cluster::{Cluster, ClusterConfig, Phase, Request};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Time between two scrapes.
pub(crate) const INTERVAL: Span = Span::from_secs(15);

const START: Time = Time::from_secs(1_700_000_000);

/// One kind of request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// How many of all requests are of this kind.
    pub(crate) share: f64,
    /// CPU that it needs on average, in seconds.
    pub(crate) cpu: f64,
    /// Time that it waits for something else on average, in seconds.
    pub(crate) io: f64,
}

/// So many requests per second for so long, Poisson.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    pub(crate) length: Span,
    pub(crate) rate: f64,
}

/// One scrape, what truly was since the last one, and what was decided.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// The stage that all of the time since the last round belongs to, if stages last for whole intervals.
    pub(crate) stage: usize,
    /// Requests per second that arrived since the last round.
    pub(crate) arrived: f64,
    /// Cores' work that arrived with them.
    pub(crate) work: f64,
    pub(crate) sample: Sample,
    pub(crate) decision: Decision,
}

impl Round {
    pub(crate) fn desired(&self) -> &Desired {
        match &self.decision.outcome {
            Outcome::Desired(desired) => desired,
            other => panic!("no load: {other:?}"),
        }
    }

    pub(crate) fn load(&self) -> &Load {
        &self.desired().load
    }
}

/// Mean CPU of a request in seconds.
pub(crate) fn mean_cpu(mix: &[Kind]) -> f64 {
    mix.iter().map(|kind| kind.share * kind.cpu).sum()
}

/// The requests of one stage after the other. CPU and I/O are uniform within half of their mean.
fn requests(mix: &[Kind], stages: &[Stage], seed: u64) -> Vec<Request> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let (mut at, mut end) = (0.0, 0.0);
    let mut requests = Vec::new();
    for stage in stages {
        end += stage.length.as_secs_f64();
        loop {
            at -= (1.0 - rng.random::<f64>()).ln() / stage.rate;
            if at >= end {
                // Poisson arrivals have no memory.
                at = end;
                break;
            }
            let mut drawn = rng.random::<f64>();
            let kind = mix.iter().find(|kind| {
                drawn -= kind.share;
                drawn < 0.0
            });
            let Kind { cpu, io, .. } = *kind.unwrap_or(&mix[0]);
            let mut around = |mean: f64| Span::from_secs_f64(mean * rng.random_range(0.5..1.5));
            requests.push(Request { at: Span::from_secs_f64(at), cpu: around(cpu), io: around(io) });
        }
    }
    requests
}

/// Sends the stages to `pods` pods, as many whatever is decided, and scrapes them every [`INTERVAL`]. The first round is the
/// second scrape: a rate takes two.
pub(crate) fn drive(
    config: ClusterConfig,
    pods: u32,
    mix: &[Kind],
    stages: &[Stage],
    mut autoscaler: Autoscaler,
) -> Vec<Round> {
    let requests = requests(mix, stages, config.seed);
    let end = START + stages.iter().fold(Span::ZERO, |sum, stage| sum + stage.length);
    let mut cluster = Cluster::new(config, START, pods);
    cluster.inject(requests.iter().copied());
    let mut counters = Counters::new(INTERVAL);
    let mut rounds = Vec::new();
    let mut coming = requests.iter().peekable();
    let mut now = START;
    while now <= end {
        cluster.advance_to(now);
        let sample = scrape(&mut counters, &cluster);
        autoscaler.observe(&sample).unwrap();
        let (mut arrived, mut work) = (0.0, 0.0);
        while let Some(request) = coming.next_if(|request| START + request.at <= now) {
            arrived += 1.0 / INTERVAL.as_secs_f64();
            work += request.cpu.as_secs_f64() / INTERVAL.as_secs_f64();
        }
        let decision = autoscaler.decide(now);
        if now > START {
            rounds.push(Round { stage: stage_of(stages, now - START), arrived, work, sample, decision });
        }
        now += INTERVAL;
    }
    rounds
}

/// The stage that has lasted until `elapsed`.
fn stage_of(stages: &[Stage], elapsed: Span) -> usize {
    let mut end = Span::ZERO;
    let is_over = |stage: &&Stage| {
        end = end + stage.length;
        end < elapsed
    };
    stages.iter().take_while(is_over).count()
}

fn scrape(counters: &mut Counters, cluster: &Cluster) -> Sample {
    let mut pods = ReadyPods {
        replicas: cluster.replicas(),
        requested_per_pod: Some(cluster.config().cores),
        cores_per_pod: Some(cluster.config().usable()),
        ..ReadyPods::default()
    };
    for (pod, reading) in cluster.readings().filter(|(pod, _)| pod.phase == Phase::Ready) {
        counters.read(pod.name, reading).unwrap();
        pods.names.insert(pod.name.to_owned());
    }
    counters.sample(cluster.now(), &pods)
}
