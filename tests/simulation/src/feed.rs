//! The messages table's stream, and the mappings that feed it to relay and deriver: each shard in
//! order, but late, repeated, or with records that cannot be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checker::StoredItem;
use memory::SeededRng;
use messaging::derive::{self, Deriver};
use messaging::ports::{LogEntry, StoredMessage};
use messaging::relay::{Outcome, Record, Relay};
use model::{LogId, MessageId, limits};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// What the table's stream has a record of.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    Entry(LogEntry),
    Reaction(LogId, MessageId),
    Pin(LogId, MessageId),
}

/// What gets the records.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    Relay(Relay),
    Derive(Deriver),
}

impl Reader {
    const fn index(&self) -> usize {
        match self {
            Self::Relay(_) => 0,
            Self::Derive(_) => 1,
        }
    }

    async fn read(&self, rows: &[Option<Row>]) -> Outcome {
        match self {
            Self::Relay(relay) => {
                let record = |row: &Option<Row>| match row {
                    Some(Row::Entry(entry)) => Record::Stored(entry.clone()),
                    Some(Row::Reaction(..) | Row::Pin(..)) => Record::Other,
                    None => Record::Poisoned(Box::new(Poison)),
                };
                relay.relay(&rows.iter().map(record).collect::<Vec<_>>()).await
            }
            Self::Derive(deriver) => {
                let record = |row: &Option<Row>| match row {
                    Some(Row::Entry(LogEntry::Message(stored))) => {
                        derive::Record::Message(Box::new(stored.clone()))
                    }
                    Some(Row::Entry(_)) => derive::Record::Other,
                    Some(Row::Reaction(log, id)) => derive::Record::Reaction(log.clone(), *id),
                    Some(Row::Pin(log, id)) => derive::Record::Pin(log.clone(), *id),
                    None => derive::Record::Poisoned(Box::new(Poison)),
                };
                deriver.derive(&rows.iter().map(record).collect::<Vec<_>>()).await
            }
        }
    }
}

/// All rows that were ever stored, by shard and in order. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableLog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    shards: [Vec<(Instant, Row)>; SHARDS],
    inserted: BTreeMap<(LogId, MessageId), Instant>,
    trouble: FeedTrouble,
    /// Where each reader is in each shard.
    positions: [[usize; SHARDS]; READERS],
}

/// What goes wrong between the table and its readers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FeedTrouble {
    /// How old a record is before a reader gets it.
    pub lag: Duration,
    /// Whether it gets none.
    pub stopped: bool,
    /// Whether records are delivered again.
    pub replays: bool,
    /// Whether batches contain a record that cannot be read.
    pub poison: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("simulated")]
struct Poison;

impl TableLog {
    /// Adds a row, as the table does after a write.
    pub(crate) fn insert(&self, row: Row) {
        let mut state = self.0.lock();
        let now = Instant::now();
        let log = match &row {
            Row::Entry(LogEntry::Message(stored)) => stored.message.log(),
            Row::Entry(LogEntry::Redirect(redirect)) => redirect.log.clone(),
            Row::Entry(LogEntry::Unknown { log, .. }) | Row::Reaction(log, _) => log.clone(),
            // Beside the messages of the main log.
            Row::Pin(log, _) => log.main(),
        };
        let shard = log.to_string().bytes().map(usize::from).sum::<usize>() % SHARDS;
        if let Row::Entry(entry) = &row {
            state.inserted.insert((log, entry.id()), now);
        }
        if let Some(shard) = state.shards.get_mut(shard) {
            shard.push((now, row));
        }
    }

    /// Whether a copy of the table that is `age` old has the entry.
    #[must_use]
    pub(crate) fn is_older_than(&self, log: &LogId, id: MessageId, age: Duration) -> bool {
        let inserted = self.0.lock().inserted.get(&(log.clone(), id)).copied();
        inserted.is_none_or(|at| at.elapsed() >= age)
    }

    /// Whether an entry was stored.
    #[must_use]
    pub(crate) fn has(&self, log: &LogId, id: MessageId) -> bool {
        self.0.lock().inserted.contains_key(&(log.clone(), id))
    }

    /// Sets what goes wrong from now on.
    pub(crate) fn set_trouble(&self, trouble: FeedTrouble) {
        self.0.lock().trouble = trouble;
    }

    /// Whether all readers have processed everything.
    #[must_use]
    pub(crate) fn is_drained(&self) -> bool {
        let state = self.0.lock();
        let is_at_end = |positions: &[usize; SHARDS]| {
            state.shards.iter().zip(positions).all(|(shard, at)| shard.len() == *at)
        };
        state.positions.iter().all(is_at_end)
    }

    /// All messages: with the text that was sent, and the present revision.
    #[must_use]
    pub(crate) fn messages(&self) -> Vec<StoredItem> {
        let state = self.0.lock();
        let mut items: BTreeMap<(LogId, MessageId), StoredItem> = BTreeMap::new();
        for (_, entry) in state.shards.iter().flatten() {
            let Row::Entry(LogEntry::Message(StoredMessage { message, .. })) = entry else {
                continue;
            };
            let item = || StoredItem {
                log: message.log(),
                id: message.id,
                sender: message.sender_id.clone(),
                text: message.text.digest(),
                rev: message.rev.clone(),
                present: message.text.digest(),
                is_deleted: false,
                reactions: BTreeMap::new(),
                is_pinned: false,
                replies: None,
            };
            let item = items.entry((message.log(), message.id)).or_insert_with(item);
            item.rev = message.rev.clone();
            item.present = message.text.digest();
            item.is_deleted = message.deleted.is_some();
            item.is_pinned = message.pinned.is_some();
            item.replies = message.replies.as_deref().cloned();
            let counts = message.reactions.iter();
            let counts = counts.map(|reaction| (reaction.emoji.clone(), reaction.count));
            item.reactions = counts.collect();
        }
        items.into_values().collect()
    }

    /// Whether any message was ever stored with this in its text.
    #[must_use]
    pub(crate) fn has_text(&self, part: &str) -> bool {
        self.0.lock().shards.iter().flatten().any(|(_, row)| match row {
            Row::Entry(LogEntry::Message(stored)) => stored.message.text.as_str().contains(part),
            Row::Entry(_) | Row::Reaction(..) | Row::Pin(..) => false,
        })
    }

    /// The next records of a shard that are due; with `replays`, preceded by older ones again. `None`
    /// stands for a record that cannot be read.
    fn batch(
        &self,
        reader: &Reader,
        shard: usize,
        rng: &SeededRng,
    ) -> Option<(usize, usize, Vec<Option<Row>>)> {
        let state = self.0.lock();
        let trouble = state.trouble;
        let position = *state.positions.get(reader.index())?.get(shard)?;
        let records = state.shards.get(shard)?;
        let is_due = |at: Instant| at.elapsed() >= trouble.lag.max(LAG_MIN);
        let end = records.partition_point(|(at, _)| is_due(*at)).min(position + BATCH_MAX);
        if trouble.stopped || end <= position {
            return None;
        }
        let again = if trouble.replays { rng.index(20) } else { 0 };
        let start = position.saturating_sub(again);
        let due = records.get(start..end)?;
        let mut batch: Vec<Option<Row>> = due.iter().map(|(_, row)| Some(row.clone())).collect();
        if trouble.poison {
            batch.push(None);
        }
        Some((start, end, batch))
    }

    fn move_to(&self, reader: &Reader, shard: usize, position: usize) {
        let mut state = self.0.lock();
        let positions = state.positions.get_mut(reader.index());
        if let Some(at) = positions.and_then(|positions| positions.get_mut(shard)) {
            *at = position;
        }
    }
}

/// Feeds a reader from one shard, until the run ends.
pub(crate) async fn run(log: TableLog, shard: usize, reader: Reader, rng: SeededRng) {
    let (first, longest) = limits::RELAY_RETRY;
    let mut wait = first;
    loop {
        let Some((start, end, batch)) = log.batch(&reader, shard, &rng) else {
            sleep(POLL).await;
            continue;
        };
        match reader.read(&batch).await {
            Outcome::Relayed => {
                log.move_to(&reader, shard, end);
                wait = first;
            }
            Outcome::HeldAt(at) => {
                log.move_to(&reader, shard, (start + at).min(end));
                sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
        }
    }
}

/// Shards of the stream. Channels of different shards may overtake each other.
pub(crate) const SHARDS: usize = 2;
const READERS: usize = 2;
const BATCH_MAX: usize = 100;
const LAG_MIN: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(250);
