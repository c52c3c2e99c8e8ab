//! A writer shard: owns the writing halves of its sockets. It queues and writes, but never waits
//! for a client and never decides who gets what.
//!
//! A frame is queued on all of its sockets at once, which is cheap and keeps the order of the
//! mailbox. Writing is not cheap, so it goes by runs: a run has the sockets of one frame, or of
//! several with the same audience. A turn writes to a few sockets of one run, then of the next, so
//! that a huge audience does not delay a small one. A visit writes all that is queued on a socket.

mod socket;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use delivery::{DeliveryClass, SocketId};
use model::limits;
use parking_lot::Mutex;
use protocol::close::CloseCode;
use protocol::publication::Publication;
use rustc_hash::FxBuildHasher;
use slab::Slab;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::delivery_stats::{DeliveryStats, Written};
use socket::{Socket, Tally};

pub(crate) use socket::Writer;

/// What a shard does for its node, in the order of its mailbox.
pub(crate) enum Command {
    /// Hands a socket's writing half to the shard.
    Open { socket: SocketId, writer: Writer, ended: Arc<Notify> },
    /// One frame for many sockets, and its publication. Its class decides which limit applies.
    Frame {
        frame: Bytes,
        to: Arc<[SocketId]>,
        class: DeliveryClass,
        publication: Option<Arc<Publication>>,
    },
    /// Frames that a socket missed, in order; the socket's speed paces them, whatever their number.
    Missed { socket: SocketId, frames: Vec<Bytes> },
    /// A control frame for one socket.
    Control { socket: SocketId, frame: Bytes },
    /// Send a close frame, which may ask the client to wait before it reconnects; then end.
    Close { socket: SocketId, code: CloseCode, delay: Option<Duration> },
    /// The peer is gone, or answered our close: flush the rest of the closing handshake, then end.
    Finish { socket: SocketId },
}

/// Executes commands until the node drops the sender.
pub(crate) async fn run(commands: mpsc::Receiver<Command>, stats: Arc<DeliveryStats>) {
    // A turn writes to many sockets. The runtime's per-task budget of operations would interrupt
    // it, and then wake it once for each remaining socket. It yields by itself after each turn.
    tokio::task::unconstrained(serve(commands, stats)).await;
}

async fn serve(mut commands: mpsc::Receiver<Command>, stats: Arc<DeliveryStats>) {
    let mut shard = Shard::new(stats);
    let mut batch = Vec::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let ready = Arc::clone(&shard.ready);
        tokio::select! {
            // The timer, then sockets that became writable, each of which is written or blocks
            // again. Commands may arrive without end, so they are last.
            biased;
            _ = sweep.tick() => shard.sweep(),
            () = ready.notify.notified() => shard.write_ready(),
            count = commands.recv_many(&mut batch, COMMANDS_A_TURN), if shard.inbox.is_empty() => {
                if count == 0 {
                    return;
                }
                shard.inbox.extend(batch.drain(..));
            }
            // No event, but work is left.
            () = std::future::ready(()), if shard.has_backlog() => {}
        }
        shard.accept();
        shard.write_some();
        // If nothing is left, the wait above lets other tasks run.
        if shard.has_backlog() || shard.ready.is_some() || !commands.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

struct Shard {
    sockets: Slab<Socket>,
    /// Index of a socket by its number. The node assigns the numbers, so no keyed hash is needed.
    places: HashMap<u64, usize, FxBuildHasher>,
    ready: Arc<Ready>,
    stats: Arc<DeliveryStats>,
    /// Received commands that wait for room.
    inbox: VecDeque<Command>,
    /// Queued frames that were not attempted on every recipient yet.
    runs: VecDeque<Run>,
    /// The frames in `runs`, each counted once.
    backlog: Tally,
    written: Written,
}

/// Sockets with frames to write; those before `next` have been visited.
struct Run {
    to: Arc<[SocketId]>,
    next: usize,
    frames: Tally,
    publications: Vec<Arc<Publication>>,
}

impl Shard {
    fn new(stats: Arc<DeliveryStats>) -> Self {
        Self {
            sockets: Slab::new(),
            places: HashMap::default(),
            ready: Arc::default(),
            stats,
            inbox: VecDeque::new(),
            runs: VecDeque::new(),
            backlog: Tally::default(),
            written: Written::default(),
        }
    }

    fn has_backlog(&self) -> bool {
        !self.runs.is_empty() || !self.inbox.is_empty()
    }

    /// Whether another command may be accepted. Frames not yet attempted fill each socket's queue,
    /// so they are limited: a late shard would otherwise mistake its readers for slow consumers.
    fn has_room(&self) -> bool {
        self.backlog.frames < COMMANDS_A_TURN && self.backlog.bytes < limits::OUTBOUND_BYTES_MAX / 2
    }

    /// Accepts commands while there is room, for at most as many sockets as a turn visits: even
    /// queueing on 50,000 of them takes a millisecond.
    fn accept(&mut self) {
        let mut queued = 0;
        while self.has_room()
            && queued < VISITS_A_TURN
            && let Some(command) = self.inbox.pop_front()
        {
            match command {
                Command::Frame { frame, to, class, publication } => {
                    queued += to.len();
                    self.frame(&frame, to, class, publication);
                }
                Command::Open { socket, writer, ended } => {
                    let place = self.sockets.insert(Socket::new(socket.serial, writer, ended));
                    self.places.insert(socket.serial, place);
                }
                Command::Missed { socket, frames } => {
                    self.with(socket, |socket, written| socket.enqueue_missed(frames, written));
                }
                Command::Control { socket, frame } => {
                    self.with(socket, |socket, written| {
                        socket.enqueue(&frame, DeliveryClass::Live, written)
                    });
                }
                Command::Close { socket, code, delay } => {
                    self.with(socket, |socket, _| socket.begin_close(Some(code), delay));
                }
                Command::Finish { socket } => {
                    self.with(socket, |socket, _| socket.begin_close(None, None));
                }
            }
        }
    }

    /// Queues a frame on each of its sockets.
    fn frame(
        &mut self,
        frame: &Bytes,
        to: Arc<[SocketId]>,
        class: DeliveryClass,
        publication: Option<Arc<Publication>>,
    ) {
        for id in to.iter() {
            let place = self.places.get(&id.serial);
            let Some(socket) = place.and_then(|place| self.sockets.get_mut(*place)) else {
                continue;
            };
            socket.enqueue(frame, class, &mut self.written);
        }
        let added = Tally { frames: 1, bytes: frame.len() };
        self.backlog = self.backlog.plus(added);
        match self.runs.back_mut() {
            Some(run) if run.next == 0 && Arc::ptr_eq(&run.to, &to) => {
                run.frames = run.frames.plus(added);
                run.publications.extend(publication);
            }
            Some(_) | None => {
                let publications = publication.into_iter().collect();
                self.runs.push_back(Run { to, next: 0, frames: added, publications });
            }
        }
    }

    /// Changes one socket and writes what is queued on it.
    fn with(&mut self, id: SocketId, change: impl FnOnce(&mut Socket, &mut Written)) {
        let Some(place) = self.places.get(&id.serial).copied() else { return };
        let Some(socket) = self.sockets.get_mut(place) else { return };
        change(socket, &mut self.written);
        self.visit(place, false);
    }

    /// Visits some sockets of one run, then of the next, until the turn's limits are reached.
    fn write_some(&mut self) {
        let enough = self.written.calls + WRITES_A_TURN;
        let mut visits = 0;
        while self.written.calls < enough
            && visits < VISITS_A_TURN
            && let Some(mut run) = self.runs.pop_front()
        {
            while self.written.calls < enough
                && visits < VISITS_A_TURN
                && let Some(id) = run.to.get(run.next)
            {
                (run.next, visits) = (run.next + 1, visits + 1);
                if let Some(place) = self.places.get(&id.serial).copied() {
                    self.visit(place, false);
                }
            }
            if run.next < run.to.len() {
                self.runs.push_back(run);
            } else {
                self.backlog = self.backlog.minus(run.frames);
                self.stats.written(&run.publications, &run.to);
            }
        }
        self.stats.add(std::mem::take(&mut self.written));
    }

    fn visit(&mut self, place: usize, is_ready: bool) {
        let Some(socket) = self.sockets.get_mut(place) else { return };
        let serial = socket.serial;
        let ready = &self.ready;
        let waker = || Waker::from(Arc::new(SocketWaker { ready: Arc::clone(ready), serial }));
        if !socket.write(is_ready, &waker, &mut self.written) {
            self.remove(serial);
        }
    }

    fn write_ready(&mut self) {
        let ready: Vec<u64> = std::mem::take(&mut *self.ready.sockets.lock());
        for serial in ready {
            if let Some(place) = self.places.get(&serial).copied() {
                self.visit(place, true);
            }
        }
    }

    fn remove(&mut self, serial: u64) {
        if let Some(place) = self.places.remove(&serial)
            && let Some(socket) = self.sockets.try_remove(place)
        {
            socket.ended.notify_one();
        }
    }

    /// Closes stalled sockets as slow consumers, and removes closing ones whose time is up.
    fn sweep(&mut self) {
        let now = Instant::now();
        let stalled = |since: Option<Instant>, max: Duration| {
            since.is_some_and(|since| now.duration_since(since) >= max)
        };
        let mut over = Vec::new();
        for (_, socket) in &mut self.sockets {
            if stalled(socket.closing_since, limits::GOODBYE_MAX) {
                over.push(socket.serial);
            } else if socket.closing_since.is_none()
                && stalled(socket.blocked_since, limits::WRITE_STALL_MAX)
            {
                self.written.slow_consumers += 1;
                socket.begin_close(Some(CloseCode::SlowConsumer), None);
            }
        }
        for serial in over {
            self.remove(serial);
        }
    }
}

/// Sockets whose kernel buffers drained since the last [`Shard::write_ready`].
#[derive(Debug, Default)]
struct Ready {
    sockets: Mutex<Vec<u64>>,
    notify: Notify,
}

impl Ready {
    fn is_some(&self) -> bool {
        !self.sockets.lock().is_empty()
    }
}

struct SocketWaker {
    ready: Arc<Ready>,
    serial: u64,
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.ready.sockets.lock().push(self.serial);
        self.ready.notify.notify_one();
    }
}

/// The most commands received per turn, and the most frames that may wait for their first attempt.
const COMMANDS_A_TURN: usize = 256;
/// A turn ends after this many calls: other tasks wait for the thread, and their frames with them.
const WRITES_A_TURN: u64 = 16;
/// A turn also ends after this many sockets: blocked or already written ones need no call.
const VISITS_A_TURN: usize = 4_096;
/// How often stalled sockets are closed.
const SWEEP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
