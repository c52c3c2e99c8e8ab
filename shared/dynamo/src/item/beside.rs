//! Rows of the messages table beside the messages' own: reactions, pins, the change log.

use messaging::ports::{LoggedChange, StoredPin, StoredReaction};
use model::{ChangeId, ChannelId, LogId, MessageId, MessageRef, UserId};

use super::{
    ACT, CHANGE, CHANGED, EXPIRES_AT, Item, MalformedRow, PIN_AT, PIN_BY, ROW_KIND, Row, VERSION,
    number,
};
use crate::keys;

/// What a row of the messages table beside a message's own says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowBeside {
    /// A user reacted to it, or withdrew that.
    Reaction,
    /// It was pinned or unpinned.
    Pin,
}

/// The message that a row of reactions or pins is about; `None` for any other row.
#[must_use]
pub fn row_beside(partition: &str, sort_key: &str) -> Option<(LogId, MessageId, RowBeside)> {
    if let Some((id, _, _)) = keys::reaction_parts(sort_key) {
        return Some((LogId::parse(partition).ok()?, id, RowBeside::Reaction));
    }
    let MessageRef { id, thread } = keys::pinned_message(sort_key)?;
    Some((LogId::new(ChannelId::parse(partition).ok()?, thread), id, RowBeside::Pin))
}

pub(crate) fn decode_pin(item: &Item) -> Result<StoredPin, MalformedRow> {
    let row = Row { table: "messages", item };
    Ok(StoredPin {
        of: row.parsed(keys::CREATED_AT, keys::pinned_message)?,
        act: row.parsed(ACT, |text| ChangeId::parse(text).ok())?,
        by: row.parsed(PIN_BY, |text| UserId::parse(text).ok())?,
        at: row.time(PIN_AT)?,
        withdrawn: row.expiry()?,
        members_version: row.number(VERSION)?,
    })
}

pub(crate) fn decode_reaction(item: &Item) -> Result<(MessageId, StoredReaction), MalformedRow> {
    let row = Row { table: "messages", item };
    let (id, user_id, emoji) = row.parsed(keys::CREATED_AT, keys::reaction_parts)?;
    let withdrawn = row.expiry()?;
    let change_id = row.parsed(ACT, |text| ChangeId::parse(text).ok())?;
    let members_version = row.number(VERSION)?;
    Ok((id, StoredReaction { user_id, emoji, change_id, withdrawn, members_version }))
}

pub(crate) fn encode_change(change: &LoggedChange) -> Item {
    let mut item = keys::change(&change.log, change.position);
    item.insert(ROW_KIND.to_owned(), keys::string(CHANGE));
    item.insert(CHANGED.to_owned(), keys::string(change.target.to_string()));
    item.insert(EXPIRES_AT.to_owned(), number(change.expires_at.unix_ms().div_ceil(1_000)));
    item
}

/// An entry of the change log: its position, and the message that it is about.
pub(crate) fn decode_change(item: &Item) -> Result<(MessageId, MessageId), MalformedRow> {
    let row = Row { table: "messages", item };
    let position = row.parsed(keys::CREATED_AT, keys::change_position)?;
    Ok((position, row.parsed(CHANGED, |text| MessageId::parse(text).ok())?))
}
