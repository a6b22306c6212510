//! A request of any path, query and Accept: nothing panics, and nothing is an internal error.

#![no_main]

use std::sync::Arc;

use hyper::Request;
use libfuzzer_sys::fuzz_target;
use plimsoll::units::Time;
use plimsoll_adapter::clock::Clock;
use plimsoll_adapter::board::{Board, ObjectKey};
use plimsoll_adapter::external::Api;
use plimsoll_adapter::ops::{Readiness, Telemetry};

const METRIC: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/metricsqps?labelSelector=";

fuzz_target!(|request: (bool, &str, &str)| {
    let (selector_only, path, accept) = request;
    let uri = if selector_only { format!("{METRIC}{path}") } else { format!("/{path}") };
    let Ok(request) = Request::get(uri).header("accept", accept).body(()) else { return };
    let board = Arc::new(Board::default());
    board.cell(&ObjectKey::new("default", "shop"));
    let clock = Clock::manual(Time::from_secs(1_800_000_000)).0;
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&board), clock.clone()));
    let status = Api::new(board, clock, Readiness::default(), telemetry).respond(&request).status();
    assert_ne!(status.as_u16(), 500);
});
