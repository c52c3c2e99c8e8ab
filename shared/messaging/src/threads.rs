//! Threads: a thread is a log of its channel, whose root is a message of the main log.
//!
//! **Main path.** Replies are sent, read and changed like other messages, in a log of their own. The
//! function `derive` counts them into the root's row ([`crate::derive`]), and makes those follow a thread
//! who begin it, write in it, or are mentioned in it.
//!
//! **Invariants.** Members, order and removal are the channel's. Nothing about a thread is unread by a
//! stored number: whether something is new is asked of its log. A user's row about a thread permits
//! nothing: each list asks for the membership.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{
    ChangeId, ChannelId, ErrorCode, Message, MessageId, ThreadId, Timestamp, UserId, limits,
};

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::error::{Refusal, StoreError};
use crate::ports::{
    Follow, LogEntry, NamePage, PageQuery, Principal, ReadError, StoredMessage, UserThread,
};
use crate::react::mark_own;

/// A thread that the caller follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedThread {
    /// Its root, as it is stored.
    pub root: Message,
    /// How far the caller has read it.
    pub up_to: MessageId,
    /// Whether somebody else wrote a reply after that which is not deleted.
    pub is_unread: bool,
}

/// Why a thread is not followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The channel's main log has no such message.
    #[error("the channel has no such message")]
    MessageNotFound,
    /// The store did not acknowledge. Repeating the request is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for FollowError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::MessageNotFound => ErrorCode::MessageNotFound,
            Self::Store(error) => error.code(),
        }
    }
}

impl From<AccessError> for FollowError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

/// Follows a thread, or ceases to. Idempotent. What is in the thread already counts as read, unless the
/// caller has marked it before.
///
/// # Errors
/// [`FollowError`].
///
/// # Cancel safety
/// A dropped call may or may not have stored it.
pub async fn follow(
    app: &App,
    caller: &Principal,
    thread: &ThreadId,
    is_followed: bool,
) -> Result<(), FollowError> {
    check_thread(app, caller, thread).await?;
    let now = app.clock.now();
    let follow = Follow {
        act: ChangeId::mint(now, app.randomness.bits()),
        is_followed,
        up_to: MessageId::last_of(now),
        expires_at: now.plus(limits::FOLLOWED_KEPT),
    };
    let (workspace, me) = (&caller.workspace_id, &caller.user_id);
    app.threads.follow(workspace, me, thread, &follow).await.map_err(StoreError::from)?;
    Ok(())
}

/// Whether the caller may read a thread, and there is one.
pub(crate) async fn check_thread(
    app: &App,
    caller: &Principal,
    thread: &ThreadId,
) -> Result<(), FollowError> {
    let root = root_of(app, &thread.channel_id, thread.root);
    let (channel, root) = tokio::join!(member_channel(app, caller, &thread.channel_id), root);
    channel?;
    root?.map(drop).ok_or(FollowError::MessageNotFound)
}

/// Reads the message that is a thread's root. A message that is there stays there, so a read that may be
/// a second old, which costs half, is enough if it finds it.
pub(crate) async fn root_of(
    app: &App,
    channel_id: &ChannelId,
    root: MessageId,
) -> Result<Option<StoredMessage>, StoreError> {
    let query = PageQuery {
        log: channel_id.clone().into(),
        lowest: root,
        highest: root,
        newest_first: false,
        limit: 1,
        strong: false,
    };
    let page = app.messages.page(&query).await?;
    let entry = match page.entries.into_iter().next() {
        Some(entry) => Some(entry),
        None => app.messages.entry(&query.log, root).await?,
    };
    Ok(entry.and_then(LogEntry::into_message))
}

/// Reads threads that the caller follows, the one with the newest root first, from below a thread
/// (exclusive). There may be fewer than `limit`, even if more follow: some were left, with their channel
/// or alone.
///
/// # Errors
/// [`StoreError`].
pub async fn list_threads(
    app: &App,
    caller: &Principal,
    below: Option<&ThreadId>,
    limit: u32,
) -> Result<(Vec<FollowedThread>, Option<ThreadId>), StoreError> {
    let (workspace, me) = (&caller.workspace_id, &caller.user_id);
    let NamePage { rows, more } = app.threads.user_threads(workspace, me, below, limit).await?;
    let next = rows.last().filter(|_| more).map(|row| row.thread.clone());
    let now = app.clock.now();
    let is_listed = |row: &UserThread| row.is_followed && row.expires_at > now;
    let mut of_channels: BTreeMap<ChannelId, Vec<UserThread>> = BTreeMap::new();
    for row in rows.into_iter().filter(is_listed) {
        of_channels.entry(row.thread.channel_id.clone()).or_default().push(row);
    }
    let mut reads = Vec::with_capacity(of_channels.len());
    for (channel, rows) in &of_channels {
        reads.push(of_channel(app, caller, channel, rows, now));
    }
    let read = stream::iter(reads).buffer_unordered(limits::UNREAD_CHANNELS_AT_ONCE);
    let read: Vec<Vec<FollowedThread>> = read.try_collect().await?;
    let mut threads: Vec<FollowedThread> = read.into_iter().flatten().collect();
    threads.sort_by_cached_key(|thread| {
        std::cmp::Reverse((thread.root.id, thread.root.channel_id.clone()))
    });
    Ok((threads, next))
}

/// The threads of one channel: messages first, then the caller's row, strongly (G6).
async fn of_channel(
    app: &App,
    caller: &Principal,
    channel: &ChannelId,
    rows: &[UserThread],
    now: Timestamp,
) -> Result<Vec<FollowedThread>, StoreError> {
    let roots: Vec<MessageId> = rows.iter().map(|row| row.thread.root).collect();
    let entries = app.messages.entries(&channel.clone().into(), &roots).await?;
    let stored = entries.into_iter().filter_map(LogEntry::into_message);
    let mut roots: Vec<Message> = stored.map(|stored| stored.message).collect();
    let mut threads = Vec::with_capacity(roots.len());
    match member_channel(app, caller, channel).await {
        Ok(_) => {}
        Err(AccessError::NotFound) => return Ok(threads),
        Err(AccessError::Store(error)) => return Err(error),
    }
    mark_own(app, caller, &mut roots).await?;
    for root in roots {
        let Some(row) = rows.iter().find(|row| row.thread.root == root.id) else { continue };
        let may_be = root.replies.as_ref().is_some_and(|replies| replies.last > row.up_to);
        let is_unread = may_be && has_news(app, &caller.user_id, row, now).await?;
        threads.push(FollowedThread { root, up_to: row.up_to, is_unread });
    }
    Ok(threads)
}

/// Whether somebody else's reply, which is not deleted, is after what the user has read.
async fn has_news(
    app: &App,
    me: &UserId,
    row: &UserThread,
    now: Timestamp,
) -> Result<bool, ReadError> {
    let Some(lowest) = row.up_to.next() else { return Ok(false) };
    let highest = MessageId::last_of(now.plus(limits::NEWEST_AHEAD));
    let mut query = PageQuery {
        log: row.thread.log(),
        lowest,
        highest,
        newest_first: false,
        limit: limits::UNREAD_COUNT_MAX,
        strong: true,
    };
    for _ in 0..limits::UNREAD_QUERIES_MAX {
        let page = app.messages.page(&query).await?;
        let last = page.entries.last().map(LogEntry::id);
        let mut messages = page.entries.into_iter().filter_map(LogEntry::into_message);
        if messages.any(|one| one.message.sender_id != *me && one.message.deleted.is_none()) {
            return Ok(true);
        }
        match last.and_then(MessageId::next).filter(|_| page.more) {
            Some(next) => query.lowest = next,
            None => return Ok(false),
        }
    }
    // Too many to look through: own replies and deleted ones.
    Ok(true)
}
