//! How far users have read: one mark on each of a user's own rows (G12).

use std::fmt::Debug;

use async_trait::async_trait;
use model::{ChannelId, Epoch, MessageId, ReadMark, UserId, WorkspaceId};

use super::{NamePage, ReadError, WriteError};

/// A change of a user's mark in a channel. It happens only if the present mark is of one epoch, and
/// lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkChange {
    /// The epoch that the present mark must have.
    pub within: Epoch,
    /// The new mark.
    pub mark: ReadMark,
}

impl MarkChange {
    /// Moves the mark forward, within its epoch.
    #[must_use]
    pub const fn read(mark: ReadMark) -> Self {
        Self { within: mark.epoch, mark }
    }

    /// Begins the epoch after this one, with a mark anywhere; `None` if this is the last.
    #[must_use]
    pub fn unread(within: Epoch, up_to: MessageId) -> Option<Self> {
        Some(Self { within, mark: ReadMark { epoch: within.next()?, up_to } })
    }

    /// Whether it happens, given the present mark.
    #[must_use]
    pub fn applies_to(&self, present: ReadMark) -> bool {
        present.epoch == self.within && present < self.mark
    }
}

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// The mark is this one now.
    Moved(ReadMark),
    /// The change does not apply to the present mark, which is this one.
    Kept(ReadMark),
    /// The user has no row for the channel.
    NoRow,
}

/// A user's mark in one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMark {
    /// The channel.
    pub channel_id: ChannelId,
    /// The mark; that of a new member if there was no change yet.
    pub mark: ReadMark,
}

/// The marks on the rows of a user's channels. A member who leaves loses the row and its mark.
#[async_trait]
pub trait ReadMarkStore: Send + Sync + Debug {
    /// Changes a mark, if the user has the channel's row and the change applies. One conditional
    /// update: nothing is read before, and no row is created.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating the same call after `OutcomeUnknown` resolves it: if it was
    /// written, the answer is `Kept` with the new mark.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have changed it.
    async fn change_mark(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: &ChannelId,
        change: MarkChange,
    ) -> Result<Marked, WriteError>;

    /// Reads the marks of a user's channels in order of channel id, strongly, from after `after`
    /// (exclusive).
    ///
    /// # Errors
    /// [`ReadError`].
    async fn marks_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelMark>, ReadError>;
}
