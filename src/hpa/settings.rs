//! What the administrator of a cluster sets: flags and feature gates of kube-controller-manager.

use crate::units::Span;

/// The controller's flags and constants. [`Settings::default`] is a production controller of Kubernetes 1.37
/// without flags of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `--horizontal-pod-autoscaler-sync-period`: the pause between two reconciles of one HPA. 15 s. The real
    /// interval is this plus the time a reconcile takes, never exactly this.
    pub sync_period: Span,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`: how long a high recommendation holds a workload up,
    /// unless `spec.behavior.scaleDown` says otherwise. 300 s.
    pub downscale_stabilization: Span,
    /// `--horizontal-pod-autoscaler-tolerance`: how far from 1 a usage ratio may be, either way, without any
    /// change. At least 0; 0.1.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`: how long after its start a pod's CPU sample counts
    /// only if the pod was ready for all of it. 300 s.
    pub cpu_initialization_period: Span,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`: a pod that turned unready this soon after its start
    /// is taken as never having been ready. 30 s.
    pub initial_readiness_delay: Span,
    /// `scaleUpLimitFactor`: without `spec.behavior`, one reconcile multiplies the size by this at most. 2.
    pub scale_up_limit_factor: f64,
    /// `scaleUpLimitMinimum`: a size that one reconcile may always reach without `spec.behavior`. 4 replicas.
    pub scale_up_limit_minimum: f64,
    /// The feature gates.
    pub gates: Gates,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync_period: Span::from_secs(15),
            downscale_stabilization: Span::from_secs(300),
            tolerance: 0.1,
            cpu_initialization_period: Span::from_secs(300),
            initial_readiness_delay: Span::from_secs(30),
            scale_up_limit_factor: 2.0,
            scale_up_limit_minimum: 4.0,
            gates: Gates::default(),
        }
    }
}

/// The feature gates that the algorithm reads. [`Gates::default`] is Kubernetes 1.37.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gates {
    /// `HPAScaleToZero` (KEP-2021): `minReplicas: 0`, and waking up again. On by default since 1.37.
    pub scale_to_zero: bool,
    /// `HPAConfigurableTolerance` (KEP-4951): `spec.behavior.*.tolerance` counts. On by default since 1.35.
    pub configurable_tolerance: bool,
    /// `PodLevelResources` (KEP-2837): a request of the whole pod goes before those of its containers. On by
    /// default since 1.34.
    pub pod_level_resources: bool,
    /// `HPAGeneration`: a change of the spec is reconciled at once. Believed to be off by default in 1.37.
    pub hpa_generation: bool,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            scale_to_zero: true,
            configurable_tolerance: true,
            pod_level_resources: true,
            hpa_generation: false,
        }
    }
}

/// How far a usage ratio may be from 1 without any change (`Tolerances`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerances {
    /// Above 1: 0.1 lets a ratio of 1.1 pass.
    pub up: f64,
    /// Below 1: 0.1 lets a ratio of 0.9 pass.
    pub down: f64,
}

impl Tolerances {
    /// Whether `ratio` calls for no change, both ends included (`Tolerances.isWithin`). Never for NaN.
    pub fn is_within(&self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }

    /// The same question as controllers up to 1.32 asked it. They knew one tolerance for both directions, here
    /// `up`, and compared the distance: as 1 - 1.1 is a little more than 0.1 in binary, 1.1 was outside.
    pub fn was_within_until_1_32(&self, ratio: f64) -> bool {
        (1.0 - ratio).abs() <= self.up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_on_the_edge_of_the_tolerance_is_inside_it_since_1_33() {
        let tolerances = Tolerances { up: 0.1, down: 0.1 };
        assert!(tolerances.is_within(1.1) && !tolerances.was_within_until_1_32(1.1));
        assert!(tolerances.is_within(0.9) && tolerances.was_within_until_1_32(0.9));
        assert!(!tolerances.is_within(f64::NAN) && !tolerances.is_within(f64::INFINITY));
    }

    #[test]
    fn a_tolerance_of_zero_lets_only_equality_pass() {
        let tolerances = Tolerances { up: 0.0, down: 0.0 };
        for wanted in 1..2000u32 {
            assert!(tolerances.is_within(f64::from(wanted) * 1000.0 / (1000.0 * f64::from(wanted))));
            assert!(!tolerances.is_within(f64::from(wanted + 1) * 1000.0 / (1000.0 * f64::from(wanted))));
        }
    }
}
