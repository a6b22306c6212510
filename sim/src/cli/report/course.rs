//! How runs went, minute by minute, for charts.

use plimsoll::units::Span;

use crate::fluid::Step;

/// How a policy went.
#[derive(Debug, Default, Clone)]
pub(super) struct Course {
    /// Minutes since the beginning of the run.
    pub(super) minutes: Vec<usize>,
    /// Pods at full use that the load takes; the same whatever the policy.
    pub(super) load: Vec<f64>,
    /// Pods that take requests.
    pub(super) ready: Vec<f64>,
}

/// Length of a step.
pub(super) const MINUTE: Span = Span::from_secs(60);

impl Course {
    pub(super) fn add(&mut self, step: &Step) {
        self.minutes.push(step.index);
        self.load.push(step.load / step.capacity);
        self.ready.push(step.ready);
    }

    /// Of each of `parts` parts the greatest load that the ready pods could not carry, with its minute; none where they always could.
    pub(super) fn short(&self, parts: usize) -> (Vec<f64>, Vec<f64>) {
        let length = self.load.len().div_ceil(parts.max(1)).max(1);
        let chunks = self.load.chunks(length).zip(self.ready.chunks(length)).zip(self.minutes.chunks(length));
        let worst = chunks.filter_map(|((load, ready), minutes)| {
            let short = load.iter().zip(ready).zip(minutes).filter(|((load, ready), _)| load > ready);
            short.map(|((load, _), minute)| (*minute, *load)).max_by(|a, b| a.1.total_cmp(&b.1))
        });
        worst.map(|(minute, load)| (minute as f64 * MINUTE.as_secs_f64(), load)).unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_part_the_worst_minute_is_kept() {
        let mut course = Course::default();
        for (index, load) in [3.0, 5.0, 1.0, 1.0, 4.0].into_iter().enumerate() {
            course.add(&Step {
                index: index + 7,
                load: 60.0 * load,
                capacity: 60.0,
                paid: 2.0,
                ready: 2.0,
                changed: 0.0,
                carried: None,
            });
        }
        assert_eq!(course.short(5), (vec![420.0, 480.0, 660.0], vec![3.0, 5.0, 4.0]));
        assert_eq!(course.short(2), (vec![480.0, 660.0], vec![5.0, 4.0]));
        assert_eq!(Course::default().short(3), (vec![], vec![]));
    }
}
