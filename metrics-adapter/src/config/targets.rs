//! The `StaticTargets` document: where a workload's pods are, or what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hyper::Uri;
use plimsoll::units::{Cores, Quantity};
use serde::{Deserialize, Deserializer, de};

use super::document::Document;
use super::{Problem, is_dns_name};
use crate::collect::{Access, PodCpu, Targets};

/// Longest name of a pod.
const MAX_POD_NAME: usize = 253;

#[derive(Deserialize)]
pub(super) struct StaticTargets {
    pub(super) metadata: Metadata,
    pub(super) spec: StaticTargetsSpec,
}

#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct StaticTargetsSpec {
    #[serde(default)]
    targets: Vec<StaticTarget>,
    #[serde(default)]
    pods: Vec<String>,
    #[serde(default)]
    cpu: StaticCpu,
}

/// CPU of each pod.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StaticCpu {
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

/// One pod's page, with the pod's name where it is written `{pod, url}` and not as a plain URL.
struct StaticTarget {
    pod: Option<String>,
    url: String,
}

impl<'de> Deserialize<'de> for StaticTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            pod: String,
            url: String,
        }

        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = StaticTarget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or {pod: NAME, url: URL}")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<StaticTarget, E> {
                Ok(StaticTarget { pod: None, url: url.to_owned() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<StaticTarget, A::Error> {
                let Named { pod, url } = Named::deserialize(de::value::MapAccessDeserializer::new(fields))?;
                Ok(StaticTarget { pod: Some(pod), url })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// What a `StaticTargets` says of its pods.
pub(super) enum Known {
    /// Where they are, and the index of one that has no name.
    Pages { targets: Targets, unnamed: Option<usize> },
    /// What they are called, and the CPU of each.
    Names(BTreeSet<String>, PodCpu),
}

pub(super) fn known(document: &Document, spec: &StaticTargetsSpec) -> Result<Known, Vec<Problem>> {
    let cpu = pod_cpu(document, &spec.cpu)?;
    match (spec.targets.as_slice(), spec.pods.as_slice()) {
        ([], []) => Err(vec![document.problem("spec.targets", "at least one URL was expected")]),
        (targets, []) => pages(document, targets, cpu),
        ([], pods) => names(document, pods, cpu),
        _ => {
            let message = "either the pods' URLs in spec.targets or their names here were expected, not both";
            Err(vec![document.problem("spec.pods", message)])
        }
    }
}

fn pod_cpu(document: &Document, cpu: &StaticCpu) -> Result<PodCpu, Vec<Problem>> {
    let cores = |field: &str, quantity: &Option<Quantity>| match quantity {
        None => Ok(None),
        Some(quantity) if quantity.as_milli() > 0 => Ok(Some(Cores::saturating(quantity.as_f64()))),
        Some(quantity) => {
            Err(document.problem(field, format!("cores, such as 500m, were expected, {quantity} found")))
        }
    };
    match (cores("spec.cpu.request", &cpu.request), cores("spec.cpu.limit", &cpu.limit)) {
        (Ok(request), Ok(limit)) => Ok(PodCpu { request, limit }),
        (request, limit) => Err([request.err(), limit.err()].into_iter().flatten().collect()),
    }
}

fn names(document: &Document, pods: &[String], cpu: PodCpu) -> Result<Known, Vec<Problem>> {
    let mut names = BTreeSet::new();
    let mut problems = Vec::new();
    for (i, pod) in pods.iter().enumerate() {
        let field = format!("spec.pods.{i}");
        if !is_dns_name(pod, MAX_POD_NAME) {
            problems.push(document.problem(&field, format!("a pod's name was expected, {pod:?} found")));
        } else if !names.insert(pod.clone()) {
            problems.push(document.problem(&field, format!("{pod} is listed twice")));
        }
    }
    if problems.is_empty() { Ok(Known::Names(names, cpu)) } else { Err(problems) }
}

fn pages(document: &Document, targets: &[StaticTarget], cpu: PodCpu) -> Result<Known, Vec<Problem>> {
    let mut ready = BTreeMap::new();
    let mut problems = Vec::new();
    for (i, StaticTarget { pod, url }) in targets.iter().enumerate() {
        let mut wrong =
            |message: String| problems.push(document.problem(&format!("spec.targets.{i}"), message));
        match (target(url), pod) {
            (Err(message), _) => wrong(message.to_owned()),
            (Ok(uri), _) if ready.values().any(|other| *other == uri) => {
                wrong(format!("{uri} is listed twice"));
            }
            (Ok(_), Some(pod)) if !is_dns_name(pod, MAX_POD_NAME) => {
                wrong(format!("a pod's name was expected, {pod:?} found"));
            }
            (Ok(_), Some(pod)) if ready.contains_key(pod) => wrong(format!("{pod} is listed twice")),
            (Ok(uri), Some(pod)) => drop(ready.insert(pod.clone(), uri)),
            (Ok(uri), None) => drop(ready.insert(uri.to_string(), uri)),
        }
    }
    let replicas = u32::try_from(ready.len()).unwrap_or(u32::MAX);
    let unnamed = targets.iter().position(|target| target.pod.is_none());
    let targets = Targets {
        ready: ready.into_iter().map(|(pod, page)| (pod, Some(page))).collect(),
        warming: 0,
        replicas: Some(replicas),
        updating: false,
        cpu,
        access: Access::Open,
        selector: None,
    };
    if problems.is_empty() { Ok(Known::Pages { targets, unnamed }) } else { Err(problems) }
}

/// The URL of one pod's page. A wrong one is not repeated: there may be a password in it.
fn target(url: &str) -> Result<Uri, &'static str> {
    let expected = "a URL such as http://127.0.0.1:9090/metrics was expected";
    let uri: Uri = url.parse().map_err(|_| expected)?;
    let authority = uri.authority().filter(|a| !a.host().is_empty()).ok_or(expected)?;
    if uri.scheme_str() == Some("https") {
        return Err(
            "pages are read over http here: give an http URL, or let a metrics server read these pods",
        );
    }
    if authority.as_str().contains('@') {
        return Err(
            "no user or password is sent: give a URL without, or let a metrics server read these pods",
        );
    }
    let has_port = authority.as_str().len() > authority.host().len();
    let is_plain = uri.scheme_str() == Some("http") && !url.contains('#');
    if is_plain && has_port == authority.port_u16().is_some() { Ok(uri) } else { Err(expected) }
}
