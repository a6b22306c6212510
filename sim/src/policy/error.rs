//! What cannot be asked for.

use super::NAMES;

/// A policy that there is not, or that cannot be set like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no such policy.
    #[error("there is no policy {0:?}: the policies are {list}", list = NAMES.join(", "))]
    Unknown(String),
    /// It has no such knob.
    #[error("{policy} has no knob {knob:?}: it has {known}")]
    Knob {
        /// The policy.
        policy: String,
        /// The knob that it lacks.
        knob: String,
        /// The knobs that it has.
        known: String,
    },
    /// A knob is not set to what it takes.
    #[error("{policy}: {knob}={value}: expected {expected}")]
    Value {
        /// The policy.
        policy: String,
        /// The knob.
        knob: String,
        /// What it is set to.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A knob is set more than once.
    #[error("{policy}: {knob} is set twice: give it once")]
    Twice {
        /// The policy.
        policy: String,
        /// The knob.
        knob: String,
    },
    /// Not a list of `key=value`.
    #[error("{0:?} is not a policy: write NAME or NAME:key=value,key=value")]
    Syntax(String),
}
