//! Pods' metrics pages to samples.
//!
//! ```text
//! Targets ─▶ Collector ─▶ fetch ─▶ exposition ─▶ page ─▶ Reading ─▶ Counters ─▶ Sample
//!            a round of    limits   quote-aware   what one autoscaler
//!            all pods               scanner       wants
//! ```
//!
//! One pod that is slow, wrong or hostile is left out, counted and logged once; the others go on.

mod collector;
pub mod exposition;
mod fetch;
mod page;

pub use collector::{Collector, MAX_CONCURRENT, MAX_CONCURRENT_PER_WORKLOAD, ScrapeError, Scraper, Targets};
pub use fetch::{FetchError, Fetcher, MAX_PAGE_BYTES, MAX_PAGE_TIME, Page};
pub use page::{MAX_HISTOGRAMS, MAX_SERIES, PageError, Query};
