//! Rules: what to be ready for, given the load so far.

mod clairvoyant;
mod ewma;
mod maximum;
mod mean;
mod newest;
mod plimsoll;

use std::fmt;

use ::plimsoll::units::Span;

pub use clairvoyant::Clairvoyant;
pub use ewma::Ewma;
pub use maximum::Maximum;
pub use mean::Mean;
pub use newest::Newest;
pub use plimsoll::Plimsoll;

use super::kernel::Plant;

/// Says, step by step, which load there should be pods for.
pub trait Rule: fmt::Debug {
    /// Step t has ended with `load` requests (finite, not negative). The load that pods should be able to carry from t +
    /// lead on, in requests a step; not negative. Called once a step, in order, so a rule cannot see what is to come.
    fn decide(&mut self, load: f64) -> f64;
}

const MINUTE: Span = Span::from_secs(60);

/// The rules that only look back. Each divides what it sees by a utilization u: the head-room is its one knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reactive {
    /// The last step.
    Newest,
    /// The mean of the last 5 minutes.
    Mean5,
    /// The maximum of the last 15 minutes.
    Max15,
    /// The maximum of the last hour.
    Max60,
    /// A mean in which a step counts half as much as one 5 minutes later.
    Ewma,
}

impl Reactive {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Newest, Self::Mean5, Self::Max15, Self::Max60, Self::Ewma];

    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Newest => "reactive",
            Self::Mean5 => "mean5",
            Self::Max15 => "max15",
            Self::Max60 => "max60",
            Self::Ewma => "ewma",
        }
    }

    /// The rule at `utilization`, above 0 and at most 1, on steps of that length. A window is a whole number of steps, one at
    /// least: on steps of 5 minutes a mean of 5 minutes is the last step.
    pub fn rule(self, step: Span, utilization: f64) -> Box<dyn Rule> {
        let steps = |minutes| Plant::steps(step, MINUTE * minutes);
        match self {
            Self::Newest => Box::new(Newest::new(utilization)),
            Self::Mean5 => Box::new(Mean::new(steps(5), utilization)),
            Self::Max15 => Box::new(Maximum::new(steps(15), utilization)),
            Self::Max60 => Box::new(Maximum::new(steps(60), utilization)),
            Self::Ewma => Box::new(Ewma::new(step, MINUTE * 5, utilization)),
        }
    }
}
