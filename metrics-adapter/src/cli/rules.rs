//! Recording rules, written for whoever evaluates them.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use plimsoll::units::Span;

use crate::clock::Clock;
use crate::collect::prometheus::{Api, Endpoint};
use crate::config::{Wishes, is_dns_name};
use crate::rules::{self, BoundsError};

#[derive(Debug, Parser)]
pub(super) struct Rules {
    /// LoadAwareAutoscaler documents: the file that serve reads, or what kubectl get laa -A -o yaml writes. - is standard input.
    #[arg(short = 'f', long, value_name = "FILE")]
    config: PathBuf,

    /// For whom they are written.
    #[arg(long, value_enum, default_value_t = RuleFormat::RuleFile)]
    format: RuleFormat,

    /// What the PrometheusRules are called.
    #[arg(long, default_value = "plimsoll", value_parser = resource_name, value_name = "NAME")]
    name: String,

    /// The server that will evaluate the rules, such as http://prometheus.monitoring:9090: class edges that are no bounds of the histograms
    /// that it knows are refused. Without it they are not checked.
    #[arg(long, value_name = "URL")]
    bounds_from: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RuleFormat {
    /// A file for Prometheus' rule_files.
    RuleFile,
    /// Custom resources for Prometheus' operator, one a namespace.
    PrometheusRule,
}

fn resource_name(text: &str) -> Result<String, String> {
    let is_name = is_dns_name(text, 253);
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| "lower-case letters, digits, '-' and '.' were expected".to_owned())
}

impl Rules {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { config, format, name, bounds_from } = self;
        let wishes = Wishes::read(&config)?;
        let groups = rules::groups(&wishes)?;
        if let Some(url) = bounds_from {
            let endpoint = Endpoint::parse(&url).context("--bounds-from")?;
            let api = Api::new(&endpoint, Clock::system(), PATIENCE);
            rules::check_bounds(&wishes, &api).await.map_err(|error| match error {
                BoundsError::Edges(error) => error.into(),
                error @ BoundsError::Query { .. } => anyhow::Error::from(error),
            })?;
        }
        let text = match format {
            RuleFormat::RuleFile => rules::rule_file(&groups),
            RuleFormat::PrometheusRule => rules::custom_resources(&groups, &name),
        };
        Ok(std::io::stdout().write_all(text.context("the rules")?.as_bytes())?)
    }
}

/// Longest time that a metrics server is given for the bounds of one histogram.
const PATIENCE: Span = Span::from_secs(10);
