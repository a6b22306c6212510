//! Draws docs/metricsqps.svg: the built-in trace as three people see it.
//!
//! `cargo run -p plimsoll-sim --example metricsqps_picture > docs/metricsqps.svg`

use std::error::Error;

use plimsoll::load::{Counters, Fitting, ReadyPods, Weighing};
use plimsoll::scale::{Autoscaler, Outcome};
use plimsoll::spec::{CapacityTarget, Checked, Mode};
use plimsoll::units::{Cores, Percent, Span, Time};
use plimsoll_sim::cluster::{Cluster, ClusterConfig, Phase, Request};
use plimsoll_sim::trace::{Trace, TraceOptions};

const START: Time = Time::from_secs(1_700_000_000);
const INTERVAL: Span = Span::from_secs(15);
const LENGTH: Span = Span::from_secs(7200);

/// Samples that a point of the picture is the mean of.
const SMOOTH: usize = 8;

/// What is known at one instant, each as a number of pods.
struct Point {
    minute: f64,
    work: f64,
    requests: f64,
    durations: f64,
    metricsqps: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", svg(&points()?));
    Ok(())
}

/// The trace on pods that follow the decisions, which know nothing at first.
fn points() -> Result<Vec<Point>, Box<dyn Error>> {
    let share = Percent::new(70.0)?;
    let mut autoscaler = Autoscaler::new(Checked {
        min_replicas: 2,
        max_replicas: 100,
        schedules: vec![],
        mode: Mode::Auto,
        on_missing_metrics: None,
        interval: INTERVAL,
        weighing: Weighing::Fitted(Fitting::default()),
        target: CapacityTarget::CpuUtilization(share),
        forecast: None,
    });
    let mut cluster = Cluster::new(ClusterConfig::default(), START, 4);
    let mut counters = Counters::new(INTERVAL);
    let mut arrivals = Trace::shop(TraceOptions::default()).arrivals()?;
    let (mut coming, mut points): (Vec<Request>, Vec<Point>) = (Vec::new(), Vec::new());
    let mut at = INTERVAL;
    while at <= LENGTH {
        coming.clear();
        arrivals.take_until(at, &mut coming)?;
        let work: f64 = coming.iter().map(|request| request.cpu.as_secs_f64()).sum();
        let requests = coming.len() as f64 / INTERVAL.as_secs_f64();
        cluster.inject(coming.iter().copied());
        cluster.advance_to(START + at);
        let one = Cores::new(1.0).ok();
        let mut pods = ReadyPods {
            replicas: cluster.replicas(),
            requested_per_pod: one,
            cores_per_pod: one,
            ..ReadyPods::default()
        };
        for (pod, reading) in cluster.readings().filter(|(pod, _)| pod.phase == Phase::Ready) {
            counters.read(pod.name, reading)?;
            pods.names.insert(pod.name.to_owned());
        }
        autoscaler.observe(&counters.sample(cluster.now(), &pods))?;
        let decision = autoscaler.decide(cluster.now());
        if let (Outcome::Desired(desired), Some(capacity)) = (&decision.outcome, decision.capacity) {
            let pods = |load: f64| load / capacity.per_pod.get();
            points.push(Point {
                minute: at.as_secs_f64() / 60.0,
                work: work / INTERVAL.as_secs_f64() / share.as_fraction(),
                requests,
                durations: pods(desired.load.raw.get()),
                metricsqps: pods(desired.load.metricsqps.get()),
            });
            cluster.set_replicas(desired.replicas);
        }
        at = at + INTERVAL;
    }
    // Whoever counts requests has set the target in the first half hour.
    let (work, requests) = points
        .iter()
        .take_while(|p| p.minute < 30.0)
        .fold((0.0, 0.0), |(work, requests), p| (work + p.work, requests + p.requests));
    points.iter_mut().for_each(|point| point.requests *= work / requests);
    Ok(points)
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 40.0;
const BOTTOM: f64 = 30.0;
const MOST: f64 = 14.0;

fn svg(points: &[Point]) -> String {
    let x = |minute: f64| LEFT + minute / 120.0 * (WIDTH - LEFT - 10.0);
    let y = |pods: f64| HEIGHT - BOTTOM - pods.min(MOST) / MOST * (HEIGHT - BOTTOM - 10.0);
    let line = |class: &str, value: fn(&Point) -> f64| {
        let dots: Vec<String> = points
            .windows(SMOOTH)
            .map(|near| {
                let mean = near.iter().map(value).sum::<f64>() / near.len() as f64;
                format!("{:.1},{:.1}", x(near[SMOOTH - 1].minute), y(mean))
            })
            .collect();
        format!("<polyline class=\"{class}\" points=\"{}\"/>\n", dots.join(" "))
    };
    let mut grid = String::new();
    for pods in (0..=12).step_by(4) {
        let at = y(f64::from(pods));
        grid += &format!(
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{WIDTH}\"/><text x=\"8\" y=\"{:.1}\">{pods}</text>\n",
            at + 4.0
        );
    }
    for minute in (0..=120).step_by(30) {
        let at = x(f64::from(minute));
        grid += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{minute} min</text>\n",
            at.min(WIDTH - 24.0),
            HEIGHT - 8.0
        );
    }
    let label = |class: &str, row: f64, text: &str| {
        format!(
            "<text class=\"{class}\" x=\"{:.0}\" y=\"{:.0}\">{text}</text>\n",
            LEFT + 12.0,
            24.0 + 18.0 * row
        )
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"Pods that the load takes, by time\">\n\
         <style>polyline{{fill:none;stroke-width:1.8}}text{{fill:#666}}.grid{{stroke:#8884;stroke-width:1}}\
         .work{{stroke:#999;stroke-width:6;stroke-opacity:.45}}.requests{{stroke:#1f77b4}}.durations{{stroke:#d62728;stroke-dasharray:4 3}}\
         .load{{stroke:#2ca02c}}text.work{{stroke:none;fill:#888}}text.requests{{stroke:none;fill:#1f77b4}}\
         text.durations{{stroke:none;fill:#d62728}}text.load{{stroke:none;fill:#2ca02c}}</style>\n{grid}{}{}{}{}{}{}{}{}</svg>",
        line("work", |p| p.work),
        line("requests", |p| p.requests),
        line("durations", |p| p.durations),
        line("load", |p| p.metricsqps),
        label("work", 0.0, "pods that the work takes that truly arrives"),
        label("requests", 1.0, "by counting requests"),
        label("durations", 2.0, "by their durations as they come"),
        label("load", 3.0, "by MetricsQPS"),
    )
}
