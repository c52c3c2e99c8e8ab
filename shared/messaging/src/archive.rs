//! Storing what was delivered first (G13): takes messages from the spool, appends them to the store, and
//! removes them from the spool, in this order.
//!
//! An archiver that dies leaves its entries to the others: the append is conditional, so that a message
//! that was stored before is only removed.

mod acked;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use model::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId, chain, limits};
use parking_lot::Mutex;
use protocol::receipts::ReceiptsSignal;
use protocol::signal::Signal;
use tokio::time::Instant;
use tracing::{error, info, warn};

use self::acked::{Acked, Verdict};
use crate::circuit::Circuit;
use crate::deliver::{is_late, is_same};
use crate::error::StoreError;
use crate::guarded::Guarded;
use crate::outage::Outage;
use crate::ports::{
    Appended, BusError, Clock, DeviceStore, EventBus, Held, LogEntry, MemberStore, MessageStore,
    Randomness, ReceiptBook, Spool, SpoolEntry, StoredMessage,
};
use crate::revising::Revising;

/// What an archiver works with.
#[derive(Debug, Clone)]
pub struct ArchiverPorts {
    /// The spools.
    pub spool: Arc<dyn Spool>,
    /// Where senders are told.
    pub bus: Arc<dyn EventBus>,
    /// Where messages are stored.
    pub messages: Arc<dyn MessageStore>,
    /// Whose devices must have a message before nobody keeps it.
    pub members: Arc<dyn MemberStore>,
    /// These devices.
    pub devices: Arc<dyn DeviceStore>,
    /// What they have.
    pub receipts: Arc<dyn ReceiptBook>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
}

/// Stores what waits in the spools. Clones share one archiver.
#[derive(Debug, Clone)]
pub struct Archiver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ports: ArchiverPorts,
    /// Tells it apart from other archivers.
    name: String,
    known: Mutex<Known>,
    acked: Acked,
    counted: Counted,
    waiting: Mutex<Option<Waiting>>,
    outage: Outage,
}

/// What an archiver knows of the spools.
#[derive(Debug, Default)]
struct Known {
    looks: HashMap<WorkspaceId, Look>,
    /// When all of them were listed.
    listed_at: Option<Timestamp>,
    /// The last list of those that were noted lately.
    noted_at: Option<Timestamp>,
}

/// The last look at a spool.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Timestamp,
    is_empty: bool,
    /// Some entries were not stored.
    has_failed: bool,
}

/// What an archiver did since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages stored.
    pub archived: u64,
    /// Messages that were stored before.
    pub repeated: u64,
    /// Messages that all devices have, so that they were not stored.
    pub acked: u64,
    /// Messages that cannot be stored, because another one has their id.
    pub conflicts: u64,
    /// Entries that this version cannot read. They stay.
    pub unreadable: u64,
    /// Messages that the store did not take. They stay.
    pub failed: u64,
}

/// What waits in all spools that an archiver knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Age of the oldest entry, in milliseconds. 0: none waits.
    pub oldest_ms: u64,
    /// Bytes in the fullest spool. At [`limits::SPOOL_BYTES_MAX`] it takes nothing more.
    pub bytes_max: u64,
}

#[derive(Debug, Default)]
struct Counted {
    archived: AtomicU64,
    repeated: AtomicU64,
    acked: AtomicU64,
    conflicts: AtomicU64,
    unreadable: AtomicU64,
    failed: AtomicU64,
    lag_ms: AtomicU64,
}

/// What became of an entry.
enum Fate {
    /// It is stored, or all devices have it: it may be removed.
    Settled(MessageId, ChannelId, UserId),
    /// Another message has its id, so it can never be stored: it may be removed.
    Conflicts,
    /// It stays, and is taken again later.
    Stays,
    /// The same, but nothing is wrong: some device may yet say that it has it.
    Waits,
}

impl Archiver {
    /// Creates an archiver.
    #[must_use]
    pub fn new(ports: ArchiverPorts) -> Self {
        let (clock, randomness) = (Arc::clone(&ports.clock), Arc::clone(&ports.randomness));
        let circuit = Arc::new(Circuit::new(clock, randomness));
        let ports = ArchiverPorts {
            messages: Guarded::new(ports.messages, &circuit),
            members: Guarded::new(ports.members, &circuit),
            devices: Guarded::new(ports.devices, &circuit),
            ..ports
        };
        let name = format!("{:032x}", ports.randomness.bits());
        let (known, counted, waiting) = (Mutex::default(), Counted::default(), Mutex::default());
        let outage = Outage::default();
        let acked = Acked::default();
        Self(Arc::new(Shared { ports, name, known, acked, counted, waiting, outage }))
    }

    /// Stores what is there and what comes, for so long. A spool that is full by then is left to the
    /// next run after the batch in hand.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing: what it took is taken again later.
    pub async fn serve(&self, how_long: Duration) {
        let until = Instant::now() + how_long;
        while Instant::now() < until {
            let now = Instant::now();
            match self.turn_until(Some(until)).await {
                Ok(()) => {
                    if let Some(over) = self.0.outage.succeeded(now) {
                        info!(
                            failures = over.failures,
                            lasted_ms = over.lasted_ms(),
                            "spools can be read again"
                        );
                    }
                }
                Err(error) => {
                    if let Some(failing) = self.0.outage.failed(now) {
                        let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
                        warn!(failures, lasting_ms, cause = %chain(&error), "spools cannot be read");
                    }
                }
            }
            tokio::time::sleep(limits::ARCHIVE_POLL).await;
        }
    }

    /// Whether a message was sent lately in a channel that delivers first, in any workspace.
    ///
    /// # Errors
    /// [`BusError`].
    pub async fn is_needed(&self) -> Result<bool, BusError> {
        Ok(!self.0.ports.spool.spools(Timestamp::from_unix_ms(0)).await?.is_empty())
    }

    /// Looks once at every spool that may have something.
    ///
    /// # Errors
    /// [`BusError`] of the list, or of a spool that could not be read.
    pub async fn turn(&self) -> Result<(), BusError> {
        self.turn_until(None).await
    }

    /// The same. After `until`, no spool is asked for more.
    async fn turn_until(&self, until: Option<Instant>) -> Result<(), BusError> {
        let shared = &self.0;
        let now = shared.ports.clock.now();
        let since = shared.list_since(now);
        let spools = shared.ports.spool.spools(since).await?;
        shared.listed(&spools, since, now);
        let mut due = Vec::new();
        for (workspace, noted_at) in spools {
            if shared.is_due(&workspace, noted_at, now) {
                due.push(shared.drain(workspace, noted_at, until));
            }
        }
        let drained = stream::iter(due).buffer_unordered(limits::ARCHIVE_WORKSPACES_AT_ONCE);
        let drained: Vec<Result<(), BusError>> = drained.collect().await;
        drained.into_iter().collect()
    }

    /// Looks at what waits in every spool, without taking anything. [`Archiver::take_waiting`] returns it.
    ///
    /// # Errors
    /// [`BusError`] of the list, or of a spool that could not be read. Then nothing is measured.
    pub async fn measure(&self) -> Result<(), BusError> {
        let ports = &self.0.ports;
        let mut looks = Vec::new();
        for (workspace, _) in ports.spool.spools(Timestamp::from_unix_ms(0)).await? {
            looks.push(self.0.held(workspace));
        }
        let looks = stream::iter(looks).buffer_unordered(limits::ARCHIVE_WORKSPACES_AT_ONCE);
        let looks: Vec<Result<Option<Held>, BusError>> = looks.collect().await;
        let (now, mut waiting) = (ports.clock.now(), Waiting::default());
        for held in looks {
            if let Some(Held { since, bytes }) = held? {
                let age = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
                waiting.oldest_ms = waiting.oldest_ms.max(age);
                waiting.bytes_max = waiting.bytes_max.max(bytes);
            }
        }
        *self.0.waiting.lock() = Some(waiting);
        Ok(())
    }

    /// What waited when it was last measured, unless that was asked before.
    #[must_use]
    pub fn take_waiting(&self) -> Option<Waiting> {
        self.0.waiting.lock().take()
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counted = &self.0.counted;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            archived: count(&counted.archived),
            repeated: count(&counted.repeated),
            acked: count(&counted.acked),
            conflicts: count(&counted.conflicts),
            unreadable: count(&counted.unreadable),
            failed: count(&counted.failed),
        }
    }

    /// The longest time between acceptance and storage since the last call, in milliseconds.
    #[must_use]
    pub fn take_lag_ms(&self) -> u64 {
        self.0.counted.lag_ms.swap(0, Ordering::Relaxed)
    }
}

impl Shared {
    /// From when on noted workspaces are to be listed: all of them now and then, else the latest.
    fn list_since(&self, now: Timestamp) -> Timestamp {
        let known = self.known.lock();
        let is_recent = |at: &Timestamp| *at <= now && now.since(*at) < limits::ARCHIVE_LOOK_EVERY;
        match (known.listed_at.filter(is_recent), known.noted_at) {
            (Some(_), Some(noted_at)) => noted_at.minus(NOTED_BEFORE),
            _ => Timestamp::from_unix_ms(0),
        }
    }

    fn listed(&self, spools: &[(WorkspaceId, Timestamp)], since: Timestamp, now: Timestamp) {
        let mut known = self.known.lock();
        let newest = spools.iter().map(|(_, noted_at)| *noted_at).max();
        known.noted_at = known.noted_at.max(newest);
        if since == Timestamp::from_unix_ms(0) {
            known.listed_at = Some(now);
            let is_there = |known: &WorkspaceId| spools.iter().any(|(there, _)| there == known);
            known.looks.retain(|workspace, _| is_there(workspace));
        }
    }

    /// Whether a spool may have something that this archiver does not know of.
    fn is_due(&self, workspace: &WorkspaceId, noted_at: Timestamp, now: Timestamp) -> bool {
        let look = self.known.lock().looks.get(workspace).copied();
        look.is_none_or(|Look { at, is_empty, has_failed }| {
            if has_failed {
                // Or all that waits would be taken, one batch after the other, and stored by nobody.
                return now < at || now.since(at) >= limits::ARCHIVE_RETRY;
            }
            // The note comes just before what it announces.
            let is_new = at < noted_at.plus(NOTED_BEFORE);
            !is_empty || is_new || now.since(at) >= limits::ARCHIVE_LOOK_EVERY || now < at
        })
    }

    async fn held(&self, workspace: WorkspaceId) -> Result<Option<Held>, BusError> {
        self.ports.spool.held(&workspace).await
    }

    /// Stores what waits in one spool, until it is empty, the store fails, or time is up.
    async fn drain(
        &self,
        workspace: WorkspaceId,
        noted_at: Timestamp,
        until: Option<Instant>,
    ) -> Result<(), BusError> {
        loop {
            let at = self.ports.clock.now();
            let taken =
                self.ports.spool.claim(&workspace, &self.name, limits::ARCHIVE_BATCH_MAX).await?;
            let is_last = taken.len() < limits::ARCHIVE_BATCH_MAX;
            let has_failed = !taken.is_empty() && self.archive(&workspace, taken).await?;
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            if is_last || has_failed || is_over {
                let is_empty = is_last && !has_failed;
                let look = Look { at, is_empty, has_failed };
                self.known.lock().looks.insert(workspace.clone(), look);
                break;
            }
        }
        if self.ports.clock.now().since(noted_at) >= limits::SPOOL_FORGET_AFTER {
            self.ports.spool.forget(&workspace, noted_at).await?;
        }
        Ok(())
    }

    /// Stores entries and removes them; tells their senders. Returns whether some stay.
    async fn archive(
        &self,
        workspace: &WorkspaceId,
        taken: Vec<SpoolEntry>,
    ) -> Result<bool, BusError> {
        let mut fates = Vec::with_capacity(taken.len());
        for entry in taken {
            fates.push(self.store(workspace, entry));
        }
        let fates: Vec<(SpoolEntry, Fate)> =
            stream::iter(fates).buffer_unordered(limits::ARCHIVE_AT_ONCE).collect().await;
        let (mut done, mut stays) = (Vec::new(), false);
        let mut archived: BTreeMap<ChannelId, Vec<(MessageId, UserId)>> = BTreeMap::new();
        for (entry, fate) in fates {
            match fate {
                Fate::Settled(message, channel, sender) => {
                    archived.entry(channel).or_default().push((message, sender));
                    done.push(entry);
                }
                Fate::Conflicts => done.push(entry),
                Fate::Stays => stays = true,
                Fate::Waits => {}
            }
        }
        if !done.is_empty() {
            self.ports.spool.remove(workspace, &done).await?;
        }
        for (channel_id, archived) in archived {
            // If this signal is lost, the sender sends the message again.
            let (delivered, read) = (Vec::new(), Vec::new());
            let receipts = ReceiptsSignal { channel_id, delivered, read, archived };
            let signal = Signal::Receipts(receipts);
            let _told = self.ports.bus.signal(workspace, &signal).await.is_ok();
        }
        Ok(stays)
    }

    async fn store(&self, workspace: &WorkspaceId, entry: SpoolEntry) -> (SpoolEntry, Fate) {
        let fate = self.fate_of(workspace, &entry).await;
        (entry, fate)
    }

    async fn fate_of(&self, workspace: &WorkspaceId, entry: &SpoolEntry) -> Fate {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let Some(stored) = entry.message() else {
            count(&self.counted.unreadable);
            let (entry, publication) = (entry.id, entry.publication.id);
            error!(%workspace, %entry, %publication, "an entry of the spool cannot be read: it stays");
            return Fate::Stays;
        };
        let message = &stored.message;
        let settled =
            || Fate::Settled(message.id, message.channel_id.clone(), message.sender_id.clone());
        // Until then it is nobody's task to store it.
        let mut due_at = entry.accepted_at();
        if entry.is_until_acked() {
            let of = (&message.channel_id, message.id);
            match self.acked.judge(&self.ports, workspace, of, due_at).await {
                Verdict::Acked => {
                    count(&self.counted.acked);
                    return settled();
                }
                Verdict::Wait => return Fate::Waits,
                Verdict::Store => due_at = due_at.plus(limits::ACK_WAIT + limits::ARCHIVE_CLAIM),
            }
        }
        match self.append(entry, &stored).await {
            Ok(Appended::Stored) => {
                count(&self.counted.archived);
                let lag = self.ports.clock.now().since(due_at).as_millis();
                let lag = u64::try_from(lag).unwrap_or(u64::MAX);
                self.counted.lag_ms.fetch_max(lag, Ordering::Relaxed);
            }
            Ok(Appended::Occupied(there)) => match *there {
                LogEntry::Message(there) if is_same(&there.message, message) => {
                    count(&self.counted.repeated);
                }
                LogEntry::Message(_) | LogEntry::Redirect(_) | LogEntry::Unknown { .. } => {
                    count(&self.counted.conflicts);
                    let (channel, id) = (&message.channel_id, message.id);
                    error!(%channel, %id, "a delivered message cannot be stored: its id is taken");
                    return Fate::Conflicts;
                }
            },
            Err(failed) => {
                if count(&self.counted.failed).is_multiple_of(FAILURES_LOGGED) {
                    warn!(cause = %chain(&failed), "the store did not take a delivered message: it stays");
                }
                return Fate::Stays;
            }
        }
        settled()
    }

    async fn append(
        &self,
        entry: &SpoolEntry,
        stored: &StoredMessage,
    ) -> Result<Appended, StoreError> {
        let (message, ports) = (&stored.message, &self.ports);
        if is_late(message.id, entry.accepted_at()) {
            let (messages, clock) = (&*ports.messages, &*ports.clock);
            let revising = Revising { messages, clock, randomness: &*ports.randomness };
            revising.log(&message.log(), message.id, ports.clock.now()).await?;
        }
        Ok(ports.messages.append(stored).await?)
    }
}

/// Between the note of a workspace and what it announces, and between two clocks.
const NOTED_BEFORE: Duration = Duration::from_secs(3);
/// One of so many failures is logged: there may be thousands.
const FAILURES_LOGGED: u64 = 100;
