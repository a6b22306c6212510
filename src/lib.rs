//! Plimsoll's core: how heavily a workload is laden, and how many replicas that takes.
//!
//! Everything here is a plain function of state and arguments. There is no clock, no I/O, no randomness
//! without a seed and no async, so the simulator runs the very code that a cluster runs, and a recorded stream
//! of samples replays to the same decisions, bit for bit.
//!
//! ```text
//! load      how much work arrives: counters -> rates -> classes -> weights -> MetricsQPS
//! forecast  how much will arrive: an upper bound until what is decided now is ready
//! scale     how many replicas that takes, and why: Autoscaler, Decision
//! hpa       the HorizontalPodAutoscaler's own algorithm, exactly
//! spec      what a user configures
//! units     durations, instants, quantities, rates: nothing crosses a border as a bare number
//! ```
//!
//! `load`, `forecast` and `hpa` know nothing of each other; `scale` knows `load`, `forecast` and `spec`.

pub mod forecast;
pub mod hpa;
pub mod load;
pub mod scale;
pub mod spec;
pub mod units;
