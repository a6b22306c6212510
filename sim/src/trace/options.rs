//! How a trace is read: which part of it, how much of it, and with which seed.

use std::fmt;
use std::str::FromStr;

use plimsoll::units::Span;

use super::durations::DurationMix;

/// How a trace is read.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceOptions {
    /// Of whatever the trace leaves open.
    pub seed: u64,
    /// The part that is replayed.
    pub window: Window,
    /// Requests for each one of the trace; above zero, finite.
    pub rate_scale: f64,
    /// Share of a request's duration that is CPU, 0 to 1, where the trace tells durations only. The rest is I/O.
    pub cpu_share: f64,
    /// Durations where the trace tells none.
    pub mix: DurationMix,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self { seed: 1, window: Window::default(), rate_scale: 1.0, cpu_share: 0.5, mix: DurationMix::Usual }
    }
}

/// A part of a trace, by offsets from its beginning: `from` included, `to` not. Text form `2h..4h`, either end may
/// be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not negative.
    pub from: Span,
    /// Later than `from`.
    pub to: Span,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: Span::ZERO, to: Span::MAX }
    }
}

/// A window that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a window: give offsets from the trace's beginning, such as 2h..4h, 90m.. or ..1d")]
pub struct WindowError(String);

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let wrong = || WindowError(text.to_owned());
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let end = |text: &str, open: Span| {
            if text.is_empty() { Ok(open) } else { text.parse().map_err(|_| wrong()) }
        };
        let window = Self { from: end(from, Span::ZERO)?, to: end(to, Span::MAX)? };
        if Span::ZERO <= window.from && window.from < window.to { Ok(window) } else { Err(wrong()) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (Span::ZERO, Span::MAX) => f.write_str("from its beginning to its end"),
            (from, Span::MAX) => write!(f, "from {from} on"),
            (from, to) => write!(f, "from {from} to {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_two_ends_either_of_which_may_be_open() {
        let hours = |n: i64| Span::from_secs(n * 3600);
        let window = |text: &str| text.parse::<Window>().unwrap();
        assert_eq!(window("2h..4h"), Window { from: hours(2), to: hours(4) });
        assert_eq!(window("2h.."), Window { from: hours(2), to: Span::MAX });
        assert_eq!(window(".."), Window::default());
        for text in ["", "2h", "4h..2h", "2h..2h", "-1h..2h", "2..4"] {
            assert!(text.parse::<Window>().is_err(), "{text:?}");
        }
    }
}
