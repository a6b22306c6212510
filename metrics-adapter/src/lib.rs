//! Plimsoll's adapter: everything that touches a cluster, a network or a clock.
//!
//! ```text
//! collect ──Sample──▶ engine ──Decision──▶ board ──▶ external   external.metrics.k8s.io over TLS
//!                                                └──▶ ops        own /metrics, health
//! ```
//!
//! `collect` writes samples, `engine` turns them into decisions, the others only read the board.

pub mod adapter;
pub mod cli;
pub mod client;
pub mod clock;
pub mod collect;
pub mod config;
pub mod demo;
pub mod engine;
pub mod external;
pub mod ops;
pub mod resource;
pub mod stop;
