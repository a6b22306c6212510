//! The word to stop: said once, heard by every part.

use tokio::sync::watch;

/// Says it. Dropping this says it too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears it. Clones hear the same.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// One to say it, and one to hear it.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Tells every part to finish what is under way and to end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once the word is said.
    pub async fn told(&mut self) {
        // An error means that nobody is left to say it.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
