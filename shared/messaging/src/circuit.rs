//! A circuit breaker. While a dependency is down, calls are refused at once instead of waiting for
//! it, and single probes find out whether it is back.
//!
//! - *Closed*: every call passes. [`limits::CIRCUIT_FAILURES_MAX`] failures in a row open it.
//! - *Open*: one call passes as a probe after a jittered period, and another after each further
//!   period, even if the probe before it hangs. The period doubles with each failure. All other
//!   calls are refused.
//!
//! Any success closes it. Throttling is an answer, so it does not open the circuit. But while most
//! calls are throttled, some are refused: those that pass stay within a small multiple of the
//! answered ones ([`Throttling`]), so that retries do not become most of the dependency's work.
//! Openings are remembered for [`limits::CIRCUIT_MEMORY`]. A dependency that keeps failing gets
//! longer pauses, and its callers get longer waits ([`Circuit::retry_after`]).

use std::sync::Arc;
use std::time::Duration;

use model::{Timestamp, backoff, limits};
use parking_lot::Mutex;

use crate::ports::{Clock, Randomness};

use self::throttling::Throttling;

mod throttling;

/// The state of one dependency, shared by all calls of a process that use it.
#[derive(Debug)]
pub struct Circuit {
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// How often it opened, or a probe failed, within [`limits::CIRCUIT_MEMORY`].
    openings: u32,
    last_failure: Option<Timestamp>,
    last_answer: Option<Timestamp>,
    open: Option<Open>,
    throttling: Throttling,
}

#[derive(Debug)]
struct Open {
    since: Timestamp,
    /// When the next probe passes.
    probe_at: Timestamp,
}

/// A call was refused without being tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTried {
    /// The circuit is open.
    #[error("not tried: the last calls failed")]
    Open,
    /// Most calls are throttled.
    #[error("not tried: most calls of the last second were throttled")]
    Throttled,
}

/// Permission to make one call. If it is dropped without an outcome, it counts as a failure if the
/// call took [`limits::CIRCUIT_SLOW`] or longer; else it does not count.
#[derive(Debug)]
#[must_use]
pub struct Permit<'a> {
    circuit: &'a Circuit,
    since: Timestamp,
    is_probe: bool,
    is_settled: bool,
}

impl Circuit {
    /// A closed circuit.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, randomness: Arc<dyn Randomness>) -> Self {
        Self { clock, randomness, state: Mutex::default() }
    }

    /// Lets a call through, or refuses it.
    ///
    /// # Errors
    /// [`NotTried::Open`] while it is open, except for probes.
    /// [`NotTried::Throttled`] for a random share of calls while most are throttled.
    pub fn admit(&self) -> Result<Permit<'_>, NotTried> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.throttling.refuses(now, &*self.randomness) {
            return Err(NotTried::Throttled);
        }
        let is_probe = state.open.is_some();
        if let Some(open) = &state.open {
            // A clock that was set back must not keep it open.
            if now < open.probe_at && now >= open.since {
                return Err(NotTried::Open);
            }
            // A probe that hangs must not delay the next one.
            let probe_at = now.plus(self.period(&state, now));
            state.open = Some(Open { since: now, probe_at });
        }
        Ok(Permit { circuit: self, since: now, is_probe, is_settled: false })
    }

    /// Whether calls are refused now, except for probes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state.lock().open.is_some()
    }

    /// How long a refused caller should wait: longer after each recent opening, and jittered, so
    /// that callers that were refused together do not come back together.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let openings = self.state.lock().recent_openings(self.clock.now());
        let wait = backoff(limits::RETRY_AFTER, openings);
        wait + self.up_to(wait)
    }

    fn answered(&self, is_throttled: bool) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.failures = 0;
        state.last_answer = Some(now);
        state.open = None;
        state.throttling.count(now, is_throttled);
    }

    fn fail(&self, since: Timestamp, is_probe: bool) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        // A call that began before the last answer says nothing about the time since.
        if state.last_answer.is_some_and(|at| at > since && at <= now) {
            return;
        }
        state.openings = state.recent_openings(now);
        state.last_failure = Some(now);
        state.failures = state.failures.saturating_add(1);
        if state.open.is_none() && state.failures >= limits::CIRCUIT_FAILURES_MAX {
            let probe_at = now.plus(self.period(&state, now));
            state.open = Some(Open { since: now, probe_at });
            state.openings = state.openings.saturating_add(1);
        } else if is_probe {
            state.openings = state.openings.saturating_add(1);
        }
    }

    /// How long until the next probe: the period with equal jitter (50 to 100 %).
    fn period(&self, state: &State, now: Timestamp) -> Duration {
        let period = backoff(limits::CIRCUIT_OPEN, state.recent_openings(now));
        period / 2 + self.up_to(period / 2)
    }

    fn give_back(&self, is_probe: bool) {
        if is_probe && let Some(open) = &mut self.state.lock().open {
            open.probe_at = open.since;
        }
    }

    fn up_to(&self, most: Duration) -> Duration {
        let ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.randomness.up_to(ms))
    }
}

impl State {
    fn recent_openings(&self, now: Timestamp) -> u32 {
        let is_recent = self.last_failure.is_some_and(|at| now.since(at) < limits::CIRCUIT_MEMORY);
        if is_recent { self.openings } else { 0 }
    }
}

impl Permit<'_> {
    /// The call was answered.
    pub fn succeed(mut self) {
        self.is_settled = true;
        self.circuit.answered(false);
    }

    /// The call was throttled.
    pub fn throttled(mut self) {
        self.is_settled = true;
        self.circuit.answered(true);
    }

    /// The call was not answered, or failed for a reason that is not this call's own.
    pub fn fail(mut self) {
        self.is_settled = true;
        self.circuit.fail(self.since, self.is_probe);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        if self.circuit.clock.now().since(self.since) >= limits::CIRCUIT_SLOW {
            self.circuit.fail(self.since, self.is_probe);
        } else {
            self.circuit.give_back(self.is_probe);
        }
    }
}

#[cfg(test)]
mod tests;
