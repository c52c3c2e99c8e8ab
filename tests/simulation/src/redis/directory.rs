//! The node directory on the model.

use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{DirectoryError, FleetNode, Lease, NodeDirectory};
use model::{NodeId, Timestamp, UserId, WorkspaceId};

use super::CommandError;
use super::bus::Commands;
use super::keys::What;

/// The directory of one process, over the bus's connection.
#[derive(Debug, Clone)]
pub(crate) struct SimDirectory(Commands);

impl SimDirectory {
    pub(super) const fn over(commands: Commands) -> Self {
        Self(commands)
    }

    async fn write(&self, what: What) -> Result<(), DirectoryError> {
        self.0.write(&what).await.map(drop).map_err(failed)
    }
}

fn failed(error: CommandError) -> DirectoryError {
    DirectoryError(error.into())
}

#[async_trait]
impl NodeDirectory for SimDirectory {
    async fn renew(&self, lease: &Lease) -> Result<Timestamp, DirectoryError> {
        self.0.renew_lease(lease).await.map_err(failed)
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError> {
        self.write(What::Withdraw(node.clone())).await
    }

    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError> {
        self.0.fleet().await.map_err(failed)
    }

    async fn reserve(
        &self,
        candidates: &[NodeId],
        ttl: Duration,
        workspace: &WorkspaceId,
        user: &UserId,
    ) -> Result<Option<NodeId>, DirectoryError> {
        // Two commands where Redis runs one script: an assignment in between is counted late, and
        // costs balance only.
        let fleet = self.fleet().await?;
        let load = |id: &NodeId| {
            let node = fleet.iter().find(|node| node.lease.node_id == *id)?;
            Some(u64::from(node.lease.connections) + u64::from(node.pending))
        };
        let loads = candidates.iter().filter_map(|id| Some((id, load(id)?)));
        let Some((taken, _)) = loads.min_by_key(|(_, load)| *load) else { return Ok(None) };
        let who = (workspace.clone(), user.clone());
        self.write(What::Assign(taken.clone(), ttl, candidates.to_vec(), who)).await?;
        Ok(Some(taken.clone()))
    }

    async fn report(
        &self,
        node: &NodeId,
        workspace: &WorkspaceId,
        reporter: &UserId,
    ) -> Result<(), DirectoryError> {
        self.write(What::Report(node.clone(), (workspace.clone(), reporter.clone()))).await
    }
}
