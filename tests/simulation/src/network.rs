//! Byte streams between clients and nodes: latency, bounded buffers, black holes, resets.
//!
//! A stream has two directions. Bytes arrive in the order in which they were written, after the
//! direction's latency. A black hole lets nothing arrive, not even the end of the stream, until it
//! is lifted. Then everything that was sent meanwhile arrives, as on TCP. A reset ends both
//! directions at once.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// One direction of a stream.
#[derive(Debug)]
struct Direction {
    latency: Duration,
    capacity: usize,
    queued: usize,
    on_the_way: VecDeque<(Instant, Bytes)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    ended: bool,
    unread: bool,
    reset: bool,
    holed: bool,
}

type SharedDirection = Arc<Mutex<Direction>>;

/// One end of a stream.
#[derive(Debug)]
pub(crate) struct End {
    incoming: SharedDirection,
    outgoing: SharedDirection,
    arrival: Option<Pin<Box<Sleep>>>,
}

/// A handle to a stream, for breaking it.
#[derive(Debug, Clone)]
pub(crate) struct Cable {
    up: Weak<Mutex<Direction>>,
    down: Weak<Mutex<Direction>>,
}

/// Makes a stream: the client's end, the node's end, and a handle to both. `capacity` is what each
/// direction holds before its writer must wait.
#[must_use]
pub(crate) fn stream(latency: Duration, capacity: usize) -> (End, End, Cable) {
    let direction = || {
        Arc::new(Mutex::new(Direction {
            latency,
            capacity,
            queued: 0,
            on_the_way: VecDeque::new(),
            reader: None,
            writer: None,
            ended: false,
            unread: false,
            reset: false,
            holed: false,
        }))
    };
    let (up, down) = (direction(), direction());
    let cable = Cable { up: Arc::downgrade(&up), down: Arc::downgrade(&down) };
    let end = |incoming: &SharedDirection, outgoing: &SharedDirection| End {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        arrival: None,
    };
    (end(&down, &up), end(&up, &down), cable)
}

impl Cable {
    /// Turns the stream into a black hole: towards the node, towards the client, or both.
    pub(crate) fn hole(&self, up: bool, down: bool) {
        for (direction, holed) in [(&self.up, up), (&self.down, down)] {
            if let Some(direction) = direction.upgrade() {
                direction.lock().hole(holed);
            }
        }
    }

    /// Breaks the connection; both ends find out at once.
    pub(crate) fn reset(&self) {
        for direction in [&self.up, &self.down] {
            if let Some(direction) = direction.upgrade() {
                let mut direction = direction.lock();
                direction.reset = true;
                direction.wake();
            }
        }
    }

    /// Whether either end still exists.
    #[must_use]
    pub(crate) fn is_alive(&self) -> bool {
        self.up.strong_count() > 0
    }
}

impl Direction {
    fn hole(&mut self, holed: bool) {
        self.holed = holed;
        self.wake();
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn write(&mut self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.reset || (self.unread && !self.holed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.queued >= self.capacity {
            self.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        // Like a kernel's buffer: accepts what fits; the writer offers the rest again.
        let taken = bytes.len().min(self.capacity - self.queued);
        let bytes = bytes.get(..taken).unwrap_or(bytes);
        self.queued += taken;
        self.on_the_way.push_back((Instant::now() + self.latency, Bytes::copy_from_slice(bytes)));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(taken))
    }

    /// Fills the buffer with what has arrived. If nothing has, returns when to look again.
    fn read(&mut self, context: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Read {
        if self.reset {
            return Read::Broken;
        }
        let now = Instant::now();
        self.reader = Some(context.waker().clone());
        if self.holed {
            return Read::Later(None);
        }
        let mut any = false;
        while let Some((at, bytes)) = self.on_the_way.front_mut() {
            if *at > now {
                return if any { Read::Some } else { Read::Later(Some(*at)) };
            }
            let count = bytes.len().min(buffer.remaining());
            if count == 0 {
                break;
            }
            buffer.put_slice(bytes.get(..count).unwrap_or_default());
            bytes.advance(count);
            self.queued = self.queued.saturating_sub(count);
            any = true;
            if bytes.is_empty() {
                self.on_the_way.pop_front();
            }
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
        }
        match (any, self.ended) {
            (true, _) => Read::Some,
            (false, true) => Read::Ended,
            (false, false) => Read::Later(None),
        }
    }
}

enum Read {
    Some,
    Ended,
    Broken,
    Later(Option<Instant>),
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let read = self.incoming.lock().read(context, buffer);
            match read {
                Read::Some | Read::Ended => return Poll::Ready(Ok(())),
                Read::Broken => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Read::Later(None) => return Poll::Pending,
                Read::Later(Some(at)) => {
                    let mut arrival = Box::pin(sleep_until(at));
                    let polled = arrival.as_mut().poll(context);
                    self.arrival = Some(arrival);
                    if polled.is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.lock().write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut direction = self.outgoing.lock();
        let mut taken = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match direction.write(context, slice) {
                Poll::Ready(Ok(count)) => {
                    taken += count;
                    if count < slice.len() {
                        break;
                    }
                }
                Poll::Ready(Err(_)) | Poll::Pending if taken > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut direction = self.outgoing.lock();
        direction.ended = true;
        direction.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut outgoing = self.outgoing.lock();
        outgoing.ended = true;
        outgoing.wake();
        drop(outgoing);
        let mut incoming = self.incoming.lock();
        incoming.unread = true;
        incoming.wake();
    }
}
