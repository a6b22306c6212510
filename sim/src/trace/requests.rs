//! `*.req.csv`: one row a request.

use std::path::Path;

use plimsoll::units::Span;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::copies::Copies;
use super::rows::Rows;
use super::{TraceError, TraceOptions, Window};
use crate::cluster::Request;
use crate::random::{Purpose, generator};

const MINUTE: Span = Span::from_secs(60);

/// Reads `timestamp_s,duration_s[,…]`, in the order of arrival. A rate scale below 1 keeps each request with that
/// probability; above 1 it adds copies, which arrive within the same minute of the window.
#[derive(Debug)]
pub(super) struct Requests {
    rows: Rows,
    window: Window,
    scale: f64,
    cpu_share: f64,
    rng: Pcg64,
    /// The row that comes next.
    next: Option<Row>,
    copies: Copies,
    last: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    at: Span,
    duration: Span,
}

impl Requests {
    pub(super) fn open(path: &Path, options: &TraceOptions) -> Result<Self, TraceError> {
        let rows = Rows::open(path)?;
        let header: Vec<&str> = rows.header().iter().collect();
        if !header.starts_with(&["timestamp_s", "duration_s"]) {
            let expected = "the header timestamp_s,duration_s[,more columns]";
            return Err(rows.row_error(header.join(","), expected.to_owned()));
        }
        let mut requests = Self {
            rows,
            window: options.window,
            scale: options.rate_scale,
            cpu_share: options.cpu_share,
            rng: generator(options.seed, Purpose::Scaling),
            next: None,
            copies: Copies::default(),
            last: None,
        };
        requests.next = requests.read()?;
        Ok(requests)
    }

    /// How many requests it gives, on average over all seeds. Reads it to its end.
    pub(super) fn expected(mut self) -> Result<u64, TraceError> {
        let mut rows = 0u64;
        while let Some(row) = self.next.take() {
            rows += u64::from((self.window.from..self.window.to).contains(&row.at));
            self.next = self.read()?;
        }
        Ok((rows as f64 * self.scale) as u64)
    }

    fn read(&mut self) -> Result<Option<Row>, TraceError> {
        if !self.rows.next()? {
            return Ok(None);
        }
        let at = match self.last {
            None => self.rows.first_instant(self.window)?,
            Some(_) => self.rows.seconds(0)?,
        };
        let duration = self.rows.seconds(1)?;
        if let Some(last) = self.last.filter(|last| at < *last) {
            let expected = format!("at least {}: rows are in the order of arrival", last.as_secs_f64());
            return Err(self.rows.value_error(0, expected));
        }
        self.last = Some(at);
        Ok(Some(Row { at, duration }))
    }

    fn take(&mut self) -> Result<Option<Row>, TraceError> {
        let row = self.next;
        if row.is_some() {
            self.next = self.read()?;
        }
        Ok(row)
    }

    fn advance(&mut self) -> Result<Option<Request>, TraceError> {
        loop {
            if let Some((at, duration)) = self.copies.next(&mut self.rng) {
                return Ok(Some(self.request(at, duration)));
            }
            let Some(Row { at, duration }) = self.next else { return Ok(None) };
            if self.scale > 1.0 && at >= self.window.from {
                self.copy_minute(at)?;
                continue;
            }
            self.take()?;
            if self.count() > 0 {
                return Ok(Some(self.request(at, duration)));
            }
        }
    }

    /// Takes the requests of the minute around `at`, counted from the window's beginning, with their copies.
    fn copy_minute(&mut self, at: Span) -> Result<(), TraceError> {
        let into = Span::from_nanos((at - self.window.from).as_nanos() % MINUTE.as_nanos());
        let end = at - into + MINUTE;
        // Nobody asks for what is beyond the window.
        let end = if at < self.window.to { end.min(self.window.to) } else { end };
        self.copies.begin(at - into, end);
        while let Some(row) = self.next.filter(|row| row.at < end) {
            let count = self.count();
            self.copies.add(row.at, row.duration, count, &mut self.rng);
            self.take()?;
        }
        Ok(())
    }

    /// How many requests a row makes.
    fn count(&mut self) -> u64 {
        let whole = self.scale.floor();
        let more = self.scale > whole && self.rng.random::<f64>() < self.scale - whole;
        whole as u64 + u64::from(more)
    }

    fn request(&self, at: Span, duration: Span) -> Request {
        super::split(at, duration, self.cpu_share)
    }
}

impl Iterator for Requests {
    type Item = Result<Request, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
