//! The in-process bus: a capped stream and a topic per workspace.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use messaging::ports::{
    BusError, Clock, Entry, EventBus, Notice, Published, Subscription, SubscriptionSender,
};
use model::{ChannelId, EntryId, MessageId, Timestamp, WorkspaceId, limits};
use parking_lot::Mutex;
use protocol::publication::Publication;
use protocol::signal::Signal;

use crate::presence::Book;
use crate::receipts::{Keepers, Marks};
use crate::relay_bus::RelayState;
use crate::sessions::Session;
use crate::spool::Spools;
use crate::stream::Stream;

/// A bus with the semantics of Redis and no stronger guarantees. Pushes reach only current
/// subscribers with room, at most once. The stream drops entries, guards expire, and all may be
/// flushed.
///
/// Clones share one bus. The methods outside the port script its faults.
#[derive(Debug, Clone)]
pub struct MemoryBus {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: Arc<Mutex<State>>,
}

/// What happens to a publication under a scripted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishFault {
    /// Nothing is published; the bus answers with an error.
    Refused,
    /// Nothing is published; the bus does not answer.
    Unavailable,
    /// It is published; the answer is lost.
    AnswerLost,
    /// Nothing is published; the call never returns.
    Hang,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) relay_bus: RelayState,
    pub(crate) book: Book,
    workspaces: HashMap<WorkspaceId, Workspace>,
    pub(crate) sessions: HashMap<(WorkspaceId, ChannelId), Session>,
    pub(crate) spools: Spools,
    pub(crate) receipts: HashMap<(WorkspaceId, ChannelId), Marks>,
    pub(crate) keepers: HashMap<(WorkspaceId, ChannelId, MessageId), Keepers>,
    link_lost: bool,
    pushes_to_drop: u64,
    publish_faults: Option<(PublishFault, u64)>,
    reads_to_fail: u64,
}

#[derive(Debug, Default)]
struct Workspace {
    stream: Stream,
    subscribers: Vec<SubscriptionSender>,
}

impl MemoryBus {
    /// Creates an empty bus that takes its time from `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// Loses the next `count` pushes, one per publication; the stream still gets the entries.
    pub fn drop_pushes(&self, count: u64) {
        self.state.lock().pushes_to_drop = count;
    }

    /// Makes the next `count` publishes fail; 0 ends it.
    pub fn fail_publishes(&self, fault: PublishFault, count: u64) {
        self.state.lock().publish_faults = (count > 0).then_some((fault, count));
    }

    /// Makes the next `count` reads of a stream fail with [`BusError::Unavailable`].
    pub fn fail_reads(&self, count: u64) {
        self.state.lock().reads_to_fail = count;
    }

    /// Drops a workspace's stream, its guards, its spool and its book of presence, as a flush or a restart does.
    /// Subscriptions stay.
    pub fn flush(&self, workspace: &WorkspaceId) {
        let mut state = self.state.lock();
        state.book.flush(workspace);
        state.spools.flush(workspace);
        state.receipts.retain(|(of, _), _| of != workspace);
        state.keepers.retain(|(of, ..), _| of != workspace);
        if let Some(known) = state.workspaces.get_mut(workspace) {
            known.stream = Stream::default();
        }
    }

    /// Breaks the subscriptions' connection: all get [`Notice::Lost`] and miss every push, and new
    /// ones are refused, until [`MemoryBus::restore_link`]. Publishing has its own connection.
    pub fn lose_link(&self) {
        let mut state = self.state.lock();
        state.link_lost = true;
        state.notify_all(&Notice::Lost);
    }

    /// Restores the connection: all subscriptions get [`Notice::Restored`].
    pub fn restore_link(&self) {
        let mut state = self.state.lock();
        state.link_lost = false;
        state.notify_all(&Notice::Restored);
    }

    /// Returns how many subscriptions to a workspace's topic are kept. A dropped one is removed at
    /// the next push.
    #[must_use]
    pub fn subscriptions(&self, workspace: &WorkspaceId) -> usize {
        self.state.lock().workspaces.get(workspace).map_or(0, |known| known.subscribers.len())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Publishes, or does what is scripted instead.
    pub(crate) async fn publish_by<T>(
        &self,
        publish: impl FnOnce(&mut State) -> T,
    ) -> Result<T, BusError> {
        let fault = self.state.lock().take_publish_fault();
        match fault {
            Some(PublishFault::Refused) => return Err(BusError::Refused("scripted".into())),
            Some(PublishFault::Unavailable) => return Err(unavailable()),
            Some(PublishFault::Hang) => std::future::pending().await,
            Some(PublishFault::AnswerLost) | None => {}
        }
        let published = publish(&mut self.state.lock());
        if fault.is_some() { Err(unavailable()) } else { Ok(published) }
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError> {
        let now = self.now();
        self.publish_by(|state| state.publish(workspace, publication, now)).await
    }

    async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) -> Result<(), BusError> {
        self.publish_by(|state| state.signal(workspace, signal)).await
    }

    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError> {
        let mut state = self.state.lock();
        if state.link_lost {
            return Err(unavailable());
        }
        let (tx, rx) = Subscription::channel(limits::SUBSCRIPTION_NOTICES_MAX);
        state.workspaces.entry(workspace.clone()).or_default().subscribers.push(tx);
        Ok(rx)
    }

    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.reads_to_fail > 0 {
            state.reads_to_fail -= 1;
            return Err(unavailable());
        }
        let Some(known) = state.workspaces.get_mut(workspace) else { return Ok(Vec::new()) };
        Ok(known.stream.read(from, limit, now))
    }
}

impl State {
    fn take_publish_fault(&mut self) -> Option<PublishFault> {
        let (fault, left) = self.publish_faults?;
        self.publish_faults = (left > 1).then_some((fault, left - 1));
        Some(fault)
    }

    pub(crate) fn publish(
        &mut self,
        workspace: &WorkspaceId,
        publication: &Publication,
        now: Timestamp,
    ) -> Published {
        let known = self.workspaces.entry(workspace.clone()).or_default();
        let Some(kept) = known.stream.append(publication, now) else {
            return Published::AlreadyPublished;
        };
        let position = kept.position;
        if self.pushes_to_drop > 0 {
            self.pushes_to_drop -= 1;
        } else if !self.link_lost && !known.subscribers.is_empty() {
            let entry = kept.decode();
            known.subscribers.retain(|tx| tx.offer(Notice::Entry(entry.clone())));
        }
        Published::Appended(position)
    }

    /// Whether a publication with this guard would change nothing.
    pub(crate) fn is_guarded(
        &mut self,
        workspace: &WorkspaceId,
        guard: &str,
        now: Timestamp,
    ) -> bool {
        let known = self.workspaces.get_mut(workspace);
        known.is_some_and(|known| known.stream.is_guarded(guard, now))
    }

    pub(crate) fn signal(&mut self, workspace: &WorkspaceId, signal: &Signal) {
        if self.pushes_to_drop > 0 {
            self.pushes_to_drop -= 1;
        } else if !self.link_lost
            && let Some(known) = self.workspaces.get_mut(workspace)
        {
            known.subscribers.retain(|tx| tx.offer_signal(signal.clone()));
        }
    }

    fn notify_all(&mut self, notice: &Notice) {
        for known in self.workspaces.values_mut() {
            known.subscribers.retain(|tx| tx.offer(notice.clone()));
        }
    }
}

pub(crate) fn unavailable() -> BusError {
    BusError::Unavailable("scripted".into())
}

#[cfg(test)]
mod tests;
