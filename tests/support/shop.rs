//! A workload for tests of what people see: its load comes and goes with the day, and its mix is another each minute.

use std::f64::consts::TAU;

use plimsoll::load::{Group, HistogramRates, Labels, Pods, SAMPLE_SCHEMA, Sample};
use plimsoll::spec::{Checked, Spec};
use plimsoll::units::{Cores, Rate, Span, Time};
use serde_json::json;

const INTERVAL: Span = Span::from_secs(60);

/// It is told of each minute, and learns what its requests cost.
pub(crate) fn spec() -> Checked {
    let spec: Spec = serde_json::from_value(json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        "minReplicas": 2,
        "maxReplicas": 12,
        "mode": "Auto",
        "load": {"histogram": "d", "source": {"scrape": {"interval": "1m"}}},
        "target": {"cpuUtilization": 60},
    }))
    .unwrap();
    assert_eq!(spec.check().unwrap().interval, INTERVAL);
    spec.check().unwrap()
}

/// What `replicas` pods tell of a load that comes and goes with the day, and whose mix is another each minute.
pub(crate) fn sample(at: Time, replicas: u32, minute: i64) -> Sample {
    let day = (minute % 1440) as f64 / 1440.0;
    let ripple = 1.0 + 0.05 * (minute as f64 * 2.4).sin();
    let requests = 300.0 * (1.0 - 0.7 * (TAU * day).cos()) * ripple;
    let heavy = 0.01 + 0.08 * (minute as f64 * 0.61803).fract();
    let middle = 0.1 + 0.2 * (minute as f64 * 0.414_21).fract();
    let rates = [1.0 - middle - heavy, middle, heavy].map(|share| share * requests);
    // Every pod costs something when idle.
    let cores = f64::from(replicas) * 0.05 + 0.002 * rates[0] + 0.01 * rates[1] + 0.2 * rates[2];
    let group = Group {
        histograms: vec![
            HistogramRates::new(
                Labels::new(),
                vec![0.05, 0.5],
                rates.map(|rate| Rate::new(rate).unwrap()).to_vec(),
                None,
            )
            .unwrap(),
        ],
        cpu: Cores::new(cores * (1.0 + 0.02 * (minute as f64 * 1.7).sin())).ok(),
        requested_per_pod: Cores::new(2.0).ok(),
        ..Group::new(replicas, INTERVAL)
    };
    Sample {
        schema: SAMPLE_SCHEMA,
        at,
        pods: Pods { replicas, ready: replicas, warming: 0, silent: 0, updating: false },
        groups: vec![group],
        offered: None,
    }
}
