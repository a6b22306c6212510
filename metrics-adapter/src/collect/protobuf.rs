//! Reads the Prometheus protobuf format: metric families, each behind its length (`io.prometheus.client.MetricFamily`,
//! `encoding=delimited`).
//!
//! Families are gone through in place and their metrics decoded one at a time, so that a page of many tiny ones cannot grow
//! in memory to many times its size. Nothing is allocated by a length that the page claims. The messages are declared by
//! hand, with the fields that are read and no others.

use std::str;

use plimsoll::load::Labels;
use prost::{Message, decode_length_delimiter};

use super::native::{self, NativeError};

/// Largest single metric: a histogram with as many buckets as are read, and its labels.
pub const MAX_METRIC_BYTES: usize = 256 << 10;

/// A page that is not the protobuf format, or was cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metric family {family}: {fault}")]
pub struct Broken {
    /// Number of the family, from 1.
    pub family: usize,
    /// What is wrong with it.
    pub fault: BrokenFault,
}

/// What is wrong with a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenFault {
    /// It claims to be longer than the rest of the page.
    #[error("it goes on beyond the end of the page: the page was cut off, or is not protobuf")]
    CutOff,
    /// A field that no such message can have.
    #[error("a field cannot be read")]
    Field,
    /// A name that is not UTF-8.
    #[error("its name is not UTF-8")]
    Name,
    /// A metric that cannot be decoded.
    #[error("a metric cannot be read")]
    Metric,
    /// A metric that is larger than any should be.
    #[error("a metric has more than {MAX_METRIC_BYTES} bytes")]
    TooLarge,
}

/// Goes through a page, family by family.
#[derive(Debug)]
pub(super) struct Families<'page> {
    rest: &'page [u8],
    number: usize,
}

/// One family of metrics, borrowed from the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family<'page> {
    /// The metrics' name.
    pub(super) name: &'page str,
    number: usize,
    message: &'page [u8],
}

/// Goes through the metrics of one family.
#[derive(Debug)]
pub(super) struct Metrics<'page> {
    number: usize,
    rest: &'page [u8],
}

/// Numbers of the fields that are read of a family.
const NAME: usize = 1;
const METRIC: usize = 4;

impl<'page> Families<'page> {
    /// Every family of the page.
    pub(super) fn new(page: &'page [u8]) -> Self {
        Self { rest: page, number: 0 }
    }

    /// The next family; none at the end. Its metrics are not looked at yet.
    ///
    /// # Errors
    /// A family that is not one, or a page that was cut off.
    pub(super) fn next_family(&mut self) -> Result<Option<Family<'page>>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        let broken = |fault| Broken { family: number, fault };
        let message = delimited(&mut self.rest).ok_or_else(|| broken(BrokenFault::CutOff))?;
        let (mut name, mut fields) = ("", message);
        while let Some(field) = next_field(&mut fields).map_err(broken)? {
            if let (NAME, Some(bytes)) = field {
                name = str::from_utf8(bytes).map_err(|_| broken(BrokenFault::Name))?;
            }
        }
        Ok(Some(Family { name, number, message }))
    }
}

impl<'page> Family<'page> {
    /// Its metrics.
    pub(super) fn metrics(&self) -> Metrics<'page> {
        Metrics { number: self.number, rest: self.message }
    }
}

impl Metrics<'_> {
    /// The next metric; none at the end.
    ///
    /// # Errors
    /// A metric that cannot be decoded.
    pub(super) fn next_metric(&mut self) -> Result<Option<Metric>, Broken> {
        let broken = |fault| Broken { family: self.number, fault };
        while let Some(field) = next_field(&mut self.rest).map_err(broken)? {
            if let (METRIC, Some(bytes)) = field {
                if bytes.len() > MAX_METRIC_BYTES {
                    return Err(broken(BrokenFault::TooLarge));
                }
                return Metric::decode(bytes).map(Some).map_err(|_| broken(BrokenFault::Metric));
            }
        }
        Ok(None)
    }
}

/// Bytes behind their length; none where the length is not one, or goes too far.
fn delimited<'page>(rest: &mut &'page [u8]) -> Option<&'page [u8]> {
    let length = decode_length_delimiter(&mut *rest).ok()?;
    take(rest, length)
}

fn take<'page>(rest: &mut &'page [u8], length: usize) -> Option<&'page [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// Number and content of a field; without content where it is a plain number.
type Field<'page> = (usize, Option<&'page [u8]>);

/// The next field; none at the end.
fn next_field<'page>(rest: &mut &'page [u8]) -> Result<Option<Field<'page>>, BrokenFault> {
    if rest.is_empty() {
        return Ok(None);
    }
    let key = decode_length_delimiter(&mut *rest).map_err(|_| BrokenFault::Field)?;
    let content = match key & 7 {
        0 => decode_length_delimiter(&mut *rest).ok().map(|_| None),
        1 => take(rest, 8).map(|_| None),
        2 => delimited(rest).map(Some),
        5 => take(rest, 4).map(|_| None),
        _ => None,
    };
    content.map(|content| Some((key >> 3, content))).ok_or(BrokenFault::Field)
}

/// One metric: its labels, and what its type says.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub(super) label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub(super) gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    pub(super) counter: Option<Number>,
    #[prost(message, optional, tag = "4")]
    pub(super) summary: Option<Summary>,
    #[prost(message, optional, tag = "5")]
    pub(super) untyped: Option<Number>,
    #[prost(message, optional, tag = "7")]
    pub(super) histogram: Option<Histogram>,
}

/// A label.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

/// A gauge, a counter or an untyped value: they look alike.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Number {
    #[prost(double, optional, tag = "1")]
    pub(super) value: Option<f64>,
}

/// A summary, without its quantiles.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(uint64, optional, tag = "1")]
    pub(super) sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sample_sum: Option<f64>,
}

/// A histogram: classic buckets, native ones, or both.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub(super) sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) bucket: Vec<Bucket>,
    #[prost(double, optional, tag = "4")]
    pub(super) sample_count_float: Option<f64>,
    /// Only native histograms have one.
    #[prost(sint32, optional, tag = "5")]
    pub(super) schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub(super) zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) zero_count: Option<u64>,
    #[prost(double, optional, tag = "8")]
    pub(super) zero_count_float: Option<f64>,
    #[prost(sint64, repeated, packed = "false", tag = "10")]
    pub(super) negative_delta: Vec<i64>,
    #[prost(double, repeated, packed = "false", tag = "11")]
    pub(super) negative_count: Vec<f64>,
    #[prost(message, repeated, tag = "12")]
    pub(super) positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(super) positive_delta: Vec<i64>,
    #[prost(double, repeated, packed = "false", tag = "14")]
    pub(super) positive_count: Vec<f64>,
}

/// A classic bucket.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub(super) cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) upper_bound: Option<f64>,
    #[prost(double, optional, tag = "4")]
    pub(super) cumulative_count_float: Option<f64>,
}

/// A run of native buckets, and how far behind the last one it begins.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    pub(super) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) length: Option<u32>,
}

/// The count in doubles where there is one, else the whole number.
pub(super) fn count(float: Option<f64>, whole: Option<u64>) -> f64 {
    float.filter(|float| *float != 0.0).unwrap_or_else(|| whole.unwrap_or(0) as f64)
}

impl Metric {
    pub(super) fn labels(&self) -> Labels {
        let pair = |l: &LabelPair| (l.name().to_owned(), l.value().to_owned());
        self.label.iter().map(pair).collect()
    }

    /// The plain values that the text format would show, each with the suffix that the name has there.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let number = self.counter.as_ref().or(self.gauge.as_ref()).or(self.untyped.as_ref());
        let summary = self.summary.as_ref().map(|s| (s.sample_count() as f64, s.sample_sum()));
        let histogram = self.histogram.as_ref().map(|h| (h.total(), h.sample_sum()));
        let sums = summary.into_iter().chain(histogram);
        let sums = sums.flat_map(|(count, sum)| [("_count", count), ("_sum", sum)]);
        number.map(|number| ("", number.value())).into_iter().chain(sums)
    }

    /// As how many series it counts: one a bucket.
    pub(super) fn series(&self) -> usize {
        let buckets = self.histogram.as_ref().map_or(0, |h| {
            h.bucket.len() + h.positive_delta.len() + h.positive_count.len() + h.negative_delta.len()
        });
        1 + buckets
    }
}

impl Histogram {
    pub(super) fn total(&self) -> f64 {
        count(self.sample_count_float, self.sample_count)
    }

    /// Upper bounds and cumulative counts, `+Inf` last: the native buckets, unless there are classic ones and the native
    /// ones are empty.
    ///
    /// # Errors
    /// Native buckets that make no sense.
    pub(super) fn cumulative(&self) -> Result<Vec<(f64, f64)>, NativeError> {
        if self.schema.is_some() && (self.bucket.is_empty() || !native::is_empty(self)) {
            return native::cumulative(self);
        }
        let classic = |b: &Bucket| (b.upper_bound(), count(b.cumulative_count_float, b.cumulative_count));
        let mut buckets: Vec<(f64, f64)> = self.bucket.iter().map(classic).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        // The format leaves out what the total says already.
        if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            buckets.push((f64::INFINITY, self.total()));
        }
        Ok(buckets)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct WholeFamily {
        #[prost(string, optional, tag = "1")]
        name: Option<String>,
        #[prost(string, optional, tag = "2")]
        help: Option<String>,
        #[prost(int32, optional, tag = "3")]
        r#type: Option<i32>,
        #[prost(message, repeated, tag = "4")]
        metric: Vec<Metric>,
    }

    /// A page of these families, as a library writes it.
    pub(in crate::collect) fn page(families: &[(&str, Vec<Metric>)]) -> Vec<u8> {
        let mut page = Vec::new();
        for (name, metric) in families {
            let (name, help) = (Some((*name).to_owned()), Some("Some help.".to_owned()));
            let family = WholeFamily { name, help, r#type: Some(4), metric: metric.clone() };
            family.encode_length_delimited(&mut page).unwrap();
        }
        page
    }

    pub(in crate::collect) fn with(histogram: Histogram) -> Metric {
        Metric { histogram: Some(histogram), ..Metric::default() }
    }

    pub(in crate::collect) fn classic(bounds: &[(f64, u64)], total: u64, sum: f64) -> Histogram {
        let bucket = |(bound, count): &(f64, u64)| Bucket {
            upper_bound: Some(*bound),
            cumulative_count: Some(*count),
            cumulative_count_float: None,
        };
        Histogram {
            sample_count: Some(total),
            sample_sum: Some(sum),
            bucket: bounds.iter().map(bucket).collect(),
            ..Histogram::default()
        }
    }

    fn metric(value: f64) -> Metric {
        Metric { gauge: Some(Number { value: Some(value) }), ..Metric::default() }
    }

    fn read(page: &[u8]) -> Result<Vec<(String, usize)>, Broken> {
        let mut families = Families::new(page);
        let mut all = Vec::new();
        while let Some(family) = families.next_family()? {
            let (mut metrics, mut count) = (family.metrics(), 0);
            while metrics.next_metric()?.is_some() {
                count += 1;
            }
            all.push((family.name.to_owned(), count));
        }
        Ok(all)
    }

    #[test]
    fn families_and_their_metrics_are_gone_through_in_order() {
        let page = page(&[("a", vec![metric(1.0), metric(2.0)]), ("b", vec![]), ("c", vec![metric(3.0)])]);
        assert_eq!(read(&page).unwrap(), [("a".to_owned(), 2), ("b".to_owned(), 0), ("c".to_owned(), 1)]);
        assert_eq!(read(b"").unwrap(), []);
    }

    #[test]
    fn a_page_that_is_cut_off_is_refused_with_the_number_of_the_family() {
        let whole = page(&[("a", vec![metric(1.0)]), ("b", vec![metric(2.0)])]);
        let first = page(&[("a", vec![metric(1.0)])]).len();
        for end in first + 1..whole.len() {
            assert_eq!(read(&whole[..end]), Err(Broken { family: 2, fault: BrokenFault::CutOff }), "{end}");
        }
    }

    #[test]
    fn what_is_no_family_is_refused() {
        let broken = |bytes: &[u8]| read(&[&[bytes.len() as u8], bytes].concat()).unwrap_err().fault;
        assert_eq!(broken(&[0x0a, 1, 0xff]), BrokenFault::Name);
        assert_eq!(broken(&[0x0a, 9, b'a']), BrokenFault::Field);
        assert_eq!(broken(&[0x0b]), BrokenFault::Field);
        assert_eq!(broken(&[0x0a, 1, b'a', 0x22, 2, 0x0a, 9]), BrokenFault::Metric);
        assert!(read(b"a{b=\"c\"} 1\n").is_err());
        let huge = Metric {
            label: vec![LabelPair { name: None, value: Some("x".repeat(MAX_METRIC_BYTES)) }],
            ..Metric::default()
        };
        assert_eq!(read(&page(&[("a", vec![huge])])).unwrap_err().fault, BrokenFault::TooLarge);
    }
}
