//! WebSocket framing of what a node sends (RFC 6455 5.2): done once per frame, for all recipients.

use std::time::Duration;

use bytes::Bytes;
use protocol::close::CloseCode;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A text frame: header and payload in one piece.
pub(crate) fn text(payload: String) -> Bytes {
    format(Frame::message(payload, OpCode::Data(Data::Text), true))
}

/// A close frame. Its reason is the code's name, or the delay before the client should reconnect.
pub(crate) fn close(code: CloseCode, delay: Option<Duration>) -> Bytes {
    let reason = match delay {
        Some(delay) => format!("delay_ms={}", delay.as_millis()).into(),
        None => code.as_str().into(),
    };
    format(Frame::close(Some(CloseFrame { code: code.number().into(), reason })))
}

fn format(frame: Frame) -> Bytes {
    let mut wire = Vec::with_capacity(frame.len());
    // Writing into a vector cannot fail; a test would show an empty frame.
    if frame.format(&mut wire).is_err() {
        wire.clear();
    }
    wire.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_final_unmasked_and_of_their_length() {
        assert_eq!(text("hi".to_owned())[..], *b"\x81\x02hi");
        let long = text("x".repeat(300));
        assert_eq!(&long[..4], [0x81, 126, 1, 44]);
        assert_eq!(long.len(), 304);
        let busy = close(CloseCode::Busy, Some(Duration::from_millis(2_500)));
        assert_eq!(&busy[2..], b"\x03\xf5delay_ms=2500");
        let close = close(CloseCode::SlowConsumer, None);
        assert_eq!(&close[..4], [0x88, 15, 0x11, 0x9c]);
        assert_eq!(&close[4..], b"slow_consumer");
    }
}
