//! What a comparison cannot be made of.

/// A comparison that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum FluidError {
    /// A setting is out of its range.
    #[error("{setting} is {value}: expected {expected}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The series is too short for parts that tell anything.
    #[error(
        "{trace}: its {steps} steps are too few: {needed} are needed, so that each part is as long as the lead and the hold"
    )]
    TooShort {
        /// The series.
        trace: String,
        /// How many steps it has.
        steps: usize,
        /// How many it should have.
        needed: usize,
    },
    /// There is nothing to size a pod by.
    #[error("{0}: there is no request before the test part, so a pod has no size")]
    NoLoad(String),
}
