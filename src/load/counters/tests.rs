//! Counters whose rates are known.

use super::*;
use crate::load::{HistogramCounts, InFlight};
use crate::units::Rate;

const INTERVAL: Span = Span::from_secs(10);

fn at(seconds: i64) -> Time {
    Time::from_secs(1_000_000 + seconds)
}

/// A page with one histogram: `fast` requests up to 0.1 s, `slow` ones beyond.
fn page(seconds: i64, fast: f64, slow: f64) -> Reading {
    let histogram = HistogramCounts::new(Labels::new(), vec![0.1], vec![fast, fast + slow], None).unwrap();
    Reading { at: at(seconds), histograms: vec![histogram], ..Reading::default() }
}

fn ready(names: &[&str]) -> ReadyPods {
    let names: BTreeSet<String> = names.iter().map(|n| (*n).to_owned()).collect();
    ReadyPods { replicas: names.len() as u32, names, ..ReadyPods::default() }
}

fn rates(group: &Group) -> Vec<f64> {
    group.histograms[0].rates().iter().map(|r| r.get()).collect()
}

#[test]
fn increases_are_divided_by_the_pods_own_two_readings() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 100.0, 5.0)).unwrap();
    counters.read("b", page(3, 100.0, 5.0)).unwrap();
    counters.read("a", page(10, 200.0, 15.0)).unwrap();
    counters.read("b", page(23, 200.0, 15.0)).unwrap();
    let sample = counters.sample(at(24), &ready(&["a", "b"]));
    assert_eq!(rates(&sample.groups[0]), [10.0, 1.0]);
    assert_eq!(rates(&sample.groups[1]), [5.0, 0.5]);
}

#[test]
fn after_a_reset_the_new_value_is_the_increase() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 1000.0, 0.0)).unwrap();
    counters.read("a", page(10, 20.0, 10.0)).unwrap();
    assert_eq!(rates(&counters.sample(at(10), &ready(&["a"])).groups[0]), [2.0, 1.0]);
}

#[test]
fn a_series_that_appears_counts_from_zero() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", Reading { at: at(0), ..Reading::default() }).unwrap();
    counters.read("a", page(10, 20.0, 0.0)).unwrap();
    assert_eq!(rates(&counters.sample(at(10), &ready(&["a"])).groups[0]), [2.0, 0.0]);
}

#[test]
fn a_young_pod_counts_since_its_start_and_an_old_one_not_before_its_second_reading() {
    let mut counters = Counters::new(INTERVAL);
    let started = |seconds| Some(at(seconds));
    counters.read("young", Reading { started: started(-5), ..page(0, 50.0, 0.0) }).unwrap();
    counters.read("youth", Reading { started: started(-20), ..page(0, 50.0, 0.0) }).unwrap();
    counters.read("old", Reading { started: started(-500), ..page(0, 5e6, 0.0) }).unwrap();
    counters.read("unknown", page(0, 5e6, 0.0)).unwrap();
    let sample = counters.sample(at(1), &ready(&["old", "unknown", "young", "youth"]));
    assert_eq!(sample.groups.len(), 2);
    assert_eq!(rates(&sample.groups[0]), [5.0, 0.0]);
    assert_eq!(rates(&sample.groups[1]), [2.5, 0.0]);
    assert_eq!(sample.pods, Pods { replicas: 4, ready: 4, warming: 0, silent: 0, updating: false });
}

#[test]
fn a_pod_that_falls_silent_keeps_what_it_told_and_is_marked() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 0.0, 0.0)).unwrap();
    counters.read("a", page(10, 70.0, 0.0)).unwrap();
    counters.miss("a", at(20));
    let sample = counters.sample(at(20), &ready(&["a"]));
    assert!(sample.groups[0].silent);
    assert_eq!(rates(&sample.groups[0]), [7.0, 0.0]);
    assert_eq!(sample.pods.silent, 1);
    // Its next rate is taken over its own two readings, however far apart.
    counters.read("a", page(30, 110.0, 0.0)).unwrap();
    assert_eq!(rates(&counters.sample(at(30), &ready(&["a"])).groups[0]), [2.0, 0.0]);
}

#[test]
fn a_pod_that_never_answers_is_silent_only_after_its_grace() {
    let mut counters = Counters::new(INTERVAL);
    counters.miss("a", at(0));
    assert_eq!(counters.sample(at(20), &ready(&["a"])).pods.silent, 0);
    assert_eq!(counters.sample(at(21), &ready(&["a"])).pods.silent, 1);
    assert!(counters.sample(at(21), &ready(&["a"])).groups.is_empty());
}

#[test]
fn a_vanished_pod_keeps_nothing() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 0.0, 0.0)).unwrap();
    counters.read("a", page(10, 70.0, 0.0)).unwrap();
    assert_eq!(counters.sample(at(11), &ready(&[])).groups, []);
    counters.read("a", page(20, 140.0, 0.0)).unwrap();
    assert_eq!(counters.sample(at(20), &ready(&["a"])).groups, []);
}

#[test]
fn values_that_no_pod_can_have_counted_are_refused_and_the_pod_counts_as_silent() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 1.0, 0.0)).unwrap();
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        let reading = Reading { cpu_seconds: Some(bad), ..page(10, 2.0, 0.0) };
        assert!(matches!(counters.read("a", reading), Err(ReadingError::Value { .. })));
    }
    assert_eq!(counters.sample(at(10), &ready(&["a"])).pods.silent, 1);
    for counts in [vec![2.0, 1.0], vec![-1.0, 0.0], vec![f64::NAN, 1.0], vec![1.0]] {
        assert!(HistogramCounts::new(Labels::new(), vec![0.1], counts, None).is_err());
    }
    let old = counters.read("a", page(0, 1.0, 0.0));
    assert_eq!(old, Err(ReadingError::NotNewer { last: at(0), given: at(0) }));
}

#[test]
fn a_histogram_that_vanishes_is_no_load_of_zero() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 0.0, 0.0)).unwrap();
    counters.read("a", page(10, 70.0, 0.0)).unwrap();
    let bare = Reading { at: at(20), ..Reading::default() };
    assert_eq!(counters.read("a", bare), Err(ReadingError::Vanished));
    let sample = counters.sample(at(20), &ready(&["a"]));
    assert!(sample.groups[0].silent);
    assert_eq!(rates(&sample.groups[0]), [7.0, 0.0]);
}

#[test]
fn cpu_rejections_and_in_flight_are_taken_over_the_same_window() {
    let mut counters = Counters::new(INTERVAL);
    let with = |seconds, cpu, in_flight, rejected| Reading {
        cpu_seconds: Some(cpu),
        in_flight: Some(in_flight),
        rejected: Some(rejected),
        ..page(seconds, 0.0, 0.0)
    };
    counters.read("a", with(0, 100.0, 9.0, 1000.0)).unwrap();
    counters.read("a", with(10, 105.0, 4.0, 1020.0)).unwrap();
    let sample = counters.sample(at(10), &ready(&["a"]));
    let group = &sample.groups[0];
    assert_eq!(group.cpu, Cores::new(0.5).ok());
    assert_eq!(group.rejected, Rate::new(2.0).ok());
    assert_eq!(group.in_flight, Some(InFlight { now: 4.0, change: -5.0 }));
}

#[test]
fn every_group_says_how_much_cpu_its_pod_has_a_silent_one_too() {
    let mut counters = Counters::new(INTERVAL);
    for pod in ["a", "b"] {
        counters.read(pod, page(0, 0.0, 0.0)).unwrap();
        counters.read(pod, page(10, 70.0, 0.0)).unwrap();
    }
    counters.miss("b", at(20));
    let (requested_per_pod, cores_per_pod) = (Cores::new(0.5).ok(), Cores::new(2.0).ok());
    let pods = ReadyPods { requested_per_pod, cores_per_pod, ..ready(&["a", "b"]) };
    let groups = counters.sample(at(20), &pods).groups;
    assert_eq!((groups.len(), groups[1].silent), (2, true));
    for group in groups {
        assert_eq!((group.requested_per_pod, group.cores_per_pod), (requested_per_pod, cores_per_pod));
    }
    let unknown = &counters.sample(at(20), &ready(&["a", "b"])).groups[0];
    assert_eq!((unknown.requested_per_pod, unknown.cores_per_pod), (None, None));
}

#[test]
fn cpu_that_another_tells_replaces_the_pages_own() {
    let mut counters = Counters::new(INTERVAL);
    for pod in ["a", "b"] {
        let with = |seconds, cpu| Reading { cpu_seconds: Some(cpu), ..page(seconds, 0.0, 0.0) };
        counters.read(pod, with(0, 100.0)).unwrap();
        counters.read(pod, with(10, 105.0)).unwrap();
    }
    let spent = Spent { cores: Cores::new(0.7).unwrap(), from: at(0), until: at(10) };
    let told = BTreeMap::from([("a".to_owned(), spent)]);
    let sample = counters.sample_with_cpu(at(10), &ready(&["a", "b"]), &told);
    assert!(sample.groups.iter().all(|group| group.cpu.is_none()), "{sample:?}");
}

#[test]
fn cpu_that_is_told_later_comes_with_the_requests_that_it_was_used_for() {
    let mut counters = Counters::new(INTERVAL);
    let pods = ready(&["a"]);
    let spent = |cores, from, until| {
        let spent = Spent { cores: Cores::new(cores).unwrap(), from: at(from), until: at(until) };
        BTreeMap::from([("a".to_owned(), spent)])
    };
    counters.read("a", page(0, 0.0, 0.0)).unwrap();
    let first = counters.sample_with_cpu(at(0), &pods, &spent(0.1, -60, -20));
    assert!(first.groups.iter().all(|group| group.evidence.is_none()), "nothing is known of that time");
    // Ten requests a second for a minute, then thirty, of which ten are slow.
    for i in 1..=6 {
        counters.read("a", page(10 * i, 100.0 * i as f64, 0.0)).unwrap();
    }
    counters.read("a", page(70, 800.0, 100.0)).unwrap();
    let evidence =
        |sample: &Sample| sample.groups[0].evidence.clone().map(|of| (of.until, rates(&of.of), of.of.cpu));
    let sample = counters.sample_with_cpu(at(70), &pods, &spent(0.2, 20, 60));
    assert_eq!(rates(&sample.groups[0]), [20.0, 10.0], "the load is that of now");
    assert_eq!(evidence(&sample), Some((at(60), vec![10.0, 0.0], Cores::new(0.2).ok())));
    assert_eq!((sample.groups[0].cpu, sample.groups[0].latest_cpu()), (None, Cores::new(0.2).ok()));
    // Half of it before, half of it after.
    let half = counters.sample_with_cpu(at(70), &pods, &spent(0.4, 50, 70));
    assert_eq!(evidence(&half), Some((at(70), vec![15.0, 5.0], Cores::new(0.4).ok())));
    let ahead = counters.sample_with_cpu(at(70), &pods, &spent(0.4, 50, 90));
    assert_eq!(evidence(&ahead), None, "of the time to come no request is known");
}

fn routes(seconds: i64, counts: &[(&str, f64)]) -> Reading {
    let histogram = |(route, count): &(&str, f64)| {
        let labels = Labels::from([("route".to_owned(), (*route).to_owned())]);
        HistogramCounts::new(labels, vec![0.1], vec![*count, *count], None).unwrap()
    };
    Reading { at: at(seconds), histograms: counts.iter().map(histogram).collect(), ..Reading::default() }
}

fn total(group: &Group) -> f64 {
    group.histograms.iter().map(|h| h.total()).sum()
}

#[test]
fn a_page_that_lacks_a_route_is_refused_and_later_taken_without_it() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", routes(0, &[("/a", 1e6), ("/b", 1e6)])).unwrap();
    counters.read("a", routes(10, &[("/a", 1e6 + 50.0), ("/b", 1e6 + 50.0)])).unwrap();
    for round in [20, 30] {
        assert_eq!(counters.read("a", routes(round, &[("/a", 1e6 + 100.0)])), Err(ReadingError::Vanished));
    }
    counters.read("a", routes(40, &[("/a", 1e6 + 200.0)])).unwrap();
    assert_eq!(total(&counters.sample(at(40), &ready(&["a"])).groups[0]), 5.0);
    // When it returns, only what is new of it counts.
    counters.read("a", routes(50, &[("/a", 1e6 + 250.0), ("/b", 1e6 + 80.0)])).unwrap();
    assert_eq!(total(&counters.sample(at(50), &ready(&["a"])).groups[0]), 8.0);
}

#[test]
fn a_route_that_nobody_ever_asked_for_may_go() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", routes(0, &[("", 0.0)])).unwrap();
    counters.read("a", routes(10, &[("/a", 70.0)])).unwrap();
    assert_eq!(total(&counters.sample(at(10), &ready(&["a"])).groups[0]), 7.0);
}

#[test]
fn a_bucket_that_appears_does_not_count_the_whole_past() {
    let page = |seconds, le: &[f64], counts: &[f64]| {
        let histogram = HistogramCounts::new(Labels::new(), le.to_vec(), counts.to_vec(), None).unwrap();
        Reading { at: at(seconds), histograms: vec![histogram], ..Reading::default() }
    };
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, &[0.1], &[1e6, 1e6])).unwrap();
    counters.read("a", page(10, &[0.1, 0.5], &[1e6 + 10.0, 1e6 + 11.0, 1e6 + 11.0])).unwrap();
    let sample = counters.sample(at(10), &ready(&["a"]));
    assert_eq!(rates(&sample.groups[0]), [1.0, 0.1, 0.0]);
    // What lay at a bound that was not shown is not known where requests lay around it.
    counters.read("b", page(0, &[0.1], &[5.0, 1e6])).unwrap();
    counters.read("b", page(10, &[0.1, 0.5], &[15.0, 100.0, 1e6 + 20.0])).unwrap();
    let sample = counters.sample(at(10), &ready(&["b"]));
    assert_eq!(sample.groups[0].histograms[0].le(), [0.1]);
    assert_eq!(rates(&sample.groups[0]), [1.0, 1.0]);
}

#[test]
fn a_new_process_counts_since_its_start_however_long_the_pod_was_silent() {
    let mut counters = Counters::new(INTERVAL);
    let started = |seconds, reading| Reading { started: Some(at(seconds)), ..reading };
    counters.read("a", started(-900, page(0, 50.0, 0.0))).unwrap();
    counters.read("a", started(-900, page(10, 150.0, 0.0))).unwrap();
    counters.miss("a", at(20));
    // Ten minutes later it has counted more than the old process had, in 20 s.
    counters.read("a", started(590, page(610, 2000.0, 0.0))).unwrap();
    assert_eq!(rates(&counters.sample(at(610), &ready(&["a"])).groups[0]), [100.0, 0.0]);
}

#[test]
fn the_queue_of_a_process_that_died_did_not_drain() {
    let mut counters = Counters::new(INTERVAL);
    let with = |seconds, fast, in_flight| Reading { in_flight: Some(in_flight), ..page(seconds, fast, 0.0) };
    counters.read("a", with(0, 1000.0, 300.0)).unwrap();
    counters.read("a", with(10, 70.0, 5.0)).unwrap();
    let sample = counters.sample(at(10), &ready(&["a"]));
    assert_eq!(sample.groups[0].in_flight, Some(InFlight { now: 5.0, change: 5.0 }));
}

#[test]
fn the_first_rejections_count() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 0.0, 0.0)).unwrap();
    counters.read("a", Reading { rejected: Some(40.0), ..page(10, 0.0, 0.0) }).unwrap();
    assert_eq!(counters.sample(at(10), &ready(&["a"])).groups[0].rejected, Rate::new(4.0).ok());
}

#[test]
fn a_pod_that_was_read_once_and_is_silent_is_not_forgotten() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 1e6, 0.0)).unwrap();
    counters.miss("a", at(10));
    let sample = counters.sample(at(10), &ready(&["a"]));
    assert!(sample.groups[0].silent);
    assert_eq!((rates(&sample.groups[0]), sample.pods.silent), (vec![0.0, 0.0], 1));
}

#[test]
fn a_pod_that_answers_without_the_histogram_is_not_silent() {
    let mut counters = Counters::new(INTERVAL);
    for round in [0, 10, 20, 30] {
        counters.read("a", Reading { at: at(round), ..Reading::default() }).unwrap();
        let sample = counters.sample(at(round), &ready(&["a"]));
        assert_eq!(sample.pods.silent, 0, "{round}");
        assert!(sample.groups.iter().all(|group| !group.tells()));
    }
}

/// As a library does that drops label sets which were idle for long.
#[test]
fn a_process_that_drops_all_its_routes_is_idle_after_a_while() {
    let mut counters = Counters::new(INTERVAL);
    let started = |reading| Reading { started: Some(at(-900)), ..reading };
    counters.read("a", started(routes(0, &[("/a", 50.0)]))).unwrap();
    for round in [10, 20] {
        assert_eq!(counters.read("a", started(routes(round, &[]))), Err(ReadingError::Vanished));
    }
    counters.read("a", started(routes(30, &[]))).unwrap();
    let sample = counters.sample(at(30), &ready(&["a"]));
    assert!(sample.groups[0].tells());
    assert_eq!((total(&sample.groups[0]), sample.pods.silent), (0.0, 0));
}

#[test]
fn one_route_that_is_gone_excuses_no_other() {
    let mut counters = Counters::new(INTERVAL);
    let page = |round: i64, names: &[&'static str]| {
        let counts: Vec<(&str, f64)> = names.iter().map(|name| (*name, round as f64)).collect();
        routes(round * 10, &counts)
    };
    for round in [1, 2] {
        counters.read("a", page(round, &["/a", "/b"])).unwrap();
    }
    for round in [3, 4] {
        counters.read("a", page(round, &["/a"])).unwrap_err();
    }
    counters.read("a", page(5, &["/a"])).unwrap();
    assert_eq!(counters.read("a", page(6, &["/c"])), Err(ReadingError::Vanished));
    // It is excused only as long as it is gone.
    counters.read("a", page(7, &["/a", "/b"])).unwrap();
    assert_eq!(counters.read("a", page(8, &["/a"])), Err(ReadingError::Vanished));
}

/// As libraries do that drop label sets which were idle for long: one by one, for ever.
#[test]
fn routes_that_were_idle_may_go_at_any_time() {
    let mut counters = Counters::new(INTERVAL);
    for round in 0..40i64 {
        let mut counts = vec![("/busy", round as f64 * 50.0)];
        let names = ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"];
        let first = usize::try_from(round - 2).unwrap_or(0);
        counts.extend((first..first + 4).map(|i| (names[i % 8], 1.0)));
        counters.read("a", routes(round * 10, &counts)).unwrap();
    }
}

#[test]
fn a_nodes_clock_that_steps_makes_no_new_process() {
    let mut counters = Counters::new(INTERVAL);
    let started = |seconds, reading| Reading { started: Some(at(seconds)), ..reading };
    counters.read("a", started(-864_000, page(0, 5e6, 0.0))).unwrap();
    counters.read("a", started(-864_005, page(10, 5e6 + 100.0, 0.0))).unwrap();
    assert_eq!(rates(&counters.sample(at(10), &ready(&["a"])).groups[0]), [10.0, 0.0]);
}

#[test]
fn a_reader_that_slept_does_not_count_hours_as_seconds() {
    let mut counters = Counters::new(INTERVAL);
    let slept =
        |seconds, ahead, fast| Reading { wall_ahead: Span::from_secs(ahead), ..page(seconds, fast, 0.0) };
    counters.read("a", slept(0, 0, 0.0)).unwrap();
    counters.read("a", slept(10, 0, 1000.0)).unwrap();
    assert_eq!(counters.read("a", slept(20, 3600, 361_000.0)), Err(ReadingError::ClockStepped));
    assert!(counters.sample(at(20), &ready(&["a"])).groups[0].silent);
    counters.read("a", slept(30, 3600, 362_000.0)).unwrap();
    assert_eq!(rates(&counters.sample(at(30), &ready(&["a"])).groups[0]), [100.0, 0.0]);
}

#[test]
fn rejections_that_come_and_go_do_not_count_their_past() {
    let mut counters = Counters::new(INTERVAL);
    let with = |seconds, rejected| Reading { rejected, ..page(seconds, 1.0, 0.0) };
    counters.read("a", with(0, Some(1e6))).unwrap();
    counters.read("a", with(10, None)).unwrap();
    counters.read("a", with(20, Some(1e6 + 5.0))).unwrap();
    assert_eq!(counters.sample(at(20), &ready(&["a"])).groups[0].rejected, Rate::new(0.5).ok());
    // A series of the sum is gone: what it tells is not known.
    counters.read("a", with(30, Some(1e6 - 50.0))).unwrap();
    assert_eq!(counters.sample(at(30), &ready(&["a"])).groups[0].rejected, None);
}

/// A pod that was killed for want of memory under overload has counted little in the second since.
#[test]
fn a_restarted_pod_counts_at_what_it_told_before_if_that_is_more() {
    let mut counters = Counters::new(INTERVAL);
    let started = |seconds, reading| Reading { started: Some(at(seconds)), ..reading };
    counters.read("a", started(-900, page(0, 0.0, 0.0))).unwrap();
    counters.read("a", started(-900, page(10, 1000.0, 0.0))).unwrap();
    counters.read("a", started(19, page(20, 100.0, 0.0))).unwrap();
    assert_eq!(rates(&counters.sample(at(20), &ready(&["a"])).groups[0]), [100.0, 0.0]);
    counters.read("a", started(19, page(30, 300.0, 0.0))).unwrap();
    assert_eq!(rates(&counters.sample(at(30), &ready(&["a"])).groups[0]), [20.0, 0.0]);
}

#[test]
fn one_route_that_is_made_again_is_no_new_process() {
    let mut counters = Counters::new(INTERVAL);
    let with = |seconds, a, b| Reading { rejected: Some(1e6), ..routes(seconds, &[("/a", a), ("/b", b)]) };
    counters.read("a", with(0, 1e6, 500.0)).unwrap();
    counters.read("a", with(10, 1e6 + 100.0, 3.0)).unwrap();
    let sample = counters.sample(at(10), &ready(&["a"]));
    assert_eq!(total(&sample.groups[0]), 10.3);
    assert_eq!(sample.groups[0].rejected, Rate::new(0.0).ok());
}

#[test]
fn requests_that_hang_are_not_forgotten_with_the_routes() {
    let mut counters = Counters::new(INTERVAL);
    let hanging = |seconds, reading| Reading {
        started: Some(at(-900)),
        in_flight: Some(300.0),
        rejected: Some(seconds as f64 * 9.0),
        ..reading
    };
    counters.read("a", hanging(0, routes(0, &[("/a", 50.0)]))).unwrap();
    for round in [10, 20] {
        counters.read("a", hanging(round, routes(round, &[]))).unwrap_err();
    }
    counters.read("a", hanging(30, routes(30, &[]))).unwrap();
    let group = &counters.sample(at(30), &ready(&["a"])).groups[0];
    assert_eq!(group.in_flight, Some(InFlight { now: 300.0, change: 0.0 }));
    assert_eq!(group.rejected, Rate::new(9.0).ok());
}

#[test]
fn a_gauge_that_appears_tells_how_many_are_inside_and_nothing_of_their_growth() {
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, 0.0, 0.0)).unwrap();
    counters.read("a", Reading { in_flight: Some(300.0), ..page(10, 0.0, 0.0) }).unwrap();
    let sample = counters.sample(at(10), &ready(&["a"]));
    assert_eq!(sample.groups[0].in_flight, Some(InFlight { now: 300.0, change: 0.0 }));
}

#[test]
fn a_sum_that_drops_in_a_process_that_goes_on_is_a_clock() {
    let mut counters = Counters::new(INTERVAL);
    let page = |seconds, count, sum| {
        let histogram = HistogramCounts::new(Labels::new(), vec![], vec![count], Some(sum)).unwrap();
        Reading {
            at: at(seconds),
            started: Some(at(-900)),
            histograms: vec![histogram],
            ..Reading::default()
        }
    };
    counters.read("a", page(0, 1e6, 50_000.0)).unwrap();
    counters.read("a", page(10, 1e6 + 100.0, 49_600.0)).unwrap();
    assert_eq!(rates(&counters.sample(at(10), &ready(&["a"])).groups[0]), [10.0]);
}

#[test]
fn a_sum_that_drops_is_a_reset_and_buckets_that_were_empty_are_known() {
    let page = |seconds, le: &[f64], counts: &[f64], sum| {
        let histogram = HistogramCounts::new(Labels::new(), le.to_vec(), counts.to_vec(), sum).unwrap();
        Reading { at: at(seconds), histograms: vec![histogram], ..Reading::default() }
    };
    let mut counters = Counters::new(INTERVAL);
    counters.read("a", page(0, &[0.1], &[1000.0, 1000.0], Some(80.0))).unwrap();
    counters.read("a", page(10, &[0.1], &[1100.0, 1100.0], Some(9.0))).unwrap();
    assert_eq!(rates(&counters.sample(at(10), &ready(&["a"])).groups[0]), [110.0, 0.0]);
    counters.read("b", page(0, &[], &[0.0], None)).unwrap();
    counters.read("b", page(10, &[0.5, 5.0], &[0.0, 1000.0, 1000.0], None)).unwrap();
    assert_eq!(rates(&counters.sample(at(10), &ready(&["b"])).groups[0]), [0.0, 100.0, 0.0]);
}

/// One that was killed has not answered a request yet: what it did before is not nothing, and what it does now is not known.
#[test]
fn a_restarted_pod_without_a_histogram_counts_at_what_it_told_before_and_then_has_not_told() {
    let mut counters = Counters::new(INTERVAL);
    let started = |seconds, reading| Reading { started: Some(at(seconds)), ..reading };
    counters.read("a", started(-900, page(0, 0.0, 0.0))).unwrap();
    counters.read("a", started(-900, page(10, 1000.0, 0.0))).unwrap();
    let bare = |seconds| started(19, Reading { at: at(seconds), ..Reading::default() });
    counters.read("a", bare(20)).unwrap();
    assert_eq!(rates(&counters.sample(at(20), &ready(&["a"])).groups[0]), [100.0, 0.0]);
    counters.read("a", bare(30)).unwrap();
    assert!(!counters.sample(at(30), &ready(&["a"])).groups[0].tells());
    counters.read("a", started(19, page(40, 50.0, 0.0))).unwrap();
    assert_eq!(rates(&counters.sample(at(40), &ready(&["a"])).groups[0]), [5.0, 0.0]);
}

/// Two series of one name on a page whose order changes.
#[test]
fn cpu_that_drops_although_the_process_goes_on_is_not_known() {
    let mut counters = Counters::new(INTERVAL);
    let with = |seconds, cpu| Reading {
        started: Some(at(-900)),
        cpu_seconds: Some(cpu),
        ..page(seconds, seconds as f64, 0.0)
    };
    counters.read("a", with(0, 900.0)).unwrap();
    let mut cpu = |seconds, total| {
        counters.read("a", with(seconds, total)).unwrap();
        counters.sample(at(seconds), &ready(&["a"])).groups[0].cpu
    };
    assert_eq!(cpu(10, 500.0), None);
    assert_eq!(cpu(20, 510.0), Cores::new(1.0).ok());
}
