//! The spool: messages that are delivered and not yet stored (ADR 0044).

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use model::{ChannelId, EntryId, Timestamp, WorkspaceId};
use protocol::publication::Publication;

use super::BusError;

/// What became of a message that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is in the stream and in the spool, from this offer or an earlier one.
    Accepted {
        /// Whether a replica has it, too.
        replicated: bool,
    },
    /// Something was published under its id after it was stored: the store knows whether it is this.
    Stored,
    /// Another message was delivered under its id.
    Conflict,
    /// The spool is full ([`model::limits::SPOOL_BYTES_MAX`]): nothing happened.
    Full,
}

/// A message that waits to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolEntry {
    /// Its place in the spool. Its time is when the message was accepted, by the clock of the bus.
    pub id: EntryId,
    /// The message as it was published.
    pub publication: Arc<Publication>,
}

impl SpoolEntry {
    /// When the message was accepted.
    #[must_use]
    pub const fn accepted_at(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.id.ms)
    }
}

/// How much waits in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// When the oldest entry was accepted, by the clock of the bus.
    pub since: Timestamp,
    /// Bytes of payloads, as they count towards [`model::limits::SPOOL_BYTES_MAX`]: at least what is
    /// there, since entries leave the spool in any order.
    pub bytes: u64,
}

/// A spool of each workspace, on the bus, and the list of workspaces that may have something in theirs.
#[async_trait]
pub trait Spool: Send + Sync + Debug {
    /// Publishes a message and puts it into the spool, in one step; notes the workspace before that.
    /// Repeating it with the same digest within [`model::limits::GUARD_TTL`] changes nothing.
    ///
    /// # Errors
    /// [`BusError`]. After `Unavailable` it may have been accepted, and a repetition finds out.
    async fn deliver(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
    ) -> Result<Offered, BusError>;

    /// Returns what waits in a channel, in the order of its acceptance. An entry that another version
    /// wrote in an unknown form is left out.
    ///
    /// # Errors
    /// [`BusError`]; also if more than [`model::limits::SPOOL_CHANNEL_MAX`] wait in the channel.
    async fn waiting(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<Vec<SpoolEntry>, BusError>;

    /// Returns the workspaces that may have something in their spool and were noted at this time or
    /// later, and when each was last noted.
    ///
    /// # Errors
    /// [`BusError`].
    async fn spools(&self, since: Timestamp) -> Result<Vec<(WorkspaceId, Timestamp)>, BusError>;

    /// Takes entries for an archiver: those that another one took more than
    /// [`model::limits::ARCHIVE_CLAIM`] ago, then new ones. No other archiver gets them for as long.
    ///
    /// # Errors
    /// [`BusError`]. After `Unavailable` they may be taken.
    async fn claim(
        &self,
        workspace: &WorkspaceId,
        archiver: &str,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, BusError>;

    /// Removes entries whose messages are stored.
    ///
    /// # Errors
    /// [`BusError`]. Repeating it is safe.
    async fn remove(&self, workspace: &WorkspaceId, entries: &[SpoolEntry])
    -> Result<(), BusError>;

    /// Returns how much waits in a spool, entries that another version wrote in an unknown form included.
    /// `None`: it is empty.
    ///
    /// # Errors
    /// [`BusError`].
    async fn held(&self, workspace: &WorkspaceId) -> Result<Option<Held>, BusError>;

    /// Forgets a workspace if its spool is empty and it was not noted after `noted_at`.
    ///
    /// # Errors
    /// [`BusError`]. Repeating it is safe.
    async fn forget(&self, workspace: &WorkspaceId, noted_at: Timestamp) -> Result<(), BusError>;
}
