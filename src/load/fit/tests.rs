//! Fits of workloads whose costs are known.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use crate::load::{Edges, Group, HistogramRates, Labels, Pods, SAMPLE_SCHEMA};
use crate::units::{Cores, Rate};

const WINDOW: Span = Span::from_secs(15);

/// A standard normal number: Box and Muller.
fn normal(rng: &mut Pcg64) -> f64 {
    let (u, v): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A first-order autoregression of variance 1.
struct Wander {
    value: f64,
    persistence: f64,
}

impl Wander {
    fn new(persistence: f64, rng: &mut Pcg64) -> Self {
        Self { value: normal(rng), persistence }
    }

    fn next(&mut self, rng: &mut Pcg64) -> f64 {
        let innovation = (1.0 - self.persistence * self.persistence).sqrt() * normal(rng);
        self.value = self.persistence * self.value + innovation;
        self.value
    }
}

/// A workload. Costs and mean rates are by class.
#[derive(Clone, Copy)]
struct World {
    samples: usize,
    idle: f64,
    costs: &'static [f64],
    rates: &'static [f64],
    /// Spread of each class's own ups and downs, and how they persist from sample to sample.
    mix: f64,
    mix_persistence: f64,
    /// Spread of CPU that the requests do not explain, as a share; whether it grows with the load; how it persists.
    noise: f64,
    grows: bool,
    noise_persistence: f64,
    /// An autoscaler keeps the load per pod: how far it strays.
    strays: f64,
}

const WORLD: World = World {
    samples: 600,
    idle: 0.05,
    costs: &[0.0005, 0.003, 0.012, 0.04, 0.15],
    rates: &[300.0, 120.0, 40.0, 12.0, 4.0],
    mix: 0.5,
    mix_persistence: 0.8,
    noise: 0.05,
    grows: true,
    noise_persistence: 0.6,
    strays: 0.25,
};

impl World {
    fn classes(&self) -> Vec<FitClass> {
        let edges = [0.005, 0.01, 0.025, 0.1, 0.5][..self.costs.len() - 1].to_vec();
        FitClass::of(&Classes::by_duration(Edges::new(edges).unwrap()))
    }

    fn play(&self, seed: u64) -> Vec<FitSample> {
        let mut rng = Pcg64::seed_from_u64(seed);
        let rng = &mut rng;
        let work = |rates: &[f64]| rates.iter().zip(self.costs).map(|(r, c)| r * c).sum::<f64>();
        let mean = work(self.rates) * (1.0 + self.idle / 0.6);
        let mut total = Wander::new(self.mix_persistence.max(0.3), rng);
        let mut pods = Wander::new(0.95, rng);
        let mut noise = Wander::new(self.noise_persistence, rng);
        let mut mix: Vec<Wander> =
            self.costs.iter().map(|_| Wander::new(self.mix_persistence, rng)).collect();
        let mut sample = |i: usize| {
            let level = (0.4 * total.next(rng)).exp();
            let own = |(rate, own): (&f64, &mut Wander)| rate * level * (self.mix * own.next(rng)).exp();
            let rates: Vec<f64> = self.rates.iter().zip(&mut mix).map(own).collect();
            let pods = (work(&rates) / 0.6 * (self.strays * pods.next(rng)).exp()).max(1.0);
            let pods = if self.strays > 0.0 { pods.ceil() } else { pods };
            let truth = self.idle * pods + work(&rates);
            let spread = if self.grows { truth } else { mean };
            let cpu = (truth + spread * self.noise * noise.next(rng)).max(0.0);
            FitSample {
                at: Time::EPOCH + WINDOW * (i as i64 + 1),
                window: WINDOW,
                pods,
                rates,
                requests: None,
                cpu,
            }
        };
        (0..self.samples).map(&mut sample).collect()
    }

    fn fitted(&self, seed: u64) -> CostFit {
        let mut fit = CostFit::new(self.classes(), FitSettings::default());
        self.play(seed).iter().for_each(|sample| fit.observe(sample));
        fit
    }

    /// How often the 95 % interval holds the truth: the idle pod, then class by class.
    fn coverage(&self, runs: u64) -> Vec<f64> {
        let mut covered = vec![0.0; self.costs.len() + 1];
        for seed in 0..runs {
            let report = self.fitted(seed).report();
            let costs = [report.idle].into_iter().chain(report.classes);
            let truth = [self.idle].into_iter().chain(self.costs.iter().copied());
            for ((covered, cost), truth) in covered.iter_mut().zip(costs).zip(truth) {
                let (low, high) = cost.interval.unwrap();
                *covered += f64::from(u8::from(low <= truth && truth <= high)) / runs as f64;
            }
        }
        covered
    }
}

#[test]
fn an_interval_of_95_percent_holds_the_truth_in_95_percent() {
    let worlds = [
        World { ..WORLD },
        World { mix_persistence: 0.0, grows: false, ..WORLD },
        World { noise_persistence: 0.0, mix_persistence: 0.9, ..WORLD },
    ];
    for world in worlds {
        let covered = world.coverage(1000);
        assert!(covered.iter().all(|c| (0.93..=0.97).contains(c)), "{covered:.3?}");
    }
}

#[test]
fn a_cost_of_nothing_is_within_its_interval_as_often() {
    let world = World { costs: &[0.0, 0.003, 0.012, 0.04, 0.15], ..WORLD };
    let covered = world.coverage(1000);
    assert!(covered[1] >= 0.93 && covered[2..].iter().all(|c| (0.93..=0.97).contains(c)), "{covered:.3?}");
}

#[test]
fn where_the_mix_moves_classes_predict_better_than_both_rivals() {
    let report = World { mix_persistence: 0.0, ..WORLD }.fitted(1).report();
    let r2 = |score: Option<Score>| score.unwrap().r2;
    let Scores { metricsqps, qps, cpu_per_request } = report.scores;
    assert!(r2(metricsqps) > 0.97 && r2(qps) < 0.85 && r2(cpu_per_request) < 0.9, "{report:?}");
    assert!(report.is_identifiable() && report.beats_rivals && !report.lagged);
}

#[test]
fn where_the_mix_does_not_move_they_are_no_worse_than_the_number_of_requests_and_say_what_they_do_not_know() {
    for seed in 0..20 {
        let report = World { mix: 0.0, ..WORLD }.fitted(seed).report();
        let r2 = |score: Option<Score>| score.unwrap().r2;
        assert!(r2(report.scores.metricsqps) > r2(report.scores.qps) - 0.01, "{report:?}");
        assert!(matches!(report.ambiguities[..], [Ambiguity::Mix { .. }]), "{report:?}");
    }
}

/// What the number of requests does not tell persists with the mix; taken for autocorrelated noise it makes any idle cost look right.
#[test]
fn one_cost_for_all_requests_predicts_hardly_worse_than_the_mean() {
    const PODS: f64 = 5.0;
    for seed in 0..200 {
        let world = World { samples: 84, mix_persistence: 0.5, ..WORLD };
        let mut fit = CostFit::new(world.classes(), FitSettings::default());
        for mut sample in world.play(seed) {
            sample.cpu += world.idle * (PODS - sample.pods);
            sample.pods = PODS;
            fit.observe(&sample);
        }
        let r2 = fit.report().scores.qps.unwrap().r2;
        assert!(r2 > -1.0, "{seed}: {r2}");
    }
}

#[test]
fn classes_that_come_together_are_named_and_the_others_are_known() {
    let mut fit = CostFit::new(WORLD.classes(), FitSettings::default());
    for mut sample in WORLD.play(1) {
        let apart = sample.rates[3] - sample.rates[2] * 0.3;
        sample.rates[3] -= apart;
        sample.cpu -= apart * WORLD.costs[3];
        fit.observe(&sample);
    }
    let report = fit.report();
    assert_eq!(report.ambiguities, [Ambiguity::Mix { classes: vec![2, 3] }]);
    let known: Vec<bool> = report.classes.iter().map(|class| class.interval.is_some()).collect();
    assert_eq!(known, [true, true, false, false, true]);
    let together = fit.costs()[2] + 0.3 * fit.costs()[3];
    assert!((together / (0.012 + 0.3 * 0.04) - 1.0).abs() < 0.1, "{together}");
}

#[test]
fn a_single_class_is_a_cost_per_request() {
    let world = World { costs: &[0.02], rates: &[50.0], ..WORLD };
    let report = world.fitted(1).report();
    let (low, high) = report.classes[0].interval.unwrap();
    assert!(low < 0.02 && 0.02 < high && high - low < 0.004, "{report:?}");
    assert!(report.is_identifiable());
}

#[test]
fn without_requests_the_idle_pod_is_known_and_nothing_else() {
    let world = World { rates: &[0.0; 5], ..WORLD };
    let report = world.fitted(1).report();
    assert!((report.idle.value - 0.05).abs() < 0.002, "{report:?}");
    assert!(report.idle.interval.is_some());
    assert_eq!(report.ambiguities, [Ambiguity::Idle]);
    assert!(report.classes.iter().all(|class| class.interval.is_none()));
    assert_eq!(report.mean_cost, None);
}

#[test]
fn an_autoscaler_that_keeps_the_load_per_pod_hides_what_an_idle_pod_costs() {
    let report =
        World { strays: 0.0, rates: &[3000.0, 1200.0, 400.0, 120.0, 40.0], ..WORLD }.fitted(1).report();
    assert!(report.ambiguities.contains(&Ambiguity::LoadPerPod), "{report:?}");
    assert!(report.scores.metricsqps.unwrap().r2 > 0.9);
}

/// Requests of exponential costs, 10 ms of CPU on average, in pods of one core that share it among them and do nothing else: the busier a
/// pod, the longer they last. Pods are busy to the share `load`, which wanders by the share `strays` of itself. With weights they are counted by
/// those, as one class.
fn waiting(load: f64, strays: f64, seed: u64, weights: Option<[f64; 6]>) -> FitReport {
    let edges = [0.005, 0.01, 0.02, 0.04, 0.08];
    let classes = Classes::by_duration(Edges::new(edges.to_vec()).unwrap());
    let classes = if weights.is_some() { Classes::by_duration(Edges::default()) } else { classes };
    let mut fit = CostFit::new(FitClass::of(&classes), FitSettings::default());
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut wander = Wander::new(0.9, &mut rng);
    let pods = 20.0;
    for i in 1..=240 {
        let requests = 100.0 * load * (strays * wander.next(&mut rng)).exp();
        let used = 0.01 * requests * (0.02 * normal(&mut rng)).exp();
        // Of windows that are as busy nothing is learned.
        if used > 0.8 {
            fit.interrupt();
            continue;
        }
        let above = |edge: f64| (-edge * (1.0 - used) / 0.01).exp();
        let bounds: Vec<f64> = [1.0].into_iter().chain(edges.map(above)).chain([0.0]).collect();
        let mut by_chance =
            |pair: &[f64]| pods * requests * (pair[0] - pair[1]) * (1.0 + 0.01 * normal(&mut rng));
        let rates: Vec<f64> = bounds.windows(2).map(&mut by_chance).collect();
        let weighed = weights.map(|weights| vec![rates.iter().zip(weights).map(|(r, w)| r * w).sum()]);
        let requests = weights.map(|_| rates.iter().sum());
        let rates = weighed.unwrap_or(rates);
        fit.observe(&FitSample {
            at: Time::EPOCH + WINDOW * i,
            window: WINDOW,
            pods,
            rates,
            requests,
            cpu: pods * used,
        });
    }
    fit.report()
}

/// All that is there to know is the cost of a request, whatever classes the requests slide into.
#[test]
fn waiting_is_not_taken_for_what_an_idle_pod_costs() {
    let (mut runs, mut published) = (0, 0);
    for load in [0.1, 0.3, 0.5, 0.6] {
        for strays in [0.03, 0.07, 0.15, 0.3] {
            for report in (0..20).map(|seed| waiting(load, strays, seed, None)) {
                let is_told = report.is_identifiable();
                assert!(!is_told || report.idle.value < 0.15 * load, "{load} {strays}: {report:?}");
                let is_kept = report.ambiguities.contains(&Ambiguity::LoadPerPod);
                assert!(is_kept || strays > 0.05, "{load} {strays}: {report:?}");
                if load >= 0.5 {
                    runs += 1;
                    published += u32::from(is_told && report.beats_rivals);
                }
            }
        }
    }
    assert!(4 * published < runs, "{published} of {runs}");
}

/// Weights that were given make requests that wait count more, where their number does not.
#[test]
fn nor_where_weights_were_given() {
    for load in [0.1, 0.3, 0.5, 0.6] {
        for strays in [0.03, 0.07, 0.15, 0.3] {
            for seed in 0..20 {
                let report = waiting(load, strays, seed, Some([0.5, 1.0, 1.5, 3.0, 6.0, 12.0]));
                let is_told = report.idle.interval.is_some();
                assert!(!is_told || report.idle.value < 0.15 * load, "{load} {strays}: {report:?}");
                assert!(is_told || strays < 0.1, "{load} {strays}: {report:?}");
            }
        }
    }
}

/// Requests of 20 s in windows of 15 s: most of their CPU is spent before they are counted.
#[test]
fn cpu_that_was_spent_in_earlier_windows_is_found_there() {
    let world = World { noise: 0.02, mix_persistence: 0.0, samples: 800, ..WORLD };
    let mut classes = world.classes();
    classes[4].lasts = 20.0;
    let spread = |samples: &mut Vec<FitSample>| {
        let slow: Vec<f64> = samples.iter().map(|s| s.rates[4]).chain([0.0; 2]).collect();
        for (i, sample) in samples.iter_mut().enumerate() {
            // Shares of 20 s that ended evenly over 15 s: 3/8, 13/24 and 1/12.
            let spent = slow[i] * 0.375 + slow[i + 1] * (13.0 / 24.0) + slow[i + 2] / 12.0;
            sample.cpu += (spent - slow[i]) * world.costs[4];
        }
    };
    let fitted = |samples: &[FitSample]| {
        let mut fit = CostFit::new(classes.clone(), FitSettings::default());
        samples.iter().for_each(|sample| fit.observe(sample));
        fit
    };
    let mut samples = world.play(1);
    assert!(!fitted(&samples).is_lagged());
    spread(&mut samples);
    let fit = fitted(&samples);
    assert!(fit.is_lagged());
    assert!((fit.costs()[4] / 0.15 - 1.0).abs() < 0.1, "{:?}", fit.costs());
}

#[test]
fn longer_requests_cost_no_less_unless_the_data_say_so() {
    // Hardly any evidence: the order decides.
    let rare = World { rates: &[300.0, 120.0, 40.0, 0.05, 0.02], samples: 60, noise: 0.2, ..WORLD };
    for seed in 0..20 {
        let fit = rare.fitted(seed);
        assert!(fit.costs().is_sorted(), "{:?}", fit.costs());
    }
    // A cache whose misses wait for a disk.
    let waits = World { costs: &[0.0005, 0.012, 0.003, 0.04, 0.15], ..WORLD };
    let fit = waits.fitted(1);
    assert!(fit.costs()[1] > 2.0 * fit.costs()[2], "{:?}", fit.costs());
}

#[test]
fn after_a_release_that_doubles_or_halves_costs_they_are_learned_anew() {
    for factor in [2.0, 0.5] {
        let settings = FitSettings { half_life: WINDOW * 40, ..FitSettings::default() };
        let mut fit = CostFit::new(WORLD.classes(), settings);
        for (i, mut sample) in WORLD.play(1).into_iter().enumerate() {
            if i >= 300 {
                sample.cpu *= factor;
            }
            fit.observe(&sample);
        }
        assert!((fit.costs()[4] / (0.15 * factor) - 1.0).abs() < 0.15, "{factor}: {:?}", fit.costs());
    }
}

#[test]
fn a_fit_that_was_stored_goes_on_as_if_it_had_not_been() {
    let samples = WORLD.play(1);
    let mut fit = CostFit::new(WORLD.classes(), FitSettings::default());
    samples[..300].iter().for_each(|sample| fit.observe(sample));
    let mut stored: CostFit = serde_json::from_str(&serde_json::to_string(&fit).unwrap()).unwrap();
    for sample in &samples[300..] {
        fit.observe(sample);
        stored.observe(sample);
    }
    assert_eq!(fit, stored);
}

#[test]
fn what_no_pods_can_have_shown_is_left_aside() {
    let samples = WORLD.play(1);
    let mut fit = CostFit::new(WORLD.classes(), FitSettings::default());
    samples[..100].iter().for_each(|sample| fit.observe(sample));
    let before = fit.clone();
    let good = &samples[100];
    fit.observe(&FitSample { cpu: f64::NAN, ..good.clone() });
    fit.observe(&FitSample { pods: 0.0, ..good.clone() });
    fit.observe(&FitSample { rates: vec![1.0], ..good.clone() });
    fit.observe(&FitSample { rates: vec![-1.0; 5], ..good.clone() });
    fit.observe(&FitSample { at: samples[99].at, ..good.clone() });
    fit.observe(&FitSample { window: Span::ZERO, ..good.clone() });
    assert_eq!(fit, before);
}

/// Each sample alone, in any units: costs come out in those units.
#[test]
fn costs_are_in_the_units_of_the_cpu() {
    let mut in_millicores = CostFit::new(WORLD.classes(), FitSettings::default());
    for sample in WORLD.play(1) {
        in_millicores.observe(&FitSample { cpu: sample.cpu * 1000.0, ..sample });
    }
    for (cost, milli) in WORLD.fitted(1).costs().iter().zip(in_millicores.costs()) {
        assert!((milli / (1000.0 * cost) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_sample_for_the_fit_is_of_the_pods_that_show_requests_and_cpu() {
    let group = |pods, fast: f64, cpu: Option<f64>, silent| {
        let rates = vec![Rate::new(fast).unwrap(), Rate::new(1.0).unwrap()];
        Group {
            pods,
            silent,
            histograms: vec![HistogramRates::new(Labels::new(), vec![0.1], rates, None).unwrap()],
            cpu: cpu.map(|cpu| Cores::new(cpu).unwrap()),
            ..Group::empty(WINDOW)
        }
    };
    let groups = vec![
        group(1, 10.0, Some(0.5), false),
        group(3, 20.0, Some(0.25), false),
        group(1, 40.0, None, false),
        group(1, 80.0, Some(4.0), true),
    ];
    let sample = Sample {
        schema: SAMPLE_SCHEMA,
        at: Time::from_secs(9),
        pods: Pods::default(),
        offered: None,
        groups,
    };
    let classes = Classes::by_duration(Edges::new(vec![0.1]).unwrap());
    let of_pods = FitSample::of(&sample, &classes).unwrap();
    assert_eq!((of_pods.pods, of_pods.rates, of_pods.cpu), (4.0, vec![30.0, 2.0], 0.75));
}

/// CPU that is told every two windows, of one of them.
#[test]
fn windows_with_time_between_them_are_learned_from_all_the_same() {
    let mut fit = CostFit::new(WORLD.classes(), FitSettings::default());
    for (i, sample) in WORLD.play(1).into_iter().enumerate() {
        fit.observe(&FitSample { at: Time::EPOCH + WINDOW * (2 * i as i64 + 1), ..sample });
    }
    assert!((fit.costs()[4] / WORLD.costs[4] - 1.0).abs() < 0.05, "{:?}", fit.costs());
    let report = fit.report();
    assert!(report.is_identifiable() && report.beats_rivals, "{report:?}");
}

#[test]
fn samples_after_a_clock_that_was_ahead_are_learned_from() {
    let mut fit = CostFit::new(WORLD.classes(), FitSettings::default());
    let samples = WORLD.play(1);
    fit.observe(&FitSample { at: samples[10].at, ..samples[0].clone() });
    fit.observe(&samples[1]);
    assert_eq!(fit.samples(), 1, "one that is not after the last one");
    fit.begin_at(samples[1].at);
    fit.observe(&samples[1]);
    assert_eq!(fit.samples(), 2);
}
