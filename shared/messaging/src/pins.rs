//! Pins: messages that a channel's members want at hand.
//!
//! **Main path.** [`pin`] stores the act in a row of its own, whose greatest act wins, then shows it
//! in the message's row (G9). If it dies in between, the function `derive` does the second step.
//!
//! **Invariants.** The row of a deleted message is withdrawn: by the deletion if the message shows an
//! act, by an act that comes too late, and by `derive` where one of them died.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{Attribution, ChangeId, ChannelId, LogId, Message, MessageId, MessageRef, limits};
use protocol::publication::{Origin, Publication};

use crate::access::member_channel;
use crate::amend::{AmendError, Target, act_id, actable, own_marked};
use crate::app::App;
use crate::error::StoreError;
use crate::ports::{
    Acted, Change, LogEntry, PinPage, PinStore, Principal, Revised, StoredMessage, StoredPin,
};
use crate::react::mark_own;
use crate::revising::Revising;
use crate::scroll::cut_to_size;

/// What a caller does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinAct {
    /// Whether the message is pinned or unpinned.
    pub is_made: bool,
    /// Of two acts, the one with the greater id wins; by default it is minted.
    pub change_id: Option<ChangeId>,
}

/// A page of pinned messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The newest message first; at most as many as asked for. Fewer even if more follow, where
    /// messages were deleted.
    pub messages: Vec<Message>,
    /// Where the next page starts; `None` if nothing follows.
    pub next_offset: Option<MessageRef>,
}

/// Pins or unpins a message. Any member may. Idempotent.
///
/// # Errors
/// [`AmendError`].
///
/// # Cancel safety
/// A dropped call may or may not have stored, shown or published it.
pub async fn pin(
    app: &App,
    caller: &Principal,
    target: &Target,
    act: PinAct,
    origin: Origin,
) -> Result<Message, AmendError> {
    let Target { log, id } = target;
    let (channel_id, of) = (&log.channel_id, MessageRef { id: *id, thread: log.thread });
    let now = app.clock.now();
    let mut change_id = act_id(app, act.change_id)?;
    let (channel, stored) = actable(app, caller, target, act.is_made).await?;
    if act.change_id.is_none() {
        let last = last_act(&*app.pins, channel_id, of).await?;
        let is_pinned = last.as_ref().is_some_and(|last| last.withdrawn.is_none());
        // A repeated call changes nothing, and whoever pinned it first stays.
        if is_pinned == act.is_made && stored.message.pinned.is_some() == act.is_made {
            return own_marked(app, caller, stored.message).await;
        }
        change_id = above(last.as_ref(), change_id);
    }
    if stored.message.pinned.is_none() {
        match (room_for(app, channel_id, of).await?, act.is_made) {
            (Room::Some, _) | (Room::OfRows, false) | (Room::Unknown, true) => {}
            (Room::OfRows, true) => return Err(AmendError::TooManyPins),
            // There is nothing to unpin, and no room to remember that.
            (Room::Unknown, false) => return own_marked(app, caller, stored.message).await,
        }
    }
    let pin = StoredPin {
        of,
        act: change_id,
        by: caller.user_id.clone(),
        at: now,
        withdrawn: (!act.is_made).then(|| now.plus(limits::WITHDRAWN_TTL)),
        members_version: channel.members_version,
    };
    let acted = app.pins.pin(channel_id, &pin).await.map_err(StoreError::from)?;
    if acted == Acted::Superseded {
        return own_marked(app, caller, stored.message).await;
    }
    let before = stored.message.rev.clone();
    let shown = match show(Revising::of(app), stored, &pin).await {
        Ok(Some(shown)) => shown,
        Ok(None) => {
            withdraw(&*app.pins, Revising::of(app), channel_id, of).await?;
            return Err(AmendError::Deleted);
        }
        // The act is stored: `derive` shows it.
        Err(_) => {
            let entry = app.messages.entry(log, *id).await?;
            entry.and_then(LogEntry::into_message).ok_or(AmendError::MessageNotFound)?
        }
    };
    if shown.message.rev != before {
        let publication =
            Publication::of_message(&shown.message, shown.members_version).with_origin(origin);
        app.publisher().publish(&caller.workspace_id, &publication).await;
    }
    own_marked(app, caller, shown.message).await
}

/// Reads a page of a channel's pinned messages below an offset: the messages first, then the
/// caller's row, strongly (G6).
///
/// # Errors
/// [`AmendError`].
pub async fn list_pins(
    app: &App,
    caller: &Principal,
    channel_id: &ChannelId,
    offset: Option<MessageRef>,
    limit: u32,
) -> Result<Pinned, AmendError> {
    let from = offset.map(MessageRef::previous);
    let (pinned, mut next_offset) = match from {
        // Below the lowest id there is nothing.
        Some(None) => (Vec::new(), None),
        from => standing_from(app, channel_id, from.flatten(), limit).await?,
    };
    let mut of_logs: BTreeMap<LogId, Vec<MessageId>> = BTreeMap::new();
    for MessageRef { id, thread } in pinned {
        of_logs.entry(LogId::new(channel_id.clone(), thread)).or_default().push(id);
    }
    let mut reads = Vec::with_capacity(of_logs.len());
    for (log, ids) in &of_logs {
        reads.push(app.messages.entries(log, ids));
    }
    let reads = stream::iter(reads).buffer_unordered(limits::UNREAD_CHANNELS_AT_ONCE);
    let entries: Vec<Vec<LogEntry>> = reads.try_collect().await?;
    member_channel(app, caller, channel_id).await?;
    let stored = entries.into_iter().flatten().filter_map(LogEntry::into_message);
    let mut messages: Vec<Message> = stored.map(|stored| stored.message).collect();
    messages.retain(|message| message.deleted.is_none());
    messages.sort_by_key(|message| Reverse((message.id, message.thread)));
    if let Some(last) = cut_to_size(&mut messages) {
        next_offset = Some(MessageRef { id: last.id, thread: last.thread });
    }
    mark_own(app, caller, &mut messages).await?;
    Ok(Pinned { messages, next_offset })
}

/// Shows a stored act in the message's row, unless a later one is shown. Returns the message as it is
/// then; `None` if it is deleted or absent.
pub(crate) async fn show(
    revising: Revising<'_>,
    stored: StoredMessage,
    pin: &StoredPin,
) -> Result<Option<StoredMessage>, StoreError> {
    let attribution = Attribution { at: pin.at, by: pin.by.clone() };
    let pinned = pin.withdrawn.is_none().then_some(attribution);
    let mut present = Some(stored);
    for _ in 0..SHOWS_MAX {
        let Some(stored) = present.filter(|stored| stored.message.deleted.is_none()) else {
            return Ok(None);
        };
        if stored.pin_act.is_some_and(|shown| shown >= pin.act) {
            return Ok(Some(stored));
        }
        let change = Change::Pin { pinned: pinned.clone(), act: pin.act };
        match revising.change(&stored, pin.members_version, change).await? {
            Revised::Done(stored) => return Ok(Some(stored)),
            Revised::Refused(entry) => present = entry.and_then(|entry| entry.into_message()),
        }
    }
    Err(StoreError::Busy("the message changes too often to be pinned".into()))
}

/// The last act on a message, read strongly.
pub(crate) async fn last_act(
    pins: &dyn PinStore,
    channel: &ChannelId,
    of: MessageRef,
) -> Result<Option<StoredPin>, StoreError> {
    let page = pins.pins(channel, Some(of), 1).await?;
    Ok(page.rows.into_iter().find(|row| row.of == of))
}

/// A minted act, or one just above the last act, which its client's clock may have dated ahead.
fn above(last: Option<&StoredPin>, minted: ChangeId) -> ChangeId {
    last.and_then(|last| last.act.next()).map_or(minted, |next| next.max(minted))
}

/// Takes a deleted message out of its channel's pins.
pub(crate) async fn withdraw(
    pins: &dyn PinStore,
    revising: Revising<'_>,
    channel: &ChannelId,
    of: MessageRef,
) -> Result<(), StoreError> {
    let last = last_act(pins, channel, of).await?;
    let Some(last) = last.filter(|last| last.withdrawn.is_none()) else { return Ok(()) };
    let now = revising.clock.now();
    let minted = ChangeId::mint(now, revising.randomness.bits());
    let pin = StoredPin {
        act: above(Some(&last), minted),
        at: now,
        withdrawn: Some(now.plus(limits::WITHDRAWN_TTL)),
        ..last
    };
    pins.pin(channel, &pin).await?;
    Ok(())
}

/// Up to `limit` pinned messages from one downwards, and the last one if more follow. Withdrawn rows
/// lie between, until they expire: a few queries are made to pass over them.
async fn standing_from(
    app: &App,
    channel_id: &ChannelId,
    mut from: Option<MessageRef>,
    limit: u32,
) -> Result<(Vec<MessageRef>, Option<MessageRef>), StoreError> {
    let mut ids = Vec::new();
    let mut last = None;
    for _ in 0..limits::PAGE_QUERIES_MAX {
        let page = app.pins.pins(channel_id, from, limit).await?;
        for row in page.rows {
            if ids.len() == limit as usize {
                return Ok((ids, last));
            }
            last = Some(row.of);
            if row.withdrawn.is_none() {
                ids.push(row.of);
            }
        }
        last = last.filter(|_| page.more);
        from = last.and_then(MessageRef::previous);
        if from.is_none() || ids.len() == limit as usize {
            break;
        }
    }
    Ok((ids, last))
}

/// What a channel has room for beside its present pins.
enum Room {
    /// One more pin.
    Some,
    /// One more row, but no pin.
    OfRows,
    /// There are too many rows to count. A pin has room then: nobody stops others by unpinning.
    Unknown,
}

/// What the channel has room for. Pins of other messages count.
async fn room_for(app: &App, channel_id: &ChannelId, of: MessageRef) -> Result<Room, StoreError> {
    let (mut from, mut rows, mut pins) = (None, 0, 0);
    while rows < limits::PIN_ROWS_MAX {
        let page = app.pins.pins(channel_id, from, limits::PAGE_ROWS_MAX).await?;
        rows += page.rows.len();
        pins += standing(&page).filter(|other| *other != of).count();
        // Rows of unpinned messages lie between, until they expire.
        from = page.rows.last().filter(|_| page.more).and_then(|row| row.of.previous());
        if from.is_none() || pins >= limits::PINS_MAX {
            return Ok(if pins < limits::PINS_MAX { Room::Some } else { Room::OfRows });
        }
    }
    Ok(Room::Unknown)
}

fn standing(page: &PinPage) -> impl Iterator<Item = MessageRef> {
    page.rows.iter().filter(|row| row.withdrawn.is_none()).map(|row| row.of)
}

/// How often an act is tried on a message that others change at the same time.
const SHOWS_MAX: usize = 3;
