//! Passes effects to shards: the fixed set of tasks that write to sockets (G5).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery::{Audience, DeliveryClass, SocketId};
use model::limits;
use protocol::close::CloseCode;
use protocol::publication::Publication;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::delivery_stats::DeliveryStats;
use crate::shard::{self, Command};

/// The shards' mailboxes.
#[derive(Debug)]
pub(crate) struct Shards(Vec<mpsc::Sender<Command>>);

impl Shards {
    /// Starts `count` shards, which report to `stats`.
    pub(crate) fn start(tasks: &mut JoinSet<()>, count: usize, stats: &Arc<DeliveryStats>) -> Self {
        let start = |_| {
            let (tx, rx) = mpsc::channel(limits::SHARD_COMMANDS_MAX);
            tasks.spawn(shard::run(rx, Arc::clone(stats)));
            tx
        };
        Self((0..count.clamp(1, SHARDS_MAX)).map(start).collect())
    }

    /// The shard that owns the socket with this number.
    pub(crate) fn shard_of(&self, serial: u64) -> u16 {
        u16::try_from(serial % self.0.len().max(1) as u64).unwrap_or(0)
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

    /// Closes a socket. If there is a `delay`, its client reconnects only after that.
    pub(crate) async fn close(&self, socket: SocketId, code: CloseCode, delay: Option<Duration>) {
        self.send(socket.shard, Command::Close { socket, code, delay }).await;
    }

    /// Sends a command to a shard. A shard ends only with its node.
    pub(crate) async fn send(&self, shard: u16, command: Command) {
        if let Some(mailbox) = self.0.get(usize::from(shard)) {
            let _node_stopped = mailbox.send(command).await.is_err();
        }
    }

    /// Sends a command to a shard without waiting; false if its mailbox is full.
    pub(crate) fn try_send(&self, shard: u16, command: Command) -> bool {
        self.0.get(usize::from(shard)).is_some_and(|mailbox| mailbox.try_send(command).is_ok())
    }
}

/// More shards gain nothing: the system call dominates, and the kernel has its own locks.
const SHARDS_MAX: usize = 64;
