//! What the console's page is told: the board, in the shapes that tables and charts want. Times are seconds since 1970 on the adapter's
//! clock; what is not known is null.

use plimsoll::scale::{Decision, Desired, Outcome};
use plimsoll::spec::Mode;
use plimsoll::units::{Span, Time};
use plimsoll_sim::fluid::Backtest;
use serde::Serialize;

use crate::board::{Board, Cell, ObjectKey, Stretch};
use crate::finding::Finding;

/// Steps of decisions that are listed: the last changes.
const LOGGED: usize = 50;

/// All objects.
#[derive(Debug, Serialize)]
pub(super) struct List {
    now: f64,
    version: &'static str,
    objects: Vec<Row>,
}

/// One object in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    name: String,
    /// When the newest decision was made.
    at: Option<f64>,
    mode: Option<Mode>,
    load: Option<f64>,
    bound: Option<f64>,
    capacity: Option<f64>,
    min: Option<u32>,
    max: Option<u32>,
    current: Option<u32>,
    reactive: Option<u32>,
    proactive: Option<u32>,
    desired: Option<u32>,
    /// The last step of the decision, or why there is none, or what hinders it.
    why: Option<String>,
    /// Whether there is something that somebody should look at.
    is_troubled: bool,
    /// The condition Ready, in a cluster.
    ready: Option<Condition>,
}

/// Something that holds of an object.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
    is_bad: bool,
}

impl From<&Finding> for Condition {
    fn from(finding: &Finding) -> Self {
        Self {
            kind: finding.kind,
            status: finding.status(),
            reason: finding.reason.clone(),
            message: finding.message.clone(),
            is_bad: finding.is_bad(),
        }
    }
}

/// One object with its past.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    now: f64,
    row: Row,
    conditions: Vec<Condition>,
    /// How the newest decision came about.
    steps: Vec<Step>,
    history: History,
    /// The last day, five minutes at a time.
    day: History,
    classes: Vec<Class>,
    log: Vec<Logged>,
    /// From a decision until its pods serve, and of that the time in which they start; in seconds.
    lead_time: Option<[f64; 2]>,
    /// How far the bound looks, in seconds.
    horizon: Option<f64>,
    backtest: Option<Backtest>,
    decision: Option<Decision>,
}

#[derive(Debug, Serialize)]
struct Step {
    replicas: u32,
    reason: String,
}

/// Columns of equal length, one entry for each decision of the last hour or so or for five minutes each, oldest first.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct History {
    at: Vec<f64>,
    load: Vec<Option<f64>>,
    bound: Vec<Option<f64>>,
    /// Until when the bound is meant to hold.
    bound_until: Vec<Option<f64>>,
    current: Vec<Option<u32>>,
    reactive: Vec<Option<u32>>,
    proactive: Vec<Option<u32>>,
    desired: Vec<Option<u32>>,
}

/// One class of requests, over the same instants as the history.
#[derive(Debug, Serialize)]
struct Class {
    name: String,
    weight: f64,
    rates: Vec<Option<f64>>,
}

/// A decision that differs from the one before.
#[derive(Debug, Serialize)]
struct Logged {
    at: f64,
    replicas: Option<u32>,
    reasons: Vec<String>,
}

fn seconds(at: Time) -> f64 {
    (at - Time::EPOCH).as_secs_f64()
}

/// What the load is known to take at `now`.
fn in_force(decision: &Decision, now: Time) -> Option<&Desired> {
    decision.outcome.desired().filter(|desired| desired.is_valid_at(now))
}

impl List {
    /// The board as it is at `now`, in namespaces that may be read.
    pub(super) fn of(board: &Board, now: Time, may_read: impl Fn(&str) -> bool) -> Self {
        let objects = board.objects();
        let objects = objects.iter().filter(|(key, _)| may_read(&key.namespace));
        let objects = objects.map(|(key, cell)| Row::of(key, cell, now)).collect();
        Self { now: seconds(now), version: env!("CARGO_PKG_VERSION"), objects }
    }

    /// What makes it another list: who is there, the decisions, and whether they hold.
    pub(super) fn news(&self) -> Vec<(String, String, Option<u64>, Option<String>)> {
        let news = |row: &Row| {
            let ready = row.ready.as_ref().map(|ready| ready.reason.clone());
            (row.namespace.clone(), row.name.clone(), row.at.map(f64::to_bits), ready)
        };
        self.objects.iter().map(news).collect()
    }
}

impl Row {
    fn of(key: &ObjectKey, cell: &Cell, now: Time) -> Self {
        let latest = cell.latest().clone();
        let decision = latest.as_deref();
        let desired = decision.and_then(|decision| in_force(decision, now));
        let asked_for = decision.and_then(|decision| decision.outcome.replicas().ok());
        let asked_for = asked_for.filter(|(_, until)| now <= *until).map(|(replicas, _)| replicas);
        let why = decision.map(|decision| match (&decision.outcome, desired) {
            (Outcome::NoOpinion(why), _) => why.to_string(),
            (Outcome::Desired(_), None) => "the newest decision holds no longer".to_owned(),
            (outcome, _) => outcome.steps().last().map(|step| step.kind.to_string()).unwrap_or_default(),
        });
        let findings = cell.findings();
        let trouble = findings.iter().find(|finding| finding.is_bad());
        let why = match trouble.filter(|_| desired.is_some()) {
            Some(trouble) => Some(format!("{}: {}", trouble.reason, trouble.message)),
            None => why,
        };
        let ready = findings.iter().find(|finding| finding.kind == "Ready").map(Condition::from);
        Self {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            at: decision.map(|decision| seconds(decision.at)),
            mode: decision.map(|decision| decision.mode),
            load: desired.map(|desired| desired.load.metricsqps.get()),
            bound: desired.map(|desired| desired.bound.get()),
            capacity: decision.and_then(|decision| Some(decision.capacity?.per_pod.get())),
            min: decision.map(|decision| decision.min_replicas),
            max: decision.map(|decision| decision.max_replicas),
            current: decision.and_then(|decision| Some(decision.evidence?.pods.replicas)),
            reactive: desired.map(|desired| desired.reactive),
            proactive: desired.and_then(|desired| desired.proactive),
            desired: asked_for,
            why,
            is_troubled: desired.is_none() || trouble.is_some(),
            ready,
        }
    }
}

impl Object {
    /// The object of `cell` as it is at `now`.
    pub(super) fn of(key: &ObjectKey, cell: &Cell, now: Time) -> Self {
        let decision = cell.latest().clone();
        let recent = cell.recent();
        let steps = decision.iter().flat_map(|decision| decision.outcome.steps());
        let steps = steps.map(|step| Step { replicas: step.replicas, reason: step.kind.to_string() });
        Self {
            now: seconds(now),
            row: Row::of(key, cell, now),
            conditions: cell.findings().iter().map(Condition::from).collect(),
            steps: steps.collect(),
            history: History::of(recent.iter().map(|decision| Stretch::of(decision))),
            day: History::of(cell.day().into_iter()),
            classes: classes(&recent.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
            log: log(recent.iter().map(AsRef::as_ref)),
            lead_time: decision.as_deref().and_then(|decision| {
                decision.lead_time.map(|lead| [lead.total, lead.start_up].map(Span::as_secs_f64))
            }),
            horizon: decision
                .as_deref()
                .and_then(|decision| Some(decision.forecast.as_ref()?.horizon.as_secs_f64())),
            backtest: cell.backtest().as_deref().cloned(),
            decision: decision.as_deref().cloned(),
        }
    }
}

impl History {
    fn of(stretches: impl Iterator<Item = Stretch>) -> Self {
        let mut history = Self::default();
        for stretch in stretches {
            history.at.push(seconds(stretch.at));
            history.load.push(stretch.load);
            history.bound.push(stretch.bound);
            history.bound_until.push(stretch.bound_until.map(seconds));
            history.current.push(stretch.current);
            history.reactive.push(stretch.reactive);
            history.proactive.push(stretch.proactive);
            history.desired.push(stretch.desired);
        }
        history
    }
}

/// The classes of the newest decision that has any, and what came of each.
fn classes(decisions: &[&Decision]) -> Vec<Class> {
    let of = |decision: &Decision| decision.outcome.desired().map(|desired| desired.load.classes.clone());
    let Some(newest) = decisions.iter().rev().find_map(|decision| of(decision)) else { return vec![] };
    let mut lower = 0.0;
    let classes = newest.iter().enumerate().map(|(index, class)| {
        let name = match class.le {
            Some(le) if lower == 0.0 => format!("up to {le} s"),
            Some(le) => format!("{lower} to {le} s"),
            None => format!("over {lower} s"),
        };
        lower = class.le.unwrap_or(lower);
        let rate = |decision: &&Decision| {
            let classes = &decision.outcome.desired()?.load.classes;
            // After new edges the old rates are of other classes.
            let same = classes.get(index).filter(|same| classes.len() == newest.len() && same.le == class.le);
            same.map(|class| class.rate.get())
        };
        Class { name, weight: class.weight, rates: decisions.iter().map(rate).collect() }
    });
    classes.collect()
}

/// The last decisions that were for other replicas, or other reasons, than those before them; the newest first.
fn log<'a>(decisions: impl Iterator<Item = &'a Decision>) -> Vec<Logged> {
    let mut log: Vec<Logged> = Vec::new();
    let mut last: Option<(Option<u32>, Vec<&str>)> = None;
    for decision in decisions {
        let replicas = decision.outcome.replicas().ok().map(|(replicas, _)| replicas);
        let (names, reasons): (Vec<&str>, Vec<String>) = match &decision.outcome {
            Outcome::NoOpinion(why) => (vec![why.name()], vec![why.to_string()]),
            outcome => outcome.steps().iter().map(|step| (step.kind.name(), step.kind.to_string())).unzip(),
        };
        if last.as_ref() != Some(&(replicas, names.clone())) {
            log.push(Logged { at: seconds(decision.at), replicas, reasons });
            last = Some((replicas, names));
        }
    }
    log.reverse();
    log.truncate(LOGGED);
    log
}
