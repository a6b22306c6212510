//! Claims about trace files, each written by the test itself.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::*;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        if name.ends_with(".gz") {
            let mut file = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
            file.write_all(content.as_bytes()).unwrap();
            file.finish().unwrap();
        } else {
            std::fs::write(&path, content).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }
}

fn read(name: &str, options: TraceOptions) -> Result<Vec<Request>, TraceError> {
    Trace::open(name, options)?.arrivals()?.collect()
}

fn options(scale: f64, window: &str) -> TraceOptions {
    TraceOptions { rate_scale: scale, window: window.parse().unwrap(), ..TraceOptions::default() }
}

fn wrong(name: &str, content: &str) -> String {
    let files = Files::new();
    let path = files.write(name, content);
    let error = read(&path, TraceOptions::default()).unwrap_err().to_string();
    error.replace(&format!("{}/", files.0.path().display()), "")
}

fn secs(n: f64) -> Span {
    Span::from_secs_f64(n)
}

const REQUESTS: &str = "timestamp_s,duration_s,class\n0.5,0.2,a\n1,0.4,b\n3.25,0,a\n";

#[test]
fn a_row_is_a_request_plain_or_compressed() {
    let files = Files::new();
    let plain = read(&files.write("a.req.csv", REQUESTS), TraceOptions::default()).unwrap();
    let packed = read(&files.write("a.req.csv.gz", REQUESTS), TraceOptions::default()).unwrap();
    assert_eq!(plain, packed);
    let half = Span::from_millis(100);
    assert_eq!(plain[0], Request { at: secs(0.5), cpu: half, io: half });
    assert_eq!(plain.iter().map(|r| r.at).collect::<Vec<_>>(), [secs(0.5), secs(1.0), secs(3.25)]);
}

#[test]
fn a_window_counts_from_its_own_beginning() {
    let files = Files::new();
    let path = files.write("a.req.csv", REQUESTS);
    let within = read(&path, options(1.0, "1s..3s")).unwrap();
    assert_eq!(within.iter().map(|r| r.at).collect::<Vec<_>>(), [Span::ZERO]);
}

#[test]
fn a_rate_scale_thins_or_multiplies_and_keeps_the_order() {
    let files = Files::new();
    let rows: String = (0..4000).map(|i| format!("{i},0.1\n")).collect();
    let path = files.write("a.req.csv", &format!("timestamp_s,duration_s\n{rows}"));
    for scale in [0.25, 1.5, 3.0] {
        let scaled = read(&path, options(scale, "..")).unwrap();
        let expected = 4000.0 * scale;
        assert!((scaled.len() as f64 - expected).abs() < 5.0 * expected.sqrt(), "{scale}: {}", scaled.len());
        assert!(scaled.is_sorted_by_key(|r| r.at));
    }
}

#[test]
fn rates_become_as_many_arrivals_within_their_step() {
    let files = Files::new();
    let path = files.write("a.rate.csv", "timestamp_s,requests\n0,100\n60,0\n120,3\n");
    let arrivals = read(&path, TraceOptions::default()).unwrap();
    assert_eq!(arrivals.len(), 103);
    assert!(arrivals.is_sorted_by_key(|r| r.at));
    assert!(arrivals[..100].iter().all(|r| r.at < secs(60.0)));
    assert!(arrivals[100..].iter().all(|r| (secs(120.0)..secs(180.0)).contains(&r.at)));
    assert_eq!(arrivals, read(&path, TraceOptions::default()).unwrap(), "the same seed, the same arrivals");
}

#[test]
fn scaled_rates_are_poisson_numbers() {
    let files = Files::new();
    let path = files.write("a.rate.csv", "timestamp_s,requests\n0,100000\n60,100000\n");
    let arrivals = read(&path, options(0.01, "..")).unwrap();
    assert!((arrivals.len() as f64 - 2000.0).abs() < 5.0 * 2000f64.sqrt(), "{}", arrivals.len());
}

#[test]
fn histograms_keep_every_buckets_count() {
    let files = Files::new();
    let path = files.write("a.hist.csv.gz", "timestamp_s,le_0.1,le_1,le_+Inf\n0,50,30,0\n300,0,0,7\n");
    let arrivals = read(&path, TraceOptions::default()).unwrap();
    let between = |lower: f64, upper: f64| {
        arrivals
            .iter()
            .filter(|r| lower < r.intrinsic().as_secs_f64() && r.intrinsic().as_secs_f64() <= upper)
            .count()
    };
    assert_eq!((between(0.01, 0.1), between(0.1, 1.0), between(1.0, 3.0)), (50, 30, 7));
    assert!(arrivals[80..].iter().all(|r| r.at >= secs(300.0)));
}

#[test]
fn a_wrong_value_is_named_by_file_line_and_column() {
    for (name, content, error) in [
        (
            "a.req.csv",
            "timestamp_s,duration_s\n1,0.1\nx,0.2\n",
            r#"a.req.csv:3, column timestamp_s: found "x", expected seconds, such as 12.5"#,
        ),
        (
            "a.req.csv",
            "timestamp_s,duration_s\n5,0.1\n4,0.2\n",
            r#"a.req.csv:3, column timestamp_s: found "4", expected at least 5: rows are in the order of arrival"#,
        ),
        (
            "a.req.csv",
            "timestamp_s,duration_s\n1,-0.1\n",
            r#"a.req.csv:2, column duration_s: found "-0.1", expected seconds, such as 12.5"#,
        ),
        (
            "a.req.csv",
            "timestamp_s,duration_s\n1,NaN\n",
            r#"a.req.csv:2, column duration_s: found "NaN", expected seconds, such as 12.5"#,
        ),
        (
            "a.req.csv",
            "timestamp_s,duration_s\n1\n",
            r#"a.req.csv:2: found "1 fields", expected 2, one a column"#,
        ),
        (
            "a.req.csv",
            "time,took\n1,2\n",
            r#"a.req.csv:1: found "time,took", expected the header timestamp_s,duration_s[,more columns]"#,
        ),
        (
            "a.rate.csv",
            "timestamp_s,requests\n0,1\n60,many\n",
            r#"a.rate.csv:3, column requests: found "many", expected a number of requests, such as 42"#,
        ),
        (
            "a.rate.csv",
            "timestamp_s,requests\n0,1\n60,1\n90,1\n",
            r#"a.rate.csv:4, column timestamp_s: found "90", expected 120, or later by a multiple of 60: a step is 60 s, from the first row to the second"#,
        ),
        (
            "a.rate.csv",
            "timestamp_s,requests\n0,1\n60,1\n150,1\n",
            r#"a.rate.csv:4, column timestamp_s: found "150", expected 120, or later by a multiple of 60: a step is 60 s, from the first row to the second"#,
        ),
        (
            "a.rate.csv",
            "timestamp_s,requests\n0,1\n120,1\n180,1\n",
            r#"a.rate.csv:4, column timestamp_s: found "180", expected 240, or later by a multiple of 120: a step is 120 s, from the first row to the second"#,
        ),
        (
            "a.rate.csv",
            "timestamp_s,requests\n5,1\n5,1\n",
            r#"a.rate.csv:3, column timestamp_s: found "5", expected more than 5: rows are in the order of time"#,
        ),
        (
            "a.rate.csv",
            "timestamp_s,requests\n0,1\n",
            r#"a.rate.csv:3: found "the end", expected at least two rows: their distance is the length of a step"#,
        ),
        (
            "a.hist.csv",
            "timestamp_s,le_0.1\n0,1\n",
            r#"a.hist.csv:1: found "timestamp_s,le_0.1", expected the header timestamp_s,le_0.005,…,le_+Inf with ascending bounds in seconds"#,
        ),
    ] {
        assert_eq!(wrong(name, content), error);
    }
}

#[test]
fn after_an_error_there_is_nothing_more() {
    let files = Files::new();
    let path = files.write("a.req.csv", "timestamp_s,duration_s\n1,0.1\nx,1\n3,0.1\n");
    let results: Vec<bool> =
        Trace::open(&path, TraceOptions::default()).unwrap().arrivals().unwrap().map(|r| r.is_ok()).collect();
    assert!(results.len() <= 2 && results.last() == Some(&false), "{results:?}");
}

#[test]
fn a_name_that_says_nothing_and_a_file_that_is_not_there_are_errors() {
    let message = |name| Trace::open(name, TraceOptions::default()).unwrap_err().to_string();
    assert!(message("trace.csv").contains("Name it *.req.csv"), "{}", message("trace.csv"));
    assert!(message("missing.req.csv").starts_with("missing.req.csv: "));
    assert!(message("builtin:bank").contains("builtin:shop"));
}

#[test]
fn a_file_that_is_only_called_gz_is_an_error() {
    let files = Files::new();
    let path = files.0.path().join("a.req.csv.gz");
    std::fs::write(&path, REQUESTS).unwrap();
    let error = Trace::open(path.to_str().unwrap(), TraceOptions::default()).unwrap_err();
    assert!(matches!(error, TraceError::Io { .. }), "{error}");
}

#[test]
fn too_many_requests_are_refused_with_a_scale_that_would_do() {
    let files = Files::new();
    let path = files.write("a.rate.csv", "timestamp_s,requests\n0,1500000000\n60,1500000000\n120,0\n");
    let check = |scale, window| Trace::open(&path, options(scale, window)).unwrap().check_size();
    let error = check(1.0, "..").unwrap_err().to_string();
    assert!(error.contains("give --rate-scale 0.03 for fewer"), "{error}");
    assert!(check(0.03, "..").is_ok());
    assert!(check(1.0, "2m..").is_ok());
}

#[test]
fn requests_are_taken_up_to_an_instant() {
    let files = Files::new();
    let trace = Trace::open(&files.write("a.req.csv", REQUESTS), TraceOptions::default()).unwrap();
    let (mut arrivals, mut taken) = (trace.arrivals().unwrap(), Vec::new());
    arrivals.take_until(secs(1.0), &mut taken).unwrap();
    assert_eq!(taken.len(), 1, "what arrives at that very instant belongs to what follows");
    arrivals.take_until(secs(1.5), &mut taken).unwrap();
    assert_eq!(taken.len(), 2);
    arrivals.take_until(Span::MAX, &mut taken).unwrap();
    assert_eq!(taken.len(), 3);
}

/// Variance over mean of the number of arrivals a second, within each minute and on average over all: 1 where users
/// are independent.
fn dispersion(arrivals: &[Request], minutes: usize) -> f64 {
    let mut counts = vec![0.0; minutes * 60];
    for request in arrivals {
        counts[request.at.as_secs_f64() as usize] += 1.0;
    }
    let of_minute = |seconds: &[f64]| {
        let mean = seconds.iter().sum::<f64>() / 60.0;
        seconds.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 59.0 / mean
    };
    counts.chunks(60).map(of_minute).sum::<f64>() / minutes as f64
}

#[test]
fn copies_arrive_like_independent_users() {
    let files = Files::new();
    let mut shop = read("builtin:shop", options(1.0 / 60.0, "..60m")).unwrap();
    shop.retain(|r| r.at < secs(3600.0));
    let poisson: String = shop.iter().map(|r| format!("{},0.1\n", r.at.as_secs_f64())).collect();
    let bursts: String = (0..60).map(|i| format!("{},0.1\n", i * 60 + 30).repeat(60)).collect();
    for (rows, most) in [(poisson, 1.1), (bursts, 2.0)] {
        let path = files.write("a.req.csv", &format!("timestamp_s,duration_s\n{rows}"));
        let before = read(&path, options(1.0, "..60m")).unwrap();
        let scaled = read(&path, options(100.0, "..60m")).unwrap();
        assert_eq!(scaled.len(), before.len() * 100);
        assert!(scaled.is_sorted_by_key(|r| r.at));
        // A burst itself stays where it was; only its copies are elsewhere.
        let copies: Vec<Request> = scaled.into_iter().filter(|r| !before.contains(r)).collect();
        let found = dispersion(&copies, 60);
        assert!((0.9..most).contains(&found), "{found}");
    }
}

#[test]
fn copies_stay_within_their_minute_of_the_window() {
    let files = Files::new();
    let path = files.write("a.req.csv", "timestamp_s,duration_s\n10,0.1\n29,0.1\n31,0.1\n100,0.1\n");
    let scaled = read(&path, options(1000.0, "30s..90s")).unwrap();
    assert_eq!(scaled.len(), 1000);
    assert!(scaled.iter().all(|r| (Span::ZERO..secs(60.0)).contains(&r.at)));
    assert!(scaled[900].at > secs(45.0), "they fill it");
}

#[test]
fn a_thinned_request_stays_where_it_was() {
    let files = Files::new();
    let path = files.write("a.req.csv", REQUESTS);
    let all = read(&path, TraceOptions::default()).unwrap();
    for seed in 0..10 {
        let some = read(&path, TraceOptions { seed, ..options(0.5, "..") }).unwrap();
        assert!(some.iter().all(|r| all.contains(r)), "{some:?}");
    }
}
