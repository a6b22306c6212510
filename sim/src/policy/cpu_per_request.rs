//! `cpu-per-request`: requests per second times the CPU that a request used lately, over a utilization: the baseline that needs no
//! duration classes and that weights have to beat. Arrivals are counted as Plimsoll counts them, queued and rejected ones
//! included. The cost is an exponential mean with a half-life of five minutes. A congested sample may only raise it: what waits there is
//! counted and has not used its CPU, and yet a mix that became heavier shows first in pods that cannot keep up with it.

use ::plimsoll::load::{Load, Sample};
use ::plimsoll::units::{Span, Time};

use super::planned::{Plan, TargetPod};

const HALF_LIFE: Span = Span::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct CpuPerRequest {
    /// CPU and requests per second, both as exponential means, and when they were last moved.
    means: Option<(f64, f64, Time)>,
}

impl CpuPerRequest {
    fn learn(&mut self, at: Time, cpu: f64, requests: f64) {
        self.means = Some(match self.means {
            None => (cpu, requests, at),
            Some((mean_cpu, mean_requests, before)) => {
                let gain = 1.0 - (-(at - before).as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
                let moved = |mean: f64, value: f64| mean + gain * (value - mean);
                (moved(mean_cpu, cpu), moved(mean_requests, requests), at)
            }
        });
    }
}

impl Plan for CpuPerRequest {
    fn measure(&mut self, load: &Load, sample: &Sample, pod: TargetPod) -> Option<f64> {
        let cpu = sample.groups.iter().filter(|group| !group.silent).map(|group| group.cpu);
        let cpu = cpu.map(|cpu| cpu.map(|cpu| cpu.get())).sum::<Option<f64>>()?;
        let completed = load.completed.get();
        let is_dearer = self.means.is_none_or(|(mean, requests, _)| cpu * requests > mean * completed);
        if load.congestion.is_empty() || is_dearer {
            self.learn(sample.at, cpu, completed);
        }
        let (cpu, requests, _) = self.means?;
        (requests > 0.0).then(|| load.offered.get() * cpu / requests / pod.cores)
    }

    fn wanted(&mut self, _: Time, newest: Option<f64>) -> Option<f64> {
        newest
    }
}
