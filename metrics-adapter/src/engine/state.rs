//! What an engine has learned of its workload, kept on disk so that a restart forgets nothing.
//!
//! Without it weights, their unit and the forecast begin anew with every start: half an hour, and a day, until they count fully again. A file that cannot be read or
//! written is no reason to stop: it is said, and the engine goes on without.

use std::io::Write;
use std::path::{Path, PathBuf};

use plimsoll::scale::Checkpoint;
use plimsoll::spec::ScaleTargetRef;
use serde::{Deserialize, Serialize};

use crate::board::ObjectKey;
use crate::collect::Query;

/// Largest file that is read: 28 days of minutes take some 2 MB.
const MOST_BYTES: u64 = 16 << 20;

/// Bytes of the checksum that a file begins with: CRC-32 in hexadecimal and the end of the line.
const SUM: usize = 9;

fn checksum(kept: &[u8]) -> [u8; SUM] {
    let mut sum = flate2::Crc::new();
    sum.update(kept);
    let mut line = [b'\n'; SUM];
    for (i, digit) in line.iter_mut().take(8).enumerate() {
        let nibble = (sum.sum() >> (28 - 4 * i)) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    line
}

/// Where what is known of one object is kept.
#[derive(Debug, Clone)]
pub(super) struct StateFile {
    path: PathBuf,
    /// What the object asks for: what was learned of other series says nothing of these.
    about: String,
}

/// What is learned of `query` of `workload` is about this.
pub fn about(workload: &ScaleTargetRef, query: &Query) -> String {
    format!("{workload:?} {query:?}")
}

fn path(dir: &Path, key: &ObjectKey) -> PathBuf {
    // Neither a namespace nor a name has an underscore, or anything that a path would take for a separator.
    dir.join(format!("{}_{}.state.json", key.namespace, key.name))
}

/// Removes what is kept in `dir` of an object that is no more.
///
/// # Errors
/// When there is something and it cannot be removed.
pub fn forget(dir: &Path, key: &ObjectKey) -> Result<(), StateError> {
    let path = path(dir, key);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError { path, problem: error.into() })
        }
        _ => Ok(()),
    }
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Kept<C> {
    about: String,
    checkpoint: C,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct StateError {
    path: PathBuf,
    #[source]
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("not what this version wrote: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is damaged")]
    Damaged,
    #[error("what it was learned from is no longer what the spec asks for")]
    Other,
    #[error("{0} bytes, where {MOST_BYTES} are the most")]
    TooLarge(u64),
}

impl StateFile {
    /// The object's file in `dir`, for what `query` asks of `workload`.
    pub(super) fn of(dir: &Path, key: &ObjectKey, workload: &ScaleTargetRef, query: &Query) -> Self {
        Self { path: path(dir, key), about: about(workload, query) }
    }

    /// What was kept; none if nothing was.
    pub(super) fn read(&self) -> Result<Option<Checkpoint>, StateError> {
        let read = || -> Result<Option<Checkpoint>, Problem> {
            let size = match std::fs::metadata(&self.path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            if size > MOST_BYTES {
                return Err(Problem::TooLarge(size));
            }
            let file = std::fs::read(&self.path)?;
            let (sum, kept) = file.split_at_checked(SUM).ok_or(Problem::Damaged)?;
            if sum != checksum(kept) {
                return Err(Problem::Damaged);
            }
            let kept: Kept<Checkpoint> = serde_json::from_slice(kept)?;
            if kept.about != self.about {
                return Err(Problem::Other);
            }
            Ok(Some(kept.checkpoint))
        };
        read().map_err(|problem| self.error(problem))
    }

    /// Keeps a checkpoint in place of the last one. Who is interrupted leaves the last one as it is.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let write = || -> Result<(), Problem> {
            // Another adapter may write beside this one.
            let beside = self.path.with_extension(format!("{}.new", std::process::id()));
            let mut file = std::fs::File::create(&beside)?;
            let kept = serde_json::to_vec(&Kept { about: self.about.clone(), checkpoint })?;
            file.write_all(&checksum(&kept))?;
            file.write_all(&kept)?;
            file.sync_all()?;
            Ok(std::fs::rename(&beside, &self.path)?)
        };
        write().map_err(|problem| self.error(problem))
    }

    fn error(&self, problem: Problem) -> StateError {
        StateError { path: self.path.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll::forecast::{Series, Step};
    use plimsoll::load::{Fitting, LoadModel, Weighing};
    use plimsoll::scale::CHECKPOINT_SCHEMA;
    use plimsoll::units::Span;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let mut series = Series::new(Span::from_secs(60), 2, Span::from_secs(3600));
        series.push(10, Some(Step { rates: &[1.5, 0.1], is_floor: false }));
        series.push(12, Some(Step { rates: &[2.5, 0.2], is_floor: true }));
        let model = LoadModel::new(Weighing::Fitted(Fitting::default()));
        Checkpoint { schema: CHECKPOINT_SCHEMA, model, latency: None, history: Some(series), outlook: None }
    }

    fn file(dir: &Path, workload: &str, histogram: &str) -> StateFile {
        let workload = ScaleTargetRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: workload.into(),
        };
        StateFile::of(dir, &key(), &workload, &query(histogram))
    }

    fn key() -> ObjectKey {
        ObjectKey::new("shop", "checkout")
    }

    fn query(histogram: &str) -> Query {
        Query::new(&serde_json::from_value(serde_json::json!({"histogram": histogram})).unwrap())
    }

    #[test]
    fn what_is_kept_is_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path(), "web", "d");
        assert!(file.read().unwrap().is_none());
        file.write(&checkpoint()).unwrap();
        let read = file.read().unwrap().unwrap();
        let levels = |checkpoint: Checkpoint| checkpoint.history.unwrap().levels(&[1.0, 1.0]);
        assert_eq!(levels(read), levels(checkpoint()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_was_learned_of_something_else_is_not_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "web", "d").write(&checkpoint()).unwrap();
        for other in [file(dir.path(), "web", "e"), file(dir.path(), "api", "d")] {
            let error = other.read().unwrap_err().to_string();
            assert!(error.contains("no longer what the spec asks for"), "{error}");
        }
    }

    #[test]
    fn an_object_that_is_no_more_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path(), "web", "d");
        file.write(&checkpoint()).unwrap();
        forget(dir.path(), &key()).unwrap();
        assert!(file.read().unwrap().is_none());
        forget(dir.path(), &key()).unwrap();
    }

    #[test]
    fn what_is_no_checkpoint_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path(), "web", "d");
        for text in ["", "{}", "{\"schema\":9}", "[1,2"] {
            std::fs::write(&file.path, text).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains("shop_checkout.state.json: it is damaged"), "{error}");
            let sum = checksum(text.as_bytes());
            std::fs::write(&file.path, [&sum, text.as_bytes()].concat()).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains("shop_checkout.state.json: not what this version wrote"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir.path().join("gone"), "web", "d");
        assert!(file.read().unwrap().is_none());
        assert!(file.write(&checkpoint()).is_err());
    }
}
