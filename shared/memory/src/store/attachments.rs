//! Rows of files on a map.

use std::collections::BTreeSet;

use async_trait::async_trait;
use messaging::ports::{AttachmentStore, Claimed, ReadError, StoredAttachment, WriteError};
use model::{ChannelId, FileId, MessageRef, Timestamp};

use super::{MemoryStore, in_whole_seconds};

#[async_trait]
impl AttachmentStore for MemoryStore {
    async fn put_attachment(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
    ) -> Result<(), WriteError> {
        let key = (channel.clone(), attachment.attachment.file);
        let expires_at = attachment.expires_at.map(in_whole_seconds);
        let row = StoredAttachment { expires_at, ..attachment.clone() };
        self.call("put_attachment").attachments.insert(key, row);
        Ok(())
    }

    async fn attachments(
        &self,
        channel: &ChannelId,
        files: &[FileId],
    ) -> Result<Vec<StoredAttachment>, ReadError> {
        let tables = self.call("attachments");
        let files: BTreeSet<_> = files.iter().collect();
        let row = |file: &FileId| tables.attachments.get(&(channel.clone(), *file)).cloned();
        Ok(files.into_iter().filter_map(row).collect())
    }

    async fn name_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
    ) -> Result<Claimed, WriteError> {
        let mut tables = self.call("name_attachment");
        let row = tables.attachments.get_mut(&(channel.clone(), file));
        let Some(row) = row.filter(|row| row.named_by.is_none()) else {
            return Ok(Claimed::Refused);
        };
        row.named_by = Some(message);
        row.expires_at = None;
        Ok(Claimed::Done)
    }

    async fn withdraw_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
        expires_at: Timestamp,
    ) -> Result<Claimed, WriteError> {
        let mut tables = self.call("withdraw_attachment");
        let row = tables.attachments.get_mut(&(channel.clone(), file));
        let Some(row) = row.filter(|row| row.named_by.is_none_or(|named_by| named_by == message))
        else {
            return Ok(Claimed::Refused);
        };
        row.named_by = Some(message);
        row.expires_at = Some(in_whole_seconds(expires_at));
        Ok(Claimed::Done)
    }
}
