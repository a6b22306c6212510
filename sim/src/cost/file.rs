//! Price lists from files.

use std::path::{Path, PathBuf};

use super::{PriceError, PriceList, Prices};

/// Largest file of prices, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Prices that cannot be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum PriceFileError {
    /// It cannot be read.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is too large to be one.
    #[error("{}: larger than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not written as it should be.
    #[error("{}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        source: Box<serde_saphyr::Error>,
    },
    /// Its prices cannot be reckoned with.
    #[error("{}", path.display())]
    Prices {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        source: PriceError,
    },
}

/// The prices of a region from a YAML file of [`Prices`]; without a name the only ones.
///
/// # Errors
/// When there is no such file or region, or a price that cannot be.
pub fn read(path: &Path, region: Option<&str>) -> Result<PriceList, PriceFileError> {
    let path_of = || path.to_owned();
    let failed = |source| PriceFileError::Io { path: path_of(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(PriceFileError::TooLarge { path: path_of() });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let prices: Prices = serde_saphyr::from_str(&text)
        .map_err(|source| PriceFileError::Yaml { path: path_of(), source: Box::new(source) })?;
    prices.of_region(region).map_err(|source| PriceFileError::Prices { path: path_of(), source })
}
