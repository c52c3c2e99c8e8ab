//! What follows from stored rows: summaries of reactions, pins that no call has shown, and mentions.
//! A second reader of the messages table's stream.
//!
//! **Main path.** [`Deriver::derive`] takes what the records ask for, each once: it counts again
//! whatever the function `amend` left uncounted, because it died or because many react; it shows a
//! pin in its message; and it writes a row for each member whom a text mentions.
//!
//! **Invariants.** Nothing is published here: the relay publishes each new revision. Whatever is
//! derived twice, late or out of order ends the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{Channel, ChannelId, Message, MessageId, UserId, chain, limits};
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::error::StoreError;
use crate::fold::{Pace, fold};
use crate::pins;
use crate::ports::{
    Cause, ChannelStore, Clock, LogEntry, MemberStore, Mention, MentionStore, MessageStore,
    PinStore, Randomness, Store, StoredMessage,
};
use crate::relay::Outcome;
use crate::revising::Revising;

/// One record of the messages table's stream.
#[derive(Debug)]
pub enum Record {
    /// A reaction to this message was made or withdrawn.
    Reaction(ChannelId, MessageId),
    /// This message was pinned or unpinned.
    Pin(ChannelId, MessageId),
    /// A new text of this message mentions users.
    Mentions(Box<Message>),
    /// Another change, from which nothing follows.
    Other,
    /// A record that cannot be read. The cause names no content.
    Poisoned(Cause),
}

impl Record {
    /// The record of a message's row: only a new text brings new mentions, and a deletion takes back
    /// the pin.
    #[must_use]
    pub fn of_message(stored: &StoredMessage) -> Self {
        let StoredMessage { message, pin_act, .. } = stored;
        let has_new_text = *message.text_rev() == message.rev;
        if message.deleted.is_some() && pin_act.is_some() {
            Self::Pin(message.channel_id.clone(), message.id)
        } else if has_new_text && !message.mentions.users.is_empty() {
            Self::Mentions(Box::new(message.clone()))
        } else {
            Self::Other
        }
    }
}

/// The ports that a deriver needs.
#[derive(Debug, Clone)]
pub struct DeriverPorts {
    /// The messages table.
    pub messages: Arc<dyn MessageStore>,
    /// Pins.
    pub pins: Arc<dyn PinStore>,
    /// The channels table.
    pub channels: Arc<dyn ChannelStore>,
    /// The membership tables.
    pub members: Arc<dyn MemberStore>,
    /// Mentions.
    pub mentions: Arc<dyn MentionStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
}

impl DeriverPorts {
    /// The ports of a store that has all of them.
    #[must_use]
    pub fn of_store(
        store: Arc<impl Store + 'static>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        Self {
            messages: store.clone(),
            pins: store.clone(),
            channels: store.clone(),
            members: store.clone(),
            mentions: store,
            clock,
            randomness,
        }
    }
}

/// What a deriver did since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages whose summary was counted anew.
    pub folded: u64,
    /// Messages whose summary was up to date.
    pub unchanged: u64,
    /// Pins that their message's row did not show yet.
    pub pins_shown: u64,
    /// Users to whom a mention was written.
    pub mentioned: u64,
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
    ports: DeriverPorts,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    folded: AtomicU64,
    unchanged: AtomicU64,
    pins_shown: AtomicU64,
    mentioned: AtomicU64,
    poisoned: AtomicU64,
    held: AtomicU64,
}

impl Deriver {
    /// Creates a deriver.
    #[must_use]
    pub fn new(ports: DeriverPorts) -> Self {
        Self(Arc::new(State { ports, counters: Counters::default() }))
    }

    /// Returns what it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0.counters;
        Counts {
            folded: read(&counters.folded),
            unchanged: read(&counters.unchanged),
            pins_shown: read(&counters.pins_shown),
            mentioned: read(&counters.mentioned),
            poisoned: read(&counters.poisoned),
            held: read(&counters.held),
        }
    }

    /// Derives what follows from these records, which come from one shard, in its order.
    ///
    /// A record that cannot be handled is held, with all later ones: see [`Outcome::HeldAt`].
    ///
    /// # Cancel safety
    /// A dropped call may have derived some; deriving the same records again is safe.
    pub async fn derive(&self, records: &[Record]) -> Outcome {
        let mut waiting = self.tasks(records).into_iter();
        let mut running = JoinSet::new();
        let mut held: Option<usize> = None;
        loop {
            while running.len() < TASKS_AT_ONCE {
                let Some((task, at)) = waiting.next() else { break };
                let state = Arc::clone(&self.0);
                running.spawn(async move { (at, state.run(&task).await) });
            }
            match running.join_next().await {
                None => break,
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((at, Err(err)))) => {
                    warn!(cause = %chain(&err), "a record is not handled; it waits with later ones");
                    held = Some(held.map_or(at, |held| held.min(at)));
                }
                Some(Err(failed)) => {
                    error!(cause = %failed, "handling a record failed");
                    held = Some(0);
                }
            }
        }
        match held {
            None => Outcome::Relayed,
            Some(at) => {
                self.0.counters.held.fetch_add(1, Ordering::Relaxed);
                Outcome::HeldAt(at)
            }
        }
    }

    /// What these records ask for, each once, with the place of its first record.
    fn tasks(&self, records: &[Record]) -> BTreeMap<Task, usize> {
        let mut first_of = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let task = match record {
                Record::Reaction(channel, id) => Task::Fold(channel.clone(), *id),
                Record::Pin(channel, id) => Task::ShowPin(channel.clone(), *id),
                Record::Mentions(message) => {
                    let mut users = message.mentions.users.clone();
                    users.retain(|user| *user != message.sender_id);
                    Task::Mention(message.channel_id.clone(), message.id, users)
                }
                Record::Other => continue,
                Record::Poisoned(cause) => {
                    self.0.counters.poisoned.fetch_add(1, Ordering::Relaxed);
                    error!(cause = %chain(cause.as_ref()), "a record cannot be read and is skipped");
                    continue;
                }
            };
            first_of.entry(task).or_insert(at);
        }
        first_of
    }
}

/// What follows from records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// Counts a message's reactions.
    Fold(ChannelId, MessageId),
    /// Shows the last act of pinning in the message's row.
    ShowPin(ChannelId, MessageId),
    /// Tells those of these users who are members that the message mentions them.
    Mention(ChannelId, MessageId, Vec<UserId>),
}

impl State {
    async fn run(&self, task: &Task) -> Result<(), StoreError> {
        match task {
            Task::Fold(channel, id) => self.fold(channel, *id).await,
            Task::ShowPin(channel, id) => self.show_pin(channel, *id).await,
            Task::Mention(channel, id, users) => self.mention(channel, *id, users).await,
        }
    }

    fn revising(&self) -> Revising<'_> {
        let DeriverPorts { messages, clock, randomness, .. } = &self.ports;
        Revising { messages: &**messages, clock: &**clock, randomness: &**randomness }
    }

    async fn message(
        &self,
        channel: &ChannelId,
        id: MessageId,
    ) -> Result<Option<StoredMessage>, StoreError> {
        Ok(self.ports.messages.entry(channel, id).await?.and_then(LogEntry::into_message))
    }

    async fn fold(&self, channel: &ChannelId, id: MessageId) -> Result<(), StoreError> {
        let Some(stored) = self.message(channel, id).await? else { return Ok(()) };
        let before = stored.message.rev.clone();
        let after = fold(self.revising(), stored, Pace::WhenDue).await?;
        let is_new = after.is_some_and(|after| after.message.rev != before);
        let Counters { folded, unchanged, .. } = &self.counters;
        let counter = if is_new { folded } else { unchanged };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn show_pin(&self, channel: &ChannelId, id: MessageId) -> Result<(), StoreError> {
        let pin = pins::last_act(&*self.ports.pins, channel, id).await?;
        let Some((pin, stored)) = pin.zip(self.message(channel, id).await?) else { return Ok(()) };
        let before = stored.message.rev.clone();
        match pins::show(self.revising(), stored, &pin).await? {
            None => pins::withdraw(&*self.ports.pins, self.revising(), channel, id).await?,
            Some(after) if after.message.rev != before => {
                self.counters.pins_shown.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn mention(
        &self,
        channel: &ChannelId,
        id: MessageId,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        let (rows, members) = tokio::try_join!(
            self.ports.channels.channels(std::slice::from_ref(channel)),
            self.ports.members.members_among(channel, users)
        )?;
        let Some(Channel { workspace_id, .. }) = rows.into_iter().next() else { return Ok(()) };
        let mention = Mention { id, channel_id: channel.clone() };
        let expires_at = id.time().plus(limits::MENTIONS_KEPT);
        let mut writes = Vec::with_capacity(members.len());
        for user in &members {
            let mentions = &self.ports.mentions;
            writes.push(mentions.put_mention(&workspace_id, user, &mention, expires_at));
        }
        let written = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
        written.try_collect::<()>().await?;
        self.counters.mentioned.fetch_add(members.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Tasks that run at the same time: so many that a batch whose messages are all busy ends within the
/// function's time-out.
const TASKS_AT_ONCE: usize = 64;
/// Mentions of one message that are written at the same time.
const WRITES_AT_ONCE: usize = 8;
