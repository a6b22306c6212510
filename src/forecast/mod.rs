//! How much load will arrive.
mod calibration;
mod clean;
mod conformal;
mod engine;
pub mod events;
mod experts;
mod forecaster;
pub mod level_shift;
pub mod local_time;
mod mixture;
mod objective;
mod peaks;
pub mod periods;
mod plan;
mod recent;
mod record;
mod regression;
mod series;
mod waiting;
mod window;

pub use clean::Shifted;
pub use forecaster::{Basis, Forecast, Forecaster, Promise, Settings, Share};
pub use peaks::Peaks;
pub use plan::PlanPoint;
pub use series::{MOST_COLUMNS, SERIES_SCHEMA, Series, SeriesError, Step};
