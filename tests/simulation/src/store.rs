//! The model store: tables in memory, with the faults that a remote store shows its callers.

mod devices;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use memory::{MemoryStore, SeededRng};
use messaging::ports::{
    Acted, Appended, Change, ChangePage, ChannelMark, ChannelStore, Creation, Follow, Joined,
    LogEntry, LogPage, LoggedChange, MarkChange, Marked, Marking, MemberStore, Mention,
    MentionStore, MessageStore, NamePage, PageQuery, PinPage, PinStore, ProfileStore, ProfileWrite,
    ReactionPage, ReadError, ReadMarkStore, Redirect, Revised, Revision, RevocationStore, Standing,
    StoredMessage, StoredPin, StoredReaction, ThreadMarked, ThreadStore, UserThread, WriteError,
};
use model::{
    Channel, ChannelId, ChannelUpdate, Emoji, LateArrivals, LogId, Member, MessageId, MessageRef,
    Profile, Rev, ThreadId, Timestamp, UserId, WorkspaceId,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::feed::{Row, TableLog};
use crate::plan::Plan;
use crate::planted::{Planted, as_asked, spoil_revision};

mod attachments;

/// What goes wrong at the store, in percent of its calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StoreTrouble {
    /// Calls that are throttled.
    pub throttled: u64,
    /// Calls that fail before anything is done.
    pub refused: u64,
    /// Writes that happen, but whose answer is lost.
    pub answers_lost: u64,
    /// How much longer a call takes at most, in milliseconds.
    pub slower_ms: u64,
    /// Whether no call is answered. When the silence ends, half of the waiting calls succeed.
    pub silent: bool,
    /// Whether the trouble concerns only nodes; functions still reach their tables.
    pub of_nodes: bool,
    /// How old a read that is not strongly consistent may be, in milliseconds.
    pub stale_ms: u64,
}

/// The store as one process reaches it. All processes see the same tables.
#[derive(Debug, Clone)]
pub(crate) struct SimStore {
    inner: MemoryStore,
    log: TableLog,
    trouble: Arc<Mutex<StoreTrouble>>,
    /// Wakes callers that wait for a silent store, in their order, so that runs are repeatable.
    changed: Arc<Notify>,
    calls: Arc<AtomicU64>,
    rng: SeededRng,
    is_nodes: bool,
    /// The planted bug, if it is one of the store.
    bug: Option<Planted>,
    /// Whether folds are slow to write what they counted.
    slow_folds: bool,
    /// Bug 11: entries of the change log that are not written yet.
    unlogged: Arc<Mutex<Vec<LoggedChange>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("simulated")]
struct Simulated;

enum Mishap {
    None,
    Throttled,
    Refused,
    AnswerLost,
    /// The caller timed out. The call may still be executed.
    Unanswered,
}

impl SimStore {
    /// An empty store whose messages table feeds `log`.
    #[must_use]
    pub(crate) fn new(log: TableLog, rng: SeededRng, plan: &Plan) -> Self {
        Self {
            inner: MemoryStore::new(),
            log,
            trouble: Arc::default(),
            changed: Arc::default(),
            calls: Arc::default(),
            rng,
            is_nodes: false,
            bug: plan.planted,
            slow_folds: plan.slow_folds,
            unlogged: Arc::default(),
        }
    }

    /// The same tables for another process.
    #[must_use]
    pub(crate) fn for_process(&self, is_nodes: bool) -> Self {
        Self { rng: self.rng.fork(), is_nodes, ..self.clone() }
    }

    /// Calls of all processes so far, answered or not.
    #[must_use]
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Sets what goes wrong from now on.
    pub(crate) fn set_trouble(&self, trouble: StoreTrouble) {
        *self.trouble.lock() = trouble;
        self.changed.notify_waiters();
    }

    /// Takes an entry of the change log that is not written yet (bug 11).
    fn unlogged(&self, target: MessageId) -> Option<LoggedChange> {
        let mut unlogged = self.unlogged.lock();
        let at = unlogged.iter().position(|entry| entry.target == target)?;
        Some(unlogged.swap_remove(at))
    }

    /// The trouble that this process sees.
    fn trouble(&self) -> StoreTrouble {
        let trouble = *self.trouble.lock();
        if trouble.of_nodes && !self.is_nodes { StoreTrouble::default() } else { trouble }
    }

    async fn silence_ends(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.trouble().silent {
                return;
            }
            changed.await;
        }
    }

    async fn there(&self) -> Mishap {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let trouble = self.trouble();
        sleep(self.rng.ms(1..=3)).await;
        if trouble.silent {
            let is_answered = timeout(ADAPTER_PATIENCE, self.silence_ends()).await.is_ok();
            return if is_answered && self.rng.one_in(2) {
                Mishap::None
            } else {
                Mishap::Unanswered
            };
        }
        if trouble.slower_ms > 0 {
            sleep(self.rng.ms(0..=trouble.slower_ms)).await;
        }
        let drawn = self.rng.within(1..=100);
        let StoreTrouble { throttled, refused, answers_lost, .. } = trouble;
        match drawn {
            _ if drawn <= throttled => Mishap::Throttled,
            _ if drawn <= throttled + refused => Mishap::Refused,
            _ if drawn <= throttled + refused + answers_lost => Mishap::AnswerLost,
            _ => Mishap::None,
        }
    }

    async fn back(&self) {
        sleep(Duration::from_millis(1)).await;
    }

    async fn write<T>(
        &self,
        write: impl Future<Output = Result<T, WriteError>>,
    ) -> Result<T, WriteError> {
        match self.there().await {
            Mishap::None => {
                let done = write.await;
                self.back().await;
                done
            }
            Mishap::Throttled => Err(WriteError::Throttled(Simulated.into())),
            Mishap::Refused => Err(WriteError::NotStored(Simulated.into())),
            Mishap::AnswerLost => {
                let _lost = write.await.is_ok();
                sleep(LOST_ANSWER).await;
                Err(WriteError::OutcomeUnknown(Simulated.into()))
            }
            Mishap::Unanswered => {
                if self.rng.one_in(2) {
                    let _late = write.await.is_ok();
                }
                Err(WriteError::OutcomeUnknown(Simulated.into()))
            }
        }
    }

    async fn read<T>(
        &self,
        read: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        match self.there().await {
            Mishap::None => {
                let found = read.await;
                self.back().await;
                found
            }
            Mishap::Throttled => Err(ReadError::Throttled(Simulated.into())),
            Mishap::Refused | Mishap::AnswerLost | Mishap::Unanswered => {
                Err(ReadError::Unavailable(Simulated.into()))
            }
        }
    }
}

#[async_trait]
impl MessageStore for SimStore {
    async fn append(&self, stored: &StoredMessage) -> Result<Appended, WriteError> {
        self.write(async {
            let appended = self.inner.append(stored).await?;
            if appended == Appended::Stored {
                self.log.insert(Row::Entry(LogEntry::Message(stored.clone())));
            }
            Ok(appended)
        })
        .await
    }

    async fn append_redirected(
        &self,
        redirect: &Redirect,
        stored: &StoredMessage,
    ) -> Result<Appended, WriteError> {
        self.write(async {
            let appended = self.inner.append_redirected(redirect, stored).await?;
            if appended == Appended::Stored {
                self.log.insert(Row::Entry(LogEntry::Redirect(redirect.clone())));
                self.log.insert(Row::Entry(LogEntry::Message(stored.clone())));
            }
            Ok(appended)
        })
        .await
    }

    async fn entry(&self, log: &LogId, id: MessageId) -> Result<Option<LogEntry>, ReadError> {
        self.read(self.inner.entry(log, id)).await
    }

    async fn entries(&self, log: &LogId, ids: &[MessageId]) -> Result<Vec<LogEntry>, ReadError> {
        self.read(self.inner.entries(log, ids)).await
    }

    async fn log_change(&self, change: &LoggedChange) -> Result<(), WriteError> {
        if self.bug == Some(Planted::RowBeforeLog) {
            self.unlogged.lock().push(change.clone());
            return Ok(());
        }
        self.write(self.inner.log_change(change)).await
    }

    async fn changes(&self, query: &PageQuery) -> Result<ChangePage, ReadError> {
        if self.bug == Some(Planted::CatchUpById) {
            return Ok(ChangePage { changes: Vec::new(), more: false });
        }
        self.read(self.inner.changes(query)).await
    }

    async fn revise(
        &self,
        log: &LogId,
        id: MessageId,
        revision: &Revision,
    ) -> Result<Revised, WriteError> {
        if self.slow_folds && matches!(revision.change, Change::Fold { .. }) && self.rng.one_in(2) {
            sleep(self.rng.ms(0..=4_000)).await;
        }
        self.write(async {
            let present = self.inner.entry(log, id).await.ok().flatten();
            let spoiled = match &present {
                Some(LogEntry::Message(present)) => spoil_revision(self.bug, revision, present),
                _ => revision.clone(),
            };
            let revised = match self.inner.revise(log, id, &spoiled).await? {
                Revised::Done(stored) => Revised::Done(as_asked(self.bug, revision, stored)),
                refused @ Revised::Refused(_) => refused,
            };
            if let Revised::Done(stored) = &revised {
                self.log.insert(Row::Entry(LogEntry::Message(stored.clone())));
                // Half of the functions die before they come to the log.
                if let Some(entry) = self.unlogged(id).filter(|_| self.rng.one_in(2)) {
                    self.inner.log_change(&entry).await?;
                }
            }
            Ok(revised)
        })
        .await
    }

    async fn react(
        &self,
        log: &LogId,
        id: MessageId,
        reaction: &StoredReaction,
    ) -> Result<Acted, WriteError> {
        self.write(async {
            let reacted = self.inner.react(log, id, reaction).await?;
            if reacted == Acted::Stored {
                self.log.insert(Row::Reaction(log.clone(), id));
            }
            Ok(reacted)
        })
        .await
    }

    async fn reactions(
        &self,
        log: &LogId,
        id: MessageId,
        after: Option<(&UserId, &Emoji)>,
        limit: u32,
    ) -> Result<ReactionPage, ReadError> {
        self.read(self.inner.reactions(log, id, after, limit)).await
    }

    async fn reacted_among(
        &self,
        log: &LogId,
        user: &UserId,
        reactions: &[(MessageId, Emoji)],
    ) -> Result<Vec<(MessageId, Emoji)>, ReadError> {
        self.read(self.inner.reacted_among(log, user, reactions)).await
    }

    async fn page(&self, query: &PageQuery) -> Result<LogPage, ReadError> {
        let mut page = self.read(self.inner.page(query)).await?;
        let stale_ms = self.trouble().stale_ms;
        if !query.strong && stale_ms > 0 {
            let age = self.rng.ms(0..=stale_ms);
            page.entries.retain(|entry| self.log.is_older_than(&query.log, entry.id(), age));
        }
        Ok(page)
    }
}

#[async_trait]
impl ChannelStore for SimStore {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.write(self.inner.create(channel)).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.read(self.inner.channels(ids)).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.read(self.inner.standing(channel, user)).await
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        self.write(self.inner.bump_members_version(channel)).await
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.write(self.inner.change_details(channel, update)).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.write(self.inner.mark_late(channel, late)).await
    }
}

#[async_trait]
impl MemberStore for SimStore {
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError> {
        self.write(self.inner.put_members(workspace, channel, members)).await
    }

    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError> {
        self.write(self.inner.delete_member(workspace, channel, user)).await
    }

    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.inner.mark_leaving(workspace, channel, user, at)).await
    }

    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError> {
        self.read(self.inner.was_leaving(workspace, channel, user)).await
    }

    async fn are_settled(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        users: &[UserId],
        as_members: bool,
    ) -> Result<bool, ReadError> {
        self.read(self.inner.are_settled(workspace, channel, users, as_members)).await
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError> {
        self.read(self.inner.members(channel, after, limit)).await
    }

    async fn members_among(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        self.read(self.inner.members_among(channel, users)).await
    }

    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.read(self.inner.channels_of(workspace, user, after, limit)).await
    }

    async fn joined_by(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<Joined>, ReadError> {
        self.read(self.inner.joined_by(workspace, user, after, limit)).await
    }

    async fn list_publicly(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<(), WriteError> {
        self.write(self.inner.list_publicly(workspace, channel)).await
    }

    async fn public_channels(
        &self,
        workspace: &WorkspaceId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.read(self.inner.public_channels(workspace, after, limit)).await
    }
}

#[async_trait]
impl ProfileStore for SimStore {
    async fn list_user(&self, workspace: &WorkspaceId, user: &UserId) -> Result<(), WriteError> {
        self.write(self.inner.list_user(workspace, user)).await
    }

    async fn put_profile(
        &self,
        workspace: &WorkspaceId,
        profile: &Profile,
        expected: Option<&Rev>,
    ) -> Result<ProfileWrite, WriteError> {
        self.write(self.inner.put_profile(workspace, profile, expected)).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, ReadError> {
        self.read(self.inner.profiles(workspace, users)).await
    }

    async fn users(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<UserId>, ReadError> {
        self.read(self.inner.users(workspace, after, limit)).await
    }
}

#[async_trait]
impl MentionStore for SimStore {
    async fn put_mention(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        mention: &Mention,
        expires_at: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.inner.put_mention(workspace, user, mention, expires_at)).await
    }

    async fn mentions_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        since: Timestamp,
        below: Option<&Mention>,
        limit: u32,
    ) -> Result<NamePage<Mention>, ReadError> {
        self.read(self.inner.mentions_of(workspace, user, since, below, limit)).await
    }
}

#[async_trait]
impl PinStore for SimStore {
    async fn pin(&self, channel: &ChannelId, pin: &StoredPin) -> Result<Acted, WriteError> {
        self.write(async {
            let acted = self.inner.pin(channel, pin).await?;
            if acted == Acted::Stored {
                let log = LogId::new(channel.clone(), pin.of.thread);
                self.log.insert(Row::Pin(log, pin.of.id));
            }
            Ok(acted)
        })
        .await
    }

    async fn pins(
        &self,
        channel: &ChannelId,
        from: Option<MessageRef>,
        limit: u32,
    ) -> Result<PinPage, ReadError> {
        self.read(self.inner.pins(channel, from, limit)).await
    }
}

#[async_trait]
impl ThreadStore for SimStore {
    async fn follow(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        follow: &Follow,
    ) -> Result<Acted, WriteError> {
        self.write(self.inner.follow(workspace, user, thread, follow)).await
    }

    async fn mark_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        up_to: MessageId,
        expires_at: Timestamp,
    ) -> Result<ThreadMarked, WriteError> {
        self.write(self.inner.mark_thread(workspace, user, thread, up_to, expires_at)).await
    }

    async fn user_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
    ) -> Result<Option<UserThread>, ReadError> {
        self.read(self.inner.user_thread(workspace, user, thread)).await
    }

    async fn user_threads(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        below: Option<&ThreadId>,
        limit: u32,
    ) -> Result<NamePage<UserThread>, ReadError> {
        self.read(self.inner.user_threads(workspace, user, below, limit)).await
    }
}

#[async_trait]
impl ReadMarkStore for SimStore {
    async fn change_mark(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: &ChannelId,
        change: MarkChange,
    ) -> Result<Marked, WriteError> {
        self.write(self.inner.change_mark(workspace, user, channel, change)).await
    }

    async fn marks_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelMark>, ReadError> {
        self.read(self.inner.marks_of(workspace, user, after, limit)).await
    }
}

#[async_trait]
impl RevocationStore for SimStore {
    async fn revoke(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.inner.revoke(workspace, user, at)).await
    }

    async fn revoked_among(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        self.read(self.inner.revoked_among(workspace, users)).await
    }
}

/// How long a caller waits before it gives up on a lost answer.
const LOST_ANSWER: Duration = Duration::from_millis(900);
/// How long the adapter spends on all attempts of one call.
const ADAPTER_PATIENCE: Duration = Duration::from_secs(5);
