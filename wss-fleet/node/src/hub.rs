//! The node's shared state: its ports, workspaces, sockets and spent tickets.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use delivery::{SocketId, SpentTickets, TokenBucket};
use messaging::Ports;
use messaging::outage::Outage;
use messaging::ports::{Ticket, TicketError};
use model::{ConnectionId, NodeId, Timestamp, limits};
use parking_lot::Mutex;
use protocol::close::CloseCode;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::dns_readiness::DnsReadiness;
use crate::fanout::Shards;
use crate::fleet_watch::FleetWatch;
use crate::health::Health;
use crate::known_channels::KnownChannels;
use crate::metrics::{Metrics, Snapshot};
use crate::reported::Reported;
use crate::store::Store;
use crate::workspaces::Workspaces;

/// What a node shows to clients.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) url: String,
    /// The URL's host, if the node must wait until it resolves.
    pub(crate) dns: Option<DnsReadiness>,
    /// When its certificate expires, if it has one.
    pub(crate) certificate_ends_at: Option<Timestamp>,
}

/// Bytes of publications that the workspaces hold, and how many workspaces hold some.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: AtomicUsize,
    holders: AtomicUsize,
}

impl Held {
    /// Records that a workspace which held `before` bytes holds `now`. Returns the workspace's
    /// share of the limit if the node is above the limit and this workspace above its share.
    pub(crate) fn change(&self, before: usize, now: usize) -> Option<usize> {
        if before == now {
            return None;
        }
        if before == 0 {
            self.holders.fetch_add(1, Ordering::Relaxed);
        } else if now == 0 {
            self.holders.fetch_sub(1, Ordering::Relaxed);
        }
        // Add before subtracting, so that the sum never underflows.
        let sum = self.bytes.fetch_add(now, Ordering::Relaxed) + now - before;
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        let share = limits::HELD_NODE_BYTES_MAX / self.holders.load(Ordering::Relaxed).max(1);
        (sum > limits::HELD_NODE_BYTES_MAX && now > share).then_some(share)
    }

    /// Bytes held by all workspaces.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The node's shared state.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) node_id: NodeId,
    pub(crate) shown: Shown,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) ports: Ports,
    pub(crate) shards: Shards,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) store: Store,
    /// Subscriptions and stream reads of all workspaces.
    pub(crate) redis_reads: Reported,
    pub(crate) accepts: Reported,
    /// Publications that workspaces hold back.
    pub(crate) held: Held,
    /// Bounds the channels that are read for backfills at the same time.
    pub(crate) backfills: Semaphore,
    /// Bounds unfinished TLS handshakes.
    pub(crate) tls_handshakes: Semaphore,
    /// Bounds connections that are not upgraded yet.
    pub(crate) handshakes: Semaphore,
    /// Bounds writes of presence, and reads of it, under way.
    pub(crate) presence_writes: Semaphore,
    pub(crate) presence_reads: Semaphore,
    /// The leases of the fleet, while somebody follows them.
    pub(crate) fleet: FleetWatch,
    pub(crate) handshakes_per_second: u32,
    handshake_rate: Mutex<TokenBucket>,
    is_draining: AtomicBool,
    serial: AtomicU64,
    pub(crate) workspaces: Workspaces,
    pub(crate) channels: KnownChannels,
    sockets: Mutex<BTreeSet<SocketId>>,
    spent: Mutex<SpentTickets>,
    foreign_tickets: Outage,
    tasks: Mutex<JoinSet<()>>,
}

impl Hub {
    /// A hub with `shards` writer shards, which run in `tasks`.
    pub(crate) fn new(
        ports: Ports,
        shown: Shown,
        allowed_origins: Vec<String>,
        handshakes_per_second: u32,
        shards: usize,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let now = ports.clock.now();
        let metrics = Metrics::new(shown.certificate_ends_at.is_some(), ports.clock.clone());
        Self {
            node_id: NodeId::mint(now, ports.randomness.bits()),
            shown,
            allowed_origins,
            shards: Shards::start(tasks, shards, &metrics.delivery),
            metrics,
            health: Health::of(&ports.health_checks),
            ports,
            store: Store::new(),
            redis_reads: Reported::new("reads of Redis fail", "Redis answers again"),
            accepts: Reported::new("cannot accept connections", "connections are accepted again"),
            held: Held::default(),
            backfills: Semaphore::new(limits::BACKFILLS_MAX),
            tls_handshakes: Semaphore::new(limits::TLS_HANDSHAKES_MAX),
            handshakes: Semaphore::new(limits::HANDSHAKES_MAX),
            presence_writes: Semaphore::new(limits::PRESENCE_CALLS_MAX),
            presence_reads: Semaphore::new(limits::PRESENCE_CALLS_MAX),
            fleet: FleetWatch::default(),
            handshakes_per_second,
            handshake_rate: Mutex::new(TokenBucket::new(handshakes_per_second, now)),
            is_draining: AtomicBool::new(false),
            serial: AtomicU64::new(0),
            workspaces: Workspaces::default(),
            channels: KnownChannels::default(),
            sockets: Mutex::default(),
            spent: Mutex::default(),
            foreign_tickets: Outage::default(),
            tasks: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    pub(crate) fn connection_id(&self) -> ConnectionId {
        ConnectionId::mint(self.now(), self.ports.randomness.bits())
    }

    /// Seconds until the node's certificate expires, negative once it has; `None` without one.
    pub(crate) fn certificate_seconds(&self) -> Option<i64> {
        Some(self.shown.certificate_ends_at?.ms_after(self.now()) / 1_000)
    }

    /// Whether the certificate has expired, so that clients refuse it.
    pub(crate) fn is_certificate_over(&self) -> bool {
        self.shown.certificate_ends_at.is_some_and(|end| self.now() >= end)
    }

    /// Counts a handshake against the rate limit; false if none is left this second.
    pub(crate) fn allows_handshake(&self) -> bool {
        self.handshake_rate.lock().take(1, self.now())
    }

    /// Assigns a new socket its number and counts it; `None` if the node is full or draining.
    pub(crate) fn open(&self) -> Option<SocketId> {
        let mut sockets = self.sockets.lock();
        if self.is_draining() || sockets.len() >= limits::SOCKETS_MAX {
            return None;
        }
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let socket = SocketId { shard: self.shards.shard_of(serial), serial };
        sockets.insert(socket);
        Some(socket)
    }

    pub(crate) fn closed(&self, socket: SocketId) {
        self.sockets.lock().remove(&socket);
    }

    /// Closes a socket for a reason of its own, which is counted and logged.
    pub(crate) async fn close(&self, socket: SocketId, code: CloseCode, delay: Option<Duration>) {
        self.metrics.closes.with_label_values(&[code.as_str()]).inc();
        tracing::debug!(socket = socket.serial, code = code.as_str(), "a socket is closed");
        self.shards.close(socket, code, delay).await;
    }

    pub(crate) fn sockets(&self) -> Vec<SocketId> {
        self.sockets.lock().iter().copied().collect()
    }

    pub(crate) fn is_open(&self, socket: SocketId) -> bool {
        self.sockets.lock().contains(&socket)
    }

    pub(crate) fn socket_count(&self) -> usize {
        self.sockets.lock().len()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    pub(crate) fn start_draining(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// Checks a ticket: issued for this start of this node, still valid, not used before.
    pub(crate) fn admit(&self, ticket: &str) -> Result<Ticket, CloseCode> {
        let now = self.now();
        let ticket = self.ports.tickets.read(ticket).map_err(|error| self.refusal(error))?;
        if ticket.node_id != self.node_id {
            return Err(CloseCode::Unauthenticated);
        }
        let checked = ticket.check_times(now, self.health.is_clock_doubted());
        checked.map_err(|error| self.refusal(error))?;
        let is_first = self.spent.lock().spend(ticket.nonce, ticket.expires_at, now);
        if is_first { Ok(ticket) } else { Err(CloseCode::Unauthenticated) }
    }

    /// The close code for a ticket that is refused. Foreign tickets are forged, or the deployment
    /// is misconfigured: they are logged, and nothing else changes.
    fn refusal(&self, error: TicketError) -> CloseCode {
        match error {
            TicketError::Invalid => CloseCode::Unauthenticated,
            TicketError::Foreign => {
                if let Some(failing) = self.foreign_tickets.failed(Instant::now()) {
                    tracing::warn!(
                        tickets = failing.failures,
                        "tickets refused: signed with a secret that this node does not have, or \
                         at a time that its clock excludes"
                    );
                }
                CloseCode::ForeignTicket
            }
        }
    }

    /// What a scrape of the metrics reads from the hub.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            sockets: self.socket_count(),
            workspaces: self.workspaces.count(),
            held_bytes: self.held.bytes(),
            certificate_seconds: self.certificate_seconds(),
        }
    }

    /// Runs a task until it ends or the node stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while let Some(ended) = tasks.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                self.metrics.panics.inc();
            }
        }
        tasks.spawn(task);
    }

    /// Aborts every task of the node.
    pub(crate) fn stop(&self) {
        self.tasks.lock().abort_all();
    }
}
