//! The same values as text and as protobuf: whatever a page holds, both formats read the same.

use std::collections::BTreeSet;

use plimsoll::load::Labels;
use plimsoll::units::Time;
use proptest::prelude::*;

use super::page::Query;
use super::protobuf::tests::{classic, page, with};
use super::protobuf::{LabelPair, Metric, Number, Summary};

const NAMES: [&str; 7] =
    ["d", "process_cpu_seconds_total", "process_start_time_seconds", "busy", "r_total", "s", "other"];

fn query() -> Query {
    let load = serde_json::json!({
        "histogram": "d",
        "matchers": {"x": {"notIn": ["a"]}},
        "rejected": {"metric": "r_total"},
        "inFlight": {"metric": "s_count"},
    });
    Query::new(&serde_json::from_value(load).unwrap())
}

/// One family as both formats can show it.
#[derive(Debug, Clone)]
struct Shown {
    name: &'static str,
    series: Vec<(Labels, Kind)>,
}

#[derive(Debug, Clone)]
enum Kind {
    Number(f64),
    Summary(u64, f64),
    /// Counts, not cumulative: one more than there are bounds.
    Histogram(Vec<u64>, f64),
}

const BOUNDS: [f64; 3] = [0.1, 0.5, 2.0];

fn as_text(families: &[Shown]) -> String {
    let mut page = String::new();
    for Shown { name, series } in families {
        for (labels, kind) in series {
            let escape = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escape(v))).collect();
            let plain = format!("{{{}}}", labels.join(","));
            let mut line = |suffix: &str, labels: &str, value: f64| {
                page += &format!("{name}{suffix}{labels} {value}\n");
            };
            match kind {
                Kind::Number(value) => line("", &plain, *value),
                Kind::Summary(count, sum) => {
                    line("_sum", &plain, *sum);
                    line("_count", &plain, *count as f64);
                }
                Kind::Histogram(counts, sum) => {
                    let mut total = 0;
                    for (count, bound) in counts.iter().zip(["0.1", "0.5", "2", "+Inf"]) {
                        total += count;
                        let le = format!("le=\"{bound}\"");
                        let labels: Vec<&str> = labels.iter().map(String::as_str).chain([&*le]).collect();
                        line("_bucket", &format!("{{{}}}", labels.join(",")), total as f64);
                    }
                    line("_sum", &plain, *sum);
                    line("_count", &plain, total as f64);
                }
            }
        }
    }
    page
}

fn as_protobuf(families: &[Shown]) -> Vec<u8> {
    let metric = |(labels, kind): &(Labels, Kind)| {
        let pair = |(n, v): (&String, &String)| LabelPair { name: Some(n.clone()), value: Some(v.clone()) };
        let label = labels.iter().map(pair).collect();
        match kind {
            Kind::Number(value) => {
                let gauge = Some(Number { value: Some(*value) });
                Metric { label, gauge, ..Metric::default() }
            }
            Kind::Summary(count, sum) => {
                let summary = Some(Summary { sample_count: Some(*count), sample_sum: Some(*sum) });
                Metric { label, summary, ..Metric::default() }
            }
            Kind::Histogram(counts, sum) => {
                let mut total = 0;
                let mut below = |count: &u64| {
                    total += count;
                    total
                };
                let bounds: Vec<_> =
                    BOUNDS.into_iter().zip(counts).map(|(bound, count)| (bound, below(count))).collect();
                Metric { label, ..with(classic(&bounds, counts.iter().sum(), *sum)) }
            }
        }
    };
    let families: Vec<_> = families.iter().map(|f| (f.name, f.series.iter().map(metric).collect())).collect();
    page(&families)
}

fn families() -> impl Strategy<Value = Vec<Shown>> {
    let kind = prop_oneof![
        (0..1_000_000u32).prop_map(|n| Kind::Number(f64::from(n) / 8.0)),
        (0..1000u64, 0..1000u32).prop_map(|(count, sum)| Kind::Summary(count, f64::from(sum) / 8.0)),
        (proptest::collection::vec(0..1000u64, 4), 0..1000u32)
            .prop_map(|(counts, sum)| Kind::Histogram(counts, f64::from(sum) / 8.0)),
    ];
    let value = prop_oneof![Just("/metrics".to_owned()), Just("429".to_owned()), "[a\\\\\"\n{}é]{0,4}"];
    let labels = proptest::collection::btree_map(
        prop_oneof![Just("handler".to_owned()), Just("code".to_owned()), Just("x".to_owned())],
        value,
        0..3,
    );
    let series = proptest::collection::btree_map(labels, kind, 0..4);
    let family = (proptest::sample::select(&NAMES[..]), series)
        .prop_map(|(name, series)| Shown { name, series: series.into_iter().collect() });
    // A format in which a family comes twice is none.
    proptest::collection::vec(family, 0..7).prop_map(|families| {
        let mut seen = BTreeSet::new();
        families.into_iter().filter(|f| seen.insert(f.name)).collect()
    })
}

proptest! {
    #[test]
    fn text_and_protobuf_of_the_same_values_read_the_same(families in families()) {
            let text = query().read(&as_text(&families), Time::EPOCH).unwrap();
        prop_assert_eq!(query().read_protobuf(&as_protobuf(&families), Time::EPOCH).unwrap(), text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), whole in any::<bool>()) {
        let _ = query().read_protobuf(&bytes, Time::EPOCH);
        // A metric of a wanted family, and its histogram, of any bytes.
        let tag = |tag: u8, content: &[u8]| [&[tag << 3 | 2, content.len() as u8], content].concat();
        let metric = if whole { tag(4, &tag(7, &bytes)) } else { tag(4, &bytes) };
        let family = [tag(1, b"d"), metric].concat();
        let _ = query().read_protobuf(&[&[family.len() as u8], &*family].concat(), Time::EPOCH);
    }
}
