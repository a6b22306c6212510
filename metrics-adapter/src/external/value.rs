//! One metric of one object: found on the board, or an error that says why there is none.
//!
//! Nothing here turns an unknown into a number, and no answer holds two values: a HorizontalPodAutoscaler adds up
//! whatever it is given.

use plimsoll::scale::{Desired, Fallback, NoOpinion, Outcome};
use plimsoll::units::{Quantity, Time};
use serde::{Serialize, Serializer};

use super::reply::{self, Reply};
use super::route::GROUP_VERSION;
use super::selector::Selector;
use super::status::{Reason, Status};
use crate::board::{Board, Cell, ObjectKey};

/// The label that each value carries: the name of the `LoadAwareAutoscaler` that it belongs to. A HorizontalPodAutoscaler
/// selects its value by it.
pub const AUTOSCALER_LABEL: &str = "plimsoll.dev/autoscaler";

/// Objects that an error names before it counts the rest.
const NAMED: usize = 10;

/// What is served of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The load now, in MetricsQPS.
    MetricsQps,
    /// The load that the replicas are meant to carry, in MetricsQPS: an upper quantile over the horizon.
    Forecast,
    /// The replicas wanted.
    DesiredReplicas,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MetricsQps, Self::Forecast, Self::DesiredReplicas];

    /// Its name in requests and in a HorizontalPodAutoscaler.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MetricsQps => "metricsqps",
            Self::Forecast => "metricsqps-forecast",
            Self::DesiredReplicas => "plimsoll-desired-replicas",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Its value by a decision, and the last instant at which that may be served; an error where the load is not known and
    /// nothing is said for that case.
    fn of(self, outcome: &Outcome) -> Result<(f64, Time), &NoOpinion> {
        match (self, outcome) {
            (Self::DesiredReplicas, _) => {
                outcome.replicas().map(|(replicas, until)| (f64::from(replicas), until))
            }
            (Self::MetricsQps, Outcome::Desired(desired)) => {
                Ok((desired.load.metricsqps.get(), desired.valid_until))
            }
            (Self::Forecast, Outcome::Desired(desired)) => Ok((desired.bound.get(), desired.valid_until)),
            (_, Outcome::Fallback(Fallback { why, .. }) | Outcome::NoOpinion(why)) => Err(why),
        }
    }
}

/// The answer to a request for `metric`, of the object in `namespace` that `selector` picks.
///
/// # Errors
/// 404 for an unknown metric or where nothing is picked, 400 for a selector that cannot be read or picks several, 503
/// where the load is not known at `now`.
pub(super) fn answer(
    board: &Board,
    now: Time,
    namespace: &str,
    metric: &str,
    selector: &str,
) -> Result<Reply, Status> {
    let Some(metric) = Metric::named(metric) else {
        let served = Metric::ALL.map(Metric::name).join(", ");
        return Err(Status::new(
            Reason::NotFound,
            format!(
                "the server could not find the metric {metric} for namespace {namespace}: it serves {served}"
            ),
        ));
    };
    let labels = Selector::parse(selector).map_err(|error| {
        Status::new(
            Reason::BadRequest,
            format!("labelSelector {selector:?}: unable to parse requirement: {error}"),
        )
    })?;
    let objects = board.objects();
    let first = ObjectKey::new(namespace, "");
    let mut picked = objects
        .range(&first..)
        .take_while(|(key, _)| key.namespace == namespace)
        .filter(|(key, _)| labels.matches(&[(AUTOSCALER_LABEL, &key.name)]));
    let Some((key, cell)) = picked.next() else {
        return Err(Status::new(Reason::NotFound, nothing(metric, namespace, selector)));
    };
    let others: Vec<&str> = picked.map(|(key, _)| key.name.as_str()).collect();
    if !others.is_empty() {
        return Err(Status::new(Reason::BadRequest, several(namespace, selector, &key.name, &others)));
    }
    value(metric, key, cell, now)
}

fn nothing(metric: Metric, namespace: &str, selector: &str) -> String {
    format!(
        "the server could not find the metric {} for namespace {namespace}: labelSelector {selector:?} picks no \
         LoadAwareAutoscaler there; select one with {AUTOSCALER_LABEL}=NAME",
        metric.name()
    )
}

fn several(namespace: &str, selector: &str, first: &str, others: &[&str]) -> String {
    let count = others.len() + 1;
    let names: Vec<&str> = [first].into_iter().chain(others.iter().copied()).take(NAMED).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    format!(
        "labelSelector {selector:?} picks {count} LoadAwareAutoscalers in namespace {namespace}: {}{more}; a \
         HorizontalPodAutoscaler would add their values up. Select one with {AUTOSCALER_LABEL}={first}",
        names.join(", ")
    )
}

fn value(metric: Metric, key: &ObjectKey, cell: &Cell, now: Time) -> Result<Reply, Status> {
    let unknown = |why: &str| {
        Status::new(Reason::ServiceUnavailable, format!("{} of {key} is not known: {why}", metric.name()))
    };
    let bug = |what: &str| Status::new(Reason::InternalError, format!("{} of {key}: {what}", metric.name()));
    let latest = cell.latest();
    let Some(decision) = latest.as_deref() else {
        return Err(unknown("nothing was decided yet"));
    };
    let is_paused = decision.outcome.desired().is_some_and(Desired::is_paused);
    if metric == Metric::DesiredReplicas && is_paused {
        // The replicas that there were may be fewer than a person has scaled to since. An error holds whatever there is.
        return Err(unknown("a person has paused the object, so the replicas stay as they are"));
    }
    let (number, valid_until) = metric.of(&decision.outcome).map_err(|why| unknown(&why.to_string()))?;
    let (what, told_at) = match (&decision.outcome, &decision.evidence) {
        (Outcome::Fallback(_), _) => ("is", decision.at),
        (_, Some(evidence)) => ("rests on a sample that is", evidence.sampled_at),
        (_, None) => return Err(bug("the decision rests on no sample; please report this")),
    };
    if now > valid_until {
        return Err(unknown(&format!(
            "the newest decision {what} {:.1} s old and holds for {} only",
            (now - told_at).as_secs_f64(),
            valid_until - told_at
        )));
    }
    let Some(quantity) = Quantity::at_least(number) else {
        return Err(bug(&format!("{number} cannot be written as a quantity; please report this")));
    };
    Ok(reply::json(&List {
        kind: "ExternalMetricValueList",
        api_version: GROUP_VERSION,
        metadata: Empty {},
        items: [Item {
            metric_name: metric.name(),
            metric_labels: &key.name,
            timestamp: told_at.to_rfc3339_secs(),
            value: format!("{}m", quantity.as_milli()),
        }],
    }))
}

/// `ExternalMetricValueList`, in Kubernetes' order of fields, with the one item.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    items: [Item<'a>; 1],
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    metric_name: &'static str,
    #[serde(serialize_with = "autoscaler_label")]
    metric_labels: &'a str,
    /// Of the sample, not of the request; of the decision where it rests on none.
    timestamp: String,
    /// In thousandths, always: that is exact, and what the client turns it into.
    value: String,
}

fn autoscaler_label<S: Serializer>(name: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([(AUTOSCALER_LABEL, name)])
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use hyper::StatusCode;
    use plimsoll::load::{Load, Pods};
    use plimsoll::scale::{
        Capacity, CapacitySource, DECISION_SCHEMA, Decision, Desired, Evidence, Step, StepKind,
    };
    use plimsoll::spec::Mode;
    use plimsoll::units::{MetricsQps, Rate, Span};
    use serde_json::Value;

    use super::*;

    const SAMPLED: Time = Time::from_secs(1_000);

    fn decision(outcome: Outcome) -> Decision {
        Decision {
            schema: DECISION_SCHEMA,
            at: SAMPLED,
            mode: Mode::Auto,
            min_replicas: 1,
            max_replicas: 10,
            capacity: Some(Capacity {
                per_pod: MetricsQps::new(10.0).unwrap(),
                interval: None,
                source: CapacitySource::Given,
            }),
            evidence: Some(Evidence { sampled_at: SAMPLED, pods: Pods::default() }),
            learned: None,
            forecast: None,
            lead_time: None,
            short_time: plimsoll::scale::ShortTime::default(),
            outcome,
        }
    }

    fn desired(load: f64) -> Decision {
        let metricsqps = MetricsQps::new(load).unwrap();
        decision(Outcome::Desired(Desired {
            replicas: 3,
            reactive: 3,
            proactive: None,
            load: Load {
                metricsqps,
                standard_error: MetricsQps::ZERO,
                raw: metricsqps,
                weights: plimsoll::load::WeightsInForce::Given,
                borne_out: None,
                completed: Rate::ZERO,
                offered: Rate::ZERO,
                classes: vec![],
                inexact_edges: vec![],
                congestion: vec![],
            },
            bound: metricsqps,
            steps: vec![],
            valid_until: SAMPLED + Span::from_secs(60),
        }))
    }

    fn board(objects: &[(&str, &str, &Decision)]) -> Board {
        let board = Board::default();
        for (namespace, name, decision) in objects {
            board.cell(&ObjectKey::new(*namespace, *name)).publish(Decision::clone(decision));
        }
        board
    }

    async fn ask(board: &Board, age: Span, metric: &str, selector: &str) -> (StatusCode, Value) {
        let now = SAMPLED + age;
        let reply = answer(board, now, "shop", metric, selector).unwrap_or_else(Status::into_reply);
        let (parts, body) = reply.into_parts();
        (parts.status, serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
    }

    async fn refusal(board: &Board, age: Span, selector: &str) -> (u16, String) {
        let (status, body) = ask(board, age, "metricsqps", selector).await;
        (status.as_u16(), body["message"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn values_are_thousandths_and_a_load_known_to_be_zero_is_zero() {
        for (load, metric, value) in [
            (8.6, Metric::MetricsQps, "8600m"),
            (3.0, Metric::Forecast, "3000m"),
            (0.0001, Metric::MetricsQps, "1m"),
            (0.0, Metric::MetricsQps, "0m"),
            (1e15, Metric::MetricsQps, "1000000000000000000m"),
            (0.0, Metric::DesiredReplicas, "3000m"),
        ] {
            let board = board(&[("shop", "checkout", &desired(load))]);
            let (status, body) = ask(&board, Span::ZERO, metric.name(), "").await;
            assert_eq!((status, &body["items"][0]["value"]), (StatusCode::OK, &Value::from(value)), "{load}");
        }
    }

    #[tokio::test]
    async fn nothing_is_served_after_the_end_of_validity() {
        let board = board(&[("shop", "checkout", &desired(8.6))]);
        let last = Span::from_secs(60);
        assert_eq!(ask(&board, last, "metricsqps", "").await.0, StatusCode::OK);
        assert_eq!(
            refusal(&board, Span::from_millis(60_100), "").await,
            (
                503,
                "metricsqps of shop/checkout is not known: the newest decision rests on a sample that is 60.1 s old and \
                 holds for 1m only"
                    .to_owned()
            )
        );
    }

    #[tokio::test]
    async fn an_unknown_load_is_an_error_that_says_why() {
        let silent = decision(Outcome::NoOpinion(NoOpinion::Silent { silent: 3, ready: 4 }));
        let board = board(&[("shop", "checkout", &silent)]);
        board.cell(&ObjectKey::new("shop", "new"));
        for (selector, why) in [
            (
                "plimsoll.dev/autoscaler=checkout",
                "shop/checkout is not known: 3 of 4 pods cannot be read, or tell no load",
            ),
            ("plimsoll.dev/autoscaler=new", "shop/new is not known: nothing was decided yet"),
        ] {
            let expected = (503, format!("metricsqps of {why}"));
            assert_eq!(refusal(&board, Span::ZERO, selector).await, expected);
        }
    }

    #[tokio::test]
    async fn a_fallback_is_served_as_replicas_alone_and_needs_no_sample() {
        let fallback = decision(Outcome::Fallback(Fallback {
            replicas: 7,
            why: NoOpinion::NoSample,
            since: Time::from_secs(400),
            steps: vec![],
            valid_until: SAMPLED + Span::from_secs(45),
        }));
        let board = board(&[("shop", "checkout", &Decision { evidence: None, ..fallback })]);
        let desired = Metric::DesiredReplicas.name();
        let (status, body) = ask(&board, Span::from_secs(45), desired, "").await;
        let item = &body["items"][0];
        assert_eq!((status, &item["value"]), (StatusCode::OK, &"7000m".into()));
        assert_eq!(item["timestamp"], "1970-01-01T00:16:40Z");
        let (status, body) = ask(&board, Span::from_secs(46), desired, "").await;
        let message = "plimsoll-desired-replicas of shop/checkout is not known: the newest decision is 46.0 s old and holds \
                       for 45s only";
        assert_eq!((status.as_u16(), &body["message"]), (503, &message.into()));
        let unknown = "metricsqps of shop/checkout is not known: nothing was measured yet".to_owned();
        assert_eq!(refusal(&board, Span::ZERO, "").await, (503, unknown));
    }

    #[tokio::test]
    async fn a_paused_object_wants_no_replicas_and_shows_its_load() {
        let mut paused = desired(8.6);
        if let Outcome::Desired(desired) = &mut paused.outcome {
            desired.steps.push(Step { replicas: 3, kind: StepKind::Paused });
        }
        let board = board(&[("shop", "checkout", &paused)]);
        assert_eq!(ask(&board, Span::ZERO, Metric::MetricsQps.name(), "").await.0, StatusCode::OK);
        let (status, body) = ask(&board, Span::ZERO, Metric::DesiredReplicas.name(), "").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body["message"].as_str().unwrap().contains("a person has paused the object"), "{body}");
    }

    #[tokio::test]
    async fn a_decision_without_a_sample_is_a_bug_and_not_a_value() {
        let board = board(&[("shop", "checkout", &Decision { evidence: None, ..desired(8.6) })]);
        assert_eq!(refusal(&board, Span::ZERO, "").await.0, 500);
    }

    #[tokio::test]
    async fn objects_of_other_namespaces_are_not_there() {
        let board = board(&[
            ("shoe", "a", &desired(1.0)),
            ("shop", "b", &desired(2.0)),
            ("shops", "c", &desired(3.0)),
        ]);
        let (_, body) = ask(&board, Span::ZERO, "metricsqps", "").await;
        assert_eq!(body["items"][0]["metricLabels"], serde_json::json!({ "plimsoll.dev/autoscaler": "b" }));
        assert_eq!(refusal(&board, Span::ZERO, "plimsoll.dev/autoscaler!=b").await.0, 404);
    }

    #[tokio::test]
    async fn several_objects_are_named_and_not_added_up() {
        let names: Vec<String> = (0..12).map(|i| format!("w{i:02}")).collect();
        let decision = desired(1.0);
        let objects: Vec<_> = names.iter().map(|name| ("shop", name.as_str(), &decision)).collect();
        assert_eq!(
            refusal(&board(&objects), Span::ZERO, "").await,
            (
                400,
                "labelSelector \"\" picks 12 LoadAwareAutoscalers in namespace shop: w00, w01, w02, w03, w04, w05, w06, \
                 w07, w08, w09 and 2 more; a HorizontalPodAutoscaler would add their values up. Select one with \
                 plimsoll.dev/autoscaler=w00"
                    .to_owned()
            )
        );
        let (_, message) =
            refusal(&board(&objects), Span::ZERO, "plimsoll.dev/autoscaler in (w03,w07)").await;
        assert!(message.contains("picks 2 LoadAwareAutoscalers in namespace shop: w03, w07; a"), "{message}");
    }
}
