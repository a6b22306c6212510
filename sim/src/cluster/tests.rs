//! Claims about pods behind a balancer.

use plimsoll::load::{Counters, ReadyPods};
use plimsoll::units::Cores;
use proptest::prelude::*;

use super::*;

const START: Time = Time::from_secs(1_000_000);

fn ms(n: i64) -> Span {
    Span::from_millis(n)
}

fn secs(n: i64) -> Span {
    Span::from_secs(n)
}

fn config() -> ClusterConfig {
    ClusterConfig { start_up: StartUp::Fixed(secs(30)), ..ClusterConfig::default() }
}

fn request(at: i64, cpu: i64, io: i64) -> Request {
    Request { at: ms(at), cpu: ms(cpu), io: ms(io) }
}

fn names(cluster: &Cluster, phase: fn(Phase) -> bool) -> Vec<String> {
    cluster.pods().filter(|pod| phase(pod.phase)).map(|pod| pod.name.to_owned()).collect()
}

fn is_ready(phase: Phase) -> bool {
    phase == Phase::Ready
}

#[test]
fn a_cluster_can_be_sent_to_another_thread() {
    fn send<T: Send>(_: &T) {}
    send(&Cluster::new(config(), START, 1));
}

#[test]
fn a_request_computes_first_and_waits_after() {
    let mut cluster = Cluster::new(config(), START, 1);
    cluster.inject([request(0, 100, 0), request(0, 100, 50)]);
    let mut done = Vec::new();
    cluster.advance_with(START + secs(1), |c| done.push((c.at - START, c.sojourn, c.intrinsic())));
    // Both share the core; the second one then waits by itself.
    assert_eq!(done, [(ms(200), ms(200), ms(100)), (ms(250), ms(250), ms(150))]);
}

#[test]
fn a_pod_may_use_its_limit_be_it_more_or_less_than_it_requests() {
    for (limit, used) in [(None, 1.0), (Some(2.0), 2.0), (Some(0.5), 0.5)] {
        let limit = limit.and_then(|cores| Cores::new(cores).ok());
        let mut cluster = Cluster::new(ClusterConfig { limit, ..config() }, START, 1);
        cluster.inject((0..3).map(|_| request(0, 5000, 0)));
        cluster.advance_to(START + secs(1));
        assert!((cluster.totals().cpu_seconds - used).abs() < 1e-9, "{limit:?}");
    }
}

#[test]
fn a_new_pod_takes_requests_once_it_is_ready() {
    let mut cluster = Cluster::new(config(), START, 1);
    cluster.set_replicas(2);
    cluster.advance_to(START + secs(29));
    assert_eq!(names(&cluster, is_ready).len(), 1);
    cluster.advance_to(START + secs(30));
    assert_eq!(names(&cluster, is_ready).len(), 2);
    assert_eq!(cluster.pods().nth(1).unwrap().ready_since, Some(START + secs(30)));
}

#[test]
fn the_newest_pods_go_first_and_finish_what_they_have() {
    let mut cluster = Cluster::new(config(), START, 3);
    cluster.inject((0..3).map(|_| request(0, 1000, 0)));
    cluster.advance_to(START + ms(1));
    cluster.set_replicas(1);
    let oldest = names(&cluster, is_ready);
    assert_eq!((oldest.len(), cluster.pods().count()), (1, 3));
    cluster.inject([request(500, 10, 0)]);
    cluster.advance_to(START + secs(2));
    assert_eq!(names(&cluster, |_| true), oldest, "the drained ones are gone");
    let totals = cluster.totals();
    assert_eq!((totals.completed, totals.lost), (4, 0));
    assert!((totals.pod_seconds - (2.0 + 2.0 * 1.0)).abs() < 1e-6, "{totals:?}");
    assert!((totals.cpu_seconds - 3.01).abs() < 1e-6, "{totals:?}");
}

#[test]
fn a_pod_that_is_still_warming_goes_at_once() {
    let mut cluster = Cluster::new(config(), START, 1);
    cluster.set_replicas(3);
    cluster.advance_to(START + secs(10));
    cluster.set_replicas(1);
    assert_eq!(cluster.pods().count(), 1);
    assert_eq!(cluster.totals().pod_seconds, 30.0);
    assert_eq!(cluster.totals().ready_pod_seconds, 10.0);
}

#[test]
fn names_are_never_used_again() {
    let mut cluster = Cluster::new(config(), START, 1);
    cluster.set_replicas(2);
    let first = names(&cluster, |_| true);
    cluster.set_replicas(1);
    cluster.set_replicas(2);
    assert_ne!(names(&cluster, |_| true)[1], first[1]);
}

#[test]
fn without_a_ready_pod_requests_are_lost() {
    let mut cluster = Cluster::new(config(), START, 0);
    cluster.inject([request(0, 10, 0)]);
    cluster.advance_to(START + secs(1));
    assert_eq!((cluster.totals().arrived, cluster.totals().lost), (1, 1));
}

/// Five requests of 100 ms of CPU each at once, for a pod of one core that serves two.
fn beyond(beyond: Beyond, shows: Shows) -> Cluster {
    let config = ClusterConfig { concurrency: Some(2), beyond, shows, ..config() };
    let mut cluster = Cluster::new(config, START, 1);
    cluster.inject((0..5).map(|_| request(0, 100, 0)));
    cluster
}

fn gauges(cluster: &Cluster) -> (Option<f64>, Option<f64>) {
    let (_, reading) = cluster.readings().next().unwrap();
    (reading.in_flight, reading.rejected)
}

/// Requests answered so far, and the sum of their durations in milliseconds, as the pod's histogram shows them.
fn durations(cluster: &Cluster) -> (f64, f64) {
    let (_, reading) = cluster.readings().next().unwrap();
    let histogram = &reading.histograms[0];
    (*histogram.counts().last().unwrap(), (histogram.sum().unwrap() * 1000.0).round())
}

/// How long the clients waited, in milliseconds.
fn sojourns(cluster: &mut Cluster) -> Vec<i64> {
    let mut sojourns = Vec::new();
    cluster.advance_with(START + secs(1), |done| sojourns.push(done.sojourn.as_millis()));
    sojourns
}

#[test]
fn a_pod_at_its_limit_answers_429_after_a_moment_and_at_no_cost() {
    let mut cluster = beyond(Beyond::Reject { after: ms(2) }, Shows::default());
    cluster.advance_to(START + ms(1));
    assert_eq!((gauges(&cluster), cluster.totals().in_flight), ((Some(5.0), Some(0.0)), 5));
    cluster.advance_to(START + ms(2));
    assert_eq!((gauges(&cluster), cluster.totals().rejected), ((Some(2.0), Some(3.0)), 3));
    assert_eq!(sojourns(&mut cluster), [200; 2], "those inside do not notice");
    assert_eq!(durations(&cluster), (2.0, 400.0));
}

#[test]
fn a_queue_in_the_pod_shows() {
    let mut cluster = beyond(Beyond::Queue, Shows::default());
    cluster.advance_to(START + ms(1));
    assert_eq!(gauges(&cluster), (Some(5.0), Some(0.0)));
    // In pairs, in the order of their arrival; the last one alone.
    assert_eq!(sojourns(&mut cluster), [200, 200, 400, 400, 500]);
    assert_eq!(durations(&cluster), (5.0, 1700.0));
}

#[test]
fn a_backlog_shows_to_the_clients_alone() {
    let mut cluster = beyond(Beyond::Backlog { size: None }, Shows::default());
    cluster.advance_to(START + ms(1));
    assert_eq!((gauges(&cluster), cluster.totals().in_flight), ((Some(2.0), Some(0.0)), 5));
    assert_eq!(cluster.overdue(|_| Span::ZERO), 5);
    assert_eq!(sojourns(&mut cluster), [200, 200, 400, 400, 500]);
    assert_eq!(durations(&cluster), (5.0, 900.0), "each since it was accepted");
}

#[test]
fn a_full_backlog_refuses_connections() {
    let mut cluster = beyond(Beyond::Backlog { size: Some(1) }, Shows::default());
    assert_eq!(sojourns(&mut cluster), [200, 200, 300]);
    let totals = cluster.totals();
    assert_eq!((totals.completed, totals.rejected, totals.lost), (3, 0, 2));
}

#[test]
fn what_a_page_does_not_show_is_not_known() {
    for (in_flight, rejected) in [(false, true), (true, false)] {
        let mut cluster = beyond(Beyond::default(), Shows { in_flight, rejected });
        cluster.advance_to(START + ms(2));
        assert_eq!(gauges(&cluster), (in_flight.then_some(2.0), rejected.then_some(3.0)));
    }
}

#[test]
fn least_loaded_avoids_the_busy_pod_and_round_robin_does_not() {
    let both_long = |balancer| {
        let mut cluster = Cluster::new(ClusterConfig { balancer, ..config() }, START, 2);
        cluster.inject([request(0, 1000, 0), request(1, 1, 0), request(10, 1000, 0)]);
        cluster.advance_to(START + ms(1500));
        cluster.totals().completed == 3
    };
    assert!(both_long(Balancer::LeastLoaded));
    assert!(!both_long(Balancer::RoundRobin), "the two long ones share a pod");
}

/// Requests in each of 20 pods after 400 that end never.
fn spread(balancer: Balancer, seed: u64) -> Vec<usize> {
    let mut cluster = Cluster::new(ClusterConfig { balancer, seed, ..config() }, START, 20);
    cluster.inject((0..400).map(|_| request(0, 1_000_000, 0)));
    cluster.advance_to(START + ms(1));
    cluster.readings().map(|(_, reading)| reading.in_flight.unwrap() as usize).collect()
}

#[test]
fn chance_fills_pods_unevenly_and_a_second_choice_evens_out() {
    for seed in 1..=5 {
        let (one, two) = (spread(Balancer::Random, seed), spread(Balancer::PowerOfTwo, seed));
        // Binomial with mean 20 and standard deviation 4.4; with two choices the fullest has some 2 more than the mean.
        assert!(one.iter().all(|n| (3..=42).contains(n)) && one.iter().max() > Some(&25), "{one:?}");
        assert!(two.iter().max() <= Some(&23) && two.iter().sum::<usize>() == 400, "{two:?}");
    }
}

#[test]
fn chance_is_the_seeds() {
    for balancer in [Balancer::Random, Balancer::PowerOfTwo] {
        assert_eq!(spread(balancer, 1), spread(balancer, 1));
        assert_ne!(spread(balancer, 1), spread(balancer, 2));
    }
}

#[test]
fn chance_finds_no_pod_where_there_is_none() {
    for balancer in [Balancer::Random, Balancer::PowerOfTwo] {
        let mut cluster = Cluster::new(ClusterConfig { balancer, ..config() }, START, 0);
        cluster.inject([request(0, 10, 0)]);
        cluster.advance_to(START + secs(1));
        assert_eq!(cluster.totals().lost, 1);
    }
}

#[test]
fn a_late_injection_arrives_at_once() {
    let mut cluster = Cluster::new(config(), START, 1);
    cluster.advance_to(START + secs(5));
    cluster.inject([request(0, 100, 0)]);
    let mut ended = None;
    cluster.advance_with(START + secs(6), |c| ended = Some((c.at - START, c.sojourn)));
    assert_eq!(ended, Some((ms(5100), ms(100))));
}

#[test]
fn a_pod_that_does_not_exist_has_no_reading() {
    assert_eq!(Cluster::new(config(), START, 1).reading("pod-99999"), None);
}

/// Three pods that crash every 30 s and take as long to start, and ten requests a second.
fn crashing(seed: u64) -> Cluster {
    let config = ClusterConfig { crashes_per_hour: 120.0, seed, ..config() };
    let mut cluster = Cluster::new(config, START, 3);
    cluster.inject((0..36_000).map(|i| request(i * 100, 10, 1_000)));
    cluster
}

#[test]
fn a_crash_loses_what_is_inside_and_the_pod_starts_anew() {
    let mut cluster = crashing(1);
    while cluster.totals().crashes == 0 {
        assert_eq!(cluster.totals().lost, 0);
        cluster.advance_to(cluster.now() + ms(100));
    }
    // Each request is there for a second.
    assert!((1..=5).contains(&cluster.totals().lost), "{:?}", cluster.totals());
    let crashed = cluster.pods().find(|pod| pod.restarted.is_some()).unwrap();
    let restarted = crashed.restarted.unwrap();
    assert!(restarted > cluster.now() - ms(100));
    assert_eq!((crashed.phase, crashed.ready_since), (Phase::Warming { until: restarted + secs(30) }, None));
    let (pod, created) = (crashed.name.to_owned(), crashed.created);
    let reading = cluster.reading(&pod).unwrap();
    assert_eq!((reading.started, reading.cpu_seconds), (Some(restarted), Some(0.0)));
    assert_eq!(reading.histograms[0].counts().last(), Some(&0.0));
    cluster.advance_to(restarted + secs(30));
    let again = cluster.pods().find(|p| p.name == pod).unwrap();
    assert_eq!((again.phase, again.created), (Phase::Ready, created));
}

#[test]
fn pods_crash_as_often_as_they_should_and_no_request_is_lost_sight_of() {
    let mut cluster = crashing(2);
    cluster.advance_to(START + secs(3600));
    let t = cluster.totals();
    // Within four standard deviations of a Poisson number.
    let expected = t.ready_pod_seconds / 30.0;
    assert!((t.crashes as f64 - expected).abs() < 4.0 * expected.sqrt(), "{t:?}");
    assert!((t.pod_seconds - 3.0 * 3600.0).abs() < 1e-6, "{t:?}");
    assert_eq!((t.arrived, t.completed + t.in_flight + t.lost), (36_000, 36_000));
    // Each that was answered took its CPU; those that were lost took at most theirs.
    let used = t.cpu_seconds / 0.01;
    assert!((t.completed as f64..=(t.arrived as f64)).contains(&used), "{t:?}");
}

#[test]
fn crashes_are_the_seeds() {
    let ended = |seed| {
        let mut cluster = crashing(seed);
        cluster.advance_to(START + secs(600));
        cluster.totals()
    };
    assert_eq!(ended(1), ended(1));
    assert_ne!(ended(1), ended(2));
}

/// The rates that the core makes of the pods' counters are those of what arrived.
#[test]
fn counters_tell_the_rates_that_arrived() {
    let cores = Cores::new(4.0).unwrap();
    let mut cluster = Cluster::new(ClusterConfig { cores, ..config() }, START, 3);
    let mut counters = Counters::new(secs(10));
    cluster.inject((0..60_000).map(|i| request(i, 5, if i % 10 == 0 { 200 } else { 20 })));
    let mut sample = None;
    for step in 1..=6 {
        cluster.advance_to(START + secs(10 * step));
        let names: std::collections::BTreeSet<String> = names(&cluster, is_ready).into_iter().collect();
        for name in &names {
            counters.read(name, cluster.reading(name).unwrap()).unwrap();
        }
        sample =
            Some(counters.sample(cluster.now(), &ReadyPods { names, replicas: 3, ..ReadyPods::default() }));
    }
    let groups = sample.unwrap().groups;
    let sum = |rate: &dyn Fn(&plimsoll::load::Group) -> f64| groups.iter().map(rate).sum::<f64>();
    let total = sum(&|g| g.histograms[0].total());
    // What begins before the window and ends in it is seen in it: at most a request or two each pod, here.
    assert!((total - 1000.0).abs() < 1.0, "{total}");
    assert!((sum(&|g| g.cpu.unwrap().get()) - 5.0).abs() < 0.01);
    assert!((sum(&|g| g.histograms[0].rates()[5].get()) - 100.0).abs() < 1.0, "a tenth takes 0.1 to 0.25 s");
    assert!((sum(&|g| g.in_flight.unwrap().change)).abs() <= 3.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done to it, every request is somewhere, and no work is done twice.
    #[test]
    fn no_request_is_lost_sight_of(
        requests in proptest::collection::vec((0i64..20_000, 0i64..900, 0i64..900), 0..200),
        steps in proptest::collection::vec((0i64..5_000, 0u32..6), 0..12),
        concurrency in proptest::option::of(1u32..4),
        beyond in proptest::sample::select(vec!["reject:2ms", "reject:3s", "queue", "backlog", "backlog:1"]),
        balancer in proptest::sample::select(vec![
            Balancer::RoundRobin,
            Balancer::LeastLoaded,
            Balancer::Random,
            Balancer::PowerOfTwo,
        ]),
    ) {
        let start_up = StartUp::Fixed(secs(2));
        let beyond = beyond.parse().unwrap();
        let config = ClusterConfig { concurrency, beyond, balancer, start_up, ..ClusterConfig::default() };
        let mut cluster = Cluster::new(config, START, 2);
        let mut requests = requests;
        requests.sort();
        cluster.inject(requests.iter().map(|(at, cpu, io)| request(*at, *cpu, *io)));
        let (mut completed, mut cpu) = (0u64, 0.0);
        let mut now = START;
        for (wait, replicas) in steps.iter().copied().chain([(1_000_000, 1)]) {
            now += ms(wait);
            cluster.advance_with(now, |c| {
                completed += 1;
                cpu += c.cpu.as_secs_f64();
                assert!(c.sojourn >= c.intrinsic(), "{c:?}");
            });
            let t = cluster.totals();
            prop_assert_eq!(t.arrived, t.completed + t.in_flight + t.rejected + t.lost);
            prop_assert_eq!(t.completed, completed);
            cluster.set_replicas(replicas);
        }
        let t = cluster.totals();
        prop_assert_eq!((t.arrived, t.in_flight), (requests.len() as u64, 0));
        prop_assert!((t.cpu_seconds - cpu).abs() < 1e-5, "{} {}", t.cpu_seconds, cpu);
        prop_assert!(t.ready_pod_seconds <= t.pod_seconds + 1e-9);
    }
}
