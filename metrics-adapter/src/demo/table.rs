//! What the demo shows: one line a minute of its time, and one whenever the replicas change.

use std::io::{self, Write};

use plimsoll::scale::{Decision, Outcome};
use plimsoll::units::Span;

use super::scaler::Synced;
use super::world::View;
use crate::adapter::Adapter;
use crate::board::ObjectKey;
use crate::external::{GROUP, Metric, VERSION};

/// Time between two lines in which nothing changes.
const LINE: Span = Span::from_secs(60);

/// Lines after which the head of the columns is repeated.
const REPEAT: u32 = 24;

/// MetricsQPS that one block of the bar stands for.
const BLOCK: f64 = 75.0;

/// Longest bar, in blocks.
const LONGEST: usize = 20;

#[derive(Debug)]
pub(super) struct Table<'a, W> {
    out: &'a mut W,
    speed: f64,
    lines: u32,
    last: Option<View>,
    scalings: u32,
    most: u32,
}

impl<'a, W: Write> Table<'a, W> {
    pub(super) fn new(out: &'a mut W, speed: f64) -> Self {
        Self { out, speed, lines: 0, last: None, scalings: 0, most: 0 }
    }

    /// What is going on, and how to look into it.
    pub(super) fn head(&mut self, adapter: &Adapter, key: &ObjectKey) -> io::Result<()> {
        let (api, ops, speed) = (adapter.api_addr(), adapter.ops_addr(), self.speed);
        let (namespace, metric) = (&key.namespace, Metric::MetricsQps.name());
        writeln!(
            self.out,
            "A simulated web shop, scaled by the real adapter over real HTTP. {speed} seconds pass in each second; Ctrl-C ends it.

  Pods show their request durations on /metrics. The adapter scrapes them, weighs each request by its
  duration class (a report counts as 100 pages) and says how many pods that takes. An HPA asks it every
  15 s. At 0:55 many reports are asked for, and no more requests than before: counting them shows nothing.

  Look at it in a browser: http://{ops}/

  Ask it yourself:
    curl -sk https://{api}/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{metric}
    curl -s http://{ops}/metrics
"
        )
    }

    /// One round of the HPA: a line, if there is something to say.
    pub(super) fn row(&mut self, view: View, decision: Option<&Decision>, synced: &Synced) -> io::Result<()> {
        self.most = self.most.max(view.ready);
        if let Some(last) = &self.last {
            let changed = view.replicas != last.replicas;
            self.scalings += u32::from(changed);
            if !changed && view.elapsed - last.elapsed < LINE {
                return Ok(());
            }
        }
        if self.lines.is_multiple_of(REPEAT) {
            writeln!(self.out, "   time  req/s  MetricsQPS {:LONGEST$}  wanted  p95 ms  pods", "")?;
        }
        self.lines += 1;
        let (before, since) =
            self.last.as_ref().map_or((0, Span::ZERO), |last| (last.totals.arrived, last.elapsed));
        let rate = (view.totals.arrived - before) as f64 / (view.elapsed - since).as_secs_f64();
        let p95 = view.p95.map_or_else(|| "-".to_owned(), |p95| p95.as_millis().to_string());
        let load = match decision.map(|d| &d.outcome) {
            Some(Outcome::Desired(desired)) => Some(desired.load.metricsqps.get()),
            _ => None,
        };
        let number = load.map_or_else(|| "-".to_owned(), |load| format!("{load:.0}"));
        let bar = "▇".repeat((load.unwrap_or_default() / BLOCK).round().min(LONGEST as f64) as usize);
        let wanted = synced.wanted.as_ref().map_or_else(|_| "?".to_owned(), f64::to_string);
        let pods = "●".repeat(view.ready as usize) + &"○".repeat(view.warming as usize);
        let time = clock_time(view.elapsed);
        write!(self.out, "{time}  {rate:>5.0}  {number:>10} {bar:LONGEST$}  {wanted:>6}  {p95:>6}  {pods}")?;
        match (&synced.wanted, decision.and_then(reason)) {
            (Err(why), _) => writeln!(self.out, "  {why}")?,
            (Ok(_), Some(why)) => writeln!(self.out, "  {why}")?,
            (Ok(_), None) => writeln!(self.out)?,
        }
        self.last = Some(view);
        self.out.flush()
    }

    /// What it came to.
    pub(super) fn foot(&mut self, view: &View) -> io::Result<()> {
        let totals = view.totals;
        writeln!(
            self.out,
            "\nIn {} of the shop's time: {} requests, {} lost; {} scalings, {} pods at most; {:.1} pod-hours, of whose \
             CPU {:.0} % was used.",
            clock_time(view.elapsed).trim_start(),
            totals.arrived,
            totals.rejected + totals.lost,
            self.scalings,
            self.most,
            totals.pod_seconds / 3600.0,
            100.0 * totals.cpu_seconds / totals.ready_pod_seconds.max(1.0),
        )?;
        self.out.flush()
    }
}

/// What changed the replicas that the load alone would take.
fn reason(decision: &Decision) -> Option<String> {
    match &decision.outcome {
        Outcome::Desired(desired) if desired.steps.len() > 1 => {
            desired.steps.last().map(|s| s.kind.to_string())
        }
        Outcome::Desired(_) => None,
        Outcome::Fallback(fallback) => fallback.steps.last().map(|s| s.kind.to_string()),
        Outcome::NoOpinion(why) => Some(why.to_string()),
    }
}

fn clock_time(elapsed: Span) -> String {
    let seconds = elapsed.as_millis() / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
