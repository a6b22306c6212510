//! How much work arrives.
//!
//! ```text
//! Reading ─▶ Counters ─▶ Sample ─▶ offered ─▶ LoadModel ─▶ Load { MetricsQPS, standard error, classes, congestion }
//!            counters    what was    silent pods,   what a request
//!            to rates    seen        rejections,    costs at present,
//!                                    queues         learned from CPU
//! ```
//!
//! A [`Sample`] holds evidence only: what each pod showed, over which window. What is inferred from it (silent
//! pods, offered instead of served, costs) is inferred in [`Load::of`] and [`LoadModel`], so that a recorded sample can be
//! judged again by a newer version. Nothing here takes an unknown for a zero.

mod borne_out;
mod classes;
mod cost;
mod counters;
mod edges;
mod error;
mod fit;
mod labels;
mod latency;
mod learner;
mod model;
mod offered;
mod reading;
mod remembered;
mod sample;
mod track_record;
mod versions;
mod weights;

pub use classes::{ByLabel, Classes, Column};
pub use counters::{Counters, ReadyPods};
pub use edges::{Edges, EdgesError};
pub use error::ReadingError;
pub use fit::{Ambiguity, Cost, CostFit, FitClass, FitReport, FitSample, FitSettings, Score, Scores};
pub use latency::{LatencyCapacity, LatencyLimit, LatencyObjective, LatencyObjectiveError};
pub use model::{CpuCost, Fitting, LoadModel, Unknown, Weighing};
pub use offered::{ClassLoad, Congestion, Load, NothingCompletes, WORK, WeightsInForce};
pub use reading::{HistogramCounts, Reading};
pub use remembered::Spent;
pub use sample::{Evidence, Group, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA, Sample};
pub use versions::Version;
pub use weights::{MAX_WEIGHT, Weights, WeightsError};
