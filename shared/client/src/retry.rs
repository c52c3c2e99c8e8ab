//! One backoff for all of a client's parallel reads.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::error::ApiError;

/// Repeats reads until they are answered. While the server is unreachable, throttles (429) or fails
/// (5xx), only one call at a time is tried, with exponential backoff and full jitter; the others
/// wait for it. So parallel reads load a failing server no more than one. Clones share the state.
#[derive(Debug, Clone)]
pub(crate) struct Retrier {
    state: Arc<Mutex<State>>,
    probe: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct State {
    backoff: Backoff,
    /// Set while the server fails: when the next call may be sent.
    resume_at: Option<Instant>,
}

impl Retrier {
    pub(crate) fn new(backoff: Backoff) -> Self {
        let state = State { backoff, resume_at: None };
        Self { state: Arc::new(Mutex::new(state)), probe: Arc::default() }
    }

    /// Repeats a read until it is answered, or refused for good.
    ///
    /// # Errors
    /// Errors that a retry cannot fix.
    ///
    /// # Cancel safety
    /// Dropping the future lets another call take its turn.
    pub(crate) async fn run<T, F>(&self, call: impl Fn() -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        loop {
            let probe = match self.resume_at() {
                Some(_) => Some(self.probe.lock().await),
                None => None,
            };
            // The server may have recovered, or failed again, while this call waited for its turn.
            let resume_at = self.resume_at();
            let is_probe = probe.is_some() && resume_at.is_some();
            let turn = probe.filter(|_| is_probe);
            if let Some(resume_at) = resume_at.filter(|_| is_probe) {
                sleep_until(resume_at).await;
            }
            match call().await {
                Err(error) if error.is_retryable() => self.failed(is_probe, error.retry_after()),
                answered => {
                    self.answered(is_probe);
                    return answered;
                }
            }
            drop(turn);
        }
    }

    fn resume_at(&self) -> Option<Instant> {
        self.state.lock().resume_at
    }

    /// Counts a failure, unless the call was already under way when the server began to fail.
    fn failed(&self, was_probe: bool, retry_after: Option<Duration>) {
        let mut state = self.state.lock();
        if state.resume_at.is_none() || was_probe {
            let wait = state.backoff.next_wait(retry_after);
            state.resume_at = Some(Instant::now() + wait);
        }
    }

    fn answered(&self, was_probe: bool) {
        let mut state = self.state.lock();
        if state.resume_at.is_none() || was_probe {
            state.backoff.reset();
            state.resume_at = None;
        }
    }
}

#[cfg(test)]
mod tests;
