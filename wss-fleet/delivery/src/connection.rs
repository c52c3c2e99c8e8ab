//! The state of one connection: what its client may send, and when it ends.

use model::{Timestamp, limits};
use protocol::close::CloseCode;
use protocol::frame::Hello;

use crate::frame_counts::FrameCounts;
use crate::rate_limit::TokenBucket;

/// How a connection reacts to an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Nothing,
    /// The client sent its `hello`: check the ticket, then attach.
    Hello(Hello),
    /// The connection ends.
    Close(CloseCode),
}

/// One connection. Its limits are a client's: 20 frames and 64 KiB a second, one `hello`.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    frames: TokenBucket,
    bytes: TokenBucket,
    unfinished_since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitingHello { until: Timestamp },
    Attached { until: Timestamp },
}

impl Connection {
    /// A connection whose upgrade was just answered.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::AwaitingHello { until: now.plus(limits::HELLO_WAIT_MAX) },
            frames: TokenBucket::new(limits::CLIENT_FRAMES_PER_SECOND_MAX, now),
            bytes: TokenBucket::new(limits::CLIENT_BYTES_PER_SECOND_MAX, now),
            unfinished_since: None,
        }
    }

    /// Records that the ticket was accepted: the connection lasts until the caller's token expires.
    pub fn attached(&mut self, token_expires_at: Timestamp) {
        self.phase = Phase::Attached { until: token_expires_at };
    }

    /// When [`Connection::on_time`] must be called next.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        let (Phase::AwaitingHello { until } | Phase::Attached { until }) = self.phase;
        let unfinished = self.unfinished_since.map(|at| at.plus(limits::CLIENT_MESSAGE_WAIT_MAX));
        unfinished.map_or(until, |unfinished| unfinished.min(until))
    }

    /// Handles incoming bytes. They are counted below the frame parser, because a client could use
    /// up a node's time without ever finishing a message.
    pub fn on_bytes(&mut self, metered: FrameCounts, now: Timestamp) -> Reaction {
        if metered.finished {
            self.unfinished_since = None;
        }
        if metered.unfinished {
            self.unfinished_since.get_or_insert(now);
        }
        let count = u32::try_from(metered.bytes).unwrap_or(u32::MAX);
        if !self.bytes.take(count, now) || !self.frames.take(metered.frames, now) {
            Reaction::Close(CloseCode::RateLimited)
        } else if metered.malformed {
            Reaction::Close(CloseCode::Protocol)
        } else {
            Reaction::Nothing
        }
    }

    /// Handles a whole text message.
    pub fn on_text(&mut self, text: &str) -> Reaction {
        match self.phase {
            Phase::AwaitingHello { .. } => match Hello::decode(text) {
                Ok(hello) => Reaction::Hello(hello),
                Err(code) => Reaction::Close(code),
            },
            // A client may send one `hello`, and nothing else.
            Phase::Attached { .. } => Reaction::Close(CloseCode::BadFrame),
        }
    }

    /// Handles the passing of time: closes the connection if a deadline is over.
    pub fn on_time(&mut self, now: Timestamp) -> Reaction {
        match self.phase {
            Phase::AwaitingHello { until } if now >= until => {
                Reaction::Close(CloseCode::HelloTimeout)
            }
            Phase::Attached { until } if now >= until => {
                Reaction::Close(CloseCode::Unauthenticated)
            }
            Phase::AwaitingHello { .. } | Phase::Attached { .. } => {
                let is_stuck = self
                    .unfinished_since
                    .is_some_and(|at| now >= at.plus(limits::CLIENT_MESSAGE_WAIT_MAX));
                if is_stuck { Reaction::Close(CloseCode::Protocol) } else { Reaction::Nothing }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"{"type":"hello","ticket":"t"}"#;

    /// Counts of `bytes` bytes in which `frames` frames began and ended.
    fn whole(bytes: usize, frames: u32) -> FrameCounts {
        FrameCounts { bytes, frames, finished: frames > 0, ..FrameCounts::default() }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_000_000 + ms)
    }

    #[test]
    fn a_connection_without_hello_ends_after_five_seconds() {
        let mut connection = Connection::new(at(0));
        assert_eq!(connection.deadline(), at(5_000));
        assert_eq!(connection.on_time(at(4_999)), Reaction::Nothing);
        assert_eq!(connection.on_time(at(5_000)), Reaction::Close(CloseCode::HelloTimeout));
    }

    #[test]
    fn a_connection_ends_with_its_token() {
        let mut connection = Connection::new(at(0));
        assert!(matches!(connection.on_text(HELLO), Reaction::Hello(_)));
        connection.attached(at(9_000));
        assert_eq!(connection.on_time(at(8_999)), Reaction::Nothing);
        assert_eq!(connection.on_time(at(9_000)), Reaction::Close(CloseCode::Unauthenticated));
    }

    #[test]
    fn a_second_hello_is_a_bad_frame() {
        let mut connection = Connection::new(at(0));
        connection.attached(at(9_000));
        assert_eq!(connection.on_text(HELLO), Reaction::Close(CloseCode::BadFrame));
    }

    #[test]
    fn over_twenty_frames_a_second_is_too_many() {
        let mut connection = Connection::new(at(0));
        connection.attached(at(90_000));
        assert_eq!(connection.on_bytes(whole(120, 20), at(10)), Reaction::Nothing);
        assert_eq!(
            connection.on_bytes(whole(6, 1), at(10)),
            Reaction::Close(CloseCode::RateLimited)
        );
        let mut steady = Connection::new(at(0));
        steady.attached(at(90_000));
        for n in 0..1_000 {
            let reaction = steady.on_bytes(whole(6, 1), at(n * 50));
            assert_eq!(reaction, Reaction::Nothing, "20 a second, frame {n}");
        }
    }

    #[test]
    fn bytes_are_counted_below_the_parser() {
        let mut connection = Connection::new(at(0));
        assert_eq!(connection.on_bytes(whole(64 * 1024, 0), at(0)), Reaction::Nothing);
        assert_eq!(connection.on_bytes(whole(65, 0), at(1)), Reaction::Nothing);
        assert_eq!(
            connection.on_bytes(whole(1, 0), at(1)),
            Reaction::Close(CloseCode::RateLimited)
        );
    }

    #[test]
    fn an_unfinished_message_gets_ten_seconds() {
        let begun =
            FrameCounts { bytes: 10, frames: 1, unfinished: true, ..FrameCounts::default() };
        let mut connection = Connection::new(at(0));
        connection.attached(at(90_000));
        connection.on_bytes(begun, at(1_000));
        connection.on_bytes(begun, at(9_000));
        assert_eq!(connection.deadline(), at(11_000));
        assert_eq!(connection.on_time(at(11_000)), Reaction::Close(CloseCode::Protocol));
        connection.on_bytes(whole(10, 1), at(11_000));
        assert_eq!(connection.on_time(at(11_000)), Reaction::Nothing);
        // One read may end a message and begin the next, whose time starts at once.
        connection.on_bytes(FrameCounts { finished: true, ..begun }, at(20_000));
        assert_eq!(connection.deadline(), at(30_000));
    }
}
