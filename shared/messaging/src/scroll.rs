//! `GET /scroll`: pages of a channel's history or of a thread's replies, for members only.
//!
//! A `newer` page has what is new or changed after its offset (G11): messages and entries of the
//! change log are merged by position, so that one offset covers both.

mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Channel, Contract, Direction, ErrorCode, KnownMessages, LogId, Message, MessageId, limits,
};

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::contract;
use crate::error::{Refusal, StoreError};
use crate::ports::{LogEntry, PageQuery, Principal, StoredMessage};
use crate::react::mark_own;
use crate::threads::root_of;

/// A request for a page.
#[derive(Debug, Clone)]
pub struct Scroll {
    /// The log.
    pub log: LogId,
    /// Where to start, exclusive; if absent, at the end that `direction` starts from.
    pub offset: Option<MessageId>,
    /// Messages wanted, 1-100.
    pub limit: u32,
    /// The direction to read in.
    pub direction: Direction,
    /// Marks of the messages that the caller claims to have, from the page's beginning on. Those
    /// that it does have are left out.
    pub known: Option<KnownMessages>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for; with `newer`, a message that changed has its place there.
    pub messages: Vec<Message>,
    /// Where the next page starts; `None` if nothing follows in this direction now.
    pub next_offset: Option<MessageId>,
    /// With `newer`: whether all changes of messages at or before the offset are here or on the
    /// pages that follow. The store keeps changes for [`limits::CHANGES_KEPT`].
    pub complete: Option<bool>,
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub enum ScrollError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The channel has no message that is the thread's root.
    #[error("the channel has no such message")]
    MessageNotFound,
    /// The channel keeps no messages.
    #[error("the channel keeps no messages")]
    NotKept,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ScrollError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::MessageNotFound => ErrorCode::MessageNotFound,
            Self::NotKept => ErrorCode::NotKept,
            Self::Store(error) => error.code(),
        }
    }
}

impl From<AccessError> for ScrollError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

/// Reads a page: the messages first, then the caller's row, strongly, so that nobody reads what was
/// sent after they were removed (G6).
///
/// # Errors
/// [`ScrollError`].
pub async fn scroll(app: &App, caller: &Principal, request: Scroll) -> Result<Page, ScrollError> {
    let channel_id = &request.log.channel_id;
    let (mut page, channel) =
        if app.known_contract(channel_id).is_some_and(Contract::delivers_first) {
            read_with_waiting(app, caller, &request).await?
        } else {
            let page = read(app, &request, false).await?;
            let channel = member_channel(app, caller, channel_id).await?;
            // The next page of this channel costs no second read.
            app.learn_contract(channel_id, channel.contract);
            if channel.contract.delivers_first() {
                read_with_waiting(app, caller, &request).await?
            } else {
                (page, channel)
            }
        };
    contract::check_kept(channel.contract).or(Err(ScrollError::NotKept))?;
    if let Some(root) = request.log.thread.filter(|_| page.messages.is_empty())
        && root_of(app, &request.log.channel_id, root).await?.is_none()
    {
        return Err(ScrollError::MessageNotFound);
    }
    page.complete = is_complete(app, &request, &channel);
    mark_own(app, caller, &mut page.messages).await?;
    Ok(page)
}

/// Reads a page of what is stored, and what waits to be.
async fn read_with_waiting(
    app: &App,
    caller: &Principal,
    request: &Scroll,
) -> Result<(Page, Channel), ScrollError> {
    let waiting = waiting::waiting(app, caller, request).await?;
    let page = read(app, request, true).await?;
    let channel = member_channel(app, caller, &request.log.channel_id).await?;
    Ok((waiting::add(request, page, waiting), channel))
}

/// Reads a page of what is stored. `strong` makes each read strong.
async fn read(app: &App, request: &Scroll, strong: bool) -> Result<Page, StoreError> {
    let page = read_page(app, request, strong).await?;
    if request.direction == Direction::Newer && request.offset.is_some() {
        return with_changes(app, request, page).await;
    }
    Ok(page)
}

/// Adds messages at or before the offset that changed after it, where they changed. Messages after
/// it are read in their present state anyway.
async fn with_changes(app: &App, request: &Scroll, page: Page) -> Result<Page, StoreError> {
    let Some((lowest, newest)) = bounds(app, request) else { return Ok(page) };
    let query = PageQuery {
        log: request.log.clone(),
        lowest,
        highest: page.next_offset.unwrap_or(newest),
        newest_first: false,
        limit: limits::PAGE_ROWS_MAX,
        strong: true,
    };
    let read = app.messages.changes(&query).await?;
    if read.changes.is_empty() {
        return Ok(page);
    }
    let mut end = page.next_offset;
    if read.more {
        end = read.changes.last().map(|(position, _)| *position);
    }
    let is_before = |target: &MessageId| request.offset.is_some_and(|offset| *target <= offset);
    let here = |position: MessageId| end.is_none_or(|end| position <= end);
    let mut merged: BTreeMap<MessageId, Placed> = page
        .messages
        .into_iter()
        .filter(|message| here(message.id))
        .map(|message| (message.id, Placed::Read(message)))
        .collect();
    // A message that changed several times has the place of its first change.
    let mut targets = BTreeSet::new();
    for (position, target) in read.changes {
        if is_before(&target) && targets.insert(target) {
            merged.insert(position, Placed::Changed(target));
        }
    }
    let limit = request.limit as usize;
    if merged.len() > limit {
        end = merged.keys().nth(limit - 1).copied();
        merged = merged.into_iter().take(limit).collect();
    }
    let changed: Vec<MessageId> = merged.values().filter_map(Placed::changed).collect();
    let mut states = BTreeMap::new();
    for entry in app.messages.entries(&request.log, &changed).await? {
        if let LogEntry::Message(stored) = entry {
            states.insert(stored.message.id, stored.message);
        }
    }
    let (mut messages, mut last, mut bytes) = (Vec::new(), None, 0);
    for (position, placed) in merged {
        if bytes >= limits::PAGE_BYTES_MAX {
            end = last;
            break;
        }
        last = Some(position);
        let message = match placed {
            Placed::Read(message) => Some(message),
            Placed::Changed(id) => states.remove(&id),
        };
        bytes += message.as_ref().map_or(0, |message| message.content_bytes());
        messages.extend(message);
    }
    Ok(Page { messages, next_offset: end, complete: None })
}

/// What stands at a position of a page.
enum Placed {
    Read(Message),
    /// A change of this message.
    Changed(MessageId),
}

impl Placed {
    const fn changed(&self) -> Option<MessageId> {
        match self {
            Self::Read(_) => None,
            Self::Changed(id) => Some(*id),
        }
    }
}

/// Cuts a page to [`limits::PAGE_BYTES_MAX`] of text, but not to nothing. Returns its last message, if
/// others were cut off.
pub(crate) fn cut_to_size(messages: &mut Vec<Message>) -> Option<&Message> {
    let mut bytes = 0;
    let mut fits = |message: &Message| {
        bytes += message.content_bytes();
        bytes <= limits::PAGE_BYTES_MAX
    };
    let kept = messages.iter().map(&mut fits).take_while(|fits| *fits).count().max(1);
    if kept >= messages.len() {
        return None;
    }
    messages.truncate(kept);
    messages.last()
}

/// Whether the store still has all changes after the offset. A channel that is younger than they
/// are kept has lost none. Where a message may be on devices only, nothing ever changes: clients must not
/// take their copies to be outdated.
fn is_complete(app: &App, request: &Scroll, channel: &Channel) -> Option<bool> {
    let kept_since = app.clock.now().minus(limits::CHANGES_KEPT);
    let has_all = |offset: MessageId| offset.time() >= kept_since;
    let never_changes = channel.contract == Contract::DeliverUntilAcked;
    let is_complete =
        never_changes || channel.created_at >= kept_since || request.offset.is_none_or(has_all);
    (request.direction == Direction::Newer).then_some(is_complete)
}

async fn read_page(app: &App, request: &Scroll, strong: bool) -> Result<Page, StoreError> {
    let limit = request.limit as usize;
    let Some(known) = &request.known else {
        return read_messages(app, request, limit, strong).await;
    };
    // One strong read covers both: the claim is compared with the store, never trusted.
    let mut page = read_messages(app, request, known.count() + limit, strong).await?;
    let mut scan = known.scan(request.offset);
    let mut last = None;
    for message in std::mem::take(&mut page.messages) {
        // If its list is full, the caller may have later messages too, and lists them next time.
        if page.messages.len() == limit || scan.is_used_up() {
            page.next_offset = last;
            break;
        }
        last = Some(message.id);
        if !scan.has(&message.rev) {
            page.messages.push(message);
        }
    }
    Ok(page)
}

/// Reads up to `wanted` messages.
async fn read_messages(
    app: &App,
    request: &Scroll,
    wanted: usize,
    strong: bool,
) -> Result<Page, StoreError> {
    let newest_first = request.direction == Direction::Older;
    let mut page = Page { messages: Vec::new(), next_offset: None, complete: None };
    let Some((mut lowest, mut highest)) = bounds(app, request) else { return Ok(page) };
    let mut bytes = 0;
    let rows_max = u32::try_from(wanted).unwrap_or(u32::MAX).min(limits::PAGE_ROWS_MAX);
    // Redirects take up rows: read on, within bounds, until the page is full or the end is reached.
    for _ in 0..limits::PAGE_QUERIES_MAX {
        let query = PageQuery {
            log: request.log.clone(),
            lowest,
            highest,
            newest_first,
            limit: rows_max,
            strong: strong || !newest_first || request.offset.is_none(),
        };
        let read = app.messages.page(&query).await?;
        page.messages.reserve(read.entries.len());
        let mut last = None;
        for entry in read.entries {
            if page.messages.len() == wanted || bytes >= limits::PAGE_BYTES_MAX {
                page.next_offset = last;
                return Ok(page);
            }
            last = Some(entry.id());
            if let LogEntry::Message(stored) = entry {
                bytes += stored.message.content_bytes();
                page.messages.push(stored.message);
            }
        }
        page.next_offset = last.filter(|_| read.more);
        let has_room = page.messages.len() < wanted && bytes < limits::PAGE_BYTES_MAX;
        let Some(last) = page.next_offset.filter(|_| has_room) else { break };
        let beyond = if newest_first { last.previous() } else { last.next() };
        let Some(beyond) = beyond else { break };
        if newest_first {
            highest = beyond
        } else {
            lowest = beyond
        }
        if lowest > highest {
            page.next_offset = None;
            break;
        }
    }
    Ok(page)
}

/// The lowest and highest id to read, inclusive; `None` if there are none. Reads stop a little
/// ahead of the clock: above every message, but below redirects in the future.
fn bounds(app: &App, request: &Scroll) -> Option<(MessageId, MessageId)> {
    let newest = MessageId::last_of(app.clock.now().plus(limits::NEWEST_AHEAD));
    let (lowest, highest) = match (request.direction, request.offset) {
        (_, None) => (MessageId::MIN, newest),
        (Direction::Older, Some(offset)) => (MessageId::MIN, offset.previous()?.min(newest)),
        (Direction::Newer, Some(offset)) => (offset.next()?, newest),
    };
    (lowest <= highest).then_some((lowest, highest))
}

impl LogEntry {
    /// The message, if it is one.
    #[must_use]
    pub fn into_message(self) -> Option<StoredMessage> {
        match self {
            Self::Message(stored) => Some(stored),
            Self::Redirect(_) | Self::Unknown { .. } => None,
        }
    }

    /// The entry's id, which is its offset in the channel.
    #[must_use]
    pub fn id(&self) -> MessageId {
        match self {
            Self::Message(stored) => stored.message.id,
            Self::Redirect(redirect) => redirect.id,
            Self::Unknown { id, .. } => *id,
        }
    }
}
