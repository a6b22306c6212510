//! The one clock at the edge. Everything else in the adapter is told the time.
//!
//! It follows the monotonic clock from the wall's reading at the start, so it never steps. It can run faster than the
//! world, which compresses the demo's timers and timestamps alike, or stand still until a test moves it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plimsoll::units::{Span, Time};
use tokio::sync::watch;

/// Tells the time and waits for it. Cheap to clone; clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Running { started: Instant, at_start: Time, speed: f64 },
    Manual(watch::Receiver<Time>),
}

/// Instants at equal distances.
#[derive(Debug)]
pub struct Ticks {
    clock: Clock,
    interval: Span,
    last: Option<Time>,
}

/// Moves a clock that stands still.
#[derive(Debug)]
pub struct Hand(watch::Sender<Time>);

#[expect(clippy::disallowed_methods, reason = "this is the one Clock")]
fn wall() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "this is the one Clock")]
fn monotonic() -> Instant {
    Instant::now()
}

impl Clock {
    /// The world's time.
    pub fn system() -> Self {
        Self::compressed(1.0)
    }

    /// A clock on which `speed` seconds pass in each second of the world; `speed` above zero.
    pub fn compressed(speed: f64) -> Self {
        Self(Kind::Running { started: monotonic(), at_start: wall(), speed })
    }

    /// A clock that stands at `time` until its hand moves.
    pub fn manual(time: Time) -> (Self, Hand) {
        let (sender, receiver) = watch::channel(time);
        (Self(Kind::Manual(receiver)), Hand(sender))
    }

    /// The present instant.
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::Running { started, at_start, speed } => {
                let elapsed = monotonic().duration_since(*started);
                *at_start + Span::from_secs_f64(elapsed.as_secs_f64() * speed)
            }
            Kind::Manual(time) => *time.borrow(),
        }
    }

    /// How far the wall's clock is ahead of this one: it may have stepped since the start. Rates must not notice, ages of
    /// processes must. Where time is compressed or stands still there is no other wall.
    pub fn wall_ahead(&self) -> Span {
        match &self.0 {
            Kind::Running { speed: 1.0, .. } => wall() - self.now(),
            _ => Span::ZERO,
        }
    }

    /// The world's date, by which others date what they tell, however fast this clock goes; one that stands still is its own world.
    pub fn date(&self) -> Time {
        match &self.0 {
            Kind::Running { .. } => wall(),
            Kind::Manual(time) => *time.borrow(),
        }
    }

    /// Time in the world that `span` takes on this clock. A clock that stands still takes the world's.
    pub fn in_world(&self, span: Span) -> Duration {
        let speed = if let Kind::Running { speed, .. } = &self.0 { *speed } else { 1.0 };
        Duration::try_from_secs_f64(span.as_secs_f64() / speed).unwrap_or_default()
    }

    /// What a time in the world is on this clock.
    pub fn of_world(&self, span: Span) -> Span {
        let speed = if let Kind::Running { speed, .. } = &self.0 { *speed } else { 1.0 };
        Span::from_secs_f64(span.as_secs_f64() * speed)
    }

    /// Instants `interval` apart, which is above zero. The first one is when it is asked for.
    pub fn every(&self, interval: Span) -> Ticks {
        Ticks { clock: self.clone(), interval, last: None }
    }

    /// Returns when the clock shows `time`.
    pub async fn sleep_until(&self, time: Time) {
        match &self.0 {
            Kind::Running { .. } => tokio::time::sleep(self.in_world(time - self.now())).await,
            Kind::Manual(now) => {
                // A hand that was let go never moves the clock again.
                if now.clone().wait_for(|now| *now >= time).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

impl Ticks {
    /// Returns at the next instant, the first time at once. Whoever comes too late for some waits for the next one, and is
    /// not given several at once.
    pub async fn next(&mut self) {
        let now = self.clock.now();
        let Some(last) = self.last else {
            self.last = Some(now);
            return;
        };
        let mut next = last;
        while next <= now {
            next += self.interval;
        }
        self.clock.sleep_until(next).await;
        self.last = Some(next);
    }
}

impl Hand {
    /// Moves the clock forward to `time`.
    pub fn set(&self, time: Time) {
        self.0.send_if_modified(|now| {
            let forward = time > *now;
            *now = time.max(*now);
            forward
        });
    }
}
