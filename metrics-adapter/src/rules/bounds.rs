//! Whether class edges are bounds of the histogram, as a metrics server knows it.
//!
//! A rule cannot split a bucket as the adapter does, whose split obeys the sum of durations. So an edge that is no bound is refused, with
//! the edges that would do.

use std::collections::BTreeMap;

use plimsoll::load::Weighing;

use super::window;
use crate::collect::prometheus::{Answer, Api, QueryError, Value};
use crate::collect::{PodNames, Query, Workload};
use crate::config::{ConfigError, Wishes};

/// Why edges cannot be checked, or are wrong.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// The server does not tell the bounds.
    #[error("the bounds of {key}'s histogram cannot be asked for: {source}")]
    Query {
        /// The object, by its name.
        key: String,
        /// Why not.
        source: QueryError,
    },
    /// Edges that are no bounds.
    #[error(transparent)]
    Edges(#[from] ConfigError),
}

/// Asks a server for the bounds of every histogram whose requests are weighed by hand. One that it does not know passes, with a warning.
///
/// # Errors
/// When the server does not answer, or with every object whose edges are no bounds.
pub async fn check_bounds(wishes: &Wishes, api: &Api) -> Result<(), BoundsError> {
    let mut problems = Vec::new();
    for (key, wish) in &wishes.objects {
        let Weighing::Given(weights) = &wish.checked.weighing else { continue };
        let pods = PodNames::Of(wish.spec.scale_target_ref.clone());
        let workload = Workload { namespace: &key.namespace, pods: &pods, window: window(wish) };
        let answer = api.query(&workload.bounds(&Query::new(&wish.spec.load))).await;
        let answer = answer.map_err(|source| BoundsError::Query { key: key.to_string(), source })?;
        let bounds = common(answer);
        if bounds.is_empty() {
            tracing::warn!(object = %key, "the server does not know its histogram yet: its edges are not checked");
        } else if let Some(message) = refusal(weights.classes().edges().as_slice(), &bounds) {
            problems.push(wish.problem("spec.load.weights.fixed.edges", message));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(wishes.wrong(problems).into()) }
}

/// The bounds that every series has, ascending, `+Inf` last. Pods that write them differently mean the same.
fn common(answer: Answer) -> Vec<f64> {
    let mut counts = BTreeMap::<u64, f64>::new();
    for series in answer.series {
        let le = series.labels.get("le").and_then(|le| le.parse::<f64>().ok());
        if let (Some(le), Value::Number(count)) = (le.filter(|le| *le >= 0.0), series.value) {
            *counts.entry(le.to_bits()).or_default() += count;
        }
    }
    // Numbers from zero up are in the order of their bits.
    let all = counts.get(&f64::INFINITY.to_bits()).copied();
    counts.into_iter().filter(|(_, count)| Some(*count) == all).map(|(le, _)| f64::from_bits(le)).collect()
}

/// What is wrong with edges where these are the bounds.
fn refusal(edges: &[f64], bounds: &[f64]) -> Option<String> {
    let list = |values: Vec<f64>| values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let wrong: Vec<f64> = edges.iter().copied().filter(|edge| !bounds.contains(edge)).collect();
    let possible: Vec<f64> = bounds.iter().copied().filter(|le| *le > 0.0 && le.is_finite()).collect();
    if wrong.is_empty() {
        return None;
    }
    let are = if wrong.len() == 1 { "is no bound" } else { "are no bounds" };
    let choose = if possible.is_empty() {
        "it has none, so no edge is possible".to_owned()
    } else {
        format!("possible are {}", list(possible))
    };
    Some(format!(
        "{} {are} of every series of the histogram, and a rule cannot split a bucket as the adapter does: {choose}",
        list(wrong)
    ))
}

#[cfg(test)]
mod tests {
    use plimsoll::load::Labels;
    use plimsoll::units::Time;

    use super::*;
    use crate::collect::prometheus::Series;

    fn answer(counts: &[(&str, f64)]) -> Answer {
        let series = |(le, count): &(&str, f64)| Series {
            labels: Labels::from([("le".to_owned(), (*le).to_owned())]),
            value: Value::Number(*count),
        };
        Answer { at: Time::EPOCH, series: counts.iter().map(series).collect(), warned: false }
    }

    #[test]
    fn a_bound_is_one_that_every_series_has_however_it_is_written() {
        let told = [("10", 2.0), ("1", 1.0), ("0.5", 1.0), ("1.0", 1.0), ("+Inf", 2.0), ("5e-05", 2.0)];
        assert_eq!(common(answer(&told)), [5e-5, 1.0, 10.0, f64::INFINITY]);
        assert!(common(answer(&[])).is_empty());
    }

    #[test]
    fn edges_that_are_no_bounds_are_refused_with_those_that_would_do() {
        let bounds = [0.0, 0.1, 0.4, f64::INFINITY];
        assert_eq!(refusal(&[0.1, 0.4], &bounds), None);
        assert_eq!(refusal(&[], &[f64::INFINITY]), None);
        let one = refusal(&[0.1, 0.3], &bounds).unwrap();
        assert!(one.starts_with("0.3 is no bound") && one.ends_with(": possible are 0.1, 0.4"), "{one}");
        let two = refusal(&[0.2, 0.3], &[f64::INFINITY]).unwrap();
        assert!(two.starts_with("0.2, 0.3 are no bounds") && two.ends_with("no edge is possible"), "{two}");
    }
}
