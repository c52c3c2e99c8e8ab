//! This client's estimate of the server's clock.

use std::time::Duration;

use model::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The newest `server_time` of an answer or a frame, and the time since, by a monotonic clock.
///
/// Clocks of phones can be minutes off, and are set at any time. An id with a wrong time costs the
/// server a second write (G1), or is refused, so ids are minted with this clock.
#[derive(Debug, Default)]
pub(crate) struct ServerClock(Mutex<Option<(Timestamp, Instant)>>);

impl ServerClock {
    /// Corrects the clock by an answer that took `round_trip` and arrived now. Assumes that the server
    /// read its clock halfway through.
    pub(crate) fn learn(&self, server_time: Timestamp, round_trip: Duration) {
        *self.0.lock() = Some((server_time.plus(round_trip / 2), Instant::now()));
    }

    /// Corrects the clock by a frame, which may have been under way for any time. If this device slept,
    /// its monotonic clock may have stopped meanwhile.
    pub(crate) fn is_at_least(&self, server_time: Timestamp) {
        let mut known = self.0.lock();
        if known.is_none_or(|known| elapsed(known) < server_time) {
            *known = Some((server_time, Instant::now()));
        }
    }

    /// The estimated server time; `local` until the server has said one.
    pub(crate) fn now(&self, local: impl FnOnce() -> Timestamp) -> Timestamp {
        let known = *self.0.lock();
        known.map_or_else(local, elapsed).min(Timestamp::MAX)
    }
}

fn elapsed((time, at): (Timestamp, Instant)) -> Timestamp {
    time.plus(at.elapsed())
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn the_local_clock_counts_only_until_the_server_has_said_the_time() {
        let clock = ServerClock::default();
        assert_eq!(clock.now(|| at(5_000)), at(5_000));
        clock.learn(at(95_000), SECOND);
        assert_eq!(clock.now(|| at(6_000)), at(95_500));
        advance(SECOND).await;
        assert_eq!(clock.now(|| at(600_000)), at(96_500), "somebody set the local clock");
        clock.learn(at(5_000), Duration::ZERO);
        assert_eq!(clock.now(|| at(96_000)), at(5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_moves_the_clock_on_and_never_back() {
        let clock = ServerClock::default();
        clock.is_at_least(at(95_000));
        advance(SECOND).await;
        clock.is_at_least(at(95_900));
        assert_eq!(clock.now(|| at(0)), at(96_000));
        clock.is_at_least(at(700_000));
        assert_eq!(clock.now(|| at(0)), at(700_000));
    }
}
