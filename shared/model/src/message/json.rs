//! A message in JSON: `{"id","channel_id","sender_id","message","created_at","rev"}`, the same in
//! responses, in frames and on the bus.

use serde::de::Error;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Message, MessageText, Rev};
use crate::ids::{ChannelId, MessageId, UserId};

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Message", 6)?;
        fields.serialize_field("id", &self.id.to_string())?;
        fields.serialize_field("channel_id", self.channel_id.as_str())?;
        fields.serialize_field("sender_id", self.sender_id.as_str())?;
        fields.serialize_field("message", self.text.as_str())?;
        fields.serialize_field("created_at", &self.id.time().rfc3339())?;
        fields.serialize_field("rev", self.rev.as_str())?;
        fields.end()
    }
}

/// Unknown fields are ignored. So is `created_at`, which the id contains.
#[derive(Deserialize)]
struct Fields {
    id: String,
    channel_id: String,
    sender_id: String,
    message: String,
    /// Absent in messages from servers without revisions.
    rev: Option<String>,
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields { id, channel_id, sender_id, message, rev } = Fields::deserialize(deserializer)?;
        let malformed = |field| D::Error::custom(format_args!("`{field}` is malformed"));
        let message = Self::new(
            MessageId::parse(&id).ok().ok_or_else(|| malformed("id"))?,
            ChannelId::parse(&channel_id).ok().ok_or_else(|| malformed("channel_id"))?,
            UserId::parse(&sender_id).ok().ok_or_else(|| malformed("sender_id"))?,
            MessageText::from_stored(message),
        );
        match rev {
            None => Ok(message),
            Some(rev) => {
                let rev = Rev::parse(&rev).ok().ok_or_else(|| malformed("rev"))?;
                Ok(Self { rev, ..message })
            }
        }
    }
}
