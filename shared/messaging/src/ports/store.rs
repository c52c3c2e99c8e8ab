//! The store: an append-only log for each channel and thread, and channels.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{
    ChangeId, Channel, ChannelId, ChannelUpdate, Emoji, FileId, LateArrivals, LogId, Message,
    MessageId, TextDigest, Timestamp, UserId,
};

use super::{
    Acted, Cause, ChangePage, CountedReplies, Folded, LoggedChange, ReactionPage, Revised,
    Revision, StoredReaction,
};

/// A message and the `members_version` that its send read, as the messages table holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The message.
    pub message: Message,
    /// The version that its publication carries, from the send or from the relay (G6).
    pub members_version: u64,
    /// What its summary was counted from; `None` if nothing was counted yet.
    pub folded: Option<Folded>,
    /// The last act of pinning or unpinning that its row shows; kept when the message is deleted.
    pub pin_act: Option<ChangeId>,
    /// What the summary of its replies was counted from; `None` if nothing was counted yet. Boxed: most
    /// messages are no roots.
    pub counted: Option<Box<CountedReplies>>,
    /// The files that it named when it was sent; kept when the message is deleted, so that they can
    /// be deleted, too.
    pub files: Vec<FileId>,
    /// When the store deletes it by itself; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl StoredMessage {
    /// A message as it was sent, or of which nothing was counted yet.
    #[must_use]
    pub fn new(message: Message, members_version: u64) -> Self {
        let files = message.attachments.iter().map(|attachment| attachment.file).collect();
        Self {
            message,
            members_version,
            folded: None,
            pin_act: None,
            counted: None,
            files,
            expires_at: None,
        }
    }
}

/// The entry at a client's id when the message had to be stored under another id (G1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The log.
    pub log: LogId,
    /// The id that the client sent, and sends again when it retries.
    pub id: MessageId,
    /// The id under which the message is stored.
    pub target: MessageId,
    /// Who sent it.
    pub sender_id: UserId,
    /// The digest of its text.
    pub digest: TextDigest,
    /// When the store may delete it.
    pub expires_at: Timestamp,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    /// A message.
    Message(StoredMessage),
    /// A redirect, which no reader sees.
    Redirect(Redirect),
    /// Written by a later version: readers of this version do not see it, and offsets pass over it.
    Unknown {
        /// The log.
        log: LogId,
        /// Its id.
        id: MessageId,
    },
}

/// The result of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It was stored.
    Stored,
    /// This entry existed before; nothing was written.
    Occupied(Box<LogEntry>),
}

/// Which entries of a log to read: both bounds are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// The log.
    pub log: LogId,
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
    /// Whether more may follow within the bounds; then reading goes on at the last entry's id.
    pub more: bool,
}

/// A read that failed. Repeating it is always safe.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store throttled it.
    #[error("the store throttled the read")]
    Throttled(#[source] Cause),
    /// The store did not answer, or answered with an error.
    #[error("the store did not answer the read")]
    Unavailable(#[source] Cause),
    /// The store answered with a row that this version cannot read.
    #[error("a row could not be read")]
    Unreadable(#[source] Cause),
}

/// A write that failed: either nothing was written, or the outcome is unknown.
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

/// The messages table: a log for each channel and thread, and for each of them a log of its changes.
#[async_trait]
pub trait MessageStore: Send + Sync + Debug {
    /// Appends a message if its id is free (G1). One conditional put; if the condition fails, its
    /// answer holds the existing entry, so there is no second read.
    ///
    /// # Errors
    /// [`WriteError`]. After `OutcomeUnknown` the same call resolves it.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have stored it.
    async fn append(&self, message: &StoredMessage) -> Result<Appended, WriteError>;

    /// Appends a message and a redirect to it in one transaction, if both ids are free (G1).
    /// `Occupied` holds the entry at the redirect's id.
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
    async fn entry(&self, log: &LogId, id: MessageId) -> Result<Option<LogEntry>, ReadError>;

    /// Reads these entries, strongly, at most 100. Leaves out absent ones; the order is not kept.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn entries(&self, log: &LogId, ids: &[MessageId]) -> Result<Vec<LogEntry>, ReadError>;

    /// Reads a page with one query.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn page(&self, query: &PageQuery) -> Result<LogPage, ReadError>;

    /// Writes an entry of the change log (G11).
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn log_change(&self, change: &LoggedChange) -> Result<(), WriteError>;

    /// Reads entries of the change log with one query, by the query's bounds, limit and strength;
    /// oldest first.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn changes(&self, query: &PageQuery) -> Result<ChangePage, ReadError>;

    /// Changes a message in place if all conditions of the revision hold (G9). One conditional
    /// update; its answer holds the message after it, or the entry that a condition failed on.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating the same call after `OutcomeUnknown` is refused if it was written:
    /// the entry then shows the revision.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have changed it.
    async fn revise(
        &self,
        log: &LogId,
        id: MessageId,
        revision: &Revision,
    ) -> Result<Revised, WriteError>;

    /// Stores what a user did with an emoji on a message, unless a later act is stored. One
    /// conditional put, which does not look at the message.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn react(
        &self,
        log: &LogId,
        id: MessageId,
        reaction: &StoredReaction,
    ) -> Result<Acted, WriteError>;

    /// Reads rows of a message's reactions with one query, strongly, from after this user and emoji
    /// (exclusive); at most [`model::limits::REACTION_ROWS_READ_MAX`].
    ///
    /// # Errors
    /// [`ReadError`].
    async fn reactions(
        &self,
        log: &LogId,
        id: MessageId,
        after: Option<(&UserId, &Emoji)>,
        limit: u32,
    ) -> Result<ReactionPage, ReadError>;

    /// Returns which of these reactions (at most 100) a user has made and not withdrawn, read
    /// strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn reacted_among(
        &self,
        log: &LogId,
        user: &UserId,
        reactions: &[(MessageId, Emoji)],
    ) -> Result<Vec<(MessageId, Emoji)>, ReadError>;
}

/// A channel and whether a user is a member, read strongly in one call: 2 read units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The channel, which may be another workspace's; `None` if there is none.
    pub channel: Option<Channel>,
    /// Whether the user is a member.
    pub is_member: bool,
}

/// Whether a new channel's item was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It was written.
    Created,
    /// It existed before; nothing was written.
    Existed,
}

/// Whether a late mark was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// It is the channel's mark now.
    Marked,
    /// A recent mark reaches as far back, or there is no such channel; nothing was written.
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

    /// Reads channels, strongly, at most 100. Leaves out absent ones; the order is not kept.
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
    /// channel. Parallel calls get different versions. A retry may skip some.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError>;

    /// Changes a channel's details, increments their version, and returns the channel after it;
    /// `None` if there is no such channel. One update: parallel changes all take effect, and get
    /// different versions. A retry may skip some.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError>;

    /// Sets a channel's late mark (G3), unless the present mark has an equal or lower id and is at
    /// most [`model::limits::OVERLAP`] older. So an incident costs one write and keeps its lowest
    /// id, and a later incident replaces the mark.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError>;
}
