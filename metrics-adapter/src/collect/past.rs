//! What a metrics server knows of a workload's past: so that a forecast need not begin with nothing.
//!
//! Requests by class, minute by minute, as samples of one group: what CPU, queues and pods were then is left aside, since the forecast
//! is of demand. Read in chunks that fit into an answer, the newest first: what is read when a server fails is what counts most.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::load::{Group, Labels, Pods, SAMPLE_SCHEMA, Sample};
use plimsoll::units::{Span, Time};

use super::fetch::FetchError;
use super::page::Query;
use super::prometheus::{Api, Endpoint, QueryError, Track};
use super::promql::{PodNames, Workload};
use super::queried::{QueriedError, rates};
use crate::clock::Clock;

/// Length of a chunk: 720 points a series, of which an answer holds some two hundred series.
const CHUNK: Span = Span::from_secs(12 * 3600);

/// The shortest that one is halved to, where an answer is too large.
const SHORTEST: Span = Span::from_secs(3600);

/// Longest time that one chunk is waited for: a server may have to read it from an object store.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for one workload's past.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    api: Api,
    query: Query,
    namespace: String,
    pods: PodNames,
    window: Span,
}

impl Past {
    /// Of the workload in `namespace`, whose pods are or were called so, with rates over `window`.
    pub(crate) fn new(
        namespace: String,
        query: Query,
        window: Span,
        endpoint: &Endpoint,
        pods: PodNames,
        clock: Clock,
    ) -> Self {
        Self { api: Api::patient(endpoint, clock, PATIENCE), query, namespace, pods, window }
    }

    /// A sample for each step from `from` to `to` of which the server knows anything, in the order of time; and why there are none before
    /// the first of them, if the server failed. Chunks that it warns of are left out.
    pub(crate) async fn samples(
        &self,
        from: Time,
        to: Time,
        step: Span,
    ) -> (Vec<Sample>, Option<QueriedError>) {
        let workload = Workload { namespace: &self.namespace, pods: &self.pods, window: self.window };
        let expression = workload.past(&self.query);
        let (mut chunks, mut end, mut length) = (Vec::new(), to, CHUNK);
        let mut failed = None;
        while end >= from {
            let begin = (end - length + step).max(from);
            match self.read(&expression, begin, end, step).await {
                Ok(samples) => {
                    chunks.push(samples);
                    end = begin - step;
                }
                Err(QueriedError::Query(QueryError::Fetch(FetchError::TooLarge))) if length > SHORTEST => {
                    length = Span::from_nanos(length.as_nanos() / 2);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        (chunks.into_iter().rev().flatten().collect(), failed)
    }

    async fn read(
        &self,
        expression: &str,
        begin: Time,
        end: Time,
        step: Span,
    ) -> Result<Vec<Sample>, QueriedError> {
        let tracks = self.api.query_range(expression, begin, end, step).await?;
        self.chunk(tracks.unwrap_or_default())
    }

    fn chunk(&self, tracks: Vec<Track>) -> Result<Vec<Sample>, QueriedError> {
        type Buckets = Vec<(f64, f64)>;
        let mut by_time: BTreeMap<Time, BTreeMap<Labels, Buckets>> = BTreeMap::new();
        for Track { labels, points } in tracks {
            let Some(Ok(le)) = labels.get("le").map(|le| le.parse::<f64>()) else {
                return Err(QueryError::Malformed.into());
            };
            let named = |name: &String| self.query.label.as_ref() == Some(name);
            let class: Labels = labels.into_iter().filter(|(name, _)| named(name)).collect();
            for (at, rate) in points {
                by_time.entry(at).or_default().entry(class.clone()).or_default().push((le, rate));
            }
        }
        let sample = |(at, classes): (Time, BTreeMap<Labels, Buckets>)| {
            let histograms = classes
                .into_iter()
                // Without its last bucket nobody knows how many requests there were.
                .filter(|(_, buckets)| buckets.iter().any(|(le, _)| *le == f64::INFINITY))
                .map(|(class, mut buckets)| {
                    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                    rates(class, &buckets, None)
                })
                .collect::<Result<Vec<_>, _>>()?;
            let pods = Pods { replicas: 1, ready: 1, warming: 0, silent: 0, updating: false };
            let group = Group { histograms, ..Group::new(1, self.window) };
            Ok(Sample { schema: SAMPLE_SCHEMA, at, pods, offered: None, groups: vec![group] })
        };
        by_time.into_iter().map(sample).collect()
    }
}
