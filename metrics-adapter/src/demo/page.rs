//! A simulated pod's metrics page.

use std::fmt::Write;

use plimsoll::load::Reading;

/// What a client library would write for these counters.
pub(super) fn render(reading: &Reading) -> String {
    let mut page = String::with_capacity(2048);
    page.push_str("# HELP http_request_duration_seconds Time to answer a request.\n");
    page.push_str("# TYPE http_request_duration_seconds histogram\n");
    for histogram in &reading.histograms {
        let bounds = histogram.le().iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (le, count) in bounds.zip(histogram.counts()) {
            let _ = writeln!(page, "http_request_duration_seconds_bucket{{le=\"{le}\"}} {count}");
        }
        let (sum, count) = (histogram.sum().unwrap_or_default(), histogram.counts().last().unwrap_or(&0.0));
        let _ = writeln!(page, "http_request_duration_seconds_sum {sum}");
        let _ = writeln!(page, "http_request_duration_seconds_count {count}");
    }
    let started = reading.started.map(plimsoll::units::Time::as_secs_f64);
    for (name, kind, value) in [
        ("http_requests_in_flight", "gauge", reading.in_flight),
        ("process_cpu_seconds_total", "counter", reading.cpu_seconds),
        ("process_start_time_seconds", "gauge", started),
    ] {
        if let Some(value) = value {
            let _ = writeln!(page, "# TYPE {name} {kind}\n{name} {value}");
        }
    }
    page
}
