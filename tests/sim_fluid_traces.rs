//! The closed loop on real traces, where there are some, against figures that another implementation of the same protocol gave:
//! mean pods of each rule at a share of short time of 0.5 % and 2 %, with a lead of 5 and 10 minutes, those of the
//! clairvoyant, and those of rules that were tuned beforehand. Without the variable `PLIMSOLL_TRACES`, which names the folder of the traces, each test says so and is ignored.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll::units::Span;
use plimsoll_sim::fluid::{
    Actuator, Clairvoyant, Parts, Plant, Reactive, Scores, Settings, Tally, run, sweep,
};
use plimsoll_sim::series::Series;
use plimsoll_sim::trace::Window;

const VARIABLE: &str = "PLIMSOLL_TRACES";

const MINUTE: Span = Span::from_secs(60);

/// Of which the figures are, in this order.
const RULES: [Reactive; 4] = [Reactive::Newest, Reactive::Mean5, Reactive::Max15, Reactive::Max60];

/// Figures of one trace and lead.
struct Figures {
    file: &'static str,
    lead_minutes: i64,
    /// Pods at 0.5 % and at 2 %.
    rules: [(f64, f64); 4],
    clairvoyant: f64,
    /// Where known, share of short time in percent and pods at the utilization that was tuned before the test part. Which
    /// one that was is not known exactly, so it may be any.
    tuned: Option<[(f64, f64); 4]>,
}

const FIGURES: [Figures; 8] = [
    Figures {
        file: "web_portal_2017a.rate.csv.gz",
        lead_minutes: 5,
        rules: [(26.2, 24.6), (26.3, 24.8), (25.7, 24.6), (26.8, 25.7)],
        clairvoyant: 23.3,
        tuned: None,
    },
    Figures {
        file: "web_portal_2017a.rate.csv.gz",
        lead_minutes: 10,
        rules: [(26.9, 25.4), (27.1, 25.5), (26.5, 25.0), (27.6, 26.2)],
        clairvoyant: 23.5,
        tuned: Some([(0.32, 27.3), (0.35, 27.5), (0.34, 26.9), (0.43, 27.8)]),
    },
    Figures {
        file: "msft_mongo_app_2018.rate.csv",
        lead_minutes: 5,
        rules: [(26.0, 22.1), (27.4, 23.0), (27.2, 22.9), (28.4, 24.4)],
        clairvoyant: 19.6,
        tuned: None,
    },
    Figures {
        file: "msft_mongo_app_2018.rate.csv",
        lead_minutes: 10,
        rules: [(30.7, 24.7), (31.5, 25.1), (31.5, 25.4), (31.1, 27.1)],
        clairvoyant: 19.9,
        tuned: Some([(0.49, 30.9), (0.59, 30.8), (0.34, 32.3), (0.87, 29.2)]),
    },
    Figures {
        file: "nasa_http_1995.rate.csv.gz",
        lead_minutes: 5,
        rules: [(61.2, 40.4), (54.4, 38.6), (37.5, 31.3), (34.8, 30.1)],
        clairvoyant: 23.7,
        tuned: None,
    },
    Figures {
        file: "nasa_http_1995.rate.csv.gz",
        lead_minutes: 10,
        rules: [(118.5, 47.4), (69.8, 43.7), (39.2, 32.8), (35.5, 30.7)],
        clairvoyant: 25.2,
        tuned: Some([(0.65, 76.1), (0.53, 67.0), (0.36, 40.8), (0.34, 36.8)]),
    },
    Figures {
        file: "tweets_goog_2015.rate.csv",
        lead_minutes: 5,
        rules: [(95.6, 61.2), (95.6, 61.2), (61.5, 46.3), (57.8, 44.3)],
        clairvoyant: 20.0,
        tuned: None,
    },
    Figures {
        file: "tweets_goog_2015.rate.csv",
        lead_minutes: 10,
        rules: [(138.1, 78.0), (138.1, 78.0), (70.2, 52.2), (61.5, 47.0)],
        clairvoyant: 23.2,
        tuned: Some([(0.06, 324.9), (0.06, 324.9), (0.04, 137.6), (0.02, 118.0)]),
    },
];

/// The figures have one digit; their first scored steps are not known exactly.
const ROUNDING: f64 = 0.051;
const SCATTER: f64 = 0.003;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match std::env::var_os(VARIABLE) {
        Some(folder) => FIGURES.into_iter().map(|figures| of(Path::new(&folder), figures)).collect(),
        None => {
            let name = format!("real traces (ignored: {VARIABLE} names no folder of them)");
            vec![Trial::test(name, || Ok(())).with_ignored_flag(true)]
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Of a folder that has the trace; another one may have other traces.
fn of(folder: &Path, figures: Figures) -> Trial {
    let path = folder.join(figures.file);
    let absent = !path.exists();
    let name = format!("{}: pods at a lead of {}m", figures.file, figures.lead_minutes);
    Trial::test(name, move || agrees(&path, &figures)).with_ignored_flag(absent)
}

fn agrees(path: &Path, figures: &Figures) -> Result<(), Failed> {
    let name = path.to_str().ok_or("a name that is not UTF-8")?;
    let series = Series::open(name, Window::default(), MINUTE)?;
    let settings = Settings {
        lead: MINUTE * figures.lead_minutes,
        objective: "0.5%".parse()?,
        actuator: Actuator::Ideal,
        test_fraction: 0.3,
    };
    let (plant, parts) = settings.plant(&series)?;
    // Scored are the steps whose pods follow from decisions of the test part alone.
    let parts = Parts { test: parts.test + plant.lead + plant.hold - 1, ..parts };
    let mut wrong = Vec::new();
    let mut compare = |what: String, got: Option<f64>, expected: f64| {
        let near = |got: f64| (got - expected).abs() <= ROUNDING + SCATTER * expected;
        if !got.is_some_and(near) {
            wrong.push(format!("{what}: {got:?}, expected {expected}"));
        }
    };
    let mut frontiers = Vec::new();
    for (kind, (half, two)) in RULES.into_iter().zip(figures.rules) {
        // The protocol's utilizations: 0.04 to 1 by 0.02.
        let utilizations = (2..=50).map(|i| f64::from(i) * 0.02);
        let rule = |utilization| kind.rule(series.step, utilization);
        let frontier = sweep(&series.counts, &plant, &parts, utilizations, rule);
        compare(format!("{} at 0.5 %", kind.name()), frontier.pods_at(0.005), half);
        compare(format!("{} at 2 %", kind.name()), frontier.pods_at(0.02), two);
        frontiers.push(frontier);
    }
    compare("clairvoyant".to_owned(), Some(clairvoyant(&series, &plant, &parts)), figures.clairvoyant);
    for (frontier, (percent, pods)) in frontiers.iter().zip(figures.tuned.into_iter().flatten()) {
        let has = |scores: &Scores| {
            (100.0 * scores.short_time_ratio - percent).abs() < 0.011
                && (scores.pods_mean - pods).abs() <= ROUNDING + SCATTER * pods
        };
        if !frontier.0.iter().any(|point| has(&point.test)) {
            wrong.push(format!("no utilization gives {percent} % and {pods} pods"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn clairvoyant(series: &Series, plant: &Plant, parts: &Parts) -> f64 {
    let mut tally = Tally::default();
    run(&series.counts, plant, &mut Clairvoyant::new(&series.counts, plant.lead), |step| {
        if step.index >= parts.test {
            tally.add(step);
        }
    });
    tally.scores().pods_mean
}
