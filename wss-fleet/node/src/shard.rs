//! A writer shard: owns the writing halves of its sockets. It queues, it writes, it never waits
//! for a client and never decides who gets what.
//!
//! A frame is queued on each of its sockets at once, which is cheap and keeps the order of the
//! mailbox. Writing, which is not, goes by runs: the sockets of a frame, or of some with the same
//! audience, a few at a time and run by run, so that a huge audience holds up no small one. A socket
//! that is come to gets all that waits for it in one call.

mod socket;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use model::limits;
use protocol::close::CloseCode;
use protocol::publication::Publication;
use rustc_hash::FxBuildHasher;
use session::{DeliveryClass, SocketId};
use slab::Slab;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::fanout::Order;
use crate::hub::lock;
use crate::watch::Written;
use socket::{Socket, State, Tally};

pub(crate) use crate::watch::Counts;
pub(crate) use socket::Writer;

/// Serves orders until the node drops its end.
pub(crate) async fn run(orders: mpsc::Receiver<Order>, counts: Arc<Counts>) {
    // A turn writes to many sockets. The runtime's budget of operations a task would end it in the
    // middle, and wake it once for every socket behind; it yields by itself, after each turn.
    tokio::task::unconstrained(serve(orders, counts)).await;
}

async fn serve(mut orders: mpsc::Receiver<Order>, counts: Arc<Counts>) {
    let mut shard = Shard::new(counts);
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
            count = orders.recv_many(&mut batch, ORDERS_A_TURN), if shard.inbox.is_empty() => {
                if count == 0 {
                    return;
                }
                shard.inbox.extend(batch.drain(..));
            }
            // Nothing new, and not done yet.
            () = std::future::ready(()), if shard.is_behind() => {}
        }
        shard.take();
        shard.write_some();
        // Where nothing is left, waiting is what lets others go on.
        if shard.is_behind() || shard.ready.is_some() || !orders.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

struct Shard {
    sockets: Slab<Socket>,
    /// Where a socket is, by its number, which is the node's own: no secret keys are needed.
    places: HashMap<u64, usize, FxBuildHasher>,
    ready: Arc<Ready>,
    counts: Arc<Counts>,
    /// Orders that were received and wait for room.
    inbox: VecDeque<Order>,
    /// What is queued, and whose sockets were not all come to.
    runs: VecDeque<Run>,
    /// Frames in `runs`, each once.
    behind: Tally,
    written: Written,
}

/// Sockets with something to write, and how many of them were come to.
struct Run {
    to: Arc<[SocketId]>,
    next: usize,
    frames: Tally,
    publications: Vec<Arc<Publication>>,
}

impl Shard {
    fn new(counts: Arc<Counts>) -> Self {
        Self {
            sockets: Slab::new(),
            places: HashMap::default(),
            ready: Arc::default(),
            counts,
            inbox: VecDeque::new(),
            runs: VecDeque::new(),
            behind: Tally::default(),
            written: Written::default(),
        }
    }

    fn is_behind(&self) -> bool {
        !self.runs.is_empty() || !self.inbox.is_empty()
    }

    /// What no socket was come to for counts against its queue: not more of that than a socket may
    /// have, or a shard that is late would take its readers for slow.
    fn has_room(&self) -> bool {
        self.behind.frames < ORDERS_A_TURN && self.behind.bytes < limits::OUTBOUND_BYTES_MAX / 2
    }

    /// Takes orders as long as there is room, and not more sockets' than a turn comes to: of 50,000
    /// even queueing takes a millisecond.
    fn take(&mut self) {
        let mut queued = 0;
        while self.has_room()
            && queued < VISITS_A_TURN
            && let Some(order) = self.inbox.pop_front()
        {
            match order {
                Order::Frame { frame, to, class, publication } => {
                    queued += to.len();
                    self.frame(&frame, to, class, publication);
                }
                Order::Open { socket, writer, ended } => {
                    let place = self.sockets.insert(Socket::new(socket.serial, writer, ended));
                    self.places.insert(socket.serial, place);
                }
                Order::Backlog { socket, frames } => {
                    self.with(socket, |socket, written| socket.enqueue_missed(frames, written));
                }
                Order::Control { socket, frame } => {
                    self.with(socket, |socket, written| {
                        socket.enqueue(&frame, DeliveryClass::Live, written)
                    });
                }
                Order::Close { socket, code, delay } => {
                    self.with(socket, |socket, _| socket.say_goodbye(Some(code), delay));
                }
                Order::Finish { socket } => {
                    self.with(socket, |socket, _| socket.say_goodbye(None, None));
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
        self.behind = self.behind.plus(added);
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

    /// Changes one socket and writes what it has.
    fn with(&mut self, id: SocketId, change: impl FnOnce(&mut Socket, &mut Written)) {
        let Some(place) = self.places.get(&id.serial).copied() else { return };
        let Some(socket) = self.sockets.get_mut(place) else { return };
        change(socket, &mut self.written);
        self.write(place, false);
    }

    /// Comes to some sockets: of one run, then of the next.
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
                    self.write(place, false);
                }
            }
            if run.next < run.to.len() {
                self.runs.push_back(run);
            } else {
                self.behind = self.behind.minus(run.frames);
                self.counts.written(&run.publications, &run.to);
            }
        }
        self.counts.add(std::mem::take(&mut self.written));
    }

    fn write(&mut self, place: usize, is_ready: bool) {
        let Some(socket) = self.sockets.get_mut(place) else { return };
        let serial = socket.serial;
        let ready = &self.ready;
        let waker = || Waker::from(Arc::new(SocketWaker { ready: Arc::clone(ready), serial }));
        match socket.write(is_ready, &waker, &mut self.written) {
            State::Open => {}
            State::Over => self.remove(serial),
        }
    }

    fn write_ready(&mut self) {
        let ready: Vec<u64> = std::mem::take(&mut *lock(&self.ready.sockets));
        for serial in ready {
            if let Some(place) = self.places.get(&serial).copied() {
                self.write(place, true);
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

    /// Ends sockets that swallow nothing: a stalled one as a slow consumer, a closing one for good.
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
                socket.say_goodbye(Some(CloseCode::SlowConsumer), None);
            }
        }
        for serial in over {
            self.remove(serial);
        }
    }
}

/// The sockets whose kernel buffers drained since the shard last looked.
#[derive(Debug, Default)]
struct Ready {
    sockets: Mutex<Vec<u64>>,
    notify: Notify,
}

impl Ready {
    fn is_some(&self) -> bool {
        !lock(&self.sockets).is_empty()
    }
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

/// Orders that a turn takes at most, and frames that may wait for a socket to be come to.
const ORDERS_A_TURN: usize = 256;
/// Calls after which a turn ends: others wait for the thread, and so long for their frames.
const WRITES_A_TURN: u64 = 16;
/// Sockets after which a turn ends as well: blocked ones, and those that another run came to before,
/// need no call.
const VISITS_A_TURN: usize = 4_096;
/// How often stalled sockets are looked for.
const SWEEP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
