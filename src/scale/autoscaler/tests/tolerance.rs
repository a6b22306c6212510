//! An HPA that does nothing about less than 10 %.

use std::collections::BTreeMap;

use super::super::proposal::acted_upon;
use super::*;
use crate::hpa::{Hpa, HpaSpec, MetricSpec, Observed as Seen, Samples, Settings as HpaSettings, ValueTarget};
use crate::units::Quantity;

/// Replicas that an HPA without behavior sets where there are `current`, and its metric says `value` at one a pod.
fn set_by_an_hpa(current: u32, value: u32) -> u32 {
    let target = ValueTarget::AverageValue(Quantity::from_milli(1000));
    let metric = MetricSpec::External { metric: "n".into(), selector: None, target };
    let spec = HpaSpec { min_replicas: Some(1), max_replicas: 10_000, metrics: vec![metric], behavior: None };
    let external =
        BTreeMap::from([("n".to_owned(), Ok(vec![Quantity::from_milli(1000 * i64::from(value))]))]);
    let replicas = i32::try_from(current).unwrap();
    let seen = Seen { spec_replicas: replicas, status_replicas: replicas, ..Seen::default() };
    let mut hpa = Hpa::new(spec, HpaSettings::default());
    let done = hpa.reconcile(at(0), &seen, &Samples { external, ..Samples::default() });
    u32::try_from(done.replicas).unwrap()
}

#[test]
fn what_is_asked_for_is_what_an_hpa_acts_upon_and_no_more_than_it_takes() {
    for current in 1..200 {
        for more in 1..=current {
            let wanted = current + more;
            let asked = acted_upon(current, wanted);
            let set = set_by_an_hpa(current, asked);
            assert!(set >= wanted, "{wanted} of {current}: asked for {asked}, it sets {set}");
            assert!(f64::from(asked) <= (1.1 * f64::from(current)).max(f64::from(wanted)) + 2.0);
        }
        assert_eq!(acted_upon(current, current), current);
        assert_eq!(acted_upon(current, current - 1), current - 1);
    }
}

#[test]
fn an_exact_one_is_asked_for_what_is_wanted_and_a_tolerant_one_for_a_little_more() {
    let mut a = settled(Mode::Auto);
    // 10.5 a pod at ten a pod, for 12 pods: one more is wanted, and is less than 10 %.
    a.observe(&sample(0, pods(12), &[10.5; 12])).unwrap();
    assert_eq!(replicas(&a.decide(at(0))), Ok((13, vec!["Load"])));
    a.set_tolerant(true);
    assert_eq!(replicas(&a.decide(at(0))), Ok((14, vec!["Load", "Tolerance"])));
    // When they are there nothing more is wanted, and what is wanted less it may have.
    a.observe(&sample(15, pods(14), &[9.0; 14])).unwrap();
    assert_eq!(replicas(&a.decide(at(15))), Ok((13, vec!["Load"])));
    // The bounds are the last word, and are not what limits it: the load takes twenty.
    a.observe(&sample(30, pods(19), &[10.5; 19])).unwrap();
    assert_eq!(replicas(&a.decide(at(30))), Ok((20, vec!["Load"])));
}
