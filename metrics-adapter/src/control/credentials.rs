//! What it takes to be let in by an object's pods, from the Secrets and ConfigMaps of its own namespace.
//!
//! The adapter has no right to read any of them: whoever owns a namespace grants it for the one that is meant, by name. Else whoever may
//! write an object could have every Secret of the namespace shown to pods of theirs.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::Api;
use plimsoll::spec::{Authorization, CaBundle, KeyRef, Scrape, TlsConfig};
use plimsoll::units::{Span, Time};
use tokio::time::timeout;

use super::target::told;
use crate::collect::{Access, Credentials, CredentialsError, Trust};

/// Time between two looks at what is known: as long may what was withdrawn still be shown.
const LOOK_AGAIN: Span = Span::from_secs(60);

/// Longest time for reading what a scrape takes: nothing else of an object waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why it is not known what it takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// There is no such Secret or ConfigMap, or no such key in it.
    #[error("{0}")]
    Missing(String),
    /// The adapter may not read it.
    #[error(
        "the adapter may not read the {kind} {name}. To grant it: kubectl -n {namespace} create role plimsoll-{resource}-{name} --verb=get \
         --resource={resource} --resource-name={name}; kubectl -n {namespace} create rolebinding plimsoll-{resource}-{name} \
         --role=plimsoll-{resource}-{name} --serviceaccount={adapter}:plimsoll-adapter",
        resource = .kind.resource()
    )]
    Forbidden {
        /// What it is.
        kind: Kind,
        /// What it is called.
        name: String,
        /// The object's namespace.
        namespace: String,
        /// The adapter's.
        adapter: String,
    },
    /// It is there, and cannot be used.
    #[error("{what}: {source}")]
    Unusable {
        /// Where it is.
        what: String,
        /// Why.
        source: CredentialsError,
    },
    /// The API server does not tell at the moment.
    #[error("{0}")]
    Untold(String),
}

/// Where a key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
}

impl Kind {
    /// As the API and RBAC call it.
    pub(super) const fn resource(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        })
    }
}

/// What a scrape needs to read beforehand.
pub(super) fn needed(scrape: &Scrape) -> impl Iterator<Item = (Kind, &KeyRef)> {
    let ca = scrape.tls_config.as_ref().map(|tls| match &tls.ca {
        CaBundle::Secret(key) => (Kind::Secret, key),
        CaBundle::ConfigMap(key) => (Kind::ConfigMap, key),
    });
    let shown = scrape.authorization.as_ref().map(|shown| (Kind::Secret, &shown.credentials));
    ca.into_iter().chain(shown)
}

/// Who asks, where.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    /// The object's namespace.
    pub(super) namespace: &'a str,
    /// The adapter's.
    pub(super) adapter: &'a str,
}

/// What was read, as it was read.
#[derive(PartialEq, Eq)]
struct Material {
    authorities: Option<Vec<u8>>,
    shown: Option<Vec<u8>>,
}

/// What the pods of one object take, as it was last read.
#[derive(Default)]
pub(super) struct ScrapeAccess {
    /// For whom it was read.
    of: Option<Scrape>,
    material: Option<Material>,
    access: Access,
    trouble: Option<Trouble>,
    read_at: Option<Time>,
}

impl ScrapeAccess {
    /// How pods that are read so let the adapter in.
    pub(super) fn access(&self, scrape: &Scrape) -> Access {
        if self.of.as_ref() == Some(scrape) { self.access.clone() } else { Access::Unknown }
    }

    /// Why it is not known how.
    pub(super) const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Reads what a scrape needs, if that is due. While the API server does not tell, what was known holds; what is not there any more, or is
    /// not allowed any more, is not shown any more either.
    pub(super) async fn look(&mut self, asker: Asker<'_>, scrape: Option<&Scrape>, now: Time) {
        if self.of.as_ref() != scrape {
            let needs_nothing = scrape.is_none_or(|scrape| needed(scrape).next().is_none());
            let access = if needs_nothing { Access::Open } else { Access::Unknown };
            *self = Self { of: scrape.cloned(), access, ..Self::default() };
        }
        let Some(scrape) = scrape.filter(|scrape| needed(scrape).next().is_some()) else { return };
        let is_fresh = self.read_at.is_some_and(|at| now - at < LOOK_AGAIN && now >= at);
        if is_fresh && self.trouble.is_none() {
            return;
        }
        let read = async {
            let material = asker.read(scrape).await?;
            if self.material.as_ref() == Some(&material) {
                return Ok(None);
            }
            let credentials = credentials(scrape, &material)?;
            Ok(Some((material, credentials)))
        };
        match read.await {
            Ok(news) => {
                if let Some((material, credentials)) = news {
                    self.access = Access::With(Arc::new(credentials));
                    self.material = Some(material);
                }
                (self.trouble, self.read_at) = (None, Some(now));
            }
            Err(Trouble::Untold(_)) if self.material.is_some() => {}
            Err(trouble) => {
                (self.access, self.material) = (Access::Unknown, None);
                self.trouble = Some(trouble);
            }
        }
    }
}

/// What a scrape takes, read once.
///
/// # Errors
/// When it cannot be read, or not be used.
pub(super) async fn read(asker: Asker<'_>, scrape: &Scrape) -> Result<Access, Trouble> {
    if needed(scrape).next().is_none() {
        return Ok(Access::Open);
    }
    let material = asker.read(scrape).await?;
    Ok(Access::With(Arc::new(credentials(scrape, &material)?)))
}

fn credentials(scrape: &Scrape, material: &Material) -> Result<Credentials, Trouble> {
    let field = |name: &str| format!("spec.load.source.scrape.{name}");
    let name = scrape.tls_config.as_ref().and_then(|TlsConfig { server_name, .. }| server_name.as_deref());
    let trust = material.authorities.as_deref().map_or(Trust::Nobody, Trust::Authorities);
    let trusting = Credentials::new(trust, name);
    let trusting = trusting.map_err(|source| Trouble::Unusable { what: field("tlsConfig"), source })?;
    match (&scrape.authorization, &material.shown) {
        (Some(Authorization { kind, .. }), Some(secret)) => trusting
            .showing(kind, secret)
            .map_err(|source| Trouble::Unusable { what: field("authorization"), source }),
        _ => Ok(trusting),
    }
}

impl Asker<'_> {
    async fn read(self, scrape: &Scrape) -> Result<Material, Trouble> {
        let untold = || Trouble::Untold("the API server does not tell what pods ask for".to_owned());
        timeout(PATIENCE, self.unlimited(scrape)).await.unwrap_or_else(|_| Err(untold()))
    }

    async fn unlimited(self, scrape: &Scrape) -> Result<Material, Trouble> {
        let authorities = match scrape.tls_config.as_ref().map(|tls| &tls.ca) {
            None => None,
            Some(CaBundle::Secret(key)) => Some(self.secret(key).await?),
            Some(CaBundle::ConfigMap(key)) => Some(self.config_map(key).await?),
        };
        let shown = match &scrape.authorization {
            None => None,
            Some(Authorization { credentials, .. }) => Some(self.secret(credentials).await?),
        };
        Ok(Material { authorities, shown })
    }

    async fn secret(self, key: &KeyRef) -> Result<Vec<u8>, Trouble> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let secret = self.found(Kind::Secret, key, api.get_opt(&key.name).await)?;
        let value = secret.data.and_then(|mut data| data.remove(&key.key));
        value.map(|value| value.0).ok_or_else(|| self.no_key(Kind::Secret, key))
    }

    async fn config_map(self, key: &KeyRef) -> Result<Vec<u8>, Trouble> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
        let map = self.found(Kind::ConfigMap, key, api.get_opt(&key.name).await)?;
        let value = map.data.and_then(|mut data| data.remove(&key.key));
        value.map(String::into_bytes).ok_or_else(|| self.no_key(Kind::ConfigMap, key))
    }

    fn found<T>(self, kind: Kind, key: &KeyRef, found: Result<Option<T>, kube::Error>) -> Result<T, Trouble> {
        let Self { namespace, adapter, .. } = self;
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => {
                Err(Trouble::Missing(format!("there is no {kind} {:?} in namespace {namespace}", key.name)))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => Err(Trouble::Forbidden {
                kind,
                name: key.name.clone(),
                namespace: namespace.to_owned(),
                adapter: adapter.to_owned(),
            }),
            Err(error) => {
                Err(Trouble::Untold(format!("the {kind} {:?} cannot be read: {}", key.name, told(&error))))
            }
        }
    }

    fn no_key(self, kind: Kind, KeyRef { name, key }: &KeyRef) -> Trouble {
        Trouble::Missing(format!("the {kind} {name:?} in namespace {} has no key {key:?}", self.namespace))
    }
}
