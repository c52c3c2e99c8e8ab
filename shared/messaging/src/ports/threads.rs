//! Threads: what a summary of replies was counted from, and which threads a user follows.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{ChangeId, MessageId, ThreadId, Timestamp, UserId, WorkspaceId};

use super::{Acted, NamePage, ReadError, WriteError};

/// Which replies a root's summary was counted from. Those up to a position are counted for good, so
/// that the next count reads only what is newer; the deletion of one of them starts a new count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedReplies {
    /// The position up to which replies are counted for good; [`MessageId::MIN`] at first.
    pub settled_to: MessageId,
    /// Replies up to there that are not deleted.
    pub settled: u64,
    /// The last of them.
    pub settled_last: Option<MessageId>,
    /// How many of the summary's users wrote one of them.
    pub settled_users: usize,
    /// The first bytes of a digest over the rows after it. Counts of different rows differ in it, even
    /// if their summaries look equal.
    pub digest: [u8; 8],
    /// How many rows were after it, deleted ones included.
    pub rows: u32,
    /// When they were counted.
    pub at: Timestamp,
}

impl Default for CountedReplies {
    fn default() -> Self {
        Self {
            settled_to: MessageId::MIN,
            settled: 0,
            settled_last: None,
            settled_users: 0,
            digest: [0; 8],
            rows: 0,
            at: Timestamp::default(),
        }
    }
}

/// An act by which a user follows a thread, or ceases to. The one with the greatest id wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// Its id.
    pub act: ChangeId,
    /// Whether the user follows the thread from now on.
    pub is_followed: bool,
    /// How far the user has read the thread, unless they have marked it before.
    pub up_to: MessageId,
    /// When the store may forget it.
    pub expires_at: Timestamp,
}

/// What a user's row says about a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserThread {
    /// The thread.
    pub thread: ThreadId,
    /// Whether the user follows it. Who does not may still have marked how far they read.
    pub is_followed: bool,
    /// How far the user has read it.
    pub up_to: MessageId,
    /// When the store may forget it.
    pub expires_at: Timestamp,
}

/// The result of marking a thread as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadMarked {
    /// The mark is where it was asked for.
    Moved,
    /// It was there already, or further: at this id.
    Kept(MessageId),
}

/// The threads that users follow, or have read. A row may outlive the user's membership: whoever reads
/// it asks for that.
#[async_trait]
pub trait ThreadStore: Send + Sync + Debug {
    /// Stores an act, unless a later one is stored. One conditional write.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn follow(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        follow: &Follow,
    ) -> Result<Acted, WriteError>;

    /// Moves forward how far a user has read a thread, followed or not. One conditional write.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn mark_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        up_to: MessageId,
        expires_at: Timestamp,
    ) -> Result<ThreadMarked, WriteError>;

    /// Reads a user's row of a thread. It may lack what was written within the last second.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn user_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
    ) -> Result<Option<UserThread>, ReadError>;

    /// Reads a user's rows, strongly, the thread with the newest root first, from below a thread
    /// (exclusive); at most [`model::limits::PAGE_ROWS_MAX`].
    ///
    /// # Errors
    /// [`ReadError`].
    async fn user_threads(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        below: Option<&ThreadId>,
        limit: u32,
    ) -> Result<NamePage<UserThread>, ReadError>;
}
