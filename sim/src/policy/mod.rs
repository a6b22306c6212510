//! Policies: who decides how many pods there should be.
//!
//! A [`Policy`] sees what a real one would see, as late as that would see it: samples of the load and, whenever the HPA
//! is reconciled, its pods and their CPU. It says how many replicas it wants and nothing else. All but `fixed` and `knative-kpa` work
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
//! clairvoyant     the work that will come, through the same HPA as plimsoll
//! ```
//!
//! Others are what people use or publish, built as their authors would with their defaults: `cpu-per-request`, `max-recent`,
//! `mean-recent`, `knative-kpa`, `cron`, and after the public descriptions of closed or larger systems `aws-like`, `phpa-like`,
//! `crane-like`, `ahpa-like`. Their files say what they are made after and what they lack. Those that get a metric get
//! MetricsQPS as Plimsoll measures it, learned from CPU: none of them loses by counting requests. Those that plan go through the HPA that
//! Plimsoll does, and have the same timers and pods.

mod ahpa_like;
mod aws_like;
mod clairvoyant;
mod controller;
mod cpu_per_request;
mod crane_like;
mod cron;
mod error;
mod fixed;
mod hpa_cpu;
mod hpa_metricsqps;
mod hpa_qps;
mod knative_kpa;
mod knobs;
mod past;
mod phpa_like;
mod planned;
mod plimsoll;
mod recent;
mod season;
mod target;

use ::plimsoll::hpa::{Pod, PodUsage};
use ::plimsoll::load::{Sample, Weights};
use ::plimsoll::units::{Cores, Percent, Span, Time};

use crate::history::pods_for;
use crate::profile::Profile;
use crate::scenario::Scenario;
pub use error::PolicyError;
use knobs::Knobs;
use planned::planned;
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
    /// Time from a decision until its pods take requests, in 95 of 100 cases: what an operator has measured.
    pub lead: Span,
    /// When the trace begins.
    pub start: Time,
}

impl<'a> Basis<'a> {
    /// For a trace like `profile` whose duration classes weigh `weights`, under `scenario`, from `start` on.
    pub fn new(profile: &'a Profile, weights: &'a Weights, scenario: &Scenario, start: Time) -> Self {
        Self {
            profile,
            weights,
            cores: scenario.cluster.cores,
            share: scenario.share,
            bounds: (scenario.min, scenario.max),
            interval: scenario.timing.scrape,
            lead: scenario.lead(),
            start,
        }
    }

    /// Pods that the first minute takes, within the bounds: what policies that scale begin with.
    pub fn usual_pods(&self) -> u32 {
        self.pods_for(self.profile.first_minute).clamp(self.bounds.0, self.bounds.1)
    }

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
        self.share.as_fraction() * self.full_requests_per_pod()
    }

    /// Mean requests per second that take up all of the CPU that a pod requests.
    pub fn full_requests_per_pod(&self) -> f64 {
        self.cores.get() / self.profile.mean_cpu_seconds()
    }

    /// Requests that are inside a pod at the share on average, at the mean mix, if each takes as long as in an idle pod. They take longer, the
    /// more so the busier a pod is; a target that counted on that would be met by two numbers of pods.
    pub fn concurrency_per_pod(&self) -> f64 {
        let alone =
            self.profile.mean_cpu_seconds() / self.cores.get().min(1.0) + self.profile.mean_io_seconds();
        self.requests_per_pod() * alone
    }
}

/// The names of all policies, in the order in which they are best compared.
pub const NAMES: [&str; 16] = [
    "fixed",
    "hpa-cpu",
    "hpa-qps",
    "hpa-metricsqps",
    "cpu-per-request",
    "max-recent",
    "mean-recent",
    "knative-kpa",
    "cron",
    "aws-like",
    "phpa-like",
    "crane-like",
    "ahpa-like",
    "plimsoll-reactive",
    "plimsoll",
    "clairvoyant",
];

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
        "cpu-per-request" => planned(cpu_per_request::CpuPerRequest::default(), &mut knobs, basis)?,
        "max-recent" => planned(recent::Recent::maximum(&mut knobs)?, &mut knobs, basis)?,
        "mean-recent" => planned(recent::Recent::mean(&mut knobs)?, &mut knobs, basis)?,
        "knative-kpa" => Box::new(knative_kpa::KnativeKpa::new(&mut knobs, basis)?),
        "cron" => planned(cron::Cron::new(&mut knobs, basis)?, &mut knobs, basis)?,
        "aws-like" => planned(aws_like::AwsLike::default(), &mut knobs, basis)?,
        "phpa-like" => planned(phpa_like::PhpaLike::default(), &mut knobs, basis)?,
        "crane-like" => planned(crane_like::CraneLike::new(&mut knobs)?, &mut knobs, basis)?,
        "ahpa-like" => planned(ahpa_like::AhpaLike::new(&mut knobs, basis)?, &mut knobs, basis)?,
        "clairvoyant" => planned(clairvoyant::Clairvoyant::new(basis), &mut knobs, basis)?,
        "plimsoll" => Box::new(plimsoll::Plimsoll::new(&mut knobs, basis)?),
        "plimsoll-reactive" => Box::new(plimsoll::Plimsoll::reactive(&mut knobs, basis)?),
        other => return Err(PolicyError::Unknown(other.to_owned())),
    };
    knobs.finish()?;
    Ok(policy)
}

#[cfg(test)]
mod tests;
