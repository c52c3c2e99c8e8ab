//! The relay's way to the bus: a batch on one connection, and proof that it would survive a failover.

use std::fmt::Debug;

use async_trait::async_trait;
use model::WorkspaceId;
use protocol::publication::Publication;

use super::BusError;

/// A publication and the workspace whose stream it goes to.
pub type Addressed = (WorkspaceId, Publication);

/// Who has a batch besides the server that took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// At least one replica acknowledged all of it.
    Acknowledged,
    /// Nobody, and nobody is to be waited for: the server has no replica, and none is configured.
    Single,
    /// Nobody: a replica is configured, and the server has none.
    Absent,
    /// Nobody yet: the server has a replica, and none acknowledged within
    /// [`model::limits::REPLICA_WAIT_MAX`].
    Lagging,
}

/// What one run of a batch came to.
#[derive(Debug)]
pub struct Replayed {
    /// How many publications, from the first on, stand in their streams.
    pub taken: usize,
    /// How many of these nobody had published within [`model::limits::GUARD_TTL`].
    pub appended: usize,
    /// Why the publication after those was not taken; `None` if all were. Ones behind it may have
    /// been taken.
    pub refusal: Option<BusError>,
    /// Who else has what was taken.
    pub replication: Replication,
}

/// Publishes stored messages again, provably.
#[async_trait]
pub trait Replay: Send + Sync + Debug {
    /// Runs a batch once, in order, on one connection: [`EventBus::publish`]'s script for each
    /// publication, then the write of a marker, then a wait for one replica to acknowledge the
    /// marker, which is behind everything that any connection wrote before it.
    ///
    /// The connection does not come back by itself. If it broke, or [`Replication`] is not what is
    /// needed, it is given up, and the next run opens one by name: the server may be another one.
    /// A run that was not answered proves nothing, and repeating it is safe: guards make it a no-op.
    ///
    /// # Errors
    /// [`BusError`] if the connection broke or leads to a server that does not write; some of the
    /// batch may have been published.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; some of the batch may have been published.
    ///
    /// [`EventBus::publish`]: super::EventBus::publish
    async fn replay(&self, batch: &[Addressed]) -> Result<Replayed, BusError>;
}
