//! Who answers external metrics in this cluster. There can be one only, so what another has is never overwritten.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, ServiceReference,
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Client, ResourceExt};
use plimsoll::units::{Span, Time};
use tokio::sync::watch;
use tokio::time::timeout;

use super::MANAGER;
use super::actuation::Actuated;
use super::hpa::{MANAGED_BY, MANAGED_BY_PLIMSOLL};
use super::leadership::Leadership;
use super::target::told;
use crate::clock::Clock;
use crate::external::{GROUP, VERSION};

/// The registration of the resource metrics, by which an HPA reads CPU.
pub(super) const METRICS_API: &str = "v1beta1.metrics.k8s.io";

/// A registration that was there and is gone may come back: whoever upgrades another adapter deletes it for a moment, and whoever
/// removes this one deletes it before the pods are gone.
const COMES_BACK_WITHIN: Span = Span::from_secs(180);

/// The same of the resource metrics: one restart of metrics-server is no reason to change every HPA, and back.
const CPU_COMES_BACK_WITHIN: Span = Span::from_secs(300);

/// While the lead changes hands nobody is behind the Service for some seconds: only who is out of reach for longer is lost.
const REACHED_AGAIN_WITHIN: Span = Span::from_secs(60);

/// Time between two looks, be nothing told meanwhile: a registration that was refused is tried again.
const AGAIN: Span = Span::from_secs(30);

/// Time for the API server to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name of the registration of external metrics.
pub(super) fn name() -> String {
    format!("{VERSION}.{GROUP}")
}

/// Who answers external metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalApi {
    /// Not known yet.
    Unknown,
    /// Nobody: it is not registered.
    Nobody,
    /// This adapter's Service.
    Ours(Reach),
    /// Another Service.
    Taken {
        /// Its namespace and name.
        by: String,
    },
}

/// Whether the API server reaches the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It does.
    Reached,
    /// It does not at this moment.
    Away,
    /// It has not for [`REACHED_AGAIN_WITHIN`].
    Lost,
}

impl ExternalApi {
    /// Whether an HPA that follows already is answered.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub(super) fn check(&self) -> Result<(), Actuated> {
        let trouble = |reason, message: String| Err(Actuated::Trouble { reason, message });
        match self {
            Self::Ours(Reach::Reached | Reach::Away) => Ok(()),
            Self::Ours(Reach::Lost) => Err(not_reached()),
            Self::Unknown => {
                trouble("ExternalMetricsUnknown", "who answers external metrics is being looked up".into())
            }
            Self::Nobody => trouble(
                "ExternalMetricsNotServed",
                format!(
                    "the APIService {} is not there: an adapter with --register-api-service makes it within {} s; without \
                     one, use actuation Scale",
                    name(),
                    (COMES_BACK_WITHIN + AGAIN).as_secs_f64()
                ),
            ),
            Self::Taken { by } => trouble(
                "ExternalMetricsTaken",
                format!(
                    "external metrics are answered by {by}, and a cluster has one place for that: use actuation Scale, or have your own HPA \
                     read plimsoll_replicas through that adapter, or remove it"
                ),
            ),
        }
    }

    /// Whether an HPA that does not follow yet would be answered at this moment.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub(super) fn check_reached(&self) -> Result<(), Actuated> {
        match self {
            Self::Ours(Reach::Away) => Err(not_reached()),
            _ => self.check(),
        }
    }
}

fn not_reached() -> Actuated {
    Actuated::trouble_because(
        "ExternalMetricsNotReached",
        format!(
            "the API server does not reach the adapter, so HPAs that follow hold their replicas and none is made: kubectl get apiservice {} says why",
            name()
        ),
    )
}

/// Since when the adapter is out of reach.
#[derive(Debug, Default)]
struct OutOfReach(Option<Time>);

impl OutOfReach {
    /// What to call what was found at `now`: who is away for long is lost.
    fn tell(&mut self, found: ExternalApi, now: Time) -> ExternalApi {
        if found != ExternalApi::Ours(Reach::Away) {
            self.0 = None;
            return found;
        }
        let since = *self.0.get_or_insert(now);
        ExternalApi::Ours(if now - since < REACHED_AGAIN_WITHIN { Reach::Away } else { Reach::Lost })
    }
}

/// How the adapter is reached from the API server.
#[derive(Debug, Clone)]
pub struct ServedAt {
    /// Namespace of its Service.
    pub namespace: String,
    /// Name of its Service.
    pub service: String,
    /// Port of its Service.
    pub port: u16,
    /// PEM of the CA that signed its certificate; none if the cluster's own CAs did, or somebody else puts it in.
    pub ca_bundle: Option<String>,
    /// What it goes with: when that is deleted, so is the registration.
    pub owner: Option<OwnerReference>,
}

impl ServedAt {
    fn is_at(&self, service: &ServiceReference) -> bool {
        service.namespace.as_deref() == Some(&self.namespace)
            && service.name.as_deref() == Some(&self.service)
    }

    fn spec(&self) -> APIServiceSpec {
        APIServiceSpec {
            group: Some(GROUP.to_owned()),
            version: Some(VERSION.to_owned()),
            service: Some(ServiceReference {
                namespace: Some(self.namespace.clone()),
                name: Some(self.service.clone()),
                port: Some(i32::from(self.port)),
            }),
            group_priority_minimum: 100,
            version_priority: 100,
            ca_bundle: self.ca_bundle.as_ref().map(|pem| ByteString(pem.clone().into_bytes())),
            insecure_skip_tls_verify: None,
        }
    }
}

/// What an APIService says about who answers.
pub(super) fn judge(found: Option<&APIService>, ours: &ServedAt) -> ExternalApi {
    let Some(found) = found else { return ExternalApi::Nobody };
    match found.spec.as_ref().and_then(|spec| spec.service.as_ref()) {
        Some(service) if ours.is_at(service) => {
            ExternalApi::Ours(if is_available(found) { Reach::Reached } else { Reach::Away })
        }
        Some(service) => {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            ExternalApi::Taken {
                by: format!("the Service {}/{}", part(&service.namespace), part(&service.name)),
            }
        }
        None => ExternalApi::Taken { by: "the API server itself".into() },
    }
}

/// Whether the API server reaches whoever is registered.
pub(super) fn is_available(service: &APIService) -> bool {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_so =
        |condition: &APIServiceCondition| condition.type_ == "Available" && condition.status == "True";
    conditions.is_some_and(|conditions| conditions.iter().any(is_so))
}

/// Watches who answers external metrics, and registers the adapter if nobody does and it `registers`. Returns never.
pub(super) async fn keep(
    client: Client,
    ours: ServedAt,
    registers: bool,
    (leadership, clock): (Leadership, Clock),
    state: watch::Sender<ExternalApi>,
) {
    let api: Api<APIService> = Api::all(client);
    let mut found = std::pin::pin!(watch_object(api.clone(), &name()).default_backoff());
    let mut again = clock.every(AGAIN);
    let mut known: Option<Option<APIService>> = None;
    // Who has seen none from the start waits for none to come back.
    let mut was_there: Option<Time> = None;
    let mut out_of_reach = OutOfReach::default();
    loop {
        tokio::select! {
            event = found.next() => match event {
                Some(Ok(service)) => known = Some(service),
                Some(Err(error)) => {
                    tracing::warn!(%error, "the watch of the APIService is interrupted");
                    continue;
                }
                None => return,
            },
            () = again.next() => {}
        }
        let Some(service) = &known else { continue };
        let is = out_of_reach.tell(judge(service.as_ref(), &ours), clock.now());
        if is != ExternalApi::Nobody {
            was_there = Some(clock.now());
        }
        state.send_if_modified(|before| {
            let is_new = *before != is;
            if is_new {
                tracing::info!(?is, "external metrics");
                *before = is.clone();
            }
            is_new
        });
        if !registers || leadership.check().is_err() {
            continue;
        }
        let done = match (&is, service) {
            (ExternalApi::Nobody, _) if was_there.is_some_and(|at| clock.now() - at < COMES_BACK_WITHIN) => {
                continue;
            }
            (ExternalApi::Nobody, _) => timeout(PATIENCE, register(&api, &ours)).await,
            (ExternalApi::Ours(_), Some(service)) => timeout(PATIENCE, refresh(&api, &ours, service)).await,
            _ => continue,
        };
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %told(&error), "the APIService {} cannot be written", name())
            }
            Err(_) => tracing::warn!("the APIService {} cannot be written: no answer", name()),
        }
    }
}

async fn register(api: &Api<APIService>, ours: &ServedAt) -> Result<(), kube::Error> {
    let labels = [(MANAGED_BY.to_owned(), MANAGED_BY_PLIMSOLL.to_owned())];
    let service = APIService {
        metadata: ObjectMeta {
            name: Some(name()),
            labels: Some(labels.into()),
            owner_references: ours.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ours.spec()),
        status: None,
    };
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    // Created, never applied: who was faster keeps it.
    api.create(&params, &service).await.map(|_| ())
}

/// Keeps the CA that the API server trusts in step with the certificate that is shown.
async fn refresh(api: &Api<APIService>, ours: &ServedAt, there: &APIService) -> Result<(), kube::Error> {
    let wanted = ours.spec();
    let spec = there.spec.clone().unwrap_or_default();
    let is_made_by_us = there.labels().get(MANAGED_BY).is_some_and(|by| by == MANAGED_BY_PLIMSOLL);
    let port = |spec: &APIServiceSpec| spec.service.as_ref().and_then(|service| service.port);
    let is_same = wanted.ca_bundle.is_none() || spec.ca_bundle == wanted.ca_bundle;
    if !is_made_by_us || (is_same && port(&spec) == port(&wanted)) {
        return Ok(());
    }
    let patch = serde_json::json!({ "spec": wanted });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&name(), &params, &Patch::Merge(patch)).await.map(|_| ())
}

/// Watches whether the cluster serves pods' CPU. Returns never.
pub(super) async fn watch_cpu(client: Client, clock: Clock, state: watch::Sender<Option<bool>>) {
    let api: Api<APIService> = Api::all(client);
    let mut found = std::pin::pin!(watch_object(api, METRICS_API).default_backoff());
    let mut gone_at: Option<Time> = None;
    loop {
        let given_up = async {
            match gone_at {
                Some(at) => clock.sleep_until(at + CPU_COMES_BACK_WITHIN).await,
                None => std::future::pending().await,
            }
        };
        let is_served = tokio::select! {
            event = found.next() => match event {
                // Nothing that was ever there can come back.
                Some(Ok(None)) if state.borrow().is_none() => {
                    state.send_replace(Some(false));
                    continue;
                }
                Some(Ok(service)) => service.is_some_and(|service| is_available(&service)),
                Some(Err(_)) => continue,
                None => return,
            },
            () = given_up => {
                gone_at = None;
                state.send_replace(Some(false));
                continue;
            }
        };
        if is_served {
            gone_at = None;
            state.send_if_modified(|before| before.replace(true) != Some(true));
        } else if *state.borrow() != Some(false) {
            gone_at = gone_at.or(Some(clock.now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIServiceStatus;

    use super::*;

    fn ours() -> ServedAt {
        ServedAt {
            namespace: "plimsoll".into(),
            service: "plimsoll-adapter".into(),
            port: 443,
            ca_bundle: Some("PEM".into()),
            owner: None,
        }
    }

    fn service_of(at: &ServedAt) -> APIService {
        APIService { spec: Some(at.spec()), ..APIService::default() }
    }

    #[test]
    fn another_ones_registration_is_named_and_left() {
        let keda = ServedAt { namespace: "keda".into(), service: "keda-metrics".into(), ..ours() };
        let is = judge(Some(&service_of(&keda)), &ours());
        assert_eq!(is, ExternalApi::Taken { by: "the Service keda/keda-metrics".into() });
        let (reason, message) = is.check().unwrap_err().trouble().unwrap();
        assert_eq!(reason, "ExternalMetricsTaken");
        assert!(message.contains("keda/keda-metrics") && message.contains("actuation Scale"), "{message}");
    }

    #[test]
    fn our_own_is_known_by_its_service() {
        let found = judge(Some(&service_of(&ours())), &ours());
        assert_eq!(found, ExternalApi::Ours(Reach::Away));
        assert!(found.check().is_ok() && found.check_reached().is_err());
        let mut reached = service_of(&ours());
        let condition = APIServiceCondition {
            type_: "Available".into(),
            status: "True".into(),
            ..APIServiceCondition::default()
        };
        reached.status = Some(APIServiceStatus { conditions: Some(vec![condition]) });
        assert!(judge(Some(&reached), &ours()).check_reached().is_ok());
        assert_eq!(judge(None, &ours()), ExternalApi::Nobody);
        let local = APIService { spec: Some(APIServiceSpec::default()), ..APIService::default() };
        assert!(matches!(judge(Some(&local), &ours()), ExternalApi::Taken { .. }));
    }

    /// A minute without an answer is told of whoever follows; a change of the lead is not.
    #[test]
    fn who_is_out_of_reach_for_long_is_lost() {
        let mut out_of_reach = OutOfReach::default();
        let at = |seconds| Time::EPOCH + Span::from_secs(seconds);
        let away = ExternalApi::Ours(Reach::Away);
        let mut tell = |found: &ExternalApi, seconds| out_of_reach.tell(found.clone(), at(seconds));
        assert_eq!(tell(&away, 0), away);
        assert_eq!(tell(&ExternalApi::Ours(Reach::Reached), 30), ExternalApi::Ours(Reach::Reached));
        assert_eq!(tell(&away, 50), away);
        assert_eq!(tell(&away, 109), away);
        let lost = tell(&away, 110);
        assert_eq!(lost, ExternalApi::Ours(Reach::Lost));
        let (reason, message) = lost.check().unwrap_err().trouble().unwrap();
        assert_eq!(reason, "ExternalMetricsNotReached");
        assert!(message.contains("hold their replicas"), "{message}");
        assert_eq!(tell(&ExternalApi::Nobody, 120), ExternalApi::Nobody);
        assert_eq!(tell(&away, 130), away);
    }
}
