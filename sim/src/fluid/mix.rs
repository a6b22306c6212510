//! What a trace's requests are like, from a sample of them: how long they take, what CPU they need, and what each duration class weighs.

use plimsoll::load::{Classes, Edges, HistogramRates, Labels, ReadingError, Weights};
use plimsoll::units::{Cores, Rate, Span};

use crate::cluster::LE;
use crate::history::{ByClass, HistoryError};
use crate::latency::Latencies;
use crate::scenario::Scenario;
use crate::series::Series;
use crate::trace::{Trace, TraceError, TraceOptions};

/// Requests that are looked at, of longer traces any one as likely as any other.
const SAMPLED: f64 = 200_000.0;

/// Utilizations of a pod for which the durations are known: 0, 0.05, … 0.95.
const LEVELS: usize = 20;

/// Utilization above which a pod's requests take no longer: what is beyond is a queue of its own.
const KNEE: f64 = 0.95;

/// The mix of a trace, the same all the time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mix {
    /// By utilization, the share of the requests that show a duration in each class of [`LE`].
    shares: Vec<Vec<f64>>,
    /// Most CPU that a pod may use.
    cores: Cores,
    pub(super) weights: Weights,
    /// CPU that a request needs on average, in core-seconds.
    pub(super) cpu_s: f64,
    /// Mean square of that CPU, relative to the square of its mean: at least 1.
    pub(super) spread: f64,
    /// What it waits for beside, in seconds.
    pub(super) io_s: f64,
    pub(super) durations: Latencies,
}

impl Mix {
    /// Of the trace that `series` counts, read with `options` but for their rate scale. Classes weigh what requests need that show their duration in a
    /// pod at the share, as in the event engine.
    pub(super) fn of(
        series: &Series,
        options: &TraceOptions,
        scenario: &Scenario,
    ) -> Result<Self, HistoryError> {
        let cores = scenario.cluster.usable();
        let requests: f64 = series.counts.iter().sum();
        let rate_scale = (SAMPLED / requests.max(1.0)).min(1.0);
        let trace = Trace::open(&series.name, TraceOptions { rate_scale, ..options.clone() })?;
        let busy = |level: usize| level as f64 / LEVELS as f64;
        let mut levels: Vec<ByClass> = (0..LEVELS).map(|_| ByClass::default()).collect();
        let (mut at_share, mut durations) = (ByClass::default(), Latencies::default());
        let usual =
            slowdown(scenario.share.as_fraction() * scenario.cluster.cores.get() / cores.get(), cores);
        let (mut count, mut cpu_s, mut square, mut io_s) = (0u32, 0.0, 0.0, 0.0);
        for request in trace.arrivals()? {
            let request = request?;
            let shown =
                |slowdown: f64| Span::from_secs_f64(request.cpu.as_secs_f64() * slowdown) + request.io;
            at_share.add(shown(usual), request.cpu);
            for (level, classes) in levels.iter_mut().enumerate() {
                classes.add(shown(slowdown(busy(level), cores)), request.cpu);
            }
            durations.add(request.intrinsic());
            cpu_s += request.cpu.as_secs_f64();
            square += request.cpu.as_secs_f64().powi(2);
            io_s += request.io.as_secs_f64();
            count += 1;
        }
        if count == 0 {
            let window = options.window.to_string();
            return Err(TraceError::Empty { trace: trace.to_string(), window }.into());
        }
        if cpu_s <= 0.0 {
            return Err(HistoryError::NoCpu(trace.to_string()));
        }
        let weights = Weights::new(Classes::by_duration(Edges::new(LE.to_vec())?), &at_share.weights())?;
        let mean = |sum: f64| sum / f64::from(count);
        Ok(Self {
            shares: levels.iter().map(ByClass::shares).collect(),
            cores,
            weights,
            cpu_s: mean(cpu_s),
            spread: mean(square) / mean(cpu_s).powi(2),
            io_s: mean(io_s),
            durations,
        })
    }

    /// How long a request is in a pod that is `busy`, 0 to 1, on average: in seconds.
    pub(super) fn sojourn_s(&self, busy: f64) -> f64 {
        self.cpu_s * slowdown(busy, self.cores) + self.io_s
    }

    /// So many requests answered per second by pods that are `busy`, by the duration that they show.
    pub(super) fn histogram(&self, requests: f64, busy: f64) -> Result<HistogramRates, ReadingError> {
        let level = ((busy * LEVELS as f64).round() as usize).min(LEVELS - 1);
        let rates = self.shares[level].iter().map(|share| Rate::saturating(share * requests)).collect();
        let inside = Rate::saturating(requests * self.sojourn_s(busy));
        HistogramRates::new(Labels::new(), LE.to_vec(), rates, Some(inside))
    }
}

/// How many times its CPU time a request takes for it in a pod that shares its cores evenly, by Sakasegawa's approximation of the wait in a queue with
/// several servers; with one core 1/(1 − busy), exactly. A request uses one core at most.
fn slowdown(busy: f64, cores: Cores) -> f64 {
    let busy = busy.clamp(0.0, KNEE);
    let servers = cores.get().max(1.0);
    let wait = busy.powf((2.0 * (servers + 1.0)).sqrt() - 1.0) / (servers * (1.0 - busy));
    (1.0 + wait) / cores.get().min(1.0)
}
