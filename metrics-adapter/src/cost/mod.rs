//! What pods have cost, as a metrics server knows it: by autoscaler, and by the settings that were in force.
//!
//! All of it is in what the adapter tells of itself (`plimsoll_replicas`, `plimsoll_settings`, `plimsoll_short_seconds_total`). The whole fleet's pods are
//! priced five minutes by five minutes, since reserved capacity is the fleet's and is used or not at an instant; what an hour then comes to is shared
//! out by the pod-hours of each autoscaler in it. The stage before Plimsoll moved anything is the one in mode Observe.

mod page;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use plimsoll::units::{Span, Time};
use plimsoll_sim::cost::{Bill, Ledger, PriceList};
use serde::Serialize;

use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::collect::FetchError;
use crate::collect::prometheus::{Api, Endpoint, QueryError, Track};

pub use page::page;
pub use text::text;

const HOUR: Span = Span::from_secs(3600);
const DAY: Span = Span::from_secs(86_400);

/// What the fleet's pods are priced by.
const STEP: Span = Span::from_secs(300);

/// Steps of an hour.
const STEPS: f64 = 12.0;

/// Hours that are asked for at a time; halved where the answer is too large.
const CHUNK: i64 = 4 * 24;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How far back to look.
    pub length: Span,
    /// One namespace alone.
    pub namespace: Option<String>,
    /// One autoscaler alone.
    pub name: Option<String>,
    /// What pods cost.
    pub prices: PriceList,
}

/// What pods have cost. Serialized as it stands; amounts are in the bill's currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// When it begins: a UTC midnight, RFC 3339.
    pub from: String,
    /// When it ends: a whole hour.
    pub to: String,
    /// Hours in between.
    pub hours: u32,
    /// Hours of which the server knows the fleet's pods.
    pub known_hours: f64,
    /// Whether all autoscalers were asked for.
    pub is_whole: bool,
    /// What those that were asked for cost: the bill's total, or their share of it.
    pub total: f64,
    /// The same day by day, from the beginning; 0 where nothing is known.
    pub days: Vec<f64>,
    /// The same by seven days each, from the first one.
    pub weeks: Vec<Week>,
    /// What reserved pods cost while there was no pod at all: in the bill, and in nobody's share.
    pub unshared: f64,
    /// The whole fleet's.
    pub bill: Bill,
    /// The autoscalers that were asked for, the dearest first.
    pub autoscalers: Vec<OfAutoscaler>,
}

impl Costs {
    /// Hours of which the server does not know the fleet's pods.
    fn unknown_hours(&self) -> u32 {
        (f64::from(self.hours) - self.known_hours).round().max(0.0) as u32
    }
}

/// Seven days.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Week {
    /// When it begins, RFC 3339.
    pub from: String,
    /// What it cost.
    pub total: f64,
    /// Against the week before, in percent; none for the first, and where an hour of either is not known.
    pub change_percent: Option<f64>,
}

/// One autoscaler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfAutoscaler {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Pods times hours.
    pub pod_hours: f64,
    /// Its share of what all pods cost.
    pub total: f64,
    /// One settings after the other.
    pub stages: Vec<Stage>,
    /// Day by day, from the beginning; 0 where nothing is known.
    pub days: Vec<f64>,
}

/// Hours under the same settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// The mode; none where an older version told none.
    pub mode: Option<String>,
    /// The generation of the spec; none where nobody counts them.
    pub generation: Option<i64>,
    /// When it begins, RFC 3339.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// Hours of it that are known.
    pub known_hours: f64,
    /// Pods on average.
    pub pods_mean: f64,
    /// What they cost.
    pub total: f64,
    /// What they cost in 24 hours.
    pub cost_per_day: f64,
    /// Against the first stage, in percent; none for that one.
    pub change_percent: Option<f64>,
    /// Minutes of 24 hours in which the ready pods were too few, by the hours of which it is known; none where that is none.
    pub short_minutes_per_day: Option<f64>,
}

/// The settings in force in an hour, the later ones where they changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    generation: i64,
    mode: String,
}

/// An autoscaler's pods in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct PodHours {
    /// How much of the hour is known, from 0 to 1.
    known: f64,
    /// Pods times hours in what is known.
    used: f64,
}

/// What is known of one autoscaler, by hours from the beginning.
#[derive(Debug, Default)]
struct Known {
    pods: BTreeMap<usize, PodHours>,
    /// With the instant at which they were last told.
    settings: BTreeMap<usize, (f64, Settings)>,
    short_seconds: BTreeMap<usize, f64>,
}

/// What a server knows.
#[derive(Debug, Default)]
struct Told {
    /// The whole fleet's pods, by steps from the beginning.
    fleet: BTreeMap<usize, f64>,
    /// Those that were asked for.
    autoscalers: BTreeMap<ObjectKey, Known>,
}

/// Asks the server, and reckons.
///
/// # Errors
/// When it does not answer, or knows nothing.
pub async fn read(endpoint: &Endpoint, clock: &Clock, asked: &Asked) -> anyhow::Result<Costs> {
    let now = clock.now();
    let floor = |at: Time, step: Span| {
        at - Span::from_nanos((at - Time::EPOCH).as_nanos().rem_euclid(step.as_nanos()))
    };
    let (from, to) = (floor(now - asked.length, DAY), floor(now, HOUR));
    let api = Api::patient(endpoint, clock.clone(), PATIENCE);
    let mut told = Told::default();
    told.ask(&api, asked, (from, to)).await?;
    told.autoscalers.retain(|_, known| !known.pods.is_empty());
    if told.autoscalers.is_empty() {
        bail!(
            "the server knows no plimsoll_replicas{} since {}: does it scrape the adapter's /metrics, and honour its labels?",
            selector(asked, &[]),
            from.to_rfc3339_secs()
        );
    }
    let is_whole = asked.namespace.is_none() && asked.name.is_none();
    Ok(reckon((from, to), &told, is_whole, &asked.prices))
}

/// Labels that are asked for.
fn selector(asked: &Asked, more: &[&str]) -> String {
    let of = |label: &str, value: &Option<String>| value.as_ref().map(|value| format!("{label}={value:?}"));
    let own = [of("namespace", &asked.namespace), of("name", &asked.name)].into_iter().flatten();
    let all: Vec<String> = more.iter().map(|more| (*more).to_owned()).chain(own).collect();
    format!("{{{}}}", all.join(", "))
}

impl Told {
    /// Asks for the time between two instants. What is told belongs to the hour, or the step, that ends when the server evaluates it.
    async fn ask(&mut self, api: &Api, asked: &Asked, (from, to): (Time, Time)) -> anyhow::Result<()> {
        let place = |at: Time, step: Span| usize::try_from((at - from).as_nanos() / step.as_nanos() - 1).ok();
        let hour = |at: Time| place(at, HOUR);
        // Several adapters may tell of one object: while the lead changes hands, or where the server scrapes one twice.
        let pods = |labels: &str| format!("max by (namespace, name) (plimsoll_replicas{labels})");
        let fleet = format!("sum({})", pods("{kind=\"current\"}"));
        let own = pods(&selector(asked, &["kind=\"current\""]));
        let all = selector(asked, &[]);
        // A subquery that began an hour ago would have both ends.
        let used = format!("sum_over_time({own}[59m:5m])");
        let known = format!("count_over_time({own}[59m:5m])");
        let short = format!(
            "sum by (namespace, name) (increase(max by (namespace, name, cause) (plimsoll_short_seconds_total{all})[1h:1m]))"
        );
        let settings = format!(
            "max by (namespace, name, mode, generation) (max_over_time(timestamp(plimsoll_settings{all})[59m:5m]))"
        );
        let mut chunk = CHUNK;
        for track in ask(api, &fleet, (from, to), STEP, &mut chunk).await? {
            let points = track.points.iter().filter_map(|(at, pods)| Some((place(*at, STEP)?, *pods)));
            self.fleet.extend(points);
        }
        for track in ask(api, &used, (from, to), HOUR, &mut chunk).await? {
            let of = &mut self.autoscalers.entry(key(&track)).or_default().pods;
            for (at, sum) in track.points.iter().filter_map(|(at, sum)| Some((hour(*at)?, *sum))) {
                of.entry(at).or_default().used = sum / STEPS;
            }
        }
        for track in ask(api, &known, (from, to), HOUR, &mut chunk).await? {
            let of = &mut self.autoscalers.entry(key(&track)).or_default().pods;
            for (at, count) in track.points.iter().filter_map(|(at, count)| Some((hour(*at)?, *count))) {
                of.entry(at).or_default().known = count / STEPS;
            }
        }
        for track in ask(api, &short, (from, to), HOUR, &mut chunk).await? {
            let points = track.points.iter().filter_map(|(at, value)| Some((hour(*at)?, *value)));
            self.autoscalers.entry(key(&track)).or_default().short_seconds.extend(points);
        }
        for track in ask(api, &settings, (from, to), HOUR, &mut chunk).await? {
            let label = |name: &str| track.labels.get(name).cloned().unwrap_or_default();
            let told = Settings { generation: label("generation").parse().unwrap_or(0), mode: label("mode") };
            let of = &mut self.autoscalers.entry(key(&track)).or_default().settings;
            for (at, last) in track.points.iter().filter_map(|(at, last)| Some((hour(*at)?, *last))) {
                if of.get(&at).is_none_or(|(before, _)| *before < last) {
                    of.insert(at, (last, told.clone()));
                }
            }
        }
        Ok(())
    }
}

/// All that is told of an expression, chunk by chunk. A length that proved too large is not tried again.
async fn ask(
    api: &Api,
    expression: &str,
    (from, to): (Time, Time),
    step: Span,
    chunk: &mut i64,
) -> anyhow::Result<Vec<Track>> {
    let mut tracks = Vec::new();
    let mut begin = from;
    while begin < to {
        let end = (begin + HOUR * *chunk).min(to);
        match api.query_range(expression, begin + step, end, step).await {
            Err(error) if is_too_much(&error) && *chunk > 1 => *chunk /= 2,
            answer => {
                let answer = answer.context("the metrics server")?;
                tracks.extend(answer.context("the metrics server warns that its answer is not whole")?);
                begin = end;
            }
        }
    }
    Ok(tracks)
}

/// Whether less may be answered: an answer is too large, or the server gave up over it (Prometheus says 422 of too many samples).
fn is_too_much(error: &QueryError) -> bool {
    match error {
        QueryError::Fetch(FetchError::TooLarge | FetchError::Timeout(_)) | QueryError::TooManySeries => true,
        QueryError::Fetch(FetchError::Status(status)) => matches!(status.as_u16(), 422 | 503 | 504),
        _ => false,
    }
}

fn key(track: &Track) -> ObjectKey {
    let label = |name: &str| track.labels.get(name).cloned().unwrap_or_default();
    ObjectKey::new(label("namespace"), label("name"))
}

/// The whole fleet in one hour.
#[derive(Debug, Clone, Copy, Default)]
struct OfFleet {
    known: f64,
    used: f64,
    cost: f64,
}

fn reckon((from, to): (Time, Time), told: &Told, is_whole: bool, prices: &PriceList) -> Costs {
    let hours = usize::try_from((to - from).as_nanos() / HOUR.as_nanos()).unwrap_or(0);
    let at = |hour: usize| from + HOUR * i64::try_from(hour).unwrap_or(i64::MAX);
    let mut ledger = Ledger::new(prices.clone());
    let mut fleet: BTreeMap<usize, OfFleet> = BTreeMap::new();
    for (step, pods) in &told.fleet {
        ledger.add(STEP * i64::try_from(*step).unwrap_or(i64::MAX), STEP, *pods);
        let of = fleet.entry(step / STEPS as usize).or_default();
        of.known += 1.0 / STEPS;
        of.used += pods / STEPS;
        of.cost += prices.an_hour_of(*pods) / STEPS;
    }
    // What a pod-hour cost: reserved pods that nobody uses are paid for by those that there are.
    let per_pod_hour = |hour: &usize| match fleet.get(hour) {
        Some(of) if of.used > 0.0 => of.cost / of.used,
        _ => 0.0,
    };
    let mut together: BTreeMap<usize, f64> = BTreeMap::new();
    let by_days = |costs: &BTreeMap<usize, f64>| {
        let mut days = vec![0.0; hours.div_ceil(24)];
        for (hour, cost) in costs {
            if let Some(day) = days.get_mut(hour / 24) {
                *day += cost;
            }
        }
        days
    };
    let mut autoscalers: Vec<OfAutoscaler> = Vec::with_capacity(told.autoscalers.len());
    for (key, known) in &told.autoscalers {
        let costs: BTreeMap<usize, f64> =
            known.pods.iter().map(|(hour, pods)| (*hour, pods.used * per_pod_hour(hour))).collect();
        for (hour, cost) in &costs {
            *together.entry(*hour).or_default() += cost;
        }
        autoscalers.push(OfAutoscaler {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            pod_hours: known.pods.values().map(|pods| pods.used).sum(),
            total: costs.values().sum(),
            stages: stages(known, &costs, at),
            days: by_days(&costs),
        });
    }
    autoscalers.sort_by(|a, b| b.total.total_cmp(&a.total));
    let bill = ledger.bill(Span::ZERO);
    if is_whole {
        together = fleet.iter().map(|(hour, of)| (*hour, of.cost)).collect();
    }
    let is_known = |hour: &usize| fleet.get(hour).is_some_and(|of| of.known > 0.999);
    let nobody = fleet.values().filter(|of| of.used <= 0.0);
    Costs {
        from: from.to_rfc3339_secs(),
        to: to.to_rfc3339_secs(),
        hours: u32::try_from(hours).unwrap_or(u32::MAX),
        known_hours: fleet.values().map(|of| of.known).sum(),
        is_whole,
        total: if is_whole { bill.total } else { together.values().sum() },
        days: by_days(&together),
        weeks: weeks(from, hours, &together, is_known),
        unshared: nobody.map(|of| of.cost).sum(),
        bill,
        autoscalers,
    }
}

/// Whole weeks from the beginning.
fn weeks(
    from: Time,
    hours: usize,
    costs: &BTreeMap<usize, f64>,
    is_known: impl Fn(&usize) -> bool,
) -> Vec<Week> {
    const WEEK: usize = 7 * 24;
    let mut weeks: Vec<Week> = Vec::new();
    let mut was_whole = false;
    for number in 0..hours / WEEK {
        let of = number * WEEK..(number + 1) * WEEK;
        let is_whole = of.clone().all(|hour| is_known(&hour));
        let total: f64 = costs.range(of).map(|(_, cost)| cost).sum();
        let before = weeks.last().map(|week| week.total).filter(|before| *before > 0.0);
        let change_percent =
            before.filter(|_| is_whole && was_whole).map(|before| 100.0 * (total / before - 1.0));
        let begins = from + DAY * 7 * i64::try_from(number).unwrap_or(i64::MAX);
        weeks.push(Week { from: begins.to_rfc3339_secs(), total, change_percent });
        was_whole = is_whole;
    }
    weeks
}

fn stages(known: &Known, costs: &BTreeMap<usize, f64>, at: impl Fn(usize) -> Time) -> Vec<Stage> {
    let mut runs: Vec<(Option<&Settings>, Vec<usize>)> = Vec::new();
    for hour in known.pods.keys() {
        let settings = known.settings.get(hour).map(|(_, settings)| settings);
        match runs.last_mut() {
            Some((of, hours)) if *of == settings => hours.push(*hour),
            _ => runs.push((settings, vec![*hour])),
        }
    }
    let mut first = None;
    let stage = |(settings, hours): (Option<&Settings>, Vec<usize>)| {
        let (begin, end) = hours.first().copied().zip(hours.last().copied())?;
        let of_hours = || hours.iter().filter_map(|hour| known.pods.get(hour));
        let known_hours: f64 = of_hours().map(|pods| pods.known).sum();
        let used: f64 = of_hours().map(|pods| pods.used).sum();
        let total: f64 = hours.iter().filter_map(|hour| costs.get(hour)).sum();
        let short: Vec<f64> =
            hours.iter().filter_map(|hour| known.short_seconds.get(hour)).copied().collect();
        let short_minutes = 24.0 * short.iter().sum::<f64>() / 60.0 / short.len() as f64;
        let cost_per_day = if known_hours > 0.0 { 24.0 * total / known_hours } else { 0.0 };
        let before = *first.get_or_insert(cost_per_day);
        let is_first = hours.first() == known.pods.keys().next();
        Some(Stage {
            mode: settings.map(|settings| settings.mode.clone()),
            generation: settings.map(|settings| settings.generation).filter(|generation| *generation > 0),
            from: at(begin).to_rfc3339_secs(),
            to: at(end + 1).to_rfc3339_secs(),
            known_hours,
            pods_mean: if known_hours > 0.0 { used / known_hours } else { 0.0 },
            total,
            cost_per_day,
            change_percent: (!is_first && before > 0.0).then(|| 100.0 * (cost_per_day / before - 1.0)),
            short_minutes_per_day: (!short.is_empty()).then_some(short_minutes),
        })
    };
    runs.into_iter().filter_map(stage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_secs(1_767_225_600);

    fn settings(generation: i64, mode: &str) -> (f64, Settings) {
        (0.0, Settings { generation, mode: mode.to_owned() })
    }

    /// Whole hours with so many pods.
    fn pods(hours: std::ops::Range<usize>, pods: f64) -> BTreeMap<usize, PodHours> {
        hours.map(|hour| (hour, PodHours { known: 1.0, used: pods })).collect()
    }

    /// A fleet that has so many pods in each hour.
    fn fleet(hours: &BTreeMap<usize, f64>) -> BTreeMap<usize, f64> {
        hours.iter().flat_map(|(hour, pods)| (0..12).map(move |step| (hour * 12 + step, *pods))).collect()
    }

    #[test]
    fn an_hour_is_shared_out_by_pods_and_stages_are_runs_of_settings() {
        let mut web = Known { pods: pods(0..24, 6.0), ..Known::default() };
        web.pods.extend(pods(24..48, 3.0));
        for hour in 0..48 {
            web.short_seconds.insert(hour, if hour < 24 { 0.0 } else { 5.0 });
            web.settings.insert(hour, if hour < 24 { settings(1, "Observe") } else { settings(2, "Auto") });
        }
        // In hours of which it is not known, it is not zero.
        (40..48).for_each(|hour| assert!(web.short_seconds.remove(&hour).is_some()));
        let other = Known { pods: pods(0..24, 2.0), ..Known::default() };
        let told = Told {
            fleet: fleet(&(0..48).map(|hour| (hour, if hour < 24 { 8.0 } else { 3.0 })).collect()),
            autoscalers: [(ObjectKey::new("shop", "web"), web), (ObjectKey::new("shop", "other"), other)]
                .into(),
        };
        let costs = reckon((START, START + HOUR * 50), &told, true, &PriceList::flat(0.5).unwrap());
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9 * b.max(1.0);
        assert!(costs.hours == 50 && close(costs.known_hours, 48.0), "{costs:?}");
        assert!(close(costs.total, 0.5 * 24.0 * (8.0 + 3.0)) && costs.total == costs.bill.total, "{costs:?}");
        let web = &costs.autoscalers[0];
        assert!(web.name == "web" && close(web.total, 108.0) && web.pod_hours == 216.0, "{web:?}");
        assert!(
            web.days.iter().zip([72.0, 36.0, 0.0]).all(|(day, expected)| close(*day, expected)),
            "{web:?}"
        );
        let [observe, auto] = web.stages.as_slice() else { panic!("{:?}", web.stages) };
        assert_eq!((observe.mode.as_deref(), observe.generation), (Some("Observe"), Some(1)));
        assert!(close(observe.cost_per_day, 72.0) && observe.change_percent.is_none(), "{observe:?}");
        assert!(
            close(auto.cost_per_day, 36.0) && auto.change_percent.is_some_and(|by| (by + 50.0).abs() < 1e-9),
            "{auto:?}"
        );
        assert_eq!(auto.short_minutes_per_day, Some(2.0));
        assert_eq!((auto.from.as_str(), auto.to.as_str()), ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"));
        let other = &costs.autoscalers[1];
        assert_eq!((other.stages.len(), &other.stages[0].mode), (1, &None));
        assert_eq!(other.stages[0].short_minutes_per_day, None);
        let shared: f64 = costs.autoscalers.iter().map(|of| of.total).sum();
        assert!(close(shared, costs.bill.total), "{shared}");
    }

    #[test]
    fn what_is_reserved_is_the_fleets_and_is_used_at_an_instant() {
        let region = serde_json::json!({"regions": {"here": {"onDemand": 1.0, "reserved": {"pods": 20, "price": 0.5}}}});
        let prices: plimsoll_sim::cost::Prices = serde_json::from_value(region).unwrap();
        let prices = prices.of_region(None).unwrap();
        // Half of the first hour nobody, then 40 pods, a quarter of them those that are asked for; and an hour without pods.
        let told = Told {
            fleet: (0..24).map(|step| (step, if (6..12).contains(&step) { 40.0 } else { 0.0 })).collect(),
            autoscalers: [(
                ObjectKey::new("shop", "web"),
                Known { pods: [(0, PodHours { known: 0.5, used: 5.0 })].into(), ..Known::default() },
            )]
            .into(),
        };
        let costs = reckon((START, START + HOUR * 2), &told, false, &prices);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        // Reserved 10 an hour, and 20 on demand for half of one.
        assert!(close(costs.bill.total, 30.0) && close(costs.unshared, 10.0), "{costs:?}");
        assert!(close(costs.total, 5.0) && close(costs.autoscalers[0].total, 5.0), "{costs:?}");
        let stage = &costs.autoscalers[0].stages[0];
        assert!(close(stage.pods_mean, 10.0) && close(stage.cost_per_day, 240.0), "{stage:?}");
    }

    #[test]
    fn weeks_are_compared_where_both_are_known() {
        let costs: BTreeMap<usize, f64> =
            (0..21 * 24).map(|hour| (hour, if hour < 7 * 24 { 1.0 } else { 2.0 })).collect();
        let weeks = weeks(Time::EPOCH, 21 * 24 + 5, &costs, |hour| *hour != 15 * 24);
        let changes: Vec<Option<f64>> = weeks.iter().map(|week| week.change_percent).collect();
        assert_eq!(changes, [None, Some(100.0), None]);
        assert_eq!(weeks[1].from, "1970-01-08T00:00:00Z");
    }
}
