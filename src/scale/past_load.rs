//! What a workload has lived through: for asking what another way of scaling would have made of it.

use crate::forecast::Settings;
use crate::units::{MetricsQps, Span};

/// The load of a workload, step by step, and what it takes to carry it.
#[derive(Debug, Clone, PartialEq)]
pub struct PastLoad {
    /// How it is forecast: length of a step, horizon, promise and clock.
    pub forecast: Settings,
    /// Number of the first step, counted from the epoch.
    pub first: i64,
    /// Load of each step, in MetricsQPS; none where it is not known.
    pub loads: Vec<Option<f64>>,
    /// What one ready pod should carry; above zero.
    pub per_pod: MetricsQps,
    /// From a decision until what it asks for serves.
    pub lead: Span,
    /// `minReplicas` and `maxReplicas`, without schedules.
    pub bounds: (u32, u32),
    /// Replicas that were asked for last, if anybody told.
    pub replicas: Option<u32>,
}
