//! What came of a policy on a trace, by either engine.

use serde::Serialize;

use super::{Engine, Field};
use crate::fluid::{Outcome, Scores};
use crate::score::Score;

/// What came of a policy on a trace. Serialized as it stands: names carry their unit; what the fluid engine cannot see is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// What the trace was asked for by.
    pub trace: String,
    /// What it was run by.
    pub engine: Engine,
    /// The policy, as it was asked for.
    pub policy: String,
    /// Its target, for people.
    pub target: String,
    /// Its number...
    pub target_value: f64,
    /// ...and what it is a number of.
    pub target_unit: &'static str,
    /// Time that pods existed, from creation to disappearance.
    pub pod_hours: f64,
    /// Full minutes that were run.
    pub minutes: u64,
    /// Minutes in which more CPU work arrived than the ready pods could have done in them.
    pub short_minutes: u64,
    /// Scores over the minutes.
    #[serde(flatten)]
    pub scores: Scores,
    /// Against the first policy on the same trace.
    #[serde(flatten)]
    pub speedup: Speedup,
    /// Requests that were late, of all, in percent.
    pub late_percent: Option<f64>,
    /// Requests that were late, rejected or lost, of all, in percent.
    pub failed_percent: Option<f64>,
    /// Half of the answers took at most this.
    pub latency_p50_s: Option<f64>,
    /// 95 % did.
    pub latency_p95_s: Option<f64>,
    /// 99 % did.
    pub latency_p99_s: Option<f64>,
    /// How often replicas were added.
    pub scale_ups: u64,
    /// How often they were removed.
    pub scale_downs: u64,
    /// Most replicas asked for.
    pub most_replicas: u32,
}

/// Elastic speed-up against another policy n (Herbst et al., "Ready for Rain?", arXiv 1604.03470): the fourth root of the product of n's θ_U, θ_O, τ_U and
/// τ_O over one's own. Above 1 is better than n. A part, and with it the whole, is none where either is zero.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Speedup {
    /// The whole.
    pub elastic_speedup: Option<f64>,
    /// n's θ_U over one's own.
    pub speedup_theta_u: Option<f64>,
    /// n's θ_O over one's own.
    pub speedup_theta_o: Option<f64>,
    /// n's τ_U over one's own.
    pub speedup_tau_u: Option<f64>,
    /// n's τ_O over one's own.
    pub speedup_tau_o: Option<f64>,
}

/// Of `own` against `other`.
pub fn speedup(own: &Scores, other: &Scores) -> Speedup {
    let ratio = |own: f64, other: f64| (own > 0.0 && other > 0.0).then(|| other / own);
    let speedup_theta_u = ratio(own.theta_u_percent, other.theta_u_percent);
    let speedup_theta_o = ratio(own.theta_o_percent, other.theta_o_percent);
    let speedup_tau_u = ratio(own.tau_u_percent, other.tau_u_percent);
    let speedup_tau_o = ratio(own.tau_o_percent, other.tau_o_percent);
    let parts = [speedup_theta_u, speedup_theta_o, speedup_tau_u, speedup_tau_o];
    let product: Option<f64> = parts.into_iter().product();
    let elastic_speedup = product.map(|product| product.powf(0.25));
    Speedup { elastic_speedup, speedup_theta_u, speedup_theta_o, speedup_tau_u, speedup_tau_o }
}

impl Entry {
    pub(super) fn of_event(field: &Field, score: Score) -> Self {
        Self {
            trace: field.name().to_owned(),
            engine: Engine::Event,
            policy: score.policy,
            target: score.target,
            target_value: score.target_value,
            target_unit: score.target_unit,
            pod_hours: score.pod_hours,
            minutes: score.minutes,
            short_minutes: score.short_minutes,
            scores: score.scores,
            speedup: Speedup::default(),
            late_percent: Some(score.late_percent),
            failed_percent: Some(score.failed_percent),
            latency_p50_s: score.latency_p50_s,
            latency_p95_s: score.latency_p95_s,
            latency_p99_s: score.latency_p99_s,
            scale_ups: score.scale_ups,
            scale_downs: score.scale_downs,
            most_replicas: score.most_replicas,
        }
    }

    pub(super) fn of_fluid(field: &Field, policy: &str, outcome: Outcome) -> Self {
        let minutes = outcome.scores.steps as u64;
        Self {
            trace: field.name().to_owned(),
            engine: Engine::Fluid,
            policy: policy.to_owned(),
            target: outcome.target.to_string(),
            target_value: outcome.target.value(),
            target_unit: outcome.target.unit(),
            pod_hours: outcome.pod_hours,
            minutes,
            short_minutes: (outcome.scores.short_time_ratio * minutes as f64).round() as u64,
            scores: outcome.scores,
            speedup: Speedup::default(),
            late_percent: None,
            failed_percent: None,
            latency_p50_s: None,
            latency_p95_s: None,
            latency_p99_s: None,
            scale_ups: outcome.scale_ups,
            scale_downs: outcome.scale_downs,
            most_replicas: outcome.most_replicas,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fluid::Tally;

    #[test]
    fn a_speedup_is_the_fourth_root_of_four_ratios() {
        let nothing = Tally::default().scores();
        let scores = |theta_u: f64, theta_o: f64, tau_u: f64, tau_o: f64| Scores {
            theta_u_percent: theta_u,
            theta_o_percent: theta_o,
            tau_u_percent: tau_u,
            tau_o_percent: tau_o,
            ..nothing
        };
        let half = speedup(&scores(1.0, 8.0, 2.0, 50.0), &scores(2.0, 4.0, 8.0, 200.0));
        assert_eq!([half.speedup_theta_u, half.speedup_theta_o], [Some(2.0), Some(0.5)]);
        assert_eq!([half.speedup_tau_u, half.speedup_tau_o], [Some(4.0), Some(4.0)]);
        assert_eq!(half.elastic_speedup, Some(2.0));
        let none = speedup(&scores(0.0, 8.0, 2.0, 50.0), &scores(2.0, 4.0, 8.0, 200.0));
        assert_eq!((none.speedup_theta_u, none.elastic_speedup, none.speedup_tau_u), (None, None, Some(4.0)));
    }
}
