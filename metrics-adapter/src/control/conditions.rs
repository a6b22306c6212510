//! What holds of an object, as conditions: a rendering of its newest decision and of what became of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use plimsoll::scale::{Decision, NoOpinion, Outcome};
use plimsoll::spec::{Actuation, Mode, Weights};
use plimsoll::units::Time as At;

use super::actuation::Actuated;
use super::target::TargetError;
use crate::finding::Finding;

/// What is known of an object.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// Whether a person has paused it.
    pub(super) is_paused: bool,
    /// The mode that it is in.
    pub(super) mode: Mode,
    /// Who moves its replicas.
    pub(super) actuation: Actuation,
    /// How requests are weighed.
    pub(super) weights: &'a Weights,
    /// Why its workload cannot be scaled, if it cannot.
    pub(super) target: Option<&'a TargetError>,
    /// Why pods that are ready cannot be read, for people.
    pub(super) unreadable: Option<&'a str>,
    /// The newest decision.
    pub(super) decision: Option<&'a Decision>,
    /// The instant that all this is about.
    pub(super) now: At,
    /// What became of it.
    pub(super) actuated: &'a Actuated,
}

/// What holds of an object whose spec cannot be used. Nothing is decided by it, so there is nothing else to say.
pub(super) fn invalid(why: &str) -> Vec<Finding> {
    vec![
        Finding::new("Ready", false, "InvalidSpec", why),
        Finding::new(
            "ScalingActive",
            false,
            "InvalidSpec",
            "nothing is decided by a spec that cannot be used",
        ),
    ]
}

/// All conditions of an object, in the order in which people read them.
pub(super) fn of(facts: &Facts<'_>) -> Vec<Finding> {
    let metrics = metrics_available(facts);
    let able = able_to_scale(facts);
    let active = scaling_active(facts, &metrics);
    let ready = ready(facts, &able, &metrics);
    vec![
        ready,
        active,
        able,
        scaling_limited(facts),
        metrics,
        weights_fitted(facts),
        forecast_ready(facts),
        fallback(facts),
        paused(facts),
    ]
}

/// Dates findings: an instant is kept as long as the status does not change.
pub(super) fn dated(
    findings: &[Finding],
    before: &[Condition],
    now: &Time,
    generation: Option<i64>,
) -> Vec<Condition> {
    let date = |finding: &Finding| {
        let earlier = before.iter().find(|c| c.type_ == finding.kind && c.status == finding.status());
        Condition {
            type_: finding.kind.to_owned(),
            status: finding.status().to_owned(),
            reason: finding.reason.clone(),
            message: finding.message.clone(),
            last_transition_time: earlier.map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
            observed_generation: generation,
        }
    };
    findings.iter().map(date).collect()
}

fn ready(facts: &Facts<'_>, able: &Finding, metrics: &Finding) -> Finding {
    let not = |reason: &str, message: &str| Finding::new("Ready", false, reason, message);
    for needed in [able, metrics] {
        if needed.holds != Some(true) {
            return Finding { kind: "Ready", ..needed.clone() };
        }
    }
    if let Some((reason, message)) = facts.actuated.trouble() {
        return not(reason, &message);
    }
    let (reason, message) = match (facts.mode, facts.is_paused) {
        (_, true) => ("Paused", "the replicas stay as they are: a person has paused it"),
        (Mode::Observe, _) => {
            ("Observing", "it measures and decides, and moves nothing: set spec.mode to act")
        }
        _ => ("Deciding", "the load is measured and decided about"),
    };
    Finding::new("Ready", true, reason, message)
}

fn scaling_active(facts: &Facts<'_>, metrics: &Finding) -> Finding {
    let kind = "ScalingActive";
    if facts.mode == Mode::Observe {
        return Finding::new(kind, false, "Observing", "mode Observe moves nothing");
    }
    if facts.is_paused {
        return Finding::new(kind, false, "Paused", "paused: the replicas stay as they are");
    }
    if let Some((reason, message)) = facts.actuated.trouble() {
        return Finding::new(kind, false, reason, message);
    }
    if metrics.holds != Some(true) && !is_fallback(facts.decision) {
        return Finding::new(
            kind,
            false,
            metrics.reason.clone(),
            "the replicas are held: the load is not known",
        );
    }
    match facts.actuation {
        Actuation::None => {
            Finding::new(kind, false, "NoActuation", "actuation None: whoever reads the metrics acts")
        }
        Actuation::HPA => match facts.actuated {
            Actuated::Followed { is_exact: false, .. } => Finding::new(
                kind,
                true,
                "HPAFollowsInexactly",
                "an HPA follows, but this cluster's are too old to be told to act on changes of less than 10 %: a little more is asked for \
                 where it would ignore that more is needed; actuation Scale would be exact",
            ),
            _ => Finding::new(kind, true, "HPAFollows", "a HorizontalPodAutoscaler follows the decisions"),
        },
        Actuation::Scale => Finding::new(kind, true, "ScaleWritten", "the scale subresource is written"),
    }
}

fn able_to_scale(facts: &Facts<'_>) -> Finding {
    let kind = "AbleToScale";
    match facts.target {
        Some(error) => Finding::new(kind, false, error.reason(), error.to_string()),
        None => Finding::new(kind, true, "ScaleRead", "the workload's scale can be read"),
    }
}

fn scaling_limited(facts: &Facts<'_>) -> Finding {
    let kind = "ScalingLimited";
    let Some(decision) = facts.decision else {
        return Finding::unknown(kind, "NothingDecided", "nothing was decided yet");
    };
    match &decision.outcome {
        Outcome::Desired(desired) if desired.is_limited() => {
            let max = decision.max_replicas;
            let message = format!("the load takes more than maxReplicas, {max}: raise it, or shed load");
            Finding::new(kind, true, "TooManyReplicas", message)
        }
        Outcome::Desired(_) => {
            Finding::new(kind, false, "DesiredWithinRange", "the replicas wanted are within bounds")
        }
        _ => Finding::unknown(kind, "LoadNotKnown", "the load is not known"),
    }
}

fn metrics_available(facts: &Facts<'_>) -> Finding {
    let kind = "MetricsAvailable";
    let Some(decision) = facts.decision else {
        return Finding::new(kind, false, "NothingDecided", "nothing was decided yet");
    };
    let unknown = |why: &NoOpinion| {
        let more = facts.unreadable.map(|more| format!("; {more}")).unwrap_or_default();
        Finding::new(kind, false, why.name(), format!("{why}{more}"))
    };
    match &decision.outcome {
        Outcome::Desired(desired) if !desired.is_valid_at(facts.now) => Finding::new(
            kind,
            false,
            "StaleDecision",
            format!("nothing was measured since {}: see the adapter's log", decision.at.to_rfc3339_secs()),
        ),
        Outcome::Desired(_) => Finding::new(kind, true, "LoadMeasured", "the load is measured"),
        Outcome::Fallback(fallback) => unknown(&fallback.why),
        Outcome::NoOpinion(why) => unknown(why),
    }
}

fn weights_fitted(facts: &Facts<'_>) -> Finding {
    let kind = "WeightsFitted";
    if let Weights::Fixed(_) = facts.weights {
        return Finding::new(kind, true, "Given", "weights are given by hand");
    }
    match facts.decision.and_then(|decision| decision.learned.as_ref()) {
        Some(learned) if learned.drift_since.is_some() => {
            let message = format!("requests cost other than when version {} was learned", learned.version);
            Finding::new(kind, false, "Drifting", message)
        }
        Some(learned) => {
            Finding::new(kind, true, "Fitted", format!("version {} is in force", learned.version))
        }
        None => Finding::new(
            kind,
            false,
            "Learning",
            "no weights beat plain requests yet: meanwhile each request counts by what requests cost on average",
        ),
    }
}

fn forecast_ready(facts: &Facts<'_>) -> Finding {
    let kind = "ForecastReady";
    if facts.mode == Mode::Reactive {
        return Finding::new(kind, false, "Reactive", "mode Reactive goes by the present load alone");
    }
    match facts.decision.and_then(|decision| decision.forecast.as_ref()) {
        Some(forecast) if forecast.earned >= 1.0 => {
            Finding::new(kind, true, "Forecasting", "replicas are there before the load is expected")
        }
        Some(_) => {
            Finding::new(kind, false, "LittleHistory", "there is little history: the forecast counts in part")
        }
        None => Finding::new(
            kind,
            false,
            "NoHistory",
            "there is too little history: the present load alone counts",
        ),
    }
}

fn is_fallback(decision: Option<&Decision>) -> bool {
    decision.is_some_and(|decision| matches!(decision.outcome, Outcome::Fallback(_)))
}

fn fallback(facts: &Facts<'_>) -> Finding {
    let kind = "Fallback";
    match facts.decision.map(|decision| &decision.outcome) {
        Some(Outcome::Fallback(fallback)) => {
            let message = format!(
                "the load has been unknown since {}: {} replicas are asked for, as spec.onMissingMetrics says",
                fallback.since.to_rfc3339_secs(),
                fallback.replicas
            );
            Finding::new(kind, true, fallback.why.name(), message)
        }
        _ => Finding::new(kind, false, "NotNeeded", "replicas are decided by the load, or held"),
    }
}

fn paused(facts: &Facts<'_>) -> Finding {
    let kind = "Paused";
    if facts.is_paused {
        return Finding::new(
            kind,
            true,
            "PausedByAnnotation",
            "remove the annotation plimsoll.dev/paused to go on",
        );
    }
    Finding::new(kind, false, "NotPaused", "it is not paused")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use plimsoll::scale::Autoscaler;
    use plimsoll::spec::Spec;
    use serde_json::json;

    use super::*;

    const MODES: [Mode; 4] = [Mode::Observe, Mode::Auto, Mode::Reactive, Mode::ScaleUpOnly];
    const ACTUATIONS: [Actuation; 3] = [Actuation::HPA, Actuation::Scale, Actuation::None];

    /// A decision that knows nothing, or one whose load is known.
    fn decision(known: bool) -> Decision {
        let spec: Spec = serde_json::from_value(json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 10,
            "load": {"histogram": "d", "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}}},
            "target": {"metricsQPSPerPod": "10"},
        }))
        .unwrap();
        let mut autoscaler = Autoscaler::new(spec.check().unwrap());
        if known {
            let sample = json!({
                "schema": 1, "at": At::from_secs(100),
                "pods": {"replicas": 2, "ready": 2, "warming": 0, "silent": 0},
                "groups": [{"pods": 2, "silent": false, "window": "15s",
                    "histograms": [{"labels": {}, "le": [0.1], "rates": [12.0, 0.0]}]}],
            });
            autoscaler.observe(&serde_json::from_value(sample).unwrap()).unwrap();
        }
        autoscaler.decide(At::from_secs(100))
    }

    fn with<'a>(decision: &'a Decision, actuated: &'a Actuated, weights: &'a Weights) -> Facts<'a> {
        Facts {
            is_paused: false,
            mode: Mode::Auto,
            actuation: Actuation::HPA,
            weights,
            target: None,
            unreadable: None,
            decision: Some(decision),
            now: At::from_secs(100),
            actuated,
        }
    }

    fn told(findings: &[Finding], kind: &str) -> String {
        let finding = findings.iter().find(|finding| finding.kind == kind).unwrap();
        format!("{} {}", finding.status(), finding.reason)
    }

    #[test]
    fn what_is_said_in_each_mode_and_actuation_paused_or_not() {
        let (decision, weights) = (decision(true), Weights::default());
        let mut table = String::new();
        for mode in MODES {
            for actuation in ACTUATIONS {
                for is_paused in [false, true] {
                    let actuated = match (mode, actuation) {
                        (Mode::Observe, _) | (_, Actuation::None) => Actuated::Nothing,
                        (_, Actuation::HPA) => Actuated::Followed { hpa: "web".into(), is_exact: true },
                        (_, Actuation::Scale) => Actuated::Written,
                    };
                    let facts = with(&decision, &actuated, &weights);
                    let findings = of(&Facts { mode, actuation, is_paused, ..facts });
                    let (ready, active) = (told(&findings, "Ready"), told(&findings, "ScalingActive"));
                    let paused = if is_paused { "paused" } else { "" };
                    let [mode, actuation] = [format!("{mode:?}"), format!("{actuation:?}")];
                    table += &format!("{mode:<11} {actuation:<5} {paused:<6}  {ready:<15} {active}\n");
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_hinders_it_is_why_it_is_not_ready() {
        let (known, unknown, weights) = (decision(true), decision(false), Weights::default());
        let trouble = Actuated::trouble_because("HPAChangedByOther", "somebody did");
        let findings = of(&with(&known, &trouble, &weights));
        assert_eq!(told(&findings, "Ready"), "False HPAChangedByOther");
        assert_eq!(told(&findings, "MetricsAvailable"), "True LoadMeasured");
        let followed = Actuated::Followed { hpa: "web".into(), is_exact: true };
        let findings = of(&with(&unknown, &followed, &weights));
        assert_eq!(told(&findings, "Ready"), "False NoSample");
        assert_eq!(told(&findings, "ScalingActive"), "False NoSample");
        let gone = TargetError::NotFound { kind: "Deployment".into(), name: "web".into() };
        let findings = of(&Facts { target: Some(&gone), ..with(&known, &followed, &weights) });
        assert_eq!(told(&findings, "Ready"), "False TargetNotFound");
        let inexact = Actuated::Followed { hpa: "web".into(), is_exact: false };
        let findings = of(&with(&known, &inexact, &weights));
        assert_eq!(told(&findings, "ScalingActive"), "True HPAFollowsInexactly");
    }

    #[test]
    fn what_nobody_measures_any_more_is_not_known() {
        let (decision, weights) = (decision(true), Weights::default());
        let followed = Actuated::Followed { hpa: "web".into(), is_exact: true };
        let at = |second| {
            let facts = with(&decision, &followed, &weights);
            told(&of(&Facts { now: At::from_secs(second), ..facts }), "Ready")
        };
        assert_eq!(at(145), "True Deciding");
        assert_eq!(at(146), "False StaleDecision");
    }

    #[test]
    fn what_people_asked_for_and_what_comes_by_itself_is_no_warning() {
        let (decision, weights) = (decision(true), Weights::default());
        let facts = Facts { mode: Mode::Observe, ..with(&decision, &Actuated::Nothing, &weights) };
        let bad = |findings: &[Finding]| -> Vec<&str> {
            findings.iter().filter(|finding| finding.is_bad()).map(|finding| finding.kind).collect()
        };
        assert!(bad(&of(&facts)).is_empty());
        let trouble = Actuated::trouble_because("HPAChangedByOther", "somebody did");
        assert_eq!(bad(&of(&with(&decision, &trouble, &weights))), ["Ready", "ScalingActive"]);
    }

    #[test]
    fn a_condition_keeps_its_instant_until_its_status_changes() {
        let at = |second: i64| Time(Timestamp::from_second(second).unwrap());
        let (known, weights) = (decision(true), Weights::default());
        let followed = Actuated::Followed { hpa: "web".into(), is_exact: true };
        let first = dated(&of(&with(&known, &followed, &weights)), &[], &at(10), Some(1));
        let trouble = Actuated::trouble_because("HPAChangedByOther", "somebody did");
        let second = dated(&of(&with(&known, &trouble, &weights)), &first, &at(20), Some(2));
        let instant = |conditions: &[Condition], kind: &str| {
            let condition = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
            (condition.last_transition_time.0.as_second(), condition.observed_generation)
        };
        assert_eq!(instant(&second, "Ready"), (20, Some(2)));
        assert_eq!(instant(&second, "MetricsAvailable"), (10, Some(2)));
    }
}
