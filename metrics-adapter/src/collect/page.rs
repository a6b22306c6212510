//! What one autoscaler wants from a metrics page, and how a page becomes a [`Reading`].

use std::collections::{BTreeMap, BTreeSet};

use plimsoll::load::{HistogramCounts, Labels, Reading, ReadingError};
use plimsoll::spec::{Load, Matcher, Series};
use plimsoll::units::{Span, Time};

use super::exposition::{Label, Malformed, SampleLine, Scanner};

/// Labels that say what was asked for, in the client libraries that people use.
const ROUTE_LABELS: [&str; 5] = ["endpoint", "handler", "path", "route", "uri"];

/// Values of those labels that mean a probe or the metrics page: they are asked for however many users there are.
const PROBES: [&str; 9] =
    ["/metrics", "/health", "/healthz", "/livez", "/ready", "/readyz", "/ping", "/-/healthy", "/-/ready"];

/// What `rejected` counts where the user names no matchers.
const OVERLOAD_CODES: [&str; 3] = ["429", "503", "504"];

const CPU: &str = "process_cpu_seconds_total";
const STARTED: &str = "process_start_time_seconds";

/// Most series of the wanted metrics on one page; a histogram by route, method and code has a few thousand.
pub const MAX_SERIES: usize = 50_000;

/// Most sets of labels that the wanted histogram has on one page: each is kept until the next page.
pub const MAX_HISTOGRAMS: usize = 2_000;

/// A page that no reading can be made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PageError {
    /// It is not the text format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A bucket without `le`, or with one that is no number. What it says instead is the pod's own and not repeated.
    #[error("line {line}: a bucket's le is missing or no number")]
    Le {
        /// Number of the line, from 1.
        line: usize,
    },
    /// The counts of a histogram make no sense.
    #[error(transparent)]
    Counts(#[from] ReadingError),
    /// More series than a page may have.
    #[error("more than {MAX_SERIES} series of the wanted metrics, or {MAX_HISTOGRAMS} sets of labels")]
    TooManySeries,
}

/// What one autoscaler wants from a metrics page.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    bucket: String,
    sum: String,
    matchers: BTreeMap<String, Matcher>,
    in_flight: Option<Series>,
    rejected: Option<Series>,
}

/// Whether a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Counts,
    /// Only probes ask for it.
    Probe,
    /// The user's matchers leave it out.
    LeftOut,
}

impl Query {
    /// For a load as the user describes it.
    pub fn new(load: &Load) -> Self {
        let mut rejected = load.rejected.clone();
        if let Some(series) = rejected.as_mut().filter(|s| s.matchers.is_empty()) {
            let any_of = OVERLOAD_CODES.map(str::to_owned).to_vec();
            series.matchers.insert("code".to_owned(), Matcher { any_of, not_in: vec![] });
        }
        Self {
            bucket: format!("{}_bucket", load.histogram),
            sum: format!("{}_sum", load.histogram),
            matchers: load.matchers.clone(),
            in_flight: load.in_flight.clone(),
            rejected,
        }
    }

    /// What the page, read at `at`, says. The start of the process is in the page's own time, the wall's.
    ///
    /// Where the histogram has been asked for by probes alone, it reads as all zero. Where it is not on the page, or
    /// the user's matchers leave nothing of it, the reading has no histogram: its load is not known.
    ///
    /// # Errors
    /// When the page is not the text format, or its counts make no sense.
    pub fn read(&self, page: &str, at: Time) -> Result<Reading, PageError> {
        let mut names = vec![self.bucket.as_str(), self.sum.as_str(), CPU, STARTED];
        names.extend([&self.in_flight, &self.rejected].into_iter().flatten().map(|s| s.metric.as_str()));
        let mut scanner = Scanner::only(page, &names);
        let mut histograms = Histograms::default();
        let mut reading = Reading { at, ..Reading::default() };
        let mut series = 0;
        while let Some(sample) = scanner.next_sample()? {
            series += 1;
            if series > MAX_SERIES {
                return Err(PageError::TooManySeries);
            }
            if sample.name == self.bucket {
                let le = le(&sample).ok_or(PageError::Le { line: sample.line })?;
                histograms.entry(self, &sample)?.buckets.push((le, sample.value));
            } else if sample.name == self.sum {
                histograms.entry(self, &sample)?.sum = Some(sample.value);
            } else if sample.name == CPU {
                reading.cpu_seconds = Some(sample.value);
            } else if sample.name == STARTED {
                reading.started = Some(Time::EPOCH + Span::from_secs_f64(sample.value));
            }
            add(&mut reading.in_flight, self.in_flight.as_ref(), &sample);
            add(&mut reading.rejected, self.rejected.as_ref(), &sample);
        }
        reading.histograms = histograms.finish()?;
        Ok(reading)
    }

    /// Metrics beside the histogram that the user named and a page does not show.
    pub fn absent_in(&self, reading: &Reading) -> BTreeSet<&str> {
        let wanted = [(&self.in_flight, reading.in_flight), (&self.rejected, reading.rejected)];
        let absent = wanted.into_iter().filter(|(_, found)| found.is_none());
        absent.filter_map(|(series, _)| Some(series.as_ref()?.metric.as_str())).collect()
    }

    fn verdict(&self, labels: &[Label<'_>]) -> Verdict {
        let is_probe = |l: &Label<'_>| {
            ROUTE_LABELS.contains(&l.name) && !self.matchers.contains_key(l.name) && PROBES.contains(&l.raw)
        };
        if !all_match(&self.matchers, labels) {
            Verdict::LeftOut
        } else if labels.iter().any(is_probe) {
            Verdict::Probe
        } else {
            Verdict::Counts
        }
    }
}

fn le(sample: &SampleLine<'_, '_>) -> Option<f64> {
    sample.labels.iter().find(|l| l.name == "le")?.raw.parse().ok()
}

fn all_match(matchers: &BTreeMap<String, Matcher>, labels: &[Label<'_>]) -> bool {
    matchers.iter().all(|(name, matcher)| match labels.iter().find(|l| l.name == name) {
        Some(label) => matcher.matches(&label.value()),
        None => matcher.matches(""),
    })
}

/// Adds a sample to the sum of a wanted metric. A metric that is on the page, but in no series that matches, is zero: a
/// counter by code has no series for a code that was never sent.
fn add(sum: &mut Option<f64>, wanted: Option<&Series>, sample: &SampleLine<'_, '_>) {
    if let Some(series) = wanted.filter(|s| s.metric == sample.name) {
        let value = if all_match(&series.matchers, sample.labels) { sample.value } else { 0.0 };
        *sum = Some(sum.unwrap_or(0.0) + value);
    }
}

/// The histogram's series as they are found, by their labels without `le`.
#[derive(Default)]
struct Histograms<'page> {
    found: Vec<Found<'page>>,
    by_labels: BTreeMap<Vec<Label<'page>>, usize>,
    /// Labels of the line in hand.
    scratch: Vec<Label<'page>>,
}

struct Found<'page> {
    labels: Vec<Label<'page>>,
    verdict: Verdict,
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
}

impl<'page> Histograms<'page> {
    fn entry(
        &mut self,
        query: &Query,
        sample: &SampleLine<'page, '_>,
    ) -> Result<&mut Found<'page>, PageError> {
        self.scratch.clear();
        self.scratch.extend(sample.labels.iter().filter(|l| l.name != "le"));
        self.scratch.sort_unstable();
        // Nearly always a line belongs to the same series as the line before it.
        let index = match self.found.last() {
            Some(last) if last.labels == self.scratch => self.found.len() - 1,
            _ => *self.by_labels.entry(self.scratch.clone()).or_insert_with(|| {
                let verdict = query.verdict(&self.scratch);
                let labels = self.scratch.clone();
                self.found.push(Found { labels, verdict, buckets: Vec::new(), sum: None });
                self.found.len() - 1
            }),
        };
        if self.found.len() > MAX_HISTOGRAMS {
            return Err(PageError::TooManySeries);
        }
        Ok(&mut self.found[index])
    }

    fn finish(self) -> Result<Vec<HistogramCounts>, ReadingError> {
        let of = |verdict| self.found.iter().filter(move |f| f.verdict == verdict && !f.buckets.is_empty());
        let counting: Vec<HistogramCounts> =
            of(Verdict::Counts).map(Found::counts).collect::<Result<_, _>>()?;
        if counting.is_empty() {
            return of(Verdict::Probe).take(1).map(Found::none_counted).collect();
        }
        Ok(counting)
    }
}

impl Found<'_> {
    /// Finite bounds, and all counts, in the order of the bounds.
    fn sorted(&self) -> (Vec<f64>, Vec<f64>) {
        let mut buckets = self.buckets.clone();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let le = buckets.iter().map(|(le, _)| *le).filter(|le| *le != f64::INFINITY).collect();
        (le, buckets.into_iter().map(|(_, count)| count).collect())
    }

    fn counts(&self) -> Result<HistogramCounts, ReadingError> {
        let labels: Labels =
            self.labels.iter().map(|l| (l.name.to_owned(), l.value().into_owned())).collect();
        let (le, counts) = self.sorted();
        HistogramCounts::new(labels, le, counts, self.sum)
    }

    fn none_counted(&self) -> Result<HistogramCounts, ReadingError> {
        let (le, counts) = self.sorted();
        HistogramCounts::new(Labels::new(), le, vec![0.0; counts.len()], Some(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(yaml: serde_json::Value) -> Query {
        Query::new(&serde_json::from_value(yaml).unwrap())
    }

    fn plain() -> Query {
        query(serde_json::json!({"histogram": "d"}))
    }

    fn read(query: &Query, page: &str) -> Result<Reading, PageError> {
        query.read(page, Time::from_secs(100))
    }

    fn counts(labels: &[(&str, &str)], le: &[f64], counts: &[f64], sum: Option<f64>) -> HistogramCounts {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        HistogramCounts::new(labels, le.to_vec(), counts.to_vec(), sum).unwrap()
    }

    const PAGE: &str = r#"
# TYPE d histogram
d_bucket{handler="/users/{id}",le="0.1"} 3
d_bucket{handler="/users/{id}",le="1"} 5
d_bucket{handler="/users/{id}",le="+Inf"} 6
d_sum{handler="/users/{id}"} 9.5
d_count{handler="/users/{id}"} 6
d_bucket{handler="/metrics",le="0.1"} 100
d_bucket{handler="/metrics",le="1"} 100
d_bucket{handler="/metrics",le="+Inf"} 100
d_sum{handler="/metrics"} 0.5
process_cpu_seconds_total 12.5
process_start_time_seconds 40.25
"#;

    #[test]
    fn a_page_becomes_a_reading_without_its_probes() {
        let reading = read(&plain(), PAGE).unwrap();
        let users = counts(&[("handler", "/users/{id}")], &[0.1, 1.0], &[3.0, 5.0, 6.0], Some(9.5));
        assert_eq!(reading.histograms, [users]);
        assert_eq!(reading.cpu_seconds, Some(12.5));
        assert_eq!(reading.started, Some(Time::from_nanos(40_250_000_000)));
    }

    #[test]
    fn a_label_that_the_user_names_is_judged_by_the_user() {
        let only_metrics =
            query(serde_json::json!({"histogram": "d", "matchers": {"handler": {"in": ["/metrics"]}}}));
        assert_eq!(read(&only_metrics, PAGE).unwrap().histograms[0].labels()["handler"], "/metrics");
    }

    #[test]
    fn asked_for_by_probes_alone_is_zero_and_not_there_is_unknown() {
        let idle: String = PAGE.lines().filter(|l| !l.contains("users")).map(|l| format!("{l}\n")).collect();
        let zero = counts(&[], &[0.1, 1.0], &[0.0, 0.0, 0.0], Some(0.0));
        assert_eq!(read(&plain(), &idle).unwrap().histograms, [zero]);
        assert_eq!(read(&plain(), "other 1\n").unwrap().histograms, []);
        let misspelt =
            query(serde_json::json!({"histogram": "d", "matchers": {"handler": {"in": ["/user"]}}}));
        assert_eq!(read(&misspelt, PAGE).unwrap().histograms, []);
    }

    #[test]
    fn the_order_of_lines_and_labels_does_not_matter() {
        let shuffled = "d_bucket{le=\"+Inf\",b=\"1\",a=\"2\"} 6\nd_sum{a=\"2\",b=\"1\"} 1\n\
                        d_bucket{a=\"2\",le=\"0.1\",b=\"1\"} 3\n";
        let expected = counts(&[("a", "2"), ("b", "1")], &[0.1], &[3.0, 6.0], Some(1.0));
        assert_eq!(read(&plain(), shuffled).unwrap().histograms, [expected]);
    }

    #[test]
    fn rejections_and_in_flight_are_summed_over_the_series_that_match() {
        let query = query(serde_json::json!({
            "histogram": "d", "rejected": {"metric": "r_total"}, "inFlight": {"metric": "busy"},
        }));
        let page = "r_total{code=\"200\"} 50\nr_total{code=\"429\"} 2\nr_total{code=\"503\"} 3\nbusy{x=\"1\"} 4\nbusy 1\n";
        let reading = read(&query, page).unwrap();
        assert_eq!((reading.rejected, reading.in_flight), (Some(5.0), Some(5.0)));
        let none_yet = read(&query, "r_total{code=\"200\"} 50\n").unwrap();
        assert_eq!((none_yet.rejected, none_yet.in_flight), (Some(0.0), None));
        assert_eq!(read(&query, "x 1\n").unwrap().rejected, None);
        assert_eq!(query.absent_in(&none_yet), BTreeSet::from(["busy"]));
    }

    #[test]
    fn counts_that_make_no_sense_are_refused() {
        for (page, fault) in [
            ("d_bucket{le=\"0.1\"} 3\n", "the last one must be +Inf"),
            ("d_bucket{le=\"0.1\"} 3\nd_bucket{le=\"+Inf\"} 2\n", "must not decrease"),
            ("d_bucket{le=\"0.1\"} NaN\nd_bucket{le=\"+Inf\"} 2\n", "is NaN"),
            ("d_bucket{le=\"0.1\"} 1\nd_bucket{le=\"0.1\"} 1\nd_bucket{le=\"+Inf\"} 2\n", "ascending"),
            ("d_bucket{le=\"x\"} 1\n", "line 1: a bucket's le"),
            ("d_bucket 1\n", "line 1: a bucket's le"),
            ("d_bucket{le=\"0.1\"} 1", "cut off"),
        ] {
            let error = read(&plain(), page).unwrap_err().to_string();
            assert!(error.contains(fault), "{page:?}: {error}");
        }
    }

    #[test]
    fn a_page_with_too_many_series_is_refused() {
        let page: String =
            (0..=MAX_SERIES).map(|i| format!("d_bucket{{i=\"{i}\",le=\"+Inf\"}} 1\n")).collect();
        assert_eq!(read(&plain(), &page), Err(PageError::TooManySeries));
    }
}
