//! The book of presence: which users are on which node (G16).

use std::fmt::Debug;

use async_trait::async_trait;
use model::{NodeId, WorkspaceId};
pub use protocol::presence::{Announcement, NodePresence};

use super::BusError;

/// Which users of a workspace are on which node. Each node writes its own part of it, and parts are
/// forgotten [`model::limits::PRESENCE_TTL`] after the last write. A part counts only while its node's
/// lease does, which the reader judges.
///
/// It is volatile: it may lose everything, or its last writes. A node notices that at its next write.
#[async_trait]
pub trait PresenceBook: Send + Sync + Debug {
    /// Writes an announcement of a node, atomically. If it is not whole, it changes what the number
    /// before wrote. Without users the part is removed.
    ///
    /// False, and nothing is written, if the book lacks the number before, or has a later one: then
    /// the node is to announce all its users, under a greater number. Repeating a call is a no-op.
    ///
    /// # Errors
    /// [`BusError`]. After `Unavailable` it may have been written.
    async fn announce(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
        announcement: &Announcement,
    ) -> Result<bool, BusError>;

    /// Keeps a node's part for another [`model::limits::PRESENCE_TTL`]. False if the book does not have
    /// this number.
    ///
    /// # Errors
    /// [`BusError`].
    async fn renew(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
        number: u64,
    ) -> Result<bool, BusError>;

    /// The nodes that have users of a workspace, dead ones included, in any order.
    ///
    /// # Errors
    /// [`BusError`].
    async fn nodes(&self, workspace: &WorkspaceId) -> Result<Vec<NodeId>, BusError>;

    /// A node's users in a workspace; `None` if the book has none.
    ///
    /// # Errors
    /// [`BusError`].
    async fn present(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
    ) -> Result<Option<NodePresence>, BusError>;
}
