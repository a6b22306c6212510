//! What is shown, by subject.

mod following;
mod leading;
mod model;
mod modes;
mod others;
mod outages;
mod refused;
mod rollouts;
mod security;

use crate::Named;

/// All of them.
pub(crate) fn all() -> Vec<Named> {
    [
        following::TRIALS,
        leading::TRIALS,
        model::TRIALS,
        modes::TRIALS,
        others::TRIALS,
        outages::TRIALS,
        refused::TRIALS,
        rollouts::TRIALS,
        security::TRIALS,
    ]
    .concat()
}
