//! What a run cost, and how often and how far it fell short.

use serde::Serialize;

use super::kernel::Step;

/// Scores over a part of a run. Serialized as they stand: every name carries its unit.
///
/// Those of the SPEC Research Group (Herbst et al., "Ready for Rain? A View from SPEC Research on the Future of Cloud
/// Metrics", arXiv 1604.03470) compare the ready pods, by their mean over the step, with the demand: the fewest whole pods
/// that carry the step's load. They weigh a step by its own demand, so quiet steps count as much as busy ones, which
/// `shortage_ratio` does not. Where there is no demand to divide by, pods too many count as if it were one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// Steps that were scored.
    pub steps: usize,
    /// Share of the steps in which the load was above what the ready pods carry, 0 to 1.
    pub short_time_ratio: f64,
    /// Share of the steps in which the ready pods had no more to give: all of a shortage that can be seen from outside, since load that is not carried is not
    /// measured. None where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_short_time_ratio: Option<f64>,
    /// Load that the ready pods could not carry, of all load, 0 to 1.
    pub shortage_ratio: f64,
    /// Pods that are paid for, ready or not; the mean over the steps.
    pub pods_mean: f64,
    /// Pods ordered and pods given back, a step: the mean absolute change of the paid pods.
    pub churn: f64,
    /// Provisioning accuracy θ_U: missing pods, of the demand; the mean over the steps, in percent.
    pub theta_u_percent: f64,
    /// θ_O: pods too many, of the demand; the mean over the steps, in percent.
    pub theta_o_percent: f64,
    /// Wrong provisioning timeshare τ_U: steps with fewer ready pods than the demand, in percent.
    pub tau_u_percent: f64,
    /// τ_O: steps with more, in percent.
    pub tau_o_percent: f64,
    /// Instability υ: steps in which demand and ready pods did not both rise, both fall or both stay, in percent.
    pub instability_percent: f64,
}

/// Share of what the ready pods can carry from which they have no more to give: a scrape sees no finer.
const AT_LIMIT: f64 = 0.98;

/// Adds up the steps of a part.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    steps: usize,
    short: usize,
    /// Steps of which it is known what was carried, and those at the limit.
    followed: usize,
    seen_short: usize,
    load: f64,
    shortage: f64,
    paid: f64,
    changed: f64,
    theta_u: f64,
    theta_o: f64,
    under: usize,
    over: usize,
    unstable: usize,
    /// Demand and ready pods of the step before, whether or not it belongs to the part.
    before: Option<(f64, f64)>,
}

impl Tally {
    /// A step of the part.
    pub fn add(&mut self, step: &Step) {
        let (demand, ready) = (step.demand(), step.ready);
        let missing = step.load - ready * step.capacity;
        self.steps += 1;
        self.short += usize::from(missing > 0.0);
        if let Some(carried) = step.carried {
            self.followed += 1;
            self.seen_short += usize::from(carried >= AT_LIMIT * ready * step.capacity);
        }
        self.load += step.load;
        self.shortage += missing.max(0.0);
        self.paid += step.paid;
        self.changed += step.changed;
        self.theta_u += (demand - ready).max(0.0) / demand.max(1.0);
        self.theta_o += (ready - demand).max(0.0) / demand.max(1.0);
        self.under += usize::from(demand > ready);
        self.over += usize::from(ready > demand);
        if let Some((demand_before, ready_before)) = self.before {
            let differ = demand.partial_cmp(&demand_before) != ready.partial_cmp(&ready_before);
            self.unstable += usize::from(differ);
        }
        self.before(step);
    }

    /// A step right before the part: the first one of the part is a change against it.
    pub fn before(&mut self, step: &Step) {
        self.before = Some((step.demand(), step.ready));
    }

    /// The scores of all steps so far; all zero if there was none.
    pub fn scores(&self) -> Scores {
        let steps = self.steps.max(1) as f64;
        let percent = |count: usize| 100.0 * count as f64 / steps;
        Scores {
            steps: self.steps,
            short_time_ratio: self.short as f64 / steps,
            seen_short_time_ratio: (self.followed > 0 && self.followed == self.steps)
                .then(|| self.seen_short as f64 / steps),
            shortage_ratio: if self.load > 0.0 { self.shortage / self.load } else { 0.0 },
            pods_mean: self.paid / steps,
            churn: self.changed / steps,
            theta_u_percent: 100.0 * self.theta_u / steps,
            theta_o_percent: 100.0 * self.theta_o / steps,
            tau_u_percent: percent(self.under),
            tau_o_percent: percent(self.over),
            instability_percent: percent(self.unstable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        // A pod carries 10. Demand in pods: 2, 4, 4, 0; ready: 2, 2, 5, 5.
        let step = |load: f64, ready: f64, paid: f64, changed: f64| Step {
            index: 0,
            load,
            capacity: 10.0,
            paid,
            ready,
            changed,
            carried: None,
        };
        let mut tally = Tally::default();
        tally.before(&step(20.0, 3.0, 3.0, 0.0));
        tally.add(&step(15.0, 2.0, 2.0, 1.0));
        tally.add(&step(35.0, 2.0, 5.0, 3.0));
        tally.add(&step(40.0, 5.0, 5.0, 0.0));
        tally.add(&step(0.0, 5.0, 5.0, 0.0));
        let scores = tally.scores();
        assert_eq!(scores.steps, 4);
        assert_eq!(scores.short_time_ratio, 0.25);
        assert_eq!(scores.shortage_ratio, 15.0 / 90.0);
        assert_eq!((scores.pods_mean, scores.churn), (17.0 / 4.0, 1.0));
        assert_eq!(scores.theta_u_percent, 100.0 * 0.5 / 4.0);
        assert_eq!(scores.theta_o_percent, 100.0 * (0.25 + 5.0) / 4.0);
        assert_eq!((scores.tau_u_percent, scores.tau_o_percent), (25.0, 50.0));
        // Against the step before: demand stays and ready falls; rises and stays; stays and rises; falls and stays.
        assert_eq!(scores.instability_percent, 100.0);
    }

    #[test]
    fn nothing_scores_zero() {
        let scores = Tally::default().scores();
        assert_eq!((scores.steps, scores.short_time_ratio, scores.shortage_ratio), (0, 0.0, 0.0));
    }

    #[test]
    fn what_can_be_seen_of_a_shortage_are_pods_at_their_limit() {
        // Two pods that carry 10 each: twice as much comes as they can, then what waited keeps them busy, then they idle.
        let step = |load: f64, carried: Option<f64>| Step {
            index: 0,
            load,
            capacity: 10.0,
            paid: 2.0,
            ready: 2.0,
            changed: 0.0,
            carried,
        };
        let mut tally = Tally::default();
        for (load, carried) in [(40.0, 20.0), (10.0, 19.9), (10.0, 20.0), (10.0, 10.0)] {
            tally.add(&step(load, Some(carried)));
        }
        let scores = tally.scores();
        assert_eq!((scores.short_time_ratio, scores.seen_short_time_ratio), (0.25, Some(0.75)));
        tally.add(&step(1.0, None));
        assert_eq!(tally.scores().seen_short_time_ratio, None);
    }
}
