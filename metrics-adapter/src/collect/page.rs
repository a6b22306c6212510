//! What one autoscaler wants from a metrics page, and how a page becomes a [`Reading`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use plimsoll::load::{HistogramCounts, Labels, Reading, ReadingError};
use plimsoll::spec::{Cpu, Load, Matcher, Series, Weights};
use plimsoll::units::{Span, Time};

use super::exposition::{Label, Malformed, SampleLine, Scanner};
use super::native::NativeError;
use super::protobuf::{Broken, BrokenFault, Families};

/// Labels that say what was asked for, in the client libraries that people use.
pub(super) const ROUTE_LABELS: [&str; 5] = ["endpoint", "handler", "path", "route", "uri"];

/// Values of those labels that mean a probe or the metrics page: they are asked for however many users there are.
pub(super) const PROBES: [&str; 9] =
    ["/metrics", "/health", "/healthz", "/livez", "/ready", "/readyz", "/ping", "/-/healthy", "/-/ready"];

/// What `rejected` counts where the user names no matchers.
const OVERLOAD_CODES: [&str; 3] = ["429", "503", "504"];

pub(super) const CPU: &str = "process_cpu_seconds_total";
const STARTED: &str = "process_start_time_seconds";

/// Most series of the wanted metrics on one page; a histogram by route, method and code has a few thousand.
pub const MAX_SERIES: usize = 50_000;

/// Most sets of labels that the wanted histogram has on one page: each is kept until the next page.
pub const MAX_HISTOGRAMS: usize = 2_000;

/// Most bytes of one such set, names and values...
pub(super) const MAX_LABEL_BYTES: usize = 2 << 10;

/// ...of which a value that is longer than this, such as a whole URL that some client sent, is its beginning and a hash.
const LONGEST_VALUE: usize = 128;

/// A page that no reading can be made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PageError {
    /// It is not the text format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is not the protobuf format.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A bucket without `le`, or with one that is no number. What it says instead is the pod's own and not repeated.
    #[error("line {line}: a bucket's le is missing or no number")]
    Le {
        /// Number of the line, from 1.
        line: usize,
    },
    /// The counts of a histogram make no sense.
    #[error(transparent)]
    Counts(#[from] ReadingError),
    /// The buckets of a native histogram make no sense.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// Two histograms of the wanted name have the same labels.
    #[error("two histograms have the same labels")]
    Twice,
    /// More series than a page may have.
    #[error("more than {MAX_SERIES} series of the wanted metrics, or {MAX_HISTOGRAMS} sets of labels")]
    TooManySeries,
    /// Labels longer than are kept.
    #[error("the labels of a histogram have more than {MAX_LABEL_BYTES} bytes")]
    LongLabels,
}

impl PageError {
    /// A word for a label: few, and none made of what a pod sent.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::TooManySeries
            | Self::LongLabels
            | Self::Native(NativeError::TooManyBuckets)
            | Self::Broken(Broken { fault: BrokenFault::TooLarge, .. }) => "too_large",
            Self::Malformed(_) | Self::Broken(_) | Self::Le { .. } => "malformed",
            Self::Counts(_) | Self::Native(_) | Self::Twice => "counts",
        }
    }
}

/// What one autoscaler wants from a metrics page.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub(super) histogram: String,
    pub(super) bucket: String,
    pub(super) sum: String,
    pub(super) matchers: BTreeMap<String, Matcher>,
    pub(super) in_flight: Option<Series>,
    pub(super) rejected: Option<Series>,
    pub(super) work: Option<Series>,
    /// Arrivals in front of the workload, which only a server can tell.
    pub(super) offered: Option<Series>,
    /// The label that classes are told apart by, where a server adds the series up.
    pub(super) label: Option<String>,
    /// Who tells the CPU: what was learned from one says nothing of another's.
    cpu: Option<Cpu>,
}

/// The metrics that the user named and nothing was found of.
pub(super) fn absent<'a>(wanted: &[(&'a Option<Series>, Option<f64>)]) -> BTreeSet<&'a str> {
    let absent = wanted.iter().filter(|(_, found)| found.is_none());
    absent.filter_map(|(series, _)| Some(series.as_ref()?.metric.as_str())).collect()
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
        let label = match &load.weights {
            Weights::Fit(fit) => fit.by_label.as_ref().map(|label| label.name.clone()),
            Weights::Fixed(_) => None,
        };
        Self {
            histogram: load.histogram.clone(),
            bucket: format!("{}_bucket", load.histogram),
            sum: format!("{}_sum", load.histogram),
            matchers: load.matchers.clone(),
            in_flight: load.in_flight.clone(),
            rejected,
            work: load.work.clone(),
            offered: load.offered.clone(),
            label,
            cpu: load.cpu.clone(),
        }
    }

    /// What a page in the text format, read at `at`, says. The start of the process is in the page's own time, the wall's.
    ///
    /// Where the histogram has been asked for by probes alone, it reads as all zero. Where it is not on the page, or
    /// the user's matchers leave nothing of it, the reading has no histogram: its load is not known.
    ///
    /// # Errors
    /// When the page is not the text format, or its counts make no sense.
    pub fn read(&self, page: &str, at: Time) -> Result<Reading, PageError> {
        let mut names = vec![self.bucket.as_str(), self.sum.as_str(), CPU, STARTED];
        names.extend(self.named().map(|s| s.metric.as_str()));
        let mut scanner = Scanner::only(page, &names);
        let mut histograms = Histograms::default();
        let mut draft = Draft::new(self, at);
        while let Some(sample) = scanner.next_sample()? {
            draft.count(1)?;
            if sample.name == self.bucket {
                let le = le(&sample).ok_or(PageError::Le { line: sample.line })?;
                histograms.entry(self, &sample)?.buckets.push((le, sample.value));
            } else if sample.name == self.sum {
                histograms.entry(self, &sample)?.sum = Some(sample.value);
            }
            draft.take(sample.name, sample.labels, sample.value);
        }
        draft.finish(histograms.finish()?)
    }

    /// What a page in the protobuf format, read at `at`, says: the same as the page in text would say, and the buckets of
    /// native histograms besides.
    ///
    /// # Errors
    /// When the page is not the protobuf format, or its counts make no sense.
    pub fn read_protobuf(&self, page: &[u8], at: Time) -> Result<Reading, PageError> {
        let mut families = Families::new(page);
        let mut draft = Draft::new(self, at);
        let (mut counting, mut probe, mut found) = (Vec::new(), None, 0);
        while let Some(family) = families.next_family()? {
            if !self.wants(family.name) {
                continue;
            }
            let mut metrics = family.metrics();
            while let Some(metric) = metrics.next_metric()? {
                draft.count(metric.series())?;
                let labels = metric.labels();
                for (suffix, value) in metric.values() {
                    draft.take(&format!("{}{suffix}", family.name), &labels, value);
                }
                let Some(histogram) = metric.histogram.filter(|_| family.name == self.histogram) else {
                    continue;
                };
                found += 1;
                if found > MAX_HISTOGRAMS {
                    return Err(PageError::TooManySeries);
                }
                match self.verdict(&labels) {
                    Verdict::Counts => {
                        counting.push(counts(labels, histogram.cumulative()?, histogram.sample_sum)?);
                    }
                    Verdict::Probe if probe.is_none() => probe = Some(none_counted(histogram.cumulative()?)?),
                    Verdict::Probe | Verdict::LeftOut => {}
                }
            }
        }
        draft.finish(chosen(counting, probe))
    }

    /// Whether a family of this name holds anything that is wanted.
    fn wants(&self, family: &str) -> bool {
        let is_of = |name: &str| {
            let suffix = name.strip_prefix(family);
            suffix.is_some_and(|suffix| ["", "_count", "_sum"].contains(&suffix))
        };
        [self.histogram.as_str(), CPU, STARTED].contains(&family) || self.named().any(|s| is_of(&s.metric))
    }

    /// The metrics beside the histogram that the user named.
    fn named(&self) -> impl Iterator<Item = &Series> {
        [&self.in_flight, &self.rejected, &self.work].into_iter().flatten()
    }

    /// Metrics beside the histogram that the user named and a page does not show.
    pub fn absent_in(&self, reading: &Reading) -> BTreeSet<&str> {
        let wanted = [
            (&self.in_flight, reading.in_flight),
            (&self.rejected, reading.rejected),
            (&self.work, reading.work),
        ];
        absent(&wanted)
    }

    fn verdict(&self, labels: &(impl LabelSet + ?Sized)) -> Verdict {
        let is_probe = |name: &&str| {
            let is_theirs = !self.matchers.contains_key(*name);
            is_theirs && labels.value_of(name).is_some_and(|value| PROBES.contains(&&*value))
        };
        if !all_match(&self.matchers, labels) {
            Verdict::LeftOut
        } else if ROUTE_LABELS.iter().any(is_probe) {
            Verdict::Probe
        } else {
            Verdict::Counts
        }
    }
}

/// The labels of a series, in whichever format they came.
trait LabelSet {
    /// The value of one of them.
    fn value_of(&self, name: &str) -> Option<Cow<'_, str>>;
}

impl LabelSet for [Label<'_>] {
    fn value_of(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|l| l.name == name).map(Label::value)
    }
}

impl LabelSet for Labels {
    fn value_of(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

fn le(sample: &SampleLine<'_, '_>) -> Option<f64> {
    sample.labels.iter().find(|l| l.name == "le")?.raw.parse().ok()
}

fn all_match(matchers: &BTreeMap<String, Matcher>, labels: &(impl LabelSet + ?Sized)) -> bool {
    matchers.iter().all(|(name, matcher)| matcher.matches(&labels.value_of(name).unwrap_or_default()))
}

/// A reading that is being put together, series by series.
struct Draft<'query> {
    query: &'query Query,
    reading: Reading,
    series: usize,
}

impl<'query> Draft<'query> {
    fn new(query: &'query Query, at: Time) -> Self {
        Self { query, reading: Reading { at, ..Reading::default() }, series: 0 }
    }

    /// Counts the series of wanted metrics.
    fn count(&mut self, series: usize) -> Result<(), PageError> {
        self.series += series;
        if self.series > MAX_SERIES { Err(PageError::TooManySeries) } else { Ok(()) }
    }

    /// Takes one value, if it is one that is wanted beside the histogram.
    fn take(&mut self, name: &str, labels: &(impl LabelSet + ?Sized), value: f64) {
        if name == CPU {
            self.reading.cpu_seconds = Some(value);
        } else if name == STARTED {
            self.reading.started = Some(Time::EPOCH + Span::from_secs_f64(value));
        }
        let Query { in_flight, rejected, work, .. } = self.query;
        add(&mut self.reading.in_flight, in_flight.as_ref(), name, labels, value);
        add(&mut self.reading.rejected, rejected.as_ref(), name, labels, value);
        add(&mut self.reading.work, work.as_ref(), name, labels, value);
    }

    fn finish(self, histograms: Vec<HistogramCounts>) -> Result<Reading, PageError> {
        let distinct: BTreeSet<&Labels> = histograms.iter().map(HistogramCounts::labels).collect();
        if distinct.len() < histograms.len() {
            return Err(PageError::Twice);
        }
        let bytes =
            |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if distinct.into_iter().any(|labels| bytes(labels) > MAX_LABEL_BYTES) {
            return Err(PageError::LongLabels);
        }
        Ok(Reading { histograms, ..self.reading })
    }
}

/// Adds a sample to the sum of a wanted metric. A metric that is on the page, but in no series that matches, is zero: a
/// counter by code has no series for a code that was never sent.
fn add(
    sum: &mut Option<f64>,
    wanted: Option<&Series>,
    name: &str,
    labels: &(impl LabelSet + ?Sized),
    value: f64,
) {
    if let Some(series) = wanted.filter(|s| s.metric == name) {
        let value = if all_match(&series.matchers, labels) { value } else { 0.0 };
        *sum = Some(sum.unwrap_or(0.0) + value);
    }
}

/// The histograms that count. Where there are none but those of probes, one of these, in which nothing was counted.
fn chosen(counting: Vec<HistogramCounts>, probe: Option<HistogramCounts>) -> Vec<HistogramCounts> {
    if counting.is_empty() { probe.into_iter().collect() } else { counting }
}

/// Of bounds and cumulative counts, in the order of the bounds.
fn counts(
    labels: Labels,
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
) -> Result<HistogramCounts, ReadingError> {
    let labels = labels.into_iter().map(|(name, value)| (name, shortened(value))).collect();
    let le = buckets.iter().map(|(le, _)| *le).filter(|le| *le != f64::INFINITY).collect();
    HistogramCounts::new(labels, le, buckets.into_iter().map(|(_, count)| count).collect(), sum)
}

/// A value as it is kept: long ones are told apart by a hash.
fn shortened(value: String) -> String {
    if value.len() <= LONGEST_VALUE {
        return value;
    }
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let end = (0..=LONGEST_VALUE - 20).rev().find(|end| value.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…{:016x}", &value[..end], hasher.finish())
}

fn none_counted(buckets: Vec<(f64, f64)>) -> Result<HistogramCounts, ReadingError> {
    counts(Labels::new(), buckets.into_iter().map(|(le, _)| (le, 0.0)).collect(), Some(0.0))
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
                let verdict = query.verdict(self.scratch.as_slice());
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
        // The buckets of probes may make no sense where they are not needed.
        let probe = of(Verdict::Probe).next().filter(|_| counting.is_empty());
        Ok(chosen(counting, probe.map(|probe| none_counted(probe.sorted())).transpose()?))
    }
}

impl Found<'_> {
    /// In the order of the bounds.
    fn sorted(&self) -> Vec<(f64, f64)> {
        let mut buckets = self.buckets.clone();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    fn counts(&self) -> Result<HistogramCounts, ReadingError> {
        let labels = self.labels.iter().map(|l| (l.name.to_owned(), l.value().into_owned()));
        counts(labels.collect(), self.sorted(), self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::tests::{classic, page, with};
    use super::super::protobuf::{BucketSpan, Histogram};
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
    fn the_native_buckets_count_unless_they_are_empty_beside_classic_ones() {
        let native = |count| Histogram {
            schema: Some(0),
            zero_threshold: Some(0.0),
            positive_span: vec![BucketSpan { offset: Some(1), length: Some(1) }],
            positive_delta: vec![count],
            ..classic(&[(0.5, 0), (5.0, 3)], 3, 4.5)
        };
        let le = |histogram| {
            let page = page(&[("d", vec![with(histogram)])]);
            plain().read_protobuf(&page, Time::EPOCH).unwrap().histograms[0].le().to_vec()
        };
        assert_eq!(le(native(3)), [0.0, 1.0, 2.0]);
        assert_eq!(le(native(0)), [0.5, 5.0]);
        assert_eq!(le(Histogram { bucket: vec![], ..native(0) }), [0.0]);
    }

    #[test]
    fn a_protobuf_page_that_makes_no_sense_is_refused() {
        let refusal = |metrics| {
            let refused = plain().read_protobuf(&page(&[("d", metrics)]), Time::EPOCH).unwrap_err();
            (refused.reason(), refused.to_string())
        };
        let counts = |histogram, fault: &str| {
            let (reason, message) = refusal(vec![with(histogram)]);
            assert!(reason == "counts" && message.contains(fault), "{message}");
        };
        counts(classic(&[(0.5, 4)], 3, 1.0), "must not decrease");
        counts(classic(&[(0.5, 1), (0.5, 1)], 3, 1.0), "ascending");
        counts(classic(&[(0.5, 1)], 3, f64::NAN), "is NaN");
        counts(Histogram { schema: Some(9), ..classic(&[], 0, 0.0) }, "schema 9");
        let twice = || with(classic(&[(0.5, 1)], 3, 1.0));
        assert_eq!(refusal(vec![twice(), twice()]).0, "counts");
        let many = (0..=MAX_HISTOGRAMS).map(|_| twice()).collect();
        assert_eq!(refusal(many).0, "too_large");
        let bounds: Vec<(f64, u64)> = (0..8000).map(|bound| (f64::from(bound), 1)).collect();
        let wide = with(classic(&bounds, 3, 1.0));
        assert_eq!(refusal(vec![wide; MAX_SERIES / 8000 + 1]).0, "too_large");
    }

    #[test]
    fn a_page_with_too_many_series_is_refused() {
        let page: String =
            (0..=MAX_SERIES).map(|i| format!("d_bucket{{i=\"{i}\",le=\"+Inf\"}} 1\n")).collect();
        assert_eq!(read(&plain(), &page), Err(PageError::TooManySeries));
    }

    /// They are kept until the next page, and of thousands of them.
    #[test]
    fn labels_as_long_as_a_page_are_not_kept() {
        let bucket = |labels: &str, count: u32| format!("d_bucket{{{labels},le=\"+Inf\"}} {count}\n");
        let url = "/é".repeat(200);
        let both = [bucket(&format!("url=\"{url}a\""), 1), bucket(&format!("url=\"{url}b\""), 2)].concat();
        let read_twice = [read(&plain(), &both).unwrap(), read(&plain(), &both).unwrap()];
        let [first, second] = &read_twice[0].histograms[..] else { panic!("two histograms") };
        assert!(first.labels()["url"].len() <= LONGEST_VALUE && first.labels() != second.labels());
        assert_eq!(read_twice[0].histograms, read_twice[1].histograms);
        let many: Vec<String> = (0..40).map(|i| format!("l{i}=\"{}\"", "x".repeat(100))).collect();
        let refused = read(&plain(), &bucket(&many.join(","), 1)).unwrap_err();
        assert_eq!((refused.reason(), &refused), ("too_large", &PageError::LongLabels));
    }
}
