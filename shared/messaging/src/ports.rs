//! The ports: what the engine needs from the world, narrow and verb-shaped.
//!
//! Adapters: `dynamo` (store), `redis-bus` (bus, node directory), `memory` (all, in process),
//! `runtime` (clock, randomness, tokens, tickets). One conformance suite per port runs on each.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use model::{
    Channel, ChannelId, EntryId, Member, Message, MessageId, NodeId, Position, TextDigest,
    Timestamp, UserId, WorkspaceId,
};
use protocol::publication::Publication;
pub use protocol::publication::Entry;
use tokio::sync::mpsc;

/// Why the store or the bus said, underneath. Goes to the log, never to a caller.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

// ── the store ────────────────────────────────────────────────────────────────────────────────

/// A message and the `members_version` that its send read, as the messages table holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The message.
    pub message: Message,
    /// The version that its publication carries, from the send or from the relay (G6).
    pub members_version: u64,
}

/// What lies at a client's id when the message had to be stored under another one (G1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The channel.
    pub channel_id: ChannelId,
    /// The id that the client sent, and will send again.
    pub id: MessageId,
    /// The id under which the message is stored.
    pub target: MessageId,
    /// Who sent it.
    pub sender_id: UserId,
    /// What it said, as a digest.
    pub digest: TextDigest,
    /// When the store may forget it.
    pub expires_at: Timestamp,
}

/// One entry of a channel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    /// A message.
    Message(StoredMessage),
    /// A redirect: no reader sees it.
    Redirect(Redirect),
}

/// What an append found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is stored now.
    Stored,
    /// This entry was there before; nothing was written.
    Occupied(Box<LogEntry>),
}

/// Which entries of a channel to read: both bounds are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// The channel.
    pub channel_id: ChannelId,
    /// The lowest id.
    pub lowest: MessageId,
    /// The highest id.
    pub highest: MessageId,
    /// Newest first, or oldest first.
    pub newest_first: bool,
    /// Entries to read, redirects included; 1-100.
    pub limit: u32,
    /// Whether the read sees every write that was acknowledged before it began.
    pub strong: bool,
}

/// The entries of one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// In the order asked for.
    pub entries: Vec<LogEntry>,
    /// Whether more may follow within the bounds; then the last entry's id tells where.
    pub more: bool,
}

/// A read that failed. Repeating it is always safe.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store throttled it.
    #[error("the store throttled the read")]
    Throttled(#[source] Cause),
    /// The store did not answer, or answered something that is no row of ours.
    #[error("the store did not answer the read")]
    Unavailable(#[source] Cause),
}

/// A write that failed. Three outcomes, never two: it may have happened.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing was written: the store throttled the key.
    #[error("the store throttled the write")]
    Throttled(#[source] Cause),
    /// Nothing was written: the store refused, or could not be reached.
    #[error("the store did not take the write")]
    NotStored(#[source] Cause),
    /// It may or may not have been written. Repeating the same write resolves it.
    #[error("the write may or may not have been stored")]
    OutcomeUnknown(#[source] Cause),
}

/// The messages table: an append-only log per channel.
#[async_trait]
pub trait MessageStore: Send + Sync + Debug {
    /// Appends a message if nothing lies at its id (G1). One conditional put; the entry that was
    /// there comes from the failed condition itself, without a second read.
    ///
    /// # Errors
    /// [`WriteError`]; after `OutcomeUnknown` the same call tells which it was.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have stored it.
    async fn append(&self, message: &StoredMessage) -> Result<Appended, WriteError>;

    /// Appends a message and a redirect to it in one transaction, if nothing lies at either id
    /// (G1). `Occupied` holds what lay at the redirect's id.
    ///
    /// # Errors
    /// [`WriteError`], as for [`MessageStore::append`].
    async fn append_redirected(
        &self,
        redirect: &Redirect,
        message: &StoredMessage,
    ) -> Result<Appended, WriteError>;

    /// Reads one entry, strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn entry(&self, channel: &ChannelId, id: MessageId) -> Result<Option<LogEntry>, ReadError>;

    /// Reads a page: one query.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn page(&self, query: &PageQuery) -> Result<LogPage, ReadError>;
}

/// What a user is to a channel, read strongly and together: 2 read units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The channel, of whatever workspace; `None` if there is none.
    pub channel: Option<Channel>,
    /// Whether the user is a member.
    pub is_member: bool,
}

/// What became of a new channel's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It is there now.
    Created,
    /// It was there before; nothing was written.
    Existed,
}

/// What became of a version's increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bump {
    /// The version is this now.
    Bumped(u64),
    /// It was not the one expected (or the channel is gone); nothing was written.
    Stale,
}

/// The channels table.
#[async_trait]
pub trait ChannelStore: Send + Sync + Debug {
    /// Writes a channel's item if there is none.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError>;

    /// Reads channels, strongly, at most 100; absent ones are left out, order is not kept.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError>;

    /// Reads a channel and one user's row in it, strongly, in one call.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError>;

    /// Increments `members_version` if it still is `expected` (G6).
    ///
    /// # Errors
    /// [`WriteError`].
    async fn bump_members_version(
        &self,
        channel: &ChannelId,
        expected: u64,
    ) -> Result<Bump, WriteError>;
}

/// A page of rows that are found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePage<T> {
    /// Ascending.
    pub rows: Vec<T>,
    /// Whether more may follow the last row.
    pub more: bool,
}

/// Memberships, in both directions.
#[async_trait]
pub trait MemberStore: Send + Sync + Debug {
    /// Writes both rows of each member (at most 101). A row that is there keeps its `joined_at`.
    /// Not atomic: after an error some may be written; repeating it completes them.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError>;

    /// Deletes both rows of a member; absent ones are no error.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError>;

    /// Reads a channel's members by user id, strongly, after (exclusive) `after`.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError>;

    /// Reads a user's channels by id, strongly, after (exclusive) `after`. The tombstone of a
    /// revoked user is no channel.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError>;
}

/// Tombstones of revoked users.
#[async_trait]
pub trait RevocationStore: Send + Sync + Debug {
    /// Writes a user's tombstone. Idempotent.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn revoke(&self, workspace: &WorkspaceId, user: &UserId, at: Timestamp)
    -> Result<(), WriteError>;

    /// Which of these users (at most 101) have a tombstone, read strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn revoked_among(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError>;
}

// ── the bus ──────────────────────────────────────────────────────────────────────────────────

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It stands in the stream here and was pushed.
    Appended(Position),
    /// Its guard key was there: somebody published it within the last ten minutes.
    AlreadyPublished,
}

/// Why the bus did not do something.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It could not be reached, or did not answer in time. A publication may have been taken.
    #[error("the bus did not answer")]
    Unavailable(#[source] Cause),
    /// It answered an error: read-only, out of memory, not permitted.
    #[error("the bus refused")]
    Refused(#[source] Cause),
}

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An entry was published.
    Entry(Entry),
    /// The link is gone; entries may be missed until [`Notice::Restored`].
    Lost,
    /// Entries may have been missed before this; from here on they come again.
    Restored,
}

/// A workspace's topic, subscribed and confirmed. At most once: what is missed shows in the chain,
/// or as [`Notice::Restored`].
#[derive(Debug)]
pub struct Subscription {
    notices: mpsc::Receiver<Notice>,
    gap: Arc<AtomicBool>,
}

/// The bus's end of a [`Subscription`].
#[derive(Debug, Clone)]
pub struct SubscriptionSender {
    notices: mpsc::Sender<Notice>,
    gap: Arc<AtomicBool>,
}

impl Subscription {
    /// Makes both ends, with room for `capacity` notices.
    #[must_use]
    pub fn channel(capacity: usize) -> (SubscriptionSender, Self) {
        let (tx, rx) = mpsc::channel(capacity);
        let gap = Arc::new(AtomicBool::new(false));
        (SubscriptionSender { notices: tx, gap: Arc::clone(&gap) }, Self { notices: rx, gap })
    }

    /// The next notice; `None` when the bus gave the subscription up.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.notices.try_recv() {
            Ok(notice) => Some(notice),
            // What was dropped came after all that is queued: the gap is told when the queue is empty.
            Err(mpsc::error::TryRecvError::Empty) if self.gap.swap(false, Ordering::AcqRel) => {
                Some(Notice::Restored)
            }
            Err(_) => self.notices.recv().await,
        }
    }
}

impl SubscriptionSender {
    /// Offers a notice without waiting. A full queue drops it and remembers the gap, as a
    /// subscriber that Redis cuts off would miss it. False when nobody listens any more.
    #[must_use]
    pub fn offer(&self, notice: Notice) -> bool {
        match self.notices.try_send(notice) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.gap.store(true, Ordering::Release);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// The bus: per workspace a capped stream of recent publications and a topic.
#[async_trait]
pub trait EventBus: Send + Sync + Debug {
    /// Publishes once: guard key, stream entry with `prev`, push to the topic, in one step that
    /// happens whole or not at all. Repeating it within [`model::limits::GUARD_TTL`] is a no-op.
    ///
    /// Success means the bus took it, not that a node received it; what is missed is repaired by
    /// the relay and by fill (G3, G4).
    ///
    /// # Errors
    /// [`BusError`]; after `Unavailable` it may have been published.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have published.
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError>;

    /// Subscribes to a workspace's topic. When this returns, the subscription is confirmed: every
    /// later publication is pushed to it, at most once. It lasts until it is dropped; a lost link
    /// is re-established by the adapter and told as `Lost` and `Restored`.
    ///
    /// # Errors
    /// [`BusError`].
    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError>;

    /// Reads the stream in order from an entry, inclusive (from its beginning if `None`), at most
    /// `limit` entries.
    ///
    /// # Errors
    /// [`BusError`].
    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError>;
}

// ── the node directory ───────────────────────────────────────────────────────────────────────

/// What a node says of itself every two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The node's start.
    pub node_id: NodeId,
    /// Where clients reach it: `ws://` or `wss://`, host, port and path.
    pub url: String,
    /// Open sockets.
    pub connections: u32,
    /// Handshakes a second it takes.
    pub handshakes_per_second: u32,
    /// Whether it is leaving: no new clients.
    pub draining: bool,
}

/// A node as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetNode {
    /// Its last word.
    pub lease: Lease,
    /// How long ago that was, by the directory's own clock.
    pub age: Duration,
    /// Assignments whose ticket has not expired yet.
    pub pending: u32,
    /// Who could not reach it, and how long ago; at most [`model::limits::REPORT_WINDOW`] +
    /// [`model::limits::DEMOTION`] back.
    pub reports: Vec<(UserId, Duration)>,
}

/// A refusal or silence of the directory.
#[derive(Debug, thiserror::Error)]
#[error("the node directory did not answer")]
pub struct DirectoryError(#[source] pub Cause);

/// Leases, pending assignments and reports of the fleet. Volatile: rebuilt from heartbeats.
#[async_trait]
pub trait NodeDirectory: Send + Sync + Debug {
    /// Writes a node's lease and renews it. Leases are scored with the directory's clock and have
    /// no time-to-live: eviction must not hit them.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn renew(&self, lease: &Lease) -> Result<(), DirectoryError>;

    /// Removes a node that leaves in order. Idempotent.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError>;

    /// All nodes heard of within [`model::limits::LEASE_MEMORY`], dead ones included.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError>;

    /// Takes the candidate with the fewest connections + pending assignments (the first of equals)
    /// and counts one pending assignment on it for `ttl`, in one step, so that many callers do
    /// not all take the same. Candidates without a lease are passed over; `None` if all are.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn reserve(
        &self,
        candidates: &[NodeId],
        ttl: Duration,
    ) -> Result<Option<NodeId>, DirectoryError>;

    /// Notes that a user could not reach a node, or lost it. One report per user and node counts:
    /// the last.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn report(&self, node: &NodeId, reporter: &UserId) -> Result<(), DirectoryError>;
}

// ── who is asking ────────────────────────────────────────────────────────────────────────────

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The tenant of the token.
    pub workspace_id: WorkspaceId,
    /// Who.
    pub user_id: UserId,
    /// Whether the token says `role: admin`.
    pub is_admin: bool,
    /// When the token ends; sockets end with it.
    pub expires_at: Timestamp,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its signature, form, algorithm or a claim is wrong.
    #[error("the token is not valid")]
    Invalid,
    /// It was valid once.
    #[error("the token has expired")]
    Expired,
}

/// Verifies bearer tokens (JWT, RFC 7519).
pub trait TokenVerifier: Send + Sync + Debug {
    /// Verifies signature, algorithm and claims at `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError>;
}

/// What a ticket says: who may open one socket, on which node, until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Who, and until when their token lasts.
    pub principal: Principal,
    /// The one node that takes it.
    pub node_id: NodeId,
    /// When it is void.
    pub expires_at: Timestamp,
    /// Makes it single use: the node remembers it until it is void.
    pub nonce: u128,
}

/// Why a ticket is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ticket is not valid")]
pub struct TicketError;

/// Signs and reads tickets.
pub trait Tickets: Send + Sync + Debug {
    /// Signs a ticket into an opaque string of URL-safe characters.
    fn issue(&self, ticket: &Ticket) -> String;

    /// Reads a ticket and checks its signature, and nothing else: node, time and single use are
    /// the node's to check.
    ///
    /// # Errors
    /// [`TicketError`].
    fn read(&self, text: &str) -> Result<Ticket, TicketError>;
}

// ── time and chance ──────────────────────────────────────────────────────────────────────────

/// The wall clock.
pub trait Clock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Randomness for ids, choices and jitter.
pub trait Randomness: Send + Sync + Debug {
    /// 128 random bits.
    fn bits(&self) -> u128;

    /// A number from 0 to `max`, inclusive.
    fn up_to(&self, max: u64) -> u64 {
        let range = u128::from(max) + 1;
        u64::try_from(self.bits() % range).unwrap_or(max)
    }
}
