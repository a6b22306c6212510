//! Least squares that forget, with errors that may depend on one another.
//!
//! y = x·β + e, where e is a first-order autoregression whose spread may grow with the load. Each pair of samples that
//! follow one another adds to four k×k matrices, and from these come, at any time and without the history:
//!
//! - the estimate: generalised least squares after Prais and Winsten, each row weighted by the inverse of its
//!   expected spread, and non-negative with a weak prior (what is used) or plain (what the intervals are around);
//! - its covariance: White's sandwich, from recursive residuals (Brown, Durbin and Evans 1975), whose variance is right
//!   whatever leverage a row had when it came.
//!
//! Where the noise grows with the load, the customary σ²(XᵀX)⁻¹ covered 70 to 84 % where 95 % were promised; this covers 93
//! to 97 % there and elsewhere (tests).

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::solve::{Cholesky, Square, dot, non_negative};

/// Largest autocorrelation that is believed: beyond it a difference of two rows tells nearly nothing.
const MAX_AUTOCORRELATION: f64 = 0.95;

/// The ridge that keeps collinear columns solvable, relative to their own size: so little that their variance shows.
const RIDGE: f64 = 1e-9;

/// The noise that is assumed before there is any to see, as a share of y...
const PRIOR_NOISE: f64 = 0.1;

/// ...and the number of samples that this assumption is worth.
const PRIOR_SAMPLES: f64 = 5.0;

/// Variance of the logarithm of a squared normal variable, π²/2.
const LOG_CHI_SQUARE_VARIANCE: f64 = 4.934_802_200_544_679;

/// Mean of the logarithm of a squared standard normal variable: −γ − ln 2.
const LOG_CHI_SQUARE_MEAN: f64 = -1.270_362_845_461_478;

/// A prediction below this share of the mean does not say how large its error may be.
const LEAST_SPREAD: f64 = 0.05;

/// What the coefficients are thought to be before any sample: column i's costs `typical[i]` times a scale that the data
/// tell, give or take once that much. None where nothing is thought.
pub(super) type Prior = Vec<Option<f64>>;

/// The running sums of one regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Regression {
    prior: Prior,
    /// Column i's coefficient must not be less than that of column `after[i]`, if the data do not protest.
    after: Vec<Option<usize>>,
    /// The first column's coefficient is not more than this.
    most: Option<f64>,
    /// Σ z·zᵀ over pairs, z = (x, y) weighted: the later of each pair, the earlier, and later times earlier.
    later: Square,
    earlier: Square,
    across: Square,
    /// Σ (x̃ũ)(x̃ũ)ᵀ, x̃ without its autoregression and ũ its recursive residual.
    scores: Square,
    /// Sums of weights and of squared weights of the pairs, all of them and those in `scores`.
    pairs: f64,
    pairs_squared: f64,
    scored: f64,
    /// Of log squared residual on log prediction: weight, both means, their covariance and the latter's variance.
    spread: Spread,
    /// Sums of weights, of y and of each column, unweighted by spread.
    seen: f64,
    mean: Vec<f64>,
    last: Option<Vec<f64>>,
    autocorrelation: f64,
    coefficients: Vec<f64>,
    plain: Vec<f64>,
}

impl Regression {
    /// Whether its parts are of `columns` columns, as those of one that was written down and not damaged are.
    pub(super) fn is_sound(&self, columns: usize) -> bool {
        let squares = [&self.later, &self.earlier, &self.across];
        let rows = [&self.coefficients, &self.plain];
        self.prior.len() == columns
            && self.after.len() == columns
            && self.after.iter().flatten().all(|column| *column < columns)
            && squares.iter().all(|square| square.is_sound(columns + 1))
            && self.scores.is_sound(columns)
            && rows.iter().all(|row| row.len() == columns)
            // These have y after the columns.
            && [Some(&self.mean), self.last.as_ref()].into_iter().flatten().all(|row| row.len() == columns + 1)
    }
}

/// How the spread of y grows with y: variance ∝ yᵖ.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Spread {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Spread {
    fn forget(&mut self, keep: f64) {
        for sum in [&mut self.weight, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= keep;
        }
    }

    fn learn(&mut self, predicted: f64, squared_residual: f64) {
        let (x, y) = (predicted.ln(), squared_residual.ln() - LOG_CHI_SQUARE_MEAN);
        // A residual of next to nothing has a logarithm that outweighs all others.
        let y = y.max(2.0 * x - 30.0);
        self.weight += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    /// p, between 0 (the same at any load) and 2 (proportional to it); 1 while nothing is known, as counts have it.
    fn power(&self) -> f64 {
        if self.weight <= 0.0 {
            return 1.0;
        }
        let (variance, covariance) =
            (self.xx - self.x * self.x / self.weight, self.xy - self.x * self.y / self.weight);
        ((covariance + LOG_CHI_SQUARE_VARIANCE) / (variance + LOG_CHI_SQUARE_VARIANCE)).clamp(0.0, 2.0)
    }
}

/// One coefficient, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// Non-negative, drawn to the prior where the data say little.
    pub(super) value: f64,
    /// What plain least squares say.
    pub(super) plain: f64,
    /// Standard error of `plain`.
    pub(super) standard_error: f64,
    /// The quantile of Student's t by which the standard error becomes a 95 % interval's half.
    pub(super) quantile: f64,
    /// How many times larger its variance is than if the other columns did not go along with it.
    pub(super) inflation: f64,
}

impl Regression {
    pub(super) fn new(prior: Prior, after: Vec<Option<usize>>) -> Self {
        let k = prior.len();
        Self {
            prior,
            after,
            most: None,
            later: Square::zero(k + 1),
            earlier: Square::zero(k + 1),
            across: Square::zero(k + 1),
            scores: Square::zero(k),
            pairs: 0.0,
            pairs_squared: 0.0,
            scored: 0.0,
            spread: Spread::default(),
            seen: 0.0,
            mean: vec![0.0; k + 1],
            last: None,
            autocorrelation: 0.0,
            coefficients: vec![0.0; k],
            plain: vec![0.0; k],
        }
    }

    /// What y would be.
    pub(super) fn predict(&self, x: &[f64]) -> f64 {
        dot(x, &self.coefficients)
    }

    /// The coefficients that predictions are made with.
    pub(super) fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Samples that it knows, as many as count.
    pub(super) fn samples(&self) -> f64 {
        if self.pairs_squared > 0.0 { self.pairs * self.pairs / self.pairs_squared } else { 0.0 }
    }

    /// The mean of column i, and of y after the last one.
    pub(super) fn mean(&self, column: usize) -> f64 {
        if self.seen > 0.0 { self.mean[column] / self.seen } else { 0.0 }
    }

    /// The first column's coefficient is not to be more than this from now on.
    pub(super) fn limit(&mut self, most: Option<f64>) {
        self.most = most;
    }

    /// The next sample does not follow the last one.
    pub(super) fn interrupt(&mut self) {
        self.last = None;
    }

    /// Counts all that it knows as the share `keep` of it.
    pub(super) fn forget(&mut self, keep: f64) {
        for sums in [&mut self.later, &mut self.earlier, &mut self.across] {
            sums.scale(keep);
        }
        self.scores.scale(keep * keep);
        self.scored *= keep * keep;
        self.pairs *= keep;
        self.pairs_squared *= keep * keep;
        self.spread.forget(keep);
        self.seen *= keep;
        self.mean.iter_mut().for_each(|mean| *mean *= keep);
    }

    /// Learns a row, after forgetting all but the share `keep` of what it knew.
    pub(super) fn learn(&mut self, x: &[f64], y: f64, keep: f64) {
        let k = x.len();
        self.forget(keep);
        self.seen += 1.0;
        self.mean.iter_mut().zip(x.iter().chain([&y])).for_each(|(mean, value)| *mean += value);

        let expected = if self.pairs > 0.0 { self.predict(x) } else { y };
        let least = LEAST_SPREAD * self.mean(k).max(f64::MIN_POSITIVE);
        let weight =
            (expected.max(least) / self.mean(k).max(f64::MIN_POSITIVE)).powf(-self.spread.power() / 2.0);
        let row: Vec<f64> = x.iter().chain([&y]).map(|value| value * weight).collect();
        if let Some(before) = self.last.take() {
            self.learn_pair(&row, &before, expected.max(least), weight);
            self.solve();
        }
        self.last = Some(row);
    }

    fn learn_pair(&mut self, row: &[f64], before: &[f64], expected: f64, weight: f64) {
        let k = self.prior.len();
        // Before there are twice as many samples as coefficients a residual says more of the coefficients than of the noise.
        if self.samples() > 2.0 * k as f64 + 2.0
            && let Some(system) = self.system()
        {
            let rho = self.autocorrelation;
            let own: Vec<f64> = row.iter().zip(before).map(|(row, before)| row - rho * before).collect();
            let leverage = system.variance(&own[..k]);
            // The square of a recursive residual divides by 1 + leverage and is right on average, but falls short where few rows
            // carry much; that of the prediction's error divides by 1 and is too large. What is between covers best.
            let error = own[k] - dot(&own[..k], &self.plain);
            let squared = error * error / (1.0 + leverage).powf(0.75);
            self.scores.add_outer(squared, &own[..k], &own[..k]);
            self.scored += 1.0;
            self.spread.learn(expected, squared / (weight * weight));
        }
        self.later.add_outer(1.0, row, row);
        self.earlier.add_outer(1.0, before, before);
        self.across.add_outer(1.0, row, before);
        self.pairs += 1.0;
        self.pairs_squared += 1.0;
    }

    /// The normal equations of the rows without their autoregression, y included.
    fn whitened(&self) -> Square {
        let rho = self.autocorrelation;
        Square::from_fn(self.later.size(), |i, j| {
            self.later.at(i, j) + rho * rho * self.earlier.at(i, j)
                - rho * (self.across.at(i, j) + self.across.at(j, i))
        })
    }

    fn system(&self) -> Option<System> {
        System::of(&self.whitened())
    }

    fn solve(&mut self) {
        self.learn_autocorrelation();
        let whitened = self.whitened();
        if let Some(system) = System::of(&whitened) {
            self.plain = system.solve();
            self.coefficients = self.constrained(&whitened);
        }
    }

    /// The autocorrelation of the residuals that ordinary least squares leave. Not of those that these coefficients leave: with a high one the
    /// idle cost is hardly told, and what is wrong with it is the same in all residuals, which looks like a high one for ever.
    fn learn_autocorrelation(&mut self) {
        let k = self.prior.len();
        let Some(ordinary) = System::of(&self.later) else { return };
        let residual: Vec<f64> = ordinary.solve().iter().map(|b| -b).chain([1.0]).collect();
        let (later, earlier) =
            (self.later.between(&residual, &residual), self.earlier.between(&residual, &residual));
        let free = self.samples() - k as f64;
        if free > 0.0 && later > 0.0 && earlier > 0.0 {
            let found = self.across.between(&residual, &residual) / (later * earlier).sqrt();
            // Kendall's correction of the bias in short series.
            let corrected = found + (1.0 + 3.0 * found) / self.samples();
            let trusted = corrected * free / (free + k as f64);
            self.autocorrelation = trusted.clamp(-MAX_AUTOCORRELATION, MAX_AUTOCORRELATION);
        }
    }

    /// Variance of the whitened noise.
    fn noise(&self, whitened: &Square) -> f64 {
        let k = self.prior.len();
        let residual: Vec<f64> = self.plain.iter().map(|b| -b).chain([1.0]).collect();
        // Weights of rows make their mean y what it is unweighted, to within a small factor.
        let assumed = (PRIOR_NOISE * self.mean(k)).powi(2);
        let sum = whitened.between(&residual, &residual).max(0.0);
        let free = (self.pairs - k as f64).max(0.0);
        (sum + PRIOR_SAMPLES * assumed) / (free + PRIOR_SAMPLES)
    }

    fn constrained(&self, whitened: &Square) -> Vec<f64> {
        let k = self.prior.len();
        let penalty = self.penalty(self.noise(whitened));
        let a = Square::from_fn(k, |i, j| whitened.at(i, j) + penalty.at(i, j));
        let b: Vec<f64> = (0..k).map(|i| whitened.at(i, k)).collect();
        let found = self.ordered(&a, &b, self.noise(whitened));
        let Some(most) = self.most.filter(|most| found[0] > *most) else { return found };
        // The first coefficient is what it is, and what it explains is not left for the others.
        let is_first = |i: usize, j: usize| i == 0 || j == 0;
        let own = |i: usize, j: usize| if i == j { 1.0 } else { 0.0 };
        let fixed = Square::from_fn(k, |i, j| if is_first(i, j) { own(i, j) } else { a.at(i, j) });
        let left = (0..k).map(|i| if i == 0 { most } else { b[i] - a.at(i, 0) * most }).collect::<Vec<_>>();
        self.ordered(&fixed, &left, self.noise(whitened))
    }

    /// Non-negative coefficients in their order, if the data do not protest.
    fn ordered(&self, a: &Square, b: &[f64], noise: f64) -> Vec<f64> {
        let k = self.prior.len();
        let free = solve_non_negative(a, b, &vec![None; k]);
        if self.after.iter().all(Option::is_none) {
            return free;
        }
        let is_ordered = (0..k).all(|i| self.after[i].is_none_or(|before| free[i] >= free[before]));
        if is_ordered {
            return free;
        }
        let ordered = solve_non_negative(a, b, &self.after);
        let loss = |x: &[f64]| a.between(x, x) - 2.0 * dot(x, b);
        // Each standard error that the order is violated by adds one to the square root.
        let protest = (loss(&ordered) - loss(&free)) / noise;
        if protest > 9.0 { free } else { ordered }
    }

    /// The prior's share of the normal equations: Σ (β − s·typical)²/(s·typical)² times the noise, at the s for which that
    /// is least.
    fn penalty(&self, noise: f64) -> Square {
        let k = self.prior.len();
        let typical: f64 = (0..k).filter_map(|i| Some(self.prior[i]? * self.mean(i))).sum();
        let believed = self.prior.iter().flatten().count() as f64;
        if typical <= 0.0 || self.mean(k) <= 0.0 {
            return Square::from_fn(k, |i, j| if i == j { f64::MIN_POSITIVE } else { 0.0 });
        }
        let scale = self.mean(k) / typical;
        let strength = noise / (scale * scale);
        Square::from_fn(k, |i, j| match (self.prior[i], self.prior[j]) {
            (Some(left), Some(right)) => {
                let own = if i == j { 1.0 } else { 0.0 };
                strength * (own - 1.0 / believed) / (left * right)
            }
            // Nothing is thought of it but that it does not explain all of y.
            (None, None) if i == j => noise * (self.mean(i) / self.mean(k)).powi(2),
            _ => 0.0,
        })
    }

    /// Column i's coefficient, as far as it is known; none while there are fewer samples than it takes.
    pub(super) fn estimate(&self, column: usize) -> Option<Estimate> {
        let whitened = self.whitened();
        let along = self.along(column, &whitened)?;
        let free = self.samples() - self.prior.len() as f64;
        Some(Estimate {
            value: self.coefficients[column],
            plain: self.plain[column],
            standard_error: self.standard_error(&along),
            quantile: StudentsT::new(0.0, 1.0, free).ok()?.inverse_cdf(0.975),
            inflation: along[column] * whitened.at(column, column),
        })
    }

    /// Two standard errors above what plain least squares say of column i's coefficient: about the end of its interval, for less work.
    pub(super) fn at_most(&self, column: usize) -> Option<f64> {
        let along = self.along(column, &self.whitened())?;
        Some((self.plain[column] + 2.0 * self.standard_error(&along)).max(0.0))
    }

    /// The column's row of the inverse of the normal equations.
    fn along(&self, column: usize, whitened: &Square) -> Option<Vec<f64>> {
        let is_enough = self.samples() - self.prior.len() as f64 >= 2.0 && self.scored > 0.0;
        Some(System::of(whitened).filter(|_| is_enough)?.row_of_inverse(column))
    }

    fn standard_error(&self, along: &[f64]) -> f64 {
        let variance = self.scores.between(along, along) * self.pairs_squared / self.scored;
        variance.max(0.0).sqrt()
    }
}

/// Non-negative coefficients of which some must not be less than others.
fn solve_non_negative(a: &Square, b: &[f64], after: &[Option<usize>]) -> Vec<f64> {
    let k = b.len();
    // β = T·δ with δ ≥ 0: column j's δ is in the coefficients of all that come after it, and so is in A and b.
    let before = |i: usize| after[i].filter(|before| *before < i);
    let (mut inner, mut right) = (a.clone(), b.to_vec());
    for i in (0..k).rev() {
        let Some(before) = before(i) else { continue };
        right[before] += right[i];
        (0..k).for_each(|row| inner.set(row, before, inner.at(row, before) + inner.at(row, i)));
    }
    for i in (0..k).rev() {
        let Some(before) = before(i) else { continue };
        (0..k).for_each(|column| inner.set(before, column, inner.at(before, column) + inner.at(i, column)));
    }
    let sizes: Vec<f64> = (0..k).map(|i| inner.at(i, i).max(f64::MIN_POSITIVE).sqrt()).collect();
    let scaled =
        Square::from_fn(k, |i, j| inner.at(i, j) / (sizes[i] * sizes[j]) + if i == j { RIDGE } else { 0.0 });
    let right: Vec<f64> = right.iter().zip(&sizes).map(|(right, size)| right / size).collect();
    let deltas = non_negative(&scaled, &right);
    let mut solved: Vec<f64> = deltas.iter().zip(&sizes).map(|(delta, size)| delta / size).collect();
    for i in 0..k {
        if let Some(before) = before(i) {
            solved[i] += solved[before];
        }
    }
    solved
}

/// Normal equations with all columns brought to the same size.
struct System {
    sizes: Vec<f64>,
    factor: Cholesky,
    right: Vec<f64>,
}

impl System {
    /// Of a matrix whose last column is y.
    fn of(whitened: &Square) -> Option<Self> {
        let k = whitened.size() - 1;
        let sizes: Vec<f64> = (0..k).map(|i| whitened.at(i, i).max(0.0).sqrt()).collect();
        // A column of zeros stands alone, with coefficient 0.
        let sizes: Vec<f64> = sizes.iter().map(|s| if *s > 0.0 { *s } else { 1.0 }).collect();
        let scaled = Square::from_fn(k, |i, j| {
            let ridge = if i == j { RIDGE } else { 0.0 };
            whitened.at(i, j) / (sizes[i] * sizes[j]) + ridge
        });
        let right = (0..k).map(|i| whitened.at(i, k) / sizes[i]).collect();
        Some(Self { factor: Cholesky::of(&scaled)?, sizes, right })
    }

    fn solve(&self) -> Vec<f64> {
        let solved = self.factor.solve(&self.right);
        solved.iter().zip(&self.sizes).map(|(solved, size)| solved / size).collect()
    }

    /// xᵀ·A⁻¹·x.
    fn variance(&self, x: &[f64]) -> f64 {
        let scaled: Vec<f64> = x.iter().zip(&self.sizes).map(|(x, size)| x / size).collect();
        let half = self.factor.forward(&scaled);
        dot(&half, &half)
    }

    fn row_of_inverse(&self, row: usize) -> Vec<f64> {
        let unit: Vec<f64> =
            (0..self.sizes.len()).map(|i| if i == row { 1.0 / self.sizes[i] } else { 0.0 }).collect();
        let solved = self.factor.solve(&unit);
        solved.iter().zip(&self.sizes).map(|(solved, size)| solved / size).collect()
    }
}
