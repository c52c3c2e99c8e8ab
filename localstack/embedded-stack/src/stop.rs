//! The one signal that ends everything.

use tokio::sync::watch;

/// Tells all who wait that the stack stops. Dropping it tells them too.
#[derive(Debug)]
pub(crate) struct Stop(watch::Sender<bool>);

/// Waits for a [`Stop`].
#[derive(Debug, Clone)]
pub(crate) struct Stopped(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn new() -> (Self, Stopped) {
        let (stop, stopped) = watch::channel(false);
        (Self(stop), Stopped(stopped))
    }

    pub(crate) fn tell(&self) {
        self.0.send_replace(true);
    }
}

impl Stopped {
    /// Returns when the stack stops.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn wait(&mut self) {
        // A sender that is gone means the same.
        self.0.wait_for(|stop| *stop).await.map(drop).unwrap_or_default();
    }
}
