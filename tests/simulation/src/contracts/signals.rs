//! What is beside the stream takes no place in it (G17): every entry of a stream was published by a
//! function or by the relay, or is what nodes publish, and no frame of a signal has a cursor.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use checker::Lasting;
use memory::{HookedSpool, SpoolHook};
use messaging::ports::{
    BatchResult, BusError, Entry, EventBus, Offered, Published, RelayBus, Routed, Spool,
    Subscription,
};
use model::{ChannelChange, EntryId, WorkspaceId};
use parking_lot::Mutex;
use protocol::publication::{Payload, Publication};
use protocol::signal::Signal;
use serde_json::Value;

use super::ephemeral;
use crate::world::World;

/// The types of frames that have no place in the stream.
pub(super) const KINDS: [&str; 8] =
    ["accepted", "joined", "presence", "read", "receipts", "refused", "said", "typing"];

/// What functions and the relay asked to publish: the workspace and the publication. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Publications(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Publications {
    fn note(&self, workspace: &WorkspaceId, publication: &Publication) {
        self.0.lock().insert((workspace.to_string(), publication.id.to_string()));
    }

    /// The bus of a function.
    pub(crate) fn of_function(&self, bus: Arc<dyn EventBus>) -> Arc<dyn EventBus> {
        Arc::new(Noted { bus, publications: self.clone(), is_node: false })
    }

    /// The bus of a node. It publishes only markers, which give an empty stream a position, and additions
    /// of members that the bus did not take from a function.
    pub(crate) fn of_node(&self, bus: Arc<dyn EventBus>) -> Arc<dyn EventBus> {
        Arc::new(Noted { bus, publications: self.clone(), is_node: true })
    }

    /// The spool of a node.
    pub(crate) fn of_spool(&self, spool: Arc<dyn Spool>) -> Arc<dyn Spool> {
        Arc::new(HookedSpool::new(spool, self.clone()))
    }

    /// The relay's bus.
    pub(crate) fn of_relay(&self, bus: impl RelayBus + 'static) -> Arc<dyn RelayBus> {
        Arc::new(Noted { bus, publications: self.clone(), is_node: false })
    }
}

/// A bus whose publications are noted.
#[derive(Debug)]
struct Noted<B> {
    bus: B,
    publications: Publications,
    is_node: bool,
}

#[async_trait]
impl EventBus for Noted<Arc<dyn EventBus>> {
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError> {
        let is_marker = *publication == Publication::marker(publication.id);
        if !self.is_node || is_marker || is_addition(publication) {
            self.publications.note(workspace, publication);
        }
        self.bus.publish(workspace, publication).await
    }

    async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) -> Result<(), BusError> {
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

fn is_addition(publication: &Publication) -> bool {
    let Payload::Frame(frame) = &publication.payload else { return false };
    let frame: Value = serde_json::from_str(frame).unwrap_or_default();
    let change = frame.get("change").and_then(Value::as_str).and_then(ChannelChange::parse);
    change.is_some_and(ChannelChange::is_addition)
}

#[async_trait]
impl SpoolHook for Publications {
    async fn deliver(
        &self,
        spool: &Arc<dyn Spool>,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
    ) -> Result<Offered, BusError> {
        self.note(workspace, publication);
        spool.deliver(workspace, publication, digest).await
    }
}

#[async_trait]
impl<B: RelayBus> RelayBus for Noted<B> {
    async fn publish_batch(&self, batch: &[Routed]) -> Result<BatchResult, BusError> {
        for (workspace, publication) in batch {
            self.publications.note(workspace, publication);
        }
        self.bus.publish_batch(batch).await
    }
}

/// What the run has left behind so far.
pub(crate) fn lasting(world: &World) -> Lasting {
    let workspace_of = |key: &str| -> String {
        let inner = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        inner.map_or(key, |(workspace, _)| workspace).to_owned()
    };
    let appended = world.redis.appended();
    Lasting {
        published: world.publications.0.lock().clone(),
        appended: appended.into_iter().map(|(key, id)| (workspace_of(&key), id)).collect(),
        found: ephemeral::found(world),
        cursors: world.recorder.cursors(),
    }
}
