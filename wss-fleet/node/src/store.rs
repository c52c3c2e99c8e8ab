//! The node's access to its store: how many calls run at once, and their pace during an outage.

use std::time::Duration;

use crate::reported::Reported;
use model::limits;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Bounds the calls of all workspaces together. The semaphore is fair and each workspace has its
/// own limit (`pace`), so one whose calls hang leaves room for the others.
#[derive(Debug)]
pub(crate) struct Store {
    calls: Semaphore,
    state: Mutex<State>,
    /// Wakes the calls that wait to be admitted, once a call is answered.
    back: Notify,
    outage: Reported,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last answer, over all workspaces.
    failures: u32,
    /// When the next call may begin while nothing is answered.
    next_at: Option<Instant>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let state = Mutex::default();
        let calls = Semaphore::new(limits::STORE_READS_MAX);
        let outage = Reported::new("reads of the store fail", "the store answers again");
        Self { calls, state, back: Notify::new(), outage }
    }

    /// Waits for room for one call. While the store answers nothing, calls are spaced: one probe
    /// per second from each of thousands of workspaces could keep the store down.
    pub(crate) async fn admit(&self) -> Option<SemaphorePermit<'_>> {
        let back = self.back.notified();
        let wait = self.reserve(Instant::now());
        if !wait.is_zero() {
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => {}
                () = back => {}
            }
        }
        // The semaphore is never closed.
        self.calls.acquire().await.ok()
    }

    fn reserve(&self, now: Instant) -> Duration {
        let mut state = self.state.lock();
        if state.failures < limits::STORE_FAILURES_MAX {
            return Duration::ZERO;
        }
        let at = state.next_at.map_or(now, |next_at| next_at.max(now));
        state.next_at = Some(at + limits::STORE_PROBE_EVERY);
        at - now
    }

    /// A call was answered.
    pub(crate) fn answered(&self) {
        let failures = std::mem::take(&mut *self.state.lock()).failures;
        if failures >= limits::STORE_FAILURES_MAX {
            self.back.notify_waiters();
        }
        if failures > 0 {
            self.outage.succeeded();
        }
    }

    /// A call failed, or was not answered in time.
    pub(crate) fn failed(&self, cause: impl FnOnce() -> String) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        drop(state);
        self.outage.failed(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_spaced_while_nothing_is_answered_and_free_after_one_answer() {
        let (store, begun) = (Store::new(), Instant::now());
        for _ in 0..limits::STORE_FAILURES_MAX {
            let _permit = store.admit().await;
            store.failed(String::new);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..=50 {
            let _permit = store.admit().await;
            store.failed(String::new);
        }
        assert_eq!(begun.elapsed(), limits::STORE_PROBE_EVERY * 50);
        store.answered();
        let _permit = store.admit().await;
        assert_eq!(begun.elapsed(), limits::STORE_PROBE_EVERY * 50);
    }
}
