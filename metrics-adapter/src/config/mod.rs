//! The file that stands in for a cluster: the same `LoadAwareAutoscaler` documents that a cluster would hold, and beside
//! each the `StaticTargets` of the same name that says where its pods are, or what they are called where a metrics server
//! tells the load. The latter will never be a custom resource: a tenant must not aim the adapter.
//!
//! What is wrong is told with its line, its field and what was expected, and for as many documents at once as can be
//! read.

mod document;
mod servers;
mod targets;
mod wishes;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use kube::Resource;
use plimsoll::spec::{Actuation, Checked, Cpu, Load, ScaleTargetRef, Scheme, Source as SpecSource, Spec};
use plimsoll::units::Span;
use serde::Deserialize;
use tokio::sync::watch;

use crate::board::ObjectKey;
use crate::collect::{PodCpu, PodNames, QueriedPods, Query, Targets};
use crate::engine::{CpuSource, Object, Server, Source};
use crate::resource::LoadAwareAutoscaler;
use document::{Document, documents};
pub use servers::{Servers, ServersError};
use targets::{Known, StaticTargets, known};
pub use wishes::{Wish, Wishes};

/// Largest file: some ten thousand objects.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Namespace of a document that names none, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// Longest name: it becomes the value of a label.
const MAX_NAME: usize = 63;

/// Why a file cannot ask for the CPU that a cluster tells.
const NO_RESOURCE_METRICS: &str =
    "are those of a cluster, which this is not: let a metrics server tell the CPU, or the pods' own pages";
/// Why a file cannot say how pods let the adapter in.
const NO_CLUSTER: &str = "takes Secrets and ConfigMaps, which only a cluster has: let a metrics server read these pods, or leave it out";

/// What a file says, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The objects, in the order of their names.
    pub objects: BTreeMap<ObjectKey, Configured>,
}

/// One object and its pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// Which workload it is about.
    pub workload: ScaleTargetRef,
    /// What it wants.
    pub spec: Checked,
    /// What it reads of its workload.
    pub query: Query,
    /// Where it reads that.
    pub source: ConfiguredSource,
}

/// Where a configured object's load is read.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfiguredSource {
    /// The pods' own pages.
    Pods {
        /// Where its pods are.
        targets: Targets,
        /// Who tells their CPU, if not their pages.
        cpu: Option<Server>,
    },
    /// A metrics server.
    Server {
        /// Which pods are its own.
        pods: QueriedPods,
        /// Who tells of them.
        server: Server,
    },
}

impl Configured {
    /// How many pods the file names; none where it names none.
    pub fn pods(&self) -> Option<usize> {
        match &self.source {
            ConfiguredSource::Pods { targets, .. } => Some(targets.ready.len()),
            ConfiguredSource::Server { pods, .. } => match &pods.names {
                PodNames::Known(names) => Some(names.len()),
                PodNames::Of(_) | PodNames::Either(..) => None,
            },
        }
    }

    /// The object that an engine runs.
    pub fn into_object(self, key: ObjectKey) -> Object {
        let Self { workload, spec, query, source } = self;
        // The pods of a file never change; a channel whose sender is gone keeps its last value.
        let source = match source {
            ConfiguredSource::Pods { targets, cpu } => {
                Source::Pods { targets: watch::channel(targets).1, cpu: cpu.map(CpuSource::Server) }
            }
            ConfiguredSource::Server { pods, server } => {
                Source::Server { pods: watch::channel(pods).1, server }
            }
        };
        Object { key, workload, spec, query, source }
    }
}

/// A file that cannot be used, with all that is wrong with it.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    path: PathBuf,
    problems: Vec<Problem>,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
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
    /// Reads a file whose objects may name these servers.
    ///
    /// # Errors
    /// When it cannot be read, or with everything that is wrong with it.
    pub fn read(path: &Path, servers: &Servers) -> Result<Self, ConfigError> {
        let problems = match read_limited(path) {
            Ok(text) => match Self::parse(&text, servers) {
                Ok(config) => return Ok(config),
                Err(problems) => problems,
            },
            Err(problem) => vec![problem],
        };
        Err(ConfigError { path: path.to_owned(), problems })
    }

    fn parse(text: &str, servers: &Servers) -> Result<Self, Vec<Problem>> {
        let mut found = Found { servers: servers.clone(), ..Found::default() };
        for document in documents(text).map_err(|problem| vec![problem])? {
            if let Err(problems) = found.add(document) {
                found.problems.extend(problems);
            }
        }
        found.pair()
    }
}

fn read_limited(path: &Path) -> Result<String, Problem> {
    read_to_limit(|| File::open(path))
}

fn read_to_limit<R: Read>(open: impl FnOnce() -> std::io::Result<R>) -> Result<String, Problem> {
    let failed = |error: std::io::Error| Problem::with_file(format!("cannot be read: {error}"));
    let mut text = String::new();
    open().map_err(failed)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
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

/// Where an object wants its load to be read.
enum Wanted {
    Pages { cpu: Option<Server> },
    Server { server: Server, target: ScaleTargetRef },
}

/// An object, its document, and where its load is to be read.
struct Autoscaler {
    document: Document,
    workload: ScaleTargetRef,
    spec: Checked,
    query: Query,
    wanted: Wanted,
}

/// The documents found so far, and what is wrong with them.
#[derive(Default)]
struct Found {
    servers: Servers,
    autoscalers: BTreeMap<ObjectKey, Autoscaler>,
    targets: BTreeMap<ObjectKey, (Document, Known)>,
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, document: Document) -> Result<(), Vec<Problem>> {
        match kind(&document)? {
            Kind::LoadAwareAutoscaler => self.add_autoscaler(document),
            Kind::StaticTargets => self.add_targets(document),
        }
    }

    fn add_autoscaler(&mut self, document: Document) -> Result<(), Vec<Problem>> {
        let (key, Wish { spec, checked, document }) = wishes::wish(document)?;
        if let Some(problem) = acts(&document, &spec) {
            return Err(vec![problem]);
        }
        let query = Query::new(&spec.load);
        let wanted = self.wanted(&document, &spec.load, &spec.scale_target_ref)?;
        let workload = spec.scale_target_ref;
        let found = Autoscaler { document, workload, spec: checked, query, wanted };
        let earlier = self.autoscalers.insert(key.clone(), found);
        let later = &self.autoscalers[&key].document;
        let twice = earlier.map(|earlier| defined_twice(&earlier.document, later));
        twice.map_or(Ok(()), Err)
    }

    /// Where the load is to be read, if the operator knows the servers that it names.
    fn wanted(
        &self,
        document: &Document,
        load: &Load,
        target: &ScaleTargetRef,
    ) -> Result<Wanted, Vec<Problem>> {
        let server = |field: &str, reference: &str, window: Span| match self.servers.get(reference) {
            Some(endpoint) => Ok(Server { endpoint: endpoint.clone(), window }),
            None => {
                let message = format!("there is no server {reference:?}: {}", self.servers.known());
                Err(vec![document.problem(field, message)])
            }
        };
        match &load.source {
            SpecSource::Prometheus(wanted) => {
                let server = server("spec.load.source.prometheus.ref", &wanted.reference, wanted.window)?;
                Ok(Wanted::Server { server, target: target.clone() })
            }
            SpecSource::Scrape(scrape) => {
                let field = "spec.load.source.scrape";
                if scrape.scheme == Scheme::HTTPS {
                    return Err(vec![document.problem(&format!("{field}.scheme"), NO_CLUSTER)]);
                }
                if scrape.authorization.is_some() {
                    return Err(vec![document.problem(&format!("{field}.authorization"), NO_CLUSTER)]);
                }
                let cpu = load.cpu.as_ref().map(|cpu| match cpu {
                    Cpu::Prometheus(wanted) => {
                        server("spec.load.cpu.prometheus.ref", &wanted.reference, wanted.window)
                    }
                    Cpu::ResourceMetrics(_) => {
                        Err(vec![document.problem("spec.load.cpu.resourceMetrics", NO_RESOURCE_METRICS)])
                    }
                });
                Ok(Wanted::Pages { cpu: cpu.transpose()? })
            }
        }
    }

    fn add_targets(&mut self, document: Document) -> Result<(), Vec<Problem>> {
        let object: StaticTargets = document.typed()?;
        let key = key(&document, object.metadata.name, object.metadata.namespace)?;
        let known = known(&document, &object.spec)?;
        let earlier = self.targets.insert(key.clone(), (document, known));
        let twice = earlier.map(|(earlier, _)| defined_twice(&earlier, &self.targets[&key].0));
        twice.map_or(Ok(()), Err)
    }

    /// Each autoscaler with its targets.
    fn pair(mut self) -> Result<Config, Vec<Problem>> {
        let mut objects = BTreeMap::new();
        // What is missing may be what could not be read: it is told once the rest is right.
        if self.problems.is_empty() {
            for (key, Autoscaler { document, workload, spec, query, wanted }) in self.autoscalers {
                match source(&key, &document, wanted, self.targets.remove(&key)) {
                    Ok(source) => {
                        objects.insert(key, Configured { workload, spec, query, source });
                    }
                    Err(problem) => self.problems.push(problem),
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

/// Which of the two kinds a document is of.
enum Kind {
    LoadAwareAutoscaler,
    StaticTargets,
}

fn kind(document: &Document) -> Result<Kind, Vec<Problem>> {
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
        Some("LoadAwareAutoscaler") => Ok(Kind::LoadAwareAutoscaler),
        Some("StaticTargets") => Ok(Kind::StaticTargets),
        kind => wrong("kind", "LoadAwareAutoscaler or StaticTargets", kind),
    }
}

/// What a spec asks for that takes a cluster: from a file the metrics are served, and nobody acts.
fn acts(document: &Document, spec: &Spec) -> Option<Problem> {
    if spec.actuation == Actuation::Scale {
        let message = "without a cluster nothing writes a scale: use HPA or None";
        return Some(document.problem("spec.actuation", message.to_owned()));
    }
    let message = "without a cluster no HPA is made: put it into your own HPA";
    spec.behavior.as_ref().map(|_| document.problem("spec.behavior", message.to_owned()))
}

fn defined_twice(earlier: &Document, later: &Document) -> Vec<Problem> {
    let line = earlier.line("metadata.name");
    vec![later.problem("metadata.name", format!("is defined twice, first in line {line}"))]
}

fn key(document: &Document, name: String, namespace: Option<String>) -> Result<ObjectKey, Vec<Problem>> {
    let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let mut problems = Vec::new();
    for (field, text) in [("metadata.name", &name), ("metadata.namespace", &namespace)] {
        if !is_dns_name(text, MAX_NAME) {
            let expected =
                "1 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends";
            problems.push(document.problem(field, format!("{expected}, were expected, {text:?} found")));
        }
    }
    if problems.is_empty() { Ok(ObjectKey { namespace, name }) } else { Err(problems) }
}

/// Whether this may be the name of an object in a cluster.
pub(crate) fn is_dns_name(name: &str, longest: usize) -> bool {
    let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    name.len() <= longest
        && bytes.iter().all(|b| is_alphanumeric(b) || matches!(b, b'-' | b'.'))
        && bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
}

/// Where an object's load is read, from what it wants and what is known of its pods.
fn source(
    key: &ObjectKey,
    document: &Document,
    wanted: Wanted,
    known: Option<(Document, Known)>,
) -> Result<ConfiguredSource, Problem> {
    match (wanted, known) {
        (Wanted::Pages { cpu: Some(_) }, Some((document, Known::Pages { unnamed: Some(i), .. }))) => {
            let message = "its CPU is asked for by name: {pod: NAME, url: URL} was expected";
            Err(document.problem(&format!("spec.targets.{i}"), message))
        }
        (Wanted::Pages { cpu }, Some((_, Known::Pages { targets, .. }))) => {
            Ok(ConfiguredSource::Pods { targets, cpu })
        }
        (Wanted::Pages { .. }, Some((document, Known::Names(..)))) => {
            Err(document
                .problem("spec.pods", "the pods' own pages are read: list their URLs in spec.targets"))
        }
        (Wanted::Pages { .. }, None) => {
            let message = format!("no StaticTargets says where the pods of {key} are");
            Err(document.problem("metadata.name", message))
        }
        (Wanted::Server { server, target }, Some((_, Known::Names(names, cpu)))) => {
            let replicas = u32::try_from(names.len()).ok();
            let names = PodNames::Known(names);
            let pods =
                QueriedPods { names, warming: 0, updating: false, replicas, cpu, target: Some(target) };
            Ok(ConfiguredSource::Server { pods, server })
        }
        (Wanted::Server { .. }, Some((document, Known::Pages { .. }))) => {
            let message = "a metrics server tells the load: list the pods' names in spec.pods, or leave this document out";
            Err(document.problem("spec.targets", message))
        }
        (Wanted::Server { server, target }, None) => {
            let cpu = PodCpu::default();
            let names = PodNames::Of(target.clone());
            let pods =
                QueriedPods { names, warming: 0, updating: false, replicas: None, cpu, target: Some(target) };
            Ok(ConfiguredSource::Server { pods, server })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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

    fn parse(text: &str) -> Result<Config, Vec<Problem>> {
        Config::parse(text, &Servers::parse(["main=http://prometheus:9090"]).unwrap())
    }

    fn problems(from: &str, to: &str) -> Vec<String> {
        assert!(GOOD.contains(from), "{from:?} is not in the file");
        let text = GOOD.replacen(from, to, 1);
        let problems = parse(&text).unwrap_err();
        ConfigError { path: "plimsoll.yaml".into(), problems }
            .to_string()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_file_holds_objects_and_their_targets() {
        let config = parse(GOOD).unwrap();
        let object = &config.objects[&ObjectKey::new("default", "prometheus")];
        assert_eq!(object.pods(), Some(1));
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
                problems("  maxReplicas: 10", "  maxReplicas: 10\n  actuation: Scale"),
                problems("metricsQPSPerPod: 120", "metricsQPSPerPod: lots"),
                problems("[0.1, 0.4, 1]", "[0.4, 0.1, 1]"),
                problems(
                    "    weights:",
                    "    source: {scrape: {authorization: {credentials: {name: shop, key: token}}}}\n    weights:"
                ),
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

    /// The file with another source of the load, and with other targets or none.
    fn from_server(load: &str, targets: Option<&str>) -> Result<Config, Vec<String>> {
        let text = GOOD.replace("  load:\n", &format!("  load:\n    {load}\n"));
        let text = match targets {
            Some(targets) => text.replace("  targets:\n    - http://127.0.0.1:9090/metrics\n", targets),
            None => text.split("---").next().unwrap().to_owned(),
        };
        parse(&text).map_err(|problems| {
            let told = |p: &Problem| format!("{}: {}", p.line.unwrap_or_default(), p.message);
            problems.iter().map(told).collect()
        })
    }

    #[test]
    fn a_metrics_server_takes_the_pods_names_or_the_workloads() {
        let key = ObjectKey::new("default", "prometheus");
        let pods = |targets: Option<&str>| {
            let config = from_server("source: {prometheus: {ref: main, window: 2m}}", targets).unwrap();
            match config.objects[&key].source.clone() {
                ConfiguredSource::Server { pods, server } => {
                    assert_eq!(server.window, Span::from_secs(120));
                    (pods.names, pods.replicas)
                }
                ConfiguredSource::Pods { .. } => panic!("a server was wanted"),
            }
        };
        let target = ScaleTargetRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: "prometheus".into(),
        };
        assert_eq!(pods(None), (PodNames::Of(target), None));
        let names = BTreeSet::from(["a-0".to_owned(), "a-1".to_owned()]);
        assert_eq!(pods(Some("  pods: [a-0, a-1]\n")), (PodNames::Known(names), Some(2)));
    }

    #[test]
    fn scraped_pods_have_names_where_their_cpu_is_asked_for() {
        let cpu = "cpu: {prometheus: {ref: main}}";
        let named = "  targets:\n    - {pod: a-0, url: \"http://127.0.0.1:9090/metrics\"}\n";
        let config = from_server(cpu, Some(named)).unwrap();
        let ConfiguredSource::Pods { targets, cpu: Some(server) } =
            &config.objects[&ObjectKey::new("default", "prometheus")].source
        else {
            panic!("pages and a server were wanted")
        };
        assert_eq!(targets.ready.keys().collect::<Vec<_>>(), ["a-0"]);
        assert_eq!(server.window, Span::from_secs(60));
    }

    #[test]
    fn what_is_wrong_with_a_server_or_its_pods_is_told() {
        let told = |load: &str, targets| from_server(load, targets).unwrap_err();
        let source = "source: {prometheus: {ref: main}}";
        let cpu = "cpu: {prometheus: {ref: main}}";
        let pages = "  targets:\n    - http://127.0.0.1:9090/metrics\n";
        insta::assert_snapshot!(
            [
                told("source: {prometheus: {ref: other}}", None),
                told("source: {prometheus: {window: 1m}}", None),
                told("source: {prometheus: {ref: main, window: 1s}}", None),
                told("cpu: {prometheus: {ref: other}}", Some(pages)),
                told(source, Some(pages)),
                told(source, Some("  pods: [a-0, a-0, A]\n")),
                told(source, Some("  pods: []\n")),
                told(cpu, Some(pages)),
                told(cpu, Some("  targets:\n    - {pod: A, url: \"http://a/\"}\n")),
                told(cpu, Some("  targets:\n    - {pod: a, uri: \"http://a/\"}\n")),
                told("# as before", Some("  pods: [a-0]\n")),
                told("# as before", Some("  pods: [a-0]\n  targets: [\"http://a/\"]\n")),
                told("# as before", Some("  targets: [7]\n")),
            ]
            .concat()
            .join("\n")
        );
        let none = Config::parse(
            &GOOD.replace("  load:\n", "  load:\n    source: {prometheus: {ref: main}}\n"),
            &Servers::default(),
        );
        let message = &none.unwrap_err()[0].message;
        assert!(
            message.ends_with("none is configured: start the adapter with --prometheus NAME=URL"),
            "{message}"
        );
    }

    #[test]
    fn documents_may_begin_in_the_line_of_their_marker() {
        for marker in ["--- # the pods", "---\t", "\u{feff}---", "---\r"] {
            let text = GOOD.replace("\n---\n", &format!("\n{}\n", marker.trim_start_matches('\u{feff}')));
            assert!(parse(&text).is_ok(), "{marker:?}");
        }
        let (first, second) = GOOD.split_once("---\n").unwrap();
        let flow = "--- {apiVersion: autoscaling.plimsoll.dev/v1alpha1, kind: StaticTargets, metadata: {name: prometheus}, \
                    spec: {targets: [\"http://127.0.0.1:9090/metrics\"]}}\n";
        assert_eq!(parse(&format!("{first}{flow}")), parse(&format!("{first}---\n{second}")));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let endless = Config::read(Path::new("/dev/zero"), &Servers::default()).unwrap_err().to_string();
        assert_eq!(endless, "/dev/zero: has more than 8388608 bytes");
    }

    #[test]
    fn an_empty_file_and_one_that_is_not_there_are_told() {
        assert!(parse("# nothing\n---\n").is_err());
        let missing =
            Config::read(Path::new("no/such/file.yaml"), &Servers::default()).unwrap_err().to_string();
        assert!(missing.starts_with("no/such/file.yaml: cannot be read: "), "{missing}");
    }
}
