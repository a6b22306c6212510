//! How many replicas a load takes, and why.
//!
//! [`Autoscaler::observe`] takes a [`Sample`](crate::load::Sample), [`Autoscaler::decide`] gives a [`Decision`].
//! Both are plain functions of state and arguments. A decision carries its whole reason; whatever people see
//! (status, metrics, console, tables) is a rendering of that one record. An unknown load is a decision of its
//! own, [`Outcome::NoOpinion`]: an error holds the replicas, a zero would lose them. Only where the user has said what to do
//! then is there a number without a load, [`Outcome::Fallback`].

mod autoscaler;
mod bounds;
mod capacity;
mod checkpoint;
mod decision;
mod event_floor;
mod lead_time;
mod no_opinion;
mod outlook;
mod past_load;
mod short_time;
mod step_kind;
mod steps;

pub use autoscaler::{Autoscaler, ObserveError};
pub use checkpoint::{CHECKPOINT_SCHEMA, Checkpoint};
pub use decision::{
    Capacity, CapacitySource, DECISION_SCHEMA, Decision, Desired, Evidence, Fallback, Learned, Outcome,
};
pub use lead_time::{LeadTime, StartUp};
pub use no_opinion::NoOpinion;
pub use outlook::OutlookState;
pub use past_load::PastLoad;
pub use short_time::ShortTime;
pub use step_kind::{Step, StepKind};
