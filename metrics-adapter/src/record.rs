//! Writes what the pods of one workload tell into a file, from which `plimsoll-sim fit` learns what requests cost.
//!
//! A row a round, written to its end before the next round: whenever it is ended, the last line is complete. It decides
//! nothing, serves nothing, and overwrites nothing that it was not told to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll::load::Sample;
use plimsoll_sim::samples::SampleWriter;

use crate::board::{Board, ObjectKey};
use crate::clock::{Clock, Ticks};
use crate::collect::Scraper;
use crate::config::{Config, Configured};
use crate::engine::{Collecting, Object};
use crate::ops::Telemetry;

/// A request that cannot be met as it is.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing says which of several objects is meant.
    #[error("which one is to be recorded? Give --object {}", names.join(" or --object "))]
    Which {
        /// All of them.
        names: Vec<String>,
    },
    /// There is no such object.
    #[error("there is no LoadAwareAutoscaler {wanted}: there is {}", names.join(", "))]
    NoSuchObject {
        /// The one that was asked for.
        wanted: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// The reader would take a plain file for a compressed one.
    #[error("--out {}: is written plain; give a name without .gz, and compress it afterwards", .0.display())]
    Compressed(PathBuf),
    /// The file is there already.
    #[error("--out {}: is there already; --force overwrites it", .0.display())]
    Exists(PathBuf),
    /// The file cannot be opened.
    #[error("--out {}: cannot be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The object of this name, `NAMESPACE/NAME`; without one, the only one that there is.
///
/// # Errors
/// When there is no such object, or there are several.
pub fn choose(config: Config, name: Option<&str>) -> Result<(ObjectKey, Configured), RecordError> {
    let mut objects = config.objects;
    let names = objects.keys().map(ObjectKey::to_string).collect();
    if let Some(wanted) = name {
        objects.retain(|key, _| key.to_string() == wanted);
        let no_such = || RecordError::NoSuchObject { wanted: wanted.to_owned(), names };
        return objects.pop_first().ok_or_else(no_such);
    }
    match objects.pop_first() {
        Some(only) if objects.is_empty() => Ok(only),
        _ => Err(RecordError::Which { names }),
    }
}

/// Opens the file that rows are to go to, empty.
///
/// # Errors
/// When it cannot be had, or is there already and `force` is not given.
pub fn create(path: &Path, force: bool) -> Result<File, RecordError> {
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Err(RecordError::Compressed(path.to_owned()));
    }
    let mut options = OpenOptions::new();
    options.write(true);
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => RecordError::Exists(path.to_owned()),
        _ => RecordError::Unwritable { path: path.to_owned(), source },
    })
}

/// Records one workload.
#[derive(Debug)]
pub struct Recorder<W> {
    collector: Collecting,
    ticks: Ticks,
    writer: SampleWriter<W>,
}

impl<W: Write> Recorder<W> {
    /// One that reads the object's pods as a server would, and writes to `out`.
    pub fn new(object: Object, clock: Clock, out: W) -> Self {
        let Object { key, spec, query, source, .. } = object;
        let telemetry = Telemetry::new(Arc::new(Board::default()), clock.clone());
        let ticks = clock.every(spec.interval);
        let scraper = Scraper::new(clock, Arc::new(telemetry));
        let collector = Collecting::new(&key, query, spec.interval, source, &scraper);
        Self { collector, ticks, writer: SampleWriter::new(out) }
    }

    /// Waits for the next round's time and reads every pod once. Writes a row if all of them told their requests and CPU.
    /// Gives what was seen; none where a metrics server told nothing.
    ///
    /// # Errors
    /// When the row cannot be written.
    pub async fn round(&mut self) -> io::Result<Option<Sample>> {
        self.ticks.next().await;
        let sample = self.collector.round().await;
        if let Some(sample) = &sample {
            self.writer.write(sample)?;
        }
        Ok(sample)
    }

    /// Works until a row cannot be written. To end it sooner, drop this: a row is written at once, or not at all.
    pub async fn run(&mut self) -> io::Error {
        loop {
            if let Err(error) = self.round().await {
                return error;
            }
        }
    }

    /// Rows written.
    pub fn rows(&self) -> u64 {
        self.writer.rows()
    }

    /// Rounds of which no row was written, since not all ready pods told their requests and CPU.
    pub fn left_out(&self) -> u64 {
        self.writer.left_out()
    }
}
