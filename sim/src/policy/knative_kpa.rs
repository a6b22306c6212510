//! `knative-kpa`: Knative's autoscaler after its documentation and source (knative.dev, serving/pkg/autoscaler/scaling). Concurrency, or
//! requests per second, of all pods over a target per pod: the mean of a stable window of 60 s, or of a panic window of 6 s. It panics when
//! the panic window asks for twice the ready pods; until 60 s after that it takes the larger of both and removes nothing. In one step it
//! removes half of the ready pods at most and adds up to a thousand times as many. There is no HPA, and nothing is stabilized beyond
//! the windows.
//!
//! A real one ticks every 2 s and reads its queue proxies every second. Here it is evaluated at every reconcile, on scrapes: the stable
//! window holds some four of them, the panic window the newest one. So bursts are seen later than Knative would. The default target is what
//! a pod at the share has inside at the mean mix, were each request as quick as in an idle pod.

use std::collections::VecDeque;

use ::plimsoll::load::{Group, HistogramRates, Sample};
use ::plimsoll::units::{Rate, Span, Time};

use super::knobs::Knobs;
use super::{Basis, Policy, PolicyError, Seen, Target};

const STABLE: Span = Span::from_secs(60);
const PANIC: Span = Span::from_secs(6);
/// Of the ready pods, from which it panics.
const PANIC_THRESHOLD: f64 = 2.0;
const DOWN_RATE: f64 = 2.0;
const UP_RATE: f64 = 1000.0;

#[derive(Debug)]
pub(super) struct KnativeKpa {
    target: Target,
    bounds: (u32, u32),
    samples: VecDeque<(Time, f64)>,
    /// When it last had reason to panic, and the most pods that it wanted since it began.
    panic: Option<(Time, f64)>,
}

impl KnativeKpa {
    pub(super) fn new(knobs: &mut Knobs, basis: &Basis<'_>) -> Result<Self, PolicyError> {
        let metric = knobs.get("metric", "concurrency or rps", |metric: &String| {
            ["concurrency", "rps"].contains(&metric.as_str())
        })?;
        let given = knobs.positive("target")?;
        let target = if metric.as_deref() == Some("rps") {
            Target::Requests(given.unwrap_or_else(|| basis.requests_per_pod()))
        } else {
            Target::Concurrency(given.unwrap_or_else(|| basis.concurrency_per_pod()))
        };
        Ok(Self { target, bounds: basis.bounds, samples: VecDeque::new(), panic: None })
    }

    fn measure(&self, sample: &Sample) -> Option<f64> {
        let groups = || sample.groups.iter().filter(|group| group.tells());
        groups().next()?;
        let sum = |of: fn(&HistogramRates) -> Option<f64>| -> Option<f64> {
            groups().flat_map(|group| &group.histograms).map(of).sum()
        };
        match self.target {
            Target::Concurrency(_) => {
                // The mean over the window, as a queue proxy reports, from what was inside at both of its ends.
                let inside = |group: &Group| group.in_flight.map(|inside| inside.now - inside.change / 2.0);
                let inside = groups().map(inside).sum::<Option<f64>>();
                // By Little's law, where no gauge tells.
                inside.or_else(|| sum(|rates| rates.busy().map(Rate::get)))
            }
            _ => {
                let rejected: f64 = groups().filter_map(|group| group.rejected).map(Rate::get).sum();
                sum(|rates| Some(rates.total())).map(|completed| completed + rejected)
            }
        }
    }

    /// The mean of the samples of the last while, the newest one in any case.
    fn mean(&self, now: Time, window: Span) -> Option<f64> {
        let within = |(age, (at, _)): &(usize, &(Time, f64))| *age == 0 || *at + window > now;
        let loads = self.samples.iter().rev().enumerate().take_while(within).map(|(_, (_, load))| *load);
        let (sum, count) = loads.fold((0.0, 0u32), |(sum, count), load| (sum + load, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }
}

impl Policy for KnativeKpa {
    fn target(&self) -> Target {
        self.target
    }

    fn observe(&mut self, sample: &Sample) {
        if let Some(load) = self.measure(sample) {
            self.samples.push_back((sample.at, load));
        }
        while self.samples.front().is_some_and(|(at, _)| *at + STABLE <= sample.at) {
            self.samples.pop_front();
        }
    }

    fn reconcile(&mut self, now: Time, seen: &Seen<'_>) -> u32 {
        let windows = self.mean(now, STABLE).zip(self.mean(now, PANIC));
        let Some((stable, panic)) = windows else { return seen.replicas };
        let ready = seen.pods.iter().filter(|pod| !pod.deleted && pod.is_ready()).count().max(1) as f64;
        let within = |load: f64| {
            let pods = (load / self.target.value()).ceil();
            pods.clamp((ready / DOWN_RATE).floor(), (ready * UP_RATE).ceil())
        };
        let (stable, panic) = (within(stable), within(panic));
        if panic / ready >= PANIC_THRESHOLD {
            let most = self.panic.map_or(f64::from(seen.replicas), |(_, most)| most);
            self.panic = Some((now, most));
        } else if self.panic.is_some_and(|(since, _)| since + STABLE < now) {
            self.panic = None;
        }
        let wanted = match &mut self.panic {
            Some((_, most)) => {
                *most = most.max(panic).max(stable);
                *most
            }
            None => stable,
        };
        (wanted.min(f64::from(u32::MAX)) as u32).clamp(self.bounds.0, self.bounds.1)
    }
}
