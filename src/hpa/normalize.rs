//! From the size that the metrics ask for to the size that is set: stabilization, then limits.
//!
//! There are two paths, one for an HPA without `spec.behavior` and one for an HPA with it, and an empty behavior
//! does not make them equal. Without, an entry exactly as old as the window still counts; with, it does not. From
//! one replica, the first allows 4 in a step and the second 5.

use super::behavior::{EffectiveBehavior, PolicyType, Rules, SelectPolicy};
use super::settings::Settings;
use super::status::Reason;
use crate::units::{Span, Time};

/// A size that the metrics once asked for (`timestampedRecommendation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommendation {
    /// The size, before any stabilization.
    pub replicas: i32,
    /// When.
    pub at: Time,
}

/// A change of the size that was made (`timestampedScaleEvent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleEvent {
    /// By how many replicas, above 0.
    pub change: i32,
    /// When.
    pub at: Time,
    /// Whether its place may be taken by a newer event. It still counts within the period of a policy.
    pub outdated: bool,
}

/// The changes that were made, in both directions. Kept only for an HPA with a behavior.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScaleEvents {
    /// More replicas.
    pub up: Vec<ScaleEvent>,
    /// Fewer replicas.
    pub down: Vec<ScaleEvent>,
}

/// A size within its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// The size.
    pub replicas: i32,
    /// Which limit cut it, or DesiredWithinRange.
    pub reason: Reason,
}

impl Limited {
    fn at_most(desired: i32, most: i32, reason: Reason) -> Self {
        if desired > most { Self { replicas: most, reason } } else { Self::within(desired) }
    }

    fn at_least(desired: i32, least: i32, reason: Reason) -> Self {
        if desired < least { Self { replicas: least, reason } } else { Self::within(desired) }
    }

    fn within(replicas: i32) -> Self {
        Self { replicas, reason: Reason::DesiredWithinRange }
    }
}

/// The largest size asked for within `window`, an entry exactly that old included; and remembers `desired`
/// (`stabilizeRecommendation`). The path without behavior.
pub fn stabilize(recommendations: &mut Vec<Recommendation>, desired: i32, window: Span, now: Time) -> i32 {
    let cutoff = now - window;
    let recent = recommendations.iter().filter(|entry| entry.at >= cutoff);
    let stable = recent.map(|entry| entry.replicas).fold(desired, i32::max);
    remember(recommendations, desired, cutoff, now);
    stable
}

/// The size nearest to `current` that lies between the least size asked for within the window of `up` and the
/// largest within that of `down`, entries exactly that old excluded; and remembers `desired`
/// (`stabilizeRecommendationWithBehaviors`). The path with behavior.
pub fn stabilize_with_behavior(
    recommendations: &mut Vec<Recommendation>,
    current: i32,
    desired: i32,
    behavior: &EffectiveBehavior,
    now: Time,
) -> i32 {
    let (up_cutoff, down_cutoff) = (now - behavior.up.window, now - behavior.down.window);
    let since =
        |cutoff| recommendations.iter().filter(move |entry| entry.at > cutoff).map(|entry| entry.replicas);
    let up = since(up_cutoff).fold(desired, i32::min);
    let down = since(down_cutoff).fold(desired, i32::max);
    remember(recommendations, desired, up_cutoff.min(down_cutoff), now);
    // Never the wrong way round: up <= desired <= down.
    current.clamp(up, down)
}

/// Puts an entry in the place of the last one older than `cutoff`, or at the end.
fn remember(recommendations: &mut Vec<Recommendation>, replicas: i32, cutoff: Time, now: Time) {
    let entry = Recommendation { replicas, at: now };
    match recommendations.iter_mut().rfind(|entry| entry.at < cutoff) {
        Some(old) => *old = entry,
        None => recommendations.push(entry),
    }
}

/// Keeps `desired` between `min` and `max`, and growth within the controller's constants: double, or 4
/// (`convertDesiredReplicasWithRules`, `calculateScaleUpLimit`). The path without behavior.
pub fn limit(current: i32, desired: i32, min: i32, max: i32, settings: &Settings) -> Limited {
    let grown = settings.scale_up_limit_factor * f64::from(current);
    let cap = grown.max(settings.scale_up_limit_minimum) as i32;
    if desired < min {
        Limited { replicas: min, reason: Reason::TooFewReplicas }
    } else if max > cap {
        Limited::at_most(desired, cap, Reason::ScaleUpLimit)
    } else {
        Limited::at_most(desired, max, Reason::TooManyReplicas)
    }
}

/// Keeps a change from `current` to `desired` within the policies, and its end within `min` or `max`
/// (`convertDesiredReplicasWithBehaviorRate`). A size that does not change is not looked at, even out of bounds.
/// The path with behavior.
pub fn limit_with_behavior(
    current: i32,
    desired: i32,
    min: i32,
    max: i32,
    behavior: &EffectiveBehavior,
    events: &ScaleEvents,
    now: Time,
) -> Limited {
    if desired > current {
        let limit = scale_up_limit(current, &behavior.up, events, now).max(current);
        if max > limit {
            Limited::at_most(desired, limit, Reason::ScaleUpLimit)
        } else {
            Limited::at_most(desired, max, Reason::TooManyReplicas)
        }
    } else if desired < current {
        let limit = scale_down_limit(current, &behavior.down, events, now).min(current);
        if min < limit {
            Limited::at_least(desired, limit, Reason::ScaleDownLimit)
        } else {
            Limited::at_least(desired, min, Reason::TooFewReplicas)
        }
    } else {
        Limited::within(desired)
    }
}

/// The most replicas that the policies allow (`calculateScaleUpLimitWithScalingRules`).
pub fn scale_up_limit(current: i32, rules: &Rules, events: &ScaleEvents, now: Time) -> i32 {
    let allowed = rules.policies.iter().map(|policy| {
        let start = period_start(current, policy.period(), events, now);
        match policy.kind {
            PolicyType::Pods => start.saturating_add(policy.value),
            // Rounded up, so that a few percent of a few pods are still something.
            PolicyType::Percent => (f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
        }
    });
    match rules.select {
        SelectPolicy::Max => allowed.max(),
        SelectPolicy::Min => allowed.min(),
        SelectPolicy::Disabled => None,
    }
    .unwrap_or(current)
}

/// The fewest replicas that the policies allow (`calculateScaleDownLimitWithBehaviors`).
pub fn scale_down_limit(current: i32, rules: &Rules, events: &ScaleEvents, now: Time) -> i32 {
    let allowed = rules.policies.iter().map(|policy| {
        let start = period_start(current, policy.period(), events, now);
        match policy.kind {
            PolicyType::Pods => start.saturating_sub(policy.value),
            // What remains is truncated, so the change is rounded up here too.
            PolicyType::Percent => (f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
        }
    });
    match rules.select {
        // The greatest change leaves the fewest.
        SelectPolicy::Max => allowed.min(),
        SelectPolicy::Min => allowed.max(),
        SelectPolicy::Disabled => None,
    }
    .unwrap_or(current)
}

/// The size at the start of a policy's period: both directions count for both limits.
fn period_start(current: i32, period: Span, events: &ScaleEvents, now: Time) -> i32 {
    current.saturating_sub(change_within(&events.up, period, now)).saturating_add(change_within(
        &events.down,
        period,
        now,
    ))
}

/// The sum of the changes younger than `period` (`getReplicasChangePerPeriod`).
pub fn change_within(events: &[ScaleEvent], period: Span, now: Time) -> i32 {
    let recent = events.iter().filter(|event| event.at > now - period);
    recent.fold(0, |sum, event| sum.saturating_add(event.change))
}

impl ScaleEvents {
    /// Remembers a change from `previous` to `new` (`storeScaleEvent`), in the place of the last event that no
    /// policy of its direction looks back to, if there is one. Without a behavior nothing is remembered.
    pub fn store(&mut self, behavior: Option<&EffectiveBehavior>, previous: i32, new: i32, now: Time) {
        let Some(behavior) = behavior else { return };
        let (events, rules, change) = if new > previous {
            (&mut self.up, &behavior.up, new.saturating_sub(previous))
        } else {
            (&mut self.down, &behavior.down, previous.saturating_sub(new))
        };
        let cutoff = now - rules.longest_period();
        for event in events.iter_mut().filter(|event| event.at < cutoff) {
            event.outdated = true;
        }
        let event = ScaleEvent { change, at: now, outdated: false };
        match events.iter_mut().rfind(|event| event.outdated) {
            Some(old) => *old = event,
            None => events.push(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::behavior::Behavior;
    use super::*;

    const NOW: Time = Time::from_secs(100_000);
    const WINDOW: Span = Span::from_secs(300);

    fn behavior() -> EffectiveBehavior {
        Behavior::default().effective(WINDOW)
    }

    #[test]
    fn from_one_replica_an_empty_behavior_allows_five_and_none_allows_four() {
        let events = ScaleEvents::default();
        let legacy = limit(1, 50, 1, 100, &Settings::default());
        assert_eq!(legacy, Limited { replicas: 4, reason: Reason::ScaleUpLimit });
        let with = limit_with_behavior(1, 50, 1, 100, &behavior(), &events, NOW);
        assert_eq!(with, Limited { replicas: 5, reason: Reason::ScaleUpLimit });
    }

    #[test]
    fn an_entry_exactly_as_old_as_the_window_counts_only_without_behavior() {
        let entries = vec![Recommendation { replicas: 9, at: NOW - WINDOW }];
        assert_eq!(stabilize(&mut entries.clone(), 3, WINDOW, NOW), 9);
        assert_eq!(stabilize_with_behavior(&mut entries.clone(), 9, 3, &behavior(), NOW), 3);
    }

    #[test]
    fn disabled_means_no_change_and_not_no_limit() {
        let mut behavior = behavior();
        behavior.up.select = SelectPolicy::Disabled;
        behavior.down.select = SelectPolicy::Disabled;
        let events = ScaleEvents::default();
        for desired in [1, 50] {
            assert_eq!(limit_with_behavior(7, desired, 1, 100, &behavior, &events, NOW).replicas, 7);
        }
    }

    proptest! {
        #[test]
        fn a_stable_size_never_leaves_the_span_between_current_and_what_was_asked_for(
            asked in prop::collection::vec((0i32..50, 0i64..1000), 0..20),
            current in 0i32..50,
            desired in 0i32..50,
            up in 0i64..400,
        ) {
            let mut entries: Vec<_> = asked
                .iter()
                .map(|&(replicas, age)| Recommendation { replicas, at: NOW - Span::from_secs(age) })
                .collect();
            let mut behavior = behavior();
            behavior.up.window = Span::from_secs(up);
            let stable = stabilize_with_behavior(&mut entries, current, desired, &behavior, NOW);
            prop_assert!(stable >= current.min(desired) && stable <= current.max(desired));
            prop_assert!(entries.len() <= asked.len() + 1);
        }

        #[test]
        fn limits_never_turn_a_change_around(
            current in 0i32..2000,
            desired in 0i32..2000,
            changes in prop::collection::vec((1i32..100, 0i64..30), 0..10),
        ) {
            let events: Vec<_> = changes
                .iter()
                .map(|&(change, age)| ScaleEvent { change, at: NOW - Span::from_secs(age), outdated: false })
                .collect();
            let events = ScaleEvents { up: events.clone(), down: events };
            let got = limit_with_behavior(current, desired, 0, 2000, &behavior(), &events, NOW).replicas;
            prop_assert!(got >= current.min(desired) && got <= current.max(desired));
        }
    }
}
