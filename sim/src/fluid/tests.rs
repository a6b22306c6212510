//! The loop by hand, and what must always hold.

use plimsoll::units::Span;
use proptest::prelude::*;

use super::*;
use crate::series::Series;

const MINUTE: Span = Span::from_secs(60);

fn plant(lead: usize, hold: usize) -> Plant {
    Plant { step: MINUTE, capacity: 10.0, lead, hold, actuator: Actuator::Ideal }
}

/// Of every step: pods paid for, pods ready, pods changed.
fn course(counts: &[f64], plant: &Plant, rule: &mut dyn Rule) -> Vec<(f64, f64, f64)> {
    let mut all = Vec::new();
    run(counts, plant, rule, |step| all.push((step.paid, step.ready, step.changed)));
    all
}

fn scores(counts: &[f64], plant: &Plant, rule: &mut dyn Rule) -> Scores {
    let mut tally = Tally::default();
    run(counts, plant, rule, |step| tally.add(step));
    tally.scores()
}

#[test]
fn lengths_of_time_are_rounded_to_steps() {
    for (step, length, steps) in [(60, 300, 5), (300, 300, 1), (300, 600, 2), (300, 10, 1), (60, 90, 2)] {
        assert_eq!(Plant::steps(Span::from_secs(step), Span::from_secs(length)), steps);
    }
}

#[test]
fn pods_are_rounded_up() {
    let plant = plant(1, 1);
    assert_eq!([0.0, 0.1, 10.0, 10.1, f64::NAN].map(|load| plant.pods(load)), [0, 1, 1, 2, 0]);
}

#[test]
fn what_is_ordered_is_paid_at_once_and_ready_after_the_lead() {
    let counts = [5.0, 25.0, 25.0, 5.0, 5.0, 5.0];
    // Wanted after each step: 1, 3, 3, 1, 1. One step of lead: ready in the next step.
    let one = course(&counts, &plant(1, 1), &mut Newest::new(1.0));
    assert_eq!(one, [(1.0, 1.0, 0.0), (3.0, 3.0, 2.0), (3.0, 3.0, 0.0), (1.0, 1.0, 2.0), (1.0, 1.0, 0.0)]);
    // Two: what is wanted after step 1 is ready in step 3. What is given back is gone at once.
    let two: Vec<f64> =
        course(&counts, &plant(2, 1), &mut Newest::new(1.0)).iter().map(|step| step.1).collect();
    assert_eq!(two, [1.0, 1.0, 3.0, 1.0, 1.0]);
    // Three: it is given back before it was ever ready.
    let three: Vec<f64> =
        course(&counts, &plant(3, 1), &mut Newest::new(1.0)).iter().map(|step| step.1).collect();
    assert_eq!(three, [1.0; 5]);
}

#[test]
fn a_hold_keeps_pods() {
    let counts = [5.0, 25.0, 25.0, 5.0, 5.0, 5.0];
    let held: Vec<f64> =
        course(&counts, &plant(1, 2), &mut Newest::new(1.0)).iter().map(|step| step.0).collect();
    assert_eq!(held, [1.0, 3.0, 3.0, 3.0, 1.0]);
}

#[test]
fn short_time_and_churn_by_hand() {
    let counts = [5.0, 25.0, 25.0, 5.0, 5.0, 5.0];
    let scores = scores(&counts, &plant(1, 1), &mut Newest::new(1.0));
    // Short in step 1 alone: 25 arrive at one pod.
    assert_eq!((scores.steps, scores.short_time_ratio), (5, 0.2));
    assert_eq!(scores.shortage_ratio, 15.0 / 65.0);
    assert_eq!((scores.pods_mean, scores.churn), (9.0 / 5.0, 4.0 / 5.0));
}

#[test]
fn without_load_no_pods_are_neither_too_few_nor_too_many() {
    let scores = scores(&[0.0; 3], &plant(1, 1), &mut Newest::new(1.0));
    assert_eq!((scores.short_time_ratio, scores.shortage_ratio, scores.pods_mean), (0.0, 0.0, 0.0));
    assert_eq!((scores.tau_u_percent, scores.tau_o_percent, scores.theta_o_percent), (0.0, 0.0, 0.0));
}

#[test]
fn the_hpa_pays_and_readies_by_the_quarter_minute() {
    // Four reconciles a minute: from 10 pods to 100 by way of 20, 40 and 80. At a lead of one step each order is ready at once, at
    // two a minute later.
    let counts = [100.0, 1000.0, 1000.0, 1000.0, 1000.0];
    let hpa = |lead| Plant { actuator: Actuator::Hpa, ..plant(lead, 1) };
    let ramp = (20.0 + 40.0 + 80.0 + 100.0) / 4.0;
    let one = course(&counts, &hpa(1), &mut Newest::new(1.0));
    assert_eq!(one, [(10.0, 10.0, 0.0), (ramp, ramp, 90.0), (100.0, 100.0, 0.0), (100.0, 100.0, 0.0)]);
    let two = course(&counts, &hpa(2), &mut Newest::new(1.0));
    assert_eq!(two, [(10.0, 10.0, 0.0), (ramp, 10.0, 90.0), (100.0, ramp, 0.0), (100.0, 100.0, 0.0)]);
    // 105 are within the tolerance of 100.
    let near = course(&[1000.0, 1050.0, 1050.0], &hpa(1), &mut Newest::new(1.0));
    assert_eq!(near, [(100.0, 100.0, 0.0); 2]);
}

#[test]
fn the_parts_are_those_of_the_protocol() {
    assert_eq!(Parts::new(109_413, 0.3), Parts { validation: 43_765, test: 76_589 });
    assert_eq!(Parts::new(10, 0.3), Parts { validation: 4, test: 7 });
}

/// Days of a smooth swell with a little unevenness, in minutes.
fn days(n: usize) -> Series {
    let load = |i: usize| {
        let day = (i as f64 * std::f64::consts::TAU / 1440.0).sin();
        (1000.0 + 600.0 * day + 40.0 * (i as f64 * 2.4).sin()).round()
    };
    Series { name: "days".to_owned(), step: MINUTE, counts: (0..1440 * n).map(load).collect() }
}

fn settings(actuator: Actuator) -> Settings {
    Settings { lead: MINUTE * 5, objective: "0.5%".parse().unwrap(), actuator, test_fraction: 0.3 }
}

#[test]
fn a_comparison_brackets_what_is_possible() {
    let comparison = compare(&days(4), &settings(Actuator::Ideal)).unwrap();
    assert_eq!((comparison.scores.steps, comparison.step_s, comparison.lead_s), (1728, 60.0, 300.0));
    assert!((comparison.objective - 0.005).abs() < 1e-12);
    let best = comparison.pods_reactive_best.unwrap();
    assert_eq!(comparison.clairvoyant_short_time_ratio, 0.0);
    assert!(comparison.pods_clairvoyant < best && best < 30.0, "{comparison:#?}");
    let fewest = comparison.rules.iter().filter_map(|rule| rule.pods_mean).min_by(f64::total_cmp).unwrap();
    assert!(fewest <= best);
    assert_eq!(comparison.rules.len(), Reactive::ALL.len());
    let equal = comparison.rules.iter().filter_map(|rule| rule.pods_at_equal_short_time);
    assert_eq!(equal.min_by(f64::total_cmp), comparison.pods_reactive_best_at_equal_short_time);
}

#[test]
fn the_same_rules_run_through_an_hpa() {
    let comparison = compare(&days(1), &settings(Actuator::Hpa)).unwrap();
    assert!(comparison.pods_clairvoyant > 0.0 && comparison.scores.pods_mean > 0.0);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let error = |series: &Series, settings: &Settings| compare(series, settings).unwrap_err().to_string();
    let good = settings(Actuator::Ideal);
    let short = Series { counts: vec![1.0; 33], ..days(1) };
    let expected = "days: its 33 steps are too few: 34 are needed, so that each part is as long as the lead and the hold";
    assert_eq!(error(&short, &good), expected);
    let idle = Series { counts: vec![0.0; 100], ..days(1) };
    assert!(error(&idle, &good).contains("no request before the test part"));
    let late = Settings { test_fraction: 0.5, ..good };
    assert_eq!(error(&days(1), &late), "test fraction is 0.5: expected 0.01 to 0.4");
    let at_once = Settings { lead: Span::ZERO, ..good };
    assert_eq!(error(&days(1), &at_once), "lead is 0s: expected more than 0s");
}

proptest! {
    /// The clairvoyant is never short, whatever comes, and nobody with fewer pods in every step is not.
    #[test]
    fn the_clairvoyant_is_never_short(
        counts in proptest::collection::vec(0u32..1000, 2..60),
        lead in 1usize..6,
        hold in 1usize..6,
    ) {
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let scores = scores(&counts, &plant(lead, hold), &mut Clairvoyant::new(&counts, lead));
        prop_assert_eq!(scores.short_time_ratio, 0.0);
        prop_assert_eq!((scores.shortage_ratio, scores.tau_u_percent), (0.0, 0.0));
    }

    /// More head-room costs no fewer pods and is short no more often.
    #[test]
    fn more_pods_never_increase_short_time(
        counts in proptest::collection::vec(0u32..1000, 2..80),
        utilizations in (0.04f64..=1.0, 0.04f64..=1.0),
        lead in 1usize..6,
        hold in 1usize..6,
    ) {
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let (few, many) = (utilizations.0.max(utilizations.1), utilizations.0.min(utilizations.1));
        for kind in Reactive::ALL {
            let at = |u| scores(&counts, &plant(lead, hold), kind.rule(MINUTE, u).as_mut());
            let (few, many) = (at(few), at(many));
            prop_assert!(few.pods_mean <= many.pods_mean);
            prop_assert!(few.short_time_ratio >= many.short_time_ratio, "{kind:?} {few:?} {many:?}");
            prop_assert!(few.shortage_ratio >= many.shortage_ratio);
            prop_assert!(few.theta_u_percent >= many.theta_u_percent);
        }
    }

    /// Changing the future changes no pod of the past.
    #[test]
    fn no_rule_sees_what_is_to_come(
        counts in proptest::collection::vec(0u32..1000, 4..60),
        from in 2usize..60,
        instead in 0u32..5000,
    ) {
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let from = from.min(counts.len() - 1);
        let mut other = counts.clone();
        other[from..].fill(f64::from(instead));
        let objective = "0.5%".parse().unwrap();
        let mut rules: Vec<[Box<dyn Rule>; 2]> = Reactive::ALL
            .map(|kind| [kind.rule(MINUTE, 0.5), kind.rule(MINUTE, 0.5)])
            .into_iter()
            .collect();
        rules.push([(); 2].map(|()| Box::new(Plimsoll::new(MINUTE, MINUTE * 5, objective, 10.0)) as Box<dyn Rule>));
        for [one, two] in &mut rules {
            let before = course(&counts, &plant(2, 3), one.as_mut());
            let after = course(&other, &plant(2, 3), two.as_mut());
            // The pods of step `from` follow from the steps before it.
            prop_assert_eq!(&before[..from], &after[..from]);
        }
    }
}
