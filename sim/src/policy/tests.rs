//! Claims about what policies can be asked for.

use super::*;
use crate::history::History;
use crate::trace::{Trace, TraceOptions};

/// The target, or the error, of the policy that `text` describes, for five minutes of the built-in trace.
fn target(text: &str) -> Result<String, String> {
    let options = TraceOptions { window: "0s..5m".parse().unwrap(), ..TraceOptions::default() };
    let trace = Trace::shop(options);
    let profile = Profile::of(&trace).unwrap();
    let scenario = Scenario::with_share("70%".parse().unwrap());
    let fit = History::of(&trace, &profile, &scenario.cluster, scenario.share).unwrap();
    let basis = Basis::new(&profile, &fit.weights, &scenario, Time::EPOCH);
    build(text, &basis).map(|policy| policy.target().to_string()).map_err(|e| e.to_string())
}

#[test]
fn a_knob_sets_the_target() {
    for (text, expected) in [
        ("fixed:replicas=10", "10 pods"),
        ("hpa-cpu", "70 % CPU"),
        ("hpa-cpu:utilization=60", "60 % CPU"),
        ("hpa-qps:target=12.5", "12.5 requests/s"),
        ("hpa-metricsqps:target=20", "20.0 MetricsQPS"),
        ("plimsoll", "70 % CPU"),
        ("plimsoll-reactive:utilization=55", "55 % CPU"),
        ("plimsoll:objective=2", "70 % CPU"),
        ("plimsoll:utilization=60", "60 % CPU"),
        ("plimsoll: target = 20", "20.0 MetricsQPS"),
        ("plimsoll:target=0.01234", "0.0123 MetricsQPS"),
        ("plimsoll:target=0.9999", "1.00 MetricsQPS"),
        ("hpa-qps:target=12345.6", "12346 requests/s"),
    ] {
        assert_eq!(target(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn by_default_targets_have_the_same_number() {
    let number = |text: &str| target(text).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(number("hpa-qps"), number("hpa-metricsqps"));
    assert_eq!(number("hpa-cpu"), number("plimsoll"));
}

#[test]
fn what_cannot_be_asked_for_is_named_with_what_can() {
    for (text, expected) in [
        (
            "keda",
            "there is no policy \"keda\": the policies are fixed, hpa-cpu, hpa-qps, hpa-metricsqps, cpu-per-request, max-recent, \
             mean-recent, knative-kpa, cron, aws-like, phpa-like, crane-like, ahpa-like, plimsoll-reactive, plimsoll, clairvoyant",
        ),
        ("hpa-cpu:target=60", r#"hpa-cpu has no knob "target": it has utilization"#),
        ("hpa-cpu:utilization=0", "hpa-cpu: utilization=0: expected a percentage from 1 to 100"),
        ("fixed:replicas=x", "fixed: replicas=x: expected a number of pods, from 1 to 100000"),
        ("plimsoll:objective=50", "plimsoll: objective=50: expected a percentage from 0.01 to 20"),
        (
            "plimsoll-reactive:objective=1",
            r#"plimsoll-reactive has no knob "objective": it has target, utilization"#,
        ),
        ("plimsoll:target=NaN", "plimsoll: target=NaN: expected a number between 0.001 and 10^9"),
        ("plimsoll:target=1,target=2", "plimsoll: target is set twice: give it once"),
        ("fixed:10", r#""fixed:10" is not a policy: write NAME or NAME:key=value,key=value"#),
    ] {
        assert_eq!(target(text).unwrap_err(), expected);
    }
}
