//! `spec.behavior`: how fast, and after how long, a size may change.
//!
//! [`Behavior`] is the API's own shape, where everything is optional. [`EffectiveBehavior`] is what the controller
//! works with, where nothing is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::SpecError;
use crate::units::{Quantity, Span};

/// `spec.behavior` (`HorizontalPodAutoscalerBehavior`). Present and empty is not the same as absent: the two take
/// different paths through the controller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Rules for more replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRules>,
    /// Rules for fewer replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRules>,
}

/// Rules for one direction (`HPAScalingRules`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRules {
    /// Seconds over which past recommendations hold a change back, 0 to 3600. Upwards 0 if absent; downwards the
    /// controller's own window, 300 s as a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: Option<i32>,
    /// Which of the policies counts. Max if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// How much may change in how long, at least one policy. If absent, upwards 4 pods or 100 % in 15 s; downwards
    /// 100 % in 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<ScalingPolicy>>,
    /// How far the usage ratio may be from 1 in this direction without any change, in steps of a thousandth and not
    /// below 0. The controller's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Quantity>,
}

/// How much may change in how long (`HPAScalingPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// Pods or percent of the size at the start of the period, above 0.
    #[schemars(range(min = 1))]
    pub value: i32,
    /// The period in seconds, 1 to 1800.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

/// What the value of a policy counts (`HPAScalingPolicyType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyType {
    /// Pods.
    Pods,
    /// Percent of the pods at the start of the period.
    Percent,
}

/// Which of several policies counts (`ScalingPolicySelect`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// The one that allows the greatest change.
    #[default]
    Max,
    /// The one that allows the least change.
    Min,
    /// None: no change in this direction.
    Disabled,
}

impl Behavior {
    /// Itself without tolerance in a direction that names none: for a metric that is a number of pods already, a change of one
    /// is never noise.
    pub fn exact(mut self) -> Self {
        for rules in [&mut self.scale_up, &mut self.scale_down] {
            rules.get_or_insert_default().tolerance.get_or_insert(Quantity::from_milli(0));
        }
        self
    }

    /// Itself without ever more replicas.
    pub fn never_up(mut self) -> Self {
        self.scale_up.get_or_insert_default().select_policy = Some(SelectPolicy::Disabled);
        self
    }

    /// Itself without ever fewer replicas.
    pub fn never_down(mut self) -> Self {
        self.scale_down.get_or_insert_default().select_policy = Some(SelectPolicy::Disabled);
        self
    }

    /// Itself with the API server's defaults filled in, as it is stored (`SetDefaults_HorizontalPodAutoscaler`).
    /// A field that is given replaces the default, policies as a whole list. The window for scaling down stays
    /// absent: it is the controller's.
    pub fn defaulted(&self) -> Self {
        let policy = |kind, value| ScalingPolicy { kind, value, period_seconds: 15 };
        let up = ScalingRules {
            stabilization_window_seconds: Some(0),
            select_policy: Some(SelectPolicy::Max),
            policies: Some(vec![policy(PolicyType::Pods, 4), policy(PolicyType::Percent, 100)]),
            tolerance: None,
        };
        let down = ScalingRules {
            stabilization_window_seconds: None,
            select_policy: Some(SelectPolicy::Max),
            policies: Some(vec![policy(PolicyType::Percent, 100)]),
            tolerance: None,
        };
        Self {
            scale_up: Some(self.scale_up.clone().unwrap_or_default().or(up)),
            scale_down: Some(self.scale_down.clone().unwrap_or_default().or(down)),
        }
    }

    /// The complete rules: API defaults, then the controller's own window where scaling down has none
    /// (`maybeInitScaleDownStabilizationWindow`).
    pub fn effective(&self, downscale_stabilization: Span) -> EffectiveBehavior {
        let Self { scale_up, scale_down } = self.defaulted();
        EffectiveBehavior {
            up: Rules::from_api(scale_up.unwrap_or_default(), Span::ZERO),
            down: Rules::from_api(scale_down.unwrap_or_default(), downscale_stabilization),
        }
    }

    /// Whether the API server takes it.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// What the API server would refuse (`validateBehavior`): every field that is out of its range.
    pub fn problems(&self) -> Vec<SpecError> {
        let mut problems = Vec::new();
        for (direction, rules) in [("scaleUp", &self.scale_up), ("scaleDown", &self.scale_down)] {
            if let Some(rules) = rules {
                rules.check(direction, &mut problems);
            }
        }
        problems
    }
}

impl ScalingRules {
    /// Each field, or that of `default`.
    fn or(self, default: Self) -> Self {
        Self {
            stabilization_window_seconds: self
                .stabilization_window_seconds
                .or(default.stabilization_window_seconds),
            select_policy: self.select_policy.or(default.select_policy),
            policies: self.policies.or(default.policies),
            tolerance: self.tolerance.or(default.tolerance),
        }
    }

    fn check(&self, direction: &str, problems: &mut Vec<SpecError>) {
        let mut wrong = |field: &str, rule| {
            problems.push(SpecError { field: format!("spec.behavior.{direction}.{field}"), rule });
        };
        if self.stabilization_window_seconds.is_some_and(|window| !(0..=3600).contains(&window)) {
            wrong("stabilizationWindowSeconds", "must be between 0 and 3600");
        }
        if self.tolerance.is_some_and(|tolerance| tolerance.as_milli() < 0) {
            wrong("tolerance", "must not be negative");
        }
        let Some(policies) = &self.policies else { return };
        if policies.is_empty() {
            wrong("policies", "must hold at least one policy");
        }
        for (index, policy) in policies.iter().enumerate() {
            if policy.value <= 0 {
                wrong(&format!("policies[{index}].value"), "must be above 0");
            }
            if !(1..=1800).contains(&policy.period_seconds) {
                wrong(&format!("policies[{index}].periodSeconds"), "must be between 1 and 1800");
            }
        }
    }
}

/// A [`Behavior`] with nothing left open.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveBehavior {
    /// Rules for more replicas.
    pub up: Rules,
    /// Rules for fewer replicas.
    pub down: Rules,
}

/// [`ScalingRules`] with nothing left open.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How long past recommendations hold a change back.
    pub window: Span,
    /// Which of the policies counts.
    pub select: SelectPolicy,
    /// The policies.
    pub policies: Vec<ScalingPolicy>,
    /// The tolerance in this direction, if the HPA has its own.
    pub tolerance: Option<Quantity>,
}

impl Rules {
    fn from_api(rules: ScalingRules, default_window: Span) -> Self {
        Self {
            window: rules
                .stabilization_window_seconds
                .map_or(default_window, |seconds| Span::from_secs(seconds.into())),
            select: rules.select_policy.unwrap_or_default(),
            policies: rules.policies.unwrap_or_default(),
            tolerance: rules.tolerance,
        }
    }

    /// The longest period of any policy (`getLongestPolicyPeriod`).
    pub fn longest_period(&self) -> Span {
        self.policies.iter().map(ScalingPolicy::period).max().unwrap_or(Span::ZERO)
    }
}

impl ScalingPolicy {
    /// The period.
    pub fn period(&self) -> Span {
        Span::from_secs(self.period_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_behavior_reads_and_writes_the_shape_of_the_kubernetes_api() {
        let api = json!({
            "scaleUp": {
                "stabilizationWindowSeconds": 30,
                "selectPolicy": "Min",
                "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 60 }],
                "tolerance": "50m",
            },
            "scaleDown": { "selectPolicy": "Disabled" },
        });
        let behavior: Behavior = serde_json::from_value(api.clone()).unwrap();
        assert_eq!(behavior.scale_up.as_ref().unwrap().tolerance, Some(Quantity::from_milli(50)));
        assert_eq!(serde_json::to_value(&behavior).unwrap(), api);
        assert_eq!(serde_json::to_value(Behavior::default()).unwrap(), json!({}));
    }

    #[test]
    fn a_number_of_pods_takes_no_tolerance_but_the_users_own_and_a_direction_can_be_shut() {
        let given: Behavior = serde_json::from_value(json!({
            "scaleUp": {"tolerance": "50m"}, "scaleDown": {"stabilizationWindowSeconds": 60},
        }))
        .unwrap();
        let expected = json!({
            "scaleUp": {"tolerance": "50m"},
            "scaleDown": {"stabilizationWindowSeconds": 60, "tolerance": "0", "selectPolicy": "Disabled"},
        });
        assert_eq!(serde_json::to_value(given.exact().never_down()).unwrap(), expected);
        let shut = json!({"scaleUp": {"selectPolicy": "Disabled"}});
        assert_eq!(serde_json::to_value(Behavior::default().never_up()).unwrap(), shut);
    }

    #[test]
    fn an_empty_behavior_gets_the_defaults_of_the_api_server() {
        assert_eq!(
            serde_json::to_value(Behavior::default().defaulted()).unwrap(),
            json!({
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Max",
                    "policies": [
                        { "type": "Pods", "value": 4, "periodSeconds": 15 },
                        { "type": "Percent", "value": 100, "periodSeconds": 15 },
                    ],
                },
                "scaleDown": {
                    "selectPolicy": "Max",
                    "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }],
                },
            })
        );
    }

    #[test]
    fn the_window_for_scaling_down_is_the_controllers_unless_given() {
        let controllers = Span::from_secs(300);
        assert_eq!(Behavior::default().effective(controllers).down.window, controllers);
        assert_eq!(Behavior::default().effective(controllers).up.window, Span::ZERO);
        let rules = ScalingRules { stabilization_window_seconds: Some(0), ..ScalingRules::default() };
        let behavior = Behavior { scale_down: Some(rules), ..Behavior::default() };
        assert_eq!(behavior.effective(controllers).down.window, Span::ZERO);
    }

    #[test]
    fn values_out_of_range_are_refused_by_field() {
        for (rules, field) in [
            (json!({ "stabilizationWindowSeconds": 3601 }), "stabilizationWindowSeconds"),
            (json!({ "stabilizationWindowSeconds": -1 }), "stabilizationWindowSeconds"),
            (json!({ "tolerance": "-1m" }), "tolerance"),
            (json!({ "policies": [] }), "policies"),
            (
                json!({ "policies": [{ "type": "Pods", "value": 0, "periodSeconds": 15 }] }),
                "policies[0].value",
            ),
            (
                json!({ "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 1801 }] }),
                "policies[0].periodSeconds",
            ),
        ] {
            let behavior: Behavior = serde_json::from_value(json!({ "scaleDown": rules })).unwrap();
            assert_eq!(behavior.validate().unwrap_err().field, format!("spec.behavior.scaleDown.{field}"));
        }
        assert_eq!(Behavior::default().defaulted().validate(), Ok(()));
    }
}
