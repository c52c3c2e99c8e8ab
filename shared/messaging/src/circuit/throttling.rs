//! Adaptive throttling: the caller's part in the overload of what it calls (Beyer et al., "Site
//! Reliability Engineering", O'Reilly 2016, chapter 21).
//!
//! Of the last [`limits::THROTTLED_WINDOW`] it counts the calls that were wanted and those that were
//! answered without being throttled. What is wanted beyond [`limits::CALLS_AN_ANSWER`] times the
//! latter is refused at random. Below that share of throttled calls nothing is ever refused, so one
//! throttled key among others costs them nothing.

use model::{Timestamp, limits};

use crate::ports::Randomness;

/// Counts that fade: each call's weight falls by e in a window.
#[derive(Debug, Default)]
pub(super) struct Throttling {
    /// Answered, throttled or refused. Calls without an answer are the circuit's.
    wanted: f64,
    answered: f64,
    counted_at: Timestamp,
}

impl Throttling {
    /// Counts the answer to a call.
    pub(super) fn count(&mut self, now: Timestamp, is_throttled: bool) {
        self.fade(now);
        self.wanted += 1.0;
        self.answered += if is_throttled { 0.0 } else { 1.0 };
    }

    /// Whether the next call is refused; if so it counts as wanted.
    pub(super) fn refuses(&mut self, now: Timestamp, randomness: &dyn Randomness) -> bool {
        self.fade(now);
        let excess = limits::CALLS_AN_ANSWER.mul_add(-self.answered, self.wanted);
        if excess <= 0.0 {
            return false;
        }
        let share = excess / (self.wanted + 1.0);
        let is_refused = (randomness.up_to(DRAWS) as f64) < share * DRAWS as f64;
        self.wanted += f64::from(u8::from(is_refused));
        is_refused
    }

    fn fade(&mut self, now: Timestamp) {
        let windows = now.since(self.counted_at).div_duration_f64(limits::THROTTLED_WINDOW);
        let left = (-windows).exp();
        self.wanted *= left;
        self.answered *= left;
        self.counted_at = now;
    }
}

const DRAWS: u64 = 1_000_000;
