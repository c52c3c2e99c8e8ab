//! Receipts of channels that deliver first: how far each user has come (G14).

use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;
use model::{ChannelId, MessageId, UserId, WorkspaceId};
use protocol::receipts::UserDevice;

use super::BusError;

/// Watermarks of a channel's users, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceiptMarks {
    /// Up to where a device of each user has the messages.
    pub delivered: Vec<(UserId, MessageId)>,
    /// Up to where each user has read, and shares it.
    pub read: Vec<(UserId, MessageId)>,
}

/// The watermarks, on the bus. If it loses them, devices say them again: they are the truth.
#[async_trait]
pub trait ReceiptBook: Send + Sync + Debug {
    /// Raises marks, and pushes them to the workspace's nodes as a signal. A mark never goes back.
    ///
    /// # Errors
    /// [`BusError`]. Repeating it is safe.
    async fn raise(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        marks: &ReceiptMarks,
    ) -> Result<(), BusError>;

    /// Notes which devices keep messages of a channel.
    ///
    /// # Errors
    /// [`BusError`]. Repeating it is safe.
    async fn note_keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        keepers: &[(MessageId, UserDevice)],
    ) -> Result<(), BusError>;

    /// Returns the devices that keep a message, as far as they were noted within
    /// [`model::limits::KEEPERS_TTL`].
    ///
    /// # Errors
    /// [`BusError`].
    async fn keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        id: MessageId,
    ) -> Result<BTreeSet<UserDevice>, BusError>;

    /// Returns the marks of a channel.
    ///
    /// # Errors
    /// [`BusError`].
    async fn receipts(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<ReceiptMarks, BusError>;
}
