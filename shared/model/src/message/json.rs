//! A message in JSON, the same in responses, in frames and on the bus:
//! `{"id","channel_id","sender_id","message","created_at","rev","text_rev"}`, and `edit`,
//! `edited_at` and `deleted` where they apply.

use serde::de::Error;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Deletion, Edit, Message, MessageText, Rev};
use crate::ids::{ChangeId, ChannelId, MessageId, UserId};
use crate::time::Timestamp;

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, channel_id, sender_id, text, rev, edit, deleted } = self;
        let id_text = id.to_string();
        let mut fields = serializer.serialize_struct("Message", 10)?;
        fields.serialize_field("id", &id_text)?;
        fields.serialize_field("channel_id", channel_id.as_str())?;
        fields.serialize_field("sender_id", sender_id.as_str())?;
        fields.serialize_field("message", text.as_str())?;
        fields.serialize_field("created_at", &id.time().rfc3339())?;
        fields.serialize_field("rev", rev.as_str())?;
        match edit {
            None => fields.serialize_field("text_rev", &id_text)?,
            Some(Edit { rev, change_id }) => {
                fields.serialize_field("text_rev", rev.as_str())?;
                fields.serialize_field("edit", &change_id.to_string())?;
                if let Some(id) = rev.id() {
                    fields.serialize_field("edited_at", &id.time().rfc3339())?;
                }
            }
        }
        if let Some(Deletion { at, by }) = deleted {
            let deleted = DeletedFields { at: at.rfc3339(), by: by.to_string() };
            fields.serialize_field("deleted", &deleted)?;
        }
        fields.end()
    }
}

/// Unknown fields are ignored. So are `created_at` and `edited_at`, which are in the id and in
/// `text_rev`.
#[derive(Deserialize)]
struct Fields {
    id: String,
    channel_id: String,
    sender_id: String,
    message: String,
    /// Absent in messages from servers without revisions.
    rev: Option<String>,
    text_rev: Option<String>,
    edit: Option<String>,
    deleted: Option<DeletedFields>,
}

#[derive(Serialize, Deserialize)]
struct DeletedFields {
    at: String,
    by: String,
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        message_of(fields).map_err(|field| D::Error::custom(format_args!("`{field}` is malformed")))
    }
}

/// Reads the fields. The error is the name of the malformed one.
fn message_of(fields: Fields) -> Result<Message, &'static str> {
    let mut message = Message::new(
        MessageId::parse(&fields.id).or(Err("id"))?,
        ChannelId::parse(&fields.channel_id).or(Err("channel_id"))?,
        UserId::parse(&fields.sender_id).or(Err("sender_id"))?,
        MessageText::from_stored(fields.message),
    );
    let rev_of =
        |text: Option<String>, name| text.map(|text| Rev::parse(&text).or(Err(name))).transpose();
    if let Some(rev) = rev_of(fields.rev, "rev")? {
        message.rev = rev;
    }
    let text_rev = rev_of(fields.text_rev, "text_rev")?;
    if let Some((rev, change_id)) = text_rev.zip(fields.edit) {
        let change_id = ChangeId::parse(&change_id).or(Err("edit"))?;
        message.edit = Some(Edit { rev, change_id });
    }
    if let Some(DeletedFields { at, by }) = fields.deleted {
        let at = Timestamp::parse_rfc3339(&at).ok_or("deleted")?;
        message.deleted = Some(Deletion { at, by: UserId::parse(&by).or(Err("deleted"))? });
    }
    Ok(message)
}
