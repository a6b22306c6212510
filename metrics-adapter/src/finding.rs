//! What holds of an object: one entry a question, for its status, its metrics and its page.

/// One condition, not yet dated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds; none where that is not known.
    pub holds: Option<bool>,
    /// A CamelCase word.
    pub reason: String,
    /// A sentence for people: what it is, and what to do.
    pub message: String,
}

impl Finding {
    /// Something that holds, or does not.
    pub(crate) fn new(
        kind: &'static str,
        holds: bool,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, holds: Some(holds), reason: reason.into(), message: message.into() }
    }

    /// Something of which nobody knows whether it holds.
    pub(crate) fn unknown(kind: &'static str, reason: &str, message: &str) -> Self {
        Self { kind, holds: None, reason: reason.into(), message: message.into() }
    }

    /// How Kubernetes writes whether it holds.
    pub fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }

    /// Whether somebody should look at it.
    pub fn is_bad(&self) -> bool {
        let Some(holds) = self.holds else { return false };
        match self.kind {
            "ScalingLimited" | "Fallback" => holds,
            // What people asked for, and what comes by itself.
            "Paused" | "ForecastReady" => false,
            _ => {
                !holds && !matches!(self.reason.as_str(), "Observing" | "Paused" | "NoActuation" | "Learning")
            }
        }
    }
}
