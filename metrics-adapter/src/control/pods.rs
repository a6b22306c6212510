//! The pods of one workload, by watch: which take requests, which are on their way, and how long each took.
//!
//! Of each pod only what is needed is decoded, and of that only [`PodFacts`] are kept: memory grows with the number of pods,
//! not with what people write into them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use futures::{Stream, StreamExt};
use hyper::Uri;
use k8s_openapi::api::core::v1::{PodCondition, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time as Instant};
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use plimsoll::scale::StartUp;
use plimsoll::spec::{Scheme, Scrape};
use plimsoll::units::{Cores, Quantity, Span};
use serde::{Deserialize, Serialize};

use crate::collect::PodCpu;

/// Labels by which a workload's controller marks the version of the template that a pod was made from.
const TEMPLATE_LABELS: [&str; 3] =
    ["pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash"];

/// A pod as it is decoded: the fields that are looked at.
#[derive(Debug, Clone, Serialize, Deserialize, Resource)]
#[resource(inherit = "k8s_openapi::api::core::v1::Pod")]
struct SlimPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSpec {
    containers: Vec<SlimContainer>,
    host_network: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimContainer {
    ports: Vec<SlimPort>,
    resources: Option<ResourceRequirements>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimPort {
    name: Option<String>,
    container_port: u16,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Vec<PodCondition>,
}

/// What is kept of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodFacts {
    /// It takes requests.
    pub(super) is_ready: bool,
    /// It was told to go, or has ended.
    pub(super) is_leaving: bool,
    /// Its address; none before it has one.
    pub(super) ip: Option<IpAddr>,
    /// It shares its node's network: its ports are the node's, and not looked at.
    pub(super) has_host_network: bool,
    /// The ports that its containers declare, by name.
    pub(super) ports: BTreeMap<String, u16>,
    /// The version of the template that it was made from, where its controller says.
    pub(super) template: Option<String>,
    /// CPU that its containers ask for; none if one of them asks for none.
    pub(super) cpu_request: Option<MilliCores>,
    /// CPU that its containers may use; none if one of them has no limit.
    pub(super) cpu_limit: Option<MilliCores>,
    /// How it came up, once it is ready, in the world's time.
    pub(super) start_up: Option<StartUp>,
}

/// Thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MilliCores(i64);

impl MilliCores {
    fn cores(self) -> Cores {
        Cores::saturating(self.0 as f64 / 1000.0)
    }
}

impl From<SlimPod> for PodFacts {
    fn from(pod: SlimPod) -> Self {
        let SlimPod { metadata, spec, status } = pod;
        let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let is_true = |c: &&PodCondition, kind: &str| c.type_ == kind && c.status == "True";
        let since = |kind: &str| {
            let condition = status.conditions.iter().find(|c| is_true(c, kind))?;
            condition.last_transition_time.clone()
        };
        let is_ready = status.conditions.iter().any(|c| is_true(&c, "Ready"));
        let start_up = is_ready
            .then(|| start_up(metadata.creation_timestamp.as_ref()?, since("PodScheduled"), since("Ready")?))
            .flatten();
        let ports = spec.containers.iter().flat_map(|container| &container.ports);
        let ports = ports.filter_map(|port| Some((port.name.clone()?, port.container_port))).collect();
        let labels = metadata.labels.unwrap_or_default();
        Self {
            is_ready,
            is_leaving: has_ended || metadata.deletion_timestamp.is_some(),
            ip: status.pod_ip.and_then(|ip| ip.parse().ok()),
            has_host_network: spec.host_network,
            ports,
            template: TEMPLATE_LABELS.iter().find_map(|label| labels.get(*label).cloned()),
            cpu_request: cpu_of(&spec.containers, |resources| resources.requests.as_ref()),
            cpu_limit: cpu_of(&spec.containers, |resources| resources.limits.as_ref()),
            start_up,
        }
    }
}

fn start_up(created: &Instant, scheduled: Option<Instant>, ready: Instant) -> Option<StartUp> {
    let from = |start: &Instant, end: &Instant| {
        let nanos = end.0.duration_since(start.0).as_nanos();
        i64::try_from(nanos).ok().filter(|nanos| *nanos >= 0).map(Span::from_nanos)
    };
    let total = from(created, &ready)?;
    let scheduled_after = scheduled.as_ref().and_then(|at| from(created, at));
    let started = scheduled.as_ref().and_then(|at| from(at, &ready));
    Some(StartUp { total, scheduled: scheduled_after, started })
}

type Resources = BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

/// The sum over all containers; none if one of them says nothing.
fn cpu_of(
    containers: &[SlimContainer],
    which: impl Fn(&ResourceRequirements) -> Option<&Resources>,
) -> Option<MilliCores> {
    let of = |container: &SlimContainer| {
        let quantity: Quantity = which(container.resources.as_ref()?)?.get("cpu")?.0.parse().ok()?;
        Some(quantity.as_milli())
    };
    let each: Option<Vec<i64>> = containers.iter().map(of).collect();
    each.filter(|each| !each.is_empty()).map(|each| MilliCores(each.iter().sum()))
}

/// The pods of one workload, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pods(BTreeMap<String, PodFacts>);

impl Pods {
    fn staying(&self) -> impl Iterator<Item = (&String, &PodFacts)> {
        self.0.iter().filter(|(_, pod)| !pod.is_leaving)
    }

    /// Names of those that take requests.
    pub(super) fn ready(&self) -> BTreeSet<String> {
        self.staying().filter(|(_, pod)| pod.is_ready).map(|(name, _)| name.clone()).collect()
    }

    /// How many are on their way.
    pub(super) fn warming(&self) -> u32 {
        u32::try_from(self.staying().filter(|(_, pod)| !pod.is_ready).count()).unwrap_or(u32::MAX)
    }

    /// Whether pods of two versions are there, those that leave not counted: a rollout is under way.
    pub(super) fn are_updating(&self) -> bool {
        let mut templates = self.staying().filter_map(|(_, pod)| pod.template.as_ref());
        let first = templates.next();
        templates.any(|template| Some(template) != first)
    }

    /// CPU of each. Where they differ, as during a rollout, the least: a capacity that is too small is the safer error.
    pub(super) fn cpu(&self) -> PodCpu {
        let least = |of: fn(&PodFacts) -> Option<MilliCores>| {
            let each: Option<Vec<MilliCores>> = self.staying().map(|(_, pod)| of(pod)).collect();
            each.and_then(|each| each.into_iter().min()).map(MilliCores::cores)
        };
        PodCpu { request: least(|pod| pod.cpu_request), limit: least(|pod| pod.cpu_limit) }
    }

    /// Whether all containers ask for CPU; none while there are no pods to tell.
    pub(super) fn ask_for_cpu(&self) -> Option<bool> {
        self.staying().next().map(|_| self.cpu().request.is_some())
    }

    /// Each pod that takes requests, with its metrics page as far as that may be read: at the pod's own address and a port that it
    /// declares, never through its node's network.
    pub(super) fn pages(&self, scrape: &Scrape) -> BTreeMap<String, Option<Uri>> {
        let url = |pod: &PodFacts| {
            if pod.has_host_network {
                return None;
            }
            let port = pod.ports.get(&scrape.port)?;
            let address = SocketAddr::new(pod.ip.filter(is_of_a_pod)?, *port);
            let path = scrape.path.strip_prefix('/').unwrap_or(&scrape.path);
            let scheme = match scrape.scheme {
                Scheme::HTTP => "http",
                Scheme::HTTPS => "https",
            };
            format!("{scheme}://{address}/{path}").parse().ok()
        };
        let ready = self.staying().filter(|(_, pod)| pod.is_ready);
        ready.map(|(name, pod)| (name.clone(), url(pod))).collect()
    }

    /// Why some pods that take requests have no page that may be read, for people.
    pub(super) fn unreadable(&self, scrape: &Scrape) -> Option<String> {
        let ready = || self.staying().filter(|(_, pod)| pod.is_ready);
        let on_host = ready().filter(|(_, pod)| pod.has_host_network).count();
        if on_host > 0 {
            return Some(format!(
                "{on_host} pods use their node's network, where nothing is read: read them through a metrics server \
                 (spec.load.source.prometheus)"
            ));
        }
        let without = ready().filter(|(_, pod)| !pod.ports.contains_key(&scrape.port)).count();
        (without > 0).then(|| {
            format!(
                "{without} pods declare no container port named {:?}: name the port in their template, or another one in \
                 spec.load.source.scrape.port",
                scrape.port
            )
        })
    }
}

/// Whether a pod can have this address. What clouds tell their nodes alone is at link-local ones.
fn is_of_a_pod(ip: &IpAddr) -> bool {
    let is_local_to_a_link = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(is_local_to_a_link || ip.is_unspecified() || ip.is_multicast())
}

/// What a watch of pods tells.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The pods as they are now.
    pub(super) pods: Pods,
    /// Pods that became ready since the last time, and how.
    pub(super) started: Vec<StartUp>,
}

/// Watches the pods that a label selector picks. Errors of the watch are logged and it goes on; what was known stays.
pub(super) fn watch(
    client: &Client,
    namespace: &str,
    selector: &str,
) -> impl Stream<Item = Seen> + Send + use<> {
    let api: Api<SlimPod> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().labels(selector).any_semantic();
    let events = watcher(api, config).default_backoff();
    let (namespace, selector) = (namespace.to_owned(), selector.to_owned());
    let mut known = Known::default();
    events.filter_map(move |event| {
        let seen = match event {
            Ok(event) => known.take(event),
            Err(error) => {
                tracing::warn!(%namespace, %selector, %error, "the watch of pods is interrupted");
                None
            }
        };
        std::future::ready(seen)
    })
}

/// The pods that a label selector picks, as they are at this moment.
///
/// # Errors
/// When the API server does not tell.
pub(super) async fn list(client: &Client, namespace: &str, selector: &str) -> Result<Pods, kube::Error> {
    let api: Api<SlimPod> = Api::namespaced(client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(selector)).await?;
    let named = |pod: SlimPod| Some((pod.metadata.name.clone()?, PodFacts::from(pod)));
    Ok(Pods(pods.items.into_iter().filter_map(named).collect()))
}

/// What the watch has told so far.
#[derive(Debug, Default)]
struct Known {
    pods: BTreeMap<String, PodFacts>,
    /// A list that is being told anew.
    listed: Option<BTreeMap<String, PodFacts>>,
    is_complete: bool,
}

impl Known {
    fn take(&mut self, event: Event<SlimPod>) -> Option<Seen> {
        let mut started = Vec::new();
        match event {
            Event::Init => self.listed = Some(BTreeMap::new()),
            Event::InitApply(pod) => {
                if let (Some(listed), Some(name)) = (&mut self.listed, pod.metadata.name.clone()) {
                    listed.insert(name, pod.into());
                }
            }
            Event::InitDone => {
                self.pods = self.listed.take().unwrap_or_default();
                self.is_complete = true;
            }
            Event::Apply(pod) => {
                let name = pod.metadata.name.clone()?;
                let facts = PodFacts::from(pod);
                let before = self.pods.insert(name, facts.clone());
                // A pod that was ready before, or that was ready when it was first seen, tells nothing of its start.
                if before.is_some_and(|before| !before.is_ready) {
                    started.extend(facts.start_up);
                }
            }
            Event::Delete(pod) => drop(self.pods.remove(&pod.metadata.name?)),
        }
        (self.is_complete && self.listed.is_none()).then(|| Seen { pods: Pods(self.pods.clone()), started })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, more: Value) -> SlimPod {
        let mut pod = json!({
            "metadata": {
                "name": name,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"pod-template-hash": "one"},
            },
            "spec": {"containers": [
                {"name": "app", "ports": [{"name": "metrics", "containerPort": 9090}],
                 "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}},
            ]},
            "status": {
                "phase": "Running",
                "podIP": "10.1.2.3",
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:20Z"},
                ],
            },
        });
        for (pointer, value) in more.as_object().unwrap() {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[field] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn of(pods: Vec<SlimPod>) -> Pods {
        let mut known = Known::default();
        assert!(known.take(Event::Init).is_none());
        for pod in pods {
            assert!(known.take(Event::InitApply(pod)).is_none(), "a list is told when it is whole");
        }
        known.take(Event::InitDone).unwrap().pods
    }

    fn pages(pods: &Pods) -> Vec<String> {
        pods.pages(&Scrape::default()).into_values().flatten().map(|url| url.to_string()).collect()
    }

    #[test]
    fn a_ready_pod_is_read_at_its_own_address_and_declared_port() {
        let pods = of(vec![pod("a", json!({}))]);
        assert_eq!(pages(&pods), ["http://10.1.2.3:9090/metrics"]);
        let v6 = of(vec![pod("a", json!({"/status/podIP": "fd00::1"}))]);
        assert_eq!(pages(&v6), ["http://[fd00::1]:9090/metrics"]);
        assert_eq!(pods.cpu().request, Some(Cores::saturating(0.5)));
        assert_eq!(pods.cpu().limit, Some(Cores::saturating(1.0)));
    }

    #[test]
    fn what_is_not_the_pods_own_is_not_read() {
        for more in [
            json!({"/spec/hostNetwork": true}),
            json!({"/status/podIP": "169.254.169.254"}),
            json!({"/status/podIP": "::ffff:169.254.169.254"}),
            json!({"/status/podIP": "fe80::1"}),
            json!({"/status/podIP": "0.0.0.0"}),
            json!({"/status/podIP": "attacker.example"}),
            json!({"/spec/containers": [{"ports": [{"name": "other", "containerPort": 9090}]}]}),
            json!({"/metadata/deletionTimestamp": "2026-01-01T00:01:00Z"}),
            json!({"/status/phase": "Succeeded"}),
        ] {
            assert!(pages(&of(vec![pod("a", more.clone())])).is_empty(), "{more}");
        }
    }

    #[test]
    fn a_ready_pod_that_cannot_be_read_is_there_all_the_same() {
        let renamed = json!({"/spec/containers": [{"ports": [{"name": "other", "containerPort": 9090}]}]});
        let both = of(vec![pod("a", json!({})), pod("b", renamed)]);
        let pages = both.pages(&Scrape::default());
        assert_eq!(
            pages.iter().map(|(name, page)| (&**name, page.is_some())).collect::<Vec<_>>(),
            [("a", true), ("b", false)]
        );
        assert!(both.unreadable(&Scrape::default()).unwrap().contains("1 pods declare no container port"));
    }

    #[test]
    fn pods_of_two_templates_are_a_rollout_until_the_old_ones_are_told_to_go() {
        let old = pod("a", json!({}));
        let new = pod("b", json!({"/metadata/labels": {"pod-template-hash": "two"}}));
        let going = pod("a", json!({"/metadata/deletionTimestamp": "2026-01-01T00:01:00Z"}));
        let rollouts = ["one", "two"]
            .map(|hash| pod(hash, json!({"/metadata/labels": {"rollouts-pod-template-hash": hash}})));
        assert!(of(rollouts.into()).are_updating(), "those of an Argo Rollout");
        assert!(!of(vec![old.clone()]).are_updating());
        assert!(of(vec![old, new.clone()]).are_updating());
        assert!(!of(vec![going, new]).are_updating());
    }

    #[test]
    fn a_container_that_asks_for_no_cpu_leaves_the_pods_unknown() {
        let both = json!({"/spec/containers": [
            {"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"memory": "1Gi"}}}]});
        let pods = of(vec![pod("a", both)]);
        assert_eq!((pods.cpu().request, pods.ask_for_cpu()), (None, Some(false)));
        assert_eq!(of(vec![pod("a", json!({}))]).ask_for_cpu(), Some(true));
        assert_eq!(of(vec![]).ask_for_cpu(), None, "without pods nothing is known");
    }

    #[test]
    fn a_start_is_told_once_and_only_if_it_was_watched() {
        let mut known = Known::default();
        known.take(Event::Init);
        known.take(Event::InitApply(pod("old", json!({}))));
        assert!(known.take(Event::InitDone).unwrap().started.is_empty(), "it was ready before");
        let waiting = pod("new", json!({"/status/conditions": []}));
        let seen = known.take(Event::Apply(waiting)).unwrap();
        assert_eq!((seen.pods.warming(), seen.started.len()), (1, 0));
        let seen = known.take(Event::Apply(pod("new", json!({})))).unwrap();
        let expected = StartUp {
            total: Span::from_secs(20),
            scheduled: Some(Span::from_secs(2)),
            started: Some(Span::from_secs(18)),
        };
        assert_eq!(seen.started, [expected]);
        assert!(known.take(Event::Apply(pod("new", json!({})))).unwrap().started.is_empty());
        let seen = known.take(Event::Delete(pod("new", json!({})))).unwrap();
        assert_eq!(seen.pods.ready(), ["old".to_owned()].into());
    }
}
