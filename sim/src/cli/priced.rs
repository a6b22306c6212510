//! What pods cost, as it is asked for.

use std::path::{Path, PathBuf};

use crate::cost::{PriceError, PriceList, Prices};

/// Largest file of prices, in bytes.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Priced {
    /// Price of a pod-hour, the same for all
    #[arg(long, value_name = "PRICE", conflicts_with = "prices")]
    price: Option<f64>,
    /// Prices of pod-hours, reserved, on demand and on spot, by region
    #[arg(long, value_name = "FILE.yaml")]
    prices: Option<PathBuf>,
    /// Whose prices; needed where the file has several
    #[arg(long, value_name = "NAME", requires = "prices")]
    region: Option<String>,
}

/// Prices that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum WrongPrices {
    #[error("--price: {0}")]
    Flat(PriceError),
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}: larger than {MAX_BYTES} bytes", path = path.display())]
    TooLarge { path: PathBuf },
    #[error("{path}: {source}", path = path.display())]
    Yaml { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("{path}: {source}", path = path.display())]
    Prices { path: PathBuf, source: PriceError },
}

impl Priced {
    /// The price list, if there is to be one.
    pub(super) fn list(&self) -> Result<Option<PriceList>, WrongPrices> {
        match (self.price, &self.prices) {
            (Some(price), _) => PriceList::flat(price).map(Some).map_err(WrongPrices::Flat),
            (None, Some(path)) => read(path, self.region.as_deref()).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn read(path: &Path, region: Option<&str>) -> Result<PriceList, WrongPrices> {
    let failed = |source| WrongPrices::File { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(WrongPrices::TooLarge { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let prices: Prices = serde_saphyr::from_str(&text)
        .map_err(|source| WrongPrices::Yaml { path: path.to_owned(), source: Box::new(source) })?;
    prices.of_region(region).map_err(|source| WrongPrices::Prices { path: path.to_owned(), source })
}
