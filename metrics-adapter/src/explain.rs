//! Why a workload has as many replicas as it has: what an object's status says, as a person would say it.

use std::fmt::{self, Write};

use anyhow::Context;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::Api;
use kube::{Client, ResourceExt};
use plimsoll::spec::Mode;
use plimsoll::units::{Span, Time};
use plimsoll_sim::fluid::WayKind;

use crate::resource::{LoadAwareAutoscaler, ReplicaStatus, Status, WayStatus};

/// A status that is older is news of the adapter, not of the workload: it writes one a minute.
const FRESH: Span = Span::from_secs(180);

/// Explains the object `name` of `namespace`.
///
/// # Errors
/// When there is none, or the API server does not tell.
pub async fn explain(client: &Client, namespace: &str, name: &str, now: Time) -> anyhow::Result<String> {
    let objects: Api<LoadAwareAutoscaler> = Api::namespaced(client.clone(), namespace);
    let object =
        objects.get_opt(name).await.context("the API server does not tell of LoadAwareAutoscalers")?;
    let object = object.with_context(|| {
        format!("there is no LoadAwareAutoscaler {name} in the namespace {namespace}: kubectl get laa -A lists them")
    })?;
    let status = object.status.clone().unwrap_or_default();
    let hpa = match &status.horizontal_pod_autoscaler {
        Some(hpa) => {
            let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
            hpas.get_opt(hpa).await.context("the API server does not tell of the HPA")?
        }
        None => None,
    };
    Ok(Explained { object: &object, status: &status, hpa: hpa.as_ref(), now }.to_string())
}

/// An object in words.
struct Explained<'a> {
    object: &'a LoadAwareAutoscaler,
    status: &'a Status,
    hpa: Option<&'a HorizontalPodAutoscaler>,
    now: Time,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.replicas(f)?;
        self.load(f)?;
        self.steps(f)?;
        self.who_follows(f)?;
        self.conditions(f)?;
        self.backtest(f)?;
        self.age(f)
    }
}

impl Explained<'_> {
    fn replicas(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.object.spec.0;
        let namespace = self.object.namespace().unwrap_or_default();
        let workload = &spec.scale_target_ref;
        let ReplicaStatus { current, desired, .. } = self.status.replicas.unwrap_or_default();
        write!(f, "{namespace}/{} ", self.object.name_any())?;
        match (desired, current) {
            (Some(desired), Some(current)) if desired == current => {
                write!(f, "wants the {desired} replicas")?
            }
            (Some(desired), _) => write!(f, "wants {}", some(desired))?,
            (None, _) => write!(f, "has no opinion about the replicas")?,
        }
        write!(f, " of the {} {}", workload.kind, workload.name)?;
        match (desired, current) {
            (Some(desired), Some(current)) if desired == current => f.write_str(" that there are")?,
            (_, Some(current)) => write!(f, "; there {}", are(current))?,
            (_, None) => {}
        }
        let mode = match spec.mode {
            Mode::Observe => " It observes, and moves nothing.",
            Mode::Auto | Mode::Reactive => "",
            Mode::ScaleUpOnly => " It never lowers.",
        };
        writeln!(f, ".{mode}")
    }

    fn load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(load), Some(capacity)) = (self.status.metrics_qps, self.status.capacity) else {
            return Ok(());
        };
        let ReplicaStatus { reactive, proactive, .. } = self.status.replicas.unwrap_or_default();
        let (load, capacity) = (load.as_f64(), capacity.as_f64());
        write!(f, "\nThe load is {load} MetricsQPS")?;
        if let Some(each) = self.status.per_pod {
            write!(f, ", {} on each ready pod", each.as_f64())?;
        }
        write!(f, ". One should carry {capacity}")?;
        if let Some(reactive) = reactive {
            write!(f, ", which takes {}", some(reactive))?;
        }
        f.write_str(".\n")?;
        if let (Some(bound), Some(proactive)) = (self.status.forecast, proactive) {
            f.write_str("Until replicas that are asked for now serve")?;
            if let Some(lead) = self.status.lead_time {
                write!(f, ", in {lead},")?;
            }
            writeln!(f, " it should stay below {}, which takes {}.", bound.as_f64(), some(proactive))?;
        }
        Ok(())
    }

    fn steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status.steps.is_empty() {
            return Ok(());
        }
        f.write_str("\n  replicas  because\n")?;
        for step in &self.status.steps {
            writeln!(f, "  {:>8}  {}", step.replicas, step.reason)?;
        }
        Ok(())
    }

    /// The HPA's own words, which are about the same replicas.
    fn who_follows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.status.horizontal_pod_autoscaler else { return Ok(()) };
        let Some(hpa) = self.hpa else {
            return writeln!(f, "\nThe HPA {name} follows it, and is not there any more.");
        };
        let status = hpa.status.clone().unwrap_or_default();
        let current = status.current_replicas.unwrap_or_default();
        writeln!(f, "\nThe HPA {name} sees {current} replicas and wants {}.", status.desired_replicas)?;
        for condition in status.conditions.unwrap_or_default() {
            let should_hold = condition.type_ != "ScalingLimited";
            let is_as_it_should_be = (condition.status == "True") == should_hold;
            if !is_as_it_should_be {
                let message = condition.message.unwrap_or_default();
                writeln!(f, "  {}: {message}", condition.reason.unwrap_or(condition.type_))?;
            }
        }
        Ok(())
    }

    fn conditions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |condition: &&Condition| {
            let should_hold = !matches!(condition.type_.as_str(), "ScalingLimited" | "Fallback" | "Paused");
            condition.type_ == "Ready" || condition.status != if should_hold { "True" } else { "False" }
        };
        let told: Vec<&Condition> = self.status.conditions.iter().filter(told).collect();
        let width =
            |text: fn(&Condition) -> &str| told.iter().map(|c| text(c).len()).max().unwrap_or_default();
        let (types, reasons) = (width(|c| &c.type_), width(|c| &c.reason));
        if !told.is_empty() {
            f.write_char('\n')?;
        }
        for condition in told {
            let Condition { type_, status, reason, message, .. } = condition;
            writeln!(f, "  {type_:types$}  {status:<7}  {reason:reasons$}  {message}")?;
        }
        Ok(())
    }

    /// What other ways would have made of the past.
    fn backtest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(backtest) = &self.status.backtest else { return Ok(()) };
        let hours = (backtest.to.0.as_second() - backtest.from.0.as_second()) as f64 / 3600.0;
        writeln!(f, "\nOf its last {:.1} days each way would have made:\n", hours / 24.0)?;
        writeln!(f, "  {:<38}  {:>9}  {:>13}  {:>9}", "", "pod-hours", "minutes short", "most pods")?;
        for WayStatus { way, pod_hours, short_minutes, most_replicas } in &backtest.ways {
            let known = |kind: &&WayKind| format!("{kind:?}") == *way;
            let name = WayKind::ALL.iter().find(known).map_or(way.as_str(), |kind| kind.name());
            writeln!(f, "  {name:<38}  {pod_hours:>9}  {short_minutes:>13}  {most_replicas:>9}")?;
        }
        Ok(())
    }

    fn age(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = &self.status.last_decision else {
            return f.write_str(
                "\nNothing was decided yet: is the adapter running? plimsoll-adapter preflight\n",
            );
        };
        let age = self.now - Time::from_secs(at.0.as_second());
        if age > FRESH {
            writeln!(
                f,
                "\nThis is {} old, and should be told anew each minute: is the adapter running? plimsoll-adapter preflight",
                Span::from_secs(age.as_secs_f64().round() as i64)
            )?;
        }
        Ok(())
    }
}

fn some(replicas: u32) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

fn are(replicas: u32) -> String {
    if replicas == 1 { "is 1".to_owned() } else { format!("are {replicas}") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Time = Time::from_secs(1_795_622_400);

    fn object(mode: &str, status: Value) -> LoadAwareAutoscaler {
        serde_json::from_value(json!({
            "apiVersion": "autoscaling.plimsoll.dev/v1alpha1",
            "kind": "LoadAwareAutoscaler",
            "metadata": {"name": "checkout", "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 2,
                "maxReplicas": 8,
                "mode": mode,
                "load": {"histogram": "d"},
                "target": {"cpuUtilization": 70},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-25T15:00:00Z"})
    }

    fn explained(mode: &str, status: Value, hpa: Option<&HorizontalPodAutoscaler>) -> String {
        let object = object(mode, status);
        let status = object.status.as_ref().unwrap();
        Explained { object: &object, status, hpa, now: NOW }.to_string()
    }

    #[test]
    fn a_load_that_takes_more_than_is_allowed() {
        let hpa = serde_json::from_value(json!({
            "metadata": {"name": "checkout"},
            "spec": {"maxReplicas": 8, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
            "status": {"currentReplicas": 7, "desiredReplicas": 8, "conditions": [
                {"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale", "message": "recommended size matches"},
                {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas",
                    "message": "the desired replica count is more than the maximum replica count"},
            ]},
        }))
        .unwrap();
        let status = json!({
            "metricsQPS": "412", "perPod": "58900m", "capacity": "57200m", "forecast": "512",
            "leadTime": "2m30s", "lastDecision": "2026-11-25T15:59:50Z",
            "horizontalPodAutoscaler": "checkout",
            "replicas": {"current": 7, "reactive": 8, "proactive": 9, "desired": 8},
            "backtest": {"from": "2026-11-12T16:00:00Z", "to": "2026-11-25T16:00:00Z", "ways": [
                {"way": "Fixed", "podHours": 2184, "shortMinutes": 613, "mostReplicas": 7},
                {"way": "Reactive", "podHours": 1650, "shortMinutes": 212, "mostReplicas": 8},
                {"way": "Plimsoll", "podHours": 1711, "shortMinutes": 31, "mostReplicas": 8},
                {"way": "Clairvoyant", "podHours": 1602, "shortMinutes": 0, "mostReplicas": 8},
            ]},
            "steps": [
                {"replicas": 8, "reason": "load of 412.0 MetricsQPS at 57.2 a pod"},
                {"replicas": 9, "reason": "up to 512.0 MetricsQPS within 2m30s at 57.2 a pod"},
                {"replicas": 8, "reason": "maxReplicas"},
            ],
            "conditions": [
                condition("Ready", "True", "Deciding", "the load is measured and decided about"),
                condition("ScalingLimited", "True", "TooManyReplicas", "the load takes more than maxReplicas, 8: raise it, or shed load"),
                condition("Paused", "False", "NotPaused", "it is not paused"),
            ],
        });
        insta::assert_snapshot!(explained("Auto", status, Some(&hpa)));
    }

    #[test]
    fn a_load_that_is_not_known_and_an_adapter_that_fell_silent() {
        let status = json!({
            "lastDecision": "2026-11-25T15:30:00Z",
            "replicas": {"current": 1},
            "conditions": [
                condition("Ready", "False", "NoReadyPods", "no pod is ready"),
                condition("MetricsAvailable", "False", "NoReadyPods", "no pod is ready"),
            ],
        });
        insta::assert_snapshot!(explained("Observe", status, None));
    }

    #[test]
    fn an_object_that_nobody_looked_at() {
        insta::assert_snapshot!(explained("Observe", json!({}), None));
    }
}
