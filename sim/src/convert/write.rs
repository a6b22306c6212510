//! Traces, as the simulator reads them.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use plimsoll::units::{Span, Time};

use super::{Arrival, Content, ConvertError, Counts};

/// Steps of a trace: nineteen years of minutes.
const MAX_STEPS: i64 = 10_000_000;

/// What is written, by the name's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    kind: Kind,
    is_compressed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Requests,
    Rates,
    Histograms,
}

impl Format {
    /// That of a file of this name.
    ///
    /// # Errors
    /// When the name does not say.
    pub fn of(path: &Path) -> Result<Self, ConvertError> {
        let name = path.to_string_lossy();
        let (plain, is_compressed) = match name.strip_suffix(".gz") {
            Some(plain) => (plain, true),
            None => (&*name, false),
        };
        let endings =
            [(".req.csv", Kind::Requests), (".rate.csv", Kind::Rates), (".hist.csv", Kind::Histograms)];
        let ending = endings.into_iter().find(|(ending, _)| plain.ends_with(ending));
        let (_, kind) = ending.ok_or_else(|| ConvertError::Format { path: path.to_owned() })?;
        Ok(Self { kind, is_compressed })
    }
}

/// A trace that can be written: it begins at zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    rows: TraceRows,
    is_compressed: bool,
    start: Option<Time>,
}

#[derive(Debug, Clone, PartialEq)]
enum TraceRows {
    Requests(Vec<Arrival>),
    Rates(Counts),
    Histograms(Counts),
}

/// What was read as a trace; of requests that are counted, each `step`.
///
/// # Errors
/// When what was read does not tell it, or it would be none that the simulator takes.
pub fn trace(content: Content, format: Format, step: Span, path: &Path) -> Result<Trace, ConvertError> {
    let lacks = |why| Err(ConvertError::Lacks { path: path.to_owned(), why });
    let rows = match (content, format.kind) {
        (Content::Requests(all), Kind::Requests) => {
            if all.iter().any(|request| request.duration.is_none()) {
                return lacks(
                    "the durations of requests are not known: say where they stand, or write a .rate.csv",
                );
            }
            TraceRows::Requests(all)
        }
        (Content::Requests(all), Kind::Rates) => TraceRows::Rates(count(&all, step)?),
        (Content::Requests(_), Kind::Histograms) => {
            return lacks("requests one by one make a .req.csv, which tells more, or a .rate.csv");
        }
        (Content::Counts(_), Kind::Requests) => {
            return lacks("only numbers of requests are known: write a .rate.csv or .hist.csv");
        }
        (Content::Counts(counts), Kind::Rates) => TraceRows::Rates(counts),
        (Content::Counts(counts), Kind::Histograms) => {
            if counts.le.as_ref().is_none_or(|le| le.iter().all(|le| le.is_infinite())) {
                return lacks(
                    "durations are not known: write a .rate.csv, or ask for the rate of buckets by le",
                );
            }
            TraceRows::Histograms(counts)
        }
    };
    let start = match &rows {
        TraceRows::Requests(all) => all.first().map(|first| first.at),
        TraceRows::Rates(counts) | TraceRows::Histograms(counts) => {
            if counts.rows.len() < 2 {
                return lacks(
                    "all of it lies in one step, and a trace has at least two: give a shorter --step",
                );
            }
            counts.start
        }
    };
    Ok(Trace { rows, is_compressed: format.is_compressed, start })
}

impl Trace {
    /// The instant at which it begins; none where nobody told it.
    pub fn start(&self) -> Option<Time> {
        self.start
    }

    /// Requests, and the steps in which they are counted.
    pub fn size(&self) -> (f64, Option<(usize, Span)>) {
        match &self.rows {
            TraceRows::Requests(all) => (all.len() as f64, None),
            TraceRows::Rates(counts) | TraceRows::Histograms(counts) => {
                (counts.rows.iter().flatten().sum(), Some((counts.rows.len(), counts.step)))
            }
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, into: impl Write) -> io::Result<()> {
        let into = io::BufWriter::new(into);
        if self.is_compressed {
            let mut into = GzEncoder::new(into, Compression::default());
            self.write_plain(&mut into)?;
            into.finish()?.flush()
        } else {
            let mut into = into;
            self.write_plain(&mut into)?;
            into.flush()
        }
    }

    fn write_plain(&self, into: &mut impl Write) -> io::Result<()> {
        match &self.rows {
            TraceRows::Requests(all) => requests(all, into),
            TraceRows::Rates(counts) => rates(counts, into),
            TraceRows::Histograms(counts) => histograms(counts, into),
        }
    }
}

fn requests(all: &[Arrival], into: &mut impl Write) -> io::Result<()> {
    let start = all.first().map_or(Time::EPOCH, |first| first.at);
    writeln!(into, "timestamp_s,duration_s")?;
    for Arrival { at, duration } in all {
        let duration = duration.unwrap_or(Span::ZERO);
        writeln!(into, "{},{}", (*at - start).as_secs_f64(), duration.as_secs_f64())?;
    }
    Ok(())
}

/// Steps begin at whole ones since 1970.
fn count(all: &[Arrival], step: Span) -> Result<Counts, ConvertError> {
    if !(Span::from_secs(1)..=Span::from_secs(86_400)).contains(&step) {
        return Err(ConvertError::Step(step));
    }
    let number = |at: Time| (at - Time::EPOCH).as_nanos().div_euclid(step.as_nanos());
    let first = all.first().map_or(0, |first| number(first.at));
    let steps = all.last().map_or(0, |last| number(last.at) - first + 1);
    check_steps(steps)?;
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for request in all {
        let row = usize::try_from(number(request.at) - first).unwrap_or(0);
        if rows.len() <= row {
            rows.resize(row + 1, vec![0.0]);
        }
        rows[row][0] += 1.0;
    }
    Ok(Counts { start: Some(Time::EPOCH + step * first), step, le: None, rows })
}

/// That there are not so many that one of the instants must be wrong.
pub(super) fn check_steps(steps: i64) -> Result<(), ConvertError> {
    if steps > MAX_STEPS { Err(ConvertError::TooManySteps { steps, most: MAX_STEPS }) } else { Ok(()) }
}

/// The whole numbers nearest to what came so far: what is rounded in one step is not lost for the next.
struct Whole {
    exact: f64,
    told: f64,
}

impl Whole {
    const fn new() -> Self {
        Self { exact: 0.0, told: 0.0 }
    }

    fn next(&mut self, number: f64) -> f64 {
        self.exact += number;
        // Not below zero, nor the zero below it.
        let whole = (self.exact - self.told).round().max(0.0) + 0.0;
        self.told += whole;
        whole
    }
}

fn rates(counts: &Counts, into: &mut impl Write) -> io::Result<()> {
    writeln!(into, "timestamp_s,requests")?;
    let mut whole = Whole::new();
    for (i, row) in counts.rows.iter().enumerate() {
        let at = counts.step.as_secs_f64() * i as f64;
        writeln!(into, "{at},{}", whole.next(row.iter().sum()))?;
    }
    Ok(())
}

fn histograms(counts: &Counts, into: &mut impl Write) -> io::Result<()> {
    let le = counts.le.iter().flatten();
    let names = le.map(|le| if le.is_finite() { format!(",le_{le}") } else { ",le_+Inf".to_owned() });
    writeln!(into, "timestamp_s{}", names.collect::<String>())?;
    let mut wholes: Vec<Whole> = counts.le.iter().flatten().map(|_| Whole::new()).collect();
    for (i, row) in counts.rows.iter().enumerate() {
        write!(into, "{}", counts.step.as_secs_f64() * i as f64)?;
        for (whole, number) in wholes.iter_mut().zip(row) {
            write!(into, ",{}", whole.next(*number))?;
        }
        writeln!(into)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: &Content, name: &str) -> Result<(String, Option<Time>), String> {
        let (path, mut into) = (Path::new(name), Vec::new());
        let format = Format::of(path).map_err(|e| e.to_string())?;
        let made = trace(content.clone(), format, Span::from_secs(60), path).map_err(|e| e.to_string())?;
        made.write(&mut into).unwrap();
        Ok((String::from_utf8(into).unwrap(), made.start()))
    }

    fn at(seconds: i64, millis: i64) -> Arrival {
        let at = Time::from_secs(seconds);
        Arrival { at, duration: Some(Span::from_millis(millis)) }
    }

    #[test]
    fn requests_are_written_one_by_one_or_counted() {
        let content = Content::Requests(vec![at(130, 5), at(131, 1500), at(250, 1)]);
        let (text, start) = written(&content, "a.req.csv").unwrap();
        assert_eq!(text, "timestamp_s,duration_s\n0,0.005\n1,1.5\n120,0.001\n");
        assert_eq!(start, Some(Time::from_secs(130)));
        let (text, start) = written(&content, "a.rate.csv").unwrap();
        assert_eq!(text, "timestamp_s,requests\n0,2\n60,0\n120,1\n");
        assert_eq!(start, Some(Time::from_secs(120)));
        assert!(written(&content, "a.hist.csv").unwrap_err().contains("a.hist.csv: requests one by one"));
        assert!(written(&content, "a.csv").unwrap_err().contains("name it *.req.csv"));
        let without = Content::Requests(vec![Arrival { duration: None, ..at(1, 1) }]);
        let far = Content::Requests(vec![at(130, 5), at(1_760_000_000, 5)]);
        assert!(written(&far, "a.rate.csv").unwrap_err().contains("29333332 steps are more than 10000000"));
        let one = Content::Requests(vec![at(130, 5), at(131, 5)]);
        assert!(written(&one, "a.rate.csv").unwrap_err().contains("lies in one step"));
        assert!(written(&without, "a.req.csv").unwrap_err().contains("durations of requests are not known"));
    }

    #[test]
    fn what_is_rounded_in_one_step_is_not_lost_for_the_next() {
        let counts = |le, rows| Counts { start: None, step: Span::from_secs(30), le, rows };
        let thirds = Content::Counts(counts(None, vec![vec![1.0 / 3.0]; 6]));
        assert_eq!(
            written(&thirds, "a.rate.csv").unwrap().0,
            "timestamp_s,requests\n0,0\n30,1\n60,0\n90,0\n120,1\n150,0\n"
        );
        let classes = counts(Some(vec![0.1, f64::INFINITY]), vec![vec![2.0, 0.5], vec![2.0, 0.5]]);
        assert_eq!(
            written(&Content::Counts(classes), "a.hist.csv").unwrap().0,
            "timestamp_s,le_0.1,le_+Inf\n0,2,1\n30,2,0\n"
        );
        let all = Content::Counts(counts(Some(vec![f64::INFINITY]), vec![vec![1.0]; 3]));
        assert!(written(&all, "a.hist.csv").unwrap_err().contains("durations are not known"));
        assert!(written(&thirds, "a.hist.csv").unwrap_err().contains("durations are not known"));
        assert!(written(&thirds, "a.req.csv").unwrap_err().contains("only numbers of requests"));
    }
}
