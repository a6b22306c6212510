//! Recorded samples of a workload as CSV: what `plimsoll-adapter record` writes and `plimsoll-sim fit` learns from.
//!
//! ```text
//! timestamp_s,pods,cpu_cores,le_0.005,…,le_+Inf[,cores_per_pod,in_flight,rejected]
//! ```
//!
//! A row tells of the window that ended at its timestamp and began at the one before: pods, cores that they used, requests
//! per second by duration (not cumulative), and, where known, the cores that a pod may use, the requests inside at the
//! window's end and the requests turned away per second. Timestamps are seconds since whenever, Unix time included, to
//! the millisecond. Where two are further apart than usual rows are missing: the later one tells of a window of the
//! usual length.

use std::io::{self, Write};
use std::path::Path;

use plimsoll::load::{
    Classes, Edges, FitSample, Group, HistogramRates, InFlight, Labels, Pods, SAMPLE_SCHEMA, Sample,
};
use plimsoll::units::{Cores, Rate, Span, Time};

use crate::trace::{Rows, TraceError};

const LEADING: [&str; 3] = ["timestamp_s", "pods", "cpu_cores"];
const OPTIONAL: [&str; 3] = ["cores_per_pod", "in_flight", "rejected"];

const HEADER: &str = "the header timestamp_s,pods,cpu_cores,le_0.005,…,le_+Inf with ascending bounds in seconds, and after \
                      them, if known, cores_per_pod,in_flight,rejected";

/// Two rows that are so many times further apart than usual do not follow one another.
const GAP: f64 = 1.5;

/// The columns of a file.
#[derive(Debug, Clone, PartialEq)]
struct Columns {
    /// Names of the class columns.
    classes: Vec<String>,
    /// Finite bounds, ascending.
    le: Vec<f64>,
    /// Positions of the optional columns.
    optional: [Option<usize>; 3],
}

impl Columns {
    fn of<'a>(header: impl Iterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<&str> = header.collect();
        let rest = names.strip_prefix(&LEADING)?;
        let classes: Vec<String> =
            rest.iter().take_while(|name| name.starts_with("le_")).map(|name| (*name).to_owned()).collect();
        let bounds: Vec<f64> =
            classes.iter().map(|name| name["le_".len()..].parse().ok()).collect::<Option<_>>()?;
        let (open, le) = bounds.split_last()?;
        let mut optional = [None; 3];
        for (position, name) in names.iter().enumerate().skip(LEADING.len() + classes.len()) {
            let which = OPTIONAL.iter().position(|known| known == name)?;
            if optional[which].replace(position).is_some() {
                return None;
            }
        }
        let is_sound = *open == f64::INFINITY && Edges::new(le.to_vec()).is_ok();
        is_sound.then(|| Self { classes, le: le.to_vec(), optional })
    }
}

/// Samples of one workload, one by one, each with the pods as the file has them: it may be a mean.
#[derive(Debug)]
pub struct Samples {
    rows: Rows,
    columns: Columns,
    last: Option<(Span, Option<f64>)>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What the row tells, as one group.
    pub sample: Sample,
    /// Pods; a mean where their number changed within the window.
    pub pods: f64,
}

impl Samples {
    /// Opens a file, plain or gzip, and reads its header.
    ///
    /// # Errors
    /// When it cannot be read or is no such file: what is wrong where, and what was expected.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let rows = Rows::open(path)?;
        let Some(columns) = Columns::of(rows.header().iter()) else {
            let found = rows.header().iter().collect::<Vec<_>>().join(",");
            return Err(rows.row_error(found, HEADER.to_owned()));
        };
        Ok(Self { rows, columns, last: None })
    }

    /// Names of the class columns, e.g. `le_0.005`.
    pub fn classes(&self) -> &[String] {
        &self.columns.classes
    }

    /// Finite upper bounds of the classes in seconds, ascending.
    pub fn le(&self) -> &[f64] {
        &self.columns.le
    }

    fn read(&mut self) -> Result<Option<Recorded>, TraceError> {
        if !self.rows.next()? {
            return Ok(None);
        }
        let at = Span::from_millis((self.rows.seconds(0)?.as_secs_f64() * 1000.0).round() as i64);
        let window = match self.last {
            None => Span::ZERO,
            Some((last, _)) if at > last => at - last,
            Some((last, _)) => {
                let expected = format!("more than {}: rows are in the order of time", last.as_secs_f64());
                return Err(self.rows.value_error(0, expected));
            }
        };
        let pods = self.rows.amount(1)?;
        let cpu = self.rows.amount(2)?;
        let rates: Result<Vec<Rate>, TraceError> = (0..self.columns.classes.len())
            .map(|class| self.rows.amount(LEADING.len() + class).map(Rate::saturating))
            .collect();
        let rates = rates?;
        let optional =
            |which: usize| self.columns.optional[which].map_or(Ok(None), |c| self.rows.amount_if_any(c));
        let (cores, in_flight, rejected) = (optional(0)?, optional(1)?, optional(2)?);
        let before = self.last.and_then(|(_, in_flight)| in_flight);
        let histogram = HistogramRates::new(Labels::new(), self.columns.le.clone(), rates, None);
        let histogram =
            histogram.map_err(|error| self.rows.row_error(error.to_string(), HEADER.to_owned()))?;
        let whole = pods.round().clamp(1.0, f64::from(u32::MAX)) as u32;
        let group = Group {
            histograms: vec![histogram],
            cpu: Some(Cores::saturating(cpu)),
            cores_per_pod: cores.map(Cores::saturating),
            in_flight: in_flight
                .map(|now| InFlight { now, change: before.map_or(0.0, |before| now - before) }),
            rejected: rejected.map(Rate::saturating),
            ..Group::new(whole, window)
        };
        self.last = Some((at, in_flight));
        let pods_of = Pods { replicas: whole, ready: whole, warming: 0, silent: 0, updating: false };
        let sample = Sample {
            schema: SAMPLE_SCHEMA,
            at: Time::EPOCH + at,
            pods: pods_of,
            offered: None,
            groups: vec![group],
        };
        Ok(Some(Recorded { sample, pods }))
    }

    /// All rows. The first one's window, and that of a row before which others are missing, is of the usual length.
    ///
    /// # Errors
    /// When a row is wrong, or there are fewer than two.
    pub fn read_all(mut self) -> Result<Vec<Recorded>, TraceError> {
        let mut all = Vec::new();
        while let Some(recorded) = self.read()? {
            all.push(recorded);
        }
        let Some(usual) = usual_window(&all) else {
            let expected = "at least two rows: their distance is the length of a window";
            return Err(self.rows.row_error("the end".to_owned(), expected.to_owned()));
        };
        let groups = all.iter_mut().flat_map(|recorded| &mut recorded.sample.groups).enumerate();
        for (row, group) in groups {
            if row == 0 || group.window.as_secs_f64() > GAP * usual.as_secs_f64() {
                group.window = usual;
                // How many came in during the last window is not known.
                group.in_flight = group.in_flight.map(|inside| InFlight { change: 0.0, ..inside });
            }
        }
        Ok(all)
    }
}

/// The median distance of two rows; none if there is no second.
fn usual_window(all: &[Recorded]) -> Option<Span> {
    let later = all.iter().skip(1).flat_map(|recorded| &recorded.sample.groups);
    let mut windows: Vec<Span> = later.map(|group| group.window).collect();
    windows.sort_unstable();
    windows.get(windows.len() / 2).copied()
}

/// Writes samples as rows, each to its end before the next.
///
/// The classes are the bounds of the first histogram that is seen, and stay: requests of later ones with other bounds are
/// sorted into them.
#[derive(Debug)]
pub struct SampleWriter<W> {
    out: W,
    classes: Option<Classes>,
    last: Option<i64>,
    rows: u64,
    left_out: u64,
}

impl<W: Write> SampleWriter<W> {
    /// One that has written nothing yet, not even a header: the classes are not known before there is a sample.
    pub fn new(out: W) -> Self {
        Self { out, classes: None, last: None, rows: 0, left_out: 0 }
    }

    /// Writes a row, unless a ready pod did not tell its requests and CPU: a row that lacks a pod would tell of fewer requests
    /// than there were.
    ///
    /// # Errors
    /// When it cannot be written. Part of it may have been.
    pub fn write(&mut self, sample: &Sample) -> io::Result<()> {
        let row = match self.row(sample) {
            Row::Whole(row) => row,
            Row::Lacks => {
                self.left_out += 1;
                return Ok(());
            }
            Row::Told => return Ok(()),
        };
        self.out.write_all(row.as_bytes())?;
        self.out.flush()?;
        self.rows += 1;
        Ok(())
    }

    /// Rows written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Samples that no row was written of.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The row of a sample, with the header before the first one.
    fn row(&mut self, sample: &Sample) -> Row {
        let telling = sample.groups.iter().filter(|group| group.tells());
        let Some(first) = telling.flat_map(|group| &group.histograms).next() else { return Row::Lacks };
        let is_first = self.classes.is_none();
        let classes = self.classes.get_or_insert_with(|| Classes::by_duration(Edges::of(first)));
        // CPU that is told later belongs to requests of before, and is told once.
        let Some(FitSample { at, window, pods, rates, cpu, .. }) = FitSample::of(sample, classes) else {
            self.classes.take_if(|_| is_first);
            return Row::Lacks;
        };
        let millis = (at - Time::EPOCH).as_millis();
        let is_whole = pods == f64::from(sample.pods.ready) && sample.pods.silent == 0;
        if !is_whole {
            // Classes are those of the first row.
            self.classes.take_if(|_| is_first);
            return Row::Lacks;
        }
        if self.last.is_some_and(|last| millis - last <= window.as_millis() / 2) {
            return Row::Told;
        }
        self.last = Some(millis);
        let text = |value: f64| value.to_string();
        let known = |value: Option<f64>| value.map(text).unwrap_or_default();
        let fields = [format!("{}.{:03}", millis / 1000, millis % 1000), text(pods), text(cpu)];
        let optional = [cores_per_pod(sample), in_flight(sample), rejected(sample)];
        let fields = fields.into_iter().chain(rates.into_iter().map(text)).chain(optional.map(known));
        let row = fields.collect::<Vec<_>>().join(",") + "\n";
        Row::Whole(if is_first { header(classes.edges()) + &row } else { row })
    }
}

/// What there is to write of a sample.
enum Row {
    Whole(String),
    /// A ready pod did not tell its requests and CPU.
    Lacks,
    /// Most of its time is in the last row.
    Told,
}

fn header(edges: &Edges) -> String {
    let classes = edges.as_slice().iter().map(|le| format!("le_{le}")).chain(["le_+Inf".to_owned()]);
    let leading = LEADING.map(str::to_owned).into_iter();
    leading.chain(classes).chain(OPTIONAL.map(str::to_owned)).collect::<Vec<_>>().join(",") + "\n"
}

/// The mean over the pods; none unless all are known.
fn cores_per_pod(sample: &Sample) -> Option<f64> {
    let of_group = |group: &Group| Some(group.cores_per_pod?.get() * f64::from(group.pods));
    let all: f64 = sample.groups.iter().map(of_group).sum::<Option<f64>>()?;
    Some(all / f64::from(sample.pods.ready))
}

/// Over all pods; none unless all tell.
fn in_flight(sample: &Sample) -> Option<f64> {
    sample.groups.iter().map(|group| group.in_flight.map(|inside| inside.now)).sum()
}

/// Over the pods that tell: a counter is not there before it has counted.
fn rejected(sample: &Sample) -> Option<f64> {
    let told = || sample.groups.iter().filter_map(|group| group.rejected);
    told().next().map(|_| told().map(Rate::get).sum())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Unix time.
    const BEGIN: i64 = 1_790_000_000_000;

    fn histogram(le: &[f64], rates: &[f64]) -> HistogramRates {
        let rates = rates.iter().map(|rate| Rate::new(*rate).unwrap()).collect();
        HistogramRates::new(Labels::new(), le.to_vec(), rates, None).unwrap()
    }

    fn group(le: &[f64], rates: &[f64], cpu: f64) -> Group {
        Group {
            histograms: vec![histogram(le, rates)],
            cpu: Some(Cores::new(cpu).unwrap()),
            ..Group::new(1, Span::from_secs(1))
        }
    }

    fn sample(millis: i64, groups: Vec<Group>) -> Sample {
        let count = groups.len() as u32;
        let silent = groups.iter().filter(|group| group.silent).count() as u32;
        let pods = Pods { replicas: count, ready: count, warming: 0, silent, updating: false };
        Sample {
            schema: SAMPLE_SCHEMA,
            at: Time::EPOCH + Span::from_millis(BEGIN + millis),
            pods,
            offered: None,
            groups,
        }
    }

    fn written(samples: &[Sample]) -> (String, SampleWriter<Vec<u8>>) {
        let mut writer = SampleWriter::new(Vec::new());
        samples.iter().for_each(|sample| writer.write(sample).unwrap());
        (String::from_utf8(writer.out.clone()).unwrap(), writer)
    }

    fn read(text: &str) -> Vec<Recorded> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Samples::open(file.path()).unwrap().read_all().unwrap()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            le in proptest::collection::btree_set(1u32..10_000_000, 0..64),
            rows in proptest::collection::vec(
                (1000i64..1400, 0.0..64.0f64, proptest::option::of((0.0..1e4f64, 0.0..1e3f64, 0.1..1e3f64)), 0.0..1e6f64),
                2..20,
            ),
        ) {
            let le: Vec<f64> = le.into_iter().map(|micros| f64::from(micros) / 1e6).collect();
            let mut at = 0;
            let samples: Vec<Sample> = rows.into_iter().map(|(after, cpu, known, rate)| {
                at += after;
                let rates: Vec<f64> = (0..=le.len()).map(|class| rate / (1.0 + class as f64)).collect();
                let mut group = group(&le, &rates, cpu);
                if let Some((inside, rejected, cores)) = known {
                    group.in_flight = Some(InFlight { now: inside, change: 0.0 });
                    group.rejected = Some(Rate::new(rejected).unwrap());
                    group.cores_per_pod = Some(Cores::new(cores).unwrap());
                }
                sample(at, vec![group])
            }).collect();
            let read = read(&written(&samples).0);
            prop_assert_eq!(read.len(), samples.len());
            for (i, (read, written)) in read.iter().zip(&samples).enumerate() {
                let (group, of_pod) = (&read.sample.groups[0], &written.groups[0]);
                prop_assert_eq!((read.sample.at, read.pods, read.sample.pods), (written.at, 1.0, written.pods));
                prop_assert_eq!(&group.histograms, &of_pod.histograms);
                prop_assert_eq!((group.cpu, group.cores_per_pod), (of_pod.cpu, of_pod.cores_per_pod));
                prop_assert_eq!(group.rejected, of_pod.rejected);
                prop_assert_eq!(group.in_flight.map(|i| i.now), of_pod.in_flight.map(|i| i.now));
                if i > 0 {
                    prop_assert_eq!(group.window, written.at - samples[i - 1].at);
                }
            }
        }
    }

    #[test]
    fn pods_are_added_up_in_the_classes_of_the_first() {
        let le = [0.1, 1.0];
        let inside = |group: Group, now| Group { in_flight: Some(InFlight { now, change: 0.0 }), ..group };
        let cores = |group, cores| Group { cores_per_pod: Cores::new(cores).ok(), ..group };
        let (text, _) = written(&[
            sample(0, vec![inside(cores(group(&le, &[8.0, 2.0, 1.0], 0.5), 2.0), 3.0)]),
            sample(
                1500,
                vec![
                    inside(cores(group(&le, &[1.0, 2.0, 4.0], 0.25), 2.0), 4.0),
                    inside(cores(group(&[0.1, 0.4, 1.0], &[8.0, 16.0, 32.0, 64.0], 0.5), 1.0), 5.0),
                ],
            ),
            // Of one of them it is not known.
            sample(
                3000,
                vec![
                    cores(group(&le, &[1.0, 0.0, 0.0], 0.5), 2.0),
                    inside(group(&le, &[1.0, 0.0, 0.0], 0.5), 5.0),
                ],
            ),
        ]);
        assert_eq!(
            text,
            "timestamp_s,pods,cpu_cores,le_0.1,le_1,le_+Inf,cores_per_pod,in_flight,rejected\n\
             1790000000.000,1,0.5,8,2,1,2,3,\n\
             1790000001.500,2,0.75,9,50,68,1.5,9,\n\
             1790000003.000,2,1,2,0,0,,,\n"
        );
    }

    #[test]
    fn a_sample_that_lacks_a_pod_is_left_out_and_the_next_one_begins_anew() {
        let whole = |millis, rate| sample(millis, vec![group(&[0.1], &[rate, 0.0], 0.5); 2]);
        let mut silent = whole(4000, 9.0);
        silent.groups[1].silent = true;
        silent.pods.silent = 1;
        let mut without_cpu = whole(6000, 9.0);
        without_cpu.groups[0].cpu = None;
        let mut unread = whole(0, 9.0);
        unread.groups.pop();
        let twice = whole(2000, 9.0);
        let samples = [
            unread,
            whole(1000, 1.0),
            whole(2000, 2.0),
            twice,
            whole(3000, 3.0),
            silent,
            whole(5000, 4.0),
            without_cpu,
            whole(7000, 5.0),
            whole(8000, 6.0),
            whole(9000, 7.0),
        ];
        let (text, writer) = written(&samples);
        // What was told is not told again, and nothing is lost of it.
        assert_eq!((writer.rows(), writer.left_out()), (7, 3));
        let read = read(&text);
        let rates: Vec<f64> = read.iter().map(|r| r.sample.groups[0].histograms[0].total()).collect();
        assert_eq!(rates, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]);
        // The fourth and the fifth row come two seconds after the one before, and tell of one.
        assert!(read.iter().all(|r| r.sample.groups[0].window == Span::from_secs(1)), "{read:?}");
    }

    #[test]
    fn a_row_that_cannot_be_written_is_an_error() {
        let mut room = [0; 110];
        let mut writer = SampleWriter::new(&mut room[..]);
        let row = |millis| sample(millis, vec![group(&[0.1], &[1.0, 0.0], 0.5)]);
        writer.write(&row(0)).unwrap();
        let error = writer.write(&row(1000)).unwrap_err();
        assert_eq!((error.kind(), writer.rows()), (io::ErrorKind::WriteZero, 1));
    }
}
