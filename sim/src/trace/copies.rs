//! Copies of requests, for traces that are scaled up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use plimsoll::units::Span;
use rand_pcg::Pcg64;

use crate::random::OrderStatistics;

/// The requests of one minute with their copies, in the order of arrival.
///
/// A request stays where it is. Each of its copies arrives anywhere within the minute, independently of all others, as
/// the request of another user would. So the course from minute to minute is the trace's, and within a minute the number
/// of requests varies as that of many users does. Memory is that of the minute's rows, however many copies there are.
#[derive(Debug, Default)]
pub(super) struct Copies {
    rows: Vec<Row>,
    /// When each row's next request is due, by the row's index.
    due: BinaryHeap<Reverse<(Span, usize)>>,
    from: Span,
    length: Span,
}

#[derive(Debug)]
struct Row {
    duration: Span,
    left: OrderStatistics,
    /// The request itself, while it is yet to come, and the copy that comes next.
    own: Option<Span>,
    copy: Option<Span>,
}

impl Row {
    fn next(&self) -> Option<Span> {
        [self.own, self.copy].into_iter().flatten().min()
    }
}

impl Copies {
    /// Begins another minute.
    pub(super) fn begin(&mut self, from: Span, to: Span) {
        self.rows.clear();
        self.due.clear();
        (self.from, self.length) = (from, to - from);
    }

    /// Adds a request of the minute that comes `count` times.
    pub(super) fn add(&mut self, at: Span, duration: Span, count: u64, rng: &mut Pcg64) {
        let Some(copies) = count.checked_sub(1) else { return };
        let row = Row { duration, left: OrderStatistics::new(copies), own: Some(at), copy: None };
        self.rows.push(row);
        let index = self.rows.len() - 1;
        self.draw(index, rng);
        self.schedule(index);
    }

    /// The next request's instant and duration.
    pub(super) fn next(&mut self, rng: &mut Pcg64) -> Option<(Span, Span)> {
        let Reverse((at, index)) = self.due.pop()?;
        if self.rows[index].own == Some(at) {
            self.rows[index].own = None;
        } else {
            self.draw(index, rng);
        }
        self.schedule(index);
        Some((at, self.rows[index].duration))
    }

    fn draw(&mut self, index: usize, rng: &mut Pcg64) {
        let row = &mut self.rows[index];
        let share = row.left.next(rng);
        row.copy = share.map(|share| self.from + Span::from_secs_f64(self.length.as_secs_f64() * share));
    }

    fn schedule(&mut self, index: usize) {
        self.due.extend(self.rows[index].next().map(|at| Reverse((at, index))));
    }
}
