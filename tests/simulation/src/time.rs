//! The clocks of a run: virtual time, plus each process's own error.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use memory::SeededRng;
use messaging::ports::Clock;
use model::Timestamp;
use tokio::time::Instant;

/// A process's clock: the time since the run began, plus an offset. Clones share it.
#[derive(Clone)]
pub(crate) struct SimClock {
    started_at: Instant,
    off_by_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// The correct clock. `started_at` is when the run began.
    #[must_use]
    pub(crate) fn new(started_at: Instant) -> Self {
        Self { started_at, off_by_ms: Arc::default() }
    }

    /// Another process's clock, which is off by `ms`.
    #[must_use]
    pub(crate) fn off_by(&self, ms: i64) -> Self {
        Self { started_at: self.started_at, off_by_ms: Arc::new(AtomicI64::new(ms)) }
    }

    /// Sets the offset, as an administrator or a time server would.
    pub(crate) fn set_off_by(&self, ms: i64) {
        self.off_by_ms.store(ms, Ordering::Relaxed);
    }

    /// Time since the run began.
    #[must_use]
    pub(crate) fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }
}

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimClock(off by {} ms)", self.off_by_ms.load(Ordering::Relaxed))
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let ms = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let right = BEGINNING_MS.saturating_add(ms);
        let off_by = self.off_by_ms.load(Ordering::Relaxed);
        Timestamp::from_unix_ms(right.saturating_add_signed(off_by))
    }
}

/// A random clock offset of at most `ms_max` either way.
pub(crate) fn skew(rng: &SeededRng, ms_max: u64) -> i64 {
    let drawn = rng.within(0..=2 * ms_max);
    i64::try_from(drawn).unwrap_or_default() - i64::try_from(ms_max).unwrap_or_default()
}

/// When every run begins: an arbitrary round time.
const BEGINNING_MS: u64 = 1_800_000_000_000;
