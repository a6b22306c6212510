//! Policies: who decides how many pods there should be.
//!
//! A [`Policy`] sees what a real one would see, as late as that would see it: samples of the load and, whenever the HPA
//! is reconciled, its pods and their CPU. It says how many replicas it wants and nothing else. All but `fixed` work
//! through [`Hpa`](::plimsoll::hpa::Hpa), the controller's own algorithm.
//!
//! Targets are alike by default: at the trace's mean mix of requests, a pod at its target uses the same share of the
//! cores that it requests, whichever policy set the target. What then differs is what the policies can see, and when.
//!
//! ```text
//! fixed           as many pods as the busiest minute needs; the best that somebody who knows the future can pin
//! hpa-cpu         Resource cpu, Utilization
//! hpa-qps         External, AverageValue: requests per second and pod
//! hpa-metricsqps  External, AverageValue: MetricsQPS per pod
//! plimsoll        External plimsoll-desired-replicas, AverageValue 1, without tolerance; plimsoll-reactive does not look ahead
//! ```

mod controller;
mod fixed;
mod hpa_cpu;
mod hpa_metricsqps;
mod hpa_qps;
mod knobs;
mod plimsoll;
mod target;

use ::plimsoll::hpa::{Pod, PodUsage};
use ::plimsoll::load::{Sample, Weights};
use ::plimsoll::units::{Cores, Percent, Span, Time};

use crate::history::pods_for;
use crate::profile::Profile;
use knobs::Knobs;
pub use target::Target;

/// Decides how many pods there should be.
pub trait Policy: std::fmt::Debug + Send {
    /// What one pod should carry.
    fn target(&self) -> Target;

    /// Whether it looks at anything. For one that does not, nothing is measured, and it is not asked again.
    fn looks(&self) -> bool {
        true
    }

    /// How many pods it begins with, where `usual` is what the first minute needs.
    fn start(&self, usual: u32) -> u32 {
        usual
    }

    /// A sample of the load has come.
    fn observe(&mut self, sample: &Sample) {
        let _ = sample;
    }

    /// How many pods it wants from now on.
    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32;
}

/// What the HPA's controller sees when it reconciles.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// `spec.replicas`.
    pub replicas: u32,
    /// The workload's pods.
    pub pods: &'a [Pod],
    /// Their CPU, as metrics-server last gave it.
    pub usage: &'a [PodUsage],
}

/// What policies are made from.
#[derive(Debug, Clone)]
pub struct Basis<'a> {
    /// The trace.
    pub profile: &'a Profile,
    /// What the duration classes weigh.
    pub weights: &'a Weights,
    /// CPU that one pod requests; above zero.
    pub cores: Cores,
    /// Share of it that a pod at target uses, at the trace's mean mix; above zero.
    pub share: Percent,
    /// Fewest and most replicas, at least 1.
    pub bounds: (u32, u32),
    /// Time between two samples.
    pub interval: Span,
}

impl Basis<'_> {
    /// Pods that carry this much CPU work at the share.
    pub fn pods_for(&self, work: Cores) -> u32 {
        pods_for(work, self.cores, self.share)
    }

    /// The share in whole percent, as an HPA takes it.
    pub fn whole_percent(&self) -> i32 {
        (self.share.as_fraction() * 100.0).round().max(1.0) as i32
    }

    /// Mean requests per second that take up the share of a pod. In MetricsQPS it is the same number, as the mean
    /// request weighs one.
    pub fn requests_per_pod(&self) -> f64 {
        self.cores.get() * self.share.as_fraction() / self.profile.mean_cpu_seconds()
    }
}

/// A policy that there is not, or that cannot be set like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no such policy.
    #[error("there is no policy {0:?}: the policies are {list}", list = NAMES.join(", "))]
    Unknown(String),
    /// It has no such knob.
    #[error("{policy} has no knob {knob:?}: it has {known}")]
    Knob {
        /// The policy.
        policy: String,
        /// The knob that it lacks.
        knob: String,
        /// The knobs that it has.
        known: String,
    },
    /// A knob is not set to what it takes.
    #[error("{policy}: {knob}={value}: expected {expected}")]
    Value {
        /// The policy.
        policy: String,
        /// The knob.
        knob: String,
        /// What it is set to.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A knob is set more than once.
    #[error("{policy}: {knob} is set twice: give it once")]
    Twice {
        /// The policy.
        policy: String,
        /// The knob.
        knob: String,
    },
    /// Not a list of `key=value`.
    #[error("{0:?} is not a policy: write NAME or NAME:key=value,key=value")]
    Syntax(String),
}

/// The names of all policies, in the order in which they are best compared.
pub const NAMES: [&str; 6] =
    ["fixed", "hpa-cpu", "hpa-qps", "hpa-metricsqps", "plimsoll-reactive", "plimsoll"];

/// The policy that `text` describes: `NAME`, or `NAME:key=value,…`.
///
/// # Errors
/// When there is no such policy or knob, or a knob does not take that value.
pub fn build(text: &str, basis: &Basis<'_>) -> Result<Box<dyn Policy>, PolicyError> {
    let mut knobs = Knobs::parse(text)?;
    let policy: Box<dyn Policy> = match knobs.policy() {
        "fixed" => Box::new(fixed::Fixed::new(&mut knobs, basis)?),
        "hpa-cpu" => Box::new(hpa_cpu::HpaCpu::new(&mut knobs, basis)?),
        "hpa-qps" => Box::new(hpa_qps::HpaQps::new(&mut knobs, basis)?),
        "hpa-metricsqps" => Box::new(hpa_metricsqps::HpaMetricsQps::new(&mut knobs, basis)?),
        "plimsoll" => Box::new(plimsoll::Plimsoll::new(&mut knobs, basis)?),
        "plimsoll-reactive" => Box::new(plimsoll::Plimsoll::reactive(&mut knobs, basis)?),
        other => return Err(PolicyError::Unknown(other.to_owned())),
    };
    knobs.finish()?;
    Ok(policy)
}

#[cfg(test)]
mod tests;
