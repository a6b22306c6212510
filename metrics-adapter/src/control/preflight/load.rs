//! What a load is read from: requests for CPU, a pod's page, or a metrics server.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::{Request, Uri};
use plimsoll::load::{HistogramCounts, Reading};
use plimsoll::spec::{Scrape, Spec, Target as SpecTarget, Weights};
use plimsoll::units::Span;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::pods::Pods;
use super::super::target::told;
use super::{Check, PATIENCE, Preflight};
use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::collect::{
    Access, ClusterCpu, Content, Fetcher, Format, PodCpu, PodNames, PodsCpu, QueriedPods, Query, Scraper,
    ServerCollector,
};
use crate::ops::Telemetry;

/// Longest time for a pod's page, which may not be reachable from here at all.
const PAGE_PATIENCE: Span = Span::from_secs(3);

impl Preflight {
    /// What a pod's page tells.
    pub(super) async fn page(
        &self,
        key: &ObjectKey,
        spec: &Spec,
        scrape: &Scrape,
        pods: &Pods,
        access: Access,
    ) -> Vec<Check> {
        const WHAT: &str = "metrics page";
        let unreadable = pods.unreadable(scrape);
        let Some((pod, url)) = pods.pages(scrape).into_iter().find_map(|(pod, url)| Some((pod, url?))) else {
            let why = unreadable.unwrap_or_else(|| "no ready pod has an address that may be read".to_owned());
            return vec![Check::wrong(WHAT, why)];
        };
        if let Some(why) = unreadable {
            return vec![Check::wrong(WHAT, why)];
        }
        let clock = Clock::system();
        if access == Access::Unknown {
            let said = "is not asked for from here without the pods' credentials, or with a token in the clear: see the adapter's log";
            return vec![Check::unknown(WHAT, said)];
        }
        let is_open = access == Access::Open;
        let fetched = Fetcher::new(clock.clone(), PAGE_PATIENCE, access).page(&url, Format::Text).await;
        let text = match fetched.map(|page| page.content) {
            Ok(Content::Text(text)) => Ok(text),
            Ok(Content::Protobuf(_)) => Err("it is not text".to_owned()),
            // From a desk the pods' network is behind the API server, which shows pods nothing of ours.
            Err(error) if !is_open => Err(error.to_string()),
            Err(error) => self.through_the_api_server(key, &pod, &url).await.map_err(|proxied| {
                format!("neither from here ({error}) nor through the API server ({})", told(&proxied))
            }),
        };
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                return vec![Check::unknown(WHAT, format!("that of {pod} cannot be read: {why}"))];
            }
        };
        let query = Query::new(&spec.load);
        match query.read(&text, clock.now()) {
            Ok(reading) => shown(spec, &query, &pod, &reading),
            Err(error) => vec![Check::wrong(WHAT, format!("that of {pod} makes no sense: {error}"))],
        }
    }

    async fn through_the_api_server(
        &self,
        key: &ObjectKey,
        pod: &str,
        url: &Uri,
    ) -> Result<String, kube::Error> {
        let port = url.port_u16().unwrap_or(80);
        let (namespace, path) = (&key.namespace, url.path());
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}");
        let request = Request::get(uri).body(vec![]).map_err(kube::Error::HttpError)?;
        match timeout(PATIENCE, self.client.request_text(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(kube::Error::Service("no answer".into())),
        }
    }

    /// Whether the cluster tells the pods' CPU.
    pub(super) async fn resource_metrics(&self, key: &ObjectKey, pods: &Pods, selector: &str) -> Check {
        const WHAT: &str = "CPU of pods";
        let clock = Clock::system();
        let telemetry = Telemetry::new(Arc::default(), clock.clone());
        let scraper = Scraper::new(clock, Arc::new(telemetry));
        let interval = Span::from_secs(10);
        let cluster = ClusterCpu::new(key.namespace.clone(), interval, self.client.clone(), &scraper);
        let ready = pods.ready();
        match PodsCpu::Cluster(cluster).of(&ready, Some(selector)).await {
            Ok(known) => {
                let said = format!("the cluster tells that of {} of {} ready pods", known.len(), ready.len());
                if known.len() == ready.len() { Check::right(WHAT, said) } else { Check::note(WHAT, said) }
            }
            Err(error) => Check::wrong(WHAT, error.to_string()),
        }
    }

    /// What a metrics server tells.
    pub(super) async fn server(
        &self,
        key: &ObjectKey,
        spec: &Spec,
        (name, window): (&str, Span),
        ready: BTreeSet<String>,
    ) -> Check {
        const WHAT: &str = "metrics server";
        let Some(endpoint) = self.servers.get(name) else {
            return Check::unknown(
                WHAT,
                format!("{name:?} is the operator's: give --prometheus {name}=URL to ask it from here"),
            );
        };
        let clock = Clock::system();
        let telemetry = Telemetry::new(Arc::default(), clock.clone());
        let scraper = Scraper::new(clock, Arc::new(telemetry));
        let count = ready.len();
        let pods = QueriedPods {
            names: PodNames::Known(ready),
            warming: 0,
            replicas: None,
            updating: false,
            cpu: PodCpu::default(),
            target: Some(spec.scale_target_ref.clone()),
        };
        let times = (Span::from_secs(10), window);
        let query = Query::new(&spec.load);
        let told = watch::channel(pods.clone()).1;
        let mut server = ServerCollector::new(key.clone(), query, times, endpoint, told, scraper);
        let histogram = &spec.load.histogram;
        match server.ask(&pods).await {
            Ok(sample) if sample.groups.iter().any(|group| !group.histograms.is_empty()) => {
                let silent = sample.pods.silent;
                Check::right(
                    WHAT,
                    format!("{name} tells {histogram} of {} of {count} pods", count - silent as usize),
                )
            }
            Ok(_) => Check::wrong(
                WHAT,
                format!(
                    "{name} has no {histogram} of the ready pods in {}: does it scrape them, with the labels namespace and pod?",
                    key.namespace
                ),
            ),
            Err(error) => Check::wrong(WHAT, format!("{name}: {error}")),
        }
    }
}

/// Whether the pods ask for the CPU that a target is a share of.
pub(super) fn requests(spec: &Spec, pods: &Pods) -> Vec<Check> {
    const WHAT: &str = "CPU requests";
    let is_share = matches!(spec.target, SpecTarget::CpuUtilization(_));
    match pods.ask_for_cpu() {
        None => vec![],
        Some(true) => vec![Check::right(WHAT, "every container asks for CPU")],
        Some(false) if is_share => vec![Check::wrong(
            WHAT,
            "a container asks for no CPU, and the target is a share of that: set resources.requests.cpu in the template, or give \
             target.metricsQPSPerPod",
        )],
        Some(false) => {
            vec![Check::note(WHAT, "a container asks for no CPU, so the HPA gets no safety net by CPU")]
        }
    }
}

/// What a page shows of what the object wants.
fn shown(spec: &Spec, query: &Query, pod: &str, reading: &Reading) -> Vec<Check> {
    let histogram = &spec.load.histogram;
    let mut checks = Vec::new();
    let bounds: BTreeSet<u64> =
        reading.histograms.iter().flat_map(HistogramCounts::le).map(|le| le.to_bits()).collect();
    let bounds: Vec<f64> = bounds.into_iter().map(f64::from_bits).collect();
    checks.push(if reading.histograms.is_empty() {
        Check::wrong(
            "histogram",
            format!(
                "{histogram} is not on the page of {pod}, or the matchers leave nothing of it. Some libraries show none before the first \
                 request"
            ),
        )
    } else {
        let listed: Vec<String> = bounds.iter().map(f64::to_string).collect();
        Check::right("histogram", format!("{histogram}, with bounds at {} s", listed.join(", ")))
    });
    let edges: &[f64] = match &spec.load.weights {
        Weights::Fixed(fixed) => &fixed.edges,
        Weights::Fit(fit) => fit.edges.as_deref().unwrap_or_default(),
    };
    let between: Vec<String> = edges
        .iter()
        .filter(|edge| !bounds.is_empty() && !bounds.contains(edge))
        .map(f64::to_string)
        .collect();
    if !between.is_empty() {
        checks.push(Check::note(
            "class edges",
            format!(
                "{} lie between bounds of the histogram: such a bucket is split in proportion to the widths",
                between.join(", ")
            ),
        ));
    }
    let absent = query.absent_in(reading);
    if !absent.is_empty() {
        let absent: Vec<&str> = absent.into_iter().collect();
        checks.push(Check::wrong(
            "other metrics",
            format!("{} is named in the object and not on the page of {pod}", absent.join(", ")),
        ));
    }
    let needs_cpu = matches!(spec.load.weights, Weights::Fit(_)) && spec.load.cpu.is_none();
    checks.push(match (reading.cpu_seconds, needs_cpu) {
        (Some(_), _) => Check::right("CPU of pods", "process_cpu_seconds_total is on the page"),
        (None, true) => Check::wrong(
            "CPU of pods",
            "process_cpu_seconds_total is not on the page, and costs are learned from it: let the cluster tell it \
             (spec.load.cpu.resourceMetrics), or a metrics server (spec.load.cpu.prometheus), or give weights by hand",
        ),
        (None, false) => Check::right("CPU of pods", "is not needed from the page"),
    });
    if spec.load.in_flight.is_none() {
        checks.push(Check::note(
            "requests in flight",
            "no gauge is named (spec.load.inFlight): requests that wait are seen only when they are done",
        ));
    }
    checks
}
