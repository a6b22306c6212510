//! The load of one workload as a metrics server tells it: one question an interval, and a sample of one group.
//!
//! What the server does not tell is missing, never zero: series that are there and did not increase have a rate of zero, series
//! that are not there have none. A server that is down, slow or wrong gives no sample at all, and the last one grows old.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll::load::{Group, HistogramRates, InFlight, Labels, Pods, ReadingError, SAMPLE_SCHEMA, Sample};
use plimsoll::spec::ScaleTargetRef;
use plimsoll::units::{Cores, Rate, Span, Time};
use tokio::sync::watch;

use super::collector::{PodCpu, Scraper, note_absent};
use super::native;
use super::page::{Query, absent};
use super::prometheus::{Answer, Api, Endpoint, Histogram, QueryError, Series, Value};
use super::promql::{PART, Part, PodNames, Workload};
use super::seen_cpu::{OfPods, SeenCpu};
use crate::board::ObjectKey;

/// The pods of a workload whose load a metrics server tells.
#[derive(Debug, Clone, PartialEq)]
pub struct QueriedPods {
    /// Which they are. Those that are known take requests.
    pub names: PodNames,
    /// Pods on their way to being ready, where the names are known.
    pub warming: u32,
    /// Pods of two versions are there: a rollout is under way.
    pub updating: bool,
    /// The scale's `spec.replicas`, if known; else there are as many as the server knows.
    pub replicas: Option<u32>,
    /// CPU of each.
    pub cpu: PodCpu,
    /// The workload, by whose name pods of the past are known; none where the past is not asked for.
    pub target: Option<ScaleTargetRef>,
}

/// Why an answer makes no sample.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QueriedError {
    /// There is no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It tells what cannot be.
    #[error(transparent)]
    Values(#[from] ReadingError),
}

impl QueriedError {
    /// A word for a label: few, and none made of what the server sent.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Query(error) => error.reason(),
            Self::Values(_) => "counts",
        }
    }
}

/// Asks a metrics server about one workload.
#[derive(Debug)]
pub struct ServerCollector {
    key: ObjectKey,
    query: Query,
    window: Span,
    api: Api,
    pods: watch::Receiver<QueriedPods>,
    scraper: Scraper,
    /// Why the server did not tell the load last time.
    failing: Option<QueriedError>,
    /// It warned then.
    warned: bool,
    /// Metrics that the user named and the server did not know last time.
    absent: BTreeSet<String>,
    cpu: SeenCpu,
}

impl ServerCollector {
    /// For the workload of the object `key`, every `interval`, with rates over `window`.
    pub fn new(
        key: ObjectKey,
        query: Query,
        (interval, window): (Span, Span),
        endpoint: &Endpoint,
        pods: watch::Receiver<QueriedPods>,
        scraper: Scraper,
    ) -> Self {
        let api = Api::new(endpoint, scraper.clock.clone(), interval);
        Self {
            key,
            query,
            window,
            api,
            pods,
            scraper,
            failing: None,
            warned: false,
            absent: BTreeSet::new(),
            cpu: SeenCpu::default(),
        }
    }

    /// Why the server did not tell the load last time, for people.
    pub fn trouble(&self) -> Option<String> {
        self.failing.as_ref().map(|error| format!("the metrics server does not tell the load: {error}"))
    }

    /// Asks once. Without an answer that can be used there is no sample.
    pub async fn round(&mut self) -> Option<Sample> {
        let pods = self.pods.borrow_and_update().clone();
        let sample = self.ask(&pods).await;
        let object = &self.key;
        match sample {
            Ok(sample) => {
                if self.failing.take().is_some() {
                    tracing::info!(%object, "the metrics server answers again");
                }
                Some(sample)
            }
            Err(error) => {
                let reason = error.reason();
                self.scraper.telemetry.query_failed(object, reason);
                if self.failing.is_none() {
                    tracing::warn!(%object, reason, %error, "the metrics server does not tell the load");
                }
                self.failing = Some(error);
                None
            }
        }
    }

    /// What the server tells of these pods.
    ///
    /// # Errors
    /// When it tells nothing, or nothing that can be used.
    pub(crate) async fn ask(&mut self, pods: &QueriedPods) -> Result<Sample, QueriedError> {
        if matches!(&pods.names, PodNames::Known(names) if names.is_empty()) {
            // A pattern that matches no name would match the series without one.
            return Ok(Told::default().sample(self.scraper.clock.now(), pods, self.window, &mut self.cpu)?);
        }
        let workload = Workload { namespace: &self.key.namespace, pods: &pods.names, window: self.window };
        let answer = self.api.query(&workload.load(&self.query)).await?;
        note_warning(&self.key, &mut self.warned, &answer);
        let at = answer.at;
        let told = Told::of(answer, self.query.label.as_deref())?;
        let Query { in_flight, rejected, work, offered, .. } = &self.query;
        let absent = absent(&[
            (in_flight, told.in_flight),
            (rejected, told.rejected),
            (work, told.work),
            (offered, told.offered),
        ]);
        note_absent(&self.key, &mut self.absent, absent.into_iter().map(str::to_owned).collect());
        Ok(told.sample(at, pods, self.window, &mut self.cpu)?)
    }
}

/// Logs that a server warns, once until it does not: its data may be incomplete.
fn note_warning(object: &ObjectKey, warned: &mut bool, answer: &Answer) {
    if answer.warned && !*warned {
        tracing::warn!(%object, "the metrics server warns that its answer may be incomplete");
    }
    *warned = answer.warned;
}

/// What a server told of a workload, part by part. What it did not tell is not known.
#[derive(Debug, Default)]
struct Told {
    /// By the value of the label that tells classes apart; one without a value where there is no such label.
    histograms: BTreeMap<Labels, Shown>,
    telling: Option<f64>,
    up: Option<f64>,
    down: Option<f64>,
    container_cpu: OfPods,
    process_cpu: OfPods,
    in_flight: Option<f64>,
    in_flight_change: Option<f64>,
    rejected: Option<f64>,
    work: Option<f64>,
    offered: Option<f64>,
}

/// One histogram as a server shows it.
#[derive(Debug, Default)]
struct Shown {
    /// Upper bounds and rates up to them.
    buckets: Vec<(f64, f64)>,
    native: Option<Histogram>,
    busy: Option<f64>,
}

impl Told {
    fn of(answer: Answer, label: Option<&str>) -> Result<Self, QueryError> {
        let mut told = Self::default();
        for Series { labels, value } in answer.series {
            let named = |name: &String| Part::ALL.into_iter().find(|part| part.name() == name);
            let part = match labels.get(PART).map(named) {
                Some(None) => return Err(QueryError::Malformed),
                part => part.flatten(),
            };
            let le = labels.get("le").map(|le| le.parse());
            let class: Labels = labels.into_iter().filter(|(name, _)| label == Some(name)).collect();
            match (part, value) {
                (None, Value::Histogram(histogram)) => {
                    told.histograms.entry(class).or_default().native = Some(histogram);
                }
                // A metric of that name that is no histogram.
                (None, Value::Number(_)) => {}
                (Some(Part::Buckets), Value::Number(rate)) => {
                    let Some(Ok(le)) = le else { return Err(QueryError::Malformed) };
                    told.histograms.entry(class).or_default().buckets.push((le, rate));
                }
                (Some(Part::Busy), Value::Number(rate)) => {
                    told.histograms.entry(class).or_default().busy = Some(rate);
                }
                (Some(part), Value::Number(value)) => {
                    if let Some(place) = told.place(part) {
                        *place = Some(value);
                    }
                }
                (Some(_), Value::Histogram(_)) => return Err(QueryError::Malformed),
            }
        }
        Ok(told)
    }

    fn place(&mut self, part: Part) -> Option<&mut Option<f64>> {
        match part {
            Part::Buckets | Part::Busy => None,
            Part::Telling => Some(&mut self.telling),
            Part::Up => Some(&mut self.up),
            Part::Down => Some(&mut self.down),
            Part::ContainerCpu => Some(&mut self.container_cpu.sum),
            Part::ContainerCpuPods => Some(&mut self.container_cpu.pods),
            Part::ProcessCpu => Some(&mut self.process_cpu.sum),
            Part::ProcessCpuPods => Some(&mut self.process_cpu.pods),
            Part::InFlight => Some(&mut self.in_flight),
            Part::InFlightChange => Some(&mut self.in_flight_change),
            Part::Rejected => Some(&mut self.rejected),
            Part::Work => Some(&mut self.work),
            Part::Offered => Some(&mut self.offered),
        }
    }

    fn sample(
        self,
        at: Time,
        pods: &QueriedPods,
        window: Span,
        seen: &mut SeenCpu,
    ) -> Result<Sample, ReadingError> {
        let telling = self.telling.map_or(0, whole);
        let reached = self.up.or(self.down).is_some();
        let (up, down) = (self.up.map_or(0, whole), self.down.map_or(0, whole));
        let (ready, warming, silent) = match &pods.names {
            PodNames::Known(names) => {
                let ready = u32::try_from(names.len()).unwrap_or(u32::MAX);
                (ready, pods.warming, if reached { ready.saturating_sub(up) } else { 0 })
            }
            // Whether a pod that is not reached is starting or overwhelmed is not known. It counts as one that has not told its
            // load: nothing is lowered, and nothing is made up.
            PodNames::Of(_) | PodNames::Either(..) if reached => (up.saturating_add(down), pods.warming, 0),
            PodNames::Of(_) | PodNames::Either(..) => (telling, pods.warming, 0),
        };
        let rate = |what, value: f64| Rate::new(value).map_err(|_| ReadingError::Value { what, value });
        let in_flight = self.in_flight.map(|now| {
            Ok(InFlight {
                now: rate("the in-flight gauge", now)?.get(),
                change: self.in_flight_change.filter(|change| change.is_finite()).unwrap_or(0.0),
            })
        });
        let group = Group {
            cpu: seen.cores((self.container_cpu, self.process_cpu), telling, (at, window))?,
            in_flight: in_flight.transpose()?,
            rejected: self.rejected.map(|value| rate("the rate of rejections", value)).transpose()?,
            work: self.work.map(|value| rate("the rate of work", value)).transpose()?,
            requested_per_pod: pods.cpu.request,
            cores_per_pod: pods.cpu.limit,
            histograms: self.histograms()?,
            ..Group::new(telling, window)
        };
        // A pod that takes requests and is not reached takes its share of them, once its last rates have left the window.
        let lost = silent.min(ready.saturating_sub(telling));
        let lost = lost_pods(&group, lost, window)?;
        let offered = self.offered.map(|value| rate("the rate of arrivals", value)).transpose()?;
        let replicas = pods.replicas.unwrap_or(ready);
        let pods = Pods { replicas, ready, warming, silent, updating: pods.updating };
        let groups = if ready == 0 { vec![] } else { [Some(group), lost].into_iter().flatten().collect() };
        Ok(Sample { schema: SAMPLE_SCHEMA, at, pods, offered, groups })
    }

    /// The histograms that tell a rate. Where none does, but pods show theirs for probes alone, one in which nothing is counted.
    fn histograms(&self) -> Result<Vec<HistogramRates>, ReadingError> {
        let shown = self.histograms.iter().filter_map(|(class, shown)| shown.rates(class).transpose());
        let histograms: Vec<HistogramRates> = shown.collect::<Result<_, _>>()?;
        let idle = histograms.is_empty() && self.telling.is_some_and(|pods| pods > 0.0);
        if idle { Ok(vec![none_counted()?]) } else { Ok(histograms) }
    }
}

impl Shown {
    /// The classic buckets; else the native ones, if there are any.
    fn rates(&self, class: &Labels) -> Result<Option<HistogramRates>, ReadingError> {
        if !self.buckets.is_empty() {
            let mut buckets = self.buckets.clone();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            return rates(class.clone(), &buckets, self.busy).map(Some);
        }
        let native = |histogram| rates(class.clone(), &cumulative(histogram), Some(histogram.sum));
        self.native.as_ref().map(native).transpose()
    }
}

fn none_counted() -> Result<HistogramRates, ReadingError> {
    rates(Labels::new(), &[(f64::INFINITY, 0.0)], Some(0.0))
}

/// Silent pods beside those of `group`, whose rates are left to be inferred from the others'.
fn lost_pods(group: &Group, lost: u32, window: Span) -> Result<Option<Group>, ReadingError> {
    if lost == 0 || group.histograms.is_empty() {
        return Ok(None);
    }
    let histograms = vec![none_counted()?];
    Ok(Some(Group { silent: true, histograms, ..Group::new(lost, window) }))
}

/// A native histogram's rates up to each bound, `+Inf` last.
fn cumulative(histogram: &Histogram) -> Vec<(f64, f64)> {
    let mut buckets = Vec::with_capacity(2 * histogram.buckets.len() + 1);
    let mut below = 0.0;
    for bucket in &histogram.buckets {
        native::push(&mut buckets, bucket.lower.max(0.0), below);
        below += bucket.count;
        native::push(&mut buckets, bucket.upper.max(0.0), below);
    }
    buckets.push((f64::INFINITY, histogram.count.max(below)));
    buckets
}

/// Rates by bucket, of rates up to each bound.
pub(super) fn rates(
    class: Labels,
    buckets: &[(f64, f64)],
    busy: Option<f64>,
) -> Result<HistogramRates, ReadingError> {
    let checked = |what, value: f64| Rate::new(value).map_err(|_| ReadingError::Value { what, value });
    let le = buckets.iter().map(|(le, _)| *le).filter(|le| *le != f64::INFINITY).collect();
    let mut below = 0.0f64;
    let mut rates = Vec::with_capacity(buckets.len());
    for (_, up_to) in buckets {
        let up_to = checked("a bucket's rate", *up_to)?.get();
        // Pods with other bounds, and rates rounded one by one, make a bucket larger than the next.
        rates.push(checked("a bucket's rate", (up_to - below).max(0.0))?);
        below = below.max(up_to);
    }
    // A sum of durations falls where a clock is stepped back.
    let busy = busy.map(|busy| checked("the rate of durations", busy.max(0.0))).transpose()?;
    HistogramRates::new(class, le, rates, busy)
}

pub(super) fn cores(value: f64) -> Result<Cores, ReadingError> {
    Cores::new(value).map_err(|_| ReadingError::Value { what: "the CPU use", value })
}

/// A number of pods; anything beyond is as good as the largest.
pub(super) fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use plimsoll::spec::ScaleTargetRef;

    use super::super::prometheus::Bucket;
    use super::*;

    const AT: Time = Time::from_secs(1_800_000_000);
    const WINDOW: Span = Span::from_secs(60);

    fn part(name: &str, value: f64) -> Series {
        Series { labels: Labels::from([(PART.to_owned(), name.to_owned())]), value: Value::Number(value) }
    }

    fn bucket(le: &str, rate: f64) -> Series {
        let mut series = part("buckets", rate);
        series.labels.insert("le".to_owned(), le.to_owned());
        series
    }

    fn known(names: &[&str]) -> QueriedPods {
        let names = PodNames::Known(names.iter().map(|name| (*name).to_owned()).collect());
        QueriedPods {
            names,
            warming: 1,
            updating: true,
            replicas: Some(7),
            cpu: PodCpu::default(),
            target: None,
        }
    }

    fn unknown() -> QueriedPods {
        let target =
            ScaleTargetRef { api_version: "apps/v1".into(), kind: "Deployment".into(), name: "a".into() };
        let names = PodNames::Of(target);
        QueriedPods {
            names,
            warming: 0,
            updating: false,
            replicas: None,
            cpu: PodCpu::default(),
            target: None,
        }
    }

    fn sample(series: Vec<Series>, pods: &QueriedPods) -> Result<Sample, QueriedError> {
        let told = Told::of(Answer { at: AT, series, warned: false }, Some("route"))?;
        Ok(told.sample(AT, pods, WINDOW, &mut SeenCpu::default())?)
    }

    fn rates_of(group: &Group) -> Vec<f64> {
        group.histograms[0].rates().iter().map(|rate| rate.get()).collect()
    }

    #[test]
    fn parts_become_one_group_of_all_pods() {
        let series = vec![
            bucket("+Inf", 9.0),
            bucket("0.5", 8.0),
            bucket("0.1", 5.0),
            part("busy", 1.5),
            part("telling", 2.0),
            part("up", 2.0),
            part("container_cpu", 0.75),
            part("container_cpu_pods", 2.0),
            part("in_flight", 4.0),
            part("in_flight_change", -2.0),
            part("rejected", 0.25),
        ];
        let sample = sample(series, &known(&["a", "b"])).unwrap();
        assert_eq!(sample.pods, Pods { replicas: 7, ready: 2, warming: 1, silent: 0, updating: true });
        let [group] = sample.groups.as_slice() else { panic!("one group") };
        assert_eq!((sample.at, group.pods, group.window), (AT, 2, WINDOW));
        assert_eq!((group.histograms[0].le(), rates_of(group)), (&[0.1, 0.5][..], vec![5.0, 3.0, 1.0]));
        assert_eq!(group.histograms[0].busy(), Rate::new(1.5).ok());
        assert_eq!((group.cpu, group.rejected), (Cores::new(0.75).ok(), Rate::new(0.25).ok()));
        assert_eq!(group.in_flight, Some(InFlight { now: 4.0, change: -2.0 }));
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        let nothing = sample(vec![], &known(&["a"])).unwrap();
        assert_eq!((nothing.pods.ready, nothing.pods.silent), (1, 0));
        let group = &nothing.groups[0];
        assert!(!group.tells());
        assert_eq!((group.cpu, group.in_flight, group.rejected), (None, None, None));
        // Nobody knows a pod either.
        assert_eq!(sample(vec![], &unknown()).unwrap().groups, []);
        // Series that are there and did not increase are a load of zero, and so are those of probes alone.
        let idle = vec![bucket("0.1", 0.0), bucket("+Inf", 0.0), part("telling", 1.0)];
        assert_eq!(rates_of(&sample(idle, &known(&["a"])).unwrap().groups[0]), [0.0, 0.0]);
        let probes = vec![part("telling", 1.0)];
        assert_eq!(rates_of(&sample(probes, &known(&["a"])).unwrap().groups[0]), [0.0]);
        // A metric of that name that is no histogram tells nothing.
        let gauge = Series { labels: Labels::new(), value: Value::Number(3.0) };
        assert!(!sample(vec![gauge], &known(&["a"])).unwrap().groups[0].tells());
    }

    #[test]
    fn a_native_histogram_keeps_the_ends_of_its_buckets() {
        let classic = bucket;
        let bucket = |lower, upper, count| Bucket { lower, upper, count };
        let buckets = vec![
            bucket(-0.5, -0.25, 1.0),
            bucket(-1e-9, 1e-9, 2.0),
            bucket(0.25, 0.5, 3.0),
            bucket(0.5, 1.0, 4.0),
            bucket(4.0, 8.0, 5.0),
        ];
        let histogram = Histogram { count: 15.0, sum: 40.0, buckets };
        let native = Series { labels: Labels::new(), value: Value::Histogram(histogram) };
        let told = sample(vec![native.clone(), part("telling", 1.0)], &known(&["a"])).unwrap();
        let group = &told.groups[0];
        assert_eq!(group.histograms[0].le(), [0.0, 1e-9, 0.25, 0.5, 1.0, 4.0, 8.0]);
        assert_eq!(rates_of(group), [1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 5.0, 0.0]);
        assert_eq!(group.histograms[0].busy(), Rate::new(40.0).ok());
        // Where there are classic buckets as well, those count.
        let both = vec![native, classic("+Inf", 15.0), part("telling", 1.0)];
        assert_eq!(rates_of(&sample(both, &known(&["a"])).unwrap().groups[0]), [15.0]);
    }

    #[test]
    fn classes_that_a_label_tells_apart_stay_apart() {
        let of = |mut series: Series, route: &str| {
            series.labels.insert("route".to_owned(), route.to_owned());
            series
        };
        let series = vec![
            of(bucket("0.1", 3.0), "/a"),
            of(bucket("0.1", 1.0), "/b"),
            of(bucket("+Inf", 4.0), "/a"),
            of(bucket("+Inf", 1.0), "/b"),
            of(part("busy", 0.5), "/a"),
            part("telling", 1.0),
        ];
        let sample = sample(series, &known(&["a"])).unwrap();
        let told: Vec<_> = sample.groups[0]
            .histograms
            .iter()
            .map(|h| (h.labels()["route"].as_str(), h.total(), h.busy()))
            .collect();
        assert_eq!(told, [("/a", 4.0, Rate::new(0.5).ok()), ("/b", 1.0, None)]);
    }

    #[test]
    fn pods_that_are_not_reached_are_silent_where_they_are_known_to_be_ready() {
        let told =
            |telling| vec![bucket("+Inf", 8.0), part("telling", telling), part("up", 2.0), part("down", 1.0)];
        let pods = known(&["a", "b", "c"]);
        let three = sample(told(2.0), &pods).unwrap();
        assert_eq!((three.pods.ready, three.pods.silent), (3, 1));
        assert_eq!(
            three.groups.iter().map(|g| (g.pods, g.silent)).collect::<Vec<_>>(),
            [(2, false), (1, true)]
        );
        // As long as its last rates are in the window, they count.
        assert_eq!(sample(told(3.0), &pods).unwrap().groups.len(), 1);
        let guessed = sample(told(2.0), &unknown()).unwrap();
        assert_eq!((guessed.pods.ready, guessed.pods.silent, guessed.pods.replicas), (3, 0, 3));
        assert_eq!(guessed.groups.len(), 1);
        // Without `up` there are the pods that tell.
        let bare = sample(vec![bucket("+Inf", 8.0), part("telling", 2.0)], &unknown()).unwrap();
        assert_eq!((bare.pods.ready, bare.pods.silent), (2, 0));
    }

    #[test]
    fn rates_that_cannot_be_are_refused() {
        for series in [
            vec![bucket("+Inf", -1.0)],
            vec![bucket("+Inf", f64::INFINITY)],
            vec![bucket("0.1", 1.0)],
            vec![bucket("NaN", 1.0), bucket("+Inf", 1.0)],
            vec![part("container_cpu", -0.5)],
            vec![part("in_flight", -1.0)],
            vec![part("rejected", f64::INFINITY)],
        ] {
            assert_eq!(sample(series.clone(), &known(&["a"])).unwrap_err().reason(), "counts", "{series:?}");
        }
        for series in [part("buckets", 1.0), bucket("low", 1.0), part("other", 1.0)] {
            assert_eq!(sample(vec![series], &known(&["a"])).unwrap_err().reason(), "malformed");
        }
        // Pods with other bounds make a bucket larger than the next: no rate is negative.
        let mixed = vec![bucket("0.1", 5.0), bucket("0.2", 4.0), bucket("+Inf", 6.0)];
        assert_eq!(rates_of(&sample(mixed, &known(&["a"])).unwrap().groups[0]), [5.0, 0.0, 1.0]);
    }
}
