//! The mean of the last steps: what a smoothed metric shows.

use std::collections::VecDeque;

use super::Rule;

/// The mean of the last steps, by `u`.
#[derive(Debug, Clone)]
pub struct Mean {
    steps: usize,
    utilization: f64,
    last: VecDeque<f64>,
}

impl Mean {
    /// Of the last `steps`, at least 1, or of all while they are fewer; at `utilization`, above 0 and at most 1.
    pub fn new(steps: usize, utilization: f64) -> Self {
        Self { steps: steps.max(1), utilization, last: VecDeque::new() }
    }
}

impl Rule for Mean {
    fn decide(&mut self, load: f64) -> f64 {
        if self.last.len() == self.steps {
            self.last.pop_front();
        }
        self.last.push_back(load);
        // Anew each time: a running sum would carry the rounding of large loads into small ones.
        self.last.iter().sum::<f64>() / self.last.len() as f64 / self.utilization
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_of_the_last_ones() {
        let mut mean = Mean::new(3, 0.5);
        let decided = [3.0, 5.0, 1.0, 9.0].map(|load| mean.decide(load));
        assert_eq!(decided, [6.0, 8.0, 6.0, 10.0]);
    }
}
