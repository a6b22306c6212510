//! Pods' metrics pages to samples.

pub mod exposition;
pub mod page;
