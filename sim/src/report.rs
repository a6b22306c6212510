//! What a replay found out, as one record: the table and the JSON are renderings of it.

use serde::Serialize;

use crate::history::History;
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::score::Score;
use crate::trace::Trace;

/// The schema number that a [`Report`] of this version carries.
pub const REPORT_SCHEMA: u32 = 1;

/// A replay, its assumptions, and the scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Number of the record's schema: [`REPORT_SCHEMA`].
    pub schema: u32,
    /// What was replayed.
    pub trace: TraceReport,
    /// Under which assumptions.
    pub assumptions: Assumptions,
    /// One entry a policy, in the order asked for.
    pub policies: Vec<Score>,
}

/// What was replayed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceReport {
    /// A path, or the name of a built-in trace.
    pub name: String,
    /// The part of it, in words.
    pub window: String,
    /// Requests for each one of the trace.
    pub rate_scale: f64,
    /// Length of the replay.
    pub length_s: f64,
    /// Requests.
    pub requests: u64,
    /// Requests per second on average.
    pub mean_requests_per_s: f64,
    /// CPU that a request needs on average.
    pub mean_cpu_s: f64,
    /// CPU work that arrives on average.
    pub mean_cores: f64,
    /// CPU work that arrives in the busiest minute.
    pub peak_minute_cores: f64,
    /// Pod-hours, if in every minute there were just the pods that its work takes at the share.
    pub ideal_pod_hours: f64,
    /// Median duration in an idle pod.
    pub duration_p50_s: Option<f64>,
    /// 99th percentile of the durations in an idle pod.
    pub duration_p99_s: Option<f64>,
    /// Share of durations that was taken to be CPU, in percent; none where the trace tells CPU itself.
    pub cpu_share_percent: Option<f64>,
    /// Whether durations were lent to it.
    pub durations_lent: bool,
    /// Which ones, if so.
    pub mix: Option<String>,
}

/// What was assumed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assumptions {
    /// Of everything random.
    pub seed: u64,
    /// CPU that a pod requests.
    pub cores_per_pod: f64,
    /// Most CPU that a pod may use.
    pub limit_cores_per_pod: f64,
    /// Share of its cores that a pod at target uses, in percent.
    pub share_percent: f64,
    /// Fewest replicas.
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
    /// Time from a pod's creation to its first request: fixed, or median..95th percentile.
    pub startup: String,
    /// Most requests that a pod serves at once, if there is a limit.
    pub concurrency: Option<u32>,
    /// What happens to others, if there is a limit.
    pub beyond: Option<String>,
    /// Whether the pods' metrics show how many requests are in flight.
    pub shows_in_flight: bool,
    /// Whether they show how many were turned away.
    pub shows_rejected: bool,
    /// How often a ready pod crashes.
    pub crashes_per_pod_hour: f64,
    /// Who gets the next request.
    pub balancer: String,
    /// A request is late after this many times its duration in an idle pod...
    pub late_factor: f64,
    /// ...and this much more.
    pub late_slack_s: f64,
    /// What each duration class weighs.
    pub weights: Vec<ClassWeight>,
}

/// One duration class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassWeight {
    /// Its upper edge; none for the last.
    pub le_s: Option<f64>,
    /// CPU that its requests need relative to the mean request.
    pub weight: f64,
}

impl Report {
    /// Of a replay that is done.
    pub fn new(
        trace: &Trace,
        profile: &Profile,
        fit: &History,
        scenario: &Scenario,
        policies: Vec<Score>,
    ) -> Self {
        let quantile = |q| profile.durations.quantile(q).map(plimsoll::units::Span::as_secs_f64);
        let edges = fit.weights.classes().edges().as_slice().iter().map(|le| Some(*le)).chain([None]);
        let weights = edges.zip(fit.weights.weights());
        Self {
            schema: REPORT_SCHEMA,
            trace: TraceReport {
                name: trace.to_string(),
                window: trace.options().window.to_string(),
                rate_scale: trace.options().rate_scale,
                length_s: profile.length.as_secs_f64(),
                requests: profile.requests,
                mean_requests_per_s: profile.mean_rate().get(),
                mean_cpu_s: profile.mean_cpu_seconds(),
                mean_cores: profile.mean_cores().get(),
                peak_minute_cores: profile.peak_minute.get(),
                ideal_pod_hours: fit.ideal_pod_hours,
                duration_p50_s: quantile(0.5),
                duration_p99_s: quantile(0.99),
                cpu_share_percent: (!trace.has_cpu()).then(|| trace.options().cpu_share * 100.0),
                durations_lent: !trace.has_durations(),
                mix: (!trace.has_durations()).then(|| trace.options().mix.to_string()),
            },
            assumptions: Assumptions {
                seed: scenario.seed,
                cores_per_pod: scenario.cluster.cores.get(),
                limit_cores_per_pod: scenario.cluster.usable().get(),
                share_percent: scenario.share.as_fraction() * 100.0,
                min_replicas: scenario.min,
                max_replicas: scenario.max,
                startup: scenario.cluster.start_up.to_string(),
                concurrency: scenario.cluster.concurrency,
                beyond: scenario.cluster.concurrency.map(|_| scenario.cluster.beyond.to_string()),
                shows_in_flight: scenario.cluster.shows.in_flight,
                shows_rejected: scenario.cluster.shows.rejected,
                crashes_per_pod_hour: scenario.cluster.crashes_per_hour,
                balancer: scenario.cluster.balancer.to_string(),
                late_factor: scenario.late.factor,
                late_slack_s: scenario.late.slack.as_secs_f64(),
                weights: weights.map(|(le_s, weight)| ClassWeight { le_s, weight: *weight }).collect(),
            },
            policies,
        }
    }

    /// Each policy that another one beats, with the cheapest of those: neither more pod-hours nor a larger share of failed
    /// requests, and less of either. Differences below 1 % are none.
    pub fn beaten(&self) -> Vec<(&Score, &Score)> {
        let beats = |a: &Score, b: &Score| {
            let pairs = [(a.pod_hours, b.pod_hours), (a.failed_percent, b.failed_percent)];
            pairs.iter().all(|(a, b)| *a <= b * 1.01) && pairs.iter().any(|(a, b)| *a < b * 0.99)
        };
        let best = |beaten: &Score| {
            let better = self.policies.iter().filter(|other| beats(other, beaten));
            better.min_by(|a, b| a.pod_hours.total_cmp(&b.pod_hours))
        };
        self.policies.iter().filter_map(|score| Some((score, best(score)?))).collect()
    }

    /// Policies that wanted as many replicas as they may have, and perhaps more. A number that was asked for is not
    /// held by anything.
    pub fn limited(&self) -> Vec<&Score> {
        let max = self.assumptions.max_replicas;
        let limited = |s: &&Score| !s.policy.starts_with("fixed:") && s.most_replicas >= max;
        self.policies.iter().filter(limited).collect()
    }

    /// Whether there are policies that scale, and the fewest replicas were always enough for all of them.
    pub fn never_scaled(&self) -> bool {
        let Assumptions { min_replicas: min, max_replicas: max, .. } = self.assumptions;
        let mut scaling = self.policies.iter().filter(|s| !s.policy.starts_with("fixed")).peekable();
        let idle = |s: &Score| s.most_replicas == min && min < max && s.short_minutes == 0;
        scaling.peek().is_some() && scaling.all(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::replay;
    use crate::trace::TraceOptions;

    #[test]
    fn a_policy_is_beaten_by_what_costs_no_more_and_fails_less() {
        let options = TraceOptions { window: "0s..2m".parse().unwrap(), ..TraceOptions::default() };
        let scenario = Scenario::with_share("70%".parse().unwrap());
        let mut report = replay(&Trace::shop(options), &scenario, &["fixed".to_owned()], |_| ()).unwrap();
        let score = |policy: &str, pod_hours, failed_percent| Score {
            policy: policy.to_owned(),
            pod_hours,
            failed_percent,
            ..report.policies[0].clone()
        };
        report.policies = vec![
            score("cheap", 5.0, 4.0),
            score("good", 10.0, 1.0),
            score("worse", 11.0, 1.0),
            score("as cheap, worse", 9.99, 1.5),
            score("bad", 12.0, 5.0),
        ];
        let beaten: Vec<(&str, &str)> =
            report.beaten().iter().map(|(a, b)| (a.policy.as_str(), b.policy.as_str())).collect();
        assert_eq!(beaten, [("worse", "good"), ("as cheap, worse", "good"), ("bad", "cheap")]);
    }
}
