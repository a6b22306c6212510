//! What people ask from their desks: why, what is missing, and what would have been.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use plimsoll::units::Span;
use plimsoll_sim::cost::PriceList;

use super::servers::ServerFlags;
use super::{cluster, print};
use crate::backtest::{self, Suppose};
use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::config::Wishes;
use crate::control::{self, Verdict};
use crate::cost::{self, Asked};
use crate::explain;

#[derive(Debug, Parser)]
pub(super) struct Explain {
    /// The LoadAwareAutoscaler.
    name: String,

    /// Its namespace. Default: that of the kubeconfig's context.
    #[arg(short, long)]
    namespace: Option<String>,
}

#[derive(Debug, Parser)]
pub(super) struct Preflight {
    /// The LoadAwareAutoscaler to look at; without one, the cluster alone.
    name: Option<String>,

    /// Its namespace. Default: that of the kubeconfig's context.
    #[arg(short, long)]
    namespace: Option<String>,

    /// The adapter's namespace.
    #[arg(long, default_value = "plimsoll-system", value_name = "NAMESPACE")]
    adapter_namespace: String,

    #[command(flatten)]
    prometheus: ServerFlags,
}

#[derive(Debug, Parser)]
pub(super) struct Backtest {
    /// LoadAwareAutoscaler documents with a source of kind prometheus. - is standard input.
    #[arg(short = 'f', long, value_name = "FILE")]
    config: PathBuf,

    #[command(flatten)]
    prometheus: ServerFlags,

    /// How far back to look, 2d to 28d.
    #[arg(long = "for", default_value = "14d", value_parser = two_days_or_more, value_name = "DURATION")]
    length: Span,

    /// Pods that there are now. Default: maxReplicas.
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,

    /// What one pod carries, where the object does not give it: MetricsQPS where weights are given, else requests per second.
    #[arg(long, value_name = "LOAD")]
    per_pod: Option<f64>,

    /// From a decision until new pods serve, where the object does not pin it.
    #[arg(long, default_value = "2m", value_name = "DURATION")]
    lead: Span,

    /// Price of a pod-hour.
    #[arg(long, value_parser = price, value_name = "PRICE")]
    price: Option<f64>,

    /// Write JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
pub(super) struct Cost {
    /// One LoadAwareAutoscaler alone.
    name: Option<String>,

    /// One namespace alone.
    #[arg(short, long)]
    namespace: Option<String>,

    #[command(flatten)]
    prometheus: ServerFlags,

    /// Which of these servers, if there are several.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,

    /// How far back to look, 1d to 90d.
    #[arg(long = "for", default_value = "28d", value_parser = a_day_or_more, value_name = "DURATION")]
    length: Span,

    /// Price of a pod-hour, the same for all.
    #[arg(long, value_parser = price, conflicts_with = "prices", required_unless_present = "prices", value_name = "PRICE")]
    price: Option<f64>,

    /// Prices of pod-hours, reserved, on demand and on spot, by region, as plimsoll-sim report takes them.
    #[arg(long, value_name = "FILE.yaml")]
    prices: Option<PathBuf>,

    /// Whose prices; needed where the file has several.
    #[arg(long, value_name = "NAME", requires = "prices")]
    region: Option<String>,

    /// Write JSON.
    #[arg(long)]
    json: bool,

    /// Write a page with charts, for a browser, to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn a_day_or_more(text: &str) -> Result<Span, String> {
    let length: Option<Span> = text.parse().ok();
    let fits = |length: &Span| (Span::from_secs(86_400)..=Span::from_secs(90 * 86_400)).contains(length);
    length.filter(fits).ok_or_else(|| "give a duration from 1d to 90d".to_owned())
}

impl Cost {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { name, namespace, prometheus, server, length, price, prices, region, json, html } = self;
        let servers = prometheus.servers()?;
        let endpoint = servers.one(server.as_deref())?;
        let prices = match (price, prices) {
            (_, Some(file)) => plimsoll_sim::cost::read(&file, region.as_deref())?,
            (price, None) => PriceList::flat(price.unwrap_or_default()).context("--price")?,
        };
        let asked = Asked { length, namespace, name, prices };
        let costs = cost::read(endpoint, &Clock::system(), &asked).await?;
        if let Some(path) = html {
            std::fs::write(&path, cost::page(&costs)?).with_context(|| path.display().to_string())?;
        }
        match json {
            true => print(format!("{}\n", serde_json::to_string_pretty(&costs)?).as_bytes()),
            false => print(cost::text(&costs).as_bytes()),
        }
    }
}

fn two_days_or_more(text: &str) -> Result<Span, String> {
    let length: Option<Span> = text.parse().ok();
    let fits = |length: &Span| (Span::from_secs(2 * 86_400)..=Span::from_secs(28 * 86_400)).contains(length);
    length.filter(fits).ok_or_else(|| "give a duration from 2d to 28d".to_owned())
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "give a number".to_owned())
}

impl Backtest {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { config, prometheus, length, replicas, per_pod, lead, price, json } = self;
        let servers = prometheus.servers()?;
        let wishes = Wishes::read(&config)?;
        let suppose = Suppose { length, replicas, per_pod, lead, price };
        let clock = Clock::system();
        for (index, (key, wish)) in wishes.objects.iter().enumerate() {
            let report = backtest::run(key, wish, &servers, suppose, &clock).await?;
            match json {
                true => print(format!("{}\n", serde_json::to_string(&report)?).as_bytes())?,
                false => print(format!("{}{report}", if index == 0 { "" } else { "\n" }).as_bytes())?,
            }
        }
        Ok(())
    }
}

impl Explain {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = cluster().await?;
        let namespace = self.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let text = explain::explain(&client, &namespace, &self.name, Clock::system().now()).await?;
        print(text.as_bytes())
    }
}

impl Preflight {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { name, namespace, adapter_namespace: adapter, prometheus } = self;
        let servers = prometheus.servers()?;
        let client = cluster().await?;
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let object = name.map(|name| ObjectKey::new(&namespace, name));
        let preflight = control::Preflight { client, object, namespace, adapter, servers };
        let mut printed = Ok(());
        let checks = preflight.run(|check| printed = print(format!("{check}\n").as_bytes())).await;
        printed?;
        let wrong = checks.iter().filter(|check| check.verdict == Verdict::Wrong).count();
        anyhow::ensure!(
            wrong == 0,
            "{wrong} of {} checks say that replicas will not follow the load",
            checks.len()
        );
        Ok(())
    }
}
