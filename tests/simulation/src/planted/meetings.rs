//! Bugs 19, 20 and 23: what is said and signalled is kept, and nodes that are dead stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{
    BusError, DirectoryError, Entry, EventBus, FleetNode, Lease, NodeDirectory, Published, Seal,
    Sealed, Sessions, Subscription,
};
use model::{
    ChannelId, EntryId, NodeId, PublicationId, SessionId, SessionPosition, Timestamp, UserId,
    WorkspaceId,
};
use protocol::frame;
use protocol::publication::{ChannelRecipients, Payload, Publication, Recipients};
use protocol::signal::Signal;

use crate::contracts::ephemeral::FindableSeal;

/// Bug 19: what is said is published to the stream as well, so that whoever comes back resumes it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) sessions: Arc<dyn Sessions>,
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) ids: Ids,
}

/// Bug 20: a signal takes a place in the stream.
#[derive(Debug)]
pub(super) struct InStream {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) ids: Ids,
}

/// Bug 23: a node is there as long as anybody remembers its lease.
#[derive(Debug)]
pub(super) struct Ghosts {
    pub(super) nodes: Arc<dyn NodeDirectory>,
}

/// Ids of publications, each different from all others.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids(Arc<AtomicU64>);

impl Ids {
    fn publication(&self, to: Recipients, payload: Payload) -> Publication {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let id = PublicationId::mint(Timestamp::from_unix_ms(1), number.into());
        Publication { id, to, subject: None, payload, origin: None }
    }
}

#[async_trait]
impl Sessions for Kept {
    async fn session(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        new: SessionId,
    ) -> Result<SessionPosition, BusError> {
        self.sessions.session(workspace, channel, new).await
    }

    async fn say(
        &self,
        workspace: &WorkspaceId,
        said: &Sealed,
        new: SessionId,
    ) -> Result<SessionPosition, BusError> {
        let at = self.sessions.say(workspace, said, new).await?;
        let Sealed { channel_id, members_version, text } = said;
        let message = FindableSeal.open(workspace, channel_id, text).unwrap_or_default();
        let to = Recipients::Channel(ChannelRecipients {
            channel_id: channel_id.clone(),
            members_version: *members_version,
            changes: Vec::new(),
            also: Vec::new(),
        });
        let frame = frame::said(channel_id, at.n, &message);
        let publication = self.ids.publication(to, Payload::Frame(frame.into()));
        self.bus.publish(workspace, &publication).await?;
        Ok(at)
    }
}

#[async_trait]
impl EventBus for InStream {
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError> {
        self.bus.publish(workspace, publication).await
    }

    async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) -> Result<(), BusError> {
        let publication = self.ids.publication(Recipients::Nobody, Payload::Nothing);
        self.bus.publish(workspace, &publication).await?;
        self.bus.signal(workspace, signal).await
    }

    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError> {
        self.bus.subscribe(workspace).await
    }

    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError> {
        self.bus.entries(workspace, from, limit).await
    }
}

#[async_trait]
impl NodeDirectory for Ghosts {
    async fn renew(&self, lease: &Lease) -> Result<Timestamp, DirectoryError> {
        self.nodes.renew(lease).await
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError> {
        self.nodes.withdraw(node).await
    }

    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError> {
        let fleet = self.nodes.fleet().await?;
        Ok(fleet.into_iter().map(|node| FleetNode { age: Duration::ZERO, ..node }).collect())
    }

    async fn reserve(
        &self,
        candidates: &[NodeId],
        ttl: Duration,
        workspace: &WorkspaceId,
        user: &UserId,
    ) -> Result<Option<NodeId>, DirectoryError> {
        self.nodes.reserve(candidates, ttl, workspace, user).await
    }

    async fn report(
        &self,
        node: &NodeId,
        workspace: &WorkspaceId,
        reporter: &UserId,
    ) -> Result<(), DirectoryError> {
        self.nodes.report(node, workspace, reporter).await
    }
}
