//! What requests of each duration cost, learned from recorded samples by the very fit that runs in a cluster.

use std::collections::BTreeMap;

use plimsoll::load::{
    Classes, CostFit, Edges, FitClass, FitReport, FitSample, FitSettings, Load, Score, Weights,
};
use serde::Serialize;

use crate::samples::{Recorded, Samples};
use crate::trace::TraceError;

/// The schema number of [`Costs`].
pub const COSTS_SCHEMA: u32 = 1;

/// Costs, and how well they are known. Maps are by the samples' class columns, such as `le_0.005`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// Number of the record's schema: [`COSTS_SCHEMA`].
    pub schema: u32,
    /// Rows in the file.
    pub samples: u64,
    /// Rows that showed congestion and were not learned from.
    pub congested: u64,
    /// What a request of each class costs, the mean request being 1; none where the samples do not tell.
    pub weights: BTreeMap<String, Option<f64>>,
    /// 95 % intervals of the weights, with the unit taken as it is; none where the samples do not tell.
    pub intervals: BTreeMap<String, Option<(f64, f64)>>,
    /// CPU-seconds of the mean request: the weights' unit.
    pub unit_cost_core_s: Option<f64>,
    /// Cores of a pod that does nothing.
    pub idle_cores_per_pod: f64,
    /// Its 95 % interval; none where the samples do not tell.
    pub idle_interval: Option<(f64, f64)>,
    /// Share of the CPU's variance over the last half that the classes predicted, each sample before it was learned from.
    pub r2: Option<f64>,
    /// The same by one cost for all requests.
    pub r2_qps: Option<f64>,
    /// The same by the mean cost of the last requests.
    pub r2_cpu_per_request: Option<f64>,
    /// Mean absolute error of the classes' prediction, in cores.
    pub mae_cores: Option<f64>,
    /// Whether CPU was read as spent before the requests were counted.
    pub lagged: bool,
    /// Whether the samples tell all costs that matter.
    pub identifiable: bool,
    /// What they do not tell and what would make them; or that all is told.
    pub message: String,
}

/// Learns from all of the samples, and scores the last half.
///
/// # Errors
/// When the file is wrong.
pub fn learn(samples: Samples, settings: FitSettings) -> Result<Costs, TraceError> {
    let names = samples.classes().to_vec();
    let edges = samples.le().to_vec();
    let recorded = samples.read_all()?;
    // Sound: the reader has checked both.
    let classes = Classes::by_duration(Edges::new(edges).unwrap_or_default());
    let plain = Weights::new(classes.clone(), &vec![1.0; classes.columns()]).ok();
    let mut fit = CostFit::new(FitClass::of(&classes), settings);
    let mut congested = 0;
    for (i, Recorded { sample, pods }) in recorded.iter().enumerate() {
        if i == recorded.len() / 2 {
            fit.restart_scores();
        }
        let load = plain.as_ref().and_then(|plain| Load::of(sample, plain, Some(1.0)).ok());
        match FitSample::of(sample, &classes) {
            Some(sample) if load.is_some_and(|load| load.congestion.is_empty()) => {
                fit.observe(&FitSample { pods: *pods, ..sample });
            }
            _ => {
                congested += 1;
                fit.interrupt();
            }
        }
    }
    Ok(Costs::new(&names, recorded.len() as u64, congested, &fit.report()))
}

impl Costs {
    fn new(names: &[String], samples: u64, congested: u64, report: &FitReport) -> Self {
        let unit = report.mean_cost;
        let in_units = |cost: f64| unit.map(|unit| cost / unit);
        let known = || names.iter().zip(&report.classes);
        let r2 = |score: Option<Score>| score.map(|score| score.r2);
        let message = if report.is_identifiable() {
            "the samples tell all costs that matter".to_owned()
        } else {
            report.ambiguities.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        Self {
            schema: COSTS_SCHEMA,
            samples,
            congested,
            weights: known()
                .map(|(name, cost)| (name.clone(), cost.interval.and_then(|_| in_units(cost.value))))
                .collect(),
            intervals: known()
                .map(|(name, cost)| {
                    let interval = cost.interval.and_then(|(low, high)| in_units(low).zip(in_units(high)));
                    (name.clone(), interval)
                })
                .collect(),
            unit_cost_core_s: unit,
            idle_cores_per_pod: report.idle.value,
            idle_interval: report.idle.interval,
            r2: r2(report.scores.metricsqps),
            r2_qps: r2(report.scores.qps),
            r2_cpu_per_request: r2(report.scores.cpu_per_request),
            mae_cores: report.scores.metricsqps.map(|score| score.mae),
            lagged: report.lagged,
            identifiable: report.is_identifiable(),
            message,
        }
    }
}
