//! The two forms in which Prometheus and its operator read rules.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_saphyr::{LitStr, SerializeError};

use super::{Group, labels, names};

const ABOUT: &str = "\
# Written by `plimsoll-adapter rules`: requests per second up to each bound, MetricsQPS and CPU of each workload, as counted.
";

#[derive(Serialize)]
struct RuleFile<'a> {
    groups: Vec<RuleGroup<'a>>,
}

#[derive(Serialize)]
struct RuleGroup<'a> {
    name: String,
    interval: String,
    rules: Vec<RecordingRule<'a>>,
}

#[derive(Serialize)]
struct RecordingRule<'a> {
    record: &'a str,
    expr: LitStr<'a>,
    labels: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrometheusRule<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    spec: RuleFile<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
}

/// A file for Prometheus' `rule_files`.
///
/// # Errors
/// Never in fact: it is made of what serialises.
pub fn rule_file(groups: &[Group]) -> Result<String, SerializeError> {
    let file = serde_saphyr::to_string(&RuleFile::of(groups.iter().collect()))?;
    Ok(head(groups) + &file)
}

/// A `PrometheusRule` of this name in each of the objects' namespaces.
///
/// # Errors
/// Never in fact: it is made of what serialises.
pub fn custom_resources(groups: &[Group], name: &str) -> Result<String, SerializeError> {
    let mut by_namespace = BTreeMap::<&str, Vec<&Group>>::new();
    for group in groups {
        by_namespace.entry(&group.key.namespace).or_default().push(group);
    }
    let resource = |(namespace, groups)| {
        serde_saphyr::to_string(&PrometheusRule {
            api_version: "monitoring.coreos.com/v1",
            kind: "PrometheusRule",
            metadata: Metadata { name, namespace },
            spec: RuleFile::of(groups),
        })
    };
    let resources: Vec<String> = by_namespace.into_iter().map(resource).collect::<Result<_, _>>()?;
    Ok(head(groups) + &resources.join("---\n"))
}

/// The comment at the top. There is nothing in it that a user may write, but for names that were checked.
fn head(groups: &[Group]) -> String {
    let notes =
        groups.iter().filter_map(|Group { key, note, .. }| Some(format!("# {key}: {}.\n", note.as_ref()?)));
    ABOUT.to_owned() + &notes.collect::<String>()
}

impl<'a> RuleFile<'a> {
    fn of(groups: Vec<&'a Group>) -> Self {
        let names = names(&groups);
        let groups = groups.into_iter().zip(names).map(|(group, name)| RuleGroup {
            name,
            // Prometheus knows nothing shorter than a millisecond.
            interval: plimsoll::units::Span::from_millis(group.interval.as_millis()).to_string(),
            rules: group
                .rules
                .iter()
                .map(|rule| RecordingRule {
                    record: rule.record,
                    expr: LitStr(&rule.expression),
                    labels: labels(&group.key),
                })
                .collect(),
        });
        Self { groups: groups.collect() }
    }
}
