//! What the adapter tells about itself: `/metrics`, `/healthz` and `/readyz` on a port of their own, in plain HTTP.

mod board_metrics;
mod server;
mod telemetry;

pub use server::{OpsServer, Readiness, Served};
pub use telemetry::Telemetry;
