//! `*.req.csv`: one row a request.

use std::path::Path;

use plimsoll::units::Span;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::rows::Rows;
use super::{TraceError, TraceOptions, Window};
use crate::cluster::Request;
use crate::random::{OrderStatistics, Purpose, generator};

/// Reads `timestamp_s,duration_s[,…]`, in the order of arrival. A rate scale below 1 keeps each request with that
/// probability; above 1 it adds copies, which arrive between a request and the next.
#[derive(Debug)]
pub(super) struct Requests {
    rows: Rows,
    window: Window,
    scale: f64,
    cpu_share: f64,
    rng: Pcg64,
    /// The row whose requests are being given, and the one after.
    current: Option<Row>,
    next: Option<Row>,
    copies: OrderStatistics,
    last: Span,
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
            current: None,
            next: None,
            copies: OrderStatistics::new(0),
            last: Span::ZERO,
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
        let row = Row { at: self.rows.seconds(0)?, duration: self.rows.seconds(1)? };
        if row.at < self.last {
            let expected = format!("at least {}: rows are in the order of arrival", self.last.as_secs_f64());
            return Err(self.rows.value_error(0, expected));
        }
        self.last = row.at;
        Ok(Some(row))
    }

    fn advance(&mut self) -> Result<Option<Request>, TraceError> {
        loop {
            if let Some(row) = self.current {
                if self.scale == 1.0 && self.copies.left() > 0 {
                    self.copies = OrderStatistics::new(0);
                    return Ok(Some(self.request(row, Span::ZERO)));
                }
                if let Some(share) = self.copies.next(&mut self.rng) {
                    let gap = self.next.map_or(Span::ZERO, |next| next.at - row.at);
                    return Ok(Some(self.request(row, Span::from_secs_f64(gap.as_secs_f64() * share))));
                }
            }
            let Some(row) = self.next else { return Ok(None) };
            self.current = Some(row);
            self.next = self.read()?;
            let whole = self.scale.floor();
            let more = self.scale > whole && self.rng.random::<f64>() < self.scale - whole;
            self.copies = OrderStatistics::new(whole as u64 + u64::from(more));
        }
    }

    fn request(&self, row: Row, later: Span) -> Request {
        super::split(row.at + later, row.duration, self.cpu_share)
    }
}

impl Iterator for Requests {
    type Item = Result<Request, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
