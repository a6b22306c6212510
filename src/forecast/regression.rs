//! Linear regression that learns row by row and forgets: by least squares, or by any loss that reweighing rows turns into
//! least squares.

use super::recent::Ewma;

/// Σ aᵢ bᵢ, of as many each, in four sums side by side: a processor adds them at once, where each addition to a single one waits for the one before.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    debug_assert_eq!(a.len(), b.len());
    let ((fours_a, rest_a), (fours_b, rest_b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for (a, b) in fours_a.iter().zip(fours_b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// Where a lower triangle that is stored row by row has its entry of row `i` and column `j`.
fn at(i: usize, j: usize) -> usize {
    i * (i + 1) / 2 + j
}

/// Replaces a positive definite matrix of `k` rows, of which the lower triangle is given, by its Cholesky factor. False where it is not positive
/// definite. Column by column, so that all that is left of a row changes at once.
fn factorize(matrix: &mut [f64], k: usize) -> bool {
    let mut column = vec![0.0; k];
    for j in 0..k {
        let pivot = matrix[at(j, j)];
        if pivot.is_nan() || pivot <= TINY * TINY {
            return false;
        }
        let root = pivot.sqrt();
        matrix[at(j, j)] = root;
        for i in j + 1..k {
            let entry = matrix[at(i, j)] / root;
            matrix[at(i, j)] = entry;
            column[i] = entry;
            let rest = &mut matrix[at(i, j + 1)..=at(i, i)];
            rest.iter_mut().zip(&column[j + 1..=i]).for_each(|(rest, other)| *rest -= entry * other);
        }
    }
    true
}

/// Weighted least squares with exponential forgetting and a ridge, on the normal equations: O(k²) memory and time a row.
///
/// Minimises Σ gᵃ w (y − θ·x)² + (λ + p / n) Σ dⱼ θⱼ², where a is a row's age in rows, dⱼ the weighted sum of squares of xⱼ and n the
/// rows that still count. So the ridge is in units of each input's own size, and the result does not depend on those units. p is a
/// prior worth so many rows: it matters while there are few.
#[derive(Debug, Clone)]
pub(super) struct Regression {
    inputs: usize,
    /// Lower triangle, row by row.
    gram: Vec<f64>,
    moment: Vec<f64>,
    ridge: f64,
    prior: f64,
    half_life: f64,
    /// Weight of the next row: growing weights forget without touching what is there.
    next: f64,
    rows: u64,
    /// Rows, each by how much it still counts.
    kept: f64,
    coefficients: Vec<f64>,
}

/// What holds coefficients back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ridge {
    /// λ, always.
    pub(super) ridge: f64,
    /// p, in rows.
    pub(super) prior: f64,
}

/// Rows that are never forgotten faster than this, in rows.
const LEAST_HALF_LIFE: f64 = 200.0;

/// Weights are scaled back before they overflow.
const LARGEST_WEIGHT: f64 = 1e100;

impl Regression {
    /// Of `inputs` inputs. A row counts half after `half_life` rows. The first input is taken for the intercept: no ridge holds it.
    pub(super) fn new(inputs: usize, half_life: f64, Ridge { ridge, prior }: Ridge) -> Self {
        Self {
            inputs,
            gram: vec![0.0; inputs * (inputs + 1) / 2],
            moment: vec![0.0; inputs],
            ridge,
            prior,
            kept: 0.0,
            half_life,
            next: 1.0,
            rows: 0,
            coefficients: vec![0.0; inputs],
        }
    }

    /// Inputs of a row.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        8 * (self.gram.len() + self.moment.len() + self.coefficients.len())
    }

    /// Rows that it has learned.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Learns that inputs `x` gave `y`, with weight `w`.
    pub(super) fn learn(&mut self, x: &[f64], y: f64, w: f64) {
        debug_assert_eq!(x.len(), self.inputs);
        let w = w * self.next;
        let mut start = 0;
        for (i, xi) in x.iter().enumerate() {
            let scaled = w * xi;
            let row = &mut self.gram[start..start + i + 1];
            for (entry, xj) in row.iter_mut().zip(x) {
                *entry += scaled * xj;
            }
            self.moment[i] += scaled * y;
            start += i + 1;
        }
        self.rows += 1;
        self.kept += self.next;
        // While there are few rows the first ones, which were weighed by bad coefficients, are forgotten faster.
        let half_life = self.half_life.min((0.5 * self.rows as f64).max(LEAST_HALF_LIFE));
        self.next *= (std::f64::consts::LN_2 / half_life).exp();
        if self.next > LARGEST_WEIGHT {
            let back = self.next.recip();
            let all = self.gram.iter_mut().chain(&mut self.moment).chain([&mut self.next, &mut self.kept]);
            all.for_each(|entry| *entry *= back);
        }
    }

    /// Finds the coefficients for what was learned so far. What cannot be solved leaves them as they are.
    pub(super) fn solve(&mut self) {
        let k = self.inputs;
        let size: Vec<f64> = (0..k)
            .map(|i| {
                let own = self.gram[at(i, i)];
                // An input that never moved has nothing to say.
                if own > 0.0 { own.sqrt().recip() } else { 0.0 }
            })
            .collect();
        let ridge = self.ridge + self.prior * self.next / self.kept.max(self.next);
        // The matrix with unit diagonal, plus the ridge.
        let mut factor = self.gram.clone();
        for i in 0..k {
            let row = &mut factor[at(i, 0)..=at(i, i)];
            row.iter_mut().zip(&size).for_each(|(entry, size_j)| *entry *= size[i] * size_j);
            let held = if i == 0 { TINY } else { ridge };
            row[i] = if size[i] > 0.0 { row[i] + held } else { 1.0 };
        }
        if !factorize(&mut factor, k) {
            return;
        }
        let mut solution = vec![0.0; k];
        for i in 0..k {
            let known = dot(&factor[at(i, 0)..at(i, i)], &solution[..i]);
            solution[i] = (self.moment[i] * size[i] - known) / factor[at(i, i)];
        }
        for i in (0..k).rev() {
            let found = solution[i] / factor[at(i, i)];
            solution[i] = found;
            for (other, l) in solution.iter_mut().zip(&factor[at(i, 0)..at(i, i)]) {
                *other -= l * found;
            }
        }
        if solution.iter().all(|s| s.is_finite()) {
            for (coefficient, (s, size)) in self.coefficients.iter_mut().zip(solution.iter().zip(&size)) {
                *coefficient = s * size;
            }
        }
    }

    /// θ·x.
    pub(super) fn predict(&self, x: &[f64]) -> f64 {
        dot(&self.coefficients, x)
    }
}

/// Least pivot, relative to an input's own size.
const TINY: f64 = 1e-9;

/// Linear quantile regression that learns row by row.
///
/// Koenker and Bassett's (1978) check loss as iteratively reweighed least squares: a row of residual r weighs
/// |τ − 1[r < 0]| / max(|r|, ε). Here each row is weighed once, by the coefficients in force when it comes, and forgetting makes
/// up for those that were weighed by early ones: the fixed point is the same, Σ x (τ − 1[r < 0]) = 0 but for |r| < ε.
#[derive(Debug, Clone)]
pub(super) struct QuantileRegression {
    fit: Regression,
    tau: f64,
    /// Mean absolute residual: what ε is a share of.
    spread: Ewma,
}

/// ε, as a share of the mean absolute residual: small against what matters, and large enough that no single row rules.
const SMOOTHING: f64 = 0.1;

impl QuantileRegression {
    /// Of quantile `tau`; otherwise as [`Regression::new`].
    pub(super) fn new(inputs: usize, tau: f64, half_life: f64, ridge: Ridge) -> Self {
        Self { fit: Regression::new(inputs, half_life, ridge), tau, spread: Ewma::new(half_life) }
    }

    /// Learns that inputs `x` gave `y`.
    pub(super) fn learn(&mut self, x: &[f64], y: f64) {
        let residual = y - self.fit.predict(x);
        self.spread.push(residual.abs());
        let side = if residual < 0.0 { 1.0 - self.tau } else { self.tau };
        let least = (SMOOTHING * self.spread.get()).max(f64::MIN_POSITIVE);
        self.fit.learn(x, y, side * least / residual.abs().max(least));
    }

    /// What predicts.
    pub(super) fn fit(&self) -> &Regression {
        &self.fit
    }

    pub(super) fn solve(&mut self) {
        self.fit.solve();
    }

    pub(super) fn inputs(&self) -> usize {
        self.fit.inputs()
    }

    pub(super) fn bytes(&self) -> usize {
        self.fit.bytes()
    }

    pub(super) fn predict(&self, x: &[f64]) -> f64 {
        self.fit.predict(x)
    }

    pub(super) fn rows(&self) -> u64 {
        self.fit.rows()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::forecast::golden::{assert_close, number, numbers, part, rows};
    use crate::forecast::mixture::pinball;

    /// A row with the intercept's one before it.
    fn full(row: &[f64]) -> Vec<f64> {
        [&[1.0], row].concat()
    }

    fn table(golden: &Value) -> Vec<(Vec<f64>, f64)> {
        rows(&golden["x"]).iter().map(|row| full(row)).zip(numbers(&golden["y"])).collect()
    }

    fn coefficients(fit: &Value) -> Vec<f64> {
        [vec![number(&fit["intercept"])], numbers(&fit["coefficients"])].concat()
    }

    /// The coefficients that a regression finds for all rows alike: each is weighed by as much as is forgotten of it later.
    fn fitted(table: &[(Vec<f64>, f64)], ridge: Ridge) -> Vec<f64> {
        let mut fit = Regression::new(5, f64::INFINITY, ridge);
        for (age, (x, y)) in table.iter().enumerate() {
            fit.learn(x, *y, (-(age as f64) / LEAST_HALF_LIFE).exp2());
        }
        fit.solve();
        fit.coefficients
    }

    #[test]
    fn without_a_ridge_it_is_least_squares() {
        let golden = part("ridge");
        let fit = &golden["fits"][0];
        assert_eq!(number(&fit["penalty"]), 0.0);
        let found = fitted(&table(&golden), Ridge { ridge: 0.0, prior: 0.0 });
        assert_close(&found, &coefficients(fit), 1e-7);
    }

    /// Ours is in units of each input's own sum of squares, so the golden fits are those with penalties in proportion to it.
    #[test]
    fn a_ridge_holds_back_as_a_penalty_in_each_inputs_own_unit_does() {
        let golden = part("ridge");
        let table = table(&golden);
        for fit in golden["in_proportion"].as_array().unwrap() {
            let ridge = number(&fit["penalty"]);
            let found = fitted(&table, Ridge { ridge, prior: 0.0 });
            assert_close(&found, &coefficients(fit), 1e-7);
            // A prior of as many rows as still count, n, times the penalty is the same: it is divided by n.
            let n: f64 = (1..=table.len()).map(|age| (-(age as f64) / LEAST_HALF_LIFE).exp2()).sum();
            let found = fitted(&table, Ridge { ridge: 0.0, prior: ridge * n });
            assert_close(&found, &coefficients(fit), 1e-7);
        }
    }

    #[test]
    fn an_input_that_never_moved_has_nothing_to_say() {
        let mut fit = Regression::new(3, 1000.0, Ridge { ridge: 1e-3, prior: 0.0 });
        for i in 0..50 {
            fit.learn(&[1.0, f64::from(i), 0.0], 3.0 + 2.0 * f64::from(i), 1.0);
        }
        fit.solve();
        assert_eq!(fit.coefficients[2], 0.0);
        assert!((fit.predict(&[1.0, 20.0, 1e9]) - 43.0).abs() < 0.5);
    }

    #[test]
    fn old_rows_are_forgotten_at_the_half_life() {
        let mut fit = Regression::new(1, 300.0, Ridge { ridge: 0.0, prior: 0.0 });
        (0..10_000).for_each(|_| fit.learn(&[1.0], 0.0, 1.0));
        (0..300).for_each(|_| fit.learn(&[1.0], 1.0, 1.0));
        fit.solve();
        assert!((fit.predict(&[1.0]) - 0.5).abs() < 1e-6, "{}", fit.predict(&[1.0]));
    }

    /// Weights that grow are scaled back: 400,000 rows at the fastest forgetting are e^1386 without that.
    #[test]
    fn weights_that_would_overflow_are_scaled_back() {
        let mut fit = Regression::new(2, 1.0, Ridge { ridge: 1e-9, prior: 0.0 });
        for i in 0..400_000 {
            let x = f64::from(i % 7);
            fit.learn(&[1.0, x], 1.0 + x, 1.0);
        }
        fit.solve();
        assert!(fit.next <= LARGEST_WEIGHT && fit.kept.is_finite());
        assert_close(&fit.coefficients, &[1.0, 1.0], 1e-6);
    }

    /// Not exactly the optimum: rows whose residual is below ε count as in least squares, a tenth of the mean residual, and each
    /// row is weighed by the coefficients of its time, so that the last pass is not of one mind.
    #[test]
    fn passing_over_the_rows_again_approaches_the_least_check_loss() {
        let golden = part("quantile_regression");
        let table = table(&golden);
        for fit in golden["fits"].as_array().unwrap() {
            let tau = number(&fit["tau"]);
            let mut learned = QuantileRegression::new(5, tau, 5000.0, Ridge { ridge: 1e-9, prior: 0.0 });
            let loss = |learned: &QuantileRegression| {
                let sum: f64 = table.iter().map(|(x, y)| pinball(tau, learned.predict(x), *y)).sum();
                sum / table.len() as f64
            };
            let mut least_squares = Regression::new(5, 5000.0, Ridge { ridge: 1e-9, prior: 0.0 });
            table.iter().for_each(|(x, y)| least_squares.learn(x, *y, 1.0));
            least_squares.solve();
            for _ in 0..20 {
                for (i, (x, y)) in table.iter().enumerate() {
                    learned.learn(x, *y);
                    if i % 15 == 0 {
                        learned.solve();
                    }
                }
            }
            learned.solve();
            let (found, least) = (loss(&learned), number(&fit["exact"]["loss"]));
            assert!((1.0..1.02).contains(&(found / least)), "at {tau}: {found}, least {least}");
            let below = table.iter().filter(|(x, y)| *y <= learned.predict(x)).count() as f64;
            assert!((below / table.len() as f64 - tau).abs() < 0.02, "at {tau}: {below} below");
        }
    }
}
