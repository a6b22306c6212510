//! How many replicas a load takes, and why.
//!
//! [`Autoscaler::observe`] takes a [`Sample`](crate::load::Sample), [`Autoscaler::decide`] gives a [`Decision`].
//! Both are plain functions of state and arguments. A decision carries its whole reason; whatever people see
//! (status, metrics, console, tables) is a rendering of that one record. An unknown load is a decision of its
//! own, [`Outcome::NoOpinion`]: an error holds the replicas, a zero would lose them.

mod autoscaler;
mod capacity;
mod checkpoint;
mod decision;
mod event_floor;
mod lead_time;
mod outlook;
mod short_time;
mod steps;

pub use autoscaler::{Autoscaler, ObserveError};
pub use checkpoint::{CHECKPOINT_SCHEMA, Checkpoint};
pub use decision::{
    Capacity, CapacitySource, DECISION_SCHEMA, Decision, Desired, Evidence, Learned, NoOpinion, Outcome,
    Step, StepKind,
};
pub use lead_time::{LeadTime, StartUp};
pub use outlook::OutlookState;
pub use short_time::ShortTime;
