//! Pods' metrics pages to samples.
//!
//! ```text
//! Targets ─▶ Collector ─▶ fetch ─▶ exposition ─▶ page ─▶ Reading ─▶ Counters ─▶ Sample
//!            a round of    limits   or protobuf   what one autoscaler
//!            all pods                             wants
//! ```
//!
//! `access` is how pods and metrics servers let the adapter in: TLS, and what they are shown.
//!
//! Where a metrics server tells the load, `queried` asks it instead: `promql` has the questions, `prometheus` the API. `pods_cpu` asks a server, or the
//! cluster, for the CPU of pods whose pages do not tell it.
//!
//! One pod that is slow, wrong or hostile is left out, counted and logged once; the others go on.

mod access;
mod collector;
pub mod exposition;
mod fetch;
mod native;
mod page;
#[cfg(test)]
mod parity;
mod past;
mod pods_cpu;
pub mod prometheus;
mod promql;
mod protobuf;
mod queried;
mod seen_cpu;

pub use access::{Access, Credentials, CredentialsError, Trust};
pub use collector::{
    Collector, MAX_CONCURRENT, MAX_CONCURRENT_PER_WORKLOAD, PodCpu, ScrapeError, Scraper, Targets,
};
pub use fetch::{Content, FetchError, Fetcher, Format, MAX_PAGE_BYTES, MAX_PAGE_TIME, Page};
pub use native::{MAX_BUCKETS, NativeError};
pub use page::{MAX_HISTOGRAMS, MAX_SERIES, PageError, Query};
pub(crate) use past::Past;
pub use pods_cpu::{ClusterCpu, PodsCpu, PodsCpuError, ServerCpu};
pub use promql::PodNames;
pub(crate) use promql::{CpuOf, Workload};
pub use protobuf::{Broken, BrokenFault, MAX_METRIC_BYTES};
pub use queried::{QueriedError, QueriedPods, ServerCollector};
