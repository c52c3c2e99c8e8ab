//! Bugs 2 and 9: positions that repeat after a failover.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use messaging::ports::{BusError, Entry, EventBus, Notice, Published, Subscription};
use model::{EntryId, Position, WorkspaceId, limits};
use parking_lot::Mutex;
use protocol::publication::Publication;
use protocol::signal::Signal;

/// A bus that rewrites entries on their way to a node.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) rewrite: Rewrite,
}

/// How an entry is rewritten.
#[derive(Debug, Clone)]
pub(super) enum Rewrite {
    /// Bug 2: the position is a counter's value.
    Counted(Numbers),
    /// Bug 9: positions with equal entry ids differ only by the first four characters of the ULID.
    FirstFour,
}

/// The counter value of each entry.
pub(super) type Numbers = Arc<Mutex<HashMap<(WorkspaceId, Position), u64>>>;

impl Rewrite {
    fn of(&self, workspace: &WorkspaceId, entry: Entry) -> Entry {
        match self {
            Self::Counted(numbers) => counted(numbers, workspace, entry),
            Self::FirstFour => first_four(entry),
        }
    }
}

fn number_of(numbers: &Numbers, workspace: &WorkspaceId, entry: &Entry) -> u64 {
    let mut numbers = numbers.lock();
    let before =
        entry.prev.map_or(Some(0), |prev| numbers.get(&(workspace.clone(), prev)).copied());
    // Like a counter in Redis: one more than the previous entry's, whichever server wrote that one.
    let number = before.map_or(1, |before| before + 1);
    *numbers.entry((workspace.clone(), entry.position)).or_insert(number)
}

fn counted(numbers: &Numbers, workspace: &WorkspaceId, entry: Entry) -> Entry {
    let number = number_of(numbers, workspace, &entry);
    let at = |ms: u64| Position { entry: EntryId { ms, sequence: 0 }, history: 0 };
    let prev = number.checked_sub(1).filter(|number| *number > 0).map(at);
    Entry { position: at(number), prev, publication: entry.publication }
}

fn first_four(entry: Entry) -> Entry {
    let id = entry.publication.id.to_string();
    let history = match id.as_bytes() {
        [a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
        _ => 0,
    };
    let of = |position: Position| Position { history, ..position };
    // The previous publication is from the same years, so its first four characters are the same.
    let prev = entry.prev.map(of);
    Entry { position: of(entry.position), prev, publication: entry.publication }
}

/// A subscription that rewrites the entries of another one.
fn changed(
    mut subscription: Subscription,
    change: impl Fn(Entry) -> Entry + Send + 'static,
) -> Subscription {
    let (tx, changed) = Subscription::channel(limits::SUBSCRIPTION_NOTICES_MAX);
    tokio::spawn(async move {
        while let Some(notice) = subscription.next().await {
            let notice = match notice {
                Notice::Entry(entry) => Notice::Entry(change(entry)),
                other @ (Notice::Signal(_) | Notice::Foreign | Notice::Lost | Notice::Restored) => {
                    other
                }
            };
            if !tx.offer(notice) {
                return;
            }
        }
    });
    changed
}

#[async_trait]
impl EventBus for Rewritten {
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError> {
        self.bus.publish(workspace, publication).await
    }

    async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) -> Result<(), BusError> {
        self.bus.signal(workspace, signal).await
    }

    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError> {
        let (rewrite, of) = (self.rewrite.clone(), workspace.clone());
        let subscription = self.bus.subscribe(workspace).await?;
        Ok(changed(subscription, move |entry| rewrite.of(&of, entry)))
    }

    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError> {
        // Read the whole stream, because rewritten positions are in another order.
        let all = self.bus.entries(workspace, None, limits::STREAM_ENTRIES_MAX).await?;
        let rewritten = all.into_iter().map(|entry| self.rewrite.of(workspace, entry));
        let from = from.unwrap_or_default();
        Ok(rewritten.filter(|entry| entry.position.entry >= from).take(limit).collect())
    }
}
