//! From the pods that a rule wants to the pods that are ordered.

use plimsoll::hpa::{FetchError, Hpa, HpaSpec, MetricSpec, MetricsSource, Observed, Settings, ValueTarget};
use plimsoll::units::{Quantity, Span, Time};
use serde::Serialize;

use crate::sliding::Sliding;

/// Who orders the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actuator {
    /// Exactly what the rule wants, once a step. A number that was wanted within the hold is not gone below.
    Ideal,
    /// The HorizontalPodAutoscaler with what the rule wants as an External metric, AverageValue 1, without `behavior`:
    /// tolerance 10 %, nothing is removed for five minutes, at least one pod. Reconciled every 15 s, as often as that
    /// fits whole into a step, once at least.
    Hpa,
}

/// The period of the HPA's controller. The few milliseconds that a reconcile takes are left out, so that all steps are alike.
const SYNC: Span = Span::from_secs(15);

impl Actuator {
    /// How often it acts within a step.
    pub(super) fn ticks(self, step: Span) -> usize {
        match self {
            Self::Ideal => 1,
            Self::Hpa => usize::try_from(step.as_nanos() / SYNC.as_nanos()).unwrap_or(1).max(1),
        }
    }

    /// Begins with `pods`, which have long been running. `hold` is how many steps a number holds, the one in which it is
    /// wanted included; the HPA has its own.
    pub(super) fn begin(self, step: Span, hold: usize, pods: u32) -> Acting {
        match self {
            Self::Ideal => Acting::Ideal { held: Sliding::largest(hold), ordered: pods },
            Self::Hpa => {
                let tick = step / i64::try_from(self.ticks(step)).unwrap_or(1);
                Acting::Hpa(Box::new(Controller::new(tick, pods)))
            }
        }
    }
}

/// An actuator at work.
#[derive(Debug)]
pub(super) enum Acting {
    Ideal { held: Sliding<u32>, ordered: u32 },
    Hpa(Box<Controller>),
}

impl Acting {
    /// From the next tick on so many pods are wanted.
    pub(super) fn want(&mut self, pods: u32) {
        match self {
            Self::Ideal { held, ordered } => *ordered = held.push(pods),
            Self::Hpa(controller) => controller.metric = Answer(pods),
        }
    }

    /// The pods that are ordered at the next tick.
    pub(super) fn tick(&mut self) -> u32 {
        match self {
            Self::Ideal { ordered, .. } => *ordered,
            Self::Hpa(controller) => controller.reconcile(),
        }
    }
}

/// One HPA, its metric and its time.
#[derive(Debug)]
pub(super) struct Controller {
    hpa: Hpa,
    metric: Answer,
    tick: Span,
    now: Time,
    replicas: i32,
}

/// What the external metrics API answers.
#[derive(Debug)]
struct Answer(u32);

impl MetricsSource for Answer {
    fn external(&self, _: &str, _: Option<&str>) -> Result<Vec<Quantity>, FetchError> {
        Ok(vec![Quantity::from_milli(i64::from(self.0).saturating_mul(1000))])
    }
}

impl Controller {
    fn new(tick: Span, pods: u32) -> Self {
        let metric = MetricSpec::External {
            metric: "wanted".to_owned(),
            selector: None,
            target: ValueTarget::AverageValue(Quantity::from_milli(1000)),
        };
        let spec =
            HpaSpec { min_replicas: None, max_replicas: i32::MAX, metrics: vec![metric], behavior: None };
        let replicas = i32::try_from(pods.max(1)).unwrap_or(i32::MAX);
        let hpa = Hpa::new(spec, Settings::default());
        Self { hpa, metric: Answer(pods), tick, now: Time::EPOCH, replicas }
    }

    fn reconcile(&mut self) -> u32 {
        let observed =
            Observed { spec_replicas: self.replicas, status_replicas: self.replicas, ..Observed::default() };
        self.replicas = self.hpa.reconcile(self.now, &observed, &self.metric).replicas;
        self.now += self.tick;
        u32::try_from(self.replicas).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(actuator: Actuator, step: Span, hold: usize, wanted: &[u32]) -> Vec<u32> {
        let mut acting = actuator.begin(step, hold, wanted[0]);
        let mut all = Vec::new();
        for pods in wanted {
            acting.want(*pods);
            all.extend((0..actuator.ticks(step)).map(|_| acting.tick()));
        }
        all
    }

    #[test]
    fn a_number_holds_for_as_long_as_it_is_told_to() {
        let step = Span::from_secs(60);
        let wanted = [3, 5, 1, 1, 2, 1];
        assert_eq!(ordered(Actuator::Ideal, step, 3, &wanted), [3, 5, 5, 5, 2, 2]);
        assert_eq!(ordered(Actuator::Ideal, step, 1, &wanted), wanted);
    }

    #[test]
    fn the_hpa_acts_as_often_as_its_period_fits() {
        for (seconds, ticks) in [(300, 20), (60, 4), (20, 1), (5, 1)] {
            assert_eq!(Actuator::Hpa.ticks(Span::from_secs(seconds)), ticks);
        }
    }

    /// A step of 5 min has 20 ticks. From 20 pods to 22 nothing is done, as a tenth is tolerated; 50 takes a doubling to
    /// 40 first. What was recommended last for 50 pods, at tick 59, holds for the five minutes to tick 79.
    #[test]
    fn the_hpa_tolerates_doubles_and_holds() {
        let step = Span::from_secs(300);
        let all = ordered(Actuator::Hpa, step, 1, &[20, 22, 50, 10, 10]);
        assert_eq!(all[..40], [20; 40]);
        assert_eq!(all[40..60], [&[40][..], &[50; 19]].concat());
        assert_eq!(all[60..80], [50; 20]);
        assert_eq!(all[80..], [10; 20]);
    }

    #[test]
    fn the_hpa_keeps_one_pod() {
        assert_eq!(ordered(Actuator::Hpa, Span::from_secs(15), 1, &[0, 0, 0]), [1, 1, 1]);
    }
}
