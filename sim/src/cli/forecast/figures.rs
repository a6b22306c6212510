//! Figures in words: the same in the table and on the page.

use plimsoll::units::Span;

use crate::backtest::Report;

/// Coverage may be so far below the quantile before it is called too little: on a day of minutes that much is chance.
const TOLERATED: f64 = 0.01;

/// One line of a table: what it is, of Plimsoll, of persistence, in what unit.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Its key in JSON, its value and how that is shown.
    pub(super) own: (&'static str, Option<f64>, String),
    pub(super) persistence: Option<(&'static str, f64, String)>,
}

/// How good the forecast is.
pub(super) fn quality(report: &Report) -> [Figure; 5] {
    let Report { pinball, pinball_r0, coverage, coverage_r0, .. } = *report;
    let Report { mae, mae_persistence, rmse, rmse_persistence, .. } = *report;
    let figure = |name, unit, own: (_, f64), other: (_, f64), show: fn(f64) -> String| Figure {
        name,
        unit,
        own: (own.0, Some(own.1), show(own.1)),
        persistence: Some((other.0, other.1, show(other.1))),
    };
    let unit = "requests a step";
    [
        figure("pinball loss", unit, ("pinball", pinball), ("pinball_r0", pinball_r0), digits),
        figure("coverage", "of the steps", ("coverage", coverage), ("coverage_r0", coverage_r0), percent),
        Figure {
            name: "worst day",
            unit: "of its steps",
            own: ("worst_day_coverage", report.worst_day_coverage, worst_day(report)),
            persistence: None,
        },
        figure("mean error", unit, ("mae", mae), ("mae_persistence", mae_persistence), digits),
        figure("RMS error", unit, ("rmse", rmse), ("rmse_persistence", rmse_persistence), digits),
    ]
}

/// What the forecast costs.
pub(super) fn cost(report: &Report) -> [Figure; 4] {
    let figure = |name, key, value, shown| Figure {
        name,
        unit: "",
        own: (key, Some(value), shown),
        persistence: None,
    };
    let Report { seconds_per_step: step, seconds_per_refit: refit, seconds_per_day: day, .. } = *report;
    let bytes = report.bytes_per_workload;
    [
        figure("time a step", "seconds_per_step", step, time(step)),
        figure("time a refit", "seconds_per_refit", refit, time(refit)),
        figure("time a day", "seconds_per_day", day, time(day)),
        figure("memory", "bytes_per_workload", bytes as f64, format!("{:.1} MB", bytes as f64 / 1e6)),
    ]
}

fn worst_day(report: &Report) -> String {
    report.worst_day_coverage.map_or_else(|| "-".to_owned(), percent)
}

/// What was scored.
pub(super) fn scope(report: &Report) -> String {
    let span = |seconds| Span::from_secs_f64(seconds).to_string();
    let Report { steps, step_s, horizon_s, quantile, .. } = *report;
    format!(
        "{steps} steps of {}. After each, a bound of the largest step within {} that is to hold {} of the time.",
        span(step_s),
        span(horizon_s),
        percent_short(quantile),
    )
}

/// What to make of it, in a line.
pub(super) fn verdict(report: &Report) -> String {
    let Report { skill, coverage, quantile, .. } = *report;
    let loss = match skill {
        None => "Persistence's bounds lose nothing, and nothing is to be gained".to_owned(),
        Some(skill) if skill.abs() < 0.005 => "The bounds are as good as persistence's".to_owned(),
        Some(skill) if skill > 0.0 => {
            format!("The bounds lose {:.0} % less than persistence's", 100.0 * skill)
        }
        Some(skill) => format!("The bounds lose {:.0} % more than persistence's", -100.0 * skill),
    };
    let held =
        format!("{} of the bounds held where {} were asked for", percent(coverage), percent_short(quantile));
    let but = if coverage < quantile - TOLERATED { ": too few to rely on" } else { "" };
    format!("{loss}; {held}{but}.")
}

/// 0.9512 as 95.1 %.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// 0.95 as 95 %, 0.999 as 99.9 %.
pub(super) fn percent_short(share: f64) -> String {
    format!("{} %", (1e6 * share).round() / 1e4)
}

/// Three digits that count, or all before the point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", 1e6 * s),
        s if s < 1.0 => format!("{:.1} ms", 1e3 * s),
        s => format!("{s:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0.0, 0.01234, 1.234, 12.34, 99.96, 12345.6].map(digits),
            ["0.000", "0.012", "1.23", "12.3", "100", "12346"]
        );
        assert_eq!([0.000_012_3, 0.001_23, 1.5].map(time), ["12 µs", "1.2 ms", "1.5 s"]);
        assert_eq!([0.95, 0.999, 0.5, 0.9975].map(percent_short), ["95 %", "99.9 %", "50 %", "99.75 %"]);
    }

    fn report(skill: Option<f64>, coverage: f64) -> Report {
        Report {
            schema: 1,
            trace: "days".to_owned(),
            step_s: 60.0,
            horizon_s: 300.0,
            quantile: 0.95,
            steps: 1000,
            pinball: 1.0,
            pinball_r0: 2.0,
            skill,
            coverage,
            coverage_r0: 0.95,
            worst_day_coverage: None,
            mae: 1.0,
            mae_persistence: 2.0,
            rmse: 1.0,
            rmse_persistence: 2.0,
            seconds_per_step: 1e-5,
            seconds_per_refit: 1e-3,
            seconds_per_day: 2e-2,
            bytes_per_workload: 1000,
        }
    }

    #[test]
    fn what_to_make_of_it() {
        for (skill, coverage, expected) in [
            (
                Some(0.25),
                0.951,
                "The bounds lose 25 % less than persistence's; 95.1 % of the bounds held where 95 % were asked for.",
            ),
            (
                Some(-0.25),
                0.93,
                "The bounds lose 25 % more than persistence's; 93.0 % of the bounds held where 95 % were asked for: too few to rely on.",
            ),
            (
                Some(0.004),
                0.95,
                "The bounds are as good as persistence's; 95.0 % of the bounds held where 95 % were asked for.",
            ),
            (
                None,
                1.0,
                "Persistence's bounds lose nothing, and nothing is to be gained; 100.0 % of the bounds held where 95 % were asked for.",
            ),
        ] {
            assert_eq!(verdict(&report(skill, coverage)), expected);
        }
    }

    #[test]
    fn what_was_scored() {
        let expected = "1000 steps of 1m. After each, a bound of the largest step within 5m that is to hold 95 % of the time.";
        assert_eq!(scope(&report(None, 1.0)), expected);
    }
}
