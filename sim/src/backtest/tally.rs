//! Adding up what was scored.

use plimsoll::units::Span;

use super::{Backtest, Point, Report};

/// The loss of a bound at `quantile` when `truth` came: quantile · (truth − bound) if more came than the bound, else
/// (1 − quantile) · (bound − truth) (Koenker and Bassett, "Regression Quantiles", 1978). In expectation it is least for the true quantile.
pub fn pinball(quantile: f64, bound: f64, truth: f64) -> f64 {
    let error = truth - bound;
    (quantile * error).max((quantile - 1.0) * error)
}

/// The bounds of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Days from the beginning of the series, from 0.
    pub number: i64,
    /// Steps that were scored.
    pub steps: usize,
    /// Those of them whose bound held.
    pub held: usize,
    /// Whether half a day or more was scored: what less says is chance.
    pub is_judged: bool,
}

impl Day {
    /// Share of the bounds that held.
    pub fn coverage(&self) -> f64 {
        self.held as f64 / self.steps as f64
    }
}

pub(super) const DAY: Span = Span::from_secs(86_400);

/// Sums over the steps that were scored.
#[derive(Debug)]
pub(super) struct Tally {
    step: Span,
    quantile: f64,
    steps: usize,
    held: usize,
    held_r0: usize,
    loss: f64,
    loss_r0: f64,
    middle: Errors,
    persistence: Errors,
    days: Vec<Day>,
}

#[derive(Debug, Default)]
struct Errors {
    absolute: f64,
    squared: f64,
}

impl Errors {
    fn add(&mut self, error: f64) {
        self.absolute += error.abs();
        self.squared += error * error;
    }
}

impl Tally {
    /// For steps of that length, above zero, and bounds at `quantile`.
    pub(super) fn new(step: Span, quantile: f64) -> Self {
        Self {
            step,
            quantile,
            steps: 0,
            held: 0,
            held_r0: 0,
            loss: 0.0,
            loss_r0: 0.0,
            middle: Errors::default(),
            persistence: Errors::default(),
            days: Vec::new(),
        }
    }

    /// Takes a step, later than the one before.
    pub(super) fn add(&mut self, point: &Point) {
        let Point { index, load, peak, bound, middle, yardstick } = *point;
        let holds = usize::from(!point.is_miss());
        self.steps += 1;
        self.held += holds;
        self.held_r0 += usize::from(peak <= yardstick);
        self.loss += pinball(self.quantile, bound, peak);
        self.loss_r0 += pinball(self.quantile, yardstick, peak);
        self.middle.add(peak - middle);
        self.persistence.add(peak - load);
        let number = day(index, self.step);
        match self.days.last_mut().filter(|day| day.number == number) {
            Some(day) => {
                day.steps += 1;
                day.held += holds;
            }
            None => self.days.push(Day { number, steps: 1, held: holds, is_judged: false }),
        }
    }

    /// The figures. Those that do not follow from what was scored are left at zero.
    pub(super) fn finish(mut self) -> Backtest {
        let steps = self.steps.max(1) as f64;
        let half = i128::from(DAY.as_nanos()) / 2;
        for day in &mut self.days {
            day.is_judged = day.steps as i128 * i128::from(self.step.as_nanos()) >= half;
        }
        let judged = self.days.iter().filter(|day| day.is_judged);
        let report = Report {
            schema: 1,
            trace: String::new(),
            step_s: self.step.as_secs_f64(),
            horizon_s: 0.0,
            quantile: self.quantile,
            steps: self.steps,
            pinball: self.loss / steps,
            pinball_r0: self.loss_r0 / steps,
            skill: (self.loss_r0 > 0.0).then(|| 1.0 - self.loss / self.loss_r0),
            coverage: self.held as f64 / steps,
            coverage_r0: self.held_r0 as f64 / steps,
            worst_day_coverage: judged.map(Day::coverage).min_by(f64::total_cmp),
            mae: self.middle.absolute / steps,
            mae_persistence: self.persistence.absolute / steps,
            rmse: (self.middle.squared / steps).sqrt(),
            rmse_persistence: (self.persistence.squared / steps).sqrt(),
            seconds_per_step: 0.0,
            seconds_per_refit: 0.0,
            seconds_per_day: 0.0,
            bytes_per_workload: 0,
        };
        Backtest { report, days: self.days }
    }
}

/// The day that the step begins in: ⌊index · step / 24 h⌋.
fn day(index: usize, step: Span) -> i64 {
    let nanos = index as i128 * i128::from(step.as_nanos());
    i64::try_from(nanos / i128::from(DAY.as_nanos())).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Span = Span::from_secs(21_600);

    fn point(index: usize, peak: f64, bound: f64) -> Point {
        Point { index, load: 8.0, peak, bound, middle: 10.0, yardstick: 12.0 }
    }

    #[test]
    fn pinball_by_hand() {
        assert_eq!(pinball(0.75, 10.0, 14.0), 3.0);
        assert_eq!(pinball(0.75, 10.0, 6.0), 1.0);
        assert_eq!(pinball(0.75, 10.0, 10.0), 0.0);
    }

    #[test]
    fn figures_by_hand() {
        let mut tally = Tally::new(QUARTER, 0.75);
        for (peak, bound) in [(10.0, 10.0), (16.0, 12.0), (8.0, 12.0), (10.0, 14.0)] {
            tally.add(&point(0, peak, bound));
        }
        let report = tally.finish().report;
        assert_eq!((report.steps, report.coverage, report.coverage_r0), (4, 0.75, 0.75));
        assert_eq!(report.pinball, (0.0 + 3.0 + 1.0 + 1.0) / 4.0);
        assert_eq!(report.pinball_r0, (0.5 + 3.0 + 1.0 + 0.5) / 4.0);
        assert_eq!(report.skill, Some(0.0));
        assert_eq!((report.mae, report.rmse), (2.0, 10f64.sqrt()));
        assert_eq!((report.mae_persistence, report.rmse_persistence), (3.0, 18f64.sqrt()));
    }

    #[test]
    fn the_worst_day_is_one_of_which_half_was_scored() {
        let mut tally = Tally::new(QUARTER, 0.75);
        // Day 0 has one step, day 1 four, day 2 two, day 4 one.
        for (index, bound) in
            [(3, 0.0), (4, 9.0), (5, 9.0), (6, 0.0), (7, 9.0), (8, 9.0), (9, 9.0), (16, 0.0)]
        {
            tally.add(&point(index, 9.0, bound));
        }
        let Backtest { report, days } = tally.finish();
        assert_eq!(report.worst_day_coverage, Some(0.75));
        let days: Vec<_> = days.iter().map(|day| (day.number, day.steps, day.held, day.is_judged)).collect();
        assert_eq!(days, [(0, 1, 0, false), (1, 4, 3, true), (2, 2, 2, true), (4, 1, 0, false)]);
    }

    #[test]
    fn without_a_day_or_a_loss_there_is_no_worst_day_and_no_skill() {
        let mut tally = Tally::new(QUARTER, 0.75);
        tally.add(&point(0, 12.0, 12.0));
        let report = tally.finish().report;
        assert_eq!((report.worst_day_coverage, report.skill), (None, None));
    }
}
