//! What one pod should carry by its CPU, and how many such pods a load takes.

use super::decision::{Capacity, CapacitySource};
use super::no_opinion::NoOpinion;
use crate::load::{CpuCost, Sample};
use crate::units::MetricsQps;

/// Replicas are rounded up, but not for a rounding error of the division.
const ROUNDING: f64 = 1e-9;

/// Cores that a pod has asked for: the mean over the pods of which it is known.
pub(super) fn requested_per_pod(sample: &Sample) -> Option<f64> {
    let known = sample.groups.iter().filter_map(|g| Some((g.requested_per_pod?.get(), f64::from(g.pods))));
    let (cores, pods) =
        known.fold((0.0, 0.0), |(cores, all), (each, pods)| (cores + each * pods, all + pods));
    (cores > 0.0).then(|| cores / pods)
}

/// C = (allowed − idle) / unit, and the same at the ends of what idle and unit lie between.
pub(super) fn capacity_from_cpu(allowed: f64, cost: &CpuCost) -> Result<Capacity, NoOpinion> {
    let at = |idle: f64, unit: f64| MetricsQps::saturating(((allowed - idle) / unit).max(0.0));
    let per_pod = at(cost.idle, cost.unit);
    if per_pod.get() <= 0.0 {
        return Err(NoOpinion::IdleTooMuch { idle: cost.idle, allowed });
    }
    let interval = cost.idle_interval.map(|(least_idle, most_idle)| {
        let (least_unit, most_unit) = cost.unit_interval.unwrap_or((cost.unit, cost.unit));
        (at(most_idle, most_unit), at(least_idle, least_unit.max(f64::MIN_POSITIVE)))
    });
    Ok(Capacity { per_pod, interval, source: CapacitySource::Cpu })
}

/// ⌈load / capacity⌉, saturating at what the HPA can count.
pub(super) fn replicas_for(load: MetricsQps, per_pod: MetricsQps) -> u32 {
    let pods = load.get() / per_pod.get();
    let pods = (pods * (1.0 - ROUNDING)).ceil();
    // In this order, so that a NaN would ask for more and not for none.
    if pods < f64::from(i32::MAX) { pods as u32 } else { i32::MAX.unsigned_abs() }
}
