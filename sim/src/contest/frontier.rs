//! Pods against shortage, over a policy's knob: single points mislead.

use serde::Serialize;

use super::Entry;

/// What a policy is short by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// Minutes in which more work arrived than the ready pods could do, of all.
    ShortTime,
    /// Requests that were late, rejected or lost, of all. The event engine's alone.
    FailedRequests,
}

/// One setting of a knob, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The knob.
    pub knob_value: f64,
    /// The policy with its knob set, and its scores.
    #[serde(flatten)]
    pub entry: Entry,
}

/// The points of one policy on one trace, by ascending value of its knob.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frontier {
    /// What the trace was asked for by.
    pub trace: String,
    /// The policy, as it was asked for.
    pub policy: String,
    /// The knob that was swept; none for a policy with nothing to sweep, which is one point.
    pub knob: Option<&'static str>,
    /// The points.
    pub points: Vec<Point>,
}

/// What a policy pays to be short by so much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Mean pods that are paid for.
    pub pods: f64,
    /// The knob of the cheapest point that is short by no more. What is interpolated lies between it and the next.
    pub knob_value: f64,
    /// That all points are short by less, so that fewer pods might do: the cheapest point is taken.
    pub is_cheapest: bool,
}

impl Shortage {
    /// Of an entry, 0 to 1; none if the engine cannot see it.
    pub fn of(self, entry: &Entry) -> Option<f64> {
        match self {
            Self::ShortTime => Some(entry.scores.short_time_ratio),
            Self::FailedRequests => entry.failed_percent.map(|percent| percent / 100.0),
        }
    }
}

impl Frontier {
    /// The points that matter: by ascending shortage, each cheaper than all that are short by no more. As (shortage, pods, knob).
    pub fn edge(&self, shortage: Shortage) -> Vec<(f64, f64, f64)> {
        let seen = |point: &Point| {
            let short = shortage.of(&point.entry)?;
            Some((short, point.entry.scores.pods_mean, point.knob_value))
        };
        let mut points: Vec<(f64, f64, f64)> = self.points.iter().filter_map(seen).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut edge: Vec<(f64, f64, f64)> = Vec::new();
        for point in points {
            if edge.last().is_none_or(|last| point.1 < last.1) {
                edge.push(point);
            }
        }
        edge
    }

    /// What it pays to be short by `at`, 0 to 1: interpolated linearly between the points of the edge around it. None if it is never
    /// short by so little, or there is no point.
    pub fn cost_at(&self, shortage: Shortage, at: f64) -> Option<Cost> {
        let edge = self.edge(shortage);
        let beyond = edge.partition_point(|(short, ..)| *short <= at);
        let (short, pods, knob_value) = *edge.get(beyond.checked_sub(1)?)?;
        let Some((short_after, pods_after, _)) = edge.get(beyond) else {
            return Some(Cost { pods, knob_value, is_cheapest: short < at });
        };
        let share = (at - short) / (short_after - short);
        Some(Cost { pods: pods + (pods_after - pods) * share, knob_value, is_cheapest: false })
    }
}
