//! `clairvoyant`: the work that will come, over a utilization: nobody can know more. It wants pods for the busiest of the minutes from now to
//! the one in which pods that are ordered at the next reconcile would be ready. It goes through the same HPA as the others, so what
//! it orders is stabilized for five minutes on the way down.

use ::plimsoll::units::{Span, Time};

use super::Basis;
use super::planned::Plan;

const MINUTE: Span = Span::from_secs(60);

#[derive(Debug)]
pub(super) struct Clairvoyant {
    start: Time,
    ahead: Span,
    /// Work of each minute, in pods at target.
    work: Vec<f64>,
}

impl Clairvoyant {
    pub(super) fn new(basis: &Basis<'_>) -> Self {
        // A reconcile may just have been missed, and its pods are late in five of a hundred cases.
        let ahead = basis.lead + basis.interval * 2;
        Self { start: basis.start, ahead, work: basis.profile.work.clone() }
    }
}

impl Plan for Clairvoyant {
    fn size(&mut self, cores: f64) {
        for work in &mut self.work {
            *work /= cores;
        }
    }

    fn wanted(&mut self, now: Time, _: Option<f64>) -> Option<f64> {
        let minute =
            |at: Time| usize::try_from((at - self.start).as_nanos() / MINUTE.as_nanos()).unwrap_or(0);
        let last = self.work.len().saturating_sub(1);
        let (from, to) = (minute(now).min(last), minute(now + self.ahead).min(last));
        self.work.get(from..=to).map(|work| work.iter().copied().fold(0.0, f64::max))
    }
}
