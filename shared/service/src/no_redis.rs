//! The bus, node directory and book of presence of a program without Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{
    Announcement, BusError, DirectoryError, Entry, EventBus, FleetNode, Held, Lease, NodeDirectory,
    NodePresence, Offered, PresenceBook, Published, ReceiptBook, ReceiptMarks, Sealed, Sessions,
    Spool, SpoolEntry, Subscription,
};
use model::{
    ChannelId, EntryId, MessageId, NodeId, SessionId, SessionPosition, Timestamp, UserId,
    WorkspaceId,
};
use protocol::publication::Publication;
use protocol::receipts::UserDevice;
use protocol::signal::Signal;

/// Refuses every call. For functions that neither publish nor read the directory, so that code that
/// starts to need Redis fails at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoRedis;

#[derive(Debug, thiserror::Error)]
#[error("this program has no Redis")]
struct NotGiven;

#[async_trait]
impl EventBus for NoRedis {
    async fn publish(&self, _: &WorkspaceId, _: &Publication) -> Result<Published, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn signal(&self, _: &WorkspaceId, _: &Signal) -> Result<(), BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn subscribe(&self, _: &WorkspaceId) -> Result<Subscription, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn entries(
        &self,
        _: &WorkspaceId,
        _: Option<EntryId>,
        _: usize,
    ) -> Result<Vec<Entry>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }
}

#[async_trait]
impl Spool for NoRedis {
    async fn deliver(
        &self,
        _: &WorkspaceId,
        _: &Publication,
        _: &str,
    ) -> Result<Offered, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn waiting(&self, _: &WorkspaceId, _: &ChannelId) -> Result<Vec<SpoolEntry>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn spools(&self, _: Timestamp) -> Result<Vec<(WorkspaceId, Timestamp)>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn claim(&self, _: &WorkspaceId, _: &str, _: usize) -> Result<Vec<SpoolEntry>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn remove(&self, _: &WorkspaceId, _: &[SpoolEntry]) -> Result<(), BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn held(&self, _: &WorkspaceId) -> Result<Option<Held>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn forget(&self, _: &WorkspaceId, _: Timestamp) -> Result<(), BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }
}

#[async_trait]
impl ReceiptBook for NoRedis {
    async fn raise(
        &self,
        _: &WorkspaceId,
        _: &ChannelId,
        _: &ReceiptMarks,
    ) -> Result<(), BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn note_keepers(
        &self,
        _: &WorkspaceId,
        _: &ChannelId,
        _: &[(MessageId, UserDevice)],
    ) -> Result<(), BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn keepers(
        &self,
        _: &WorkspaceId,
        _: &ChannelId,
        _: MessageId,
    ) -> Result<BTreeSet<UserDevice>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn receipts(&self, _: &WorkspaceId, _: &ChannelId) -> Result<ReceiptMarks, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }
}

#[async_trait]
impl Sessions for NoRedis {
    async fn session(
        &self,
        _: &WorkspaceId,
        _: &ChannelId,
        _: SessionId,
    ) -> Result<SessionPosition, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn say(
        &self,
        _: &WorkspaceId,
        _: &Sealed,
        _: SessionId,
    ) -> Result<SessionPosition, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }
}

#[async_trait]
impl NodeDirectory for NoRedis {
    async fn renew(&self, _: &Lease) -> Result<Timestamp, DirectoryError> {
        Err(DirectoryError(NotGiven.into()))
    }

    async fn withdraw(&self, _: &NodeId) -> Result<(), DirectoryError> {
        Err(DirectoryError(NotGiven.into()))
    }

    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError> {
        Err(DirectoryError(NotGiven.into()))
    }

    async fn reserve(
        &self,
        _: &[NodeId],
        _: Duration,
        _: &WorkspaceId,
        _: &UserId,
    ) -> Result<Option<NodeId>, DirectoryError> {
        Err(DirectoryError(NotGiven.into()))
    }

    async fn report(&self, _: &NodeId, _: &WorkspaceId, _: &UserId) -> Result<(), DirectoryError> {
        Err(DirectoryError(NotGiven.into()))
    }
}

#[async_trait]
impl PresenceBook for NoRedis {
    async fn announce(
        &self,
        _: &WorkspaceId,
        _: &NodeId,
        _: &Announcement,
    ) -> Result<bool, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn renew(&self, _: &WorkspaceId, _: &NodeId, _: u64) -> Result<bool, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn nodes(&self, _: &WorkspaceId) -> Result<Vec<NodeId>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }

    async fn present(&self, _: &WorkspaceId, _: &NodeId) -> Result<Option<NodePresence>, BusError> {
        Err(BusError::Refused(NotGiven.into()))
    }
}
