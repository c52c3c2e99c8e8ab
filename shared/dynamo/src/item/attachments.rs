//! Files: the attributes of the messages that name them, and rows of their own.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use messaging::ports::{StoredAttachment, StoredMessage};
use model::{Attachment, ChannelId, FileDigest, FileId, FileName, MediaType, MessageRef, UserId};

use super::{CHANGED, EXPIRES_AT, Item, MalformedRow, ROW_KIND, Row, SENDER, number};
use crate::keys;

/// The files that a message named when it was sent: their ids with a space between them. They stay
/// when it is deleted, for `derive`, which then deletes the files.
pub(crate) const FILES: &str = "f";
/// What a message shows of its files, in the order of the ids, as JSON: `[[name, type, bytes]]`.
pub(crate) const FILE_DETAILS: &str = "fd";

// A file's row. The message that it belongs to is in [`CHANGED`], its sender in [`SENDER`].
const FILE: &str = "file";
const FILE_NAME: &str = "n";
const FILE_TYPE: &str = "y";
const FILE_BYTES: &str = "b";
const FILE_DIGEST: &str = "h";
pub(crate) const NAMED_BY: &str = CHANGED;

/// Adds a message's files to its row.
pub(super) fn encode_files(stored: &StoredMessage, put: &mut impl FnMut(&str, AttributeValue)) {
    if stored.files.is_empty() {
        return;
    }
    let ids: Vec<String> = stored.files.iter().map(ToString::to_string).collect();
    put(FILES, keys::string(ids.join(" ")));
    let attachments = &stored.message.attachments;
    if !attachments.is_empty() {
        let details = attachments.iter().map(|Attachment { name, media_type, bytes, .. }| {
            serde_json::json!([name.as_str(), media_type.as_str(), bytes])
        });
        put(FILE_DETAILS, keys::string(serde_json::Value::from_iter(details).to_string()));
    }
}

/// Reads a message's files from its row. Details in the form of a later version are left out.
pub(super) fn decode_files(row: Row<'_>, stored: &mut StoredMessage) -> Result<(), MalformedRow> {
    if !row.item.contains_key(FILES) {
        return Ok(());
    }
    let parse = |text: &str| text.split(' ').map(|id| FileId::parse(id).ok()).collect();
    stored.files = row.parsed(FILES, parse)?;
    if stored.message.deleted.is_none() {
        let details = row.optional_text(FILE_DETAILS)?;
        let details: Option<Vec<(String, String, u64)>> =
            details.and_then(|text| serde_json::from_str(&text).ok());
        let files = stored.files.iter().zip(details.unwrap_or_default());
        let attachments = files.map(|(file, (name, media_type, bytes))| {
            let (name, media_type) = (FileName::parse(&name), MediaType::parse(&media_type));
            Some(Attachment { file: *file, name: name.ok()?, media_type: media_type.ok()?, bytes })
        });
        stored.message.attachments = attachments.collect::<Option<_>>().unwrap_or_default();
    }
    Ok(())
}

/// The file that a row of the messages table is about; `None` for any other row.
#[must_use]
pub fn file_row(channel_id: &str, sort_key: &str) -> Option<(ChannelId, FileId)> {
    let file = keys::file_of(sort_key)?;
    Some((ChannelId::parse(channel_id).ok()?, file))
}

pub(crate) fn encode_attachment(channel: &ChannelId, stored: &StoredAttachment) -> Item {
    let StoredAttachment { attachment, digest, by, named_by, expires_at } = stored;
    let Attachment { file, name, media_type, bytes } = attachment;
    let mut item = keys::file(channel, *file);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put(ROW_KIND, keys::string(FILE));
    put(SENDER, keys::string(by.as_str()));
    put(FILE_NAME, keys::string(name.as_str()));
    put(FILE_TYPE, keys::string(media_type.as_str()));
    put(FILE_BYTES, number(*bytes));
    put(FILE_DIGEST, AttributeValue::B(Blob::new(digest.0)));
    if let Some(message) = named_by {
        put(NAMED_BY, keys::string(message.to_string()));
    }
    if let Some(at) = expires_at {
        put(EXPIRES_AT, number(at.unix_ms().div_ceil(1_000)));
    }
    item
}

pub(crate) fn decode_attachment(item: &Item) -> Result<StoredAttachment, MalformedRow> {
    let row = Row { table: "messages", item };
    Ok(StoredAttachment {
        attachment: Attachment {
            file: row.parsed(keys::CREATED_AT, keys::file_of)?,
            name: row.parsed(FILE_NAME, |text| FileName::parse(text).ok())?,
            media_type: row.parsed(FILE_TYPE, |text| MediaType::parse(text).ok())?,
            bytes: row.number(FILE_BYTES)?,
        },
        digest: FileDigest(row.digest(FILE_DIGEST)?.0),
        by: row.parsed(SENDER, |text| UserId::parse(text).ok())?,
        named_by: match item.get(NAMED_BY) {
            None => None,
            Some(_) => Some(row.parsed(NAMED_BY, |text| MessageRef::parse(text).ok())?),
        },
        expires_at: row.expiry()?,
    })
}

#[cfg(test)]
mod tests {
    use model::{Attribution, Message, MessageId, MessageText, Timestamp};

    use super::super::{billed_bytes, decode_log_entry, encode_message};
    use super::*;

    const AT: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

    fn attachment(n: u128, name: &str) -> Attachment {
        Attachment {
            file: FileId::mint(AT, n),
            name: FileName::parse(name).unwrap(),
            media_type: MediaType::parse("image/png").unwrap(),
            bytes: 104_857_600,
        }
    }

    fn message(attachments: Vec<Attachment>) -> StoredMessage {
        let (channel, id) = (ChannelId::mint_group(AT, 9), MessageId::mint(AT, 7));
        let sender = UserId::parse("ada").unwrap();
        let mut message = Message::new(id, channel, sender, MessageText::absent());
        message.attachments = attachments;
        StoredMessage::new(message, 3)
    }

    #[test]
    fn files_of_a_message_survive_the_round_trip() {
        let stored = message(vec![attachment(2, "b \"q\" é.png"), attachment(1, "a.png")]);
        let read = decode_log_entry(&encode_message(&stored)).unwrap();
        assert_eq!(read.into_message(), Some(stored));
    }

    #[test]
    fn a_deleted_message_keeps_the_ids_of_its_files_and_nothing_else() {
        let mut stored = message(vec![attachment(1, "secret.png")]);
        let by = stored.message.sender_id.clone();
        stored.message.deleted = Some(Attribution { at: AT, by });
        let mut row = encode_message(&stored);
        // A deletion by a version without files.
        assert!(row.contains_key(FILE_DETAILS));
        let read = decode_log_entry(&row).unwrap().into_message().unwrap();
        assert_eq!((read.message.attachments.len(), read.files.len()), (0, 1));
        row.remove(FILE_DETAILS);
        assert_eq!(decode_log_entry(&row).unwrap().into_message(), Some(read));
    }

    #[test]
    fn details_of_a_later_version_are_left_out() {
        let mut row = encode_message(&message(vec![attachment(1, "a")]));
        row.insert(FILE_DETAILS.to_owned(), keys::string(r#"[{"name":"a"}]"#));
        let read = decode_log_entry(&row).unwrap().into_message().unwrap();
        assert_eq!((read.message.attachments.len(), read.files.len()), (0, 1));
        row.insert(FILES.to_owned(), keys::string("none"));
        assert_eq!(decode_log_entry(&row).unwrap_err().attribute, FILES);
    }

    #[test]
    fn a_files_row_survives_the_round_trip_and_costs_one_unit() {
        let channel = ChannelId::mint_group(AT, 9);
        let stored = StoredAttachment {
            attachment: attachment(1, &"n".repeat(255)),
            digest: FileDigest([7; 32]),
            by: UserId::parse(&"u".repeat(64)).unwrap(),
            named_by: Some(MessageRef { id: MessageId::mint(AT, 7), thread: Some(MessageId::MIN) }),
            expires_at: Some(Timestamp::from_unix_ms(1_700_000_100_000)),
        };
        let row = encode_attachment(&channel, &stored);
        assert_eq!(decode_attachment(&row), Ok(stored.clone()));
        assert!(billed_bytes(&row) < 1_024, "{}", billed_bytes(&row));
        let unnamed = StoredAttachment { named_by: None, expires_at: None, ..stored };
        assert_eq!(decode_attachment(&encode_attachment(&channel, &unnamed)), Ok(unnamed));
    }

    #[test]
    fn rows_of_files_are_known_by_their_keys() {
        let (channel, file) = (ChannelId::mint_group(AT, 9), FileId::mint(AT, 1));
        assert_eq!(file_row(channel.as_str(), &format!("f#{file}")), Some((channel.clone(), file)));
        for sort_key in [file.to_string(), format!("p#{file}"), "f#".to_owned()] {
            assert_eq!(file_row(channel.as_str(), &sort_key), None, "{sort_key}");
        }
    }
}
