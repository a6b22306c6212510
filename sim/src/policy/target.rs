//! Targets: what one pod should carry.

use std::fmt;

/// What one pod should carry under a policy. Text form `70 % CPU`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Nothing: so many pods, whatever they carry.
    Pods(u32),
    /// CPU used, in percent of its request.
    Cpu(i32),
    /// Requests per second.
    Requests(f64),
    /// MetricsQPS.
    MetricsQps(f64),
    /// Requests inside.
    Concurrency(f64),
}

impl Target {
    /// The number.
    pub fn value(&self) -> f64 {
        match *self {
            Self::Pods(n) => f64::from(n),
            Self::Cpu(percent) => f64::from(percent),
            Self::Requests(x) | Self::MetricsQps(x) | Self::Concurrency(x) => x,
        }
    }

    /// What it is a number of.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Pods(_) => "pods",
            Self::Cpu(_) => "% CPU",
            Self::Requests(_) => "requests/s",
            Self::MetricsQps(_) => "MetricsQPS",
            Self::Concurrency(_) => "in flight",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = (self.value(), self.unit());
        match self {
            Self::Pods(_) | Self::Cpu(_) => write!(f, "{value} {unit}"),
            Self::Requests(_) | Self::MetricsQps(_) | Self::Concurrency(_) => {
                // Three digits that count, and all that are before the point.
                let text = format!("{value:.2e}");
                let exponent = text.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
                let decimals = usize::try_from(2 - exponent).unwrap_or(0).min(12);
                write!(f, "{value:.decimals$} {unit}")
            }
        }
    }
}
