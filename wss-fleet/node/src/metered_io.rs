//! The reading half of a socket as the frame parser sees it: it counts bytes on their way in, and
//! passes the parser's answers (pongs, the echo of a close) to the writing side.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use delivery::{FrameCounts, FrameMeter};
use tokio::io::{AsyncRead, ReadBuf};

/// Receives the frames that the parser wants to send. Must not block.
pub type Answers<'a> = &'a mut (dyn FnMut(Bytes) + Send);

/// A reader, and counts of what was read from it.
pub(crate) struct MeteredIo<R> {
    /// Bytes that were read before the upgrade: they count like any others.
    early: Bytes,
    reader: R,
    /// Counts since the last [`MeteredIo::drain_counts`].
    read: FrameCounts,
    meter: FrameMeter,
}

impl<R> MeteredIo<R> {
    pub(crate) fn new(reader: R, early: Bytes) -> Self {
        // An empty one may still keep a large buffer alive.
        let early = if early.is_empty() { Bytes::new() } else { early };
        Self { early, reader, read: FrameCounts::default(), meter: FrameMeter::default() }
    }

    /// Returns the counts since the last call.
    pub(crate) fn drain_counts(&mut self) -> FrameCounts {
        std::mem::take(&mut self.read)
    }

    /// Whether bytes were read since [`MeteredIo::drain_counts`].
    pub(crate) fn has_read(&self) -> bool {
        self.read.bytes > 0
    }

    /// Whether the input so far ends at the end of a frame and of a message.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.early.is_empty() && !self.meter.is_unfinished()
    }

    pub(crate) fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }
}

impl<R> fmt::Debug for MeteredIo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredIo").field("read", &self.read).finish_non_exhaustive()
    }
}

/// The socket for one call of `tungstenite`: reads do not block, writes go to `answers`.
pub(crate) struct ParserIo<'a, 'b, R> {
    pub(crate) io: &'a mut MeteredIo<R>,
    pub(crate) context: &'a mut Context<'b>,
    pub(crate) answers: Answers<'a>,
}

impl<R: AsyncRead + Unpin> Read for ParserIo<'_, '_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let metered = &mut *self.io;
        let mut buffer = ReadBuf::new(bytes);
        if metered.early.is_empty() {
            match Pin::new(&mut metered.reader).poll_read(self.context, &mut buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending => return Err(ErrorKind::WouldBlock.into()),
            }
        } else {
            let count = metered.early.len().min(buffer.remaining());
            buffer.put_slice(&metered.early.split_to(count));
            if metered.early.is_empty() {
                metered.early = Bytes::new();
            }
        }
        let read = buffer.filled();
        if !read.is_empty() {
            metered.read = metered.read.then(metered.meter.feed(read));
        }
        Ok(read.len())
    }
}

impl<R> Write for ParserIo<'_, '_, R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.answers)(Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
