//! Whether what classes say beyond the number of requests is so.
//!
//! Where the mix hardly moves, or where durations are waiting as much as work, costs learned class by class follow the noise, and
//! predict worse than one cost for all requests. So they are drawn towards that one cost, as far as their own predictions say: the
//! slope of what was found on what had been said, each beyond what one cost for all predicted (Copas, "Regression, prediction and
//! shrinkage", 1983; here from predictions made before their samples were learned from).

use serde::{Deserialize, Serialize};

/// What is to be proven is that classes say more than one cost for all: before anything is seen their share is thought to be none,
/// give or take a half. In units of the noise, 1/½².
const DOUBT: f64 = 4.0;

/// Sums over predictions, each of which counts as its own uncertainty has it, and of which old ones are forgotten. In cores squared.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Shrinkage {
    said: f64,
    borne_out: f64,
    noise: f64,
    weight: f64,
}

impl Shrinkage {
    /// `plain`: what one cost for all requests predicts, `by_class`: what the classes' costs do, `y`: what was found. `counts`: from 0 to 1, how much
    /// that tells.
    pub(super) fn learn(&mut self, plain: f64, by_class: f64, y: f64, keep: f64, counts: f64) {
        let (said, found) = (by_class - plain, y - plain);
        let missed = found - self.share() * said;
        let sums = [
            (&mut self.said, said * said),
            (&mut self.borne_out, said * found),
            (&mut self.noise, missed * missed),
            (&mut self.weight, 1.0),
        ];
        sums.into_iter().for_each(|(sum, term)| *sum = keep * *sum + counts * term);
    }

    /// Counts all that it has seen as the share `keep` of it.
    pub(super) fn forget(&mut self, keep: f64) {
        for sum in [&mut self.said, &mut self.borne_out, &mut self.noise, &mut self.weight] {
            *sum *= keep;
        }
    }

    /// How much of what classes say beyond the number of requests is believed: from 0 to 1.
    pub(super) fn share(&self) -> f64 {
        let noise = if self.weight > 0.0 { self.noise / self.weight } else { 0.0 };
        let said = self.said + DOUBT * noise;
        if said > 0.0 { (self.borne_out / said).clamp(0.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: impl Iterator<Item = (f64, f64, f64)>) -> f64 {
        let mut shrinkage = Shrinkage::default();
        samples.for_each(|(plain, by_class, y)| shrinkage.learn(plain, by_class, y, 1.0, 1.0));
        shrinkage.share()
    }

    #[test]
    fn classes_are_believed_as_far_as_they_are_borne_out() {
        assert_eq!(Shrinkage::default().share(), 0.0);
        let said = |i: i32| f64::from(i % 7 - 3);
        for share in [0.0, 0.3, 1.0] {
            let found = after((0..5000).map(|i| (10.0, 10.0 + said(i), 10.0 + share * said(i))));
            assert!((found - share).abs() < 0.02, "{share}: {found}");
        }
        // The contrary of what is said is no reason to believe its contrary.
        assert_eq!(after((0..5000).map(|i| (10.0, 10.0 + said(i), 10.0 - said(i)))), 0.0);
    }

    #[test]
    fn a_few_predictions_that_were_half_right_are_no_proof() {
        let share = after([(10.0, 11.0, 12.0), (10.0, 9.0, 10.5)].into_iter());
        assert!((0.0..0.3).contains(&share), "{share}");
    }

    #[test]
    fn where_classes_say_nothing_of_their_own_one_cost_is_all_there_is() {
        assert_eq!(after([(10.0, 10.0, 10.0)].into_iter()), 0.0);
    }
}
