//! Azure Functions' published invocations of 2019: a file a day, a row a function, a column a minute.
//! <https://github.com/Azure/AzurePublicDataset>

use std::path::{Path, PathBuf};

use plimsoll::units::Span;

use super::{Content, ConvertError, Converted, Counts, open};

const MINUTES: usize = 1440;

/// All invocations of the functions of which a row contains `only`, by minute; the files are days, in order.
///
/// # Errors
/// When a file is no such day.
pub fn azure_functions(paths: &[PathBuf], only: Option<&str>) -> Result<Converted, ConvertError> {
    let mut rows = Vec::with_capacity(MINUTES * paths.len());
    for path in paths {
        rows.extend(day(path, only)?.map(|count| vec![count]));
    }
    if rows.iter().all(|row| row == &[0.0]) {
        return Err(ConvertError::Empty { path: paths.first().cloned().unwrap_or_default() });
    }
    let counts = Counts { start: None, step: Span::from_secs(60), le: None, rows };
    Ok(Converted { content: Content::Counts(counts), passed_over: None })
}

fn day(path: &Path, only: Option<&str>) -> Result<impl Iterator<Item = f64> + use<>, ConvertError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(open(path)?);
    let line = |error: &csv::Error| error.position().map_or(1, csv::Position::line);
    let broken = |error: csv::Error| {
        let line = line(&error);
        ConvertError::content(path, line, error.to_string(), "a row of a CSV file")
    };
    let header = reader.headers().map_err(broken)?.clone();
    let first = header.iter().position(|column| column == "1");
    let first = first.filter(|first| {
        (0..MINUTES).all(|i| header.get(first + i).is_some_and(|column| column.parse() == Ok(i + 1)))
    });
    let Some(first) = first else {
        let found: Vec<&str> = header.iter().take(6).collect();
        let expected = "columns of a function, then one for each minute of the day, 1 to 1440";
        return Err(ConvertError::content(path, 1, format!("{}…", found.join(",")), expected));
    };
    let mut sums = vec![0.0; MINUTES];
    for row in reader.records() {
        let row = row.map_err(broken)?;
        if only.is_some_and(|only| !row.iter().take(first).any(|field| field.contains(only))) {
            continue;
        }
        let number = row.position().map_or(1, csv::Position::line);
        for (sum, field) in sums.iter_mut().zip(row.iter().skip(first)) {
            let count: u32 = field.parse().map_err(|_| {
                ConvertError::content(path, number, format!("{field:?}"), "a number of invocations")
            })?;
            *sum += f64::from(count);
        }
    }
    Ok(sums.into_iter())
}
