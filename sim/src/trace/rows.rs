//! Rows of a CSV file, plain or gzip, one at a time.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;
use plimsoll::units::Span;

use super::{TraceError, Window};

/// Offsets beyond this are taken for a mistake in the unit: a century.
const MAX_SECONDS: f64 = 3.2e9;

/// Amounts beyond this are taken for nonsense.
const MAX_AMOUNT: f64 = 1e15;

/// A first offset beyond this is taken for a date.
const YEAR: Span = Span::from_secs(366 * 86_400);

/// A CSV file, and the row that was read last.
pub(crate) struct Rows {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read + Send>>,
    header: StringRecord,
    row: StringRecord,
}

impl Rows {
    /// Opens the file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, TraceError> {
        let failed = |source| TraceError::Io { path: path.to_owned(), source };
        let file = BufReader::new(File::open(path).map_err(failed)?);
        let compressed = path.extension().is_some_and(|e| e == "gz");
        let bytes: Box<dyn Read + Send> =
            if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut rows =
            Self { path: path.to_owned(), reader, header: StringRecord::new(), row: StringRecord::new() };
        rows.read()?;
        rows.header = rows.row.clone();
        Ok(rows)
    }

    /// The columns' names.
    pub(crate) fn header(&self) -> &StringRecord {
        &self.header
    }

    /// Reads the next row; false at the end.
    pub(crate) fn next(&mut self) -> Result<bool, TraceError> {
        if !self.read()? {
            return Ok(false);
        }
        let (expected, found) = (self.header.len(), self.row.len());
        if found != expected {
            return Err(self.row_error(format!("{found} fields"), format!("{expected}, one a column")));
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<bool, TraceError> {
        self.reader.read_record(&mut self.row).map_err(|error| {
            let line = error.position().map_or(1, csv::Position::line);
            match error.into_kind() {
                csv::ErrorKind::Io(source) => TraceError::Io { path: self.path.clone(), source },
                csv::ErrorKind::Utf8 { err, .. } => TraceError::Content {
                    path: self.path.clone(),
                    line,
                    column: None,
                    found: err.to_string(),
                    expected: "UTF-8 text".to_owned(),
                },
                other => {
                    let source = io::Error::other(format!("{other:?}"));
                    TraceError::Io { path: self.path.clone(), source }
                }
            }
        })
    }

    fn line(&self) -> u64 {
        self.row.position().map_or(1, csv::Position::line)
    }

    /// An error about the row as a whole.
    pub(crate) fn row_error(&self, found: String, expected: String) -> TraceError {
        TraceError::Content { path: self.path.clone(), line: self.line(), column: None, found, expected }
    }

    /// An error about one value of the row.
    pub(crate) fn value_error(&self, column: usize, expected: impl Into<String>) -> TraceError {
        TraceError::Content {
            path: self.path.clone(),
            line: self.line(),
            column: self.header.get(column).map(str::to_owned),
            found: self.row.get(column).unwrap_or_default().to_owned(),
            expected: expected.into(),
        }
    }

    /// A length of time in seconds, not negative.
    pub(crate) fn seconds(&self, column: usize) -> Result<Span, TraceError> {
        let number = self.row.get(column).and_then(|text| text.parse::<f64>().ok());
        number
            .filter(|n| (0.0..=MAX_SECONDS).contains(n))
            .map(Span::from_secs_f64)
            .ok_or_else(|| self.value_error(column, "seconds, such as 12.5"))
    }

    /// The instant of the first row, in seconds from the trace's beginning.
    ///
    /// What comes long after that, and after the window's beginning, is a date: nobody meant to replay the years before.
    pub(crate) fn first_instant(&self, window: Window) -> Result<Span, TraceError> {
        let at = self.seconds(0)?;
        if at - window.from <= YEAR {
            return Ok(at);
        }
        let from = at.as_nanos() / Span::from_secs(1).as_nanos();
        let expected = format!(
            "seconds from the trace's beginning, or from the window's, less than a year: is this Unix time? Then \
             give --window FROM..TO, such as {from}s..{}s",
            from + 3600
        );
        Err(self.value_error(0, expected))
    }

    /// A value as it is written.
    pub(crate) fn text(&self, column: usize) -> &str {
        self.row.get(column).unwrap_or_default()
    }

    /// A number that is not negative, such as a rate.
    pub(crate) fn amount(&self, column: usize) -> Result<f64, TraceError> {
        let number = self.row.get(column).and_then(|text| text.parse::<f64>().ok());
        number
            .filter(|n| (0.0..=MAX_AMOUNT).contains(n))
            .ok_or_else(|| self.value_error(column, "a number that is not negative, such as 12.5"))
    }

    /// As [`Self::amount`]; none where the field is empty.
    pub(crate) fn amount_if_any(&self, column: usize) -> Result<Option<f64>, TraceError> {
        if self.row.get(column).is_some_and(str::is_empty) { Ok(None) } else { self.amount(column).map(Some) }
    }

    /// A number of requests.
    pub(crate) fn count(&self, column: usize) -> Result<u64, TraceError> {
        let number = self.row.get(column).and_then(|text| text.parse::<u64>().ok());
        number
            .filter(|n| *n < 1 << 53)
            .ok_or_else(|| self.value_error(column, "a number of requests, such as 42"))
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("path", &self.path).field("row", &self.row).finish_non_exhaustive()
    }
}
