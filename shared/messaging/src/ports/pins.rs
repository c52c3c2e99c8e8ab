//! Pins as rows of their own, one for each message that was ever pinned: the truth that the message's
//! own row shows, and a channel's list.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{ChangeId, ChannelId, MessageRef, Timestamp, UserId};

use super::{Acted, ReadError, WriteError};

/// The last act of pinning or unpinning a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPin {
    /// The message.
    pub of: MessageRef,
    /// The id of this act. The greatest one wins.
    pub act: ChangeId,
    /// Who did it.
    pub by: UserId,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// When the store may forget that the message was unpinned; `None` while it is pinned.
    pub withdrawn: Option<Timestamp>,
    /// The version of the channel's membership that the act read (G6).
    pub members_version: u64,
}

/// Rows of a channel's pins: of its main log and of its threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinPage {
    /// Withdrawn ones included; the newest message first.
    pub rows: Vec<StoredPin>,
    /// Whether more may follow; then reading goes on below the last row.
    pub more: bool,
}

/// The pins of channels.
#[async_trait]
pub trait PinStore: Send + Sync + Debug {
    /// Stores an act, unless a later one on the same message is stored. One conditional write, which
    /// does not look at the message.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn pin(&self, channel: &ChannelId, pin: &StoredPin) -> Result<Acted, WriteError>;

    /// Reads rows of a channel's pins with one query, strongly, from this message (inclusive)
    /// downwards; by default from the newest one. At most [`model::limits::PAGE_ROWS_MAX`].
    ///
    /// # Errors
    /// [`ReadError`].
    async fn pins(
        &self,
        channel: &ChannelId,
        from: Option<MessageRef>,
        limit: u32,
    ) -> Result<PinPage, ReadError>;
}
