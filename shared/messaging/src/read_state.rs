//! Read state: how far a user has read each channel, and how much is unread (G12).
//!
//! **Main path.** A mark is one conditional update of the user's own row, whose existence is the
//! permission. Only [`mark_unread`] begins an epoch; [`mark_read`] moves a mark forward within the
//! stored one, so that no client can bring a mark to a place that it does not leave again. The
//! user's sockets hear of a mark by a signal, which may be lost. Counts are computed from the log
//! and the mark, and stored nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{
    ChannelId, Epoch, ErrorCode, LogId, Message, MessageId, NewReadMark, ReadMark, ThreadId,
    UnreadCount, UserId, limits,
};

use protocol::signal::Signal;

use crate::app::App;
use crate::error::{Refusal, StoreError};
use crate::mentions::mentions_of;
use crate::ports::{
    ChannelMark, LogEntry, MarkChange, Marked, Mention, NamePage, PageQuery, Principal, ReadError,
    StoredMessage, ThreadMarked,
};
use crate::receipts;
use crate::threads::{FollowError, check_thread};

/// Why a mark was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// No such channel for the caller, in any of the marks.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// This field's id is further ahead than [`limits::READ_AHEAD_MAX`].
    #[error("the id's time is out of range")]
    IdOutOfRange(&'static str),
    /// The last epoch has begun.
    #[error("no epoch is left")]
    LastEpoch,
    /// The store did not acknowledge. Repeating the request is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for MarkError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::IdOutOfRange(_) => ErrorCode::IdOutOfRange,
            Self::LastEpoch => ErrorCode::Forbidden,
            Self::Store(error) => error.code(),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::IdOutOfRange(field) => Some(field),
            Self::ChannelNotFound | Self::LastEpoch | Self::Store(_) => None,
        }
    }
}

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkOutcome {
    /// The mark is this one now.
    Moved(ReadMark),
    /// Nothing moved; the mark is this one.
    Kept(ReadMark),
    /// The caller has no such channel (`channel_not_found`), or the channel no such thread
    /// (`message_not_found`).
    Refused(ErrorCode),
}

/// Moves the caller's marks forward. Returns what became of each, in the order of the marks. Those of
/// the `shared` channels are shown to the other members, where the channel has receipts.
///
/// A mark in a thread moves whether the caller follows it or not. A mark of another epoch than the
/// stored one moves nothing: a lower one comes from a device that does not know that messages were
/// marked unread, and a higher one was never given out.
///
/// # Errors
/// [`MarkError`]; `ChannelNotFound` only if the caller is in none of the channels. After `Store`
/// some may have moved.
///
/// # Cancel safety
/// A dropped call may have moved some of them.
pub async fn mark_read(
    app: &App,
    caller: &Principal,
    marks: &[NewReadMark],
    shared: &BTreeSet<ChannelId>,
) -> Result<Vec<(LogId, MarkOutcome)>, MarkError> {
    if marks.iter().any(|new| is_too_far_ahead(app, new.mark.up_to)) {
        return Err(MarkError::IdOutOfRange("up_to"));
    }
    let mut writes = Vec::with_capacity(marks.len());
    for new in marks {
        writes.push(move_mark(app, caller, new));
    }
    let marked = stream::iter(writes).buffered(limits::READ_MARKS_MAX);
    let marked: Vec<MarkOutcome> = marked.try_collect().await?;
    // A mark that is there already may be from a first attempt that died before its signal.
    let is_there = |(new, marked): &(&NewReadMark, &MarkOutcome)| {
        **marked == MarkOutcome::Moved(new.mark) || **marked == MarkOutcome::Kept(new.mark)
    };
    let moved = marks.iter().zip(&marked).filter(is_there).map(|(new, _)| new.clone());
    let moved: Vec<NewReadMark> = moved.collect();
    signal(app, caller, &moved).await;
    receipts::share(app, caller, &moved, shared).await;
    let is_absent =
        |marked: &MarkOutcome| *marked == MarkOutcome::Refused(ErrorCode::ChannelNotFound);
    if marked.iter().all(is_absent) {
        return Err(MarkError::ChannelNotFound);
    }
    Ok(marks.iter().map(|new| new.log.clone()).zip(marked).collect())
}

async fn move_mark(
    app: &App,
    caller: &Principal,
    NewReadMark { log, mark }: &NewReadMark,
) -> Result<MarkOutcome, StoreError> {
    let Some(root) = log.thread else {
        let marked = change(app, caller, &log.channel_id, MarkChange::read(*mark)).await?;
        return Ok(match marked {
            Marked::Moved(mark) => MarkOutcome::Moved(mark),
            Marked::Kept(mark) => MarkOutcome::Kept(mark),
            Marked::NoRow => MarkOutcome::Refused(ErrorCode::ChannelNotFound),
        });
    };
    let thread = ThreadId { root, channel_id: log.channel_id.clone() };
    match check_thread(app, caller, &thread).await {
        Ok(()) => {}
        Err(FollowError::Store(error)) => return Err(error),
        Err(refused) => return Ok(MarkOutcome::Refused(refused.code())),
    }
    let expires_at = app.clock.now().plus(limits::FOLLOWED_KEPT);
    let (workspace, me, up_to) = (&caller.workspace_id, &caller.user_id, mark.up_to);
    let marked = app.threads.mark_thread(workspace, me, &thread, up_to, expires_at).await?;
    Ok(match marked {
        ThreadMarked::Moved => MarkOutcome::Moved(*mark),
        ThreadMarked::Kept(up_to) => MarkOutcome::Kept(ReadMark { epoch: Epoch::FIRST, up_to }),
    })
}

/// Marks everything from a message on as unread: the first mark of the next epoch, just below it.
/// Not idempotent: a repeated call begins one more epoch, with the same mark.
///
/// # Errors
/// [`MarkError`]. After `Store` it may be marked.
///
/// # Cancel safety
/// A dropped call may or may not have marked it.
pub async fn mark_unread(
    app: &App,
    caller: &Principal,
    channel_id: &ChannelId,
    from: MessageId,
) -> Result<ReadMark, MarkError> {
    if is_too_far_ahead(app, from) {
        return Err(MarkError::IdOutOfRange("from"));
    }
    let up_to = from.previous().unwrap_or(from);
    // Most channels were never marked unread, so the first attempt needs no read before it. If it
    // is refused, the answer has the present epoch.
    let mut present = Epoch::FIRST;
    for _ in 0..limits::UNREAD_ROUNDS_MAX {
        let change = MarkChange::unread(present, up_to).ok_or(MarkError::LastEpoch)?;
        match self::change(app, caller, channel_id, change).await? {
            Marked::Moved(mark) => {
                let moved = NewReadMark { log: channel_id.clone().into(), mark };
                signal(app, caller, &[moved]).await;
                return Ok(mark);
            }
            Marked::NoRow => return Err(MarkError::ChannelNotFound),
            // If this very call had written it, one more epoch does no harm.
            Marked::Kept(mark) => present = mark.epoch,
        }
    }
    Err(StoreError::Busy("the mark changes too often".into()).into())
}

async fn change(
    app: &App,
    caller: &Principal,
    channel_id: &ChannelId,
    change: MarkChange,
) -> Result<Marked, StoreError> {
    let (workspace, me) = (&caller.workspace_id, &caller.user_id);
    Ok(app.read_marks.change_mark(workspace, me, channel_id, change).await?)
}

/// Tells the caller's sockets where marks are now.
async fn signal(app: &App, caller: &Principal, marks: &[NewReadMark]) {
    if !marks.is_empty() {
        let signal = Signal::Read { user_id: caller.user_id.clone(), marks: marks.to_vec() };
        app.publisher().signal(&caller.workspace_id, &signal).await;
    }
}

/// A mark further ahead than the messages that can exist would hide what is sent later.
fn is_too_far_ahead(app: &App, id: MessageId) -> bool {
    id.time() > app.clock.now().plus(limits::READ_AHEAD_MAX)
}

/// A channel's mark, and how many messages after it are unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The channel and its mark.
    pub of: ChannelMark,
    /// Messages of others that are not deleted.
    pub count: UnreadCount,
    /// Those of them that mention the caller, by name or with all members.
    pub mentions: UnreadCount,
}

/// Counts the unread messages of the caller's channels, in order of channel id. Everything that was
/// stored before the call began is counted. A channel whose creation broke off may be among them.
///
/// A member who is removed during the call may still get a number, never a message.
///
/// # Errors
/// [`StoreError`].
pub async fn list_unread(
    app: &App,
    caller: &Principal,
    after: Option<&ChannelId>,
    limit: u32,
) -> Result<(Vec<Unread>, Option<ChannelId>), StoreError> {
    let (workspace, me) = (&caller.workspace_id, &caller.user_id);
    // One more than is asked for: a page that holds the last channels says so, and no call follows it.
    let (NamePage { mut rows, more }, named) = tokio::try_join!(
        async { Ok(app.read_marks.marks_of(workspace, me, after, limit.saturating_add(1)).await?) },
        mentions_of(app, caller, None, limits::MENTION_ROWS_MAX)
    )?;
    let more = more || rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let mut named_in: BTreeMap<ChannelId, BTreeSet<MessageId>> = BTreeMap::new();
    // Replies do not count.
    for Mention { id, log } in named.rows.into_iter().filter(|named| named.log.thread.is_none()) {
        named_in.entry(log.channel_id).or_default().insert(id);
    }
    let next = rows.last().filter(|_| more).map(|row| row.channel_id.clone());
    let mut counts = Vec::with_capacity(rows.len());
    for of in rows {
        let named = named_in.remove(&of.channel_id).unwrap_or_default();
        counts.push(count(app, me, of, named));
    }
    let counts = stream::iter(counts).buffered(limits::UNREAD_CHANNELS_AT_ONCE);
    Ok((counts.try_collect().await?, next))
}

/// Counts what is unread after a mark. `named` are messages of the channel that named the caller once;
/// they count beyond the messages that are read here.
async fn count(
    app: &App,
    me: &UserId,
    of: ChannelMark,
    named: BTreeSet<MessageId>,
) -> Result<Unread, ReadError> {
    let highest = MessageId::last_of(app.clock.now().plus(limits::NEWEST_AHEAD));
    let (mut after, mut unread, mut mentions) = (of.mark.up_to, 0, 0);
    let mut is_complete = false;
    for _ in 0..limits::UNREAD_QUERIES_MAX {
        let Some(lowest) = after.next().filter(|lowest| *lowest <= highest) else {
            is_complete = true;
            break;
        };
        let query = PageQuery {
            log: of.channel_id.clone().into(),
            lowest,
            highest,
            newest_first: false,
            limit: limits::PAGE_ROWS_MAX,
            strong: true,
        };
        let page = app.messages.page(&query).await?;
        for entry in &page.entries {
            let Some(message) = unread_message(entry, me) else { continue };
            unread += 1;
            mentions += u32::from(message.mentions.includes(me));
        }
        let last = page.entries.last().map(LogEntry::id);
        after = last.unwrap_or(highest);
        is_complete = !page.more;
        if is_complete || unread > limits::UNREAD_COUNT_MAX {
            break;
        }
    }
    if !is_complete {
        let beyond = named.range((Excluded(after), Unbounded)).count();
        mentions = mentions.saturating_add(u32::try_from(beyond).unwrap_or(u32::MAX));
    }
    let count = if is_complete { UnreadCount::of(unread) } else { UnreadCount::Over };
    Ok(Unread { of, count, mentions: UnreadCount::of(mentions) })
}

/// The entry's message, if it is another user's and not deleted.
fn unread_message<'a>(entry: &'a LogEntry, me: &UserId) -> Option<&'a Message> {
    match entry {
        LogEntry::Message(StoredMessage { message, .. }) => {
            (message.sender_id != *me && message.deleted.is_none()).then_some(message)
        }
        LogEntry::Redirect(_) | LogEntry::Unknown { .. } => None,
    }
}
