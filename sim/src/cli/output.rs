//! Where results go: a table to standard output, JSON to a file or in place of the table.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// A file that the results cannot go to.
#[derive(Debug, thiserror::Error)]
#[error("{option} {path}: cannot be written")]
pub(super) struct Unwritable {
    option: &'static str,
    path: String,
    source: io::Error,
}

/// A file that an option asks for.
#[derive(Debug)]
pub(super) struct Target {
    path: String,
    file: File,
    /// It was made for this, and nothing is in it yet.
    is_new: bool,
}

impl Target {
    /// Opens the file. To be called before the work: who waited for it should not learn only then that there is no such folder.
    pub(super) fn open(option: &'static str, path: &str) -> Result<Self, Unwritable> {
        // The file as it is, so that a run that fails leaves an older report alone.
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).open(path);
        let is_new = made.is_ok();
        let file = made.or_else(|_| options.create_new(false).create(true).open(path));
        let path = path.to_owned();
        match file {
            Ok(file) => Ok(Self { path, file, is_new }),
            Err(source) => Err(Unwritable { option, path, source }),
        }
    }

    /// Makes `text` what is in the file.
    pub(super) fn fill(self, text: &str) -> anyhow::Result<()> {
        let path = self.path.clone();
        self.fill_by(|file| file.write_all(text.as_bytes()).with_context(|| path))
    }

    /// Makes what `write` writes what is in the file, once all of it is written.
    pub(super) fn fill_by<T, E>(mut self, write: impl FnOnce(&mut File) -> Result<T, E>) -> anyhow::Result<T>
    where
        anyhow::Error: From<E>,
    {
        let metadata = self.file.metadata().with_context(|| self.path.clone())?;
        if !metadata.is_file() {
            // Devices and pipes are written as they are.
            return Ok(write(&mut self.file)?);
        }
        // Of a link, what it leads to.
        let path = std::fs::canonicalize(&self.path).with_context(|| self.path.clone())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let new = OpenOptions::new().write(true).create_new(true).open(&beside);
        let mut new = new.with_context(|| beside.display().to_string())?;
        let written = (|| {
            let value = write(&mut new)?;
            new.set_permissions(metadata.permissions())?;
            std::fs::rename(&beside, &path)?;
            anyhow::Ok(value)
        })();
        match &written {
            Ok(_) => self.is_new = false,
            Err(_) => drop(std::fs::remove_file(&beside)),
        }
        written
    }

    /// Whether nobody has written to the file that was made here.
    fn is_untouched(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|there| there.is_file() && there.len() == 0)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // What was asked for did not come about: an empty file would look as if it had.
        if self.is_new && self.is_untouched() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What `--json` asks for.
#[derive(Debug)]
pub(super) enum Output {
    Table,
    Json,
    TableAndFile(Target),
}

impl Output {
    /// Opens the file, if there is to be one, before the work.
    pub(super) fn open(json: Option<&str>) -> Result<Self, Unwritable> {
        match json {
            None => Ok(Self::Table),
            Some("-") => Ok(Self::Json),
            Some(path) => Target::open("--json", path).map(Self::TableAndFile),
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
            Self::TableAndFile(target) => {
                let printed = out.write_all(table().as_bytes());
                target.fill(&json()?)?;
                Ok(printed?)
            }
        }
    }
}
