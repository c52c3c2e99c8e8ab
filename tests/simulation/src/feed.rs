//! The messages table's stream, and the mapping that feeds it to the relay: each shard in order,
//! but late, repeated, or with records that cannot be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checker::StoredItem;
use memory::SeededRng;
use messaging::ports::{LogEntry, StoredMessage};
use messaging::relay::{Outcome, Record, Relay};
use model::{ChannelId, MessageId, limits};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// All entries that were ever stored, by shard and in order. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableLog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    shards: [Vec<(Instant, LogEntry)>; SHARDS],
    inserted: BTreeMap<(ChannelId, MessageId), Instant>,
    trouble: FeedTrouble,
    positions: [usize; SHARDS],
}

/// What goes wrong between the table and the relay.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FeedTrouble {
    /// How old a record is before the relay gets it.
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
    /// Adds an entry, as the table does after a write.
    pub(crate) fn insert(&self, entry: LogEntry) {
        let mut state = self.0.lock();
        let now = Instant::now();
        let channel = match &entry {
            LogEntry::Message(stored) => stored.message.channel_id.clone(),
            LogEntry::Redirect(redirect) => redirect.channel_id.clone(),
            LogEntry::Unknown { channel_id, .. } => channel_id.clone(),
        };
        let shard = channel.as_str().bytes().map(usize::from).sum::<usize>() % SHARDS;
        state.inserted.insert((channel, entry.id()), now);
        if let Some(shard) = state.shards.get_mut(shard) {
            shard.push((now, entry));
        }
    }

    /// Whether a copy of the table that is `age` old has the entry.
    #[must_use]
    pub(crate) fn is_older_than(&self, channel: &ChannelId, id: MessageId, age: Duration) -> bool {
        let inserted = self.0.lock().inserted.get(&(channel.clone(), id)).copied();
        inserted.is_none_or(|at| at.elapsed() >= age)
    }

    /// Sets what goes wrong from now on.
    pub(crate) fn set_trouble(&self, trouble: FeedTrouble) {
        self.0.lock().trouble = trouble;
    }

    /// Whether the relay has processed everything.
    #[must_use]
    pub(crate) fn is_drained(&self) -> bool {
        let state = self.0.lock();
        state.shards.iter().zip(&state.positions).all(|(shard, at)| shard.len() == *at)
    }

    /// All messages: with the text that was sent, and the present revision.
    #[must_use]
    pub(crate) fn messages(&self) -> Vec<StoredItem> {
        let state = self.0.lock();
        let mut items: BTreeMap<(ChannelId, MessageId), StoredItem> = BTreeMap::new();
        for (_, entry) in state.shards.iter().flatten() {
            let LogEntry::Message(StoredMessage { message, .. }) = entry else { continue };
            let item = || StoredItem {
                channel: message.channel_id.clone(),
                id: message.id,
                sender: message.sender_id.clone(),
                text: message.text.digest(),
                rev: message.rev.clone(),
            };
            let item = items.entry((message.channel_id.clone(), message.id)).or_insert_with(item);
            item.rev = message.rev.clone();
        }
        items.into_values().collect()
    }

    /// The next records of a shard that are due; with `replays`, preceded by older ones again.
    fn batch(&self, shard: usize, rng: &SeededRng) -> Option<(usize, usize, Vec<Record>)> {
        let state = self.0.lock();
        let trouble = state.trouble;
        let (records, position) = (state.shards.get(shard)?, *state.positions.get(shard)?);
        let is_due = |at: Instant| at.elapsed() >= trouble.lag.max(LAG_MIN);
        let end = records.partition_point(|(at, _)| is_due(*at)).min(position + BATCH_MAX);
        if trouble.stopped || end <= position {
            return None;
        }
        let again = if trouble.replays { rng.index(20) } else { 0 };
        let start = position.saturating_sub(again);
        let due = records.get(start..end)?;
        let mut batch: Vec<Record> =
            due.iter().map(|(_, entry)| Record::Stored(entry.clone())).collect();
        if trouble.poison {
            batch.push(Record::Poisoned(Box::new(Poison)));
        }
        Some((start, end, batch))
    }

    fn move_to(&self, shard: usize, position: usize) {
        if let Some(at) = self.0.lock().positions.get_mut(shard) {
            *at = position;
        }
    }
}

/// Feeds the relay from one shard, until the run ends.
pub(crate) async fn run(log: TableLog, shard: usize, relay: Relay, rng: SeededRng) {
    let (first, longest) = limits::RELAY_RETRY;
    let mut wait = first;
    loop {
        let Some((start, end, batch)) = log.batch(shard, &rng) else {
            sleep(POLL).await;
            continue;
        };
        match relay.relay(&batch).await {
            Outcome::Relayed => {
                log.move_to(shard, end);
                wait = first;
            }
            Outcome::HeldAt(at) => {
                log.move_to(shard, (start + at).min(end));
                sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
        }
    }
}

/// Shards of the stream. Channels of different shards may overtake each other.
pub(crate) const SHARDS: usize = 2;
const BATCH_MAX: usize = 100;
const LAG_MIN: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(250);
