//! What is shown, by subject.

mod asking;
mod cpu;
mod credentials;
mod fleet;
mod following;
mod installed;
mod leading;
mod model;
mod modes;
mod others;
mod outages;
mod proof;
mod refused;
mod rollouts;
mod security;

use crate::Named;

/// All of them.
pub(crate) fn all() -> Vec<Named> {
    [
        asking::TRIALS,
        cpu::TRIALS,
        credentials::TRIALS,
        following::TRIALS,
        installed::TRIALS,
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

pub(crate) use proof::trial as proof;

/// Those that measure, and are run by hand.
pub(crate) fn by_hand() -> Vec<Named> {
    fleet::BY_HAND.to_vec()
}
