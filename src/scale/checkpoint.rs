//! What an autoscaler has learned, to be kept over a restart.

use serde::{Deserialize, Serialize};

use super::outlook::OutlookState;
use crate::forecast::Series;
use crate::load::{LatencyCapacity, LoadModel};

/// The schema number that a [`Checkpoint`] of this version carries.
pub const CHECKPOINT_SCHEMA: u32 = 1;

/// What an [`Autoscaler`](super::Autoscaler) has learned: the unit and the weights of its load, what a pod may carry, and how the load
/// moves. Taken up by another it is as if that one had learned it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Number of the record's schema: [`CHECKPOINT_SCHEMA`].
    pub schema: u32,
    /// What requests cost.
    pub model: LoadModel,
    /// What load keeps the latency objective, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyCapacity>,
    /// How the load moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Series>,
    /// What else the forecast rests on: start-ups, peaks, events in sight, what columns weigh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<OutlookState>,
}

#[cfg(test)]
mod tests {
    use super::super::{Autoscaler, Decision};
    use super::*;
    use crate::forecast::Promise;
    use crate::load::{
        Fitting, Group, HistogramRates, Labels, LatencyObjective, Pods, SAMPLE_SCHEMA, Sample, Weighing,
    };
    use crate::spec::{CapacityTarget, Checked, ForecastWish, Mode};
    use crate::units::{Cores, Percent, Rate, Span, Time};

    fn autoscaler(weighing: Weighing) -> Autoscaler {
        let objective = Percent::new(0.5).unwrap();
        Autoscaler::new(Checked {
            min_replicas: 1,
            max_replicas: 50,
            schedules: vec![],
            mode: Mode::Auto,
            on_missing_metrics: None,
            interval: Span::from_secs(15),
            weighing,
            target: CapacityTarget::CpuUtilization(Percent::new(70.0).unwrap()),
            forecast: Some(ForecastWish::new(Promise::ShortTime(objective))),
        })
    }

    /// Two pods whose requests cost 5 and 50 ms of CPU, in a mix and number that move.
    fn sample(round: i64) -> Sample {
        let wave = |period: f64| (round as f64 / period * std::f64::consts::TAU).sin();
        let (light, heavy) = (60.0 + 30.0 * wave(31.0), 6.0 + 4.0 * wave(17.0));
        let rates = [light, heavy].map(|rate| Rate::new(rate).unwrap()).to_vec();
        let group = Group {
            histograms: vec![HistogramRates::new(Labels::new(), vec![0.02], rates, None).unwrap()],
            cpu: Cores::new(0.1 + 0.005 * light + 0.05 * heavy + 0.005 * wave(7.3)).ok(),
            requested_per_pod: Cores::new(0.5).ok(),
            cores_per_pod: Cores::new(1.0).ok(),
            ..Group::new(2, Span::from_secs(15))
        };
        let pods = Pods { replicas: 2, ready: 2, warming: 0, silent: 0, updating: false };
        Sample {
            schema: SAMPLE_SCHEMA,
            at: Time::from_secs(15 * round),
            pods,
            offered: None,
            groups: vec![group],
        }
    }

    fn live(autoscaler: &mut Autoscaler, rounds: std::ops::Range<i64>) -> Vec<Decision> {
        rounds
            .map(|round| {
                autoscaler.observe(&sample(round)).unwrap();
                autoscaler.decide(Time::from_secs(15 * round))
            })
            .collect()
    }

    fn through_json(checkpoint: &Checkpoint) -> Checkpoint {
        serde_json::from_str(&serde_json::to_string(checkpoint).unwrap()).unwrap()
    }

    #[test]
    fn a_restart_goes_on_with_unit_weights_and_history() {
        let mut first = autoscaler(Weighing::Fitted(Fitting::default()));
        live(&mut first, 1..1200);
        let version = first.model().version().unwrap();
        assert!(version.weights.weights()[1] > 5.0 * version.weights.weights()[0], "{version:?}");

        let mut second = autoscaler(Weighing::Fitted(Fitting::default()));
        assert!(second.resume(through_json(&first.checkpoint())));
        let (before, after) = (live(&mut first, 1200..1220), live(&mut second, 1200..1220));
        let load = |decision: &Decision| decision.outcome.desired().unwrap().load.clone();
        assert!(
            before.iter().map(load).eq(after.iter().map(load)),
            "the load is measured as if nothing had been"
        );
        let forecast = |decisions: &[Decision]| {
            let forecast = decisions.last().unwrap().forecast.clone().unwrap();
            (forecast.history, forecast.experts, forecast.quantile.to_bits())
        };
        // The minute in which it was interrupted is known in part.
        assert_eq!(forecast(&before).0, forecast(&after).0);
    }

    #[test]
    fn what_was_learned_for_another_spec_is_left_aside() {
        let mut first = autoscaler(Weighing::Fitted(Fitting::default()));
        live(&mut first, 1..400);
        let checkpoint = through_json(&first.checkpoint());
        let mut other = autoscaler(Weighing::Fitted(Fitting { has_work: true, ..Fitting::default() }));
        assert!(!other.resume(checkpoint.clone()));
        assert!(other.model().version().is_none() && other.history().is_none());
        let mut newer = autoscaler(Weighing::Fitted(Fitting::default()));
        assert!(!newer.resume(Checkpoint { schema: 9, ..checkpoint.clone() }));
        assert!(newer.history().is_none());
        let objective = |seconds| LatencyObjective::new(0.99, Span::from_secs(seconds)).unwrap();
        let with_latency = |seconds| {
            let target = CapacityTarget::Latency(objective(seconds));
            Autoscaler::new(Checked { target, ..first.spec().clone() })
        };
        let latency = Some(LatencyCapacity::new(objective(2)));
        let checkpoint = Checkpoint { latency, ..checkpoint };
        assert!(with_latency(2).resume(checkpoint.clone()));
        assert!(!with_latency(3).resume(checkpoint));
    }

    /// A file may be damaged: whatever is still read as a checkpoint must be refused or lived with, and makes no load that is none.
    #[test]
    fn a_damaged_checkpoint_is_refused_or_lived_with() {
        let mut first = autoscaler(Weighing::Fitted(Fitting::default()));
        live(&mut first, 1..400);
        let text = serde_json::to_vec(&first.checkpoint()).unwrap();
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (mut read, mut resumed) = (0, 0);
        for _ in 0..3000 {
            let mut damaged = text.clone();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                match random(4) {
                    0 => damaged[at] = b"0123456789-.eE,[]{}\"ntf"[random(23)],
                    1 => drop(damaged.remove(at)),
                    2 => damaged.insert(at, b"0123456789-.,"[random(13)]),
                    _ => damaged[at] = b'0' + random(10) as u8,
                }
            }
            let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(&damaged) else { continue };
            read += 1;
            let mut second = autoscaler(Weighing::Fitted(Fitting::default()));
            resumed += i32::from(second.resume(checkpoint));
            for decision in live(&mut second, 400..408) {
                if let super::super::Outcome::Desired(desired) = decision.outcome {
                    let load = desired.load.metricsqps.get();
                    assert!(load.is_finite() && load >= 0.0 && (1..=50).contains(&desired.replicas));
                    assert!(desired.bound.get().is_finite());
                }
            }
        }
        assert!(read > 300 && resumed > 300, "{read} read, {resumed} resumed");
    }
}
