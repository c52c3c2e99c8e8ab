//! What follows from stored rows: summaries of reactions, by a second reader of the messages
//! table's stream.
//!
//! **Main path.** [`Deriver::derive`] takes the messages that rows are about, once each, and counts
//! again whatever the function `amend` left uncounted: because it died, or because many react.
//!
//! **Invariants.** Nothing is published here: the relay publishes each new revision. Whatever is
//! derived twice, late or out of order ends the same (`fold`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{ChannelId, MessageId, chain};
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::error::StoreError;
use crate::fold::{Pace, fold};
use crate::ports::{Cause, Clock, LogEntry, MessageStore, Randomness};
use crate::relay::Outcome;
use crate::revising::Revising;

/// One record of the messages table's stream.
#[derive(Debug)]
pub enum Record {
    /// A reaction to this message was made or withdrawn.
    Reaction(ChannelId, MessageId),
    /// Another change, from which nothing follows.
    Other,
    /// A record that cannot be read. The cause names no content.
    Poisoned(Cause),
}

/// What a deriver did since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages whose summary was counted anew.
    pub folded: u64,
    /// Messages whose summary was up to date.
    pub unchanged: u64,
    /// Records that could not be read.
    pub poisoned: u64,
    /// Batches held back, for the feed to deliver again.
    pub held: u64,
}

/// The deriver of an environment. Clones share its counts.
#[derive(Debug, Clone)]
pub struct Deriver(Arc<State>);

#[derive(Debug)]
struct State {
    messages: Arc<dyn MessageStore>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    folded: AtomicU64,
    unchanged: AtomicU64,
    poisoned: AtomicU64,
    held: AtomicU64,
}

impl Deriver {
    /// Creates a deriver from the ports that it needs.
    #[must_use]
    pub fn new(
        messages: Arc<dyn MessageStore>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        let (folded, unchanged) = (AtomicU64::default(), AtomicU64::default());
        let (poisoned, held) = (AtomicU64::default(), AtomicU64::default());
        Self(Arc::new(State { messages, clock, randomness, folded, unchanged, poisoned, held }))
    }

    /// Returns what it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            folded: read(&self.0.folded),
            unchanged: read(&self.0.unchanged),
            poisoned: read(&self.0.poisoned),
            held: read(&self.0.held),
        }
    }

    /// Derives what follows from these records, which come from one shard, in its order.
    ///
    /// A record that cannot be handled is held, with all later ones: see [`Outcome::HeldAt`].
    ///
    /// # Cancel safety
    /// A dropped call may have derived some; deriving the same records again is safe.
    pub async fn derive(&self, records: &[Record]) -> Outcome {
        let mut first_of: BTreeMap<(ChannelId, MessageId), usize> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::Reaction(channel, id) => {
                    first_of.entry((channel.clone(), *id)).or_insert(at);
                }
                Record::Other => {}
                Record::Poisoned(cause) => {
                    self.0.poisoned.fetch_add(1, Ordering::Relaxed);
                    error!(cause = %chain(cause.as_ref()), "a record cannot be read and is skipped");
                }
            }
        }
        let mut waiting = first_of.into_iter();
        let mut running = JoinSet::new();
        let mut held: Option<usize> = None;
        loop {
            while running.len() < FOLDS_AT_ONCE {
                let Some(((channel, id), at)) = waiting.next() else { break };
                let state = Arc::clone(&self.0);
                running.spawn(async move { (at, state.fold(&channel, id).await) });
            }
            match running.join_next().await {
                None => break,
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((at, Err(err)))) => {
                    warn!(cause = %chain(&err), "reactions are not counted; their records wait");
                    held = Some(held.map_or(at, |held| held.min(at)));
                }
                Some(Err(failed)) => {
                    error!(cause = %failed, "counting reactions failed");
                    held = Some(0);
                }
            }
        }
        match held {
            None => Outcome::Relayed,
            Some(at) => {
                self.0.held.fetch_add(1, Ordering::Relaxed);
                Outcome::HeldAt(at)
            }
        }
    }
}

impl State {
    async fn fold(&self, channel: &ChannelId, id: MessageId) -> Result<(), StoreError> {
        let Some(LogEntry::Message(stored)) = self.messages.entry(channel, id).await? else {
            return Ok(());
        };
        let (messages, clock) = (&*self.messages, &*self.clock);
        let revising = Revising { messages, clock, randomness: &*self.randomness };
        let before = stored.message.rev.clone();
        let after = fold(revising, stored, Pace::WhenDue).await?;
        let is_new = after.is_some_and(|after| after.message.rev != before);
        let counter = if is_new { &self.folded } else { &self.unchanged };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Messages that are counted at the same time: so many that a batch whose messages are all busy ends
/// within the function's time-out.
const FOLDS_AT_ONCE: usize = 64;
