//! The fluid engine: months of load in a moment.
//!
//! Load is a number a step, pods carry a number a step each, and what they cannot carry is lost. So it sees how many pods a
//! rule pays for and how often they are too few, and neither latency nor queues nor single requests: those are the
//! [`cluster`](crate::cluster)'s. What it is for is comparing rules on long traces at equal shortage.
//!
//! ```text
//! rules     what to be ready for, given the load so far
//! actuator  who orders the pods: an ideal one, or the HPA's own algorithm
//! kernel    the closed loop, step by step
//! score     shortage, pods, churn, and the scores of SPEC
//! frontier  pods against short time, over a rule's knob
//! compare   Plimsoll, the clairvoyant and the reactive rules on one series
//! backtest  what several ways would have made of a workload's own past
//! policies  the event engine's policies, which see samples and pods, and decide by its own code
//! ```

mod actuator;
mod backtest;
mod compare;
mod error;
mod frontier;
mod kernel;
mod mix;
mod pods;
mod policies;
mod rules;
mod score;

pub use actuator::Actuator;
pub use backtest::{Backtest, WARM_UP, Way, WayKind, backtest};
pub use compare::{Comparison, Parts, RuleReport, Settings, compare};
pub use error::FluidError;
pub use frontier::{Frontier, Point, sweep, utilizations};
pub use kernel::{Plant, Step, run};
pub use policies::{Outcome, Workload};
pub use rules::{Clairvoyant, Ewma, Maximum, Mean, Newest, Plimsoll, Reactive, Rule};
pub use score::{Scores, Tally};

#[cfg(test)]
mod tests;
