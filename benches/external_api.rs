//! Claim: an external metric is answered from the board in microseconds, however many objects there are.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use hyper::Request;
use plimsoll::load::Sample;
use plimsoll::scale::{Autoscaler, Outcome};
use plimsoll::spec::Spec;
use plimsoll::units::Time;
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::external::Api;
use plimsoll_adapter::ops::{Readiness, Telemetry};

const NOW: Time = Time::from_secs(1_800_000_000);

/// An API over so many objects, each with a decision that holds.
fn api(objects: usize) -> serde_json::Result<Api> {
    let spec: Spec = serde_json::from_value(serde_json::json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "maxReplicas": 100,
        "load": {"histogram": "d", "weights": {"fixed": {}}},
        "target": {"metricsQPSPerPod": "10"},
    }))?;
    let sample: Sample = serde_json::from_value(serde_json::json!({
        "schema": 1,
        "at": NOW,
        "pods": {"replicas": 1, "ready": 1, "warming": 0, "silent": 0},
        "groups": [{"pods": 1, "silent": false, "window": "15s", "histograms": [
            {"labels": {}, "le": [0.01, 0.05, 0.1, 0.5], "rates": [10.0, 5.0, 3.0, 2.0, 1.0]},
        ]}],
    }))?;
    let board = Arc::new(Board::default());
    let clock = Clock::manual(NOW).0;
    for i in 0..objects {
        let Ok(checked) = spec.check() else { continue };
        let mut autoscaler = Autoscaler::new(checked);
        let observed = autoscaler.observe(&sample);
        let decision = autoscaler.decide(NOW);
        assert!(observed.is_ok() && matches!(decision.outcome, Outcome::Desired(_)));
        board.cell(&ObjectKey::new("default", format!("object-{i:04}"))).publish(decision);
    }
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
    Ok(Api::new(board, clock, Readiness::default(), telemetry))
}

fn external_api(c: &mut Criterion) {
    let mut group = c.benchmark_group("external metric GET");
    for objects in [1, 500] {
        let uri = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/metricsqps\
                   ?labelSelector=plimsoll.dev%2Fautoscaler%3Dobject-0000";
        let request = Request::get(uri).header("accept", "application/vnd.kubernetes.protobuf, */*").body(());
        let (Ok(api), Ok(request)) = (api(objects), request) else { continue };
        assert!(api.respond(&request).status().is_success());
        group.bench_function(format!("{objects} objects"), |b| b.iter(|| api.respond(black_box(&request))));
    }
    group.finish();
}

criterion_group!(benches, external_api);
criterion_main!(benches);
