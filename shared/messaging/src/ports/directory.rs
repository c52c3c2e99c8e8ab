//! The node directory: leases, pending assignments and reports of the fleet.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use model::{NodeId, Timestamp, UserId, WorkspaceId};

use super::Cause;

/// What a node says of itself every two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The node's start.
    pub node_id: NodeId,
    /// Where clients reach it: `ws://` or `wss://`, host, port and path.
    pub url: String,
    /// Open sockets.
    pub connections: u32,
    /// Handshakes a second it takes.
    pub handshakes_per_second: u32,
    /// Whether it is leaving: no new clients.
    pub draining: bool,
    /// Its clock as it said this; `None` from a node that does not tell.
    pub clock: Option<Timestamp>,
    /// The secrets whose tickets it takes, by [`key_ids`]; empty from a node that does not tell. At
    /// most [`model::limits::LEASE_TICKET_KEYS_MAX`].
    ///
    /// [`key_ids`]: super::Tickets::key_ids
    pub ticket_keys: Vec<String>,
}

/// A user of a workspace who could not reach a node, or lost it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Their workspace.
    pub workspace_id: WorkspaceId,
    /// Who.
    pub user_id: UserId,
    /// How long ago they said so.
    pub age: Duration,
}

/// A node as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetNode {
    /// Its last word.
    pub lease: Lease,
    /// How long ago that was, by the directory's own clock.
    pub age: Duration,
    /// Assignments whose ticket has not expired yet.
    pub pending: u32,
    /// How far its clock was ahead of the directory's at its last word, in ms; negative if it was
    /// behind, 0 if it does not tell.
    pub clock_ahead_ms: i64,
    /// Who could not reach it; at most [`model::limits::REPORT_WINDOW`] +
    /// [`model::limits::DEMOTION`] back.
    pub reports: Vec<Report>,
}

/// A refusal or silence of the directory.
#[derive(Debug, thiserror::Error)]
#[error("the node directory did not answer")]
pub struct DirectoryError(#[source] pub Cause);

/// Leases, pending assignments and reports of the fleet. Volatile: rebuilt from heartbeats.
#[async_trait]
pub trait NodeDirectory: Send + Sync + Debug {
    /// Writes a node's lease and renews it. Leases are scored with the directory's clock and have
    /// no time-to-live: eviction must not hit them. Returns the directory's time.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn renew(&self, lease: &Lease) -> Result<Timestamp, DirectoryError>;

    /// Removes a node that leaves in order. Idempotent.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError>;

    /// All nodes heard of within [`model::limits::LEASE_MEMORY`], dead ones included.
    ///
    /// # Errors
    /// [`DirectoryError`].
    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError>;

    /// Takes the candidate with the fewest connections + pending assignments (the first of equals)
    /// and counts one pending assignment on it for `ttl`, in one step, so that many callers do
    /// not all take the same. Candidates without a lease are passed over; `None` if all are.
    ///
    /// All candidates count as given to this user for [`model::limits::GIVEN_MEMORY`]: the others
    /// are alternates. Of each node the newest [`model::limits::GIVEN_PER_NODE_MAX`] are remembered.
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

    /// Notes that a user could not reach a node, or lost it, if the node was given to them lately;
    /// else it does nothing. One report per user and node counts: the last. The newest
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
