//! The reading half of a socket as the frame parser sees it: bytes are counted on their way in,
//! and what the parser wants to answer (pongs, the echo of a close) goes through the shard.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use session::{FrameMeter, SocketId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::fanout::{Order, Shards};

/// A socket for `tungstenite`: reads are real, writes are orders.
pub(crate) struct Wire<R> {
    reader: R,
    socket: SocketId,
    shards: Shards,
    /// Bytes read since they were last asked for, and the frames that began in them.
    read: (usize, u32),
    meter: FrameMeter,
}

impl<R> Wire<R> {
    pub(crate) fn new(reader: R, socket: SocketId, shards: Shards) -> Self {
        Self { reader, socket, shards, read: (0, 0), meter: FrameMeter::default() }
    }

    /// Bytes read since this was last called, and the frames that began in them.
    pub(crate) fn take_read(&mut self) -> (usize, u32) {
        std::mem::take(&mut self.read)
    }

    /// Whether bytes were read that nobody asked for yet.
    pub(crate) fn has_read(&self) -> bool {
        self.read.0 > 0
    }

    pub(crate) fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Wire<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buffer);
        let this = &mut *self;
        let read = buffer.filled().get(before..).unwrap_or_default();
        this.read.0 += read.len();
        this.read.1 += this.meter.feed(read);
        polled
    }
}

impl<R: Unpin> AsyncWrite for Wire<R> {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A pong that finds the shard's mailbox full is dropped: the peer pings again.
        let frame = Bytes::copy_from_slice(bytes);
        let _full =
            self.shards.try_order(self.socket.shard, Order::Control { socket: self.socket, frame });
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
