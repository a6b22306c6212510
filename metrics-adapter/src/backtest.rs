//! A backtest from a desk: the past that a metrics server knows of a workload, and what each way of scaling would have made of it.

use std::fmt::{self, Write};

use anyhow::{Context, bail};
use plimsoll::load::{Classes, Edges, Weighing, Weights};
use plimsoll::scale::{Autoscaler, PastLoad};
use plimsoll::spec::{CapacityTarget, Checked, ForecastWish, Mode, Source, Spec, Weights as SpecWeights};
use plimsoll::units::{MetricsQps, Span, Time};
use plimsoll_sim::fluid::{Backtest, Way, backtest};
use serde::Serialize;

use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::collect::{Past, PodNames, Query};
use crate::config::{Servers, Wish};

/// Length of a step.
const STEP: Span = Span::from_secs(60);

/// What to suppose, where an object does not say or nobody has measured it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suppose {
    /// How far back to look.
    pub length: Span,
    /// Pods that there are now; none for `maxReplicas`.
    pub replicas: Option<u32>,
    /// What one pod carries, where the object does not give it: in plain requests per second where weights are not given either.
    pub per_pod: Option<f64>,
    /// From a decision until new pods serve, where the object does not pin it.
    pub lead: Span,
    /// Price of a pod-hour.
    pub price: Option<f64>,
}

/// What came of one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    namespace: String,
    name: String,
    /// Requests are weighed by the object; else each counts one.
    is_weighed: bool,
    per_pod: f64,
    lead_seconds: f64,
    replicas: u32,
    price_per_pod_hour: Option<f64>,
    backtest: Backtest,
}

/// Reads the object's past and runs every way over it.
///
/// # Errors
/// When the object does not say what is needed, the server does not tell, or it knows too little.
pub async fn run(
    key: &ObjectKey,
    wish: &Wish,
    servers: &Servers,
    suppose: Suppose,
    clock: &Clock,
) -> anyhow::Result<Report> {
    let spec = &wish.spec;
    let Source::Prometheus(wanted) = &spec.load.source else {
        bail!(
            "{key} reads its pods' own pages, which know no past: give it a source: {{prometheus: {{ref: main}}}} for this"
        );
    };
    let endpoint = servers.get(&wanted.reference);
    let endpoint = endpoint.with_context(|| {
        format!("{key} names the server {:?}: give --prometheus {0}=URL", wanted.reference)
    })?;
    let is_weighed = matches!(spec.load.weights, SpecWeights::Fixed(_));
    let per_pod = match (&wish.checked.target, suppose.per_pod) {
        (_, Some(per_pod)) => MetricsQps::new(per_pod).ok().filter(|per_pod| per_pod.get() > 0.0),
        (CapacityTarget::Given(per_pod), None) => Some(*per_pod),
        _ => None,
    };
    let per_pod = per_pod.with_context(|| {
        let unit = if is_weighed { "MetricsQPS" } else { "requests per second" };
        format!(
            "what a pod of {key} carries is learned from its CPU in the cluster, where status.backtest will tell: from here give --per-pod, \
             in {unit}"
        )
    })?;
    // As it would look ahead, whatever mode it is in.
    let ahead = Spec { mode: Mode::Auto, ..spec.clone() }.check()?;
    let pinned = ahead.forecast.as_ref().and_then(|forecast| forecast.lead_time);
    let lead = pinned.unwrap_or(suppose.lead);
    let forecast = ahead.forecast.clone().map(|wish| ForecastWish { lead_time: Some(lead), ..wish });
    let weighing = if is_weighed { ahead.weighing.clone() } else { Weighing::Given(alike()?) };
    let checked =
        Checked { weighing, target: CapacityTarget::Given(per_pod), forecast, interval: STEP, ..ahead };
    let names = PodNames::Of(spec.scale_target_ref.clone());
    let query = Query::new(&spec.load);
    let past = Past::new(key.namespace.clone(), query, wanted.window, endpoint, names, clock.clone());
    let now = clock.now();
    let end = now - Span::from_nanos((now - Time::EPOCH).as_nanos() % STEP.as_nanos());
    let (samples, failed) = past.samples(end - suppose.length, end, STEP).await;
    if samples.is_empty() {
        if let Some(error) = failed {
            return Err(error).with_context(|| format!("{key}: the server {}", wanted.reference));
        }
        bail!(
            "{key}: the server {} knows no {} of its pods: plimsoll-adapter preflight says more",
            wanted.reference,
            spec.load.histogram
        );
    }
    let replicas = suppose.replicas.unwrap_or(spec.max_replicas);
    let mut autoscaler = Autoscaler::new(checked);
    // The newest sample first: history is weighed by what the present is like.
    let newest = samples.last().cloned();
    if let Some(newest) = newest {
        autoscaler.observe(&newest).context("the newest sample")?;
    }
    autoscaler.remember(&samples);
    let lived = autoscaler.past_load();
    let lived = lived.map(|lived| PastLoad { replicas: Some(replicas), lead, ..lived });
    let told = match lived {
        Some(lived) => tokio::task::spawn_blocking(move || backtest(&lived)).await.context("the backtest")?,
        None => None,
    };
    let backtest = told.with_context(|| {
        format!("{key}: the server {} knows less than a day and a half of its load", wanted.reference)
    })?;
    let ObjectKey { namespace, name } = key.clone();
    Ok(Report {
        namespace,
        name,
        is_weighed,
        per_pod: per_pod.get(),
        lead_seconds: lead.as_secs_f64(),
        replicas,
        price_per_pod_hour: suppose.price,
        backtest,
    })
}

/// Every request counts one.
fn alike() -> anyhow::Result<Weights> {
    let classes = Classes::by_duration(Edges::new(vec![])?);
    Ok(Weights::new(classes, &[1.0])?)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, per_pod, replicas, price_per_pod_hour: price, backtest, .. } = self;
        let days = backtest.hours / 24.0;
        let (from, to) = (backtest.from.to_rfc3339_secs(), backtest.to.to_rfc3339_secs());
        writeln!(
            f,
            "{namespace}/{name}: what each way would have made of {days:.1} days, from {from} to {to}\n"
        )?;
        let cost = if price.is_some() { "cost" } else { "" };
        writeln!(
            f,
            "  {:<38}  {:>9}  {cost:>9}  {:>13}  {:>9}",
            "", "pod-hours", "minutes short", "most pods"
        )?;
        for Way { kind, pod_hours, short_minutes, most, .. } in &backtest.ways {
            let cost = price.map(|price| format!("{:.2}", price * pod_hours)).unwrap_or_default();
            writeln!(
                f,
                "  {:<38}  {pod_hours:>9.0}  {cost:>9}  {short_minutes:>13.0}  {most:>9}",
                kind.name()
            )?;
        }
        let unit = if self.is_weighed { "MetricsQPS" } else { "requests a second, whatever they cost" };
        let lead = Span::from_secs(self.lead_seconds.round() as i64);
        f.write_char('\n')?;
        writeln!(
            f,
            "A pod is supposed to carry {per_pod} {unit}, and to serve {lead} after it was decided; \"now\" are {replicas} pods."
        )?;
        f.write_str(
            "Short is a minute whose load is above what the ready pods should carry: they are busier than meant, not yet overloaded. What was\n\
             served is taken for what was asked for. Queues, latency and what happens within a minute are not seen. The first day is for learning.\n",
        )
    }
}
