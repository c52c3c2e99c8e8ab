//! The node directory: leases, pending assignments and reports of the fleet.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use model::{NodeId, Timestamp, UserId, WorkspaceId};

use super::Cause;

/// What a node reports about itself every two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The node's id, a new one at each start.
    pub node_id: NodeId,
    /// Where clients reach it: `ws://` or `wss://`, host, port and path.
    pub url: String,
    /// Open sockets.
    pub connections: u32,
    /// Handshakes that it accepts per second.
    pub handshakes_per_second: u32,
    /// Whether it is draining, and so gets no new clients.
    pub draining: bool,
    /// Its clock when it wrote this; `None` if the node does not report it.
    pub clock: Option<Timestamp>,
    /// The secrets whose tickets it accepts, by [`key_ids`]; empty if the node does not report
    /// them. At most [`model::limits::LEASE_TICKET_KEYS_MAX`].
    ///
    /// [`key_ids`]: super::Tickets::key_ids
    pub ticket_keys: Vec<String>,
}

/// A user's report that they could not reach a node, or lost it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Their workspace.
    pub workspace_id: WorkspaceId,
    /// The user.
    pub user_id: UserId,
    /// How long ago they reported it.
    pub age: Duration,
}

/// A node as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetNode {
    /// Its last lease.
    pub lease: Lease,
    /// How long ago it was renewed, by the directory's own clock.
    pub age: Duration,
    /// Assignments whose ticket has not expired yet.
    pub pending: u32,
    /// How far its clock was ahead of the directory's when it renewed the lease, in ms; negative if
    /// behind, 0 if the node does not report its clock.
    pub clock_ahead_ms: i64,
    /// Who could not reach it, at most [`model::limits::REPORT_WINDOW`] +
    /// [`model::limits::DEMOTION`] back.
    pub reports: Vec<Report>,
}

/// The directory refused, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the node directory did not answer")]
pub struct DirectoryError(#[source] pub Cause);

/// Leases, pending assignments and reports of the fleet. Volatile: rebuilt from heartbeats.
#[async_trait]
pub trait NodeDirectory: Send + Sync + Debug {
    /// Writes or renews a node's lease. Leases are scored by the directory's clock and have no time
    /// to live, since Redis may evict keys that have one. Returns the directory's time.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn renew(&self, lease: &Lease) -> Result<Timestamp, DirectoryError>;

    /// Removes a node that shuts down in order.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError>;

    /// Returns all nodes that renewed within [`model::limits::LEASE_MEMORY`], dead ones included.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError>;

    /// Chooses the candidate with the fewest connections + pending assignments (the first of
    /// equals) and counts one pending assignment on it for `ttl`, atomically, so that parallel
    /// callers do not all choose the same. Skips candidates without a lease; `None` if all lack
    /// one.
    ///
    /// All candidates count as given to this user for [`model::limits::GIVEN_MEMORY`]: the others
    /// are alternates. The newest [`model::limits::GIVEN_PER_NODE_MAX`] are kept for each node.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn reserve(
        &self,
        candidates: &[NodeId],
        ttl: Duration,
        workspace: &WorkspaceId,
        user: &UserId,
    ) -> Result<Option<NodeId>, DirectoryError>;

    /// Records that a user could not reach a node, or lost it. Does nothing unless the node was
    /// given to them lately. Only a user's last report about a node counts. The newest
    /// [`model::limits::REPORTS_PER_WORKSPACE_MAX`] of a workspace about one node are kept, and the
    /// newest [`model::limits::REPORTS_MAX`] of all.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn report(
        &self,
        node: &NodeId,
        workspace: &WorkspaceId,
        reporter: &UserId,
    ) -> Result<(), DirectoryError>;
}
