//! When to end: after a while, or when somebody says so.

use anyhow::Context;
use plimsoll::units::Span;

use crate::clock::Clock;
use crate::stop::{self, Stop};

/// Returns after so much time; without a duration never.
pub(super) async fn wait(clock: &Clock, duration: Option<Span>) {
    match duration {
        Some(duration) => clock.sleep_until(clock.now() + duration).await,
        None => std::future::pending().await,
    }
}

/// The first signal ends the work in order, the second at once.
pub(super) async fn run_until_told<F>(work: impl FnOnce(Stop) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (stopper, stop) = stop::channel();
    let mut signals = Signals::new().context("signals cannot be caught")?;
    let mut running = tokio::spawn(work(stop));
    tokio::select! {
        ended = &mut running => return ended?,
        name = signals.next() => tracing::info!("{name}: finishing what is under way; once more to stop at once"),
    }
    stopper.stop();
    tokio::select! {
        ended = running => ended?,
        name = signals.next() => anyhow::bail!("{name} again: stopped at once"),
    }
}

/// The two signals that mean "stop".
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Catches them from now on.
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The name of the next one.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
