//! Recorded samples of a workload as CSV: what `plimsoll-adapter record` writes and `plimsoll-sim fit` learns from.
//!
//! ```text
//! timestamp_s,pods,cpu_cores,le_0.005,…,le_+Inf[,cores_per_pod,in_flight,rejected]
//! ```
//!
//! A row tells of the window that ended at its timestamp and began at the one before: pods, cores that they used, requests
//! per second by duration (not cumulative), and, where known, the cores that a pod may use, the requests inside at the
//! window's end and the requests turned away per second.

use std::path::Path;

use plimsoll::load::{Edges, Group, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA, Sample};
use plimsoll::units::{Cores, Rate, Span, Time};

use crate::trace::{Rows, TraceError};

const LEADING: [&str; 3] = ["timestamp_s", "pods", "cpu_cores"];
const OPTIONAL: [&str; 3] = ["cores_per_pod", "in_flight", "rejected"];

const HEADER: &str = "the header timestamp_s,pods,cpu_cores,le_0.005,…,le_+Inf with ascending bounds in seconds, and after \
                      them, if known, cores_per_pod,in_flight,rejected";

/// The columns of a file.
#[derive(Debug, Clone, PartialEq)]
struct Columns {
    /// Names of the class columns.
    classes: Vec<String>,
    /// Finite bounds, ascending.
    le: Vec<f64>,
    /// Positions of the optional columns.
    optional: [Option<usize>; 3],
}

impl Columns {
    fn of<'a>(header: impl Iterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<&str> = header.collect();
        let rest = names.strip_prefix(&LEADING)?;
        let classes: Vec<String> =
            rest.iter().take_while(|name| name.starts_with("le_")).map(|name| (*name).to_owned()).collect();
        let bounds: Vec<f64> =
            classes.iter().map(|name| name["le_".len()..].parse().ok()).collect::<Option<_>>()?;
        let (open, le) = bounds.split_last()?;
        let mut optional = [None; 3];
        for (position, name) in names.iter().enumerate().skip(LEADING.len() + classes.len()) {
            let which = OPTIONAL.iter().position(|known| known == name)?;
            if optional[which].replace(position).is_some() {
                return None;
            }
        }
        let is_sound = *open == f64::INFINITY && Edges::new(le.to_vec()).is_ok();
        is_sound.then(|| Self { classes, le: le.to_vec(), optional })
    }
}

/// Samples of one workload, one by one, each with the pods as the file has them: it may be a mean.
#[derive(Debug)]
pub struct Samples {
    rows: Rows,
    columns: Columns,
    last: Option<(Span, Option<f64>)>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What the row tells, as one group.
    pub sample: Sample,
    /// Pods; a mean where their number changed within the window.
    pub pods: f64,
}

impl Samples {
    /// Opens a file, plain or gzip, and reads its header.
    ///
    /// # Errors
    /// When it cannot be read or is no such file: what is wrong where, and what was expected.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let rows = Rows::open(path)?;
        let Some(columns) = Columns::of(rows.header().iter()) else {
            let found = rows.header().iter().collect::<Vec<_>>().join(",");
            return Err(rows.row_error(found, HEADER.to_owned()));
        };
        Ok(Self { rows, columns, last: None })
    }

    /// Names of the class columns, e.g. `le_0.005`.
    pub fn classes(&self) -> &[String] {
        &self.columns.classes
    }

    /// Finite upper bounds of the classes in seconds, ascending.
    pub fn le(&self) -> &[f64] {
        &self.columns.le
    }

    fn read(&mut self) -> Result<Option<Recorded>, TraceError> {
        if !self.rows.next()? {
            return Ok(None);
        }
        let at = self.rows.seconds(0)?;
        let window = match self.last {
            None => Span::ZERO,
            Some((last, _)) if at > last => at - last,
            Some((last, _)) => {
                let expected = format!("more than {}: rows are in the order of time", last.as_secs_f64());
                return Err(self.rows.value_error(0, expected));
            }
        };
        let pods = self.rows.amount(1)?;
        let cpu = self.rows.amount(2)?;
        let rates: Result<Vec<Rate>, TraceError> = (0..self.columns.classes.len())
            .map(|class| self.rows.amount(LEADING.len() + class).map(Rate::saturating))
            .collect();
        let rates = rates?;
        let optional =
            |which: usize| self.columns.optional[which].map_or(Ok(None), |c| self.rows.amount_if_any(c));
        let (cores, in_flight, rejected) = (optional(0)?, optional(1)?, optional(2)?);
        let before = self.last.and_then(|(_, in_flight)| in_flight);
        let histogram = HistogramRates::new(Labels::new(), self.columns.le.clone(), rates, None);
        let histogram =
            histogram.map_err(|error| self.rows.row_error(error.to_string(), HEADER.to_owned()))?;
        let whole = pods.round().clamp(1.0, f64::from(u32::MAX)) as u32;
        let group = Group {
            pods: whole,
            silent: false,
            window,
            histograms: vec![histogram],
            cpu: Some(Cores::saturating(cpu)),
            requested_per_pod: None,
            cores_per_pod: cores.map(Cores::saturating),
            in_flight: in_flight
                .map(|now| InFlight { now, change: before.map_or(0.0, |before| now - before) }),
            rejected: rejected.map(Rate::saturating),
            work: None,
        };
        self.last = Some((at, in_flight));
        let pods_of = Pods { replicas: whole, ready: whole, warming: 0, silent: 0 };
        let sample = Sample {
            schema: SAMPLE_SCHEMA,
            at: Time::EPOCH + at,
            pods: pods_of,
            offered: None,
            groups: vec![group],
        };
        Ok(Some(Recorded { sample, pods }))
    }

    /// All rows, the first with the window of the second.
    ///
    /// # Errors
    /// When a row is wrong, or there are fewer than two.
    pub fn read_all(mut self) -> Result<Vec<Recorded>, TraceError> {
        let mut all = Vec::new();
        while let Some(recorded) = self.read()? {
            all.push(recorded);
        }
        let Some(window) = all.get(1).map(|second| second.sample.groups[0].window) else {
            let expected = "at least two rows: their distance is the length of a window";
            return Err(self.rows.row_error("the end".to_owned(), expected.to_owned()));
        };
        all[0].sample.groups[0].window = window;
        Ok(all)
    }
}
