//! Where results go: a table to standard output, JSON to a file or in place of the table.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// A file that the results cannot go to.
#[derive(Debug, thiserror::Error)]
#[error("--json {path}: cannot be written")]
pub(super) struct Unwritable {
    path: String,
    source: io::Error,
}

/// What `--json` asks for.
#[derive(Debug)]
pub(super) enum Output {
    Table,
    Json,
    TableAndFile(String, File),
}

impl Output {
    /// Opens the file, if there is to be one. To be called before the work: who waited for it should not learn only then that
    /// there is no such folder.
    pub(super) fn open(json: Option<&str>) -> Result<Self, Unwritable> {
        match json {
            None => Ok(Self::Table),
            Some("-") => Ok(Self::Json),
            Some(path) => {
                // The file as it is, so that a run that fails leaves an older report alone.
                let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
                let file = file.map_err(|source| Unwritable { path: path.to_owned(), source })?;
                Ok(Self::TableAndFile(path.to_owned(), file))
            }
        }
    }

    pub(super) fn write(
        self,
        results: &impl Serialize,
        table: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let json = || serde_json::to_string_pretty(results).map(|text| text + "\n");
        let mut out = io::stdout().lock();
        match self {
            Self::Table => Ok(out.write_all(table().as_bytes())?),
            Self::Json => Ok(out.write_all(json()?.as_bytes())?),
            Self::TableAndFile(path, file) => {
                let printed = out.write_all(table().as_bytes());
                fill(file, &json()?).with_context(|| path)?;
                Ok(printed?)
            }
        }
    }
}

fn fill(mut file: File, text: &str) -> io::Result<()> {
    // Devices and pipes have no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}
