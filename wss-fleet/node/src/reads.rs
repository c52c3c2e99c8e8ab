//! The reads of a workspace's task, from the store and from the stream. The result of each is an
//! input for the workspace's state.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use delivery::{ChannelMembers, History, Input, LoadedUser, RepairId};
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use messaging::ports::{BusError, Entry, LogEntry, PageQuery, ReadError, SpoolEntry, Subscription};
use model::{
    Channel, ChannelId, EntryId, LateArrivals, LogId, Member, Message, MessageId, MessageRef,
    Position, PublicationId, Timestamp, UserId, WorkspaceId, backoff, chain, limits,
};
use protocol::publication::Publication;
use tokio::time::Instant;

use crate::hub::Hub;
use crate::read_queue::{Ended, Failure, Read, Running};

/// Performs a store read. A panic counts as a failure, since publications wait for the result.
pub(crate) async fn read(hub: Arc<Hub>, workspace: WorkspaceId, running: Running) -> Ended {
    let Running { read, started } = running;
    let begun = Instant::now();
    let from = Source { hub: &hub, workspace: &workspace, patience: started.patience };
    let (inputs, failed) = caught(&hub, from.read(&read))
        .await
        .unwrap_or_else(|| (Vec::new(), Some((read, Failure::Refused))));
    if failed.is_some() {
        hub.health.doubt();
    }
    Ended { started, inputs, failed, took: begun.elapsed() }
}

/// The store for one workspace: every call has a timeout and is counted by the node.
struct Source<'a> {
    hub: &'a Hub,
    workspace: &'a WorkspaceId,
    patience: Duration,
}

impl Source<'_> {
    /// Makes one call of the store, once the node has room for it.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, Failure> {
        let permit = self.hub.store.admit().await;
        let answer = tokio::time::timeout(self.patience, call).await;
        drop(permit);
        match answer {
            Ok(Ok(found)) => {
                self.hub.store.answered();
                Ok(found)
            }
            Ok(Err(error)) => {
                self.hub.store.failed(|| chain(&error));
                Err(match error {
                    ReadError::Throttled(_) => Failure::Throttled,
                    ReadError::Unavailable(_) | ReadError::Unreadable(_) => Failure::Refused,
                })
            }
            Err(_elapsed) => {
                self.hub.store.failed(|| format!("no answer within {:?}", self.patience));
                Err(Failure::Silent)
            }
        }
    }

    /// Performs a read; returns the resulting inputs, and the part that failed.
    async fn read(&self, read: &Read) -> (Vec<Input>, Option<(Read, Failure)>) {
        let answer = match read {
            Read::Members(channels) => return self.members_of_many(channels.clone()).await,
            Read::User { user, registration: at } => self.user(user).await.map(|loaded| {
                let (user, loaded) = (user.clone(), Some(loaded));
                Input::UserLoaded { user, registration: *at, loaded }
            }),
            Read::Message { channel, number, id, message } => {
                self.message(channel, *message).await.map(|message| {
                    let (channel, number, id) = (channel.clone(), *number, *id);
                    Input::StoredRead { channel, number, id, message }
                })
            }
            Read::History { repair: id, channel, since } => {
                let history = self.history(channel, *since).await;
                let channel = channel.clone();
                history.map(|history| Input::HistoryRead { id: *id, channel, history })
            }
        };
        match answer {
            Ok(input) => (vec![input], None),
            Err(failure) => (Vec::new(), Some((read.clone(), failure))),
        }
    }

    /// Reads a user's channels and tombstone, strongly.
    async fn user(&self, user: &UserId) -> Result<LoadedUser, Failure> {
        let (members, workspace) = (&self.hub.ports.members, self.workspace);
        let (mut channels, mut joined): (Vec<ChannelId>, Vec<_>) = (Vec::new(), Vec::new());
        let since = self.hub.ports.clock.now().minus(limits::STREAM_TTL);
        loop {
            let (after, limit) = (channels.last().cloned(), limits::PAGE_ROWS_MAX);
            let page = members.joined_by(workspace, user, after.as_ref(), limit);
            let page = self.call(page).await?;
            let lately = page.rows.iter().filter(|row| row.joined_at > since);
            joined.extend(lately.map(|row| (row.channel_id.clone(), row.joined_at)));
            channels.extend(page.rows.into_iter().map(|row| row.channel_id));
            if !page.more {
                break;
            }
        }
        // Read last, so that a revocation that deleted some of these rows is seen.
        let users = std::slice::from_ref(user);
        let revoked = self.hub.ports.revocations.revoked_among(workspace, users);
        let is_revoked = !self.call(revoked).await?.is_empty();
        Ok(LoadedUser { is_revoked, channels, joined })
    }

    /// Reads all channels' versions with one call, and then each channel's rows, strongly (G6).
    /// Results count even if other channels fail.
    async fn members_of_many(
        &self,
        channels: Vec<ChannelId>,
    ) -> (Vec<Input>, Option<(Read, Failure)>) {
        self.hub.metrics.refreshes.inc_by(channels.len() as u64);
        let versions = match self.call(self.hub.ports.channels.channels(&channels)).await {
            Ok(versions) => versions,
            Err(failure) => return (Vec::new(), Some((Read::Members(channels), failure))),
        };
        let rows = channels.into_iter().map(|channel| {
            let version = self.version_in(&versions, &channel);
            async move {
                let members = self.rows_after(&channel, version).await;
                (channel, members)
            }
        });
        let read: Vec<_> = stream::iter(rows).buffer_unordered(MEMBERS_AT_ONCE).collect().await;
        let (mut inputs, mut failed, mut failure) = (Vec::new(), Vec::new(), Failure::Refused);
        for (channel, members) in read {
            match members {
                Ok(members) => inputs.push(Input::Refreshed { channel, members: Some(members) }),
                Err(why) => {
                    failed.push(channel);
                    failure = why;
                }
            }
        }
        (inputs, (!failed.is_empty()).then_some((Read::Members(failed), failure)))
    }

    /// The members version that was read; `None` if the channel does not exist in this workspace.
    fn version_in(&self, found: &[Channel], id: &ChannelId) -> Option<u64> {
        let is_it = |found: &&Channel| found.id == *id && found.workspace_id == *self.workspace;
        found.iter().find(is_it).map(|found| found.members_version)
    }

    async fn channel(&self, id: &ChannelId) -> Result<Vec<Channel>, Failure> {
        self.call(self.hub.ports.channels.channels(std::slice::from_ref(id))).await
    }

    async fn members_of(&self, channel: &ChannelId) -> Result<ChannelMembers, Failure> {
        let found = self.channel(channel).await?;
        self.rows_after(channel, self.version_in(&found, channel)).await
    }

    /// Reads the member rows of a channel whose version was read before.
    async fn rows_after(
        &self,
        channel: &ChannelId,
        version: Option<u64>,
    ) -> Result<ChannelMembers, Failure> {
        let Some(version) = version else {
            // A publication of a channel that does not exist in this workspace has no members here.
            return Ok(ChannelMembers { version: u64::MAX, members: Vec::new() });
        };
        let mut members: Vec<Member> = Vec::new();
        loop {
            let limit = limits::MEMBERS_READ_MAX;
            let after = members.last().map(|member| member.user_id.clone());
            let page = self.hub.ports.members.members(channel, after.as_ref(), limit);
            let page = self.call(page).await?;
            members.extend(page.rows);
            if !page.more {
                return Ok(ChannelMembers { version, members });
            }
        }
    }

    /// Reads what is new or changed in a channel since a time, strongly, and then its members, which
    /// are therefore new enough to judge each message (G6). `None` if there are too many messages.
    async fn history(
        &self,
        channel: &ChannelId,
        since: Timestamp,
    ) -> Result<Option<History>, Failure> {
        let permit = self.hub.backfills.acquire().await;
        self.hub.metrics.backfills.inc();
        // Before the store: messages move only from there to here.
        let waiting = self.waiting_since(channel, since).await?;
        let Some(mut messages) = self.messages_since(channel, since).await? else {
            return Ok(None);
        };
        let stored: BTreeSet<MessageId> = messages.iter().map(|message| message.id).collect();
        messages.extend(waiting.into_iter().filter(|waits| !stored.contains(&waits.id)));
        let members = self.members_of(channel).await?;
        drop(permit);
        Ok(Some(History { messages, members }))
    }

    /// Reads what was accepted in a channel since a time and is not stored yet.
    async fn waiting_since(
        &self,
        channel: &ChannelId,
        since: Timestamp,
    ) -> Result<Vec<Message>, Failure> {
        let waiting = self.hub.ports.spool.waiting(self.workspace, channel);
        let waiting = tokio::time::timeout(self.patience, waiting).await;
        let entries = waiting.or(Err(Failure::Silent))?.or(Err(Failure::Refused))?;
        let lately = entries.iter().filter(|entry| entry.accepted_at() >= since);
        Ok(lately.filter_map(SpoolEntry::message).map(|stored| stored.message).collect())
    }

    async fn messages_since(
        &self,
        channel: &ChannelId,
        since: Timestamp,
    ) -> Result<Option<Vec<Message>>, Failure> {
        let found = self.channel(channel).await?;
        // A mark that was set after the hole began is for a message that may have fallen into it.
        let is_recent = |late: &LateArrivals| late.until > since.plus(limits::OVERLAP);
        let late = found.first().and_then(|found| found.late).filter(is_recent);
        let from_time = MessageId::first_of(since);
        let lowest = late.map_or(from_time, |late| from_time.min(late.reread_from));
        let mut read = LogRead::default();
        let Some(changed) = self.read_log(&channel.clone().into(), lowest, &mut read).await? else {
            return Ok(None);
        };
        // Whatever happens in a thread is logged as a change of its root.
        let roots: Vec<MessageId> = read.roots.intersection(&changed).copied().collect();
        if roots.len() > limits::BACKFILL_THREADS_MAX {
            return Ok(None);
        }
        for root in roots {
            let thread = LogId::new(channel.clone(), Some(root));
            if self.read_log(&thread, lowest, &mut read).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(read.messages))
    }

    /// Reads what is new or changed in a log from an id on: first what changed below it, then what is
    /// above, both in order of their ids. Returns which messages the change log names; `None` if there is
    /// too much to read.
    async fn read_log(
        &self,
        log: &LogId,
        lowest: MessageId,
        read: &mut LogRead,
    ) -> Result<Option<BTreeSet<MessageId>>, Failure> {
        let mut query = PageQuery {
            log: log.clone(),
            lowest,
            highest: MessageId::MAX,
            newest_first: false,
            limit: limits::PAGE_ROWS_MAX,
            strong: true,
        };
        let mut new = LogRead { bytes: read.bytes, ..LogRead::default() };
        loop {
            let page = self.call(self.hub.ports.messages.page(&query)).await?;
            let last = page.entries.last().map(LogEntry::id);
            new.add(page.entries);
            if new.is_too_much(read.messages.len()) {
                return Ok(None);
            }
            match last.and_then(MessageId::next).filter(|_| page.more) {
                Some(next) => query.lowest = next,
                None => break,
            }
        }
        let mut changed = BTreeSet::new();
        query.lowest = lowest;
        loop {
            let page = self.call(self.hub.ports.messages.changes(&query)).await?;
            changed.extend(page.changes.iter().map(|(_, target)| *target));
            if changed.len() > limits::BACKFILL_MESSAGES_MAX {
                return Ok(None);
            }
            let last = page.changes.last().and_then(|(position, _)| position.next());
            match last.filter(|_| page.more) {
                Some(next) => query.lowest = next,
                None => break,
            }
        }
        let mut old = LogRead { bytes: new.bytes, ..LogRead::default() };
        let below: Vec<MessageId> = changed.range(..lowest).copied().collect();
        for ids in below.chunks(ENTRIES_READ_MAX) {
            old.add(self.call(self.hub.ports.messages.entries(log, ids)).await?);
            if old.is_too_much(read.messages.len() + new.messages.len()) {
                return Ok(None);
            }
        }
        old.messages.sort_by_key(|message| message.id);
        read.bytes = old.bytes;
        for mut part in [old, new] {
            read.messages.append(&mut part.messages);
            read.roots.append(&mut part.roots);
        }
        Ok(Some(changed))
    }

    /// Reads a message, strongly; `None` if there is none.
    async fn message(
        &self,
        channel: &ChannelId,
        MessageRef { id, thread }: MessageRef,
    ) -> Result<Option<Message>, Failure> {
        let log = LogId::new(channel.clone(), thread);
        Ok(match self.call(self.hub.ports.messages.entry(&log, id)).await? {
            Some(LogEntry::Message(stored)) => Some(stored.message),
            Some(LogEntry::Redirect(_) | LogEntry::Unknown { .. }) | None => None,
        })
    }
}

/// Messages that were read, and the bytes of their texts.
#[derive(Default)]
struct LogRead {
    messages: Vec<Message>,
    /// Those of them in whose thread somebody ever wrote.
    roots: BTreeSet<MessageId>,
    bytes: usize,
}

impl LogRead {
    fn add(&mut self, entries: Vec<LogEntry>) {
        for stored in entries.into_iter().filter_map(LogEntry::into_message) {
            self.bytes += stored.message.text.as_str().len();
            if stored.counted.is_some() {
                self.roots.insert(stored.message.id);
            }
            self.messages.push(stored.message);
        }
    }

    /// Whether a channel has too much to read, with so many other messages.
    fn is_too_much(&self, others: usize) -> bool {
        self.messages.len() + others > limits::BACKFILL_MESSAGES_MAX
            || self.bytes > limits::BACKFILL_BYTES_MAX
    }
}

/// Reads the stream from its supposed tail on. If the bus does not answer, the next audit tries
/// again; a lost subscription is detected elsewhere.
pub(crate) async fn audit(hub: Arc<Hub>, workspace: WorkspaceId, tail: Position) -> Input {
    let read = hub.ports.bus.entries(&workspace, Some(tail.entry), AUDIT_ENTRIES).await;
    let found = match read {
        Ok(entries) => entries.iter().map(|entry| entry.position).collect(),
        Err(error) => {
            hub.redis_reads.failed(|| format!("audit: {}", chain(&error)));
            vec![tail]
        }
    };
    Input::Audited { tail, found }
}

/// Reads the stream from an entry, inclusive, to its end; retries until it succeeds. An empty
/// stream gets a marker first, so that there always is a position to resume from.
pub(crate) async fn fill(
    hub: Arc<Hub>,
    workspace: WorkspaceId,
    id: RepairId,
    from: Option<EntryId>,
) -> Input {
    let entries = until_done(&hub, "fill", || read_stream(&hub, &workspace, from)).await;
    Input::Filled { id, entries }
}

/// Subscribes, however long it takes: sockets that wait have their own deadline.
pub(crate) async fn subscribe(hub: Arc<Hub>, workspace: WorkspaceId) -> Subscription {
    until_done(&hub, "subscription", || hub.ports.bus.subscribe(&workspace)).await
}

/// Retries a bus call with exponential backoff until it succeeds.
pub(crate) async fn until_done<T, F>(hub: &Hub, what: &'static str, attempt: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, BusError>>,
{
    let mut failures = 0_u32;
    loop {
        match caught(hub, attempt()).await {
            Some(Ok(done)) => {
                hub.redis_reads.succeeded();
                return done;
            }
            Some(Err(error)) => {
                hub.health.doubt();
                hub.redis_reads.failed(|| format!("{what}: {}", chain(&error)));
            }
            None => {}
        }
        tokio::time::sleep(backoff(limits::BUS_RETRY, failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Runs a part of a job; `None` if it panicked, which the panic hook logs.
pub(crate) async fn caught<T>(hub: &Hub, part: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(part).catch_unwind().await.ok();
    if done.is_none() {
        hub.metrics.panics.inc();
    }
    done
}

async fn read_stream(
    hub: &Hub,
    workspace: &WorkspaceId,
    from: Option<EntryId>,
) -> Result<Vec<Entry>, BusError> {
    let bus = &hub.ports.bus;
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = from;
    loop {
        let page = bus.entries(workspace, next, limits::STREAM_READ_ENTRIES_MAX).await?;
        let is_last = page.len() < limits::STREAM_READ_ENTRIES_MAX;
        // Reads are inclusive: a later page starts with the last entry of the page before, unless
        // that was trimmed meanwhile, and unread entries with it.
        let known = entries.last().map(|entry| entry.position);
        if known.is_some() && page.first().map(|entry| entry.position) != known {
            return Err(BusError::Unavailable("the stream was trimmed between two pages".into()));
        }
        entries.extend(page.into_iter().filter(|entry| Some(entry.position) != known));
        if is_last && (from.is_some() || !entries.is_empty()) {
            return Ok(entries);
        }
        if entries.is_empty() {
            let id = PublicationId::mint(hub.now(), hub.ports.randomness.bits());
            bus.publish(workspace, &Publication::marker(id)).await?;
        }
        next = entries.last().map(|entry| entry.position.entry);
    }
}

/// The tail, and whatever follows it.
const AUDIT_ENTRIES: usize = 2;
/// Channels of a batch whose rows are read concurrently.
const MEMBERS_AT_ONCE: usize = 4;
/// Messages per read: the store's own limit.
const ENTRIES_READ_MAX: usize = 100;

#[cfg(test)]
mod tests;
