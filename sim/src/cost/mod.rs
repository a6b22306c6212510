//! What pods cost: a price list, and a bill for the pods of a run.
//!
//! Reserved pods are paid for whether they are there or not, and are used first. Of those beyond them a share is on spot, and the rest on
//! demand. Spot pods are taken away now and then; how often is reckoned, not simulated, and the time in which a pod is missing then is told beside the
//! shortage, not in it. To see what pods that go without notice do to requests, the event engine has `crashes_per_hour`.

mod file;

use std::collections::BTreeMap;

pub use file::{PriceFileError, read};
use plimsoll::units::{Percent, Span};
use serde::{Deserialize, Serialize};

/// A file of prices, as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prices {
    /// What prices are in, for people.
    #[serde(default)]
    pub currency: String,
    /// Price lists by region.
    pub regions: BTreeMap<String, Region>,
}

/// The price list of one region. Prices are for a pod and an hour.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Region {
    /// Without a commitment.
    pub on_demand: f64,
    /// Pods that are paid for always.
    pub reserved: Option<Reserved>,
    /// Capacity that is sold as long as nobody pays more.
    pub spot: Option<Spot>,
}

/// Pods that are paid for always.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reserved {
    /// How many.
    pub pods: f64,
    /// Of each.
    pub price: f64,
}

/// Capacity that is sold as long as nobody pays more.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spot {
    /// Of a pod that is on it.
    pub price: f64,
    /// How many of the pods beyond the reserved ones are on it.
    pub share: Percent,
    /// How often one of them is taken away.
    #[serde(default)]
    pub interruptions_per_hour: f64,
}

/// Prices that cannot be reckoned with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// There is no such region.
    #[error("there are no prices of region {asked:?}: one of {known} was expected")]
    NoSuchRegion {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// There are several, and none was asked for.
    #[error("prices are given of several regions: give --region, one of {0}")]
    WhichRegion(String),
    /// There are none.
    #[error("prices are given of no region")]
    Empty,
    /// A number that is none, negative, or beyond all prices.
    #[error("{field}: {value} is not a number from 0 to 1000000000")]
    Number {
        /// Which one.
        field: String,
        /// What it is.
        value: String,
    },
}

impl Prices {
    /// Those of a region; without a name the only ones.
    ///
    /// # Errors
    /// When it is not clear which, or there is a price that cannot be.
    pub fn of_region(&self, name: Option<&str>) -> Result<PriceList, PriceError> {
        let known = || self.regions.keys().cloned().collect::<Vec<_>>().join(", ");
        let mut regions = self.regions.iter();
        let (region, prices) = match (name, regions.next(), regions.next()) {
            (_, None, _) => return Err(PriceError::Empty),
            (Some(name), ..) => self
                .regions
                .get_key_value(name)
                .ok_or_else(|| PriceError::NoSuchRegion { asked: name.to_owned(), known: known() })?,
            (None, Some(only), None) => only,
            (None, Some(_), Some(_)) => return Err(PriceError::WhichRegion(known())),
        };
        prices.check(region)?;
        Ok(PriceList {
            currency: self.currency.clone(),
            region: Some(region.clone()),
            prices: prices.clone(),
        })
    }
}

impl Region {
    fn check(&self, region: &str) -> Result<(), PriceError> {
        let mut numbers = vec![("onDemand", self.on_demand)];
        if let Some(Reserved { pods, price }) = self.reserved {
            numbers.extend([("reserved.pods", pods), ("reserved.price", price)]);
        }
        if let Some(Spot { price, interruptions_per_hour, .. }) = self.spot {
            numbers.extend([("spot.price", price), ("spot.interruptionsPerHour", interruptions_per_hour)]);
        }
        let wrong = numbers.into_iter().find(|(_, value)| !(0.0..=MOST).contains(value));
        match wrong {
            None => Ok(()),
            Some((field, value)) => Err(PriceError::Number {
                field: format!("regions.{region}.{field}"),
                value: value.to_string(),
            }),
        }
    }
}

/// The prices that a run is billed by.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceList {
    currency: String,
    region: Option<String>,
    prices: Region,
}

impl PriceList {
    /// The same for every pod-hour.
    ///
    /// # Errors
    /// For a price that is no number from 0 on.
    pub fn flat(price: f64) -> Result<Self, PriceError> {
        let prices = Region { on_demand: price, reserved: None, spot: None };
        prices
            .check("")
            .map_err(|_| PriceError::Number { field: "price".into(), value: price.to_string() })?;
        Ok(Self { currency: String::new(), region: None, prices })
    }

    /// What amounts are in.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// What so many pods cost in an hour, reserved ones that are not needed included.
    pub fn an_hour_of(&self, pods: f64) -> f64 {
        self.prices.amounts(&self.prices.hours(1.0, pods)).iter().sum()
    }
}

impl Region {
    /// How so many pods are paid for in so many hours.
    fn hours(&self, hours: f64, pods: f64) -> Hours {
        let reserved = self.reserved.map_or(0.0, |reserved| reserved.pods);
        let beyond = (pods - reserved).max(0.0);
        let on_spot = beyond * self.spot.map_or(0.0, |spot| spot.share.as_fraction());
        Hours {
            length: hours,
            used: pods * hours,
            reserved: reserved * hours,
            spot: on_spot * hours,
            on_demand: (beyond - on_spot) * hours,
        }
    }

    /// Reserved, on spot and on demand.
    fn amounts(&self, hours: &Hours) -> [f64; 3] {
        let reserved = self.reserved.map_or(0.0, |reserved| reserved.price) * hours.reserved;
        let spot = self.spot.map_or(0.0, |spot| spot.price) * hours.spot;
        [reserved, spot, self.on_demand * hours.on_demand]
    }
}

const DAY: Span = Span::from_secs(86_400);

/// Largest price, and number of reserved pods: beyond it sums would no longer be exact, or numbers at all.
const MOST: f64 = 1e9;

/// Adds up what pods cost, a step after the other.
#[derive(Debug, Clone)]
pub struct Ledger {
    list: PriceList,
    hours: Hours,
    days: BTreeMap<i64, Hours>,
}

/// Pod-hours by how they are paid for; reserved ones that were not used are among them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Hours {
    /// Time itself.
    length: f64,
    used: f64,
    reserved: f64,
    spot: f64,
    on_demand: f64,
}

impl Hours {
    fn add(&mut self, other: Self) {
        self.length += other.length;
        self.used += other.used;
        self.reserved += other.reserved;
        self.spot += other.spot;
        self.on_demand += other.on_demand;
    }
}

/// What the pods of a run cost. Serialized as it stands; amounts are in `currency`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bill {
    /// What amounts are in, as the price list says.
    pub currency: String,
    /// The region of the prices, where they have one.
    pub region: Option<String>,
    /// All of it.
    pub total: f64,
    /// Of reserved pods, used or not.
    pub reserved: f64,
    /// Of pods on spot.
    pub spot: f64,
    /// Of pods on demand.
    pub on_demand: f64,
    /// Pod-hours that were reserved and not used.
    pub unused_reserved_pod_hours: f64,
    /// How often a pod on spot is taken away, as is to be expected.
    pub spot_interruptions: f64,
    /// Pod-hours that are missing for it until others are ready; in no shortage that is told elsewhere.
    pub spot_missing_pod_hours: f64,
    /// Day by day, from the beginning of the run.
    pub days: Vec<Day>,
}

/// What the pods of one day cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Day {
    /// Which one; the first of the run is 0.
    pub day: i64,
    /// Hours of it that are billed: fewer than 24 at the ends of a run.
    pub hours: f64,
    /// Pod-hours that there were.
    pub pod_hours: f64,
    /// What they cost.
    pub total: f64,
}

impl Ledger {
    /// An empty one.
    pub fn new(list: PriceList) -> Self {
        Self { list, hours: Hours::default(), days: BTreeMap::new() }
    }

    /// A step that began so long after the run and lasted so long, with so many pods.
    pub fn add(&mut self, from: Span, length: Span, pods: f64) {
        let step = self.list.prices.hours(length.as_secs_f64() / 3600.0, pods);
        self.hours.add(step);
        let day = from.as_nanos().div_euclid(DAY.as_nanos());
        self.days.entry(day).or_default().add(step);
    }

    /// The bill, where a new pod takes `start_up` to be ready.
    pub fn bill(&self, start_up: Span) -> Bill {
        let [reserved, spot, on_demand] = self.list.prices.amounts(&self.hours);
        let rate = self.list.prices.spot.map_or(0.0, |spot| spot.interruptions_per_hour);
        let spot_interruptions = rate * self.hours.spot;
        let in_use = self.hours.used - self.hours.spot - self.hours.on_demand;
        let day = |(day, hours): (&i64, &Hours)| Day {
            day: *day,
            hours: hours.length,
            pod_hours: hours.used,
            total: self.list.prices.amounts(hours).iter().sum(),
        };
        Bill {
            currency: self.list.currency.clone(),
            region: self.list.region.clone(),
            total: reserved + spot + on_demand,
            reserved,
            spot,
            on_demand,
            unused_reserved_pod_hours: (self.hours.reserved - in_use).max(0.0),
            spot_interruptions,
            spot_missing_pod_hours: spot_interruptions * start_up.as_secs_f64() / 3600.0,
            days: self.days.iter().map(day).collect(),
        }
    }
}

impl Bill {
    /// Pod-hours and amounts of seven days each, with the first day of each. Days that are not whole are in none.
    pub fn weeks(&self) -> Vec<Day> {
        let whole: Vec<Day> = self.days.iter().copied().filter(|day| day.hours > 23.99).collect();
        let sum = |days: &[Day], of: fn(&Day) -> f64| days.iter().map(of).sum();
        let week = |days: &[Day]| {
            Some(Day {
                day: days.first()?.day,
                hours: sum(days, |day| day.hours),
                pod_hours: sum(days, |day| day.pod_hours),
                total: sum(days, |day| day.total),
            })
        };
        whole.chunks_exact(7).filter_map(week).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn prices(region: serde_json::Value) -> Prices {
        serde_json::from_value(json!({"currency": "EUR", "regions": {"here": region}})).unwrap()
    }

    const HOUR: Span = Span::from_secs(3600);

    #[test]
    fn a_bill_by_hand() {
        let all = json!({
            "onDemand": 1.0,
            "reserved": {"pods": 4, "price": 0.5},
            "spot": {"price": 0.25, "share": "75%", "interruptionsPerHour": 0.1},
        });
        let mut ledger = Ledger::new(prices(all).of_region(None).unwrap());
        // Two of the four are not needed; then eight more are.
        ledger.add(Span::ZERO, HOUR, 2.0);
        ledger.add(DAY, HOUR, 12.0);
        let bill = ledger.bill(Span::from_secs(360));
        assert_eq!((bill.currency.as_str(), bill.region.as_deref()), ("EUR", Some("here")));
        assert_eq!((bill.reserved, bill.spot, bill.on_demand), (4.0, 6.0 * 0.25, 2.0));
        assert_eq!(bill.total, 7.5);
        assert_eq!(bill.unused_reserved_pod_hours, 2.0);
        assert!((bill.spot_interruptions - 0.6).abs() < 1e-12);
        assert!((bill.spot_missing_pod_hours - 0.06).abs() < 1e-12);
        assert_eq!(
            bill.days,
            [
                Day { day: 0, hours: 1.0, pod_hours: 2.0, total: 2.0 },
                Day { day: 1, hours: 1.0, pod_hours: 12.0, total: 5.5 }
            ]
        );
        let mut flat = Ledger::new(PriceList::flat(0.1).unwrap());
        flat.add(Span::ZERO, HOUR, 5.0);
        assert_eq!(flat.bill(Span::ZERO).total, 0.5);
        assert_eq!(ledger.list.an_hour_of(12.0), 5.5);
    }

    #[test]
    fn prices_that_cannot_be_reckoned_with_are_told() {
        let refused = |prices: Prices, name| prices.of_region(name).unwrap_err().to_string();
        let negative = json!({"onDemand": 1.0, "reserved": {"pods": -1, "price": 1}});
        assert_eq!(
            refused(prices(negative), None),
            "regions.here.reserved.pods: -1 is not a number from 0 to 1000000000"
        );
        let right = prices(json!({"onDemand": 1.0}));
        assert!(refused(right.clone(), Some("there")).contains("one of here"));
        let mut two = right.clone();
        two.regions.insert("there".into(), right.regions["here"].clone());
        assert!(refused(two, None).contains("--region, one of here, there"));
        assert!(PriceList::flat(f64::NAN).is_err() && PriceList::flat(1e10).is_err());
    }

    #[test]
    fn a_week_is_of_whole_days() {
        let mut ledger = Ledger::new(PriceList::flat(1.0).unwrap());
        // From noon on, for eight days and a half.
        for hour in 12..216 {
            ledger.add(HOUR * hour, HOUR, 1.0);
        }
        let bill = ledger.bill(Span::ZERO);
        assert_eq!((bill.days.len(), bill.days[0].hours), (9, 12.0));
        let weeks = bill.weeks();
        assert_eq!((weeks.len(), weeks[0].day, weeks[0].total), (1, 1, 168.0));
    }

    proptest! {
        #[test]
        fn days_add_up_and_more_pods_never_cost_less(
            pods in proptest::collection::vec(0.0f64..50.0, 1..300),
            reserved in 0.0f64..20.0,
            share in 0u8..=100,
        ) {
            let region = json!({
                "onDemand": 1.0, "reserved": {"pods": reserved, "price": 0.4},
                "spot": {"price": 0.3, "share": format!("{share}%")},
            });
            let list = prices(region).of_region(None).unwrap();
            let bill = |more: f64| {
                let mut ledger = Ledger::new(list.clone());
                for (i, pods) in (0..).zip(&pods) {
                    ledger.add(HOUR * i, HOUR, pods + more);
                }
                ledger.bill(Span::ZERO)
            };
            let own = bill(0.0);
            let days: f64 = own.days.iter().map(|day| day.total).sum();
            prop_assert!((days - own.total).abs() < 1e-9 * own.total.max(1.0));
            let parts = own.reserved + own.spot + own.on_demand;
            prop_assert!((parts - own.total).abs() < 1e-9 * own.total.max(1.0));
            prop_assert!(bill(1.0).total >= own.total);
            let weeks: f64 = own.weeks().iter().map(|week| week.total).sum();
            prop_assert!(weeks <= own.total * (1.0 + 1e-9));
        }
    }
}
