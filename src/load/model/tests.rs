//! Workloads whose requests' costs are known, sample by sample.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use crate::load::{Congestion, Evidence, Group, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA};
use crate::units::{Cores, Rate};

const LE: [f64; 3] = [0.01, 0.1, 1.0];
const WINDOW: Span = Span::from_secs(15);
const IDLE: f64 = 0.05;

/// CPU-seconds of a request of each class.
const COSTS: [f64; 4] = [0.002, 0.01, 0.08, 0.5];

/// Requests per second of each class; its work is 2.2 cores.
const USUAL: [f64; 4] = [200.0, 60.0, 10.0, 1.0];

/// Plays a workload on so many pods of one core.
struct Play {
    model: LoadModel,
    rng: Pcg64,
    now: Time,
    pods: u32,
    /// Every request costs so many times what it usually does.
    dearer: f64,
    /// Cores of a pod that does nothing.
    idle: f64,
}

impl Play {
    fn new(fitting: Fitting) -> Self {
        Self {
            model: LoadModel::new(Weighing::Fitted(fitting)),
            rng: Pcg64::seed_from_u64(7),
            now: Time::EPOCH,
            pods: 5,
            dearer: 1.0,
            idle: IDLE,
        }
    }

    /// One that has seen two hours of a mix that goes up and down, on pods that come and go.
    fn settled() -> Self {
        let mut play = Self::new(Fitting::default());
        (0..480).for_each(|_| play.varied());
        assert_eq!(play.usual().weights, WeightsInForce::Fitted { version: 1 });
        play
    }

    fn varied(&mut self) {
        let level = self.rng.random_range(0.5..1.5);
        let rates = USUAL.map(|rate| rate * level * self.rng.random_range(0.5..1.5));
        self.pods = self.rng.random_range(3..8);
        // What it says of these does not matter.
        let _ = self.play(rates, &COSTS);
    }

    fn usual(&mut self) -> Load {
        self.play(USUAL, &COSTS).unwrap()
    }

    /// A window in which requests last as `rates` says and cost what `costs` says.
    fn play(&mut self, rates: [f64; 4], costs: &[f64; 4]) -> Result<Load, Unknown> {
        let work: f64 = rates.iter().zip(costs).map(|(rate, cost)| rate * cost).sum();
        self.window(rates, Some(work))
    }

    /// A window in which requests use `work` cores, if that is known.
    fn window(&mut self, rates: [f64; 4], work: Option<f64>) -> Result<Load, Unknown> {
        let noise = self.rng.random_range(0.97..1.03);
        let group = |share: f64| {
            let rates = rates.iter().map(|rate| Rate::new(rate * share).unwrap()).collect();
            Group {
                histograms: vec![HistogramRates::new(Labels::new(), LE.to_vec(), rates, None).unwrap()],
                cpu: work.map(|work| Cores::new(self.idle + work * self.dearer * share * noise).unwrap()),
                requested_per_pod: Cores::new(1.0).ok(),
                cores_per_pod: Cores::new(1.0).ok(),
                ..Group::empty(WINDOW)
            }
        };
        let groups = (0..self.pods).map(|_| group(1.0 / f64::from(self.pods))).collect();
        self.sample(groups)
    }

    fn sample(&mut self, groups: Vec<Group>) -> Result<Load, Unknown> {
        self.now += WINDOW;
        let pods = Pods { replicas: self.pods, ready: self.pods, warming: 0, silent: 0, updating: false };
        self.model.observe(&Sample { schema: SAMPLE_SCHEMA, at: self.now, pods, offered: None, groups })
    }

    /// Replicas at 70 % of a core, as a number that is not rounded.
    fn replicas(&self, load: &Load) -> f64 {
        let cost = self.model.cpu_cost().unwrap();
        load.metricsqps.get() * cost.unit / (0.7 - cost.idle)
    }
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{found} is not {expected}");
}

const REPLICAS: f64 = 2.3 / (0.7 - IDLE);

#[test]
fn nothing_is_served_before_there_is_a_unit_and_then_cpu_per_request() {
    let mut play = Play::new(Fitting::default());
    assert_eq!(play.window(USUAL, None), Err(Unknown::NoCpu));
    for samples in 1..Learner::SAMPLES_TO_SERVE {
        assert_eq!(
            play.play(USUAL, &COSTS),
            Err(Unknown::Learning { samples, of: Learner::SAMPLES_TO_SERVE })
        );
    }
    let load = play.usual();
    assert_eq!(load.weights, WeightsInForce::CpuPerRequest);
    close(load.metricsqps.get(), 271.0, 0.05);
    assert!(load.standard_error.get() > 0.0 && load.standard_error.get() < 0.3 * load.metricsqps.get());
}

#[test]
fn weights_that_predict_better_are_published_and_ask_for_the_pods_that_the_work_takes() {
    let mut play = Play::settled();
    let version = play.model.version().unwrap().clone();
    for (weight, cost) in version.weights.weights().iter().zip(COSTS) {
        close(weight * version.unit, cost, 0.1);
    }
    play.pods = 5;
    let loads: Vec<Load> = (0..20).map(|_| play.usual()).collect();
    close(play.replicas(&loads[19]), REPLICAS, 0.05);
    assert!(loads.iter().all(|load| (load.borne_out.unwrap() - 1.0).abs() < 0.1));
}

#[test]
fn while_the_data_do_not_tell_classes_apart_cpu_per_request_is_served_and_is_right() {
    let mut play = Play::new(Fitting::default());
    let mut load = None;
    for round in 0..600 {
        let level = 1.0 + 0.5 * (f64::from(round) / 40.0).sin();
        load = play.play(USUAL.map(|rate| rate * level), &COSTS).ok();
    }
    let load = load.unwrap();
    assert_eq!(load.weights, WeightsInForce::CpuPerRequest);
    let level = 1.0 + 0.5 * (599.0f64 / 40.0).sin();
    close(play.replicas(&load), level * REPLICAS, 0.08);
}

/// Every request waits as long as it works: half of each class seems to be of the next one.
#[test]
fn requests_that_wait_are_no_more_load() {
    let mut play = Play::settled();
    play.pods = 5;
    (0..20).for_each(|_| drop(play.usual()));
    let before = play.usual();
    let [a, b, c, d] = USUAL;
    let slid = [a / 2.0, (a + b) / 2.0, (b + c) / 2.0, c / 2.0 + d];
    for _ in 0..20 {
        let load = play.window(slid, Some(2.3)).unwrap();
        assert!(load.raw.get() > 1.8 * before.raw.get());
        close(load.metricsqps.get(), before.metricsqps.get(), 0.1);
    }
}

#[test]
fn a_heavier_mix_is_followed_within_a_few_windows() {
    let mut play = Play::settled();
    play.pods = 9;
    (0..200).for_each(|_| drop(play.usual()));
    let heavy = [200.0, 60.0, 30.0, 4.0];
    let loads: Vec<f64> = (0..6)
        .map(|_| {
            let load = play.play(heavy, &COSTS).unwrap();
            play.replicas(&load)
        })
        .collect();
    let wanted = 5.4 / (0.7 - IDLE);
    assert!(loads[4] > REPLICAS + 0.9 * (wanted - REPLICAS), "{loads:?} towards {wanted}");
}

#[test]
fn a_release_that_doubles_costs_is_followed_within_two_samples_and_learned_within_a_day() {
    let mut play = Play::settled();
    play.pods = 9;
    (0..20).for_each(|_| drop(play.usual()));
    play.dearer = 2.0;
    let _first = play.usual();
    let second = play.usual();
    close(play.replicas(&second), 2.0 * REPLICAS, 0.15);
    assert_eq!(play.model.drift_since(), None);
    (0..100).for_each(|_| drop(play.usual()));
    assert!(play.model.drift_since().is_some());
    (0..5760).for_each(|_| play.varied());
    play.pods = 9;
    (0..20).for_each(|_| drop(play.usual()));
    let version = play.model.version().unwrap().clone();
    assert!(version.number > 1);
    close(version.weights.weights()[3] * version.unit, 2.0 * COSTS[3], 0.1);
    assert_eq!(play.model.drift_since(), None);
    let load = play.usual();
    close(load.borne_out.unwrap(), 1.0, 0.1);
    close(play.replicas(&load), 2.0 * REPLICAS, 0.05);
}

#[test]
fn a_release_that_halves_costs_is_followed_too() {
    let mut play = Play::settled();
    play.pods = 5;
    play.dearer = 0.5;
    let loads: Vec<_> = (0..40).map(|_| play.usual()).collect();
    for load in &loads[15..] {
        close(play.replicas(load), 0.5 * REPLICAS, 0.1);
    }
}

/// New weights are published from the same costs: no one sees a step.
#[test]
fn new_weights_from_unchanged_costs_move_the_replicas_by_less_than_one() {
    let mut play = Play::settled();
    let unit = play.model.version().unwrap().unit;
    let mut changes = 0;
    for round in 0..3 * 5760 {
        if round % 3 == 0 {
            play.varied();
        }
        play.pods = 5;
        let before = play.model.version().unwrap().number;
        let load = play.usual();
        let replicas = play.replicas(&load);
        if play.model.version().unwrap().number != before {
            let after = play.usual();
            assert!((play.replicas(&after) - replicas).abs() < 1.0);
            changes += 1;
        }
    }
    assert_eq!(play.model.version().unwrap().unit, unit);
    assert!(changes <= 3, "{changes} changes in three days");
}

/// Five requests a window, light ones for some time and then heavy ones, all of the same duration; idle pods use more than the light ones.
#[test]
fn few_requests_cost_what_they_cost_on_average() {
    let mut play = Play::new(Fitting::default());
    let rates = [0.0, 5.0 / 15.0, 0.0, 0.0];
    let (mut wanted, mut asked, mut is_light) = (0.0, 0.0, true);
    for round in 0..3000 {
        play.pods = play.rng.random_range(3..12);
        is_light ^= play.rng.random::<f64>() < 0.1;
        let work = rates[1] * if is_light { 0.1 } else { 2.0 };
        let Ok(load) = play.window(rates, Some(work)) else { continue };
        assert_eq!(load.weights, WeightsInForce::CpuPerRequest);
        if round >= 500 {
            wanted += work / (0.7 - IDLE);
            asked += play.replicas(&load);
        }
    }
    close(play.model.cpu_cost().unwrap().idle, IDLE, 0.3);
    close(asked, wanted, 0.1);
}

/// One request in five windows, on pods of which it is not known what they use for nothing.
#[test]
fn few_and_dear_requests_are_waited_for_until_they_tell_what_they_cost() {
    let mut play = Play::new(Fitting::default());
    play.idle = 0.0;
    let mut mean = |cost: f64, windows: u32| {
        let mut asked = 0.0;
        for round in 0..windows {
            let rates = [0.0, 0.0, 0.0, if round % 5 == 0 { 1.0 / 15.0 } else { 0.0 }];
            let load = play.window(rates, Some(rates[3] * cost));
            asked += load.map_or(0.0, |load| play.replicas(&load)) / f64::from(windows);
        }
        asked
    };
    mean(6.0, 1000);
    let before = mean(6.0, 1000);
    close(before, 6.0 / 75.0 / 0.7, 0.15);
    mean(12.0, 1000);
    close(mean(12.0, 1000), 2.0 * before, 0.15);
}

/// Without classes only CPU tells what a request costs, and the last window that showed it is no better than those before.
#[test]
fn cpu_that_is_gone_leaves_the_mean_cost_where_requests_are_all_alike() {
    let mut play = Play::new(Fitting::default());
    let rates = [0.0, 9.0 / 15.0, 0.0, 0.0];
    let mut is_light = true;
    let mut load = None;
    for _ in 0..600 {
        play.pods = play.rng.random_range(3..12);
        is_light ^= play.rng.random::<f64>() < 0.2;
        load = play.window(rates, Some(rates[1] * if is_light { 0.2 } else { 2.0 })).ok();
    }
    let before = load.unwrap();
    assert_eq!(before.weights, WeightsInForce::CpuPerRequest);
    let after = (0..200).map(|_| play.window(rates, None).unwrap()).last().unwrap();
    close(after.metricsqps.get(), before.metricsqps.get(), 1e-9);
}

/// A sidecar comes. Until new weights know of it, its CPU is that of requests; from then on it is not.
#[test]
fn what_an_idle_pod_costs_is_taken_off_the_requests_once_it_is_known() {
    const SIDECAR: f64 = 0.15;
    let mut play = Play::settled();
    play.idle = SIDECAR;
    let before = play.model.version().unwrap().number;
    while play.model.version().unwrap().number == before {
        play.pods = play.rng.random_range(3..20);
        let mix = USUAL.map(|rate| rate * play.rng.random_range(0.8..1.2));
        play.play(mix, &COSTS).unwrap();
        assert!(play.now < Time::EPOCH + Span::from_secs(10 * 86_400), "never published");
    }
    close(play.model.cpu_cost().unwrap().idle, SIDECAR, 0.15);
    let load = play.usual();
    close(play.replicas(&load), 2.3 / (0.7 - SIDECAR), 0.05);
}

/// One kind of request has become dearer. New weights know, and what CPU bore out of the old ones in a window of another mix says nothing of it.
#[test]
fn new_weights_in_a_window_of_an_odd_mix_leave_the_usual_load_what_it_was() {
    const DEARER: [f64; 4] = [0.002, 0.01, 0.08, 1.5];
    const WANTED: f64 = 3.3 / (0.7 - IDLE);
    let mut play = Play::settled();
    let mut changes = 0;
    for round in 0..2 * 5760 {
        let before = play.model.version().unwrap().number;
        play.pods = play.rng.random_range(8..14);
        // Windows in which weights may be published have heavy requests alone, once a day is over.
        let samples = play.model.fit_report().unwrap().samples;
        let mix = USUAL.map(|rate| rate * play.rng.random_range(0.7..1.3));
        let mix = if round > 5_000 && samples % 20 == 19 { [0.0, 0.0, 0.0, 2.0] } else { mix };
        play.play(mix, &DEARER).unwrap();
        if play.model.version().unwrap().number != before {
            assert_eq!(mix[0], 0.0, "in round {round}");
            changes += 1;
            let load = play.play(USUAL, &DEARER).unwrap();
            close(play.replicas(&load), WANTED, 0.1);
        }
    }
    assert!(changes > 0);
}

#[test]
fn congested_samples_are_not_learned_from_and_their_cost_is_what_cpu_says() {
    let mut play = Play::settled();
    play.pods = 3;
    let samples = play.model.fit_report().unwrap().samples;
    // All CPU is used: less completes, and all of it late.
    let load = play.window([0.0, 100.0, 100.0, 20.0], Some(2.85)).unwrap();
    assert!(matches!(load.congestion[..], [Congestion::Saturated { .. }]), "{load:?}");
    assert_eq!(play.model.fit_report().unwrap().samples, samples);
    // At least the work that is done, and by no means what the durations say.
    let replicas = play.replicas(&load);
    assert!((2.85 / 0.65 * 0.97..2.85 / 0.65 * 1.5).contains(&replicas), "{replicas}");
}

#[test]
fn cpu_that_is_gone_from_the_pages_leaves_what_was_learned() {
    let mut play = Play::settled();
    play.pods = 5;
    (0..20).for_each(|_| drop(play.usual()));
    let load = (0..20).map(|_| play.window(USUAL, None).unwrap()).last().unwrap();
    close(play.replicas(&load), REPLICAS, 0.1);
}

#[test]
fn the_same_load_on_twice_the_pods_is_the_same() {
    let mut play = Play::settled();
    let mut on = |pods| {
        play.pods = pods;
        (0..20).map(|_| play.usual().metricsqps.get()).last().unwrap()
    };
    let (few, many) = (on(5), on(10));
    close(few, many, 0.05);
}

/// A server of tokens: its requests last equally long and cost what their tokens do.
#[test]
fn tokens_are_paid_for_beside_requests() {
    let mut play = Play::new(Fitting { has_work: true, ..Fitting::default() });
    let mut last = None;
    for _ in 0..480 {
        let (requests, tokens) = (play.rng.random_range(50.0..150.0), play.rng.random_range(1e3..9e3));
        play.pods = play.rng.random_range(3..8);
        let rates = [0.0, 0.0, requests, 0.0].map(Rate::saturating).to_vec();
        let cpu = IDLE * f64::from(play.pods) + 0.001 * requests + 0.0004 * tokens;
        let group = Group {
            pods: play.pods,
            histograms: vec![HistogramRates::new(Labels::new(), LE.to_vec(), rates, None).unwrap()],
            cpu: Some(Cores::saturating(cpu)),
            work: Some(Rate::saturating(tokens)),
            ..Group::empty(WINDOW)
        };
        last = play.sample(vec![group]).ok().map(|load| (load, cpu));
    }
    let (load, cpu) = last.unwrap();
    let version = play.model.version().unwrap();
    let token = load.classes.last().unwrap();
    assert_eq!(token.value.as_deref(), Some(crate::load::WORK));
    close(token.weight * version.unit, 0.0004, 0.05);
    close(load.raw.get() * version.unit, cpu - IDLE * f64::from(play.pods), 0.05);
}

/// Two routes whose requests last equally long, of which one waits and the other works.
#[test]
fn routes_that_last_equally_long_may_cost_unlike() {
    let by_label = Some(("route".to_owned(), 2));
    let mut play = Play::new(Fitting { by_label, ..Fitting::default() });
    for _ in 0..480 {
        let rates: [f64; 3] = [(); 3].map(|()| play.rng.random_range(10.0..90.0));
        play.pods = play.rng.random_range(3..8);
        let histogram = |(route, rate): (&str, f64)| {
            let labels = Labels::from([("route".to_owned(), route.to_owned())]);
            let rates = [0.0, rate, 0.0, 0.0].map(Rate::saturating).to_vec();
            HistogramRates::new(labels, LE.to_vec(), rates, Rate::new(rate * 0.05).ok()).unwrap()
        };
        let group = Group {
            pods: play.pods,
            histograms: ["/wait", "/work", "/rare"]
                .into_iter()
                .zip([rates[0], rates[1], rates[2] / 50.0])
                .map(histogram)
                .collect(),
            cpu: Some(Cores::saturating(IDLE * f64::from(play.pods) + 0.001 * rates[0] + 0.03 * rates[1])),
            ..Group::empty(WINDOW)
        };
        let _ = play.sample(vec![group]);
    }
    let version = play.model.version().unwrap();
    let cost = |route: &str, le| {
        let column = |column: &(usize, crate::load::Column<'_>)| {
            column.1 == crate::load::Column::Requests { value: Some(route), le: Some(le) }
        };
        let (column, _) = version.weights.classes().iter().enumerate().find(column).unwrap();
        version.weights.weights()[column] * version.unit
    };
    close(cost("/work", 0.1), 0.03, 0.05);
    assert!(cost("/wait", 0.1) < 0.002);
}

/// Weights typed by hand: what is typed is what counts, and CPU is asked only when durations are not to be trusted.
#[test]
fn given_weights_are_taken_at_their_word_until_a_pod_is_too_busy() {
    let classes = Classes::by_duration(Edges::new(LE.to_vec()).unwrap());
    let weights = Weights::new(classes, &[0.1, 1.0, 4.0, 8.0]).unwrap();
    let mut play = Play::new(Fitting::default());
    play.model = LoadModel::new(Weighing::Given(weights));
    let typed = 20.0 + 60.0 + 40.0 + 8.0;
    for _ in 0..40 {
        let load = play.usual();
        assert_eq!((load.weights, load.borne_out), (WeightsInForce::Given, None));
        close(load.metricsqps.get(), typed, 1e-9);
    }
    // Three pods are 80 % busy and more, and their requests seem twice as heavy.
    play.pods = 3;
    let slid = [100.0, 130.0, 35.0, 6.0];
    let load = (0..10).map(|_| play.window(slid, Some(2.5)).unwrap()).last().unwrap();
    assert!(load.raw.get() > 1.5 * typed);
    assert!(load.metricsqps.get() < 1.25 * typed, "{load:?}");
}

/// Cheap requests, and a heavy one now and then: the first publication came with a load that was no number.
#[test]
fn a_publication_never_makes_the_load_jump() {
    for seed in 0..60 {
        let mut play = Play::new(Fitting::default());
        play.rng = Pcg64::seed_from_u64(seed);
        for _ in 0..600 {
            let before = play.model.version().is_none();
            play.pods = play.rng.random_range(4..8);
            let cheap = play.rng.random_range(50.0..150.0);
            let heavy = if play.rng.random::<f64>() < 0.5 { 0.0 } else { play.rng.random_range(1.0..3.0) };
            let rates = [cheap, 0.0, 0.0, heavy];
            let _ = play.play(rates, &COSTS);
            if before && play.model.version().is_some() {
                for _ in 0..3 {
                    let load = play.play(rates, &COSTS).unwrap();
                    let wanted = (cheap * COSTS[0] + heavy * COSTS[3]) / 0.65;
                    assert!(play.replicas(&load) < 4.0 * wanted + 1.0, "seed {seed}: {load:?}");
                }
                break;
            }
        }
    }
}

/// The unit comes from the night's cheap requests; by day they cost a hundred times as much.
#[test]
fn a_unit_from_a_cheap_night_does_not_blind_the_day() {
    let mut play = Play::new(Fitting::default());
    play.pods = 2;
    for _ in 0..960 {
        let _ = play.window([40.0, 0.0, 0.0, 0.0], Some(0.02));
    }
    play.pods = 5;
    let load = (0..10).map(|_| play.window([30.0, 0.0, 0.0, 6.0], Some(3.0)).unwrap()).last().unwrap();
    close(play.replicas(&load), 3.0 / 0.65, 0.15);
}

#[test]
fn one_that_begins_in_an_overload_soon_has_an_opinion() {
    let mut play = Play::new(Fitting::default());
    play.pods = 3;
    let load = (0..20).map(|_| play.window([200.0, 100.0, 20.0, 1.0], Some(2.85))).last().unwrap().unwrap();
    assert!(play.replicas(&load) > 3.9, "{load:?}");
}

#[test]
fn an_overload_of_ten_minutes_erases_nothing() {
    let mut play = Play::settled();
    let before = play.model.fit_report().unwrap().samples;
    play.pods = 3;
    for _ in 0..40 {
        play.window([0.0, 50.0, 100.0, 60.0], Some(2.85)).unwrap();
    }
    assert_eq!(play.model.drift_since(), None);
    assert_eq!(play.model.fit_report().unwrap().samples, before);
}

/// 1.8 requests a second, each of two core-seconds and later of four.
#[test]
fn a_workload_of_few_heavy_requests_is_followed() {
    let mut play = Play::new(Fitting::default());
    play.pods = 12;
    (0..200).for_each(|_| drop(play.window([0.0, 0.0, 0.0, 1.8], Some(3.6))));
    let load = (0..60).map(|_| play.window([0.0, 0.0, 0.0, 1.8], Some(7.2)).unwrap()).last().unwrap();
    close(play.replicas(&load), 7.2 / 0.65, 0.15);
}

/// A load three times as large, whose CPU is told two windows late.
#[test]
fn cpu_that_comes_late_does_not_defeat_a_surge() {
    let mut play = Play::settled();
    play.pods = 9;
    (0..40).for_each(|_| drop(play.usual()));
    for i in 0..4 {
        let load = play.window(USUAL.map(|rate| 3.0 * rate), Some(if i < 2 { 2.3 } else { 6.9 })).unwrap();
        assert!(play.replicas(&load) > 2.2 * REPLICAS, "{i}: {}", play.replicas(&load));
    }
}

/// A workload of one kind of request whose CPU is told `late` windows after it was used, over `long` windows at a time, as the cluster's own metrics
/// are. The replicas that it asks for after each window of `rates`.
fn told_late(rates: &[f64], late: usize, long: usize) -> Vec<Result<f64, Unknown>> {
    let mut play = Play::new(Fitting::default());
    play.pods = 9;
    let group = |rate: f64| {
        let rates = [0.0, rate, 0.0, 0.0].map(|rate| Rate::new(rate / 9.0).unwrap()).to_vec();
        Group {
            histograms: vec![HistogramRates::new(Labels::new(), LE.to_vec(), rates, None).unwrap()],
            requested_per_pod: Cores::new(1.0).ok(),
            cores_per_pod: Cores::new(1.0).ok(),
            ..Group::empty(WINDOW)
        }
    };
    let decided = (0..rates.len()).map(|now| {
        let last = (now + 1).saturating_sub(late) / long * long;
        let of = last.checked_sub(long).map(|first| &rates[first..last]).filter(|of| !of.is_empty());
        let evidence = of.map(|of| {
            let mean = of.iter().sum::<f64>() / of.len() as f64;
            let cpu = Cores::new(0.01 + 0.02 * mean / 9.0).ok();
            let window = WINDOW * long as i64;
            Evidence { until: Time::EPOCH + WINDOW * last as i64, of: Group { cpu, window, ..group(mean) } }
        });
        let groups = vec![Group { evidence: evidence.map(Box::new), ..group(rates[now]) }; 9];
        let load = play.sample(groups)?;
        Ok(play.replicas(&load))
    });
    decided.collect()
}

#[test]
fn a_surge_is_followed_at_once_where_cpu_is_told_a_minute_late() {
    for (late, long) in [(0, 1), (1, 1), (2, 4), (4, 4)] {
        let rates: Vec<f64> = (0..120).map(|i| if i < 80 { 50.0 } else { 150.0 }).collect();
        let decided = told_late(&rates, late, long);
        for window in 79..120 {
            close(*decided[window].as_ref().unwrap(), 0.02 * rates[window] / (0.7 - 0.01), 0.1);
        }
    }
}

#[test]
fn cpu_that_is_told_again_and_again_is_learned_once() {
    let decided = told_late(&[50.0; 40], 1, 4);
    // Eight windows of a minute, and not of fifteen seconds.
    let first = decided.iter().position(Result::is_ok).unwrap();
    assert!((32..=36).contains(&first), "{first}");
}

/// Typed weights and a target utilization: a release that doubles costs makes a pod carry half.
#[test]
fn with_given_weights_a_release_that_doubles_costs_halves_the_capacity() {
    let classes = Classes::by_duration(Edges::new(LE.to_vec()).unwrap());
    let weights = Weights::new(classes, &[0.1, 1.0, 4.0, 8.0]).unwrap();
    let mut play = Play::new(Fitting::default());
    play.model = LoadModel::new(Weighing::Given(weights));
    play.pods = 9;
    (0..100).for_each(|_| drop(play.usual()));
    let before = play.usual();
    close(play.replicas(&before), (2.3 + 9.0 * IDLE) / 0.7, 0.15);
    play.dearer = 2.0;
    let after = (0..3).map(|_| play.usual()).last().unwrap();
    assert!(play.replicas(&after) > 1.6 * play.replicas(&before) || play.replicas(&after) > 1.7 * REPLICAS);
    let unit = |play: &Play| play.model.cpu_cost().unwrap().unit;
    let risen = unit(&play);
    play.dearer = 1.0;
    (0..60).for_each(|_| drop(play.usual()));
    assert!(unit(&play) < 0.75 * risen, "{risen} {}", unit(&play));
}

/// Only the buckets that are not empty are shown, and at first that is one.
#[test]
fn classes_that_the_first_page_did_not_show_are_found() {
    let mut play = Play::new(Fitting::default());
    for round in 0..480 {
        let level = play.rng.random_range(0.5..1.5);
        let rates = USUAL.map(|rate| rate * level * play.rng.random_range(0.5..1.5));
        play.pods = play.rng.random_range(3..8);
        let work: f64 = rates.iter().zip(COSTS).map(|(rate, cost)| rate * cost).sum();
        let (le, shown) = if round == 0 {
            (vec![2.9e-39, 0.01], vec![0.0, rates[0], 0.0])
        } else {
            (LE.to_vec(), rates.to_vec())
        };
        let shown = shown.into_iter().map(Rate::saturating).collect();
        let group = Group {
            pods: play.pods,
            histograms: vec![HistogramRates::new(Labels::new(), le, shown, None).unwrap()],
            cpu: Some(Cores::saturating(IDLE * f64::from(play.pods) + work)),
            ..Group::empty(WINDOW)
        };
        let _ = play.sample(vec![group]);
    }
    let version = play.model.version().unwrap();
    assert_eq!(version.weights.classes().edges().as_slice(), LE);
    close(version.weights.weights()[3] * version.unit, 0.5, 0.1);
}

/// A node whose clock was two hours ahead, and a release after the adapter has moved to another.
#[test]
fn what_a_clock_learned_that_was_ahead_keeps_nothing_from_being_followed() {
    let mut play = Play::settled();
    let before = play.usual();
    let replicas = play.replicas(&before);
    play.now = Time::EPOCH + (play.now - Time::EPOCH - Span::from_secs(7200));
    play.dearer = 2.0;
    (0..3).for_each(|_| drop(play.usual()));
    let after = play.usual();
    close(play.replicas(&after), 2.0 * replicas, 0.1);
}

/// Requests of a minute in windows of a quarter of one: tokens flow while none of them ends.
#[test]
fn tokens_that_flow_before_a_request_ends_are_load() {
    let mut play = Play::new(Fitting { has_work: true, ..Fitting::default() });
    let window = |play: &mut Play, requests: f64, tokens: f64| {
        let rates = [0.0, 0.0, requests, 0.0].map(Rate::saturating).to_vec();
        let cpu = IDLE * f64::from(play.pods) + 0.001 * requests + 0.0004 * tokens;
        play.sample(vec![Group {
            pods: play.pods,
            histograms: vec![HistogramRates::new(Labels::new(), LE.to_vec(), rates, None).unwrap()],
            cpu: Some(Cores::saturating(cpu)),
            work: Some(Rate::saturating(tokens)),
            in_flight: Some(InFlight { now: 100.0, change: 0.0 }),
            ..Group::empty(WINDOW)
        }])
    };
    for _ in 0..480 {
        play.pods = play.rng.random_range(3..8);
        let (requests, tokens) = (play.rng.random_range(50.0..150.0), play.rng.random_range(1e3..9e3));
        let _ = window(&mut play, requests, tokens);
    }
    let ending = window(&mut play, 100.0, 5000.0).unwrap().metricsqps.get();
    let none_ends = window(&mut play, 0.0, 5000.0).unwrap().metricsqps.get();
    close(none_ends / ending, 2.0 / 2.1, 0.1);
}
