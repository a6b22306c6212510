//! The file that stands in for a cluster: the same `LoadAwareAutoscaler` documents that a cluster would hold, and beside
//! each the `StaticTargets` of the same name that says where its pods are. The latter will never be a custom resource:
//! a tenant must not aim the adapter.
//!
//! What is wrong is told with its line, its field and what was expected, and for as many documents at once as can be
//! read.

mod document;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hyper::Uri;
use kube::Resource;
use plimsoll::spec::Checked;
use serde::Deserialize;

use crate::board::ObjectKey;
use crate::collect::{Query, Targets};
use crate::resource::LoadAwareAutoscaler;
use document::{Document, documents};

/// Largest file: some ten thousand objects.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Namespace of a document that names none, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// Longest name: it becomes the value of a label.
const MAX_NAME: usize = 63;

/// What a file says, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The objects, in the order of their names.
    pub objects: BTreeMap<ObjectKey, Configured>,
}

/// One object and its pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// What it wants.
    pub spec: Checked,
    /// What it reads from a metrics page.
    pub query: Query,
    /// Where its pods are.
    pub targets: Targets,
}

/// A file that cannot be used, with all that is wrong with it.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    path: PathBuf,
    problems: Vec<Problem>,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// From 1; none for the file as a whole.
    line: Option<u64>,
    message: String,
}

impl Problem {
    fn with_file(message: String) -> Self {
        Self { line: None, message }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (i, Problem { line, message }) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            let line = line.map_or(String::new(), |line| format!("{line}:"));
            write!(f, "{separator}{path}:{line} {message}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or with everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let problems = match read_limited(path) {
            Ok(text) => match Self::parse(&text) {
                Ok(config) => return Ok(config),
                Err(problems) => problems,
            },
            Err(problem) => vec![problem],
        };
        Err(ConfigError { path: path.to_owned(), problems })
    }

    fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let mut found = Found::default();
        for document in documents(text).map_err(|problem| vec![problem])? {
            if let Err(problems) = found.add(document) {
                found.problems.extend(problems);
            }
        }
        found.pair()
    }
}

fn read_limited(path: &Path) -> Result<String, Problem> {
    let failed = |error: std::io::Error| Problem::with_file(format!("cannot be read: {error}"));
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::with_file(format!("has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct StaticTargets {
    metadata: Metadata,
    spec: StaticTargetsSpec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct StaticTargetsSpec {
    targets: Vec<String>,
}

/// The documents found so far, and what is wrong with them.
#[derive(Default)]
struct Found {
    autoscalers: BTreeMap<ObjectKey, (Document, Checked, Query)>,
    targets: BTreeMap<ObjectKey, (Document, Targets)>,
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, document: Document) -> Result<(), Vec<Problem>> {
        let header: Header = document.header()?;
        let version = LoadAwareAutoscaler::api_version(&());
        let wrong = |field: &str, expected: &str, given: Option<&str>| {
            let given = given.map_or("nothing".to_owned(), |given| format!("{given:?}"));
            Err(vec![document.problem(field, format!("{expected} was expected, {given} found"))])
        };
        if header.api_version.as_deref() != Some(&version) {
            return wrong("apiVersion", &version, header.api_version.as_deref());
        }
        match header.kind.as_deref() {
            Some("LoadAwareAutoscaler") => self.add_autoscaler(document),
            Some("StaticTargets") => self.add_targets(document),
            kind => wrong("kind", "LoadAwareAutoscaler or StaticTargets", kind),
        }
    }

    fn add_autoscaler(&mut self, document: Document) -> Result<(), Vec<Problem>> {
        let object: LoadAwareAutoscaler = document.typed()?;
        let key = key(&document, object.metadata.name.unwrap_or_default(), object.metadata.namespace)?;
        let spec = object.spec.0;
        let checked = spec.check().map_err(|invalid| {
            let problem = |v: &plimsoll::spec::Violation| document.problem(&v.field, &v.message);
            invalid.0.iter().map(problem).collect::<Vec<_>>()
        })?;
        let query = Query::new(&spec.load);
        let earlier = self.autoscalers.insert(key.clone(), (document, checked, query));
        let twice = earlier.map(|(earlier, ..)| defined_twice(&earlier, &self.autoscalers[&key].0));
        twice.map_or(Ok(()), Err)
    }

    fn add_targets(&mut self, document: Document) -> Result<(), Vec<Problem>> {
        let object: StaticTargets = document.typed()?;
        let key = key(&document, object.metadata.name, object.metadata.namespace)?;
        let targets = targets(&document, &object.spec.targets)?;
        let earlier = self.targets.insert(key.clone(), (document, targets));
        let twice = earlier.map(|(earlier, _)| defined_twice(&earlier, &self.targets[&key].0));
        twice.map_or(Ok(()), Err)
    }

    /// Each autoscaler with its targets.
    fn pair(mut self) -> Result<Config, Vec<Problem>> {
        let mut objects = BTreeMap::new();
        // What is missing may be what could not be read: it is told once the rest is right.
        if self.problems.is_empty() {
            for (key, (document, spec, query)) in self.autoscalers {
                if let Some((_, targets)) = self.targets.remove(&key) {
                    objects.insert(key, Configured { spec, query, targets });
                } else {
                    let message = format!("no StaticTargets says where the pods of {key} are");
                    self.problems.push(document.problem("metadata.name", message));
                }
            }
            for (key, (document, _)) in self.targets {
                let message = format!("there is no LoadAwareAutoscaler {key}");
                self.problems.push(document.problem("metadata.name", message));
            }
        }
        if self.problems.is_empty() && objects.is_empty() {
            self.problems.push(Problem::with_file("has no LoadAwareAutoscaler".into()));
        }
        self.problems.sort();
        if self.problems.is_empty() { Ok(Config { objects }) } else { Err(self.problems) }
    }
}

fn defined_twice(earlier: &Document, later: &Document) -> Vec<Problem> {
    let line = earlier.line("metadata.name");
    vec![later.problem("metadata.name", format!("is defined twice, first in line {line}"))]
}

fn key(document: &Document, name: String, namespace: Option<String>) -> Result<ObjectKey, Vec<Problem>> {
    let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let mut problems = Vec::new();
    for (field, text) in [("metadata.name", &name), ("metadata.namespace", &namespace)] {
        if !is_dns_name(text) {
            let expected =
                "1 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends";
            problems.push(document.problem(field, format!("{expected}, were expected, {text:?} found")));
        }
    }
    if problems.is_empty() { Ok(ObjectKey { namespace, name }) } else { Err(problems) }
}

fn is_dns_name(name: &str) -> bool {
    let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    name.len() <= MAX_NAME
        && bytes.iter().all(|b| is_alphanumeric(b) || matches!(b, b'-' | b'.'))
        && bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
}

fn targets(document: &Document, urls: &[String]) -> Result<Targets, Vec<Problem>> {
    let mut ready = BTreeMap::new();
    let mut problems = Vec::new();
    if urls.is_empty() {
        problems.push(document.problem("spec.targets", "at least one URL was expected"));
    }
    for (i, url) in urls.iter().enumerate() {
        let mut wrong =
            |message: String| problems.push(document.problem(&format!("spec.targets.{i}"), message));
        match target(url) {
            Ok(uri) if ready.values().any(|other| *other == uri) => wrong(format!("{uri} is listed twice")),
            Ok(uri) => drop(ready.insert(uri.to_string(), uri)),
            Err(message) => wrong(message.to_owned()),
        }
    }
    let replicas = u32::try_from(ready.len()).unwrap_or(u32::MAX);
    if problems.is_empty() { Ok(Targets { ready, warming: 0, replicas }) } else { Err(problems) }
}

/// The URL of one pod's page. A wrong one is not repeated: there may be a password in it.
fn target(url: &str) -> Result<Uri, &'static str> {
    let expected = "a URL such as http://127.0.0.1:9090/metrics was expected";
    let uri: Uri = url.parse().map_err(|_| expected)?;
    let authority = uri.authority().filter(|a| !a.host().is_empty()).ok_or(expected)?;
    if uri.scheme_str() == Some("https") {
        return Err("https is not supported in this version: give an http URL");
    }
    if authority.as_str().contains('@') {
        return Err("a user or password in the URL is not supported in this version");
    }
    let has_port = authority.as_str().len() > authority.host().len();
    let is_plain = uri.scheme_str() == Some("http") && !url.contains('#');
    if is_plain && has_port == authority.port_u16().is_some() { Ok(uri) } else { Err(expected) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
# The line of a problem is the line of the file.
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata:
  name: prometheus
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: prometheus}
  maxReplicas: 10
  load:
    histogram: prometheus_http_request_duration_seconds
    weights: {fixed: {edges: [0.1, 0.4, 1], weights: [1, 4, 10, 30]}}
  target: {metricsQPSPerPod: 120}
---
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: StaticTargets
metadata:
  name: prometheus
spec:
  targets:
    - http://127.0.0.1:9090/metrics
";

    fn problems(from: &str, to: &str) -> Vec<String> {
        assert!(GOOD.contains(from), "{from:?} is not in the file");
        let text = GOOD.replacen(from, to, 1);
        let problems = Config::parse(&text).unwrap_err();
        ConfigError { path: "plimsoll.yaml".into(), problems }
            .to_string()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_file_holds_objects_and_their_targets() {
        let config = Config::parse(GOOD).unwrap();
        let object = &config.objects[&ObjectKey::new("default", "prometheus")];
        assert_eq!(object.targets.replicas, 1);
        let target = plimsoll::spec::CapacityTarget::Given(plimsoll::units::MetricsQps::new(120.0).unwrap());
        assert_eq!(object.spec.target, target);
        let plimsoll::load::Weighing::Given(weights) = &object.spec.weighing else {
            panic!("weights are given")
        };
        assert_eq!(weights.weights(), [1.0, 4.0, 10.0, 30.0]);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_field_and_what_was_expected() {
        insta::assert_snapshot!(
            [
                problems("histogram:", "histogran:"),
                problems("  maxReplicas: 10", "  maxReplicas: ten"),
                problems("  maxReplicas: 10\n", ""),
                problems("  maxReplicas: 10", "  maxReplicas: 10\n  minReplica: 2"),
                problems("  maxReplicas: 10", "  maxReplicas: 0"),
                problems("metricsQPSPerPod: 120", "cpuUtilization: 70"),
                problems("metricsQPSPerPod: 120", "metricsQPSPerPod: lots"),
                problems("[0.1, 0.4, 1]", "[0.4, 0.1, 1]"),
                problems("kind: StaticTargets", "kind: StaticTarget"),
                problems("v1alpha1", "v1"),
                problems("    - http://127.0.0.1:9090/metrics", "    - 127.0.0.1:9090"),
                problems("  targets:\n    - http://127.0.0.1:9090/metrics", "  targets: []"),
                problems("- http:", "- https:"),
                problems("127.0.0.1:9090", "127.0.0.1:99999"),
                problems("127.0.0.1:9090", "me:secret@127.0.0.1:9090"),
                problems("9090/metrics", "9090/metrics#here"),
                problems("9090/metrics", "9090/metrics\n    - HTTP://127.0.0.1:9090/metrics"),
                problems("edges:", "edgez:"),
                problems("---\n", "---\n- just\n- a list\n---\n"),
                problems("  name: prometheus\nspec:\n  targets", "  name: other\nspec:\n  targets"),
                problems("  load:", " load:"),
                problems("  name: prometheus\nspec:\n  scale", "  name: Prometheus!\nspec:\n  scale"),
                problems("fixed: {edges: [0.1, 0.4, 1], weights: [1, 4, 10, 30]}", "fixed: {}, fit: {}"),
                problems("---\n", &format!("---\n{}---\n", GOOD.split("---").next().unwrap())),
            ]
            .concat()
            .join("\n")
        );
    }

    #[test]
    fn documents_may_begin_in_the_line_of_their_marker() {
        for marker in ["--- # the pods", "---\t", "\u{feff}---", "---\r"] {
            let text = GOOD.replace("\n---\n", &format!("\n{}\n", marker.trim_start_matches('\u{feff}')));
            assert!(Config::parse(&text).is_ok(), "{marker:?}");
        }
        let (first, second) = GOOD.split_once("---\n").unwrap();
        let flow = "--- {apiVersion: autoscaling.plimsoll.dev/v1alpha1, kind: StaticTargets, metadata: {name: prometheus}, \
                    spec: {targets: [\"http://127.0.0.1:9090/metrics\"]}}\n";
        assert_eq!(Config::parse(&format!("{first}{flow}")), Config::parse(&format!("{first}---\n{second}")));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let endless = Config::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(endless, "/dev/zero: has more than 8388608 bytes");
    }

    #[test]
    fn an_empty_file_and_one_that_is_not_there_are_told() {
        assert!(Config::parse("# nothing\n---\n").is_err());
        let missing = Config::read(Path::new("no/such/file.yaml")).unwrap_err().to_string();
        assert!(missing.starts_with("no/such/file.yaml: cannot be read: "), "{missing}");
    }
}
