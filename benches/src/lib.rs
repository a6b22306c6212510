//! What the benchmarks have in common: pages and objects of a realistic size, made the same way each time.

use std::fmt::Write;

/// Bounds that client libraries use by default, in seconds.
const LE: [&str; 11] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"];

/// A metrics page of some 200 KB and 2,200 lines: 27 families, each a histogram by three handlers, and the process's own series.
/// The histograms are named `family_0_seconds` and so on.
pub fn page() -> String {
    let mut page = String::new();
    let mut seed = 1u64;
    let mut next = || {
        // Knuth's MMIX generator: any spread of digits will do.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 44
    };
    for family in 0..27 {
        let name = format!("family_{family}_seconds");
        let _ = writeln!(page, "# HELP {name} How long requests took.\n# TYPE {name} histogram");
        for handler in ["/api/v1/orders/{id}", "/api/v1/search", "/"] {
            let labels = format!(
                "handler=\"{handler}\",method=\"GET\",code=\"200\",service=\"checkout\",zone=\"eu-west-1b\""
            );
            let mut total = 0;
            for le in LE.into_iter().chain(["+Inf"]) {
                total += next();
                let _ = writeln!(page, "{name}_bucket{{{labels},le=\"{le}\"}} {total}");
            }
            let _ = writeln!(page, "{name}_sum{{{labels}}} {}.{:03}", next(), next() % 1000);
            let _ = writeln!(page, "{name}_count{{{labels}}} {total}");
        }
    }
    for (name, value) in [("process_cpu_seconds_total", "5123.77"), ("process_start_time_seconds", "1.7e+09")]
    {
        let _ = writeln!(page, "# TYPE {name} gauge\n{name} {value}");
    }
    for i in 0..1000 {
        let _ = writeln!(page, "runtime_metric_{i}{{pool=\"worker\",generation=\"{}\"}} {}", i % 3, next());
    }
    page
}
