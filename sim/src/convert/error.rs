//! What may be wrong with what is converted.

use std::io;
use std::path::{Path, PathBuf};

/// Something that makes no trace: where it is wrong, and what was expected there.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: found {found}, expected {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// Most lines of a log are none of a request.
    #[error("{first}: {why}, as in {lines} of {all} lines: is this the right format? See --help")]
    NotALog {
        /// The first such line.
        first: String,
        /// What is wrong with it.
        why: &'static str,
        /// How many there are.
        lines: u64,
        /// Of so many.
        all: u64,
    },
    /// There is no request in it.
    #[error("{}: there is no request in it", path.display())]
    Empty {
        /// The first file.
        path: PathBuf,
    },
    /// More requests than can be simulated.
    #[error("more than {0} requests: convert a part, or to a .rate.csv")]
    TooMany(u64),
    /// The name of what is to be written does not say which format it is.
    #[error("{}: name it *.req.csv, *.rate.csv or *.hist.csv, each with .gz to compress it", path.display())]
    Format {
        /// The name.
        path: PathBuf,
    },
    /// What was read does not tell what is to be written.
    #[error("{}: {why}", path.display())]
    Lacks {
        /// What is to be written.
        path: PathBuf,
        /// What is not known.
        why: &'static str,
    },
    /// So many steps that an instant must be wrong.
    #[error("{steps} steps are more than {most}: is an instant wrong? Else give a longer --step")]
    TooManySteps {
        /// How many there would be.
        steps: i64,
        /// How many there may be.
        most: i64,
    },
    /// A server that does not stand to its answer.
    #[error("{}: the server {said}: ask it again", path.display())]
    NotWhole {
        /// The answer.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// Something that says nothing where it was given.
    #[error("{given}: {why}")]
    Unused {
        /// What was given.
        given: &'static str,
        /// What it would be for.
        why: &'static str,
    },
    /// Steps that cannot be.
    #[error("--step {0}: expected 1s to 1d")]
    Step(plimsoll::units::Span),
}

impl ConvertError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn content(
        path: &Path,
        line: u64,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Content { path: path.to_owned(), line, found: found.into(), expected: expected.into() }
    }
}
