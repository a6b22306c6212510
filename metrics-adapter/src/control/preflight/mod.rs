//! What must be right between a workload's pods and its HPA before replicas can follow the load. Each check that fails says what to do;
//! what cannot be looked at from here is said to be so, and is neither right nor wrong.

mod load;

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use plimsoll::spec::{Cpu, KeyRef, Scheme, Scrape, Source, Spec};
use serde_json::json;
use tokio::time::timeout;

use super::api_service::{self, ExternalApi, ServedAt};
use super::credentials::{self, Asker, Trouble};
use super::hpa::{self, Whose};
use super::pods;
use super::target::{Kinds, ScaleFacts, Target, told};
use crate::board::ObjectKey;
use crate::collect::Access;
use crate::config::Servers;
use crate::resource::LoadAwareAutoscaler;

/// Longest time for one question.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Right,
    /// It works, and somebody should know this.
    Note,
    /// It hinders.
    Wrong,
    /// It cannot be looked at from here.
    Unknown,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub said: String,
}

impl Check {
    fn right(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Right, said: said.into() }
    }

    fn note(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Note, said: said.into() }
    }

    fn wrong(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Wrong, said: said.into() }
    }

    fn unknown(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Unknown, said: said.into() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Right => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
            Verdict::Unknown => "?",
        };
        write!(f, "{mark:<5}  {:<18}  {}", self.what, self.said)
    }
}

/// What to look at, and from where.
pub struct Preflight {
    /// The cluster.
    pub client: Client,
    /// The object, if one is to be looked at.
    pub object: Option<ObjectKey>,
    /// The namespace in which it is, or will be.
    pub namespace: String,
    /// The adapter's namespace; its account and Service have their usual names.
    pub adapter: String,
    /// Metrics servers that can be reached from here.
    pub servers: Servers,
}

impl fmt::Debug for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, namespace, .. } = self;
        f.debug_struct("Preflight")
            .field("object", object)
            .field("namespace", namespace)
            .finish_non_exhaustive()
    }
}

/// The adapter's account and Service.
const ADAPTER: &str = "plimsoll-adapter";

impl Preflight {
    /// Looks at everything, in the order in which a load goes from pods to replicas. `tell` hears of each check as it is done.
    pub async fn run(&self, mut tell: impl FnMut(&Check)) -> Vec<Check> {
        let mut done = Vec::new();
        let mut add = |checks: Vec<Check>| {
            checks.iter().for_each(&mut tell);
            done.extend(checks);
        };
        let version = self.api_server().await;
        let is_there = version.verdict == Verdict::Right;
        add(vec![version]);
        if !is_there {
            return done;
        }
        add(vec![self.definition().await, self.external().await, self.cpu().await, self.tolerance().await]);
        if let Some(key) = &self.object {
            let (checks, object) = self.object(key).await;
            add(checks);
            if let Some(object) = object {
                self.workload(key, &object.spec.0, &mut add).await;
            }
        }
        done
    }

    async fn api_server(&self) -> Check {
        const WHAT: &str = "API server";
        match timeout(PATIENCE, self.client.apiserver_version()).await {
            Ok(Ok(version)) => Check::right(WHAT, format!("Kubernetes {}", version.git_version)),
            Ok(Err(error)) => {
                Check::wrong(WHAT, format!("{}: look at the kubeconfig's context", told(&error)))
            }
            Err(_) => Check::wrong(WHAT, "does not answer: look at the kubeconfig's context"),
        }
    }

    async fn definition(&self) -> Check {
        const WHAT: &str = "custom resource";
        let objects: Api<LoadAwareAutoscaler> = Api::namespaced(self.client.clone(), &self.namespace);
        match objects.list_metadata(&ListParams::default().limit(1)).await {
            Ok(_) => Check::right(WHAT, "the cluster knows LoadAwareAutoscalers"),
            Err(kube::Error::Api(status)) if status.code == 404 => Check::wrong(
                WHAT,
                "the cluster knows no LoadAwareAutoscaler: plimsoll-adapter crd | kubectl apply --server-side -f -",
            ),
            Err(error) => Check::unknown(WHAT, told(&error)),
        }
    }

    /// Who answers external metrics.
    async fn external(&self) -> Check {
        const WHAT: &str = "external metrics";
        let services: Api<APIService> = Api::all(self.client.clone());
        let ours = ServedAt {
            namespace: self.adapter.clone(),
            service: ADAPTER.to_owned(),
            port: 443,
            ca_bundle: None,
            owner: None,
        };
        let found = match services.get_opt(&api_service::name()).await {
            Ok(found) => found,
            Err(error) => return Check::unknown(WHAT, told(&error)),
        };
        let who = api_service::judge(found.as_ref(), &ours);
        match (who.check_reached().map_err(|trouble| trouble.trouble()), who) {
            (Ok(()), _) => Check::right(WHAT, "are answered by the adapter"),
            (Err(_), ExternalApi::Nobody) => {
                Check::wrong(WHAT, "are answered by nobody: install the adapter; it registers itself")
            }
            (Err(trouble), _) => Check::wrong(WHAT, trouble.map(|(_, said)| said).unwrap_or_default()),
        }
    }

    async fn cpu(&self) -> Check {
        const WHAT: &str = "CPU for HPAs";
        let services: Api<APIService> = Api::all(self.client.clone());
        match services.get_opt(api_service::METRICS_API).await {
            Ok(Some(service)) if api_service::is_available(&service) => {
                Check::right(WHAT, "is served by metrics.k8s.io: HPAs get a safety net")
            }
            Ok(_) => Check::note(
                WHAT,
                "is not served (metrics-server is not there, or not available): HPAs follow Plimsoll alone, and hold when it is gone",
            ),
            Err(error) => Check::unknown(WHAT, told(&error)),
        }
    }

    /// Whether the cluster's HPAs keep a tolerance: shown by one that is not really made.
    async fn tolerance(&self) -> Check {
        const WHAT: &str = "HPA tolerance";
        let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), &self.namespace);
        let tried = json!({
            "metadata": {"generateName": "plimsoll-preflight-"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "plimsoll-preflight"},
                "maxReplicas": 1,
                "behavior": {"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "0"}},
            },
        });
        let Ok(tried) = serde_json::from_value(tried) else {
            return Check::unknown(WHAT, "cannot be asked for");
        };
        match hpas.create(&PostParams { dry_run: true, ..PostParams::default() }, &tried).await {
            Ok(made) if hpa::keeps_tolerance(&made) => {
                Check::right(WHAT, "can be switched off: every single pod that is wanted is set")
            }
            Ok(_) => Check::note(
                WHAT,
                "cannot be switched off in this cluster: its HPAs do nothing about changes of less than 10 %; actuation Scale is exact",
            ),
            Err(error) => Check::unknown(
                WHAT,
                format!("you may not try an HPA in {}: {}", self.namespace, told(&error)),
            ),
        }
    }

    async fn object(&self, key: &ObjectKey) -> (Vec<Check>, Option<LoadAwareAutoscaler>) {
        const WHAT: &str = "object";
        let objects: Api<LoadAwareAutoscaler> = Api::namespaced(self.client.clone(), &key.namespace);
        let object = match objects.get_opt(&key.name).await {
            Ok(Some(object)) => object,
            Ok(None) => {
                let said = format!("there is no LoadAwareAutoscaler {key}: kubectl get laa -A lists them");
                return (vec![Check::wrong(WHAT, said)], None);
            }
            Err(error) => return (vec![Check::unknown(WHAT, told(&error))], None),
        };
        match object.spec.0.check() {
            Ok(_) => {
                let mode = object.spec.0.mode;
                (vec![Check::right(WHAT, format!("{key} makes sense; mode {mode:?}"))], Some(object))
            }
            Err(error) => (vec![Check::wrong(WHAT, error.to_string())], None),
        }
    }

    async fn workload(&self, key: &ObjectKey, spec: &Spec, add: &mut impl FnMut(Vec<Check>)) {
        const WHAT: &str = "workload";
        let reference = &spec.scale_target_ref;
        let found = async {
            let target = Target::find(&self.client, &Kinds::default(), &key.namespace, reference).await?;
            target.read().await
        };
        let scale: ScaleFacts = match found.await {
            Ok(scale) => scale,
            Err(error) => return add(vec![Check::wrong(WHAT, error.to_string())]),
        };
        let name = format!("{} {}", reference.kind, reference.name);
        let (asked, there) = (scale.spec, scale.status);
        add(vec![Check::right(WHAT, format!("{name} asks for {asked} replicas and has {there}"))]);
        add(vec![self.alone(key, spec).await]);
        add(self.rights(key, spec).await);
        let pods = match pods::list(&self.client, &key.namespace, &scale.selector).await {
            Ok(pods) => pods,
            Err(error) => return add(vec![Check::unknown("pods", told(&error))]),
        };
        let (ready, warming) = (pods.ready().len(), pods.warming());
        add(vec![match ready {
            0 => Check::wrong(
                "pods",
                format!("none is ready, {warming} are on their way: no load can be seen"),
            ),
            _ => Check::right("pods", format!("{ready} are ready, {warming} on their way")),
        }]);
        add(load::requests(spec, &pods));
        match &spec.load.source {
            Source::Scrape(scrape) => {
                let access = self.credentials(key, scrape, add).await;
                if ready > 0 {
                    add(self.page(key, spec, scrape, &pods, access).await);
                    if let Some(Cpu::ResourceMetrics(_)) = spec.load.cpu {
                        add(vec![self.resource_metrics(key, &pods, &scale.selector).await]);
                    }
                }
            }
            Source::Prometheus(wanted) => {
                add(vec![self.server(key, spec, (&wanted.reference, wanted.window), pods.ready()).await]);
            }
        }
    }

    /// Whether anybody else scales the workload.
    async fn alone(&self, key: &ObjectKey, spec: &Spec) -> Check {
        const WHAT: &str = "other scalers";
        let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), &key.namespace);
        let hpas = match hpas.list(&ListParams::default()).await {
            Ok(hpas) => hpas,
            Err(error) => return Check::unknown(WHAT, told(&error)),
        };
        let is_rival = |one: &&HorizontalPodAutoscaler| {
            hpa::whose(one, key, None) != Whose::Own && hpa::scales(one, &spec.scale_target_ref)
        };
        match hpas.iter().find(is_rival) {
            None => Check::right(WHAT, "there is no other HPA for it"),
            Some(rival) => Check::wrong(
                WHAT,
                format!(
                    "the HPA {name} scales it too: delete it, or kubectl -n {} annotate laa {} {}={name} to let Plimsoll take it over",
                    key.namespace,
                    key.name,
                    hpa::TRANSFER,
                    name = rival.name_any(),
                ),
            ),
        }
    }

    /// What the adapter's account may do for this workload.
    async fn rights(&self, key: &ObjectKey, spec: &Spec) -> Vec<Check> {
        const WHAT: &str = "adapter's rights";
        let reference = &spec.scale_target_ref;
        let (group, _) = reference.api_version.split_once('/').unwrap_or(("", ""));
        let kinds = Kinds::default();
        let plural = kinds.plural(&self.client, reference).await.unwrap_or_default();
        let scale = format!("{plural}/scale");
        let mut wanted = vec![
            (group, scale.as_str(), "get"),
            (group, scale.as_str(), "patch"),
            ("", "pods", "watch"),
            ("autoscaling", "horizontalpodautoscalers", "patch"),
            ("autoscaling.plimsoll.dev", "loadawareautoscalers/status", "patch"),
        ];
        if let Some(Cpu::ResourceMetrics(_)) = spec.load.cpu {
            wanted.push(("metrics.k8s.io", "pods", "list"));
        }
        let mut lacking = Vec::new();
        for (group, resource, verb) in wanted {
            match self.may(key, (group, resource, verb), None).await {
                Ok(true) => {}
                Ok(false) => lacking.push(format!("{verb} {resource}")),
                Err(said) => return vec![Check::unknown(WHAT, said)],
            }
        }
        let account = format!("{}/{ADAPTER}", self.adapter);
        vec![if lacking.is_empty() {
            Check::right(WHAT, format!("the account {account} may do what it must"))
        } else {
            Check::wrong(
                WHAT,
                format!(
                    "the account {account} may not {} in {}: is the adapter in that namespace (--adapter-namespace)? Else see extraScaleTargets and watchNamespace of the chart",
                    lacking.join(", "),
                    key.namespace
                ),
            )
        }]
    }

    /// Whether the adapter's account may do this in the object's namespace; else why that cannot be told.
    async fn may(
        &self,
        key: &ObjectKey,
        (group, resource, verb): (&str, &str, &str),
        name: Option<&str>,
    ) -> Result<bool, String> {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (resource, None),
        };
        let attributes = ResourceAttributes {
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource,
            verb: Some(verb.to_owned()),
            namespace: Some(key.namespace.clone()),
            name: name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{}:{ADAPTER}", self.adapter)),
                groups: Some(vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{}", self.adapter),
                    "system:authenticated".to_owned(),
                ]),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        match reviews.create(&PostParams::default(), &review).await {
            Ok(review) => Ok(review.status.is_some_and(|status| status.allowed)),
            Err(error) => Err(format!("you may not ask what others may: {}", told(&error))),
        }
    }

    /// What the pods ask for: whether the adapter may read it, and if so what it is, as far as it can be read from here. Whoever asks may
    /// often read every Secret: what the adapter was not granted is shown to nobody in their name. And from a desk nothing is shown in the
    /// clear, to whoever has a pod's address there.
    async fn credentials(
        &self,
        key: &ObjectKey,
        scrape: &Scrape,
        add: &mut impl FnMut(Vec<Check>),
    ) -> Access {
        const WHAT: &str = "credentials";
        let mut is_granted = true;
        for (kind, KeyRef { name, .. }) in credentials::needed(scrape) {
            let (namespace, adapter) = (key.namespace.clone(), self.adapter.clone());
            let may = self.may(key, ("", kind.resource(), "get"), Some(name)).await;
            is_granted &= may == Ok(true);
            add(vec![match may {
                Ok(true) => Check::right(WHAT, format!("the adapter may read the {kind} {name}")),
                Ok(false) => {
                    let trouble = Trouble::Forbidden { kind, name: name.clone(), namespace, adapter };
                    Check::wrong(WHAT, trouble.to_string())
                }
                Err(said) => Check::unknown(WHAT, said),
            }]);
        }
        if !is_granted || (scrape.authorization.is_some() && scrape.scheme == Scheme::HTTP) {
            return Access::Unknown;
        }
        let asker = Asker { client: &self.client, namespace: &key.namespace, adapter: &self.adapter };
        match credentials::read(asker, scrape).await {
            Ok(access) => access,
            Err(trouble @ (Trouble::Missing(_) | Trouble::Unusable { .. })) => {
                add(vec![Check::wrong(WHAT, trouble.to_string())]);
                Access::Unknown
            }
            Err(Trouble::Forbidden { kind, name, .. }) => {
                add(vec![Check::unknown(WHAT, format!("you may not read the {kind} {name} yourself"))]);
                Access::Unknown
            }
            Err(trouble @ Trouble::Untold(_)) => {
                add(vec![Check::unknown(WHAT, trouble.to_string())]);
                Access::Unknown
            }
        }
    }
}
