//! The questions that a metrics server is asked about one workload, in PromQL.
//!
//! Every selector begins with the object's own namespace, whatever the user's matchers say, and is narrowed to the workload's
//! pods. Values are quoted and names that are not plain are quoted too: nothing that a user writes can end a selector.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll::load::Weights;
use plimsoll::spec::{Matcher, ScaleTargetRef, Series};
use plimsoll::units::Span;

use super::page::{CPU, PROBES, Query, ROUTE_LABELS};

/// The CPU of containers, as the kubelet tells it.
const CONTAINER_CPU: &str = "container_cpu_usage_seconds_total";

/// What Kubernetes makes the random parts of pods' names of: no vowels, so that they spell nothing.
const RANDOM: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// The label that tells the parts of a question apart in its answer.
pub(super) const PART: &str = "plimsoll";

/// One part of the question about a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Rates up to each bound, by `le`.
    Buckets,
    /// The rate of the sum of durations.
    Busy,
    /// How many pods show the histogram, be it for probes alone.
    Telling,
    /// How many pods the server reaches.
    Up,
    /// How many pods it does not.
    Down,
    /// CPU that containers used, in cores.
    ContainerCpu,
    /// How many pods it is of.
    ContainerCpuPods,
    /// CPU that processes used by their own account, in cores.
    ProcessCpu,
    /// How many pods it is of.
    ProcessCpuPods,
    /// Requests in flight.
    InFlight,
    /// How many more than a window ago.
    InFlightChange,
    /// Rate of requests turned away.
    Rejected,
    /// Rate of what is paid for beside the requests.
    Work,
    /// Rate of requests in front of the workload.
    Offered,
}

impl Part {
    pub(super) const ALL: [Self; 14] = [
        Self::Buckets,
        Self::Busy,
        Self::Telling,
        Self::Up,
        Self::Down,
        Self::ContainerCpu,
        Self::ContainerCpuPods,
        Self::ProcessCpu,
        Self::ProcessCpuPods,
        Self::InFlight,
        Self::InFlightChange,
        Self::Rejected,
        Self::Work,
        Self::Offered,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Buckets => "buckets",
            Self::Busy => "busy",
            Self::Telling => "telling",
            Self::Up => "up",
            Self::Down => "down",
            Self::ContainerCpu => "container_cpu",
            Self::ContainerCpuPods => "container_cpu_pods",
            Self::ProcessCpu => "process_cpu",
            Self::ProcessCpuPods => "process_cpu_pods",
            Self::InFlight => "in_flight",
            Self::InFlightChange => "in_flight_change",
            Self::Rejected => "rejected",
            Self::Work => "work",
            Self::Offered => "offered",
        }
    }
}

/// Which pods are a workload's, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodNames {
    /// These.
    Known(BTreeSet<String>),
    /// Those with names such as the workload's controller gives.
    Of(ScaleTargetRef),
    /// Both: for a past in which pods had other names.
    Either(BTreeSet<String>, ScaleTargetRef),
}

impl PodNames {
    /// A regular expression that matches their names, from end to end.
    fn pattern(&self) -> String {
        match self {
            Self::Known(names) => any_of(names.iter().map(String::as_str)),
            Self::Either(names, target) => {
                let known = names.iter().map(|name| quote_regex(name));
                let all: Vec<String> = known.chain([Self::Of(target.clone()).pattern()]).collect();
                all.join("|")
            }
            Self::Of(target) => {
                let name = quote_regex(&target.name);
                match target.kind.as_str() {
                    "StatefulSet" => format!("{name}-[0-9]+"),
                    "ReplicaSet" | "ReplicationController" => format!("{name}-{RANDOM}{{5}}"),
                    // Argo's Rollout names them as a Deployment does.
                    "Deployment" | "Rollout" => format!("{name}-{RANDOM}{{1,10}}-{RANDOM}{{5}}"),
                    _ => format!("{name}-.+"),
                }
            }
        }
    }
}

/// The selectors of one workload's series.
pub(crate) struct Workload<'a> {
    /// Where its pods are.
    pub(crate) namespace: &'a str,
    /// Which they are.
    pub(crate) pods: &'a PodNames,
    /// The window that rates are taken over.
    pub(crate) window: Span,
}

/// Whose counter tells a workload's CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CpuOf {
    /// The kubelet's, of the pods' containers.
    Containers,
    /// The processes' own, on their pages.
    Processes,
    /// The kubelet's where there is one.
    Either,
}

impl Workload<'_> {
    /// All that a load is made of, in one question: the parts then tell of the same instant, and none can fail alone. A native
    /// histogram comes without the label [`PART`], since not every server can give it one.
    pub(super) fn load(&self, query: &Query) -> String {
        let Query { histogram, bucket, sum, matchers, in_flight, rejected, work, offered, label, .. } = query;
        let counts = |metric| self.rate(&self.requests(metric, matchers, &[]));
        let shown = |metric, le| self.rate(&self.series(metric, matchers, le));
        let pods = |selector: String| format!("count(count by (pod) ({}))", self.rate(&selector));
        let up = format!("max by (pod) ({})", self.series("up", &BTreeMap::new(), &[]));
        let part = |part: Part, question: String| {
            format!(r#"label_replace({question}, "{PART}", "{}", "", "")"#, part.name())
        };
        let label = label.as_deref().map(name).unwrap_or_default();
        let comma = if label.is_empty() { "" } else { ", " };
        let mut parts = vec![
            format!("sum by ({label}) ({})", counts(histogram)),
            part(Part::Buckets, format!("sum by (le{comma}{label}) ({})", counts(bucket))),
            part(Part::Busy, format!("sum by ({label}) ({})", counts(sum))),
            part(
                Part::Telling,
                format!(
                    "count(count by (pod) ({} or {}))",
                    shown(bucket, &[equals("le", "+Inf")]),
                    shown(histogram, &[])
                ),
            ),
            part(Part::Up, format!("count({up} == 1)")),
            part(Part::Down, format!("count({up} == 0)")),
            part(Part::ContainerCpu, self.cores(CpuOf::Containers)),
            part(Part::ContainerCpuPods, pods(self.containers())),
            part(Part::ProcessCpu, self.cores(CpuOf::Processes)),
            part(Part::ProcessCpuPods, pods(self.processes())),
        ];
        if let Some(series) = in_flight {
            let change = |selector: &str| format!("delta({selector}[{}])", self.seconds());
            parts.push(part(Part::InFlight, self.sum(series, str::to_owned)));
            parts.push(part(Part::InFlightChange, self.sum(series, change)));
        }
        if let Some(series) = rejected {
            parts.push(part(Part::Rejected, self.sum(series, |selector| self.rate(selector))));
        }
        if let Some(series) = work {
            parts.push(part(Part::Work, self.sum(series, |selector| self.rate(selector))));
        }
        if let Some(Series { metric, matchers }) = offered {
            // Whoever counts arrivals in front of the workload is another pod than those that serve them.
            let anywhere = self.selector(metric, None, matchers, &[]);
            parts.push(part(Part::Offered, format!("sum({})", self.rate(&anywhere))));
        }
        parts.join(" or ")
    }

    /// Rates of the requests up to each bound, by `le` and the label that tells classes apart: what is asked of the past.
    pub(crate) fn past(&self, query: &Query) -> String {
        let label = query.label.as_deref().map(|label| format!(", {}", name(label))).unwrap_or_default();
        format!("sum by (le{label}) ({})", self.rate(&self.requests(&query.bucket, &query.matchers, &[])))
    }

    /// How many series show each bound, by `le`.
    pub(crate) fn bounds(&self, query: &Query) -> String {
        format!("count by (le) ({})", self.requests(&query.bucket, &query.matchers, &[]))
    }

    /// MetricsQPS as it is counted: each request by the weight of its class, and the work that comes with them. A request weighs what the
    /// last class does, but for each edge that it does not exceed. Nothing where an edge is no bound of the histogram.
    pub(crate) fn metricsqps(&self, query: &Query, weights: &Weights) -> String {
        let edges = weights.classes().edges().as_slice();
        let (classes, of_work) = weights.weights().split_at(weights.classes().requests());
        let up_to =
            |le: String| format!("sum({})", self.rate(&self.requests(&query.bucket, &query.matchers, &[le])));
        let last = classes.last().copied().unwrap_or_default();
        let mut sum = format!("{last} * {}", up_to(equals("le", "+Inf")));
        for (edge, pair) in edges.iter().zip(classes.windows(2)) {
            let less = pair[1] - pair[0];
            if less != 0.0 {
                let sign = if less > 0.0 { '-' } else { '+' };
                let up_to = up_to(matcher("le", "=~", &spellings(*edge)));
                sum += &format!("\n{sign} {} * {up_to}", less.abs());
            }
        }
        if let (Some(series), [weight, ..]) = (&query.work, of_work) {
            sum += &format!("\n+ {weight} * {}", self.sum(series, |selector| self.rate(selector)));
        }
        sum
    }

    /// The CPU of all pods, in cores.
    pub(crate) fn cores(&self, of: CpuOf) -> String {
        let sum = |selector: &str| format!("sum({})", self.rate(selector));
        match of {
            CpuOf::Containers => sum(&self.containers()),
            CpuOf::Processes => sum(&self.processes()),
            CpuOf::Either => format!("{} or {}", sum(&self.containers()), sum(&self.processes())),
        }
    }

    /// The CPU of each pod, by `pod`.
    pub(super) fn cpu(&self) -> String {
        format!("sum by (pod) ({})", self.rate(&self.containers()))
    }

    /// What one of the user's metrics sums to. One that is there, but in no series that matches, is zero: a counter by code has no
    /// series for a code that was never sent.
    fn sum(&self, series: &Series, of: impl Fn(&str) -> String) -> String {
        let all = of(&self.series(&series.metric, &BTreeMap::new(), &[]));
        if series.matchers.is_empty() {
            return format!("sum({all})");
        }
        let matching = of(&self.series(&series.metric, &series.matchers, &[]));
        format!("(sum({matching}) or 0 * sum({all}))")
    }

    fn rate(&self, selector: &str) -> String {
        format!("rate({selector}[{}])", self.seconds())
    }

    fn seconds(&self) -> String {
        format!("{}s", self.window.as_millis() / 1000)
    }

    /// The pods' containers; the sums over a whole pod, which some kubelets show beside them, have no container's name.
    fn containers(&self) -> String {
        self.series(CONTAINER_CPU, &BTreeMap::new(), &[differs("container", "")])
    }

    /// The pods' processes, as they tell on their pages.
    fn processes(&self) -> String {
        self.series(CPU, &BTreeMap::new(), &[])
    }

    /// The series that count as requests: neither probes nor what the user leaves out.
    fn requests(&self, metric: &str, matchers: &BTreeMap<String, Matcher>, more: &[String]) -> String {
        let unnamed = ROUTE_LABELS.into_iter().filter(|label| !matchers.contains_key(*label));
        let no_probes = unnamed.map(|label| matcher(label, "!~", &any_of(PROBES)));
        self.series(metric, matchers, &no_probes.chain(more.iter().cloned()).collect::<Vec<_>>())
    }

    fn series(&self, metric: &str, matchers: &BTreeMap<String, Matcher>, more: &[String]) -> String {
        self.selector(metric, Some(&self.pods.pattern()), matchers, more)
    }

    fn selector(
        &self,
        metric: &str,
        pods: Option<&str>,
        matchers: &BTreeMap<String, Matcher>,
        more: &[String],
    ) -> String {
        let mut all = vec![equals("namespace", self.namespace), equals("__name__", metric)];
        all.extend(pods.map(|pods| matcher("pod", "=~", pods)));
        for (label, Matcher { any_of: some, not_in }) in matchers {
            let values = |values: &[String]| any_of(values.iter().map(String::as_str));
            if !some.is_empty() {
                all.push(matcher(label, "=~", &values(some)));
            }
            if !not_in.is_empty() {
                all.push(matcher(label, "!~", &values(not_in)));
            }
        }
        all.extend_from_slice(more);
        format!("{{{}}}", all.join(","))
    }
}

fn equals(label: &str, value: &str) -> String {
    matcher(label, "=", value)
}

fn differs(label: &str, value: &str) -> String {
    matcher(label, "!=", value)
}

fn matcher(label: &str, operator: &str, value: &str) -> String {
    format!("{}{operator}{}", name(label), quote(value))
}

/// A label's name, quoted where it is not plain. Servers that know only plain names refuse it then.
fn name(label: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if label.bytes().all(is_plain) && label.bytes().next().is_some_and(|b| !b.is_ascii_digit()) {
        label.to_owned()
    } else {
        quote(label)
    }
}

/// A regular expression that matches these values and no others.
fn any_of<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(quote_regex).collect();
    values.join("|")
}

/// A regular expression that matches a bound however a library writes it: 1 and 1.0, 0.00005 and 5e-05 and 5.0E-5.
fn spellings(bound: f64) -> String {
    let digits = |text: &str| match text.split_once('.') {
        Some((whole, fraction)) => format!("{whole}\\.{fraction}0*"),
        None => format!("{text}(\\.0*)?"),
    };
    let plain = digits(&bound.to_string());
    let scientific = format!("{bound:e}");
    match scientific.split_once('e') {
        Some((mantissa, power)) if !(-3..7).contains(&power.parse().unwrap_or(0)) => {
            let (sign, power) = power.strip_prefix('-').map_or((r"\+?", power), |power| ("-", power));
            format!("{plain}|{}[eE]{sign}0*{power}", digits(mantissa))
        }
        _ => plain,
    }
}

/// As a string of PromQL, in one line and of characters that every format of text keeps.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            '\n' => quoted.push_str("\\n"),
            // Formats around PromQL end lines at some of these, and refuse others.
            _ if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// As a regular expression that matches this text.
fn quote_regex(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(load: serde_json::Value) -> Query {
        Query::new(&serde_json::from_value(load).unwrap())
    }

    fn load(load: serde_json::Value, pods: &PodNames) -> String {
        let workload = Workload { namespace: "shop", pods, window: Span::from_secs(90) };
        workload.load(&query(load)).replace(" or label_replace", "\nor label_replace")
    }

    fn of(kind: &str) -> PodNames {
        PodNames::Of(ScaleTargetRef {
            api_version: "apps/v1".into(),
            kind: kind.into(),
            name: "web.eu".into(),
        })
    }

    #[test]
    fn all_parts_of_a_load_are_asked_for_at_once() {
        let pods = PodNames::Known(["a-0".to_owned(), "a.1".to_owned()].into());
        let load = load(
            serde_json::json!({
                "histogram": "d",
                "matchers": {"handler": {"notIn": ["/admin"]}, "code": {"in": ["200", ""]}},
                "inFlight": {"metric": "busy"},
                "rejected": {"metric": "r_total"},
                "weights": {"fit": {"byLabel": {"name": "route"}}},
            }),
            &pods,
        );
        insta::assert_snapshot!(load);
    }

    #[test]
    fn pods_that_are_not_known_by_name_are_those_that_the_controller_names() {
        assert_eq!(of("StatefulSet").pattern(), r"web\.eu-[0-9]+");
        assert_eq!(of("Deployment").pattern(), format!(r"web\.eu-{RANDOM}{{1,10}}-{RANDOM}{{5}}"));
        assert_eq!(of("ReplicaSet").pattern(), format!(r"web\.eu-{RANDOM}{{5}}"));
        assert_eq!(of("Foo").pattern(), r"web\.eu-.+");
    }

    #[test]
    fn a_bound_is_matched_however_a_library_writes_it() {
        assert_eq!(spellings(0.1), r"0\.10*");
        assert_eq!(spellings(1.0), r"1(\.0*)?");
        assert_eq!(spellings(2.5e-5), r"0\.0000250*|2\.50*[eE]-0*5");
        assert_eq!(spellings(1e7), r"10000000(\.0*)?|1(\.0*)?[eE]\+?0*7");
    }

    #[test]
    fn what_ends_a_line_anywhere_is_escaped() {
        assert_eq!(quote("a\"\\\n\r\u{85}\u{2028}\u{feff}é"), r#""a\"\\\n\u000d\u0085\u2028\ufeffé""#);
    }

    #[test]
    fn nothing_that_a_user_writes_ends_a_selector() {
        let hostile = serde_json::json!({
            "histogram": "d{} or up{a=\"",
            "matchers": {
                "x": {"in": ["\"} or up{namespace=\"other", "a|b.*", "\\", "line\nfeed"]},
                "y\"} or up{": {"notIn": ["z"]},
                "namespace": {"in": ["other"]},
            },
            "weights": {"fit": {"byLabel": {"name": "x) (up{namespace=\"other\"})"}}},
        });
        let load = load(hostile, &of("Deployment"));
        // Outside of strings there is nothing but what this file writes.
        let (mut outside, mut chars, mut inside) = (String::new(), load.chars(), false);
        while let Some(c) = chars.next() {
            match c {
                '\\' if inside => drop(chars.next()),
                '"' => inside = !inside,
                _ if !inside => outside.push(c),
                _ => {}
            }
        }
        assert!(!inside && !outside.contains("other") && !outside.contains("line"), "{outside}");
        let selectors = outside.matches('{').count();
        assert_eq!(selectors, load.matches("{namespace=\"shop\",__name__=").count(), "{load}");
    }
}
