//! From effects to shards: the fixed set of tasks that write to sockets (G5).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use messaging::ports::Clock;
use model::limits;
use protocol::close::CloseCode;
use protocol::publication::Publication;
use session::{Audience, DeliveryClass, SocketId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::shard::{self, Counts, Writer};

/// What a shard is told to do, in order.
pub(crate) enum Order {
    /// A socket's writing half is the shard's from now on.
    Open { socket: SocketId, writer: Writer, ended: Arc<Notify> },
    /// One frame for many sockets, and what it tells of. If it is not live it does not count against
    /// their queues.
    Frame {
        frame: Bytes,
        to: Arc<[SocketId]>,
        class: DeliveryClass,
        publication: Option<Arc<Publication>>,
    },
    /// What a socket missed, in order; paced by the socket, whatever its number.
    Backlog { socket: SocketId, frames: Vec<Bytes> },
    /// A control frame for one socket.
    Control { socket: SocketId, frame: Bytes },
    /// Say why, and when to come again if the client should wait, and end.
    Close { socket: SocketId, code: CloseCode, delay: Option<Duration> },
    /// The peer is gone, or answered our close: flush what is left of the closing handshake, end.
    Finish { socket: SocketId },
}

/// The shards' mailboxes.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    mailboxes: Arc<[mpsc::Sender<Order>]>,
    counts: Arc<Counts>,
}

impl Shards {
    /// Starts one shard a core.
    pub(crate) fn a_core(tasks: &mut JoinSet<()>, clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self::start(tasks, cores, clock)
    }

    /// Starts so many shards. They need a clock only to tell how late they wrote.
    pub(crate) fn start(tasks: &mut JoinSet<()>, count: usize, clock: Arc<dyn Clock>) -> Self {
        let counts = Arc::new(Counts::new(clock));
        let start = |_| {
            let (tx, rx) = mpsc::channel(limits::SHARD_ORDERS_MAX);
            tasks.spawn(shard::run(rx, Arc::clone(&counts)));
            tx
        };
        let mailboxes = (0..count.clamp(1, SHARDS_MAX)).map(start).collect();
        Self { mailboxes, counts }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The shard of a socket's number.
    pub(crate) fn shard_of(&self, serial: u64) -> u16 {
        u16::try_from(serial % self.mailboxes.len().max(1) as u64).unwrap_or(0)
    }

    /// Offers one frame, encoded once, to every shard with a recipient.
    ///
    /// Waits where a shard's mailbox is full: shards never wait for a client, so that is short, and
    /// what the workspace's subscription cannot take meanwhile is a gap, which is filled.
    pub(crate) async fn offer(
        &self,
        frame: &Bytes,
        to: &Audience,
        class: DeliveryClass,
        publication: Option<&Arc<Publication>>,
    ) {
        for (shard, sockets) in to.shards() {
            let (frame, to) = (frame.clone(), Arc::clone(sockets));
            let publication = publication.cloned();
            self.order(shard, Order::Frame { frame, to, class, publication }).await;
        }
    }

    /// Offers a socket what it missed.
    pub(crate) async fn backlog(&self, socket: SocketId, frames: Vec<Bytes>) {
        self.order(socket.shard, Order::Backlog { socket, frames }).await;
    }

    /// Ends a socket.
    pub(crate) async fn close(&self, socket: SocketId, code: CloseCode) {
        self.order(socket.shard, Order::Close { socket, code, delay: None }).await;
    }

    /// Ends a socket that cannot be served now: its client comes again after the delay.
    pub(crate) async fn refuse(&self, socket: SocketId, delay: Duration) {
        let (code, delay) = (CloseCode::Busy, Some(delay));
        self.order(socket.shard, Order::Close { socket, code, delay }).await;
    }

    /// Gives a shard an order. A shard that is gone went with its node.
    pub(crate) async fn order(&self, shard: u16, order: Order) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(shard)) {
            let _node_stopped = mailbox.send(order).await.is_err();
        }
    }

    /// Gives a shard an order without waiting; false if its mailbox is full.
    pub(crate) fn try_order(&self, shard: u16, order: Order) -> bool {
        self.mailboxes
            .get(usize::from(shard))
            .is_some_and(|mailbox| mailbox.try_send(order).is_ok())
    }
}

/// More shards than this gain nothing: the system call dominates, and the kernel has its own locks.
const SHARDS_MAX: usize = 64;
