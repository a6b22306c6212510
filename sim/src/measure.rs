//! What a cluster shows of its pods: samples of the load as Plimsoll's collector takes them, CPU as metrics-server
//! gives it, pods as the API server lists them. Nobody sees more than this, and nobody sees it at once.

use std::collections::{BTreeMap, VecDeque};

use plimsoll::hpa::{Container, Phase as PodPhase, Pod, PodUsage, Ready};
use plimsoll::load::{Counters, ReadyPods, Sample};
use plimsoll::units::{Cores, Quantity, Span, Time};

use crate::cluster::{Cluster, Phase, PodView};

/// The one container of a simulated pod.
const CONTAINER: &str = "app";

/// Scrapes all pods that take requests, in one round.
#[derive(Debug)]
pub(crate) struct Scraper(Counters);

impl Scraper {
    pub(crate) fn new(interval: Span) -> Self {
        Self(Counters::new(interval))
    }

    pub(crate) fn round(&mut self, cluster: &Cluster) -> Sample {
        let mut pods = ReadyPods {
            replicas: cluster.replicas(),
            requested_per_pod: Some(cluster.config().cores),
            cores_per_pod: Some(cluster.config().usable()),
            ..ReadyPods::default()
        };
        for (pod, reading) in cluster.readings() {
            match pod.phase {
                Phase::Warming { .. } => pods.warming += 1,
                Phase::Draining => {}
                Phase::Ready => {
                    pods.names.insert(pod.name.to_owned());
                    if self.0.read(pod.name, reading).is_err() {
                        self.0.miss(pod.name, cluster.now());
                    }
                }
            }
        }
        self.0.sample(cluster.now(), &pods)
    }
}

/// metrics-server: CPU used by each pod between its own last two readings of it.
#[derive(Debug, Default)]
pub(crate) struct MetricsServer(BTreeMap<String, (Time, f64)>);

impl MetricsServer {
    pub(crate) fn round(&mut self, cluster: &Cluster) -> Vec<PodUsage> {
        let now = cluster.now();
        let mut usages = Vec::new();
        let mut readings = BTreeMap::new();
        for (pod, reading) in cluster.readings() {
            let Some(used) = reading.cpu_seconds else { continue };
            // Of a new process nothing is known that it used before.
            let is_its = |(since, _): &&(Time, f64)| reading.started.is_none_or(|started| started <= *since);
            if let Some((since, before)) = self.0.get(pod.name).filter(is_its) {
                let window = now - *since;
                if let Some(cores) = Quantity::at_least((used - before).max(0.0) / window.as_secs_f64()) {
                    usages.push(usage_of(pod.name, now, window, cores));
                }
            }
            readings.insert(pod.name.to_owned(), (now, used));
        }
        self.0 = readings;
        usages
    }
}

/// The pods as the HPA lists them.
pub(crate) fn list(cluster: &Cluster) -> Vec<Pod> {
    let cores = cluster.config().cores;
    let pod = |view: PodView<'_>| {
        let ready = Ready {
            status: view.ready_since.is_some().into(),
            last_transition: view.ready_since.or(view.restarted).unwrap_or(view.created),
        };
        Pod { deleted: view.phase == Phase::Draining, ..listed(view.name, cores, view.created, ready) }
    };
    cluster.pods().map(pod).collect()
}

/// A running pod that requests `cores`, as the HPA lists it.
pub(crate) fn listed(name: &str, cores: Cores, created: Time, ready: Ready) -> Pod {
    let cpu = Quantity::from_milli((cores.get() * 1000.0).round() as i64);
    Pod {
        name: name.to_owned(),
        phase: PodPhase::Running,
        deleted: false,
        start_time: Some(created),
        ready: Some(ready),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            requests: BTreeMap::from([("cpu".to_owned(), cpu)]),
        }],
        restartable_init_containers: Vec::new(),
        requests: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

/// CPU that a pod used over a window.
pub(crate) fn usage_of(name: &str, timestamp: Time, window: Span, cores: Quantity) -> PodUsage {
    let containers = BTreeMap::from([(CONTAINER.to_owned(), cores)]);
    PodUsage { pod: name.to_owned(), timestamp, window, containers }
}

/// What was measured and can be read only a while later.
#[derive(Debug)]
pub(crate) struct Delayed<T>(VecDeque<(Time, T)>);

impl<T> Delayed<T> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn put(&mut self, readable: Time, value: T) {
        self.0.push_back((readable, value));
    }

    /// The oldest value that can be read by now.
    pub(crate) fn take(&mut self, now: Time) -> Option<T> {
        if self.0.front()?.0 > now {
            return None;
        }
        self.0.pop_front().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterConfig, Request, StartUp};

    const START: Time = Time::from_secs(1_000_000);

    /// A pod that is busy half of the time, and one that is ready after 20 s.
    fn cluster() -> Cluster {
        let start_up = StartUp::Fixed(Span::from_secs(20));
        let mut cluster = Cluster::new(ClusterConfig { start_up, ..ClusterConfig::default() }, START, 1);
        let (cpu, io) = (Span::from_millis(500), Span::ZERO);
        cluster.inject((0..15).map(|i| Request { at: Span::from_secs(i), cpu, io }));
        cluster.set_replicas(2);
        cluster
    }

    #[test]
    fn cpu_is_that_of_the_window_between_two_readings() {
        let (mut cluster, mut server) = (cluster(), MetricsServer::default());
        cluster.advance_to(START + Span::from_secs(5));
        assert_eq!(server.round(&cluster), [], "one reading is no rate");
        cluster.advance_to(START + Span::from_secs(15));
        let usage = server.round(&cluster).remove(0);
        assert_eq!((usage.timestamp, usage.window), (START + Span::from_secs(15), Span::from_secs(10)));
        assert_eq!(usage.containers[CONTAINER], Quantity::from_milli(500));
    }

    #[test]
    fn a_process_that_crashed_takes_its_usage_with_it_and_its_pod_is_not_ready() {
        let start_up = StartUp::Fixed(Span::from_secs(20));
        let config = ClusterConfig { start_up, crashes_per_hour: 60.0, ..ClusterConfig::default() };
        let (mut cluster, mut server) = (Cluster::new(config, START, 1), MetricsServer::default());
        server.round(&cluster);
        while cluster.totals().crashes == 0 {
            cluster.advance_to(cluster.now() + Span::from_secs(1));
        }
        assert_eq!(server.round(&cluster), [], "there is one reading of it");
        let pod = list(&cluster).remove(0);
        assert!(!pod.is_ready());
        assert_eq!(pod.ready.unwrap().last_transition, cluster.pods().next().unwrap().restarted.unwrap());
        assert!(pod.start_time < Some(START));
    }

    #[test]
    fn only_ready_pods_are_scraped_and_all_are_listed() {
        let (mut cluster, mut scraper) = (cluster(), Scraper::new(Span::from_secs(15)));
        cluster.advance_to(START + Span::from_secs(5));
        let sample = scraper.round(&cluster);
        assert_eq!((sample.pods.ready, sample.pods.warming, sample.pods.replicas), (1, 1, 2));
        let pods = list(&cluster);
        assert_eq!(pods.iter().map(Pod::is_ready).collect::<Vec<_>>(), [true, false]);
        assert_eq!(pods[1].start_time, Some(START));
        cluster.set_replicas(1);
        cluster.set_replicas(0);
        assert!(list(&cluster).iter().all(|pod| pod.deleted));
    }

    #[test]
    fn a_sample_tells_what_its_pods_request_and_may_use() {
        let (cores, limit) = (Cores::saturating(0.5), Cores::saturating(2.0));
        let config = ClusterConfig { cores, limit: Some(limit), ..ClusterConfig::default() };
        let (mut cluster, mut scraper) = (Cluster::new(config, START, 1), Scraper::new(Span::from_secs(15)));
        scraper.round(&cluster);
        cluster.advance_to(START + Span::from_secs(15));
        let group = scraper.round(&cluster).groups.remove(0);
        assert_eq!((group.requested_per_pod, group.cores_per_pod), (Some(cores), Some(limit)));
        assert_eq!(list(&cluster)[0].containers[0].requests["cpu"], Quantity::from_milli(500));
    }

    #[test]
    fn what_was_measured_can_be_read_a_while_later() {
        let mut delayed = Delayed::new();
        delayed.put(START + Span::from_secs(1), 'a');
        delayed.put(START + Span::from_secs(2), 'b');
        assert_eq!(delayed.take(START), None);
        assert_eq!([0, 0].map(|_| delayed.take(START + Span::from_secs(2))), [Some('a'), Some('b')]);
    }
}
