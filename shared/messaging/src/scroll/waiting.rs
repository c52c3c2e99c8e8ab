//! What waits to be stored, on a page of a channel that delivers first (ADR 0044).
//!
//! The spool is read before the store: messages move only from there to here, so that the union of both
//! misses none.

use std::collections::BTreeSet;

use model::{Direction, Message, MessageId, limits};

use super::{Page, Scroll};
use crate::app::App;
use crate::error::StoreError;
use crate::ports::{Principal, SpoolEntry};

/// Reads what waits in the channel, in order of ids, each once.
pub(super) async fn waiting(
    app: &App,
    caller: &Principal,
    request: &Scroll,
) -> Result<Vec<Message>, StoreError> {
    let entries = app.spool.waiting(&caller.workspace_id, &request.log.channel_id).await?;
    let stored = entries.iter().filter_map(SpoolEntry::message);
    let mut messages: Vec<Message> = stored.map(|stored| stored.message).collect();
    messages.sort_by_key(|message| message.id);
    messages.dedup_by_key(|message| message.id);
    Ok(messages)
}

/// Adds to a page of the store what waits.
pub(super) fn add(request: &Scroll, page: Page, mut waiting: Vec<Message>) -> Page {
    let known: BTreeSet<MessageId> = page.messages.iter().map(|message| message.id).collect();
    waiting.retain(|message| !known.contains(&message.id));
    match request.direction {
        Direction::Older => older(request, page, waiting),
        Direction::Newer => newer(request, page, waiting),
    }
}

fn older(request: &Scroll, mut page: Page, mut waiting: Vec<Message>) -> Page {
    let is_here = |id: MessageId| {
        request.offset.is_none_or(|offset| id < offset)
            && page.next_offset.is_none_or(|next| id > next)
    };
    waiting.retain(|message| is_here(message.id));
    page.messages.append(&mut waiting);
    page.messages.sort_by_key(|message| std::cmp::Reverse(message.id));
    let cut = cut(&page.messages, request.limit as usize);
    if cut < page.messages.len() {
        page.messages.truncate(cut);
        page.next_offset = page.messages.last().map(|message| message.id);
    }
    page
}

/// The last page has all that waits, whatever its id: it may have been sent while earlier pages were
/// read. What is above the offset is cut like rows of the store.
fn newer(request: &Scroll, mut page: Page, waiting: Vec<Message>) -> Page {
    let is_above = |message: &Message| request.offset.is_none_or(|offset| message.id > offset);
    let (mut above, below): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_above);
    above.retain(|message| page.next_offset.is_none_or(|next| message.id <= next));
    // Messages that changed have their place by the change, and stay.
    let (mut plain, changed): (Vec<_>, Vec<_>) = page.messages.into_iter().partition(is_above);
    plain.append(&mut above);
    plain.sort_by_key(|message| message.id);
    let cut = cut(&plain, request.limit as usize);
    if cut < plain.len() {
        plain.truncate(cut);
        page.next_offset = plain.last().map(|message| message.id);
    }
    let is_last = page.next_offset.is_none();
    page.messages = changed;
    page.messages.extend(plain);
    page.messages.extend(below.into_iter().filter(|_| is_last));
    page
}

/// How many messages fit on a page; at least one.
fn cut(messages: &[Message], limit: usize) -> usize {
    let mut bytes = 0;
    let fits = messages.iter().take(limit).take_while(|message| {
        bytes += message.content_bytes();
        bytes <= limits::PAGE_BYTES_MAX
    });
    fits.count().max(1)
}
