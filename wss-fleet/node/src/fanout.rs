//! Passes effects to shards: the fixed set of tasks that write to sockets (G5).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery::{Audience, DeliveryClass, SocketId};
use messaging::ports::Clock;
use model::limits;
use protocol::close::CloseCode;
use protocol::publication::Publication;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::delivery_stats::DeliveryStats;
use crate::shard::{self, Command};

/// The shards' mailboxes.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    mailboxes: Arc<[mpsc::Sender<Command>]>,
    stats: Arc<DeliveryStats>,
}

impl Shards {
    /// Starts one shard per core.
    pub(crate) fn per_core(tasks: &mut JoinSet<()>, clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self::start(tasks, cores, clock)
    }

    /// Starts `count` shards. They need the clock only to report how late they write.
    pub(crate) fn start(tasks: &mut JoinSet<()>, count: usize, clock: Arc<dyn Clock>) -> Self {
        let stats = Arc::new(DeliveryStats::new(clock));
        let start = |_| {
            let (tx, rx) = mpsc::channel(limits::SHARD_COMMANDS_MAX);
            tasks.spawn(shard::run(rx, Arc::clone(&stats)));
            tx
        };
        let mailboxes = (0..count.clamp(1, SHARDS_MAX)).map(start).collect();
        Self { mailboxes, stats }
    }

    pub(crate) fn stats(&self) -> &DeliveryStats {
        &self.stats
    }

    /// The shard that owns the socket with this number.
    pub(crate) fn shard_of(&self, serial: u64) -> u16 {
        u16::try_from(serial % self.mailboxes.len().max(1) as u64).unwrap_or(0)
    }

    /// Offers one frame, encoded once, to every shard with a recipient.
    ///
    /// Waits if a shard's mailbox is full. That is short, since shards never wait for a client. If
    /// the workspace's subscription overflows meanwhile, that is a gap, which is filled.
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
            self.send(shard, Command::Frame { frame, to, class, publication }).await;
        }
    }

    /// Offers a socket the frames that it missed.
    pub(crate) async fn offer_missed(&self, socket: SocketId, frames: Vec<Bytes>) {
        self.send(socket.shard, Command::Missed { socket, frames }).await;
    }

    /// Closes a socket.
    pub(crate) async fn close(&self, socket: SocketId, code: CloseCode) {
        self.send(socket.shard, Command::Close { socket, code, delay: None }).await;
    }

    /// Closes a socket that cannot be served now: its client reconnects after the delay.
    pub(crate) async fn refuse(&self, socket: SocketId, delay: Duration) {
        let (code, delay) = (CloseCode::Busy, Some(delay));
        self.send(socket.shard, Command::Close { socket, code, delay }).await;
    }

    /// Sends a command to a shard. A shard ends only with its node.
    pub(crate) async fn send(&self, shard: u16, command: Command) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(shard)) {
            let _node_stopped = mailbox.send(command).await.is_err();
        }
    }

    /// Sends a command to a shard without waiting; false if its mailbox is full.
    pub(crate) fn try_send(&self, shard: u16, command: Command) -> bool {
        self.mailboxes
            .get(usize::from(shard))
            .is_some_and(|mailbox| mailbox.try_send(command).is_ok())
    }
}

/// More shards gain nothing: the system call dominates, and the kernel has its own locks.
const SHARDS_MAX: usize = 64;
