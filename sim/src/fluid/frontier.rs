//! Pods against short time, over a rule's knob: single points mislead.

use serde::Serialize;

use super::compare::Parts;
use super::kernel::{Plant, run};
use super::rules::Rule;
use super::score::{Scores, Tally};

/// How many utilizations a sweep tries, and from which to which.
const SWEEP: usize = 60;
const LEAST: f64 = 0.04;
const MOST: f64 = 1.0;

/// The utilizations of a sweep, ascending: 60 from 0.04 to 1, each the same factor above the one before.
pub fn utilizations() -> impl Iterator<Item = f64> {
    (0..SWEEP).map(|i| LEAST * (MOST / LEAST).powf(i as f64 / (SWEEP - 1) as f64))
}

/// One setting of a rule's knob, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The knob.
    pub utilization: f64,
    /// Over the validation part.
    pub validation: Scores,
    /// Over the test part.
    pub test: Scores,
}

/// The points of one rule, by ascending utilization.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontier(pub Vec<Point>);

/// Runs a rule at each of `utilizations`, which ascend.
pub fn sweep(
    counts: &[f64],
    plant: &Plant,
    parts: &Parts,
    utilizations: impl Iterator<Item = f64>,
    rule: impl Fn(f64) -> Box<dyn Rule>,
) -> Frontier {
    let point = |utilization| {
        let [validation, test] = scored(counts, plant, parts, rule(utilization).as_mut());
        Point { utilization, validation, test }
    };
    Frontier(utilizations.map(point).collect())
}

/// Runs a rule from the beginning; its scores over the validation part and over the test part.
pub(super) fn scored(counts: &[f64], plant: &Plant, parts: &Parts, rule: &mut dyn Rule) -> [Scores; 2] {
    let (mut validation, mut test) = (Tally::default(), Tally::default());
    run(counts, plant, rule, |step| {
        if step.index >= parts.test {
            test.add(step);
        } else if step.index >= parts.validation {
            validation.add(step);
            test.before(step);
        } else {
            validation.before(step);
        }
    });
    [validation.scores(), test.scores()]
}

impl Frontier {
    /// What a user would have set: the highest utilization that kept the share of short steps at or below `objective` (0 to
    /// 1) over the validation part; none if no setting did.
    pub fn chosen(&self, objective: f64) -> Option<&Point> {
        self.0.iter().rev().find(|point| point.validation.short_time_ratio <= objective)
    }

    /// Mean pods over the test part at this share of short steps: interpolated between the points, of which each stands for
    /// the fewest pods of all that are short no more often. None if no point is short so seldom; above the most short point,
    /// its pods.
    pub fn pods_at(&self, short_time: f64) -> Option<f64> {
        let mut points: Vec<(f64, f64)> =
            self.0.iter().map(|p| (p.test.short_time_ratio, p.test.pods_mean)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut last: Option<(f64, f64)> = None;
        for (short, pods) in points {
            let best = last.map_or(pods, |(_, least)| pods.min(least));
            if short > short_time {
                return last.map(|(before, least)| {
                    least + (best - least) * (short_time - before) / (short - before)
                });
            }
            last = Some((short, best));
        }
        last.map(|(_, least)| least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(points: &[(f64, f64, f64)]) -> Frontier {
        let nothing = Tally::default().scores();
        let point = |(utilization, short_time_ratio, pods_mean): &(f64, f64, f64)| {
            let scores = Scores { short_time_ratio: *short_time_ratio, pods_mean: *pods_mean, ..nothing };
            Point { utilization: *utilization, validation: scores, test: scores }
        };
        Frontier(points.iter().map(point).collect())
    }

    #[test]
    fn a_sweep_goes_from_a_twentyfifth_to_one() {
        let all: Vec<f64> = utilizations().collect();
        assert_eq!(all.len(), 60);
        assert!((all[0] - 0.04).abs() < 1e-12 && (all[59] - 1.0).abs() < 1e-12);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn pods_are_interpolated_along_the_running_minimum() {
        // The second point costs more than the first and is short more often: it counts for 40.
        let curve = frontier(&[(0.1, 0.01, 40.0), (0.2, 0.02, 50.0), (0.4, 0.04, 20.0)]);
        for (short, pods) in
            [(0.0, None), (0.01, Some(40.0)), (0.02, Some(40.0)), (0.03, Some(30.0)), (0.9, Some(20.0))]
        {
            assert_eq!(curve.pods_at(short), pods, "{short}");
        }
        assert_eq!(frontier(&[]).pods_at(0.5), None);
    }

    #[test]
    fn points_that_are_short_equally_often_count_for_the_cheapest() {
        let curve = frontier(&[(0.1, 0.0, 60.0), (0.2, 0.0, 30.0), (0.4, 0.02, 10.0)]);
        assert_eq!((curve.pods_at(0.0), curve.pods_at(0.01)), (Some(30.0), Some(20.0)));
    }

    #[test]
    fn the_highest_utilization_that_meets_the_objective_is_chosen() {
        let curve = frontier(&[(0.1, 0.01, 40.0), (0.2, 0.005, 30.0), (0.4, 0.04, 20.0)]);
        assert_eq!(curve.chosen(0.01).map(|p| p.utilization), Some(0.2));
        assert_eq!(curve.chosen(0.001), None);
    }
}
