//! An exponentially weighted mean.

use plimsoll::units::Span;

use super::Rule;

/// The exponentially weighted mean of all steps, by `u`.
#[derive(Debug, Clone)]
pub struct Ewma {
    /// Weight of the newest step.
    gain: f64,
    utilization: f64,
    mean: Option<f64>,
}

impl Ewma {
    /// On steps of that length; one counts half as much as another that is `half_life` later. Both above zero. At
    /// `utilization`, above 0 and at most 1.
    pub fn new(step: Span, half_life: Span, utilization: f64) -> Self {
        let gain = 1.0 - (-step.as_secs_f64() / half_life.as_secs_f64()).exp2();
        Self { gain, utilization, mean: None }
    }
}

impl Rule for Ewma {
    fn decide(&mut self, load: f64) -> f64 {
        let mean = self.mean.map_or(load, |mean| mean + self.gain * (load - mean));
        self.mean = Some(mean);
        mean / self.utilization
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_half_life_half_of_a_jump_is_followed() {
        let mut ewma = Ewma::new(Span::from_secs(60), Span::from_secs(120), 0.5);
        let decided = [4.0, 8.0, 8.0].map(|load| ewma.decide(load));
        assert_eq!(decided[0], 8.0);
        assert!((decided[2] - 12.0).abs() < 1e-12, "{decided:?}");
    }
}
