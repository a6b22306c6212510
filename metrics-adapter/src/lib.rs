//! Plimsoll's adapter: everything that touches a cluster, a network or a clock.
//!
//! ```text
//! collect ──Sample──▶ engine ──Decision──▶ board ──▶ external   external.metrics.k8s.io over TLS
//!                                                └──▶ ops        own /metrics, health
//! ```
//!
//! In a cluster `control` says which objects there are, tells engines of their pods, and acts upon what is decided.
//!
//! `collect` writes samples, `engine` turns them into decisions, the others only read the board. `adapter` is the one
//! part that knows them all; `config` says what to watch where there is no cluster, `client` reads the API as an HPA
//! does, `record` writes samples to a file, `rules` has a metrics server count by itself, and `demo` is the whole loop on a laptop. Time comes from the one `clock`, the end from the one `stop`.

pub mod adapter;
pub mod backtest;
pub mod board;
pub mod cli;
pub mod client;
pub mod clock;
pub mod collect;
pub mod config;
pub mod console;
pub mod control;
pub mod cost;
pub mod demo;
pub mod engine;
pub mod explain;
pub mod external;
pub mod finding;
pub mod ops;
pub mod record;
pub mod reference;
pub mod resource;
pub mod rules;
pub mod run;
pub mod stop;
