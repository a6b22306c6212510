//! What other implementations make of the same numbers, for tests: `make_golden.py` beside the file says which and how.

use serde_json::Value;

/// One part of the golden values.
pub(super) fn part(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../tests/data/forecast/golden.json")).unwrap();
    all[name].clone()
}

/// A number of a part.
pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// A list of numbers of a part.
pub(super) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// The rows of a part that is a table.
pub(super) fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

/// That all are as golden, up to a share of the largest of them.
pub(super) fn assert_close(found: &[f64], golden: &[f64], share: f64) {
    assert_eq!(found.len(), golden.len());
    let largest = golden.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (i, (found, golden)) in found.iter().zip(golden).enumerate() {
        assert!((found - golden).abs() <= share * largest, "number {i}: {found}, not {golden}");
    }
}
