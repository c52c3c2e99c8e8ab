//! The reading half of a connection: bytes come in, what the client says and an end come out. It needs no runtime, clock or
//! node, so a test or fuzzer can feed it anything.

use std::fmt;
use std::io::ErrorKind;
use std::task::{Context, Poll};

use bytes::Bytes;
use delivery::Connection;
use model::Timestamp;
use protocol::close::CloseCode;
use tokio::io::AsyncRead;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error as FrameError, Message, error::ProtocolError};

use crate::metered_io::{MeteredIo, ParserIo};

pub use crate::metered_io::Answers;
pub use delivery::Said;

/// How reading from a client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer is gone, or closed the socket.
    Peer,
    /// The node closes the socket.
    Close(CloseCode),
}

/// An event on the reading half.
#[derive(Debug)]
pub enum Incoming {
    /// A whole text message.
    Text(String),
    /// A control frame, or bytes of an unfinished frame.
    Bytes,
    /// Time passed without input.
    Time,
    /// The input ended.
    End(End),
}

/// Parses a client's frames and enforces every limit on them.
pub struct Inbound<R> {
    io: MeteredIo<R>,
    /// Only while a frame or message is unfinished: an idle socket has no buffers (ADR 0020).
    parser: Option<Box<WebSocketContext>>,
    connection: Connection,
}

impl<R> fmt::Debug for Inbound<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    /// Reads frames after an upgrade; `early` has the bytes that were read already.
    pub fn new(reader: R, early: Bytes, now: Timestamp) -> Self {
        Self { io: MeteredIo::new(reader, early), parser: None, connection: Connection::new(now) }
    }

    /// When [`Inbound::react`] must be called with [`Incoming::Time`], if nothing arrives before.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.connection.deadline()
    }

    /// Records that the ticket was accepted: the connection lasts until the caller's token expires.
    pub fn attached(&mut self, token_expires_at: Timestamp, now: Timestamp) {
        self.connection.attached(token_expires_at, now);
    }

    /// Records that the caller has a newer token: the connection lasts until that one expires.
    pub const fn renewed(&mut self, token_expires_at: Timestamp) {
        self.connection.renewed(token_expires_at);
    }

    /// Returns the next message, or [`Incoming::Bytes`] if bytes arrived that complete none. Pass
    /// the result to [`Inbound::react`] before calling this again.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping the future.
    pub async fn next(&mut self, answers: Answers<'_>) -> Incoming {
        std::future::poll_fn(|context| self.poll_next(context, &mut *answers)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>, answers: Answers<'_>) -> Poll<Incoming> {
        let mut parser =
            self.parser.take().unwrap_or_else(|| parser(self.connection.frame_bytes_max()));
        let read = parser.read(&mut ParserIo { io: &mut self.io, context, answers });
        let is_blocked =
            matches!(&read, Err(FrameError::Io(error)) if error.kind() == ErrorKind::WouldBlock);
        // Then the parser holds nothing and can be dropped: its answers are passed on at once, and
        // after a close it ends instead of blocking.
        if !(is_blocked && self.io.is_between_messages()) {
            self.parser = Some(parser);
        }
        Poll::Ready(match read {
            Err(_) if is_blocked => {
                return if self.io.has_read() {
                    Poll::Ready(Incoming::Bytes)
                } else {
                    Poll::Pending
                };
            }
            Ok(Message::Text(text)) => Incoming::Text(text.as_str().to_owned()),
            Ok(Message::Binary(_)) => Incoming::End(End::Close(CloseCode::Unsupported)),
            // The library answers a close; the next poll sends that answer and ends the stream.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_)) => {
                Incoming::Bytes
            }
            Err(error) => Incoming::End(end_of(&error)),
        })
    }

    /// Decides what to do next. Limits come first: a client that sends too much is closed. Returns
    /// what the client said, if this is it. Of a `hello`, check the ticket, and call
    /// [`Inbound::attached`] if it is good.
    ///
    /// # Errors
    /// The end of the connection: stop reading.
    pub fn react(&mut self, incoming: Incoming, now: Timestamp) -> Result<Option<Said>, End> {
        let read = self.io.drain_counts();
        if read.bytes > 0 {
            self.connection.on_bytes(read, now).map_err(End::Close)?;
        }
        match incoming {
            Incoming::Text(text) => self.connection.on_text(&text).map(Some).map_err(End::Close),
            Incoming::Bytes | Incoming::Time => {
                self.connection.on_time(now).map(|()| None).map_err(End::Close)
            }
            Incoming::End(end) => Err(end),
        }
    }

    /// The reader, for reading without parsing.
    pub fn reader_mut(&mut self) -> &mut R {
        self.io.reader_mut()
    }
}

/// Sets every limit explicitly, rather than rely on the library's defaults.
fn parser(bytes_max: usize) -> Box<WebSocketContext> {
    let mut config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .accept_unmasked_frames(false);
    config.max_message_size = Some(bytes_max);
    config.max_frame_size = Some(bytes_max);
    Box::new(WebSocketContext::new(Role::Server, Some(config)))
}

fn end_of(error: &FrameError) -> End {
    match error {
        FrameError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Peer,
        FrameError::Protocol(_) => End::Close(CloseCode::Protocol),
        FrameError::Utf8(_) => End::Close(CloseCode::InvalidPayload),
        FrameError::Capacity(_) => End::Close(CloseCode::TooBig),
        FrameError::ConnectionClosed
        | FrameError::AlreadyClosed
        | FrameError::Io(_)
        | FrameError::Tls(_)
        | FrameError::WriteBufferFull(_)
        | FrameError::AttackAttempt
        | FrameError::Url(_)
        | FrameError::Http(_)
        | FrameError::HttpFormat(_) => End::Peer,
    }
}

/// How much the parser reads at once; its buffer grows for a frame that needs more.
const READ_BUFFER_BYTES: usize = 1024;
/// How much of its own answers the parser may buffer; they go out at once.
const WRITE_BUFFER_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn the_parser_is_there_while_something_is_unfinished() {
        let now = Timestamp::from_unix_ms(1_767_225_600_000);
        let (mut client, reader) = tokio::io::duplex(1024);
        let mut inbound = Inbound::new(reader, Bytes::new(), now);
        let mut answered = Vec::new();
        for (name, bytes, is_kept) in [
            ("nothing", &b""[..], false),
            ("a ping", b"\x89\x81\0\0\0\0a", false),
            ("half a header", b"\x89\x81\0", true),
            ("its other half", b"\0\0\0", true),
            ("its payload", b"b", false),
            ("a first fragment", b"\x01\x81\0\0\0\0c", true),
            ("a ping between fragments", b"\x89\x81\0\0\0\0d", true),
            ("a close", b"\x88\x80\0\0\0\0", true),
        ] {
            client.write_all(bytes).await.unwrap();
            let mut poll = || {
                let polled = {
                    let mut answers = |frame: Bytes| answered.extend_from_slice(&frame);
                    let next = pin!(inbound.next(&mut answers));
                    next.poll(&mut Context::from_waker(Waker::noop()))
                };
                match polled {
                    Poll::Ready(incoming) => inbound.react(incoming, now) == Ok(None),
                    Poll::Pending => false,
                }
            };
            while poll() {}
            assert_eq!(inbound.parser.is_some(), is_kept, "after {name}");
        }
        assert_eq!(answered, b"\x8a\x01a\x8a\x01b\x8a\x01d\x88\0", "each answer once");
    }
}
