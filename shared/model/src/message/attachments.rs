//! The files of a message in JSON: `{"id","name","type","bytes"}`.

use serde::{Deserialize, Serialize};

use crate::attachment::{Attachment, AttachmentId, FileName, MediaType};
use crate::ids::ChannelId;

use super::Message;

#[derive(Serialize, Deserialize)]
pub(super) struct AttachmentFields {
    id: String,
    name: String,
    #[serde(rename = "type")]
    media_type: String,
    bytes: u64,
}

impl AttachmentFields {
    pub(super) fn of(channel_id: &ChannelId, attachment: &Attachment) -> Self {
        let Attachment { file, name, media_type, bytes } = attachment;
        let id = AttachmentId { channel_id: channel_id.clone(), file: *file };
        Self {
            id: id.to_string(),
            name: name.as_str().to_owned(),
            media_type: media_type.as_str().to_owned(),
            bytes: *bytes,
        }
    }

    /// `None` for a file in the form of a later version, or of another channel.
    pub(super) fn read(self, channel_id: &ChannelId) -> Option<Attachment> {
        let id = AttachmentId::parse(&self.id).ok()?;
        (id.channel_id == *channel_id).then_some(())?;
        Some(Attachment {
            file: id.file,
            name: FileName::parse(&self.name).ok()?,
            media_type: MediaType::parse(&self.media_type).ok()?,
            bytes: self.bytes,
        })
    }
}

impl Message {
    /// About as many bytes as its text and its files take, before they are escaped.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        let file = |file: &Attachment| {
            FIELDS_BYTES + file.name.as_str().len() + file.media_type.as_str().len()
        };
        self.text.as_str().len() + self.attachments.iter().map(file).sum::<usize>()
    }
}

/// The id of a file, its size, and the names of its fields.
const FIELDS_BYTES: usize = 100;
