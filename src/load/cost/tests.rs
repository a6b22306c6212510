//! Mixes whose mean cost is known, window by window.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;

const WEIGHTS: [f64; 6] = [0.02, 0.1, 0.4, 1.0, 2.5, 8.0];

fn counted(counts: &[f64]) -> Counted {
    weighed(counts, 1.0)
}

fn weighed(counts: &[f64], factor: f64) -> Counted {
    let sum = |of: &dyn Fn(f64) -> f64| counts.iter().zip(WEIGHTS).map(|(n, w)| n * of(w * factor)).sum();
    Counted {
        windows: 1.0,
        requests: sum(&|_| 1.0),
        work: sum(&|w| w),
        squared: sum(&|w| w * w),
        pod_seconds: 0.0,
    }
}

#[test]
fn it_computes_what_another_transcription_of_the_formulas_does() {
    let mut filter = CostFilter::new(1.0);
    let mut rows = 0;
    for line in include_str!("golden.csv").lines().filter(|line| !line.starts_with('#')) {
        let row: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let window = weighed(&row[..6], row[6]);
        if row[7] == 0.0 {
            filter.learn(&window);
        }
        let work = window.requests * filter.cost();
        let error = if window.requests > 0.0 {
            window.requests * filter.standard_error()
        } else {
            filter.of_one_request()
        };
        for (found, expected) in [work, error, filter.cost(), filter.standard_error()].iter().zip(&row[8..]) {
            assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{line}: {found}");
        }
        rows += 1;
    }
    assert_eq!(rows, 260);
}

/// Poisson, for counts that are not small.
fn count(mean: f64, rng: &mut Pcg64) -> f64 {
    let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    (mean + mean.sqrt() * normal).round().max(0.0)
}

fn window(mix: [f64; 6], requests: f64, rng: &mut Pcg64) -> Counted {
    counted(&mix.map(|share| count(share * requests, rng)))
}

const CHEAP: [f64; 6] = [0.6, 0.2, 0.1, 0.08, 0.015, 0.005];
const HEAVY: [f64; 6] = [0.3, 0.2, 0.1, 0.2, 0.15, 0.05];

#[test]
fn a_constant_mix_is_averaged_over_a_long_time() {
    let truth = counted(&CHEAP).work;
    let mut rng = Pcg64::seed_from_u64(1);
    let mut filter = CostFilter::new(1.0);
    let (mut raw, mut filtered) = (0.0, 0.0);
    for i in 0..600 {
        let window = window(CHEAP, 300.0, &mut rng);
        filter.learn(&window);
        if i >= 200 {
            raw += (window.work / window.requests - truth).powi(2);
            filtered += (filter.cost() - truth).powi(2);
        }
    }
    assert!(filtered < 0.1 * raw, "{filtered} {raw}");
    assert!((filter.cost() - truth).abs() < 3.0 * filter.standard_error());
}

#[test]
fn a_mix_that_switches_is_followed_within_a_few_windows() {
    for (requests, windows) in [(300.0, 6), (3000.0, 3)] {
        let mut rng = Pcg64::seed_from_u64(2);
        let mut filter = CostFilter::new(1.0);
        (0..200).for_each(|_| filter.learn(&window(CHEAP, requests, &mut rng)));
        let (before, after) = (filter.cost(), counted(&HEAVY).work);
        (0..windows).for_each(|_| filter.learn(&window(HEAVY, requests, &mut rng)));
        for window_after in 0..1000 {
            let share = (filter.cost() - before) / (after - before);
            assert!(share > 0.9, "{requests}: {share}, {window_after} windows later");
            filter.learn(&window(HEAVY, requests, &mut rng));
        }
    }
}

/// What an idle pod uses is found out a little better with each window.
#[test]
fn a_mix_that_switches_is_followed_while_idle_pods_are_learned_of() {
    let mut rng = Pcg64::seed_from_u64(2);
    let mut filter = CostFilter::new(1.0);
    for i in 0..203 {
        filter.take_off_idle(1.0 + 1e-3 / f64::from(i + 1));
        let mix = if i < 200 { CHEAP } else { HEAVY };
        filter.learn(&Counted { pod_seconds: 100.0, ..window(mix, 3000.0, &mut rng) });
    }
    assert!((filter.cost() / counted(&HEAVY).work - 1.0).abs() < 0.1, "{}", filter.cost());
}

#[test]
fn the_longest_mean_is_heard_while_the_mix_is_its_own_and_again_when_it_comes_back() {
    let mut rng = Pcg64::seed_from_u64(5);
    let mut filter = CostFilter::new(1.0);
    let mut learn = |filter: &mut CostFilter, mix, windows: u32| {
        (0..windows).for_each(|_| filter.learn(&window(mix, 3000.0, &mut rng)));
        filter.longest_is_of_this_mix()
    };
    assert!(learn(&mut filter, CHEAP, 1000));
    assert!(!learn(&mut filter, HEAVY, 3), "a batch of heavy requests");
    assert!(!learn(&mut filter, HEAVY, 9));
    assert!(learn(&mut filter, CHEAP, 3), "the batch is over");
    let (truth, longest) = (counted(&CHEAP).work, filter.experts[LONGEST].cost);
    assert!((longest / truth - 1.0).abs() < 0.2, "{longest} {truth}");
}

/// A service that begins with a night of one kind of request, and by day has a mix that wanders.
#[test]
fn a_time_of_one_class_alone_does_not_make_every_window_a_change() {
    let forgets = |of_one_class: u32| {
        let mut rng = Pcg64::seed_from_u64(4);
        let mut filter = CostFilter::new(WEIGHTS[0]);
        (0..of_one_class).for_each(|_| filter.learn(&counted(&[3000.0, 0.0, 0.0, 0.0, 0.0, 0.0])));
        let (mut wander, mut forgets) = (0.0f64, 0);
        for _ in 0..3000 {
            wander = 0.98 * wander + 0.2 * rng.random_range(-1.0..1.0);
            let mix = CHEAP.map(|share| share * if share < 0.05 { wander.exp() } else { 1.0 });
            filter.learn(&window(mix, 3000.0, &mut rng));
            // What the slowest knows is a few windows, since it has just begun anew.
            forgets += u32::from(filter.experts[SLOWEST].requests < 3.0 * 3000.0);
        }
        forgets
    };
    let (after, without) = (forgets(40), forgets(0));
    assert!(after < without + 10, "{after} {without}");
}

#[test]
fn the_unit_of_the_weights_does_not_matter() {
    let mut rng = Pcg64::seed_from_u64(3);
    let (mut ones, mut thousands) = (CostFilter::new(1.0), CostFilter::new(1000.0));
    for _ in 0..200 {
        let Counted { requests, work, squared, .. } = window(CHEAP, 50.0, &mut rng);
        ones.learn(&Counted { windows: 1.0, requests, work, squared, pod_seconds: 0.0 });
        thousands.learn(&Counted {
            windows: 1.0,
            requests,
            work: work * 1e3,
            squared: squared * 1e6,
            pod_seconds: 0.0,
        });
    }
    assert!((thousands.cost() / (1000.0 * ones.cost()) - 1.0).abs() < 1e-9);
    assert!((thousands.standard_error() / (1000.0 * ones.standard_error()) - 1.0).abs() < 1e-9);
}

#[test]
fn costs_that_have_changed_count_at_once_and_those_of_before_are_not_forgotten() {
    let mut rng = Pcg64::seed_from_u64(8);
    let mut filter = CostFilter::new(1.0);
    let truth = counted(&CHEAP).work;
    let mut learn = |filter: &mut CostFilter, dearer: f64, windows: u32| {
        for _ in 0..windows {
            let Counted { requests, work, squared, .. } = window(CHEAP, 3000.0, &mut rng);
            filter.learn(&Counted {
                windows: 1.0,
                requests,
                work: work * dearer,
                squared: squared * dearer * dearer,
                pod_seconds: 0.0,
            });
        }
    };
    learn(&mut filter, 1.0, 1000);
    for (dearer, factor) in [(2.0, 2.0), (1.0, 0.5)] {
        learn(&mut filter, dearer, 1);
        filter.change_costs(factor, filter.experts[0].cost);
        assert!((filter.cost() / truth / dearer - 1.0).abs() < 0.1, "{dearer}: {}", filter.cost() / truth);
        learn(&mut filter, dearer, 10);
        let longest = filter.experts[LONGEST].cost / truth;
        assert!((longest - 1.0).abs() < 0.05, "{dearer}: {longest}");
    }
}

#[test]
fn three_windows_at_once_weigh_as_much_as_three() {
    let (mut apart, mut at_once) = (CostFilter::new(1.0), CostFilter::new(1.0));
    let Counted { requests, work, squared, .. } = counted(&HEAVY);
    (0..3).for_each(|_| apart.learn(&counted(&HEAVY)));
    at_once.learn(&Counted {
        windows: 3.0,
        requests: 3.0 * requests,
        work: 3.0 * work,
        squared: 3.0 * squared,
        pod_seconds: 0.0,
    });
    for (apart, at_once) in apart.experts.iter().zip(&at_once.experts) {
        assert!((apart.cost - at_once.cost).abs() < 0.01 * apart.cost, "{apart:?} {at_once:?}");
    }
}

/// A night of few requests, most of whose CPU is idle pods'.
#[test]
fn what_idle_pods_use_is_never_all_that_there_is() {
    let mut rng = Pcg64::seed_from_u64(10);
    let mut filter = CostFilter::new(1.0);
    let truth = counted(&CHEAP).work;
    for window_of in 0..1000 {
        let (requests, pod_seconds) = if window_of < 900 { (3000.0, 300.0) } else { (3.0, 300.0) };
        let window = window(CHEAP, requests, &mut rng);
        filter.learn(&Counted { work: window.work + 0.1 * pod_seconds, pod_seconds, ..window });
    }
    // A little more than they use.
    filter.take_off_idle(0.12);
    assert!((filter.cost() / truth - 1.0).abs() < 0.2, "{} {truth}", filter.cost());
    let costs = filter.experts.iter().map(|expert| expert.cost);
    assert!(
        costs.clone().all(|cost| cost > 0.5 * truth && cost < 2.0 * truth),
        "{:?}",
        costs.collect::<Vec<_>>()
    );
}

/// Pods of which there are more in one window and fewer in the next, and of which it is known late what they use for nothing.
#[test]
fn what_idle_pods_use_is_taken_off_as_if_it_had_been_known() {
    const IDLE: f64 = 2.0;
    let mut rng = Pcg64::seed_from_u64(9);
    let (mut late, mut always) = (CostFilter::new(1.0), CostFilter::new(1.0));
    always.take_off_idle(IDLE);
    for i in 0..200 {
        if i == 150 {
            late.take_off_idle(IDLE);
        }
        let pod_seconds = rng.random_range(2.0..6.0);
        let window = Counted { pod_seconds, ..window(CHEAP, 50.0, &mut rng) };
        let of_idle = if i < 150 { IDLE * pod_seconds } else { 0.0 };
        late.learn(&Counted { work: window.work + of_idle, ..window });
        always.learn(&window);
    }
    for (late, always) in late.experts.iter().zip(&always.experts) {
        assert!((late.cost / always.cost - 1.0).abs() < 1e-9, "{late:?} {always:?}");
    }
}

#[test]
fn windows_without_requests_and_requests_without_cost_are_no_harm() {
    let mut filter = CostFilter::new(1.0);
    let before = filter.clone();
    filter.learn(&counted(&[0.0; 6]));
    assert_eq!(filter, before);
    for _ in 0..100 {
        filter.learn(&Counted { windows: 1.0, requests: 10.0, work: 0.0, squared: 0.0, pod_seconds: 0.0 });
    }
    assert!(filter.cost().is_finite() && filter.standard_error().is_finite(), "{filter:?}");
    filter.learn(&Counted { windows: 1.0, requests: 10.0, work: 10.0, squared: 10.0, pod_seconds: 0.0 });
    assert!(filter.cost() > 0.0 && filter.standard_error().is_finite(), "{filter:?}");
}
