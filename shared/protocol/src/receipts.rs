//! Receipts: how far the messages of a channel have come. Watermarks only, so that a lost one costs
//! nothing: the next one says as much.

use model::{ChannelId, DeviceId, MessageId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What happened to a channel's messages, on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptsSignal {
    /// The channel.
    pub channel_id: ChannelId,
    /// Up to where a device of each user has its messages.
    pub delivered: Vec<(UserId, MessageId)>,
    /// Up to where each user has read, and shares it.
    pub read: Vec<(UserId, MessageId)>,
    /// Messages that are stored now, and their senders.
    pub archived: Vec<(MessageId, UserId)>,
}

/// A device of a user.
pub type UserDevice = (UserId, DeviceId);

/// The form of a [`ReceiptsSignal`] on the bus.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReceiptsWire {
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    delivered: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    read: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    archived: Map<String, Value>,
}

impl ReceiptsWire {
    pub(crate) fn of(receipts: &ReceiptsSignal) -> Self {
        let archived = receipts.archived.iter();
        Self {
            delivered: marks(&receipts.delivered),
            read: marks(&receipts.read),
            archived: archived.map(|(id, user)| (id.to_string(), user.as_str().into())).collect(),
        }
    }

    pub(crate) fn read(&self, channel_id: ChannelId) -> Option<ReceiptsSignal> {
        let archived = self.archived.iter();
        let archived =
            archived.map(|(id, user)| Some((id.parse().ok()?, user.as_str()?.parse().ok()?)));
        Some(ReceiptsSignal {
            channel_id,
            delivered: read_marks(&self.delivered)?,
            read: read_marks(&self.read)?,
            archived: archived.collect::<Option<_>>()?,
        })
    }
}

/// The frame that tells sockets.
pub(crate) fn frame(
    channel_id: &ChannelId,
    delivered: &[(UserId, MessageId)],
    read: &[(UserId, MessageId)],
    archived: &[MessageId],
) -> Value {
    let archived: Vec<String> = archived.iter().map(ToString::to_string).collect();
    json!({
        "type": "receipts", "channel_id": channel_id.as_str(), "delivered": marks(delivered),
        "read": marks(read), "archived": archived,
    })
}

/// Watermarks as a map from user to message.
fn marks(marks: &[(UserId, MessageId)]) -> Map<String, Value> {
    marks.iter().map(|(user, id)| (user.to_string(), id.to_string().into())).collect()
}

/// Reads watermarks.
pub(crate) fn read_marks(marks: &Map<String, Value>) -> Option<Vec<(UserId, MessageId)>> {
    let mark =
        |(user, id): (&String, &Value)| Some((user.parse().ok()?, id.as_str()?.parse().ok()?));
    marks.iter().map(mark).collect()
}
