//! One backoff for all of a client's parallel reads.

use std::sync::Arc;

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
            let mut turn = None;
            if self.resume_at().is_some() {
                let waited = self.probe.lock().await;
                // The server may have recovered, or failed again, while this call waited.
                if let Some(resume_at) = self.resume_at() {
                    turn = Some(waited);
                    sleep_until(resume_at).await;
                }
            }
            let answer = call().await;
            let failure = answer.as_ref().err().filter(|error| error.is_retryable());
            self.record(failure, turn.is_some());
            if failure.is_none() {
                return answer;
            }
        }
    }

    fn resume_at(&self) -> Option<Instant> {
        self.state.lock().resume_at
    }

    /// Records how a call ended, unless it was already under way when the server began to fail.
    fn record(&self, failure: Option<&ApiError>, is_probe: bool) {
        let mut state = self.state.lock();
        if state.resume_at.is_some() && !is_probe {
            return;
        }
        state.resume_at = match failure {
            Some(error) => Some(Instant::now() + state.backoff.next_wait(error.retry_after())),
            None => {
                state.backoff.reset();
                None
            }
        };
    }
}

#[cfg(test)]
mod tests;
