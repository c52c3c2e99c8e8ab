//! What happens in a run is written down once, in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use checker::{Event, History};
use tokio::time::Instant;

/// Writes the history of a run. Clones write into one.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    started_at: Instant,
    history: Arc<Mutex<History>>,
    frames: Arc<AtomicU64>,
}

impl Recorder {
    /// An empty history that begins now.
    #[must_use]
    pub(crate) fn new(started_at: Instant) -> Self {
        Self { started_at, history: Arc::default(), frames: Arc::default() }
    }

    /// Writes an event down with the time.
    pub(crate) fn note(&self, event: Event) {
        lock(&self.history).record(self.started_at.elapsed(), event);
    }

    /// Counts a frame that a client got.
    pub(crate) fn frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames that clients got so far.
    #[must_use]
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
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
