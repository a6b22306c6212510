//! What requests cost, learned from what was recorded of two real servers. How that was done is in `tests/data/real-servers`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::path::Path;

use plimsoll::load::FitSettings;
use plimsoll_sim::costs::{Costs, learn};
use plimsoll_sim::samples::Samples;

fn learned(recording: &str) -> Costs {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/real-servers");
    let samples = Samples::open(&folder.join(recording)).unwrap();
    learn(samples, FitSettings::default()).unwrap()
}

/// Weights that are learned from the first half predict the CPU of the second. Ordinary least squares, learned as the fit learns, have R² of 0.933 and 0.947 here; where both
/// servers work at once 0.856 and 0.881, and with the best coefficients in hindsight 0.888 and 0.929.
#[test]
fn weights_tell_the_cpu_of_real_servers() {
    for (recording, least) in [
        ("prometheus.csv", 0.9),
        ("etcd.csv", 0.9),
        ("prometheus-both-at-once.csv", 0.85),
        ("etcd-both-at-once.csv", 0.85),
    ] {
        let costs = learned(recording);
        let rivals = costs.r2_qps.unwrap().max(costs.r2_cpu_per_request.unwrap());
        let r2 = costs.r2.unwrap();
        assert!(
            r2 > least && rivals < 0.1,
            "{recording}: R² {r2:.3}, of requests without classes {rivals:.3}"
        );
        assert!(costs.identifiable && costs.congested <= 1, "{recording}: {}", costs.message);
    }
}

/// Intervals tell heavy requests from medium ones, which cost a fifth of them.
#[test]
fn a_heavy_request_is_told_from_a_medium_one() {
    for (recording, medium, heavy) in [
        ("prometheus.csv", "le_0.2", "le_1"),
        ("etcd.csv", "le_0.25", "le_1"),
        ("prometheus-both-at-once.csv", "le_0.2", "le_1"),
        ("etcd-both-at-once.csv", "le_0.25", "le_2.5"),
    ] {
        let intervals = learned(recording).intervals;
        let [medium, heavy] = [medium, heavy].map(|class| intervals[class].unwrap());
        assert!(medium.1 < heavy.0, "{recording}: medium {medium:?}, heavy {heavy:?}");
    }
}
