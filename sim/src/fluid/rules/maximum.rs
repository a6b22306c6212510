//! The maximum of the last steps: a strong rule on noisy load.

use super::Rule;
use crate::sliding::Sliding;

/// The maximum of the last steps, by `u`.
#[derive(Debug, Clone)]
pub struct Maximum {
    largest: Sliding<f64>,
    utilization: f64,
}

impl Maximum {
    /// Of the last `steps`, at least 1; at `utilization`, above 0 and at most 1.
    pub fn new(steps: usize, utilization: f64) -> Self {
        Self { largest: Sliding::largest(steps), utilization }
    }
}

impl Rule for Maximum {
    fn decide(&mut self, load: f64) -> f64 {
        self.largest.push(load) / self.utilization
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_maximum_of_the_last_ones() {
        let mut maximum = Maximum::new(2, 0.5);
        let decided = [3.0, 5.0, 1.0, 2.0].map(|load| maximum.decide(load));
        assert_eq!(decided, [6.0, 10.0, 10.0, 4.0]);
    }
}
