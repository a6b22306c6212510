//! The load of the last step: what an HPA on requests per pod follows.

use super::Rule;

/// `x_t / u`.
#[derive(Debug, Clone)]
pub struct Newest {
    utilization: f64,
}

impl Newest {
    /// At `utilization`, above 0 and at most 1.
    pub fn new(utilization: f64) -> Self {
        Self { utilization }
    }
}

impl Rule for Newest {
    fn decide(&mut self, load: f64) -> f64 {
        load / self.utilization
    }
}
