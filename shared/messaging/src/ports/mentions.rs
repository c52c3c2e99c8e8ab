//! Mentions as rows of the mentioned users: where each of them was named.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{LogId, MessageId, Timestamp, UserId, WorkspaceId};

use super::{NamePage, ReadError, WriteError};

/// A message that mentions a user. Ordered by the message's id, then by its log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mention {
    /// The message.
    pub id: MessageId,
    /// Its log.
    pub log: LogId,
}

/// Who was mentioned where. A row may outlive its message's text and its user's membership: whoever
/// reads it asks for both.
#[async_trait]
pub trait MentionStore: Send + Sync + Debug {
    /// Writes that a message mentions a user. Idempotent.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn put_mention(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        mention: &Mention,
        expires_at: Timestamp,
    ) -> Result<(), WriteError>;

    /// Reads where a user was mentioned since a time, the newest message first, from below a mention
    /// (exclusive); at most [`model::limits::MENTION_ROWS_MAX`]. It may lack what was written within
    /// the last second.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn mentions_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        since: Timestamp,
        below: Option<&Mention>,
        limit: u32,
    ) -> Result<NamePage<Mention>, ReadError>;
}
