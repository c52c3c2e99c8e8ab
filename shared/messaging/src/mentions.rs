//! `GET /mentions`: where a user was mentioned lately.
//!
//! **Invariants.** A row says only that a text once named the user, so the message and the caller's
//! membership are read each time (G6): the messages first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{LogId, Message, MessageId, limits};

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::error::StoreError;
use crate::ports::{Mention, NamePage, Principal};
use crate::react::mark_own;
use crate::scroll::cut_to_size;

/// Reads messages that mention the caller, the newest first, from below a mention (exclusive). There
/// may be fewer than `limit`, even if more follow: messages are deleted, and channels left.
///
/// # Errors
/// [`StoreError`].
pub async fn list_mentions(
    app: &App,
    caller: &Principal,
    below: Option<&Mention>,
    limit: u32,
) -> Result<(Vec<Message>, Option<Mention>), StoreError> {
    let NamePage { rows, more } = mentions_of(app, caller, below, limit).await?;
    let mut next = rows.last().filter(|_| more).cloned();
    let mut ids: BTreeMap<LogId, Vec<MessageId>> = BTreeMap::new();
    for Mention { id, log } in rows {
        ids.entry(log).or_default().push(id);
    }
    let mut reads = Vec::with_capacity(ids.len());
    for (log, ids) in &ids {
        reads.push(messages(app, caller, log, ids));
    }
    let read = stream::iter(reads).buffer_unordered(limits::UNREAD_CHANNELS_AT_ONCE);
    let read: Vec<Vec<Message>> = read.try_collect().await?;
    let mut messages: Vec<Message> = read.into_iter().flatten().collect();
    messages.sort_by_cached_key(|message| Reverse((message.id, message.log())));
    if let Some(last) = cut_to_size(&mut messages) {
        next = Some(Mention { id: last.id, log: last.log() });
    }
    Ok((messages, next))
}

/// The caller's mentions that are kept.
pub(crate) async fn mentions_of(
    app: &App,
    caller: &Principal,
    below: Option<&Mention>,
    limit: u32,
) -> Result<NamePage<Mention>, StoreError> {
    let since = app.clock.now().minus(limits::MENTIONS_KEPT);
    let (workspace, me) = (&caller.workspace_id, &caller.user_id);
    Ok(app.mentions.mentions_of(workspace, me, since, below, limit).await?)
}

/// These messages of a log, without deleted ones; none if the caller is not a member.
async fn messages(
    app: &App,
    caller: &Principal,
    log: &LogId,
    ids: &[MessageId],
) -> Result<Vec<Message>, StoreError> {
    let entries = app.messages.entries(log, ids).await?;
    match member_channel(app, caller, &log.channel_id).await {
        Ok(_) => {}
        Err(AccessError::NotFound) => return Ok(Vec::new()),
        Err(AccessError::Store(error)) => return Err(error),
    }
    let stored = entries.into_iter().filter_map(|entry| entry.into_message());
    let mut messages: Vec<Message> = stored.map(|stored| stored.message).collect();
    messages.retain(|message| message.deleted.is_none());
    mark_own(app, caller, &mut messages).await?;
    Ok(messages)
}
