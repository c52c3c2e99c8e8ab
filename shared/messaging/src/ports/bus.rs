//! The bus: each workspace has a capped stream of recent publications and a topic.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use model::{EntryId, Position, WorkspaceId};
pub use protocol::publication::Entry;
use protocol::publication::Publication;
use protocol::signal::Signal;
use tokio::sync::mpsc;

use super::Cause;

/// The result of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It was appended to the stream at this position, and pushed.
    Appended(Position),
    /// Its guard key exists: it was published within the last ten minutes.
    AlreadyPublished,
}

/// Why a call to the bus failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It could not be reached, or did not answer in time. It may have published all the same.
    #[error("the bus did not answer")]
    Unavailable(#[source] Cause),
    /// It answered with an error: read-only, out of memory, not permitted.
    #[error("the bus refused")]
    Refused(#[source] Cause),
}

/// What a subscription yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An entry was published.
    Entry(Entry),
    /// A signal was pushed. It is in no stream: a missed one is no gap.
    Signal(Signal),
    /// Something other than an entry arrived on the topic. That is not a gap: an unreadable entry
    /// would show as a hole in the chain.
    Foreign,
    /// The connection is lost. Entries may be missed until [`Notice::Restored`].
    Lost,
    /// Entries before this may have been missed. Later ones arrive again.
    Restored,
}

/// A confirmed subscription to a workspace's topic. Delivery is at most once: a missed entry shows
/// as a hole in the chain, or is announced by [`Notice::Restored`].
#[derive(Debug)]
pub struct Subscription {
    notices: mpsc::Receiver<Notice>,
    gap: Arc<AtomicBool>,
}

/// The bus's end of a [`Subscription`].
#[derive(Debug, Clone)]
pub struct SubscriptionSender {
    notices: mpsc::Sender<Notice>,
    gap: Arc<AtomicBool>,
}

impl Subscription {
    /// Creates both ends, with a queue of `capacity` notices.
    #[must_use]
    pub fn channel(capacity: usize) -> (SubscriptionSender, Self) {
        let (tx, rx) = mpsc::channel(capacity);
        let gap = Arc::new(AtomicBool::new(false));
        (SubscriptionSender { notices: tx, gap: Arc::clone(&gap) }, Self { notices: rx, gap })
    }

    /// Returns the next notice; `None` once the bus has closed the subscription.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.notices.try_recv() {
            Ok(notice) => Some(notice),
            // Dropped notices are newer than queued ones, so report the gap last.
            Err(mpsc::error::TryRecvError::Empty) if self.gap.swap(false, Ordering::AcqRel) => {
                Some(Notice::Restored)
            }
            Err(_) => self.notices.recv().await,
        }
    }
}

impl SubscriptionSender {
    /// Whether nobody listens any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.notices.is_closed()
    }

    /// Offers a notice without waiting. If the queue is full, drops the notice and remembers the
    /// gap, just as Redis cuts off a slow subscriber. False when nobody listens any more.
    #[must_use]
    pub fn offer(&self, notice: Notice) -> bool {
        match self.notices.try_send(notice) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(notice)) => {
                self.gap.store(true, Ordering::Release);
                // Try again: a reader that emptied the queue before `gap` was set is waiting for a
                // notice, and this one wakes it.
                !matches!(self.notices.try_send(notice), Err(mpsc::error::TrySendError::Closed(_)))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl SubscriptionSender {
    /// Offers a signal without waiting. It is dropped if the queue is half full, so that signals
    /// cannot push out entries. False when nobody listens any more.
    #[must_use]
    pub fn offer_signal(&self, signal: Signal) -> bool {
        if self.notices.capacity() > self.notices.max_capacity() / 2 {
            return self.offer(Notice::Signal(signal));
        }
        !self.notices.is_closed()
    }
}

/// The bus: each workspace has a capped stream of recent publications and a topic.
#[async_trait]
pub trait EventBus: Send + Sync + Debug {
    /// Publishes once: sets the guard key, appends the stream entry with `prev`, and pushes to the
    /// topic, atomically. Repeating it within [`model::limits::GUARD_TTL`] is a no-op.
    ///
    /// Success means that the bus has it, not that a node received it. The relay and fills repair
    /// what is missed (G3, G4).
    ///
    /// # Errors
    /// [`BusError`]. After `Unavailable` it may have been published.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have published.
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError>;

    /// Pushes a signal to a workspace's subscriptions, once, and keeps it nowhere.
    ///
    /// # Errors
    /// [`BusError`]. After `Unavailable` it may have been pushed.
    async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) -> Result<(), BusError>;

    /// Subscribes to a workspace's topic, and to its signals. When this returns, the subscription is confirmed: every
    /// later publication is pushed to it, at most once. It lasts until it is dropped. The adapter
    /// re-establishes a lost connection, and reports `Lost` and `Restored`.
    ///
    /// # Errors
    /// [`BusError`].
    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError>;

    /// Reads at most `limit` entries of the stream in order, from an entry, inclusive (from the
    /// beginning if `None`).
    ///
    /// # Errors
    /// [`BusError`].
    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError>;
}
