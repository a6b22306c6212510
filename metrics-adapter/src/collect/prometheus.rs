//! Asks a server with Prometheus' HTTP API: one instant query, evaluated at the server's own time.
//!
//! It promises a vector of numbers and native histograms, or an error; what is too old to count is the server's to judge.
//! An answer is read within limits of size, time and length. NaN is refused, redirects are not followed, and
//! errors never carry what the server sent.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use hyper::{Request, Uri};
use plimsoll::load::Labels;
use plimsoll::units::{Span, Time};
use serde::{Deserialize, Deserializer, de};

use super::access::{Access, Caller, Credentials, CredentialsError, Trust};
use super::fetch::{self, AGENT, FetchError, MAX_PAGE_TIME};
use crate::clock::Clock;

/// Most series and most buckets of a native histogram in one answer.
pub const MAX_ANSWER_SERIES: usize = 10_000;

/// The operator's address of a metrics server, its URL up to `/api/v1`, and how it lets the adapter in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    query: Uri,
    range: Uri,
    access: Access,
}

/// An address that cannot be used. It is not repeated: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL of a server.
    #[error("a URL such as http://prometheus.monitoring:9090 was expected")]
    Url,
    /// It holds credentials.
    #[error("a user or password in the URL would be seen by many: give a token in a file")]
    CredentialsInUrl,
    /// It is asked over TLS, and that cannot be.
    #[error(transparent)]
    Access(#[from] CredentialsError),
    /// It is asked without TLS, which has no authorities.
    #[error("authorities are for a server whose URL is https")]
    NoTls,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The server cannot be asked, or refuses.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What it says is not what the API should say.
    #[error("the answer is not an instant vector of Prometheus' API")]
    Malformed,
    /// More series, or buckets, than are read.
    #[error("more than {MAX_ANSWER_SERIES} series or buckets")]
    TooManySeries,
    /// A value is NaN.
    #[error("a value is not a number")]
    NotANumber,
}

impl QueryError {
    /// A word for a label: few, and none made of what the server sent.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Fetch(error) => error.reason(),
            Self::Malformed => "malformed",
            Self::TooManySeries => "too_large",
            Self::NotANumber => "counts",
        }
    }
}

/// What a query gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// When it came, on the asker's clock.
    pub at: Time,
    /// The series, in the server's order.
    pub series: Vec<Series>,
    /// The server warned: part of its data may be missing.
    pub warned: bool,
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: Value,
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number; not NaN.
    Number(f64),
    /// A native histogram.
    Histogram(Histogram),
}

/// A native histogram, or the rates of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// All observations.
    pub count: f64,
    /// The sum of what was observed.
    pub sum: f64,
    /// The populated buckets, ascending.
    pub buckets: Vec<Bucket>,
}

/// One populated bucket of a native histogram. Which of its bounds are part of it is left aside: no duration is exactly on one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Its lower bound.
    pub lower: f64,
    /// Its upper bound.
    pub upper: f64,
    /// Observations in it.
    pub count: f64,
}

/// A series over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its labels.
    pub labels: Labels,
    /// Instants and values, oldest first. What is not a number is left out.
    pub points: Vec<(Time, f64)>,
}

/// Asks one server. Keeps connections open between queries; clones share them.
#[derive(Debug, Clone)]
pub struct Api {
    caller: Caller<Full<Bytes>>,
    query: Uri,
    range: Uri,
    clock: Clock,
    patience: Duration,
}

impl Endpoint {
    /// Takes an http or https URL, without credentials, query or fragment. Over https the machine's own authorities are trusted.
    ///
    /// # Errors
    /// For anything else, and where the machine has no authorities.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        Self::with(url, None, None)
    }

    /// The same, with authorities to trust instead of the machine's, as PEM, and a file with a bearer's token.
    ///
    /// # Errors
    /// For a URL that is none, or authorities that cannot be used.
    pub fn with(url: &str, authorities: Option<&[u8]>, token: Option<&Path>) -> Result<Self, EndpointError> {
        let uri: Uri = url.parse().map_err(|_| EndpointError::Url)?;
        let authority = uri.authority().filter(|a| !a.host().is_empty()).ok_or(EndpointError::Url)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::CredentialsInUrl);
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let is_https = uri.scheme_str() == Some("https");
        let is_http = uri.scheme_str() == Some("http");
        let is_plain = (is_http || is_https) && uri.query().is_none() && !url.contains('#');
        if !is_plain || has_port != authority.port_u16().is_some() {
            return Err(EndpointError::Url);
        }
        let base = url.trim_end_matches('/');
        let below = |path| format!("{base}/api/v1/{path}").parse().map_err(|_| EndpointError::Url);
        let trust = match (is_https, authorities) {
            (true, None) => Trust::System,
            (true, Some(pem)) => Trust::Authorities(pem),
            (false, None) => Trust::Nobody,
            (false, Some(_)) => return Err(EndpointError::NoTls),
        };
        let access = match (trust, token) {
            (Trust::Nobody, None) => Access::Open,
            (trust, None) => Access::With(Arc::new(Credentials::new(trust, None)?)),
            (trust, Some(file)) => {
                Access::With(Arc::new(Credentials::new(trust, None)?.showing_token_in(file)))
            }
        };
        Ok(Self { query: below("query")?, range: below("query_range")?, access })
    }
}

impl Api {
    /// For a server that is waited for as long as `patience` on `clock`, and never longer than [`MAX_PAGE_TIME`] of the world.
    pub fn new(endpoint: &Endpoint, clock: Clock, patience: Span) -> Self {
        Self::patient(endpoint, clock.clone(), clock.in_world(patience).min(MAX_PAGE_TIME))
    }

    /// For a server that is waited for as long as `patience` of the world.
    pub fn patient(endpoint: &Endpoint, clock: Clock, patience: Duration) -> Self {
        let Endpoint { query, range, access } = endpoint.clone();
        Self { caller: Caller::new(access, patience), query, range, clock, patience }
    }

    /// Evaluates a PromQL expression that gives an instant vector.
    ///
    /// # Errors
    /// When there is no answer within the limits, or none that can be used.
    pub async fn query(&self, expression: &str) -> Result<Answer, QueryError> {
        let (json, at) = self.ask(&self.query, &[("query", expression)]).await?;
        read(&json, at)
    }

    /// Evaluates a PromQL expression at `from` and every `step` after it, up to `to`. None where the server warns: what it leaves out would be taken
    /// for nothing.
    ///
    /// # Errors
    /// When there is no answer within the limits, or none that can be used.
    pub async fn query_range(
        &self,
        expression: &str,
        from: Time,
        to: Time,
        step: Span,
    ) -> Result<Option<Vec<Track>>, QueryError> {
        let seconds = |span: Span| format!("{}.{:03}", span.as_millis() / 1000, span.as_millis() % 1000);
        let (start, end) = (seconds(from - Time::EPOCH), seconds(to - Time::EPOCH));
        let form = [("query", expression), ("start", &start), ("end", &end), ("step", &seconds(step))];
        let (json, _) = self.ask(&self.range, &form).await?;
        read_range(&json)
    }

    async fn ask(&self, uri: &Uri, form: &[(&str, &str)]) -> Result<(Vec<u8>, Time), QueryError> {
        let answer = tokio::time::timeout(self.patience, self.unlimited(uri, form));
        answer.await.unwrap_or(Err(FetchError::Timeout(self.patience).into()))
    }

    async fn unlimited(&self, uri: &Uri, form: &[(&str, &str)]) -> Result<(Vec<u8>, Time), QueryError> {
        // Who asked is no longer there to hear a later answer.
        let timeout = format!("{}ms", self.patience.as_millis());
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .append_pair("timeout", &timeout)
            .finish();
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "gzip")
            .header(USER_AGENT, AGENT)
            .body(Full::from(form))
            .map_err(|_| FetchError::Unreachable)?;
        let response = self.caller.send(request).await?;
        let at = self.clock.now();
        Ok((fetch::body(response).await?, at))
    }
}

/// An answer, as the API writes it.
fn read(json: &[u8], at: Time) -> Result<Answer, QueryError> {
    let response: RawResponse<RawSeries> = serde_json::from_slice(json).map_err(|_| QueryError::Malformed)?;
    if response.status != "success" || response.data.result_type != "vector" {
        return Err(QueryError::Malformed);
    }
    let warned = response.is_warned_of();
    let results = response.data.result;
    if results.len() > MAX_ANSWER_SERIES {
        return Err(QueryError::TooManySeries);
    }
    let series = results.into_iter().map(RawSeries::checked).collect::<Result<_, _>>()?;
    Ok(Answer { at, series, warned })
}

/// The answer to a range query, as the API writes it.
fn read_range(json: &[u8]) -> Result<Option<Vec<Track>>, QueryError> {
    let response: RawResponse<RawTrack> = serde_json::from_slice(json).map_err(|_| QueryError::Malformed)?;
    if response.status != "success" || response.data.result_type != "matrix" {
        return Err(QueryError::Malformed);
    }
    let is_whole = !response.is_warned_of();
    let results = response.data.result;
    if results.len() > MAX_ANSWER_SERIES {
        return Err(QueryError::TooManySeries);
    }
    if !is_whole {
        return Ok(None);
    }
    let track = |RawTrack { metric, values }: RawTrack| {
        let points = values.into_iter().filter(|(_, Number(value))| !value.is_nan());
        let at = |seconds: f64| Time::EPOCH + Span::from_secs_f64(seconds);
        Track {
            labels: metric,
            points: points.map(|(seconds, Number(value))| (at(seconds), value)).collect(),
        }
    };
    Ok(Some(results.into_iter().map(track).collect()))
}

#[derive(Deserialize)]
struct RawTrack {
    metric: Labels,
    #[serde(default)]
    values: Vec<(f64, Number)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawResponse<T> {
    status: String,
    data: RawData<T>,
    /// What Prometheus and Thanos say of answers that lack something.
    #[serde(default)]
    warnings: Vec<de::IgnoredAny>,
    /// The same of VictoriaMetrics.
    #[serde(default)]
    is_partial: bool,
}

impl<T> RawResponse<T> {
    fn is_warned_of(&self) -> bool {
        self.is_partial || !self.warnings.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawData<T> {
    result_type: String,
    result: Vec<T>,
}

#[derive(Deserialize)]
struct RawSeries {
    metric: Labels,
    /// Instant and value.
    value: Option<(f64, Number)>,
    histogram: Option<(f64, RawHistogram)>,
}

#[derive(Deserialize)]
struct RawHistogram {
    count: Number,
    sum: Number,
    /// Which bounds belong to it, the bounds, and the count.
    #[serde(default)]
    buckets: Vec<(u8, Number, Number, Number)>,
}

/// A number, written as text.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl Number {
    fn checked(self) -> Result<f64, QueryError> {
        if self.0.is_nan() { Err(QueryError::NotANumber) } else { Ok(self.0) }
    }
}

impl RawSeries {
    fn checked(self) -> Result<Series, QueryError> {
        let value = match (self.value, self.histogram) {
            (Some((_, number)), None) => Value::Number(number.checked()?),
            (None, Some((_, histogram))) => Value::Histogram(histogram.checked()?),
            _ => return Err(QueryError::Malformed),
        };
        Ok(Series { labels: self.metric, value })
    }
}

impl RawHistogram {
    fn checked(self) -> Result<Histogram, QueryError> {
        if self.buckets.len() > MAX_ANSWER_SERIES {
            return Err(QueryError::TooManySeries);
        }
        let bucket = |(_, lower, upper, count): (u8, Number, Number, Number)| {
            Ok(Bucket { lower: lower.checked()?, upper: upper.checked()?, count: count.checked()? })
        };
        let buckets = self.buckets.into_iter().map(bucket).collect::<Result<_, QueryError>>()?;
        Ok(Histogram { count: self.count.checked()?, sum: self.sum.checked()?, buckets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(result: &str) -> Result<Answer, QueryError> {
        let json = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#);
        read(json.as_bytes(), Time::EPOCH)
    }

    #[test]
    fn numbers_and_histograms_are_read() {
        let answer = vector(
            r#"{"metric":{"le":"+Inf"},"value":[1700000000.123,"1.5"]},
               {"metric":{},"histogram":[1700000000,{"count":"3","sum":"0.5","buckets":[[3,"-1e-9","1e-9","1"],[0,"0.5","1","2"]]}]},
               {"metric":{},"histogram":[1700000000,{"count":"0","sum":"0"}]},
               {"metric":{},"value":[1700000000,"+Inf"]}"#,
        )
        .unwrap();
        let values: Vec<&Value> = answer.series.iter().map(|s| &s.value).collect();
        let buckets = vec![
            Bucket { lower: -1e-9, upper: 1e-9, count: 1.0 },
            Bucket { lower: 0.5, upper: 1.0, count: 2.0 },
        ];
        assert_eq!(answer.series[0].labels["le"], "+Inf");
        assert_eq!(values[0], &Value::Number(1.5));
        assert_eq!(values[1], &Value::Histogram(Histogram { count: 3.0, sum: 0.5, buckets }));
        assert_eq!(values[2], &Value::Histogram(Histogram { count: 0.0, sum: 0.0, buckets: vec![] }));
        assert_eq!(values[3], &Value::Number(f64::INFINITY));
        assert!(!answer.warned);
    }

    #[test]
    fn series_over_time_are_read() {
        let matrix = |result: &str| {
            let json =
                format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}"#);
            read_range(json.as_bytes())
        };
        let tracks = matrix(
            r#"{"metric":{"le":"1"},"values":[[60,"1.5"],[120.5,"NaN"],[180,"2"]]},{"metric":{},"histograms":[]}"#,
        );
        let points = vec![(Time::from_secs(60), 1.5), (Time::from_secs(180), 2.0)];
        let labels = Labels::from([("le".to_owned(), "1".to_owned())]);
        let empty = Track { labels: Labels::new(), points: vec![] };
        assert_eq!(tracks, Ok(Some(vec![Track { labels, points }, empty])));
        let warned = br#"{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["a store is gone"]}"#;
        assert_eq!(read_range(warned), Ok(None));
        let partial = br#"{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}"#;
        assert_eq!(read_range(partial), Ok(None));
        assert_eq!(matrix(r#"{"metric":{},"values":[[1,2]]}"#), Err(QueryError::Malformed));
        let vector = br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(read_range(vector), Err(QueryError::Malformed));
    }

    #[test]
    fn nothing_is_an_answer_and_a_warning_is_noted() {
        let json = br#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["a store is gone"]}"#;
        let answer = read(json, Time::from_secs(7)).unwrap();
        assert_eq!(answer, Answer { at: Time::from_secs(7), series: vec![], warned: true });
    }

    #[test]
    fn what_the_api_does_not_say_is_refused() {
        for json in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"status":"success"}"#,
            r#"{"status":"error","errorType":"bad_data","error":"parse error","data":{"resultType":"vector","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#,
        ] {
            assert_eq!(read(json.as_bytes(), Time::EPOCH), Err(QueryError::Malformed), "{json}");
        }
        for result in [
            r#"{"metric":{}}"#,
            r#"{"metric":{},"value":[1,2]}"#,
            r#"{"metric":{},"value":[1,"two"]}"#,
            r#"{"metric":{"a":1},"value":[1,"2"]}"#,
            r#"{"metric":{},"value":[1,"2"],"histogram":[1,{"count":"0","sum":"0"}]}"#,
            r#"{"metric":{},"histogram":[1,{"count":"3","sum":"1","buckets":[[0,"1","2"]]}]}"#,
        ] {
            assert_eq!(vector(result), Err(QueryError::Malformed), "{result}");
        }
    }

    #[test]
    fn nan_is_refused_wherever_it_is() {
        for result in [
            r#"{"metric":{},"value":[1,"NaN"]}"#,
            r#"{"metric":{},"histogram":[1,{"count":"3","sum":"NaN","buckets":[]}]}"#,
            r#"{"metric":{},"histogram":[1,{"count":"3","sum":"1","buckets":[[0,"NaN","2","1"]]}]}"#,
        ] {
            assert_eq!(vector(result), Err(QueryError::NotANumber), "{result}");
        }
    }

    #[test]
    fn too_many_are_refused() {
        let series = vec![r#"{"metric":{},"value":[1,"2"]}"#; MAX_ANSWER_SERIES + 1].join(",");
        assert_eq!(vector(&series), Err(QueryError::TooManySeries));
        let buckets = vec![r#"[0,"1","2","1"]"#; MAX_ANSWER_SERIES + 1].join(",");
        let histogram =
            format!(r#"{{"metric":{{}},"histogram":[1,{{"count":"3","sum":"1","buckets":[{buckets}]}}]}}"#);
        assert_eq!(vector(&histogram), Err(QueryError::TooManySeries));
    }

    #[test]
    fn an_address_is_a_plain_http_url_and_is_never_repeated() {
        for (url, query) in [
            ("http://prometheus:9090", "http://prometheus:9090/api/v1/query"),
            ("http://127.0.0.1:9090/", "http://127.0.0.1:9090/api/v1/query"),
            ("http://mimir/prometheus/", "http://mimir/prometheus/api/v1/query"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().query.to_string(), query);
        }
        for (url, error) in [
            ("prometheus:9090", EndpointError::Url),
            ("/api", EndpointError::Url),
            ("http://:9090", EndpointError::Url),
            ("http://prometheus:99999", EndpointError::Url),
            ("http://prometheus:9090?a=b", EndpointError::Url),
            ("http://prometheus:9090/#a", EndpointError::Url),
            ("ftp://prometheus", EndpointError::Url),
            ("http://me:secret@prometheus", EndpointError::CredentialsInUrl),
            ("ftp://prometheus", EndpointError::Url),
        ] {
            assert_eq!(Endpoint::parse(url), Err(error.clone()), "{url}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
