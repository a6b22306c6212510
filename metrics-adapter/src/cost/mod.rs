//! What pods have cost, as a metrics server knows it: by autoscaler, and by the settings that were in force.
//!
//! All of it is in what the adapter tells of itself (`plimsoll_replicas`, `plimsoll_settings`, `plimsoll_short_seconds_total`), hour by hour. The stage
//! before Plimsoll moved anything is the one in mode Observe. Reserved capacity is the whole fleet's: what an hour costs is shared out by pods.

mod page;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use plimsoll::units::{Span, Time};
use plimsoll_sim::cost::{Bill, Ledger, PriceList};
use serde::Serialize;

use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::collect::prometheus::{Api, Endpoint, Track};

pub use page::page;
pub use text::text;

const HOUR: Span = Span::from_secs(3600);
const DAY: Span = Span::from_secs(86_400);

/// What is asked for at a time: the answer about a fleet stays small.
const CHUNK: Span = Span::from_secs(4 * 86_400);

/// Longest time for one answer.
const PATIENCE: Span = Span::from_secs(60);

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
    /// Hours of which the server knows something.
    pub known_hours: u32,
    /// All pods together, day by day.
    pub bill: Bill,
    /// By seven days each, from the first one.
    pub weeks: Vec<Week>,
    /// The autoscalers, the dearest first.
    pub autoscalers: Vec<OfAutoscaler>,
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
    pub known_hours: u32,
    /// Pods on average.
    pub pods_mean: f64,
    /// What they cost.
    pub total: f64,
    /// What they cost in 24 hours.
    pub cost_per_day: f64,
    /// Against the first stage, in percent; none for that one.
    pub change_percent: Option<f64>,
    /// Minutes of 24 hours in which the ready pods were too few; none where it is not known.
    pub short_minutes_per_day: Option<f64>,
}

/// The settings in force in an hour, the later ones where they changed in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Settings {
    generation: i64,
    mode: String,
}

/// What is known of one autoscaler, by hours from the beginning.
#[derive(Debug, Default)]
struct Known {
    pods: BTreeMap<usize, f64>,
    settings: BTreeMap<usize, Settings>,
    short_seconds: BTreeMap<usize, f64>,
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
    let api = Api::new(endpoint, clock.clone(), PATIENCE);
    let mut known: BTreeMap<ObjectKey, Known> = BTreeMap::new();
    let mut begin = from;
    while begin < to {
        let end = (begin + CHUNK).min(to);
        known_of(&api, asked, (from, begin, end), &mut known).await?;
        begin = end;
    }
    known.retain(|_, known| !known.pods.is_empty());
    if known.is_empty() {
        bail!(
            "the server knows no plimsoll_replicas{} since {}: does it scrape the adapter's /metrics, and honour its labels?",
            selector(asked, &[]),
            from.to_rfc3339_secs()
        );
    }
    Ok(reckon(from, to, &known, &asked.prices))
}

/// Labels that are asked for.
fn selector(asked: &Asked, more: &[&str]) -> String {
    let of = |label: &str, value: &Option<String>| value.as_ref().map(|value| format!("{label}={value:?}"));
    let own = [of("namespace", &asked.namespace), of("name", &asked.name)].into_iter().flatten();
    let all: Vec<String> = more.iter().map(|more| (*more).to_owned()).chain(own).collect();
    format!("{{{}}}", all.join(", "))
}

/// Each hour by its end, as the server evaluates it.
async fn known_of(
    api: &Api,
    asked: &Asked,
    (start, begin, end): (Time, Time, Time),
    known: &mut BTreeMap<ObjectKey, Known>,
) -> anyhow::Result<()> {
    let current = selector(asked, &["kind=\"current\""]);
    let all = selector(asked, &[]);
    // Two adapters may tell of one object while the lead changes hands.
    let pods = format!("max by (namespace, name) (avg_over_time(plimsoll_replicas{current}[1h]))");
    let short = format!("sum by (namespace, name) (increase(plimsoll_short_seconds_total{all}[1h]))");
    let settings =
        format!("max by (namespace, name, mode, generation) (max_over_time(plimsoll_settings{all}[1h]))");
    let hour = |at: Time| {
        let hours = (at - start).as_nanos() / HOUR.as_nanos() - 1;
        usize::try_from(hours).ok()
    };
    for track in ask(api, &pods, begin, end).await? {
        let points = track.points.iter().filter_map(|(at, value)| Some((hour(*at)?, *value)));
        known.entry(key(&track)).or_default().pods.extend(points);
    }
    for track in ask(api, &short, begin, end).await? {
        let points = track.points.iter().filter_map(|(at, value)| Some((hour(*at)?, *value)));
        known.entry(key(&track)).or_default().short_seconds.extend(points);
    }
    for track in ask(api, &settings, begin, end).await? {
        let label = |name: &str| track.labels.get(name).cloned().unwrap_or_default();
        let told = Settings { generation: label("generation").parse().unwrap_or(0), mode: label("mode") };
        let of = &mut known.entry(key(&track)).or_default().settings;
        for at in track.points.iter().filter_map(|(at, _)| hour(*at)) {
            let now = of.entry(at).or_insert_with(|| told.clone());
            *now = now.clone().max(told.clone());
        }
    }
    Ok(())
}

async fn ask(api: &Api, expression: &str, begin: Time, end: Time) -> anyhow::Result<Vec<Track>> {
    let answer = api.query_range(expression, begin + HOUR, end, HOUR).await.context("the metrics server")?;
    answer.context("the metrics server warns that its answer is not whole")
}

fn key(track: &Track) -> ObjectKey {
    let label = |name: &str| track.labels.get(name).cloned().unwrap_or_default();
    ObjectKey::new(label("namespace"), label("name"))
}

fn reckon(from: Time, to: Time, known: &BTreeMap<ObjectKey, Known>, prices: &PriceList) -> Costs {
    let hours = usize::try_from((to - from).as_nanos() / HOUR.as_nanos()).unwrap_or(0);
    let at = |hour: usize| from + HOUR * i64::try_from(hour).unwrap_or(i64::MAX);
    let mut together: BTreeMap<usize, f64> = BTreeMap::new();
    for (hour, pods) in known.values().flat_map(|known| &known.pods) {
        *together.entry(*hour).or_default() += pods;
    }
    let mut ledger = Ledger::new(prices.clone());
    for (hour, pods) in &together {
        ledger.add(at(*hour) - from, HOUR, *pods);
    }
    // What a pod costs in an hour: reserved pods that nobody uses are paid for by those that there are.
    let per_pod = |hour: &usize| {
        let pods = together.get(hour).copied().unwrap_or(0.0);
        if pods > 0.0 { prices.an_hour_of(pods) / pods } else { 0.0 }
    };
    let mut autoscalers: Vec<OfAutoscaler> = known
        .iter()
        .map(|(key, known)| {
            let costs: BTreeMap<usize, f64> =
                known.pods.iter().map(|(hour, pods)| (*hour, pods * per_pod(hour))).collect();
            let mut days = vec![0.0; hours.div_ceil(24)];
            for (hour, cost) in &costs {
                if let Some(day) = days.get_mut(hour / 24) {
                    *day += cost;
                }
            }
            OfAutoscaler {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                pod_hours: known.pods.values().sum(),
                total: costs.values().sum(),
                stages: stages(known, &costs, at),
                days,
            }
        })
        .collect();
    autoscalers.sort_by(|a, b| b.total.total_cmp(&a.total));
    let hours_known: BTreeSet<usize> = together.keys().copied().collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Costs {
        from: from.to_rfc3339_secs(),
        to: to.to_rfc3339_secs(),
        hours: count(hours),
        known_hours: count(hours_known.len()),
        weeks: weeks(from, hours, &together, prices),
        bill: ledger.bill(Span::ZERO),
        autoscalers,
    }
}

/// Whole weeks from the beginning.
fn weeks(from: Time, hours: usize, together: &BTreeMap<usize, f64>, prices: &PriceList) -> Vec<Week> {
    const WEEK: usize = 7 * 24;
    let mut weeks: Vec<Week> = Vec::new();
    let mut was_whole = false;
    for number in 0..hours / WEEK {
        let of = || together.range(number * WEEK..(number + 1) * WEEK);
        let total: f64 = of().map(|(_, pods)| prices.an_hour_of(*pods)).sum();
        let is_whole = of().count() == WEEK;
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
        let settings = known.settings.get(hour);
        match runs.last_mut() {
            Some((of, hours)) if *of == settings => hours.push(*hour),
            _ => runs.push((settings, vec![*hour])),
        }
    }
    let mut first = None;
    let stage = |(settings, hours): (Option<&Settings>, Vec<usize>)| {
        let (begin, end) = hours.first().copied().zip(hours.last().copied())?;
        let count = hours.len() as f64;
        let sum = |of: &BTreeMap<usize, f64>| hours.iter().filter_map(|hour| of.get(hour)).sum::<f64>();
        let is_short_known = hours.iter().any(|hour| known.short_seconds.contains_key(hour));
        let cost_per_day = 24.0 * sum(costs) / count;
        let before = *first.get_or_insert(cost_per_day);
        let is_first = hours.first() == known.pods.keys().next();
        Some(Stage {
            mode: settings.map(|settings| settings.mode.clone()),
            generation: settings.map(|settings| settings.generation).filter(|generation| *generation > 0),
            from: at(begin).to_rfc3339_secs(),
            to: at(end + 1).to_rfc3339_secs(),
            known_hours: u32::try_from(hours.len()).unwrap_or(u32::MAX),
            pods_mean: sum(&known.pods) / count,
            total: sum(costs),
            cost_per_day,
            change_percent: (!is_first && before > 0.0).then(|| 100.0 * (cost_per_day / before - 1.0)),
            short_minutes_per_day: is_short_known.then(|| 24.0 * sum(&known.short_seconds) / 60.0 / count),
        })
    };
    runs.into_iter().filter_map(stage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_shared_out_by_pods_and_stages_are_runs_of_settings() {
        let settings = |generation, mode: &str| Settings { generation, mode: mode.to_owned() };
        let mut web = Known::default();
        for hour in 0..48 {
            web.pods.insert(hour, if hour < 24 { 6.0 } else { 3.0 });
            web.short_seconds.insert(hour, if hour < 24 { 0.0 } else { 5.0 });
            let of = if hour < 24 { settings(1, "Observe") } else { settings(2, "Auto") };
            web.settings.insert(hour, of);
        }
        let other = Known { pods: (0..24).map(|hour| (hour, 2.0)).collect(), ..Known::default() };
        let known = [(ObjectKey::new("shop", "web"), web), (ObjectKey::new("shop", "other"), other)].into();
        let prices = PriceList::flat(0.5).unwrap();
        let from = Time::from_secs(1_767_225_600);
        let costs = reckon(from, from + HOUR * 50, &known, &prices);
        assert_eq!((costs.hours, costs.known_hours), (50, 48));
        assert_eq!(costs.bill.total, 0.5 * 24.0 * (8.0 + 3.0));
        let web = &costs.autoscalers[0];
        assert_eq!((web.name.as_str(), web.total, web.pod_hours), ("web", 108.0, 216.0));
        assert_eq!(web.days, [72.0, 36.0, 0.0]);
        let [observe, auto] = web.stages.as_slice() else { panic!("{:?}", web.stages) };
        assert_eq!((observe.mode.as_deref(), observe.generation), (Some("Observe"), Some(1)));
        assert_eq!((observe.cost_per_day, observe.change_percent), (72.0, None));
        assert_eq!((auto.cost_per_day, auto.change_percent), (36.0, Some(-50.0)));
        assert_eq!(auto.short_minutes_per_day, Some(2.0));
        assert_eq!((auto.from.as_str(), auto.to.as_str()), ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"));
        let other = &costs.autoscalers[1];
        assert_eq!((other.stages.len(), &other.stages[0].mode), (1, &None));
        assert_eq!(other.stages[0].short_minutes_per_day, None);
        let shared: f64 = costs.autoscalers.iter().map(|of| of.total).sum();
        assert_eq!(shared, costs.bill.total);
    }

    #[test]
    fn weeks_are_compared_where_both_are_known() {
        let mut together: BTreeMap<usize, f64> = (0..21 * 24).map(|hour| (hour, 1.0)).collect();
        for pods in together.range_mut(7 * 24..).map(|(_, pods)| pods) {
            *pods = 2.0;
        }
        together.remove(&(15 * 24));
        let weeks = weeks(Time::EPOCH, 21 * 24 + 5, &together, &PriceList::flat(1.0).unwrap());
        let changes: Vec<Option<f64>> = weeks.iter().map(|week| week.change_percent).collect();
        assert_eq!(changes, [None, Some(100.0), None]);
        assert_eq!(weeks[1].from, "1970-01-08T00:00:00Z");
    }
}
