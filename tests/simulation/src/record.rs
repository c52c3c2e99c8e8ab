//! Records everything that happens in a run, in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use checker::{Event, History};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Writes a run's history. Clones write into the same one.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    started_at: Instant,
    history: Arc<Mutex<History>>,
    frames: Arc<AtomicU64>,
    /// Types of frames that came with a cursor although they are beside the stream.
    cursors: Arc<Mutex<BTreeSet<String>>>,
}

impl Recorder {
    /// An empty history of a run that began at `started_at`.
    #[must_use]
    pub(crate) fn new(started_at: Instant) -> Self {
        Self {
            started_at,
            history: Arc::default(),
            frames: Arc::default(),
            cursors: Arc::default(),
        }
    }

    /// The time since the start.
    #[must_use]
    pub(crate) fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Records an event with the time since the start.
    pub(crate) fn note(&self, event: Event) {
        self.history.lock().record(self.started_at.elapsed(), event);
    }

    /// Counts a frame that a client received.
    pub(crate) fn frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames that clients have received so far.
    #[must_use]
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Records that a frame of this type had a cursor, although it is beside the stream.
    pub(crate) fn cursor_of(&self, kind: &str) {
        self.cursors.lock().insert(kind.to_owned());
    }

    /// The types of such frames.
    #[must_use]
    pub(crate) fn cursors(&self) -> Vec<String> {
        self.cursors.lock().iter().cloned().collect()
    }

    /// The history so far.
    #[must_use]
    pub(crate) fn history(&self) -> History {
        self.history.lock().clone()
    }
}
