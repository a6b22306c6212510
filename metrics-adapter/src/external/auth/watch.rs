//! Whom to believe, as the cluster changes it.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};

use super::trust::Trust;
use crate::ops::Readiness;
use crate::stop::Stop;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// Whom to believe at present; nobody knows before it was read once, and until then the adapter is not ready. Clones are
/// the same one.
#[derive(Debug, Clone)]
pub struct Trusted {
    current: Arc<ArcSwapOption<Trust>>,
    readiness: Readiness,
}

impl Trusted {
    /// Not read yet: from now on `readiness` waits for it.
    pub fn new(readiness: Readiness) -> Self {
        readiness.wait_for_trust();
        Self { current: Arc::default(), readiness }
    }

    /// Whom to believe; none if it was never read.
    pub(super) fn now(&self) -> Option<Arc<Trust>> {
        self.current.load_full()
    }

    /// From now on this is believed: the data of ConfigMap `kube-system/extension-apiserver-authentication`. What cannot
    /// be used is logged and leaves that part as it was.
    pub fn take(&self, data: BTreeMap<String, String>) {
        let before = self.now();
        if before.as_ref().is_some_and(|before| *before.data() == data) {
            return;
        }
        let (trust, faults) = Trust::read(data, before.as_deref());
        for error in faults {
            tracing::warn!(%error, "{NAMESPACE}/{NAME}: a part cannot be used and stays as it was");
        }
        if trust.proxy.is_some() {
            tracing::info!("{NAMESPACE}/{NAME} is read: whom to believe is known");
        } else {
            tracing::warn!(
                "{NAMESPACE}/{NAME} names no front proxy: what the API server passes on counts as anonymous; give it \
                 --requestheader-client-ca-file"
            );
        }
        self.current.store(Some(Arc::new(trust)));
        self.readiness.trust_is_known();
    }
}

/// Keeps what is trusted as the ConfigMap has it.
pub struct Watch {
    client: Client,
    trusted: Trusted,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

impl Watch {
    /// Reads by this client, whose account needs the Role `extension-apiserver-authentication-reader` in `kube-system`.
    pub const fn new(client: Client, trusted: Trusted) -> Self {
        Self { client, trusted }
    }

    /// Reads the ConfigMap and then each of its changes, until it is told to stop.
    pub async fn run(self, mut stop: Stop) {
        let api: Api<ConfigMap> = Api::namespaced(self.client, NAMESPACE);
        let mut states = pin!(watcher::watch_object(api, NAME).default_backoff());
        let mut failing = false;
        loop {
            let state = tokio::select! {
                state = states.try_next() => state,
                () = stop.told() => return,
            };
            match state {
                Ok(Some(Some(map))) => {
                    failing = false;
                    self.trusted.take(map.data.unwrap_or_default());
                }
                Ok(Some(None)) => {
                    tracing::warn!("{NAMESPACE}/{NAME} is not there; what was read of it still counts");
                }
                // It goes on for ever; should it not, what was read stays.
                Ok(None) => return stop.told().await,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(
                        %error,
                        "{NAMESPACE}/{NAME} cannot be watched; the adapter's account needs the Role \
                         extension-apiserver-authentication-reader there"
                    );
                }
                Err(_) => {}
            }
        }
    }
}
