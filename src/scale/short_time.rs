//! Time in which the ready pods were too few, and what caused it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::load::Pods;
use crate::units::{Span, Time};

/// Time in which demand was above what the ready pods should carry, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShortTime {
    /// The decision that was in time for it asked for too few.
    pub forecast: Span,
    /// `maxReplicas` kept it from asking for more.
    pub limit: Span,
    /// Enough were asked for in time, and whoever sets the replicas did not: a tolerance, a rate limit, another owner.
    pub tolerance: Span,
    /// Enough replicas were set, and some of their pods are not ready and not on their way.
    pub unready: Span,
    /// Enough replicas were set in time, and their pods take longer than the lead time.
    pub lead: Span,
    /// The load was not known when it should have been decided.
    pub missing: Span,
}

impl ShortTime {
    /// Each cause's name and time.
    pub fn causes(&self) -> [(&'static str, Span); 6] {
        [
            ("forecast", self.forecast),
            ("limit", self.limit),
            ("tolerance", self.tolerance),
            ("unready", self.unready),
            ("lead", self.lead),
            ("missing", self.missing),
        ]
    }

    /// All of it.
    pub fn total(&self) -> Span {
        self.causes().into_iter().fold(Span::ZERO, |sum, (_, span)| sum + span)
    }
}

/// What was wanted at some instant.
#[derive(Debug, Clone, Copy)]
struct Wish {
    at: Time,
    /// None while the load was not known.
    replicas: Option<u32>,
    /// It would have been more but for `maxReplicas`.
    is_limited: bool,
}

/// Tells causes from what was wanted when.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) short: ShortTime,
    wishes: VecDeque<Wish>,
}

/// Most wishes that are remembered: half an hour of them every second.
const REMEMBERED: usize = 1800;

impl Account {
    /// Notes what was wanted at `at`: so many replicas, or nothing as nothing was known.
    pub(super) fn wish(&mut self, at: Time, replicas: Option<u32>, is_limited: bool) {
        if self.wishes.len() == REMEMBERED {
            self.wishes.pop_front();
        }
        self.wishes.push_back(Wish { at, replicas, is_limited });
    }

    /// Charges `length` that ended at `at`, in which it took `needed` pods to carry the demand and there were `pods`; wishes count `lead`
    /// later. Nothing is charged where the ready pods were enough.
    pub(super) fn charge(&mut self, at: Time, length: Span, needed: u32, pods: Pods, lead: Span) {
        let in_time = at - lead;
        // The last wish that was in time, and all after it.
        let from = self.wishes.iter().rposition(|wish| wish.at <= in_time).unwrap_or(0);
        if pods.ready < needed {
            let since = || self.wishes.range(from..);
            let asked = since().all(|wish| wish.replicas.is_some_and(|replicas| replicas >= needed));
            let cause = if since().any(|wish| wish.replicas.is_none()) || self.wishes.is_empty() {
                &mut self.short.missing
            } else if asked && pods.replicas < needed {
                &mut self.short.tolerance
            } else if asked && pods.warming > 0 {
                &mut self.short.lead
            } else if asked || pods.replicas >= needed && pods.warming == 0 {
                &mut self.short.unready
            } else if since().next().is_some_and(|wish| wish.is_limited) {
                &mut self.short.limit
            } else {
                &mut self.short.forecast
            };
            *cause = *cause + length;
        }
        self.wishes.drain(..from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: Span = Span::from_secs(60);

    /// What five seconds at 100 s are charged to, after wishes at 0, 30, 60 and 90 s.
    fn cause(wishes: [Option<u32>; 4], is_limited: bool, pods: Pods) -> Option<&'static str> {
        let mut account = Account::default();
        for (i, replicas) in wishes.into_iter().enumerate() {
            account.wish(Time::from_secs(30 * i as i64), replicas, is_limited);
        }
        account.charge(Time::from_secs(100), Span::from_secs(5), 10, pods, LEAD);
        let charged: Vec<_> =
            account.short.causes().into_iter().filter(|(_, span)| *span > Span::ZERO).collect();
        assert!(charged.len() <= 1 && account.short.total() <= Span::from_secs(5));
        charged.first().map(|(cause, _)| *cause)
    }

    fn pods(replicas: u32, ready: u32, warming: u32) -> Pods {
        Pods { replicas, ready, warming, silent: 0, updating: false }
    }

    #[test]
    fn each_shortage_has_its_cause() {
        let (enough, few) = (Some(10), Some(7));
        assert_eq!(cause([few; 4], false, pods(10, 10, 0)), None);
        assert_eq!(cause([few; 4], false, pods(7, 7, 0)), Some("forecast"));
        assert_eq!(cause([few, few, enough, enough], false, pods(10, 7, 3)), Some("forecast"), "too late");
        assert_eq!(cause([few; 4], true, pods(7, 7, 0)), Some("limit"));
        assert_eq!(cause([few, enough, enough, enough], false, pods(7, 7, 0)), Some("tolerance"));
        assert_eq!(cause([few, enough, enough, enough], false, pods(10, 7, 3)), Some("lead"));
        assert_eq!(cause([enough; 4], false, pods(10, 7, 0)), Some("unready"));
        assert_eq!(cause([few, None, enough, enough], false, pods(7, 7, 0)), Some("missing"));
    }
}
