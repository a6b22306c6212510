//! What is learned of workloads, kept in the cluster, so that the next leader does not begin with nothing: units, weights, filters and lead
//! times, a few kilobytes an object. The load's own history is not among it: a metrics server has that, or a volume.
//!
//! One ConfigMap an object, in the adapter's own namespace: it may write none elsewhere.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use plimsoll::scale::Checkpoint;

use super::MANAGER;
use super::hpa::{MANAGED_BY, MANAGED_BY_PLIMSOLL};
use super::leadership::Leadership;
use super::target::told;
use crate::board::ObjectKey;

/// Under which a checkpoint is, as JSON and gzipped.
const CHECKPOINT: &str = "checkpoint.json.gz";
/// Under which it says what it was learned of.
const ABOUT: &str = "about";

/// Largest checkpoint that is read, in bytes; one takes some 25 KB.
const MOST_BYTES: u64 = 4 << 20;

/// Why what was learned cannot be had, or kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum LearnedError {
    /// The API server does not do as it should.
    #[error("{}", told(.0))]
    Api(#[from] kube::Error),
    /// It is not what this version wrote.
    #[error("it is not what this version wrote: {0}")]
    Json(#[from] serde_json::Error),
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(#[from] std::io::Error),
    /// Another may be writing by now.
    #[error("another adapter may lead by now")]
    NotLeading,
}

impl LearnedError {
    /// Whether the next try may well do better: neither what is there nor the adapter's rights are to blame.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
            Self::Api(_) => true,
            Self::Json(_) | Self::Damaged(_) | Self::NotLeading => false,
        }
    }
}

/// The ConfigMaps of all objects.
#[derive(Clone)]
pub(super) struct Learned {
    api: Api<ConfigMap>,
    leadership: Leadership,
}

impl Learned {
    /// Those in the adapter's own `namespace`.
    pub(super) fn new(client: Client, namespace: &str, leadership: Leadership) -> Self {
        Self { api: Api::namespaced(client, namespace), leadership }
    }

    /// What was learned of the object, if it was learned of what it is `about` now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn read(
        &self,
        key: &ObjectKey,
        about: &str,
    ) -> Result<Option<Checkpoint>, LearnedError> {
        let Some(kept) = self.api.get_opt(&name(key)).await? else { return Ok(None) };
        let is_of_this = kept.data.is_some_and(|data| data.get(ABOUT).is_some_and(|of| of == about));
        let checkpoint = kept.binary_data.and_then(|mut data| data.remove(CHECKPOINT)).filter(|_| is_of_this);
        checkpoint.map(|ByteString(packed)| unpack(&packed)).transpose()
    }

    /// Keeps what was learned of the object, but for its history.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        about: &str,
        checkpoint: Checkpoint,
    ) -> Result<(), LearnedError> {
        let packed = pack(Checkpoint { history: None, ..checkpoint })?;
        self.leadership.check().map_err(|_| LearnedError::NotLeading)?;
        let kept = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name(key)),
                labels: Some([(MANAGED_BY.to_owned(), MANAGED_BY_PLIMSOLL.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some([(ABOUT.to_owned(), about.to_owned())].into()),
            binary_data: Some([(CHECKPOINT.to_owned(), ByteString(packed))].into()),
            immutable: None,
        };
        let params = PatchParams::apply(MANAGER).force();
        self.api.patch(&name(key), &params, &Patch::Apply(kept)).await?;
        Ok(())
    }

    /// Forgets an object that is no more.
    ///
    /// # Errors
    /// When the API server does not let it.
    pub(super) async fn forget(&self, key: &ObjectKey) -> Result<(), LearnedError> {
        self.leadership.check().map_err(|_| LearnedError::NotLeading)?;
        match self.api.delete(&name(key), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            done => done.map(|_| ()).map_err(LearnedError::from),
        }
    }
}

/// A namespace has no dot, so that no two objects share a name.
fn name(key: &ObjectKey) -> String {
    format!("plimsoll-learned.{}.{}", key.namespace, key.name)
}

fn pack(checkpoint: Checkpoint) -> Result<Vec<u8>, LearnedError> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&serde_json::to_vec(&checkpoint)?)?;
    Ok(packed.finish()?)
}

fn unpack(packed: &[u8]) -> Result<Checkpoint, LearnedError> {
    let mut text = Vec::new();
    GzDecoder::new(packed).take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use plimsoll::load::{Fitting, LoadModel, Weighing};
    use plimsoll::scale::CHECKPOINT_SCHEMA;

    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_damaged_is_an_error() {
        let model = LoadModel::new(Weighing::Fitted(Fitting::default()));
        let checkpoint =
            Checkpoint { schema: CHECKPOINT_SCHEMA, model, latency: None, history: None, outlook: None };
        let text = serde_json::to_string(&checkpoint).unwrap();
        let packed = pack(checkpoint).unwrap();
        assert_eq!(serde_json::to_string(&unpack(&packed).unwrap()).unwrap(), text);
        assert!(matches!(unpack(&packed[..packed.len() / 2]), Err(LearnedError::Damaged(_))));
        assert!(matches!(unpack(&[]), Err(LearnedError::Damaged(_))));
        let other = pack_text(b"{}");
        assert!(matches!(unpack(&other), Err(LearnedError::Json(_))));
    }

    fn pack_text(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn an_api_server_in_trouble_may_tell_later_and_one_that_refuses_will_not() {
        let answer = |code: u16| {
            let status = kube::core::Status::failure("", "").with_code(code);
            LearnedError::Api(kube::Error::Api(Box::new(status)))
        };
        assert!([429, 500, 503, 504].into_iter().all(|code| answer(code).may_pass()));
        assert!(![400, 401, 403, 409].into_iter().any(|code| answer(code).may_pass()));
        assert!(!unpack(&[]).unwrap_err().may_pass() && !LearnedError::NotLeading.may_pass());
    }
}
