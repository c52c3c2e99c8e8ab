//! The relay: publishes every stored message again, from the table's own stream (G3).
//!
//! 1. [`Relay::relay`] takes records in the order of the stream and skips those without a message.
//! 2. `present_states` reads old messages again, so that no deleted text is published (G10).
//! 3. `places` finds each message's workspace through its channel, which never changes workspace.
//! 4. `mark_late` marks the channels of messages that arrive later than clients read back.
//! 5. `publish_until_replicated` runs the batch until a replica has it, or it is clear that there
//!    is no replica.
//!
//! Only records that passed all of these may be checkpointed: [`Outcome`] says how far.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{
    ChannelId, LateArrivals, LogId, MessageId, Timestamp, WorkspaceId, backoff, chain, limits,
};
use parking_lot::Mutex;
use protocol::publication::{Publication, Subject};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::known::KnownChannels;
use crate::outage::Outage;
use crate::ports::{
    BatchResult, Cause, ChannelStore, Clock, LogEntry, Marking, MessageStore, RelayBus,
    Replication, Routed, StoredMessage,
};

/// One record of the messages table's stream.
#[derive(Debug)]
pub enum Record {
    /// An entry was stored, or a message has a new revision.
    Stored(LogEntry),
    /// Another change, such as an expired entry.
    Other,
    /// A stored entry that cannot be read. The cause names no content.
    Poisoned(Cause),
}

/// How far a batch was relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it: the feed may go on.
    Relayed,
    /// Only the records before this index: the feed delivers this one and all later ones again.
    HeldAt(usize),
}

/// What a relay did since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that are in their streams.
    pub relayed: u64,
    /// Those of them that had not been published before.
    pub appended: u64,
    /// Records that could not be read, or whose channel does not exist.
    pub poisoned: u64,
    /// Records of a kind that this version does not know.
    pub unknown: u64,
    /// Messages relayed later than clients read back by themselves.
    pub late: u64,
    /// Repeated runs of a batch.
    pub reruns: u64,
    /// Batches that went on without a replica, because the server has none.
    pub alone: u64,
    /// Batches held back, for the feed to deliver again.
    pub held: u64,
    /// Age of the last batch's oldest message when it was relayed, in milliseconds, by its id. A
    /// gauge, not a count.
    pub lag_ms: u64,
}

/// The relay of an environment. Clones share its memory and its counts.
#[derive(Debug, Clone)]
pub struct Relay(Arc<State>);

#[derive(Debug)]
struct State {
    messages: Arc<dyn MessageStore>,
    channels: Arc<dyn ChannelStore>,
    relay_bus: Arc<dyn RelayBus>,
    clock: Arc<dyn Clock>,
    known: KnownChannels,
    /// When a wait for the configured replica last ended without one.
    alone_at: Mutex<Option<Timestamp>>,
    /// Outages in which batches break off.
    outage: Outage,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    relayed: AtomicU64,
    appended: AtomicU64,
    poisoned: AtomicU64,
    unknown: AtomicU64,
    late: AtomicU64,
    reruns: AtomicU64,
    alone: AtomicU64,
    held: AtomicU64,
    lag_ms: AtomicU64,
}

impl Relay {
    /// Creates a relay from the ports that it needs.
    #[must_use]
    pub fn new<S: MessageStore + ChannelStore + 'static>(
        store: Arc<S>,
        relay_bus: Arc<dyn RelayBus>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (known, alone_at) = (KnownChannels::default(), Mutex::default());
        let (outage, counters) = (Outage::default(), Counters::default());
        Self(Arc::new(State {
            messages: Arc::<S>::clone(&store),
            channels: store,
            relay_bus,
            clock,
            known,
            alone_at,
            outage,
            counters,
        }))
    }

    /// Returns what it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0.counters;
        Counts {
            relayed: read(&counters.relayed),
            appended: read(&counters.appended),
            poisoned: read(&counters.poisoned),
            unknown: read(&counters.unknown),
            late: read(&counters.late),
            reruns: read(&counters.reruns),
            alone: read(&counters.alone),
            held: read(&counters.held),
            lag_ms: read(&counters.lag_ms),
        }
    }

    /// Publishes the messages in these records, which must come from one shard, in its order.
    ///
    /// Never fails as a whole: an error that holds a record back is logged here and returned as
    /// [`Outcome::HeldAt`]. An unreadable record is skipped. Records are relayed in batches of
    /// [`limits::RELAY_BATCH_MAX`], one after the other.
    ///
    /// # Cancel safety
    /// A dropped call may have published some; relaying the same records again is safe.
    pub async fn relay(&self, records: &[Record]) -> Outcome {
        let mut done = 0;
        for batch in records.chunks(limits::RELAY_BATCH_MAX) {
            if let Outcome::HeldAt(at) = self.0.batch(batch).await {
                count(&self.0.counters.held, 1);
                return Outcome::HeldAt(done + at);
            }
            done += batch.len();
        }
        Outcome::Relayed
    }
}

/// The workspaces of a batch's channels; `None` if there is no such channel.
type Places = BTreeMap<ChannelId, Option<WorkspaceId>>;

/// A message of a batch and the index of its record.
struct Found<'a> {
    at: usize,
    stored: Cow<'a, StoredMessage>,
}

impl Found<'_> {
    /// When the message got this state: the time of its revision.
    fn changed_at(&self) -> Timestamp {
        let message = &self.stored.message;
        message.rev.id().unwrap_or(message.id).time()
    }
}

impl State {
    async fn batch(&self, records: &[Record]) -> Outcome {
        let mut found = self.messages(records);
        let outdated = self.present_states(&mut found).await;
        let (places, unread) = self.places(before(&found, outdated)).await;
        let unread = earlier(outdated, unread);
        let unmarked = self.mark_late(before(&found, unread)).await;
        let held = earlier(unread, unmarked);
        let batch = self.located(before(&found, held), &places);
        if batch.is_empty() {
            return outcome(held);
        }
        let addressed: Vec<Routed> = batch.iter().map(|(_, one)| one.clone()).collect();
        let refused = match self.publish_until_replicated(&addressed).await {
            Some(result) => {
                count(&self.counters.relayed, result.taken);
                count(&self.counters.appended, result.appended);
                self.note_relayed(addressed.iter().take(result.taken));
                batch.get(result.taken).map(|(at, _)| *at)
            }
            None => batch.first().map(|(at, _)| *at),
        };
        outcome(earlier(held, refused))
    }

    fn messages<'a>(&self, records: &'a [Record]) -> Vec<Found<'a>> {
        let mut found = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::Stored(LogEntry::Message(stored)) => {
                    found.push(Found { at, stored: Cow::Borrowed(stored) });
                }
                // Its message has a record of its own.
                Record::Stored(LogEntry::Redirect(_)) | Record::Other => {}
                // This version does not know who must get it.
                Record::Stored(LogEntry::Unknown { .. }) => count(&self.counters.unknown, 1),
                Record::Poisoned(cause) => {
                    count(&self.counters.poisoned, 1);
                    error!(cause = %chain(cause.as_ref()), "a record cannot be read and is skipped");
                }
            }
        }
        found
    }

    /// Reads messages again whose state is not fresh: they may have changed since, and a text that
    /// was deleted is not published. If a read fails, returns the first record that has to wait.
    async fn present_states(&self, found: &mut [Found<'_>]) -> Option<usize> {
        let now = self.clock.now();
        let mut old: BTreeMap<LogId, BTreeSet<MessageId>> = BTreeMap::new();
        let is_old = |one: &Found<'_>| now.since(one.changed_at()) > limits::RELAY_FRESH;
        for one in found.iter().filter(|one| is_old(one)) {
            let message = &one.stored.message;
            old.entry(message.log()).or_default().insert(message.id);
        }
        let mut waits = None;
        for (log, ids) in old {
            let ids: Vec<MessageId> = ids.into_iter().collect();
            let of_log = |one: &&mut Found<'_>| is_old(one) && one.stored.message.is_in(&log);
            for ids in ids.chunks(ENTRIES_READ_MAX) {
                match self.messages.entries(&log, ids).await {
                    Ok(entries) => {
                        for entry in entries {
                            let LogEntry::Message(present) = entry else { continue };
                            let same = |one: &&mut Found<'_>| {
                                of_log(one) && one.stored.message.id == present.message.id
                            };
                            for one in found.iter_mut().filter(same) {
                                one.stored = Cow::Owned(present.clone());
                            }
                        }
                    }
                    Err(err) => {
                        warn!(cause = %chain(&err), "messages cannot be read; their records wait");
                        let first = found.iter_mut().find(of_log).map(|one| one.at);
                        waits = earlier(waits, first);
                    }
                }
            }
        }
        waits
    }

    /// Finds the workspaces of these messages' channels, and reads unknown channels strongly. If a
    /// read fails, also returns the first record that has to wait for it.
    async fn places(&self, found: &[Found<'_>]) -> (Places, Option<usize>) {
        let mut places = Places::new();
        for one in found {
            let channel = &one.stored.message.channel_id;
            if !places.contains_key(channel) {
                places.insert(channel.clone(), self.known.workspace_of(channel));
            }
        }
        let unknown = places.iter().filter(|(_, workspace)| workspace.is_none());
        let unknown: Vec<ChannelId> = unknown.map(|(channel, _)| channel.clone()).collect();
        for (read, ids) in unknown.chunks(CHANNELS_READ_MAX).enumerate() {
            match self.channels.channels(ids).await {
                Ok(channels) => {
                    for channel in channels {
                        self.known.learn(&channel);
                        places.insert(channel.id, Some(channel.workspace_id));
                    }
                }
                Err(err) => {
                    warn!(cause = %chain(&err), "channels cannot be read; their records wait");
                    let unread = unknown.get(read * CHANNELS_READ_MAX..).unwrap_or_default();
                    let waits = |one: &&Found<'_>| unread.contains(&one.stored.message.channel_id);
                    return (places, found.iter().find(waits).map(|one| one.at));
                }
            }
        }
        (places, None)
    }

    /// Marks the channels of late messages before these are published: a client that sees no mark
    /// has not missed them yet. If a write fails, returns the first record that has to wait for it.
    async fn mark_late(&self, found: &[Found<'_>]) -> Option<usize> {
        let now = self.clock.now();
        // A changed message keeps its old id; what counts is when it changed.
        let is_late = |one: &&Found<'_>| now.since(one.changed_at()) > limits::LATE_AGE;
        let mut lowest: BTreeMap<&ChannelId, (MessageId, usize)> = BTreeMap::new();
        for one in found.iter().filter(is_late) {
            let message = &one.stored.message;
            // The change log's entry was minted up to a call's length before the revision.
            let position = if message.is_changed() {
                MessageId::first_of(one.changed_at().minus(limits::SEND_DEADLINE))
            } else {
                message.id
            };
            let entry = lowest.entry(&message.channel_id).or_insert((position, one.at));
            entry.0 = entry.0.min(position);
            count(&self.counters.late, 1);
        }
        let mut held = None;
        for (channel, (id, at)) in lowest {
            let late = LateArrivals { reread_from: id, until: now.plus(limits::LATE_AHEAD) };
            if self.known.is_marked(channel, late) {
                continue;
            }
            match self.channels.mark_late(channel, late).await {
                Ok(Marking::Marked) => {
                    self.known.mark(channel, late);
                    info!(%channel, "messages are relayed late");
                }
                Ok(Marking::Covered) => self.known.forget(channel),
                Err(err) => {
                    warn!(%channel, cause = %chain(&err), "a late mark is not written");
                    held = earlier(held, Some(at));
                }
            }
        }
        held
    }

    fn located(&self, found: &[Found<'_>], places: &Places) -> Vec<(usize, Routed)> {
        let mut located = Vec::with_capacity(found.len());
        for Found { at, stored } in found {
            let channel = &stored.message.channel_id;
            let Some(Some(workspace)) = places.get(channel) else {
                count(&self.counters.poisoned, 1);
                error!(%channel, message = %stored.message.id, "skipping message: channel does not exist");
                continue;
            };
            let publication = Publication::of_message(&stored.message, stored.members_version);
            located.push((*at, (workspace.clone(), publication)));
        }
        located
    }

    /// Runs a batch until a replica has it, or until the server still has no replica after a wait;
    /// `None` if neither happens.
    async fn publish_until_replicated(&self, batch: &[Routed]) -> Option<BatchResult> {
        let mut unacknowledged = false;
        let mut failures = 0;
        for run in 0..limits::RELAY_RUNS_MAX {
            count(&self.counters.reruns, usize::from(run > 0));
            match self.relay_bus.publish_batch(batch).await {
                Ok(result) => match result.replication {
                    Replication::Acknowledged | Replication::Single => {
                        *self.alone_at.lock() = None;
                        return self.report(result);
                    }
                    Replication::Absent if unacknowledged => {
                        if !self.is_alone() {
                            *self.alone_at.lock() = Some(self.clock.now());
                        }
                        count(&self.counters.alone, 1);
                        warn!(
                            messages = batch.len(),
                            "the bus has no replica: relayed without one"
                        );
                        return self.report(result);
                    }
                    Replication::Lagging if unacknowledged => break,
                    // A wait ended without one lately, so do not wait, but resolve the name again.
                    Replication::Absent if self.is_alone() => {}
                    // A replica may be attaching, or the name may soon lead to another server.
                    Replication::Absent => tokio::time::sleep(limits::REPLICA_ABSENT_WAIT).await,
                    Replication::Lagging => {}
                },
                Err(err) => {
                    if let Some(failing) = self.outage.failed(Instant::now()) {
                        let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
                        warn!(failures, lasting_ms, cause = chain(&err), "a batch broke off");
                    }
                    tokio::time::sleep(backoff(limits::BUS_RETRY, failures)).await;
                    failures += 1;
                    continue;
                }
            }
            unacknowledged = true;
        }
        warn!(messages = batch.len(), "no replica has the batch; retrying it");
        None
    }

    fn note_relayed<'a>(&self, relayed: impl Iterator<Item = &'a Routed>) {
        let now = self.clock.now();
        let mut lag = Duration::ZERO;
        for (_, one) in relayed {
            // A changed message keeps its id, whose time says nothing about the change.
            if one.subject.as_ref().is_none_or(Subject::is_first) {
                lag = lag.max(now.since(one.id.time()));
            }
            debug!(message_id = %one.id, "relayed");
        }
        let lag_ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        self.counters.lag_ms.store(lag_ms, Ordering::Relaxed);
    }

    fn is_alone(&self) -> bool {
        let now = self.clock.now();
        self.alone_at.lock().is_some_and(|at| now.since(at) < limits::REPLICA_ABSENT_MEMORY)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the two ways out of a run read alike")]
    fn report(&self, result: BatchResult) -> Option<BatchResult> {
        if let Some(over) = self.outage.succeeded(Instant::now()) {
            let (failures, lasted_ms) = (over.failures, over.lasted_ms());
            info!(failures, lasted_ms, "batches reach the bus again");
        }
        if let Some(refusal) = &result.refusal {
            warn!(cause = %chain(refusal), "the bus refused a message; retrying it");
        }
        Some(result)
    }
}

/// The messages before the held record.
fn before<'a, 'b>(found: &'a [Found<'b>], held: Option<usize>) -> &'a [Found<'b>] {
    let end = held.map_or(found.len(), |held| found.partition_point(|one| one.at < held));
    found.get(..end).unwrap_or(found)
}

fn earlier(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    one.into_iter().chain(other).min()
}

fn outcome(held: Option<usize>) -> Outcome {
    held.map_or(Outcome::Relayed, Outcome::HeldAt)
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Channels per read: the store's own limit.
const CHANNELS_READ_MAX: usize = 100;
/// Messages per read: the same limit.
const ENTRIES_READ_MAX: usize = 100;
