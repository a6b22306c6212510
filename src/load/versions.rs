//! Fitted weights in force, and those before them.
//!
//! At most one version a day, and none that does not predict better than the one before it; should the one before predict
//! better after all, it comes back.

use serde::{Deserialize, Serialize};

use super::fit::{Cost, Errors, FitReport, FitSample};
use super::weights::Weights;
use crate::units::{Span, Time};

/// Least time between two versions.
const DAY: Span = Span::from_secs(86_400);

/// Samples over which two versions are compared before the older may come back...
const TRIAL: f64 = 100.0;

/// ...and how much smaller its mean squared error must be.
const CLEARLY_BETTER: f64 = 0.9;

/// What a new version's error must be at most, relative to that of the one in force, to be worth a change.
const WORTH_A_CHANGE: f64 = 0.98;

/// Samples after which an error counts half.
const HALF_LIFE: f64 = 1000.0;

/// Weights that were published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// From 1 on, one more each time weights change.
    pub number: u32,
    /// When it came into force.
    pub since: Time,
    /// What requests weigh, in units of core-seconds.
    pub weights: Weights,
    /// Core-seconds of weight 1: the same in all versions.
    pub unit: f64,
    /// Cores of a pod that does nothing.
    pub idle: Cost,
    /// What was known when it was learned.
    pub report: FitReport,
}

impl Version {
    fn predict(&self, sample: &FitSample) -> f64 {
        self.idle.value * sample.pods + self.unit * self.weights.weigh(&sample.rates)
    }
}

/// The version in force and the one before it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Versions {
    current: Option<(Version, Errors)>,
    /// Of the fit as it is, over the samples that the current one was scored on.
    candidate: Errors,
    previous: Option<(Version, Errors)>,
    number: u32,
    changed: Option<Time>,
}

impl Versions {
    pub(super) fn current(&self) -> Option<&Version> {
        self.current.as_ref().map(|(version, _)| version)
    }

    /// Scores both on a sample that neither has learned from. `as_seen_by` sorts its requests into a version's classes.
    /// `candidate` is what the fit predicts for it, and the truth.
    pub(super) fn score(
        &mut self,
        candidate: (f64, f64),
        as_seen_by: impl Fn(&Version) -> Option<FitSample>,
    ) {
        let keep = 0.5f64.powf(1.0 / HALF_LIFE);
        self.candidate.add(candidate.0, candidate.1, keep);
        for (version, errors) in [&mut self.current, &mut self.previous].into_iter().flatten() {
            if let Some(sample) = as_seen_by(version) {
                errors.add(version.predict(&sample), sample.cpu, keep);
            }
        }
    }

    /// Where the last change is later than `now`, as by a clock that was ahead, it was now.
    pub(super) fn begin_at(&mut self, now: Time) {
        self.changed = self.changed.map(|changed| changed.min(now));
    }

    /// Whether weights may change at `at`.
    pub(super) fn may_change(&self, at: Time) -> bool {
        self.changed.is_none_or(|changed| at - changed >= DAY)
    }

    /// Whether what the fit knows by now is worth a change.
    pub(super) fn is_worth_a_change(&self) -> bool {
        self.current.as_ref().is_none_or(|(_, errors)| {
            let is_better = self.candidate.mean_squared() < WORTH_A_CHANGE * errors.mean_squared();
            errors.weight() >= TRIAL && is_better
        })
    }

    pub(super) fn publish(
        &mut self,
        since: Time,
        weights: Weights,
        unit: f64,
        idle: Cost,
        report: FitReport,
    ) {
        self.number += 1;
        let version = Version { number: self.number, since, weights, unit, idle, report };
        self.previous =
            self.current.replace((version, Errors::default())).map(|(old, _)| (old, Errors::default()));
        self.candidate = Errors::default();
        self.changed = Some(since);
    }

    /// Puts the version before in force again if it predicts clearly better, as a version of its own.
    pub(super) fn roll_back(&mut self, at: Time) -> bool {
        let (Some((_, new)), Some((_, old))) = (&self.current, &self.previous) else { return false };
        let is_better = old.weight() >= TRIAL && old.mean_squared() < CLEARLY_BETTER * new.mean_squared();
        if is_better && let Some((old, errors)) = self.previous.take() {
            self.number += 1;
            self.current = Some((Version { number: self.number, since: at, ..old }, errors));
            self.candidate = errors;
            self.changed = Some(at);
        }
        is_better
    }
}
