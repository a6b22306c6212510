//! The schema of the conformance file. Values and requests are in thousandths, times are ages in seconds.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll::hpa::{Behavior, ConditionStatus, Phase, ScalingRules, Settings};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/hpa/conformance.json");

/// The file of cases, each still to be parsed: an unknown key is to fail its case, not the file.
pub(crate) fn load() -> Result<CaseFile, String> {
    let path = std::env::var("PLIMSOLL_HPA_CASES").unwrap_or_else(|_| FILE.to_owned());
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let value = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let file: CaseFile = parse(&value)?;
    if file.schema_version != 1 {
        return Err(format!("{path}: schema version {}", file.schema_version));
    }
    if file.production_defaults.settings() != Settings::default() {
        return Err("the production settings of the file are not the library's".into());
    }
    Ok(file)
}

/// Group and name of a case, also of one that cannot be parsed.
pub(crate) fn title(case: &Value) -> (String, String) {
    let text = |key| case.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    (text("group"), text("name"))
}

/// `value` as a `T`, without a single key left over, however deep. `deny_unknown_fields` alone would not reach
/// into the API types, which have to tolerate fields of newer releases.
pub(crate) fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let mut unknown = Vec::new();
    let parsed = serde_ignored::deserialize(value, |path| unknown.push(path.to_string()));
    let parsed = parsed.map_err(|error| error.to_string())?;
    if unknown.is_empty() { Ok(parsed) } else { Err(format!("unknown keys: {}", unknown.join(", "))) }
}

/// Structs of the file: camelCase, closed.
macro_rules! schema {
    ($(#[$attribute:meta])* struct $name:ident { $($(#[$of_field:meta])* $field:ident: $type:ty,)* } $($rest:tt)*) => {
        $(#[$attribute])*
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(crate) struct $name { $($(#[$of_field])* pub(crate) $field: $type,)* }
        schema! { $($rest)* }
    };
    () => {};
}

schema! {
    struct CaseFile {
        schema_version: u32,
        #[expect(dead_code, reason = "prose")]
        about: String,
        defaults: Config,
        production_defaults: Config,
        cases: Vec<Value>,
    }
    #[expect(dead_code, reason = "where a case comes from is for people")]
    struct Case {
        name: String,
        group: String,
        op: String,
        origin: String,
        source: String,
        since: Option<String>,
        note: Option<String>,
        config: Option<Config>,
        #[serde(rename = "in")]
        input: Value,
        expect: Value,
    }
    #[derive(Default)]
    struct Config {
        tolerance: Option<f64>,
        cpu_init: Option<f64>,
        readiness_delay: Option<f64>,
        downscale_stabilization: Option<f64>,
        scale_up_limit_factor: Option<f64>,
        scale_up_limit_minimum: Option<f64>,
        sync_period: Option<f64>,
        #[serde(rename = "HPAScaleToZero")]
        scale_to_zero: Option<bool>,
        #[serde(rename = "HPAConfigurableTolerance")]
        configurable_tolerance: Option<bool>,
        #[serde(rename = "PodLevelResources")]
        pod_level_resources: Option<bool>,
    }

    struct CalcIn {
        metric: MetricIn,
        current_replicas: i32,
        status_replicas: Option<i32>,
        #[serde(default)]
        pods: Vec<PodIn>,
        #[serde(default)]
        pod_metrics: BTreeMap<String, Level>,
        object_value: Option<i64>,
        external_values: Option<Vec<i64>>,
        #[serde(default = "long_ago")]
        metric_age: f64,
        #[serde(default = "a_minute")]
        metric_window: f64,
        tolerances: Option<Levels>,
        #[serde(default)]
        api_errors: ApiErrors,
    }
    struct CalcExpect { replicas: Option<i32>, utilization: Option<i32>, usage: Option<i64>, error: Option<String>, }
    struct Levels { up: f64, down: f64, }
    struct MetricIn {
        r#type: String,
        target_type: Option<TargetType>,
        target: Option<i64>,
        resource: Option<String>,
        container: Option<String>,
        name: Option<String>,
        object_kind: Option<String>,
    }
    struct PodIn {
        name: String,
        phase: Option<PhaseIn>,
        ready: Option<StatusIn>,
        start_age: Option<f64>,
        transition_age: Option<f64>,
        #[serde(default)]
        deleted: bool,
        #[serde(default)]
        requests: BTreeMap<String, Option<i64>>,
        pod_request: Option<i64>,
        #[serde(default)]
        init_containers: BTreeMap<String, InitContainer>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    }
    struct InitContainer { request: Option<i64>, restartable: bool, }
    #[derive(Default)]
    struct ApiErrors {
        resource: Option<String>,
        custom: Option<String>,
        external: Option<String>,
        get_scale: Option<String>,
        update_scale: Option<String>,
    }

    struct GroupsIn { resource: String, pods: Vec<PodIn>, pod_metrics: BTreeMap<String, SampleTime>, }
    struct SampleTime { age: f64, window: f64, }
    struct GroupsExpect {
        ready_pod_count: Option<usize>,
        unready: Option<BTreeSet<String>>,
        missing: Option<BTreeSet<String>>,
        ignored: Option<BTreeSet<String>>,
    }
    struct RequestsIn { resource: String, container: String, pods: Vec<PodIn>, }
    struct RequestsExpect { requests: Option<BTreeMap<String, i64>>, error: Option<String>, }
    struct WithinIn { tolerances: Levels, ratio: f64, }
    struct WithinExpect { within: Option<bool>, within_up_to_132: Option<bool>, }

    struct RulesIn { current_replicas: i32, desired_replicas: i32, min_replicas: i32, max_replicas: i32, }
    struct LimitExpect { replicas: Option<i32>, reason: Option<String>, }
    struct PolicyIn {
        direction: Direction,
        current_replicas: i32,
        rules: ScalingRules,
        #[serde(default)]
        scale_up_events: Vec<AgedChange>,
        #[serde(default)]
        scale_down_events: Vec<AgedChange>,
    }
    struct AgedChange { change: i32, age: f64, }
    struct PolicyExpect { limit: Option<i32>, }
    struct BehaviorIn {
        current_replicas: i32,
        desired_replicas: i32,
        min_replicas: i32,
        max_replicas: i32,
        behavior: Behavior,
        #[serde(default)]
        scale_up_events: Vec<AgedChange>,
        #[serde(default)]
        scale_down_events: Vec<AgedChange>,
    }
    struct StabilizeIn { recommendations: Vec<(i32, f64)>, desired_replicas: i32, window: f64, }
    struct StabilizeExpect { replicas: Option<i32>, recommendation_count: Option<usize>, }
    struct StabilizeBehaviorIn {
        recommendations: Vec<(i32, f64)>,
        current_replicas: i32,
        desired_replicas: i32,
        scale_up_window: f64,
        scale_down_window: f64,
    }
    struct StabilizeBehaviorExpect { replicas: Option<i32>, recommendations_after: Option<Vec<i32>>, }
    struct StoreIn {
        direction: Direction,
        events: Vec<AgedChange>,
        rules: Option<ScalingRules>,
        change: i32,
        check_period: f64,
    }
    struct StoreExpect { change_before: Option<i32>, events_after: Option<Vec<Kept>>, }
    #[derive(Debug, PartialEq)]
    struct Kept { change: i32, outdated: bool, }

    struct ReconcileIn {
        min_replicas: Option<i32>,
        max_replicas: i32,
        spec_replicas: i32,
        status_replicas: i32,
        metrics: Vec<MetricIn>,
        pods: Vec<PodIn>,
        #[serde(default)]
        pod_metrics: BTreeMap<String, Level>,
        #[serde(default)]
        custom_pod_metrics: BTreeMap<String, Level>,
        object_value: Option<i64>,
        external_values: Option<Vec<i64>>,
        metric_age: f64,
        metric_window: f64,
        behavior: Option<Behavior>,
        state: StateIn,
        #[serde(default)]
        initial_conditions: Vec<ConditionIn>,
        #[serde(default)]
        api_errors: ApiErrors,
        scale_selector: Option<String>,
        #[serde(default)]
        selector_unparsable: bool,
        #[serde(default, rename = "otherHPAs")]
        other_hpas: Vec<OtherHpaIn>,
    }
    struct StateIn { recommendations: Option<Vec<(i32, f64)>>, }
    struct ConditionIn { r#type: String, status: StatusIn, reason: String, }
    struct OtherHpaIn { name: String, selector: BTreeMap<String, String>, }
    struct ReconcileExpect {
        spec_replicas: Option<i32>,
        scale_updated: Option<bool>,
        conditions: Option<Vec<[String; 3]>>,
        error: Option<bool>,
        utilization: Option<i32>,
        status_desired_replicas: Option<i32>,
        #[serde(default)]
        events_include: Vec<String>,
        #[serde(default)]
        events_exclude: Vec<String>,
    }
    struct EnqueueIn {
        version: f64,
        event: ChangeIn,
        #[serde(default, rename = "HPAGeneration")]
        hpa_generation: bool,
        #[serde(default)]
        generation_changed: bool,
    }
    struct EnqueueExpect { queue: Option<String>, }
    struct TraceIn {
        start_replicas: i32,
        min_replicas: Option<i32>,
        max_replicas: i32,
        metrics: Vec<MetricIn>,
        behavior: Option<Behavior>,
        sync_interval: f64,
        steps: Vec<Option<i64>>,
    }
    struct TraceExpect { replicas: Option<Vec<i32>>, }
}

fn long_ago() -> f64 {
    1e9
}

fn a_minute() -> f64 {
    60.0
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) enum TargetType {
    Utilization,
    Value,
    AverageValue,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Up,
    Down,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeIn {
    Create,
    Update,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(remote = "Phase")]
enum PhaseDef {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) struct PhaseIn(#[serde(with = "PhaseDef")] pub(crate) Phase);

#[derive(Clone, Copy, Deserialize)]
pub(crate) enum StatusIn {
    True,
    False,
}

impl From<StatusIn> for ConditionStatus {
    fn from(status: StatusIn) -> Self {
        Self::from(matches!(status, StatusIn::True))
    }
}

/// A sample: of the pod, or of each of its containers.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Level {
    Pod(i64),
    Containers(BTreeMap<String, i64>),
}
