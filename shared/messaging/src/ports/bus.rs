//! The bus: per workspace a capped stream of recent publications, and a topic.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use model::{EntryId, Position, WorkspaceId};
pub use protocol::publication::Entry;
use protocol::publication::Publication;
use tokio::sync::mpsc;

use super::Cause;

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It stands in the stream here and was pushed.
    Appended(Position),
    /// Its guard key was there: somebody published it within the last ten minutes.
    AlreadyPublished,
}

/// Why the bus did not do something.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It could not be reached, or did not answer in time. A publication may have been taken.
    #[error("the bus did not answer")]
    Unavailable(#[source] Cause),
    /// It answered an error: read-only, out of memory, not permitted.
    #[error("the bus refused")]
    Refused(#[source] Cause),
}

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An entry was published.
    Entry(Entry),
    /// Something that is no entry came on the topic. It is no gap: an entry that could not be read
    /// shows in the chain.
    Foreign,
    /// The link is gone; entries may be missed until [`Notice::Restored`].
    Lost,
    /// Entries may have been missed before this; from here on they come again.
    Restored,
}

/// A workspace's topic, subscribed and confirmed. At most once: what is missed shows in the chain,
/// or as [`Notice::Restored`].
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
    /// Makes both ends, with room for `capacity` notices.
    #[must_use]
    pub fn channel(capacity: usize) -> (SubscriptionSender, Self) {
        let (tx, rx) = mpsc::channel(capacity);
        let gap = Arc::new(AtomicBool::new(false));
        (SubscriptionSender { notices: tx, gap: Arc::clone(&gap) }, Self { notices: rx, gap })
    }

    /// The next notice; `None` when the bus gave the subscription up.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.notices.try_recv() {
            Ok(notice) => Some(notice),
            // What was dropped came after all that is queued: the gap is told when the queue is empty.
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

    /// Offers a notice without waiting. A full queue drops it and remembers the gap, as a
    /// subscriber that Redis cuts off would miss it. False when nobody listens any more.
    #[must_use]
    pub fn offer(&self, notice: Notice) -> bool {
        match self.notices.try_send(notice) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(notice)) => {
                self.gap.store(true, Ordering::Release);
                // Once more: a reader that emptied the queue before it could see the gap waits for
                // a notice, and this one wakes it.
                !matches!(self.notices.try_send(notice), Err(mpsc::error::TrySendError::Closed(_)))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// The bus: per workspace a capped stream of recent publications and a topic.
#[async_trait]
pub trait EventBus: Send + Sync + Debug {
    /// Publishes once: guard key, stream entry with `prev`, push to the topic, in one step that
    /// happens whole or not at all. Repeating it within [`model::limits::GUARD_TTL`] is a no-op.
    ///
    /// Success means the bus took it, not that a node received it; what is missed is repaired by
    /// the relay and by fill (G3, G4).
    ///
    /// # Errors
    /// [`BusError`]; after `Unavailable` it may have been published.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have published.
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError>;

    /// Subscribes to a workspace's topic. When this returns, the subscription is confirmed: every
    /// later publication is pushed to it, at most once. It lasts until it is dropped; a lost link
    /// is re-established by the adapter and told as `Lost` and `Restored`.
    ///
    /// # Errors
    /// [`BusError`].
    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError>;

    /// Reads the stream in order from an entry, inclusive (from its beginning if `None`), at most
    /// `limit` entries.
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
