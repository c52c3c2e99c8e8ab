//! The codec between rows and the model.
//!
//! Attribute names outside the keys are one letter. A write unit is 1 KiB of names and values, so a
//! text of 800 bytes then costs one unit, whatever the sender's id.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use messaging::ports::{ChannelMark, Folded, Joined, LogEntry, Mention, Redirect, StoredMessage};
use model::{
    Attribution, ChangeId, ChannelId, Edit, Emoji, LogId, Member, Mentions, Message, MessageId,
    MessageText, Profile, Reaction, ReadMark, Rev, SeenDevices, TextDigest, Timestamp, UserId,
};

use crate::keys;

mod attachments;
mod beside;
mod channel;
mod threads;

pub use attachments::file_row;
pub(crate) use attachments::{FILE_DETAILS, NAMED_BY, decode_attachment, encode_attachment};
pub use beside::{RowBeside, row_beside};
pub(crate) use beside::{decode_change, decode_pin, decode_reaction, encode_change};
pub(crate) use channel::{decode_channel, encode_channel};
pub(crate) use threads::{decode_user_thread, encode_counted, encode_replies};

/// A row.
pub(crate) type Item = HashMap<String, AttributeValue>;

// Messages. A row with a kind is a tombstone, an entry of the change log, or was written by a later
// version: versions that do not know a kind pass over the row. Of the others, a row with a target
// is a redirect, and any other is a message.
pub(crate) const ROW_KIND: &str = "k";
/// The kind of a deleted message's row.
pub(crate) const TOMBSTONE: &str = "deleted";
/// The kind of a change log's entry.
pub(crate) const CHANGE: &str = "change";
pub(crate) const SENDER: &str = "s";
pub(crate) const TEXT: &str = "t";
pub(crate) const TARGET: &str = "r";
pub(crate) const DIGEST: &str = "d";
/// A message's revision; absent if the message never changed.
pub(crate) const REV: &str = "e";
/// The id and the revision of a text's last edit; absent if it was never edited.
pub(crate) const EDIT: &str = "te";
pub(crate) const TEXT_REV: &str = "tr";
/// Tombstones: who deleted the message, and when, in milliseconds.
pub(crate) const DELETED_BY: &str = "g";
pub(crate) const DELETED_AT: &str = "ga";
/// The summary of a message's reactions, as JSON, and what it was counted from; absent if nothing
/// was counted.
pub(crate) const REACTIONS: &str = "q";
pub(crate) const FOLDED: &str = "qd";
/// Whom a message's text mentions: users' ids with a space between them, and `*` for all members.
/// Absent: nobody.
pub(crate) const MENTIONS: &str = "m";
/// Who pinned or unpinned a message, and when, in milliseconds: in a pin's row, and in the message's
/// row while it is pinned.
pub(crate) const PIN_BY: &str = "pb";
pub(crate) const PIN_AT: &str = "pa";
/// The last act of pinning or unpinning that a message's row shows.
pub(crate) const PIN_ACT: &str = "pc";
/// The summary of a root's replies, and what it was counted from, both as JSON; absent if nothing was
/// counted.
pub(crate) const REPLIES: &str = "n";
pub(crate) const COUNTED: &str = "nd";
/// The message that a message quotes.
pub(crate) const QUOTE: &str = "qt";
/// The kinds of a reaction's and of a pin's row.
pub(crate) const REACTION: &str = "reaction";
pub(crate) const PIN: &str = "pin";
/// The id of the act that a reaction's or a pin's row keeps.
pub(crate) const ACT: &str = "c";
/// The message that an entry of the change log is about.
pub(crate) const CHANGED: &str = "i";
/// Epoch seconds: the table's time-to-live attribute.
pub(crate) const EXPIRES_AT: &str = "x";

/// The `members_version` of a channel, or the one that a message's send read.
pub(crate) const VERSION: &str = "v";

// Channels.
pub(crate) const WORKSPACE: &str = "w";
pub(crate) const KIND: &str = "k";
pub(crate) const NAME: &str = "n";
pub(crate) const CONTRACT: &str = "c";
pub(crate) const MADE_AT: &str = "a";
pub(crate) const MADE_BY: &str = "b";
pub(crate) const LATE_ID: &str = "l";
pub(crate) const LATE_AT: &str = "m";
/// Absent: private.
pub(crate) const VISIBILITY: &str = "u";
/// Absent: empty.
pub(crate) const TOPIC: &str = "t";
/// Absent: not archived.
pub(crate) const ARCHIVED: &str = "r";
/// The number of changes of name, topic and `r`. Absent: 1.
pub(crate) const DETAILS_VERSION: &str = "d";

// Profiles. A text that the user never set is absent.
pub(crate) const PROFILE_REV: &str = "e";
pub(crate) const PROFILE_NAME: &str = "n";
pub(crate) const AVATAR: &str = "v";
pub(crate) const STATUS: &str = "s";
pub(crate) const STATUS_EMOJI: &str = "i";
pub(crate) const TIME_ZONE: &str = "z";

/// Memberships and user_channels: when the user joined, in milliseconds.
pub(crate) const JOINED_AT: &str = "j";
/// How far a user has read a channel; absent until the first mark.
pub(crate) const READ_MARK: &str = "rd";
/// Whether a user follows a thread; absent if they only read it.
pub(crate) const FOLLOWED: &str = "f";
/// A user's devices, each with when it was seen, as [`SeenDevices`] writes them.
pub(crate) const DEVICES: &str = "ds";
/// Tombstones: when the user was revoked, in milliseconds.
pub(crate) const REVOKED_AT: &str = "a";
/// When a user last began to leave.
pub(crate) const LEAVING_AT: &str = "l";

/// A row that cannot be read. Names the attribute, never its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of {table} has no well-formed attribute `{attribute}`")]
pub struct MalformedRow {
    /// The table, without prefix.
    pub table: &'static str,
    /// The attribute that is absent or malformed.
    pub attribute: &'static str,
}

pub(crate) fn encode_message(stored: &StoredMessage) -> Item {
    let message = &stored.message;
    let mut item = keys::message(&message.log(), message.id);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put(SENDER, keys::string(message.sender_id.as_str()));
    put(VERSION, number(stored.members_version));
    if message.is_changed() {
        put(REV, keys::string(message.rev.to_string()));
    }
    if let Some(Edit { rev, change_id }) = &message.edit {
        put(EDIT, keys::string(change_id.to_string()));
        put(TEXT_REV, keys::string(rev.to_string()));
    }
    // By this attribute the stream's filter knows replies, too: it has no room for another one.
    if !message.mentions.is_empty() || message.thread.is_some() {
        put(MENTIONS, encode_mentions(&message.mentions));
    }
    if !message.reactions.is_empty() {
        put(REACTIONS, encode_reactions(&message.reactions));
    }
    if let Some(folded) = stored.folded {
        put(FOLDED, encode_folded(folded));
    }
    if let Some(Attribution { at, by }) = &message.pinned {
        put(PIN_BY, keys::string(by.as_str()));
        put(PIN_AT, number(at.unix_ms()));
    }
    if let Some(act) = stored.pin_act {
        put(PIN_ACT, keys::string(act.to_string()));
    }
    if let Some(quote) = message.quote {
        put(QUOTE, keys::string(quote.to_string()));
    }
    match &message.deleted {
        None => put(TEXT, keys::string(message.text.as_str())),
        Some(Attribution { at, by }) => {
            put(ROW_KIND, keys::string(TOMBSTONE));
            put(DELETED_BY, keys::string(by.as_str()));
            put(DELETED_AT, number(at.unix_ms()))
        }
    };
    if let Some(expires_at) = stored.expires_at {
        // Rounded up, so that the store never deletes it early.
        put(EXPIRES_AT, number(expires_at.unix_ms().div_ceil(1_000)));
    }
    attachments::encode_files(stored, &mut |name, value| drop(put(name, value)));
    threads::encode_summary(stored, &mut item);
    item
}

pub(crate) fn encode_mentions(Mentions { users, all }: &Mentions) -> AttributeValue {
    let names = users.iter().map(UserId::as_str).chain(all.then_some(ALL));
    keys::string(names.collect::<Vec<_>>().join(" "))
}

/// A name in the form of a later version is left out.
fn decode_mentions(text: &str) -> Mentions {
    let users = text.split(' ').filter_map(|name| UserId::parse(name).ok()).collect();
    Mentions { users, all: text.split(' ').any(|name| name == ALL) }
}

/// Stands for all members. No user's id has a `*`.
const ALL: &str = "*";

/// A summary as compact JSON: `[[emoji, count, [users]]]`.
pub(crate) fn encode_reactions(reactions: &[Reaction]) -> AttributeValue {
    let rows = reactions.iter().map(|Reaction { emoji, count, users, mine: _ }| {
        let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
        serde_json::json!([emoji.as_str(), count, users])
    });
    keys::string(serde_json::Value::from_iter(rows).to_string())
}

fn decode_reactions(text: &str) -> Option<Vec<Reaction>> {
    let rows: Vec<(String, u64, Vec<String>)> = serde_json::from_str(text).ok()?;
    let reaction = |(emoji, count, users): (String, u64, Vec<String>)| {
        let users = users.iter().map(|user| UserId::parse(user).ok()).collect::<Option<_>>()?;
        Some(Reaction { emoji: Emoji::parse(&emoji).ok()?, count, users, mine: None })
    };
    rows.into_iter().map(reaction).collect()
}

/// The digest, then the number of rows, then the time in milliseconds; big endian.
pub(crate) fn encode_folded(Folded { digest, rows, at }: Folded) -> AttributeValue {
    let parts = [&digest[..], &rows.to_be_bytes(), &at.unix_ms().to_be_bytes()];
    AttributeValue::B(Blob::new(parts.concat()))
}

fn decode_folded(bytes: &[u8]) -> Option<Folded> {
    let (digest, rest) = bytes.split_first_chunk::<8>()?;
    let (rows, at) = rest.split_first_chunk::<4>()?;
    let at = Timestamp::from_unix_ms(u64::from_be_bytes(at.try_into().ok()?));
    Some(Folded { digest: *digest, rows: u32::from_be_bytes(*rows), at })
}

pub(crate) fn encode_redirect(redirect: &Redirect) -> Item {
    let mut item = keys::message(&redirect.log, redirect.id);
    item.insert(TARGET.to_owned(), keys::string(redirect.target.to_string()));
    item.insert(SENDER.to_owned(), keys::string(redirect.sender_id.as_str()));
    item.insert(DIGEST.to_owned(), AttributeValue::B(Blob::new(redirect.digest.0)));
    // Rounded up, so that the store never deletes it early.
    let expires_s = redirect.expires_at.unix_ms().div_ceil(1_000);
    item.insert(EXPIRES_AT.to_owned(), number(expires_s));
    item
}

/// Reads a row of the messages table, from a read or from the table's stream.
///
/// # Errors
/// [`MalformedRow`] if it has no kind and is neither a message nor a redirect.
pub fn decode_log_entry(item: &HashMap<String, AttributeValue>) -> Result<LogEntry, MalformedRow> {
    let row = Row { table: "messages", item };
    let log = row.parsed(keys::CHANNEL_ID, |text| LogId::parse(text).ok())?;
    let id = row.parsed(keys::CREATED_AT, |text| MessageId::parse(text).ok())?;
    let is_deleted = match item.get(ROW_KIND) {
        None => false,
        Some(AttributeValue::S(kind)) if kind == TOMBSTONE => true,
        Some(_) => return Ok(LogEntry::Unknown { log, id }),
    };
    let sender_id = row.parsed(SENDER, |text| UserId::parse(text).ok())?;
    if item.contains_key(TARGET) {
        let expires_at = Timestamp::from_unix_ms(row.number(EXPIRES_AT)?.saturating_mul(1_000));
        return Ok(LogEntry::Redirect(Redirect {
            log,
            id,
            target: row.parsed(TARGET, |text| MessageId::parse(text).ok())?,
            sender_id,
            digest: row.digest(DIGEST)?,
            expires_at,
        }));
    }
    let text = if is_deleted {
        MessageText::absent()
    } else {
        MessageText::from_stored(row.text(TEXT)?.to_owned())
    };
    let mut message = Message::new(id, log.channel_id, sender_id, text);
    message.thread = log.thread;
    if item.contains_key(REV) {
        message.rev = row.rev(REV)?;
    }
    if item.contains_key(EDIT) {
        let change_id = row.parsed(EDIT, |text| ChangeId::parse(text).ok())?;
        message.edit = Some(Edit { rev: row.rev(TEXT_REV)?, change_id });
    }
    // A deletion by a version without mentions or pins leaves them in the row.
    if let Some(AttributeValue::S(names)) = item.get(MENTIONS).filter(|_| !is_deleted) {
        message.mentions = decode_mentions(names);
    }
    // A summary in the form of a later version is left out.
    let reactions = item.get(REACTIONS).and_then(|text| text.as_s().ok());
    message.reactions = reactions.and_then(|text| decode_reactions(text)).unwrap_or_default();
    if item.contains_key(PIN_BY) && !is_deleted {
        let by = row.parsed(PIN_BY, |text| UserId::parse(text).ok())?;
        message.pinned = Some(Attribution { at: row.time(PIN_AT)?, by });
    }
    let pin_act = match item.get(PIN_ACT) {
        None => None,
        Some(_) => Some(row.parsed(PIN_ACT, |text| ChangeId::parse(text).ok())?),
    };
    if item.contains_key(QUOTE) && !is_deleted {
        message.quote = Some(row.parsed(QUOTE, |text| MessageId::parse(text).ok())?);
    }
    if is_deleted {
        let by = row.parsed(DELETED_BY, |text| UserId::parse(text).ok())?;
        message.deleted = Some(Attribution { at: row.time(DELETED_AT)?, by });
    }
    let folded = match item.get(FOLDED) {
        None => None,
        Some(AttributeValue::B(bytes)) => {
            let folded = decode_folded(bytes.as_ref()).ok_or_else(|| row.malformed(FOLDED))?;
            Some(folded)
        }
        Some(_) => return Err(row.malformed(FOLDED)),
    };
    let (members_version, expires_at) = (row.number(VERSION)?, row.expiry()?);
    let new = StoredMessage::new(message, members_version);
    let mut stored = StoredMessage { folded, pin_act, expires_at, ..new };
    threads::decode_summary(item, &mut stored);
    attachments::decode_files(row, &mut stored)?;
    Ok(LogEntry::Message(stored))
}

pub(crate) fn decode_profile(item: &Item) -> Result<Profile, MalformedRow> {
    let row = Row { table: "user_channels", item };
    let text = |attribute| Ok(row.optional_text(attribute)?.unwrap_or_default());
    Ok(Profile {
        user_id: row.parsed(keys::WORKSPACE_USER, keys::user_of)?,
        name: text(PROFILE_NAME)?,
        avatar: text(AVATAR)?,
        status: text(STATUS)?,
        status_emoji: text(STATUS_EMOJI)?,
        tz: text(TIME_ZONE)?,
        rev: row.rev(PROFILE_REV)?,
    })
}

/// A row of the list of a workspace's users.
pub(crate) fn decode_listed_user(item: &Item) -> Result<UserId, MalformedRow> {
    let row = Row { table: "user_channels", item };
    row.parsed(keys::CHANNEL_ID, |text| UserId::parse(text).ok())
}

pub(crate) fn decode_version(item: &Item) -> Result<u64, MalformedRow> {
    Row { table: "channels", item }.number(VERSION)
}

pub(crate) fn decode_member(item: &Item) -> Result<Member, MalformedRow> {
    let row = Row { table: "memberships", item };
    Ok(Member {
        user_id: row.parsed(keys::USER_ID, |text| UserId::parse(text).ok())?,
        joined_at: row.time(JOINED_AT)?,
    })
}

pub(crate) fn decode_user_channel(item: &Item) -> Result<ChannelId, MalformedRow> {
    let row = Row { table: "user_channels", item };
    row.parsed(keys::CHANNEL_ID, |text| ChannelId::parse(text).ok())
}

pub(crate) fn decode_joined(item: &Item) -> Result<Joined, MalformedRow> {
    let row = Row { table: "user_channels", item };
    Ok(Joined { channel_id: decode_user_channel(item)?, joined_at: row.time(JOINED_AT)? })
}

pub(crate) fn decode_channel_mark(item: &Item) -> Result<ChannelMark, MalformedRow> {
    let row = Row { table: "user_channels", item };
    let mark = match item.get(READ_MARK) {
        None => ReadMark::of_joining(row.time(JOINED_AT)?),
        Some(_) => row.parsed(READ_MARK, ReadMark::parse)?,
    };
    Ok(ChannelMark { channel_id: decode_user_channel(item)?, mark })
}

pub(crate) fn decode_mention(item: &Item) -> Result<Mention, MalformedRow> {
    Row { table: "user_channels", item }.parsed(keys::CHANNEL_ID, keys::mention_parts)
}

pub(crate) fn decode_devices(item: &Item) -> Result<(UserId, SeenDevices), MalformedRow> {
    let row = Row { table: "user_channels", item };
    let user = row.parsed(keys::WORKSPACE_USER, keys::user_of)?;
    Ok((user, row.parsed(DEVICES, SeenDevices::parse)?))
}

pub(crate) fn decode_tombstone(item: &Item) -> Result<UserId, MalformedRow> {
    Row { table: "user_channels", item }.parsed(keys::WORKSPACE_USER, keys::user_of)
}

pub(crate) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The bytes that a row is billed for: names and values, and about half a byte per digit of a
/// number. An upper bound for the types that are written here.
pub(crate) fn billed_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum is open; no other type is used")]
fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(blob) => blob.as_ref().len(),
        _ => 1,
    }
}

/// A row, and the table that its errors name.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    table: &'static str,
    item: &'a Item,
}

impl<'a> Row<'a> {
    fn malformed(self, attribute: &'static str) -> MalformedRow {
        MalformedRow { table: self.table, attribute }
    }

    fn text(self, attribute: &'static str) -> Result<&'a str, MalformedRow> {
        match self.item.get(attribute) {
            Some(AttributeValue::S(text)) => Ok(text),
            _ => Err(self.malformed(attribute)),
        }
    }

    /// `None` if it is absent.
    fn optional_text(self, attribute: &'static str) -> Result<Option<String>, MalformedRow> {
        match self.item.get(attribute) {
            None => Ok(None),
            Some(_) => self.text(attribute).map(|text| Some(text.to_owned())),
        }
    }

    fn parsed<T>(
        self,
        attribute: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, MalformedRow> {
        parse(self.text(attribute)?).ok_or_else(|| self.malformed(attribute))
    }

    fn rev(self, attribute: &'static str) -> Result<Rev, MalformedRow> {
        self.parsed(attribute, |text| Rev::parse(text).ok())
    }

    fn number(self, attribute: &'static str) -> Result<u64, MalformedRow> {
        match self.item.get(attribute) {
            Some(AttributeValue::N(digits)) => {
                digits.parse().ok().ok_or_else(|| self.malformed(attribute))
            }
            _ => Err(self.malformed(attribute)),
        }
    }

    /// When the store may delete the row; `None` if it stays.
    fn expiry(self) -> Result<Option<Timestamp>, MalformedRow> {
        match self.item.get(EXPIRES_AT) {
            None => Ok(None),
            Some(_) => {
                let seconds = self.number(EXPIRES_AT)?;
                Ok(Some(Timestamp::from_unix_ms(seconds.saturating_mul(1_000))))
            }
        }
    }

    /// `false` if it is absent.
    fn flag(self, attribute: &'static str) -> Result<bool, MalformedRow> {
        match self.item.get(attribute) {
            None => Ok(false),
            Some(AttributeValue::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.malformed(attribute)),
        }
    }

    fn time(self, attribute: &'static str) -> Result<Timestamp, MalformedRow> {
        self.number(attribute).map(Timestamp::from_unix_ms)
    }

    fn digest(self, attribute: &'static str) -> Result<TextDigest, MalformedRow> {
        match self.item.get(attribute) {
            Some(AttributeValue::B(blob)) => <[u8; 32]>::try_from(blob.as_ref())
                .map(TextDigest)
                .ok()
                .ok_or_else(|| self.malformed(attribute)),
            _ => Err(self.malformed(attribute)),
        }
    }
}

#[cfg(test)]
mod tests;
