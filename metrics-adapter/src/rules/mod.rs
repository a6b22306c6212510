//! Recording rules: the counting of classes and their weighing, done by the user's own metrics server.
//!
//! A rule asks with the selectors that the adapter's own question has, so what is recorded is what the adapter was told. It promises what
//! was counted and no more: what the adapter infers (what queues, what is turned away, pods that fell silent, costs that are learned) is
//! in the adapter's own metrics. What cannot be counted exactly is not recorded, and never guessed.

mod bounds;
mod format;

use std::collections::{BTreeMap, BTreeSet};

use plimsoll::load::Weighing;
use plimsoll::spec::{Source, Weights};
use plimsoll::units::Span;

use crate::board::ObjectKey;
use crate::collect::{CpuOf, PodNames, Query, Workload};
use crate::config::{ConfigError, Wish, Wishes};
pub use bounds::{BoundsError, check_bounds};
pub use format::{custom_resources, rule_file};

/// Requests per second up to each bound, by `le`.
pub const REQUEST_RATE: &str = "plimsoll:request_rate";

/// MetricsQPS as it is counted.
pub const METRICSQPS: &str = "plimsoll:metricsqps";

/// Cores in use.
pub const CPU_CORES: &str = "plimsoll:cpu_cores";

/// The label that names the object.
const AUTOSCALER: &str = "autoscaler";

/// Shortest window where the spec names none, since pods are scraped.
const WINDOW: Span = Span::from_secs(60);

/// How many scrapes a window holds at least.
const SCRAPES: i64 = 4;

/// The rules of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The object.
    pub key: ObjectKey,
    /// Time between two evaluations.
    pub interval: Span,
    /// In the order in which they are evaluated. None needs another's result.
    pub rules: Vec<Rule>,
    /// What whoever reads the rules should know of these, in one line.
    pub note: Option<String>,
}

/// One series, or several that `le` tells apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it is called.
    pub record: &'static str,
    /// What it is, in PromQL.
    pub expression: String,
}

/// A group for each object.
///
/// # Errors
/// With every object that no rules can be written for.
pub fn groups(wishes: &Wishes) -> Result<Vec<Group>, ConfigError> {
    let (mut groups, mut problems) = (Vec::new(), Vec::new());
    for (key, wish) in &wishes.objects {
        let query = Query::new(&wish.spec.load);
        match &wish.spec.load.weights {
            Weights::Fit(fit) if fit.by_label.as_ref().is_some_and(|label| label.name == AUTOSCALER) => {
                let message = "every recorded series has a label of that name, which says whose it is";
                problems.push(wish.problem("spec.load.weights.fit.byLabel.name", message));
            }
            _ => groups.push(group(key, wish, &query)),
        }
    }
    if problems.is_empty() { Ok(groups) } else { Err(wishes.wrong(problems)) }
}

fn group(key: &ObjectKey, wish: &Wish, query: &Query) -> Group {
    let pods = PodNames::Of(wish.spec.scale_target_ref.clone());
    let workload = Workload { namespace: &key.namespace, pods: &pods, window: window(wish) };
    let rule = |record, expression| Rule { record, expression };
    let mut rules = vec![rule(REQUEST_RATE, workload.past(query))];
    let note = match &wish.checked.weighing {
        Weighing::Given(weights) => {
            rules.push(rule(METRICSQPS, workload.metricsqps(query, weights)));
            edges_note(weights.classes().edges().as_slice())
        }
        Weighing::Fitted(_) => Some(
            "its weights are learned by the adapter, so its MetricsQPS is the adapter's own plimsoll_metricsqps"
                .to_owned(),
        ),
    };
    rules.push(rule(CPU_CORES, workload.cores(cpu_of(wish))));
    Group { key: key.clone(), interval: wish.checked.interval, rules, note }
}

/// What must hold of a histogram whose requests are to be weighed with these edges.
fn edges_note(edges: &[f64]) -> Option<String> {
    let edges: Vec<String> = edges.iter().map(f64::to_string).collect();
    let note = format!(
        "its edges {} must be bounds (le) of its histogram, or {METRICSQPS} has no value",
        edges.join(", ")
    );
    (!edges.is_empty()).then_some(note)
}

/// What rates are taken over: as the adapter has it, or long enough for a server that scrapes as often as the adapter.
fn window(wish: &Wish) -> Span {
    match &wish.spec.load.source {
        Source::Prometheus(server) => server.window,
        Source::Scrape(scrape) => WINDOW.max(Span::from_nanos(SCRAPES * scrape.interval.as_nanos())),
    }
}

/// Whose counter the adapter reads.
fn cpu_of(wish: &Wish) -> CpuOf {
    match (&wish.spec.load.source, &wish.spec.load.cpu) {
        (Source::Prometheus(_), _) => CpuOf::Either,
        (Source::Scrape(_), Some(_)) => CpuOf::Containers,
        (Source::Scrape(_), None) => CpuOf::Processes,
    }
}

/// A name for each group, unlike all others: where two objects' names would run together, one has a slash.
fn names(groups: &[&Group]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let name = |Group { key, .. }: &Group| {
        let plain = format!("plimsoll-{}-{}", key.namespace, key.name);
        if taken.insert(plain.clone()) { plain } else { format!("plimsoll-{key}") }
    };
    groups.iter().copied().map(name).collect()
}

/// The labels that say whose a series is.
fn labels(key: &ObjectKey) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("namespace", key.namespace.clone()), (AUTOSCALER, key.name.clone())])
}

#[cfg(test)]
mod tests;
