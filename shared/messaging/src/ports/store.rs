//! The store: an append-only log per channel, channels, memberships, tombstones.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{
    Channel, ChannelId, LateArrivals, Member, Message, MessageId, TextDigest, Timestamp, UserId,
    WorkspaceId,
};

use super::Cause;

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
    /// Written by a later version: no reader of this one sees it, and positions pass over it.
    Unknown {
        /// The channel.
        channel_id: ChannelId,
        /// Where it lies.
        id: MessageId,
    },
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
    /// The store did not answer, or by an error.
    #[error("the store did not answer the read")]
    Unavailable(#[source] Cause),
    /// The store answered with a row that this version cannot read.
    #[error("a row could not be read")]
    Unreadable(#[source] Cause),
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
    async fn entry(
        &self,
        channel: &ChannelId,
        id: MessageId,
    ) -> Result<Option<LogEntry>, ReadError>;

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

/// What became of a late mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// It is the channel's mark now.
    Marked,
    /// A recent mark reaches as far back (or there is no such channel); nothing was written.
    Covered,
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

    /// Increments `members_version` and returns the new one (G6); `None` if there is no such
    /// channel. Parallel calls get different versions. A repeated attempt may skip some.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError>;

    /// Sets a channel's late mark (G3), unless the one that is there has an equal or lower id and is
    /// at most [`model::limits::OVERLAP`] older: an incident is one write. So the lowest id of an
    /// incident stays, and an older mark is replaced.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError>;
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

    /// Notes that a user is leaving a channel, so that their retry is told from a stranger's call.
    /// It stays; who comes back and leaves again notes it again.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError>;

    /// Whether a user ever noted that they are leaving a channel, read strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError>;

    /// Whether both rows of each of these users (at most 101) are there, or with `as_members` false
    /// neither row of any of them is, read strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn are_settled(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        users: &[UserId],
        as_members: bool,
    ) -> Result<bool, ReadError>;

    /// Reads a channel's members by user id, strongly, after (exclusive) `after`; at most
    /// [`model::limits::MEMBERS_READ_MAX`].
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
    async fn revoke(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError>;

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
