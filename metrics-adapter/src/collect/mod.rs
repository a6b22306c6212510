//! Pods' metrics pages to samples.
//!
//! ```text
//! Targets ─▶ Collector ─▶ fetch ─▶ exposition ─▶ page ─▶ Reading ─▶ Counters ─▶ Sample
//!            a round of    limits   or protobuf   what one autoscaler
//!            all pods                             wants
//! ```
//!
//! One pod that is slow, wrong or hostile is left out, counted and logged once; the others go on.

mod collector;
pub mod exposition;
mod fetch;
mod native;
mod page;
#[cfg(test)]
mod parity;
pub mod prometheus;
mod protobuf;

pub use collector::{Collector, MAX_CONCURRENT, MAX_CONCURRENT_PER_WORKLOAD, ScrapeError, Scraper, Targets};
pub use fetch::{Content, FetchError, Fetcher, Format, MAX_PAGE_BYTES, MAX_PAGE_TIME, Page};
pub use native::{MAX_BUCKETS, NativeError};
pub use page::{MAX_HISTOGRAMS, MAX_SERIES, PageError, Query};
pub use protobuf::{Broken, BrokenFault, MAX_METRIC_BYTES};
