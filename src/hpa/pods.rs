//! Which pods count, and what they request.

use std::collections::{BTreeMap, BTreeSet};

use super::error::CalcError;
use super::metrics::PodMetrics;
use super::settings::Settings;
use super::status::ConditionStatus;
use crate::units::{Quantity, Time};

/// What the algorithm looks at in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The name.
    pub name: String,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleted: bool,
    /// `status.startTime`.
    pub start_time: Option<Time>,
    /// The condition Ready, if there is one.
    pub ready: Option<Ready>,
    /// `spec.containers`.
    pub containers: Vec<Container>,
    /// Those of `spec.initContainers` that run along with the others (`restartPolicy: Always`). Plain init
    /// containers do not count.
    pub restartable_init_containers: Vec<Container>,
    /// `spec.resources.requests`: requests of the pod as a whole, by resource.
    pub requests: BTreeMap<String, Quantity>,
    /// `metadata.labels`, looked at only to find out that another HPA selects the pod too.
    pub labels: BTreeMap<String, String>,
}

/// The phase of a pod (`PodPhase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Kubernetes' own and say all there is to say")]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

/// The condition Ready of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Whether the pod is ready.
    pub status: ConditionStatus,
    /// When `status` last changed.
    pub last_transition: Time,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The name.
    pub name: String,
    /// `resources.requests`, by resource.
    pub requests: BTreeMap<String, Quantity>,
}

impl Pod {
    /// A pod that has been running and ready since `since`, with one container, named as the pod, that requests
    /// `cpu`.
    pub fn running(name: &str, since: Time, cpu: Quantity) -> Self {
        let requests = BTreeMap::from([("cpu".to_owned(), cpu)]);
        Self {
            name: name.to_owned(),
            phase: Phase::Running,
            deleted: false,
            start_time: Some(since),
            ready: Some(Ready { status: ConditionStatus::True, last_transition: since }),
            containers: vec![Container { name: name.to_owned(), requests }],
            restartable_init_containers: Vec::new(),
            requests: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// Whether it is running and ready, as a Value target counts pods (`getReadyPodsCount`).
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready.is_some_and(|ready| ready.status == ConditionStatus::True)
    }
}

/// Pods by what they mean for a metric (`groupPods`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups<'a> {
    /// How many pods count in full.
    pub ready: usize,
    /// Pods that are not ready, or whose CPU sample says nothing yet.
    pub unready: BTreeSet<&'a str>,
    /// Pods without a sample.
    pub missing: BTreeSet<&'a str>,
    /// Pods that are failed or going away.
    pub ignored: BTreeSet<&'a str>,
}

/// Groups `pods` for a metric of theirs (`groupPods`). `resource` is that of a Resource or ContainerResource
/// metric, `None` for any other: the CPU of a starting pod is no measure of its load, so `cpu` has rules of its
/// own.
pub fn group_pods<'a>(
    pods: &'a [Pod],
    metrics: &PodMetrics,
    resource: Option<&str>,
    settings: &Settings,
    now: Time,
) -> Groups<'a> {
    let mut groups = Groups::default();
    for pod in pods {
        let name = pod.name.as_str();
        if pod.deleted || pod.phase == Phase::Failed {
            groups.ignored.insert(name);
        } else if pod.phase == Phase::Pending {
            groups.unready.insert(name);
        } else {
            match metrics.get(name) {
                None => {
                    groups.missing.insert(name);
                }
                Some(sample)
                    if resource == Some("cpu")
                        && cpu_unready(pod, sample.timestamp - sample.window, settings, now) =>
                {
                    groups.unready.insert(name);
                }
                Some(_) => groups.ready += 1,
            }
        }
    }
    groups
}

/// Whether a CPU sample that covers the time since `from` says nothing about the pod yet.
fn cpu_unready(pod: &Pod, from: Time, settings: &Settings, now: Time) -> bool {
    let (Some(ready), Some(start)) = (pod.ready, pod.start_time) else { return true };
    let not_ready = ready.status == ConditionStatus::False;
    if start + settings.cpu_initialization_period > now {
        // The sample has to lie wholly after the last change.
        not_ready || from < ready.last_transition
    } else {
        // Unready ever since it started. A pod that was ready once keeps counting.
        not_ready && start + settings.initial_readiness_delay > ready.last_transition
    }
}

/// What each pod requests of `resource`, in thousandths: one container's share, or the whole pod's
/// (`calculateRequests`).
///
/// # Errors
/// If a container of any pod, counted or not, requests nothing, or the named one does not exist.
pub fn calculate_requests<'a>(
    pods: &'a [Pod],
    resource: &str,
    container: Option<&str>,
    settings: &Settings,
) -> Result<BTreeMap<&'a str, i64>, CalcError> {
    pods.iter().map(|pod| Ok((pod.name.as_str(), pod_request(pod, resource, container, settings)?))).collect()
}

fn pod_request(
    pod: &Pod,
    resource: &str,
    container: Option<&str>,
    settings: &Settings,
) -> Result<i64, CalcError> {
    let mut containers = pod.containers.iter().chain(&pod.restartable_init_containers);
    let request = |of: &Container| {
        of.requests.get(resource).map(|quantity| quantity.as_milli()).ok_or_else(|| {
            CalcError::MissingRequest {
                resource: resource.to_owned(),
                container: of.name.clone(),
                pod: pod.name.clone(),
            }
        })
    };
    if let Some(name) = container {
        let not_found = || CalcError::ContainerNotFound { container: name.to_owned(), pod: pod.name.clone() };
        return request(containers.find(|candidate| candidate.name == name).ok_or_else(not_found)?);
    }
    if settings.gates.pod_level_resources
        && let Some(quantity) = pod.requests.get(resource)
    {
        return Ok(quantity.as_milli());
    }
    containers.try_fold(0i64, |sum, next| Ok(sum.saturating_add(request(next)?)))
}
