//! What a workspace's task has done for it: reads of the store and of the stream. Each ends as an
//! input for the workspace's state.

use std::sync::Arc;
use std::time::Duration;

use messaging::ports::{BusError, Entry, LogEntry, PageQuery, ReadError};
use messaging::publisher::chain;
use model::{
    ChannelId, EntryId, Late, Message, MessageId, MessageText, Position, PublicationId, Timestamp,
    UserId, WorkspaceId, limits,
};
use protocol::publication::{Publication, PublicationBody};
use session::{ChannelMembers, History, Input, LoadedUser};

use crate::hub::Hub;

/// Reads a user's channels and tombstone, strongly.
pub(crate) async fn load_user(
    hub: Arc<Hub>,
    workspace: WorkspaceId,
    user: UserId,
    registration: u64,
) -> Input {
    let loaded = retried(&hub, "a user's channels", || user_rows(&hub, &workspace, &user)).await;
    Input::UserLoaded { user, registration, loaded }
}

async fn user_rows(
    hub: &Hub,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Result<LoadedUser, ReadError> {
    let mut channels: Vec<ChannelId> = Vec::new();
    loop {
        let (after, limit) = (channels.last().cloned(), limits::PAGE_ROWS_MAX);
        let members = &hub.parts.members;
        let page = members.channels_of(workspace, user, after.as_ref(), limit).await?;
        channels.extend(page.rows);
        if !page.more {
            break;
        }
    }
    // Last, so that a revocation which deleted some of these rows is seen.
    let revoked =
        hub.parts.revocations.revoked_among(workspace, std::slice::from_ref(user)).await?;
    Ok(LoadedUser { is_revoked: !revoked.is_empty(), channels })
}

/// Reads a channel's version first and its rows last, strongly (G6).
pub(crate) async fn refresh(hub: Arc<Hub>, workspace: WorkspaceId, channel: ChannelId) -> Input {
    hub.metrics.refreshes.inc();
    let members =
        retried(&hub, "a channel's members", || channel_rows(&hub, &workspace, &channel)).await;
    Input::Refreshed { channel, members }
}

async fn channel_rows(
    hub: &Hub,
    workspace: &WorkspaceId,
    channel: &ChannelId,
) -> Result<ChannelMembers, ReadError> {
    let read = hub.parts.channels.channels(std::slice::from_ref(channel)).await?;
    let Some(found) = read.first().filter(|found| found.workspace_id == *workspace) else {
        // A publication of a channel that is not there, or not ours: nobody here is a member.
        return Ok(ChannelMembers { version: u64::MAX, members: Vec::new() });
    };
    let mut members: Vec<UserId> = Vec::new();
    loop {
        let (after, limit) = (members.last().cloned(), limits::MEMBERS_READ_MAX);
        let page = hub.parts.members.members(channel, after.as_ref(), limit).await?;
        members.extend(page.rows.into_iter().map(|member| member.user_id));
        if !page.more {
            return Ok(ChannelMembers { version: found.members_version, members });
        }
    }
}

/// Reads a channel's messages from a time on, strongly, and its members after them, so that they
/// can judge each (G6). `None` if the store does not tell, or there is too much of it.
pub(crate) async fn history(
    hub: Arc<Hub>,
    workspace: WorkspaceId,
    id: u64,
    channel: ChannelId,
    since: Timestamp,
) -> Input {
    let turn = hub.back_fills.acquire().await;
    hub.metrics.back_fills.inc();
    let read = || channel_history(&hub, &workspace, &channel, since);
    let history = retried(&hub, "a channel's history", read).await.flatten();
    drop(turn);
    Input::HistoryRead { id, channel, history }
}

async fn channel_history(
    hub: &Hub,
    workspace: &WorkspaceId,
    channel: &ChannelId,
    since: Timestamp,
) -> Result<Option<History>, ReadError> {
    let Some(messages) = messages_since(hub, channel, since).await? else { return Ok(None) };
    let members = channel_rows(hub, workspace, channel).await?;
    Ok(Some(History { messages, members }))
}

async fn messages_since(
    hub: &Hub,
    channel: &ChannelId,
    since: Timestamp,
) -> Result<Option<Vec<Message>>, ReadError> {
    let found = hub.parts.channels.channels(std::slice::from_ref(channel)).await?;
    // A mark that was set after the hole began stands for a message that may have fallen into it.
    let is_recent = |late: &Late| late.at > since.plus(limits::OVERLAP);
    let late = found.first().and_then(|found| found.late).filter(is_recent);
    let from_time = MessageId::first_of(since);
    let mut query = PageQuery {
        channel_id: channel.clone(),
        lowest: late.map_or(from_time, |late| from_time.min(late.id)),
        highest: MessageId::last_of(Timestamp::MAX),
        newest_first: false,
        limit: limits::PAGE_ROWS_MAX,
        strong: true,
    };
    let (mut messages, mut bytes) = (Vec::new(), 0);
    loop {
        let page = hub.parts.messages.page(&query).await?;
        let last = page.entries.last().map(LogEntry::id);
        for entry in page.entries {
            if let LogEntry::Message(stored) = entry {
                bytes += stored.message.text.as_str().len();
                messages.push(stored.message);
            }
        }
        if messages.len() > limits::BACK_FILL_MESSAGES_MAX || bytes > limits::BACK_FILL_BYTES_MAX {
            return Ok(None);
        }
        match last.and_then(MessageId::next).filter(|_| page.more) {
            Some(next) => query.lowest = next,
            None => return Ok(Some(messages)),
        }
    }
}

/// Looks what the stream holds from its supposed tail on. A bus that does not tell is the next
/// audit's: the link has a watch of its own.
pub(crate) async fn audit(hub: Arc<Hub>, workspace: WorkspaceId, tail: Position) -> Input {
    let read = hub.parts.bus.entries(&workspace, Some(tail.entry), AUDIT_ENTRIES).await;
    let found = match read {
        Ok(entries) => entries.iter().map(|entry| entry.position).collect(),
        Err(error) => {
            tracing::warn!(cause = %chain(&error), "an audit failed");
            vec![tail]
        }
    };
    Input::Audited { tail, found }
}

/// Reads the text of a message that travels by reference, strongly.
pub(crate) async fn read_text(
    hub: Arc<Hub>,
    number: u64,
    channel: ChannelId,
    id: PublicationId,
) -> Input {
    let text = retried(&hub, "a message's text", || text_of(&hub, &channel, id)).await;
    Input::TextRead { number, id, text: text.flatten() }
}

async fn text_of(
    hub: &Hub,
    channel: &ChannelId,
    id: PublicationId,
) -> Result<Option<MessageText>, ReadError> {
    let Ok(id) = MessageId::parse(&id.to_string()) else { return Ok(None) };
    Ok(match hub.parts.messages.entry(channel, id).await? {
        Some(LogEntry::Message(stored)) => Some(stored.message.text),
        Some(LogEntry::Redirect(_)) | None => None,
    })
}

/// Tries a read a few times; `None` if the store does not tell. Never faster than a failing store
/// can take: the wait doubles.
async fn retried<T, F, R>(hub: &Hub, what: &'static str, read: F) -> Option<T>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, ReadError>>,
{
    let mut wait = FIRST_RETRY;
    for _ in 0..limits::STORE_READ_ATTEMPTS_MAX {
        let permit = hub.reads.acquire().await.ok()?;
        let error = match read().await {
            Ok(found) => return Some(found),
            Err(error) => error,
        };
        drop(permit);
        hub.health.doubt();
        tracing::warn!(what, cause = %chain(&error), "a read failed");
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    None
}

/// Reads the stream from an entry, inclusive, to its end; tries until it can. A stream that is
/// empty gets a marker first, so that there always is a position to resume from.
pub(crate) async fn fill(
    hub: Arc<Hub>,
    workspace: WorkspaceId,
    id: u64,
    from: Option<EntryId>,
) -> Input {
    let (mut wait, longest) = limits::BUS_RETRY;
    loop {
        match read_stream(&hub, &workspace, from).await {
            Ok(entries) => return Input::Filled { id, entries },
            Err(error) => {
                hub.health.doubt();
                tracing::warn!(cause = %chain(&error), "a fill failed");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(longest);
    }
}

async fn read_stream(
    hub: &Hub,
    workspace: &WorkspaceId,
    from: Option<EntryId>,
) -> Result<Vec<Entry>, BusError> {
    let bus = &hub.parts.bus;
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = from;
    loop {
        let page = bus.entries(workspace, next, limits::STREAM_READ_ENTRIES_MAX).await?;
        let is_last = page.len() < limits::STREAM_READ_ENTRIES_MAX;
        // Reads are inclusive: the first entry of a later page is the last one of the page before,
        // or it was trimmed meanwhile, and with it others that nobody read.
        let known = entries.last().map(|entry| entry.position);
        if known.is_some() && page.first().map(|entry| entry.position) != known {
            return Err(BusError::Unavailable("the stream was trimmed between two pages".into()));
        }
        entries.extend(page.into_iter().filter(|entry| Some(entry.position) != known));
        if is_last && (from.is_some() || !entries.is_empty()) {
            return Ok(entries);
        }
        if entries.is_empty() {
            let id = PublicationId::mint(hub.now(), hub.parts.randomness.bits());
            bus.publish(workspace, &Publication { id, body: PublicationBody::Marker }).await?;
        }
        next = entries.last().map(|entry| entry.position.entry);
    }
}

/// The tail, and whatever follows it.
const AUDIT_ENTRIES: usize = 2;
const FIRST_RETRY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
