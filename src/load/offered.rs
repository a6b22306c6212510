//! From what pods served to what was asked of them.
//!
//! Completions saturate as CPU does: under overload they stop rising while the load goes on. So the load is what
//! completed, plus the growth of what is in flight, plus what was turned away, the latter two at the mean cost of a
//! completed request. When a queue drains, what completes of it arrived before and is taken off, at its own pod's cost.
//! A pod that fell silent still takes its share of requests: it counts at the larger of its last
//! rate and the mean of the others, since it is the busiest that times out first.

use serde::{Deserialize, Serialize};

use super::classes::Column;
use super::sample::{Group, InFlight, Sample};
use super::weights::Weights;
use crate::units::{MetricsQps, Rate};

/// Share of requests turned away above which a sample is congested. Below it a few clients meet their own quota.
const REJECTED_SHARE: f64 = 0.01;

/// Share of the cores that they may use, above which pods work as hard as they can: what waits outside does not show.
const SATURATED_SHARE: f64 = 0.95;

/// A queue grows when more requests stay than complete by this share...
const GROWTH_SHARE: f64 = 0.05;

/// ...and by more than this many standard deviations of two Poisson counts.
const GROWTH_SIGMAS: f64 = 3.0;

/// The load that a sample shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The offered load, each request counted by its weight: as an estimate of what requests cost at present, or, from
    /// [`Load::of`], just as they were counted.
    pub metricsqps: MetricsQps,
    /// Standard error of `metricsqps`; from [`Load::of`] that of counting alone, √(Σ w² r / window).
    pub standard_error: MetricsQps,
    /// The offered load just as it was counted.
    pub raw: MetricsQps,
    /// Whose weights these are.
    pub weights: WeightsInForce,
    /// What the classes' work was multiplied by, since CPU bore out so much of it; none where CPU was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borne_out: Option<f64>,
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

/// Whose weights a load was weighed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WeightsInForce {
    /// The user's.
    Given,
    /// Those learned from CPU.
    Fitted {
        /// Number of the version.
        version: u32,
    },
    /// None: every request counts what the mean one costs in CPU at present. Weights have not shown yet that they
    /// do better.
    CpuPerRequest,
}

/// Requests are inside the pods, none completes, and nothing tells what they cost: the load is not known.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{in_flight:.0} requests are in flight, or have come, and none completes")]
pub struct NothingCompletes {
    /// How many are there.
    pub in_flight: f64,
}

/// The `value` of the column that counts work, such as tokens.
pub const WORK: &str = "(work)";

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassLoad {
    /// The value of the label that requests are told apart by; none where there is no such label, and for all values that
    /// share their classes. [`WORK`] for work per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
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
    /// The pods use all the CPU that they may.
    Saturated {
        /// Share of it.
        utilization: f64,
    },
    /// Requests leave the pods without completing.
    Abandoned {
        /// How many per second.
        rate: f64,
    },
}

impl Load {
    /// The load that a sample shows, silent pods and unserved requests included. `usual_cost` is the mean weight of a
    /// request when it was last known: what requests that never completed are counted at if none did.
    ///
    /// # Errors
    /// When requests are inside the pods and none completes, so that nothing tells what they cost.
    pub fn of(sample: &Sample, weights: &Weights, usual_cost: Option<f64>) -> Result<Self, NothingCompletes> {
        offered(sample, weights, usual_cost)
    }

    /// Mean weight of a completed request; none if none completed.
    pub fn mean_cost(&self) -> Option<f64> {
        let weighed: f64 = self.classes.iter().map(|c| c.weight * c.rate.get()).sum();
        (self.completed.get() > 0.0).then(|| weighed / self.completed.get())
    }
}

/// What one group served and was asked for beyond that.
struct Part {
    pods: f64,
    /// Completed requests per second by class, and work.
    rates: Vec<f64>,
    /// Completed requests per second.
    requests: f64,
    /// Cores used by pods of which it is known how many they may use, and that number.
    cpu: f64,
    cores: f64,
    /// Counting variance of the completed MetricsQPS.
    variance: f64,
    /// Requests per second that arrived and did not complete.
    unserved: f64,
    /// Requests per second that completed and had arrived before the window, and their MetricsQPS.
    drained: f64,
    drained_metricsqps: f64,
    /// Requests per second that left without completing.
    abandoned: f64,
    rejected: f64,
    in_flight: f64,
    /// Change of the number in flight over the window, and per second.
    change: f64,
    growth: f64,
}

impl Part {
    fn empty(columns: usize) -> Self {
        Self {
            pods: 0.0,
            rates: vec![0.0; columns],
            requests: 0.0,
            cpu: 0.0,
            cores: 0.0,
            variance: 0.0,
            unserved: 0.0,
            drained: 0.0,
            drained_metricsqps: 0.0,
            abandoned: 0.0,
            rejected: 0.0,
            in_flight: 0.0,
            change: 0.0,
            growth: 0.0,
        }
    }

    fn of(group: &Group, weights: &Weights, inexact: &mut Vec<f64>) -> Self {
        let mut part = Self { pods: f64::from(group.pods), ..Self::empty(weights.classes().columns()) };
        let sorted = weights.classes().sort(group);
        part.rates = sorted.rates;
        part.requests = weights.requests(&part.rates);
        inexact.extend(sorted.inexact);
        let window = group.window.as_secs_f64();
        if window > 0.0 {
            part.variance = weights.variance(&part.rates) / window;
            part.change = group.in_flight.map_or(0.0, |in_flight| in_flight.change);
            part.growth = part.change / window;
        }
        if let (Some(cpu), Some(cores)) = (group.latest_cpu(), group.cores_per_pod) {
            (part.cpu, part.cores) = (cpu.get(), cores.get() * part.pods);
        }
        part.rejected = group.rejected.map_or(0.0, Rate::get);
        part.in_flight = group.in_flight.map_or(0.0, |in_flight| in_flight.now);
        // A queue that drains holds requests of an earlier window: they complete, or are turned away, now but did not
        // arrive now. More than that did not drain: clients gave up, or the gauge is wrong, and neither is less load.
        let (shrinking, completed) = ((-part.growth).max(0.0), part.completed());
        part.drained = shrinking.min(completed);
        if completed > 0.0 {
            part.drained_metricsqps = weights.weigh(&part.rates) * part.drained / completed;
        }
        let turned_away = (shrinking - part.drained).min(part.rejected);
        part.abandoned = shrinking - part.drained - turned_away;
        if part.abandoned > 0.0 {
            (part.drained, part.drained_metricsqps) = (0.0, 0.0);
            part.unserved = part.rejected;
        } else {
            part.unserved = part.rejected - turned_away + part.growth.max(0.0);
        }
        part
    }

    fn completed(&self) -> f64 {
        self.requests
    }

    /// MetricsQPS, where an unserved request counts at `cost`.
    fn offered(&self, weights: &Weights, cost: f64) -> f64 {
        weights.weigh(&self.rates) - self.drained_metricsqps + self.unserved * cost
    }

    /// Adds `share` of another part.
    fn add(&mut self, other: &Self, share: f64) {
        for (total, rate) in self.rates.iter_mut().zip(&other.rates) {
            *total += rate * share;
        }
        self.pods += other.pods * share;
        self.requests += other.requests * share;
        self.cpu += other.cpu * share;
        self.cores += other.cores * share;
        self.variance += other.variance * share;
        self.unserved += other.unserved * share;
        self.drained += other.drained * share;
        self.drained_metricsqps += other.drained_metricsqps * share;
        self.abandoned += other.abandoned * share;
        self.rejected += other.rejected * share;
        self.in_flight += other.in_flight * share;
        self.change += other.change * share;
        self.growth += other.growth * share;
    }

    /// Takes it from a counter in front of the workload how many requests arrive per second. Tells whether fewer complete.
    fn arrive(&mut self, arrived: f64, weights: &Weights, window: f64) -> Option<Congestion> {
        let completed = self.completed();
        // What the pods turned away or queued was asked for, whatever the counter misses.
        self.unserved = self.unserved.max(arrived - completed);
        // More complete than arrive where a queue drains. Where none is seen to, the counter may miss some of the traffic.
        self.drained = self.drained.min((completed - arrived).max(0.0));
        self.drained_metricsqps =
            if completed > 0.0 { weights.weigh(&self.rates) * self.drained / completed } else { 0.0 };
        let rate = self.unserved - self.rejected;
        // Both are Poisson counts.
        let noise = ((arrived + completed) * window).max(1.0).sqrt();
        let grows = rate > GROWTH_SHARE * completed && rate * window > GROWTH_SIGMAS * noise;
        grows.then_some(Congestion::QueueGrowing { rate })
    }

    /// What says that demand is more than this.
    fn congestion(&self) -> Vec<Congestion> {
        let mut signs = Vec::new();
        let completed = self.completed();
        let share = self.rejected / (completed + self.rejected);
        if share > REJECTED_SHARE {
            signs.push(Congestion::Rejecting { share });
        }
        let in_flight = InFlight { now: self.in_flight, change: self.change };
        if is_growing(in_flight, self.growth, completed) {
            signs.push(Congestion::QueueGrowing { rate: self.growth });
        }
        if self.abandoned > GROWTH_SHARE * completed && -self.change > GROWTH_SIGMAS * noise(in_flight) {
            signs.push(Congestion::Abandoned { rate: self.abandoned });
        }
        if self.cpu > SATURATED_SHARE * self.cores {
            signs.push(Congestion::Saturated { utilization: self.cpu / self.cores });
        }
        signs
    }
}

fn offered(sample: &Sample, weights: &Weights, usual_cost: Option<f64>) -> Result<Load, NothingCompletes> {
    let columns = weights.classes().columns();
    let mut inexact = Vec::new();
    let mut fresh = Part::empty(columns);
    let mut silent = Vec::new();
    for group in &sample.groups {
        if group.tells() {
            fresh.add(&Part::of(group, weights, &mut inexact), 1.0);
        } else if !group.histograms.is_empty() {
            silent.push(Part::of(group, weights, &mut inexact));
        }
    }
    let arrive = sample.offered.map_or(0.0, |arrived| arrived.get() * window(sample));
    let cost = cost(&fresh, arrive, weights, usual_cost)?;
    let mut total = Part::empty(columns);
    total.add(&fresh, 1.0);
    for part in silent {
        let share = if fresh.pods > 0.0 { part.pods / fresh.pods } else { 0.0 };
        if fresh.offered(weights, cost) * share > part.offered(weights, cost) {
            total.add(&fresh, share);
        } else {
            total.add(&part, 1.0);
        }
    }
    let mut congestion = fresh.congestion();
    if let Some(arrived) = sample.offered {
        congestion.extend(total.arrive(arrived.get(), weights, window(sample)));
    }
    inexact.sort_by(f64::total_cmp);
    inexact.dedup();
    let column = |(i, column): (usize, Column<'_>)| {
        let (rate, weight) = (Rate::saturating(total.rates[i]), weights.weights()[i]);
        match column {
            Column::Requests { value, le } => ClassLoad { value: value.map(str::to_owned), le, rate, weight },
            Column::Work => ClassLoad { value: Some(WORK.to_owned()), le: None, rate, weight },
        }
    };
    let metricsqps = MetricsQps::saturating(total.offered(weights, cost));
    Ok(Load {
        metricsqps,
        raw: metricsqps,
        weights: WeightsInForce::Given,
        borne_out: None,
        standard_error: MetricsQps::saturating(total.variance.sqrt()),
        completed: Rate::saturating(total.completed()),
        offered: Rate::saturating(total.completed() - total.drained + total.unserved),
        classes: weights.classes().iter().enumerate().map(column).collect(),
        inexact_edges: inexact,
        congestion,
    })
}

/// Standard deviation of the difference of two Poisson counts around the window's mean.
fn noise(in_flight: InFlight) -> f64 {
    (2.0 * (in_flight.now - in_flight.change / 2.0).max(1.0)).sqrt()
}

/// Whether more requests stay than chance would have it. `rate` is how many more there are each second, and `completed` how many complete.
fn is_growing(in_flight: InFlight, rate: f64, completed: f64) -> bool {
    in_flight.change > GROWTH_SIGMAS * noise(in_flight) && rate > GROWTH_SHARE * completed
}

/// Whether requests were turned away, or a queue grew, while the CPU was used that is told only now.
pub(super) fn has_congested_evidence(sample: &Sample) -> bool {
    let evidence = || sample.groups.iter().filter_map(|group| Some(&group.evidence.as_ref()?.of));
    let completed: f64 = evidence().map(Group::total).sum();
    let rejected: f64 = evidence().filter_map(|group| Some(group.rejected?.get())).sum();
    let (mut in_flight, mut rate) = (InFlight { now: 0.0, change: 0.0 }, 0.0);
    for (of_pod, window) in evidence().filter_map(|group| Some((group.in_flight?, group.window))) {
        in_flight.now += of_pod.now;
        in_flight.change += of_pod.change;
        rate += of_pod.change / window.as_secs_f64();
    }
    rejected > REJECTED_SHARE * (completed + rejected) || is_growing(in_flight, rate, completed)
}

/// The mean window of the pods that tell, in seconds.
fn window(sample: &Sample) -> f64 {
    let telling = || sample.groups.iter().filter(|group| group.tells());
    telling().map(|group| group.window.as_secs_f64()).sum::<f64>() / telling().count().max(1) as f64
}

/// Mean weight of a completed request. Where none completed, those that arrive count as they usually do; if that is not
/// known either, or others have been waiting since before, the load is not known. Work that is done tells that they do not just wait.
fn cost(fresh: &Part, arrive: f64, weights: &Weights, usual: Option<f64>) -> Result<f64, NothingCompletes> {
    let (completed, weight) = (fresh.completed(), weights.weigh(&fresh.rates));
    let nobody_waits = fresh.in_flight == 0.0 && fresh.rejected == 0.0;
    let all_are_new = fresh.in_flight - fresh.change < 1.0 || fresh.rejected > 0.0;
    match usual {
        _ if completed > 0.0 => Ok(weight / completed),
        None if nobody_waits && arrive <= 0.0 => Ok(0.0),
        Some(usual) if nobody_waits || all_are_new || weight > 0.0 => Ok(usual),
        _ => Err(NothingCompletes { in_flight: fresh.in_flight.max(arrive) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Classes, Edges, Evidence, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA};
    use crate::units::{Span, Time};

    fn weights() -> Weights {
        Weights::new(Classes::by_duration(Edges::new(vec![0.1]).unwrap()), &[1.0, 5.0]).unwrap()
    }

    fn group(fast: f64, slow: f64) -> Group {
        let rates = vec![Rate::new(fast).unwrap(), Rate::new(slow).unwrap()];
        Group {
            histograms: vec![HistogramRates::new(Labels::new(), vec![0.1], rates, None).unwrap()],
            ..Group::new(1, Span::from_secs(10))
        }
    }

    fn load(groups: Vec<Group>) -> Load {
        let pods = Pods { ready: groups.len() as u32, ..Pods::default() };
        Load::of(
            &Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered: None, groups },
            &weights(),
            None,
        )
        .unwrap()
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
        let sample =
            Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered: None, groups: vec![stuck] };
        assert_eq!(Load::of(&sample, &weights(), Some(3.0)).unwrap().metricsqps.get(), 60.0);
        let unknown = Load::of(&sample, &weights(), None);
        assert_eq!(unknown, Err(NothingCompletes { in_flight: 200.0 }));
    }

    #[test]
    fn requests_that_neither_come_nor_go_are_no_load_of_zero() {
        let stuck = Group { in_flight: Some(InFlight { now: 200.0, change: 0.0 }), ..group(0.0, 0.0) };
        let pods = Pods { ready: 1, ..Pods::default() };
        let sample =
            Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered: None, groups: vec![stuck] };
        assert_eq!(Load::of(&sample, &weights(), Some(3.0)), Err(NothingCompletes { in_flight: 200.0 }));
    }

    #[test]
    fn one_more_that_waits_does_not_tell_the_load_of_those_that_are_stuck() {
        let stuck = Group { in_flight: Some(InFlight { now: 300.0, change: 1.0 }), ..group(0.0, 0.0) };
        let pods = Pods { ready: 1, ..Pods::default() };
        let sample =
            Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered: None, groups: vec![stuck] };
        assert_eq!(Load::of(&sample, &weights(), Some(3.0)), Err(NothingCompletes { in_flight: 300.0 }));
    }

    #[test]
    fn clients_that_give_up_are_no_less_load() {
        let given_up = Group { in_flight: Some(InFlight { now: 0.0, change: -900.0 }), ..group(10.0, 0.0) };
        let load = load(vec![given_up]);
        assert_eq!(load.metricsqps.get(), 10.0);
        assert_eq!(load.congestion, [Congestion::Abandoned { rate: 80.0 }]);
    }

    #[test]
    fn a_queue_that_is_turned_away_arrived_before() {
        let shed = Group {
            in_flight: Some(InFlight { now: 0.0, change: -900.0 }),
            rejected: Rate::new(90.0).ok(),
            ..group(10.0, 0.0)
        };
        let load = load(vec![shed]);
        assert_eq!(load.metricsqps.get(), 10.0);
        assert_eq!(load.congestion, [Congestion::Rejecting { share: 0.9 }]);
    }

    #[test]
    fn a_counter_in_front_of_the_workload_tells_what_arrives() {
        let at = |offered: f64| {
            let pods = Pods { ready: 1, ..Pods::default() };
            let groups = vec![group(80.0, 20.0)];
            let offered = Rate::new(offered).ok();
            let sample = Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered, groups };
            Load::of(&sample, &weights(), None).unwrap()
        };
        let usual = at(102.0);
        assert_eq!((usual.offered.get(), usual.congestion.len()), (102.0, 0));
        let overloaded = at(200.0);
        assert_eq!((overloaded.offered.get(), overloaded.metricsqps.get()), (200.0, 360.0));
        assert_eq!(overloaded.congestion, [Congestion::QueueGrowing { rate: 100.0 }]);
    }

    /// A gauge shows the queue that drains. Where none does, the counter may miss traffic that comes another way: all that completes is load.
    #[test]
    fn fewer_arrivals_than_completions_are_believed_where_a_queue_is_seen_to_drain() {
        let at = |offered: f64, change: f64| {
            let pods = Pods { ready: 1, ..Pods::default() };
            let groups =
                vec![Group { in_flight: Some(InFlight { now: 100.0, change }), ..group(80.0, 20.0) }];
            let offered = Rate::new(offered).ok();
            let sample = Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered, groups };
            let load = Load::of(&sample, &weights(), None).unwrap();
            (load.offered.get(), load.metricsqps.get())
        };
        assert_eq!(at(50.0, -500.0), (50.0, 90.0));
        assert_eq!(at(90.0, -500.0), (90.0, 162.0));
        assert_eq!(at(0.0, -500.0), (50.0, 90.0));
        assert_eq!(at(0.0, 0.0), (100.0, 180.0));
    }

    #[test]
    fn what_pods_turn_away_is_load_although_a_counter_in_front_misses_it() {
        let rejecting = Group { rejected: Rate::new(80.0).ok(), ..group(80.0, 20.0) };
        let pods = Pods { ready: 1, ..Pods::default() };
        let (offered, groups) = (Rate::new(90.0).ok(), vec![rejecting]);
        let sample = Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered, groups };
        assert_eq!(Load::of(&sample, &weights(), None).unwrap().offered.get(), 180.0);
    }

    #[test]
    fn arrivals_of_unknown_cost_of_which_none_completes_are_no_load_of_zero() {
        let at = |offered: f64, usual: Option<f64>| {
            let pods = Pods { ready: 1, ..Pods::default() };
            let (offered, groups) = (Rate::new(offered).ok(), vec![group(0.0, 0.0)]);
            let sample = Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered, groups };
            Load::of(&sample, &weights(), usual).map(|load| load.metricsqps.get())
        };
        assert_eq!(at(100.0, None), Err(NothingCompletes { in_flight: 1000.0 }));
        assert_eq!(at(100.0, Some(3.0)), Ok(300.0));
        assert_eq!(at(0.0, None), Ok(0.0));
    }

    #[test]
    fn what_was_turned_away_or_waited_while_cpu_was_used_is_known_when_it_is_told() {
        let told = |rejected: f64, change: f64| {
            let in_flight = Some(InFlight { now: 20.0 + change, change });
            let of = Group { rejected: Rate::new(rejected).ok(), in_flight, ..group(90.0, 0.0) };
            let evidence = Some(Box::new(Evidence { until: Time::EPOCH, of }));
            let groups = vec![Group { evidence, ..group(10.0, 0.0) }];
            let pods = Pods { ready: 1, ..Pods::default() };
            let sample = Sample { schema: SAMPLE_SCHEMA, at: Time::EPOCH, pods, offered: None, groups };
            has_congested_evidence(&sample)
        };
        assert!(!told(0.0, 0.0) && !told(0.5, 10.0) && !told(0.0, -200.0));
        assert!(told(10.0, 0.0) && told(0.0, 200.0));
    }

    #[test]
    fn what_drains_in_one_pod_is_counted_at_that_pods_cost() {
        let cheap = Group { in_flight: Some(InFlight { now: 0.0, change: -1000.0 }), ..group(100.0, 0.0) };
        assert_eq!(load(vec![cheap, group(0.0, 100.0)]).metricsqps.get(), 500.0);
    }

    #[test]
    fn what_a_silent_pod_turned_away_is_still_asked_for() {
        let rejecting = || Group { rejected: Rate::new(90.0).ok(), ..group(10.0, 0.0) };
        let both = load(vec![rejecting(), rejecting()]).metricsqps.get();
        let one = load(vec![rejecting(), Group { silent: true, ..rejecting() }]).metricsqps.get();
        assert_eq!((both, one), (200.0, 200.0));
    }
}
