//! Sessions of channels that keep nothing (ADR 0043): their numbers, and what is said in them.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{ChannelId, SessionId, SessionPosition, WorkspaceId};

use super::BusError;

/// Sessions, on the bus. Nothing of a message is kept: a session is two numbers and a time.
#[async_trait]
pub trait Sessions: Send + Sync + Debug {
    /// Returns the channel's session, and notes that somebody takes part now. `new` begins one if
    /// there is none, if nobody took part for [`model::limits::SESSION_IDLE`], or if another server
    /// has taken over, whose numbers may be old.
    ///
    /// # Errors
    /// [`BusError`].
    async fn session(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        new: SessionId,
    ) -> Result<SessionPosition, BusError>;

    /// Numbers a message and pushes it to the workspace's nodes as a signal, in the order of the
    /// numbers. Returns its number.
    ///
    /// # Errors
    /// [`BusError`]. After `Unavailable` it may have been pushed, and a repetition pushes it again
    /// under another number.
    async fn say(
        &self,
        workspace: &WorkspaceId,
        said: &Sealed,
        new: SessionId,
    ) -> Result<SessionPosition, BusError>;
}

/// A message on its way, which only nodes can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The channel.
    pub channel_id: ChannelId,
    /// The version of the channel's membership by which the sender is a member (G6).
    pub members_version: u64,
    /// The sealed JSON of the message.
    pub text: String,
}

/// Seals what must be readable for nodes only, whatever the bus writes to disk or logs.
pub trait Seal: Send + Sync + Debug {
    /// Seals a text for a channel. `nonce` is random, and never used again.
    fn seal(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        text: &str,
        nonce: [u8; 24],
    ) -> String;

    /// Opens what was sealed for this channel; `None` if it was not sealed by this fleet.
    fn open(&self, workspace: &WorkspaceId, channel: &ChannelId, sealed: &str) -> Option<String>;
}
