//! What waits to be stored, on a page of a channel that delivers first (ADR 0044).
//!
//! The spool is read before the store: messages move only from there to here, so that the union of both
//! misses none.

use std::collections::BTreeSet;

use model::{Direction, Message, MessageId, Timestamp, limits};

use super::{Page, Scroll};
use crate::app::App;
use crate::error::StoreError;
use crate::ports::{Principal, SpoolEntry};

/// Reads what waits in the channel, in order of ids, each once.
pub(super) async fn waiting(
    app: &App,
    caller: &Principal,
    request: &Scroll,
) -> Result<Vec<Waiting>, StoreError> {
    let entries = app.spool.waiting(&caller.workspace_id, &request.log.channel_id).await?;
    let waiting = |entry: &SpoolEntry| {
        let (accepted_at, message) = (entry.accepted_at(), entry.message()?.message);
        Some(Waiting { accepted_at, message })
    };
    let mut waiting: Vec<Waiting> = entries.iter().filter_map(waiting).collect();
    waiting.sort_by_key(|waiting| waiting.message.id);
    waiting.dedup_by_key(|waiting| waiting.message.id);
    Ok(waiting)
}

/// A message that waits to be stored.
pub(super) struct Waiting {
    /// By the clock of the bus.
    accepted_at: Timestamp,
    message: Message,
}

/// Adds to a page of the store what waits.
pub(super) fn add(request: &Scroll, page: Page, mut waiting: Vec<Waiting>) -> Page {
    let known: BTreeSet<MessageId> = page.messages.iter().map(|message| message.id).collect();
    waiting.retain(|waiting| !known.contains(&waiting.message.id));
    match request.direction {
        Direction::Older => older(request, page, waiting),
        Direction::Newer => newer(request, page, waiting),
    }
}

fn older(request: &Scroll, mut page: Page, waiting: Vec<Waiting>) -> Page {
    let is_here = |id: MessageId| {
        request.offset.is_none_or(|offset| id < offset)
            && page.next_offset.is_none_or(|next| id > next)
    };
    let waiting = waiting.into_iter().map(|waiting| waiting.message);
    page.messages.extend(waiting.filter(|message| is_here(message.id)));
    page.messages.sort_by_key(|message| std::cmp::Reverse(message.id));
    let cut = cut(&page.messages, request.limit as usize);
    if cut < page.messages.len() {
        page.messages.truncate(cut);
        page.next_offset = page.messages.last().map(|message| message.id);
    }
    page
}

/// Adds the messages that were accepted after the offset's time, even if their ids are below the offset:
/// the reader cannot have them yet. Those with ids above the offset are cut to the limit like rows of the store.
fn newer(request: &Scroll, mut page: Page, waiting: Vec<Waiting>) -> Page {
    let is_above = |message: &Message| request.offset.is_none_or(|offset| message.id > offset);
    let (mut above, mut below): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|waiting| is_above(&waiting.message));
    above.retain(|waiting| page.next_offset.is_none_or(|next| waiting.message.id <= next));
    let is_since = |waiting: &Waiting, offset: MessageId| {
        let since = offset.time().minus(limits::CLOCK_SKEW_MAX);
        waiting.message.id != offset && waiting.accepted_at >= since
    };
    below.retain(|waiting| request.offset.is_some_and(|offset| is_since(waiting, offset)));
    // Messages that changed have their place by the change, and stay.
    let (mut plain, changed): (Vec<_>, Vec<_>) = page.messages.into_iter().partition(is_above);
    plain.extend(above.into_iter().map(|waiting| waiting.message));
    plain.sort_by_key(|message| message.id);
    let cut = cut(&plain, request.limit as usize);
    if cut < plain.len() {
        plain.truncate(cut);
        page.next_offset = plain.last().map(|message| message.id);
    }
    page.messages = changed;
    page.messages.extend(plain);
    page.messages.extend(below.into_iter().map(|waiting| waiting.message));
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
