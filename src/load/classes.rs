//! The classes that requests are sorted into: by duration, and by a label where two kinds of requests that last equally
//! long cost unlike.
//!
//! A workload whose histogram has labels such as `route` may have a class for each of a few values and duration; all
//! other values share theirs. What is not a request but is paid for all the same, such as tokens, is a column of its own
//! after the classes.

use serde::{Deserialize, Serialize};

use super::edges::Edges;
use super::sample::Group;

/// How requests are sorted into classes. Columns are the classes, value by value and within each by duration, then the work
/// if there is any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    edges: Edges,
    by: Option<ByLabel>,
    has_work: bool,
}

/// Classes by the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByLabel {
    /// The label's name.
    pub label: String,
    /// Values that have classes of their own. All others share theirs, after these.
    pub values: Vec<String>,
}

/// What one column counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Column<'a> {
    /// Requests of a class.
    Requests {
        /// The label's value: none where there is no label, or for all values without classes of their own.
        value: Option<&'a str>,
        /// Upper edge in seconds; none for the last class.
        le: Option<f64>,
    },
    /// Work that comes with requests, such as tokens.
    Work,
}

impl Classes {
    /// By duration alone.
    pub fn by_duration(edges: Edges) -> Self {
        Self { edges, by: None, has_work: false }
    }

    /// By a label as well.
    #[must_use]
    pub fn and_label(self, by: ByLabel) -> Self {
        Self { by: Some(by), ..self }
    }

    /// With a column for work that comes with the requests.
    #[must_use]
    pub fn and_work(self) -> Self {
        Self { has_work: true, ..self }
    }

    /// The edges between durations.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// The label, if requests are told apart by one.
    pub fn label(&self) -> Option<&ByLabel> {
        self.by.as_ref()
    }

    /// Whether work is counted.
    pub fn has_work(&self) -> bool {
        self.has_work
    }

    /// How many classes there are.
    pub fn requests(&self) -> usize {
        self.edges.classes() * self.by.as_ref().map_or(1, |by| by.values.len() + 1)
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.requests() + usize::from(self.has_work)
    }

    /// What each column counts.
    pub fn iter(&self) -> impl Iterator<Item = Column<'_>> {
        let durations = self.edges.classes();
        (0..self.columns()).map(move |column| {
            if column >= self.requests() {
                return Column::Work;
            }
            let value = self.by.as_ref().and_then(|by| by.values.get(column / durations));
            let le = self.edges.as_slice().get(column % durations).copied();
            Column::Requests { value: value.map(String::as_str), le }
        })
    }

    /// Requests per second by class and work per second, and the edges that cut a bucket which had requests.
    pub(super) fn sort(&self, group: &Group) -> Sorted {
        let durations = self.edges.classes();
        let mut sorted = Sorted { rates: vec![0.0; self.columns()], inexact: Vec::new() };
        for histogram in &group.histograms {
            let value = self.by.as_ref().map_or(0, |by| {
                // Without the label is with an empty one, as everywhere in Prometheus.
                let value = histogram.labels().get(&by.label).map_or("", String::as_str);
                by.values.iter().position(|v| v == value).unwrap_or(by.values.len())
            });
            let split = self.edges.sort(histogram);
            for (total, rate) in sorted.rates[value * durations..].iter_mut().zip(&split.rates) {
                *total += rate;
            }
            sorted.inexact.extend(split.inexact);
        }
        if self.has_work {
            sorted.rates[self.requests()] = group.work.map_or(0.0, |work| work.get());
        }
        sorted
    }
}

/// Column rates of one group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sorted {
    /// Per second, column by column.
    pub(super) rates: Vec<f64>,
    /// Edges that cut a bucket in which there were requests.
    pub(super) inexact: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{HistogramRates, Labels};
    use crate::units::{Rate, Span};

    #[test]
    fn a_label_that_is_not_there_is_an_empty_one() {
        let by = ByLabel { label: "route".into(), values: vec![String::new()] };
        let classes = Classes::by_duration(Edges::new(vec![]).unwrap()).and_label(by);
        let rates = vec![Rate::new(3.0).unwrap()];
        let histogram = HistogramRates::new(Labels::new(), vec![], rates, None).unwrap();
        let group = Group { histograms: vec![histogram], ..Group::new(1, Span::from_secs(15)) };
        assert_eq!(classes.sort(&group).rates, [3.0, 0.0]);
    }

    #[test]
    fn values_with_classes_of_their_own_are_counted_apart_and_the_others_together() {
        let routes = ByLabel { label: "route".into(), values: vec!["/buy".into(), "/list".into()] };
        let classes = Classes::by_duration(Edges::new(vec![0.1]).unwrap()).and_label(routes).and_work();
        let histogram = |route: &str, fast, slow| {
            let labels = Labels::from([("route".to_owned(), route.to_owned())]);
            let rates = [fast, slow].map(|r| Rate::new(r).unwrap()).to_vec();
            HistogramRates::new(labels, vec![0.1], rates, None).unwrap()
        };
        let group = Group {
            histograms: vec![
                histogram("/list", 1.0, 2.0),
                histogram("/a", 4.0, 8.0),
                histogram("/buy", 16.0, 32.0),
                histogram("/b", 64.0, 128.0),
            ],
            work: Rate::new(7.0).ok(),
            ..Group::empty(Span::from_secs(1))
        };
        assert_eq!(classes.sort(&group).rates, [16.0, 32.0, 1.0, 2.0, 68.0, 136.0, 7.0]);
        let columns: Vec<Column<'_>> = classes.iter().collect();
        assert_eq!(columns.len(), classes.columns());
        assert_eq!(columns[1], Column::Requests { value: Some("/buy"), le: None });
        assert_eq!(columns[4], Column::Requests { value: None, le: Some(0.1) });
        assert_eq!(columns[6], Column::Work);
    }
}
