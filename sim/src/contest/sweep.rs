//! Which knob of a policy trades pods for shortage, and which of its settings a frontier tries.

use super::Field;

/// How the settings of a grid are spaced.
#[derive(Debug, Clone, Copy)]
enum Spacing {
    Linear,
    /// Each the same factor above the one before.
    Log,
    /// By the distance from 1, on a log scale.
    FromOne,
}

/// A knob and the range that is swept. `beside` is what is set beside it where the user did not: pods that carry all that they can, so that
/// the knob alone is the head-room.
struct Knob {
    name: &'static str,
    from: f64,
    to: f64,
    spacing: Spacing,
    beside: Option<&'static str>,
}

const FULL: Option<&str> = Some("utilization=100");

/// The knobs of a policy that a frontier may sweep, the one that it sweeps if none of them is set first.
fn knobs(policy: &str, field: &Field) -> Vec<Knob> {
    let knob = |name, from, to, spacing, beside| Knob { name, from, to, spacing, beside };
    let utilization = || knob("utilization", 20.0, 100.0, Spacing::Log, None);
    let per_pod = |full: f64| vec![knob("target", 0.2 * full, full, Spacing::Log, None)];
    let profile = field.profile();
    let cores = field.scenario().cluster.cores.get();
    match policy {
        "fixed" => {
            let pods = |work: f64| (work / cores).max(1.0);
            let (mean, peak) = (pods(profile.mean_cores().get()), pods(profile.peak_minute.get()));
            vec![knob("replicas", 0.8 * mean, 1.2 * peak + 1.0, Spacing::Linear, None)]
        }
        "hpa-qps" | "hpa-metricsqps" => per_pod(cores / profile.mean_cpu_seconds()),
        // Around what is inside a full pod, were each request as quick as in an idle one.
        "knative-kpa" => {
            let full = cores / profile.mean_cpu_seconds();
            let alone = full * (profile.mean_cpu_seconds() / cores.min(1.0) + profile.mean_io_seconds());
            vec![knob("target", 0.2 * alone, 3.0 * alone, Spacing::Log, None)]
        }
        "cron" | "crane-like" => vec![knob("margin", -0.2, 2.0, Spacing::Linear, FULL), utilization()],
        "ahpa-like" => vec![knob("quantile", 0.5, 0.9999, Spacing::FromOne, FULL), utilization()],
        "plimsoll" => vec![knob("objective", 0.01, 20.0, Spacing::Log, FULL), utilization()],
        _ => vec![utilization()],
    }
}

/// The settings of `policy` (`NAME` or `NAME:key=value,…`) that a frontier on `field` tries, `points` or fewer, by ascending value of the first of its
/// knobs that the text does not set: that knob's name, and each value with the policy that has it. None if it sets all of them.
pub fn settings(policy: &str, field: &Field, points: usize) -> Option<(&'static str, Vec<(f64, String)>)> {
    let (name, set) = policy.split_once(':').unwrap_or((policy, ""));
    let is_set = |knob: &str| set.split(',').any(|pair| pair.split('=').next().map(str::trim) == Some(knob));
    // A target in MetricsQPS takes the place of a utilization.
    let given = |knob: &Knob| is_set(knob.name) || (knob.name == "utilization" && is_set("target"));
    let knob = knobs(name, field).into_iter().find(|knob| !given(knob))?;
    let beside = knob.beside.filter(|_| !is_set("utilization") && !is_set("target"));
    let fixed: Vec<&str> = [set].into_iter().chain(beside).filter(|part| !part.is_empty()).collect();
    let mut all: Vec<(f64, String)> = Vec::new();
    for i in 0..points {
        let value = rounded(&knob, i as f64 / (points.max(2) - 1) as f64);
        if all.last().is_none_or(|(last, _)| *last < value) {
            let pairs = fixed.iter().map(|part| (*part).to_owned()).chain([format!("{}={value}", knob.name)]);
            all.push((value, format!("{name}:{}", pairs.collect::<Vec<_>>().join(","))));
        }
    }
    Some((knob.name, all))
}

/// The value at a share of the way, rounded to what the knob takes or people can read.
fn rounded(knob: &Knob, share: f64) -> f64 {
    let Knob { name, from, to, spacing, .. } = *knob;
    let log = |from: f64, to: f64| from * (to / from).powf(share);
    match (name, spacing) {
        ("utilization", _) => log(from, to).round(),
        ("replicas", _) => (from + (to - from) * share).round().max(1.0),
        (_, Spacing::Linear) => digits(from + (to - from) * share),
        (_, Spacing::Log) => digits(log(from, to)),
        (_, Spacing::FromOne) => 1.0 - digits(log(1.0 - from, 1.0 - to)),
    }
}

/// Four digits that count.
fn digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
