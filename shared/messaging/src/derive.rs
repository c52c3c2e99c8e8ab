//! What follows from stored rows: summaries of reactions and replies, pins that no call has shown,
//! mentions, who follows a thread, and what becomes of files. A second reader of the messages table's stream.
//!
//! **Main path.** [`Deriver::derive`] takes what the records ask for, each once: it counts again
//! whatever the function `amend` left uncounted, because it died or because many react; it counts the
//! replies of a thread into its root; it shows a pin in its message; it writes a row for each member whom
//! a text mentions; it makes those follow a thread who begin it, write in it, or are mentioned in it;
//! and it gives files to the messages that name them, and deletes those of deleted messages and those
//! that lapsed.
//!
//! **Invariants.** Nothing is published here: the relay publishes each new revision. Whatever is
//! derived twice, late or out of order ends the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{
    ChannelId, FileId, LogId, MessageId, MessageRef, ThreadId, UserId, WorkspaceId, chain, limits,
};
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::error::StoreError;
use crate::fold::{Fold, Pace, fold};
use crate::known::KnownChannels;
use crate::pins;
use crate::ports::{
    Acted, AttachmentStore, Cause, ChannelStore, Clock, FileStore, Follow, LogEntry, MemberStore,
    Mention, MentionStore, MessageStore, PinStore, Randomness, Store, StoredMessage, ThreadStore,
};
use crate::relay::Outcome;
use crate::revising::Revising;

/// One record of the messages table's stream.
#[derive(Debug)]
pub enum Record {
    /// A reaction to this message was made or withdrawn.
    Reaction(LogId, MessageId),
    /// This message was pinned or unpinned.
    Pin(LogId, MessageId),
    /// A message was stored, or changed.
    Message(Box<StoredMessage>),
    /// The row of this file expired.
    FileLapsed(ChannelId, FileId),
    /// Another change, from which nothing follows.
    Other,
    /// A record that cannot be read. The cause names no content.
    Poisoned(Cause),
}

/// The ports that a deriver needs.
#[derive(Debug, Clone)]
pub struct DeriverPorts {
    /// The messages table.
    pub messages: Arc<dyn MessageStore>,
    /// Pins.
    pub pins: Arc<dyn PinStore>,
    /// Rows of files.
    pub attachments: Arc<dyn AttachmentStore>,
    /// The bytes of files.
    pub files: Arc<dyn FileStore>,
    /// The channels table.
    pub channels: Arc<dyn ChannelStore>,
    /// The membership tables.
    pub members: Arc<dyn MemberStore>,
    /// Mentions.
    pub mentions: Arc<dyn MentionStore>,
    /// Followed threads.
    pub threads: Arc<dyn ThreadStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
}

impl DeriverPorts {
    /// The ports of a store that has all of them, and of a file store.
    #[must_use]
    pub fn of_store(
        store: Arc<impl Store + 'static>,
        files: Arc<dyn FileStore>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        Self {
            messages: store.clone(),
            pins: store.clone(),
            attachments: store.clone(),
            files,
            channels: store.clone(),
            members: store.clone(),
            mentions: store.clone(),
            threads: store,
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
    /// Users who follow a thread from then on.
    pub following: u64,
    /// Files that were given to the messages that name them.
    pub files_named: u64,
    /// Files whose bytes were deleted.
    pub files_deleted: u64,
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
    known: KnownChannels,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    folded: AtomicU64,
    unchanged: AtomicU64,
    pins_shown: AtomicU64,
    mentioned: AtomicU64,
    following: AtomicU64,
    files_named: AtomicU64,
    files_deleted: AtomicU64,
    poisoned: AtomicU64,
    held: AtomicU64,
}

impl Deriver {
    /// Creates a deriver.
    #[must_use]
    pub fn new(ports: DeriverPorts) -> Self {
        Self(Arc::new(State {
            ports,
            known: KnownChannels::default(),
            counters: Counters::default(),
        }))
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
            following: read(&counters.following),
            files_named: read(&counters.files_named),
            files_deleted: read(&counters.files_deleted),
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
            let tasks = match record {
                Record::Reaction(log, id) => vec![Task::CountReactions(log.clone(), *id)],
                Record::Pin(log, id) => vec![Task::ShowPin(log.clone(), *id)],
                Record::Message(stored) => of_message(stored),
                Record::FileLapsed(channel, file) => vec![Task::DeleteFile(channel.clone(), *file)],
                Record::Other => continue,
                Record::Poisoned(cause) => {
                    self.0.counters.poisoned.fetch_add(1, Ordering::Relaxed);
                    error!(cause = %chain(cause.as_ref()), "a record cannot be read and is skipped");
                    continue;
                }
            };
            for task in tasks {
                first_of.entry(task).or_insert(at);
            }
        }
        first_of
    }
}

/// What follows from records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// Counts a message's reactions.
    CountReactions(LogId, MessageId),
    /// Counts a thread's replies, of which this one was deleted.
    CountReplies(ThreadId, Option<MessageId>),
    /// Shows the last act of pinning in the message's row.
    ShowPin(LogId, MessageId),
    /// Tells those of these users who are members that the message mentions them; in a thread, they
    /// follow it.
    Mention(LogId, MessageId, Vec<UserId>),
    /// Makes the sender of a reply follow its thread.
    Follow(ThreadId, MessageId, UserId),
    /// Gives files to the message that names them.
    NameFiles(LogId, MessageId, Vec<FileId>),
    /// Deletes the files of a deleted message.
    WithdrawFiles(LogId, MessageId, Vec<FileId>),
    /// Deletes the bytes of a file without a row.
    DeleteFile(ChannelId, FileId),
}

/// What a message's row asks for: only a new text brings new mentions, only a new or deleted reply
/// counts, and only a new message names files.
fn of_message(stored: &StoredMessage) -> Vec<Task> {
    let StoredMessage { message, pin_act, files, .. } = stored;
    let (log, id, mut tasks) = (message.log(), message.id, Vec::new());
    let (is_new, is_deleted) = (!message.is_changed(), message.deleted.is_some());
    if is_deleted && pin_act.is_some() {
        tasks.push(Task::ShowPin(log.clone(), id));
    }
    let mut named = message.mentions.users.clone();
    named.retain(|user| *user != message.sender_id);
    if *message.text_rev() == message.rev && !named.is_empty() {
        tasks.push(Task::Mention(log.clone(), id, named));
    }
    if !files.is_empty() && is_deleted {
        tasks.push(Task::WithdrawFiles(log.clone(), id, files.clone()));
    } else if !files.is_empty() && is_new {
        tasks.push(Task::NameFiles(log.clone(), id, files.clone()));
    }
    if let Some(root) = message.thread {
        let thread = ThreadId { root, channel_id: log.channel_id };
        if is_new {
            tasks.push(Task::Follow(thread.clone(), id, message.sender_id.clone()));
        }
        if is_new || is_deleted {
            tasks.push(Task::CountReplies(thread, is_deleted.then_some(id)));
        }
    }
    tasks
}

mod files;

impl State {
    async fn run(&self, task: &Task) -> Result<(), StoreError> {
        match task {
            Task::CountReactions(log, id) => self.count(log, *id, Fold::Reactions).await,
            Task::CountReplies(thread, deleted) => self.count_replies(thread, *deleted).await,
            Task::ShowPin(log, id) => self.show_pin(log, *id).await,
            Task::Mention(log, id, users) => self.mention(log, *id, users).await,
            Task::Follow(thread, reply, sender) => self.follow_sender(thread, *reply, sender).await,
            Task::NameFiles(log, id, files) => self.name_files(log, *id, files).await,
            Task::WithdrawFiles(log, id, files) => self.withdraw_files(log, *id, files).await,
            Task::DeleteFile(channel, file) => self.delete_file(channel, *file).await,
        }
    }

    fn revising(&self) -> Revising<'_> {
        let DeriverPorts { messages, clock, randomness, .. } = &self.ports;
        Revising { messages: &**messages, clock: &**clock, randomness: &**randomness }
    }

    async fn workspace_of(&self, channel: &ChannelId) -> Result<Option<WorkspaceId>, StoreError> {
        if let Some(workspace) = self.known.workspace_of(channel) {
            return Ok(Some(workspace));
        }
        let rows = self.ports.channels.channels(std::slice::from_ref(channel)).await?;
        Ok(rows.into_iter().next().map(|row| {
            self.known.learn(&row);
            row.workspace_id
        }))
    }

    async fn message(
        &self,
        log: &LogId,
        id: MessageId,
    ) -> Result<Option<StoredMessage>, StoreError> {
        Ok(self.ports.messages.entry(log, id).await?.and_then(LogEntry::into_message))
    }

    async fn count(&self, log: &LogId, id: MessageId, what: Fold) -> Result<(), StoreError> {
        let Some(stored) = self.message(log, id).await? else { return Ok(()) };
        self.count_into(stored, what).await
    }

    async fn count_into(&self, stored: StoredMessage, what: Fold) -> Result<(), StoreError> {
        let before = stored.message.rev.clone();
        let after = fold(self.revising(), what, stored, Pace::WhenDue).await?;
        let is_new = after.is_some_and(|after| after.message.rev != before);
        let Counters { folded, unchanged, .. } = &self.counters;
        let counter = if is_new { folded } else { unchanged };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn count_replies(
        &self,
        thread: &ThreadId,
        deleted: Option<MessageId>,
    ) -> Result<(), StoreError> {
        let main = thread.channel_id.clone().into();
        let Some(root) = self.message(&main, thread.root).await? else { return Ok(()) };
        // Before the first count, so that whoever repeats this after a crash does it too.
        if root.counted.is_none() {
            let author = std::slice::from_ref(&root.message.sender_id);
            // Lower than any act of the author: what they did already stays.
            self.follow(thread, author, thread.root, thread.root).await?;
        }
        self.count_into(root, Fold::Replies { deleted }).await
    }

    async fn show_pin(&self, log: &LogId, id: MessageId) -> Result<(), StoreError> {
        let (channel, of) = (&log.channel_id, MessageRef { id, thread: log.thread });
        let pin = pins::last_act(&*self.ports.pins, channel, of).await?;
        let Some((pin, stored)) = pin.zip(self.message(log, id).await?) else { return Ok(()) };
        let before = stored.message.rev.clone();
        match pins::show(self.revising(), stored, &pin).await? {
            None => pins::withdraw(&*self.ports.pins, self.revising(), channel, of).await?,
            Some(after) if after.message.rev != before => {
                self.counters.pins_shown.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn mention(
        &self,
        log: &LogId,
        id: MessageId,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        let channel = &log.channel_id;
        let (workspace_id, members) = tokio::try_join!(self.workspace_of(channel), async {
            Ok(self.ports.members.members_among(channel, users).await?)
        })?;
        let Some(workspace_id) = workspace_id else { return Ok(()) };
        let mention = Mention { id, log: log.clone() };
        let expires_at = id.time().plus(limits::MENTIONS_KEPT);
        let mut writes = Vec::with_capacity(members.len());
        for user in &members {
            let mentions = &self.ports.mentions;
            writes.push(mentions.put_mention(&workspace_id, user, &mention, expires_at));
        }
        let written = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
        written.try_collect::<()>().await?;
        self.counters.mentioned.fetch_add(members.len() as u64, Ordering::Relaxed);
        if let Some(root) = log.thread {
            let thread = ThreadId { root, channel_id: channel.clone() };
            let up_to = id.previous().unwrap_or(id);
            self.follow(&thread, &members, id, up_to).await?;
        }
        Ok(())
    }

    /// Makes the sender of a reply follow its thread, unless they do: most replies are not the first of
    /// their sender, and then a read of half a unit is all.
    async fn follow_sender(
        &self,
        thread: &ThreadId,
        reply: MessageId,
        sender: &UserId,
    ) -> Result<(), StoreError> {
        let Some(workspace) = self.workspace_of(&thread.channel_id).await? else { return Ok(()) };
        let row = self.ports.threads.user_thread(&workspace, sender, thread).await?;
        let renew_before = self.ports.clock.now().plus(limits::FOLLOWED_KEPT / 2);
        if row.is_some_and(|row| row.is_followed && row.expires_at > renew_before) {
            return Ok(());
        }
        self.follow(thread, std::slice::from_ref(sender), reply, reply).await
    }

    /// Makes users follow a thread from this position on, if their last act was before it.
    async fn follow(
        &self,
        thread: &ThreadId,
        users: &[UserId],
        at: MessageId,
        up_to: MessageId,
    ) -> Result<(), StoreError> {
        let Some(workspace) = self.workspace_of(&thread.channel_id).await? else { return Ok(()) };
        let expires_at = self.ports.clock.now().plus(limits::FOLLOWED_KEPT);
        let follow = Follow { act: at.into(), is_followed: true, up_to, expires_at };
        let mut writes = Vec::with_capacity(users.len());
        for user in users {
            writes.push(self.ports.threads.follow(&workspace, user, thread, &follow));
        }
        let written = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
        let acts: Vec<Acted> = written.try_collect().await?;
        let stored = acts.iter().filter(|act| **act == Acted::Stored).count() as u64;
        self.counters.following.fetch_add(stored, Ordering::Relaxed);
        Ok(())
    }
}

/// Tasks that run at the same time: so many that a batch whose messages are all busy ends within the
/// function's time-out.
const TASKS_AT_ONCE: usize = 64;
/// Mentions of one message that are written at the same time.
const WRITES_AT_ONCE: usize = 8;
