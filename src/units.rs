//! Units as types: instants, durations, rates, cores and Kubernetes quantities.
//!
//! Time is kept in whole nanoseconds; seconds as `f64` appear only inside numeric kernels. A value that came
//! from outside is checked once, where it becomes one of these types: a [`Rate`] is never negative, never NaN.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS_PER_SEC: i64 = 1_000_000_000;

/// A text or number that is not the unit it should be; the message says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {expected}")]
pub struct UnitError {
    given: String,
    expected: &'static str,
}

impl UnitError {
    fn new(given: impl fmt::Display, expected: &'static str) -> Self {
        Self { given: given.to_string(), expected }
    }
}

/// A length of time in nanoseconds, possibly negative. Text form as in Kubernetes and Prometheus: `15s`, `300ms`,
/// `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest span there is, 292 years.
    pub const MAX: Self = Self(i64::MAX);

    const EXPECTED: &str = "a duration such as 15s, 300ms or 1h30m";

    /// `n` nanoseconds.
    pub const fn from_nanos(n: i64) -> Self {
        Self(n)
    }

    /// `n` milliseconds, saturating.
    pub const fn from_millis(n: i64) -> Self {
        Self(n.saturating_mul(NANOS_PER_SEC / 1000))
    }

    /// `n` seconds, saturating.
    pub const fn from_secs(n: i64) -> Self {
        Self(n.saturating_mul(NANOS_PER_SEC))
    }

    /// The nearest span to `seconds`, saturating; NaN becomes zero.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * NANOS_PER_SEC as f64).round() as i64)
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds, truncated towards zero.
    pub const fn as_millis(self) -> i64 {
        self.0 / (NANOS_PER_SEC / 1000)
    }

    /// Seconds, for numeric kernels.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SEC as f64
    }

    /// Whether any time passes at all.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<i64> for Span {
    type Output = Self;
    fn mul(self, factor: i64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Div<i64> for Span {
    type Output = Self;
    fn div(self, divisor: i64) -> Self {
        Self(self.0.checked_div(divisor).unwrap_or(0))
    }
}

const UNITS: [(&str, i64); 7] = [
    ("d", 86_400 * NANOS_PER_SEC),
    ("h", 3_600 * NANOS_PER_SEC),
    ("m", 60 * NANOS_PER_SEC),
    ("s", NANOS_PER_SEC),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (unit, nanos) in UNITS {
            let whole = rest / nanos.unsigned_abs();
            if whole > 0 {
                write!(f, "{whole}{unit}")?;
                rest %= nanos.unsigned_abs();
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::new(text, Self::EXPECTED);
        let (mut rest, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total = 0i64;
        while !rest.is_empty() {
            let (number, after) = split_number(rest);
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            let nanos = UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(wrong)?.1;
            let part = scaled(number, nanos).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
            rest = after;
        }
        Ok(Self(if negative { -total } else { total }))
    }
}

/// Digits with at most one point, and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// `number * unit` as a whole number; `None` if it is not one, or too large.
fn scaled(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = fraction.trim_end_matches('0');
    let mut total = i128::from(whole) * i128::from(unit);
    if !fraction.is_empty() {
        let digits = i128::from(fraction.parse::<i64>().ok()?);
        let divisor = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = digits * i128::from(unit);
        if part % divisor != 0 {
            return None;
        }
        total += part / divisor;
    }
    i64::try_from(total).ok()
}

/// An instant: nanoseconds since the Unix epoch, UTC. Text form RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    const EXPECTED: &str = "an RFC 3339 instant such as 2026-01-31T09:30:00Z";

    /// `n` nanoseconds after the epoch.
    pub const fn from_nanos(n: i64) -> Self {
        Self(n)
    }

    /// `n` seconds after the epoch, saturating.
    pub const fn from_secs(n: i64) -> Self {
        Self(n.saturating_mul(NANOS_PER_SEC))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, for numeric kernels.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SEC as f64
    }

    /// RFC 3339 in UTC and whole seconds, as Kubernetes writes its timestamps.
    pub fn to_rfc3339_secs(self) -> String {
        Self(self.0.div_euclid(NANOS_PER_SEC) * NANOS_PER_SEC).to_string()
    }
}

impl Sub for Time {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => timestamp.fmt(f),
            // Unreachable: every i64 of nanoseconds lies within jiff's years -9999..9999.
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl FromStr for Time {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::new(text, Self::EXPECTED);
        let timestamp: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        i64::try_from(timestamp.as_nanosecond()).map(Self).map_err(|_| wrong())
    }
}

/// A Kubernetes quantity in thousandths, as the external metrics API carries it: `120`, `8600m`, `2k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(i64);

impl Quantity {
    const EXPECTED: &str = "a Kubernetes quantity of at least a thousandth, such as 120, 1.5 or 8600m";

    /// `n` thousandths.
    pub const fn from_milli(n: i64) -> Self {
        Self(n)
    }

    /// The least quantity that is not below `value`, as `resource.Quantity.MilliValue` rounds. `None` for NaN,
    /// infinities, negatives, and values whose thousandths exceed an `i64`: none of them can be served.
    pub fn at_least(value: f64) -> Option<Self> {
        let milli = (value * 1000.0).ceil();
        // 2^63 is the first double beyond an i64.
        (0.0..9_223_372_036_854_775_808.0).contains(&milli).then_some(Self(milli as i64))
    }

    /// Thousandths.
    pub const fn as_milli(self) -> i64 {
        self.0
    }

    /// The value as a number.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % 1000 == 0 { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl FromStr for Quantity {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::new(text, Self::EXPECTED);
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (number, suffix) = split_number(unsigned);
        let milli = match suffix {
            "m" => scaled(number, 1),
            "" => scaled(number, 1000),
            "k" => scaled(number, 1_000_000),
            "M" => scaled(number, 1_000_000_000),
            "G" => scaled(number, 1_000_000_000_000),
            "T" => scaled(number, 1_000_000_000_000_000),
            "Ki" => scaled(number, 1000 << 10),
            "Mi" => scaled(number, 1000 << 20),
            "Gi" => scaled(number, 1000 << 30),
            "Ti" => scaled(number, 1000 << 40),
            _ => None,
        }
        .ok_or_else(wrong)?;
        Ok(Self(if negative { -milli } else { milli }))
    }
}

/// A share in percent, 0 to 100. Text form `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    const EXPECTED: &str = "a percentage between 0% and 100%, such as 0.5%";

    /// `percent` percent, if it lies between 0 and 100.
    pub fn new(percent: f64) -> Result<Self, UnitError> {
        if (0.0..=100.0).contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(UnitError::new(percent, Self::EXPECTED))
        }
    }

    /// The share as a fraction between 0 and 1.
    pub fn as_fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = text.strip_suffix('%').and_then(|n| n.parse().ok());
        number.and_then(|n| Self::new(n).ok()).ok_or_else(|| UnitError::new(text, Self::EXPECTED))
    }
}

/// Text in YAML and JSON, by `Display` and `FromStr`. Plain numbers are taken where the text form has one.
macro_rules! text_unit {
    ($unit:ident, $pattern:expr) => {
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $unit;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($unit::EXPECTED)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$unit, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$unit, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$unit, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$unit, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl JsonSchema for $unit {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($unit).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

text_unit!(Span, r"^-?([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d))+$");
text_unit!(Time, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$");
text_unit!(Quantity, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$");
text_unit!(Percent, r"^[0-9]+(\.[0-9]+)?%$");

/// Largest amount that is taken for true: a counter of doubles loses single events at 2^53, some 10^16.
const MAX_AMOUNT: f64 = 1e15;

/// A number from 0 to 10^15, in the unit that its name and doc give.
macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0.0);

            const EXPECTED: &str = "a number between 0 and 10^15";

            /// `value`, if it lies between 0 and 10^15.
            ///
            /// # Errors
            /// For any other value, NaN among them.
            pub fn new(value: f64) -> Result<Self, UnitError> {
                if (0.0..=MAX_AMOUNT).contains(&value) {
                    Ok(Self::saturating(value))
                } else {
                    Err(UnitError::new(value, Self::EXPECTED))
                }
            }

            /// The amount nearest to `value`, which must not be NaN: for sums and products of checked amounts, which only
            /// rounding or sheer size can take out of range.
            pub fn saturating(value: f64) -> Self {
                debug_assert!(!value.is_nan());
                // Adding zero turns a negative zero into a plain one.
                Self(value.clamp(0.0, MAX_AMOUNT) + 0.0)
            }

            /// The number, in the unit of the type.
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(f64::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

amount! {
    /// Events per second.
    Rate
}
amount! {
    /// CPU cores: core-seconds per second.
    Cores
}
amount! {
    /// MetricsQPS: requests per second, each counted by its weight.
    MetricsQps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_span_reads_back_what_it_prints(nanos in any::<i64>().prop_filter("-MIN overflows", |n| *n > i64::MIN)) {
            let span = Span::from_nanos(nanos);
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }

        #[test]
        fn an_instant_reads_back_what_it_prints(nanos in any::<i64>()) {
            let time = Time::from_nanos(nanos);
            prop_assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        }

        #[test]
        fn a_quantity_reads_back_what_it_prints(milli in -9_000_000_000_000_000i64..9_000_000_000_000_000) {
            let quantity = Quantity::from_milli(milli);
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
        }
    }

    #[test]
    fn spans_are_written_as_people_write_them() {
        for (text, nanos) in
            [("15s", 15e9), ("1h30m", 5400e9), ("300ms", 3e8), ("1.5s", 1.5e9), ("2d", 172_800e9)]
        {
            assert_eq!(text.parse::<Span>().unwrap().as_nanos() as f64, nanos, "{text}");
        }
        assert_eq!(Span::from_secs(5400).to_string(), "1h30m");
    }

    #[test]
    fn a_span_without_its_unit_is_refused() {
        for text in ["", "15", "s", "1.2.3s", "15 s", "15sec", "-", "99999999999d", "0.1ns"] {
            assert!(text.parse::<Span>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn quantities_follow_the_kubernetes_suffixes() {
        for (text, milli) in [
            ("120", 120_000),
            ("1.5", 1500),
            ("8600m", 8600),
            ("2k", 2_000_000),
            ("1Ki", 1_024_000),
            (".5", 500),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().as_milli(), milli, "{text}");
        }
        for text in ["", "m", "1.2345", "1x", "NaN", "1e400", "0.5m", "--1"] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_served_quantity_rounds_up_and_refuses_what_it_cannot_carry() {
        assert_eq!(Quantity::at_least(0.0001), Some(Quantity::from_milli(1)));
        assert_eq!(Quantity::at_least(0.0), Some(Quantity::from_milli(0)));
        for value in [f64::NAN, f64::INFINITY, -1.0, 9.3e15] {
            assert_eq!(Quantity::at_least(value), None, "{value}");
        }
    }

    #[test]
    fn amounts_refuse_what_is_not_an_amount() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 1.1e15] {
            assert!(Rate::new(value).is_err(), "{value}");
        }
        assert!(Rate::new(-0.0).unwrap().get().is_sign_positive());
    }

    #[test]
    fn percentages_carry_their_sign() {
        assert_eq!("0.5%".parse::<Percent>().unwrap().as_fraction(), 0.005);
        for text in ["0.5", "101%", "-1%", "NaN%"] {
            assert!(text.parse::<Percent>().is_err(), "{text:?}");
        }
    }
}
