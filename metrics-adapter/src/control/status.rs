//! An object's status: written when replicas or conditions change, else at most once a minute. Events tell of changes alone.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time as Instant};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource};
use plimsoll::scale::{Decision, Outcome, Step};
use plimsoll::spec::Mode;
use plimsoll::units::{MetricsQps, Quantity, Span, Time};
use plimsoll_sim::fluid::{Backtest, Way};
use serde_json::json;

use super::actuation::Actuated;
use super::conditions;
use super::target::told;
use super::{MANAGER, timestamp};
use crate::finding::Finding;
use crate::resource::{
    BacktestStatus, LoadAwareAutoscaler, ReplicaStatus, Status, StepStatus, WayStatus, WeightStatus,
};

/// Time between two writes, if neither replicas nor conditions change.
const QUIET: Span = Span::from_secs(60);

/// Bytes of an event's note that the API takes.
const MOST_NOTE: usize = 1024;
/// Bytes of a condition's message: the API takes 32,768, and people read less.
const MOST_MESSAGE: usize = 4096;

/// Writes the status of one object.
#[derive(Debug, Default)]
pub(super) struct StatusWriter {
    written: Option<(Status, Time)>,
    /// It was refused last time, which is said already.
    is_refused: bool,
}

/// Whose status it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subject {
    /// What the object is called, and which version of it this is about.
    pub(super) metadata: ObjectMeta,
    /// What was said of it before this adapter began.
    pub(super) conditions: Vec<Condition>,
}

impl Subject {
    fn reference(&self) -> ObjectReference {
        let ObjectMeta { name, namespace, uid, .. } = self.metadata.clone();
        ObjectReference {
            api_version: Some(LoadAwareAutoscaler::api_version(&()).into_owned()),
            kind: Some(LoadAwareAutoscaler::kind(&()).into_owned()),
            name,
            namespace,
            uid,
            // Each write of the status makes another version: events of the same change would never be counted together.
            resource_version: None,
            field_path: None,
        }
    }
}

impl From<&LoadAwareAutoscaler> for Subject {
    fn from(object: &LoadAwareAutoscaler) -> Self {
        let conditions = object.status.as_ref().map(|status| status.conditions.clone());
        Self { metadata: object.metadata.clone(), conditions: conditions.unwrap_or_default() }
    }
}

/// Everything that a status tells, but for its conditions.
pub(super) fn of(
    decision: Option<&Decision>,
    mode: Mode,
    current: Option<u32>,
    actuated: &Actuated,
) -> Status {
    let mut status = Status { mode: Some(mode), ..Status::default() };
    if let Actuated::Followed { hpa, .. } = actuated {
        status.horizontal_pod_autoscaler = Some(hpa.clone());
    }
    let mut replicas = ReplicaStatus { current, ..ReplicaStatus::default() };
    if let Some(decision) = decision {
        status.capacity = decision.capacity.and_then(|capacity| quantity(capacity.per_pod));
        status.lead_time = decision.lead_time.map(|lead| whole_seconds(lead.total));
        status.last_decision = Some(Instant(timestamp(decision.at)));
        status.weights = decision.learned.as_ref().map(|learned| {
            WeightStatus::new(learned.version, Instant(timestamp(learned.since)), &learned.scores)
        });
        let step = |step: &Step| StepStatus { replicas: step.replicas, reason: step.kind.to_string() };
        status.steps = decision.outcome.steps().iter().map(step).collect();
        match &decision.outcome {
            Outcome::Desired(desired) => {
                let load = desired.load.metricsqps;
                status.metrics_qps = quantity(load);
                let ready = decision.evidence.map_or(0, |evidence| evidence.pods.ready);
                let each = (ready > 0).then(|| load.get() / f64::from(ready));
                status.per_pod = each.and_then(|each| quantity(MetricsQps::saturating(each)));
                status.forecast = decision.forecast.as_ref().and_then(|_| quantity(desired.bound));
                status.reason = desired.steps.last().map(|step| step.kind.to_string());
                replicas.reactive = Some(desired.reactive);
                replicas.proactive = desired.proactive;
                replicas.desired = Some(desired.replicas);
            }
            Outcome::Fallback(fallback) => replicas.desired = Some(fallback.replicas),
            Outcome::NoOpinion(_) => {}
        }
    }
    status.replicas = Some(replicas);
    status
}

/// What other ways would have made of the past, in whole hours and minutes.
pub(super) fn backtest(backtest: &Backtest) -> BacktestStatus {
    let way = |way: &Way| WayStatus {
        way: format!("{:?}", way.kind),
        pod_hours: way.pod_hours.round() as u64,
        short_minutes: way.short_minutes.round() as u64,
        most_replicas: way.most,
    };
    let [from, to] = [backtest.from, backtest.to].map(|at| Instant(timestamp(at)));
    BacktestStatus { from, to, ways: backtest.ways.iter().map(way).collect() }
}

/// A load to three significant digits: the last ones change with every sample and say nothing.
fn quantity(load: MetricsQps) -> Option<Quantity> {
    let load = load.get();
    if load <= 0.0 {
        return Quantity::at_least(0.0);
    }
    let unit = 10f64.powi(load.log10().floor() as i32 - 2).max(0.001);
    Quantity::at_least((load / unit).round() * unit)
}

fn whole_seconds(span: Span) -> Span {
    Span::from_secs(span.as_secs_f64().round() as i64)
}

impl StatusWriter {
    /// Whether nothing was written yet.
    pub(super) fn is_silent(&self) -> bool {
        self.written.is_none()
    }

    /// Brings the object's status up to date, if it is time to, and tells of what changed.
    pub(super) async fn write(
        &mut self,
        client: &Client,
        recorder: &Recorder,
        subject: &Subject,
        (mut status, findings): (Status, Vec<Finding>),
        now: Time,
    ) {
        let before = match &self.written {
            Some((status, _)) => &status.conditions,
            None => &subject.conditions,
        };
        let before = before.clone();
        let generation = subject.metadata.generation;
        status.observed_generation = generation;
        status.conditions = conditions::dated(&findings, &before, &Instant(timestamp(now)), generation);
        for condition in &mut status.conditions {
            condition.message = shortened(&condition.message, MOST_MESSAGE).to_owned();
        }
        let is_due = match &self.written {
            None => true,
            Some((last, at)) => tells_more(last, &status) || (now - *at >= QUIET && *last != status),
        };
        if !is_due {
            return;
        }
        let name = subject.metadata.name.clone().unwrap_or_default();
        let namespace = subject.metadata.namespace.clone().unwrap_or_default();
        let api: Api<LoadAwareAutoscaler> = Api::namespaced(client.clone(), &namespace);
        let patch = json!({
            "apiVersion": LoadAwareAutoscaler::api_version(&()),
            "kind": LoadAwareAutoscaler::kind(&()),
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        match api.patch_status(&name, &params, &Patch::Apply(patch)).await {
            Ok(_) => {
                if !before.is_empty() {
                    let changed = findings.iter().filter(|finding| has_changed(finding, &before));
                    for finding in changed {
                        publish(recorder, &subject.reference(), finding).await;
                    }
                }
                self.written = Some((status, now));
                self.is_refused = false;
            }
            // It was deleted meanwhile.
            Err(kube::Error::Api(refused)) if refused.code == 404 => {}
            Err(error) => {
                if !std::mem::replace(&mut self.is_refused, true) {
                    tracing::warn!(%namespace, %name, error = %told(&error), "the status cannot be written");
                }
            }
        }
    }
}

/// The beginning of a text, of at most so many bytes.
fn shortened(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// Whether a new status says something that people wait for.
fn tells_more(last: &Status, new: &Status) -> bool {
    let told = |status: &Status| {
        let conditions = status.conditions.iter();
        conditions.map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone())).collect::<Vec<_>>()
    };
    let replicas = |status: &Status| status.replicas.map(|replicas| (replicas.current, replicas.desired));
    told(last) != told(new)
        || replicas(last) != replicas(new)
        || last.observed_generation != new.observed_generation
        || last.horizontal_pod_autoscaler != new.horizontal_pod_autoscaler
}

fn has_changed(finding: &Finding, before: &[Condition]) -> bool {
    before.iter().find(|condition| condition.type_ == finding.kind).is_some_and(|condition| {
        let is_ready = finding.kind == "Ready";
        condition.status != finding.status() || (is_ready && condition.reason != finding.reason)
    })
}

async fn publish(recorder: &Recorder, subject: &ObjectReference, finding: &Finding) {
    let event = Event {
        type_: if finding.is_bad() { EventType::Warning } else { EventType::Normal },
        reason: finding.reason.clone(),
        note: Some(shortened(&finding.message, MOST_NOTE).to_owned()),
        action: finding.kind.to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, subject).await {
        tracing::warn!(error = %told(&error), "an event cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_told_to_three_digits() {
        let told = |load: f64| quantity(MetricsQps::new(load).unwrap()).unwrap().to_string();
        let cases = [0.0, 0.0123, 8.6449, 123.4, 98_765.0].map(told);
        assert_eq!(cases, ["0", "12m", "8640m", "123", "98800"]);
    }

    #[test]
    fn a_text_is_cut_between_two_letters() {
        assert_eq!(shortened("überall", 3), "üb");
        assert_eq!(shortened("überall", 1), "");
        assert_eq!(shortened("über", 1024), "über");
    }

    #[test]
    fn digits_of_the_load_are_no_news_and_replicas_are() {
        let status = |load: &str, desired: u32| Status {
            metrics_qps: Some(load.parse().unwrap()),
            replicas: Some(ReplicaStatus { desired: Some(desired), ..ReplicaStatus::default() }),
            ..Status::default()
        };
        assert!(!tells_more(&status("10", 3), &status("11", 3)));
        assert!(tells_more(&status("10", 3), &status("10", 4)));
    }
}
