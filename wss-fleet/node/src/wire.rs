//! The reading half of a socket as the frame parser sees it: bytes are counted on their way in,
//! and what the parser wants to answer (pongs, the echo of a close) goes to whoever writes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use session::{FrameMeter, Metered};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Takes the frames that the parser wants to send. Must not wait.
pub type Answers = Box<dyn FnMut(Bytes) + Send>;

/// A socket for `tungstenite`: reads are real, writes are handed on.
pub(crate) struct Wire<R> {
    /// Bytes that were read before: they count like any others.
    early: Bytes,
    reader: R,
    answers: Answers,
    /// What was read since it was last asked for.
    read: Metered,
    meter: FrameMeter,
}

impl<R> Wire<R> {
    pub(crate) fn new(reader: R, early: Bytes, answers: Answers) -> Self {
        Self { early, reader, answers, read: Metered::default(), meter: FrameMeter::default() }
    }

    /// What was read since this was last called.
    pub(crate) fn take_read(&mut self) -> Metered {
        std::mem::take(&mut self.read)
    }

    /// Whether bytes were read that nobody asked for yet.
    pub(crate) fn has_read(&self) -> bool {
        self.read.bytes > 0
    }

    pub(crate) fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }
}

impl<R> fmt::Debug for Wire<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("read", &self.read).finish_non_exhaustive()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Wire<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let polled = if this.early.has_remaining() {
            let count = this.early.len().min(buffer.remaining());
            buffer.put_slice(&this.early.split_to(count));
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut this.reader).poll_read(context, buffer)
        };
        let read = buffer.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            this.read = this.read.then(this.meter.feed(read));
        }
        polled
    }
}

impl<R: Unpin> AsyncWrite for Wire<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        (self.answers)(Bytes::copy_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
