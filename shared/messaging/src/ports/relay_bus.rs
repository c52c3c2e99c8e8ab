//! The relay's port to the bus: runs a batch, and proves that the batch would survive a failover.

use std::fmt::Debug;

use async_trait::async_trait;
use model::WorkspaceId;
use protocol::publication::Publication;

use super::BusError;

/// A publication and the workspace whose stream it goes to.
pub type Routed = (WorkspaceId, Publication);

/// Which servers have a batch besides the one that ran it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// At least one replica acknowledged all of it.
    Acknowledged,
    /// No other. There is none to wait for: the server has no replica, and none is configured.
    Single,
    /// No other: a replica is configured, but the server has none.
    Absent,
    /// No other yet: the server has a replica, but none acknowledged within
    /// [`model::limits::REPLICA_WAIT_MAX`].
    Lagging,
}

/// The result of running a batch once.
#[derive(Debug)]
pub struct BatchResult {
    /// How many publications, counted from the first, are in their streams.
    pub taken: usize,
    /// How many of these had not been published within [`model::limits::GUARD_TTL`].
    pub appended: usize,
    /// Why the publication after those was refused; `None` if none was. Later ones may have been
    /// published.
    pub refusal: Option<BusError>,
    /// Which other servers have what was published.
    pub replication: Replication,
}

/// Publishes stored messages again, with proof.
#[async_trait]
pub trait RelayBus: Send + Sync + Debug {
    /// Runs a batch once, in order, on one connection: [`EventBus::publish`]'s script for each
    /// publication, then a write of a marker, then a wait until one replica acknowledges the
    /// marker. That replica then has everything that any connection wrote before the marker.
    ///
    /// The connection is never re-established. If it breaks, or [`Replication`] is not what is
    /// needed, it is closed, and the next run opens a new one by name, perhaps to another server. A
    /// run without an answer proves nothing. It is safe to repeat: guards make that a no-op.
    ///
    /// # Errors
    /// [`BusError`] if the connection broke or leads to a server that accepts no writes; some of
    /// the batch may have been published.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; some of the batch may have been published.
    ///
    /// [`EventBus::publish`]: super::EventBus::publish
    async fn publish_batch(&self, batch: &[Routed]) -> Result<BatchResult, BusError>;
}
