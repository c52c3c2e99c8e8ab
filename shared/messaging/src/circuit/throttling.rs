//! Client-side adaptive throttling (Beyer et al., "Site Reliability Engineering", O'Reilly 2016,
//! chapter 21).
//!
//! Over about the last [`limits::THROTTLED_WINDOW`] it counts the calls that were wanted, and those
//! that were answered without being throttled. Wanted calls beyond [`limits::CALLS_AN_ANSWER`]
//! times the answered ones are refused at random. While fewer are throttled, none is refused, so
//! one throttled key costs the others nothing.

use model::{Timestamp, limits};

use crate::ports::Randomness;

/// Decaying counts: a call's weight falls by a factor of e per window.
#[derive(Debug, Default)]
pub(super) struct Throttling {
    /// Calls that were answered, throttled or refused. The circuit counts those without an answer.
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

    /// Decides whether to refuse the next call. A refused call counts as wanted.
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
