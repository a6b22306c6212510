//! Small dense linear algebra: what a regression on some twenty columns needs, and no more.

use serde::{Deserialize, Serialize};

/// A square matrix, row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Square {
    size: usize,
    cells: Vec<f64>,
}

impl Square {
    pub(super) fn zero(size: usize) -> Self {
        Self { size, cells: vec![0.0; size * size] }
    }

    /// Whether it is of so many rows and columns.
    pub(super) fn is_sound(&self, size: usize) -> bool {
        self.size == size && self.cells.len() == size * size
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.cells[row * self.size + column]
    }

    pub(super) fn set(&mut self, row: usize, column: usize, value: f64) {
        self.cells[row * self.size + column] = value;
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.cells.iter_mut().for_each(|cell| *cell *= factor);
    }

    /// Adds `factor` · left · rightᵀ.
    pub(super) fn add_outer(&mut self, factor: f64, left: &[f64], right: &[f64]) {
        for (row, l) in self.cells.chunks_exact_mut(self.size).zip(left) {
            for (cell, r) in row.iter_mut().zip(right) {
                *cell += factor * l * r;
            }
        }
    }

    /// leftᵀ · self · right.
    pub(super) fn between(&self, left: &[f64], right: &[f64]) -> f64 {
        let rows = self.cells.chunks_exact(self.size);
        rows.zip(left).map(|(row, l)| l * dot(row, right)).sum()
    }

    /// self · vector.
    pub(super) fn times(&self, vector: &[f64]) -> Vec<f64> {
        self.cells.chunks_exact(self.size).map(|row| dot(row, vector)).collect()
    }

    /// The matrix made cell by cell.
    pub(super) fn from_fn(size: usize, cell: impl Fn(usize, usize) -> f64) -> Self {
        let cells = (0..size * size).map(|i| cell(i / size, i % size)).collect();
        Self { size, cells }
    }
}

pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(l, r)| l * r).sum()
}

/// The lower Cholesky factor of a symmetric positive definite matrix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cholesky(Square);

impl Cholesky {
    /// None where the matrix is not positive definite.
    pub(super) fn of(matrix: &Square) -> Option<Self> {
        let n = matrix.size();
        let mut factor = Square::zero(n);
        for row in 0..n {
            for column in 0..=row {
                let (left, right) = (row * n, column * n);
                let sum = dot(&factor.cells[left..left + column], &factor.cells[right..right + column]);
                let rest = matrix.at(row, column) - sum;
                if row == column {
                    if !(rest > 0.0 && rest.is_finite()) {
                        return None;
                    }
                    factor.set(row, row, rest.sqrt());
                } else {
                    factor.set(row, column, rest / factor.at(column, column));
                }
            }
        }
        Some(Self(factor))
    }

    /// L⁻¹ · vector.
    pub(super) fn forward(&self, vector: &[f64]) -> Vec<f64> {
        let mut solved = vec![0.0; vector.len()];
        for row in 0..vector.len() {
            let begin = row * self.0.size;
            let sum = dot(&self.0.cells[begin..begin + row], &solved[..row]);
            solved[row] = (vector[row] - sum) / self.0.at(row, row);
        }
        solved
    }

    /// (L·Lᵀ)⁻¹ · vector.
    pub(super) fn solve(&self, vector: &[f64]) -> Vec<f64> {
        let mut solved = self.forward(vector);
        for row in (0..solved.len()).rev() {
            let below: f64 = (row + 1..solved.len()).map(|i| self.0.at(i, row) * solved[i]).sum();
            solved[row] = (solved[row] - below) / self.0.at(row, row);
        }
        solved
    }
}

/// Of all x ≥ 0 the one for which ½xᵀ·A·x − bᵀ·x is least: non-negative least squares on the normal equations, by
/// the active-set method of Lawson and Hanson in the form that Bro and de Jong (1997) gave it.
pub(super) fn non_negative(a: &Square, b: &[f64]) -> Vec<f64> {
    by_dropping(a, b).unwrap_or_else(|| by_active_set(a, b))
}

/// Solves without a constraint, and again without what came out negative, until nothing does: most often the solution, and
/// a tenth of the work. None where it is not.
fn by_dropping(a: &Square, b: &[f64]) -> Option<Vec<f64>> {
    let n = b.len();
    let mut chosen: Vec<usize> = (0..n).collect();
    loop {
        let solved = on(a, b, &chosen)?;
        if solved.iter().all(|s| *s > 0.0) {
            let mut x = vec![0.0; n];
            chosen.iter().zip(&solved).for_each(|(i, s)| x[*i] = *s);
            let ax = a.times(&x);
            let is_best = (0..n).all(|i| x[i] > 0.0 || b[i] <= ax[i]);
            return is_best.then_some(x);
        }
        let mut solved = solved.iter();
        chosen.retain(|_| solved.next().is_some_and(|s| *s > 0.0));
    }
}

/// The solution in which all but the chosen variables are zero; none where these are collinear.
fn on(a: &Square, b: &[f64], chosen: &[usize]) -> Option<Vec<f64>> {
    let part = Square::from_fn(chosen.len(), |i, j| a.at(chosen[i], chosen[j]));
    let right: Vec<f64> = chosen.iter().map(|i| b[*i]).collect();
    Cholesky::of(&part).map(|factor| factor.solve(&right))
}

fn by_active_set(a: &Square, b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut x = vec![0.0; n];
    let mut passive = vec![false; n];
    let scale = b.iter().fold(0.0f64, |most, b| most.max(b.abs()));
    // Each round lets one variable in; more rounds than this only come of rounding errors.
    for _ in 0..3 * n {
        let ax = a.times(&x);
        let gradient = |i: usize| b[i] - ax[i];
        let best = (0..n).filter(|i| !passive[*i]).max_by(|i, j| gradient(*i).total_cmp(&gradient(*j)));
        let Some(entering) = best.filter(|i| gradient(*i) > 1e-12 * scale) else { break };
        passive[entering] = true;
        loop {
            let chosen: Vec<usize> = (0..n).filter(|i| passive[*i]).collect();
            let Some(solved) = on(a, b, &chosen) else {
                // Collinear with what is in already.
                passive[entering] = false;
                return x;
            };
            if solved.iter().all(|s| *s > 0.0) {
                x = vec![0.0; n];
                chosen.iter().zip(&solved).for_each(|(i, s)| x[*i] = *s);
                break;
            }
            let step = chosen.iter().zip(&solved).filter(|(_, s)| **s <= 0.0);
            let step = step.map(|(i, s)| x[*i] / (x[*i] - s)).fold(1.0, f64::min);
            for (i, s) in chosen.iter().zip(&solved) {
                x[*i] += step * (s - x[*i]);
                if x[*i] <= 1e-15 || *s <= 0.0 && step >= 1.0 {
                    x[*i] = 0.0;
                    passive[*i] = false;
                }
            }
            if !chosen.iter().any(|i| passive[*i]) {
                break;
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of a design whose normal equations are those of `a` and `b`.
    fn normal(rows: &[Vec<f64>], y: &[f64]) -> (Square, Vec<f64>) {
        let n = rows[0].len();
        let mut a = Square::zero(n);
        let mut b = vec![0.0; n];
        for (row, y) in rows.iter().zip(y) {
            a.add_outer(1.0, row, row);
            b.iter_mut().zip(row).for_each(|(b, x)| *b += x * y);
        }
        (a, b)
    }

    #[test]
    fn a_system_is_solved() {
        let a = Square::from_fn(2, |i, j| [[4.0, 2.0], [2.0, 3.0]][i][j]);
        let solved = Cholesky::of(&a).unwrap().solve(&[2.0, 5.0]);
        assert!((solved[0] + 0.5).abs() < 1e-12 && (solved[1] - 2.0).abs() < 1e-12, "{solved:?}");
        assert_eq!(Cholesky::of(&Square::from_fn(2, |_, _| 1.0)), None);
    }

    #[test]
    fn what_would_be_negative_is_zero_and_the_rest_makes_up_for_it() {
        let (a, b) = normal(&[vec![1.0, 1.0], vec![1.0, 2.0], vec![1.0, 3.0]], &[3.0, 2.0, 1.0]);
        let x = non_negative(&a, &b);
        assert!((x[0] - 2.0).abs() < 1e-12 && x[1] == 0.0, "{x:?}");
    }

    proptest! {
        /// The conditions of Karush, Kuhn and Tucker hold.
        #[test]
        fn no_step_that_is_allowed_makes_it_better(
            rows in proptest::collection::vec(proptest::collection::vec(0.0..10.0f64, 5), 12),
            y in proptest::collection::vec(-10.0..10.0f64, 12),
        ) {
            let (a, b) = normal(&rows, &y);
            let x = non_negative(&a, &b);
            prop_assert!(x.iter().zip(by_active_set(&a, &b)).all(|(x, other)| (x - other).abs() < 1e-6));
            let ax = a.times(&x);
            for i in 0..5 {
                let gradient = b[i] - ax[i];
                prop_assert!(x[i] >= 0.0);
                prop_assert!(gradient <= 1e-6, "{i}: {gradient}");
                prop_assert!(x[i] == 0.0 || gradient.abs() <= 1e-6, "{i}: {gradient}");
            }
        }
    }
}
