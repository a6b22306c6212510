//! From what pods served to what was asked of them.
//!
//! Completions saturate as CPU does: under overload they stop rising while the load goes on. So the load is what
//! completed, plus the growth of what is in flight, plus what was turned away, the latter two at the mean cost of a
//! completed request. A pod that fell silent still takes its share of requests: it counts at the larger of its last
//! rate and the mean of the others, since it is the busiest that times out first.

use serde::{Deserialize, Serialize};

use super::sample::{Group, Sample};
use super::weights::FixedWeights;
use crate::units::{MetricsQps, Rate};

/// Share of requests turned away above which a sample is congested. Below it a few clients meet their own quota.
const REJECTED_SHARE: f64 = 0.01;

/// A queue grows when more requests stay than complete by this share...
const GROWTH_SHARE: f64 = 0.05;

/// ...and by more than this many standard deviations of two Poisson counts.
const GROWTH_SIGMAS: f64 = 3.0;

/// The load that a sample shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The offered load, each request counted by its weight.
    pub metricsqps: MetricsQps,
    /// Standard error of `metricsqps` from counting alone: √(Σ w² r / window).
    pub standard_error: MetricsQps,
    /// Requests that completed, per second.
    pub completed: Rate,
    /// Requests that arrived, per second.
    pub offered: Rate,
    /// Completed requests by duration class, silent pods included.
    pub classes: Vec<ClassLoad>,
    /// Class edges in seconds that cut one of the histogram's buckets: these classes are estimates.
    pub inexact_edges: Vec<f64>,
    /// Why the load may be larger than it looks; empty when nothing says so.
    pub congestion: Vec<Congestion>,
}

/// One duration class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassLoad {
    /// Upper edge in seconds; none for the last class.
    pub le: Option<f64>,
    /// Completed requests per second.
    pub rate: Rate,
    /// What each of them weighs.
    pub weight: f64,
}

/// A sign that demand is at least what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Congestion {
    /// Requests are turned away.
    Rejecting {
        /// Share of arrivals that is.
        share: f64,
    },
    /// More requests arrive than complete.
    QueueGrowing {
        /// By how many per second.
        rate: f64,
    },
}

impl Load {
    /// The load that a sample shows, silent pods and unserved requests included. `usual_cost` is the mean weight of a
    /// request when it was last known: what requests that never completed are counted at if none did.
    pub fn of(sample: &Sample, weights: &FixedWeights, usual_cost: Option<f64>) -> Self {
        offered(sample, weights, usual_cost)
    }

    /// Mean weight of a completed request; none if none completed.
    pub fn mean_cost(&self) -> Option<f64> {
        let weighed: f64 = self.classes.iter().map(|c| c.weight * c.rate.get()).sum();
        (self.completed.get() > 0.0).then(|| weighed / self.completed.get())
    }
}

/// Sums over groups of pods.
#[derive(Default)]
struct Totals {
    rates: Vec<f64>,
    /// Σ of the groups' variances of MetricsQPS.
    variance: f64,
    pods: f64,
}

impl Totals {
    fn new(classes: usize) -> Self {
        Self { rates: vec![0.0; classes], ..Self::default() }
    }

    fn add(&mut self, rates: &[f64], variance: f64, pods: f64) {
        for (total, rate) in self.rates.iter_mut().zip(rates) {
            *total += rate;
        }
        self.variance += variance;
        self.pods += pods;
    }
}

/// Requests that arrived and did not complete.
#[derive(Default)]
struct Unserved {
    rejected: f64,
    /// Growth of the number in flight, per second.
    growth: f64,
    /// Change of the number in flight over the windows, and the number at their end.
    change: f64,
    in_flight: f64,
}

fn offered(sample: &Sample, weights: &FixedWeights, usual_cost: Option<f64>) -> Load {
    let classes = weights.edges().classes();
    let mut inexact = Vec::new();
    let mut fresh = Totals::new(classes);
    let mut silent = Vec::new();
    let mut unserved = Unserved::default();
    for group in &sample.groups {
        let rates = class_rates(group, weights, &mut inexact);
        let window = group.window.as_secs_f64();
        let variance = if window > 0.0 { weights.variance(&rates) / window } else { 0.0 };
        if group.silent {
            silent.push((rates, variance, f64::from(group.pods)));
        } else if group.tells() {
            fresh.add(&rates, variance, f64::from(group.pods));
            unserved.add(group, window);
        }
    }
    let mut total = Totals::new(classes);
    total.add(&fresh.rates, fresh.variance, fresh.pods);
    for (rates, variance, pods) in silent {
        let share = if fresh.pods > 0.0 { pods / fresh.pods } else { 0.0 };
        let mean: Vec<f64> = fresh.rates.iter().map(|r| r * share).collect();
        if weights.weigh(&mean) > weights.weigh(&rates) {
            total.add(&mean, fresh.variance * share, pods);
        } else {
            total.add(&rates, variance, pods);
        }
    }
    inexact.sort_by(f64::total_cmp);
    inexact.dedup();
    unserved.onto(&total, weights, usual_cost, inexact)
}

fn class_rates(group: &Group, weights: &FixedWeights, inexact: &mut Vec<f64>) -> Vec<f64> {
    let mut rates = vec![0.0; weights.edges().classes()];
    for histogram in &group.histograms {
        let sorted = weights.edges().sort(histogram);
        for (total, rate) in rates.iter_mut().zip(&sorted.rates) {
            *total += rate;
        }
        inexact.extend(sorted.inexact);
    }
    rates
}

impl Unserved {
    fn add(&mut self, group: &Group, window: f64) {
        self.rejected += group.rejected.map_or(0.0, Rate::get);
        if let Some(in_flight) = group.in_flight
            && window > 0.0
        {
            self.growth += in_flight.change / window;
            self.change += in_flight.change;
            self.in_flight += in_flight.now;
        }
    }

    /// The load, once the unserved requests are added to the served ones.
    fn onto(
        self,
        served: &Totals,
        weights: &FixedWeights,
        usual_cost: Option<f64>,
        inexact_edges: Vec<f64>,
    ) -> Load {
        let completed: f64 = served.rates.iter().sum();
        let weighed = weights.weigh(&served.rates);
        let cost = if completed > 0.0 { Some(weighed / completed) } else { usual_cost };
        // A queue that drains holds requests of an earlier window: they complete now but did not arrive now.
        let extra = (self.rejected + self.growth).max(-completed);
        let metricsqps = weighed + extra * cost.unwrap_or(0.0);
        let edges = weights.edges().as_slice();
        let class = |(i, rate): (usize, &f64)| ClassLoad {
            le: edges.get(i).copied(),
            rate: Rate::saturating(*rate),
            weight: weights.weights()[i],
        };
        Load {
            metricsqps: MetricsQps::saturating(metricsqps),
            standard_error: MetricsQps::saturating(served.variance.sqrt()),
            completed: Rate::saturating(completed),
            offered: Rate::saturating(completed + extra),
            classes: served.rates.iter().enumerate().map(class).collect(),
            inexact_edges,
            congestion: self.congestion(completed),
        }
    }

    fn congestion(&self, completed: f64) -> Vec<Congestion> {
        let mut signs = Vec::new();
        let share = self.rejected / (completed + self.rejected);
        if share > REJECTED_SHARE {
            signs.push(Congestion::Rejecting { share });
        }
        let noise = (2.0 * (self.in_flight - self.change / 2.0).max(1.0)).sqrt();
        if self.change > GROWTH_SIGMAS * noise && self.growth > GROWTH_SHARE * completed {
            signs.push(Congestion::QueueGrowing { rate: self.growth });
        }
        signs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Edges, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA};
    use crate::units::{Span, Time};

    fn weights() -> FixedWeights {
        FixedWeights::new(Edges::new(vec![0.1]).unwrap(), &[1.0, 5.0]).unwrap()
    }

    fn group(fast: f64, slow: f64) -> Group {
        let rates = vec![Rate::new(fast).unwrap(), Rate::new(slow).unwrap()];
        Group {
            pods: 1,
            silent: false,
            window: Span::from_secs(10),
            histograms: vec![HistogramRates::new(Labels::new(), vec![0.1], rates, None).unwrap()],
            cpu: None,
            cores_per_pod: None,
            in_flight: None,
            rejected: None,
        }
    }

    fn load(groups: Vec<Group>) -> Load {
        let pods = Pods { ready: groups.len() as u32, ..Pods::default() };
        Load::of(&Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, groups }, &weights(), None)
    }

    #[test]
    fn each_request_counts_by_its_weight() {
        let load = load(vec![group(10.0, 2.0), group(4.0, 0.0)]);
        assert_eq!(load.metricsqps.get(), 24.0);
        assert_eq!(load.completed.get(), 16.0);
        // Variance: 14 requests a second at weight 1 and 2 at weight 5, over ten seconds.
        assert!((load.standard_error.get() - 6.4f64.sqrt()).abs() < 1e-12);
        assert_eq!(load.congestion, []);
    }

    #[test]
    fn a_silent_pod_counts_at_its_last_rate_or_the_mean_of_the_others() {
        let silent = |fast, slow| Group { silent: true, ..group(fast, slow) };
        assert_eq!(load(vec![group(10.0, 0.0), group(20.0, 0.0), silent(40.0, 0.0)]).metricsqps.get(), 70.0);
        assert_eq!(load(vec![group(10.0, 0.0), group(20.0, 0.0), silent(1.0, 0.0)]).metricsqps.get(), 45.0);
    }

    #[test]
    fn rejections_count_at_the_mean_cost_of_what_completes() {
        let load = load(vec![Group { rejected: Rate::new(6.0).ok(), ..group(9.0, 3.0) }]);
        assert_eq!(load.offered.get(), 18.0);
        assert_eq!(load.metricsqps.get(), 24.0 * 1.5);
        assert_eq!(load.congestion, [Congestion::Rejecting { share: 1.0 / 3.0 }]);
    }

    #[test]
    fn a_growing_queue_is_load_and_a_draining_one_is_not() {
        let queued = |now, change| Group { in_flight: Some(InFlight { now, change }), ..group(10.0, 0.0) };
        let growing = load(vec![queued(60.0, 50.0)]);
        assert_eq!(growing.metricsqps.get(), 15.0);
        assert_eq!(growing.congestion, [Congestion::QueueGrowing { rate: 5.0 }]);
        let draining = load(vec![queued(10.0, -50.0)]);
        assert_eq!((draining.metricsqps.get(), draining.congestion), (5.0, vec![]));
    }

    #[test]
    fn a_few_more_in_flight_are_no_queue() {
        let steady = Group { in_flight: Some(InFlight { now: 30.0, change: 12.0 }), ..group(10.0, 0.0) };
        assert_eq!(load(vec![steady]).congestion, []);
    }

    #[test]
    fn when_nothing_completes_arrivals_count_at_their_usual_cost() {
        let stuck = Group { in_flight: Some(InFlight { now: 200.0, change: 200.0 }), ..group(0.0, 0.0) };
        let pods = Pods { ready: 1, ..Pods::default() };
        let sample = Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, groups: vec![stuck] };
        assert_eq!(Load::of(&sample, &weights(), Some(3.0)).metricsqps.get(), 60.0);
        let unknown = Load::of(&sample, &weights(), None);
        assert_eq!(unknown.metricsqps.get(), 0.0);
        assert_eq!(unknown.congestion, [Congestion::QueueGrowing { rate: 20.0 }]);
    }
}
