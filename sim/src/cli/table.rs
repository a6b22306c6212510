//! The comparison, for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use crate::report::{Assumptions, Report, TraceReport};
use crate::score::Score;

const HEADER: [&str; 11] = [
    "policy",
    "target per pod",
    "pod-hours",
    "most",
    "short min",
    "late",
    "rejected",
    "p50",
    "p95",
    "p99",
    "scalings",
];

/// What is replayed, the table, and how to read it.
pub(super) fn render(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(HEADER);
    for score in &report.policies {
        table.add_row(row(score));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    format!("{}\n{}\n{}", heading(report), lines.collect::<String>(), legend(report))
}

fn row(score: &Score) -> [String; 11] {
    [
        score.policy.clone(),
        score.target.clone(),
        format!("{:.1}", score.pod_hours),
        score.most_replicas.to_string(),
        score.short_minutes.to_string(),
        format!("{:.2} %", score.late_percent),
        (score.rejected + score.lost).to_string(),
        seconds(score.latency_p50_s),
        seconds(score.latency_p95_s),
        seconds(score.latency_p99_s),
        (score.scale_ups + score.scale_downs).to_string(),
    ]
}

/// Three digits that count.
fn seconds(latency: Option<f64>) -> String {
    match latency {
        None => "-".to_owned(),
        Some(s) if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        Some(s) if s < 9.995 => format!("{s:.2} s"),
        Some(s) if s < 99.95 => format!("{s:.1} s"),
        Some(s) => format!("{s:.0} s"),
    }
}

fn heading(report: &Report) -> String {
    let TraceReport { name, window, rate_scale, requests, .. } = &report.trace;
    let trace = &report.trace;
    let scale = if *rate_scale == 1.0 { String::new() } else { format!(" at {rate_scale} times its rate") };
    let mut cpu = match trace.cpu_share_percent {
        Some(share) => format!("CPU is taken to be {share} % of each duration. "),
        None => String::new(),
    };
    if let Some(mix) = &trace.mix {
        cpu = format!("The trace has no durations: the mix {mix} is lent to it. {cpu}");
    }
    format!(
        "{name}, {window}{scale}: {} with {requests} requests, {:.1} a second.\n\
         Work: {:.1} cores on average, {:.1} in the busiest minute; {:.1} ms of CPU a request. {cpu}\n\
         {}\n\
         Targets: at the mean mix of requests a pod at target uses {} % of its cores, whichever policy it is.\n\
         A prophet with just enough pods in every minute would need {:.1} pod-hours.\n",
        length(trace.length_s),
        trace.mean_requests_per_s,
        trace.mean_cores,
        trace.peak_minute_cores,
        trace.mean_cpu_s * 1000.0,
        pods(&report.assumptions),
        report.assumptions.share_percent,
        trace.ideal_pod_hours,
    )
    .replace(" \n", "\n")
}

fn pods(assumptions: &Assumptions) -> String {
    let Assumptions { seed, cores_per_pod: cores, min_replicas, max_replicas, startup, .. } = assumptions;
    let unit = if *cores == 1.0 { "core" } else { "cores" };
    let usable = match assumptions.limit_cores_per_pod {
        usable if usable == *cores => String::new(),
        usable => format!(" that may use {usable}"),
    };
    let limit = match (assumptions.concurrency, &assumptions.beyond) {
        (Some(limit), Some(beyond)) => format!(", {limit} requests at once, then {beyond}"),
        _ => String::new(),
    };
    let kind = if startup.contains("..") { " (median..95 %)" } else { "" };
    let crashes = match assumptions.crashes_per_pod_hour {
        0.0 => String::new(),
        crashes => format!(", each of which crashes {crashes} times an hour"),
    };
    let hidden = match (assumptions.shows_in_flight, assumptions.shows_rejected) {
        (true, true) => "",
        (false, true) => " Their metrics do not show what is in flight.",
        (true, false) => " Their metrics do not show what is rejected.",
        (false, false) => " Their metrics show neither what is in flight nor what is rejected.",
    };
    format!(
        "Pods: {cores} {unit} each{usable}{limit}, ready {startup}{kind} after creation, {}; {min_replicas} to \
         {max_replicas} of them{crashes}.{hidden} Seed {seed}.",
        assumptions.balancer,
    )
}

fn length(seconds: f64) -> String {
    plimsoll::units::Span::from_secs_f64(seconds).to_string()
}

/// Two numbers that differ as they are shown.
fn against(beaten: String, by: String, unit: &str) -> Option<String> {
    (beaten != by).then(|| format!("{beaten} against {by} {unit}"))
}

fn legend(report: &Report) -> String {
    let Assumptions { late_factor, late_slack_s, beyond, crashes_per_pod_hour, .. } = &report.assumptions;
    let has_end = beyond.as_ref().is_some_and(|beyond| beyond.starts_with("backlog:"));
    let full = if has_end { ", or a backlog was full" } else { "" };
    let crashed = if *crashes_per_pod_hour > 0.0 { ", or its pod crashed" } else { "" };
    let minutes = report.policies.first().map_or(0, |score| score.minutes);
    let mut text = format!(
        "pod-hours  every pod from its creation until it is gone\n\
         most       most replicas at any time\n\
         short min  minutes, of {minutes}, in which more CPU work arrived than the ready pods could do\n\
         late       took longer than {late_factor} times what it takes in an idle pod, plus {} ms; of all requests\n\
         rejected   429 from a pod at its limit, or no pod was ready{full}{crashed}\n\
         scalings   changes of the number of replicas\n",
        late_slack_s * 1000.0,
    );
    let notes = report.beaten().into_iter().filter_map(|(beaten, by)| {
        let pods = against(format!("{:.1}", beaten.pod_hours), format!("{:.1}", by.pod_hours), "pod-hours");
        let failed = against(
            format!("{:.2} %", beaten.failed_percent),
            format!("{:.2} %", by.failed_percent),
            "late or rejected",
        );
        let differences: Vec<String> = [pods, failed].into_iter().flatten().collect();
        let shown = !differences.is_empty();
        shown.then(|| format!("{} is beaten by {}: {}.\n", beaten.policy, by.policy, differences.join(", ")))
    });
    let limited = report.limited().into_iter().map(|score| {
        format!("{} was held by the most replicas, {}: see --max.\n", score.policy, score.most_replicas)
    });
    let idle = report.never_scaled().then(|| {
        "No policy ever scaled: the load fits into the fewest replicas. Try --rate-scale, or a lower --min.\n".to_owned()
    });
    let notes: String = notes.chain(limited).chain(idle).collect();
    if !notes.is_empty() {
        text = format!("{text}\n{notes}");
    }
    format!(
        "{text}\nA target is one point on a curve. Before you prefer a policy, move its target until both cost the same,\n\
         and see which fails fewer: --policy hpa-cpu:utilization=55 --policy plimsoll\n"
    )
}
