//! A spool in front of another one, for tests in which deliveries or archivers meet something else.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use messaging::ports::{BusError, Held, Offered, Spool, SpoolEntry};
use model::{ChannelId, Timestamp, WorkspaceId};
use protocol::publication::Publication;

/// What such a spool does differently. By default nothing.
#[async_trait]
pub trait SpoolHook: Debug + Send + Sync {
    /// As [`Spool::deliver`].
    ///
    /// # Errors
    /// [`BusError`].
    async fn deliver(
        &self,
        spool: &Arc<dyn Spool>,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
    ) -> Result<Offered, BusError> {
        spool.deliver(workspace, publication, digest).await
    }

    /// As [`Spool::claim`].
    ///
    /// # Errors
    /// [`BusError`].
    async fn claim(
        &self,
        spool: &Arc<dyn Spool>,
        workspace: &WorkspaceId,
        archiver: &str,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        spool.claim(workspace, archiver, limit).await
    }
}

/// A spool with a hook.
#[derive(Debug)]
pub struct HookedSpool<H> {
    spool: Arc<dyn Spool>,
    hook: H,
}

impl<H: SpoolHook> HookedSpool<H> {
    /// Puts a hook in front of a spool.
    #[must_use]
    pub fn new(spool: Arc<dyn Spool>, hook: H) -> Self {
        Self { spool, hook }
    }
}

#[async_trait]
impl<H: SpoolHook> Spool for HookedSpool<H> {
    async fn deliver(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
    ) -> Result<Offered, BusError> {
        self.hook.deliver(&self.spool, workspace, publication, digest).await
    }

    async fn waiting(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        self.spool.waiting(workspace, channel).await
    }

    async fn spools(&self, since: Timestamp) -> Result<Vec<(WorkspaceId, Timestamp)>, BusError> {
        self.spool.spools(since).await
    }

    async fn claim(
        &self,
        workspace: &WorkspaceId,
        archiver: &str,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        self.hook.claim(&self.spool, workspace, archiver, limit).await
    }

    async fn remove(
        &self,
        workspace: &WorkspaceId,
        entries: &[SpoolEntry],
    ) -> Result<(), BusError> {
        self.spool.remove(workspace, entries).await
    }

    async fn held(&self, workspace: &WorkspaceId) -> Result<Option<Held>, BusError> {
        self.spool.held(workspace).await
    }

    async fn forget(&self, workspace: &WorkspaceId, noted_at: Timestamp) -> Result<(), BusError> {
        self.spool.forget(workspace, noted_at).await
    }
}
