//! A writer shard: owns the writing halves of its sockets. It queues, it writes, it never waits
//! for a client and never decides who gets what.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use model::limits;
use protocol::close::CloseCode;
use session::SocketId;
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::fanout::Order;
use crate::frames;
use crate::hub::lock;
use crate::watch::Turn;

pub(crate) use crate::watch::Counts;

/// A socket's writing half: TCP, TLS or a pipe.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Serves orders until the node drops its end.
pub(crate) async fn run(mut orders: mpsc::Receiver<Order>, counts: Arc<Counts>) {
    let turn = Turn::default();
    let mut shard = Shard { sockets: Sockets::default(), ready: Arc::default(), counts, turn };
    let mut batch = Vec::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let ready = Arc::clone(&shard.ready);
        tokio::select! {
            // The timer, then sockets that became writable, of which each blocks again or is done;
            // orders, which can come without end, are last.
            biased;
            _ = sweep.tick() => shard.sweep(),
            () = ready.notify.notified() => shard.write_ready(),
            count = orders.recv_many(&mut batch, ORDERS_A_TURN) => {
                if count == 0 {
                    return;
                }
                shard.take(&mut batch);
            }
        }
    }
}

/// By their numbers, which are the node's own: no secret keys are needed, and without them sockets
/// are gone through, and dropped with the node, in the same order when a run is repeated.
type Sockets = HashMap<u64, Socket, BuildHasherDefault<DefaultHasher>>;

struct Shard {
    sockets: Sockets,
    ready: Arc<Ready>,
    counts: Arc<Counts>,
    turn: Turn,
}

struct Socket {
    writer: Writer,
    ended: Arc<Notify>,
    queue: VecDeque<Queued>,
    live: Tally,
    missed: Tally,
    /// Set while the kernel takes no more.
    blocked_since: Option<Instant>,
    waker: Option<Waker>,
    closing_since: Option<Instant>,
    is_dirty: bool,
}

/// A frame that waits for its socket.
struct Queued {
    frame: Bytes,
    /// Otherwise it was missed: such frames come in bursts, however well a client reads, and are the
    /// ring's own bytes, shared by all who get them. They have a bound of their own.
    is_live: bool,
}

/// What waits of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    frames: usize,
    bytes: usize,
}

/// What writing a socket's queue came to.
#[derive(PartialEq, Eq)]
enum Written {
    All,
    Blocked,
    Gone,
}

impl Shard {
    /// Queues a batch of orders, then writes each socket once: everything queued in one call.
    fn take(&mut self, batch: &mut Vec<Order>) {
        let mut dirty = Vec::new();
        for order in batch.drain(..) {
            match order {
                Order::Frame { frame, to, is_live, publication } => {
                    for socket in to.iter() {
                        self.enqueue(*socket, &frame, is_live, &mut dirty);
                    }
                    self.turn.note(publication, to);
                }
                Order::Open { socket, writer, ended } => {
                    self.sockets.insert(socket.serial, Socket::new(writer, ended));
                }
                Order::Backlog { socket, frames } => {
                    let counts = Arc::clone(&self.counts);
                    self.with(socket, &mut dirty, |socket| {
                        if !socket.enqueue_missed(frames) {
                            counts.slow_consumers.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                Order::Control { socket, frame } => self.enqueue(socket, &frame, true, &mut dirty),
                Order::Close { socket, code } => {
                    self.with(socket, &mut dirty, |socket| socket.say_goodbye(Some(code)));
                }
                Order::Finish { socket } => {
                    self.with(socket, &mut dirty, |socket| socket.say_goodbye(None));
                }
            }
        }
        for serial in dirty {
            self.write(serial);
        }
        self.turn.written(&self.counts);
    }

    fn with(&mut self, id: SocketId, dirty: &mut Vec<u64>, change: impl FnOnce(&mut Socket)) {
        let Some(socket) = self.sockets.get_mut(&id.serial) else { return };
        change(socket);
        if !socket.is_dirty {
            socket.is_dirty = true;
            dirty.push(id.serial);
        }
    }

    fn enqueue(&mut self, id: SocketId, frame: &Bytes, is_live: bool, dirty: &mut Vec<u64>) {
        let counts = &self.counts;
        let Some(socket) = self.sockets.get_mut(&id.serial) else { return };
        if !socket.enqueue(frame, is_live) {
            counts.slow_consumers.fetch_add(1, Ordering::Relaxed);
        }
        if !socket.is_dirty {
            socket.is_dirty = true;
            dirty.push(id.serial);
        }
    }

    fn write(&mut self, serial: u64) {
        let Some(socket) = self.sockets.get_mut(&serial) else { return };
        socket.is_dirty = false;
        let waker = socket.waker.get_or_insert_with(|| {
            let ready = Arc::clone(&self.ready);
            Waker::from(Arc::new(SocketWaker { ready, serial }))
        });
        let waker = waker.clone();
        let mut context = Context::from_waker(&waker);
        let written = socket.write(&mut context, &self.counts);
        let is_over = match written {
            Written::All if socket.closing_since.is_some() => {
                // Shutting down a TCP half never waits; a TLS one may, and is then cut.
                let _sent = Pin::new(&mut socket.writer).poll_shutdown(&mut context);
                true
            }
            Written::All | Written::Blocked => false,
            Written::Gone => true,
        };
        if is_over {
            self.remove(serial);
        }
    }

    fn write_ready(&mut self) {
        let ready: Vec<u64> = std::mem::take(&mut *lock(&self.ready.sockets));
        for serial in ready {
            self.write(serial);
        }
    }

    fn remove(&mut self, serial: u64) {
        if let Some(socket) = self.sockets.remove(&serial) {
            socket.ended.notify_one();
        }
    }

    /// Ends sockets that swallow nothing: a stalled one as a slow consumer, a closing one for good.
    fn sweep(&mut self) {
        let now = Instant::now();
        let stalled = |since: Option<Instant>, max: Duration| {
            since.is_some_and(|since| now.duration_since(since) >= max)
        };
        let mut over = Vec::new();
        for (serial, socket) in &mut self.sockets {
            if stalled(socket.closing_since, limits::GOODBYE_MAX) {
                over.push(*serial);
            } else if socket.closing_since.is_none()
                && stalled(socket.blocked_since, limits::WRITE_STALL_MAX)
            {
                self.counts.slow_consumers.fetch_add(1, Ordering::Relaxed);
                socket.say_goodbye(Some(CloseCode::SlowConsumer));
            }
        }
        for serial in over {
            self.remove(serial);
        }
    }
}

impl Socket {
    fn new(writer: Writer, ended: Arc<Notify>) -> Self {
        Self {
            writer,
            ended,
            queue: VecDeque::new(),
            live: Tally::default(),
            missed: Tally::default(),
            blocked_since: None,
            waker: None,
            closing_since: None,
            is_dirty: false,
        }
    }

    /// Queues a frame; false if that made the socket a slow consumer. One frame of any size may
    /// always queue.
    fn enqueue(&mut self, frame: &Bytes, is_live: bool) -> bool {
        if self.closing_since.is_some() {
            return true;
        }
        let added = Tally { frames: 1, bytes: frame.len() };
        if !self.count(added, is_live) {
            return false;
        }
        self.queue.push_back(Queued { frame: frame.clone(), is_live });
        true
    }

    /// Queues many frames that were missed; the bounds are looked at once.
    fn enqueue_missed(&mut self, frames: Vec<Bytes>) -> bool {
        if self.closing_since.is_some() {
            return true;
        }
        let bytes = frames.iter().map(Bytes::len).sum();
        if !self.count(Tally { frames: frames.len(), bytes }, false) {
            return false;
        }
        self.queue.extend(frames.into_iter().map(|frame| Queued { frame, is_live: false }));
        true
    }

    /// Counts what is to be queued; false if the socket is a slow consumer, and closes.
    fn count(&mut self, added: Tally, is_live: bool) -> bool {
        let tally = *self.tally(is_live);
        let sum = Tally { frames: tally.frames + added.frames, bytes: tally.bytes + added.bytes };
        let fits = |frames, bytes| sum.frames <= frames && sum.bytes <= bytes;
        let has_room = tally.frames == 0
            || fits(limits::OUTBOUND_FRAMES_MAX, limits::OUTBOUND_BYTES_MAX)
            || (!is_live && !self.is_stuck() && fits(MISSED_FRAMES_MAX, MISSED_BYTES_MAX));
        if has_room {
            *self.tally(is_live) = sum;
        } else {
            self.say_goodbye(Some(CloseCode::SlowConsumer));
        }
        has_room
    }

    /// Whether its client takes nothing: one that reads does within a round trip of any network.
    fn is_stuck(&self) -> bool {
        self.blocked_since.is_some_and(|since| since.elapsed() >= STUCK)
    }

    fn tally(&mut self, is_live: bool) -> &mut Tally {
        if is_live { &mut self.live } else { &mut self.missed }
    }

    /// Drops what is queued behind the frame that is being written, and closes.
    fn say_goodbye(&mut self, code: Option<CloseCode>) {
        if self.closing_since.is_some() {
            return;
        }
        self.closing_since = Some(Instant::now());
        if let Some(code) = code {
            // The kernel may have half a frame: its rest must come before the close frame.
            self.queue.truncate(1);
            self.queue.push_back(Queued { frame: frames::close(code), is_live: false });
        }
        self.ended.notify_one();
    }

    fn write(&mut self, context: &mut Context<'_>, counts: &Counts) -> Written {
        loop {
            if self.queue.is_empty() {
                return self.flush(context);
            }
            match self.write_once(context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Written::Gone,
                Poll::Ready(Ok(count)) => {
                    self.blocked_since = None;
                    counts.writes.fetch_add(1, Ordering::Relaxed);
                    counts.delivered.fetch_add(self.advance(count), Ordering::Relaxed);
                }
                Poll::Pending => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                    return Written::Blocked;
                }
            }
        }
    }

    /// TLS may have taken more than the kernel takes: its rest goes out here. To TCP this is nothing.
    fn flush(&mut self, context: &mut Context<'_>) -> Written {
        match Pin::new(&mut self.writer).poll_flush(context) {
            Poll::Ready(Ok(())) => {
                self.blocked_since = None;
                self.shrink();
                Written::All
            }
            Poll::Ready(Err(_)) => Written::Gone,
            Poll::Pending => {
                self.blocked_since.get_or_insert_with(Instant::now);
                Written::Blocked
            }
        }
    }

    fn write_once(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut frames = self.queue.iter().map(|queued| &queued.frame);
        if self.queue.len() == 1
            && let Some(only) = frames.next()
        {
            return Pin::new(&mut self.writer).poll_write(context, only);
        }
        let mut slices = [IoSlice::new(&[]); limits::WRITE_BATCH_FRAMES_MAX];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(frames) {
            *slice = IoSlice::new(frame);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or(&[]);
        Pin::new(&mut self.writer).poll_write_vectored(context, slices)
    }

    /// Takes written bytes off the front; the number of frames that are through.
    fn advance(&mut self, mut count: usize) -> u64 {
        let mut through = 0;
        while count > 0 {
            let Some(Queued { frame, is_live }) = self.queue.front_mut() else { break };
            let taken = frame.len().min(count);
            frame.advance(taken);
            count -= taken;
            let (is_live, is_through) = (*is_live, frame.is_empty());
            let tally = self.tally(is_live);
            tally.bytes = tally.bytes.saturating_sub(taken);
            if is_through {
                tally.frames = tally.frames.saturating_sub(1);
                self.queue.pop_front();
                through += 1;
            }
        }
        through
    }

    /// Buffers exist while they are used.
    fn shrink(&mut self) {
        if self.queue.capacity() > QUEUE_KEPT {
            self.queue.shrink_to(0);
        }
        (self.live, self.missed) = (Tally::default(), Tally::default());
    }
}

/// The sockets whose kernel buffers drained since the shard last looked.
#[derive(Debug, Default)]
struct Ready {
    sockets: Mutex<Vec<u64>>,
    notify: Notify,
}

struct SocketWaker {
    ready: Arc<Ready>,
    serial: u64,
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready.sockets).push(self.serial);
        self.ready.notify.notify_one();
    }
}

/// Orders that one turn takes before it writes.
const ORDERS_A_TURN: usize = 256;
/// How often stalled sockets are looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// Queue slots that an idle socket keeps.
const QUEUE_KEPT: usize = 4;
/// What was missed and waits for one socket: a replay of the whole ring, and a repair that falls into it.
const MISSED_FRAMES_MAX: usize = 2 * limits::STREAM_ENTRIES_MAX;
const MISSED_BYTES_MAX: usize = 3 * limits::STREAM_BYTES_MAX;
/// After this long without a byte taken, what was missed counts like anything else.
const STUCK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
