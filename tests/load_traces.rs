//! The load as it is measured, against what anybody could count instead, on real traces, where there are some: pods that it takes to be
//! short for 2 and 5 % of the time, or of the work, when replicas follow one and two windows late. Without the variable `PLIMSOLL_TRACES`, which names
//! the folder of the traces, each test says so and is ignored.
//!
//! The work of a window is the durations of the requests that arrived in it; so the CPU that the load model learns from knows nothing of waiting. It
//! learns weights by itself, from the first window on. Pods come and go as they would, so that the cost of an idle one can be told: none, or a tenth of what
//! a pod uses for requests on average. Rivals know it to the last digit. With `--nocapture` the pods are shown, as multiples of the fewest at each point.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::load::{
    Fitting, Group, HistogramRates, Labels, LoadModel, Pods, SAMPLE_SCHEMA, Sample, Weighing,
};
use plimsoll::units::{Cores, Rate, Span, Time};

const VARIABLE: &str = "PLIMSOLL_TRACES";

/// Upper edges of the classes, in seconds; the last class is open.
const LE: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const CLASSES: usize = LE.len() + 1;

/// What else could be counted: requests; the sum over classes, with the weights that are in force, and with those that are right on average in
/// hindsight; requests times their CPU of late, with three half-lives in seconds.
const RIVALS: [&str; 6] = ["requests", "raw sum", "in hindsight", "CPU/r 30 s", "CPU/r 5 min", "CPU/r 1 h"];
const PER_REQUEST: [f64; 3] = [30.0, 300.0, 3600.0];

/// What a pod uses that does nothing, as a share of what it uses for requests on average.
const IDLE: [f64; 2] = [0.0, 0.1];

/// Pods that there are while costs are learned, for seven windows each.
const PODS: [u32; 3] = [15, 20, 25];

/// Pods that the mean work takes, and the fewest that replicas go down to.
const MEAN_PODS: f64 = 20.0;
const LEAST_PODS: f64 = 6.0;

#[derive(Clone, Copy)]
struct Case {
    file: &'static str,
    window: Span,
    /// Windows that are left out: an incident that holds half of the work of a week.
    without: Option<(f64, f64)>,
    /// Most pods on average over the points, as a multiple of those of the best rival: the mix tells much, or it tells little.
    at_most: f64,
}

const CASES: [Case; 4] = [
    Case { file: "azfunc_2019a.req.csv.gz", window: Span::from_secs(60), without: None, at_most: 1.03 },
    Case { file: "azfunc_2019a.req.csv.gz", window: Span::from_secs(15), without: None, at_most: 1.0 },
    Case {
        file: "api_latency_2017.native.csv.gz",
        window: Span::from_secs(300),
        without: Some((116_400.0, 120_900.0)),
        at_most: 1.03,
    },
    Case { file: "sd_genai_2024a.req.csv", window: Span::from_secs(600), without: None, at_most: 1.0 },
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match std::env::var_os(VARIABLE) {
        Some(folder) => {
            let trial = |idle| move |case| (case, idle);
            let trials = IDLE.into_iter().flat_map(|idle| CASES.into_iter().map(trial(idle)));
            trials.map(|(case, idle)| of(Path::new(&folder), case, idle, arguments.nocapture)).collect()
        }
        None => {
            let name = format!("real traces (ignored: {VARIABLE} names no folder of them)");
            vec![Trial::test(name, || Ok(())).with_ignored_flag(true)]
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Of a folder that has the trace; another one may have other traces.
fn of(folder: &Path, case: Case, idle: f64, shows: bool) -> Trial {
    let path = folder.join(case.file);
    let absent = !path.exists();
    let (file, window) = (case.file, case.window.as_secs_f64());
    let name = format!("{file} in windows of {window} s, idle pods use {idle}: pods at equal shortage");
    Trial::test(name, move || compare(&path, case, idle, shows)).with_ignored_flag(absent)
}

/// What arrived in a window, by duration.
#[derive(Default, Clone)]
struct Arrived {
    requests: [f64; CLASSES],
    seconds: [f64; CLASSES],
}

impl Arrived {
    fn requests(&self) -> f64 {
        self.requests.iter().sum()
    }

    fn work(&self) -> f64 {
        self.seconds.iter().sum()
    }
}

fn read(path: &Path, case: Case) -> Result<Vec<Arrived>, Failed> {
    let file = std::fs::File::open(path)?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> =
        if is_packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut rows = csv::Reader::from_reader(bytes);
    let header = rows.headers()?.clone();
    let column = |name: &str| header.iter().position(|column| column == name);
    let (at, duration) =
        column("timestamp_s").zip(column("duration_s")).ok_or("no timestamp_s or duration_s")?;
    let count = column("count");
    let index = |at: f64| (at / case.window.as_secs_f64()) as usize;
    let mut windows = Vec::new();
    for row in rows.records() {
        let row = row?;
        let (at, duration): (f64, f64) = (row[at].parse()?, row[duration].parse()?);
        let count = count.map_or(Ok(1.0), |count| row[count].parse::<f64>())?;
        windows.resize(windows.len().max(index(at) + 1), Arrived::default());
        let window = &mut windows[index(at)];
        let class = LE.partition_point(|edge| *edge < duration);
        window.requests[class] += count;
        window.seconds[class] += duration * count;
    }
    if let Some((from, to)) = case.without {
        windows.drain(index(from)..index(to));
    }
    Ok(windows)
}

/// What the load model says of each window: the load, and the sum over classes just as it was counted. None before it says anything.
fn measured(windows: &[Arrived], case: Case, idle: f64) -> Result<Vec<Option<(f64, f64)>>, Failed> {
    let seconds = case.window.as_secs_f64();
    let mut model = LoadModel::new(Weighing::Fitted(Fitting::default()));
    let mut now = Time::from_secs(1_500_000_000);
    let mean = windows.iter().map(Arrived::work).sum::<f64>() / windows.len() as f64 / seconds;
    let idle = idle * mean / MEAN_PODS;
    let mut measured = Vec::new();
    for (window, pods) in windows.iter().zip(PODS.iter().flat_map(|pods| [*pods; 7]).cycle()) {
        now += case.window;
        let rates =
            window.requests.iter().map(|count| Rate::new(count / seconds)).collect::<Result<_, _>>()?;
        let mut group = Group::new(pods, case.window);
        group.histograms = vec![HistogramRates::new(Labels::new(), LE.to_vec(), rates, None)?];
        group.cpu = Some(Cores::new(window.work() / seconds + idle * f64::from(pods))?);
        let pods = Pods { replicas: pods, ready: pods, ..Pods::default() };
        let sample = Sample { schema: SAMPLE_SCHEMA, at: now, pods, offered: None, groups: vec![group] };
        let load = model.observe(&sample).ok();
        measured.push(load.map(|load| (load.metricsqps.get(), load.raw.get())));
    }
    Ok(measured)
}

/// The sum over classes, each request counted by the mean of its class in the whole trace.
fn in_hindsight(windows: &[Arrived]) -> Vec<f64> {
    let total = |class: usize, of: fn(&Arrived) -> &[f64; CLASSES]| -> f64 {
        windows.iter().map(|window| of(window)[class]).sum()
    };
    let means: [f64; CLASSES] = std::array::from_fn(|class| {
        let requests = total(class, |window| &window.requests);
        if requests > 0.0 { total(class, |window| &window.seconds) / requests } else { 0.0 }
    });
    let sum =
        |window: &Arrived| window.requests.iter().zip(means).map(|(requests, mean)| requests * mean).sum();
    windows.iter().map(sum).collect()
}

/// Requests times their CPU of late.
fn by_cpu_per_request(windows: &[Arrived], case: Case, half_life: f64) -> Vec<f64> {
    let gain = 1.0 - 0.5f64.powf(case.window.as_secs_f64() / half_life);
    let (mut work, mut requests) = (windows[0].work(), windows[0].requests());
    let next = |window: &Arrived| {
        work += gain * (window.work() - work);
        requests += gain * (window.requests() - requests);
        if requests > 0.0 { window.requests() * work / requests } else { 0.0 }
    };
    windows.iter().map(next).collect()
}

/// What may be short, of all that there is.
#[derive(Debug, Clone, Copy)]
enum Short {
    Time,
    Work,
}

/// When pods follow, and how short they may be.
#[derive(Debug, Clone, Copy)]
struct Point {
    short: Short,
    share: f64,
    windows_late: usize,
}

impl Point {
    fn all() -> impl Iterator<Item = Self> {
        let shares = [0.02, 0.05];
        [Short::Work, Short::Time].into_iter().flat_map(move |short| {
            [1, 2].into_iter().flat_map(move |windows_late| {
                shares.into_iter().map(move |share| Self { short, share, windows_late })
            })
        })
    }

    /// Mean pods, if they follow `signal` with just as much head-room as it takes; none where no head-room is enough.
    fn pods(self, signal: &[f64], work: &[f64]) -> Option<f64> {
        let work = &work[self.windows_late..];
        let total: f64 = work.iter().sum();
        let of_a_pod = total / work.len() as f64 / MEAN_PODS;
        let pods = |head_room: f64| {
            signal.iter().zip(work).map(move |(load, work)| {
                ((head_room * load / of_a_pod - 1e-9).ceil().max(LEAST_PODS), work / of_a_pod)
            })
        };
        let is_enough = |head_room: f64| {
            let missing = pods(head_room).map(|(pods, needed)| (needed - pods).max(0.0));
            let short = match self.short {
                Short::Time => missing.filter(|missing| *missing > 0.0).count() as f64 / work.len() as f64,
                Short::Work => missing.sum::<f64>() * of_a_pod / total,
            };
            short <= self.share
        };
        let scale = total / signal.iter().sum::<f64>();
        let (mut least, mut most) = (0.0, (0..20).map(|i| scale * 2.0f64.powi(i)).find(|k| is_enough(*k))?);
        for _ in 0..40 {
            let between = f64::midpoint(least, most);
            if is_enough(between) { most = between } else { least = between }
        }
        Some(pods(most).map(|(pods, _)| pods).sum::<f64>() / work.len() as f64)
    }
}

fn compare(path: &Path, case: Case, idle: f64, shows: bool) -> Result<(), Failed> {
    let windows = read(path, case)?;
    let measured = measured(&windows, case, idle)?;
    let first = measured.iter().position(Option::is_some).ok_or("nothing was measured")?;
    let (ours, raw): (Vec<f64>, Vec<f64>) =
        measured[first..].iter().map(|load| load.unwrap_or_default()).unzip();
    let work: Vec<f64> = windows[first..].iter().map(Arrived::work).collect();
    let requests = windows[first..].iter().map(Arrived::requests).collect();
    let [short, usual, long] =
        PER_REQUEST.map(|half_life| by_cpu_per_request(&windows, case, half_life).split_off(first));
    let rivals = [requests, raw, in_hindsight(&windows).split_off(first), short, usual, long];

    let mut report = format!("measured  {RIVALS:?}\n");
    let (mut of_ours, mut of_rivals, mut points) = (0.0, [0.0; RIVALS.len()], 0.0);
    for point in Point::all() {
        let rivals = rivals.each_ref().map(|rival| point.pods(rival, &work).unwrap_or(f64::INFINITY));
        let best = rivals.into_iter().fold(f64::INFINITY, f64::min);
        if best == f64::INFINITY {
            continue;
        }
        let ours = point.pods(&ours, &work).unwrap_or(f64::INFINITY) / best;
        let rivals = rivals.map(|pods| pods / best);
        report += &format!("{ours:>8.3}  {rivals:.3?}  {point:?}\n");
        of_ours += ours;
        of_rivals.iter_mut().zip(rivals).for_each(|(sum, pods)| *sum += pods);
        points += 1.0;
    }
    let of_best = of_rivals.into_iter().fold(f64::INFINITY, f64::min);
    report += &format!("{:>8.3}  {:.3?}  on average\n", of_ours / points, of_rivals.map(|sum| sum / points));
    report += &format!("{:>8.3}  of the best rival's, at most {}", of_ours / of_best, case.at_most);
    if shows {
        println!("{report}");
    }
    if points > 0.0 && of_ours <= case.at_most * of_best { Ok(()) } else { Err(report.into()) }
}
