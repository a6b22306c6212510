//! One that knows the future: nobody can do with fewer pods and never be short.

use super::Rule;
use crate::sliding::Sliding;

/// The true maximum of the steps for which a decision is the last one that could still help: those up to the lead.
#[derive(Debug, Clone)]
pub struct Clairvoyant {
    /// By step, the maximum of the `lead` steps after it.
    ahead: std::vec::IntoIter<f64>,
}

impl Clairvoyant {
    /// Of the series that it will be run over, with that many steps of lead, at least 1.
    pub fn new(counts: &[f64], lead: usize) -> Self {
        let mut largest = Sliding::largest(lead);
        let mut ahead = vec![0.0; counts.len()];
        for i in (1..counts.len()).rev() {
            ahead[i - 1] = largest.push(counts[i]);
        }
        Self { ahead: ahead.into_iter() }
    }
}

impl Rule for Clairvoyant {
    fn decide(&mut self, _: f64) -> f64 {
        self.ahead.next().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wants_the_most_of_what_comes_within_the_lead() {
        let counts = [1.0, 2.0, 9.0, 3.0, 4.0];
        let mut rule = Clairvoyant::new(&counts, 2);
        assert_eq!(counts.map(|load| rule.decide(load)), [9.0, 9.0, 4.0, 4.0, 0.0]);
    }
}
