//! What the workload's load has been, step by step: the one thing that everything else here is a function of.
//!
//! Kept are the rates of a few classes of requests, not the load itself, so that all history can be weighed anew whenever what
//! requests cost is learned anew. A step of which nothing is known is kept as such: absent is not zero.

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::engine::Level;
use crate::units::{Span, Time};

/// Most classes whose rates are kept: light, middling and heavy requests. 28 days of minutes then take 484 KB.
pub const MOST_COLUMNS: usize = 3;

/// Steps that memory is taken for at a time: a day of minutes.
const GROWTH: usize = 1440;

/// Schema of a stored series.
pub const SERIES_SCHEMA: u32 = 1;

/// Rates of a few classes over one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step<'a> {
    /// Mean rate of each column.
    pub rates: &'a [f64],
    /// There was at least so much: the workload was congested.
    pub is_floor: bool,
}

/// A regular series of class rates, with gaps, over the last days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Series {
    step: Span,
    columns: usize,
    capacity: usize,
    /// Number of the first step, counted from the epoch.
    first: i64,
    /// Step by step, column by column; NaN throughout a step that is not known.
    rates: VecDeque<f32>,
    floors: Flags,
    /// Steps that are known.
    known: usize,
}

/// Step numbers, a bit each.
#[derive(Debug, Clone, Default, PartialEq)]
struct Flags {
    /// 64 numbers a word; the first and the last word have some, so that equal sets are equal.
    words: VecDeque<u64>,
    /// Which word is the first: that of numbers 64 times it and on.
    first: i64,
}

impl Flags {
    /// Word and bit of a number.
    fn place(number: i64) -> (i64, u64) {
        (number.div_euclid(64), 1 << number.rem_euclid(64))
    }

    /// Takes in a number that is not less than any before.
    fn push(&mut self, number: i64) {
        let (word, bit) = Self::place(number);
        if self.words.is_empty() {
            self.first = word;
        }
        while self.first + (self.words.len() as i64) <= word {
            self.words.push_back(0);
        }
        if let Some(last) = self.words.back_mut() {
            *last |= bit;
        }
    }

    fn contains(&self, number: i64) -> bool {
        let (word, bit) = Self::place(number);
        let index = usize::try_from(word - self.first).ok();
        index.and_then(|index| self.words.get(index)).is_some_and(|word| word & bit != 0)
    }

    /// Forgets all numbers but those.
    fn keep(&mut self, numbers: Range<i64>) {
        let (first, from) = Self::place(numbers.start);
        let (end, until) = Self::place(numbers.end);
        while self.first < first && self.words.pop_front().is_some() {
            self.first += 1;
        }
        if let Some(word) = self.words.front_mut().filter(|_| self.first == first) {
            *word &= !(from - 1);
        }
        let most = usize::try_from(end - self.first + 1).unwrap_or(0);
        self.words.truncate(most);
        if self.words.len() == most
            && let Some(word) = self.words.back_mut()
        {
            *word &= until - 1;
        }
        while self.words.back() == Some(&0) {
            self.words.pop_back();
        }
        while self.words.front() == Some(&0) {
            self.words.pop_front();
            self.first += 1;
        }
        if self.words.is_empty() {
            self.first = 0;
        }
    }
}

/// Why a stored series cannot be taken up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// It is of a schema that this version does not know.
    #[error("a series of schema {0}; this version reads {SERIES_SCHEMA}")]
    Schema(u32),
    /// Its parts do not fit together.
    #[error("{0}")]
    Shape(&'static str),
}

impl Series {
    /// An empty one of steps that long, with so many columns, that remembers so much. The step is at least a second, there are one to
    /// [`MOST_COLUMNS`] columns, and at least one step is remembered: what is less or more is taken for that.
    pub fn new(step: Span, columns: usize, memory: Span) -> Self {
        let step = step.max(Span::from_secs(1));
        let capacity = usize::try_from(memory.as_nanos() / step.as_nanos()).unwrap_or(0).max(1);
        Self {
            step,
            columns: columns.clamp(1, MOST_COLUMNS),
            capacity,
            first: 0,
            rates: VecDeque::new(),
            floors: Flags::default(),
            known: 0,
        }
    }

    /// Length of a step.
    pub fn step(&self) -> Span {
        self.step
    }

    /// Rates a step.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Steps that it holds, gaps included.
    pub fn len(&self) -> usize {
        self.rates.len() / self.columns
    }

    /// Steps that are known.
    pub fn known(&self) -> usize {
        self.known
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        4 * self.rates.capacity() + 8 * self.floors.words.capacity()
    }

    /// The number of the step that `at` lies in, counted from the epoch.
    pub fn number(&self, at: Time) -> i64 {
        at.as_nanos().div_euclid(self.step.as_nanos())
    }

    /// When step `number` begins.
    pub fn begins(&self, number: i64) -> Time {
        Time::from_nanos(number.saturating_mul(self.step.as_nanos()))
    }

    /// Number of its first step.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// Number of the step after its last one.
    pub fn end(&self) -> i64 {
        self.first + self.len() as i64
    }

    /// Appends the step `number`; steps between the last one and it are not known. One that is not later than the last is left
    /// aside, and the answer is false. After a gap longer than its memory it begins anew.
    pub fn push(&mut self, number: i64, step: Option<Step<'_>>) -> bool {
        if self.is_empty() {
            self.first = number;
        } else if number < self.end() {
            return false;
        } else if number.saturating_sub(self.end()) >= self.capacity as i64 {
            self.rates.clear();
            self.floors = Flags::default();
            self.known = 0;
            self.first = number;
        }
        while self.end() < number {
            self.append(None);
        }
        self.append(step);
        true
    }

    fn append(&mut self, step: Option<Step<'_>>) {
        if self.len() == self.capacity {
            self.known -= usize::from(self.rates.front().is_some_and(|rate| rate.is_finite()));
            self.rates.drain(..self.columns);
            self.first += 1;
            self.floors.keep(self.first..self.end());
        }
        if self.rates.len() + self.columns > self.rates.capacity() {
            // By the day, and not to twice as much as there is.
            let more = (self.capacity - self.len()).min(GROWTH);
            self.rates.reserve_exact(more * self.columns);
        }
        // What is not a rate was none.
        let step = step.filter(|step| {
            step.rates.len() == self.columns && step.rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0)
        });
        if step.is_some_and(|step| step.is_floor) {
            self.floors.push(self.end());
        }
        match step {
            Some(step) => {
                self.known += 1;
                self.rates.extend(step.rates.iter().map(|rate| *rate as f32));
            }
            None => self.rates.extend(std::iter::repeat_n(f32::NAN, self.columns)),
        }
    }

    /// Forgets the step `number` and all after it.
    pub fn truncate(&mut self, number: i64) {
        let keep = usize::try_from(number.saturating_sub(self.first)).unwrap_or(0);
        self.rates.truncate(keep.saturating_mul(self.columns));
        self.floors.keep(self.first..self.end());
        self.known = self.rates.iter().step_by(self.columns).filter(|rate| rate.is_finite()).count();
    }

    /// The same steps, remembered for so long: the newest of them where it is shorter.
    #[must_use]
    pub fn remembered_for(&self, memory: Span) -> Self {
        let mut series = Self::new(self.step, self.columns, memory);
        for number in self.first..self.end() {
            let step = self.step_at(number);
            let step = step
                .as_ref()
                .map(|(rates, is_floor)| Step { rates: &rates[..self.columns], is_floor: *is_floor });
            series.push(number, step);
        }
        series
    }

    /// The level of step `number` with one weight a column; none where it is not known.
    pub(super) fn level(&self, number: i64, weights: &[f64]) -> Option<Level> {
        let index = usize::try_from(number - self.first).ok().filter(|index| *index < self.len())?;
        let rates = self.rates.range(index * self.columns..(index + 1) * self.columns);
        let value = rates.zip(weights).map(|(rate, weight)| f64::from(*rate) * weight).sum::<f64>();
        value.is_finite().then(|| Level { value, is_floor: self.floors.contains(number) })
    }

    /// Rates of step `number`, one a column, and whether there was at least so much; none where it is not known.
    pub fn step_at(&self, number: i64) -> Option<([f64; MOST_COLUMNS], bool)> {
        let index = usize::try_from(number - self.first).ok().filter(|index| *index < self.len())?;
        let mut rates = [0.0; MOST_COLUMNS];
        let range = index * self.columns..(index + 1) * self.columns;
        for (rate, kept) in rates.iter_mut().zip(self.rates.range(range)) {
            *rate = f64::from(*kept);
        }
        rates.iter().all(|rate| rate.is_finite()).then_some((rates, self.floors.contains(number)))
    }

    /// Levels of `count` steps from step `number` on, with one weight a column; none where they are not known.
    pub fn levels_from<'a>(
        &'a self,
        number: i64,
        count: usize,
        weights: &'a [f64],
    ) -> impl Iterator<Item = Option<f64>> + 'a {
        (number..).take(count).map(move |number| self.level(number, weights).map(|level| level.value))
    }

    /// Levels of all its steps, oldest first, with one weight a column.
    pub fn levels(&self, weights: &[f64]) -> Vec<Option<f64>> {
        self.levels_from(self.first, self.len(), weights).collect()
    }
}

/// As it is written down.
#[derive(Serialize, Deserialize)]
struct Stored {
    schema: u32,
    step: Span,
    columns: usize,
    capacity: usize,
    first: i64,
    /// None for a step that is not known.
    rates: Vec<Option<f32>>,
    floors: Vec<bool>,
}

impl From<Series> for Stored {
    fn from(series: Series) -> Self {
        let floors = (series.first..series.end()).map(|number| series.floors.contains(number)).collect();
        let Series { step, columns, capacity, first, rates, .. } = series;
        let rates = rates.into_iter().map(|rate| Some(rate).filter(|rate| rate.is_finite())).collect();
        Self { schema: SERIES_SCHEMA, step, columns, capacity, first, rates, floors }
    }
}

impl TryFrom<Stored> for Series {
    type Error = SeriesError;

    fn try_from(stored: Stored) -> Result<Self, SeriesError> {
        let Stored { schema, step, columns, capacity, first, rates, floors } = stored;
        if schema != SERIES_SCHEMA {
            return Err(SeriesError::Schema(schema));
        }
        let has_capacity = capacity > 0 && i64::try_from(capacity).is_ok();
        if step < Span::from_secs(1) || !(1..=MOST_COLUMNS).contains(&columns) || !has_capacity {
            return Err(SeriesError::Shape("the stored series has no step, columns or capacity that fit"));
        }
        let steps = i64::try_from(floors.len()).unwrap_or(i64::MAX);
        let fits = floors.len() <= capacity && floors.len().checked_mul(columns) == Some(rates.len());
        if !fits || first.checked_add(steps).is_none() {
            return Err(SeriesError::Shape("the stored series has not as many rates as its steps take"));
        }
        if rates.iter().flatten().any(|rate| !rate.is_finite() || *rate < 0.0) {
            return Err(SeriesError::Shape("the stored series has a rate that is none"));
        }
        let begins_and_ends = [first, first + steps].map(|number| number.checked_mul(step.as_nanos()));
        if begins_and_ends.contains(&None) {
            return Err(SeriesError::Shape("the stored series is of another age"));
        }
        let mut rates: VecDeque<f32> = rates.into_iter().map(|rate| rate.unwrap_or(f32::NAN)).collect();
        // Collected in place, they keep the room that the options took.
        rates.shrink_to_fit();
        let known = rates.iter().step_by(columns).filter(|rate| rate.is_finite()).count();
        let mut flags = Flags::default();
        (first..).zip(floors).filter(|(_, is_floor)| *is_floor).for_each(|(number, _)| flags.push(number));
        Ok(Self { step, columns, capacity, first, rates, floors: flags, known })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn flags_are_a_set(
            steps in prop::collection::vec(1..90i64, 0..30),
            start in -200..200i64,
            kept in prop::collection::vec((0..300i64, 0..900i64), 0..3),
        ) {
            let (mut flags, mut set, mut number) = (Flags::default(), BTreeSet::new(), start);
            for step in steps {
                number += step;
                flags.push(number);
                set.insert(number);
            }
            for (from, count) in kept {
                let range = start + from..start + from + count;
                flags.keep(range.clone());
                set.retain(|number| range.contains(number));
            }
            flags.push(number + 1);
            set.insert(number + 1);
            for number in start - 70..number + 70 {
                prop_assert_eq!(flags.contains(number), set.contains(&number), "{}", number);
            }
            // However it came to be, the same set is the same.
            let mut anew = Flags::default();
            set.into_iter().for_each(|number| anew.push(number));
            prop_assert_eq!(flags, anew);
        }

        /// Whatever is appended, skipped, forgotten, written down and read: it holds the last steps of what was.
        #[test]
        fn it_holds_the_last_steps(
            actions in prop::collection::vec((0..40u8, 0..5i64, any::<bool>()), 1..200),
            memory in 1..70i64,
        ) {
            let mut series = minutes(memory);
            let mut all: Vec<Option<(f64, bool)>> = Vec::new();
            for (i, (action, gap, is_floor)) in actions.into_iter().enumerate() {
                match action {
                    0 => series = serde_json::from_str(&serde_json::to_string(&series).unwrap()).unwrap(),
                    1 => {
                        let kept = all.len().saturating_sub(gap as usize).max(all.len().min(1));
                        series.truncate(kept as i64);
                        all.truncate(kept);
                    }
                    2 => series = series.remembered_for(Span::from_secs(60 * memory)),
                    _ => {
                        let gap = if action == 3 { 20 * gap } else { gap / 3 };
                        all.resize(all.len() + gap as usize, None);
                        let rates = [i as f64];
                        let step = Step { rates: &rates, is_floor };
                        prop_assert!(series.push(all.len() as i64, Some(step)));
                        all.push(Some((i as f64, is_floor)));
                    }
                }
                prop_assert!(series.len() as i64 <= memory && series.end() == all.len() as i64 || series.is_empty());
                for number in series.first()..series.end() {
                    let held = series.step_at(number).map(|(rates, is_floor)| (rates[0], is_floor));
                    prop_assert_eq!(held, all[number as usize], "step {}", number);
                }
            }
        }
    }

    fn minutes(memory: i64) -> Series {
        Series::new(Span::from_secs(60), 1, Span::from_secs(60 * memory))
    }

    fn step(rate: &f64) -> Option<Step<'_>> {
        Some(Step { rates: std::slice::from_ref(rate), is_floor: false })
    }

    #[test]
    fn steps_between_are_not_known() {
        let mut series = minutes(10);
        assert!(series.push(100, step(&1.0)));
        assert!(series.push(103, step(&4.0)));
        assert!(!series.push(103, step(&9.0)), "the same step twice");
        assert_eq!(series.levels(&[2.0]), [Some(2.0), None, None, Some(8.0)]);
    }

    #[test]
    fn the_oldest_go_and_after_a_long_gap_it_begins_anew() {
        let mut series = minutes(3);
        for number in 0..5 {
            series.push(number, step(&(number as f64)));
        }
        assert_eq!((series.first(), series.levels(&[1.0])), (2, vec![Some(2.0), Some(3.0), Some(4.0)]));
        series.push(1_000_000_000, step(&7.0));
        assert_eq!((series.first(), series.levels(&[1.0])), (1_000_000_000, vec![Some(7.0)]));
    }

    #[test]
    fn what_is_no_rate_is_not_known() {
        let mut series = minutes(10);
        for (number, rate) in [(0, f64::NAN), (1, -1.0), (2, f64::INFINITY)] {
            series.push(number, step(&rate));
        }
        series.push(3, Some(Step { rates: &[1.0, 2.0], is_floor: false }));
        assert_eq!(series.levels(&[1.0]), [None; 4]);
    }

    #[test]
    fn a_stored_series_is_the_same_and_a_damaged_one_is_refused() {
        let mut series = minutes(10);
        series.push(5, step(&1.5));
        series.push(7, Some(Step { rates: &[2.5], is_floor: true }));
        let text = serde_json::to_string(&series).unwrap();
        let read: Series = serde_json::from_str(&text).unwrap();
        assert_eq!(read.levels(&[1.0]), series.levels(&[1.0]));
        assert_eq!(read.level(7, &[1.0]), Some(Level { value: 2.5, is_floor: true }));
        for (from, to) in [
            (r#""schema":1"#, r#""schema":2"#),
            (r#""columns":1"#, r#""columns":2"#),
            (r#""capacity":10"#, r#""capacity":1"#),
            ("2.5", "-2.5"),
            (r#""first":5"#, r#""first":9223372036854775807"#),
        ] {
            assert!(serde_json::from_str::<Series>(&text.replace(from, to)).is_err(), "{to}");
        }
    }
}
