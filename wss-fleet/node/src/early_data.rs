//! Detects bytes that arrive after a request's head and before its answer.
//!
//! A client must wait for the answer before it sends anything else (RFC 6455 4.1). hyper would
//! buffer early bytes and hand them over after the 101, so the check is below hyper.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that detects bytes after the first head.
#[derive(Debug)]
pub(crate) struct EarlyData<S> {
    stream: S,
    place: Place,
    has_more: Arc<AtomicBool>,
}

/// Position of the next byte in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the request line; empty lines there are skipped (RFC 9112 2.2).
    Before,
    Line,
    LineStart,
    After,
}

impl<S> EarlyData<S> {
    /// Wraps a stream; sets the flag once a byte arrives after the head.
    pub(crate) fn new(stream: S, has_more: Arc<AtomicBool>) -> Self {
        Self { stream, place: Place::Before, has_more }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn scan(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Before, b'\r' | b'\n') => Place::Before,
                (Place::Line, b'\n') | (Place::LineStart, b'\r') => Place::LineStart,
                (Place::LineStart, b'\n') => Place::After,
                (Place::Before | Place::Line | Place::LineStart, _) => Place::Line,
                (Place::After, _) => return self.has_more.store(true, Ordering::Relaxed),
            };
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for EarlyData<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.scan(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for EarlyData<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_head_is_noticed_however_it_is_cut() {
        for (bytes, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nx", true),
            ("GET / HTTP/1.1\nHost: a\n\n", false),
            ("GET / HTTP/1.1\nHost: a\n\n\n", true),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nX: a\r\n", false),
        ] {
            for piece in [1, 2, 3, 100] {
                let has_more = Arc::default();
                let mut stream = EarlyData::new((), Arc::clone(&has_more));
                bytes.as_bytes().chunks(piece).for_each(|bytes| stream.scan(bytes));
                assert_eq!(has_more.load(Ordering::Relaxed), expected, "{bytes:?} by {piece}");
            }
        }
    }
}
