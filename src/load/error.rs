//! What cannot have been counted.

use crate::units::Time;

/// A reading, or rates, that cannot be what a pod has counted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadingError {
    /// A bound is not finite, or does not exceed the one before it.
    #[error("bucket bounds must be finite and ascending: {0}")]
    Bounds(f64),
    /// A cumulative count decreases from one bucket to the next.
    #[error("cumulative bucket counts must not decrease: {before}, then {after}")]
    NotCumulative {
        /// The count of the lower bucket.
        before: f64,
        /// The count of the higher one.
        after: f64,
    },
    /// Bounds and counts do not belong together.
    #[error("{expected} buckets were expected, {found} found: the last one must be +Inf")]
    BucketCount {
        /// One more than there are finite bounds.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// NaN, an infinity, a negative count, or a number so large that its rate overflows.
    #[error("{what} is {value}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What it is.
        value: f64,
    },
    /// The pod has shown the histogram before, and does not any more.
    #[error("the histogram is gone from the page")]
    Vanished,
    /// The reader's clock and the wall's went apart since the last reading: the time between the two is not known.
    #[error("the clock was stepped, or slept, since the last reading")]
    ClockStepped,
    /// The reading is not newer than the pod's last one.
    #[error("the reading of {given} is not newer than the last one, of {last}")]
    NotNewer {
        /// Instant of the last reading.
        last: Time,
        /// Instant of this one.
        given: Time,
    },
}

/// Finite and ascending, as the bounds of a histogram are.
pub(super) fn check_bounds(le: &[f64]) -> Result<(), ReadingError> {
    let ascending = le.windows(2).find(|pair| pair[0] >= pair[1]).map(|pair| pair[1]);
    match le.iter().copied().find(|bound| !bound.is_finite()).or(ascending) {
        Some(bound) => Err(ReadingError::Bounds(bound)),
        None => Ok(()),
    }
}
