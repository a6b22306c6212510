//! The adapter's own metrics: what it counts while it works, and what its decisions say.

use std::sync::Arc;

use plimsoll::units::Span;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::board_metrics::BoardMetrics;
use crate::board::{Board, ObjectKey};
use crate::clock::Clock;

/// Bounds for answers of the API, in seconds: from a board read to the HPA's patience.
const QUERY_BOUNDS: [f64; 8] = [0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 1.0];

/// Bounds for rounds of scraping, in seconds.
const ROUND_BOUNDS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    namespace: String,
    name: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoLabels {}

/// What the adapter counts, and the registry that shows it. Values, not globals: two adapters in one process do not meet.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    scrape_errors: Family<ErrorLabels, Counter>,
    query_errors: Family<ErrorLabels, Counter>,
    queries: Family<QueryLabels, Counter>,
    query_seconds: Histogram,
    round_seconds: Histogram,
    /// Empty without a cluster, in which several may stand by.
    leading: Family<NoLabels, Gauge>,
    /// Empty until there is a certificate.
    certificate_expiry: Family<NoLabels, Gauge>,
}

impl Telemetry {
    /// Metrics of one adapter, the decisions on `board` among them.
    pub fn new(board: Arc<Board>, clock: Clock) -> Self {
        let mut registry = Registry::with_prefix("plimsoll");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the adapter", build);
        let scrape_errors = Family::default();
        let help = "Pods' metrics pages that could not be read";
        registry.register("scrape_errors", help, scrape_errors.clone());
        let query_errors = Family::default();
        let help = "Questions that a metrics server did not answer as it should";
        registry.register("query_errors", help, query_errors.clone());
        let queries = Family::default();
        registry.register("api_requests", "Answers of the external metrics API by status", queries.clone());
        let query_seconds = Histogram::new(QUERY_BOUNDS);
        let help = "Time to answer a request of the external metrics API";
        registry.register("api_request_duration_seconds", help, query_seconds.clone());
        let round_seconds = Histogram::new(ROUND_BOUNDS);
        let help = "Time to read all pods of one workload and decide";
        registry.register("round_duration_seconds", help, round_seconds.clone());
        let leading = Family::default();
        let help = "1 while this adapter leads and has begun to decide, 0 while it stands by";
        registry.register("leading", help, leading.clone());
        let certificate_expiry = Family::default();
        let help = "When the certificate that the external metrics API shows is not valid any more";
        registry.register("certificate_expiry_timestamp_seconds", help, certificate_expiry.clone());
        registry.register_collector(Box::new(BoardMetrics { board, clock }));
        Self {
            registry,
            scrape_errors,
            query_errors,
            queries,
            query_seconds,
            round_seconds,
            leading,
            certificate_expiry,
        }
    }

    /// Counts a page that could not be read.
    pub fn scrape_failed(&self, object: &ObjectKey, reason: &'static str) {
        let ObjectKey { namespace, name } = object.clone();
        self.scrape_errors.get_or_create(&ErrorLabels { namespace, name, reason }).inc();
    }

    /// Counts a question that a metrics server did not answer.
    pub fn query_failed(&self, object: &ObjectKey, reason: &'static str) {
        let ObjectKey { namespace, name } = object.clone();
        self.query_errors.get_or_create(&ErrorLabels { namespace, name, reason }).inc();
    }

    /// Counts an answer of the external metrics API.
    pub fn answered(&self, code: u16, took: Span) {
        self.queries.get_or_create(&QueryLabels { code }).inc();
        self.query_seconds.observe(took.as_secs_f64());
    }

    /// Notes how long a round of scraping and its decision took.
    pub fn round_took(&self, took: Span) {
        self.round_seconds.observe(took.as_secs_f64());
    }

    /// Notes whether this adapter of a cluster is the one that decides.
    pub fn leads(&self, is_leading: bool) {
        self.leading.get_or_create(&NoLabels {}).set(i64::from(is_leading));
    }

    /// Notes until when the certificate that is served with is valid.
    pub fn certificate_expires(&self, at: jiff::Timestamp) {
        self.certificate_expiry.get_or_create(&NoLabels {}).set(at.as_second());
    }

    /// All metrics in the OpenMetrics text format.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing into a string cannot fail; should it ever, half a page is refused by its missing `# EOF`.
        let _ = prometheus_client::encoding::text::encode(&mut page, &self.registry);
        page
    }
}
