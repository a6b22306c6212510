//! Holds `plimsoll::hpa` to the cases of `tests/data/hpa/conformance.json`, or of the file that
//! `PLIMSOLL_HPA_CASES` names: one trial per case, and before them a table of the groups.
//!
//! Everything that a case expects is compared. A key that is not known here fails its case.

#[path = "support/hpa_fixture.rs"]
mod fixture;
#[path = "support/hpa_schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use plimsoll::hpa::{
    Behavior, Change, Condition, EffectiveBehavior, Hpa, HpaSpec, Observed, PodMetric, PodMetrics, Queued,
    ReplicaCalculator, ScaleEvents, Selector, Settings, Tolerances, calculate_requests, change_within,
    enqueue, group_pods, limit, limit_with_behavior, scale_down_limit, scale_up_limit, stabilize,
    stabilize_with_behavior,
};
use plimsoll::units::{Quantity, Span, Time};

use fixture::*;
use schema::*;

type Checked = Result<(), String>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let results = match load() {
        Ok(file) => file.cases.iter().map(|case| (title(case), run(case, &file.defaults))).collect(),
        Err(error) => vec![(("file".to_owned(), "readable".to_owned()), Err(error))],
    };
    if !arguments.list {
        print_table(&results);
    }
    let trials = results.into_iter().map(|((group, name), result)| {
        Trial::test(format!("{group}/{name}"), move || result.map_err(Into::into))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn print_table(results: &[((String, String), Checked)]) {
    let mut groups = BTreeMap::<&str, [usize; 2]>::new();
    for ((group, _), result) in results {
        groups.entry(group).or_default()[usize::from(result.is_err())] += 1;
    }
    println!("{:<14}  passed  failed", "group");
    for (group, [passed, failed]) in &groups {
        println!("{group:<14}  {passed:>6}  {failed:>6}");
    }
    let total = |index: usize| groups.values().map(|counts| counts[index]).sum::<usize>();
    println!("{:<14}  {:>6}  {:>6}", "total", total(0), total(1));
}

fn run(case: &serde_json::Value, defaults: &Config) -> Checked {
    let Case { op, config, input, expect, .. } = parse(case)?;
    if expect.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err("the case expects nothing".into());
    }
    let settings = config.unwrap_or_default().over(defaults).settings();
    match op.as_str() {
        "calc" => calc(parse(&input)?, parse(&expect)?, &settings),
        "groupPods" => groups(parse(&input)?, parse(&expect)?, &settings),
        "calculateRequests" => requests(parse(&input)?, parse(&expect)?, &settings),
        "isWithin" => is_within(parse(&input)?, &parse(&expect)?),
        "convertRules" => convert_rules(&parse(&input)?, parse(&expect)?, &settings),
        "policyLimit" => policy_limit(parse(&input)?, &parse(&expect)?, &settings),
        "behaviorRate" => behavior_rate(parse(&input)?, parse(&expect)?, &settings),
        "stabilizeLegacy" => stabilize_legacy(parse(&input)?, &parse(&expect)?),
        "stabilizeBehavior" => stabilize_behavior(parse(&input)?, parse(&expect)?),
        "storeScaleEvent" => store_scale_event(parse(&input)?, parse(&expect)?, &settings),
        "reconcile" => reconcile(parse(&input)?, parse(&expect)?, settings),
        "enqueue" => enqueue_op(parse(&input)?, &parse(&expect)?, settings),
        "trace" => trace(parse(&input)?, &parse(&expect)?, settings),
        _ => Err(format!("unknown op {op}")),
    }
}

/// Compares what a case asserts; an absent field asserts nothing.
fn check<T: PartialEq + Debug>(what: &str, expected: Option<T>, got: T) -> Checked {
    match expected {
        Some(expected) if expected != got => Err(format!("{what}: expected {expected:?}, got {got:?}")),
        _ => Ok(()),
    }
}

/// The success that a case expects, or `None` if it expects, and got, the error.
fn outcome<T: Debug, E: ToString>(got: Result<T, E>, expected: Option<String>) -> Result<Option<T>, String> {
    match (got.map_err(|error| error.to_string()), expected) {
        (Ok(got), None) => Ok(Some(got)),
        (Err(error), Some(expected)) if error.contains(&expected) => Ok(None),
        (got, expected) => Err(format!("error: expected {expected:?}, got {got:?}")),
    }
}

fn calc(input: CalcIn, expect: CalcExpect, settings: &Settings) -> Checked {
    let resources = resources(std::slice::from_ref(&input.metric));
    let pods = pods(&input.pods, &resources)?;
    let feed = Feed {
        resource: input.pod_metrics.clone(),
        // The one list of samples serves whichever metric the case is about.
        custom: input.pod_metrics,
        object: input.object_value,
        external: input.external_values,
        age: input.metric_age,
        window: input.metric_window,
        errors: input.api_errors,
    };
    let own = Tolerances { up: settings.tolerance, down: settings.tolerance };
    let calculator = ReplicaCalculator {
        settings,
        tolerances: input.tolerances.map_or(own, Levels::tolerances),
        now: NOW,
        spec_replicas: input.current_replicas,
        status_replicas: input.status_replicas.unwrap_or(input.current_replicas),
        pods: &pods,
        metrics: &feed.samples(std::slice::from_ref(&input.metric))?,
    };
    if let Some(got) = outcome(calculator.propose(&input.metric.spec()?), expect.error)? {
        check("replicas", expect.replicas, got.replicas)?;
        check("utilization", expect.utilization.map(Some), got.utilization)?;
        check("usage", expect.usage, got.usage.as_milli())?;
    }
    Ok(())
}

fn groups(input: GroupsIn, expect: GroupsExpect, settings: &Settings) -> Checked {
    let pods = pods(&input.pods, &[])?;
    let metric = |sample: &SampleTime| PodMetric {
        value: Quantity::from_milli(1),
        timestamp: ago(sample.age),
        window: Span::from_secs_f64(sample.window),
    };
    let metrics: PodMetrics = input.pod_metrics.iter().map(|(pod, s)| (pod.clone(), metric(s))).collect();
    let got = group_pods(&pods, &metrics, Some(&input.resource), settings, NOW);
    let names = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect();
    check("readyPodCount", expect.ready_pod_count, got.ready)?;
    check("unready", expect.unready, names(got.unready))?;
    check("missing", expect.missing, names(got.missing))?;
    check("ignored", expect.ignored, names(got.ignored))
}

fn requests(input: RequestsIn, expect: RequestsExpect, settings: &Settings) -> Checked {
    let pods = pods(&input.pods, std::slice::from_ref(&input.resource))?;
    let container = Some(input.container.as_str()).filter(|name| !name.is_empty());
    let got = calculate_requests(&pods, &input.resource, container, settings);
    if let Some(got) = outcome(got, expect.error)? {
        let got = got.into_iter().map(|(pod, request)| (pod.to_owned(), request)).collect();
        check("requests", expect.requests, got)?;
    }
    Ok(())
}

fn is_within(input: WithinIn, expect: &WithinExpect) -> Checked {
    let tolerances = input.tolerances.tolerances();
    check("within", expect.within, tolerances.is_within(input.ratio))?;
    check("withinUpTo132", expect.within_up_to_132, tolerances.was_within_until_1_32(input.ratio))
}

fn convert_rules(input: &RulesIn, expect: LimitExpect, settings: &Settings) -> Checked {
    let RulesIn { current_replicas, desired_replicas, min_replicas, max_replicas } = *input;
    let got = limit(current_replicas, desired_replicas, min_replicas, max_replicas, settings);
    check("replicas", expect.replicas, got.replicas)?;
    check("reason", expect.reason, got.reason.to_string())
}

fn policy_limit(input: PolicyIn, expect: &PolicyExpect, settings: &Settings) -> Checked {
    let events = scale_events(&input.scale_up_events, &input.scale_down_events);
    let behavior = both_directions(input.rules).effective(settings.downscale_stabilization);
    let got = match input.direction {
        Direction::Up => scale_up_limit(input.current_replicas, &behavior.up, &events, NOW),
        Direction::Down => scale_down_limit(input.current_replicas, &behavior.down, &events, NOW),
    };
    check("limit", expect.limit, got)
}

fn behavior_rate(input: BehaviorIn, expect: LimitExpect, settings: &Settings) -> Checked {
    let behavior = input.behavior.effective(settings.downscale_stabilization);
    let events = scale_events(&input.scale_up_events, &input.scale_down_events);
    let (current, desired) = (input.current_replicas, input.desired_replicas);
    let got = limit_with_behavior(
        current,
        desired,
        input.min_replicas,
        input.max_replicas,
        &behavior,
        &events,
        NOW,
    );
    check("replicas", expect.replicas, got.replicas)?;
    check("reason", expect.reason, got.reason.to_string())
}

fn stabilize_legacy(input: StabilizeIn, expect: &StabilizeExpect) -> Checked {
    let mut entries = recommendations(&input.recommendations);
    let got = stabilize(&mut entries, input.desired_replicas, Span::from_secs_f64(input.window), NOW);
    check("replicas", expect.replicas, got)?;
    check("recommendationCount", expect.recommendation_count, entries.len())
}

fn stabilize_behavior(input: StabilizeBehaviorIn, expect: StabilizeBehaviorExpect) -> Checked {
    let mut behavior: EffectiveBehavior = Behavior::default().effective(Span::ZERO);
    behavior.up.window = Span::from_secs_f64(input.scale_up_window);
    behavior.down.window = Span::from_secs_f64(input.scale_down_window);
    let mut entries = recommendations(&input.recommendations);
    let (current, desired) = (input.current_replicas, input.desired_replicas);
    let got = stabilize_with_behavior(&mut entries, current, desired, &behavior, NOW);
    check("replicas", expect.replicas, got)?;
    let after = entries.iter().map(|entry| entry.replicas).collect();
    check("recommendationsAfter", expect.recommendations_after, after)
}

fn store_scale_event(input: StoreIn, expect: StoreExpect, settings: &Settings) -> Checked {
    let rules = input.rules.map(both_directions);
    let behavior = rules.map(|rules| rules.effective(settings.downscale_stabilization));
    let mut events = ScaleEvents::default();
    let (kept, new) = match input.direction {
        Direction::Up => (&mut events.up, 100 + input.change),
        Direction::Down => (&mut events.down, 100 - input.change),
    };
    kept.extend(input.events.iter().map(AgedChange::event));
    let before = change_within(kept, Span::from_secs_f64(input.check_period), NOW);
    check("changeBefore", expect.change_before, before)?;
    events.store(behavior.as_ref(), 100, new, NOW);
    let (kept, other) = match input.direction {
        Direction::Up => (events.up, events.down),
        Direction::Down => (events.down, events.up),
    };
    check("events of the other direction", Some(0), other.len())?;
    let after = kept.iter().map(|event| Kept { change: event.change, outdated: event.outdated }).collect();
    check("eventsAfter", expect.events_after, after)
}

fn reconcile(input: ReconcileIn, expect: ReconcileExpect, settings: Settings) -> Checked {
    let pods = pods(&input.pods, &resources(&input.metrics))?;
    let (get_error, update_error) =
        (input.api_errors.get_scale.clone(), input.api_errors.update_scale.clone());
    let samples = Feed {
        resource: input.pod_metrics,
        custom: input.custom_pod_metrics,
        object: input.object_value,
        external: input.external_values,
        age: input.metric_age,
        window: input.metric_window,
        errors: input.api_errors,
    }
    .samples(&input.metrics)?;
    let others: Vec<_> = input.other_hpas.into_iter().map(OtherHpaIn::other).collect();
    let observed = Observed {
        spec_replicas: input.spec_replicas,
        status_replicas: input.status_replicas,
        pods: &pods,
        selector: match input.scale_selector {
            Some(text) if text.is_empty() => Selector::Missing,
            Some(text) if input.selector_unparsable => Selector::Unparsable(text),
            _ => Selector::Valid,
        },
        others: &others,
        get_error,
        update_error,
    };
    let spec = HpaSpec {
        min_replicas: input.min_replicas,
        max_replicas: input.max_replicas,
        metrics: specs(&input.metrics)?,
        behavior: input.behavior,
    };
    let mut hpa = Hpa::new(spec, settings);
    hpa.memory.recommendations = input.state.recommendations.as_deref().map(recommendations);
    hpa.status.desired_replicas = input.spec_replicas;
    for condition in &input.initial_conditions {
        hpa.status.conditions.push(condition.condition()?);
    }

    let done = hpa.reconcile(NOW, &observed, &samples);
    check("specReplicas", expect.spec_replicas, done.replicas)?;
    check("scaleUpdated", expect.scale_updated, done.rescaled)?;
    let text = |c: &Condition| [c.kind.to_string(), c.status.to_string(), c.reason.to_string()];
    check("conditions", expect.conditions, done.conditions.iter().map(text).collect())?;
    check("error", expect.error, done.error.is_some())?;
    check("statusDesiredReplicas", expect.status_desired_replicas, hpa.status.desired_replicas)?;
    let first = done.proposals.iter().find_map(|proposal| proposal.as_ref().ok()?.utilization);
    check("utilization", expect.utilization.map(Some), first)?;
    let events: Vec<_> = done.events.iter().map(ToString::to_string).collect();
    for (wanted, texts) in [(true, expect.events_include), (false, expect.events_exclude)] {
        for text in texts {
            if events.iter().any(|event| event.contains(&text)) != wanted {
                return Err(format!("event {text:?}: expected {wanted}, got {events:?}"));
            }
        }
    }
    Ok(())
}

fn enqueue_op(input: EnqueueIn, expect: &EnqueueExpect, mut settings: Settings) -> Checked {
    settings.gates.hpa_generation = input.hpa_generation;
    let change = match input.event {
        ChangeIn::Create => Change::Created,
        ChangeIn::Update => Change::Updated { generation_changed: input.generation_changed },
    };
    // 1.37 as a number: the minor version is in the hundredths.
    let minor = ((input.version - 1.0) * 100.0).round() as u32;
    let got = match enqueue(minor, change, &settings) {
        Queued::Immediate => "immediate",
        Queued::RateLimited => "rate-limited",
    };
    check("queue", expect.queue.as_deref(), got)
}

fn trace(input: TraceIn, expect: &TraceExpect, settings: Settings) -> Checked {
    let spec = HpaSpec {
        min_replicas: input.min_replicas,
        max_replicas: input.max_replicas,
        metrics: specs(&input.metrics)?,
        behavior: input.behavior,
    };
    let mut hpa = Hpa::new(spec, settings);
    let (mut now, mut replicas, mut sizes): (Time, _, _) = (NOW, input.start_replicas, Vec::new());
    for step in &input.steps {
        let errors =
            ApiErrors { external: step.is_none().then(|| "outage".to_owned()), ..ApiErrors::default() };
        let feed = Feed { external: step.map(|value| vec![value]), errors, ..Feed::default() };
        let observed = Observed { spec_replicas: replicas, status_replicas: replicas, ..Observed::default() };
        replicas = hpa.reconcile(now, &observed, &feed.samples(&input.metrics)?).replicas;
        sizes.push(replicas);
        now += Span::from_secs_f64(input.sync_interval);
    }
    check("replicas", expect.replicas.as_ref(), &sizes)
}
