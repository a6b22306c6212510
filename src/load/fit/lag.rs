//! A histogram counts a request when it ends, and its CPU was spent before.
//!
//! Of requests that take `d` seconds, end evenly over a window and use their CPU evenly over their time, the share that
//! falls into each earlier window follows from `d` alone. So the class rates that explain the CPU of a window are a
//! mean of those of this window and the ones after it. Whether requests of this workload are like that the data must
//! say: both readings are fitted, and the one that predicts better is used.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Windows after which no more is waited for: what lasts longer is a batch job.
const MOST_WINDOWS: usize = 8;

/// Share of a class's CPU in other windows than that of its count, below which none of this matters.
const LEAST_SHARE: f64 = 0.1;

/// What one sample told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) pods: f64,
    pub(super) rates: Vec<f64>,
    pub(super) cpu: f64,
}

/// Rows that wait for those after them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lag {
    /// For each class: the share of its CPU that was spent in the window of its count, one before, two before…
    shares: Vec<Vec<f64>>,
    windows: usize,
    waiting: VecDeque<Row>,
}

impl Lag {
    /// Whether its parts are of so many classes.
    pub(super) fn is_sound(&self, classes: usize) -> bool {
        self.shares.len() == classes
            && self.windows <= MOST_WINDOWS
            && self.shares.iter().all(|shares| shares.len() == self.windows + 1)
            && self.waiting.len() <= self.windows + 1
            && self.waiting.iter().all(|row| row.rates.len() == classes)
    }

    /// For classes that typically last so many seconds, and windows of so many. None where it would change next to nothing.
    pub(super) fn new(durations: &[f64], window: f64) -> Option<Self> {
        let longest = durations.iter().copied().fold(0.0, f64::max);
        let windows = ((longest / window).ceil() as usize).min(MOST_WINDOWS);
        let spread = |duration: &f64| {
            let shares: Vec<f64> = (0..=windows).map(|back| share(*duration, window, back)).collect();
            let known: f64 = shares.iter().sum();
            shares.into_iter().map(|share| share / known).collect()
        };
        let shares: Vec<Vec<f64>> = durations.iter().map(spread).collect();
        let matters = shares.iter().any(|shares| 1.0 - shares[0] > LEAST_SHARE);
        matters.then(|| Self { shares, windows, waiting: VecDeque::new() })
    }

    /// The window does not follow the last one.
    pub(super) fn interrupt(&mut self) {
        self.waiting.clear();
    }

    /// Takes a row, and gives back the one whose later ones are all known, with the rates that explain its CPU.
    pub(super) fn push(&mut self, row: Row) -> Option<Row> {
        self.waiting.push_back(row);
        if self.waiting.len() <= self.windows {
            return None;
        }
        let spent = |(class, shares): (usize, &Vec<f64>)| -> f64 {
            shares.iter().zip(&self.waiting).map(|(share, row)| share * row.rates[class]).sum()
        };
        let rates = self.shares.iter().enumerate().map(spent).collect();
        self.waiting.pop_front().map(|row| Row { rates, ..row })
    }
}

/// Of the CPU of requests that take `duration` and end in a window, the share that was spent `back` windows before it.
fn share(duration: f64, window: f64, back: usize) -> f64 {
    if duration <= 0.0 {
        return if back == 0 { 1.0 } else { 0.0 };
    }
    // The overlap of [end − duration, end] with the window [0, w] is a sum of four ramps; this is its integral.
    let area = |end: f64| {
        let ramp = |from: f64| (end - from).max(0.0).powi(2) / 2.0;
        ramp(0.0) - ramp(window) - ramp(duration) + ramp(window + duration)
    };
    let begin = back as f64 * window;
    (area(begin + window) - area(begin)) / (window * duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cpu_is_spent_somewhere() {
        for duration in [0.0, 0.5, 10.0, 25.0, 60.0] {
            let all: f64 = (0..8).map(|back| share(duration, 10.0, back)).sum();
            assert!((all - 1.0).abs() < 1e-12, "{duration}: {all}");
        }
        // Half a window long: those that end in its first half spent, on average, half their time before it.
        assert!((share(5.0, 10.0, 0) - 0.75).abs() < 1e-12);
        assert!((share(20.0, 10.0, 1) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn short_requests_need_no_waiting() {
        assert_eq!(Lag::new(&[0.01, 1.0], 10.0), None);
        assert!(Lag::new(&[0.01, 5.0], 10.0).is_some());
    }

    #[test]
    fn a_rows_rates_are_those_of_the_requests_that_ran_in_it() {
        let mut lag = Lag::new(&[0.0, 10.0], 10.0).unwrap();
        let row = |fast, slow| Row { pods: 1.0, rates: vec![fast, slow], cpu: 0.0 };
        assert_eq!(lag.push(row(7.0, 0.0)), None);
        assert_eq!(lag.push(row(0.0, 4.0)).unwrap().rates, [7.0, 2.0]);
        assert_eq!(lag.push(row(0.0, 0.0)).unwrap().rates, [0.0, 2.0]);
    }
}
