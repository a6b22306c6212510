//! Plimsoll's simulator: what autoscaling policies would have cost, and broken.
//!
//! A request trace is replayed through simulated pods, the HorizontalPodAutoscaler's own algorithm and Plimsoll's own
//! decisions: the very code that a cluster runs. Every policy gets the same requests at the same instants. The same seed
//! gives the same bytes: there is no clock here, and no random number without a seed. Nothing here talks to a
//! network.
//!
//! ```text
//! trace    what arrives when: files, or the one built in
//! cluster  simulated pods behind a balancer: latency is an outcome
//! policy   who decides how many pods there should be
//! replay   one trace, all policies in lockstep, one report
//! contest  policies on traces by either engine, and what each pays at equal shortage
//! cost     what pods cost by a price list, day by day
//! ```
//!
//! For months of load there is a second engine, in which load is a number a step: `fluid`, driven by a `series`. `backtest` holds the forecaster's
//! bounds against what came in such a series, and `page` is what reports for a browser are made with.
//!
//! `cluster` knows nothing of the others and can be driven by anyone who has a stream of requests. `profile` and `history` say
//! what a trace is like, `scenario` what is assumed, `score` and `report` what came out.

pub mod backtest;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cluster;
pub mod contest;
#[cfg(feature = "cli")]
pub mod convert;
pub mod cost;
pub mod costs;
pub mod fluid;
pub mod history;
pub mod latency;
mod measure;
pub mod policy;
pub mod profile;
mod random;
pub mod replay;
pub mod report;
pub mod samples;
pub mod scenario;
pub mod score;
pub mod series;
mod sliding;
pub mod trace;
