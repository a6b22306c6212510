//! Quantiles of many latencies in little memory.

use plimsoll::units::Span;

/// Width of a bucket: its upper bound over its lower one.
const GROWTH: f64 = 1.01;

/// Latencies up to this share one bucket.
const LEAST_S: f64 = 1e-6;

/// A histogram of latencies with buckets of 1 % width, whose memory depends on their range alone: less than 2100
/// counts from a microsecond to a quarter of an hour. Any quantile is right within 0.5 %.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Span) {
        let ratio = latency.as_secs_f64() / LEAST_S;
        let bucket = if ratio > 1.0 { (ratio.ln() / GROWTH.ln()).ceil() as usize } else { 0 };
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The least latency that at least the share `q` of all, 0 to 1, does not exceed; none if there are none.
    pub fn quantile(&self, q: f64) -> Option<Span> {
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        // The middle of the bucket.
        Some(Span::from_secs_f64(LEAST_S * GROWTH.powf(bucket as f64 - 0.5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_half_a_percent() {
        let mut latencies = Latencies::default();
        for i in 1..=10_000 {
            latencies.add(Span::from_millis(i));
        }
        for (q, seconds) in [(0.0, 0.001), (0.5, 5.0), (0.95, 9.5), (0.99, 9.9), (1.0, 10.0)] {
            let found = latencies.quantile(q).unwrap().as_secs_f64();
            assert!((found / seconds - 1.0).abs() < 0.0051, "{q}: {found}");
        }
        latencies.add(Span::from_secs(900));
        assert!(latencies.counts.len() < 2100, "{}", latencies.counts.len());
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn no_time_at_all_is_a_latency_too() {
        let mut latencies = Latencies::default();
        latencies.add(Span::ZERO);
        assert!(latencies.quantile(0.99).unwrap() <= Span::from_nanos(1000));
    }
}
