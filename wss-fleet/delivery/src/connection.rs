//! The state of one connection: what its client may send, and when it ends.

use model::{Timestamp, limits};
use protocol::client_frame::{BadFrame, ClientFrame, Hello};
use protocol::close::CloseCode;

use crate::frame_counts::FrameCounts;
use crate::rate_limit::TokenBucket;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Its first frame.
    Hello(Hello),
    /// A later one.
    Frame(ClientFrame),
    /// A later one that is malformed: it is passed over.
    Malformed(BadFrame),
}

/// One connection. Its limits are a client's: frames and bytes a second, one `hello`.
#[derive(Debug)]
pub struct Connection {
    is_attached: bool,
    /// When it ends: for lack of a `hello`, or with its user's token.
    until: Timestamp,
    frames: TokenBucket,
    bytes: TokenBucket,
    unfinished_since: Option<Timestamp>,
}

impl Connection {
    /// A connection whose upgrade was just answered.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            is_attached: false,
            until: now.plus(limits::HELLO_WAIT_MAX),
            frames: TokenBucket::new(limits::CLIENT_FRAMES_PER_SECOND_MAX, now),
            bytes: TokenBucket::new(limits::CLIENT_BYTES_PER_SECOND_MAX, now),
            unfinished_since: None,
        }
    }

    /// Records that the ticket was accepted: the connection lasts until the caller's token expires.
    /// From now on its client may say more.
    pub fn attached(&mut self, token_expires_at: Timestamp, now: Timestamp) {
        (self.is_attached, self.until) = (true, token_expires_at);
        self.frames = TokenBucket::new(limits::ATTACHED_FRAMES_PER_SECOND_MAX, now);
        self.bytes = TokenBucket::new(limits::ATTACHED_BYTES_PER_SECOND_MAX, now);
    }

    /// Records that the caller has a newer token: the connection lasts until that one expires.
    pub const fn renewed(&mut self, token_expires_at: Timestamp) {
        self.until = token_expires_at;
    }

    /// Bytes of a frame that it may send now.
    #[must_use]
    pub const fn frame_bytes_max(&self) -> usize {
        if self.is_attached {
            limits::ATTACHED_FRAME_BYTES_MAX
        } else {
            limits::CLIENT_FRAME_BYTES_MAX
        }
    }

    /// When [`Connection::on_time`] must be called next.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.message_until().map_or(self.until, |until| until.min(self.until))
    }

    /// When an unfinished message must be finished.
    fn message_until(&self) -> Option<Timestamp> {
        self.unfinished_since.map(|at| at.plus(limits::CLIENT_MESSAGE_WAIT_MAX))
    }

    /// Handles incoming bytes. They are counted below the frame parser, because a client could use
    /// up a node's time without ever finishing a message.
    ///
    /// # Errors
    /// The connection ends with this close code; so it does for the other inputs.
    pub fn on_bytes(&mut self, metered: FrameCounts, now: Timestamp) -> Result<(), CloseCode> {
        if metered.finished {
            self.unfinished_since = None;
        }
        if metered.unfinished {
            self.unfinished_since.get_or_insert(now);
        }
        let count = u32::try_from(metered.bytes).unwrap_or(u32::MAX);
        if !self.bytes.take(count, now) || !self.frames.take(metered.frames, now) {
            Err(CloseCode::RateLimited)
        } else if metered.malformed {
            Err(CloseCode::Protocol)
        } else {
            Ok(())
        }
    }

    /// Handles a whole text message: the `hello`, and later what a node takes.
    ///
    /// # Errors
    /// [`Connection::on_bytes`].
    pub fn on_text(&self, text: &str) -> Result<Said, CloseCode> {
        if !self.is_attached {
            return Hello::decode(text).map(Said::Hello);
        }
        match ClientFrame::decode(text) {
            Ok(frame) => Ok(Said::Frame(frame)),
            Err(BadFrame::Unknown) => Err(CloseCode::BadFrame),
            Err(malformed @ BadFrame::Malformed { .. }) => Ok(Said::Malformed(malformed)),
        }
    }

    /// Handles the passing of time: closes the connection if a deadline is over.
    ///
    /// # Errors
    /// [`Connection::on_bytes`].
    pub fn on_time(&self, now: Timestamp) -> Result<(), CloseCode> {
        if now >= self.until {
            let is_attached = self.is_attached;
            Err(if is_attached { CloseCode::Unauthenticated } else { CloseCode::HelloTimeout })
        } else if self.message_until().is_some_and(|until| now >= until) {
            Err(CloseCode::Protocol)
        } else {
            Ok(())
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
        let connection = Connection::new(at(0));
        assert_eq!(connection.deadline(), at(5_000));
        assert_eq!(connection.on_time(at(4_999)), Ok(()));
        assert_eq!(connection.on_time(at(5_000)), Err(CloseCode::HelloTimeout));
    }

    #[test]
    fn a_connection_ends_with_its_token() {
        let mut connection = Connection::new(at(0));
        assert!(connection.on_text(HELLO).is_ok());
        connection.attached(at(9_000), at(0));
        assert_eq!(connection.on_time(at(8_999)), Ok(()));
        assert_eq!(connection.on_time(at(9_000)), Err(CloseCode::Unauthenticated));
        connection.renewed(at(12_000));
        assert_eq!(connection.deadline(), at(12_000));
        assert_eq!(connection.on_time(at(11_999)), Ok(()));
        assert_eq!(connection.on_time(at(12_000)), Err(CloseCode::Unauthenticated));
    }

    #[test]
    fn a_second_hello_is_a_bad_frame() {
        let mut connection = Connection::new(at(0));
        connection.attached(at(9_000), at(0));
        assert_eq!(connection.on_text(HELLO), Err(CloseCode::BadFrame));
    }

    #[test]
    fn over_forty_frames_a_second_is_too_many() {
        let mut before = Connection::new(at(0));
        assert_eq!(before.on_bytes(whole(120, 20), at(10)), Ok(()));
        assert_eq!(before.on_bytes(whole(6, 1), at(10)), Err(CloseCode::RateLimited));
        let mut connection = Connection::new(at(0));
        connection.attached(at(90_000), at(0));
        assert_eq!(connection.on_bytes(whole(240, 40), at(10)), Ok(()));
        assert_eq!(connection.on_bytes(whole(6, 1), at(10)), Err(CloseCode::RateLimited));
        let mut steady = Connection::new(at(0));
        steady.attached(at(90_000), at(0));
        for n in 0..1_000 {
            let reaction = steady.on_bytes(whole(6, 1), at(n * 25));
            assert_eq!(reaction, Ok(()), "40 a second, frame {n}");
        }
    }

    #[test]
    fn bytes_are_counted_below_the_parser() {
        for (is_attached, most) in [(false, 64 * 1024), (true, 256 * 1024)] {
            let mut connection = Connection::new(at(0));
            if is_attached {
                connection.attached(at(90_000), at(0));
            }
            assert_eq!(connection.on_bytes(whole(most, 0), at(0)), Ok(()));
            assert_eq!(connection.on_bytes(whole(most / 1_000, 0), at(1)), Ok(()));
            assert_eq!(connection.on_bytes(whole(1, 0), at(1)), Err(CloseCode::RateLimited));
        }
    }

    #[test]
    fn after_hello_a_known_frame_is_taken_and_a_malformed_one_passed_over() {
        let mut connection = Connection::new(at(0));
        assert_eq!(connection.on_text(r#"{"type":"ping"}"#), Err(CloseCode::BadFrame));
        connection.attached(at(90_000), at(0));
        assert_eq!(connection.on_text(r#"{"type":"ping"}"#), Ok(Said::Frame(ClientFrame::Ping)));
        let malformed = BadFrame::Malformed { field: "at".to_owned() };
        let ping = r#"{"type":"ping","at":1}"#;
        assert_eq!(connection.on_text(ping), Ok(Said::Malformed(malformed)));
        assert_eq!(connection.on_text("ping"), Err(CloseCode::BadFrame));
    }

    #[test]
    fn an_unfinished_message_gets_ten_seconds() {
        let begun =
            FrameCounts { bytes: 10, frames: 1, unfinished: true, ..FrameCounts::default() };
        let mut connection = Connection::new(at(0));
        connection.attached(at(90_000), at(0));
        connection.on_bytes(begun, at(1_000)).unwrap();
        connection.on_bytes(begun, at(9_000)).unwrap();
        assert_eq!(connection.deadline(), at(11_000));
        assert_eq!(connection.on_time(at(11_000)), Err(CloseCode::Protocol));
        connection.on_bytes(whole(10, 1), at(11_000)).unwrap();
        assert_eq!(connection.on_time(at(11_000)), Ok(()));
        // One read may end a message and begin the next, whose time starts at once.
        connection.on_bytes(FrameCounts { finished: true, ..begun }, at(20_000)).unwrap();
        assert_eq!(connection.deadline(), at(30_000));
    }
}
