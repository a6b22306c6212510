//! What a metrics server answers to a range query: `rate(…)` of requests, or of their duration buckets, by `le`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use plimsoll::units::{Span, Time};
use serde::Deserialize;

use super::write::check_steps;
use super::{Content, ConvertError, Converted, Counts, MAX_JSON, open};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: String,
    #[serde(default)]
    data: Data,
    #[serde(default)]
    error: String,
    /// What Prometheus and Thanos say of answers that lack something.
    #[serde(default)]
    warnings: Vec<String>,
    /// The same of VictoriaMetrics.
    #[serde(default)]
    is_partial: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// Milliseconds since 1970, since that is as fine as these instants are.
type Millis = i64;

/// Rates over the steps that end at the instants of the answer, as numbers of requests. Series with the same `le`, or none, are added up. A step that is
/// missing is one without requests. Steps are as long as `step` says; else as the two instants that are nearest to each other are apart.
///
/// # Errors
/// When it is no such answer, or one that is not whole.
pub fn range_query(path: &Path, step: Option<Span>) -> Result<Converted, ConvertError> {
    let wrong = |found: String, expected: &str| ConvertError::content(path, 1, found, expected);
    let expected = "the answer to a range query (/api/v1/query_range), a matrix";
    let mut reader = open(path)?.take(MAX_JSON);
    let mut text = Vec::new();
    reader.read_to_end(&mut text).map_err(|source| ConvertError::io(path, source))?;
    let response: Response = serde_json::from_slice(&text).map_err(|error| {
        let line = u64::try_from(error.line()).unwrap_or(1).max(1);
        ConvertError::content(path, line, error.to_string(), expected)
    })?;
    if response.status == "error" {
        return Err(ConvertError::NotWhole {
            path: path.to_owned(),
            said: format!("refused: {}", response.error),
        });
    }
    if response.is_partial || !response.warnings.is_empty() {
        let said = match response.warnings.first() {
            Some(first) => format!("warns that its answer is not whole ({first})"),
            None => "says that its answer is partial".to_owned(),
        };
        return Err(ConvertError::NotWhole { path: path.to_owned(), said });
    }
    if response.status != "success" || response.data.result_type != "matrix" {
        return Err(wrong(format!("{} with a {}", response.status, response.data.result_type), expected));
    }
    let mut bounds: BTreeMap<u64, BTreeMap<Millis, f64>> = BTreeMap::new();
    let mut instants = BTreeSet::new();
    let mut has_bounds = None;
    for Series { metric, values } in response.data.result {
        let le = match metric.get("le") {
            None => None,
            Some(le) => {
                let bound = le.parse::<f64>().ok().filter(|le| *le >= 0.0);
                Some(bound.ok_or_else(|| wrong(format!("le={le:?}"), "bounds from zero on"))?)
            }
        };
        // What took no time is in the next bucket too.
        if le == Some(0.0) {
            continue;
        }
        if *has_bounds.get_or_insert(le.is_some()) != le.is_some() {
            return Err(wrong("series with and without le".into(), "one or the other"));
        }
        // Bounds above zero have the order of their bits.
        let sums = bounds.entry(le.unwrap_or(f64::INFINITY).to_bits()).or_default();
        for (at, value) in values {
            let value: f64 = value.parse().map_err(|_| wrong(format!("the value {value:?}"), "numbers"))?;
            if value.is_nan() {
                continue;
            }
            if !(0.0..=1e12).contains(&value) || !(0.0..1e11).contains(&at) {
                return Err(wrong(format!("{value} at {at}"), "rates from zero on"));
            }
            let at = (1e3 * at).round() as Millis;
            instants.insert(at);
            *sums.entry(at).or_default() += value;
        }
    }
    let (Some(first), Some(last)) = (instants.first().copied(), instants.last().copied()) else {
        return Err(ConvertError::Empty { path: path.to_owned() });
    };
    let apart = instants.iter().zip(instants.iter().skip(1)).map(|(a, b)| b - a).min();
    let step = step.map(|step| step.as_millis()).or(apart).filter(|step| *step > 0);
    let step =
        step.ok_or_else(|| wrong("one instant".into(), "at least two, as their distance is the step"))?;
    check_steps((last - first) / step + 1)?;
    if instants.iter().any(|at| (at - first) % step != 0) {
        return Err(wrong("uneven steps".into(), "instants that are whole steps apart"));
    }
    let seconds = step as f64 / 1e3;
    let row = |at: Millis| {
        let mut below = 0.0;
        let each = bounds.values().map(|sums| {
            let upto = sums.get(&at).copied().unwrap_or(0.0).max(below);
            seconds * (upto - std::mem::replace(&mut below, upto))
        });
        each.collect::<Vec<f64>>()
    };
    let rows = (0..=(last - first) / step).map(|i| row(first + i * step)).collect();
    let le: Vec<f64> = bounds.keys().map(|bits| f64::from_bits(*bits)).collect();
    if has_bounds == Some(true) && le.last() != Some(&f64::INFINITY) {
        return Err(wrong("no le=\"+Inf\"".into(), "all buckets"));
    }
    let start = Some(Time::EPOCH + Span::from_millis(first - step));
    let step = Span::from_millis(step);
    let le = (has_bounds == Some(true)).then_some(le);
    Ok(Converted { content: Content::Counts(Counts { start, step, le, rows }), passed_over: None })
}
