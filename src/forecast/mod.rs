//! How much load will arrive.
mod calibration;
mod conformal;
mod engine;
mod experts;
mod forecaster;
mod mixture;
mod objective;
mod peaks;
mod recent;
mod record;
mod regression;
mod series;
mod waiting;
mod window;

pub use forecaster::{Basis, Forecast, Forecaster, Promise, Settings, Share};
pub use peaks::Peaks;
pub use series::{MOST_COLUMNS, SERIES_SCHEMA, Series, SeriesError, Step};
