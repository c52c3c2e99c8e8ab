//! The signal that stops all parts of the stack.

use tokio::sync::watch;

/// Signals all waiting tasks that the stack stops. Dropping it does the same.
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

    pub(crate) fn stop_all(&self) {
        self.0.send_replace(true);
    }
}

impl Stopped {
    /// Returns when the stack stops.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn wait(&mut self) {
        // A dropped sender means stop, too.
        self.0.wait_for(|stop| *stop).await.map(drop).unwrap_or_default();
    }
}
