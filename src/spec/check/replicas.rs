//! What concerns how many replicas there may be and how they move: bounds, schedules, behaviour, and a load that is missing.

use std::collections::BTreeSet;

use super::super::schedules::Schedule;
use super::super::{Fallback, Schedule as Written, Spec};
use super::Wrong;
use crate::forecast::local_time::Zone;
use crate::units::Span;

/// Most schedules of one object.
const MOST_SCHEDULES: usize = 32;

const MINUTE: Span = Span::from_secs(60);
const DAY: Span = Span::from_secs(86_400);

impl Spec {
    pub(super) fn check_bounds(&self, wrong: &mut Wrong) {
        if self.min_replicas == 0 {
            wrong.add("spec.minReplicas", AT_LEAST_ONE);
        }
        if self.max_replicas < self.min_replicas.max(1) {
            wrong.add("spec.maxReplicas", format!("must be at least minReplicas, {}", self.min_replicas));
        }
        // The HPA counts in int32.
        if i32::try_from(self.max_replicas).is_err() {
            wrong.add("spec.maxReplicas", "must be below 2^31");
        }
        for (field, value) in [
            ("spec.scaleTargetRef.apiVersion", &self.scale_target_ref.api_version),
            ("spec.scaleTargetRef.kind", &self.scale_target_ref.kind),
            ("spec.scaleTargetRef.name", &self.scale_target_ref.name),
        ] {
            // They become parts of the API server's paths, under the adapter's own rights.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            let is_version = field.ends_with("apiVersion") && value.matches('/').count() <= 1;
            if value.is_empty() {
                wrong.add(field, "must not be empty");
            } else if !value.chars().all(|c| is_plain(c) || (c == '/' && is_version)) || value.contains("..")
            {
                wrong.add(field, "must be letters, digits, '-' and '.', such as apps/v1, Deployment and the workload's name");
            }
        }
    }

    /// The schedules that make sense; those that do not are named.
    pub(super) fn check_schedules(&self, wrong: &mut Wrong) -> Vec<Schedule> {
        if self.schedules.len() > MOST_SCHEDULES {
            wrong.add("spec.schedules", format!("must not be more than {MOST_SCHEDULES}"));
            return Vec::new();
        }
        let mut names = BTreeSet::new();
        let mut checked = Vec::with_capacity(self.schedules.len());
        for (index, written) in self.schedules.iter().enumerate() {
            let field = format!("spec.schedules.{index}");
            if written.name.is_empty() || !names.insert(written.name.as_str()) {
                wrong.add(format!("{field}.name"), "must be a name that no other schedule has");
            }
            if !(MINUTE..=DAY * 7).contains(&written.duration) {
                wrong.add(
                    format!("{field}.duration"),
                    format!("{} is not between 1m and 7d", written.duration),
                );
            }
            self.check_scheduled_bounds(&field, written, wrong);
            let zone: Option<Zone> = written
                .time_zone
                .parse()
                .map_err(|error| wrong.add(format!("{field}.timeZone"), format!("{error}")))
                .ok();
            // Wrong fields are wrong on every clock.
            let zone = zone.unwrap_or(Zone::UTC);
            match Schedule::new(written, zone) {
                Ok(schedule) => checked.push(schedule),
                Err(error) => wrong.add(format!("{field}.cron"), error.to_string()),
            }
        }
        checked
    }

    /// Each schedule must make sense alone, with the object's own bound where it gives none.
    fn check_scheduled_bounds(&self, field: &str, written: &Written, wrong: &mut Wrong) {
        let Written { min_replicas, max_replicas, .. } = *written;
        let add =
            |wrong: &mut Wrong, bound: &str, message: String| wrong.add(format!("{field}.{bound}"), message);
        match (min_replicas, max_replicas) {
            (None, None) => add(wrong, "minReplicas", "must be given, or maxReplicas, or both".into()),
            (Some(0), _) => add(wrong, "minReplicas", AT_LEAST_ONE.into()),
            (_, Some(max)) if i32::try_from(max).is_err() => {
                add(wrong, "maxReplicas", "must be below 2^31".into());
            }
            (Some(min), Some(max)) if max < min => {
                add(wrong, "maxReplicas", format!("must be at least minReplicas, {min}"));
            }
            (Some(min), None) if min > self.max_replicas => {
                let message =
                    format!("is above the object's maxReplicas, {}: give maxReplicas too", self.max_replicas);
                add(wrong, "minReplicas", message);
            }
            (None, Some(max)) if max < self.min_replicas => {
                let message =
                    format!("is below the object's minReplicas, {}: give minReplicas too", self.min_replicas);
                add(wrong, "maxReplicas", message);
            }
            _ => {}
        }
    }

    /// What the API server would refuse in an HPA.
    pub(super) fn check_behavior(&self, wrong: &mut Wrong) {
        for error in self.behavior.iter().flat_map(crate::hpa::Behavior::problems) {
            // A list's index is a field of its own in all paths here.
            wrong.add(error.field.replace('[', ".").replace(']', ""), error.rule);
        }
    }

    pub(super) fn check_missing(&self, wrong: &mut Wrong) {
        let Some(missing) = &self.on_missing_metrics else { return };
        if !(MINUTE..=DAY).contains(&missing.hold_for) {
            let message = format!("{} is not between 1m and 24h", missing.hold_for);
            wrong.add("spec.onMissingMetrics.holdFor", message);
        }
        let (field, replicas) = match missing.then {
            Fallback::AtLeast(replicas) => ("atLeast", replicas),
            Fallback::Exactly(replicas) => ("exactly", replicas),
        };
        let scheduled = self.schedules.iter().filter_map(|schedule| schedule.max_replicas);
        let most = scheduled.fold(self.max_replicas, u32::max);
        if !(1..=most).contains(&replicas) {
            let message = format!("{replicas} is not between 1 and the largest maxReplicas, {most}");
            wrong.add(format!("spec.onMissingMetrics.then.{field}"), message);
        }
    }
}

const AT_LEAST_ONE: &str = "must be at least 1: a workload at 0 has no load to measure";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::refused;

    const NONE: [&str; 0] = [];

    fn schedule(more: Value) -> Value {
        let mut schedule = json!({
            "name": "morning", "cron": "0 8 * * 1-5", "timeZone": "Europe/Berlin", "duration": "4h", "minReplicas": 5,
        });
        for (key, value) in more.as_object().unwrap() {
            schedule[key] = value.clone();
        }
        schedule
    }

    #[test]
    fn every_wrong_field_of_a_schedule_is_named() {
        let wrong =
            |more| refused(&["schedules"], json!([schedule(json!({"name": "other"})), schedule(more)]));
        assert_eq!(wrong(json!({})), NONE);
        assert_eq!(wrong(json!({"name": "other"})), ["spec.schedules.1.name"]);
        assert_eq!(wrong(json!({"name": ""})), ["spec.schedules.1.name"]);
        assert_eq!(wrong(json!({"cron": "0 8 * *"})), ["spec.schedules.1.cron"]);
        assert_eq!(wrong(json!({"cron": "0 25 * * *"})), ["spec.schedules.1.cron"]);
        assert_eq!(wrong(json!({"cron": "0 0 31 4 *"})), ["spec.schedules.1.cron"]);
        assert_eq!(wrong(json!({"timeZone": "Europe/Berlln"})), ["spec.schedules.1.timeZone"]);
        for duration in ["59s", "169h", "-1h"] {
            assert_eq!(wrong(json!({"duration": duration})), ["spec.schedules.1.duration"], "{duration}");
        }
        assert_eq!(
            wrong(json!({"timeZone": "Mars/Olympus", "cron": "", "duration": "1s"})),
            ["spec.schedules.1.duration", "spec.schedules.1.timeZone", "spec.schedules.1.cron"]
        );
        assert_eq!(refused(&["schedules"], json!(vec![schedule(json!({})); 101])), ["spec.schedules"]);
    }

    /// The object has 1 to 10.
    #[test]
    fn the_bounds_of_a_schedule_make_sense_alone() {
        let wrong = |min: Value, max: Value| {
            refused(&["schedules"], json!([schedule(json!({"minReplicas": min, "maxReplicas": max}))]))
        };
        let null = Value::Null;
        assert_eq!(wrong(json!(1), json!(1)), NONE);
        assert_eq!(wrong(json!(20), json!(40)), NONE);
        assert_eq!(wrong(null.clone(), json!(3)), NONE);
        assert_eq!(wrong(null.clone(), null.clone()), ["spec.schedules.0.minReplicas"]);
        assert_eq!(wrong(json!(0), null.clone()), ["spec.schedules.0.minReplicas"]);
        assert_eq!(wrong(json!(11), null.clone()), ["spec.schedules.0.minReplicas"]);
        assert_eq!(wrong(json!(5), json!(4)), ["spec.schedules.0.maxReplicas"]);
        assert_eq!(wrong(null.clone(), json!(0)), ["spec.schedules.0.maxReplicas"]);
        assert_eq!(wrong(null, json!(2_147_483_648u32)), ["spec.schedules.0.maxReplicas"]);
    }

    #[test]
    fn behaviour_is_what_the_api_server_would_take() {
        let wrong = |behavior| refused(&["behavior"], behavior);
        let policy = |value, period| json!({"type": "Pods", "value": value, "periodSeconds": period});
        assert_eq!(wrong(json!({})), NONE);
        assert_eq!(
            wrong(
                json!({"scaleUp": {"policies": [policy(4, 15)], "stabilizationWindowSeconds": 3600, "tolerance": "0"}})
            ),
            NONE
        );
        assert_eq!(
            wrong(json!({
                "scaleUp": {"stabilizationWindowSeconds": 3601, "tolerance": "-1", "policies": []},
                "scaleDown": {"stabilizationWindowSeconds": -1, "policies": [policy(0, 1800), policy(1, 1801), policy(1, 0)]},
            })),
            [
                "spec.behavior.scaleUp.stabilizationWindowSeconds",
                "spec.behavior.scaleUp.tolerance",
                "spec.behavior.scaleUp.policies",
                "spec.behavior.scaleDown.stabilizationWindowSeconds",
                "spec.behavior.scaleDown.policies.0.value",
                "spec.behavior.scaleDown.policies.1.periodSeconds",
                "spec.behavior.scaleDown.policies.2.periodSeconds",
            ]
        );
    }

    #[test]
    fn a_fallback_can_be_reached_and_is_held_for_a_while_first() {
        let wrong = |hold, then| refused(&["onMissingMetrics"], json!({"holdFor": hold, "then": then}));
        assert_eq!(wrong("10m", json!({"atLeast": 10})), NONE);
        assert_eq!(wrong("10m", json!({"exactly": 1})), NONE);
        for hold in ["59s", "25h"] {
            assert_eq!(wrong(hold, json!({"exactly": 1})), ["spec.onMissingMetrics.holdFor"]);
        }
        assert_eq!(wrong("1m", json!({"atLeast": 11})), ["spec.onMissingMetrics.then.atLeast"]);
        assert_eq!(wrong("1m", json!({"exactly": 0})), ["spec.onMissingMetrics.then.exactly"]);
    }

    #[test]
    fn who_moves_the_replicas_is_the_users_choice() {
        for actuation in ["HPA", "Scale", "None"] {
            assert_eq!(refused(&["actuation"], json!(actuation)), NONE);
        }
    }
}
