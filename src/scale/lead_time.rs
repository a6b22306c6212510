//! How long it takes until a pod that is wanted serves.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::load::Pods;
use crate::units::{Span, Time};

/// Start-ups that are remembered: enough for a 95th percentile, few enough to follow a new image.
const REMEMBERED: usize = 60;

/// Share of start-ups that take no longer.
const QUANTILE: f64 = 0.95;

/// Pods on their way that are followed.
const MOST_WARMING: usize = 10_000;

/// What a start-up is taken to last before one was seen: an image that is there, a process that has to warm up.
const UNSEEN: Span = Span::from_secs(60);

/// Until an HPA has seen a decision and acted on it: its sync period.
const SYNC: Span = Span::from_secs(15);

/// Longest start-up that is taken for one: a pod that takes longer waits for something else, such as a node that never comes.
const LONGEST: Span = Span::from_secs(3600);

/// How one pod came up. Parts are known where somebody watches pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartUp {
    /// From its creation until it was Ready.
    pub total: Span,
    /// Of that, until it was scheduled to a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Span>,
    /// Of that, until its containers had started, from being scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Span>,
}

/// The lead time, and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeadTime {
    /// From a decision until what it asks for serves.
    pub total: Span,
    /// Of that, the 95th percentile of creation to Ready.
    pub start_up: Span,
    /// Start-ups that it rests on; 0 while it is a guess.
    pub seen: u32,
    /// The user said so.
    pub is_pinned: bool,
    /// The 95th percentile of creation to scheduled, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Span>,
    /// The 95th percentile of scheduled to started, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Span>,
}

/// Learns how long pods take to come up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct LeadTimes {
    #[serde(skip)]
    pinned: Option<Span>,
    start_ups: VecDeque<StartUp>,
    /// When each pod that is on its way was first seen, oldest first.
    #[serde(skip)]
    warming: VecDeque<Time>,
    #[serde(skip)]
    before: Option<(Time, Pods)>,
}

impl LeadTimes {
    /// With a lead time that the user knows better, if any.
    pub(super) fn new(pinned: Option<Span>) -> Self {
        Self { pinned, ..Self::default() }
    }

    /// From now on it is as the user says, or measured.
    pub(super) fn pin(&mut self, pinned: Option<Span>) {
        self.pinned = pinned;
    }

    /// Goes on with the start-ups that an earlier one has seen.
    pub(super) fn resume(&mut self, earlier: Self) {
        earlier.start_ups.into_iter().for_each(|start_up| self.record(start_up));
    }

    /// Takes a start-up that somebody has watched.
    pub(super) fn record(&mut self, start_up: StartUp) {
        if !start_up.total.is_positive() || start_up.total > LONGEST {
            return;
        }
        if self.start_ups.len() == REMEMBERED {
            self.start_ups.pop_front();
        }
        self.start_ups.push_back(start_up);
    }

    /// Takes how many pods there are. Nobody says which one became ready, so the one that has been on its way for longest is taken for
    /// it; and a pod was created, or became ready, somewhere between two looks, so both count as late as they may have been. A pod that is
    /// never seen on its way says nothing: not every source tells of those.
    pub(super) fn observe(&mut self, at: Time, pods: Pods) {
        if let Some((seen, before)) = self.before {
            let became_ready = pods.ready.saturating_sub(before.ready);
            for _ in 0..became_ready {
                if let Some(since) = self.warming.pop_front() {
                    self.record(StartUp { total: at - since, scheduled: None, started: None });
                }
            }
            let on_their_way = pods.warming as usize;
            // Those that were given up, newest first; and those that are new.
            self.warming.truncate(on_their_way);
            self.warming.resize(on_their_way.min(MOST_WARMING), seen);
        }
        self.before = Some((at, pods));
    }

    /// The lead time as it is known by now.
    pub(super) fn get(&self) -> LeadTime {
        let quantile = |part: fn(&StartUp) -> Option<Span>| {
            let mut spans: Vec<Span> = self.start_ups.iter().filter_map(part).collect();
            spans.sort_unstable();
            let rank = (QUANTILE * spans.len() as f64).ceil() as usize;
            spans.get(rank.saturating_sub(1)).copied()
        };
        let start_up = quantile(|s| Some(s.total));
        let known = start_up.unwrap_or(UNSEEN);
        LeadTime {
            total: self.pinned.unwrap_or(SYNC + known),
            start_up: known,
            seen: u32::try_from(self.start_ups.len()).unwrap_or(u32::MAX),
            is_pinned: self.pinned.is_some(),
            scheduled: quantile(|s| s.scheduled),
            started: quantile(|s| s.started),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(ready: u32, warming: u32) -> Pods {
        Pods { replicas: ready + warming, ready, warming, silent: 0, updating: false }
    }

    fn at(seconds: i64) -> Time {
        Time::from_secs(seconds)
    }

    #[test]
    fn before_a_pod_was_seen_to_start_the_lead_time_is_a_guess() {
        let lead = LeadTimes::new(None).get();
        assert_eq!((lead.total, lead.seen), (Span::from_secs(75), 0));
    }

    #[test]
    fn pods_become_ready_in_the_order_of_their_creation() {
        let mut lead = LeadTimes::new(None);
        for (seconds, ready, warming) in
            [(0, 2, 0), (15, 2, 1), (30, 2, 3), (45, 3, 2), (60, 3, 2), (75, 5, 0)]
        {
            lead.observe(at(seconds), pods(ready, warming));
        }
        // Created after 0 and 15 s at the earliest, ready by 45 and 75 s.
        let spans: Vec<i64> = lead.start_ups.iter().map(|s| s.total.as_nanos() / 1_000_000_000).collect();
        assert_eq!(spans, [45, 60, 60]);
        assert_eq!(lead.get().total, Span::from_secs(75));
    }

    #[test]
    fn pods_that_are_given_up_never_started() {
        let mut lead = LeadTimes::new(None);
        for (seconds, ready, warming) in [(0, 2, 0), (15, 2, 4), (30, 2, 0), (500, 3, 0)] {
            lead.observe(at(seconds), pods(ready, warming));
        }
        // Of the pod that became ready between two looks nobody knows how long it took.
        assert!(lead.start_ups.is_empty());
    }

    #[test]
    fn the_newest_start_ups_count_and_the_user_knows_better() {
        let mut lead = LeadTimes::new(None);
        for seconds in (0..60).map(|_| 300).chain((0..57).map(|_| 20)).chain([40, 50, 90]) {
            let scheduled = Some(Span::from_secs(5));
            lead.record(StartUp { total: Span::from_secs(seconds), scheduled, started: None });
        }
        lead.record(StartUp { total: Span::from_secs(1_000_000), scheduled: None, started: None });
        // Of 60, the 57th: three took longer.
        assert_eq!(
            (lead.get().start_up, lead.get().scheduled),
            (Span::from_secs(20), Some(Span::from_secs(5)))
        );
        let pinned = LeadTimes { pinned: Some(Span::from_secs(600)), ..lead };
        assert_eq!((pinned.get().total, pinned.get().is_pinned), (Span::from_secs(600), true));
    }
}
