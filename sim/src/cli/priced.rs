//! What pods cost, as it is asked for.

use std::path::PathBuf;

use crate::cost::{PriceError, PriceFileError, PriceList, read};

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
    #[error(transparent)]
    File(#[from] PriceFileError),
}

impl Priced {
    /// The price list, if there is to be one.
    pub(super) fn list(&self) -> Result<Option<PriceList>, WrongPrices> {
        match (self.price, &self.prices) {
            (Some(price), _) => PriceList::flat(price).map(Some).map_err(WrongPrices::Flat),
            (None, Some(path)) => Ok(Some(read(path, self.region.as_deref())?)),
            (None, None) => Ok(None),
        }
    }
}
