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
    /// Replayed frames: not counted, since they are the ring's own bytes.
    backlog: VecDeque<Bytes>,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Set while the kernel takes no more.
    blocked_since: Option<Instant>,
    waker: Option<Waker>,
    closing_since: Option<Instant>,
    is_dirty: bool,
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
                Order::Frame { frame, to, publication } => {
                    for socket in to.iter() {
                        self.enqueue(*socket, &frame, &mut dirty);
                    }
                    self.turn.note(publication, to);
                }
                Order::Open { socket, writer, ended } => {
                    self.sockets.insert(socket.serial, Socket::new(writer, ended));
                }
                Order::Backlog { socket, frames } => {
                    self.with(socket, &mut dirty, |socket| socket.backlog.extend(frames));
                }
                Order::Control { socket, frame } => self.enqueue(socket, &frame, &mut dirty),
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

    fn enqueue(&mut self, id: SocketId, frame: &Bytes, dirty: &mut Vec<u64>) {
        let counts = &self.counts;
        let Some(socket) = self.sockets.get_mut(&id.serial) else { return };
        if !socket.enqueue(frame) {
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
            backlog: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            blocked_since: None,
            waker: None,
            closing_since: None,
            is_dirty: false,
        }
    }

    /// Queues a frame; false if that made the socket a slow consumer. One frame of any size may
    /// always queue.
    fn enqueue(&mut self, frame: &Bytes) -> bool {
        if self.closing_since.is_some() {
            return true;
        }
        let is_full = self.queue.len() >= limits::OUTBOUND_FRAMES_MAX
            || self.queued_bytes + frame.len() > limits::OUTBOUND_BYTES_MAX;
        if is_full && !self.queue.is_empty() {
            self.say_goodbye(Some(CloseCode::SlowConsumer));
            return false;
        }
        self.queued_bytes += frame.len();
        self.queue.push_back(frame.clone());
        true
    }

    /// Drops what is queued behind the frame that is being written, and closes.
    fn say_goodbye(&mut self, code: Option<CloseCode>) {
        if self.closing_since.is_some() {
            return;
        }
        self.closing_since = Some(Instant::now());
        if let Some(code) = code {
            // The kernel may have half a frame: its rest must come before the close frame.
            self.backlog.truncate(1);
            let keep = usize::from(self.backlog.is_empty());
            self.queue.truncate(keep);
            self.queue.push_back(frames::close(code));
        }
        self.ended.notify_one();
    }

    fn write(&mut self, context: &mut Context<'_>, counts: &Counts) -> Written {
        loop {
            if self.backlog.is_empty() && self.queue.is_empty() {
                self.blocked_since = None;
                self.shrink();
                return Written::All;
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

    fn write_once(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut frames = self.backlog.iter().chain(&self.queue);
        if self.backlog.len() + self.queue.len() == 1
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
            let is_backlog = !self.backlog.is_empty();
            let frames = if is_backlog { &mut self.backlog } else { &mut self.queue };
            let Some(frame) = frames.front_mut() else { break };
            let taken = frame.len().min(count);
            frame.advance(taken);
            count -= taken;
            if !is_backlog {
                self.queued_bytes = self.queued_bytes.saturating_sub(taken);
            }
            if frame.is_empty() {
                frames.pop_front();
                through += 1;
            }
        }
        through
    }

    /// Buffers exist while they are used.
    fn shrink(&mut self) {
        for frames in [&mut self.backlog, &mut self.queue] {
            if frames.capacity() > QUEUE_KEPT {
                frames.shrink_to(0);
            }
        }
        self.queued_bytes = 0;
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

#[cfg(test)]
mod tests;
