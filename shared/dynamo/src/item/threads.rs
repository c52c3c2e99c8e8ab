//! What rows say about threads: the summary in a root's row, and who follows.

use aws_sdk_dynamodb::types::AttributeValue;
use messaging::ports::{CountedReplies, StoredMessage, UserThread};
use model::{MessageId, Replies, Timestamp, UserId};

use super::{COUNTED, EXPIRES_AT, FOLLOWED, Item, MalformedRow, READ_MARK, REPLIES, Row};
use crate::keys;

/// Writes a root's summary.
pub(super) fn encode_summary(stored: &StoredMessage, item: &mut Item) {
    if let Some(replies) = &stored.message.replies {
        item.insert(REPLIES.to_owned(), encode_replies(replies));
    }
    if let Some(counted) = &stored.counted {
        item.insert(COUNTED.to_owned(), encode_counted(counted));
    }
}

/// Reads a root's summary. One in the form of a later version is left out, and counted again.
pub(super) fn decode_summary(item: &Item, stored: &mut StoredMessage) {
    let text = |attribute| item.get(attribute).and_then(|text: &AttributeValue| text.as_s().ok());
    stored.message.replies = text(REPLIES).and_then(|text| decode_replies(text)).map(Box::new);
    stored.counted = text(COUNTED).and_then(|text| decode_counted(text)).map(Box::new);
}

/// A summary as compact JSON: `[count, last, [users]]`.
pub(crate) fn encode_replies(Replies { count, last, users }: &Replies) -> AttributeValue {
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    keys::string(serde_json::json!([count, last.to_string(), users]).to_string())
}

fn decode_replies(text: &str) -> Option<Replies> {
    let (count, last, users): (u64, String, Vec<String>) = serde_json::from_str(text).ok()?;
    let users = users.iter().map(|user| UserId::parse(user).ok()).collect::<Option<_>>()?;
    Some(Replies { count, last: MessageId::parse(&last).ok()?, users })
}

/// As compact JSON: `[settled_to, settled, settled_last, settled_users, digest, rows, at]`.
pub(crate) fn encode_counted(counted: &CountedReplies) -> AttributeValue {
    let CountedReplies { settled_to, settled, settled_last, settled_users, digest, rows, at } =
        counted;
    let (last, digest) = (settled_last.map(|id| id.to_string()), u64::from_be_bytes(*digest));
    let parts = (settled_to.to_string(), settled, last, settled_users, digest, rows, at.unix_ms());
    keys::string(serde_json::json!(parts).to_string())
}

fn decode_counted(text: &str) -> Option<CountedReplies> {
    type Parts = (String, u64, Option<String>, usize, u64, u32, u64);
    let (settled_to, settled, last, settled_users, digest, rows, at): Parts =
        serde_json::from_str(text).ok()?;
    let settled_last = match last {
        Some(last) => Some(MessageId::parse(&last).ok()?),
        None => None,
    };
    let (settled_to, digest) = (MessageId::parse(&settled_to).ok()?, digest.to_be_bytes());
    let at = Timestamp::from_unix_ms(at);
    Some(CountedReplies { settled_to, settled, settled_last, settled_users, digest, rows, at })
}

pub(crate) fn decode_user_thread(item: &Item) -> Result<UserThread, MalformedRow> {
    let row = Row { table: "user_channels", item };
    Ok(UserThread {
        thread: row.parsed(keys::CHANNEL_ID, keys::thread_of)?,
        is_followed: row.flag(FOLLOWED)?,
        up_to: row.parsed(READ_MARK, |text| MessageId::parse(text).ok())?,
        expires_at: row.expiry()?.ok_or_else(|| row.malformed(EXPIRES_AT))?,
    })
}
