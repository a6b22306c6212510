//! The HorizontalPodAutoscaler's own algorithm.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `autoscaling/v2` `spec.behavior`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Behavior {}
