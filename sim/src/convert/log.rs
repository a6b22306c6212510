//! Logs with a line a request: access logs of web servers and proxies, and structured ones.
//!
//! Of a line two things matter: when, and how long. Where they stand is said by the text before them, so that it does not matter what else a
//! line holds, or in which order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::fmt::strtime;
use jiff::{Timestamp, Zoned};
use plimsoll::units::{Span, Time};

use super::{Arrival, Content, ConvertError, Converted, Lines, PassedOver};
use crate::trace::MAX_REQUESTS;

/// Share of the lines that may be none of a request.
const MOST_PASSED_OVER: f64 = 0.5;

/// What is earlier, or later, is no instant of a request but some other number: 1973 and 2255.
const EARLIEST: Time = Time::from_secs(100_000_000);
const LATEST: Time = Time::from_secs(9_000_000_000);

/// How a line is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFormat {
    /// Where the instant stands: in brackets, as web servers write it, or after a text.
    pub time: Field,
    /// Where the duration stands; none if there is none.
    pub duration: Option<Field>,
    /// What it is in.
    pub unit: Unit,
    /// Whether the instant is that of arrival. Else it is that of the end, as most logs have it.
    pub is_arrival: bool,
}

/// Where something stands in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The first `[…]` with an instant in it.
    Brackets,
    /// The last word.
    Last,
    /// After this text; quotes around it are not part of it.
    After(String),
}

/// What durations are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, as nginx's `$request_time`.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds, as Apache's `%D`.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    const fn seconds(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Milliseconds => 1e-3,
            Self::Microseconds => 1e-6,
            Self::Nanoseconds => 1e-9,
        }
    }
}

/// The requests of logs, in the order of arrival.
///
/// # Errors
/// When a file cannot be read, most lines are none of a request, or there are too many.
pub fn requests_of_logs(paths: &[PathBuf], format: &LogFormat) -> Result<Converted, ConvertError> {
    let mut requests = Vec::new();
    let mut all: u64 = 0;
    // By reason: how many, and the first of them.
    let mut passed: BTreeMap<&'static str, (u64, String)> = BTreeMap::new();
    for path in paths {
        let mut lines = Lines::open(path)?;
        while let Some((number, line)) = lines.next()? {
            if line.trim().is_empty() {
                continue;
            }
            all += 1;
            match format.request(&line) {
                Ok(request) => requests.push(request),
                Err(why) => {
                    let first = || (0, format!("{}:{number}", path.display()));
                    passed.entry(why).or_insert_with(first).0 += 1;
                }
            }
            if requests.len() as u64 > MAX_REQUESTS {
                return Err(ConvertError::TooMany(MAX_REQUESTS));
            }
        }
    }
    let lines = passed.values().map(|(lines, _)| lines).sum();
    // What is wrong with most of them is what is to be known.
    let passed_over = passed.into_iter().max_by_key(|(_, (lines, _))| *lines);
    let passed_over = passed_over.map(|(why, (_, first))| PassedOver { lines, first, why });
    if let Some(PassedOver { lines, first, why }) =
        passed_over.as_ref().filter(|passed| passed.lines as f64 > MOST_PASSED_OVER * all as f64)
    {
        return Err(ConvertError::NotALog { first: first.clone(), why, lines: *lines, all });
    }
    if requests.is_empty() {
        return Err(ConvertError::Empty { path: paths.first().cloned().unwrap_or_default() });
    }
    requests.sort_unstable();
    Ok(Converted { content: Content::Requests(requests), passed_over })
}

impl LogFormat {
    fn request(&self, line: &str) -> Result<Arrival, &'static str> {
        let at = match &self.time {
            // An address or the number of a process may stand in brackets before it.
            Field::Brackets => in_brackets(line).find_map(instant),
            field => field.text(line).and_then(instant),
        };
        let at = at.ok_or("there is no instant where it should be")?;
        let duration = match &self.duration {
            None => None,
            Some(field) => {
                let number = field.text(line).and_then(|text| text.parse::<f64>().ok());
                let seconds = number.map(|number| number * self.unit.seconds());
                let seconds = seconds.filter(|seconds| (0.0..=1e6).contains(seconds));
                Some(Span::from_secs_f64(seconds.ok_or("there is no duration where it should be")?))
            }
        };
        let before = duration.filter(|_| !self.is_arrival).unwrap_or(Span::ZERO);
        Ok(Arrival { at: at - before, duration })
    }
}

impl Field {
    fn text<'a>(&self, line: &'a str) -> Option<&'a str> {
        match self {
            Self::Brackets => in_brackets(line).next(),
            Self::Last => line.split_whitespace().next_back().map(|word| word.trim_matches('"')),
            Self::After(key) => {
                let rest = after(line, key)?.trim_start();
                match rest.strip_prefix('"') {
                    Some(quoted) => quoted.split('"').next(),
                    None => {
                        rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | ';' | ']')).next()
                    }
                }
            }
        }
    }
}

/// What comes after a text that begins a word. Inside of quotes stands what clients send; it counts where the text is nowhere else, and then the last
/// of it, as when the whole line is quoted in another log.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let begins_a_word = |at: usize| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !key.starts_with(char::is_alphanumeric)
            || before.is_none_or(|before| before.is_whitespace() || "{[(<,;|\"'".contains(before))
    };
    let found = || line.match_indices(key).filter(|(at, _)| begins_a_word(*at));
    let is_outside = |(at, _): &(usize, &str)| {
        let (mut is_inside, mut is_escaped) = (false, false);
        for c in line.get(..*at).unwrap_or_default().chars() {
            is_inside ^= c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
        }
        !is_inside
    };
    let (at, _) = found().find(is_outside).or_else(|| found().last())?;
    line.get(at + key.len()..)
}

fn in_brackets(line: &str) -> impl Iterator<Item = &str> {
    line.split('[').skip(1).filter_map(|rest| rest.split_once(']').map(|(text, _)| text))
}

/// An instant as web servers, RFC 3339 or seconds (or milliseconds) since 1970 have it.
fn instant(text: &str) -> Option<Time> {
    number_or_date(text).filter(|at| (EARLIEST..LATEST).contains(at))
}

fn number_or_date(text: &str) -> Option<Time> {
    if let Ok(number) = text.parse::<f64>() {
        // Of what is beyond the year 5000 as seconds, milliseconds are meant.
        let seconds = if number.abs() >= 1e11 { number / 1e3 } else { number };
        return (0.0..1e11).contains(&seconds).then(|| Time::EPOCH + Span::from_secs_f64(seconds));
    }
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let zoned: Zoned = strtime::parse("%d/%b/%Y:%H:%M:%S %z", text).ok()?.to_zoned().ok()?;
        Some(zoned.timestamp())
    })?;
    let nanos = i64::try_from(timestamp.as_nanosecond()).ok()?;
    Some(Time::EPOCH + Span::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nginx() -> LogFormat {
        LogFormat {
            time: Field::Brackets,
            duration: Some(Field::Last),
            unit: Unit::Seconds,
            is_arrival: false,
        }
    }

    #[test]
    fn an_access_log_tells_when_requests_ended() {
        let line = r#"10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a b HTTP/1.0" 200 23 "-" "curl" 1.500"#;
        let request = nginx().request(line).unwrap();
        assert_eq!(request.at.to_rfc3339_secs(), "2000-10-10T20:55:34Z");
        assert_eq!(request.duration, Some(Span::from_millis(1500)));
        let by_address = format!("proxy[1234]: [::1]:443 {line}");
        assert_eq!(nginx().request(&by_address), nginx().request(line));
        let apache = LogFormat { unit: Unit::Microseconds, is_arrival: true, ..nginx() };
        let request = apache.request(&line.replace("1.500", "250000")).unwrap();
        assert_eq!(request.at.to_rfc3339_secs(), "2000-10-10T20:55:36Z");
        assert_eq!(request.duration, Some(Span::from_millis(250)));
    }

    #[test]
    fn structured_lines_are_read_by_the_text_before() {
        let format = LogFormat {
            time: Field::After("\"ts\":".into()),
            duration: Some(Field::After("\"took\":".into())),
            unit: Unit::Milliseconds,
            is_arrival: true,
        };
        for line in [
            r#"{"ts": "2026-01-02T03:04:05.5Z", "path": "/x,\"took\"", "took": 12.5, "n": 1}"#,
            r#"{"took":12.5,"ts":"2026-01-02T05:04:05.5+02:00"}"#,
            r#"{"took":12.5,"ts":1767323045.5}"#,
            r#"{"took":12.5,"ts":1767323045500}"#,
        ] {
            let request = format.request(line).unwrap();
            assert_eq!(request.at, Time::from_secs(1_767_323_045) + Span::from_millis(500), "{line}");
            assert_eq!(request.duration, Some(Span::from_nanos(12_500_000)), "{line}");
        }
    }

    #[test]
    fn what_clients_send_is_not_taken_for_what_the_server_says() {
        let format = LogFormat { duration: Some(Field::After("rt=".into())), ..nginx() };
        let when = "10.0.0.1 [10/Oct/2000:13:55:36 -0700]";
        for line in [
            r#""GET /list?start=20 HTTP/1.1" 200 "curl" urt=0.9 rt=0.123"#,
            r#""GET /list?rt=20 HTTP/1.1" 200 "rt=7" rt=0.123 ut=5"#,
            r#""GET /a" 200 "an \" rt=7" rt="0.123""#,
            r#"rt=0.123 "GET / rt=20 HTTP/1.1" 200"#,
        ] {
            let duration = format.request(&format!("{when} {line}")).unwrap().duration;
            assert_eq!(duration, Some(Span::from_millis(123)), "{line}");
        }
        // All of it is quoted where one log is written into another.
        let wrapped = format!(r#"{{"log":"{when} GET /x?rt=20 200 rt=0.123","stream":"stdout"}}"#);
        assert!(format.request(&wrapped).is_err(), "a quote at the end of a number is none of it");
        let wrapped = format!(r#"{{"log":"{when} GET /x?rt=20 200 rt=0.123 end","stream":"stdout"}}"#);
        assert_eq!(format.request(&wrapped).unwrap().duration, Some(Span::from_millis(123)));
    }

    #[test]
    fn a_number_that_is_no_instant_is_none() {
        let format = LogFormat { time: Field::After("ts=".into()), duration: None, ..nginx() };
        for line in ["ts=5", "ts=99999999999", "ts=nan", "ts=-1", "ts=9300-01-01T00:00:00Z"] {
            assert_eq!(format.request(line), Err("there is no instant where it should be"), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_passed_over_with_its_reason() {
        assert_eq!(nginx().request("starting up"), Err("there is no instant where it should be"));
        let line = "x [10/Oct/2000:13:55:36 -0700] -";
        assert_eq!(nginx().request(line), Err("there is no duration where it should be"));
        assert!(nginx().request("x [10/Oct/2000:13:55:36 -0700] -3").is_err());
        assert!(LogFormat { duration: None, ..nginx() }.request(line).is_ok());
    }
}
