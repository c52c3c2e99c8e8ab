//! What happens in a run is written down once, in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use checker::{Event, History};
use tokio::time::Instant;

/// Writes the history of a run. Clones write into one.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    started_at: Instant,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    /// An empty history that begins now.
    #[must_use]
    pub(crate) fn new(started_at: Instant) -> Self {
        Self { started_at, history: Arc::default() }
    }

    /// Writes an event down with the time.
    pub(crate) fn note(&self, event: Event) {
        lock(&self.history).record(self.started_at.elapsed(), event);
    }

    /// What was written so far.
    #[must_use]
    pub(crate) fn history(&self) -> History {
        lock(&self.history).clone()
    }
}

/// One thread holds these locks, each for a moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
