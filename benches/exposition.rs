//! Claims: from a page to the class counts that an autoscaler wants takes at most a 25th of the time in which
//! prometheus-parse reads the page, and three wanted families are read at 1 GB/s or more.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll::units::Time;
use plimsoll_adapter::collect::Query;
use plimsoll_adapter::collect::exposition::Scanner;

fn drain(mut scanner: Scanner<'_, '_>) -> f64 {
    let mut sum = 0.0;
    while let Ok(Some(sample)) = scanner.next_sample() {
        sum += sample.value + sample.labels.len() as f64;
    }
    sum
}

fn exposition(c: &mut Criterion) {
    let page = plimsoll_benches::page();
    let mut group = c.benchmark_group(format!("exposition/{}KB", page.len() / 1000));
    group.throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function("prometheus-parse, whole page", |b| {
        b.iter(|| prometheus_parse::Scrape::parse(black_box(&page).lines().map(|l| Ok(l.to_owned()))));
    });
    group.bench_function("scanner, whole page", |b| b.iter(|| drain(Scanner::all(black_box(&page)))));
    let families = ["family_3", "family_12", "family_20"];
    let names: Vec<String> = families
        .iter()
        .flat_map(|f| ["bucket", "sum", "count"].map(|suffix| format!("{f}_seconds_{suffix}")))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    group.bench_function("scanner, three families", |b| {
        b.iter(|| drain(Scanner::only(black_box(&page), black_box(&names))));
    });
    let load = serde_json::json!({"histogram": "family_12_seconds"});
    let query = serde_json::from_value(load).map(|load| Query::new(&load));
    if let Ok(query) = query {
        group.bench_function("page to class counts, one histogram", |b| {
            b.iter(|| query.read(black_box(&page), Time::EPOCH));
        });
    }
    group.finish();
}

criterion_group!(benches, exposition);
criterion_main!(benches);
