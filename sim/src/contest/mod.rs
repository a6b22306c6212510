//! Contests: policies on traces, by either engine, in one form.
//!
//! A [`Field`] is a trace that is ready for policies to be run on, one at a time and in any order or on several threads: what comes of one
//! depends on nothing but the field and the policy. An [`Entry`] is what came of one. [`frontier`] runs a policy at many settings of its knob and
//! compares policies at equal shortage.

mod entry;
pub mod frontier;
mod sweep;

pub use entry::{Entry, Speedup, speedup};
pub use sweep::settings;

use plimsoll::units::Span;

use crate::fluid::{Step, Workload};
use crate::profile::Profile;
use crate::replay::Prepared;
use crate::scenario::{ReplayError, Scenario};
use crate::series::Series;
use crate::trace::{Trace, TraceOptions};

/// How long a `.rate.csv` has to be for the fluid engine to be taken unless it is asked otherwise.
const LONG: Span = Span::from_secs(2 * 86_400);

/// Pods at full use that the mean work takes in the fluid engine unless it is asked otherwise.
pub const MEAN_PODS: f64 = 20.0;

/// How often requests are counted where a row of a trace is a request.
const STEP: Span = Span::from_secs(60);

/// Of a trace in the fluid engine, the share that is run and not scored, up to [`LONGEST_WARM_UP`], unless it is asked otherwise: who plans by days
/// and weeks has to have seen some.
const WARM_UP: f64 = 0.7;

/// By then even those who plan by weeks have what they ask for.
const LONGEST_WARM_UP: Span = Span::from_secs(14 * 86_400);

/// What policies are run by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Request by request: latency and queues are outcomes. Hours.
    Event,
    /// Load as a number a tick: pods and shortage alone. Months.
    Fluid,
}

/// How large a trace's load is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// So many requests for each one of the trace; above zero.
    RateScale(f64),
    /// So many that the mean work takes this many pods at full use; above zero.
    MeanPods(f64),
}

/// A trace that is ready for policies to be run on.
#[derive(Debug)]
pub struct Field {
    name: String,
    scenario: Scenario,
    options: TraceOptions,
    warm_up: Span,
    ready: Ready,
}

#[derive(Debug)]
enum Ready {
    Event(Box<Prepared>),
    Fluid(Box<Workload>),
}

impl Field {
    /// Of the trace that `name` names. Without an engine the fluid one is taken for a `.rate.csv` that is longer than two days, else the event engine. Without
    /// a size the load is as it is in the event engine, and [`MEAN_PODS`] in the fluid one.
    ///
    /// # Errors
    /// When the trace or a setting is wrong.
    pub fn new(
        name: &str,
        options: &TraceOptions,
        scenario: &Scenario,
        engine: Option<Engine>,
        size: Option<Size>,
    ) -> Result<Self, ReplayError> {
        scenario.check()?;
        let engine = match engine {
            Some(engine) => engine,
            None if is_long(name, options)? => Engine::Fluid,
            None => Engine::Event,
        };
        let size = size.unwrap_or(match engine {
            Engine::Event => Size::RateScale(1.0),
            Engine::Fluid => Size::MeanPods(MEAN_PODS),
        });
        let at = |rate_scale| TraceOptions { rate_scale, ..options.clone() };
        let rate_scale = match size {
            Size::RateScale(scale) => scale,
            Size::MeanPods(pods) => {
                let series = Series::open(name, options.window, STEP)?;
                let as_it_is = Workload::cores(&series, options, scenario)?;
                pods * scenario.cluster.usable().get() / as_it_is.get().max(f64::MIN_POSITIVE)
            }
        };
        let options = at(rate_scale);
        let ready = match engine {
            Engine::Event => {
                let trace = Trace::open(name, options.clone())?;
                Ready::Event(Box::new(Prepared::new(&trace, scenario, |_| ())?))
            }
            Engine::Fluid => {
                let series = Series::open(name, options.window, STEP)?;
                Ready::Fluid(Box::new(Workload::new(&series, &options, scenario)?))
            }
        };
        let mut field =
            Self { name: name.to_owned(), scenario: scenario.clone(), options, warm_up: Span::ZERO, ready };
        if engine == Engine::Fluid {
            let most = Span::from_secs_f64(WARM_UP * field.profile().length.as_secs_f64());
            let is_long = field.profile().length > LONG;
            field.warm_up = if is_long { most.min(LONGEST_WARM_UP) } else { Span::ZERO };
        }
        Ok(field)
    }

    /// How long policies run before they are scored: zero in the event engine, and for two days or less.
    pub fn warm_up(&self) -> Span {
        self.warm_up
    }

    /// What the trace was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which engine runs it.
    pub fn engine(&self) -> Engine {
        match self.ready {
            Ready::Event(_) => Engine::Event,
            Ready::Fluid(_) => Engine::Fluid,
        }
    }

    /// Requests for each one of the trace.
    pub fn rate_scale(&self) -> f64 {
        self.options.rate_scale
    }

    /// What it is like, at that scale.
    pub fn profile(&self) -> &Profile {
        match &self.ready {
            Ready::Event(prepared) => prepared.profile(),
            Ready::Fluid(workload) => workload.profile(),
        }
    }

    /// What is assumed.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Whether there is such a policy, and it can be set like that.
    ///
    /// # Errors
    /// When there is not, or it cannot.
    pub fn check(&self, policy: &str) -> Result<(), ReplayError> {
        match &self.ready {
            Ready::Event(prepared) => prepared.check(policy),
            Ready::Fluid(workload) => workload.check(policy, &self.scenario),
        }
    }

    /// Runs one policy.
    ///
    /// # Errors
    /// When there is no such policy, or the trace has become wrong.
    pub fn run(&self, policy: &str) -> Result<Entry, ReplayError> {
        self.run_seen(policy, |_| ())
    }

    /// The same; `each` is told how every minute that is scored went. A minute's index counts from the beginning of the run, warm-up included.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_seen(&self, policy: &str, mut each: impl FnMut(&Step)) -> Result<Entry, ReplayError> {
        match &self.ready {
            Ready::Event(prepared) => {
                let policies = [policy.to_owned()];
                let scores = prepared.run_seen(&policies, |_| (), |_, step| each(step))?;
                let score = scores.into_iter().next();
                score.map(|score| Entry::of_event(self, score)).ok_or_else(|| ReplayError::Setting {
                    setting: "policy",
                    value: policy.to_owned(),
                    expected: "one",
                })
            }
            Ready::Fluid(workload) => {
                let outcome = workload.run_seen(policy, &self.scenario, self.warm_up, each)?;
                Ok(Entry::of_fluid(self, policy, outcome))
            }
        }
    }
}

fn is_long(name: &str, options: &TraceOptions) -> Result<bool, ReplayError> {
    if !name.strip_suffix(".gz").unwrap_or(name).ends_with(".rate.csv") {
        return Ok(false);
    }
    let series = Series::open(name, options.window, STEP)?;
    Ok(series.step.as_secs_f64() * series.counts.len() as f64 > LONG.as_secs_f64())
}

#[cfg(test)]
mod tests;
