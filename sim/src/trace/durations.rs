//! Durations where a trace does not tell them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use plimsoll::units::Span;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::TraceError;
use super::counts::BELOW_FIRST;
use super::rows::Rows;
use crate::random::normal_quantile;

/// Entries of the table that durations are drawn from.
const ENTRIES: usize = 4096;

/// One kind of request.
#[derive(Debug, Clone, Copy)]
struct Kind {
    share: f64,
    median_s: f64,
    sigma: f64,
}

/// What a rate trace lacks: most requests are quick, some are not. Mean 50.5 ms, 99th percentile about 0.57 s.
const USUAL: [Kind; 2] =
    [Kind { share: 0.9, median_s: 0.02, sigma: 0.7 }, Kind { share: 0.1, median_s: 0.2, sigma: 0.8 }];

/// A lognormal distribution, as a table of its quantiles: drawing from it costs a look-up, and its tail ends at the
/// quantile 0.99988.
#[derive(Debug, Clone)]
pub(super) struct LogNormal(Box<[f64]>);

impl LogNormal {
    pub(super) fn new(median_s: f64, sigma: f64) -> Self {
        let quantile =
            |i: usize| median_s * (sigma * normal_quantile((i as f64 + 0.5) / ENTRIES as f64)).exp();
        Self((0..ENTRIES).map(quantile).collect())
    }

    /// Seconds.
    pub(super) fn draw(&self, rng: &mut Pcg64) -> f64 {
        self.0[rng.random_range(0..ENTRIES)]
    }
}

/// Durations that are lent to traces without any.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum DurationMix {
    /// 90 % with median 20 ms, 10 % with median 200 ms.
    #[default]
    Usual,
    /// One lognormal distribution.
    LogNormal {
        /// Half of the requests take at most this; above zero.
        median: Span,
        /// Standard deviation of the logarithm; at least zero.
        sigma: f64,
    },
    /// Those that somebody has counted.
    Counted(Arc<CountedMix>),
}

/// Durations by bucket, as somebody has counted them.
#[derive(Debug, Clone, PartialEq)]
pub struct CountedMix {
    name: String,
    /// Bounds in seconds, and the share of the requests up to the upper one.
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    lower_s: f64,
    upper_s: f64,
    up_to: f64,
}

impl CountedMix {
    /// Of a file with the columns `le_s,count`, or `mix,le_s,count` of which the rows of one `mix` count: requests that took longer than the bound before and
    /// at most `le_s` seconds, ascending.
    ///
    /// # Errors
    /// When there is no such file or mix, or it is not like that.
    pub fn open(path: &Path, mix: Option<&str>) -> Result<Self, TraceError> {
        let mut rows = Rows::open(path)?;
        let header: Vec<&str> = rows.header().iter().collect();
        let first = match header.as_slice() {
            ["le_s", "count"] if mix.is_some() => {
                let expected = "the header mix,le_s,count, since a mix is named";
                return Err(rows.row_error(header.join(","), expected.to_owned()));
            }
            ["le_s", "count"] => 0,
            ["mix", "le_s", "count"] => 1,
            _ => {
                let expected = "the header le_s,count, or mix,le_s,count";
                return Err(rows.row_error(header.join(","), expected.to_owned()));
            }
        };
        let (mut counted, mut known): (Vec<(f64, f64)>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
        while rows.next()? {
            if first == 1 {
                known.insert(rows.text(0).to_owned());
                if mix.is_none() && known.len() > 1 {
                    return Err(rows.value_error(0, "one mix, or FILE:NAME to say which"));
                }
                if mix.is_some_and(|mix| mix != rows.text(0)) {
                    continue;
                }
            }
            let (le, count) = (rows.amount(first)?, rows.amount(first + 1)?);
            if le <= counted.last().map_or(0.0, |last| last.0) {
                let expected = "seconds above those of the row before";
                return Err(rows.value_error(first, expected));
            }
            counted.push((le, count));
        }
        let all: f64 = counted.iter().map(|(_, count)| count).sum();
        if all <= 0.0 {
            let known: Vec<String> = known.into_iter().collect();
            let expected = match mix {
                Some(_) if !known.is_empty() => format!("one of the mixes {}", known.join(", ")),
                _ => "rows with counts above zero".to_owned(),
            };
            return Err(rows.row_error(mix.unwrap_or("the end").to_owned(), expected));
        }
        let mut up_to = 0.0;
        let mut lower_s = counted.first().map_or(0.0, |(le, _)| BELOW_FIRST * le);
        let mut buckets = Vec::new();
        for (le, count) in counted {
            up_to += count / all;
            if count > 0.0 {
                buckets.push(Bucket { lower_s, upper_s: le, up_to });
            }
            lower_s = le;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name: mix.map_or(name.clone(), |mix| format!("{name}:{mix}")), buckets })
    }

    fn draw(&self, rng: &mut Pcg64) -> Span {
        let chosen: f64 = rng.random();
        let place = self.buckets.partition_point(|bucket| bucket.up_to <= chosen);
        // Past the last only where the shares add up to a little less than one.
        let bucket = self.buckets.get(place).or(self.buckets.last());
        bucket.map_or(Span::ZERO, |bucket| log_uniform(rng, bucket.lower_s, bucket.upper_s))
    }
}

impl fmt::Display for DurationMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual => f.write_str("usual"),
            Self::LogNormal { median, sigma } => write!(f, "lognormal:{median},{sigma}"),
            Self::Counted(mix) => f.write_str(&mix.name),
        }
    }
}

/// A mix that is drawn from.
#[derive(Debug, Clone)]
pub(super) enum Lent {
    Kinds(Vec<(f64, LogNormal)>),
    Counted(Arc<CountedMix>),
}

impl Lent {
    pub(super) fn new(mix: &DurationMix) -> Self {
        match mix {
            DurationMix::Usual => {
                Self::Kinds(USUAL.iter().map(|k| (k.share, LogNormal::new(k.median_s, k.sigma))).collect())
            }
            DurationMix::LogNormal { median, sigma } => {
                Self::Kinds(vec![(1.0, LogNormal::new(median.as_secs_f64(), *sigma))])
            }
            DurationMix::Counted(mix) => Self::Counted(Arc::clone(mix)),
        }
    }

    pub(super) fn draw(&self, rng: &mut Pcg64) -> Span {
        let kinds = match self {
            Self::Kinds(kinds) => kinds,
            Self::Counted(mix) => return mix.draw(rng),
        };
        let mut left: f64 = rng.random();
        for (share, durations) in kinds {
            left -= share;
            if left < 0.0 {
                return Span::from_secs_f64(durations.draw(rng));
            }
        }
        // Only where the shares add up to a little less than one.
        kinds.last().map_or(Span::ZERO, |(_, durations)| Span::from_secs_f64(durations.draw(rng)))
    }
}

/// Log-uniform between two bounds in seconds, `0 < lower <= upper`.
pub(super) fn log_uniform(rng: &mut Pcg64, lower: f64, upper: f64) -> Span {
    Span::from_secs_f64(lower * (upper / lower).powf(rng.random()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    #[test]
    fn the_usual_mix_has_the_mean_and_the_percentile_that_its_doc_says() {
        let (mix, mut rng) = (Lent::new(&DurationMix::Usual), generator(1, Purpose::Durations));
        let mut drawn: Vec<f64> = (0..100_000).map(|_| mix.draw(&mut rng).as_secs_f64()).collect();
        drawn.sort_by(f64::total_cmp);
        let mean = drawn.iter().sum::<f64>() / 100_000.0;
        assert!((mean - 0.0505).abs() < 0.001, "{mean}");
        assert!((drawn[99_000] - 0.57).abs() < 0.05, "{}", drawn[99_000]);
    }

    #[test]
    fn a_counted_mix_has_the_shares_that_were_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mixes.csv");
        std::fs::write(&path, "mix,le_s,count\na,0.1,3\na,0.2,0\na,1,1\nb,5,1\n").unwrap();
        let mix = CountedMix::open(&path, Some("a")).unwrap();
        let lent = Lent::new(&DurationMix::Counted(Arc::new(mix)));
        let mut rng = generator(1, Purpose::Durations);
        let drawn: Vec<f64> = (0..10_000).map(|_| lent.draw(&mut rng).as_secs_f64()).collect();
        let short = drawn.iter().filter(|drawn| (0.01..=0.1).contains(*drawn)).count();
        let long = drawn.iter().filter(|drawn| (0.2..=1.0).contains(*drawn)).count();
        assert!(short.abs_diff(7500) < 150 && short + long == 10_000, "{short} {long}");
        let refused = |mix| CountedMix::open(&path, mix).unwrap_err().to_string();
        assert!(refused(Some("c")).contains("found \"c\", expected one of the mixes a, b"));
        assert!(
            refused(None).contains("mixes.csv:5, column mix: found \"b\", expected one mix, or FILE:NAME")
        );
        std::fs::write(&path, "le_s,count\n0.2,1\n0.1,1\n").unwrap();
        assert!(refused(None).contains("mixes.csv:3, column le_s"), "{}", refused(None));
        assert!(refused(Some("a")).contains("the header mix,le_s,count"));
        std::fs::write(&path, "le,count\n").unwrap();
        assert!(refused(None).contains("the header le_s,count"));
    }

    #[test]
    fn log_uniform_durations_stay_in_their_bucket() {
        let mut rng = generator(1, Purpose::Durations);
        for _ in 0..1000 {
            let drawn = log_uniform(&mut rng, 0.1, 0.25).as_secs_f64();
            assert!((0.1..=0.25).contains(&drawn));
        }
    }
}
