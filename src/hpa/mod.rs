//! The HorizontalPodAutoscaler's own algorithm (autoscaling/v2), exactly.
//!
//! It is for whoever has to know what an HPA will do with a metric before a cluster does it: the simulator, the
//! demo, and anyone who tunes a target. Given the same samples at the same times, [`Hpa`] sets the same sizes and
//! the same conditions as the controller of Kubernetes 1.37, down to its roundings and ties; a table of cases
//! taken from the controller's own tests holds it to that. It reads no clock, does no I/O and never panics.
//!
//! It never talks to a cluster, knows nothing of Plimsoll's own decisions, and leaves out what cannot change a
//! size: messages of conditions, and the formatting of quantities in the status.
//!
//! ```text
//! spec        HpaSpec: bounds, metrics; the API server's defaults and rules
//! behavior    spec.behavior: windows, policies, tolerances
//! settings    the controller's flags, feature gates; tolerance
//! queue       when an HPA is reconciled
//! metrics     where samples come from
//! pods        which pods count, and what they request
//! replicas    how many replicas one metric asks for
//! normalize   stabilization and limits, with and without a behavior
//! status      conditions and events
//! reconcile   Hpa: all of it in order, once every 15 s and a little
//! ```
//!
//! Names are Kubernetes' own; where one of its functions is re-told, the documentation names it.
//!
//! ```
//! use std::collections::BTreeMap;
//! use plimsoll::hpa::{Hpa, HpaSpec, MetricSpec, Observed, Samples, Settings, ValueTarget};
//! use plimsoll::units::{Quantity, Time};
//!
//! let metric = MetricSpec::External {
//!     metric: "desired-replicas".into(),
//!     selector: None,
//!     target: ValueTarget::AverageValue(Quantity::from_milli(1000)),
//! };
//! let spec = HpaSpec { min_replicas: None, max_replicas: 20, metrics: vec![metric], behavior: None };
//! let mut hpa = Hpa::new(spec, Settings::default());
//!
//! let seven = Ok(vec![Quantity::from_milli(7000)]);
//! let samples = Samples { external: BTreeMap::from([("desired-replicas".into(), seven)]), ..Samples::default() };
//! let observed = Observed { spec_replicas: 2, status_replicas: 2, ..Observed::default() };
//! let done = hpa.reconcile(Time::from_secs(0), &observed, &samples);
//! assert_eq!(done.replicas, 4); // from 2, a step reaches 4 at most
//! ```

mod behavior;
mod error;
mod metrics;
mod normalize;
mod pods;
mod queue;
mod reconcile;
mod replicas;
mod settings;
mod spec;
mod status;
#[cfg(test)]
mod tests;

pub use behavior::{
    Behavior, EffectiveBehavior, PolicyType, Rules, ScalingPolicy, ScalingRules, SelectPolicy,
};
pub use error::{CalcError, SpecError};
pub use metrics::{FetchError, MetricsSource, PodMetric, PodMetrics, PodUsage, Samples};
pub use normalize::{
    Limited, Recommendation, ScaleEvent, ScaleEvents, change_within, limit, limit_with_behavior,
    scale_down_limit, scale_up_limit, stabilize, stabilize_with_behavior,
};
pub use pods::{Container, Groups, Phase, Pod, Ready, calculate_requests, group_pods};
pub use queue::{Change, Queued, enqueue};
pub use reconcile::{Hpa, HpaError, Memory, Observed, OtherHpa, Reconciled, Selector, Status};
pub use replicas::{Proposal, ReplicaCalculator};
pub use settings::{Gates, Settings, Tolerances};
pub use spec::{HpaSpec, MetricSpec, ResourceTarget, ValueTarget};
pub use status::{Condition, ConditionStatus, ConditionType, Event, Reason};
