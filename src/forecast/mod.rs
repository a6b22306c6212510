//! How much load will arrive: an upper bound of its maximum until what is decided now is ready, and a promise that can be checked.
//!
//! ```text
//! Series ─▶ Cleaner ─▶ experts ─▶ calibration ─▶ mixture ─▶ insurance ─▶ tuner ─▶ Forecast
//! class     outages    one idea   how wrong,     what each  misses       the least quantile
//! rates                each       and when       has lost   lately       that keeps the promise
//! ```
//!
//! A [`Forecaster`] is a function of the closed steps of its [`Series`]: no clock, no randomness, and taking up a series is the same
//! as having lived through it, bit for bit. It forecasts demand, never replicas: else the autoscaler would learn its own lag. It knows
//! nothing of how load is measured. Nothing of the future is ever looked at, a gap is never a zero, and no bound is ever NaN.

mod calibration;
mod clean;
mod conformal;
mod engine;
pub mod events;
mod experts;
mod forecaster;
#[cfg(test)]
mod golden;
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
