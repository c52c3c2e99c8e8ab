//! This client's estimate of the server's clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::Timestamp;

/// The local clock, corrected by the `server_time` of answers.
///
/// Clocks of phones can be minutes off. An id with a wrong time costs the server a second write
/// (G1), so ids are minted with this clock.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    /// Server minus local, in milliseconds.
    offset_ms: AtomicI64,
}

impl ServerClock {
    /// Corrects the clock by an answer that took `round_trip` and arrived at `local`. Assumes that
    /// the server read its clock halfway through.
    pub(crate) fn learn(&self, local: Timestamp, server_time: Timestamp, round_trip: Duration) {
        let signed = |time: Timestamp| i64::try_from(time.unix_ms()).unwrap_or(i64::MAX);
        let server = server_time.plus(round_trip / 2);
        self.offset_ms.store(signed(server) - signed(local), Ordering::Relaxed);
    }

    /// The estimated server time at a local time.
    pub(crate) fn at(&self, local: Timestamp) -> Timestamp {
        let corrected =
            local.unix_ms().saturating_add_signed(self.offset_ms.load(Ordering::Relaxed));
        Timestamp::from_unix_ms(corrected).min(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_or_fast_clock_is_corrected() {
        let clock = ServerClock::default();
        let at = Timestamp::from_unix_ms;
        assert_eq!(clock.at(at(5_000)), at(5_000));
        clock.learn(at(5_000), at(95_000), Duration::ZERO);
        assert_eq!(clock.at(at(6_000)), at(96_000));
        clock.learn(at(95_000), at(5_000), Duration::ZERO);
        assert_eq!(clock.at(at(96_000)), at(6_000));
        assert_eq!(clock.at(at(0)), at(0));
    }
}
