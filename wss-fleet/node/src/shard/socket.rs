//! One socket of a shard: its queue, the queue's limits, and how it is written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use delivery::DeliveryClass;
use model::limits;
use protocol::close::CloseCode;
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::delivery_stats::Written;
use crate::frames;

/// A socket's writing half. Most sockets are plain TCP, and a box would cost one more cache miss
/// per frame, so TCP has its own variant.
pub(crate) enum Writer {
    Tcp(OwnedWriteHalf),
    /// TLS or a pipe.
    Boxed(Box<dyn AsyncWrite + Send + Unpin>),
}

impl Writer {
    fn pinned(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Tcp(half) => Pin::new(half),
            Self::Boxed(half) => Pin::new(half),
        }
    }
}

/// A socket and its queue.
pub(super) struct Socket {
    pub(super) serial: u64,
    pub(super) ended: Arc<Notify>,
    writer: Writer,
    queue: VecDeque<Queued>,
    live: Tally,
    missed: Tally,
    /// Set while the kernel accepts no more; `waker` fires when it does again.
    pub(super) blocked_since: Option<Instant>,
    waker: Option<Waker>,
    pub(super) closing_since: Option<Instant>,
}

/// A frame in the queue.
struct Queued {
    frame: Bytes,
    /// Repair frames come in bursts, however fast a client reads, and share their bytes with the
    /// ring and with other recipients. They have their own limit.
    class: DeliveryClass,
}

/// The size of a queue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl Tally {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self { frames: self.frames + other.frames, bytes: self.bytes + other.bytes }
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(other.frames),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl Socket {
    pub(super) fn new(serial: u64, writer: Writer, ended: Arc<Notify>) -> Self {
        Self {
            serial,
            ended,
            writer,
            queue: VecDeque::new(),
            live: Tally::default(),
            missed: Tally::default(),
            blocked_since: None,
            waker: None,
            closing_since: None,
        }
    }

    /// Queues a frame, or closes a slow consumer. An empty queue accepts one frame of any size.
    pub(super) fn enqueue(&mut self, frame: &Bytes, class: DeliveryClass, written: &mut Written) {
        if self.accepts(Tally { frames: 1, bytes: frame.len() }, class, written) {
            if self.queue.capacity() == 0 {
                self.queue = VecDeque::with_capacity(QUEUE_AT_FIRST);
            }
            self.queue.push_back(Queued { frame: frame.clone(), class });
        }
    }

    /// Queues many missed frames; checks the limits once.
    pub(super) fn enqueue_missed(&mut self, frames: Vec<Bytes>, written: &mut Written) {
        let bytes = frames.iter().map(Bytes::len).sum();
        if self.accepts(Tally { frames: frames.len(), bytes }, DeliveryClass::Repair, written) {
            self.queue.extend(
                frames.into_iter().map(|frame| Queued { frame, class: DeliveryClass::Repair }),
            );
        }
    }

    /// Counts frames to be queued. A closing socket accepts none. A slow consumer is
    /// closed, but not for a signal.
    fn accepts(&mut self, added: Tally, class: DeliveryClass, written: &mut Written) -> bool {
        if self.closing_since.is_some() {
            return false;
        }
        let tally = *self.tally(class);
        let sum = tally.plus(added);
        let fits = |frames, bytes| sum.frames <= frames && sum.bytes <= bytes;
        // Signals leave half of the queue to frames that must not be lost, and a quarter to texts
        // that may be.
        let quarters = match class {
            DeliveryClass::Signal => 2,
            DeliveryClass::Said => 3,
            DeliveryClass::Live | DeliveryClass::Repair => 4,
        };
        let has_room = tally.frames == 0
            || fits(
                limits::OUTBOUND_FRAMES_MAX / 4 * quarters,
                limits::OUTBOUND_BYTES_MAX / 4 * quarters,
            )
            || (class == DeliveryClass::Repair
                && !self.is_stuck()
                && fits(MISSED_FRAMES_MAX, MISSED_BYTES_MAX));
        if has_room {
            *self.tally(class) = sum;
        } else if matches!(class, DeliveryClass::Live | DeliveryClass::Repair) {
            written.slow_consumers += 1;
            self.begin_close(Some(CloseCode::SlowConsumer), None);
        }
        has_room
    }

    /// Whether its client reads nothing: one that reads accepts a byte within a round trip.
    fn is_stuck(&self) -> bool {
        self.blocked_since.is_some_and(|since| since.elapsed() >= STUCK)
    }

    fn tally(&mut self, class: DeliveryClass) -> &mut Tally {
        match class {
            DeliveryClass::Live | DeliveryClass::Signal | DeliveryClass::Said => &mut self.live,
            DeliveryClass::Repair => &mut self.missed,
        }
    }

    /// Drops the queue after the frame that is being written, and closes. If there is a `delay`,
    /// the close frame tells the client how long to wait.
    pub(super) fn begin_close(&mut self, code: Option<CloseCode>, delay: Option<Duration>) {
        if self.closing_since.is_some() {
            return;
        }
        self.closing_since = Some(Instant::now());
        if let Some(code) = code {
            // The kernel may have half of the first frame: the rest must precede the close frame.
            self.queue.truncate(1);
            let frame = frames::close(code, delay);
            self.queue.push_back(Queued { frame, class: DeliveryClass::Repair });
        }
        self.ended.notify_one();
    }

    /// Writes the queue. A blocked socket is skipped unless it is ready. Returns whether the socket
    /// stays open: false if the peer is gone, or the close frame is written.
    pub(super) fn write(
        &mut self,
        is_ready: bool,
        waker: &impl Fn() -> Waker,
        written: &mut Written,
    ) -> bool {
        if self.blocked_since.is_some() && !is_ready {
            return true;
        }
        while !self.queue.is_empty() {
            match self.poll(waker, Self::write_once) {
                Poll::Ready(Ok(0) | Err(_)) => return false,
                Poll::Ready(Ok(count)) => {
                    self.blocked_since = None;
                    written.calls += 1;
                    written.frames += self.advance(count);
                }
                Poll::Pending => return self.blocked(),
            }
        }
        // TLS may have accepted more than the kernel did: flush the rest.
        if let Writer::Boxed(_) = self.writer {
            match self.poll(waker, |socket, context| socket.writer.pinned().poll_flush(context)) {
                Poll::Ready(Ok(())) => self.blocked_since = None,
                Poll::Ready(Err(_)) => return false,
                Poll::Pending => return self.blocked(),
            }
        }
        self.rest();
        if self.closing_since.is_none() {
            return true;
        }
        // Shutting down TCP never blocks. TLS may; then the connection is cut.
        let mut context = Context::from_waker(Waker::noop());
        let _sent = self.writer.pinned().poll_shutdown(&mut context);
        false
    }

    /// Polls the writer; if it blocks, polls again with a waker, which only blocked sockets need.
    fn poll<T>(
        &mut self,
        waker: &impl Fn() -> Waker,
        mut ask: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let polled = ask(self, &mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            return polled;
        }
        let waker = self.waker.take().unwrap_or_else(waker);
        let polled = ask(self, &mut Context::from_waker(&waker));
        self.waker = Some(waker);
        polled
    }

    fn blocked(&mut self) -> bool {
        self.blocked_since.get_or_insert_with(Instant::now);
        true
    }

    fn write_once(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut frames = self.queue.iter().map(|queued| &queued.frame);
        if self.queue.len() == 1
            && let Some(only) = frames.next()
        {
            return self.writer.pinned().poll_write(context, only);
        }
        let mut slices = [IoSlice::new(&[]); limits::WRITE_BATCH_FRAMES_MAX];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(frames) {
            *slice = IoSlice::new(frame);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or(&[]);
        self.writer.pinned().poll_write_vectored(context, slices)
    }

    /// Removes written bytes from the front; returns the number of frames that were completed.
    fn advance(&mut self, mut count: usize) -> u64 {
        let mut through = 0;
        while count > 0 {
            let Some(Queued { frame, class }) = self.queue.front_mut() else { break };
            let written = frame.len().min(count);
            let (class, is_through) = (*class, written == frame.len());
            if !is_through {
                frame.advance(written);
            }
            count -= written;
            let tally = self.tally(class);
            *tally = tally.minus(Tally { frames: usize::from(is_through), bytes: written });
            if is_through {
                self.queue.pop_front();
                through += 1;
            }
        }
        through
    }

    /// Frees the memory that is only needed while something waits.
    fn rest(&mut self) {
        self.queue = VecDeque::new();
        self.waker = None;
        (self.live, self.missed) = (Tally::default(), Tally::default());
    }
}

/// Limit of the missed frames in one queue: a replay of the whole ring, and a repair on top of it.
const MISSED_FRAMES_MAX: usize = 2 * limits::STREAM_ENTRIES_MAX;
const MISSED_BYTES_MAX: usize = 3 * limits::STREAM_BYTES_MAX;
/// Room for the frames of most bursts. To ask for it takes fewer instructions than to let it grow.
const QUEUE_AT_FIRST: usize = 4;
/// After this long without a byte accepted, the normal limits apply to missed frames too.
pub(super) const STUCK: Duration = Duration::from_secs(1);
